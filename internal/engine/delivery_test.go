package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// tool is a phase that installs a binary.
func tool() plan.Phase {
	return phase("tool", nil, func(t plan.Target) []resource.Resource {
		return []resource.Resource{
			resource.File{Path: "/etc/before", Content: []byte("x")},
			resource.Binary{Path: "/usr/local/bin/tool", Artifact: t.Artifacts["tool"]},
		}
	})
}

// How a host gets its files: it fetches them, or is given them when it cannot; whichever
// way, the right bytes are installed and nothing stays behind.
func TestDelivery(t *testing.T) {
	type lies struct{ head, get int } // status codes, 0 means the truth
	tests := map[string]struct {
		mode     string
		server   lies
		noURL    bool
		uploads  int64
		requests bool
		execs    int64
		fails    fault.Kind
	}{
		"fetch":                           {mode: "fetch", requests: true, execs: 4},
		"auto fetches":                    {mode: "auto", requests: true, execs: 4},
		"auto pushes what has no URL":     {mode: "auto", noURL: true, uploads: 1, execs: 3},
		"auto pushes without a way":       {mode: "auto", server: lies{404, 404}, uploads: 1, requests: true, execs: 4},
		"auto pushes after all":           {mode: "auto", server: lies{0, 503}, uploads: 1, requests: true, execs: 5},
		"push asks nobody":                {mode: "push", uploads: 1, execs: 3},
		"fetch refuses without a way":     {mode: "fetch", server: lies{404, 404}, requests: true, execs: 3, fails: fault.Preflight},
		"fetch fails when it comes to it": {mode: "fetch", server: lies{0, 404}, requests: true, execs: 4, fails: fault.ChangeFailed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 1, tool())
			l.files.status = func(r *http.Request) int {
				if r.Method == http.MethodHead {
					return tc.server.head
				}
				return tc.server.get
			}
			l.cluster.Artifacts.Delivery = tc.mode
			a := l.files.add(t, "tool", "#!/bin/tool\n")
			if tc.noURL {
				a.URL = ""
				l.files.artifacts["tool"] = a
			}
			r := l.roots["cp1"]
			err := l.apply()
			if code := fault.ExitCode(err); code != int(tc.fails) {
				t.Fatalf("exit code %d, want %d: %v", code, tc.fails, err)
			}
			if n := l.execs()["cp1"]; n != tc.execs {
				t.Errorf("%d execs, want %d", n, tc.execs)
			}
			if n := l.conns["cp1"].uploads.Load(); n != tc.uploads {
				t.Errorf("%d uploads, want %d", n, tc.uploads)
			}
			if asked := l.files.requests.Load() > 0; asked != tc.requests {
				t.Errorf("the source was asked: %v, want %v", asked, tc.requests)
			}
			if tc.fails != 0 {
				if text := fmt.Sprint(err); !strings.Contains(text, "cp1") || !strings.Contains(text, "tool") {
					t.Errorf("the error does not name host and file: %v", err)
				}
				if r.Read("/usr/local/bin/tool") != "" || (tc.fails == fault.Preflight && r.Read("/etc/before") != "") {
					t.Error("something was changed")
				}
				return
			}
			if got := r.Read("/usr/local/bin/tool"); got != "#!/bin/tool\n" {
				t.Errorf("installed is %q", got)
			}
			for _, left := range []string{sh.CacheDir + "/*", "/tmp/*"} {
				if found, _ := filepath.Glob(r.Path(left)); len(found) > 0 {
					t.Errorf("left behind: %v", found)
				}
			}
			l.requireEmpty()
			if n := l.execs()["cp1"]; n != 1 {
				t.Errorf("a plan without changes took %d execs, want 1", n)
			}
		})
	}
}

