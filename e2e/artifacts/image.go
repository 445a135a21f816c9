package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	defaultPath   = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// descriptor, imageConfig and manifest are the parts of the OCI image format that are used.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type imageConfig struct {
	Created      string      `json:"created"`
	Architecture string      `json:"architecture"`
	OS           string      `json:"os"`
	Config       runConfig   `json:"config"`
	RootFS       imageRootFS `json:"rootfs"`
}

type runConfig struct {
	User       string   `json:"User,omitempty"`
	Env        []string `json:"Env"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir"`
}

type imageRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// imageStep puts one image into the registry. push returns the file, relative to the cache, that
// registry.pushImage does.
func (b builder) imageStep(ref string, inputs *digester, push func(context.Context) (string, error)) (step, error) {
	key, err := inputs.value("oci 1").key()
	return step{
		name: "image " + ref,
		id:   "image-" + strings.NewReplacer("/", "_", ":", "_").Replace(ref),
		key:  key,
		run: func(ctx context.Context) ([]output, error) {
			link, err := push(ctx)
			if err != nil {
				return nil, err
			}
			o, err := b.output(link)
			o.Ref = ref
			return []output{o}, err
		},
	}, err
}

// makeImage makes an image of a group and pushes it.
func (b builder) makeImage(ctx context.Context, g Group, i Image, store *registry) (string, error) {
	var layers []blob
	if d, ok := i.base(); ok {
		base, err := b.baseLayer(d)
		if err != nil {
			return "", err
		}
		layers = append(layers, base)
	}
	entries, err := b.layerEntries(ctx, g, i)
	if err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(filepath.Join(b.dir, "build"), "layer-*.part")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	own, err := writeGzip(filepath.Join(temp, "layer.tar.gz"), func(w io.Writer) error {
		return writeTar(w, withParents(entries))
	})
	if err != nil {
		return "", err
	}
	return store.push(ctx, i, append(layers, own))
}

// layerEntries resolves the content of an image to files of the disk.
func (b builder) layerEntries(ctx context.Context, g Group, i Image) ([]tarEntry, error) {
	var entries []tarEntry
	for _, c := range i.Content {
		switch {
		case c.Binary != "":
			e := tarEntry{Name: c.Path, Mode: 0o755, UID: c.UID, Source: filepath.Join(b.dir, buildDir(g), c.Binary)}
			if c.NetBind {
				e.Xattrs = map[string]string{"security.capability": netBindCapability()}
			}
			entries = append(entries, e)
		case c.Tree != "":
			dir, err := b.moduleDir(ctx, g, c.Module)
			if err != nil {
				return nil, err
			}
			tree, err := treeEntries(filepath.Join(dir, filepath.FromSlash(c.Tree)), c.Path)
			if err != nil {
				return nil, err
			}
			entries = append(entries, tree...)
		case c.Link != "":
			entries = append(entries, tarEntry{Name: c.Path, Mode: 0o755, UID: c.UID, Link: c.Link})
		case c.Empty:
			entries = append(entries, tarEntry{Name: c.Path, Mode: 0o644, UID: c.UID})
		default:
			entries = append(entries, tarEntry{Name: c.Path + "/", Mode: 0o755, UID: c.UID})
		}
	}
	return entries, nil
}

// treeEntries copies a folder of a module, folders included. Modules do not record modes,
// so scripts are known by their first line or by lying in a folder of programs.
func treeEntries(root, prefix string) ([]tarEntry, error) {
	var entries []tarEntry
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		target := path.Join(prefix, filepath.ToSlash(rel))
		if d.IsDir() {
			entries = append(entries, tarEntry{Name: target + "/", Mode: 0o755})
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if strings.HasPrefix(string(data), "#!") || strings.HasSuffix(prefix, "bin") || path.Base(target) == "rc.local" {
			mode = 0o755
		}
		entries = append(entries, tarEntry{Name: target, Mode: mode, Source: name})
		return nil
	})
	return entries, err
}

// netBindCapability is the value of the extended attribute security.capability, revision 2
// (linux/capability.h, little-endian): cap_net_bind_service, which is number 10, permitted
// and effective.
func netBindCapability() string {
	const revision2, effective, netBindService = 0x02, 0x01, 1 << 10
	value := make([]byte, 20)
	value[0], value[3] = effective, revision2
	value[4], value[5] = byte(netBindService&0xff), byte(netBindService>>8)
	return string(value)
}

// describe renders the image's configuration and manifest.
func describe(i Image, layers []blob) (config, man []byte, err error) {
	c := imageConfig{
		Created: epoch().Format("2006-01-02T15:04:05Z"), Architecture: arch(), OS: "linux",
		Config: runConfig{User: i.User, Env: withDefaultPath(i.Env), Entrypoint: i.Entrypoint, Cmd: i.Cmd, WorkingDir: "/"},
		RootFS: imageRootFS{Type: "layers"},
	}
	m := manifest{SchemaVersion: 2, MediaType: mediaManifest}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, descriptor{mediaLayer, l.Digest, l.Size})
	}
	if config, err = json.Marshal(c); err != nil {
		return nil, nil, err
	}
	m.Config = descriptor{mediaConfig, digestOf(config), int64(len(config))}
	man, err = json.Marshal(m)
	return config, man, err
}

func withDefaultPath(env []string) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "PATH=") {
			return env
		}
	}
	return append([]string{"PATH=" + defaultPath}, env...)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// splitRef separates the repository of the lab's registry, which is the whole upstream
// name, from the tag.
func splitRef(ref string) (repository, tag string, err error) {
	repository, tag, ok := strings.Cut(ref, ":")
	if !ok || strings.Contains(tag, "/") || tag == "" {
		return "", "", fmt.Errorf("image reference %q is not NAME:TAG", ref)
	}
	return repository, tag, nil
}
