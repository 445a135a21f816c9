//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// hostFault is something that is wrong with a host before there is a cluster.
type hostFault struct {
	name, host    string
	arrange, undo string   // scripts that run on the host
	edits         []string // of the operator's files, see copied
	found         fault    // what a line of apply's message, and of doctor's, has to say
	remedy        string
}

// What is wrong with hosts is found before anything is changed on any of them: the message names
// the host, what is wrong, and what to do about it. doctor finds the same.
func TestPreflight(t *testing.T) {
	l := faults.bareAgain(t)
	bare := l.snapshots(t)
	for _, f := range l.hostFaults(t) {
		t.Run(f.name, func(t *testing.T) {
			mend := l.undone(t, f.host, f.undo)
			l.on(t, f.host, f.arrange)
			operator := l.copied(t, f.edits...)
			// In this order: where doctor finds nothing, apply would begin a cluster.
			for _, command := range [][]string{{"doctor"}, {"apply", "--yes"}} {
				wantRefused(t, operator.tool(t, command[0], command[1:]...), f.found, f.remedy)
			}
			mend()
			bare = l.wantUnchanged(t, bare)
		})
	}
}

// wantRefused checks that preflight refuses the hosts, for a reason that is on one line, and says
// what to do.
func wantRefused(t testing.TB, r result, found fault, remedy string) {
	t.Helper()
	r.want(t, exitPreflight).says(t, remedy)
	if !said(r.stdout+r.stderr, found) {
		t.Errorf("no line of the message has all of %q\n%s", []string(found), r)
	}
}

// hostFaults are the faults that are tried, one after another.
func (l *lab) hostFaults(t testing.TB) []hostFault {
	t.Helper()
	addresses := map[string]string{}
	for _, n := range l.nodes(t) {
		addresses[n.Name] = n.Address
	}
	worker1 := "address: " + addresses["worker1"] + "\n"
	absent := strings.TrimSuffix(addresses["worker1"], "11") + "99"
	podCIDR := l.podCIDR(t)
	const unused = `find /var/lib -mindepth 1 | grep . && exit 1; umount /var/lib` // what is in it is lost with it
	return []hostFault{
		{
			name: "Disk", host: "worker1",
			arrange: "mount -t tmpfs -o size=60m,mode=0755 tmpfs /var/lib", undo: unused,
			found: fault{"worker1", "/var/lib has 60 MiB free"}, remedy: "free some space on it or enlarge it",
		}, {
			name: "Inodes", host: "worker1",
			arrange: "mount -t tmpfs -o size=20g,nr_inodes=300,mode=0755 tmpfs /var/lib", undo: unused,
			found: fault{"worker1", "/var/lib has 2", "inodes free"}, remedy: "with more inodes",
		}, {
			// The nodes share the machine's clock. This folder comes first in the PATH of every script.
			name: "Clock", host: "worker1",
			arrange: `
				cat >/usr/local/sbin/date <<'END'
#!/bin/sh
[ "$1" = '+%s %N' ] || exec /usr/bin/date "$@"
/usr/bin/date "$1" | { read -r seconds nanoseconds; echo "$((seconds + 600)) $nanoseconds"; }
END
				chmod 0755 /usr/local/sbin/date`,
			undo:  "rm /usr/local/sbin/date",
			found: fault{"worker1", "the clock is", "ahead of that of the machine you work on"}, remedy: "NTP",
		}, {
			name: "MachineID", host: "worker2",
			arrange: "cp -p /etc/machine-id /root/; echo " + l.on(t, "worker1", "cat /etc/machine-id") + " >/etc/machine-id",
			undo:    "cat /root/machine-id >/etc/machine-id; rm /root/machine-id",
			found:   fault{"worker2", "the machine id", "is also that of worker1"}, remedy: "systemd-machine-id-setup",
		}, {
			name: "Port", host: "cp1",
			arrange: `
				systemd-run --quiet --collect --unit=squatter socat TCP-LISTEN:6443,fork,reuseaddr PIPE
				until ss -Hltn 'sport = :6443' | grep -q .; do sleep 0.1; done`,
			undo:  "systemctl stop squatter",
			found: fault{"cp1", "6443/tcp is taken by socat", "kube-apiserver"}, remedy: "stop socat",
		}, {
			name: "ReachKubelet", host: "worker1",
			arrange: "iptables -I INPUT -p tcp -s " + addresses["cp1"] + " --dport 10250 -j DROP",
			undo:    "iptables -D INPUT -p tcp -s " + addresses["cp1"] + " --dport 10250 -j DROP",
			found:   fault{"cp1", "cannot reach worker1", "10250/tcp"}, remedy: "open the ports in the firewalls",
		}, {
			name: "ReachVXLAN", host: "worker2",
			arrange: "iptables -I INPUT -p udp -s " + addresses["worker1"] + " --dport 4789 -j DROP",
			undo:    "iptables -D INPUT -p udp -s " + addresses["worker1"] + " --dport 4789 -j DROP",
			found:   fault{"worker1", "cannot reach worker2", "4789/udp"}, remedy: "open the ports in the firewalls",
		}, {
			name: "NodeIP", host: "worker1", edits: []string{worker1, worker1 + "    nodeIP: " + absent + "\n"},
			found: fault{"worker1", "the node IP " + absent + " is on no interface"}, remedy: "set nodeIP to one of its addresses: " + addresses["worker1"],
		}, {
			name: "Route", host: "worker2",
			arrange: "ip route add blackhole " + podCIDR, undo: "ip route del blackhole " + podCIDR,
			found: fault{"worker2", "overlaps with the route to " + podCIDR}, remedy: "choose another pod CIDR in spec.network",
		},
	}
}

