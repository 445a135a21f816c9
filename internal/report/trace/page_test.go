package trace_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"kubewright/e2e/browser"
	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/report/trace"
)

// page makes the page of a run and parses it.
func page(t testing.TB, run *trace.Run, name string) (string, *html.Node) {
	t.Helper()
	var out bytes.Buffer
	if err := run.WritePage(&out, name); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), root
}

// elements are those of a name, with a class where one is given.
func elements(root *html.Node, name, class string) []*html.Node {
	var found []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name && (class == "" || slices.Contains(strings.Fields(attribute(n, "class")), class)) {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what is written in a node.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// section is one of the page, by its ID.
func section(t testing.TB, root *html.Node, id string) *html.Node {
	t.Helper()
	for _, s := range elements(root, "section", "") {
		if attribute(s, "id") == id {
			return s
		}
	}
	t.Fatalf("the page has no section %s", id)
	return nil
}

// wantHarmless: a page loads nothing, runs nothing, and its policy allows its own style and nothing else.
func wantHarmless(t testing.TB, root *html.Node) {
	t.Helper()
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if slices.Contains([]string{"script", "img", "image", "iframe", "object", "embed", "link", "form", "a", "base", "foreignObject", "use", "animate"}, n.Data) {
			t.Errorf("the page has an element %s", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || slices.Contains([]string{"href", "src", "style", "action", "srcset"}, a.Key) {
				t.Errorf("the page has an attribute %s=%q", a.Key, a.Val)
			}
		}
	}
	styles := elements(root, "style", "")
	if len(styles) != 1 {
		t.Fatalf("the page has %d styles", len(styles))
	}
	digest := sha256.Sum256([]byte(text(styles[0])))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'"
	for _, m := range elements(root, "meta", "") {
		if attribute(m, "http-equiv") == "Content-Security-Policy" && attribute(m, "content") == want {
			return
		}
	}
	t.Errorf("the page has not the policy %s", want)
}

// lanes are the names at the lanes of the chart.
func lanes(root *html.Node) []string {
	var names []string
	for _, n := range elements(root, "text", "host") {
		names = append(names, n.FirstChild.Data)
	}
	return names
}

func TestPage(t *testing.T) {
	_, root := page(t, recording(t, "ha.jsonl"), "lab-20261130T013517-1")
	wantHarmless(t, root)
	if got, want := lanes(root), []string{"cluster", "cp1", "cp2", "cp3", "worker1", "worker2"}; !slices.Equal(got, want) {
		t.Errorf("the lanes are of %q, want %q", got, want)
	}
	for id, want := range map[string][]string{
		"critical-path": {"57% of the run: cluster · verify, waiting for DaemonSet kube-system/calico-node to be ready (48.0s)", "cp1 · artifacts", "an API server to be ready", "short steps: pki, kubeconfigs"},
		"phases":        {"bootstrap", "kubelet"},
		"slowest":       {"fetch:containerd", "unit:kubelet.service", "waiting for node worker1 to be ready", "on 5 of 5 nodes updated, available on 4"},
		"warnings":      {"cgroups: the host uses cgroup v1"},
		"hosts":         {"cp3", "control-plane", "kubelet"},
		"changes":       {"worker2: 76", "cluster: 70", "dir:/etc/kubernetes/pki"},
		"notices":       {"32 functional checks from 5 hosts"},
	} {
		got := text(section(t, root, id))
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("section %s does not say %q:\n%s", id, w, got)
			}
		}
	}
	head := text(elements(root, "header", "")[0])
	for _, want := range []string{"apply of lab", "done", "1m25s", "1.37.2", "v0.7.0", "2026-11-30 01:35:17 UTC", "kubewright apply -f cluster.yaml --yes"} {
		if !strings.Contains(head, want) {
			t.Errorf("the head does not say %q:\n%s", want, head)
		}
	}
	if len(elements(root, "rect", "critical")) < 10 || len(elements(root, "line", "hop")) < 4 || len(elements(root, "rect", "stripes")) < 10 {
		t.Error("the chart lacks the critical path, or waits")
	}
}

