package etcd_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"kubewright/internal/etcd"
)

// change is a world, what is asked for in it, and what becomes of it.
type change struct {
	name  string
	world func(*fakeMember)
	// asked are the changes that the member was asked for.
	asked []string
	// is is the error, and says what it says besides; both empty without one.
	is   error
	says string
}

// run makes the world and the change, and compares. Without an error the change is repeated, which
// must ask for nothing more.
func (c change) run(t *testing.T, do func(*etcd.Client) error) *fakeMember {
	t.Helper()
	t.Parallel()
	fake := startFake(t)
	if c.world != nil {
		fake.with(func() { c.world(fake) })
	}
	client := newClient(t, fake.config())
	begun := time.Now()
	err := do(client)
	wantError := c.is != nil || c.says != ""
	if wantError != (err != nil) || c.is != nil && !errors.Is(err, c.is) {
		t.Errorf("error is %v, want %v %s", err, c.is, c.says)
	}
	if wantError && err != nil && (!strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "etcd "+fake.Endpoint+": ")) {
		t.Errorf("error is %q, want %q and the endpoint", err, c.says)
	}
	if took := time.Since(begun); took > soon {
		t.Errorf("took %s", took)
	}
	if !wantError {
		if err := do(client); err != nil {
			t.Errorf("repeated: %v", err)
		}
	}
	fake.with(func() {
		if diff := cmp.Diff(c.asked, fake.changes); diff != "" {
			t.Errorf("changes asked for (-want +got):\n%s", diff)
		}
	})
	return fake
}

// refused lets etcd refuse the next call of the name.
func refused(call string, err error) func(*fakeMember) {
	return func(f *fakeMember) { f.before[call] = func() error { return err } }
}

func TestAddLearner(t *testing.T) {
	t.Parallel()
	add := []string{"MemberAdd"}
	joins := func(m *etcdserverpb.Member) func(*fakeMember) {
		return func(f *fakeMember) { f.members = append(f.members, m) }
	}
	tests := []struct {
		change
		voter bool
	}{
		{change: change{name: "new", asked: add}},
		{change: change{name: "there, not started", world: joins(newcomer(joining))}},
		{change: change{name: "there, votes", world: joins(voter(joining))}, voter: true},
		{change: change{name: "somebody else is faster", asked: add, world: func(f *fakeMember) {
			f.before["MemberAdd"] = func() error { f.with(func() { joins(newcomer(joining))(f) }); return nil }
		}}},
		{change: change{
			name: "another learner", world: joins(newcomer(0xff)), asked: add,
			is: etcd.ErrTooManyLearners, says: "add the learner https://cp4:2380: there is a learner already",
		}},
		{change: change{name: "unhealthy", world: refused("MemberAdd", rpctypes.ErrGRPCUnhealthy), is: etcd.ErrUnhealthy, says: "unhealthy cluster"}},
		{change: change{
			name: "voters not started", world: refused("MemberAdd", rpctypes.ErrGRPCMemberNotEnoughStarted),
			is: etcd.ErrUnhealthy, says: "not enough started members",
		}},
		{change: change{name: "the leader is lost meanwhile", world: refused("MemberAdd", rpctypes.ErrGRPCNoLeader), is: etcd.ErrNoQuorum}},
		{change: change{
			name: "not decided", world: refused("MemberAdd", rpctypes.ErrGRPCTimeout),
			is: rpctypes.ErrTimeout, says: "it may have happened all the same",
		}},
		{change: change{
			name: "asked of a learner", world: func(f *fakeMember) { f.find(cp1).IsLearner = true }, says: "ask a voter",
		}},
		{change: change{
			name: "added and gone", world: refused("MemberAdd", rpctypes.ErrGRPCPeerURLExist), says: "who else changes the members?",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, func(c *etcd.Client) error {
				got, members, err := c.AddLearner(t.Context(), peerURL(joining))
				if err == nil && (got.ID != joining || got.Learner == test.voter || len(members) != 4) {
					t.Errorf("member is %+v of %v", got, members)
				}
				return err
			})
		})
	}
	t.Run("no URL", func(t *testing.T) {
		change{says: "add the learner 10.0.0.4:2380: "}.run(t, func(c *etcd.Client) error {
			_, _, err := c.AddLearner(t.Context(), "10.0.0.4:2380")
			return err
		})
	})
}

