// Package sh is the only place where kubewright speaks shell. A Probe is a question
// about a host, a Step an operation that changes it; both are closed vocabularies,
// rendered here to one POSIX script each (dash, bash, busybox sh), so that looking at a
// host and acting on it each cost one exec channel whatever the number of resources.
//
// The script is one compound command: a stream that is cut before its end parses as
// nothing and runs nothing. Answers come back as lines that start with a random marker,
// so that a banner or a noisy shell profile can neither break nor fake one.
package sh

import "strings"

// StateDir is the folder on a host which holds what kubewright remembers there: the
// manifest of what it put on the host, the digests units were started with, the file
// cache and the originals of files it replaced.
const StateDir = "/var/lib/kubewright"

// Paths below StateDir.
const (
	ManifestPath  = StateDir + "/manifest"
	ClusterPath   = StateDir + "/cluster"
	MembersPath   = StateDir + "/etcd" // the members of etcd, when all of them ran
	StampsPath    = StateDir + "/stamps"
	UnitsDir      = StateDir + "/units"
	OriginalsDir  = StateDir + "/originals"
	CacheDir      = StateDir + "/cache"
	pendingDigest = "-"
)

// RunDir is the folder for the locks: gone after a reboot, as those who held them are, and
// no trace on a host that a run looked at and left alone.
const RunDir = "/run/kubewright"

// Paths below RunDir.
const (
	LockPath = RunDir + "/lock" // held by a run
	ActPath  = RunDir + "/act"  // held by a script that changes something
)

// ForeignList is where a host keeps the list of what was in a folder before we used it.
func ForeignList(dir string) string { return OriginalsDir + dir + ".kw-list" }

// CachePath is where a host keeps the file with the given SHA-256 (hex).
func CachePath(sha256 string) string { return CacheDir + "/" + sha256 }

// Quote renders s as one word of a POSIX shell: every byte is literal, whatever it is.
// A NUL byte cannot be part of a word; callers refuse it earlier.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, needsQuote) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func needsQuote(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_./:@%+,", r)
}

// quoteAll renders words separated by blanks.
func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}