// The slowest steps are those that took their time themselves.
func TestSlowestSteps(t *testing.T) {
	_, root := page(t, trace.New([]report.Event{
		start("apply"), command(5, 5, "a", "listen"), command(7, 2, "a", "look"), command(9, 2, "a", "act (3 tasks)"), end(10),
	}), "x")
	if got := text(section(t, root, "slowest")); !strings.Contains(got, "look") || strings.Contains(got, "listen") || strings.Contains(got, "act (") {
		t.Errorf("it says:\n%s", got)
	}
}

func TestPageOfAFailure(t *testing.T) {
	refused := fault.New(fault.ChangeFailed, "systemctl start kubelet: exit status 1\nJob failed.").On("b").WithHint("look at journalctl -u kubelet on b")
	_, root := page(t, trace.New([]report.Event{
		start("apply"), phase(1, 1, "a", "host"), failed(phase(5, 5, "b", "kubelet"), refused), failed(event(5, report.HostFailed, "b", "", ""), refused), failed(end(6), refused),
	}), "x")
	got := text(section(t, root, "failures"))
	for _, want := range []string{"b · kubelet", "after 5.0s", "Job failed.", "What to do: look at journalctl -u kubelet on b"} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if len(elements(root, "rect", "error")) != 1 || len(elements(root, "text", "bad")) != 1 {
		t.Error("the chart does not show what failed")
	}
}

func TestPageOfNothing(t *testing.T) {
	for _, events := range [][]report.Event{nil, {start("apply"), end(0)}, {event(0, report.HostConnected, "a", "", ""), end(0)}} {
		_, root := page(t, trace.New(events), "x")
		wantHarmless(t, root)
		if !strings.Contains(text(section(t, root, "critical-path")), "no time that could be measured") {
			t.Error("it does not say that there is no path")
		}
	}
}

// hostile are texts that hosts, and whoever writes inventories, may come up with.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onload='alert(1)`, `</style><script>alert(1)</script>`, `</title></svg><script>`,
		`javascript:alert(1)`, `{{.Title}}`, "two\nlines\r\n", "\x1b[31mred", "\u202eevil\u2066", "\x00\xff", `<!--`, `]]>`, `&lt;b&gt;`, "日本語のホスト", strings.Repeat("long", 200), strings.Repeat("W W", 100), "",
	}
}

// hostileRun has such texts wherever there is text.
func hostileRun() *trace.Run {
	first := event(0, report.Notice, "", "", hostile()[0])
	first.Attrs = map[string]string{trace.AttrCluster: hostile()[1], trace.AttrVersion: hostile()[3], trace.AttrKubernetes: hostile()[4]}
	events := []report.Event{first, start(hostile()[0])}
	for i, s := range hostile() {
		at := float64(i + 1)
		connected := lasting(0.5, event(at, report.HostConnected, s, "", s))
		connected.Attrs = map[string]string{"roles": s}
		changed := lasting(0.4, event(at+0.5, report.ResourceChanged, s, s, s))
		changed.Resource = s
		e := fault.New(fault.ChangeFailed, "%s", s).On(s).During(s).WithHint("%s", s)
		events = append(events,
			connected, command(at+0.1, 0.1, s, s), event(at+0.1, report.PhaseStarted, s, s, ""), changed, phase(at+0.6, 0.5, s, s),
			event(at+0.7, report.Waiting, s, s, s+": "+s), wait(at+1, 0.4, s, s, s), waitFor(at+1.2, 0.2, s, s, hostile()[(i+1)%len(hostile())]),
			event(at, report.Warning, s, s, s), event(at, report.Notice, s, s, s), failed(event(at+1.3, report.HostFailed, s, "", ""), e),
		)
	}
	return trace.New(append(events, failed(end(22), errors.New(hostile()[2]))))
}

