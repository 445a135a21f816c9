package ssh

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format of hashed names in known_hosts
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownHosts is the content of known_hosts files that concerns one endpoint.
//
// golang.org/x/crypto/ssh/knownhosts is not used to look names up: it rejects a whole file for
// one line it cannot read, where ssh skips the line, and it does not tell the keys of a
// host from those of its certificate authorities.
type knownHosts struct {
	name        string // the endpoint as known_hosts writes it: "host" or "[host]:port"
	portless    string // its host alone, which ssh looks up too when the port is not 22; "" for port 22
	keys        []knownKey
	authorities []knownKey
	revoked     []knownKey // for all hosts
	skipped     []string   // FILE:LINE of lines that could not be read
}

// knownKey is a key and where it is written.
type knownKey struct {
	key  ssh.PublicKey
	file string
	line int
	// portless says that the line has the host without the port. Such a key is good, but that it
	// is not shown means nothing: it may be that of another server at the address.
	portless bool
}

// String names the key in messages.
func (k knownKey) String() string {
	return fmt.Sprintf("%s (%s, %s:%d)", ssh.FingerprintSHA256(k.key), k.key.Type(), k.file, k.line)
}

// KnownHostsFiles has the known_hosts files that were read, so that a run reads each once and not for each
// host. A file that has changed since is read anew.
type KnownHostsFiles struct {
	mu    sync.Mutex
	files map[string]knownHostsFile // by path
}

// knownHostsFile is a file that was read, and how it was then.
type knownHostsFile struct {
	info  os.FileInfo
	lines knownHostsLines
}

// knownHostsLines are the lines of a file, in its order.
type knownHostsLines struct {
	// plain are the places in the file of the lines for a host that is named in full, by its name: with a line
	// for each of many hosts, to look at all lines for each host is quadratic.
	plain map[string][]int
	// others are the places of all other lines: those with patterns or hashes, and those that cannot be read
	// or concern all hosts.
	others []int
	all    []knownHostsLine
}

// about returns the lines that may concern one of the names.
func (l knownHostsLines) about(names ...string) []knownHostsLine {
	places := slices.Clone(l.others)
	for _, name := range names {
		places = append(places, l.plain[name]...)
	}
	slices.Sort(places)
	lines := make([]knownHostsLine, 0, len(places))
	for _, i := range slices.Compact(places) {
		lines = append(lines, l.all[i])
	}
	return lines
}

// add adds a line.
func (l *knownHostsLines) add(line knownHostsLine) {
	i := len(l.all)
	l.all = append(l.all, line)
	pattern := func(p string) bool { return strings.ContainsAny(p, "*?!|") }
	if line.err != nil || line.marker == "revoked" || slices.ContainsFunc(line.patterns, pattern) {
		l.others = append(l.others, i)
		return
	}
	for _, name := range line.patterns {
		name = strings.ToLower(name)
		l.plain[name] = append(l.plain[name], i)
	}
}

// knownHostsLine is one line of a file; err is why it cannot be read.
type knownHostsLine struct {
	number   int
	marker   string
	patterns []string
	key      ssh.PublicKey
	err      error
}

// NewKnownHostsFiles returns one in which nothing was read yet.
func NewKnownHostsFiles() *KnownHostsFiles {
	return &KnownHostsFiles{files: map[string]knownHostsFile{}}
}

// lines returns those of a file. Of a nil KnownHostsFiles nothing is kept.
func (k *KnownHostsFiles) lines(path string) (knownHostsLines, error) {
	if k == nil {
		data, err := os.ReadFile(path)
		return parseKnownHosts(data), err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return knownHostsLines{}, err
	}
	file := k.files[path]
	if file.info != nil && os.SameFile(info, file.info) && info.Size() == file.info.Size() && info.ModTime().Equal(file.info.ModTime()) {
		return file.lines, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return knownHostsLines{}, err
	}
	file = knownHostsFile{info: info, lines: parseKnownHosts(data)}
	k.files[path] = file
	return file.lines, nil
}

