package sh_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// passOverBrokenWget has the next wget on the path used where the shell's own crashes on a
// timeout, as that of busybox 1.35 in Debian 12 does. Such a host is given its files.
func passOverBrokenWget(t *testing.T, r *shtest.Root, url string) {
	t.Helper()
	const crashed = 128 + int(syscall.SIGSEGV)
	if code, _, _ := run(t, r, []byte("wget -q -T 10 -O /dev/null "+url+"\n")); code == crashed {
		if err := os.Remove(r.Path("/bin.sh/wget")); err != nil {
			t.Fatal(err)
		}
	}
}

// A host fetches with curl, or with the wget that it has, and believes the digest only.
func TestFetch(t *testing.T) {
	content := bytes.Repeat([]byte("kubelet "), 50_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) })
	mux.HandleFunc("/evil", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content[1:]) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>log in first</html>")) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "400000")
		if r.Method != http.MethodHead {
			_, _ = w.Write(content[:1000])
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	sum := resource.DigestOf(content)
	tests := map[string]struct {
		url       string
		reachable bool
		works     bool
	}{
		"file": {server.URL + "/file", true, true}, "redirect": {server.URL + "/moved", true, true}, "query": {server.URL + "/file?a=b&c='d'", true, true},
		"absent": {server.URL + "/none", false, false}, "no server": {gone.URL + "/file", false, false}, "other bytes": {server.URL + "/evil", true, false},
		"a page instead": {server.URL + "/page", true, false}, "cut": {server.URL + "/cut", true, false},
	}
	noCurl := `mount --bind /dev/null "$1/usr/bin/curl"`
	for _, tool := range []string{"curl", "wget"} {
		for name, tc := range tests {
			t.Run(tool+"/"+name, func(t *testing.T) {
				t.Parallel()
				inShells(t, func(t *testing.T, shell shtest.Shell) {
					h, r := memhost.New(t), shtest.New(t, shell)
					h.File(sh.CachePath(sum)+".kw-tmp", 0o600, "left behind by a crash")
					r.Load(h)
					delete(h.Nodes, sh.CachePath(sum)+".kw-tmp")
					if tc.reachable {
						h.Web[tc.url] = content[:1]
					}
					o := shtest.Options{}
					if tool == "wget" {
						o.Mounts = noCurl
						passOverBrokenWget(t, r, gone.URL)
					}
					probes := []sh.Probe{sh.ReachProbe{URL: tc.url}}
					var out bytes.Buffer
					if code, stderr, err := r.RunWith(t.Context(), o, sh.RenderProbes(marker, sh.NewLook(probes)), &out); err != nil || code != 0 {
						t.Fatalf("a look ended with %d, %v: %s", code, err, stderr)
					}
					answers, err := parseAnswers(marker, sh.NewLook(probes), out.String())
					if err != nil {
						t.Fatal(err)
					}
					compareAnswers(t, answers, h.Answer(probes))

					if tc.works {
						h.Web[tc.url] = content
					}
					tasks := []sh.Task{{ID: "fetch", Steps: []sh.Step{sh.Fetch{URL: tc.url, SHA256: sum}}}}
					_, failed := h.Run(tasks, -1)
					for range 2 { // what is in the cache is not fetched again
						code, stderr, err := r.RunWith(t.Context(), o, sh.RenderTasks(marker, tasks, sh.NewLook(nil)), nil)
						if err != nil || (code == 0) != tc.works || (failed == nil) != tc.works {
							t.Fatalf("ended with %d, %v: %s; the host in memory with %v", code, err, stderr, failed)
						}
						if !tc.works && !strings.Contains(string(stderr), tc.url[:len(server.URL)-6]) {
							t.Errorf("the failure does not name the URL: %s", stderr)
						}
						if d := r.Differences(h); len(d) > 0 {
							t.Errorf("%.1000s", strings.Join(d, "\n"))
						}
					}
				})
			})
		}
	}
}
