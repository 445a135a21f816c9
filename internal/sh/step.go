package sh

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Step is one operation that changes a host. The set is closed: what a host can be
// made to do is what is listed here. Every step may be repeated without harm, since a
// run can be cut after any of them.
type Step interface{ step() }

type (
	// WriteFile replaces the file at Path: beside it, synced, with its mode and owner,
	// then renamed, so that a reader or a full disk never meets half of it.
	WriteFile struct {
		Path    string
		Mode    fs.FileMode
		Owner   string // user:group
		Content []byte
	}
	// MakeDir makes a folder, its missing parents included (those root:root 0755).
	MakeDir struct {
		Path  string
		Mode  fs.FileMode
		Owner string
	}
	// Symlink makes Path a link to Target, replacing what was there.
	Symlink struct{ Path, Target string }
	// SetAttributes sets mode and owner of what is at Path.
	SetAttributes struct {
		Path  string
		Mode  fs.FileMode
		Owner string
	}
	// Remove deletes a file or link.
	Remove struct{ Path string }
	// ListForeign notes what is in a folder before we use it, once.
	ListForeign struct{ Path string }
	// RemoveDir deletes a folder: with Tree whatever is in it but what ListForeign has noted,
	// else only when it is empty.
	RemoveDir struct {
		Path string
		Tree bool
	}
	// SetAside renames what is at Path to Path.removed, in place of what was set aside before.
	SetAside struct{ Path string }
	// KeepOriginal saves a file or link that is not ours before we replace it, once.
	KeepOriginal struct{ Path string }
	// RestoreOriginal puts a saved file or link back, or removes Path when there was none.
	RestoreOriginal struct{ Path string }
	// Fetch has the host download URL into its cache, verified by digest before it gets its name.
	Fetch struct{ URL, SHA256 string }
	// TakeUpload moves an uploaded file into the cache, verified by digest.
	TakeUpload struct{ Path, SHA256 string }
	// Unpack extracts a cached .tar.gz beside itself, once for all its members.
	Unpack struct{ SHA256 string }
	// Install puts a cached file (or, with Member, one member of an unpacked archive) at
	// Path and stamps it, so that later looks need not hash it again.
	Install struct {
		Path    string
		Mode    fs.FileMode
		Archive string // SHA-256 of the cached file
		Member  string // path in the archive, without a leading "./"; "" = the file itself
	}
	// DaemonReload makes systemd read its unit files again.
	DaemonReload struct{}
	// StartUnit enables, (re)starts and records the digest of the inputs it started with.
	StartUnit struct {
		Name   string
		Digest string
	}
	// ForgetStart says that a unit runs with inputs that are about to change: if the run
	// is cut, the next one knows that a restart is due.
	ForgetStart struct{ Name string }
	// EnableUnit makes a unit start at boot.
	EnableUnit struct{ Name string }
	// StopUnit stops and disables a unit and forgets its start.
	StopUnit struct{ Name string }
	// SetSysctl sets the live value of a kernel parameter.
	SetSysctl struct{ Key, Value string }
	// LoadModule loads a kernel module.
	LoadModule struct{ Name string }
	// SwapOff turns all swap areas off.
	SwapOff struct{}
	// Intend notes in the manifest that a resource is about to be changed, so that reset
	// finds what an interrupted run began.
	Intend struct{ ID string }
	// Record notes in the manifest that a resource was applied with a digest.
	Record struct{ ID, Digest string }
	// Forget removes a resource from the manifest.
	Forget struct{ ID string }
	// NoteProcess notes the processes with a command line, for AwaitEnd.
	NoteProcess struct{ Command []string }
	// AwaitEnd waits until none of the noted processes runs any more, so long as there is a kubelet that
	// would end them, for a number of fifths of a second. Then it fails, or goes on all the same.
	AwaitEnd struct {
		Tries  int
		Anyway bool
	}
	// StopPods ends every container that the kubelet's runtime namespace holds, and their shims, which
	// containerd may have lost sight of, and removes the control groups that the kubelet made for them. Shims
	// of another containerd (k3s has its own) and those in containers that are nodes themselves (of kind, say,
	// whose processes the host sees as well) are somebody else's.
	StopPods struct{}
	// Unmount unmounts everything mounted below a folder.
	Unmount struct{ Below string }
	// DeleteLinks deletes network interfaces whose name starts with one of the prefixes.
	DeleteLinks struct{ Prefixes []string }
	// DeleteRules deletes the packet filter chains whose names start with one of the
	// prefixes, the rules that jump to them or carry a comment that starts with one of
	// Comments, the nftables tables, and the IP sets; all other rules stay.
	DeleteRules struct{ ChainPrefixes, Comments, NftTables, SetPrefixes []string }
	// DeleteAddress takes an IP address off whichever interface has it.
	DeleteAddress struct{ IP string }
	// DeleteRoutes deletes the routes that a routing protocol number of ours has set.
	DeleteRoutes struct{ Protocol string }
)

