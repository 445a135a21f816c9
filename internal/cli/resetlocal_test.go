package cli

import (
	"errors"
	"io/fs"
	"os"
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
	for name, test := range map[string]struct {
		note   string
		planes []string
		others string
	}{
		"alone":                 {"cp1=https://192.0.2.10:2380\n", []string{"cp1"}, ""},
		"nothing is known":      {"", nil, ""},
		"by the note":           {"cp1=https://192.0.2.10:2380,cp2=https://192.0.2.11:2380\n", nil, "cp2"},
		"by the cluster":        {"cp1=https://192.0.2.10:2380\n", []string{"cp3", "cp1", "cp2"}, "cp2, cp3"},
		"by both":               {"cp1=https://192.0.2.10:2380,cp2=https://192.0.2.11:2380\n", []string{"cp1", "cp2"}, "cp2"},
		"somebody else's, note": {"external 1f:/registry\n", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := leaves("cp1", test.note, test.planes)
			if (err == nil) != (test.others == "") || err != nil && (fault.KindOf(err) != fault.Preflight || !strings.Contains(err.Error(), ": "+test.others+" would go on")) {
				t.Errorf("%v, want %q", err, test.others)
			}
		})
	}
}
