package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	layers := []blob{{Digest: "sha256:aa", DiffID: "sha256:ab", Size: 1}, {Digest: "sha256:ba", DiffID: "sha256:bb", Size: 2}}
	image := Image{Ref: "docker.io/calico/node:v3.28.5", User: "999", Cmd: []string{"start_runit"}, Env: []string{"SVDIR=/etc/service/enabled"}}
	config, man, err := describe(image, layers)
	if err != nil {
		t.Fatal(err)
	}
	var c imageConfig
	var m manifest
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(man, &m); err != nil {
		t.Fatal(err)
	}
	wantConfig := imageConfig{
		Created: "1970-01-01T00:00:00Z", Architecture: arch(), OS: "linux",
		Config: runConfig{User: "999", Cmd: []string{"start_runit"}, WorkingDir: "/", Env: []string{"PATH=" + defaultPath, "SVDIR=/etc/service/enabled"}},
		RootFS: imageRootFS{Type: "layers", DiffIDs: []string{"sha256:ab", "sha256:bb"}},
	}
	if diff := cmp.Diff(wantConfig, c); diff != "" {
		t.Error(diff)
	}
	wantManifest := manifest{
		SchemaVersion: 2, MediaType: mediaManifest,
		Config: descriptor{mediaConfig, digestOf(config), int64(len(config))},
		Layers: []descriptor{{mediaLayer, "sha256:aa", 1}, {mediaLayer, "sha256:ba", 2}},
	}
	if diff := cmp.Diff(wantManifest, m); diff != "" {
		t.Error(diff)
	}
	again, _, err := describe(image, layers)
	if err != nil || !bytes.Equal(again, config) {
		t.Errorf("the same image has another configuration: %v", err)
	}
}

func TestOwnPathIsKept(t *testing.T) {
	got := withDefaultPath([]string{"A=1", "PATH=/opt/cni/bin"})
	if diff := cmp.Diff([]string{"A=1", "PATH=/opt/cni/bin"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSplitRef(t *testing.T) {
	if r, tag, err := splitRef("registry.k8s.io/coredns/coredns:v1.15.0"); err != nil || r != "registry.k8s.io/coredns/coredns" || tag != "v1.15.0" {
		t.Errorf("got %s %s %v", r, tag, err)
	}
	for _, bad := range []string{"pause", "pause:", "localhost:5000/pause"} {
		if _, _, err := splitRef(bad); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// TestNetBindCapability compares with what `setcap cap_net_bind_service=+ep` writes.
func TestNetBindCapability(t *testing.T) {
	want := "0100000200040000000000000000000000000000"
	if got := fmt.Sprintf("%x", netBindCapability()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTreeEntriesModes(t *testing.T) {
	root := t.TempDir()
	write(t, root, "service/felix/run", "#!/bin/sh\n")
	write(t, root, "rc.local", "mkdir /etc/service/enabled\n")
	write(t, root, "nsswitch.conf", "hosts: files dns\n")
	entries, err := treeEntries(root, "etc")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, e := range entries {
		got[e.Name] = e.Mode
	}
	want := map[string]int64{
		"etc/service/": 0o755, "etc/service/felix/": 0o755, "etc/service/felix/run": 0o755,
		"etc/rc.local": 0o755, "etc/nsswitch.conf": 0o644,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := treeEntries(filepath.Join(root, "nothing"), "etc"); err == nil {
		t.Error("a folder that the module lacks: no error")
	}
}

// fakeRegistry follows the distribution specification as far as an upload in one piece, and
// checks the digests as a registry does.
type fakeRegistry struct {
	mu    sync.Mutex
	blobs []string
	man   map[string]string
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/blobs/uploads/"):
		w.Header().Set("Location", r.URL.Path+"1?state=x")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/1"):
		digest := r.URL.Query().Get("digest")
		if r.URL.Query().Get("state") != "x" || digestOf(data) != digest || r.ContentLength != int64(len(data)) {
			http.Error(w, "DIGEST_INVALID", http.StatusBadRequest)
			return
		}
		f.blobs = append(f.blobs, digest)
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut && r.Header.Get("Content-Type") == mediaManifest:
		f.man[r.URL.Path] = string(data)
		w.WriteHeader(http.StatusCreated)
	default:
		http.Error(w, "unexpected", http.StatusTeapot)
	}
}

func TestPush(t *testing.T) {
	fake := &fakeRegistry{man: map[string]string{}}
	server := httptest.NewServer(fake)
	defer server.Close()
	layer, err := writeGzip(filepath.Join(t.TempDir(), "layer"), func(w io.Writer) error { return writeTar(w, []tarEntry{{Name: "pause"}}) })
	if err != nil {
		t.Fatal(err)
	}
	store := &registry{base: server.URL}
	image := Image{Ref: "registry.k8s.io/pause:3.10.2"}
	link, err := store.push(t.Context(), image, []blob{layer})
	if err != nil {
		t.Fatal(err)
	}
	if want := "registry/docker/registry/v2/repositories/registry.k8s.io/pause/_manifests/tags/3.10.2/current/link"; link != want {
		t.Errorf("got %s, want %s", link, want)
	}
	config, man, err := describe(image, []blob{layer})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{layer.Digest, digestOf(config)}; !slices.Equal(fake.blobs, want) {
		t.Errorf("uploaded %v, want %v", fake.blobs, want)
	}
	if got := fake.man["/v2/registry.k8s.io/pause/manifests/3.10.2"]; got != string(man) {
		t.Errorf("manifest is %s, want %s", got, man)
	}

	layer.Digest = digestOf([]byte("something else"))
	if _, err := store.push(t.Context(), image, []blob{layer}); err == nil || !strings.Contains(err.Error(), "DIGEST_INVALID") {
		t.Errorf("a layer with a wrong digest: got %v", err)
	}
	layer.Path = filepath.Join(t.TempDir(), "gone")
	if _, err := store.push(t.Context(), image, []blob{layer}); !os.IsNotExist(err) {
		t.Errorf("a layer that is not there: got %v", err)
	}
}

func TestListeningAddress(t *testing.T) {
	log := "level=info msg=\"redis not configured\"\nlevel=info msg=\"listening on 127.0.0.1:41234\" version=v3\n"
	if got, err := listeningAddress(strings.NewReader(log)); err != nil || got != "127.0.0.1:41234" {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := listeningAddress(strings.NewReader("fatal: no storage\n")); err == nil || !strings.Contains(err.Error(), "no storage") {
		t.Errorf("a registry that ended: got %v", err)
	}
}

func TestStartWithoutRegistry(t *testing.T) {
	store := &registry{cache: cache{t.TempDir(), io.Discard}}
	if err := store.start(t.Context()); err == nil || !strings.Contains(err.Error(), "build the group registry first") {
		t.Errorf("got %v", err)
	}
}
