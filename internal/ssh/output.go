package ssh

import (
	"bytes"
	"io"
	"sync"
)

// preambleLimit bounds what is kept of the noise before the shell is ready.
const preambleLimit = 16 << 10

// preamble cuts a stream at the line that says ready. What comes before is kept, bounded, for
// error messages; what comes after goes to next.
type preamble struct {
	mark []byte // "\nREADY": the shell prints an empty line first, so noise without line break does no harm
	next io.Writer

	mu     sync.Mutex
	before []byte
	label  string        // the rest of the line that says ready
	ready  chan struct{} // closed when that line was seen
}

func newPreamble(word string, next io.Writer) *preamble {
	return &preamble{mark: []byte("\n" + word), next: next, ready: make(chan struct{})}
}

// isReady reports whether the mark was seen.
func (p *preamble) isReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// Write implements io.Writer.
func (p *preamble) Write(data []byte) (int, error) {
	if p.isReady() {
		return p.next.Write(data)
	}
	rest, found := p.scan(data)
	if !found {
		return len(data), nil
	}
	close(p.ready)
	if len(rest) > 0 {
		if _, err := p.next.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// scan adds data to what came before the mark, and returns what follows it.
func (p *preamble) scan(data []byte) (rest []byte, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = append(p.before, data...)
	if i := bytes.Index(p.before, p.mark); i >= 0 {
		label, after, whole := bytes.Cut(p.before[i+len(p.mark):], []byte("\n"))
		if !whole {
			return nil, false
		}
		p.label, rest = string(bytes.TrimSpace(label)), bytes.Clone(after)
		p.before = p.before[:i]
		return rest, true
	}
	if over := len(p.before) - preambleLimit; over > 0 {
		p.before = append(p.before[:0], p.before[over:]...)
	}
	return nil, false
}

// process returns what the ready line says of the shell; it is known once the line was seen.
func (p *preamble) process() (process, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return parseProcess(p.label)
}

// text returns what came before the mark.
func (p *preamble) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.before)
}

// promptWatch looks for sudo's prompt in a stream on its way to next.
type promptWatch struct {
	prompt []byte // empty: none is expected
	next   *preamble
	window []byte        // end of the stream so far, long enough for a prompt cut in two
	seen   chan struct{} // one token for every prompt
}

func newPromptWatch(prompt string, next *preamble) *promptWatch {
	return &promptWatch{prompt: []byte(prompt), next: next, seen: make(chan struct{}, 8)}
}

// Write implements io.Writer.
func (w *promptWatch) Write(data []byte) (int, error) {
	if len(w.prompt) > 0 && !w.next.isReady() {
		w.watch(data)
	}
	return w.next.Write(data)
}

// watch reports prompts. The word after "-p" is not one but a shell that traces its commands
// (set -x) repeating ours.
func (w *promptWatch) watch(data []byte) {
	echo := []byte("-p ")
	w.window = append(w.window, data...)
	for {
		i := bytes.Index(w.window, w.prompt)
		if i < 0 {
			break
		}
		if !bytes.HasSuffix(w.window[:i], echo) {
			select {
			case w.seen <- struct{}{}:
			default: // more prompts than anybody would answer
			}
		}
		w.window = w.window[i+len(w.prompt):]
	}
	keep := len(w.prompt) + len(echo)
	if over := len(w.window) - keep; over > 0 {
		w.window = append([]byte(nil), w.window[over:]...)
	}
}

// gate passes a stream to the caller's writer until it is shut, so that nothing is written to it
// after Run has returned, and remembers the writer's error.
type gate struct {
	next io.Writer // nil discards

	mu     sync.Mutex
	shut   bool
	err    error
	failed chan struct{} // closed when next has failed
}

func newGate(next io.Writer) *gate {
	return &gate{next: next, failed: make(chan struct{})}
}

// Write implements io.Writer. It always succeeds: the stream must be read to its end.
func (g *gate) Write(data []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut || g.next == nil || g.err != nil {
		return len(data), nil
	}
	if _, g.err = g.next.Write(data); g.err != nil {
		close(g.failed)
	}
	return len(data), nil
}

// close shuts the gate and returns the writer's error.
func (g *gate) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	return g.err
}
