package cli

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// outcome is what a command line leaves behind.
type outcome struct {
	code     int
	out, err string
}

// kubewright runs a command line in this process. It has a home and a cache of its own, and
// nobody at the keyboard.
func kubewright(t *testing.T, args ...string) outcome {
	t.Helper()
	if os.Getenv("KUBEWRIGHT_CACHE") == "" || !strings.HasPrefix(os.Getenv("KUBEWRIGHT_CACHE"), os.TempDir()) {
		isolate(t)
	}
	var out, errs strings.Builder
	code := Main("v1.2.3", args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return outcome{code: code, out: out.String(), err: errs.String()}
}

// isolate keeps a test away from the operator's keys, known hosts and cache.
func isolate(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"home", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", filepath.Join(dir, "home"))
	t.Setenv("KUBEWRIGHT_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("SSH_AUTH_SOCK", "")
}

// want checks the exit code, and that each text is on stderr.
func (o outcome) want(t *testing.T, code int, texts ...string) outcome {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d", o.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(o.err, text) {
			t.Errorf("stderr does not say %q", text)
		}
	}
	if t.Failed() {
		t.Fatalf("stdout:\n%s\nstderr:\n%s", o.out, o.err)
	}
	return o
}

// nothing checks that there is no result.
func (o outcome) nothing(t *testing.T) outcome {
	t.Helper()
	if o.out != "" {
		t.Errorf("stdout is not empty:\n%s", o.out)
	}
	return o
}

// decode reads the one JSON document on stdout.
func (o outcome) decode(t *testing.T, into any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(o.out))
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("stdout is no JSON: %v\n%s", err, o.out)
	}
	if decoder.More() {
		t.Errorf("there is more than one document on stdout:\n%s", o.out)
	}
}

// event is a line of stderr where results are JSON.
type event struct {
	Kind, Host, Message, Error, ErrorKind string
	Hints                                 []string
	Attrs                                 map[string]string
}

// events reads stderr, of which every line must be JSON.
func (o outcome) events(t *testing.T) []event {
	t.Helper()
	var all []event
	for line := range strings.Lines(o.err) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("stderr has a line that is no JSON: %v\n%s", err, line)
		}
		all = append(all, e)
	}
	return all
}

// write makes files in a folder of their own, and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

// clusterYAML describes a cluster of the hosts, each the lines of one entry.
func clusterYAML(hosts ...string) string {
	y := `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  hosts:
`
	for _, h := range hosts {
		y += "    - {" + h + "}\n"
	}
	return y
}

// deaf is a port on which connections are counted and never answered.
func deaf(t *testing.T) (port int, accepted <-chan struct{}) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			seen <- struct{}{}
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port, seen
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
