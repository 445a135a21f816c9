package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// roomyMemory lets the memory of a run grow to a size in bytes before garbage is collected in earnest: what a run
// allocates lives for a moment, or to the end. Near that size it is collected more often than Go does by
// itself, for a run over hundreds of hosts. Who sets GOGC or GOMEMLIMIT knows better.
func roomyMemory(size uint64) {
	const percent = 300 // of what is in use, where the size allows it
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(percent)
		limitMemory(size)
	}
}

// limitMemory sets Go's limit anew after each collection, which without room would do little but collect.
func limitMemory(size uint64) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetMemoryLimit(memoryLimit(live[0].Value.Uint64(), size))
	runtime.AddCleanup(new([16]byte), limitMemory, size) // the next collection finds it
}

// memoryLimit is the size, or more where the heap in use leaves too little room in it.
func memoryLimit(live, size uint64) int64 {
	return int64(max(size, live+live/2))
}
