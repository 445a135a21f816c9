package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	me    = "me@here pid 1"
	nonce = "7f3a"
	other = `you@there pid 2, "kubewright apply" since 2026-01-02T03:00:00Z 99aa`
)

// TestHoldLease takes the lease in every state in which it can be found. What others do is told by
// the clock, which in these tests stands still but for waits.
func TestHoldLease(t *testing.T) {
	const early = "2026-01-02T03:04:05.000000Z"
	mine := `{holderIdentity: "` + me + " " + nonce + `", acquireTime: "` + early + `", leaseDurationSeconds: 15, leaseTransitions: 3}`
	tests := []struct {
		name    string
		spec    string // of the Lease that is there; empty for none
		prepare func(*leaseAPI)
		force   bool
		within  time.Duration // a minute unless set
		after   time.Duration // when the answer must be there
		// What the error says; empty means that the lease is taken, with this number of transitions.
		fails       []string
		transitions int64
		since       string // acquireTime, if it is not the time of the answer
	}{
		{name: "missing"},
		{name: "free", spec: `{holderIdentity: "", leaseTransitions: 3}`, transitions: 4},
		{name: "never held", spec: `{}`, transitions: 1},
		{name: "created in a race", prepare: func(a *leaseAPI) { a.beforeWrite(func() { a.takeAs(other) }) },
			after: time.Second, fails: []string{"is held by " + other}},
		{name: "taken in a race", spec: `{holderIdentity: ""}`, prepare: func(a *leaseAPI) { a.beforeWrite(func() { a.takeAs(other) }) },
			after: time.Second, fails: []string{"is held by " + other}},
		{name: "held and alive", spec: heldBy(other), prepare: func(a *leaseAPI) { a.at(2500*time.Millisecond, func() { a.takeAs(other) }) },
			after: 3 * time.Second, fails: []string{"another run changes this cluster: Lease kube-system/kubewright is held by " + other + ", taken at 2026-01-02T03:04:05Z"}},
		{name: "held and dead", spec: heldBy(other), after: 15 * time.Second, transitions: 4},
		{name: "dead, clock ahead", spec: strings.ReplaceAll(heldBy(other), "2026-", "2126-"), after: 15 * time.Second, transitions: 4},
		{name: "alive, clock behind", spec: strings.ReplaceAll(heldBy(other), "2026-", "1926-"), prepare: func(a *leaseAPI) { a.at(4*time.Second+1, a.touch) },
			after: 5 * time.Second, fails: []string{"is held by you@there pid 2, ", "taken at 1926-01-02T03:04:05Z"}},
		{name: "dead, duration of its own", spec: strings.Replace(heldBy(other), "15", "30", 1), after: 30 * time.Second, transitions: 4},
		{name: "dead, no duration", spec: `{holderIdentity: x}`, after: 15 * time.Second, transitions: 1},
		{name: "renewed at the last moment", spec: heldBy(other), prepare: func(a *leaseAPI) { a.at(14500*time.Millisecond, a.touch) },
			after: 15 * time.Second, fails: []string{other}},
		{name: "renewed after the last look", spec: heldBy(other), prepare: func(a *leaseAPI) { a.beforeWrite(a.touch) },
			after: 16 * time.Second, fails: []string{other}},
		{name: "taken over by a third", spec: heldBy(other), prepare: func(a *leaseAPI) { a.at(7500*time.Millisecond, func() { a.takeAs("third") }) },
			after: 8 * time.Second, fails: []string{"is held by third, taken at"}},
		{name: "released while watched", spec: heldBy(other), prepare: func(a *leaseAPI) { a.at(4500*time.Millisecond, func() { a.takeAs("") }) },
			after: 5 * time.Second, transitions: 4},
		{name: "deleted while watched", spec: heldBy(other), prepare: func(a *leaseAPI) { a.at(4500*time.Millisecond, a.remove) }, after: 5 * time.Second},
		{name: "forced", spec: heldBy(other), force: true, transitions: 4},
		{name: "forced while it is renewed", spec: heldBy(other), force: true, prepare: func(a *leaseAPI) { a.beforeWrite(a.touch) },
			after: time.Second, transitions: 4},
		{name: "ours already", spec: mine, transitions: 3, since: early},
		{name: "answer lost", prepare: func(a *leaseAPI) { a.fault(0, 1, loseAnswer) }, after: time.Second, since: "2000-01-01T00:00:00.000000Z"},
		{name: "API down for a while", prepare: func(a *leaseAPI) { a.fault(0, 9500*time.Millisecond, refuse) }, after: 10 * time.Second},
		{name: "API down", prepare: func(a *leaseAPI) { a.fault(0, time.Hour, refuse) },
			after: time.Minute, fails: []string{"take the lease of the cluster: context deadline exceeded: ", "connection refused"}},
		{name: "API hangs once", prepare: func(a *leaseAPI) { a.fault(0, 1, hang) }, after: 5 * time.Second},
		{name: "API down while watched", spec: heldBy(other), prepare: func(a *leaseAPI) { a.fault(500*time.Millisecond, 19500*time.Millisecond, refuse) },
			after: 20 * time.Second, transitions: 4},
		{name: "no namespace yet", prepare: func(a *leaseAPI) { a.fault(0, 2500*time.Millisecond, noNamespace) }, after: 3 * time.Second},
		{name: "forbidden", prepare: func(a *leaseAPI) { a.fault(0, time.Hour, forbid) }, fails: []string{"take the lease of the cluster: get Lease kube-system/kubewright: ", "forbidden"}},
		{name: "no time to watch", spec: heldBy(other), within: 10 * time.Second, after: 10 * time.Second,
			fails: []string{other, "no time was left to see whether it is alive: context deadline exceeded"}},
		{name: "no time to watch, API hangs", spec: heldBy(other), prepare: func(a *leaseAPI) { a.fault(500*time.Millisecond, time.Hour, hang) },
			within: 3 * time.Second, after: 3 * time.Second, fails: []string{other, "no time was left"}},
		{name: "released, and never written", spec: heldBy(other), prepare: func(a *leaseAPI) {
			a.at(4500*time.Millisecond, func() { a.takeAs("") })
			a.fault(0, time.Hour, conflict)
		}, after: time.Minute, fails: []string{"take the lease of the cluster: context deadline exceeded"}},
		{name: "unreadable", spec: `{renewTime: yesterday}`, fails: []string{"cannot be read", "`kubectl -n kube-system delete lease kubewright` makes room"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newLeaseAPI(t, test.spec)
				if test.prepare != nil {
					test.prepare(api)
				}
				if test.within == 0 {
					test.within = time.Minute
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.within)
				defer cancel()
				begun := time.Now()
				lease, err := api.client().HoldLease(ctx, me, LeaseOptions{Nonce: nonce, Force: test.force})
				if took := time.Since(begun); took != test.after {
					t.Errorf("it took %s, want %s", took, test.after)
				}
				if len(test.fails) > 0 {
					assertFailure(t, err, test.fails)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				renewed := begun.Add(test.after).UTC().Format("2006-01-02T15:04:05.000000Z")
				if test.since == "" {
					test.since = renewed
				}
				assertTaken(t, api.present(), renewed, test.since, test.transitions)
				if err := lease.Release(t.Context()); err != nil || api.record().holder != "" {
					t.Errorf("released with error %v, held by %q", err, api.record().holder)
				}
			})
		})
	}
}

