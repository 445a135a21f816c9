package sh

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Progress is one line of an act: task Index was started, is done or failed.
type Progress struct {
	Index int
	State string // start, done, fail
}

// Watcher reads the output of a script while it comes in: it reports progress, and takes the answers to a look. Of
// the output itself nothing is kept, since many hosts answer at once. It is the stdout of one exec and is used
// by one goroutine.
type Watcher struct {
	marker string
	on     func(Progress)
	look   *Look
	parser *parser // nil before the first answer: an act may take long
	err    error   // of the first line that could not be read
	begun  []byte  // a line that has not ended
}

// NewWatcher reports each progress line to on, which may be nil.
func NewWatcher(marker string, l *Look, on func(Progress)) *Watcher {
	return &Watcher{marker: marker + " ", look: l, on: on}
}

// Write implements io.Writer; it never fails.
func (w *Watcher) Write(p []byte) (int, error) {
	whole := bytes.LastIndexByte(p, '\n') + 1
	if whole == 0 {
		w.begun = append(w.begun, p...)
		return len(p), nil
	}
	first := 0
	if len(w.begun) > 0 {
		first = bytes.IndexByte(p, '\n') + 1
		w.line(string(append(w.begun, p[:first]...)))
	}
	for line := range strings.Lines(string(p[first:whole])) {
		w.line(line)
	}
	w.begun = append(w.begun[:0], p[whole:]...)
	return len(p), nil
}

func (w *Watcher) line(line string) {
	rest, ok := strings.CutPrefix(line, w.marker)
	if !ok || w.err != nil {
		return
	}
	verb, arg, _ := strings.Cut(strings.TrimSuffix(strings.TrimSuffix(rest, "\n"), "\r"), " ")
	switch verb {
	case "start", "done", "fail":
		if i, err := strconv.Atoi(arg); err == nil && w.on != nil {
			w.on(Progress{Index: i, State: verb})
		}
	default:
		w.err = w.answers().line(verb, arg)
	}
}

// Answers are those to the look, when the output has ended. Lines without the marker are noise
// and skipped; a marked line that cannot be read, an asked question without an answer
// and a missing end are ErrIncomplete.
func (w *Watcher) Answers() (*Answers, error) {
	w.on = nil // a line that was cut is no progress
	w.line(string(w.begun))
	w.begun = nil
	if w.err != nil {
		return nil, w.err
	}
	return w.answers().whole()
}

func (w *Watcher) answers() *parser {
	if w.parser == nil {
		w.parser = newParser(w.look)
	}
	return w.parser
}

// LockRequest says how a lock is asked for.
type LockRequest struct {
	// Holder is one line that names who holds the lock; it is what another run is shown.
	Holder string
	// Force has the script that holds the lock killed first, and the one that acts told to stop:
	// for a holder whose machine vanished without the host noticing.
	Force bool
	// Again is for a run whose lock has ended before its time: it is not waited for, and not
	// taken back from a run that was given it by force and is about to have it.
	Again bool
}

// RenderLock makes the script that takes the host's lock and keeps it for as long as the
// session lives: it writes a line every few seconds and dies of the first that nobody
// reads, and the kernel frees the lock with it. So a run that was killed holds it for a
// few seconds more, which are waited for; and so are the last steps of its act.
// Exit status LockedStatus: somebody else has it.
func RenderLock(marker string, request LockRequest) []byte {
	var b bytes.Buffer
	open(&b, marker)
	b.WriteString(runDir)
	holder := Quote(strings.Join(strings.Fields(request.Holder), " "))
	if request.Force {
		// The name before the deed: whoever held the lock knows that it was taken by force. A process
		// that does not have the file open is another one by now.
		fmt.Fprintf(&b, "pid=; [ ! -e %[1]s ] || pid=$(sed -n 2p %[1]s)\ncase $pid in ''|*[!0-9]*) ;; *) flock -n %[1]s true || { [ -d /proc/self/fd ] && [ ! /proc/$pid/fd/9 -ef %[1]s ]; } || { printf '%%s\\n%%s\\n' %[2]s $$ > %[1]s; kill -9 \"$pid\"; } ;; esac\n", LockPath, holder)
		fmt.Fprintf(&b, "pid=; [ ! -e %[1]s ] || pid=$(cat %[1]s)\ncase $pid in ''|*[!0-9]*) ;; *) flock -n %[1]s true || { [ -d /proc/self/fd ] && [ ! /proc/$pid/fd/8 -ef %[1]s ]; } || kill -TERM \"$pid\" ;; esac\n", ActPath)
	}
	patience := lockPatience
	if request.Again {
		patience = 0
		fmt.Fprintf(&b, "[ ! -s %[1]s ] || [ \"$(head -n 1 %[1]s)\" = %[2]s ] || { printf '%%s held ' \"$M\"; head -n 1 %[1]s; return %[3]d; }\n", LockPath, holder, LockedStatus)
	}
	fmt.Fprintf(&b, `exec 9>>%[1]s || return 9
n=0
until flock -n 9; do
n=$((n+1)); [ $n -le %[2]d ] || { printf '%%s held ' "$M"; head -n 1 %[1]s; return %[4]d; }
sleep 1
done
printf '%%s\n%%s\n' %[3]s $$ > %[1]s
`, LockPath, patience, holder, LockedStatus)
	b.WriteString(oneAct)
	b.WriteString("exec 8>&-\nwhile echo \"$M locked\"; do sleep 3 9>&- >/dev/null 2>&1; done\n")
	closeScript(&b)
	return b.Bytes()
}

// lockPatience is for how many seconds a taken lock is asked for again: longer than a
// killed session takes to notice.
const lockPatience = 8

// Exit statuses of our scripts that mean more than a failure.
const (
	// LockedStatus is that of a lock script that found the lock taken.
	LockedStatus = 15
	// StoppedStatus is that of an act that was told to stop, or whose progress nobody reads any
	// more: what it had begun is done, or undone as after any failure.
	StoppedStatus = 7
)

// stoppable has an act end between two tasks and not in the middle of one. A shell runs a trap
// when the command at work has ended, and a step whose own process was ended cleans up after
// itself. Writing to a connection that is gone is an error, no signal.
const stoppable = `trap 'STOP=1' TERM HUP INT
trap '' PIPE
kw_go() { [ -z "$STOP" ] && echo "$M $1 $2" 2>/dev/null; }
`

// stateDir and runDir make our folders, which nobody else may look into.
const (
	stateDir = "mkdir -p " + StateDir + " && chmod 0700 " + StateDir + " || return 9\n"
	runDir   = "mkdir -p " + RunDir + " && chmod 0700 " + RunDir + " || return 9\n"
)

// oneAct waits until no other script acts on the host: a script outlives its connection
// until its next word, which may take as long as a download, and two writers would undo each other.
const oneAct = `exec 8>>` + ActPath + ` || return 9
n=0
until flock -n 8; do [ -z "$STOP" ] || return 7; n=$((n+1)); [ $n -le 600 ] || { echo "an earlier run is still at work on this host" >&2; return 15; }; sleep 1; done
`

// LockAnswer reads one output of the lock script: whether the lock is ours, and if
// somebody else has it, the line that names the holder.
func LockAnswer(marker string, out []byte) (locked bool, holder string) {
	for line := range strings.Lines(string(out)) {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), marker+" ")
		if !ok || !strings.HasSuffix(line, "\n") { // a line that is cut may name half a holder
			continue
		}
		if rest == "locked" {
			return true, ""
		}
		if h, ok := strings.CutPrefix(rest, "held "); ok {
			return false, h
		}
	}
	return false, ""
}
