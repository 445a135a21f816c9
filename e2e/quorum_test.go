//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// planes are the names of the lab's control planes, sorted.
func (l *lab) planes(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, n := range l.nodes(t) {
		if n.Role == "control-plane" {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// restartedTogether: all control planes lose their power and get it back at once. Nobody helps them.
func restartedTogether(t *testing.T, l *lab) {
	planes := l.planes(t)
	c := l.connect(t)
	l.power(t, "stop", planes...)
	begun := time.Now()
	l.power(t, "start", planes...)
	for _, name := range planes {
		c.alive(t, begun, name)
	}
	l.wantWhole(t, len(l.nodes(t)), planes...)
}

// quorumLost: etcd's data is gone on all control planes but one. No run begins anew in its place: each
// says who lost what, and changes nothing. What the refusal names as a way out is one.
func quorumLost(t *testing.T, l *lab) {
	planes := l.planes(t)
	kept, lost := planes[0], planes[1:]
	ns := l.connect(t).namespace(t)
	_, err := l.connect(t).client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "before"}, Data: map[string]string{"written": "before"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lost {
		l.on(t, name, "systemctl stop kubelet containerd; pkill -9 -x etcd; while pgrep -x etcd >/dev/null; do :; done; rm -rf /var/lib/etcd/member")
	}
	const data = "find /var/lib/etcd/member -printf '%p %i\n' | sort"
	before, member := l.snapshots(t), l.on(t, kept, data)

	says := append([]string{
		fmt.Sprintf("data of 1 of %d members is left (%s)", len(planes), kept), "nothing is left of it on " + strings.Join(lost, ", "),
		"Nothing is changed", "a new cluster is never made", "restore a snapshot", "reset all hosts", "--force-new-cluster",
	}, lost...)
	for _, command := range [][]string{{"plan"}, {"apply", "--yes"}, {"status"}} {
		l.tool(t, command[0], command[1:]...).want(t, exitUnhealthy).says(t, says...)
	}
	l.tool(t, "reset", "--yes", "--limit", kept).want(t, exitUnhealthy).says(t, kept+" has data of etcd", "not known")

	l.wantUnchanged(t, before)
	if after := l.on(t, kept, data); after != member {
		t.Errorf("the data of etcd on %s is not what it was:\n%s\nbefore:\n%s", kept, after, member)
	}
	for _, name := range lost {
		if found := l.on(t, name, "ls /var/lib/etcd; pgrep -x etcd || true"); found != "" {
			t.Errorf("%s has etcd again: %s", name, found)
		}
	}

	l.forceNewCluster(t, kept)
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantWhole(t, len(l.nodes(t)), planes...)
	if found, err := l.connect(t).client.CoreV1().ConfigMaps(ns).Get(t.Context(), "before", metav1.GetOptions{}); err != nil || found.Data["written"] != "before" {
		t.Errorf("what was written before is lost: %v, %v", found, err)
	}
}

// forceNewCluster makes the member on a control plane a cluster of its own, as docs/recovery.md says.
func (l *lab) forceNewCluster(t testing.TB, name string) {
	t.Helper()
	const manifest = "/etc/kubernetes/manifests/etcd.yaml"
	l.on(t, name, `
		cp `+manifest+` /root/etcd.yaml
		sed 's/^\( *\)- etcd$/&\n\1- --force-new-cluster/' /root/etcd.yaml >/root/forced.yaml
		mv /root/forced.yaml `+manifest)
	l.etcdAnswers(t, name, true)
	l.on(t, name, "mv /root/etcd.yaml "+manifest)
	l.etcdAnswers(t, name, false)
}

// etcdAnswers waits until the member on a host has a leader, and runs with --force-new-cluster or without.
func (l *lab) etcdAnswers(t testing.TB, name string, forced bool) {
	t.Helper()
	eventually(t, rebootTimeout, "etcd on "+name, func(ctx context.Context) error {
		out, err := l.shell(ctx, name, "tr '\\0' ' ' </proc/$(pgrep -x etcd)/cmdline; curl -sS http://127.0.0.1:2381/health")
		switch {
		case err != nil:
			return err
		case strings.Contains(out, "--force-new-cluster") != forced || !strings.Contains(out, `"health":"true"`):
			return errors.New(out)
		}
		return nil
	})
}
