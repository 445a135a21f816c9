package engine_test

import (
	"slices"
	"testing"

	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/templates"
)

// A port of the nodes' own load balancer that somebody else has is refused before anything is changed,
// where there is such a balancer: on hosts that are nodes already, too, until it is theirs.
func TestPortOfTheLoadBalancerIsTaken(t *testing.T) {
	var balancer []resource.Resource
	l := newLab(t, 2, phase("balancer", nil, func(plan.Target) []resource.Resource {
		return append([]resource.Resource{resource.File{Path: "/var/lib/kubewright/cluster", Content: []byte("lab sha256:x\n")}}, balancer...)
	}))
	l.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(name string) bool { return name == "ports" })
	taken := func() {
		l.roots["w1"].Write("/proc/net/tcp", "  sl  local_address\n   0: 0100007F:1D13 00000000:0000 0A\n")
	}
	taken()
	l.mustApply()

	l.cluster.LocalBalancer = true
	balancer = []resource.Resource{resource.File{Path: templates.HAProxyConfigPath, Content: []byte("ours")}}
	l.refused(fault.Preflight, "w1", "7443/tcp is taken by another program", "load balancer")
	l.roots["w1"].Write("/proc/net/tcp", "  sl  local_address\n")
	l.mustApply()
	taken()
	l.mustApply()
}
