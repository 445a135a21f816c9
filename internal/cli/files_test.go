package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/catalog"
	"kubewright/internal/fault"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "folder", "file")
	if err := writeFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "two", 0o600)
	wantFiles(t, filepath.Dir(path), "file")
}

func TestWriteFileKeepsALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "dotfiles", "config"), filepath.Join(dir, "config")
	for _, err := range []error{os.Mkdir(filepath.Dir(target), 0o755), os.WriteFile(target, nil, 0o600), os.Symlink(target, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, target, "new", 0o600)
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v, %v", info, err)
	}
}

func TestWriteFileThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "by a folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	wantFiles(t, dir, "taken")
	if err := writeFile("/dev/null/x", nil, 0o600); err == nil {
		t.Error("a file was written below a file")
	}
}

func wantFile(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != content || info.Mode().Perm() != mode {
		t.Errorf("%s: %q with mode %v, want %q with %v", path, data, info.Mode().Perm(), content, mode)
	}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", dir, diff)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("HOME", "/home/ops")
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	t.Setenv("KUBEWRIGHT_CACHE", "/ours")
	for _, step := range []struct{ unset, want string }{
		{"", "/ours"},
		{"KUBEWRIGHT_CACHE", "/xdg/kubewright"},
		{"XDG_CACHE_HOME", "/home/ops/.cache/kubewright"},
		{"HOME", filepath.Join(os.TempDir(), "kubewright-cache")},
	} {
		if step.unset != "" {
			t.Setenv(step.unset, "")
		}
		if got := cacheDir(); got != step.want {
			t.Errorf("without %s: %s, want %s", step.unset, got, step.want)
		}
	}
}