// Nothing that is said in a run becomes a part of the page.
func TestPageOfHostileTexts(t *testing.T) {
	raw, root := page(t, hostileRun(), hostile()[1])
	wantHarmless(t, root)
	if i := strings.IndexFunc(raw, func(r rune) bool { return r == '\u202e' || r == '\u2066' || r == '\x1b' || r == 0 }); i >= 0 {
		t.Errorf("the page has what does not print: %q", raw[max(i-50, 0):i+20])
	}
	if !strings.Contains(text(root), "<script>alert(1)</script>") {
		t.Error("a name of a host is not shown as it is")
	}
	wantWhole(t, hostileRun())
}

// big is a run on many hosts, which do what those of the recorded run do.
func big(t testing.TB, workers int) *trace.Run {
	t.Helper()
	f, err := os.Open("testdata/ha.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	events, _, err := report.ReadRecord(f)
	if err != nil {
		t.Fatal(err)
	}
	var more []report.Event
	for _, e := range events {
		more = append(more, e)
		for i := 3; e.Host == "worker2" && i <= workers; i++ {
			again := e
			again.Host, again.Time = fmt.Sprintf("worker%d", i), e.Time.Add(seconds(0.02*float64(i%37)))
			more = append(more, again)
		}
		if e.Kind == report.WaitDone && e.Message == "node worker2 to be ready" {
			for i := 3; i <= workers; i++ {
				again := e
				again.Message, again.Time = fmt.Sprintf("node worker%d to be ready", i), e.Time.Add(seconds(0.05*float64(i%41)))
				again.Duration += again.Time.Sub(e.Time)
				more = append(more, again)
			}
		}
	}
	for i := 3; i <= workers; i++ {
		late := event(0, report.Warning, "worker"+strconv.Itoa(i), "", "its clock is late")
		late.Time = events[0].Time.Add(seconds(3))
		more = append(more, late)
	}
	return trace.New(more)
}

// Very many hosts make a page that a browser can still show.
func TestPageOfManyHosts(t *testing.T) {
	run := big(t, 497)
	raw, root := page(t, run, "x")
	wantHarmless(t, root)
	wantWhole(t, run)
	if len(raw) > 6<<20 {
		t.Errorf("the page has %d bytes", len(raw))
	}
	shown := lanes(root)
	if len(shown) > 101 || !slices.Contains(shown, "cp3") || !strings.Contains(text(section(t, root, "timeline")), fmt.Sprintf("%d further hosts", 501-len(shown))) {
		t.Errorf("%d lanes: %q", len(shown), shown)
	}
	if hosts := text(section(t, root, "hosts")); !strings.Contains(hosts, "worker497") {
		t.Error("not all hosts are in the table of hosts")
	}
	if len(elements(section(t, root, "warnings"), "tr", "")) > 1+200 || !strings.Contains(text(section(t, root, "warnings")), fmt.Sprintf("%d more are in the record", 497-2+1-200)) {
		t.Errorf("warnings: %s", text(section(t, root, "warnings")))
	}
	if !strings.Contains(text(section(t, root, "changes")), "further changes are in the record") {
		t.Error("what is left out is not told")
	}
}

// measured is what a browser says of a page that it shows.
type measured struct {
	Overflow float64 // by how much the page is wider than its window
	Lanes    []struct {
		Name     string
		X, Y     float64
		W, H     float64
		Bars     int
		Bottom   float64
		Painted  bool
		Coloured bool
	}
	Path    string
	Visible bool
	Chart   struct{ X, Y, W, H float64 }
}

const measure = `(() => {
	const box = e => { const r = e.getBoundingClientRect(); return {X: r.x, Y: r.y + scrollY, W: r.width, H: r.height, Bottom: r.bottom + scrollY}; };
	const chart = document.querySelector("svg.chart"), path = document.querySelector("#critical-path .lead");
	const background = getComputedStyle(document.body).backgroundColor;
	return {
		Overflow: document.documentElement.scrollWidth - innerWidth,
		Lanes: [...document.querySelectorAll("g.lane")].map(g => {
			const bars = [...g.querySelectorAll("rect")].filter(r => box(r).W > 0.2 && box(r).H > 2);
			return {...box(g), Name: g.querySelector("text.host").firstChild.data, Bars: bars.length,
				Painted: bars.every(r => getComputedStyle(r).visibility === "visible" && getComputedStyle(r).display !== "none"),
				Coloured: bars.some(r => !["none", background, "rgb(0, 0, 0)"].includes(getComputedStyle(r).fill))};
		}),
		Path: path ? path.innerText : "",
		Visible: !!path && path.checkVisibility({opacityProperty: true, visibilityProperty: true}),
		Chart: chart ? box(chart) : {},
	};
})()`

// In Chromium, light and dark: every host has its lane, of its own and in sight, the critical path is named, the page
// is no wider than its window, complains of nothing and asks for nothing. What it looks like is in _pages.
func TestPageInChromium(t *testing.T) {
	program := browser.Find()
	if program == "" {
		t.Skip("no Chromium is installed")
	}
	pages, err := filepath.Abs("_pages")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(pages, 0o755); err != nil {
		t.Fatal(err)
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
	for _, tc := range []struct {
		name  string
		run   *trace.Run
		lanes int
		path  string
	}{
		{"ha", recording(t, "ha.jsonl"), 6, "waiting for DaemonSet kube-system/calico-node to be ready"},
		{"fifty", big(t, 47), 51, "waiting for DaemonSet kube-system/calico-node to be ready"},
		{"hostile", hostileRun(), len(hostile()), "of the run"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(pages, tc.name+".html")
			raw, _ := page(t, tc.run, tc.name)
			if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			for scheme, look := range map[string]browser.Look{
				"light": {Width: 1280, Height: 900}, "dark": {Width: 1280, Height: 900, Dark: true}, "narrow": {Width: 480, Height: 800},
			} {
				shown, err := chromium.Open(t.Context(), "file://"+file, look)
				if err != nil {
					t.Fatal(err)
				}
				if err := shown.Screenshot(t.Context(), filepath.Join(pages, tc.name+"-"+scheme+".png")); err != nil {
					t.Error(err)
				}
				var got measured
				if err := shown.Evaluate(t.Context(), measure, &got); err != nil {
					t.Fatal(err)
				}
				got.want(t, tc.lanes, tc.path)
				if said := shown.Complaints(); len(said) > 0 {
					t.Errorf("%s: the console says %q", scheme, said)
				}
				if asked := shown.Requests(); !slices.Equal(asked, []string{"file://" + file}) {
					t.Errorf("%s: it asks for %q", scheme, asked)
				}
			}
		})
	}
}

func (m measured) want(t *testing.T, lanes int, path string) {
	t.Helper()
	if m.Overflow > 0 {
		t.Errorf("the page is %g pixels too wide", m.Overflow)
	}
	if !m.Visible || !strings.Contains(m.Path, path) {
		t.Errorf("of the critical path it shows (%v) %q", m.Visible, m.Path)
	}
	if len(m.Lanes) != lanes {
		t.Errorf("there are %d lanes, want %d", len(m.Lanes), lanes)
	}
	below := m.Chart.Y
	for _, l := range m.Lanes {
		if l.Bars == 0 || !l.Painted || !l.Coloured {
			t.Errorf("of %s nothing is in sight: %+v", l.Name, l)
		}
		if l.Y+1 < below || l.Bottom > m.Chart.Y+m.Chart.H+1 {
			t.Errorf("the lane of %s lies over another, or out of the chart: %+v in %+v, after %g", l.Name, l, m.Chart, below)
		}
		below = l.Y + l.H
	}
}
