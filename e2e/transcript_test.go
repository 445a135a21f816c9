//go:build e2e

package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// transcript keeps what every run of this process said and logged, for TestSecrets to look through.
var transcript = &record{limit: 256 << 20, logs: map[string]int64{}, passwords: map[string]bool{}}

// record is a folder with what runs said on stdout and stderr, and with their debug logs: the folders
// of the tests do not outlast them.
type record struct {
	mu    sync.Mutex
	dir   string
	limit int64 // bytes
	size  int64
	runs  int
	logs  map[string]int64 // how much of each debug log is kept
	// passwords are those that the runs were given to log in with.
	passwords map[string]bool
	// errs is why something is missing: then nothing is proved by what is there.
	errs []error
}

// add keeps what a run said and logged.
func (c *record) add(r result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	if isKubeconfig(r) {
		r.stdout = "(an administrator's kubeconfig, as asked for)\n"
	}
	c.write("runs.txt", strings.NewReader(r.String()))
	for _, path := range debugLogs(r.args) {
		c.keepLog(path)
	}
	for _, dir := range labDirs(r.args) {
		if data, err := os.ReadFile(filepath.Join(dir, "sudo_password")); err == nil {
			c.passwords[strings.TrimSpace(string(data))] = true
		}
	}
}

// isKubeconfig tells whether the run was asked for a key and printed it: the one time it may.
func isKubeconfig(r result) bool {
	return r.program == "" && len(r.args) > 0 && r.args[0] == "kubeconfig" && r.code == exitDone && !slices.Contains(r.args, "--to")
}

// debugLogs are the files that a run was told to log to, those of the kubewright in a make included.
func debugLogs(args []string) []string {
	words := strings.Fields(strings.ReplaceAll(strings.Join(args, "\n"), "APPLY_FLAGS=", ""))
	var paths []string
	for i, word := range words[:max(len(words)-1, 0)] {
		if word == "--log" {
			paths = append(paths, words[i+1])
		}
	}
	return paths
}

// labDirs are the folders of the labs that a run is about.
func labDirs(args []string) []string {
	var dirs []string
	for i, arg := range args[:max(len(args)-1, 0)] {
		switch arg {
		case "-f":
			dirs = append(dirs, filepath.Dir(args[i+1]))
		case "--dir":
			dirs = append(dirs, args[i+1])
		}
	}
	return dirs
}

// keepLog copies what a debug log has more than when it was last looked at: that of runs that were
// killed in between, too.
func (c *record) keepLog(path string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // the run ended before it logged anything
	}
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	defer f.Close()
	from := c.logs[path]
	if info, err := f.Stat(); err == nil && info.Size() < from {
		from = 0 // a test that is run again has a log of its own
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		c.errs = append(c.errs, err)
		return
	}
	c.logs[path] = from + c.write("debug.log", f)
}

// write adds to a file of the record, and returns how much.
func (c *record) write(name string, from io.Reader) int64 {
	if err := c.make(); err != nil {
		c.errs = append(c.errs, err)
		return 0
	}
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.errs = append(c.errs, err)
		return 0
	}
	n, err := io.Copy(f, io.LimitReader(from, c.limit-c.size))
	c.size += n
	if c.size == c.limit {
		err = errors.Join(err, fmt.Errorf("the runs have said more than %d bytes, which is all that is kept", c.limit))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		c.errs = append(c.errs, err)
	}
	return n
}

// make makes the folder when it is first needed, and removes those of processes that are no more.
func (c *record) make() error {
	if c.dir != "" {
		return nil
	}
	const prefix = "runs-"
	old, err := filepath.Glob(filepath.Join("_logs", prefix+"*"))
	for _, dir := range old {
		pid, noPID := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), prefix))
		if noPID == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	dir, wrong := filepath.Abs(filepath.Join("_logs", prefix+strconv.Itoa(os.Getpid())))
	if err := errors.Join(err, wrong); err != nil {
		return err
	}
	if err := cmp.Or(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	c.dir = dir
	return nil
}