// assertFailure expects an error that says this; one that names the other run must be final.
func assertFailure(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatal("the lease was taken")
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want %q", err, text)
		}
	}
	var held LeaseHeldError
	if foreign := strings.Contains(err.Error(), "held by"); errors.As(err, &held) != foreign {
		t.Errorf("error %v is a LeaseHeldError: %v", err, !foreign)
	}
	if errors.As(err, &held) && Transient(held) {
		t.Errorf("it would be tried again: %v", held)
	}
}

// assertTaken expects a Lease as ours, with all that others may read in it.
func assertTaken(t *testing.T, live Object, renewed, since string, transitions int64) {
	t.Helper()
	want := map[string]any{
		"holderIdentity": me + " " + nonce, "acquireTime": since, "renewTime": renewed,
		"leaseDurationSeconds": int64(15), "leaseTransitions": transitions,
	}
	if diff := cmp.Diff(want, live.Object["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"app.kubernetes.io/managed-by": "kubewright"}, live.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if live.GetAnnotations() != nil {
		t.Errorf("annotations %v", live.GetAnnotations())
	}
}

func TestHoldLeaseArguments(t *testing.T) {
	bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tests := []struct {
		name, holder, nonce string
		ctx                 context.Context
		want                string
	}{
		{"no deadline", me, nonce, t.Context(), "no deadline"},
		{"no holder", "", nonce, bounded, "needs a holder and a nonce"},
		{"no nonce", me, "", bounded, "needs a holder and a nonce"},
	}
	for _, test := range tests {
		if _, err := newLeaseAPI(t, "").client().HoldLease(test.ctx, test.holder, LeaseOptions{Nonce: test.nonce}); err == nil ||
			!strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error is %v", test.name, err)
		}
	}
}

