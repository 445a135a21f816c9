package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
)

// The share is one of the workers of the inventory, of those only that are no control planes.
func TestRollout(t *testing.T) {
	tests := []struct {
		rollout string
		workers int
		want    cluster.WorkerRollout
	}{
		{"", 0, cluster.WorkerRollout{MaxUnavailable: 1, Drain: "auto", DrainTimeout: 5 * time.Minute}},
		{"", 7, cluster.WorkerRollout{MaxUnavailable: 1, Drain: "auto", DrainTimeout: 5 * time.Minute}},
		{"", 8, cluster.WorkerRollout{MaxUnavailable: 2, Drain: "auto", DrainTimeout: 5 * time.Minute}},
		{"{maxUnavailable: 50%, drain: never}", 5, cluster.WorkerRollout{MaxUnavailable: 2, Drain: "never", DrainTimeout: 5 * time.Minute}},
		{`{maxUnavailable: "3", drain: always, drainTimeout: 90s}`, 8, cluster.WorkerRollout{MaxUnavailable: 3, Drain: "always", DrainTimeout: 90 * time.Second}},
	}
	for _, tt := range tests {
		var b strings.Builder
		b.WriteString("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetesVersion: 1.37.2\n")
		if tt.rollout != "" {
			fmt.Fprintf(&b, "  rollout: {workers: %s}\n", tt.rollout)
		}
		b.WriteString("  hosts:\n  - {name: cp1, address: 10.111.0.9, roles: [control-plane, worker]}\n")
		for i := range tt.workers {
			fmt.Fprintf(&b, "  - {name: w%d, address: 10.111.0.%d, roles: [worker]}\n", i, 10+i)
		}
		c := mustLoad(t, memory{"cluster.yaml": b.String()})
		if diff := cmp.Diff(tt.want, c.Rollout.Workers); diff != "" {
			t.Errorf("%q with %d workers (-want +got):\n%s", tt.rollout, tt.workers, diff)
		}
	}
}
