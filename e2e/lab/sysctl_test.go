package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testSettings is a machine with these sysctls.
func testSettings(t *testing.T, values map[string]int) machineSettings {
	t.Helper()
	s := machineSettings{root: t.TempDir(), record: filepath.Join(t.TempDir(), "lab", "sysctls.json")}
	for name, value := range values {
		path := filepath.Join(s.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(value)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// low are values of a machine on which nobody has changed anything; one limit is high enough.
func low() map[string]int {
	return map[string]int{
		"fs/inotify/max_user_instances": 128, "fs/inotify/max_user_watches": 1048576,
		"net/ipv4/neigh/default/gc_thresh1": 128, "net/ipv4/neigh/default/gc_thresh2": 512, "net/ipv4/neigh/default/gc_thresh3": 1024,
	}
}

func values(t *testing.T, s machineSettings) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for name := range sysctls() {
		value, err := s.read(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = value
	}
	return out
}

func TestRaiseAndRestore(t *testing.T) {
	s := testSettings(t, low())
	for range 2 { // the second lab finds everything raised, and must not take that for the original
		if err := s.raise(); err != nil {
			t.Fatal(err)
		}
		want := sysctls()
		want["fs/inotify/max_user_watches"] = 1048576 // was higher
		if diff := cmp.Diff(want, values(t, s)); diff != "" {
			t.Fatalf("raised (-want +got):\n%s", diff)
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := s.restore(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(low(), values(t, s)); diff != "" {
			t.Fatalf("restored (-want +got):\n%s", diff)
		}
	}
	if _, err := os.Stat(filepath.Dir(s.record)); !os.IsNotExist(err) {
		t.Errorf("the record is still there: %v", err)
	}
}

func TestRestoreLeavesWhatOthersSet(t *testing.T) {
	s := testSettings(t, low())
	if err := s.raise(); err != nil {
		t.Fatal(err)
	}
	if err := s.write("fs/inotify/max_user_instances", 9999); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(); err != nil {
		t.Fatal(err)
	}
	want := low()
	want["fs/inotify/max_user_instances"] = 9999
	if diff := cmp.Diff(want, values(t, s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRaiseOnAKernelWithoutALimit(t *testing.T) {
	s := testSettings(t, map[string]int{"fs/inotify/max_user_instances": 128})
	if err := s.raise(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.read("fs/inotify/max_user_instances"); got != 8192 || err != nil {
		t.Errorf("max_user_instances = %d, %v", got, err)
	}
}

func TestRaiseRefusesWhatItCannotRead(t *testing.T) {
	s := testSettings(t, low())
	if err := os.WriteFile(filepath.Join(s.root, "fs/inotify/max_user_instances"), []byte("many\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.raise(); err == nil || !strings.Contains(err.Error(), "max_user_instances") {
		t.Errorf("error = %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.record), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.record, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{"raise": s.raise, "restore": s.restore} {
		if err := f(); err == nil || !strings.Contains(err.Error(), s.record) {
			t.Errorf("%s with a damaged record: error = %v", name, err)
		}
	}
}
