package sh

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Endpoint is a port that hosts connect to.
type Endpoint struct {
	netip.AddrPort
	Proto string // tcp or udp
}

// Seconds that an attempt to connect may take, and that a listener listens at most.
const (
	connectSeconds = 5
	listenSeconds  = 60
)

// reachMeans ends a script on a host that lacks what it needs: bash, which has connections as
// files, and what each script adds to it.
const reachMeans = `for c in bash timeout grep %s; do command -v $c >/dev/null || { echo "$M unable $c is missing"; echo "$M end"; return; }; done
kw_connect() { timeout %d bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1; }
`

// RenderListen makes the script that listens on ports on which nothing listens yet, and passes on
// what comes in by datagram, until it is ended or nobody listens to it any more. systemd opens the
// sockets, and has a program for each connection that does nothing. Unless the run holds the host's
// lock (locked), a host that another run is at work on is left alone.
func RenderListen(marker string, endpoints []Endpoint, locked bool) []byte {
	var b bytes.Buffer
	open(&b, marker)
	fmt.Fprintf(&b, reachMeans, "systemd-socket-activate flock", connectSeconds)
	b.WriteString("trap '' PIPE\npids=\n")
	if !locked {
		fmt.Fprintf(&b, "[ ! -e %[1]s ] || flock -n %[1]s true || { echo \"$M unable another run is at work on the host\"; return; }\n", LockPath)
	}
	for i, e := range endpoints {
		// Where the kernel lists sockets: a connection from the host itself might meet its firewall.
		state, activate := "0A", "-a -l %s true >/dev/null"
		if e.Proto == "udp" {
			state, activate = "07", "-d -l %s sh -c 'exec cat <&3'"
		}
		fmt.Fprintf(&b, "systemd-socket-activate "+activate+" 2>/dev/null &\np%[2]d=$! pids=\"$pids $!\"\n", e, i)
		fmt.Fprintf(&b, "kw_there%[1]d() { cat /proc/net/%[2]s /proc/net/%[2]s6 2>/dev/null | grep -q '%[3]s:%04[4]X 0*:0000 %[5]s '; }\n", i, e.Proto, kernelAddr(e.Addr()), e.Port(), state)
	}
	for i, e := range endpoints {
		fmt.Fprintf(&b, "until kw_there%[1]d && kill -0 $p%[1]d 2>/dev/null; do kill -0 $p%[1]d 2>/dev/null || { echo \"$M unable nothing can listen on %[2]s/%[3]s\"; kill $pids 2>/dev/null; return; }; sleep 0.1 2>/dev/null || sleep 1; done\n", i, e, e.Proto)
	}
	fmt.Fprintf(&b, "n=0\nwhile [ $n -lt %d ] && echo \"$M listening\" 2>/dev/null; do n=$((n+1)); sleep 1; done\nkill $pids 2>/dev/null\n", listenSeconds)
	closeScript(&b)
	return b.Bytes()
}

// kernelAddr is an address as /proc/net/tcp and its like list it: 32-bit words in hex, each in the
// order of a little-endian machine, which all that we support are.
func kernelAddr(addr netip.Addr) string {
	var b strings.Builder
	for word := range slices.Chunk(addr.AsSlice(), 4) {
		slices.Reverse(word)
		fmt.Fprintf(&b, "%X", word)
	}
	return b.String()
}

// RenderReach makes the script that connects to all endpoints at once and says how that went.
// Datagrams carry from, a name; whether they arrive is for the listener to say, which has the same
// marker.
func RenderReach(marker, from string, endpoints []Endpoint) []byte {
	var b bytes.Buffer
	open(&b, marker)
	fmt.Fprintf(&b, reachMeans, "sleep", connectSeconds)
	var datagrams []string
	for _, e := range endpoints {
		if e.Proto == "udp" {
			datagrams = append(datagrams, e.Addr().String(), fmt.Sprint(e.Port()))
			continue
		}
		fmt.Fprintf(&b, "{ e=$(kw_connect %s %d); r=$?; case $r in 0) echo \"$M open %[3]s\" ;; 124) echo \"$M closed %[3]s timed out\" ;; *) echo \"$M closed %[3]s ${e##*: }\" ;; esac; } &\n", e.Addr(), e.Port(), e)
	}
	if len(datagrams) > 0 { // three each, for one may be lost; in one process, for there may be many
		fmt.Fprintf(&b, "bash -c 'm=$0 f=$1; shift; for i in 1 2 3; do for a; do [ -z \"$h\" ] || { echo \"$m heard $a $f\" >\"/dev/udp/$h/$a\"; a=; }; h=$a; done; sleep 0.2; done' \"$M\" %s %s 2>/dev/null &\n", Quote(from), strings.Join(datagrams, " "))
	}
	b.WriteString("wait\n")
	closeScript(&b)
	return b.Bytes()
}

// Reached is what a script of RenderListen or RenderReach has said so far.
type Reached struct {
	Listening, Ended bool
	// Unable is why the host can neither listen nor connect; "" where it can.
	Unable string
	// Open and Closed are the ports that were connected to and could not be, with the reason.
	Open   map[netip.AddrPort]bool
	Closed map[netip.AddrPort]string
	// Heard are the names in the datagrams that arrived, by port.
	Heard map[string]map[string]bool
}

// ParseReached reads the output of RenderListen and RenderReach. Lines that cannot be read are
// passed over: what was not said is unknown.
func ParseReached(marker string, out []byte) Reached {
	r := Reached{Open: map[netip.AddrPort]bool{}, Closed: map[netip.AddrPort]string{}, Heard: map[string]map[string]bool{}}
	for line := range strings.Lines(string(out)) {
		said, ok := strings.CutPrefix(line, marker+" ")
		if !ok || !strings.HasSuffix(line, "\n") {
			continue
		}
		verb, arg, _ := strings.Cut(strings.TrimSuffix(said, "\n"), " ")
		what, rest, _ := strings.Cut(arg, " ")
		at, err := netip.ParseAddrPort(what)
		switch {
		case verb == "listening":
			r.Listening = true
		case verb == "end":
			r.Ended = true
		case verb == "unable":
			r.Unable = arg
		case verb == "open" && err == nil:
			r.Open[at] = true
		case verb == "closed" && err == nil:
			r.Closed[at] = strings.ToLower(rest)
		case verb == "heard" && rest != "":
			if r.Heard[what] == nil {
				r.Heard[what] = map[string]bool{}
			}
			r.Heard[what][rest] = true
		}
	}
	return r
}
