package etcd_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kubewright/certs"
	"kubewright/internal/etcd"
	"kubewright/internal/kube/apitest"
)

func newClient(t *testing.T, config etcd.Config) *etcd.Client {
	t.Helper()
	client, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestNewErrors(t *testing.T) {
	pki := apitest.NewPKI(t)
	good := etcd.Config{Endpoint: "https://10.0.0.1:2379", CAPEM: pki.Bundle.Etcd.CertPEM(), Client: pki.Pair(certs.EtcdHealthcheckClient)}
	tests := []struct {
		name   string
		change func(*etcd.Config)
		want   string
	}{
		{"no TLS", func(c *etcd.Config) { c.Endpoint = "http://10.0.0.1:2379" }, "of the form https://host:port"},
		{"no scheme", func(c *etcd.Config) { c.Endpoint = "10.0.0.1:2379" }, "of the form https://host:port"},
		{"no authority", func(c *etcd.Config) { c.CAPEM = nil }, "no certificate authority given"},
		{"no certificate", func(c *etcd.Config) { c.Client = certs.Pair{} }, "client certificate: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := good
			test.change(&config)
			if _, err := etcd.New(config); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

// TestRealMember looks at a real etcd, whose certificates come from package certs.
func TestRealMember(t *testing.T) {
	apitest.Binary(t, "etcd")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // must not matter
	pki := apitest.NewPKI(t)
	member := apitest.StartEtcd(t, pki)
	var dials atomic.Int32
	config := etcd.Config{
		Endpoint: member.Endpoint, CAPEM: pki.Bundle.Etcd.CertPEM(), Client: pki.Pair(certs.EtcdHealthcheckClient),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
	client := newClient(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	health, err := client.Health(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !health.Leader || health.Learner || health.MemberID == 0 || !strings.HasPrefix(health.Version, "3.") || health.DBSize == 0 || health.Latency <= 0 {
		t.Errorf("health is %+v", health)
	}
	if dials.Load() == 0 {
		t.Error("the dialer was not used")
	}
	members, err := client.Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(members) != 1 || members[0].Name != "cp1" || members[0].ID != health.MemberID || members[0].Learner ||
		members[0].PeerURLs[0] != member.PeerURL || members[0].ClientURLs[0] != member.Endpoint {
		t.Errorf("members are %+v", members)
	}
	if !strings.HasSuffix(members[0].String(), " cp1") {
		t.Errorf("member prints as %q", members[0])
	}

	t.Run("what it holds", func(t *testing.T) {
		writer, err := clientv3.New(clientv3.Config{Endpoints: []string{member.Endpoint}, TLS: clientTLS(t, pki)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = writer.Close() })
		for _, key := range []string{"/registry/a", "/registry/b/c", "/registry2/a"} {
			if _, err := writer.Put(ctx, key, "value of "+key); err != nil {
				t.Fatal(err)
			}
		}
		for prefix, want := range map[string]int64{"/registry/": 2, "/registry": 3, "/other/": 0} {
			if got, err := client.Count(ctx, prefix); err != nil || got != want {
				t.Errorf("below %s are %d keys, %v; want %d", prefix, got, err, want)
			}
		}
		for key, want := range map[string]string{"/registry/a": "value of /registry/a", "/registry/": "", "/registry/b": ""} {
			if got, err := client.Get(ctx, key); err != nil || string(got) != want {
				t.Errorf("%s is %q, %v; want %q", key, got, err, want)
			}
		}
	})
	t.Run("certificate of another authority", func(t *testing.T) {
		stranger := config
		other := apitest.NewPKI(t)
		stranger.Client = other.Pair(certs.EtcdHealthcheckClient)
		assertFails(t, newClient(t, stranger), "tls: ")
	})
	t.Run("server of another authority", func(t *testing.T) {
		stranger := config
		stranger.CAPEM = apitest.NewPKI(t).Bundle.Etcd.CertPEM()
		assertFails(t, newClient(t, stranger), "certificate signed by unknown authority")
	})
	t.Run("nobody listens", func(t *testing.T) {
		nobody := config
		nobody.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("host cp9 is gone") }
		assertFails(t, newClient(t, nobody), "host cp9 is gone")
	})
	t.Run("no quorum", func(t *testing.T) {
		// Two voters of which one never starts: the member answers, but there is no quorum.
		addMember(t, member, pki)
		assertFails(t, client, "read through a quorum")
	})
}

// What is not answered is not nothing.
func TestUnread(t *testing.T) {
	client := newClient(t, startFake(t).config()) // which answers no reads
	if _, err := client.Count(t.Context(), "/registry/"); err == nil || !strings.Contains(err.Error(), "count the keys below /registry/") {
		t.Errorf("error is %v", err)
	}
	if _, err := client.Get(t.Context(), "/registry/a"); err == nil || !strings.Contains(err.Error(), "read /registry/a") {
		t.Errorf("error is %v", err)
	}
}

// assertFails expects an error within a short time that names the endpoint and the cause.
func assertFails(t *testing.T, client *etcd.Client, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err := client.Health(ctx)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "etcd https://127.0.0.1:") {
		t.Errorf("error is %v, want %q", err, want)
	}
}

// addMember adds a voting member that nobody starts.
func addMember(t *testing.T, member *apitest.Etcd, pki *apitest.PKI) {
	t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{member.Endpoint}, TLS: clientTLS(t, pki)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := raw.MemberAdd(ctx, []string{"https://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
}
