package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// build makes the groups into dir and prints it as the last line.
func build(ctx context.Context, groups []Group, dir string, log io.Writer) error {
	b, err := newBuilder(dir, log)
	if err != nil {
		return err
	}
	if err := b.checkNeeds(groups); err != nil {
		return err
	}
	return b.withRegistry(ctx, func(store *registry) error { return b.buildGroups(ctx, groups, store) })
}

// newBuilder builds into dir, or into the default one when it is empty.
func newBuilder(dir string, log io.Writer) (b builder, err error) {
	if dir == "" {
		if dir, err = cacheDir(); err != nil {
			return b, err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return b, err
	}
	root, err := repositoryRoot()
	return builder{cache: cache{dir, log}, here: filepath.Join(root, "e2e", "artifacts")}, err
}

// withRegistry fills the cache, which nobody else does meanwhile, brings the lists up to date and
// prints the directory as the last line.
func (b builder) withRegistry(ctx context.Context, fill func(*registry) error) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	store := &registry{cache: b.cache}
	fillErr := fill(store)
	if err := errors.Join(fillErr, store.stop(ctx)); err != nil {
		return err
	}
	if err := b.writeLists(); err != nil {
		return err
	}
	fmt.Fprintln(b.log, b.dir)
	return nil
}

// lock keeps a second build out of the same directory.
func (b builder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(b.dir, "build"), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(b.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another build is running in %s; wait for it, or pass another -cache", b.dir)
	}
	return func() { f.Close() }, nil
}

// buildGroups compiles everything before the first image is made, as images need the
// registry, which is one of the groups.
func (b builder) buildGroups(ctx context.Context, groups []Group, store *registry) error {
	binaries := map[string][]output{}
	for _, g := range groups {
		if len(g.Binaries) == 0 {
			continue
		}
		s, err := b.binariesStep(g)
		if err != nil {
			return err
		}
		if binaries[g.Name], err = b.do(ctx, s); err != nil {
			return err
		}
		if len(g.Files) == 0 {
			continue
		}
		if s, err = b.filesStep(g, binaries[g.Name]); err != nil {
			return err
		}
		if _, err := b.do(ctx, s); err != nil {
			return err
		}
	}
	for _, g := range groups {
		for _, i := range g.Images {
			if err := b.buildImage(ctx, g, i, binaries[g.Name], store); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b builder) buildImage(ctx context.Context, g Group, i Image, inputs []output, store *registry) error {
	if d, ok := i.base(); ok {
		s, err := b.baseStep(d)
		if err != nil {
			return err
		}
		base, err := b.do(ctx, s)
		if err != nil {
			return err
		}
		inputs = slices.Concat(inputs, base)
	}
	// The binaries and, when the image stands on it, the Debian base.
	s, err := b.imageStep(i.Ref, new(digester).value(inputs).value(i), func(ctx context.Context) (string, error) {
		return b.makeImage(ctx, g, i, store)
	})
	if err != nil {
		return err
	}
	_, err = b.do(ctx, s)
	return err
}

// outputs describes several files of the cache.
func (c cache) outputs(paths ...string) ([]output, error) {
	var all []output
	for _, p := range paths {
		o, err := c.output(p)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// writeLists renders digests.yaml and images.txt from the records of everything built into
// the cache, whichever run built it.
func (b builder) writeLists() error {
	paths, err := filepath.Glob(filepath.Join(b.dir, "state", "*.json"))
	if err != nil {
		return err
	}
	var files, images []output
	for _, p := range paths {
		r, ok := b.load(p)
		if !ok {
			continue
		}
		for _, o := range r.Outputs {
			if o.URL != "" {
				files = append(files, o)
			}
			if o.Ref != "" {
				images = append(images, o)
			}
		}
	}
	if err := writeFile(filepath.Join(b.dir, "digests.yaml"), lockFile(files)); err != nil {
		return err
	}
	return writeFile(filepath.Join(b.dir, "images.txt"), imageList(images))
}

// lockFile is a Lock as kubewright reads it: digests by upstream URL.
func lockFile(files []output) []byte {
	slices.SortFunc(files, func(a, b output) int { return strings.Compare(a.URL, b.URL) })
	var out bytes.Buffer
	out.WriteString("apiVersion: kubewright.io/v1alpha1\nkind: Lock\nfiles:\n")
	for _, f := range files {
		fmt.Fprintf(&out, "  %s: sha256:%s\n", f.URL, f.SHA256)
	}
	return out.Bytes()
}

func imageList(images []output) []byte {
	slices.SortFunc(images, func(a, b output) int { return strings.Compare(a.Ref, b.Ref) })
	var out bytes.Buffer
	for _, i := range images {
		fmt.Fprintln(&out, i.Ref)
	}
	return out.Bytes()
}

// checkNeeds names everything at once that the steps still to be run need and the machine
// lacks.
func (b builder) checkNeeds(groups []Group) error {
	needs := []string{"go"}
	for _, g := range groups {
		lacks, err := b.needs(g)
		if err != nil {
			return err
		}
		needs = append(needs, lacks...)
	}
	slices.Sort(needs)
	missing := slices.DeleteFunc(slices.Compact(needs), available)
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("this machine lacks %s; install the packages listed in e2e/artifacts/packages.txt", strings.Join(missing, ", "))
}

// needs is what the steps of the group that are not done yet need.
func (b builder) needs(g Group) ([]string, error) {
	var needs []string
	if len(g.Binaries) > 0 {
		s, err := b.binariesStep(g)
		if err != nil {
			return nil, err
		}
		if _, done := b.done(s); !done {
			needs = append(needs, g.Needs...)
		}
	}
	for _, i := range g.Images {
		d, ok := i.base()
		if !ok {
			continue
		}
		s, err := b.baseStep(d)
		if err != nil {
			return nil, err
		}
		if _, done := b.done(s); !done {
			needs = append(needs, "mmdebstrap")
		}
	}
	return needs, nil
}

// available looks for a command, or for a file when need is a path.
func available(need string) bool {
	if filepath.IsAbs(need) {
		_, err := os.Stat(need)
		return !errors.Is(err, fs.ErrNotExist)
	}
	_, err := exec.LookPath(need)
	return err == nil
}
