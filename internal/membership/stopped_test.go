package membership

import "testing"

func TestNewCluster(t *testing.T) {
	run(t, []testCase{
		{name: "three empty hosts", hosts: "cp3 cp1 cp2",
			want: "bootstrap cp1 cp1=1,cp2=2,cp3=3; bootstrap cp2 cp1=1,cp2=2,cp3=3; bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "one empty host", hosts: "cp1", want: "bootstrap cp1 cp1=1"},
		{name: "one of three not seen", hosts: "cp1 cp2 cp3?", refused: "1 host was not reached: cp3|bring cp3 back"},
		{name: "none of three seen", hosts: "cp1? cp2? cp3?", refused: "3 hosts were not reached: cp1, cp2, cp3"},
		{name: "one, not seen", hosts: "cp1?", refused: "not reached: cp1"},
		{name: "an old manifest, but neither data nor mark", hosts: "cp1/i1 cp2 cp3",
			want: "bootstrap cp1 cp1=1,cp2=2,cp3=3; bootstrap cp2 cp1=1,cp2=2,cp3=3; bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "no hosts", refused: "no host of the inventory is to be a member"},
	})
	run(t, []testCase{
		{name: "marks and no data", hosts: "cp1/m123 cp2/m123 cp3", refused: "all data of etcd is lost|10.0.0.1|nothing is left of it on cp1, cp2, cp3|disks of cp1, cp2, cp3 can be brought back|restore a snapshot|reset all hosts"},
		{name: "one mark of one and no data", hosts: "cp1/m1", refused: "all data of etcd is lost"},
		{name: "a mark of hosts that the inventory has no more", hosts: "cp4/m123 cp5", refused: "data of 0 of 3 members was found (none), 2 are needed|https://10.0.0.1:2380 (not in the inventory)"},
		{name: "marks, no data, one not seen: lost for good", hosts: "cp1/m123 cp2/m123 cp3?", refused: "data of 0 of 3 members is left (none), 2 are needed; nothing is left of it on cp1, cp2; not reached: cp3"},
		{name: "marks, no data, two not seen: not known", hosts: "cp1/m123 cp2? cp3?", refused: "not reached: cp2, cp3|bring cp2, cp3 back first"},
		{name: "an empty mark is a mark", hosts: "cp1/m- cp2 cp3", refused: "the marks on cp1 name no member|damaged"},
		{name: "an etcd elsewhere answers without quorum", hosts: "cp1 cp2 cp3", views: "old9/n", refused: "an etcd without a quorum answers on old9"},
		{name: "a member answers on an empty host", hosts: "cp1 cp2 cp3", views: "cp1/n", refused: "on cp1 answers, but its data folder is empty"},
		{name: "removal asked of nothing", hosts: "cp1 cp2 cp3", remove: "cp3", refused: "only a quorum can remove|run again without the removal"},
	})
}

func TestInterruptedBringUp(t *testing.T) {
	const first = "first start of etcd was interrupted"
	run(t, []testCase{
		{name: "one of three has begun", hosts: "cp1+/i123 cp2 cp3", notices: first + "|cp1 has data and is started before",
			want: "bootstrap cp2 cp1=1,cp2=2,cp3=3; bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "one of three has begun, another has its manifest", hosts: "cp1+/i123 cp2/i123 cp3", notices: first,
			want: "bootstrap cp2 cp1=1,cp2=2,cp3=3; bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "two of three have begun", hosts: "cp1+/i123 cp2+/i123 cp3", notices: "cp1, cp2 have data", want: "bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "its entries are in another order", hosts: "cp1+/i312 cp2+/i123 cp3", notices: first, want: "bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "all have begun", hosts: "cp1+/i123 cp2+/i123 cp3+/i123", want: "wait cp1; wait cp2; wait cp3"},
		{name: "the only one has begun", hosts: "cp1+/i1", want: "wait cp1"},
		{name: "one has begun and answers without quorum", hosts: "cp1+/i123 cp2 cp3", views: "cp1/r123", notices: first,
			want: "bootstrap cp2 cp1=1,cp2=2,cp3=3; bootstrap cp3 cp1=1,cp2=2,cp3=3"},
		{name: "one has begun and remembers other members", hosts: "cp1+/i123 cp2 cp3", views: "cp1/r14", refused: "begun on cp1 with other members"},
		{name: "one has begun, another not seen", hosts: "cp1+/i123 cp2 cp3?", refused: "cp1 has data|not reached: cp3|bring cp3 back first"},
		{name: "the inventory has grown since", hosts: "cp1+/i123 cp2 cp3 cp4 cp5", refused: "cp4=https|restore the inventory|reset cp1"},
		{name: "the inventory has shrunk since", hosts: "cp1+/i12345 cp2+/i12345 cp3", refused: "restore the inventory|reset cp1, cp2"},
		{name: "another address since", hosts: "cp1+/i123 cp2 cp3@7", refused: "restore the inventory"},
		{name: "another name since", hosts: "cp1+/i123 cp2 node3", refused: "restore the inventory"},
		{name: "an empty host has a manifest of other members", hosts: "cp1+/i123 cp2 cp3/i3", refused: "restore the inventory"},
		{name: "data without a manifest", hosts: "cp1+ cp2 cp3", refused: "cp1 has data of etcd, but neither a mark nor a manifest|cp2, cp3"},
		{name: "data without a manifest beside one with", hosts: "cp1+/i123 cp2+ cp3", refused: "cp2 has data of etcd, but neither"},
		{name: "all data without a manifest", hosts: "cp1+ cp2+ cp3+", want: "wait cp1; wait cp2; wait cp3"},
		{name: "all data of different manifests, as kubeadm joins leave it", hosts: "cp1+/i1 cp2+/i12 cp3+/i123", want: "wait cp1; wait cp2; wait cp3"},
		{name: "the manifest names another address, and there is data of one", hosts: "cp1+/i1 cp2 cp3",
			want: "wait cp1", then: "add cp2; start cp2; promote cp2; add cp3; start cp3; promote cp3", notices: "cp2 has no data|cp3 has no data"},
		{name: "a whole cluster that is down, and a new host", hosts: "cp1+/i123 cp2+/i123 cp3+/i123 cp4 cp5",
			want: "wait cp1; wait cp2; wait cp3", then: "add cp4; start cp4; promote cp4; add cp5; start cp5; promote cp5", notices: "cp4 has no data"},
		{name: "an etcd elsewhere answers beside it", hosts: "cp1+/i123 cp2 cp3", views: "old9/n", refused: "begun on cp1"},
		{name: "removal asked in between", hosts: "cp1+/i123 cp2 cp3", remove: "cp3", refused: "only a quorum can remove"},
	})
}

func TestLostQuorum(t *testing.T) {
	run(t, []testCase{
		{name: "all data of three", hosts: "cp1+/m123 cp2+/m123 cp3+/m123", want: "wait cp1; wait cp2; wait cp3"},
		{name: "two of three, the third lost", hosts: "cp1+/m123 cp2+/m123 cp3", want: "wait cp1; wait cp2",
			then: "remove cp3; add cp3; start cp3; promote cp3", notices: "cp3 has no data of etcd, and joins when"},
		{name: "two of three, the third not seen", hosts: "cp1+/m123 cp2+/m123 cp3?", want: "wait cp1; wait cp2", notices: "cp3 was not reached"},
		{name: "two of three, one mark only", hosts: "cp1+/m123 cp2+ cp3+", want: "wait cp1; wait cp2; wait cp3"},
		{name: "two of three, marks on the lost one only", hosts: "cp1+ cp2+ cp3/m123", want: "wait cp1; wait cp2",
			then: "remove cp3; add cp3; start cp3; promote cp3", notices: "cp3 has no data"},
		{name: "one of three, two lost", hosts: "cp1+/m123 cp2 cp3", refused: "data of 1 of 3 members is left (cp1), 2 are needed; nothing is left of it on cp2, cp3. Nothing is changed: a new cluster is never made|restore a snapshot|with the data of cp1|reset all hosts"},
		{name: "one of three, even with the manifest of a bring-up", hosts: "cp1+/m123/i123 cp2 cp3", refused: "data of 1 of 3 members is left (cp1)"},
		{name: "one of three, the mark of a lost one", hosts: "cp1+/i123 cp2/m123 cp3", refused: "data of 1 of 3 members is left (cp1)"},
		{name: "one of three, one lost, one not seen", hosts: "cp1+/m123 cp2 cp3?", refused: "not reached: cp3|bring cp3 back first"},
		{name: "one of three, two not seen", hosts: "cp1+/m123 cp2? cp3?", refused: "data of 1 of 3 members was found (cp1), 2 are needed; not reached: cp2, cp3"},
		{name: "two of five, two lost, one not seen", hosts: "cp1+/m12345 cp2+/m12345 cp3 cp4 cp5?", refused: "data of 2 of 5 members was found (cp1, cp2), 3 are needed; not reached: cp5"},
		{name: "two of five, three lost", hosts: "cp1+/m12345 cp2+/m12345 cp3 cp4 cp5", refused: "data of 2 of 5 members is left (cp1, cp2), 3 are needed|nothing is left of it on cp3, cp4, cp5|with the data of one of cp1, cp2"},
		{name: "one of five, three lost, one not seen", hosts: "cp1+/m12345 cp2 cp3 cp4 cp5?", refused: "data of 1 of 5 members is left|on cp2, cp3, cp4; not reached: cp5"},
		{name: "three of five", hosts: "cp1+/m12345 cp2+/m12345 cp3+ cp4? cp5?", want: "wait cp1; wait cp2; wait cp3", notices: "cp4 was not reached"},
		{name: "two of four are no majority", hosts: "cp1+/m1234 cp2+/m1234 cp3 cp4", refused: "data of 2 of 4 members is left (cp1, cp2), 3 are needed"},
		{name: "one of two is no majority", hosts: "cp1+/m12 cp2", refused: "data of 1 of 2 members is left (cp1), 2 are needed"},
		{name: "the only one is down, others are new", hosts: "cp1+/m1 cp2 cp3", want: "wait cp1",
			then: "add cp2; start cp2; promote cp2; add cp3; start cp3; promote cp3", notices: "cp2 has no data"},
		{name: "the only one is down, others are not seen", hosts: "cp1+/m1 cp2? cp3?", want: "wait cp1", notices: "cp2 was not reached"},
		{name: "the only one is not seen, others are new", hosts: "cp1? cp2/m1 cp3", refused: "not reached: cp1"},
		{name: "the only one is not in the inventory", hosts: "cp2/m1 cp3", refused: "https://10.0.0.1:2380 (not in the inventory)"},
		{name: "a mark of a host that is not seen is not believed", hosts: "cp1+/m123 cp2+/m123 cp3?/m12345", want: "wait cp1; wait cp2", notices: "cp3 was not reached"},
		{name: "the larger mark counts", hosts: "cp1+/m1 cp2+/m12", want: "wait cp1; wait cp2", notices: "remember different members"},
		{name: "the larger mark counts, and is not there", hosts: "cp1+/m1 cp2/m123 cp3", refused: "data of 1 of 3 members is left"},
		{name: "of equal marks the more frequent counts", hosts: "cp1+/m124 cp2+/m124 cp3/m123 cp4", want: "wait cp1; wait cp2",
			then: "remove cp4; add cp3; start cp3; promote cp3; add cp4; start cp4; promote cp4", notices: "the largest list counts: https://10.0.0.1:2380, https://10.0.0.2:2380, https://10.0.0.4:2380"},
		{name: "what a member remembers counts beside marks", hosts: "cp1+/m1 cp2 cp3", views: "cp1/r123", refused: "data of 1 of 3 members is left"},
		{name: "a member in the inventory no more is not known", hosts: "cp1+/m123 cp2", refused: "https://10.0.0.3:2380 (not in the inventory)"},
		{name: "an answering member proves data on a host that was not seen", hosts: "cp1+/m123 cp2? cp3", views: "cp2/n", want: "wait cp1; wait cp2",
			then: "remove cp3; add cp3; start cp3; promote cp3", notices: "cp3 has no data"},
		{name: "one that came since the mark is started too", hosts: "cp1+/m1 cp2+/i12 cp3", want: "wait cp1; wait cp2",
			then: "add cp3; start cp3; promote cp3", notices: "cp3 has no data"},
		{name: "data of something else is not started", hosts: "cp1+/m1 cp3+/i3", want: "wait cp1",
			then: "set-aside cp3; add cp3; start cp3; promote cp3", notices: "cp3 has data of etcd that is not known to be of this cluster"},
		{name: "marks of two clusters", hosts: "cp1+/m1 cp2+/m2", refused: "cp2 has data|its mark names the members https://10.0.0.2:2380|they are https://10.0.0.1:2380: these are two clusters"},
		{name: "marks of two clusters, one larger", hosts: "cp1+/m123 cp2+/m123 cp3+/m123 cp4+/m45", refused: "cp4 has data|these are two clusters"},
		{name: "views of two clusters", hosts: "cp1+/m123 cp2+/m123 cp3", views: "cp1/n cp2/n/c2", refused: "2 different clusters: cluster 1 on cp1; cluster 2 on cp2"},
		{name: "removal asked without a quorum", hosts: "cp1+/m123 cp2+/m123 cp3", remove: "cp3", refused: "the removal of cp3 was asked for|only a quorum can remove"},
	})
}
