package catalog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

const (
	lockAPIVersion = "kubewright.io/v1alpha1"
	lockKind       = "Lock"
	digestPrefix   = "sha256:"
)

// Lock pins the digests of files by their upstream URL. The same format serves two purposes: what
// a cluster learned at first download, and the digests of a site that builds its own files.
type Lock struct {
	// Files maps an upstream URL to "sha256:" and 64 hex digits.
	Files map[string]string
}

type lockDocument struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Files      map[string]string `json:"files"`
}

// DecodeLock reads a lock file. Unknown fields, duplicate keys, and digests that are not sha256
// are errors; all bad digests are reported at once.
func DecodeLock(data []byte) (Lock, error) {
	var doc lockDocument
	if err := yaml.UnmarshalStrict(data, &doc); err != nil {
		return Lock{}, fmt.Errorf("lock file: %w", err)
	}
	if doc.APIVersion != lockAPIVersion || doc.Kind != lockKind {
		return Lock{}, fmt.Errorf("lock file: apiVersion %q, kind %q: want %q, %q",
			doc.APIVersion, doc.Kind, lockAPIVersion, lockKind)
	}
	lock := Lock{Files: doc.Files}
	if err := lock.validate(); err != nil {
		return Lock{}, fmt.Errorf("lock file: %w", err)
	}
	return lock, nil
}

// Encode writes the lock file, sorted by URL. It refuses what DecodeLock would refuse.
func (l Lock) Encode() ([]byte, error) {
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return yaml.Marshal(lockDocument{APIVersion: lockAPIVersion, Kind: lockKind, Files: l.Files})
}

// SHA256 is the pinned digest of a URL as 64 hex digits.
func (l Lock) SHA256(url string) (sha256 string, ok bool) {
	digest, ok := l.Files[url]
	return strings.TrimPrefix(digest, digestPrefix), ok
}

func (l Lock) validate() error {
	var bad []error
	for _, url := range sortedKeys(l.Files) {
		if !strings.Contains(url, "://") || !utf8.ValidString(url) {
			bad = append(bad, fmt.Errorf("%q is not a URL", url))
		}
		if sum, ok := strings.CutPrefix(l.Files[url], digestPrefix); !ok || !isSHA256(sum) {
			bad = append(bad, fmt.Errorf("%s: %q is not %s and 64 lower-case hex digits",
				url, l.Files[url], digestPrefix))
		}
	}
	return errors.Join(bad...)
}

func isSHA256(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
