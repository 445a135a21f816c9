package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/catalog"
	"kubewright/internal/sh/shtest"
	"kubewright/internal/ssh/sshtest"
)

// fleet is a number of hosts that one SSH server stands for, each at a loopback address of its own. The
// server speaks the real protocol. What a host answers to a script, and what becomes of it, is found out by
// running the script for real, in a scratch root: once for all hosts that are alike, since scripts that say
// the same but for the host's own name and address are answered the same.
type fleet struct {
	server *sshtest.Server
	web    *httptest.Server
	kinds  map[string]*kind

	patterns *patterns
	// dir has a folder for each number of hosts with what kubewright is told.
	dir     string
	hostKey ssh.PublicKey
	key     []byte
	digests map[string]string // of files by URL
	tb      *tb

	order []netip.Addr              // of the hosts
	hosts map[netip.Addr]*simulated // by the address that is connected to
	nodes map[netip.Addr]*simulated // by the address in the cluster
	// onWorkers is how many commands were run there.
	onWorkers atomic.Int64
}

// simulated is one host.
type simulated struct {
	identity
	kind *kind

	mu    sync.Mutex
	state string // the scripts that have changed it, as a digest
	// own is what the host has in place of what the original has.
	own  map[string]string
	held map[int]*held
	next int // number of the next shell
}

// held is a script that stays until it is ended, such as a lock.
type held struct {
	stop   func()
	stdout io.Writer
	marker string
}

// patterns are what is looked for in scripts and answers.
type patterns struct {
	ready     *regexp.Regexp // what kubewright and a root shell know each other by; see internal/ssh
	marker    *regexp.Regexp // the marker of a script; see internal/sh
	reaped    *regexp.Regexp // the shells that a script ends
	datagrams *regexp.Regexp // who sends datagrams, and where to
	digest    *regexp.Regexp
	timeFact  *regexp.Regexp // the time in an answer
}

func newPatterns() *patterns {
	return &patterns{
		ready:     regexp.MustCompile(`kubewright-ready-[0-9a-f]+`),
		marker:    regexp.MustCompile(`(?m)^M=(kw[0-9a-f]+)$`),
		reaped:    regexp.MustCompile(`(?m)^end ([0-9]+) `),
		datagrams: regexp.MustCompile(`(?m)"\$M" (\S+) (.*) 2>/dev/null &$`),
		digest:    regexp.MustCompile(`[0-9a-f]{64}`),
		timeFact:  regexp.MustCompile(`(?m)^(` + originalMarker + ` fact time )[0-9]+ [0-9]+$`),
	}
}

// identity is what tells hosts apart that are otherwise alike. All names have one length, and all addresses.
type identity struct{ name, address string }

const (
	planeKind, workerKind = "plane", "nodes"
	// firstOctet and octets are those of addresses, so that none is the beginning of another.
	firstOctet, octets = 100, 150
)

// identify gives the n-th host of a kind its name and its address in the cluster. None is the original, that
// is in the answers.
func identify(kind string, n int) (id identity, at netip.Addr) {
	third, fourth := byte(firstOctet+n/octets), byte(firstOctet+n%octets)
	second := byte(201)
	if kind == planeKind {
		second = 202
	}
	node := netip.AddrFrom4([4]byte{10, second, third, fourth})
	return identity{fmt.Sprintf("%s-%04d", kind, n), node.String()}, netip.AddrFrom4([4]byte{127, second, third, fourth})
}

