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

// keptLogs is how many debug logs of a cluster are kept that were not given a --log.
const keptLogs = 30

// openLog opens the debug log: the wanted file, which has to work, or a new one below the
// cache folder, without which a run goes on; then the file is nil and the error says why.
func openLog(wanted, clusterName string) (f *os.File, warning, err error) {
	path := wanted
	if path == "" {
		if path, warning = newLog(filepath.Join(cacheDir(), "logs"), clusterName, time.Now()); warning != nil {
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

// newLog names a new log of a cluster, and makes room for it among the newest of earlier runs.
func newLog(dir, clusterName string, now time.Time) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir) // sorted by name, and so by time within a cluster
	if err != nil {
		return "", err
	}
	// The names of other clusters may begin with the name of this one.
	ours := regexp.MustCompile("^" + regexp.QuoteMeta(clusterName) + `-\d{8}T\d{6}-\d+\.log$`)
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
	name := fmt.Sprintf("%s-%s-%d.log", clusterName, now.UTC().Format("20060102T150405"), os.Getpid())
	return filepath.Join(dir, name), nil
}
