package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// load puts the images of the archives (*.tar) in a folder into the registry of dir, under the
// names that they have in there: images that cannot be built, or others than what is built, until
// the next build.
func load(ctx context.Context, from, dir string, log io.Writer) error {
	archives, err := filepath.Glob(filepath.Join(from, "*.tar"))
	if err != nil {
		return err
	}
	if len(archives) == 0 {
		return fmt.Errorf("no archive (*.tar) of images in %q; -from names the folder", from)
	}
	b, err := newBuilder(dir, log)
	if err != nil {
		return err
	}
	return b.withRegistry(ctx, func(store *registry) error {
		for _, name := range archives {
			if err := b.loadArchive(ctx, name, store); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
}

func (b builder) loadArchive(ctx context.Context, name string, store *registry) error {
	a, err := openArchive(name)
	if err != nil {
		return err
	}
	defer a.file.Close()
	images, err := a.images()
	if err != nil {
		return err
	}
	sum, err := digestOfReader(io.NewSectionReader(a.file, 0, 1<<62))
	if err != nil {
		return err
	}
	for _, i := range images {
		s, err := b.imageStep(i.ref, new(digester).value([]string{sum, i.ref}), func(ctx context.Context) (string, error) {
			return store.pushImage(ctx, i)
		})
		if err != nil {
			return err
		}
		if _, err := b.do(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// packedImage is an image that is ready to be pushed.
type packedImage struct {
	ref       string
	mediaType string // of the manifest
	manifest  []byte
	parts     []part // configuration and layers
}

// part is a blob of an image.
type part struct {
	digest string
	size   int64
	open   func() (io.ReadCloser, error)
}

// archive is a tar file of images, in the layout of OCI or in Docker's own: what `podman save`,
// `docker save`, `ctr images export` and skopeo write.
type archive struct {
	file    *os.File
	members map[string]*io.SectionReader
	links   map[string]string // symbolic links, by which older versions of docker save name a layer twice
}

func openArchive(name string) (archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return archive{}, err
	}
	a := archive{file: f, members: map[string]*io.SectionReader{}, links: map[string]string{}}
	if err := a.index(); err != nil {
		return archive{}, errors.Join(err, f.Close())
	}
	return a, nil
}

// index finds the members. A reader of tar stands where the content begins when it has read a header.
func (a archive) index() error {
	in := tar.NewReader(a.file)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not a tar archive, or not a whole one (a compressed one has to be unpacked): %w", err)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			at, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			a.members[name] = io.NewSectionReader(a.file, at, h.Size)
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname) //nolint:gosec // a key of members; nothing is written
		}
	}
}

// member finds a file of the archive.
func (a archive) member(name string) (*io.SectionReader, error) {
	name = path.Clean(name)
	if to, ok := a.links[name]; ok {
		name = to
	}
	m, ok := a.members[name]
	if !ok {
		return nil, fmt.Errorf("the archive has no file %s", name)
	}
	return io.NewSectionReader(m, 0, m.Size()), nil
}

// decode reads a JSON file of the archive.
func (a archive) decode(name string, into any) ([]byte, error) {
	m, err := a.member(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(m, 16<<20))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func (a archive) images() ([]packedImage, error) {
	switch {
	case a.members["index.json"] != nil: // docker save writes both, of the same images
		return a.ociImages()
	case a.members["manifest.json"] != nil:
		return a.dockerImages()
	}
	return nil, errors.New("the archive has neither index.json nor manifest.json, so it is none of images")
}

// ociIndex lists manifests, of images or of an image for several architectures.
type ociIndex struct {
	Manifests []struct {
		descriptor
		Platform    struct{ Architecture, OS string }
		Annotations map[string]string
	}
}

// ociImages are the images of an OCI layout that have a name.
func (a archive) ociImages() ([]packedImage, error) {
	var index ociIndex
	if _, err := a.decode("index.json", &index); err != nil {
		return nil, err
	}
	var images []packedImage
	for _, d := range index.Manifests {
		// containerd's is the whole name, where the other may be the tag alone.
		ref, err := fullRef(cmp.Or(d.Annotations["io.containerd.image.name"], d.Annotations["org.opencontainers.image.ref.name"]))
		if err != nil {
			return nil, err
		}
		i, err := a.ociImage(ref, d.descriptor)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		images = append(images, i)
	}
	return images, nil
}

// ociImage is the image of a manifest, or of the one for this architecture.
func (a archive) ociImage(ref string, d descriptor) (packedImage, error) {
	if strings.HasSuffix(d.MediaType, ".index.v1+json") || strings.HasSuffix(d.MediaType, ".manifest.list.v2+json") {
		var index ociIndex
		if _, err := a.decode(blobPath(d.Digest), &index); err != nil {
			return packedImage{}, err
		}
		for _, m := range index.Manifests {
			if m.Platform.OS == "linux" && m.Platform.Architecture == arch() {
				return a.ociImage(ref, m.descriptor)
			}
		}
		return packedImage{}, fmt.Errorf("the archive has nothing for linux/%s", arch())
	}
	var m manifest
	data, err := a.decode(blobPath(d.Digest), &m)
	if err != nil {
		return packedImage{}, err
	}
	i := packedImage{ref: ref, mediaType: d.MediaType, manifest: data}
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		blob, err := a.member(blobPath(d.Digest))
		if err != nil {
			return packedImage{}, err
		}
		i.parts = append(i.parts, part{d.Digest, blob.Size(), reader(blob)})
	}
	return i, nil
}

// dockerImages are the images that manifest.json names, with manifests of OCI.
func (a archive) dockerImages() ([]packedImage, error) {
	var listed []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if _, err := a.decode("manifest.json", &listed); err != nil {
		return nil, err
	}
	var images []packedImage
	for _, l := range listed {
		image, err := a.dockerImage(l.Config, l.Layers)
		if err != nil {
			return nil, err
		}
		if len(l.RepoTags) == 0 {
			return nil, errors.New("an image of the archive has no name")
		}
		for _, tag := range l.RepoTags {
			if image.ref, err = fullRef(tag); err != nil {
				return nil, err
			}
			images = append(images, image)
		}
	}
	return images, nil
}

// dockerImage is an image without a name. Docker says nothing of its layers but where they are.
func (a archive) dockerImage(config string, layers []string) (packedImage, error) {
	i := packedImage{mediaType: mediaManifest}
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest}
	for _, name := range append([]string{config}, layers...) {
		blob, err := a.member(name)
		if err != nil {
			return i, err
		}
		digest, err := digestOfReader(blob)
		if err != nil {
			return i, err
		}
		mediaType := strings.TrimSuffix(mediaLayer, "+gzip")
		magic := make([]byte, 2)
		if _, err := blob.ReadAt(magic, 0); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			mediaType = mediaLayer
		}
		i.parts = append(i.parts, part{digest, blob.Size(), reader(blob)})
		m.Layers = append(m.Layers, descriptor{mediaType, digest, blob.Size()})
	}
	m.Config, m.Layers = m.Layers[0], m.Layers[1:]
	m.Config.MediaType = mediaConfig
	var err error
	i.manifest, err = json.Marshal(m)
	return i, err
}

// fullRef completes a name as Docker does: busybox:1 is docker.io/library/busybox:1.
func fullRef(name string) (string, error) {
	first, rest, nested := strings.Cut(name, "/")
	switch {
	case !nested:
		name = "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		name = "docker.io/" + first + "/" + rest
	}
	if repository, tag, err := splitRef(name); err != nil || strings.Contains(repository, "@") || tag == "" {
		return "", fmt.Errorf("an image of the archive is named %q, which is not NAME:TAG", name)
	}
	return name, nil
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func reader(s *io.SectionReader) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(s, 0, s.Size())), nil }
}

func digestOfReader(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
