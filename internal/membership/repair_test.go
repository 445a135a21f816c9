package membership

import "testing"

func TestRemove(t *testing.T) {
	run(t, []testCase{
		{name: "a healthy one of three", hosts: "cp1+ cp2+", members: three, views: "cp1", remove: "cp3", want: "remove 13", notices: "member 13"},
		{name: "a healthy one of three, in the inventory", hosts: three, members: three, views: "cp1", remove: "cp3", want: "remove cp3 13", notices: "cp3 is in the inventory still"},
		{name: "a dead one of three", hosts: "cp1+ cp2+", members: "cp1+ cp2+ cp3-", views: "cp1", remove: "cp3", want: "remove 13", notices: "member 13"},
		{name: "a healthy one of three while another is down", hosts: three, members: "cp1+ cp2+ cp3-", views: "cp1", remove: "cp2",
			refused: "removing cp2 (member 12) would lose the quorum: of the 2 voters that are left 2 have to be healthy, and 1 would be (cp1 (member 11))|bring cp3 (member 13) back first"},
		{name: "the dead one before the healthy one", hosts: three, members: "cp1+ cp2+ cp3-", views: "cp1", remove: "cp2 cp3", want: "remove cp3 13", then: "remove cp2", notices: "still"},
		{name: "two of three", hosts: "cp1+", members: three, views: "cp1", remove: "cp2 cp3", want: "remove 12", then: "remove 13", notices: "left alone"},
		{name: "a healthy one of two", hosts: "cp1+", members: "cp1+ cp2+", views: "cp1", remove: "cp2", want: "remove 12", notices: evenVoters},
		{name: "the only one", hosts: "cp1+", members: "cp1+", views: "cp1", remove: "cp1", refused: "cp1 (member 11) is the only voter of etcd|let another host join first"},
		{name: "all of three", hosts: three, members: three, views: "cp1 cp2 cp3", remove: "cp1 cp2 cp3", want: "remove cp1 11", then: "remove cp2",
			refusedThen: "cp3 (member 13) is the only voter", notices: "still"},
		{name: "the only voter beside a learner", hosts: "cp1+ cp2+", members: "cp1+ ~cp2+", views: "cp1", remove: "cp1", refused: "is the only voter"},
		{name: "a learner", hosts: "cp1+ cp2+", members: "cp1+ ~cp2+", views: "cp1", remove: "cp2", want: "remove cp2 12", notices: "still"},
		{name: "a learner with too few voters known", hosts: "cp1+ cp2? cp3? cp4+", members: "cp1+ cp2? cp3? ~cp4-", views: "cp1", remove: "cp4", want: "remove cp4 14", notices: "still"},
		{name: "one that never started", hosts: "cp1+ cp2", members: "cp1+ ~_@2?", views: "cp1", remove: "cp2", want: "remove cp2 12", notices: "still"},
		{name: "with too few voters known", hosts: "cp1+ cp2? cp3?", members: "cp1+ cp2? cp3?", views: "cp1", remove: "cp3",
			refused: "removing cp3 (member 13) needs the consent of 2 of the 3 voters of etcd; known to be healthy: 1"},
		{name: "an answer without quorum does not prove a voter", hosts: "cp1+ cp2+ cp3?", members: "cp1+ cp2? cp3?", views: "cp1 cp2/n", remove: "cp3",
			refused: "known to be healthy: 1 (cp1 (member 11))"},
		{name: "one that never started counts for nothing", hosts: "cp1+ cp2+", members: "cp1+ cp2- _@3+", views: "cp1", remove: "cp2",
			refused: "known to be healthy: 1 (cp1 (member 11)); not known to be: cp2 (member 12), unnamed (member 13)"},
		{name: "an unknown one of five", hosts: "cp1+ cp2+ cp3+ cp4+", members: "cp1+ cp2+ cp3+ cp4+ cp5?", views: "cp1", remove: "cp5", want: "remove 15", notices: "member 15"},
		{name: "two dead of five, then growing", hosts: "cp1+ cp2+ cp3+ cp6 cp7", members: "cp1+ cp2+ cp3+ cp4- cp5-", views: "cp1", remove: "cp4 cp5", want: "remove 14",
			then: "remove 15; add cp6; start cp6; promote cp6; add cp7; start cp7; promote cp7", notices: "member 15"},
		{name: "a healthy one of four while another is down", hosts: "cp1+ cp2+ cp3+ cp4+", members: "cp1+ cp2+ cp3+ cp4-", views: "cp1", remove: "cp3", want: "remove cp3 13", notices: "still"},
		{name: "a healthy one of five while two are down", hosts: "cp1+ cp2+ cp3+ cp4+ cp5+", members: "cp1+ cp2+ cp3+ cp4- cp5-", views: "cp1", remove: "cp3",
			refused: "of the 4 voters that are left 3 have to be healthy, and 2 would be"},
		{name: "the only one that answers through its host", hosts: three, members: three, views: "cp3", remove: "cp3",
			refused: "cp3 (member 13) is the only member of etcd that answers through its host|bring another host"},
		{name: "what is no member", hosts: three, members: three, views: "cp1", remove: "w1", notices: "the removal of w1 was asked for, and etcd has no such member: nothing to do"},
		{name: "a wanted host that is no member does not join", hosts: "cp1+ cp2", members: "cp1+", views: "cp1", remove: "cp2", notices: "nothing to do|cp2 is in the inventory still"},
		{name: "one name, two members", hosts: "cp1+ cp2+", members: "cp1+ cp2+ old@8+ old@9-", views: "cp1", remove: "old", refused: "etcd has 2 members of that name: 18 at https://10.0.0.8:2380, and 19|etcdctl member remove 18, or 19"},
		{name: "a host and an orphan of its name", hosts: three, members: "cp1+ cp2+ cp3+ cp3@9-", views: "cp1", remove: "cp3", refused: "etcd has 2 members of that name: 13"},
		{name: "the name of a member on a host of another name", hosts: "cp1+ cp2+ cp3+", members: "cp1+ cp2+ cp9@3+", views: "cp1", remove: "cp9", notices: "nothing to do"},
		{name: "asked removal before repair", hosts: "cp1+ cp2+ cp3 cp4+", members: "cp1+ cp2+ cp3- cp4- cp5+", views: "cp1", remove: "cp4", want: "remove cp4 14",
			then: "remove cp3; add cp3; start cp3; promote cp3", notices: "member 15"},
		{name: "one that moved can be removed", hosts: "cp1+ cp2+ cp3@7+", members: three, views: "cp1 cp3/id13", remove: "cp3", want: "remove cp3 13", notices: "still"},
	})
}

