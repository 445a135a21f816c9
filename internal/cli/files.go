package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/catalog"
	"kubewright/internal/fault"
)

// lockPath is where digests are kept that no catalogue knew: beside the cluster's file.
func lockPath(clusterFile string) string {
	return filepath.Join(filepath.Dir(clusterFile), "kubewright.lock")
}

func openStore(c *cluster.Cluster, clusterFile string) (*artifact.Store, error) {
	lock, err := readLock(lockPath(clusterFile))
	if err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	config := artifact.Config{Source: c.Artifacts, Cache: filepath.Join(cacheDir(), "files"), Replacement: c.Artifacts.Digests, Lock: lock}
	config.Source.Directory = expandHome(config.Source.Directory)
	return artifact.New(config), nil
}

// readLock reads a lock file; one that is not there is empty.
func readLock(path string) (catalog.Lock, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return catalog.Lock{}, nil
	}
	if err != nil {
		return catalog.Lock{}, err
	}
	lock, err := catalog.DecodeLock(data)
	if err != nil {
		return catalog.Lock{}, fmt.Errorf("%s: %w", path, err)
	}
	return lock, nil
}

// saveLearned writes the lock file when digests were learned in this run.
func saveLearned(store *artifact.Store, clusterFile string) error {
	lock, changed := store.Lock()
	if !changed {
		return nil
	}
	data, err := lock.Encode()
	if err != nil {
		return err
	}
	return writeFile(lockPath(clusterFile), data, 0o644)
}

// writeFile replaces a file by renaming, so that no reader meets half of it. Of a link, the
// file that it points to is replaced.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".kubewright-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// cacheDir is where files are kept that may be thrown away.
func cacheDir() string {
	if dir := os.Getenv("KUBEWRIGHT_CACHE"); dir != "" {
		return dir
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "kubewright")
	}
	return filepath.Join(os.TempDir(), "kubewright-cache")
}

// expandHome resolves a leading ~/, as a shell would.
func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
