package sh

import (
	"fmt"
	"net/netip"
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
// sockets, and has a program for each connection that does nothing.
func RenderListen(marker string, endpoints []Endpoint) []byte {
	var b strings.Builder
	open(&b, marker)
	fmt.Fprintf(&b, reachMeans, "systemd-socket-activate", connectSeconds)
	b.WriteString("trap '' PIPE\npids=\n")
	var tcp []string
	for _, e := range endpoints {
		if e.Proto == "udp" {
			fmt.Fprintf(&b, "systemd-socket-activate -d -l %s sh -c 'exec cat <&3' 2>/dev/null &\npids=\"$pids $!\"\n", e)
			continue
		}
		tcp = append(tcp, "-l "+e.String())
	}
	if len(tcp) > 0 {
		fmt.Fprintf(&b, "systemd-socket-activate -a %s true >/dev/null 2>&1 &\npids=\"$pids $!\"\n", strings.Join(tcp, " "))
	}
	for _, e := range endpoints {
		// Where the kernel lists sockets: a connection from the host itself might meet its firewall.
		state := "0A"
		if e.Proto == "udp" {
			state = "07"
		}
		there := fmt.Sprintf("cat /proc/net/%[1]s /proc/net/%[1]s6 2>/dev/null | grep -q ':%04[2]X 0*:0000 %[3]s '", e.Proto, e.Port(), state)
		fmt.Fprintf(&b, "until %s; do kill -0 $pids 2>/dev/null || { echo \"$M unable nothing can listen on %s/%s\"; kill $pids 2>/dev/null; return; }; sleep 0.1 2>/dev/null || sleep 1; done\n", there, e, e.Proto)
	}
	fmt.Fprintf(&b, "n=0\nwhile [ $n -lt %d ] && echo \"$M listening\" 2>/dev/null; do n=$((n+1)); sleep 1; done\nkill $pids 2>/dev/null\n", listenSeconds)
	closeScript(&b)
	return []byte(b.String())
}

// RenderReach makes the script that connects to all endpoints at once and says how that went.
// Datagrams carry from, a name; whether they arrive is for the listener to say, which has the same
// marker.
func RenderReach(marker, from string, endpoints []Endpoint) []byte {
	var b strings.Builder
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
	return []byte(b.String())
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
