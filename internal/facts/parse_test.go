package facts

import (
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// fixtures returns recorded reports by name.
func fixtures(t testing.TB) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 4 {
		t.Fatalf("fixtures: %v %v", paths, err)
	}
	reports := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		reports[strings.TrimSuffix(filepath.Base(path), ".txt")] = string(data)
	}
	return reports
}

func TestParseGolden(t *testing.T) {
	for name, report := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(report))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden.json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestParseTruncated cuts every fixture at every byte. Only the newline after the
// terminator may be missing: a command substitution takes it away.
func TestParseTruncated(t *testing.T) {
	for name, report := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			whole := strings.TrimSuffix(report, "\n")
			if _, err := Parse([]byte(whole)); err != nil {
				t.Fatalf("without the last newline: %v", err)
			}
			for cut := range len(whole) {
				if _, err := Parse([]byte(whole[:cut])); !errors.Is(err, ErrTruncated) {
					t.Fatalf("cut at byte %d: %v", cut, err)
				}
			}
		})
	}
}

// TestParseLostLine drops every single line: the count at the end catches it.
func TestParseLostLine(t *testing.T) {
	report := fixtures(t)["ubuntu2404-resolved"]
	lines := strings.SplitAfter(report, "\n")
	for i := range lines[:len(lines)-1] {
		rest := strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")
		if _, err := Parse([]byte(rest)); err == nil {
			t.Errorf("without line %d (%q) it parses", i+1, lines[i])
		}
	}
}

