//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A run that is at work on a cluster keeps others from changing it, also those that have no host in
// common with it, for as long as it gives signs of life. Runs that change nothing are not kept.
func TestLease(t *testing.T) {
	c := shared.cluster(t)
	c.wantEmptyPlan(t)
	other := c.holdLease(t, "bob@elsewhere pid 1, apply")
	c.tool(t, "apply", "--yes").want(t, exitDone)

	drift := func() {
		t.Helper()
		c.on(t, "worker1", "chmod 0640 /etc/modules-load.d/kubewright.conf || ls /etc/modules-load.d >&2")
	}
	drift()
	r := c.tool(t, "apply", "--yes", "--limit", "worker1").want(t, exitLocked).says(t, "bob@elsewhere pid 1", "--force-unlock")
	if r.took > 30*time.Second {
		t.Errorf("it took %s to see that the lease is held", r.took)
	}
	if mode := c.on(t, "worker1", "stat -c %a /etc/modules-load.d/kubewright.conf"); mode != "640" {
		t.Errorf("worker1 was changed all the same: mode %s", mode)
	}
	c.tool(t, "apply", "--yes", "--limit", "worker1", "--force-unlock").want(t, exitDone)
	other.stop()
	c.wantEmptyPlan(t)

	// One that is dead is waited out.
	c.holdLease(t, "carol@elsewhere pid 2, apply").stop()
	drift()
	c.tool(t, "apply", "--yes", "--limit", "worker1").want(t, exitDone)
	c.wantEmptyPlan(t)
	lease, err := c.client.CoordinationV1().Leases(metav1.NamespaceSystem).Get(t.Context(), "kubewright", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
		t.Errorf("the lease is still that of %q", *lease.Spec.HolderIdentity)
	}
}

// otherRun is somebody else who holds the lease, and renews it until stopped or until it is taken.
type otherRun struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (o otherRun) stop() { o.cancel(); <-o.ended }

// holdLease takes the cluster's lease as another run would.
func (c *cluster) holdLease(t testing.TB, holder string) otherRun {
	t.Helper()
	leases := c.client.CoordinationV1().Leases(metav1.NamespaceSystem)
	lease, err := leases.Get(t.Context(), "kubewright", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err) // the run that made the cluster has left it
	}
	duration := int32(15)
	renew := func(ctx context.Context) error {
		now := metav1.NowMicro()
		lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, AcquireTime: &now, RenewTime: &now, LeaseDurationSeconds: &duration}
		updated, err := leases.Update(ctx, lease, metav1.UpdateOptions{})
		if err == nil {
			lease = updated
		}
		return err
	}
	if err := renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := otherRun{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if renew(ctx) != nil {
					return // it was taken
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(o.stop)
	return o
}