func (WriteFile) step()       {}
func (MakeDir) step()         {}
func (Symlink) step()         {}
func (SetAttributes) step()   {}
func (Remove) step()          {}
func (ListForeign) step()     {}
func (RemoveDir) step()       {}
func (SetAside) step()        {}
func (KeepOriginal) step()    {}
func (RestoreOriginal) step() {}
func (Fetch) step()           {}
func (TakeUpload) step()      {}
func (Unpack) step()          {}
func (Install) step()         {}
func (DaemonReload) step()    {}
func (StartUnit) step()       {}
func (ForgetStart) step()     {}
func (EnableUnit) step()      {}
func (StopUnit) step()        {}
func (SetSysctl) step()       {}
func (LoadModule) step()      {}
func (SwapOff) step()         {}
func (Intend) step()          {}
func (Record) step()          {}
func (Forget) step()          {}
func (NoteProcess) step()     {}
func (AwaitEnd) step()        {}
func (StopPods) step()        {}
func (Unmount) step()         {}
func (DeleteLinks) step()     {}
func (DeleteRules) step()     {}
func (DeleteAddress) step()   {}
func (DeleteRoutes) step()    {}

// A Task is the steps that make one resource true; progress and failure are reported by task.
type Task struct {
	ID    string
	Phase string // the phase that progress is reported under
	Steps []Step
}

// Replaced are tasks that end when nothing that they replace runs any more: a kubelet takes its time to
// notice that a manifest has changed, and what it runs until then answers as if nothing were amiss. It has
// two minutes for it, which is longer than it looks away (20 s) and lets a pod end in peace (30 s).
//
// A kubelet that is restarted by a later task is left alone before for a while: the next one does not know
// what the last has left running, starts the new pod beside it, and backs off when that finds its port taken.
func Replaced(tasks []Task) []Task {
	const tries, triesBefore = 600, 150
	last := -1
	for i, t := range tasks {
		if slices.ContainsFunc(t.Steps, func(s Step) bool { _, ok := s.(NoteProcess); return ok }) {
			last = i
		}
	}
	add := func(i int, s AwaitEnd) { tasks[i].Steps = append(slices.Clip(tasks[i].Steps), s) }
	if last >= 0 && last < len(tasks)-1 {
		add(last, AwaitEnd{Tries: triesBefore, Anyway: true})
	}
	if last >= 0 {
		add(len(tasks)-1, AwaitEnd{Tries: tries})
	}
	return tasks
}

// RenderTasks makes the script that acts and then looks: the tasks in order, stopping at
// the first that fails, and after them the probes, whose answers are the verification.
// What a step prints goes to standard error, where it can spoil no answer.
//
// Losing the connection cuts no step: the script outlives it to the end of the task at work,
// whose progress then finds no reader. TERM does the same, with exit status StoppedStatus.
func RenderTasks(marker string, tasks []Task, verify *Look) []byte {
	const each = 1 << 10 // that the steps of a task take
	var b bytes.Buffer
	b.Grow(frame + len(prelude) + each*len(tasks) + len(verify.script))
	open(&b, marker)
	b.WriteString(prelude)
	b.WriteString(stateDir)
	b.WriteString(runDir)
	b.WriteString(stoppable)
	b.WriteString(oneAct)
	fmt.Fprintf(&b, "echo $$ > %s\n", ActPath)
	fmt.Fprintf(&b, "kw_whole %s && kw_whole %s || return 9\n", ManifestPath, StampsPath)
	for i, t := range tasks {
		fmt.Fprintf(&b, "kw_go start %d || return %d\n{ {\n", i, StoppedStatus)
		for _, s := range t.Steps {
			b.WriteString(renderStep(s))
			b.WriteString("\n} && {\n")
		}
		fmt.Fprintf(&b, ":\n}; } >&2 || { kw_go fail %d || return %d; return 8; }\nkw_go done %d || return %d\n", i, StoppedStatus, i, StoppedStatus)
	}
	b.WriteString(verify.script)
	closeScript(&b)
	return b.Bytes()
}