// edit applies changes to the lines of a report and corrects the count.
func edit(report string, change func(lines []string) []string) string {
	lines := strings.Split(strings.TrimSuffix(report, "\n"), "\n")
	lines = change(lines[:len(lines)-1])
	return strings.Join(lines, "\n") + "\nend " + itoa(len(lines)) + " ok\n"
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// TestParseBadRecord puts one bad record into a good report.
func TestParseBadRecord(t *testing.T) {
	tests := []struct {
		name, replace, record, want string // replace: the prefix of the line to take out
	}{
		{"an unknown key", "", "colour blue", `unknown key "colour"`},
		{"a key without value", "", "swap", "is no record"},
		{"an empty value", "swap ", "swap ", "is no record"},
		{"an empty line", "", "", "is no record"},
		{"another format", "facts 1", "facts 2", `begins with "facts 2"`},
		{"the header twice", "", "facts 1", `unknown key "facts"`},
		{"a required key twice", "", "uid 0", `"uid" occurs twice`},
		{"an optional key twice", "", "virt kvm", `"virt" occurs twice`},
		{"a path twice", "", "path /opt /opt", `"path /opt" occurs twice`},
		{"a command twice", "", "command ip yes", `"command ip" occurs twice`},
		{"unknown twice", "", "unknown loadable x\nunknown loadable y", "occurs twice"},
		{"both known and unknown", "", "unknown virt x", "both known and unknown"},
		{"a required key that is unknown", "uid ", "unknown uid not known", `cannot tell "uid": not known`},
		{"no awk", "", "unknown awk awk is missing", `cannot tell "awk": awk is missing`},
		{"a marker that cannot be read", "", "unknown marker unreadable", `cannot tell "marker"`},
		{"a missing required key", "uid ", "", "lacks uid"},
		{"a missing optional key", "virt ", "", "lacks virt"},
		{"no commands", "command ", "", "no command was looked for"},
		{"no paths", "path ", "", "no folder was looked at"},
		{"a time that is none", "time ", "time now", "is no time"},
		{"a time in words", "time ", "time -5 000000000", "is no time"},
		{"a uid that is none", "uid ", "uid root", "uid: "},
		{"a negative uid", "uid ", "uid -1", "uid: "},
		{"capabilities", "capeff ", "capeff xyz", "capeff: "},
		{"memory", "memory-kb ", "memory-kb much", "memory-kb: "},
		{"too much memory", "memory-kb ", "memory-kb 9007199254740993", "not plausible"},
		{"cgroup", "cgroup ", "cgroup two", "cgroup: "},
		{"systemd", "systemd ", "systemd v255", "systemd: "},
		{"processors", "cpus-allowed ", "cpus-allowed 3-1", "cpus-allowed: "},
		{"too many processors", "cpus-allowed ", "cpus-allowed 0-65535", "cpus-allowed: "},
		{"processors online", "cpus-online ", "cpus-online all", "cpus-online: "},
		{"no processor in common", "cpus-allowed ", "cpus-allowed 7", "both allowed"},
		{"os", "os ID=", "os HOME=/", "was not asked for"},
		{"a command", "command ip ", "command ip maybe", "neither yes nor no"},
		{"a module", "", "module overlay perhaps", "no known state"},
		{"a path without file system", "statfs /tmp ", "", "nothing is known"},
		{"statfs with a word less", "statfs /tmp ", "statfs /tmp 1 2 3 4", "six words"},
		{"statfs in words", "statfs /tmp ", "statfs /tmp 1 2 3 4 five", "no number"},
		{"a mount", "mnt / ", "mnt / ext4", "is no mount"},
		{"no mount", "mnt / ", "", "no mount holds"},
		{"a link", "link lo ", "link lo big", "no MTU"},
		{"an address", "addr lo 127", "addr lo 127.0.0.1/99", "is no address"},
		{"a local address", "", "local4 ::1", "is no address"},
		{"a local IPv6 address", "", "local6 00 40 lo", "is no IPv6 prefix"},
		{"half a local IPv6 address", "", "local6 00", "is no address"},
		{"a route", "", "route4 eth0 00000000", "is no route"},
		{"a route's address", "", "route4 eth0 0000000G 00000000 1", "in hex"},
		{"a route's mask", "", "route4 eth0 00000000 00 1", "is no route"},
		{"a route's mask with holes", "", "route4 eth0 00000000 00FF00FF 1", "with holes"},
		{"a route's flags", "", "route4 eth0 00000000 00000000 up", "has no flags"},
		{"an IPv6 route", "", "route6 eth0 fe80", "is no route"},
		{"an IPv6 route's prefix", "", "route6 eth0 00000000000000000000000000000000 81 1", "is no IPv6 prefix"},
		{"an IPv6 route's flags", "", "route6 eth0 00000000000000000000000000000000 80 up", "has no flags"},
		{"a socket", "", "socket tcp 00000000", "is no socket"},
		{"a socket's port", "", "socket tcp 00000000:FFFFF", "is no socket"},
		{"a socket's protocol", "", "socket sctp 00000000:0016", "is no socket"},
		{"a process", "", "process x y", "names no port"},
		{"a process without name", "", "process 22", "names no port"},
		{"a record after the end", "", "end 3 ok", `unknown key "end"`},
	}
	good := fixtures(t)["ubuntu2404-resolved"]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := edit(good, func(lines []string) []string {
				var kept []string
				removed := tt.replace == ""
				for _, line := range lines {
					if tt.replace != "" && strings.HasPrefix(line, tt.replace) {
						if !removed && tt.record != "" {
							kept = append(kept, tt.record)
						}
						removed = true
						continue
					}
					kept = append(kept, line)
				}
				if !removed {
					t.Fatalf("no line begins with %q", tt.replace)
				}
				if tt.replace == "" {
					kept = append(kept, strings.Split(tt.record, "\n")...)
				}
				return kept
			})
			_, err := Parse([]byte(bad))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// TestParseTrailing: nothing may follow the end.
func TestParseTrailing(t *testing.T) {
	good := fixtures(t)["restricted"]
	for _, tail := range []string{"\n", "x", "swap /dev/sda\n", "\x00"} {
		if _, err := Parse([]byte(good + tail)); err == nil {
			t.Errorf("%q after the end is accepted", tail)
		}
	}
}

// TestParseCleans: what a host says ends up on the operator's terminal.
func TestParseCleans(t *testing.T) {
	report := edit(fixtures(t)["restricted"], func(lines []string) []string {
		return append(lines, "cni a\x1b]0;owned\x07.conf", "manifest \xff\xfe.yaml")
	})
	f, err := Parse([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Foreign.CNIConfigs[0] + " " + f.Foreign.Manifests[0]; got != "a?]0;owned?.conf ??.yaml" {
		t.Errorf("got %q", got)
	}
}

func TestParseForeignCA(t *testing.T) {
	good := fixtures(t)["restricted"]
	tests := []struct {
		name, want string
		records    []string
	}{
		{"none", "", nil},
		{"a cut kubelet.conf", Unreadable, []string{"kubelet-ca LS0tLS1CRUd"}},
		{"no certificate in it", Unreadable, []string{"kubelet-ca bm9uZQ=="}},
		{"another file", "", []string{"kubelet-ca-file /somewhere/ca.crt", "ca AAAA"}},
		{"our file", fingerprint([]byte{0, 0, 0}), []string{"kubelet-ca-file '/etc/kubernetes/pki/ca.crt'", "ca AAAA"}},
		{"our file, cut", Unreadable, []string{"kubelet-ca-file /etc/kubernetes/pki/ca.crt", "ca AAA"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse([]byte(edit(good, func(lines []string) []string { return append(lines, tt.records...) })))
			if err != nil {
				t.Fatal(err)
			}
			if f.Foreign.KubeletCA != tt.want {
				t.Errorf("fingerprint %q, want %q", f.Foreign.KubeletCA, tt.want)
			}
		})
	}
}

func TestResolvConf(t *testing.T) {
	const (
		etc, resolved = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
		nm            = "/run/NetworkManager/no-stub-resolv.conf"
	)
	tests := []struct {
		name, want string
		servers    []string
		records    []string
	}{
		{"a real server", etc, []string{"10.0.0.1"}, []string{"nameserver " + etc + " 10.0.0.1", "resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2"}},
		{"a stub and a real list", resolved, []string{"10.0.0.2"}, []string{"nameserver " + etc + " 127.0.0.53", "resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2"}},
		{"a stub and NetworkManager", nm, []string{"fd00::1"}, []string{"nameserver " + etc + " ::1", "resolv-file " + resolved, "resolv-file " + nm, "nameserver " + nm + " fd00::1"}},
		{"a stub beside a real server", etc, []string{"127.0.0.1", "10.0.0.1"}, []string{"nameserver " + etc + " 127.0.0.1", "nameserver " + etc + " 10.0.0.1", "resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2", "nameserver " + resolved + " ::ffff:127.0.0.1"}},
		{"an empty file", resolved, []string{"10.0.0.2"}, []string{"resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2"}},
		{"no address", resolved, []string{"10.0.0.2"}, []string{"nameserver " + etc + " dns.example.com", "resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2"}},
		{"a stub beside a real server, and a real list", resolved, []string{"10.0.0.2"}, []string{"nameserver " + etc + " 127.0.0.1", "nameserver " + etc + " 10.0.0.1", "resolv-file " + resolved, "nameserver " + resolved + " 10.0.0.2"}},
		{"only a stub", etc, []string{"127.0.0.1"}, []string{"nameserver " + etc + " 127.0.0.1"}},
		{"stubs everywhere", etc, []string{"127.0.0.1"}, []string{"nameserver " + etc + " 127.0.0.1", "resolv-file " + resolved, "nameserver " + resolved + " 127.0.0.2"}},
		{"nothing", etc, nil, nil},
	}
	good := edit(fixtures(t)["restricted"], func(lines []string) []string {
		var kept []string
		for _, line := range lines {
			if !strings.HasPrefix(line, "nameserver ") {
				kept = append(kept, line)
			}
		}
		return kept
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse([]byte(edit(good, func(lines []string) []string { return append(lines, tt.records...) })))
			if err != nil {
				t.Fatal(err)
			}
			if f.ResolvConf != tt.want || !cmp.Equal(f.Nameservers, tt.servers) {
				t.Errorf("%s %v, want %s %v", f.ResolvConf, f.Nameservers, tt.want, tt.servers)
			}
		})
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{
		`debian`: `debian`, `"9.4"`: `9.4`, `'a b'`: `a b`, `"a \"b\" \$c \\ d"`: `a "b" $c \ d`,
		`"`: `"`, ``: ``, `"a'`: `"a'`,
	} {
		if got := unquote(in); got != want {
			t.Errorf("unquote(%s) = %s, want %s", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, report := range fixtures(f) {
		f.Add([]byte(report))
	}
	f.Add([]byte("facts 1\nend 1 ok\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if err != nil {
			return
		}
		if got.CPUs < 1 || got.MemoryBytes < 0 || got.Time.IsZero() || got.ResolvConf == "" {
			t.Errorf("accepted an impossible host: %+v", got)
		}
		for _, m := range got.Mounts {
			if m.FreeBytes < 0 || m.SizeBytes < 0 || m.MountPoint == "" {
				t.Errorf("impossible mount %+v", m)
			}
		}
		for _, r := range got.Routes {
			if !r.Dst.IsValid() {
				t.Errorf("invalid route %+v", r)
			}
		}
		whole := strings.TrimSuffix(string(data), "\n")
		if _, err := Parse([]byte(whole[:len(whole)-1])); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut by a byte it is still accepted: %v", err)
		}
	})
}
