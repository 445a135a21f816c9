//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restored: a snapshot of etcd is made, and restored later, with the commands that docs/operations.md and
// docs/recovery.md have for it. What was written before it is there, what was written after it is not, and all control
// planes are members again.
func restored(t *testing.T, l *lab) {
	planes := l.planes(t)
	c := l.connect(t)
	maps := c.client.CoreV1().ConfigMaps(c.namespace(t))
	write := func(name string) {
		t.Helper()
		if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	snapshot := commands(t, "operations.md", "Back up and restore etcd", planes[0])[0]
	inPod, ok := strings.CutPrefix(strings.ReplaceAll(snapshot, "\\\n", ""), "kubectl -n kube-system exec etcd-"+planes[0]+" -- ")
	if !ok {
		t.Fatalf("docs/operations.md makes a snapshot with %q", snapshot)
	}
	member := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "etcd-" + planes[0]}}
	if _, err := c.exec(t.Context(), member, strings.Fields(inPod)...); err != nil {
		t.Fatal(err)
	}
	l.on(t, planes[0], "mv /var/lib/etcd/snapshot.db /root/")
	write("after")

	restore := commands(t, "recovery.md", "Restore a snapshot", planes[0])
	for _, name := range planes {
		l.on(t, name, "set -e\n"+restore[0])
	}
	l.on(t, planes[0], "set -e\n"+restore[1])
	l.etcdAnswers(t, planes[0], false)
	l.tool(t, "apply", "--yes").want(t, exitDone)

	l.wantWhole(t, len(l.nodes(t)), planes...)
	if _, err := maps.Get(t.Context(), "before", metav1.GetOptions{}); err != nil {
		t.Errorf("what was written before the snapshot: %v", err)
	}
	if _, err := maps.Get(t.Context(), "after", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what was written after the snapshot is there, or nobody knows: %v", err)
	}
}

// commands are the blocks of commands below a heading of a page in docs, with the name of a control plane in place of cp1.
func commands(t *testing.T, page, heading, plane string) []string {
	t.Helper()
	_, text, found := strings.Cut(textOf(t, filepath.Join("..", "docs", page)), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/%s has no heading %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var blocks []string
	inBlock := false
	for line := range strings.Lines(text) {
		command, is := strings.CutPrefix(line, "    ")
		switch {
		case is && !inBlock:
			blocks = append(blocks, command)
		case is:
			blocks[len(blocks)-1] += command
		}
		inBlock = is
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/%s has no commands below %q", page, heading)
	}
	for i := range blocks {
		blocks[i] = strings.ReplaceAll(blocks[i], "cp1", plane)
	}
	return blocks
}
