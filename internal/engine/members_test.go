package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

// initial is how the member on a host was told to start: state, and who is there.
func (e *etcdLab) initial(name string) string {
	flags := podFlags(e.roots[name].Read(etcdManifest))
	var hosts []string
	for entry := range strings.SplitSeq(flags[templates.EtcdInitialCluster], ",") {
		host, url, _ := strings.Cut(entry, "=")
		if url != e.peerURL(host) {
			e.t.Errorf("%s is told that %s is at %s", name, host, url)
		}
		hosts = append(hosts, host)
	}
	return flags[templates.EtcdInitialClusterState] + " " + strings.Join(hosts, ",")
}

// actions are the changes of the membership that a plan foresees.
func actions(p *plan.Plan) []string {
	var all []string
	for _, a := range p.Actions {
		all = append(all, a.What+" "+a.Host)
	}
	return all
}

// requireFault compares the kind of an error and what it says.
func requireFault(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	if got := fault.KindOf(err); got != kind {
		t.Errorf("the error is of kind %s, want %s: %v", got, kind, err)
	}
	for _, want := range says {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// A new cluster starts everything at once: no membership is changed, and no host waits for another.
func TestMembersOfNewCluster(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newEtcdLab(t, n)
			p, err := e.plan()
			if err != nil || len(p.Actions) > 0 {
				t.Errorf("%v, changes of the membership are planned: %v", err, actions(p))
			}
			if err := e.apply(); err != nil {
				t.Fatal(err)
			}
			var want, hosts []string
			for i := range n {
				hosts = append(hosts, fmt.Sprintf("cp%d", i+1))
				want = append(want, hosts[i]+" etcd api kubelet")
			}
			slices.Sort(e.log)
			e.requireLog(append(want, "w1 kubelet")...)
			e.requireMembers(hosts...)
			for _, name := range hosts {
				if got := e.initial(name); got != "new "+strings.Join(hosts, ",") {
					t.Errorf("%s starts as %s", name, got)
				}
			}
			e.requireEmpty()
		})
	}
}

// New control planes join one at a time. Each is told of those who are there at that moment, votes
// before anything is started that needs it to, and etcd may refuse for a while.
func TestMembersJoin(t *testing.T) {
	e := newEtcdLab(t, 1)
	e.bringUp()
	for _, step := range []struct {
		controlPlanes                 int
		notInSync, unhealthy, away    int
		planned, log, members, starts []string
	}{
		{
			controlPlanes: 2, notInSync: 2, unhealthy: 1, planned: []string{"add cp2", "promote cp2"},
			log:     []string{"add cp2", "cp2 etcd kubelet", "promote cp2", "cp2 api"},
			members: []string{"cp1", "cp2"}, starts: []string{"cp2: existing cp1,cp2"},
		},
		{
			controlPlanes: 4, unhealthy: 1, planned: []string{"add cp3", "promote cp3", "add cp4", "promote cp4"},
			log: []string{
				"add cp3", "cp3 etcd kubelet", "promote cp3", "cp3 api",
				"add cp4", "cp4 etcd kubelet", "promote cp4", "cp4 api",
			},
			members: []string{"cp1", "cp2", "cp3", "cp4"}, starts: []string{"cp2: existing cp1,cp2", "cp3: existing cp1,cp2,cp3", "cp4: existing cp1,cp2,cp3,cp4"},
		},
	} {
		e.controlPlanes(step.controlPlanes)
		p, err := e.plan()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.planned, actions(p)); diff != "" {
			t.Errorf("planned (-want +got):\n%s", diff)
		}
		e.notInSync, e.unhealthy = step.notInSync, step.unhealthy
		if err := e.apply(); err != nil {
			t.Fatal(err)
		}
		e.requireLog(step.log...)
		e.requireMembers(step.members...)
		for _, want := range step.starts {
			name, how, _ := strings.Cut(want, ": ")
			if got := e.initial(name); got != how {
				t.Errorf("%s starts as %s, want %s", name, got, how)
			}
		}
		if got := e.initial("cp1"); got != "new cp1" {
			t.Errorf("the manifest of cp1, which was there, became %s", got)
		}
		e.requireEmpty()
	}
}

