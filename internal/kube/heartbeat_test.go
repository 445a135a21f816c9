package kube

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHeartbeat(t *testing.T) {
	renewed := time.Date(2026, 5, 1, 10, 0, 0, 250_000_000, time.UTC)
	const lease = `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {namespace: kube-node-lease, name: w1}, spec: `
	for name, tc := range map[string]struct {
		lease string
		want  time.Time
		fails string
	}{
		"renewed":       {lease: lease + `{renewTime: "2026-05-01T10:00:00.250000Z"}}`, want: renewed},
		"never renewed": {lease: lease + `{holderIdentity: w1}}`},
		"no lease":      {},
		"another's":     {lease: strings.Replace(lease, "w1", "w2", 1) + `{renewTime: "2026-05-01T10:00:00.250000Z"}}`},
		"nonsense":      {lease: lease + `{renewTime: 5}}`, fails: "Lease kube-node-lease/w1: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newDrainAPI(t)
				if tc.lease != "" {
					api.add(tc.lease)
				}
				got, err := api.client().Heartbeat(minute(t), "w1")
				switch {
				case (err != nil) != (tc.fails != ""), err != nil && !strings.Contains(err.Error(), tc.fails):
					t.Errorf("error %v, want %q", err, tc.fails)
				case !got.Equal(tc.want):
					t.Errorf("renewed at %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// Only our own mark counts: who has cordoned a node otherwise does not want it undone.
func TestCordoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newDrainAPI(t,
			strings.Replace(oursNode, "w1", "w3", 1), oursNode, strings.Replace(theirsNode, "w1", "w2", 1), strings.Replace(freeNode, "w1", "w4", 1))
		names, err := api.client().Cordoned(minute(t))
		if diff := cmp.Diff([]string{"w1", "w3"}, names); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		api.breaks(0, time.Minute, refuse)
		if names, err := api.client().Cordoned(minute(t)); err == nil {
			t.Errorf("an API server that is away has cordoned %v", names)
		}
	})
}