// commLength is how much of its name the kernel keeps of a process (TASK_COMM_LEN, proc(5)).
const commLength = 15

// prelude holds what steps share. Temporary names are .NAME.kw-tmp and nothing else is
// ever called so: a re-run replaces them, and the kubelet, which runs whatever lies in
// its manifest folder, passes over names that start with a dot. Parents are 0755 whatever the umask.
const prelude = `kw_old=
kw_dir() { [ -d "$1" ] || { kw_dir "$(dirname "$1")" && mkdir -m 0755 "$1"; }; }
kw_put() { # path mode owner; content on stdin
t=${1%/*}/.${1##*/}.kw-tmp
kw_dir "${1%/*}" && cat > "$t" && kw_name "$t" "$@" || { rm -f "$t"; return 1; }; }
kw_name() { # temporary path mode owner
chmod "$3" "$1" && chown "$4" "$1" && kw_sync "$1" && kw_mv "$1" "$2"; }
kw_mv() { # from to; busybox takes a link to a folder for the folder
[ ! -L "$2" ] || [ ! -d "$2" ] || rm -f "$2"; mv -fT "$1" "$2"; }
kw_there() { [ -f "$1" ] || [ -L "$1" ]; }
kw_copy() { # from to: a file or a link, with its mode and owner
t=${2%/*}/.${2##*/}.kw-tmp
kw_dir "${2%/*}" && rm -f "$t" && cp -pP "$1" "$t" && kw_sync "$t" && kw_mv "$t" "$2" || { rm -f "$t"; return 1; }; }
kw_sync() { sync "$1" 2>/dev/null || sync; }
kw_whole() { # ends a line that a power cut or a full disk left torn, before others are added
[ ! -s "$1" ] || [ "$(tail -c 1 "$1" | wc -l)" -eq 1 ] || echo >> "$1"; }
kw_check() { # path sha256
s=$(sha256sum < "$1") && [ "${s%% *}" = "$2" ] || { echo "digest of $1 is ${s%% *}, want $2" >&2; rm -f "$1"; return 1; }; }
kw_note() { # id digest
[ -e ` + ManifestPath + ` ] || kw_put ` + ManifestPath + ` 0600 root:root </dev/null || return 1; printf '%s\t%s\n' "$1" "$2" >> ` + ManifestPath + `; }
kw_stamp() { # path source [sha256]
s=${3:-$(sha256sum < "$1")} && st=$(stat -c '%i %s %Z %n' "$1") && printf '%s %s %s\n' "$st" "${s%% *}" "$2" >> ` + StampsPath + `; }
kw_foreign() { # path list
[ ! -d "$1" ] || [ -e "$2" ] || { kw_dir "${2%/*}" && find "$1" -mindepth 1 > "$2.kw-tmp" && sort -o "$2.kw-tmp" "$2.kw-tmp" && kw_sync "$2.kw-tmp" && mv -f "$2.kw-tmp" "$2"; }; }
kw_spare() { # folder list: removes what is in it and not listed. Names come from pods, so no line is taken for one.
for x in "$1"/* "$1"/.[!.]* "$1"/..?*; do
[ -e "$x" ] || [ -L "$x" ] || continue
r=0; grep -qxF -e "$x" "$2" || r=$?
case $r in
0) [ ! -d "$x" ] || [ -L "$x" ] || (kw_spare "$x" "$2") || return 1 ;;
1) rm -rf "$x" || return 1 ;;
*) return 1 ;;
esac
done; }
kw_rmtree() { # path list; a mount below it is somebody's data: refuse
while read -r dev mp rest; do case $mp in "$1"/*) echo "$mp is mounted below $1: unmount it first" >&2; return 1 ;; esac; done < /proc/mounts
[ ! -s "$2" ] || { kw_spare "$1" "$2"; return; }
[ ! -d "$1" ] || find "$1" -mindepth 1 -maxdepth 1 -exec rm -rf {} + && { rmdir "$1" 2>/dev/null || :; }; }
kw_runs() { # name, and sha256 of the command line
for d in /proc/[0-9]*; do read -r c < "$d/comm" && [ "$c" = "$1" ] && s=$(sha256sum < "$d/cmdline") && [ "${s%% *}" = "$2" ] && kw_old="$kw_old ${d##*/}/$2"; done 2>/dev/null; :; }
kw_ended() { # tries
n=0
for o in $kw_old; do
while s=$(sha256sum < "/proc/${o%/*}/cmdline") && [ "${s%% *}" = "${o#*/}" ] && [ -z "$STOP" ]; do
[ "$(systemctl show -p ActiveState kubelet.service)" = ActiveState=active ] || return 0
n=$((n+1)); [ $n -le "$1" ] || { read -r c < "/proc/${o%/*}/comm"; echo "$c runs as before its manifest was changed (process ${o%/*}): the kubelet does not replace it; see journalctl -u kubelet" >&3; return 1; }
sleep 0.2 || sleep 1
done
done 3>&2 2>/dev/null; }
kw_rules() { # iptables or ip6tables, what is ours as an extended regular expression
"$1-save" 2>/dev/null | grep -Eq -e "$2" || return 0
"$1-save" | grep -Ev -e "$2" | "$1-restore"; }
`