// loadKnownHosts reads what files say about endpoint (host:port). Files that do not exist are
// empty; one that cannot be read is an error.
func loadKnownHosts(read *KnownHostsFiles, files []string, endpoint string) (*knownHosts, error) {
	db := &knownHosts{name: strings.ToLower(knownhosts.Normalize(endpoint))}
	if strings.HasPrefix(db.name, "[") {
		db.portless, _, _ = strings.Cut(db.name[1:], "]")
	}
	for _, file := range files {
		lines, err := read.lines(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("known hosts: %w", err)
		}
		db.add(file, lines.about(db.name, db.portless))
	}
	return db, nil
}

// parseKnownHosts reads the lines of a file.
func parseKnownHosts(data []byte) knownHostsLines {
	lines := knownHostsLines{plain: map[string][]int{}}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := bytes.TrimSpace(line)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		l := knownHostsLine{number: number}
		l.marker, l.patterns, l.key, _, _, l.err = ssh.ParseKnownHosts(text)
		lines.add(l)
	}
	return lines
}

// add takes what the lines of a file say.
func (db *knownHosts) add(file string, lines []knownHostsLine) {
	for _, l := range lines {
		known := knownKey{key: l.key, file: file, line: l.number}
		named := l.err == nil && matchHost(l.patterns, db.name)
		known.portless = l.err == nil && !named && db.portless != "" && matchHost(l.patterns, db.portless)
		switch {
		case l.err != nil:
			db.skipped = append(db.skipped, fmt.Sprintf("%s:%d", file, l.number))
		case l.marker == "revoked":
			db.revoked = append(db.revoked, known)
		case !named && !known.portless:
		case l.marker == "cert-authority":
			db.authorities = append(db.authorities, known)
		case l.marker == "":
			db.keys = append(db.keys, known)
		default:
			db.skipped = append(db.skipped, fmt.Sprintf("%s:%d", file, l.number))
		}
	}
}

// isRevoked reports whether key, or the key or authority of a certificate, is marked @revoked.
func (db *knownHosts) isRevoked(key ssh.PublicKey) bool {
	suspects := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		suspects = []ssh.PublicKey{cert.Key, cert.SignatureKey}
	}
	for _, suspect := range suspects {
		if contains(db.revoked, suspect) {
			return true
		}
	}
	return false
}

// expected describes the keys and authorities known for the host.
func (db *knownHosts) expected() []string {
	var want []string
	for _, k := range db.keys {
		if !k.portless {
			want = append(want, k.String())
		}
	}
	for _, k := range db.authorities {
		if !k.portless {
			want = append(want, "a certificate of authority "+k.String())
		}
	}
	return want
}

// expectedIn returns the file that has the first key or authority known for the host.
func (db *knownHosts) expectedIn() string {
	for _, k := range slices.Concat(db.keys, db.authorities) {
		if !k.portless {
			return k.file
		}
	}
	return ""
}

// types returns the key types known for the host.
func (db *knownHosts) types() []string {
	var types []string
	for _, k := range db.keys {
		types = append(types, k.key.Type())
	}
	return types
}

func contains(known []knownKey, key ssh.PublicKey) bool {
	for _, k := range known {
		if bytes.Equal(k.key.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// matchHost reports whether name matches the host field of a known_hosts line: patterns of
// which none that is negated may match, or one hashed name (sshd(8), SSH_KNOWN_HOSTS FILE
// FORMAT).
func matchHost(patterns []string, name string) bool {
	matched := false
	for _, pattern := range patterns {
		if strings.HasPrefix(pattern, "|") {
			matched = matched || matchHashed(pattern, name)
			continue
		}
		negated, pattern := strings.HasPrefix(pattern, "!"), strings.TrimPrefix(pattern, "!")
		if !matchPattern(strings.ToLower(pattern), name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// matchHashed compares name with "|1|salt|hash", where hash is HMAC-SHA1(salt, name).
func matchHashed(hashed, name string) bool {
	fields := strings.Split(hashed, "|")
	if len(fields) != 4 || fields[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(fields[3])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), want)
}

// matchPattern matches name against a pattern of *, ? and literal bytes, in time proportional
// to the product of their lengths.
func matchPattern(pattern, name string) bool {
	p, n := 0, 0
	star, resume := -1, 0 // the last *, and where in name to go on when it takes one byte more
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			resume++
			p, n = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
