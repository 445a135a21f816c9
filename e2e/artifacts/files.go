package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// filesStep lays a group's files out as upstream does. inputs are the outputs of its binaries.
func (b builder) filesStep(g Group, inputs []output) (step, error) {
	key, err := new(digester).value(inputs).value(g.Files).key()
	return step{
		name: fmt.Sprintf("files %s %s", g.Name, g.Version),
		id:   "files-" + g.Name + "-" + g.Version,
		key:  key,
		run: func(ctx context.Context) ([]output, error) {
			var outputs []output
			for _, f := range g.Files {
				made, err := b.makeFile(ctx, g, f)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", f.URL, err)
				}
				outputs = append(outputs, made...)
			}
			return outputs, nil
		},
	}, err
}

// mirrorPath is where a mirror, and the cache, keep an upstream URL.
func mirrorPath(url string) string {
	return filepath.Join("files", filepath.FromSlash(strings.TrimPrefix(url, "https://")))
}

// makeFile makes the file and its checksum file and returns both.
func (b builder) makeFile(ctx context.Context, g Group, f File) ([]output, error) {
	rel := mirrorPath(f.URL)
	target := filepath.Join(b.dir, rel)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	if err := b.fillFile(ctx, g, f, rel); err != nil {
		return nil, err
	}
	made, err := b.output(rel)
	if err != nil {
		return nil, err
	}
	made.URL = f.URL
	if f.Checksum == "" {
		return []output{made}, nil
	}
	side := filepath.Join(filepath.Dir(rel), f.Checksum)
	if err := writeFile(filepath.Join(b.dir, side), []byte(checksumText(f, made.SHA256))); err != nil {
		return nil, err
	}
	sum, err := b.output(side)
	return []output{made, sum}, err
}

func (b builder) fillFile(ctx context.Context, g Group, f File, rel string) error {
	switch f.Format {
	case Raw:
		return b.link(filepath.Join(buildDir(g), f.Binary), rel)
	case Archive:
		entries := []tarEntry{{Name: f.Prefix, Mode: 0o755}}
		for _, m := range f.Members {
			entries = append(entries, tarEntry{Name: f.Prefix + m, Mode: 0o755, Source: filepath.Join(b.dir, buildDir(g), m)})
		}
		_, err := writeGzip(filepath.Join(b.dir, rel), func(w io.Writer) error { return writeTar(w, entries) })
		return err
	case FromModule:
		dir, err := b.moduleDir(ctx, g, f.Module)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(b.dir, rel), data)
	case Kustomized:
		dir, err := b.moduleDir(ctx, g, f.Module)
		if err != nil {
			return err
		}
		data, err := b.kustomize(ctx, filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(b.dir, rel), data)
	}
	return errors.New("unknown format " + string(f.Format))
}

// kustomize renders a folder with the kubectl that was built.
func (b builder) kustomize(ctx context.Context, dir string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "bin", "kubectl"), "kustomize", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	data, err := cmd.Output()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w; build the group kubernetes first", err)
	case err != nil:
		return nil, fmt.Errorf("kubectl kustomize %s: %w\n%s", dir, err, tail(stderr.String(), 10))
	}
	return data, nil
}

// checksumText is the content of a checksum file: that of sha256sum, or the bare digest as
// dl.k8s.io has it.
func checksumText(f File, sum string) string {
	if f.BareChecksum {
		return sum
	}
	return sum + "  " + path.Base(f.URL) + "\n"
}
