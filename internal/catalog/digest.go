package catalog

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Source says where a digest comes from.
type Source string

const (
	// Unknown: nobody knows the digest yet. Learn it from File.ChecksumURL and lock it.
	Unknown Source = ""
	// Replacement: the site's own digests, for files it built itself.
	Replacement Source = "replacement"
	// Catalogue: known when this program was built.
	Catalogue Source = "catalogue"
	// Locked: learned at an earlier download.
	Locked Source = "lock"
)

// Digest chooses the sha256 a file must have: the site's replacement, else the catalogue's, else
// what was learned before. With none of them it is "" and Unknown.
func Digest(f File, replacement, learned Lock) (sha256 string, from Source) {
	if sum, ok := replacement.SHA256(f.URL); ok {
		return sum, Replacement
	}
	if f.SHA256 != "" {
		return f.SHA256, Catalogue
	}
	if sum, ok := learned.SHA256(f.URL); ok {
		return sum, Locked
	}
	return "", Unknown
}

// ParseChecksum finds the sha256 of the file called name (its base name) in a checksum file as
// projects publish them: one bare digest, or lines of "digest  name" or "digest *name".
func ParseChecksum(file []byte, name string) (sha256 string, err error) {
	var lines int
	for line := range strings.Lines(string(file)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			continue
		case len(fields) == 1 && lines == 0 && isSHA256(strings.ToLower(fields[0])):
			sha256 = strings.ToLower(fields[0])
		case len(fields) == 2 && path.Base(strings.TrimPrefix(fields[1], "*")) == name:
			sum := strings.ToLower(fields[0])
			if !isSHA256(sum) {
				return "", fmt.Errorf("checksum of %s: %q is not a sha256", name, fields[0])
			}
			if sha256 != "" && sha256 != sum {
				return "", fmt.Errorf("checksum of %s: the file has two different ones", name)
			}
			sha256 = sum
		}
		lines++
	}
	if sha256 == "" {
		return "", errors.New("checksum of " + name + ": the checksum file does not have it")
	}
	return sha256, nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
