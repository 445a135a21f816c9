package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// counted is a step that writes one file and counts its runs.
func counted(c cache, runs *int) step {
	return step{name: "sample", id: "sample", key: "key 1", run: func(context.Context) ([]output, error) {
		*runs++
		if err := writeFile(filepath.Join(c.dir, "out"), []byte("result")); err != nil {
			return nil, err
		}
		return c.outputs("out")
	}}
}

func TestStepRunsWhenItMust(t *testing.T) {
	for name, tc := range map[string]struct {
		between func(t *testing.T, c cache, s *step)
		want    int
	}{
		"nothing changed":   {func(*testing.T, cache, *step) {}, 1},
		"another key":       {func(_ *testing.T, _ cache, s *step) { s.key = "key 2" }, 2},
		"output gone":       {func(t *testing.T, c cache, _ *step) { remove(t, c.dir, "out") }, 2},
		"output cut off":    {func(t *testing.T, c cache, _ *step) { write(t, c.dir, "out", "res") }, 2},
		"record gone":       {func(t *testing.T, c cache, _ *step) { remove(t, c.dir, "state/sample.json") }, 2},
		"record unreadable": {func(t *testing.T, c cache, _ *step) { write(t, c.dir, "state/sample.json", "{") }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := cache{t.TempDir(), io.Discard}
			runs := 0
			s := counted(c, &runs)
			first, err := c.do(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			tc.between(t, c, &s)
			second, err := c.do(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if runs != tc.want {
				t.Errorf("ran %d times, want %d", runs, tc.want)
			}
			if len(second) != 1 || second[0] != first[0] || "sha256:"+first[0].SHA256 != digestOf([]byte("result")) {
				t.Errorf("outputs %v, then %v", first, second)
			}
		})
	}
}

func TestFailedStepIsNotDone(t *testing.T) {
	c := cache{t.TempDir(), io.Discard}
	broken := errors.New("compiler missing")
	runs := 0
	s := counted(c, &runs)
	s.run = func(context.Context) ([]output, error) { return nil, broken }
	if _, err := c.do(t.Context(), s); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if _, done := c.done(s); done {
		t.Error("a step that failed counts as done")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.do(ctx, counted(c, &runs)); !errors.Is(err, context.Canceled) || runs != 0 {
		t.Errorf("after an interrupt: %v, ran %d times", err, runs)
	}
}

func TestLinkReplacesAndIsRepeatable(t *testing.T) {
	c := cache{t.TempDir(), io.Discard}
	write(t, c.dir, "build/kubectl", "new")
	write(t, c.dir, "bin/kubectl", "old")
	for range 2 {
		if err := c.link("build/kubectl", "bin/kubectl"); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(c.dir, "bin/kubectl")); err != nil || string(data) != "new" {
		t.Errorf("bin/kubectl is %q, %v", data, err)
	}
	if entries, err := os.ReadDir(filepath.Join(c.dir, "bin")); err != nil || len(entries) != 1 {
		t.Errorf("bin holds %v, %v", entries, err)
	}
	if err := c.link("build/nothing", "bin/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("linking what is not there: %v", err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := writeFile(filepath.Join(dir, name), []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