// podCIDR is what the lab's cluster.yaml gives to pods.
func (l *lab) podCIDR(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(l.file())
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`podCIDR: (\S+)`).FindSubmatch(data)
	if m == nil {
		t.Fatalf("no pod CIDR in %s", data)
	}
	return string(m[1])
}

// A host that shows another key than the one that is known may be somebody else: it is told
// nothing, and asked for nothing.
func TestHostKeyChanged(t *testing.T) {
	l := faults.bareAgain(t)
	const host = "worker1"
	public := func(l *lab) string {
		fields := strings.Fields(l.on(t, host, "cat /etc/ssh/ssh_host_ed25519_key.pub"))
		return fields[0] + " " + fields[1]
	}
	fingerprint := func(name string) string {
		return strings.Fields(l.on(t, host, "ssh-keygen -lf "+name))[1]
	}
	const keys = "/etc/ssh/ssh_host_ed25519_key"
	l.on(t, host, "mkdir -p /root/keys; cp -p "+keys+"* /root/keys; rm -f /root/keys/new*; ssh-keygen -qt ed25519 -N '' -f /root/keys/new")
	old, now := fingerprint(keys+".pub"), fingerprint("/root/keys/new.pub")
	fresh := strings.Join(strings.Fields(l.on(t, host, "cat /root/keys/new.pub"))[:2], " ")

	// Only who knows the new key can put the old one back.
	informed := l.copied(t, public(l), fresh)
	change := func(key string) string {
		return fmt.Sprintf("cat /root/keys/%[1]s >%[2]s; cat /root/keys/%[1]s.pub >%[2]s.pub; systemctl restart ssh", key, keys)
	}
	restore := informed.undone(t, host, change(filepath.Base(keys)))
	l.on(t, host, change("new"))

	before := informed.snapshots(t)
	for _, command := range [][]string{{"plan"}, {"apply", "--yes"}} {
		r := l.tool(t, command[0], command[1:]...).want(t, exitUnreachable)
		if !said(r.stderr, fault{host, "HOST KEY CHANGED", old, now}) {
			t.Errorf("no line has the host, both fingerprints (%s, %s) and what happened\n%s", old, now, r)
		}
	}
	informed.wantUnchanged(t, before)

	restore()
	l.on(t, host, "rm -r /root/keys")
	l.tool(t, "plan").want(t, exitDone)
}