// TestLeaseTellsWhatItWaitsFor: a wait of a quarter of a minute is not silent, and says it once.
func TestLeaseTellsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newLeaseAPI(t, heldBy(other))
		api.fault(0, 2500*time.Millisecond, refuse)
		var heard []string
		lease := api.hold(t, LeaseOptions{Nonce: nonce, Emit: func(detail string) { heard = append(heard, detail) }})
		want := []string{"connection refused", "Lease kube-system/kubewright is held by " + other + ", taken at 2026-01-02T03:04:05Z; waiting 15s for a sign of life"}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		_ = lease.Release(t.Context())
	})
}

// TestLeaseKept holds the lease for half a minute in which things happen.
func TestLeaseKept(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*leaseAPI)
		lost    time.Duration // zero for never
		why     string
	}{
		{name: "nothing", prepare: func(*leaseAPI) {}},
		{name: "forced", prepare: func(a *leaseAPI) { a.at(7*time.Second, func() { a.takeAs(other) }) },
			lost: 10 * time.Second, why: "another run changes this cluster: Lease kube-system/kubewright is held by " + other},
		{name: "forced and released", prepare: func(a *leaseAPI) { a.at(7*time.Second, func() { a.takeAs("") }) },
			lost: 10 * time.Second, why: "somebody else has cleared its holder"},
		{name: "conflict", prepare: func(a *leaseAPI) { a.at(3*time.Second, a.touch) }},
		{name: "conflict at every renewal", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 9*time.Second, conflict) }},
		{name: "deleted", prepare: func(a *leaseAPI) { a.at(3*time.Second, a.remove) }},
		{name: "deleted and taken", prepare: func(a *leaseAPI) { a.at(3*time.Second, a.remove); a.beforeCreate(func() { a.takeAs(other) }) },
			lost: 6 * time.Second, why: "is held by " + other},
		{name: "answer lost", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 5*time.Second+1, loseAnswer) }},
		{name: "API down for a while", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 13500*time.Millisecond, refuse) }},
		{name: "API down for too long", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 20*time.Second, refuse) },
			lost: 15 * time.Second, why: "it could not be renewed for 15s: "},
		{name: "API slow, then down", prepare: func(a *leaseAPI) { a.fault(4*time.Second, time.Hour, slowThenDown()) },
			lost: 20 * time.Second, why: "connection refused"},
		{name: "API hangs once", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 6*time.Second, hang) }},
		{name: "API hangs", prepare: func(a *leaseAPI) { a.fault(4*time.Second, time.Hour, hang) },
			lost: 15 * time.Second, why: "context deadline exceeded"},
		{name: "forbidden for a while", prepare: func(a *leaseAPI) { a.fault(4*time.Second, 9500*time.Millisecond, forbid) }},
		{name: "forbidden", prepare: func(a *leaseAPI) { a.fault(4*time.Second, time.Hour, forbid) }, lost: 15 * time.Second, why: "forbidden"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newLeaseAPI(t, "")
				lease := api.hold(t, LeaseOptions{Nonce: nonce})
				test.prepare(api)
				begun := time.Now()
				select {
				case <-lease.Lost():
				case <-time.After(30*time.Second + 1):
				}
				if test.lost == 0 {
					assertKept(t, api, lease)
					return
				}
				if took := time.Since(begun); took != test.lost {
					t.Errorf("lost after %s, want %s", took, test.lost)
				}
				if err := lease.Err(); !errors.Is(err, ErrLeaseLost) || !strings.Contains(err.Error(), test.why) {
					t.Errorf("lost with %v, want %q", err, test.why)
				}
				// A loss is for ever, and nothing of somebody else's is given back.
				api.fault(0, 0, nil)
				before := api.present()
				if err := lease.Release(t.Context()); err != nil || api.present() != before {
					t.Errorf("released with %v, changed %v", err, api.present() != before)
				}
			})
		})
	}
}

