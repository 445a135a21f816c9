package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the name of the module; import paths in this package are without it.
const module = "kubewright"

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	Imports    []string
}

// own is the import path without the module.
func (p goPackage) own() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// root returns the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod in any parent folder")
		}
		dir = parent
	}
}

// packages lists the packages of the module, those behind the e2e tag included.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-tags", "e2e", "-json=ImportPath,Name,Dir,Imports", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	// Without packages every rule holds, and means nothing.
	if len(all) < 5 {
		t.Fatalf("go list found %d packages in %s", len(all), cmd.Dir)
	}
	return all
}

// matches reports whether path is one of the patterns.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, below := strings.CutSuffix(pattern, "...")
		if !below {
			return path == pattern
		}
		return prefix == "" || path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, prefix)
	})
}

// breaks returns the imports of p that r forbids.
func (r rule) breaks(p goPackage) []string {
	if !matches(p.own(), r.who) || matches(p.own(), r.except) {
		return nil
	}
	var bad []string
	for _, path := range p.Imports {
		path = strings.TrimPrefix(path, module+"/")
		if matches(path, r.mustNot) && !matches(path, r.but) && path != p.own() {
			bad = append(bad, path)
		}
	}
	return bad
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		// A generator inside a pure package's folder is a program: it reads and writes files.
		generator := p.Name == "main" && matches(p.own(), pure)
		for _, r := range rules {
			if generator {
				continue
			}
			for _, path := range r.breaks(p) {
				t.Errorf("%s imports %s: %s", p.own(), path, r.why)
			}
		}
	}
}

// The rules name packages of ours; a package that no list knows is bound by none of them.
func TestEveryPackageHasItsPlace(t *testing.T) {
	known := slices.Concat(pure, impure, []string{"internal/report/...", "internal/arch"})
	for _, p := range packages(t) {
		if !matches(p.own(), known) {
			t.Errorf("%s is neither in the list of pure packages nor in that of packages with IO: put it where it belongs", p.own())
		}
	}
}

// A rule that nothing can break guards nothing.
func TestRulesBite(t *testing.T) {
	tests := []struct {
		pkg     string
		imports string
		broken  bool
	}{
		{"certs", "net", true},
		{"certs", "net/http", true},
		{"certs", "net/netip", false},
		{"certs", "os", true},
		{"certs", "os/exec", true},
		{"certs", "internal/ssh", true},
		{"certs", "internal/secret", false},
		{"spec/strict", "os", true},
		{"internal/plan", "k8s.io/client-go/dynamic", true},
		{"internal/plan", "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured", false},
		{"internal/plan", "internal/engine", true},
		{"internal/check", "internal/report", true},
		{"internal/engine", "internal/cli", true},
		{"internal/engine", "internal/host", false},
		{"internal/engine", "internal/ssh", true},
		{"internal/host", "cluster", true},
		{"internal/resource", "cluster", true},
		{"phases", "internal/engine", true},
		{"phases", "github.com/spf13/cobra", true},
		{"spec", "cluster", true},
		{"cluster", "spec", false},
		{"internal/cli", "e2e/lab", false},
		{"internal/engine", "e2e/lab", true},
		{"internal/kube", "k8s.io/client-go/dynamic", false},
		{"internal/report", "log", true},
		{"internal/report/trace", "text/template", true},
		{"internal/report/trace", "html/template", false},
	}
	for _, tc := range tests {
		p := goPackage{ImportPath: module + "/" + tc.pkg, Imports: []string{tc.imports}}
		broken := slices.ContainsFunc(rules, func(r rule) bool { return r.breaks(p) != nil })
		if broken != tc.broken {
			t.Errorf("%s importing %s: broken = %v, want %v", tc.pkg, tc.imports, broken, tc.broken)
		}
	}
	for i, r := range rules {
		if r.why == "" || len(r.mustNot) == 0 {
			t.Errorf("rule %d has no reason, or forbids nothing", i)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		path, pattern string
		want          bool
	}{
		{"net", "net/...", true},
		{"net/http", "net/...", true},
		{"network", "net/...", false},
		{"net/http", "net", false},
		{"anything", "...", true},
	} {
		if got := matches(tc.path, []string{tc.pattern}); got != tc.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tc.path, tc.pattern, got, tc.want)
		}
	}
}