func TestLostData(t *testing.T) {
	run(t, []testCase{
		{name: "one of three", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3-", views: "cp1", want: "remove cp3 13", then: "add cp3; start cp3; promote cp3", notices: "does not answer"},
		{name: "one of three, not asked", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3?", views: "cp1", want: "remove cp3 13", then: "add cp3; start cp3; promote cp3"},
		{name: "one of three, host not reached", hosts: "cp1+ cp2+ cp3?", members: "cp1+ cp2+ cp3-", views: "cp1", notices: "does not answer"},
		{name: "its member is healthy", hosts: "cp1+ cp2+ cp3", members: three, views: "cp1", refused: "cp3 has no data of etcd, but its member 13 at https://10.0.0.3:2380 is alive"},
		{name: "its member answers", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3-", views: "cp1 cp3/n", refused: "on cp3 answers, but its data folder is empty"},
		{name: "its member answers from another host", hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3-", views: "cp1 w1/n/id13", refused: "cp3 has no data of etcd, but its member 13"},
		{name: "one of three, one more not known", hosts: "cp1+ cp2? cp3", members: "cp1+ cp2? cp3-", views: "cp1", refused: "removing cp3 (member 13) needs the consent of 2 of the 3 voters|bring cp2 (member 12), cp3 (member 13) back"},
		{name: "two of five", hosts: "cp1+ cp2+ cp3+ cp4 cp5", members: "cp1+ cp2+ cp3+ cp4- cp5-", views: "cp1", want: "remove cp4 14",
			then: "remove cp5; add cp4; start cp4; promote cp4; add cp5; start cp5; promote cp5", notices: "does not answer"},
		{name: "one lost, another down: removed, but nobody joins", hosts: "cp1+ cp2+ cp3+ cp4+ cp5", members: "cp1+ cp2+ cp3+ cp4- cp5-", views: "cp1", want: "remove cp5 15",
			then: "add cp5; start cp5; promote cp5", notices: "does not answer"},
		{name: "a learner lost its data", hosts: "cp1+ cp2", members: "cp1+ ~cp2-", views: "cp1", want: "remove cp2 12", then: "add cp2; start cp2; promote cp2"},
		{name: "in an interrupted bring-up that has a quorum", hosts: "cp1+/i123 cp2+/i123 cp3", members: "cp1+ cp2+ cp3-", views: "cp1 cp2", want: "remove cp3 13",
			then: "add cp3; start cp3; promote cp3", notices: "does not answer"},
	})
}

func TestReplacedMachine(t *testing.T) {
	run(t, []testCase{
		{name: "the old one is dead", hosts: "cp1+ cp2+ cp3@7", members: "cp1+ cp2+ cp3-", views: "cp1", want: "remove 13", then: "add cp3; start cp3; promote cp3", notices: "member 13"},
		{name: "the old one is alive", hosts: "cp1+ cp2+ cp3@7", members: three, views: "cp1", refused: "cp3 at https://10.0.0.7:2380, but a member of that name (13) is alive at https://10.0.0.3:2380|give the new host another name"},
		{name: "the old one answers elsewhere", hosts: "cp1+ cp2+ cp3@7", members: "cp1+ cp2+ cp3-", views: "cp1 old3/n", refused: "is alive at"},
		{name: "nobody knows of the old one", hosts: "cp1+ cp2+ cp3@7", members: "cp1+ cp2+ cp3?", views: "cp1", refused: "of which nobody knows whether it is alive|kubewright node remove cp3"},
		{name: "the host has data", hosts: "cp1+ cp2+ cp3@7+", members: "cp1+ cp2+ cp3-", views: "cp1", refused: "cp3 has data of etcd and is now at https://10.0.0.7:2380, but the member 13 is at https://10.0.0.3:2380: its address has changed|kubewright node replace cp3"},
		{name: "the member itself says that its address changed", hosts: "cp1+ cp2+ cp3@7+", members: three, views: "cp1 cp3/id13", refused: "its address has changed"},
		{name: "the new host not reached", hosts: "cp1+ cp2+ cp3@7?", members: "cp1+ cp2+ cp3-", views: "cp1", notices: "cp3 was not reached, and is to join|member 13 (cp3)"},
		{name: "its old member removed by request, then it joins in a later run", hosts: "cp1+ cp2+ cp3@7", members: "cp1+ cp2+ cp3?", views: "cp1", remove: "cp3", want: "remove 13", notices: "still"},
		{name: "the new one has joined already", hosts: "cp1+ cp2+ cp3@7+", members: "cp1+ cp2+ cp3- cp3@7+", views: "cp1", notices: "member 13 (cp3)"},
		{name: "two old ones", hosts: "cp1+ cp2+ cp3@7", members: "cp1+ cp2+ cp9+ cp3@4- cp3@5-", views: "cp1", want: "remove 14", then: "remove 15; add cp3; start cp3; promote cp3", notices: "member 14"},
		{name: "with too few voters known", hosts: "cp1+ cp2? cp3@7", members: "cp1+ cp2? cp3-", views: "cp1", refused: "removing cp3 (member 13) needs the consent of 2"},
		{name: "a part of a name is no name", hosts: "cp1+ cp2+ cp@7", members: "cp1+ cp2+ cp3+", views: "cp1", want: "add cp", then: "start cp; promote cp", notices: "member 13"},
		{name: "an old member of the name is that of another host", hosts: "cp1+ cp2 n3@3+", members: "cp1+ cp2@3+", views: "cp1", want: "add cp2", then: "start cp2; promote cp2", notices: evenVoters},
	})
}
