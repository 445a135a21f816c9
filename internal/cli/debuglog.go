package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"kubewright/internal/fault"
)

// keptLogs is how many debug logs of a cluster are kept that were not given a --log, and how many records.
const keptLogs = 30

// What the names of debug logs and of records end in. Those of one run are called the same otherwise.
const (
	logSuffix    = ".log"
	recordSuffix = ".jsonl"
)

// logFolder is where they are.
func logFolder() string { return filepath.Join(cacheDir(), "logs") }

// openLog opens the debug log: the wanted file, which has to work, or a new one below the
// cache folder, without which a run goes on; then the file is nil and the error says why.
func openLog(wanted, clusterName string, now time.Time) (f *os.File, warning, err error) {
	path := wanted
	if path == "" {
		if path, warning = newLog(logFolder(), clusterName, logSuffix, now); warning != nil {
			return nil, fmt.Errorf("no debug log is written: %w", warning), nil
		}
	}
	f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	switch {
	case err == nil:
		return f, nil, nil
	case wanted == "":
		return nil, fmt.Errorf("no debug log is written: %w", err), nil
	}
	return nil, nil, fault.New(fault.BadInput, "--log: %w", err)
}

// openRecord opens the record of a run below the cache folder. Without one a run goes on.
func openRecord(clusterName string, now time.Time) (*os.File, error) {
	path, err := newLog(logFolder(), clusterName, recordSuffix, now)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// newLog names a new log of a cluster, or a record, and makes room for it among the newest of earlier runs.
func newLog(dir, clusterName, suffix string, now time.Time) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir) // sorted by name, and so by time within a cluster
	if err != nil {
		return "", err
	}
	// The names of other clusters may begin with the name of this one.
	ours := regexp.MustCompile("^" + regexp.QuoteMeta(clusterName) + `-\d{8}T\d{6}-\d+` + regexp.QuoteMeta(suffix) + "$")
	var old []string
	for _, e := range entries {
		if ours.MatchString(e.Name()) {
			old = append(old, filepath.Join(dir, e.Name()))
		}
	}
	for ; len(old) >= keptLogs; old = old[1:] {
		if err := os.Remove(old[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	name := fmt.Sprintf("%s-%s-%d%s", clusterName, now.UTC().Format("20060102T150405"), os.Getpid(), suffix)
	return filepath.Join(dir, name), nil
}
