//go:build e2e

package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A machine joins a cluster that apply has made, with nothing but the binary on it: by itself, after
// every mistake that can be made with the line to paste, and after it was interrupted. Taken over by
// apply, it lacks what only who has the authority's key can give it, and nothing afterwards.
func TestJoin(t *testing.T) {
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-join", subnet: "10.141.0.0/24", controlPlanes: 1, workers: 1})
	l.tool(t, "apply", "--yes").want(t, exitDone)
	c := l.connect(t)
	l.node(t, "add", "--role", "worker")
	l.carry(t, "worker2")
	l.provideImage(t)
	j := joiner{cluster: c, host: "worker2", endpoint: c.nodes(t)[0].Address + ":6443", pin: c.pin(t)}

	t.Run("Refused", j.refused)
	t.Run("Interrupted", j.interrupted)
	j.join(t, j.token(t, "join", time.Hour)).want(t, exitDone).says(t, "is a node of the cluster e2e-join")
	c.wantReady(t, j.host)
	j.join(t, j.token(t, "again", time.Hour)).want(t, exitDone).says(t, "Nothing to do")
	ns := c.namespace(t)
	c.serverOnEach(t, ns)
	c.wantMesh(t, ns)
	t.Run("TakenOver", j.takenOver)
	c.wantMesh(t, ns)
}

// carry puts the binary on a host, and nothing else.
func (l *lab) carry(t testing.TB, host string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	if _, err := l.ssh(t.Context(), host, binary, "cat >/usr/local/bin/kubewright && chmod 755 /usr/local/bin/kubewright"); err != nil {
		t.Fatal(err)
	}
}

// here runs the binary that a host carries, on that host.
func (l *lab) here(t testing.TB, host string, args ...string) result {
	t.Helper()
	return kubewright(t, append([]string{"lab", "--dir", l.dir, "ssh", host, "--", "/usr/local/bin/kubewright"}, args...)...)
}

// pin is the hash of the public key of the cluster's authority, in kubeadm's form.
func (c *cluster) pin(t testing.TB) string {
	t.Helper()
	block, _ := pem.Decode([]byte(c.on(t, "cp1", "cat /etc/kubernetes/pki/ca.crt")))
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// joiner is a machine that is to join a cluster, and what it needs for that.
type joiner struct {
	*cluster
	host, endpoint, pin string
}

// token makes a bootstrap token, of which the host has a file when it is signed for, and returns the reference.
func (j joiner) token(t testing.TB, name string, lifetime time.Duration) string {
	t.Helper()
	sum := sha256.Sum256([]byte(t.Name() + name + time.Now().String()))
	text := hex.EncodeToString(sum[:])
	id, secret := text[:6], text[6:22]
	_, err := j.client.CoreV1().Secrets(metav1.NamespaceSystem).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id}, Type: corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": id, "token-secret": secret, "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
			"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token", "expiration": time.Now().Add(lifetime).UTC().Format(time.RFC3339),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := "/run/token-" + name
	j.on(t, j.host, fmt.Sprintf("umask 077; echo %s.%s >%s", id, secret, path))
	if lifetime <= 0 {
		return "file:" + path
	}
	await(t, watched{j.client.CoreV1().RESTClient(), "configmaps", metav1.NamespacePublic, metav1.ListOptions{}}, answerTimeout, func(infos []*corev1.ConfigMap) string {
		if slices.ContainsFunc(infos, func(m *corev1.ConfigMap) bool { return m.Data["jws-kubeconfig-"+id] != "" }) {
			return ""
		}
		return "the signature with the token " + id
	})
	return "file:" + path
}

// join runs join on the host.
func (j joiner) join(t testing.TB, token string, more ...string) result {
	t.Helper()
	return j.here(t, j.host, append([]string{"join", j.endpoint, "--token", token, "--discovery-token-ca-cert-hash", j.pin}, more...)...)
}

// refused: each mistake has its own error, and leaves the machine as it was.
func (j joiner) refused(t *testing.T) {
	good := j.token(t, "good", time.Hour)
	j.on(t, j.host, "echo abcdef.0123456789abcdef >/run/token-unknown")
	before := j.snapshots(t)
	for _, test := range []struct {
		name string
		edit func(*joiner) (token string, more []string)
		code int
		says []string
	}{
		{"WrongHash", func(j *joiner) (string, []string) {
			j.pin = "sha256:" + strings.Repeat("0", 64)
			return good, nil
		}, exitPreflight, []string{"an authority of its cluster is " + j.pin, "which is none that was given"}},
		{"UnknownToken", func(*joiner) (string, []string) { return "file:/run/token-unknown", nil }, exitBadInput, []string{"the cluster knows no token abcdef"}},
		{"ExpiredToken", func(j *joiner) (string, []string) { return j.token(t, "expired", -time.Minute), nil }, exitBadInput, []string{"it has expired"}},
		{"Unreachable", func(j *joiner) (string, []string) {
			j.endpoint = strings.Replace(j.endpoint, ":6443", ":6444", 1)
			return good, nil
		}, exitUnreachable, []string{"10.141.0.10:6444: no API server answers", "connection refused"}},
		{"TakenName", func(*joiner) (string, []string) { return good, []string{"--node-name", "worker1"} }, exitPreflight, []string{"the cluster has a node worker1 already"}},
		{"NameOfControlPlane", func(*joiner) (string, []string) { return good, []string{"--node-name", "cp1"} }, exitBadInput, []string{"cp1 is the name of a control plane"}},
		{"DryRun", func(*joiner) (string, []string) { return good, []string{"--dry-run"} }, exitDone, []string{"kubelet.service"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wrong := j
			token, more := test.edit(&wrong)
			wrong.join(t, token, more...).want(t, test.code).says(t, test.says...)
		})
	}
	j.wantUnchanged(t, before)
}

// interrupted: what was begun is gone on with.
func (j joiner) interrupted(t *testing.T) {
	token := j.token(t, "cut", time.Hour)
	j.cut(t, j.host, begunFile, "join", j.endpoint, "--token", token, "--discovery-token-ca-cert-hash", j.pin)
}

// takenOver: the plan of a run with the machine in its inventory has what only it can issue, and without it, says
// that there is such a node.
func (j joiner) takenOver(t *testing.T) {
	i := slices.IndexFunc(j.nodes(t), func(n node) bool { return n.Name == j.host })
	j.copied(t, "  - name: worker2\n    address: "+j.nodes(t)[i].Address+"\n    roles: [worker]\n", "").tool(t, "plan").want(t, exitDone).says(t, "worker2")

	r := j.tool(t, "plan", "-o", "json").want(t, exitDone)
	changes := changedOn(r.plan(t))
	want := []string{"cert:/var/lib/kubelet/pki/kubelet.crt", "unit:kubelet.service"}
	if !slices.Equal(changes[j.host], want) || len(changes["cp1"])+len(changes["worker1"])+len(r.plan(t).Objects) > 0 {
		t.Errorf("want just %v\n%s", want, r)
	}
	j.tool(t, "plan").want(t, exitDone).says(t, `issued by "system:node:worker2", want "kubernetes"`)
	j.tool(t, "apply", "--yes").want(t, exitDone)
	j.wantEmptyPlan(t)
}
