package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/fault"
)

// keptLogs is how many debug logs of a command on a cluster are kept that were not given a --log, and how many
// records: a status that is asked for every minute takes away no apply's.
const keptLogs = 30

// What the names of debug logs and of records end in. Those of one run are called the same otherwise.
const (
	logSuffix    = ".log"
	recordSuffix = ".jsonl"
)

// logName is what they are called: by the cluster, when the run began, its process, and its command.
func logName() *regexp.Regexp {
	return regexp.MustCompile(`^(.+)-(\d{8}T\d{6})-\d+-([a-z0-9-]+)$`)
}

// runOf is of what a log or a record is.
type runOf struct {
	cluster, command string
	began            time.Time
}

// commandName is a command's part of the name, such as node-remove.
func commandName(cmd *cobra.Command) string {
	return strings.ReplaceAll(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), " ", "-")
}

// logFolder is where they are.
func logFolder() string { return filepath.Join(cacheDir(), "logs") }

// openLog opens the debug log: the wanted file, which has to work, or a new one below the
// cache folder, without which a run goes on; then the file is nil and the error says why.
func openLog(wanted string, run runOf) (f *os.File, warning, err error) {
	path := wanted
	if path == "" {
		if path, warning = newLog(logFolder(), logSuffix, run); warning != nil {
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
func openRecord(run runOf) (*os.File, error) {
	path, err := newLog(logFolder(), recordSuffix, run)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// newLog names a new log of a command on a cluster, or a record, and makes room for it among the newest of earlier
// runs.
func newLog(dir, suffix string, run runOf) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir) // sorted by name, and so by time within a cluster
	if err != nil {
		return "", err
	}
	var old []string
	pattern := logName()
	for _, e := range entries {
		name, known := strings.CutSuffix(e.Name(), suffix)
		if parts := pattern.FindStringSubmatch(name); known && parts != nil && parts[1] == run.cluster && parts[3] == run.command {
			old = append(old, filepath.Join(dir, e.Name()))
		}
	}
	for ; len(old) >= keptLogs; old = old[1:] {
		if err := os.Remove(old[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	name := fmt.Sprintf("%s-%s-%d-%s%s", run.cluster, run.began.UTC().Format("20060102T150405"), os.Getpid(), run.command, suffix)
	return filepath.Join(dir, name), nil
}
