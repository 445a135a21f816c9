package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tarOf writes an archive; a value that begins with "-> " is a symbolic link.
func tarOf(t *testing.T, name string, members map[string]string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, member := range slices.Sorted(maps.Keys(members)) {
		h := &tar.Header{Name: member, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(members[member]))}
		target, link := strings.CutPrefix(members[member], "-> ")
		if link {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, members[member]); !link && err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blobs are members of an OCI layout by their digests.
type blobs map[string]string

func (b blobs) add(mediaType, content string) map[string]any {
	digest := digestOf([]byte(content))
	b[blobPath(digest)] = content
	return map[string]any{"mediaType": mediaType, "digest": digest, "size": len(content)}
}

// ociLayout has one image for this architecture, behind an index that has another one as well.
func ociLayout(t *testing.T, annotations map[string]string) (members blobs, image string) {
	t.Helper()
	members = blobs{}
	config := members.add(mediaConfig, "{}")
	layer := members.add(mediaLayer, "layer")
	image = asJSON(t, map[string]any{"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": []any{layer}})
	here := members.add(mediaManifest, image)
	here["platform"] = map[string]any{"os": "linux", "architecture": arch()}
	elsewhere := map[string]any{
		"mediaType": mediaManifest, "digest": digestOf([]byte("not in the archive")), "size": 1,
		"platform": map[string]any{"os": "linux", "architecture": "s390x"},
	}
	all := members.add("application/vnd.oci.image.index.v1+json", asJSON(t, map[string]any{"manifests": []any{elsewhere, here}}))
	all["annotations"] = annotations
	members["index.json"] = asJSON(t, map[string]any{"schemaVersion": 2, "manifests": []any{all}})
	return members, image
}

// dockerArchive has one image of two layers, the second of which is a link to the first.
func dockerArchive(t *testing.T, tags ...string) map[string]string {
	t.Helper()
	return map[string]string{
		"abc.json": "{}", "1/layer.tar": "layer", "2/layer.tar": "-> ../1/layer.tar", "3.tar.gz": "\x1f\x8blayer",
		"manifest.json": asJSON(t, []any{map[string]any{
			"Config": "abc.json", "RepoTags": tags, "Layers": []string{"1/layer.tar", "2/layer.tar", "3.tar.gz"},
		}}),
	}
}

func TestLoad(t *testing.T) {
	fake := &fakeRegistry{man: map[string]string{}}
	server := httptest.NewServer(fake)
	defer server.Close()
	from := t.TempDir()
	oci, image := ociLayout(t, map[string]string{
		"io.containerd.image.name": "docker.io/nginx/nginx-ingress:5.5.4", "org.opencontainers.image.ref.name": "5.5.4",
	})
	oci["manifest.json"] = asJSON(t, []any{}) // docker save writes one beside index.json
	tarOf(t, filepath.Join(from, "oci.tar"), oci)
	tarOf(t, filepath.Join(from, "docker.tar"), dockerArchive(t, "busybox:1.37.0", "quay.io/some/one:v1"))

	b := builder{cache: cache{t.TempDir(), io.Discard}}
	store := &registry{base: server.URL}
	// The fake registry stores nothing, and what a step leaves has to be there.
	for _, ref := range []string{"docker.io/nginx/nginx-ingress:5.5.4", "docker.io/library/busybox:1.37.0", "quay.io/some/one:v1"} {
		repository, tag, err := splitRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		write(t, b.dir, "registry/docker/registry/v2/repositories/"+repository+"/_manifests/tags/"+tag+"/current/link", "sha256:1")
	}
	for _, name := range []string{"oci.tar", "docker.tar"} {
		if err := b.loadArchive(t.Context(), filepath.Join(from, name), store); err != nil {
			t.Fatal(err)
		}
	}
	if got := fake.man["/v2/docker.io/nginx/nginx-ingress/manifests/5.5.4"]; got != image {
		t.Errorf("the manifest is %s, and in the archive %s", got, image)
	}
	var m manifest
	if err := json.Unmarshal([]byte(fake.man["/v2/docker.io/library/busybox/manifests/1.37.0"]), &m); err != nil {
		t.Fatal(err)
	}
	plain := descriptor{"application/vnd.oci.image.layer.v1.tar", digestOf([]byte("layer")), 5}
	want := manifest{2, mediaManifest, descriptor{mediaConfig, digestOf([]byte("{}")), 2}, []descriptor{plain, plain, {mediaLayer, digestOf([]byte("\x1f\x8blayer")), 7}}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if err := b.writeLists(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(b.dir, "images.txt"))
	if want := "docker.io/library/busybox:1.37.0\ndocker.io/nginx/nginx-ingress:5.5.4\nquay.io/some/one:v1\n"; err != nil || string(list) != want {
		t.Errorf("images.txt is %q, %v, want %q", list, err, want)
	}
	pushed := len(fake.blobs)
	if err := b.loadArchive(t.Context(), filepath.Join(from, "oci.tar"), store); err != nil || len(fake.blobs) != pushed {
		t.Errorf("the same archive again: %v, %d blobs after %d", err, len(fake.blobs), pushed)
	}
}

func TestLoadRefuses(t *testing.T) {
	named := map[string]string{"org.opencontainers.image.ref.name": "quay.io/some/one:v1"}
	without := func(members map[string]string, part string) map[string]string {
		members = maps.Clone(members)
		maps.DeleteFunc(members, func(name, _ string) bool { return strings.Contains(name, part) })
		return members
	}
	whole, _ := ociLayout(t, named)
	unnamed, _ := ociLayout(t, nil)
	tagOnly, _ := ociLayout(t, map[string]string{"org.opencontainers.image.ref.name": "v1"})
	for want, members := range map[string]map[string]string{
		"neither index.json nor manifest.json":     {"etc/passwd": ""},
		`named "docker.io/library/"`:               unnamed,
		`named "docker.io/library/v1"`:             tagOnly,
		"has no file blobs/sha256/":                without(whole, strings.TrimPrefix(blobPath(digestOf([]byte("layer"))), "blobs/sha256/")),
		"has no file 1/layer.tar":                  without(dockerArchive(t, "a:1"), "1/"),
		"an image of the archive has no name":      dockerArchive(t),
		`"docker.io/library/busybox", which is no`: dockerArchive(t, "busybox"),
		"manifest.json: ":                          {"manifest.json": "{"},
		"nothing for linux/" + arch():              {"index.json": whole["index.json"], "blobs/sha256/" + indexOf(whole): `{"manifests": []}`},
	} {
		name := filepath.Join(t.TempDir(), "images.tar")
		tarOf(t, name, members)
		b := builder{cache: cache{t.TempDir(), io.Discard}}
		if err := b.loadArchive(t.Context(), name, &registry{base: "http://nowhere.invalid"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	packed := filepath.Join(t.TempDir(), "packed.tar")
	if _, err := writeGzip(packed, func(w io.Writer) error { return writeTar(w, []tarEntry{{Name: "index.json"}}) }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{packed: "a compressed one has to be unpacked", packed + ".gone": "no such file"} {
		if _, err := openArchive(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

// indexOf is the digest of the index behind index.json.
func indexOf(members blobs) string {
	_, digest, _ := strings.Cut(members["index.json"], `"digest":"sha256:`)
	digest, _, _ = strings.Cut(digest, `"`)
	return digest
}

func TestFullRef(t *testing.T) {
	for name, want := range map[string]string{
		"busybox:1":                       "docker.io/library/busybox:1",
		"nginx/nginx-ingress:5.5.4":       "docker.io/nginx/nginx-ingress:5.5.4",
		"registry.k8s.io/pause:3.10":      "registry.k8s.io/pause:3.10",
		"docker.io/calico/node:v3.28.5":   "docker.io/calico/node:v3.28.5",
		"busybox":                         "",
		"busybox@sha256:12":               "",
		"localhost:5000/busybox:1":        "",
		"registry.k8s.io/pause@sha256:12": "",
	} {
		if got, err := fullRef(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}
