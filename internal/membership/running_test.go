package membership

import "testing"

const (
	three      = "cp1+ cp2+ cp3+"
	evenVoters = "an even number"
)

func TestSteady(t *testing.T) {
	run(t, []testCase{
		{name: "three healthy members", hosts: three, members: three, views: "cp1 cp2 cp3"},
		{name: "one healthy member", hosts: "cp1+", members: "cp1+", views: "cp1"},
		{name: "one view is enough", hosts: three, members: three, views: "cp2"},
		{name: "marks are of no interest with a quorum", hosts: "cp1+/m1 cp2+/m12 cp3+/m145", members: three, views: "cp1"},
		{name: "a voter that is down is started like everything else", hosts: three, members: "cp1+ cp2+ cp3-", views: "cp1", notices: "the member 13 on cp3 does not answer"},
		{name: "a voter nobody asked", hosts: "cp1+ cp2+ cp3?", members: "cp1+ cp2+ cp3?", views: "cp1"},
		{name: "two even members", hosts: "cp1+ cp2+", members: "cp1+ cp2+", views: "cp1", notices: evenVoters + ", which survives the loss of no more of them than 1 would"},
		{name: "an orphan is left alone", hosts: "cp1+ cp2+", members: three, views: "cp1", notices: "member 13 (cp3) at https://10.0.0.3:2380 is that of no host of the inventory, and is left alone (healthy)"},
		{name: "a dead orphan is left alone", hosts: "cp1+ cp2+", members: "cp1+ cp2+ cp3-", views: "cp1", notices: "is left alone (does not answer)"},
		{name: "an unknown orphan is left alone", hosts: "cp1+ cp2+", members: "cp1+ cp2+ cp3?", views: "cp1", notices: "is left alone (health unknown)"},
		{name: "an orphan that never started is left alone", hosts: three, members: "cp1+ cp2+ cp3+ ~_@4?", views: "cp1", notices: "member 14 at https://10.0.0.4:2380 has never started|etcdctl member remove 14"},
		{name: "an orphan learner is left alone", hosts: three, members: "cp1+ cp2+ cp3+ ~cp4+", views: "cp1", notices: "member 14 (cp4)"},
		{name: "names differ, addresses match", hosts: "cp1+ cp2+ cp3+", members: "a@1+ b@2+ c@3+", views: "cp1"},
		{name: "names swapped, addresses match", hosts: three, members: "cp2@1+ cp1@2+ cp3+", views: "cp1"},
		{name: "a name is compared as a whole", hosts: "cp1+ cp2+ cp3+", members: "cp1+ cp2+ cp3+", views: "cp1", remove: "cp", notices: "the removal of cp was asked for, and etcd has no such member"},
		{name: "a host not reached that is no member joins later", hosts: "cp1+ cp2? cp3?", members: "cp1+", views: "cp1", notices: "cp2 was not reached, and is to join|cp3 was not reached"},
		{name: "two clusters with quorum", hosts: three, members: three, views: "cp1 cp2/c2 cp3/c2", refused: "2 different clusters: cluster 1 on cp1; cluster 2 on cp2, cp3"},
		{name: "another cluster without quorum", hosts: three, members: three, views: "cp1 cp3/n/c2", refused: "cluster 2 on cp3"},
		{name: "a view does not list itself", hosts: three, members: "cp1+ cp2+", views: "cp1 cp3", refused: "its list of members does not have itself (member 13)"},
		{name: "two hosts answer as one member", hosts: three, members: three, views: "cp1 cp2/id11", refused: "cp1 and cp2 both answer as member 11"},
		{name: "two answers of one host", hosts: three, members: three, views: "cp1 cp1/n/id12", refused: "cp1 gave two answers"},
		{name: "a host answers as the member of another address", hosts: three, members: three, views: "cp1/id12", refused: "cp1 answers as member 12, but its peer URL https://10.0.0.1:2380 is that of member 11"},
		{name: "two hosts of one name", hosts: "cp1+ cp1@2+", members: "cp1+", views: "cp1", refused: "two hosts that are to be members of etcd are called cp1"},
		{name: "two hosts of one address", hosts: "cp1+ cp2@1+", members: "cp1+", views: "cp1", refused: "cp1 and cp2 have the same peer URL"},
	})
}

