//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
)

// external: a cluster on an etcd that somebody runs on etcd3. It keeps what is in it when the cluster is
// reset, and what is in it keeps others out.
func (d *etcdHosts) external(t *testing.T) {
	d.node(t, "remove", "cp2", "etcd1", "etcd2")
	d.somebodysEtcd(t)
	d.tool(t, "apply", "--yes").want(t, exitDone)
	d.connect(t).wantReadyNodes(t, 2)
	d.wantEmptyPlan(t)
	d.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone).says(t, "ok external etcd cp1")
	if found := d.on(t, "cp1", "find /etc/kubernetes/pki/etcd /etc/kubernetes/manifests/etcd.yaml /var/lib/etcd -mindepth 1 ! -name ca.crt 2>/dev/null || true"); found != "" {
		t.Errorf("cp1 has no member of etcd, and of one:\n%s", found)
	}
	if mode := d.on(t, "cp1", "stat -c '%a %U' /etc/kubernetes/pki/apiserver-etcd-client.key"); mode != "600 root" {
		t.Errorf("the client's key on cp1 is %s", mode)
	}

	d.on(t, "etcd3", "systemctl stop somebodys-etcd")
	d.tool(t, "plan").want(t, exitPreflight).says(t, "no endpoint of the external etcd answers", "connection refused")
	d.on(t, "etcd3", startEtcd)
	eventually(t, answerTimeout, "a plan with etcd back", func(context.Context) error {
		return must(d.tool(t, "plan"), nil)
	})

	d.tool(t, "reset", "--yes").want(t, exitDone).says(t, "stays in the external etcd at https://"+d.addressOf(t, "etcd3")+":2379")
	const keys = `/root/etcdctl --endpoints https://127.0.0.1:2379 --cacert /root/ca.crt --cert /root/server.crt --key /root/server.key`
	if found := d.on(t, "etcd3", keys+" get /registry/ --prefix --keys-only"); !strings.Contains(found, "/registry/minions/worker1") {
		t.Errorf("of the cluster is left:\n%s", found)
	}
	d.tool(t, "apply", "--yes").want(t, exitPreflight).says(t, "the external etcd has the data of another cluster below /registry", "etcdctl del --prefix /registry/")
	d.tool(t, "reset", "--yes").want(t, exitDone).says(t, "Nothing to do") // nothing was changed
	d.on(t, "etcd3", keys+" del --prefix /registry/")
	d.tool(t, "plan").want(t, exitDone)
}

const startEtcd = `
	address=$(cat /root/address)
	systemctl reset-failed somebodys-etcd 2>/dev/null || true
	systemd-run --quiet --unit=somebodys-etcd /root/etcd --name somebody --data-dir /root/data \
		--listen-client-urls https://$address:2379,https://127.0.0.1:2379 --advertise-client-urls https://$address:2379 \
		--listen-peer-urls http://127.0.0.1:2380 \
		--client-cert-auth --trusted-ca-file /root/ca.crt --cert-file /root/server.crt --key-file /root/server.key`

// somebodysEtcd runs an etcd on etcd3, takes that host out of the inventory, and has the cluster use it.
func (d *etcdHosts) somebodysEtcd(t *testing.T) {
	t.Helper()
	env := certs.Env{Now: time.Now(), Rand: rand.Reader}
	ca, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	address := d.addressOf(t, "etcd3")
	issue := func(r certs.Request) certs.Pair {
		pair, err := ca.Issue(r, env)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	server := issue(certs.Request{CommonName: "somebody", Server: true, Client: true, IPs: []netip.Addr{netip.MustParseAddr(address), netip.MustParseAddr("127.0.0.1")}})
	client := issue(certs.Request{CommonName: "a-client", Client: true})
	script := "umask 077; echo " + address + " >/root/address\n"
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM(), "server.crt": server.CertPEM, "server.key": server.KeyPEM.Reveal()} {
		script += fmt.Sprintf("cat >/root/%s <<'PEM'\n%sPEM\n", name, content)
	}
	d.on(t, "etcd3", script+startEtcd)
	for name, content := range map[string][]byte{"etcd-ca.crt": ca.CertPEM(), "etcd-client.crt": client.CertPEM, "etcd-client.key": client.KeyPEM.Reveal()} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.edit(t, "inventory.yaml", fmt.Sprintf("  - name: etcd3\n    address: %s\n    roles: [etcd]\n", address), "")
	d.edit(t, "cluster.yaml", "  kubelet:\n", `  controlPlane:
    etcd:
      external:
        endpoints: ["https://`+address+`:2379"]
        caFile: etcd-ca.crt
        certFile: etcd-client.crt
        keyFile: etcd-client.key
  kubelet:
`)
}

// edit replaces a text that a file of the lab has once.
func (l *lab) edit(t testing.TB, file, old, replacement string) {
	t.Helper()
	path := filepath.Join(l.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), old) != 1 {
		t.Fatalf("%s has not one of %q:\n%s", path, old, content)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), old, replacement, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
