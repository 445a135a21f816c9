package engine_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/sh"
)

// A machine that has just died leaves a node that looks Ready: it is not drained for ever.
func TestRemoveNodeThatHasJustDied(t *testing.T) {
	e := removeLab(t, 3)
	e.refuse["cp3"], e.down["cp3"] = true, true
	shown, err := e.remove(t.Context(), "cp3")
	if err != nil || shown == nil || shown.Ready {
		t.Fatalf("%+v, %v", shown, err)
	}
	e.requireLog("remove cp3", "delete cp3")
}

// removeLab is a cluster whose nodes are all Ready.
func removeLab(t *testing.T, controlPlanes int) *etcdLab {
	t.Helper()
	e := newEtcdLab(t, controlPlanes)
	e.bringUp()
	for _, h := range e.cluster.Hosts {
		e.nodes[h.Name] = true
	}
	return e
}

// remove removes a node, and returns what was shown before: nil when it did not come to that.
func (e *etcdLab) remove(ctx context.Context, name string) (shown *engine.Removal, err error) {
	e.t.Helper()
	_, err = e.removeIf(ctx, name, func(r engine.Removal) error {
		shown = &r
		return nil
	})
	return shown, err
}

func (e *etcdLab) removeIf(ctx context.Context, name string, confirm func(engine.Removal) error) ([]engine.Stats, error) {
	e.t.Helper()
	stats, err := e.engine().RemoveNode(ctx, name, engine.RemoveOptions{DrainTimeout: time.Minute}, confirm)
	e.requireStats(stats)
	return stats, err
}

// requireClean requires that nothing of ours is left on a host.
func (e *etcdLab) requireClean(name string) {
	e.t.Helper()
	for _, p := range []string{etcdManifest, apiManifest, etcdData, "/etc/kubernetes", sh.StateDir} {
		if _, err := os.Lstat(e.roots[name].Path(p)); err == nil {
			e.t.Errorf("%s is left on %s", p, name)
		}
	}
}

// A node leaves in an order in which nothing is lost: its pods, its member, what is on its host, and
// its Node object last.
func TestRemoveNode(t *testing.T) {
	for name, tc := range map[string]struct {
		node          string
		controlPlanes int
		arrange       func(e *etcdLab)
		actions, log  []string
		members       []string
		dead, bare    bool // the host does not answer; there is no host, or nothing on it
	}{
		"a control plane": {
			node: "cp3", controlPlanes: 3, actions: []string{"remove cp3"},
			log: []string{"cordon cp3", "remove cp3", "cp3 -etcd -api", "delete cp3"}, members: []string{"cp1", "cp2"},
		},
		"the control plane that comes first": {
			node: "cp1", controlPlanes: 3, actions: []string{"remove cp1"},
			log: []string{"cordon cp1", "remove cp1", "cp1 -etcd -api", "delete cp1"}, members: []string{"cp2", "cp3"},
		},
		"one of two": {
			node: "cp2", controlPlanes: 2, actions: []string{"remove cp2"},
			log: []string{"cordon cp2", "remove cp2", "cp2 -etcd -api", "delete cp2"}, members: []string{"cp1"},
		},
		"a worker": {
			node: "w1", controlPlanes: 1, log: []string{"cordon w1", "delete w1"}, members: []string{"cp1"},
		},
		"a control plane whose host is dead": {
			node: "cp3", controlPlanes: 3, dead: true, actions: []string{"remove cp3"},
			arrange: func(e *etcdLab) { e.refuse["cp3"], e.down["cp3"], e.nodes["cp3"] = true, true, false },
			log:     []string{"remove cp3", "delete cp3"}, members: []string{"cp1", "cp2"},
		},
		"a member that etcd refuses to remove at first": {
			node: "cp3", controlPlanes: 3, actions: []string{"remove cp3"}, arrange: func(e *etcdLab) { e.unhealthy = 2 },
			log: []string{"cordon cp3", "remove cp3", "cp3 -etcd -api", "delete cp3"}, members: []string{"cp1", "cp2"},
		},
		"a node that the inventory does not have any more": {
			node: "cp3", controlPlanes: 3, bare: true, actions: []string{"remove "}, arrange: func(e *etcdLab) { e.controlPlanes(2) },
			log: []string{"cordon cp3", "remove cp3", "delete cp3"}, members: []string{"cp1", "cp2"},
		},
		"a node that was never registered": {
			node: "cp3", controlPlanes: 3, actions: []string{"remove cp3"}, arrange: func(e *etcdLab) { delete(e.nodes, "cp3") },
			log: []string{"remove cp3", "cp3 -etcd -api"}, members: []string{"cp1", "cp2"},
		},
		"a worker beside a member that has lost its data": {
			node: "w1", controlPlanes: 3, arrange: func(e *etcdLab) { e.loseData("cp3") },
			log: []string{"cordon w1", "delete w1"}, members: []string{"cp1", "cp2", "cp3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := removeLab(t, tc.controlPlanes)
			if tc.arrange != nil {
				tc.arrange(e)
			}
			_, registered := e.nodes[tc.node]
			ready := e.nodes[tc.node]
			shown, err := e.remove(t.Context(), tc.node)
			if err != nil || shown == nil {
				t.Fatal(err)
			}
			var actions []string
			for _, a := range shown.Actions {
				actions = append(actions, a.What+" "+a.Host)
			}
			if diff := cmp.Diff(tc.actions, actions); diff != "" {
				t.Errorf("shown (-want +got):\n%s", diff)
			}
			if shown.Registered != registered || shown.Ready != ready || (shown.Things > 0) == (tc.dead || tc.bare) || (shown.Unreached != nil) != tc.dead {
				t.Errorf("shown: %+v", shown)
			}
			e.requireLog(tc.log...)
			e.requireMembers(tc.members...)
			if slices.Contains(e.registered(), tc.node) {
				t.Error("its Node is there still")
			}
			if !tc.dead && !tc.bare {
				e.requireClean(tc.node)
			}
			if said := slices.ContainsFunc(e.events.of(report.Notice), func(n report.Event) bool { return strings.Contains(n.Message, "not drained") }); said != (registered && !ready) {
				t.Errorf("that it was not drained is said: %v", said)
			}
		})
	}
}

