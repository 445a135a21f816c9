package kube

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kubewright/internal/kube/apitest"
)

// racer is a run that wants the lease again and again, and sometimes dies with it.
type racer struct {
	name    string
	client  *Client
	dice    *rand.Rand
	work    time.Duration // how long the lease is held at most
	deaths  bool
	holders *atomic.Int32 // at the moment, of all racers
	taken   *atomic.Int32 // in all
}

// race takes the lease some times and expects to be alone while it has it.
func (r racer) race(t *testing.T, rounds int) {
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		lease, err := r.client.HoldLease(ctx, r.name, LeaseOptions{Nonce: strconv.Itoa(round)})
		cancel()
		if err != nil {
			if !strings.Contains(err.Error(), "held by") {
				t.Errorf("%s: %v", r.name, err)
			}
			<-time.After(time.Duration(r.dice.Int64N(int64(r.work))))
			continue
		}
		if n := r.holders.Add(1); n != 1 {
			t.Errorf("%d runs have the lease", n)
		}
		r.taken.Add(1)
		select {
		case <-lease.Lost():
		case <-time.After(time.Duration(r.dice.Int64N(int64(r.work)))):
		}
		r.holders.Add(-1)
		if r.deaths && r.dice.IntN(4) == 0 {
			lease.stop()
			<-lease.ended
			continue
		}
		if err := lease.Release(t.Context()); err != nil && !Transient(err) {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

// TestLeaseRace lets runs come, work and die for hours, over a network that loses requests and
// answers, or delivers them late: never are there two holders.
func TestLeaseRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newLeaseAPI(t, "")
		dice := rand.New(rand.NewPCG(1, 2))
		api.latency = func() time.Duration { return time.Duration(1+dice.IntN(400)) * time.Millisecond }
		api.trouble = func() fault {
			return []fault{nil, nil, nil, nil, nil, nil, nil, loseAnswer, refuse, arriveLate}[dice.IntN(10)]
		}
		var holders, taken atomic.Int32
		var all sync.WaitGroup
		for id := range uint64(3) {
			racer := racer{
				name: "run " + strconv.FormatUint(id, 10), client: api.client(), dice: rand.New(rand.NewPCG(3, id)),
				work: 40 * time.Second, deaths: true, holders: &holders, taken: &taken,
			}
			all.Go(func() { racer.race(t, 80) })
		}
		all.Wait()
		if taken.Load() < 60 {
			t.Errorf("the lease was taken %d times only", taken.Load())
		}
	})
}

// TestLeaseOnRealAPIServer holds the lease where its locking is not ours.
func TestLeaseOnRealAPIServer(t *testing.T) {
	server := apitest.StartServer(t)
	connect := func() *Client {
		client, err := New(Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: server.PKI.SuperAdmin(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	first, second := connect(), connect()

	// A server that has just been started is waited for.
	lease, err := first.HoldLease(ctx, "first", LeaseOptions{Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var held LeaseHeldError
	if _, err := second.HoldLease(ctx, "second", LeaseOptions{Nonce: nonce}); !errors.As(err, &held) ||
		held.Holder != "first "+nonce || held.Since.After(time.Now()) || time.Since(held.Since) > time.Minute {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(begun); took > leaseRenewal+3*leasePoll {
		t.Errorf("it took %s to find it alive", took)
	}

	forced, err := second.HoldLease(ctx, "second", LeaseOptions{Nonce: nonce, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-lease.Lost():
	case <-time.After(leaseDuration):
	}
	if err := lease.Err(); !errors.As(err, &held) || held.Holder != "second "+nonce {
		t.Errorf("lost with %v", err)
	}
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if record, err := lease.read(ctx); err != nil || record.holder != "second "+nonce {
		t.Errorf("releasing what was lost is not without effect: %+v, %v", record, err)
	}
	if err := forced.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if record, err := lease.read(ctx); err != nil || record.holder != "" || record.transitions != 1 {
		t.Errorf("after the release it is %+v, %v", record, err)
	}

	var holders, taken atomic.Int32
	var all sync.WaitGroup
	for id, client := range []*Client{first, second} {
		racer := racer{
			name: "run " + strconv.Itoa(id), client: client, dice: rand.New(rand.NewPCG(3, uint64(id))),
			work: 20 * time.Millisecond, holders: &holders, taken: &taken,
		}
		all.Go(func() { racer.race(t, 5) })
	}
	all.Wait()
	if taken.Load() == 0 {
		t.Error("the lease was never taken")
	}
}
