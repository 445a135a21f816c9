package engine_test

import (
	"bytes"
	gocmp "cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/host"
)

// network stands for what is between the hosts of a lab.
type network struct {
	// closed are links "from to port/proto" that packets do not pass, unable hosts that cannot try,
	// and dead ones whose listener is lost.
	closed, unable, dead []string
	reason               string // why closed ports are; "": timed out

	mu        sync.Mutex
	listeners map[string]io.Writer
	tried     []string
}

var (
	markerLine = regexp.MustCompile(`(?m)^M=(\S+)$`)
	tcpAttempt = regexp.MustCompile(`kw_connect 10\.111\.0\.(\d+) (\d+)`)
	udpAttempt = regexp.MustCompile(`(?m)(10\.111\.0\.\d+ 4789 ?)+2>/dev/null &$`)
	listensOn  = regexp.MustCompile(`(?m)^systemd-socket-activate `)
	errLineCut = errors.New("the line is cut")
)

func (n *network) run(ctx context.Context, from string, script []byte, out io.Writer) error {
	marker := string(markerLine.FindSubmatch(script)[1])
	if slices.Contains(n.unable, from) {
		fmt.Fprintf(out, "%s unable bash is missing\n%[1]s end\n", marker)
		return nil
	}
	if listensOn.Match(script) {
		if slices.Contains(n.dead, from) {
			return &host.LostError{Host: from, Op: "run", Err: errLineCut}
		}
		n.mu.Lock()
		n.listeners[from] = out
		n.mu.Unlock()
		fmt.Fprintf(out, "%s listening\n", marker)
		<-ctx.Done()
		return ctx.Err()
	}
	var said bytes.Buffer
	for _, m := range tcpAttempt.FindAllSubmatch(script, -1) {
		verdict := "open %s"
		if !n.passes(from, string(m[1]), string(m[2])+"/tcp") {
			verdict = "closed %s " + gocmp.Or(n.reason, "timed out")
		}
		fmt.Fprintf(&said, "%s "+verdict+"\n", marker, "10.111.0."+string(m[1])+":"+string(m[2]))
	}
	for address := range strings.FieldsSeq(strings.ReplaceAll(string(udpAttempt.Find(script)), "4789", "")) {
		last, ok := strings.CutPrefix(address, "10.111.0.")
		if !ok || !n.passes(from, last, "4789/udp") {
			continue
		}
		n.mu.Lock()
		listener := n.listeners[nameOf(last)]
		n.mu.Unlock()
		if listener != nil { // else it is a dead one
			fmt.Fprintf(listener, "%s heard 4789 %s\n", marker, from)
		}
	}
	fmt.Fprintf(&said, "%s end\n", marker)
	_, err := out.Write(said.Bytes())
	return err
}

func (n *network) passes(from, last, port string) bool {
	link := from + " " + nameOf(last) + " " + port
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried = append(n.tried, link)
	return !slices.Contains(n.closed, link)
}

// nameOf is the host of a lab with an address that ends like this.
func nameOf(last string) string {
	if last == "10" {
		return "cp1"
	}
	return "w" + strings.TrimPrefix(last, "1")
}

// reachLab is a control plane and two workers whose connections are tried.
func reachLab(t *testing.T, n *network) *lab {
	t.Helper()
	l := newLab(t, 3, service("a", "1"))
	l.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(name string) bool { return name == check.Reach })
	n.listeners = map[string]io.Writer{}
	l.network = n
	return l
}

func TestLinksAreTried(t *testing.T) {
	n := &network{}
	l := reachLab(t, n)
	if p, err := l.plan(); err != nil || slices.ContainsFunc(p.Checks, func(r check.Result) bool { return r.Check == check.Reach }) {
		t.Fatalf("%v, %v", p, err)
	}
	slices.Sort(n.tried)
	want := []string{
		"cp1 w1 10250/tcp", "cp1 w1 4789/udp", "cp1 w2 10250/tcp", "cp1 w2 4789/udp",
		"w1 cp1 4789/udp", "w1 cp1 6443/tcp", "w1 w2 4789/udp",
		"w2 cp1 4789/udp", "w2 cp1 6443/tcp", "w2 w1 4789/udp",
	}
	if diff := cmp.Diff(want, n.tried); diff != "" {
		t.Errorf("tried (-want +got):\n%s", diff)
	}
	if execs := l.execs()["w1"]; execs != 3 { // look, listen, connect
		t.Errorf("%d execs", execs)
	}

	// Among hosts that are complete nothing is tried, unless a doctor looks.
	l.network = nil
	l.cluster.IgnoreChecks = check.Names()
	for _, r := range l.roots {
		r.Write("/var/lib/kubewright/cluster", "lab sha256:x\n")
	}
	l.mustApply()
	n.tried, l.network = nil, n
	l.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(name string) bool { return name == check.Reach })
	if _, err := l.plan(); err != nil || len(n.tried) > 0 {
		t.Errorf("tried %v, %v", n.tried, err)
	}
	l.roots["w1"].Write("/proc/net/tcp", "  sl  local_address\n   0: 00000000:280A 00000000:0000 0A\n")
	d, _, err := l.engine().Doctor(t.Context())
	if diff := cmp.Diff([]string{"cp1 w1 10250/tcp"}, n.tried); err != nil || diff != "" {
		t.Errorf("the doctor tries what listens there (-want +got):\n%s\n%+v, %v", diff, d, err)
	}
	// That a program refuses which has the port is no matter of the way there.
	n.closed, n.reason = []string{"cp1 w1 10250/tcp"}, "Connection refused"
	if d, _, err = l.engine().Doctor(t.Context()); err != nil || slices.ContainsFunc(d.Results, func(r check.Result) bool { return r.Check == check.Reach }) {
		t.Errorf("%+v, %v", d, err)
	}
}

// What does not pass refuses the run, with both ends and the port; nothing was changed by then.
func TestClosedLinksAreRefused(t *testing.T) {
	l := reachLab(t, &network{closed: []string{"w1 cp1 6443/tcp", "w1 w2 4789/udp"}})
	l.refused(fault.Preflight, "w1", "cp1 (10.111.0.10) on 6443/tcp (kube-apiserver): timed out", "w2 (10.111.0.12) on 4789/udp (VXLAN): no datagram arrived", "firewalls")
}

// A host that cannot try, or whose listener is lost, is warned of. Only its links are unknown.
func TestUntriedLinks(t *testing.T) {
	l := reachLab(t, &network{unable: []string{"w1"}, dead: []string{"w2"}, closed: []string{"cp1 w1 10250/tcp", "cp1 w2 10250/tcp"}})
	p, err := l.plan()
	if err != nil {
		t.Fatal(err)
	}
	warned := map[string]string{}
	for _, r := range p.Checks {
		if r.Check == check.Reach {
			warned[r.Host] = r.Severity.String() + " " + r.Message
		}
	}
	if len(warned) != 2 || !strings.Contains(warned["w1"], "bash is missing") || !strings.Contains(warned["w2"], errLineCut.Error()) {
		t.Errorf("%v", warned)
	}
}

// The trial is spared where nobody heeds it.
func TestIgnoredLinksAreNotTried(t *testing.T) {
	n := &network{}
	l := reachLab(t, n)
	l.cluster.IgnoreChecks = check.Names()
	if _, err := l.plan(); err != nil || len(n.tried) > 0 {
		t.Errorf("tried %v, %v", n.tried, err)
	}
}
