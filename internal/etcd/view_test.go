package etcd_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"kubewright/internal/etcd"
	"kubewright/internal/kube/apitest"
)

// soon is longer than one look takes at most and shorter than a request.
const soon = 8 * time.Second

func TestView(t *testing.T) {
	t.Parallel()
	members := []etcd.Member{
		{ID: cp1, Name: "cp1", PeerURLs: []string{peerURL(cp1)}},
		{ID: cp2, Name: "cp2", PeerURLs: []string{peerURL(cp2)}},
		{ID: cp3, Name: "cp3", PeerURLs: []string{peerURL(cp3)}},
	}
	tests := []struct {
		name  string
		world func(*fakeMember)
		want  etcd.View
	}{
		{"leader", func(*fakeMember) {}, etcd.View{MemberID: cp1, LeaderID: cp1, Members: members, Quorum: true}},
		{"follower", func(f *fakeMember) { f.leader = cp2 }, etcd.View{MemberID: cp1, LeaderID: cp2, Members: members, Quorum: true}},
		{
			"no quorum: what it remembers",
			func(f *fakeMember) { f.leader, f.noQuorum = 0, true }, etcd.View{MemberID: cp1, Members: members},
		},
		{
			"learner: itself only",
			func(f *fakeMember) { f.members, f.self = append(f.members, newcomer(joining)), joining },
			etcd.View{MemberID: joining, LeaderID: cp1, Learner: true},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake := startFake(t)
			fake.with(func() { test.world(fake) })
			begun := time.Now()
			got, err := newClient(t, fake.config()).View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			test.want.ClusterID, test.want.Version = clusterID, "3.7.3"
			test.want.RaftIndex, test.want.RaftApplied = 70, 69
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("view (-want +got):\n%s", diff)
			}
			if took := time.Since(begun); took > soon {
				t.Errorf("took %s", took)
			}
		})
	}
}

// paused listens and never answers, as a machine that is paused or hangs does.
func paused(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "https://" + listener.Addr().String()
}

// TestNoAnswer asks in each way a member that does not answer, and one without a quorum, and expects
// to be told so soon. All are asked at once, since each takes its three seconds.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	alone := startFake(t)
	alone.with(func() { alone.noQuorum, alone.leader = true, 0 })
	hangs, gone := alone.config(), alone.config()
	hangs.Endpoint = paused(t)
	gone.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("host cp9 is gone") }
	calls := []struct {
		doing string
		call  func(context.Context, *etcd.Client) error
	}{
		{"add the learner https://cp4:2380", func(ctx context.Context, c *etcd.Client) error {
			_, _, err := c.AddLearner(ctx, peerURL(joining))
			return err
		}},
		{"promote c2", func(ctx context.Context, c *etcd.Client) error { return c.Promote(ctx, cp2) }},
		{"remove c2", func(ctx context.Context, c *etcd.Client) error { return c.Remove(ctx, cp2) }},
		{"look at the cluster", func(ctx context.Context, c *etcd.Client) error { _, err := c.View(ctx); return err }},
	}
	members := []struct {
		config  etcd.Config
		because string
		calls   int // how many of the calls fail
	}{
		{hangs, "is it stopped, paused or cut off?", len(calls)},
		{gone, "(connection: host cp9 is gone)", len(calls)},
		{alone.config(), etcd.ErrNoQuorum.Error(), len(calls) - 1},
	}
	var wg sync.WaitGroup
	for _, member := range members {
		for _, call := range calls[:member.calls] {
			client := newClient(t, member.config)
			wg.Go(func() {
				begun := time.Now()
				err := call.call(t.Context(), client)
				for _, want := range []string{"etcd " + member.config.Endpoint + ": ", call.doing, member.because} {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%s: error is %v, want %q", call.doing, err, want)
					}
				}
				if took := time.Since(begun); took > soon {
					t.Errorf("%s took %s", err, took)
				}
			})
		}
	}
	wg.Wait()
	alone.with(func() {
		if len(alone.changes) > 0 {
			t.Errorf("asked for %v without a quorum", alone.changes)
		}
	})
}

// TestViewErrors are failures that must not be taken for a lost quorum.
func TestViewErrors(t *testing.T) {
	t.Parallel()
	refuse := func() error { return rpctypes.ErrGRPCPermissionDenied }
	for _, call := range []string{"Status", "MemberList"} {
		t.Run(call+" refused", func(t *testing.T) {
			t.Parallel()
			fake := startFake(t)
			fake.with(func() { fake.before[call] = refuse })
			view, err := newClient(t, fake.config()).View(t.Context())
			if !errors.Is(err, rpctypes.ErrPermissionDenied) || !cmp.Equal(view, etcd.View{}) {
				t.Errorf("view is %+v, error %v", view, err)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		fake := startFake(t)
		ctx, cancel := context.WithCancel(t.Context())
		fake.with(func() {
			fake.noQuorum = true
			fake.before["MemberList"] = func() error { cancel(); return nil }
		})
		if _, err := newClient(t, fake.config()).View(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("pauses after the first answer", func(t *testing.T) {
		t.Parallel()
		fake := startFake(t)
		hang := func() error { <-t.Context().Done(); return nil }
		fake.with(func() {
			fake.before["MemberList"] = func() error {
				fake.with(func() { fake.before["MemberList"] = hang })
				return hang()
			}
		})
		_, err := newClient(t, fake.config()).View(t.Context())
		if err == nil || !strings.Contains(err.Error(), "list members without a quorum") {
			t.Errorf("error is %v", err)
		}
	})
}

// TestRedial: a member that was away for long is tried again soon. At the pace of gRPC, which slows
// down to two minutes, a look would end before the next attempt and say that there is no quorum.
func TestRedial(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	pki := apitest.NewPKI(t)
	config := (&fakeMember{Endpoint: "https://127.0.0.1:1", pki: pki}).config()
	config.Dial = func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("host cp9 is gone")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := newClient(t, config).Members(ctx); err == nil {
		t.Error("nobody answers, and no error")
	}
	if dials.Load() < 6 {
		t.Errorf("tried %d times in four seconds", dials.Load())
	}
}
