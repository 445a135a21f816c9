package host

import (
	"bytes"
	"sync"
)

// StderrLimit is how many bytes of a script's standard error an *ExitError keeps.
const StderrLimit = 64 << 10

// Bounded is a writer that keeps what is written to it whole up to a limit, and then its first
// and last halves. It may be used concurrently.
type Bounded struct {
	half int

	mu    sync.Mutex
	head  []byte
	tail  []byte // a ring once it is full
	start int    // of the ring
	cut   bool
}

// NewBounded returns a Bounded of limit bytes, at least 2.
func NewBounded(limit int) *Bounded { return &Bounded{half: max(1, limit/2)} }

// Write implements io.Writer.
func (b *Bounded) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := data
	if room := b.half - len(b.head); room > 0 {
		n := min(room, len(rest))
		b.head = append(b.head, rest[:n]...)
		rest = rest[n:]
	}
	if len(rest) > b.half { // only its end can stay
		b.cut = true
		rest = rest[len(rest)-b.half:]
	}
	for _, c := range rest {
		if len(b.tail) < b.half {
			b.tail = append(b.tail, c)
			continue
		}
		b.cut = true
		b.tail[b.start] = c
		b.start = (b.start + 1) % b.half
	}
	return len(data), nil
}

// Content returns what was kept. When the middle is missing a line says so and truncated is set.
func (b *Bounded) Content() (kept []byte, truncated bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept = bytes.Clone(b.head)
	if b.cut {
		kept = append(kept, "\n[...]\n"...)
	}
	kept = append(kept, b.tail[b.start:]...)
	return append(kept, b.tail[:b.start]...), b.cut
}
