package lab

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStateSurvivesItsFile(t *testing.T) {
	mirror, vip := netip.MustParseAddr("10.111.0.2"), netip.MustParseAddr("10.111.0.5")
	want := State{
		Name: "lab", Engine: Podman, Subnet: netip.MustParsePrefix(DefaultSubnet), Login: LoginSudo,
		KubernetesVersion: "1.37.2", Artifacts: "/artifacts", Mirror: &mirror, VIP: &vip,
		Nodes: []Node{{Name: "cp1", Role: RoleControlPlane, Address: netip.MustParseAddr("10.111.0.10"), HostKey: "ssh-ed25519 AAAA"}},
		Gone:  []Node{{Name: "cp2", Role: RoleControlPlane, Address: netip.MustParseAddr("10.111.0.11")}},
	}
	dir := t.TempDir()
	if err := writeState(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, got, same, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadStateRefuses(t *testing.T) {
	tests := map[string]string{
		"something else":   "kind: Cluster",
		"an unknown key":   `{"name": "lab", "subnet": "10.111.0.0/24", "color": "red"}`,
		"no name":          `{"subnet": "10.111.0.0/24"}`,
		"no subnet":        `{"name": "lab"}`,
		"a bad address":    `{"name": "lab", "subnet": "10.111.0.0/24", "nodes": [{"address": "10.111.0"}]}`,
		"a file cut short": `{"name": "lab", "subn`,
		"nothing":          "",
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := writeFile(dir, fileState, 0o644, []byte(content)); err != nil {
				t.Fatal(err)
			}
			_, err := ReadState(dir)
			if err == nil || errors.Is(err, ErrNoLab) || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), "delete it") {
				t.Errorf("error = %v, want what is wrong and what to do", err)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if _, err := ReadState(t.TempDir()); !errors.Is(err, ErrNoLab) {
			t.Errorf("error = %v, want ErrNoLab", err)
		}
	})
}

func TestWriteFileLeavesNoOtherFile(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"old", "new"} {
		if err := writeFile(dir, fileKey, 0o600, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the folder has %v, %v", entries, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, fileKey))
	if err != nil || string(content) != "new" {
		t.Errorf("content = %q, %v", content, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if err := writeFile(filepath.Join(dir, "missing"), fileKey, 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: error = %v", err)
	}
}

// What commands on the lab's cluster write beside cluster.yaml must not keep the folder.
func TestRemoveFilesTakesWhatTheClusterLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".lab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state.json", "cluster.yaml", "kubeconfig", "kubewright.lock"} {
		if err := writeFile(dir, name, 0o644, nil); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := removeFiles(dir); kept || err != nil {
		t.Errorf("kept = %v, %v", kept, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestRemoveFilesKeepsWhatIsNotTheLabs(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, ".lab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(labFiles(), "notes.txt") {
		if err := writeFile(dir, name, 0o644, nil); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := removeFiles(dir); !kept || err != nil {
		t.Errorf("with a foreign file: kept = %v, %v", kept, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "notes.txt" {
		t.Errorf("what is left is %v, %v, want notes.txt", entries, err)
	}
	if err := os.Remove(filepath.Join(dir, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is no folder any more
		if kept, err := removeFiles(dir); kept || err != nil {
			t.Errorf("without: kept = %v, %v", kept, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}