// newFleet makes hosts that are bare: a control plane, and workers.
func newFleet(ctx context.Context, hosts int) (f *fleet, err error) {
	f = &fleet{patterns: newPatterns(), tb: &tb{ctx: ctx}, hosts: map[netip.Addr]*simulated{}, nodes: map[netip.Addr]*simulated{}, kinds: map[string]*kind{}}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.dir, err = os.MkdirTemp("", "bench-fleet-"); err != nil {
		return f, err
	}
	signer, _, err := sshtest.GenerateKey()
	if err != nil {
		return f, err
	}
	user, key, err := sshtest.GenerateKey()
	if err != nil {
		return f, err
	}
	f.hostKey, f.key = signer.PublicKey(), key
	if f.digests, err = f.publish(); err != nil {
		return f, err
	}
	for _, name := range []string{planeKind, workerKind} {
		if f.kinds[name], err = newKind(f.tb, f.patterns, name); err != nil {
			return f, err
		}
	}
	for i := range hosts {
		name, n := workerKind, i
		if i == 0 {
			name, n = planeKind, 1
		}
		id, at := identify(name, n)
		h := &simulated{identity: id, kind: f.kinds[name], own: map[string]string{}, held: map[int]*held{}, next: 1000}
		f.order = append(f.order, at)
		f.hosts[at], f.nodes[netip.MustParseAddr(id.address)] = h, h
	}
	f.server, err = sshtest.Listen(ctx, "0.0.0.0:0", sshtest.Options{
		HostKeys: []ssh.Signer{signer}, AuthorizedKeys: []ssh.PublicKey{user.PublicKey()}, NoSFTP: true, Exec: f.exec,
		Dial: func(string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }, // nothing runs on the hosts
	})
	return f, err
}

func (f *fleet) close() {
	if f.server != nil {
		f.server.Close()
	}
	if f.web != nil {
		f.web.Close()
	}
	f.tb.cleanup()
	_ = os.RemoveAll(f.dir)
}

