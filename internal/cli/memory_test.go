package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		live uint64
		want int64
	}{{0, 168 * mib}, {112 * mib, 168 * mib}, {200 * mib, 300 * mib}} {
		if got := memoryLimit(tc.live, 168*mib); got != tc.want {
			t.Errorf("with %d MiB in use the limit is %d MiB, want %d", tc.live/mib, got/mib, tc.want/mib)
		}
	}
}

// The limit follows what is in use from one collection to the next, and what the user has set is left alone.
func TestRoomyMemory(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetMemoryLimit(limit); debug.SetGCPercent(percent) })
	t.Setenv("GOGC", "100")
	const size, much = 168 << 20, 200 << 20
	roomyMemory(size)
	if debug.SetMemoryLimit(-1) != limit {
		t.Fatal("GOGC is set, and the limit is another")
	}
	t.Setenv("GOGC", "")
	roomyMemory(size)
	if before := debug.SetMemoryLimit(-1); before == math.MaxInt64 || before < size {
		t.Fatalf("the limit is %d", before)
	}
	used := make([]byte, much)
	defer runtime.KeepAlive(used)
	for range 100 {
		runtime.GC()
		if debug.SetMemoryLimit(-1) > much {
			return
		}
		runtime.Gosched() // to what comes after a collection
	}
	t.Errorf("with %d bytes in use the limit is %d", much, debug.SetMemoryLimit(-1))
}