// assertKept expects a lease that is held and was renewed a moment ago.
func assertKept(t *testing.T, api *leaseAPI, lease *Lease) {
	t.Helper()
	if err := lease.Err(); err != nil {
		t.Errorf("lost: %v", err)
	}
	record := api.record()
	if record.holder != me+" "+nonce || time.Since(record.renewed) > leaseRenewal {
		t.Errorf("held by %q, renewed %s ago", record.holder, time.Since(record.renewed))
	}
	for range 2 {
		if err := lease.Release(t.Context()); err != nil || api.record().holder != "" {
			t.Errorf("released with error %v, held by %q", err, api.record().holder)
		}
	}
	released := api.present()
	<-time.After(time.Minute)
	select {
	case <-lease.Lost():
		t.Error("released, and lost as well")
	default:
	}
	if api.present() != released {
		t.Error("it is renewed after its release")
	}
}

// TestLeaseOutlivesItsContext: an interrupt ends the wait for a lease, not the lease.
func TestLeaseOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newLeaseAPI(t, "")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		lease, err := api.client().HoldLease(ctx, me, LeaseOptions{Nonce: nonce})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-time.After(time.Minute)
		assertKept(t, api, lease)
	})
}

// TestReleaseLease gives the lease back in the middle of what others do.
func TestReleaseLease(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*leaseAPI)
		holder  string // afterwards
		took    time.Duration
		fails   string
	}{
		{name: "changed", prepare: func(a *leaseAPI) { a.touch() }},
		{name: "taken", prepare: func(a *leaseAPI) { a.takeAs(other) }, holder: other},
		{name: "taken meanwhile", prepare: func(a *leaseAPI) { a.beforeWrite(func() { a.takeAs(other) }) }, holder: other},
		{name: "deleted", prepare: func(a *leaseAPI) { a.remove() }},
		{name: "answer lost", prepare: func(a *leaseAPI) { a.fault(0, 1, loseAnswer) }, took: firstPause},
		{name: "API down", prepare: func(a *leaseAPI) { a.fault(0, time.Hour, refuse) }, holder: me + " " + nonce, took: 5 * time.Second,
			fails: "give back the lease of the cluster (it ends by itself in 15s): "},
		{name: "API hangs", prepare: func(a *leaseAPI) { a.fault(0, time.Hour, hang) }, holder: me + " " + nonce, took: 5 * time.Second,
			fails: "context deadline exceeded"},
		{name: "forbidden", prepare: func(a *leaseAPI) { a.fault(0, time.Hour, forbid) }, holder: me + " " + nonce, fails: "forbidden"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newLeaseAPI(t, "")
				lease := api.hold(t, LeaseOptions{Nonce: nonce})
				test.prepare(api)
				begun := time.Now()
				err := lease.Release(t.Context())
				if (err == nil) != (test.fails == "") || (err != nil && !strings.Contains(err.Error(), test.fails)) {
					t.Errorf("error is %v, want %q", err, test.fails)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if got := api.record().holder; got != test.holder {
					t.Errorf("held by %q, want %q", got, test.holder)
				}
			})
		})
	}
}

// TestReleaseLeaseDuringRenewal: the renewal is cancelled, and has reached the server all the same.
func TestReleaseLeaseDuringRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newLeaseAPI(t, "")
		lease := api.hold(t, LeaseOptions{Nonce: nonce})
		api.fault(4*time.Second, 6*time.Second, hangAnswer)
		<-time.After(5500 * time.Millisecond)
		before := api.record()
		api.fault(0, 0, nil)
		if err := lease.Release(t.Context()); err != nil || api.record().holder != "" {
			t.Errorf("released with %v, held by %q", err, api.record().holder)
		}
		if time.Since(before.renewed) != 500*time.Millisecond {
			t.Error("the renewal never arrived: the test is wrong")
		}
	})
}