// Machines that join are told of a control plane that has left no more; of a worker they were not told.
func TestRemoveTellsWhoJoins(t *testing.T) {
	const document = "kind: Cluster\nspec:\n  hosts:\n    - name: cp1\n    - name: cp2\n"
	e := removeLab(t, 2)
	e.document = document
	if _, err := e.remove(t.Context(), "w1"); err != nil || e.document != document {
		t.Errorf("%v, it tells %s", err, e.document)
	}
	e.clear()
	if _, err := e.remove(t.Context(), "cp2"); err != nil {
		t.Fatal(err)
	}
	e.requireLog("cordon cp2", "remove cp2", "tell", "cp2 -etcd -api", "delete cp2")
	if e.document != "kind: Cluster\nspec:\n  hosts:\n    - name: cp1\n" {
		t.Errorf("it tells %s", e.document)
	}
}

// The rest of a cluster goes on after a removal, and the host can come back.
func TestRemoveAndJoinAgain(t *testing.T) {
	e := removeLab(t, 3)
	if _, err := e.remove(t.Context(), "cp2"); err != nil {
		t.Fatal(err)
	}
	e.clear()
	e.mustApply()
	e.requireLog("add cp2", "cp2 etcd kubelet", "promote cp2", "cp2 api")
	e.requireMembers("cp1", "cp2", "cp3")
}

// What is refused leaves everything as it is.
func TestRemoveRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		node          string
		controlPlanes int
		arrange       func(e *etcdLab)
		kind          fault.Kind
		says          string
	}{
		"an unknown name": {node: "w9", controlPlanes: 1, kind: fault.BadInput, says: "no node, no host and no member of etcd named w9"},
		"an unknown name, while a member has lost its data": {
			node: "w9", controlPlanes: 3, arrange: func(e *etcdLab) { e.loseData("cp2") }, kind: fault.BadInput, says: "named w9",
		},
		"the last control plane": {node: "cp1", controlPlanes: 1, kind: fault.Unhealthy, says: "no other control plane was reached"},
		"the last control plane that is reached": {
			node: "cp1", controlPlanes: 2, arrange: func(e *etcdLab) { e.refuse["cp2"] = true }, kind: fault.Unhealthy, says: "no other control plane was reached",
		},
		"a healthy member while another is dead": {
			node: "cp3", controlPlanes: 3, arrange: func(e *etcdLab) { e.refuse["cp2"], e.down["cp2"] = true, true }, kind: fault.Unhealthy, says: "would lose the quorum",
		},
		"any member without a quorum": {
			node: "cp3", controlPlanes: 3, arrange: func(e *etcdLab) { e.down["cp2"], e.down["cp3"] = true, true }, kind: fault.Unhealthy, says: "an API server to be ready",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := removeLab(t, tc.controlPlanes)
			before, nodes := slices.Clone(e.members), e.registered()
			if tc.arrange != nil {
				tc.arrange(e)
			}
			e.with(func(o *engine.Options) { o.ReadyTimeout = 10 * time.Second })
			shown, err := e.remove(t.Context(), tc.node)
			requireFault(t, err, tc.kind, tc.says)
			if shown != nil {
				t.Errorf("the operator was asked: %+v", shown)
			}
			e.requireLog()
			if diff := cmp.Diff(before, e.members); diff != "" {
				t.Errorf("members (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(nodes, e.registered()); diff != "" {
				t.Errorf("nodes (-before +after):\n%s", diff)
			}
		})
	}
}

// The operator may say no.
func TestRemoveNotConfirmed(t *testing.T) {
	e := removeLab(t, 3)
	if _, err := e.removeIf(t.Context(), "cp3", func(engine.Removal) error { return errBoom }); !errors.Is(err, errBoom) {
		t.Errorf("%v", err)
	}
	e.requireLog()
	e.requireMembers("cp1", "cp2", "cp3")
}

// A removal that was interrupted is done by the next one, and what was done is not done again.
func TestRemoveInterrupted(t *testing.T) {
	for at, want := range map[string][]string{
		"cordon cp3":     {"remove cp3", "cp3 -etcd -api", "delete cp3"},
		"remove cp3":     {"cp3 -etcd -api", "delete cp3"},
		"cp3 -etcd -api": {"delete cp3"},
		"delete cp3":     nil,
	} {
		t.Run(at, func(t *testing.T) {
			e := removeLab(t, 3)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			e.onEntry = func(entry string) {
				if entry == at {
					cancel()
				}
			}
			if _, err := e.remove(ctx, "cp3"); at != "delete cp3" {
				requireFault(t, err, fault.Interrupted)
			}
			e.clear()
			e.onEntry = nil
			if _, err := e.remove(t.Context(), "cp3"); err != nil {
				t.Fatal(err)
			}
			if got := slices.DeleteFunc(slices.Clone(e.log), func(entry string) bool { return entry == "cordon cp3" }); !slices.Equal(got, want) {
				t.Errorf("the second run did %q, want %q", got, want)
			}
			e.requireMembers("cp1", "cp2")
			e.requireClean("cp3")
			if slices.Contains(e.registered(), "cp3") {
				t.Error("its Node is there still")
			}
		})
	}
}
