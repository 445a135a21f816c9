package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of a program that lists hosts.
const (
	programTimeout = time.Minute
	// programGrace is how long its pipes may stay open after it has ended, through children of it.
	programGrace   = 2 * time.Second
	largestOutput  = 32 << 20 // bytes
	largestMessage = 16 << 10 // bytes of stderr
)

// programs runs dynamic inventories, which are the operator's own.
type programs struct {
	said []string // on their stderr, by line
}

// run returns what a program writes to stdout. What it writes to stderr is kept, or is in the error.
func (p *programs) run(ctx context.Context, path string, args ...string) ([]byte, error) {
	full, err := filepath.Abs(expandHome(path))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, full, args...)
	out, errs := &bounded{most: largestOutput, stop: true}, &bounded{most: largestMessage}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, errs, programGrace
	err = cmd.Run()
	said := strings.TrimSpace(errs.kept.String())
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it has not ended within %s", programTimeout)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case out.full:
		err = fmt.Errorf("it prints more than %d MiB", largestOutput>>20)
	}
	if err != nil {
		if said != "" {
			err = fmt.Errorf("%w; it said:\n%s", err, said)
		}
		return nil, err
	}
	if said != "" {
		for line := range strings.Lines(said) {
			p.said = append(p.said, path+": "+strings.TrimSpace(line))
		}
	}
	return out.kept.Bytes(), nil
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	kept bytes.Buffer // not embedded, for it would read by itself, without bounds
	most int
	stop bool // whoever writes more
	full bool
}

var errFull = errors.New("there is too much of it")

// Write implements io.Writer.
func (b *bounded) Write(data []byte) (int, error) {
	room := b.most - b.kept.Len()
	if len(data) <= room {
		return b.kept.Write(data)
	}
	b.full = true
	b.kept.Write(data[:room])
	if b.stop {
		return room, errFull
	}
	return len(data), nil
}

// executable reports whether a path is a file with the bit that lets its owner run it.
func executable(path string) bool {
	info, err := os.Stat(expandHome(path))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o100 != 0
}

// listFolder returns the names of what is in a folder, folders with a trailing slash; links are
// followed.
func listFolder(folder string) ([]string, error) {
	folder = expandHome(folder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil && info.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names, nil
}
