//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Three members of etcd on hosts of their own, which are no nodes, beside two control planes that have
// no member.
func TestEtcdHosts(t *testing.T) {
	long(t)
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-etcd", subnet: "10.134.0.0/24", controlPlanes: 2, etcd: 3, workers: 1})
	d := &etcdHosts{lab: l, bare: map[string][]string{}}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"BringUp", d.broughtUp},
		{"MemberDies", d.memberDies},
		{"Stopped", d.stopped},
		{"Replaced", d.replaced},
		{"Reset", d.reset},
		{"External", d.external},
	} {
		if !t.Run(step.name, step.run) {
			return // what comes after it needs what it was to leave
		}
	}
}

// etcdHosts is the lab, and what was on the hosts of etcd before kubewright touched them.
type etcdHosts struct {
	*lab
	bare map[string][]string
}

// members are the names of the hosts of etcd.
func (d *etcdHosts) members() []string { return []string{"etcd1", "etcd2", "etcd3"} }

// broughtUp: the hosts of etcd carry a member each, and nothing that a node has.
func (d *etcdHosts) broughtUp(t *testing.T) {
	for _, host := range d.members() {
		d.bare[host] = d.inventory(t, host)
	}
	d.tool(t, "apply", "--yes").want(t, exitDone)
	d.wantWhole(t)
	for _, host := range d.members() {
		d.on(t, host, "systemctl is-active etcd.service && systemctl is-enabled etcd.service")
		const nodes = `command -v kubelet containerd runc || true
			ps -eo comm= | grep -E '^(containerd|kubelet|kube)' || true
			find /etc/kubernetes -name '*.conf' -o -name manifests -o -name ca.key`
		if found := d.on(t, host, nodes); found != "" {
			t.Errorf("%s is no node, and has of one:\n%s", host, found)
		}
	}
	for _, host := range []string{"cp1", "cp2"} {
		for _, member := range d.members() {
			d.on(t, host, "grep -qF https://"+d.addressOf(t, member)+":2379 /etc/kubernetes/manifests/kube-apiserver.yaml")
		}
		d.on(t, host, "test ! -e /var/lib/etcd/member && test ! -e /etc/kubernetes/manifests/etcd.yaml")
	}
}

// wantWhole checks that the three nodes are Ready and no host of etcd is one, that the three members
// vote, and that nothing is left to do.
func (d *etcdHosts) wantWhole(t testing.TB) {
	t.Helper()
	c := d.connect(t)
	c.wantReadyNodes(t, 3)
	nodes, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if slices.Contains(d.members(), n.Name) {
			t.Errorf("the host of etcd %s is a node", n.Name)
		}
	}
	for _, host := range d.members() {
		if diff := cmp.Diff(d.members(), votersIn(strings.Split(d.on(t, host, strings.Join(etcdctl("member", "list"), " ")), "\n"))); diff != "" {
			t.Errorf("members that vote, as the one on %s says (-want +got):\n%s", host, diff)
		}
	}
	d.wantNothingToDo(t, 3)
}

// memberDies: a host of etcd is switched off hard. The API goes on to take what is written to it, and
// keeps it; switched on again, the member is there by itself.
func (d *etcdHosts) memberDies(t *testing.T) {
	c := d.connect(t)
	w := c.writes(t, c.namespace(t), "etcd", c.config)
	const some = 40 // two seconds' worth
	w.acknowledged(t, some)
	d.power(t, "stop", "etcd1")
	afterwards(t, func(t testing.TB) { d.power(t, "start", "etcd1") }) // no harm if it is on
	w.acknowledged(t, 2*some)
	d.tool(t, "verify", "--quick").want(t, exitUnreachable).says(t, "etcd1")

	d.power(t, "start", "etcd1")
	eventually(t, rebootTimeout, "all members of etcd to be healthy", func(ctx context.Context) error {
		_, err := d.shell(ctx, "etcd2", strings.Join(etcdctl("endpoint", "health", "--cluster"), " "))
		return err
	})
	w.acknowledged(t, some)
	t.Logf("longest interruption %s while %d objects were written", w.stop(t), len(w.names))
	w.wantAll(t)
	d.wantWhole(t)
}

// stopped: that the service does not run is drift, of which plan lists all and apply mends all.
func (d *etcdHosts) stopped(t *testing.T) {
	d.on(t, "etcd2", "systemctl stop etcd.service")
	r := d.tool(t, "plan", "--detailed-exitcode", "-o", "json").want(t, exitPending)
	if diff := cmp.Diff(map[string][]string{"etcd2": {"unit:etcd.service"}}, changedOn(r.plan(t))); diff != "" {
		t.Errorf("what plan lists (-want +got):\n%s%s", diff, r)
	}
	d.tool(t, "apply", "--yes").want(t, exitDone)
	d.wantWhole(t)
}

// replaced: a host of etcd that is destroyed with its disk and made again under its own name and
// address is recognised; one apply makes it a member again.
func (d *etcdHosts) replaced(t *testing.T) {
	d.node(t, "remove", "etcd3")
	d.node(t, "add", "etcd3")
	d.bare["etcd3"] = d.inventory(t, "etcd3") // another machine, with an identity of its own
	d.tool(t, "apply", "--yes").want(t, exitDone).says(t, "the host has lost the data of its member")
	d.wantWhole(t)
}

// reset takes away all that was made on the hosts of etcd, their data included.
func (d *etcdHosts) reset(t *testing.T) {
	d.on(t, "etcd3", "cp /usr/local/bin/etcd /usr/local/bin/etcdctl /root/") // for somebody who runs an etcd there
	d.tool(t, "reset", "--yes").want(t, exitDone)
	for _, host := range d.members() {
		if diff := unlike(d.bare[host], d.inventory(t, host)); len(diff) > 0 {
			t.Errorf("%s is not as it was (- before, + after):\n%s", host, strings.Join(diff, "\n"))
		}
	}
	d.tool(t, "reset", "--yes").want(t, exitDone).says(t, "Nothing to do")
}
