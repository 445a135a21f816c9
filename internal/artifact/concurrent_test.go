package artifact_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/catalog"
	"kubewright/internal/resource"
)

// Many hosts are given the same files at the same time: each is downloaded once.
func TestOpenedByManyIsFetchedOnce(t *testing.T) {
	content := bytes.Repeat([]byte("kubelet "), 100_000)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	store := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "mirror", MirrorURL: server.URL}, Cache: t.TempDir()})
	a := resource.Artifact{Name: "tool", Version: "1.0", Upstream: toolURL, SHA256: sum(string(content))}
	var hosts sync.WaitGroup
	for range 20 {
		hosts.Go(func() {
			path, err := store.Open(t.Context(), a)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	hosts.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("it was downloaded %d times, want once", n)
	}
}

// Without a mirror files come from where they were published.
func TestUpstream(t *testing.T) {
	const content = "the tool"
	s := newSite(t, map[string]string{"/v1/tool": content, "/v1/tool.sha256": sum(content)})
	store := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "upstream", MirrorURL: "http://unused.example"}, Cache: t.TempDir()})
	url := s.URL + "/v1/tool"
	resolved, err := store.Resolve(t.Context(), []catalog.File{{Name: "tool", Version: "1.0", URL: url, ChecksumURL: url + ".sha256", Format: catalog.TarGzip}})
	if err != nil {
		t.Fatal(err)
	}
	if a := resolved["tool"]; a.URL != url || a.Upstream != url || a.SHA256 != sum(content) || !a.Archive {
		t.Errorf("%+v", a)
	}
	if _, err := store.Open(t.Context(), resolved["tool"]); err != nil {
		t.Fatal(err)
	}
}
