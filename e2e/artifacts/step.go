package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cache is the directory of the result. Everything appears in it by rename.
type cache struct {
	dir string
	log io.Writer
}

// output is one file that a step left in the cache.
type output struct {
	Path   string // relative to the cache
	Size   int64
	SHA256 string
	URL    string `json:",omitempty"` // of a file of the mirror
	Ref    string `json:",omitempty"` // of an image
}

// record is what is remembered of a step that is done.
type record struct {
	Key     string
	Outputs []output
}

// step makes one thing. Its key covers all inputs: the same key means the same outputs.
type step struct {
	name string // what the progress line says
	id   string // file name of its record
	key  string
	run  func(context.Context) ([]output, error)
}

// do runs the step unless its outputs are there already, and returns them.
func (c cache) do(ctx context.Context, s step) ([]output, error) {
	if outputs, ok := c.done(s); ok {
		return outputs, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	fmt.Fprintf(c.log, "build: %s ... ", s.name)
	outputs, err := s.run(ctx)
	if err != nil {
		fmt.Fprintln(c.log, "failed")
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	fmt.Fprintf(c.log, "%.0fs\n", time.Since(start).Seconds())
	data, err := json.MarshalIndent(record{s.key, outputs}, "", "  ")
	if err != nil {
		return nil, err
	}
	return outputs, writeFile(c.recordPath(s), data)
}

// done returns the outputs of a step that need not run.
func (c cache) done(s step) ([]output, bool) {
	r, ok := c.load(c.recordPath(s))
	return r.Outputs, ok && r.Key == s.key
}

func (c cache) recordPath(s step) string { return filepath.Join(c.dir, "state", s.id+".json") }

// load reads a record whose outputs are all still there with the sizes they had.
func (c cache) load(path string) (record, bool) {
	var r record
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return r, false
	}
	for _, o := range r.Outputs {
		info, err := os.Stat(filepath.Join(c.dir, o.Path))
		if err != nil || info.Size() != o.Size {
			return r, false
		}
	}
	return r, true
}

// output describes a file of the cache.
func (c cache) output(rel string) (output, error) {
	f, err := os.Open(filepath.Join(c.dir, rel))
	if err != nil {
		return output{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return output{}, err
	}
	return output{Path: rel, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// link gives a file of the cache a second name.
func (c cache) link(from, to string) error {
	target := filepath.Join(c.dir, to)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	temp := target + ".part"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(filepath.Join(c.dir, from), temp); err != nil {
		return err
	}
	// Renaming one link over another of the same file does nothing and keeps both.
	if err := os.Rename(temp, target); err != nil {
		return err
	}
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeFile writes beside and renames, so that a reader never sees half a file.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// digester collects the inputs of a step into its key.
type digester struct {
	parts []string
	err   error
}

// value adds anything that JSON tells apart.
func (d *digester) value(v any) *digester {
	data, err := json.Marshal(v)
	if err != nil {
		d.err = errors.Join(d.err, err)
	}
	d.parts = append(d.parts, string(data))
	return d
}

// files adds the contents of files, and of the files in folders.
func (d *digester) files(root string, names ...string) *digester {
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			d.value([]string{filepath.ToSlash(rel), hex.EncodeToString(sum[:])})
			return nil
		})
		d.err = errors.Join(d.err, err)
	}
	return d
}

func (d *digester) key() (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(d.parts, "\n")))
	return hex.EncodeToString(sum[:]), d.err
}
