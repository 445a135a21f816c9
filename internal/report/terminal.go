package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// frame is how often the elapsed times move; events are drawn as they come.
	frame = 200 * time.Millisecond
	// maxRows keeps the live part within a terminal of 24 rows. Lines that scroll off the top
	// can no longer be redrawn.
	maxRows = 20
	// defaultWidth is assumed when the width of the terminal is not known.
	defaultWidth = 80
)

// Terminal is a sink that keeps a line for each host up to date, in place. Notices and warnings
// scroll by above the lines; the last state stays on the screen after Close.
type Terminal struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int
	board board
	drawn int      // lines of the live part that are on the screen now
	held  []string // while paused, text that is to stay on the screen; nil otherwise
	last  time.Time
	stop  chan struct{}
	done  chan struct{}
	close sync.Once
}

// NewTerminal returns a Terminal that draws on w, which is a terminal that understands ANSI
// sequences. The width function is asked before each drawing, so that it follows a resize; 0 or
// less means unknown. Close must be called.
func NewTerminal(w io.Writer, width func() int) *Terminal {
	t := newTerminal(w, width)
	t.stop, t.done = make(chan struct{}), make(chan struct{})
	go t.animate()
	return t
}

func newTerminal(w io.Writer, width func() int) *Terminal {
	return &Terminal{w: w, width: width}
}

func (t *Terminal) animate() {
	defer close(t.done)
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.redraw(now)
		}
	}
}

// Emit updates the line of the event's host.
func (t *Terminal) Emit(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.board.take(e)
	if t.held != nil {
		if text != "" {
			t.held = append(t.held, text)
		}
		return
	}
	if text == "" && e.Time.Sub(t.last) < frame {
		return // the next frame shows it
	}
	t.draw(e.Time, text, maxRows)
}

// redraw moves the elapsed times on.
func (t *Terminal) redraw(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.draw(now, "", maxRows)
	}
}

// Pause takes the lines off the screen and draws nothing until Resume, so that the terminal can be
// used for something else: to show a plan and ask about it. No event is lost meanwhile.
func (t *Terminal) Pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held != nil {
		return
	}
	t.draw(t.last, "", 0)
	t.held = []string{}
}

// Resume draws again after a Pause, below what was written meanwhile. The cursor must be at the
// beginning of a line.
func (t *Terminal) Resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		return
	}
	text := strings.Join(t.held, "\n")
	t.held = nil
	t.draw(t.last, text, maxRows)
}

// Close draws the last state, of all hosts, and leaves it on the screen. It does not close the
// writer. Events that come later are dropped.
func (t *Terminal) Close() {
	t.close.Do(func() {
		if t.stop != nil {
			close(t.stop)
			<-t.done
		}
		t.Resume()
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.board.over {
			t.board.end(Event{Time: t.last})
		}
		closing := t.board.closing
		t.board.closing = ""
		t.draw(t.last, "", len(t.board.lines))
		if closing != "" {
			_, _ = fmt.Fprintln(t.w, truncate(closing, t.columns()))
		}
		t.w = io.Discard
	})
}

func (t *Terminal) columns() int {
	if w := t.width(); w > 0 {
		return w
	}
	return defaultWidth
}

// draw replaces the live part by text, which stays, and the lines of the hosts as they are now.
// One frame is one write, so that a slow terminal does not flicker.
func (t *Terminal) draw(now time.Time, text string, rows int) {
	t.last = now
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.drawn)
	}
	b.WriteString("\r\x1b[J")
	if text != "" {
		b.WriteString(text + "\n")
	}
	columns := t.columns()
	lines := t.board.render(now, rows)
	for _, line := range lines {
		// One column stays free: some terminals wrap when the last one is written.
		b.WriteString(truncate(line, columns-1) + "\n")
	}
	t.drawn = len(lines)
	_, _ = io.WriteString(t.w, b.String())
}