// A source that serves other bytes installs nothing, whoever brings them.
func TestDeliveryOfWrongBytes(t *testing.T) {
	for _, mode := range []string{"fetch", "push"} {
		l := newLab(t, 1, tool())
		l.cluster.Artifacts.Delivery = mode
		l.files.add(t, "tool", "right")
		if err := os.WriteFile(filepath.Join(l.files.dir, "tool"), []byte("wrong"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := l.apply()
		if code := fault.ExitCode(err); code != int(fault.ChangeFailed) || !strings.Contains(fmt.Sprint(err), "digest") {
			t.Errorf("%s: exit code %d: %v", mode, code, err)
		}
		if l.roots["cp1"].Read("/usr/local/bin/tool") != "" {
			t.Errorf("%s: it was installed", mode)
		}
		if found, _ := filepath.Glob(l.roots["cp1"].Path("/tmp/*")); len(found) > 0 {
			t.Errorf("%s: left behind: %v", mode, found)
		}
	}
}

// What cannot be had on the operator's side is an error before the host is touched.
func TestPushWithoutLocalCopy(t *testing.T) {
	l := newLab(t, 1, tool())
	l.cluster.Artifacts.Delivery = "push"
	l.files.add(t, "tool", "x")
	if err := os.Remove(filepath.Join(l.files.dir, "tool")); err != nil {
		t.Fatal(err)
	}
	err := l.apply()
	if err == nil || !strings.Contains(err.Error(), "push tool") || l.roots["cp1"].Read("/etc/before") != "" {
		t.Errorf("%v", err)
	}
}

// What a host cannot have is said by doctor too, before anything is asked for; ignored by name,
// the run tries, and fails where it is so.
func TestArtifactsCheck(t *testing.T) {
	for _, mode := range []string{"fetch", "auto"} {
		t.Run(mode, func(t *testing.T) {
			l := newLab(t, 2, tool())
			l.cluster.Artifacts.Delivery = mode
			a := l.files.add(t, "tool", "#!/bin/tool\n")
			l.files.status = func(*http.Request) int { return http.StatusForbidden }
			d, _, err := l.engine().Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]check.Severity{"fetch": check.Refuse, "auto": check.Info}[mode]
			var hosts []string
			for _, r := range d.Results {
				if r.Check == check.Artifacts {
					hosts = append(hosts, r.Host)
					if r.Severity != want || !strings.Contains(r.Message, a.URL) {
						t.Errorf("%s: %s, want %s", r, r.Severity, want)
					}
				}
			}
			if !slices.Equal(hosts, []string{"cp1", "w1"}) {
				t.Errorf("it names %v", hosts)
			}
			l.cluster.IgnoreChecks = check.Names()
			wantCode := map[string]fault.Kind{"fetch": fault.ChangeFailed, "auto": 0}[mode]
			if err := l.apply(); fault.ExitCode(err) != int(wantCode) {
				t.Errorf("ignored: %v", err)
			}
		})
	}
}

// A source that the operator cannot reach is a finding like another.
func TestArtifactsCheckOfTheOperator(t *testing.T) {
	l := newLab(t, 1, tool())
	l.options = func(o *engine.Options) { o.Files = noFiles{} }
	d, _, err := l.engine().Doctor(t.Context())
	if err != nil || len(d.Results) == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	if r := d.Results[0]; r.Check != check.Artifacts || r.Severity != check.Refuse || !strings.Contains(r.Message, errBoom.Error()) || r.Remedy == "" {
		t.Errorf("the worst is %s", r)
	}
}

// noFiles is a source that does not answer.
type noFiles struct{}

func (noFiles) Resolve(context.Context, []catalog.File) (map[string]resource.Artifact, error) {
	return nil, errBoom
}

func (noFiles) Open(context.Context, resource.Artifact) (string, error) { return "", errBoom }

// What a run that was killed has left in the cache goes with the next one, whatever that has to do.
func TestCacheOfACutRun(t *testing.T) {
	l := newLab(t, 1, tool())
	l.files.add(t, "tool", "#!/bin/tool\n")
	l.mustApply()
	r := l.roots["cp1"]
	r.Write(sh.CacheDir+"/aaaa", "whole")
	r.Write(sh.CacheDir+"/bbbb.kw-tmp", "half")
	r.Write(sh.CacheDir+"/aaaa.d/bin/x", "unpacked")
	l.mustApply()
	if _, err := os.Stat(r.Path(sh.CacheDir)); err == nil {
		t.Error("the cache is still there")
	}
	if n := l.execs()["cp1"]; n != 1 {
		t.Errorf("with nothing left to do a plan took %d execs", n)
	}
	l.mustApply()
}