func TestGrow(t *testing.T) {
	run(t, []testCase{
		{name: "from one to three", hosts: "cp1+ cp2 cp3", members: "cp1+", views: "cp1", want: "add cp2",
			then: "start cp2; promote cp2; add cp3; start cp3; promote cp3"},
		{name: "from one to two", hosts: "cp1+ cp2", members: "cp1+", views: "cp1", want: "add cp2", then: "start cp2; promote cp2"},
		{name: "from three to five", hosts: "cp1+ cp2+ cp3+ cp4 cp5", members: three, views: "cp1", want: "add cp4",
			then: "start cp4; promote cp4; add cp5; start cp5; promote cp5"},
		{name: "one of the new is not reached", hosts: "cp1+ cp2+ cp3+ cp4? cp5", members: three, views: "cp1", want: "add cp5",
			then: "start cp5; promote cp5", notices: "cp4 was not reached"},
		{name: "added, not started", hosts: "cp1+ cp2", members: "cp1+ ~_@2?", views: "cp1", want: "start cp2 12 cp1=1,cp2=2", then: "promote cp2"},
		{name: "added by hand as a voter, not started", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ _@3-", views: "cp1", want: "start cp3 13 cp1=1,cp2=2,cp3=3"},
		{name: "added, and the host not reached", hosts: "cp1+ cp2?", members: "cp1+ ~_@2?", views: "cp1", notices: "cp2 was not reached, and its member 12 has not started yet"},
		{name: "added, the host not reached, another is to join", hosts: "cp1+ cp2? cp3", members: "cp1+ ~_@2?", views: "cp1",
			refused: "cp3 cannot join: etcd takes one learner at a time, and has cp2 (member 12)|bring cp2 back|kubewright node remove cp2"},
		{name: "every entry of the list is in the initial cluster", hosts: "cp1+ cp2+ cp3 cp5?", members: "cp1+ cp2+ ~_@3? _@5? old@6- _@7?", views: "cp1",
			want:        "start cp3 13 17=7,cp1=1,cp2=2,cp3=3,cp5=5,old=6",
			refusedThen: "making cp3 (member 13) a voter needs the consent of 3 of the 5 voters of etcd; known to be healthy: 2", notices: "member 17|cp5 was not reached, and its member"},
		{name: "two of one name are two in the initial cluster", hosts: "cp1+ cp2+ cp3", members: "cp2@1+ cp2@2+ ~_@3?", views: "cp1",
			want: "start cp3 13 cp1=1,cp2=2,cp3=3", then: "promote cp3", notices: evenVoters},
		{name: "an orphan with the name of the joining host goes by its ID", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3@9- ~_@3?", views: "cp1",
			want: "start cp3 13 19=9,cp1=1,cp2=2,cp3=3", then: "promote cp3", notices: "member 19 (cp3)"},
		{name: "two orphans of one name are two in the initial cluster", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ ~_@3? old@8- old@9+", views: "cp1",
			want: "start cp3 13 19=9,cp1=1,cp2=2,cp3=3,old=8", then: "promote cp3", notices: "18 (old)|19 (old)|" + evenVoters},
		{name: "started, a learner", hosts: "cp1+ cp2+", members: "cp1+ ~cp2+", views: "cp1", want: "promote cp2 12"},
		{name: "started, and answers without having been asked for health", hosts: "cp1+ cp2+", members: "cp1+ ~cp2?", views: "cp1 cp2/n", want: "promote cp2 12"},
		{name: "the learner does not answer", hosts: "cp1+ cp2+", members: "cp1+ ~cp2-", views: "cp1", want: "start cp2 12 cp1=1,cp2=2", then: "promote cp2"},
		{name: "nobody knows whether the learner answers", hosts: "cp1+ cp2+", members: "cp1+ ~cp2?", views: "cp1", want: "start cp2 12 cp1=1,cp2=2", then: "promote cp2"},
		{name: "the learner does not answer, its host not reached", hosts: "cp1+ cp2?", members: "cp1+ ~cp2-", views: "cp1", notices: "its member 12 does not vote yet"},
		{name: "the learner is healthy, its host not reached", hosts: "cp1+ cp2?", members: "cp1+ ~cp2+", views: "cp1", want: "promote cp2 12"},
		{name: "the learner first, then the next", hosts: "cp1+ cp2+ cp3", members: "cp1+ ~cp2+", views: "cp1", want: "promote cp2 12",
			then: "add cp3; start cp3; promote cp3"},
		{name: "promoting with too few known", hosts: "cp1+ cp2? cp3? cp4+", members: "cp1+ cp2? cp3? ~cp4+", views: "cp1",
			refused: "making cp4 (member 14) a voter needs the consent of 2 of the 3 voters of etcd; known to be healthy: 1 (cp1 (member 11))|bring cp2 (member 12), cp3 (member 13) back first"},
		{name: "promoting with one voter down", hosts: "cp1+ cp2+ cp3? cp4+", members: "cp1+ cp2+ cp3- ~cp4+", views: "cp1", want: "promote cp4 14", notices: "the member 13 on cp3 does not answer"},
		{name: "an orphan learner is in the way", hosts: "cp1+ cp2", members: "cp1+ ~old@9+", views: "cp1", refused: "cp2 cannot join: etcd takes one learner at a time|etcdctl member remove 19"},
		{name: "an orphan that never started is in the way", hosts: "cp1+ cp2", members: "cp1+ ~_@9?", views: "cp1", refused: "unnamed (member 19) at https://10.0.0.9:2380|etcdctl member remove 19"},
		{name: "an unstarted orphan voter is not in the way", hosts: "cp1+ cp2+ cp3+ cp4", members: "cp1+ cp2+ cp3+ _@9-", views: "cp1", want: "add cp4",
			then: "start cp4; promote cp4", notices: "member 19"},
		{name: "one of three is down: etcd adds none", hosts: "cp1+ cp2+ cp3+ cp4", members: "cp1+ cp2+ cp3-", views: "cp1",
			refused: "cp4 cannot join: 2 of 3 voters of etcd are known to be healthy|With cp4 there would be 4, 3 of which have to be healthy|bring cp3 (member 13) back|then etcd has 2 voters, all healthy, and cp4 can join"},
		{name: "a dead orphan of three: remove it first", hosts: "cp1+ cp2+ cp4", members: "cp1+ cp2+ cp3-", views: "cp1",
			refused: "cp4 cannot join|bring cp3 (member 13) back, or remove"},
		{name: "a dead orphan of three, its removal asked", hosts: "cp1+ cp2+ cp4", members: "cp1+ cp2+ cp3-", views: "cp1", remove: "cp3",
			want: "remove 13", then: "add cp4; start cp4; promote cp4", notices: "member 13"},
		{name: "a dead orphan of four is in nobody's way", hosts: "cp1+ cp2+ cp3+ cp5", members: "cp1+ cp2+ cp3+ cp4-", views: "cp1",
			want: "add cp5", then: "start cp5; promote cp5", notices: "member 14"},
		{name: "one of five is down", hosts: "cp1+ cp2+ cp3+ cp4+ cp5+ cp6", members: "cp1+ cp2+ cp3+ cp4+ cp5-", views: "cp1",
			want: "add cp6", then: "start cp6; promote cp6", notices: "the member 15 on cp5 does not answer"},
		{name: "two of five are down", hosts: "cp1+ cp2+ cp3+ cp4+ cp5+ cp6", members: "cp1+ cp2+ cp3+ cp4- cp5-", views: "cp1",
			refused: "cp6 cannot join: 3 of 5 voters|there would be 6, 4 of which"},
		{name: "health of the others unknown", hosts: "cp1+ cp2? cp3? cp4", members: "cp1? cp2? cp3?", views: "cp1",
			refused: "letting cp4 join needs the consent of 2 of the 3 voters of etcd; known to be healthy: 1 (cp1 (member 11))"},
	})
}

func TestRejoin(t *testing.T) {
	run(t, []testCase{
		{name: "a former member's data is set aside", hosts: "cp1+ cp2+", members: "cp1+", views: "cp1", want: "set-aside cp2", then: "add cp2; start cp2; promote cp2"},
		{name: "with a mark of this cluster", hosts: "cp1+ cp2+/m12", members: "cp1+", views: "cp1", want: "set-aside cp2", then: "add cp2; start cp2; promote cp2"},
		{name: "with a mark of its own", hosts: "cp1+ cp2+/m2", members: "cp1+", views: "cp1", refused: "it is the data of another one|reset it and run again"},
		{name: "with a mark of another cluster", hosts: "cp1+ cp2+/m278", members: "cp1+", views: "cp1", refused: "cp2 has data of etcd, and its mark names the members https://10.0.0.2:2380, https://10.0.0.7:2380, https://10.0.0.8:2380"},
		{name: "with an empty mark", hosts: "cp1+ cp2+/m-", members: "cp1+", views: "cp1", refused: "names the members none"},
		{name: "with marks that are a quorum", hosts: "cp1+ cp2+/m123 cp3+/m123", members: "cp1+", views: "cp1",
			refused: "cp2, cp3 have data of etcd and are no members, but by the mark on cp2 they are 2 of 3 members, a quorum of their own|reset cp2, cp3"},
		{name: "it answers as a former member", hosts: "cp1+ cp2+", members: "cp1+", views: "cp1 cp2/n/id99", want: "set-aside cp2", then: "add cp2; start cp2; promote cp2"},
		{name: "it answers, and does not say of which cluster", hosts: "cp1+ cp2+", members: "cp1+", views: "cp1 cp2/n/id99/c0", refused: "does not say of which cluster"},
		{name: "not set aside while it could not join", hosts: "cp1+ cp2+ cp3+ cp4+", members: "cp1+ cp2+ cp3-", views: "cp1", refused: "cp4 cannot join"},
		{name: "empty hosts and former members, by name", hosts: "cp1+ cp2 cp3+", members: "cp1+", views: "cp1", want: "add cp2",
			then: "start cp2; promote cp2; set-aside cp3; add cp3; start cp3; promote cp3"},
		{name: "a mark that stands at the end of the way", hosts: "cp1+ cp2 cp3+/m3", members: "cp1+", views: "cp1", want: "add cp2",
			then: "start cp2; promote cp2", refusedThen: "cp3 has data of etcd, and its mark"},
		{name: "added, with data of something else", hosts: "cp1+ cp2+", members: "cp1+ ~_@2?", views: "cp1", want: "remove cp2 12",
			then: "set-aside cp2; add cp2; start cp2; promote cp2"},
		{name: "added and started a moment ago", hosts: "cp1+ cp2+/i12", members: "cp1+ ~_@2?", views: "cp1", want: "start cp2 12 cp1=1,cp2=2", then: "promote cp2"},
		{name: "added, started, and it answers", hosts: "cp1+ cp2+", members: "cp1+ ~_@2?", views: "cp1 cp2/n", want: "start cp2 12 cp1=1,cp2=2", then: "promote cp2"},
		{name: "added, and another member answers on the host", hosts: "cp1+ cp2+/i12", members: "cp1+ ~_@2?", views: "cp1 cp2/n/id99", want: "remove cp2 12",
			then: "set-aside cp2; add cp2; start cp2; promote cp2"},
		{name: "added as a voter, with data of something else, too few known", hosts: "cp1+ cp2? cp3+", members: "cp1+ cp2? _@3?", views: "cp1",
			refused: "removing cp3 (member 13) needs the consent of 2 of the 3 voters"},
	})
}