// publish serves small files in place of those of the release, and returns their digests.
func (f *fleet) publish() (map[string]string, error) {
	versions, err := catalog.Default()
	if err != nil {
		return nil, err
	}
	release, err := versions.Release(fleetKubernetes)
	if err != nil {
		return nil, err
	}
	digests, contents := map[string]string{}, map[string][]byte{}
	for _, file := range release.Files(runtime.GOARCH) {
		content := []byte(file.Name)
		if file.Format == catalog.TarGzip {
			if content, err = archive(slices.Sorted(maps.Keys(file.Members))); err != nil {
				return nil, err
			}
		}
		digests[file.URL] = fmt.Sprintf("sha256:%x", digest(content))
		contents["/"+strings.TrimPrefix(file.URL, "https://")] = content
	}
	f.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := contents[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	return digests, nil
}

// archive is a tar archive with small programs in it.
func archive(members []string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range members {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(name)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(name)); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	return b.Bytes(), err
}

// describe writes what kubewright is told of the first hosts, and returns the folder. They are all in
// known_hosts, as those of a site are.
func (f *fleet) describe(hosts int) (dir string, err error) {
	lock, err := catalog.Lock{Files: f.digests}.Encode()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(f.dir, strconv.Itoa(hosts))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	port := f.server.Port()
	var inventory, known, endpoints strings.Builder
	fmt.Fprintf(&inventory, "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\ndefaults:\n  ssh: {user: root, port: %d, keyFile: id_ed25519, knownHosts: [known_hosts]}\nhosts:\n", port)
	for _, at := range f.order[:hosts] {
		h, role := f.hosts[at], "worker"
		if strings.HasPrefix(h.name, planeKind) {
			role = "control-plane"
		}
		fmt.Fprintf(&inventory, "  - {name: %s, address: %s, nodeIP: %s, roles: [%s]}\n", h.name, at, h.address, role)
		fmt.Fprintf(&endpoints, "%s:%d\n", at, port)
		fmt.Fprintf(&known, "[%s]:%d %s", at, port, ssh.MarshalAuthorizedKey(f.hostKey))
	}
	cluster := fmt.Sprintf(`apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: fleet}
spec:
  kubernetesVersion: %s
  inventory: inventory.yaml
  network: {cni: {name: none}, podCIDR: 10.64.0.0/12, serviceCIDR: 10.96.0.0/16}
  preflight: {ignore: [modules]} # a scratch root has none on its disk
  artifacts: {source: mirror, mirror: {url: "%s"}, digests: digests.yaml, delivery: fetch}
`, fleetKubernetes, f.web.URL)
	for name, content := range map[string]string{
		"cluster.yaml": cluster, "inventory.yaml": inventory.String(), "known_hosts": known.String(), "digests.yaml": string(lock),
		userKeyFile: string(f.key), hostKeyFile: string(ssh.MarshalAuthorizedKey(f.hostKey)), endpointsFile: endpoints.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// reset makes the workers bare again. The control plane keeps the authorities, so that all that is recorded
// is of one cluster.
func (f *fleet) reset() {
	for _, h := range f.hosts {
		if h.kind != f.kinds[workerKind] {
			continue
		}
		h.mu.Lock()
		h.state, h.own = "", map[string]string{}
		h.mu.Unlock()
	}
}

// exec answers one command.
func (f *fleet) exec(c sshtest.Command) int {
	h := f.hostAt(c.At)
	if h == nil {
		return say(c.Stderr, 1, "there is no such host")
	}
	f.count(h)
	word := f.patterns.ready.FindString(c.Line)
	if word == "" { // the floor: a client that has a shell read one command
		_, _ = io.Copy(io.Discard, c.Stdin)
		return 0
	}
	number := h.number()
	ready := fmt.Sprintf("\n%s %d (sh) S 1 %[2]d %[2]d 0 -1 0 0 0 0 0 0 0 0 0 0 0 0 0 %[2]d 0\n", word, number)
	_, _ = io.WriteString(c.Stderr, ready)
	_, _ = io.WriteString(c.Stdout, ready)
	input, err := io.ReadAll(c.Stdin)
	if err != nil {
		return 1
	}
	script := string(bytes.TrimPrefix(input, []byte(word+"\n")))
	found := f.patterns.marker.FindStringSubmatch(script)
	switch {
	case found == nil && strings.Contains(script, "\nend() {"):
		h.reap(script)
		return 0
	case found == nil:
		return say(c.Stderr, 2, "this script is unknown here: "+script[:min(len(script), 200)])
	}
	marker := found[1]
	switch {
	case strings.Contains(script, `while echo "$M locked"`):
		return h.hold(c, number, marker, "locked")
	case strings.Contains(script, "systemd-socket-activate"):
		return h.hold(c, number, marker, "listening")
	case strings.Contains(script, "kw_connect()"):
		f.connect(h, script, marker)
		_, _ = io.WriteString(c.Stdout, marker+" end\n")
		return 0
	}
	return h.run(c, script, marker)
}

func say(w io.Writer, code int, text string) int {
	_, _ = io.WriteString(w, text+"\n")
	return code
}

func (f *fleet) hostAt(at net.Addr) *simulated {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return nil
	}
	return f.hosts[tcp.AddrPort().Addr().Unmap()]
}

func (h *simulated) number() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

// hold keeps a script until the client is gone or another script ends it.
func (h *simulated) hold(c sshtest.Command, number int, marker, word string) int {
	const terminated = 143 // what shells say of SIGTERM
	stopped := make(chan struct{})
	h.mu.Lock()
	h.held[number] = &held{stop: sync.OnceFunc(func() { close(stopped) }), stdout: c.Stdout, marker: marker}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.held, number)
		h.mu.Unlock()
	}()
	_, _ = io.WriteString(c.Stdout, marker+" "+word+"\n")
	select {
	case <-stopped:
	case <-c.Gone:
	}
	return terminated
}

// reap ends the scripts that a script names.
func (h *simulated) reap(script string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, found := range h.kind.patterns.reaped.FindAllStringSubmatch(script, -1) {
		if n, err := strconv.Atoi(found[1]); err == nil && h.held[n] != nil {
			h.held[n].stop()
		}
	}
}

