package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubewright/internal/host"
)

// process identifies a root shell on the host. A process ID alone could be that of another
// process by the time it is used.
type process struct {
	id    int
	start int64 // clock ticks after boot (field 22 of proc_pid_stat(5))
}

// parseProcess reads a line of /proc/PID/stat: ID (NAME) STATE PARENT GROUP ... START ...
func parseProcess(stat string) (process, bool) {
	end := strings.LastIndexByte(stat, ')')
	id, _, ok := strings.Cut(stat, " ")
	if end < 0 || !ok {
		return process{}, false
	}
	const startField = 22 - 3 // counted from the state, which follows the name
	fields := strings.Fields(stat[end+1:])
	if len(fields) <= startField {
		return process{}, false
	}
	number, err := strconv.Atoi(id)
	start, startErr := strconv.ParseInt(fields[startField], 10, 64)
	if err != nil || startErr != nil || number <= 1 {
		return process{}, false
	}
	return process{id: number, start: start}, true
}

// endScript ends on the host what a failed Run leaves behind. sshd does not do it: closing a
// session without terminal sends no signal, and signals sent through the protocol reach neither
// root's processes nor those of sudo. When the connection is lost, Redial will do it.
func (c *Client) endScript(ctx context.Context, r *running, err error) {
	var exited *host.ExitError
	if err == nil || !r.given || errors.As(err, &exited) {
		return
	}
	shell, known := r.stdout.process()
	if !known {
		return
	}
	if r.link.alive() && c.reapNow(ctx, r, shell) == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.launch.kind == host.Act {
		c.acts = append(c.acts, shell)
	} else {
		c.orphans = append(c.orphans, shell)
	}
}

// reapNow ends a shell while its connection lives.
func (c *Client) reapNow(ctx context.Context, r *running, shell process) error {
	patience := c.config.Timeouts.Stop
	shells, acts := []process{shell}, []process(nil)
	if r.launch.kind == host.Act {
		patience += 2 * c.config.Timeouts.Finish // what is counted in naps there takes longer
		acts = shells                            // is told to end, and then waited for
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return c.reap(limited, r.link, shells, acts)
}

// reap ends shells that run scripts nobody waits for any more, with the processes of their
// groups: first asked to (TERM), after 2 s forced (KILL). Acts are told to end before that, and
// given Timeouts.Finish for it when they are among the shells. Shells that are gone are no error.
// The script goes on to its end when ctx ends first.
func (c *Client) reap(ctx context.Context, l *link, shells, acts []process) error {
	var script bytes.Buffer
	script.WriteString(reapScript)
	for _, act := range acts {
		tenths := 0
		if slices.Contains(shells, act) {
			tenths = int(c.config.Timeouts.Finish.Milliseconds() / 100)
		}
		fmt.Fprintf(&script, "tell %d %d %d\n", act.id, act.start, tenths)
	}
	for _, shell := range shells {
		fmt.Fprintf(&script, "end %d %d || failed=1\n", shell.id, shell.start)
	}
	script.WriteString("exit $failed\n")
	return c.runUrgent(ctx, l, script.Bytes())
}

// reapScript defines `tell PID START TENTHS`, which sends TERM to one shell and waits some tenths of
// a second for its end, and `end PID START`. Fields of /proc/PID/stat are counted from the state on,
// since the name before it may contain spaces: the group is then the third and the start time the
// twentieth. The group of this very script is never ended. dash and busybox know no `kill --`.
const reapScript = `failed=0
look() {
	read -r stat 2>/dev/null </proc/$1/stat || return 1
	start=$2
	set -- ${stat##*) }
	state=$1 group=$3
	[ "${20}" = "$start" ] && [ "$state" != Z ]
}
tenth() { sleep 0.1 2>/dev/null || sleep 1; } # fractions of a second are not POSIX
tell() {
	look "$1" "$2" && kill -TERM "$1" 2>/dev/null
	tries=0
	while [ $tries -lt "$3" ] && look "$1" "$2"; do
		tries=$((tries + 1))
		tenth
	done
}
end() {
	look $$ 0; own=$group
	look "$1" "$2" || return 0
	[ "$group" -gt 1 ] && [ "$group" != "$own" ] || return 1
	kill -TERM "-$group" 2>/dev/null
	tries=0
	while look "$1" "$2"; do
		tries=$((tries + 1))
		[ $tries = 20 ] && kill -KILL "-$group" 2>/dev/null
		[ $tries -lt 40 ] || return 1
		tenth
	done
}
`