func mode(m fs.FileMode) string {
	bits := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return fmt.Sprintf("%04o", bits)
}

// renderStep is the one place where an operation becomes shell.
func renderStep(s Step) string {
	switch s := s.(type) {
	case WriteFile:
		// Checked before it gets its name: a here-document may find no room in /tmp, and
		// busybox's base64 does not say when the disk is full.
		return fmt.Sprintf("kw_dir %[1]s && base64 -d > %[2]s <<'KW_EOF' && kw_check %[2]s %[7]x && kw_name %[2]s %[3]s %[4]s %[5]s || { rm -f %[2]s; false; }\n%[6]s\nKW_EOF",
			Quote(path.Dir(s.Path)), Quote(tmp(s.Path)), Quote(s.Path), mode(s.Mode), Quote(s.Owner), wrap(s.Content), sha256.Sum256(s.Content))
	case MakeDir:
		return fmt.Sprintf("kw_dir %[1]s && chmod %[2]s %[1]s && chown %[3]s %[1]s", Quote(s.Path), mode(s.Mode), Quote(s.Owner))
	case Symlink:
		// ln -sfn is not atomic; a rename is.
		return fmt.Sprintf("kw_dir %[1]s && rm -f %[4]s && ln -s -- %[3]s %[4]s && kw_mv %[4]s %[2]s || { rm -f %[4]s; false; }",
			Quote(path.Dir(s.Path)), Quote(s.Path), Quote(s.Target), Quote(tmp(s.Path)))
	case SetAttributes:
		return fmt.Sprintf("chmod %s %[2]s && chown %[3]s %[2]s", mode(s.Mode), Quote(s.Path), Quote(s.Owner))
	case Remove:
		return "rm -f " + Quote(s.Path)
	case SetAside:
		return fmt.Sprintf("[ ! -e %[1]s ] || { rm -rf %[2]s && mv %[1]s %[2]s; }", Quote(s.Path), Quote(s.Path+".removed"))
	case ListForeign:
		return "kw_foreign " + Quote(s.Path) + " " + Quote(ForeignList(s.Path))
	case RemoveDir:
		if s.Tree {
			return "kw_rmtree " + Quote(s.Path) + " " + Quote(ForeignList(s.Path))
		}
		return fmt.Sprintf("[ ! -d %[1]s ] || rmdir %[1]s 2>/dev/null || :", Quote(s.Path))
	case KeepOriginal:
		return fmt.Sprintf("if kw_there %[1]s && ! kw_there %[2]s; then kw_copy %[1]s %[2]s; fi", Quote(s.Path), Quote(OriginalsDir+s.Path))
	case RestoreOriginal:
		// A copy, so that it may be repeated; the saved one goes once the manifest forgot.
		return fmt.Sprintf("if kw_there %[2]s; then kw_copy %[2]s %[1]s; else rm -f %[1]s; fi", Quote(s.Path), Quote(OriginalsDir+s.Path))
	default:
		return renderSystemStep(s)
	}
}

