package sh

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Probe is one question about a host. The set is closed; every probe only reads.
type Probe interface{ probe() }

type (
	// FileProbe asks for type, mode, owner and digest of what is at Path; links are not
	// followed unless Follow is set.
	FileProbe struct {
		Path string
		// Content asks for the bytes too, as for a certificate that must be assessed.
		Content bool
		// Want is the SHA-256 (hex) that is expected. When it differs and the file is
		// not Secret, the answer carries the bytes, so that a plan can show the lines.
		Want string
		// Secret files are never returned unless Content is set.
		Secret bool
		// Stamped trusts the digest recorded by Install while inode, size and change
		// time are the same: hashing 300 MB of binaries on each look is slow.
		Stamped bool
		// Follow asks about the file that a link points at.
		Follow bool
	}
	// UnitProbe asks systemd for the state of a unit, and our record for the digest of
	// the inputs it was last started with.
	UnitProbe struct{ Name string }
	// SysctlProbe asks for the live value of a kernel parameter, such as net.ipv4.ip_forward.
	SysctlProbe struct{ Key string }
	// ModuleProbe asks whether a kernel module is loaded or built in.
	ModuleProbe struct{ Name string }
	// SwapProbe asks for the active swap areas.
	SwapProbe struct{}
	// ReachProbe asks whether the host can fetch a URL: headers only, nothing is stored.
	ReachProbe struct{ URL string }
	// FactsProbe runs the read-only facts script and returns its output whole.
	FactsProbe struct{ Script string }
)

func (FileProbe) probe()   {}
func (UnitProbe) probe()   {}
func (SysctlProbe) probe() {}
func (ModuleProbe) probe() {}
func (SwapProbe) probe()   {}
func (ReachProbe) probe()  {}
func (FactsProbe) probe()  {}

// Look is a set of probes, merged by kind so that each kind costs a constant number of
// processes on the host, and the part of a script that asks them. It does not change once it is made, so hosts
// that are asked the same share it.
type Look struct {
	files   map[string]FileProbe
	units   map[string]bool
	sysctls map[string]bool
	modules map[string]bool
	urls    map[string]bool
	swap    bool
	facts   string
	script  string
}

// NewLook merges probes.
func NewLook(probes []Probe) *Look {
	l := &Look{
		files: make(map[string]FileProbe, len(probes)), units: map[string]bool{},
		sysctls: map[string]bool{}, modules: map[string]bool{}, urls: map[string]bool{},
	}
	for _, p := range probes {
		switch p := p.(type) {
		case FileProbe:
			l.addFile(p)
		case UnitProbe:
			l.units[p.Name] = true
		case SysctlProbe:
			l.sysctls[p.Key] = true
		case ModuleProbe:
			l.modules[p.Name] = true
		case SwapProbe:
			l.swap = true
		case ReachProbe:
			l.urls[p.URL] = true
		case FactsProbe:
			l.facts = p.Script
		}
	}
	l.script = l.render()
	return l
}

// addFile merges two questions about one path: the wider one is asked.
func (l *Look) addFile(p FileProbe) {
	if old, ok := l.files[p.Path]; ok {
		p.Content = p.Content || old.Content
		p.Secret = p.Secret || old.Secret
		p.Stamped = p.Stamped && old.Stamped
		p.Follow = p.Follow || old.Follow
		if p.Want == "" {
			p.Want = old.Want
		}
	}
	l.files[p.Path] = p
}

