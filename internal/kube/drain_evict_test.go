package kube

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDrainSparesTheNext: a StatefulSet makes a pod of the same name elsewhere once the old one is
// gone, whoever has ended that. It is not evicted in its place.
func TestDrainSparesTheNext(t *testing.T) {
	next := strings.NewReplacer("uid: default-web-0", "uid: another", "nodeName: w1", "nodeName: w2").Replace(pod("default", "web-0", appWeb, ""))
	for name, at := range map[string]time.Duration{"seen between two attempts": 5 * time.Second, "met by an attempt": 4*time.Second - 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newDrainAPI(t, freeNode, pod("default", "web-0", appWeb, ""), budget("web", "0"))
				time.AfterFunc(at, func() { api.add(next); api.add(budget("web", "1")) })
				report, err := api.client().Drain(t.Context(), DrainInput{Node: "w1", Timeout: time.Minute, GracePeriod: -1})
				if err != nil || !slices.Equal(report.Evicted, []string{"default/web-0"}) {
					t.Errorf("report %+v, error %v", report, err)
				}
				if writes := api.log(); !slices.Equal(writes, []string{"patch w1"}) {
					t.Errorf("writes %q", writes)
				}
			})
		})
	}
}
