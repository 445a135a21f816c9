//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// foreign is what somebody else has on a host: files of theirs, some where kubewright puts its
// own, and rules of their packet filter.
const foreign = `
	mkdir -p /etc/cni/net.d /etc/containerd/certs.d/docker.io /etc/kubernetes/policies
	echo 'kind: Policy' >/etc/kubernetes/policies/audit.yaml
	echo 'notes of somebody else' >/etc/cni/net.d/99-notes.txt
	echo 'server = "https://mirror.example.test"' >/etc/containerd/certs.d/docker.io/hosts.toml
	printf '#!/bin/sh\necho an older runc\n' >/usr/local/sbin/runc
	chmod 0700 /usr/local/sbin/runc
	iptables -N FOREIGN
	iptables -A FOREIGN -s 192.0.2.1 -j DROP
	iptables -A INPUT -j FOREIGN
	iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
`

// inventoryOfHost lists what is on a host: files with mode, owner and content, units, rules,
// interfaces, routes, mounts. Left out is what changes by itself, the volumes of the lab's hosts
// (their content is not), /sys/fs/bpf, which Calico mounts where systemd has not done so, and the credentials of
// units that systemd mounts while they start.
const inventoryOfHost = `
	find /etc /var/lib /usr/local /opt \
		-path /var/lib/systemd -prune -o -path /etc/resolv.conf -prune -o \
		! -path /var/lib/containerd ! -path /var/lib/etcd ! -path /var/lib/kubelet \( \
		! -type f -printf '%p %y %m %u:%g %l\n' -o -type f -printf '%p %y %m %u:%g ' -exec sh -c 'sha256sum <"$1"' - {} \; \)
	systemctl list-unit-files --no-legend --plain | awk '{ print "unit", $1, $2 }'
	iptables-save | awk '/^\*/ { table = $0 } /^-A/ || (/^:/ && $2 == "-") { sub(/ \[[0-9:]*\]$/, ""); print "rule", table, $0 }'
	ip6tables-save | awk '/^\*/ { table = $0 } /^-A/ || (/^:/ && $2 == "-") { sub(/ \[[0-9:]*\]$/, ""); print "rule6", table, $0 }'
	ipset list -n | sed 's/^/ipset /'
	ip -o link | awk '{ sub(/@.*/, "", $2); print "link", $2 }'
	ip route | sed 's/^/route /'
	awk '$2 != "/sys/fs/bpf" && $2 !~ "^/run/credentials/" { print "mount", $2 }' /proc/mounts
	ps -eo comm= | grep -E '^(containerd|kubelet|kube|etcd|calico|coredns|pause|felix|bird)' | sed 's/^/process /' || true
	find /sys/fs/cgroup -maxdepth 2 -name 'kubepods*' | sed 's/^/cgroup /'
`

// bareState is what the hosts of the side lab were before kubewright touched them.
var bareState struct {
	once   sync.Once
	byHost map[string][]string
}

// bareHosts returns the hosts of the side lab, and on first use gives them foreign things and
// records what is there.
func (f *fixture) bareHosts(t testing.TB) *lab {
	t.Helper()
	l := f.hosts(t)
	bareState.once.Do(func() {
		found := map[string][]string{}
		for _, n := range l.nodes(t) {
			l.on(t, n.Name, foreign)
			found[n.Name] = l.inventory(t, n.Name)
		}
		bareState.byHost = found
	})
	if bareState.byHost == nil {
		t.Fatal("what the hosts were at first is not known: another test failed")
	}
	return l
}

func (l *lab) inventory(t testing.TB, host string) []string {
	t.Helper()
	lines := strings.Split(l.on(t, host, inventoryOfHost), "\n")
	slices.Sort(lines)
	return lines
}

// Reset takes away all that was made, and no more: what others had comes back as it was. The
// hosts are then as good as new.
func TestReset(t *testing.T) {
	side.bareHosts(t)
	c := side.cluster(t)
	before := c.caFingerprint(t)
	hosts := slices.Sorted(maps.Keys(bareState.byHost))
	for _, host := range hosts {
		if diff := changed(bareState.byHost[host], c.inventory(t, host)); len(diff) < 50 {
			t.Fatalf("%s carries a cluster, and differs in %d lines only from a bare one", host, len(diff))
		}
	}

	c.tool(t, "reset").want(t, 130).says(t, "name of the cluster")
	c.wantEmptyPlan(t) // not confirmed, nothing done

	c.tool(t, "reset", "--yes").want(t, exitDone)
	for _, host := range hosts {
		if diff := changed(bareState.byHost[host], c.inventory(t, host)); len(diff) > 0 {
			t.Errorf("%s is not as it was (- before, + after):\n%s", host, strings.Join(diff, "\n"))
		}
	}
	c.tool(t, "reset", "--yes").want(t, exitDone).says(t, "Nothing to do")

	r := c.tool(t, "apply", "--yes").want(t, exitDone)
	wantPhaseTimes(t, r)
	if c.caFingerprint(t) == before {
		t.Error("the new cluster has the CA of the old one")
	}
	again := c.connect(t)
	again.wantEmptyPlan(t)
	again.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	again.provideImage(t)
	ns := again.namespace(t)
	again.serverOnEach(t, ns)
	again.wantMesh(t, ns)
}

// changed lists the lines that only one of two sorted lists has.
func changed(before, after []string) []string {
	var diff []string
	for _, line := range before {
		if _, ok := slices.BinarySearch(after, line); !ok {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range after {
		if _, ok := slices.BinarySearch(before, line); !ok {
			diff = append(diff, "+ "+line)
		}
	}
	return diff
}

// unlike is changed for a host whose lab has others beside it. Left out are cgroups: hosts of different labs may
// share a hierarchy.
func unlike(before, after []string) []string {
	return slices.DeleteFunc(changed(before, after), func(line string) bool { return strings.HasPrefix(line[2:], "cgroup ") })
}
