package manifest

import (
	"io"
	"log"
	"os"
	"sync"
)

// printing is held by whoever has changed where this process prints to: that is the process's, and so is the lock.
var printing = sync.OnceValue(func() *sync.Mutex { return new(sync.Mutex) })

// quietly runs Helm or kustomize, and drops what they print: to the standard logs, where Helm repeats values, which
// may be passwords, and kustomize to the standard error. What matters of it is an error of Render too. The standard
// error is changed for the process; who prints events has a copy of it.
func quietly[T any](run func() (T, error)) (T, error) {
	lock := printing()
	lock.Lock()
	defer lock.Unlock()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		var none T
		return none, err
	}
	defer nowhere.Close()
	defer log.SetOutput(log.Writer()) // log/slog prints there too
	log.SetOutput(io.Discard)
	defer func(stderr *os.File) { os.Stderr = stderr }(os.Stderr)
	os.Stderr = nowhere
	return run()
}