// A learner that never catches up is taken back, so that the members are as before, and what is not
// needed is not left running. The next run begins anew with it.
func TestLearnerNeverInSync(t *testing.T) {
	e := newEtcdLab(t, 2)
	e.bringUp()
	e.controlPlanes(3)
	e.notInSync = -1
	e.with(func(o *engine.Options) { o.JoinTimeout = time.Second })
	err := e.apply()
	requireFault(t, err, fault.ChangeFailed, "cp3", "it has not become a member of etcd", "not in sync")
	e.requireLog("add cp3", "cp3 etcd kubelet", "remove cp3", "cp3 -etcd")
	e.requireMembers("cp1", "cp2")
	if e.roots["cp3"].Read(apiManifest) != "" {
		t.Error("cp3 was given an API server without a member that votes")
	}
	e.notInSync = 0
	e.options = e.defaults
	e.mustApply()
	e.requireMembers("cp1", "cp2", "cp3")
	// The kubelet is started anew: it would let the pod wait that has failed before.
	e.requireLog("cp3 aside", "add cp3", "cp3 etcd kubelet", "promote cp3", "cp3 api")
}

// A host that the others do not reach does not get to vote, though its member is in sync, nor does one
// that is not let in. That is said, and the members are as before, to the ID.
func TestPeersDoNotReachEachOther(t *testing.T) {
	for closed, says := range map[string]string{
		"cp3": "cp1 cannot reach cp3 (10.111.0.23) on 2380/tcp (etcd peers): timed out",
		"cp1": "cp3 cannot reach cp1 (10.111.0.21) on 2380/tcp (etcd peers): timed out",
	} {
		t.Run(closed, func(t *testing.T) {
			e := newEtcdLab(t, 2)
			e.bringUp()
			before := slices.Clone(e.members)
			e.controlPlanes(3)
			e.closed[closed] = true
			e.with(func(o *engine.Options) { o.JoinTimeout = time.Second })
			err := e.apply()
			requireFault(t, err, fault.ChangeFailed, "cp3: etcd: it has not become a member of etcd: waited", says)
			if hints := fault.Hints(err); !slices.Contains(hints, "open the ports in the firewalls between them, on both hosts") {
				t.Errorf("the hints are %q", hints)
			}
			e.requireLog("add cp3", "cp3 etcd kubelet", "remove cp3", "cp3 -etcd")
			if diff := cmp.Diff(before, e.members); diff != "" {
				t.Errorf("members (-before +after):\n%s", diff)
			}
			clear(e.closed)
			e.options = e.defaults
			e.mustApply()
			e.requireMembers("cp1", "cp2", "cp3")
		})
	}
}

// A member that does not start is taken back as well. Where its host does not reach the others, who tell
// a new member who is there, that is said too.
func TestJoiningMemberDoesNotStart(t *testing.T) {
	for name, tc := range map[string]struct{ closed, says string }{
		"for another reason":             {"", "for the member of etcd on cp2 to start: nothing listens"},
		"it does not reach the others":   {"cp1", "nothing listens; cp2 cannot reach cp1 (10.111.0.21) on 2380/tcp (etcd peers): timed out"},
		"the others do not reach it yet": {"cp2", "to start: nothing listens"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 1)
			e.bringUp()
			e.controlPlanes(2)
			e.pulling["cp2"] = 1 << 30
			e.closed[tc.closed] = true
			e.with(func(o *engine.Options) { o.ReadyTimeout = 6 * time.Second })
			err := e.apply()
			requireFault(t, err, fault.ChangeFailed, "cp2: etcd: it has not become a member of etcd", tc.says)
			if said := strings.Contains(err.Error(), "cannot reach"); said != (tc.closed == "cp1") {
				t.Errorf("that a way is closed is said: %v: %v", said, err)
			}
			e.requireLog("add cp2", "cp2 etcd kubelet", "remove cp2", "cp2 -etcd")
			e.requireMembers("cp1")
		})
	}
}

// The time that a member has to join begins when it listens: before that its image is pulled.
func TestImageOfMemberTakesLong(t *testing.T) {
	e := newEtcdLab(t, 1)
	e.bringUp()
	e.controlPlanes(2)
	e.pulling["cp2"] = 9 // takes longer
	e.with(func(o *engine.Options) { o.JoinTimeout = 3 * time.Second })
	e.mustApply()
	e.requireLog("add cp2", "cp2 etcd kubelet", "promote cp2", "cp2 api")
	e.requireMembers("cp1", "cp2")
}

// A promotion that was made, and whose answer came to nobody, is seen before the member is taken back.
func TestAnswerToPromotionIsLost(t *testing.T) {
	e := newEtcdLab(t, 1)
	e.bringUp()
	e.controlPlanes(2)
	e.unanswered = true
	e.with(func(o *engine.Options) { o.JoinTimeout = 3 * time.Second })
	e.mustApply()
	e.requireLog("add cp2", "cp2 etcd kubelet", "promote cp2", "cp2 api")
	e.requireMembers("cp1", "cp2")
}

