//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The hosts are the truth: an operator who has lost the machine that made a cluster goes on from
// another one with the files that are kept in version control, and a login.
func TestLostOperator(t *testing.T) {
	c := faults.clusterAgain(t)
	before := c.caFingerprint(t)
	dir := filepath.Join(t.TempDir(), "checkout")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFiles(t, c.dir, dir, operatorFiles...)
	elsewhere := func(cmd *exec.Cmd) {
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "KUBEWRIGHT_CACHE=" + t.TempDir()}
	}
	file := filepath.Join(dir, "cluster.yaml")
	kubewrightAs(t, elsewhere, "apply", "-f", file, "--yes").want(t, exitDone)
	if after := c.caFingerprint(t); after != before {
		t.Errorf("the cluster has another CA: %s, not %s", after, before)
	}
	kubewrightAs(t, elsewhere, "plan", "-f", file, "--detailed-exitcode").want(t, exitDone)
	// The address of the API in it is not the lab's business; who signed it is.
	config := kubewrightAs(t, elsewhere, "kubeconfig", "-f", file).want(t, exitDone).stdout
	if want := c.on(t, "cp1", "base64 -w0 /etc/kubernetes/pki/ca.crt"); !strings.Contains(config, want) {
		t.Error("the kubeconfig that is made elsewhere does not trust the cluster's CA")
	}
}

// An authority is never replaced: not when it is gone and what it signed is there, and not when
// there are two of them. Nothing is changed then.
func TestAuthorities(t *testing.T) {
	c := faults.clusterAgain(t)
	stranger, ours := newStranger(t), c.caPrint(t)
	refused := func(t *testing.T, l *lab, found ...fault) {
		t.Helper()
		before := c.snapshots(t)
		r := l.tool(t, "apply", "--yes").want(t, exitPreflight)
		for _, f := range found {
			if !said(r.stderr, f) {
				t.Errorf("no line of the message has all of %q\n%s", []string(f), r)
			}
		}
		c.wantUnchanged(t, before)
	}
	// What is in the way is moved to a folder of the same name below /root, and back.
	aside := func(t *testing.T, host, path string) {
		t.Helper()
		kept := "/root/aside" + path
		c.on(t, host, fmt.Sprintf("mkdir -p %s; [ ! -e %s ] || mv %[2]s %[3]s", filepath.Dir(kept), path, kept))
		afterwards(t, func(t testing.TB) {
			c.on(t, host, fmt.Sprintf("rm -rf %[1]s; [ ! -e %[2]s ] || { mkdir -p %[3]s; mv %[2]s %[1]s; }", path, kept, filepath.Dir(path)))
		})
	}
	const pki = "/etc/kubernetes/pki"

	t.Run("Gone", func(t *testing.T) {
		aside(t, "cp1", pki)
		refused(t, c.lab, fault{"cp1", "no control plane has a certificate authority in " + pki, "data of etcd"})
	})
	t.Run("OnAWorker", func(t *testing.T) {
		aside(t, "worker3", pki+"/ca.crt")
		c.on(t, "worker3", stranger.files(pki, "ca.crt"))
		refused(t, c.lab, fault{"worker3", stranger.fingerprint, ours})
	})
	t.Run("OnAControlPlane", func(t *testing.T) {
		// A host of another cluster, added to the inventory by mistake.
		aside(t, "worker3", pki)
		c.on(t, "worker3", stranger.files(pki, "ca.crt", "ca.key"))
		edits := []string{"  network:\n", "  controlPlane:\n    endpoint: " + c.address(t, "cp1") + "\n  network:\n"}
		for _, host := range []string{"worker2", "worker3"} { // etcd wants an odd number
			line := "address: " + c.address(t, host) + "\n    roles: "
			edits = append(edits, line+"[worker]", line+"[control-plane]")
		}
		l := c.copied(t, edits...)
		refused(t, l, fault{"two different clusters", "cp1", "worker3"})
	})

	c.tool(t, "apply", "--yes").want(t, exitDone)
	c.wantEmptyPlan(t)
}

// caPrint is the fingerprint of the cluster's CA as kubewright shows it.
func (l *lab) caPrint(t testing.TB) string {
	t.Helper()
	ca := l.tool(t, "plan", "-o", "json").plan(t).CA
	if ca == "" {
		t.Fatal("plan does not know the cluster's CA")
	}
	return ca
}

// address is that of a host.
func (l *lab) address(t testing.TB, host string) string {
	t.Helper()
	for _, n := range l.nodes(t) {
		if n.Name == host {
			return n.Address
		}
	}
	t.Fatalf("the lab has no host %s", host)
	return ""
}

// A worker that belongs to somebody else's cluster stays theirs, and the run changes nothing on
// any host.
func TestForeignWorker(t *testing.T) {
	l := faults.bareAgain(t)
	const host = "worker2"
	stranger := newStranger(t)
	kubeconfig := "clusters:\n- cluster:\n    certificate-authority-data: " + base64.StdEncoding.EncodeToString(stranger.certificate) +
		"\n    server: https://api.foreign.example.test:6443\n  name: foreign\n"
	afterwards(t, func(t testing.TB) {
		l.on(t, host, `
			systemctl disable -q --now kubelet
			rm -r /etc/kubernetes /etc/systemd/system/kubelet.service /etc/cni
			systemctl daemon-reload
			systemctl reset-failed
			iptables -D FORWARD -j FOREIGN
			iptables -F FOREIGN
			iptables -X FOREIGN`)
	})
	l.on(t, host, `
		mkdir -p /etc/kubernetes /etc/cni/net.d
		base64 -d >/etc/kubernetes/kubelet.conf <<'END'
`+base64.StdEncoding.EncodeToString([]byte(kubeconfig))+`
END
		echo '{"name": "foreign", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}' >/etc/cni/net.d/05-foreign.conflist
		printf '[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/kubelet.service
		systemctl daemon-reload
		systemctl enable -q --now kubelet
		iptables -N FOREIGN
		iptables -A FOREIGN -s 192.0.2.1 -j ACCEPT
		iptables -I FORWARD -j FOREIGN`)

	before := l.snapshots(t)
	for _, command := range [][]string{{"apply", "--yes"}, {"doctor"}} {
		r := l.tool(t, command[0], command[1:]...)
		wantRefused(t, r, fault{host, "https://api.foreign.example.test:6443"}, "the inventory names the right host")
		if !said(r.stdout+r.stderr, fault{host, "a running kubelet"}) {
			t.Errorf("its kubelet is not named\n%s", r)
		}
	}
	l.wantUnchanged(t, before)
}

// stranger is the authority of somebody else's cluster.
type stranger struct {
	certificate, key []byte // PEM
	fingerprint      string // as kubewright writes it
}

func newStranger(t testing.TB) stranger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return stranger{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		fingerprint: fmt.Sprintf("sha256:%x", sha256.Sum256(der)),
	}
}

// files is a script that writes the authority below a folder.
func (s stranger) files(dir string, names ...string) string {
	script := "mkdir -p " + dir + "\n"
	for _, name := range names {
		content := s.certificate
		if filepath.Ext(name) == ".key" {
			content = s.key
		}
		script += fmt.Sprintf("umask 077\necho %s | base64 -d >%s/%s\n", base64.StdEncoding.EncodeToString(content), dir, name)
	}
	return script
}
