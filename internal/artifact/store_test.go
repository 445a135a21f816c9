package artifact_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/catalog"
	"kubewright/internal/resource"
)

func sum(content string) string {
	digest := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digest[:])
}

// site serves upstream's paths, as a mirror does, and counts what is asked.
type site struct {
	*httptest.Server
	files map[string]string
	asked map[string]int
}

func newSite(t *testing.T, files map[string]string) *site {
	t.Helper()
	s := &site{files: files, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked[r.URL.Path]++
		content, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if cut, ok := strings.CutPrefix(content, "CUT:"); ok {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, cut)
			return
		}
		_, _ = io.WriteString(w, content)
	}))
	t.Cleanup(s.Close)
	return s
}

const (
	toolURL  = "https://dl.example.test/v1/tool"
	toolPath = "/dl.example.test/v1/tool"
)

func tool(digest string) catalog.File {
	return catalog.File{Name: "tool", Version: "1.0", URL: toolURL, ChecksumURL: toolURL + ".sha256", SHA256: digest, Format: catalog.Raw}
}

func mirrored(t *testing.T, s *site, c artifact.Config) *artifact.Store {
	t.Helper()
	c.Source = cluster.Artifacts{Source: "mirror", MirrorURL: s.URL}
	if c.Cache == "" {
		c.Cache = t.TempDir()
	}
	return artifact.New(c)
}

func TestDigestsComeFromWhoKnowsThem(t *testing.T) {
	learned, known, locked, own := sum("a"), sum("b"), sum("c"), sum("d")
	lock := func(digest string) catalog.Lock {
		return catalog.Lock{Files: map[string]string{toolURL: "sha256:" + digest}}
	}
	tests := map[string]struct {
		file    catalog.File
		config  artifact.Config
		want    string
		changed bool
	}{
		"the catalogue's":               {tool(known), artifact.Config{}, known, false},
		"the site's before the others":  {tool(known), artifact.Config{Replacement: lock(own), Lock: lock(locked)}, own, false},
		"the catalogue's over the lock": {tool(known), artifact.Config{Lock: lock(locked)}, known, false},
		"the locked one":                {tool(""), artifact.Config{Lock: lock(locked)}, locked, false},
		"learned from upstream":         {tool(""), artifact.Config{}, learned, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, map[string]string{toolPath + ".sha256": learned + "  tool\n"})
			store := mirrored(t, s, tc.config)
			got, err := store.Resolve(t.Context(), []catalog.File{tc.file})
			if err != nil {
				t.Fatal(err)
			}
			a := got["tool"]
			if a.SHA256 != tc.want || a.URL != s.URL+toolPath || a.Upstream != toolURL || a.Archive {
				t.Errorf("got %+v, want the digest %s", a, tc.want)
			}
			saved, changed := store.Lock()
			if changed != tc.changed {
				t.Errorf("the lock changed: %v, want %v", changed, tc.changed)
			}
			if changed && saved.Files[toolURL] != "sha256:"+learned {
				t.Errorf("the lock has %q", saved.Files[toolURL])
			}
			if asked := s.asked[toolPath+".sha256"] > 0; asked != tc.changed {
				t.Errorf("upstream's checksum was asked for: %v", asked)
			}
		})
	}
}

func TestADigestIsLearnedOnce(t *testing.T) {
	s := newSite(t, map[string]string{toolPath + ".sha256": sum("x")})
	store := mirrored(t, s, artifact.Config{})
	for range 3 {
		if _, err := store.Resolve(t.Context(), []catalog.File{tool("")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.asked[toolPath+".sha256"]; n != 1 {
		t.Errorf("upstream's checksum was asked for %d times", n)
	}
}

func TestNoDigestIsRefused(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		file  catalog.File
		want  string
	}{
		"no checksum published": {nil, catalog.File{Name: "tool", Version: "1.0", URL: toolURL}, "spec.artifacts.digests"},
		"the checksum is gone":  {nil, tool(""), "404"},
		"not a checksum":        {map[string]string{toolPath + ".sha256": "<html>"}, tool(""), "tool.sha256"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			store := mirrored(t, newSite(t, tc.files), artifact.Config{})
			_, err := store.Resolve(t.Context(), []catalog.File{tc.file})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "tool 1.0") {
				t.Errorf("got %v, want it to name the file and %q", err, tc.want)
			}
			if _, changed := store.Lock(); changed {
				t.Error("something was locked")
			}
		})
	}
}

func TestOpen(t *testing.T) {
	const content = "the tool"
	a := resource.Artifact{Name: "tool", Version: "1.0", Upstream: toolURL, SHA256: sum(content)}
	tests := map[string]struct {
		served string
		want   string // part of the error, "" for none
	}{
		"what was promised": {content, ""},
		"something else":    {"malware", "digest mismatch"},
		"cut":               {"CUT:the", "EOF"},
		"not there":         {"", "404"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tc.served != "" {
				files[toolPath] = tc.served
			}
			cache := t.TempDir()
			path, err := mirrored(t, newSite(t, files), artifact.Config{Cache: cache}).Open(t.Context(), a)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got %v, want %q", err, tc.want)
				}
				if left, _ := os.ReadDir(cache); len(left) > 0 {
					t.Errorf("%s was left in the cache", left[0].Name())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); string(got) != content {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOpenTrustsTheCacheOnlyAfterALook(t *testing.T) {
	const content = "the tool"
	s := newSite(t, map[string]string{toolPath: content})
	cache := t.TempDir()
	store := mirrored(t, s, artifact.Config{Cache: cache})
	a := resource.Artifact{Name: "tool", Version: "1.0", Upstream: toolURL, SHA256: sum(content)}
	for range 2 {
		if _, err := store.Open(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if s.asked[toolPath] != 1 {
		t.Errorf("it was fetched %d times, want once", s.asked[toolPath])
	}
	if err := os.WriteFile(filepath.Join(cache, a.SHA256), []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := store.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != content {
		t.Errorf("a damaged copy was given out: %q", got)
	}
}

func TestDirectory(t *testing.T) {
	const content = "the tool"
	dir := t.TempDir()
	file := filepath.Join(dir, "dl.example.test", "v1", "tool")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	store := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "directory", Directory: dir}, Cache: t.TempDir()})
	resolved, err := store.Resolve(t.Context(), []catalog.File{tool(sum(content))})
	if err != nil {
		t.Fatal(err)
	}
	if a := resolved["tool"]; a.URL != "" {
		t.Errorf("hosts are sent to %s, but cannot see the operator's folder", a.URL)
	}
	if _, err := store.Open(t.Context(), resolved["tool"]); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "spec.artifacts.directory") {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), resolved["tool"]); err != nil {
		t.Error(err)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hang)
	store := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "mirror", MirrorURL: server.URL}, Cache: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Open(ctx, resource.Artifact{Name: "tool", Upstream: toolURL, SHA256: sum("x")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
