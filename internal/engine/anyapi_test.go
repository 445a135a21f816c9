package engine

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"kubewright/internal/kube"
	"kubewright/inventory"
)

// One API server that takes connections and does not answer yet must not keep a run from seeing that another
// gets ready.
func TestAnyAPIDoesNotWaitForStragglers(t *testing.T) {
	var ready atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if ready.Load() {
			_, _ = io.WriteString(w, "ok")
			return
		}
		http.Error(w, "[+]ping ok\n[-]informer-sync failed: reason withheld", http.StatusInternalServerError)
	}))
	defer server.Close()
	starting, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer starting.Close()
	s := &Session{api: newAPI()}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, address := range map[string]string{"cp1": server.Listener.Addr().String(), "cp2": starting.Addr().String()} {
		client, err := kube.New(kube.Config{Server: "https://" + address, CAPEM: authority})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		s.api.clients[name] = client
		s.hosts = append(s.hosts, &member{Host: inventory.Host{Name: name, Roles: []inventory.Role{inventory.RoleControlPlane}}, seen: true})
	}

	const long = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 2*long)
	defer cancel()
	condition, begun := anyAPI{session: s, stragglers: 20 * time.Millisecond}, time.Now()
	done, detail, err := condition.Check(ctx)
	if took := time.Since(begun); done || err != nil || took > long {
		t.Errorf("done %v, error %v after %s", done, err, took)
	}
	if want := "cp1: informer-sync; cp2: no answer yet"; detail != want {
		t.Errorf("detail %q, want %q", detail, want)
	}
	ready.Store(true)
	if done, detail, err := condition.Check(ctx); !done || err != nil || s.api.from != "cp1" {
		t.Errorf("done %v, detail %q, error %v; %q serves from now on", done, detail, err, s.api.from)
	}
}
