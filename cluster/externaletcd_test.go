package cluster_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/certs"
	"kubewright/cluster"
)

func now() time.Time { return time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC) }

// givenEtcd are a cluster file that names an external etcd, and the files that it names.
func givenEtcd(t *testing.T, lifetime time.Duration, hosts ...string) memory {
	t.Helper()
	env := certs.Env{Now: now(), Rand: rand.Reader}
	ca, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Issue(certs.Request{CommonName: "client", Client: true, Lifetime: lifetime}, env)
	if err != nil {
		t.Fatal(err)
	}
	return memory{
		"etcd/ca.crt": string(ca.CertPEM()), "etcd/client.crt": string(client.CertPEM), "etcd/client.key": string(client.KeyPEM),
		"cluster.yaml": strings.Replace(clusterOf(hosts...), "  hosts:\n", `  controlPlane:
    etcd:
      external:
        endpoints: [https://etcd.example.com, "https://10.111.9.1:4001"]
        caFile: etcd/ca.crt
        certFile: etcd/client.crt
        keyFile: etcd/client.key
  hosts:
`, 1),
	}
}

func (m memory) loadAt(t *testing.T, at time.Time) (*cluster.Cluster, []cluster.Warning, error) {
	t.Helper()
	return cluster.Load(cluster.Files{Cluster: "cluster.yaml", Read: m.read, Exists: m.exists, Now: at, Checks: checks()}, releases(t))
}

func TestExternalEtcd(t *testing.T) {
	m := givenEtcd(t, 0, "- {name: cp1, address: 10.111.0.10, roles: [control-plane]}", "- {name: cp2, address: 10.111.0.11, roles: [control-plane]}",
		"- {name: w1, address: 10.111.0.12, roles: [worker]}")
	c, warnings, err := m.loadAt(t, now())
	if err != nil || len(warnings) > 0 {
		t.Fatalf("faults: %v, warnings: %v", err, warnings)
	}
	urls := []string{"https://etcd.example.com:2379", "https://10.111.9.1:4001"}
	want := cluster.ExternalEtcd{
		Endpoints: urls, CA: []byte(m["etcd/ca.crt"]), Client: certs.Pair{CertPEM: []byte(m["etcd/client.crt"]), KeyPEM: []byte(m["etcd/client.key"])},
	}
	if diff := cmp.Diff(want, c.ExternalEtcd); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := c.EtcdClientURLs(); !slices.Equal(got, urls) || len(c.EtcdMembers()) > 0 || c.StackedEtcd() || c.InitialCluster() != "" {
		t.Errorf("at %v, members %v", got, c.EtcdMembers())
	}
	if got := c.ForeignAuthorities(); !slices.Equal(got, []certs.AuthorityName{certs.EtcdCA}) || c.EtcdPrefix() != "/registry" {
		t.Errorf("authorities %v, prefix %s", got, c.EtcdPrefix())
	}
	for given, want := range map[string]string{"/a/": "/a", "a/b": "/a/b", "/": ""} {
		c.APIServer.ExtraArgs = map[string]string{"etcd-prefix": given}
		if got := c.EtcdPrefix(); got != want {
			t.Errorf("the prefix %q is %q, want %q", given, got, want)
		}
	}
	if _, archive := c.Release.File("etcd", "arm64"); archive {
		t.Error("the archive of etcd is installed")
	}
	if shown := fmt.Sprintf("%v %+v", c.ExternalEtcd, *c); strings.Contains(shown, strings.Fields(m["etcd/client.key"])[4]) {
		t.Errorf("the key is shown: %s", shown)
	}
}

func TestFaultsOfExternalEtcd(t *testing.T) {
	const plane = "- {name: cp1, address: 10.111.0.10, roles: [control-plane, worker]}"
	const day = 24 * time.Hour
	key := "controlPlane.etcd.external."
	for name, tt := range map[string]struct {
		hosts    []string
		lifetime time.Duration
		at       time.Time
		change   func(memory)
		want     []string // in the faults, or of a good file in the warnings
		good     bool
		timeless bool
	}{
		"no CA":  {change: func(m memory) { delete(m, "etcd/ca.crt") }, want: []string{"cluster.yaml:10:17: spec." + key + "caFile: etcd/ca.crt cannot be read: "}},
		"no key": {change: func(m memory) { delete(m, "etcd/client.key") }, want: []string{"cluster.yaml:12:18: spec." + key + "keyFile: etcd/client.key cannot be read: "}},
		"no PEM at all": {change: func(m memory) {
			for name := range maps.Keys(m) {
				if name != "cluster.yaml" {
					m[name] = "hunter2"
				}
			}
		}, want: []string{"caFile: etcd/ca.crt cannot be used: no PEM encoded certificate", "certFile: etcd/client.crt cannot be used: no PEM encoded certificate"}},
		"the key of another": {change: func(m memory) { m["etcd/client.key"] = givenEtcd(t, 0)["etcd/client.key"] },
			want: []string{"keyFile: etcd/client.key cannot be used: the key does not belong to the certificate"}},
		"a client as the CA": {change: func(m memory) { m["etcd/ca.crt"] = m["etcd/client.crt"] }, want: []string{`caFile: etcd/ca.crt cannot be used: the certificate "client" is not that of an authority`}},
		"expired":            {lifetime: day, at: now().Add(day), want: []string{`cluster.yaml:11:19: spec.` + key + `certFile: etcd/client.crt cannot be used: the certificate "client" expired at`}},
		"expires soon":       {lifetime: 365 * day, at: now().Add(340 * day), good: true, want: []string{"cluster.yaml:11:19: spec." + key + "certFile: etcd/client.crt expires at 2031-03-01T12:00:00Z: kubewright does not renew it"}},
		"nobody asks when":   {lifetime: day, timeless: true, good: true},
		"members as well": {hosts: []string{plane, "- {name: etcd1, address: 10.111.0.11, roles: [etcd]}"},
			want: []string{"cluster.yaml:15:48: spec.hosts[1].roles: etcd1 has the role etcd, while spec.controlPlane.etcd.external names an etcd that runs elsewhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.hosts == nil {
				tt.hosts = []string{plane}
			}
			m := givenEtcd(t, tt.lifetime, tt.hosts...)
			if tt.change != nil {
				tt.change(m)
			}
			at := tt.at
			if at.IsZero() && !tt.timeless {
				at = now()
			}
			c, warnings, err := m.loadAt(t, at)
			text := fmt.Sprint(warnings)
			if !tt.good {
				text = fmt.Sprint(err)
			}
			if (err == nil) != tt.good || (c == nil) == tt.good || strings.Contains(text, "hunter2") {
				t.Fatalf("faults: %v, warnings: %v", err, warnings)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("got %s\nwant %s", text, want)
				}
			}
			if n := strings.Count(text, "cluster.yaml:"); n != len(tt.want) {
				t.Errorf("%d are said: %s", n, text)
			}
		})
	}
}