// Where the first start of a cluster was cut short, the members that have begun are started before the
// others are: they know of a member that was there before and has lost its data.
func TestFirstMembersComeFirst(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.hook = func(name string, _ int64, script []byte) error {
		if isAct(script) && bytes.Contains(script, []byte(etcdManifest)) && name != "cp1" {
			return errBoom
		}
		return nil
	}
	if err := e.apply(); !errors.Is(err, errBoom) {
		t.Fatalf("%v", err)
	}
	e.clear()
	e.hook = nil
	e.roots["cp1"].Write(kubeletState+"active", "inactive\n")
	e.pulling["cp1"] = 3
	var early []string
	e.onEntry = func(entry string) {
		if !strings.HasPrefix(entry, "cp1") && e.running("cp1") == nil {
			early = append(early, entry)
		}
	}
	e.mustApply()
	e.onEntry = nil
	if len(early) > 0 {
		t.Errorf("before the member on cp1 was there again: %q", early)
	}
	slices.Sort(e.log)
	e.requireLog("cp1 kubelet", "cp2 etcd api kubelet", "cp3 etcd api kubelet")
	e.requireMembers("cp1", "cp2", "cp3")
}

// A member whose data is gone is removed before its host joins anew.
func TestMemberLostItsData(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.bringUp()
	e.loseData("cp2")
	p, err := e.plan()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"remove cp2", "add cp2", "promote cp2"}, actions(p)); diff != "" {
		t.Errorf("planned (-want +got):\n%s", diff)
	}
	e.mustApply()
	e.requireLog("cp2 -etcd", "remove cp2", "add cp2", "cp2 etcd kubelet", "promote cp2")
	e.requireMembers("cp1", "cp2", "cp3")
}

// The data of a member that the others have removed is kept, but out of the way.
func TestFormerMember(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.bringUp()
	e.members = slices.Delete(e.members, 2, 3)
	was := e.roots["cp3"].Read(etcdData + "/id")
	p, err := e.plan()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"set-aside cp3", "add cp3", "promote cp3"}, actions(p)); diff != "" {
		t.Errorf("planned (-want +got):\n%s", diff)
	}
	e.mustApply()
	e.requireLog("cp3 -etcd", "cp3 aside", "add cp3", "cp3 etcd kubelet", "promote cp3")
	e.requireMembers("cp1", "cp2", "cp3")
	if kept := e.roots["cp3"].Read(etcdData + ".removed/id"); kept != was || e.roots["cp3"].Read(etcdData+"/id") == was {
		t.Errorf("the data of member %s was not set aside: %q", was, kept)
	}
}

// Without a quorum for good, nothing is changed.
func TestQuorumIsLost(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.bringUp()
	e.loseData("cp2")
	e.loseData("cp3")
	e.podArgs["api"] = []string{"--changed"}
	err := e.apply()
	requireFault(t, err, fault.Unhealthy, "lost its quorum", "1 of 3 members")
	if len(fault.Hints(err)) == 0 {
		t.Error("there is no hint what to do")
	}
	e.requireLog()
}

// Members that are all stopped come back together: one that is alone would wait for the others.
func TestStoppedMembers(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.bringUp()
	for _, name := range []string{"cp1", "cp2", "cp3"} {
		if err := os.Remove(e.roots[name].Path(etcdManifest)); err != nil {
			t.Fatal(err)
		}
	}
	e.mustApply()
	slices.Sort(e.log)
	e.requireLog("cp1 etcd", "cp2 etcd", "cp3 etcd")
	e.requireMembers("cp1", "cp2", "cp3")
}

