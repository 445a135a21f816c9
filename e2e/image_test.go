//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// registry is where a lab that serves artifacts has the image of the pods.
const registry = "registry.kubewright.test"

// provideImage brings the image of the pods to every host of a lab that takes its images from
// upstream, where this one is not published.
func (l *lab) provideImage(t testing.TB) {
	t.Helper()
	content, err := os.ReadFile(l.file())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), registry) {
		return
	}
	archive := imageArchive(t, image, l.verifyImage(t))
	for _, n := range l.nodes(t) {
		if _, err := l.ssh(t.Context(), n.Name, bytes.NewReader(archive), "/usr/local/bin/ctr", "-n", "k8s.io", "images", "import", "-"); err != nil {
			t.Fatal(err)
		}
	}
}

// verifyImage is the name of the image with which verify tries what is enabled.
func (l *lab) verifyImage(t testing.TB) string {
	t.Helper()
	var images []struct{ Name, Component string }
	r := kubewright(t, "images", "list", "-f", l.file(), "-o", "json").want(t, exitDone)
	if err := json.Unmarshal([]byte(r.stdout), &images); err != nil {
		t.Fatalf("images list: %v\n%s", err, r)
	}
	for _, i := range images {
		if i.Component == "verify" {
			return i.Name
		}
	}
	t.Fatalf("no image is the one of verify\n%s", r)
	return ""
}

// loadImages puts the images of the archives in KUBEWRIGHT_E2E_IMAGES, those that cannot be built, into
// the registry of the labs, once. Labs that take their images from upstream have them there.
var loadImages = sync.OnceValue(func() error {
	from, to := os.Getenv("KUBEWRIGHT_E2E_IMAGES"), artifacts()
	if from == "" || to == "" {
		return nil
	}
	if !filepath.IsAbs(from) {
		return fmt.Errorf("KUBEWRIGHT_E2E_IMAGES=%s: want an absolute path", from)
	}
	out, err := exec.CommandContext(context.Background(), "go", "run", "./artifacts", "load", "-from", from, "-cache", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("loading the images of KUBEWRIGHT_E2E_IMAGES: %w\n%s", err, out)
	}
	return nil
})

// needsImage skips a test whose labs could not pull an image, of a name that begins like this.
func needsImage(t *testing.T, name string) {
	t.Helper()
	if !hasImage(t, name) {
		t.Skipf("%s... is not among the artifacts, as it cannot be built: put an archive of it into a folder and name that in KUBEWRIGHT_E2E_IMAGES, or reach upstream's", name)
	}
}

// hasImage tells whether labs could pull an image, of a name that begins like this.
func hasImage(t testing.TB, name string) bool {
	t.Helper()
	if artifacts() == "" {
		return true
	}
	if err := loadImages(); err != nil {
		t.Fatal(err)
	}
	images, err := os.ReadFile(filepath.Join(artifacts(), "images.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains("\n"+string(images), "\n"+name)
}

// imageArchive builds the image as `docker save` writes it, under some names: one layer with the program in it.
func imageArchive(t testing.TB, names ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "verifyserver")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../cmd/verifyserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the test server: %v\n%s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	layer := tarball(t, packed{"tmp/", 0o1777, nil}, packed{strings.TrimPrefix(testserver, "/"), 0o755, program})
	config := encoded(t, map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{testserver}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	manifest := encoded(t, []any{map[string]any{"Config": "config.json", "RepoTags": names, "Layers": []string{"layer.tar"}}})
	return tarball(t, packed{"layer.tar", 0o644, layer}, packed{"config.json", 0o644, config}, packed{"manifest.json", 0o644, manifest})
}

// packed is an entry of a tarball.
type packed struct {
	name    string
	mode    int64
	content []byte
}

// tarball packs files, and folders, whose names end with a slash.
func tarball(t testing.TB, entries ...packed) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