// Covers tells whether the look asks all that probes ask: the engine looks
// a second time only when facts brought up a question that was not asked.
func (l *Look) Covers(probes []Probe) bool {
	for _, p := range probes {
		covered := true
		switch p := p.(type) {
		case FileProbe:
			asked, ok := l.files[p.Path]
			covered = ok && (asked.Content || !p.Content) && (asked.Follow || !p.Follow)
		case UnitProbe:
			covered = l.units[p.Name]
		case SysctlProbe:
			covered = l.sysctls[p.Key]
		case ModuleProbe:
			covered = l.modules[p.Name]
		case SwapProbe:
			covered = l.swap
		case ReachProbe:
			covered = l.urls[p.URL]
		}
		if !covered {
			return false
		}
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// RenderProbes makes the script that asks all probes, and always for the manifest.
// The marker must be random per run and made of letters and digits.
func RenderProbes(marker string, l *Look) []byte {
	var b bytes.Buffer
	b.Grow(len(l.script) + frame)
	open(&b, marker)
	b.WriteString(l.script)
	closeScript(&b)
	return b.Bytes()
}

// frame is more than what opens and closes a script takes.
const frame = 256

// RenderSettledProbes is RenderProbes for a host on which an act was cut short: it waits until that
// has come to its end, since what it finds half done would be taken for the outcome.
func RenderSettledProbes(marker string, l *Look) []byte {
	var b bytes.Buffer
	open(&b, marker)
	b.WriteString(runDir)
	b.WriteString(oneAct)
	b.WriteString(l.script)
	closeScript(&b)
	return b.Bytes()
}

// open starts the one compound command that a whole script is.
func open(b *bytes.Buffer, marker string) {
	fmt.Fprintf(b, "kw_main() {\numask 077\nM=%s\nSTOP=\n", Quote(marker))
}

// closeScript ends the compound command and calls it: the last bytes of the stream.
// Standard input of everything inside is /dev/null, since ours is the script itself.
func closeScript(b *bytes.Buffer) {
	b.WriteString("printf '%s end\\n' \"$M\"\n}\nkw_main </dev/null\n")
}

// render writes the questions. A file that is shown line by line may lack the end of its
// last one, which must not run into the next answer: hence the empty lines.
func (l *Look) render() string {
	var b strings.Builder
	if l.facts != "" {
		fmt.Fprintf(&b, "kw_facts() {\n%s\n}\nkw_facts | sed \"s/^/$M fact /\"\n", l.facts)
	}
	fmt.Fprintf(&b, "if [ -s %[1]s ]; then sed \"s/^/$M manifest /\" %[1]s || return 9; echo; else echo \"$M nomanifest\"; fi\n", ManifestPath)
	fmt.Fprintf(&b, "[ ! -d %s ] || echo \"$M cached\"\n", CacheDir)
	l.renderFiles(&b)
	l.renderUnits(&b)
	l.renderSysctls(&b)
	for _, name := range sortedKeys(l.modules) {
		fmt.Fprintf(&b, "if %[1]s; then echo \"$M module\" %[2]s yes; else echo \"$M module\" %[2]s no; fi\n", moduleTest(name), Quote(name))
	}
	l.renderReach(&b)
	if l.swap {
		b.WriteString("echo \"$M swaps\"; while read -r dev rest; do case $dev in Filename) ;; *) echo \"$M swap $dev\" ;; esac; done < /proc/swaps\n")
	}
	return b.String()
}

// renderReach asks for all URLs at once: where packets are dropped, each takes its full time.
func (l *Look) renderReach(b *strings.Builder) {
	if len(l.urls) == 0 {
		return
	}
	b.WriteString("kw_reach() { if command -v curl >/dev/null; then curl -gfsIL --connect-timeout 5 --max-time 20 -o /dev/null \"$1\"; else wget -q -T 10 -t 1 --spider \"$1\"; fi; }\n")
	for _, url := range sortedKeys(l.urls) {
		fmt.Fprintf(b, "{ if kw_reach %[1]s; then echo \"$M reach yes\" %[1]s; else echo \"$M reach no\" %[1]s; fi; } 2>/dev/null &\n", Quote(url))
	}
	b.WriteString("wait\n")
}

// renderSysctls asks for all kernel parameters with one grep(1). The shell's own read is
// no good here: dash reads byte by byte, and /proc/sys answers the first byte only.
func (l *Look) renderSysctls(b *strings.Builder) {
	if len(l.sysctls) == 0 {
		return
	}
	var paths []string
	for _, key := range sortedKeys(l.sysctls) {
		paths = append(paths, sysctlPath(key))
	}
	fmt.Fprintf(b, "set --\nfor p in %s; do if [ -e \"$p\" ]; then set -- \"$@\" \"$p\"; else echo \"$M nosysctl $p\"; fi; done\n", quoteAll(paths))
	b.WriteString("[ $# -eq 0 ] || grep -H '' \"$@\" | sed \"s/^/$M sysctl /\"\n")
}

// sysctlKey is the inverse of sysctlPath.
func sysctlKey(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
}

// sysctlPath maps net.ipv4.ip_forward to /proc/sys/net/ipv4/ip_forward; reading the
// files costs one process where sysctl(8) is not on every host's path.
func sysctlPath(key string) string { return "/proc/sys/" + strings.ReplaceAll(key, ".", "/") }

// moduleTest is true when a module is loaded or compiled in: /sys/module has most of
// both, and the facility itself tells for those that leave no entry there.
func moduleTest(name string) string {
	test := "[ -d " + Quote("/sys/module/"+strings.ReplaceAll(name, "-", "_")) + " ]"
	switch name {
	case "br_netfilter":
		test += " || [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]"
	case "overlay":
		test += " || grep -qw overlay /proc/filesystems"
	}
	return test
}

// renderFiles asks about all files with one stat(1), one sha256sum(1) and a base64(1)
// per file whose bytes are wanted. What is absent is said to be, so that silence is
// never mistaken for absence. Some shells' echo reads backslashes, printf does not.
func (l *Look) renderFiles(b *strings.Builder) {
	if len(l.files) == 0 {
		return
	}
	paths := sortedKeys(l.files)
	fmt.Fprintf(b, "set --\nfor p in %s; do if [ -e \"$p\" ] || [ -L \"$p\" ]; then set -- \"$@\" \"$p\"; else printf '%%s absent %%s\\n' \"$M\" \"$p\"; fi; done\n", quoteAll(paths))
	b.WriteString("[ $# -eq 0 ] || stat -c \"$M stat %f %u %g %s %i %Z %n\" \"$@\" || return 9\n")
	b.WriteString("for p in \"$@\"; do if [ -L \"$p\" ]; then printf '%s link %s %s\\n' \"$M\" \"$p\" \"$(readlink \"$p\")\"; fi; done\n")

	var stamped, follow, content, wanted, secret []string
	for _, p := range paths {
		f := l.files[p]
		if f.Stamped {
			stamped = append(stamped, p)
		}
		if f.Follow {
			follow = append(follow, p)
		}
		if f.Content {
			content = append(content, p)
		}
		if f.Want != "" {
			wanted = append(wanted, f.Want+" "+p)
		}
		if f.Secret {
			secret = append(secret, p)
		}
	}
	if len(follow) > 0 {
		fmt.Fprintf(b, "for p in %s; do if [ -e \"$p\" ]; then stat -L -c \"$M target %%f %%u %%g %%s %%i %%Z %%n\" \"$p\" || return 9; fi; done\n", quoteAll(follow))
	}
	b.WriteString("STAMPED=\n")
	if len(stamped) > 0 {
		fmt.Fprintf(b, "ST=; if [ -e %[1]s ]; then ST=$(cat %[1]s); sed \"s/^/$M stamp /\" %[1]s; echo; fi\n", StampsPath)
		fmt.Fprintf(b, "STAMPED=$(stat -c '%%i %%s %%Z %%n' %s 2>/dev/null | while read -r s; do case $ST in *\"$s \"*) echo \":${s#* * * }:\" ;; esac; done)\n", quoteAll(stamped))
	}
	fmt.Fprintf(b, "WANT=%s\nCONTENT=%s\nSECRET=%s\n",
		Quote(delimited(wanted)), Quote(delimited(content)), Quote(delimited(secret)))
	b.WriteString(`n=$#
while [ $n -gt 0 ]; do p=$1; shift; n=$((n-1)); case $STAMPED in *":$p:"*) ;; *) [ ! -f "$p" ] || set -- "$@" "$p" ;; esac; done
[ $# -eq 0 ] || sha256sum "$@" | while read -r s p; do
p=${p#\*}
printf '%s sum %s %s\n' "$M" "$s" "$p"
give=
case $CONTENT in *"|$p|"*) give=1 ;; *) case $SECRET in *"|$p|"*) ;; *) case $WANT in *" $p|"*) case $WANT in *"|$s $p|"*) ;; *) [ "$(wc -c < "$p")" -gt 65536 ] || give=1 ;; esac ;; esac ;; esac ;; esac
[ -z "$give" ] || { printf '%s body %s ' "$M" "$p"; base64 < "$p" | tr -d '\n'; echo; }
done
`)
}

// delimited joins words as |a|b|, which a case pattern can search without a process.
func delimited(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "|" + strings.Join(words, "|") + "|"
}

// renderUnits asks for all units with one systemctl call.
func (l *Look) renderUnits(b *strings.Builder) {
	if len(l.units) == 0 {
		return
	}
	units := sortedKeys(l.units)
	// Where no systemd runs, there are no units: preflight has something to judge, and to say.
	fmt.Fprintf(b, "{ systemctl show -p Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload %[1]s || { [ ! -d /run/systemd/system ] && printf 'Id=%%s\\nLoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n\\n' %[1]s; }; } | sed \"s/^/$M unit /\" || return 9\n", quoteAll(units))
	for _, u := range units {
		fmt.Fprintf(b, "if [ -e %[1]s ]; then d=; read -r d < %[1]s; echo \"$M started\" %[2]s \"$d\"; fi\n", Quote(startedPath(u)), Quote(u))
	}
}

// startedPath holds the digest of the inputs a unit was last started with.
func startedPath(unit string) string { return UnitsDir + "/" + unit }