// A host joins also where others are started first, for without them nobody can let it in.
func TestJoinAfterStart(t *testing.T) {
	e := newEtcdLab(t, 2)
	e.bringUp()
	e.controlPlanes(3)
	for _, name := range []string{"cp1", "cp2"} {
		if err := os.Remove(e.roots[name].Path(etcdManifest)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.apply(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(e.log[:2])
	e.requireLog("cp1 etcd", "cp2 etcd", "add cp3", "cp3 etcd kubelet", "promote cp3", "cp3 api")
	// Who voted was not known when the run began, so nobody's note loses a member.
	for name, want := range map[string][]string{"cp1": {"cp1", "cp2"}, "cp2": {"cp1", "cp2"}, "cp3": {"cp1", "cp2", "cp3"}} {
		for _, noted := range want {
			if !strings.Contains(e.roots[name].Read(sh.MembersPath), noted+"=") {
				t.Errorf("the note on %s has no %s: %s", name, noted, e.roots[name].Read(sh.MembersPath))
			}
		}
	}
	e.mustApply() // which notes all three everywhere
	e.requireLog()
}

// A run that is limited to one new control plane has it join, whoever else is to join later.
func TestLimitToNewControlPlane(t *testing.T) {
	for _, name := range []string{"cp2", "cp3"} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 1)
			e.bringUp()
			e.controlPlanes(3)
			only, err := inventory.ParseSelector(name)
			if err != nil {
				t.Fatal(err)
			}
			e.with(func(o *engine.Options) { o.Limit = only })
			p, err := e.plan()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"add " + name, "promote " + name}, actions(p)); diff != "" {
				t.Errorf("planned (-want +got):\n%s", diff)
			}
			e.mustApply()
			e.requireLog("add "+name, name+" etcd kubelet", "promote "+name, name+" api")
			e.requireMembers("cp1", name)
			if got := e.initial(name); got != "existing cp1,"+name {
				t.Errorf("%s starts as %s", name, got)
			}
		})
	}
}

// A run that is interrupted leaves its learner, which holds up nothing; the next run goes on with it,
// and does not wait for it where it changes the others.
func TestInterruptedJoin(t *testing.T) {
	for _, at := range []string{"add cp2", "cp2 etcd kubelet"} {
		t.Run(at, func(t *testing.T) {
			e := newEtcdLab(t, 1)
			e.bringUp()
			e.controlPlanes(2)
			ctx, cancel := context.WithCancel(t.Context())
			e.notInSync = -1
			e.onEntry = func(entry string) {
				if entry == at {
					cancel()
				}
			}
			_, stats, err := e.engine().Apply(ctx, accept)
			e.requireStats(stats)
			requireFault(t, err, fault.Interrupted)
			if !slices.ContainsFunc(e.members, func(m etcd.Member) bool { return m.Learner }) {
				t.Fatalf("the learner was not left: %v", e.members)
			}
			e.clear()
			e.onEntry, e.notInSync = nil, 0
			e.podArgs["api"] = []string{"--changed"}
			e.with(func(o *engine.Options) { o.ReadyTimeout = 10 * time.Second })
			e.mustApply()
			e.requireMembers("cp1", "cp2")
			joined, rolled := slices.Index(e.log, "promote cp2"), slices.Index(e.log, "cp1 ~api")
			if joined < 0 || rolled < 0 || slices.Contains(e.log, "add cp2") || slices.Contains(e.log, "remove cp2") {
				t.Errorf("the next run did %q", e.log)
			}
		})
	}
}

// An election, in which no majority answers for a moment, is waited for.
func TestElectionWhileJoining(t *testing.T) {
	e := newEtcdLab(t, 2)
	e.bringUp()
	e.controlPlanes(3)
	_, stats, err := e.engine().Apply(t.Context(), func(*plan.Plan) error {
		e.guard.Lock()
		defer e.guard.Unlock()
		e.away = 5
		return nil
	})
	e.requireStats(stats)
	if err != nil {
		t.Fatal(err)
	}
	e.requireMembers("cp1", "cp2", "cp3")
}

// Members that do not answer are not counted on: nobody joins where too few are known to be well.
func TestSilentMember(t *testing.T) {
	e := newEtcdLab(t, 2)
	e.bringUp()
	e.silent["cp2"] = true
	e.controlPlanes(3)
	err := e.apply()
	requireFault(t, err, fault.Unhealthy, "letting cp3 join needs the consent of 2 of the 2 voters", "cp2")
	e.requireLog()
	e.requireMembers("cp1", "cp2")
}

// Phases that would leave a host half a member are refused before anything is changed.
func TestPhasesOfJoiningHosts(t *testing.T) {
	for name, test := range map[string]struct {
		only []string
		says string
	}{
		"what needs a voter":      {[]string{"control-plane"}, "the phase control-plane needs a member of etcd that votes"},
		"a part of what joins it": {[]string{"etcd"}, "cp2 joins etcd, which takes all phases"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 1)
			e.bringUp()
			e.controlPlanes(2)
			e.with(func(o *engine.Options) {
				o.Only = map[string]bool{}
				for _, phase := range test.only {
					o.Only[phase] = true
				}
			})
			e.refused(fault.BadInput, "cp2", test.says)
			e.requireLog()
			e.requireMembers("cp1")
		})
	}
}
