//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubewright/e2e/browser"
)

// reported: the report of the lab's last run names each host and the critical path, and a browser shows them.
func reported(t *testing.T, l *lab) {
	pages, err := filepath.Abs("_pages")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(pages, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(l.dir)
	page := filepath.Join(pages, name+".html")
	said := kubewright(t, "report", name, "--to", page).want(t, exitDone)
	t.Log("\n" + said.stdout)
	if !strings.HasPrefix(said.stdout, "CRITICAL PATH") || !strings.Contains(said.stdout, "waiting for an API server to be ready") {
		t.Error("the critical path of a bring-up does not lead over the start of an API server")
	}
	var want []string
	for _, n := range l.nodes(t) {
		want = append(want, n.Name)
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range want {
		if !strings.Contains(string(content), ">"+host+"<") {
			t.Errorf("the page does not name %s", host)
		}
	}

	program := browser.Find()
	if program == "" {
		t.Skip("no Chromium is installed to open the page in")
	}
	chromium, err := browser.Start(t.Context(), program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromium.Close(); err != nil {
			t.Error(err)
		}
	})
	shown, err := chromium.Open(t.Context(), "file://"+page, browser.Look{Width: 1280, Height: 900})
	if err != nil {
		t.Fatal(err)
	}
	if err := shown.Screenshot(t.Context(), filepath.Join(pages, name+".png")); err != nil {
		t.Error(err)
	}
	var lanes []string // of which something is painted
	if err := shown.Evaluate(t.Context(), `[...document.querySelectorAll("g.lane")]
		.filter(g => [...g.querySelectorAll("rect")].some(r => r.getBoundingClientRect().width > 1))
		.map(g => g.querySelector("text.host").firstChild.data)`, &lanes); err != nil {
		t.Fatal(err)
	}
	for _, host := range want {
		if !slices.Contains(lanes, host) {
			t.Errorf("%s has no timeline among those of %q", host, lanes)
		}
	}
	var path string
	if err := shown.Evaluate(t.Context(), `document.querySelector("#critical-path .lead").innerText`, &path); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(path, "% of the run: ") {
		t.Errorf("of the critical path it says %q", path)
	}
	if complaints := shown.Complaints(); len(complaints) > 0 {
		t.Errorf("the console says %q", complaints)
	}
}