// renderSystemStep renders what acts on the running system: artifacts, units, kernel.
func renderSystemStep(s Step) string {
	switch s := s.(type) {
	case Fetch:
		dst := Quote(CachePath(s.SHA256))
		return fmt.Sprintf("[ -e %[1]s ] || { kw_dir %[2]s && if command -v curl >/dev/null; then curl -gfsSL --retry 3 --connect-timeout 10 --speed-limit 1024 --speed-time 30 -o %[1]s.kw-tmp %[3]s; else wget -q -T 30 -t 3 -O %[1]s.kw-tmp %[3]s; fi && kw_check %[1]s.kw-tmp %[4]s && kw_sync %[1]s.kw-tmp && mv -f %[1]s.kw-tmp %[1]s; } || { rm -f %[1]s.kw-tmp; echo cannot fetch %[3]s >&2; false; }",
			dst, CacheDir, Quote(s.URL), s.SHA256)
	case TakeUpload:
		dst := Quote(CachePath(s.SHA256))
		// The copy is checked, not the upload: that is in a folder where others can write.
		return fmt.Sprintf("{ [ -e %[1]s ] || { kw_dir %[2]s && cp %[3]s %[1]s.kw-tmp && kw_check %[1]s.kw-tmp %[4]s && kw_sync %[1]s.kw-tmp && mv -f %[1]s.kw-tmp %[1]s; }; } && rm -f %[3]s || { rm -f %[1]s.kw-tmp %[3]s; false; }",
			dst, CacheDir, Quote(s.Path), s.SHA256)
	case Unpack:
		return fmt.Sprintf("rm -rf %[1]s && mkdir %[1]s && tar -xzf %[2]s -C %[1]s", Quote(unpackedPath(s.SHA256)), Quote(CachePath(s.SHA256)))
	case Install:
		return renderInstall(s)
	case DaemonReload:
		return "systemctl daemon-reload"
	case StartUnit:
		u := Quote(s.Name)
		return fmt.Sprintf("systemctl enable --quiet %[1]s && { systemctl reset-failed %[1]s 2>/dev/null; systemctl restart %[1]s || { journalctl -n 20 --no-pager -u %[1]s >&2; false; }; } && kw_dir %[3]s && echo %[2]s | kw_put %[4]s 0644 root:root",
			u, Quote(s.Digest), UnitsDir, Quote(startedPath(s.Name)))
	case ForgetStart:
		return "rm -f " + Quote(startedPath(s.Name))
	case EnableUnit:
		return "systemctl enable --quiet " + Quote(s.Name)
	case StopUnit:
		return fmt.Sprintf("{ [ \"$(systemctl show -p LoadState %[1]s)\" = LoadState=not-found ] || systemctl disable --now --quiet %[1]s; } && rm -f %[2]s", Quote(s.Name), Quote(startedPath(s.Name)))
	case SetSysctl:
		return fmt.Sprintf("echo %s > %s", Quote(s.Value), Quote(sysctlPath(s.Key)))
	case LoadModule:
		return "modprobe " + Quote(s.Name)
	case SwapOff:
		return "swapoff -a"
	case Intend:
		return fmt.Sprintf("kw_note %s %s", Quote(s.ID), pendingDigest)
	case Record:
		return fmt.Sprintf("kw_note %s %s", Quote(s.ID), Quote(s.Digest))
	case Forget:
		return fmt.Sprintf("kw_note %s ''", Quote(s.ID))
	default:
		return renderTeardown(s)
	}
}

// renderInstall copies and stamps. The digest of a file that is the artifact itself is
// known; that of a member is taken from what was written.
func renderInstall(s Install) string {
	source, stamp := CachePath(s.Archive), "kw_stamp "+Quote(s.Path)+" "+s.Archive
	if s.Member != "" {
		source = unpackedPath(s.Archive) + "/" + s.Member
	} else {
		stamp += " " + s.Archive
	}
	return fmt.Sprintf("kw_dir %[1]s && cat %[2]s > %[3]s && [ -s %[3]s ] && chmod %[4]s %[3]s && chown root:root %[3]s && kw_sync %[3]s && kw_mv %[3]s %[5]s && %[6]s || { rm -f %[3]s; false; }",
		Quote(path.Dir(s.Path)), Quote(source), Quote(tmp(s.Path)), mode(s.Mode), Quote(s.Path), stamp)
}

// unpackedPath is where a cached archive is extracted.
func unpackedPath(sha256 string) string { return CachePath(sha256) + ".d" }

// tmp is the name beside p that content has until it is whole.
func tmp(p string) string { return path.Join(path.Dir(p), "."+path.Base(p)+".kw-tmp") }

