package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/fault"
	"kubewright/internal/sh"
)

// Without files, reset is about the machine that it runs on, where there is something of ours.
func TestResetWithoutFiles(t *testing.T) {
	if _, err := os.Stat(sh.StateDir); !errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is on this machine: %v", sh.StateDir, err)
	}
	t.Chdir(t.TempDir())
	kubewright(t, "reset", "--yes").want(t, 10, "there is no cluster.yaml here, and nothing of kubewright's on this machine").nothing(t)
	for _, args := range [][]string{{"-f", "other.yaml"}, {"-i", "hosts.yaml"}, {"--limit", "cp1"}} {
		kubewright(t, append([]string{"reset", "--yes"}, args...)...).want(t, 10, "cannot be read").nothing(t)
	}
	if err := os.WriteFile("cluster.yaml", []byte("kind: Cluster\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kubewright(t, "reset", "--yes").want(t, 10, "cluster.yaml:").nothing(t)
}

func TestLeaves(t *testing.T) {
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		known   []string
		unasked error
		want    string
	}{
		"alone":              {[]string{"cp1", "cp1"}, nil, ""},
		"others":             {[]string{"cp1", "cp3", "cp2", "cp3"}, nil, ": cp2, cp3 would go on to count it"},
		"others, unasked":    {[]string{"cp1", "cp2"}, down, ": cp2 would go on to count it"},
		"nobody says":        {nil, down, "does not say whether others count it: connection refused"},
		"alone, as it knows": {[]string{"cp1"}, down, "does not say whether others count it"},
	} {
		t.Run(name, func(t *testing.T) {
			err := leaves("cp1", test.known, test.unasked)
			if (err == nil) != (test.want == "") || err != nil && (fault.KindOf(err) != fault.Preflight || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// A member that has joined, in a run that was cut before the note, is known from how it was started.
func TestWrittenMembers(t *testing.T) {
	const pod = "    command:\n    - etcd\n    - --initial-cluster=cp1=https://192.0.2.10:2380,cp2=https://192.0.2.11:2380\n    - \"--name=cp2\"\n"
	for name, test := range map[string]struct{ note, manifest, want string }{
		"nothing is written":     {"", "", ""},
		"the note":               {"cp1=https://192.0.2.10:2380,cp3=https://192.0.2.12:2380\n", "", "cp1 cp3"},
		"the pod":                {"", pod, "cp1 cp2"},
		"a pod with quotes":      {"", `- "--initial-cluster=cp1=https://192.0.2.10:2380"`, "cp1"},
		"both":                   {"cp1=https://192.0.2.10:2380\n", pod, "cp1 cp1 cp2"},
		"an etcd of others":      {"external 1f:/registry\n", "", ""},
		"a pod without the flag": {"", "- etcd\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			note := write(t, "note", test.note, "etcd.yaml", test.manifest)
			got, err := writtenMembers(note, filepath.Join(filepath.Dir(note), "etcd.yaml"))
			slices.Sort(got)
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
	if got, err := writtenMembers("/nowhere/note", "/nowhere/etcd.yaml"); err != nil || len(got) > 0 {
		t.Errorf("files that there are not: %q, %v", got, err)
	}
	if _, err := writtenMembers(t.TempDir(), "/nowhere/etcd.yaml"); err == nil {
		t.Error("a note that cannot be read is no error")
	}
}