func TestExpandHome(t *testing.T) {
	t.Setenv("HOME", "/home/ops")
	for path, want := range map[string]string{"~/.ssh/id": "/home/ops/.ssh/id", "/a/~/b": "/a/~/b", "~root/x": "~root/x", "x": "x", "": ""} {
		if got := expandHome(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

func TestNewLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	now := time.Date(2026, 11, 22, 10, 20, 30, 0, time.FixedZone("", 3600))
	path, err := newLog(dir, logSuffix, runOf{"lab", "apply", now})
	if err != nil {
		t.Fatal(err)
	}
	if name := filepath.Base(path); !strings.HasPrefix(name, "lab-20261122T092030-") || !strings.HasSuffix(name, "-apply.log") {
		t.Errorf("the log is called %s", name)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", info.Mode(), err)
	}

	// Logs of other clusters and commands stay, and so does what is no log of ours.
	others := []string{
		"lab-2-20200101T000000-1-apply.log", "lab-notes.log", "lab.log", "other-20200101T000000-1-apply.log", "lab-20200101T000000-1-apply.jsonl",
		"lab-20200101T000000-1-plan.log",
	}
	var old []string
	for i := range keptLogs + 5 {
		old = append(old, "lab-"+now.Add(time.Duration(i)*time.Hour).Format("20060102T150405")+"-1-apply.log")
	}
	for _, name := range slices.Concat(others, old) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newLog(dir, logSuffix, runOf{"lab", "apply", now}); err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(others, old[len(old)-keptLogs+1:])
	slices.Sort(want)
	wantFiles(t, dir, want...)
}

func TestOpenLog(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEWRIGHT_CACHE", filepath.Join(dir, "cache"))
	wanted := filepath.Join(dir, "my.log")
	for range 2 { // the log of a second run goes below that of the first
		f, warning, err := openLog(wanted, runOf{"lab", "apply", time.Now()})
		if err != nil || warning != nil {
			t.Fatal(warning, err)
		}
		if _, err := f.WriteString("line\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	wantFile(t, wanted, "line\nline\n", 0o600)

	if _, _, err := openLog(filepath.Join(dir, "no", "such.log"), runOf{"lab", "apply", time.Now()}); fault.KindOf(err) != fault.BadInput {
		t.Errorf("a log that cannot be written, but is wanted: %v", err)
	}

	f, warning, err := openLog("", runOf{"lab", "apply", time.Now()})
	if err != nil || warning != nil || filepath.Dir(f.Name()) != filepath.Join(dir, "cache", "logs") {
		t.Errorf("%v, %v, %v", f, warning, err)
	}
	f.Close()

	// Without a place for a log, a run goes on.
	t.Setenv("KUBEWRIGHT_CACHE", wanted)
	f, warning, err = openLog("", runOf{"lab", "apply", time.Now()})
	if f != nil || warning == nil || err != nil {
		t.Errorf("%v, %v, %v", f, warning, err)
	}
}

func TestDebugLogOfARun(t *testing.T) {
	isolate(t)
	file := write(t, "cluster.yaml", clusterYAML("name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: 1, trustOnFirstUse: true}"))
	log := filepath.Join(t.TempDir(), "run.log")
	o := kubewright(t, "plan", "-f", file, "--log", log).want(t, 11)
	if !strings.HasSuffix(o.err, "debug log: "+log+"\n") {
		t.Errorf("the log is not named at the end:\n%s", o.err)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kubewright v1.2.3", "host=cp1", "level=ERROR"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the log has no %s:\n%s", want, data)
		}
	}
	events := kubewright(t, "plan", "-f", file, "--log", log, "-o", "json").want(t, 11).events(t)
	if last := events[len(events)-1]; last.Attrs["log"] != log {
		t.Errorf("the log is not named in %+v", last)
	}
}

const goodLock = `apiVersion: kubewright.io/v1alpha1
kind: Lock
files:
  https://dl.k8s.io/x: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
`

func TestLockFile(t *testing.T) {
	clusterFile := write(t, "cluster.yaml", "")
	dir := filepath.Dir(clusterFile)
	if lock, err := readLock(lockPath(clusterFile)); err != nil || len(lock.Files) != 0 {
		t.Errorf("no lock file: %v, %v", lock, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubewright.lock"), []byte(goodLock), 0o644); err != nil {
		t.Fatal(err)
	}
	lock, err := readLock(lockPath(clusterFile))
	if err != nil || len(lock.Files) != 1 {
		t.Errorf("a lock file: %v, %v", lock, err)
	}

	// Only what was learned is saved.
	store := artifact.New(artifact.Config{Source: cluster.Artifacts{Source: "directory", Directory: dir}, Lock: lock})
	if err := os.Remove(lockPath(clusterFile)); err != nil {
		t.Fatal(err)
	}
	if err := saveLearned(store, clusterFile); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, "cluster.yaml")

	sum := strings.Repeat("ab", 32)
	if err := os.MkdirAll(filepath.Join(dir, "example.com"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "example.com", "tool.sha256"), []byte(sum+"  tool\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Resolve(context.Background(), []catalog.File{{Name: "tool", URL: "https://example.com/tool", ChecksumURL: "https://example.com/tool.sha256"}}); err != nil {
		t.Fatal(err)
	}
	if err := saveLearned(store, clusterFile); err != nil {
		t.Fatal(err)
	}
	lock, err = readLock(lockPath(clusterFile))
	want := map[string]string{"https://example.com/tool": "sha256:" + sum}
	for url, digest := range lock.Files {
		if want[url] == "" {
			want[url] = digest // what was there stays
		}
	}
	if diff := cmp.Diff(want, lock.Files); diff != "" || err != nil || len(want) != 2 {
		t.Errorf("saved: %v (-want +got):\n%s", err, diff)
	}
}

func TestLockFilesThatCannotBeUsed(t *testing.T) {
	host := "name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: 1}"
	digests := strings.Replace(clusterYAML(host), "  hosts:", "  artifacts: {digests: digests.yaml}\n  hosts:", 1)
	for name, tt := range map[string]struct {
		files []string
		want  string
	}{
		"a lock that is none": {[]string{"cluster.yaml", clusterYAML(host), "kubewright.lock", "kind: Key\n"}, "kubewright.lock: lock file: "},
		"a digest that is none": {[]string{"cluster.yaml", clusterYAML(host), "kubewright.lock", strings.Replace(goodLock, "sha256:0", "md5:0", 1)},
			"https://dl.k8s.io/x"},
		"digests that are none": {[]string{"cluster.yaml", digests, "digests.yaml", "a: ["}, "digests.yaml cannot be used: lock file: "},
		"digests of nothing": {[]string{"cluster.yaml", digests, "digests.yaml", "apiVersion: kubewright.io/v1alpha1\nkind: Lock\n"},
			"lists no files"},
	} {
		t.Run(name, func(t *testing.T) {
			kubewright(t, "plan", "-f", write(t, tt.files...)).want(t, 10, tt.want).nothing(t)
		})
	}
}

func TestReadLockThatCannotBeRead(t *testing.T) {
	if _, err := readLock(t.TempDir()); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder: %v", err)
	}
}

func TestDefaultKubeconfig(t *testing.T) {
	t.Setenv("HOME", "/home/ops")
	for env, want := range map[string]string{"": "/home/ops/.kube/config", "/a:/b": "/a", ":/b": "/b", ":": "/home/ops/.kube/config"} {
		t.Setenv("KUBECONFIG", env)
		if got := defaultKubeconfig(); got != want {
			t.Errorf("%q: %s, want %s", env, got, want)
		}
	}
}

func TestMerged(t *testing.T) {
	if _, err := merged(t.TempDir(), nil, "lab"); err == nil {
		t.Error("a folder was merged into")
	}
	broken := write(t, "config", "{")
	if _, err := merged(broken, []byte("{}"), "lab"); err == nil || !strings.Contains(err.Error(), "merge into "+broken) {
		t.Errorf("a file that is no kubeconfig: %v", err)
	}
	fresh := "apiVersion: v1\nkind: Config\nclusters: [{name: lab, cluster: {server: https://new}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: lab, user: u}}]\ncurrent-context: c\n"
	kept := "apiVersion: v1\nkind: Config\nclusters: [{name: other, cluster: {server: https://old}}]\n"
	out, err := merged(write(t, "config", kept), []byte(fresh), "lab")
	if err != nil || !strings.Contains(string(out), "https://old") || !strings.Contains(string(out), "https://new") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := merged(filepath.Join(t.TempDir(), "none"), []byte(fresh), "lab"); err != nil || !strings.Contains(string(out), "https://new") {
		t.Errorf("into no file: %v\n%s", err, out)
	}
}