// renderTeardown renders what only reset does.
func renderTeardown(s Step) string {
	switch s := s.(type) {
	case NoteProcess:
		// As /proc has them: a name of 15 bytes at most, and each word with a NUL after it.
		name := path.Base(s.Command[0])
		line := sha256.Sum256([]byte(strings.Join(s.Command, "\x00") + "\x00"))
		return fmt.Sprintf("kw_runs %s %x", Quote(name[:min(len(name), commLength)]), line)
	case AwaitEnd:
		if s.Anyway {
			return fmt.Sprintf("{ kw_ended %d 2>/dev/null || :; }", s.Tries)
		}
		return fmt.Sprintf("kw_ended %d", s.Tries)
	case StopPods:
		return `if command -v ctr >/dev/null && ctr version >/dev/null 2>&1; then
for t in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks kill -a -s KILL "$t" 2>/dev/null; ctr -n k8s.io tasks rm -f "$t" >/dev/null 2>&1; done
for c in $(ctr -n k8s.io containers ls -q); do ctr -n k8s.io containers rm "$c" >/dev/null 2>&1; done
fi
if command -v systemctl >/dev/null; then systemctl stop kubepods.slice >/dev/null 2>&1; fi
for d in /proc/[0-9]*; do read -r c < "$d/comm" && [ "$c" = containerd-shim ] && [ "$d/ns/pid" -ef /proc/self/ns/pid ] && case " $(tr '\000' ' ' < "$d/cmdline")" in *" -namespace k8s.io "*" -address /run/containerd/containerd.sock "*) kill -s KILL "${d##*/}" ;; esac; done 2>/dev/null
find /sys/fs/cgroup -depth -type d -path '*/kubepods.slice*' -exec rmdir {} + 2>/dev/null; :`
	case Unmount:
		return fmt.Sprintf(`while read -r dev mp rest; do case $mp in %s/*) echo "$mp" ;; esac; done < /proc/mounts | sort -r | while read -r mp; do umount -l "$mp" || :; done`, Quote(s.Below))
	case DeleteLinks:
		return fmt.Sprintf(`for l in /sys/class/net/*; do l=${l##*/}; case $l in %s) ip link delete "$l" || : ;; esac; done`, strings.Join(globs(s.Prefixes), "|"))
	case DeleteRules:
		return renderDeleteRules(s)
	case DeleteAddress:
		return fmt.Sprintf(`ip -o address show to %[1]s 2>/dev/null | while read -r _ l _ a _; do ip address delete "$a" dev "$l" || :; done`, Quote(s.IP))
	case DeleteRoutes:
		return fmt.Sprintf("for f in -4 -6; do ip $f route flush proto %s 2>/dev/null || :; done", Quote(s.Protocol))
	default:
		return fmt.Sprintf("echo %s >&2; false", Quote(fmt.Sprintf("unknown step %T", s)))
	}
}

func renderDeleteRules(s DeleteRules) string {
	chains := strings.Join(s.ChainPrefixes, "|")
	ours := fmt.Sprintf("^:(%[1]s)|^-A (%[1]s)|-[jg] (%[1]s)", chains)
	for _, c := range s.Comments {
		ours += `|--comment "?` + c
	}
	var b strings.Builder
	for _, cmd := range []string{"iptables", "ip6tables"} {
		fmt.Fprintf(&b, "if command -v %[1]s-save >/dev/null; then kw_rules %[1]s %[2]s || return 8; fi\n", cmd, Quote(ours))
	}
	for _, t := range s.NftTables {
		fmt.Fprintf(&b, "if command -v nft >/dev/null; then nft delete table %s 2>/dev/null || :; fi\n", t)
	}
	fmt.Fprintf(&b, "if command -v ipset >/dev/null; then for s in $(ipset list -n 2>/dev/null); do case $s in %s) ipset destroy \"$s\" || : ;; esac; done; fi", strings.Join(globs(s.SetPrefixes), "|"))
	return b.String()
}

func globs(prefixes []string) []string {
	out := make([]string, len(prefixes))
	for i, p := range prefixes {
		out[i] = Quote(p) + "*"
	}
	return out
}

// wrap is base64 in lines, so that no tool on the way meets a line of megabytes.
func wrap(content []byte) string {
	enc := base64.StdEncoding.EncodeToString(content)
	var b strings.Builder
	for len(enc) > 76 {
		b.WriteString(enc[:76] + "\n")
		enc = enc[76:]
	}
	b.WriteString(enc)
	return b.String()
}