// connect has datagrams arrive where a script sends them. All connections are said to be open by saying
// nothing of them.
func (f *fleet) connect(from *simulated, script, marker string) {
	found := f.patterns.datagrams.FindStringSubmatch(script)
	if found == nil {
		return
	}
	for pair := range slices.Chunk(strings.Fields(found[2]), 2) {
		at, err := netip.ParseAddr(pair[0])
		to := f.nodes[at]
		if err != nil || to == nil || len(pair) < 2 {
			continue
		}
		to.mu.Lock()
		for _, l := range to.held {
			if l.marker == marker {
				_, _ = fmt.Fprintf(l.stdout, "%s heard %s %s\n", marker, pair[1], from.name)
			}
		}
		to.mu.Unlock()
	}
}

// run answers a script that looks or acts.
func (h *simulated) run(c sshtest.Command, script, marker string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	script = strings.NewReplacer(marker, originalMarker, h.name, h.kind.original.name, h.address, h.kind.original.address).Replace(script)
	shape, values := h.kind.patterns.dissect(script)
	a, err := h.kind.answer(h.state, shape, values, script)
	if err != nil {
		return say(c.Stderr, 1, err.Error())
	}
	for i, value := range a.values {
		if values[i] != value {
			h.own[value] = values[i]
		}
	}
	h.state = a.state
	pairs := []string{originalMarker, marker, h.kind.original.name, h.name, h.kind.original.address, h.address, timeMark, strconv.FormatInt(time.Now().Unix(), 10)}
	for value, own := range h.own {
		pairs = append(pairs, value, own)
	}
	back := strings.NewReplacer(pairs...)
	_, _ = io.WriteString(c.Stderr, back.Replace(a.stderr))
	writeBlocks(c.Stdout, back.Replace(a.stdout))
	return a.code
}

// dissect takes out of a script what may be another on each host: digests, and what files consist of. The
// shape is what is left.
func (p *patterns) dissect(script string) (shape string, values []string) {
	const end = "KW_EOF"
	var b, body strings.Builder
	inside := false
	for line := range strings.Lines(script) {
		switch {
		case inside && strings.TrimSpace(line) == end:
			values = append(values, body.String())
			body.Reset()
			inside = false
			b.WriteString(line)
		case inside:
			body.WriteString(strings.TrimSpace(line))
		default:
			inside = strings.Contains(line, "<<'"+end+"'")
			values = append(values, p.digest.FindAllString(line, -1)...)
			b.WriteString(p.digest.ReplaceAllString(line, ""))
		}
	}
	return b.String(), values
}

// kind is hosts that are alike.
type kind struct {
	original identity
	ctx      context.Context //nolint:containedctx // that of the fleet
	patterns *patterns

	mu sync.Mutex
	// roots are the scratch roots by the state that they are in.
	roots   map[string]*shtest.Root
	answers map[string]*answer // by state and shape of the script
}

// answer is what a script leads to.
type answer struct {
	stdout, stderr string
	code           int
	values         []string // what the script had that others may have different
	state          string   // afterwards
}

const (
	originalMarker = "kw000000000000000000000000"
	// timeMark stands for the time, which is told with each look.
	timeMark = "@TIME@"
)

// answer runs a script, unless it is known what one of its shape leads to. A script that acts leads to another
// state; the root goes on to it, and a copy stays.
func (k *kind) answer(state, shape string, values []string, script string) (*answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := state + shape
	if known := k.answers[key]; known != nil {
		return known, nil
	}
	root := k.roots[state]
	a := &answer{state: state, values: values}
	if strings.Contains(script, "kw_go start 0") {
		a.state = fmt.Sprintf("%x", digest([]byte(key)))
		k.roots[state], k.roots[a.state] = root.Copy(), root
	}
	var stdout bytes.Buffer
	code, stderr, err := root.Run(k.ctx, []byte(script), &stdout)
	if err != nil {
		return nil, err
	}
	a.code, a.stderr = code, string(stderr)
	a.stdout = k.patterns.timeFact.ReplaceAllString(stdout.String(), "${1}"+timeMark+" 0")
	k.answers[key] = a
	return a, nil
}
