package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// hello is a program that does nothing but say so. What is embedded gives it a size.
const hello = `package main

import (
	_ "embed"
	"os"
)

//go:embed padding
var padding string

func main() {
	if len(padding) == len(os.Args) {
		os.Exit(1)
	}
	os.Stdout.WriteString("hello\n")
}
`

// startUp compares `kubewright version` with a program of the same size that does nothing.
func (b *bench) startUp() comparison {
	const limit, repetitions, times = 1.5, 9, 20
	var floor string
	starts := func(argv ...string) func(context.Context, string) (Sample, error) {
		return func(ctx context.Context, _ string) (Sample, error) { return b.timeRuns(ctx, times, argv) }
	}
	return comparison{
		name: "start-up", what: fmt.Sprintf("one of %d starts in a row of `kubewright version`, and of a Go program of the same size that does nothing", times),
		limit: limit, repetitions: repetitions, quick: true,
		subject: contender{"kubewright", starts(b.kubewright, "version")},
		yardstick: contender{"hello", func(ctx context.Context, id string) (Sample, error) {
			return starts(floor)(ctx, id)
		}},
		setUp: func(ctx context.Context) (func() error, error) {
			dir, err := os.MkdirTemp("", "bench-hello-")
			if err != nil {
				return nil, err
			}
			remove := func() error { return os.RemoveAll(dir) }
			if floor, err = b.buildHello(ctx, dir); err != nil {
				return nil, errors.Join(err, remove())
			}
			return remove, nil
		},
	}
}

// timeRuns runs a command again and again, and returns the time of one.
func (b *bench) timeRuns(ctx context.Context, times int, argv []string) (Sample, error) {
	c, err := startClock()
	if err != nil {
		return Sample{}, err
	}
	for range times {
		if _, err := b.run.Run(ctx, argv, nil); err != nil {
			return Sample{}, err
		}
	}
	c.lap("runs")
	sample, err := c.stop()
	return Sample{Seconds: sample.Seconds / float64(times), Busy: sample.Busy}, err
}

// buildHello builds the program that does nothing, as large as kubewright is, and returns its path.
func (b *bench) buildHello(ctx context.Context, dir string) (string, error) {
	subject, err := os.Stat(b.kubewright)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "hello")
	padding := filepath.Join(dir, "padding")
	for name, content := range map[string]string{"main.go": hello, "go.mod": "module hello\n\ngo 1.26\n", "padding": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	build := []string{"env", "CGO_ENABLED=0", "go", "build", "-C", dir, "-trimpath", "-ldflags", "-s -w", "-o", path, "."}
	if _, err := b.run.Run(ctx, build, nil); err != nil {
		return "", err
	}
	small, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if err := os.Truncate(padding, max(0, subject.Size()-small.Size())); err != nil {
		return "", err
	}
	_, err = b.run.Run(ctx, build, nil)
	return path, err
}