func TestPromote(t *testing.T) {
	t.Parallel()
	asked := []string{"MemberPromote"}
	started := func(f *fakeMember) {
		learner := voter(joining)
		learner.IsLearner = true
		f.members = append(f.members, learner)
	}
	tests := []change{
		{name: "in sync", world: started, asked: asked},
		{name: "not started", world: func(f *fakeMember) { f.members = append(f.members, newcomer(joining)) }, asked: asked, is: etcd.ErrNotInSync},
		{name: "votes but is down", world: func(f *fakeMember) {
			f.members = append(f.members, &etcdserverpb.Member{ID: joining, PeerURLs: []string{peerURL(joining)}})
		}},
		{name: "somebody else is faster", asked: asked, world: func(f *fakeMember) {
			started(f)
			f.before["MemberPromote"] = func() error { f.with(func() { f.find(joining).IsLearner = false }); return nil }
		}},
		{name: "gone", is: etcd.ErrMemberGone, says: "promote c4: no such member"},
		{name: "removed meanwhile", asked: asked, is: etcd.ErrMemberGone, says: "member not found", world: func(f *fakeMember) {
			started(f)
			f.before["MemberPromote"] = func() error { f.with(func() { f.members = f.members[:3] }); return nil }
		}},
		{name: "unhealthy", is: etcd.ErrUnhealthy, world: func(f *fakeMember) {
			started(f)
			refused("MemberPromote", rpctypes.ErrGRPCMemberNotEnoughStarted)(f)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := test.run(t, func(c *etcd.Client) error { return c.Promote(t.Context(), joining) })
			fake.with(func() {
				if test.is == nil && fake.find(joining).IsLearner {
					t.Error("it does not vote")
				}
			})
		})
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	asked := []string{"MemberRemove"}
	tests := []change{
		{name: "voter", asked: asked},
		{name: "learner", asked: asked, world: func(f *fakeMember) { f.find(cp2).IsLearner = true }},
		{name: "gone", world: func(f *fakeMember) { f.members = []*etcdserverpb.Member{voter(cp1), voter(cp3)} }},
		{name: "somebody else is faster", asked: asked, world: func(f *fakeMember) {
			f.before["MemberRemove"] = func() error { f.with(func() { f.members = f.members[:2] }); return nil }
		}},
		{name: "unhealthy", world: refused("MemberRemove", rpctypes.ErrGRPCUnhealthy), is: etcd.ErrUnhealthy, says: "remove c2: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := test.run(t, func(c *etcd.Client) error { return c.Remove(t.Context(), cp2) })
			fake.with(func() {
				if test.is == nil && fake.find(cp2) != nil {
					t.Error("it is still there")
				}
			})
		})
	}
}

// TestLostAnswer: each change happens, its answer is lost, and it is asked for again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		call string
		do   func(*testing.T, *etcd.Client) error
		// asked is how often etcd is asked; only the client for moving the leader asks again by itself.
		asked int
	}{
		{"MemberAdd", func(t *testing.T, c *etcd.Client) error {
			_, _, err := c.AddLearner(t.Context(), peerURL(joining))
			return err
		}, 1},
		{"MemberPromote", func(t *testing.T, c *etcd.Client) error { return c.Promote(t.Context(), cp3) }, 1},
		{"MemberRemove", func(t *testing.T, c *etcd.Client) error { return c.Remove(t.Context(), cp2) }, 1},
	}
	for _, test := range tests {
		t.Run(test.call, func(t *testing.T) {
			t.Parallel()
			fake := startFake(t)
			fake.with(func() {
				fake.lost[test.call] = true
				fake.find(cp3).IsLearner = test.call == "MemberPromote"
			})
			client := newClient(t, fake.config())
			err := test.do(t, client)
			if test.asked == 1 && (err == nil || !strings.Contains(err.Error(), "it may have happened all the same")) {
				t.Errorf("error is %v", err)
			}
			if err := test.do(t, client); err != nil {
				t.Errorf("repeated: %v", err)
			}
			fake.with(func() {
				if diff := cmp.Diff(slices.Repeat([]string{test.call}, test.asked), fake.changes); diff != "" {
					t.Errorf("changes asked for (-want +got):\n%s", diff)
				}
			})
		})
	}
}
