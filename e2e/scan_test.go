//go:build e2e

package e2e

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/util/keyutil"
)

// The kinds of secret that are known by how they look.
const (
	kindKey   = "private key"
	kindToken = "bootstrap token"
	kindJWT   = "service account token"
)

// match is a secret that was found: where and of which kind, never what it is.
type match struct {
	where string
	line  int
	kind  string
}

func (m match) String() string { return fmt.Sprintf("%s:%d: %s", m.where, m.line, m.kind) }

// scanner looks for secrets in whatever it is given: those that show by their form what they are, and
// those it was told, such as a password or a certificate key, which looks like any digest.
type scanner struct {
	known   map[string]string // kind by value
	matches []match
	bytes   int64
}

func newScanner() *scanner { return &scanner{known: map[string]string{}} }

// know has a value looked for. Short ones would be found by chance.
func (s *scanner) know(kind, value string) {
	if len(value) >= 8 {
		s.known[value] = kind
	}
}

// knowKeys has the private keys of a text looked for, line by line: of a file that shows half a key,
// too. It returns how many there are. Those in the kubeconfigs of the text count.
func (s *scanner) knowKeys(text []byte) int {
	n := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			n++
			for _, line := range privateLines(block) {
				s.know(kindKey, line)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\s*client-key-data:\s*(\S+)`).FindAllSubmatch(text, -1) {
		if inner, err := base64.StdEncoding.DecodeString(string(m[1])); err == nil {
			n += s.knowKeys(inner)
		}
	}
	return n
}

// pemLine is how many bytes a line of PEM holds.
const pemLine = 48

// privateLines are the lines of a key with something private in them. Others hold the public key, as
// certificates do.
func privateLines(block *pem.Block) []string {
	lines := strings.Split(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))), "\n")
	lines = lines[1 : len(lines)-1]
	var private []byte
	key, _ := keyutil.ParsePrivateKeyPEM(pem.EncodeToMemory(block))
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		private, _ = key.Bytes()
	case *rsa.PrivateKey:
		private = key.D.Bytes()
	case ed25519.PrivateKey:
		private = key.Seed()
	}
	at := bytes.Index(block.Bytes, private)
	if len(private) == 0 || at < 0 {
		return lines[len(lines)/2:] // OpenSSH's own format: the public key comes first
	}
	return lines[at/pemLine : (at+len(private)-1)/pemLine+1]
}

var (
	keyHeader = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`)
	jwtForm   = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}`)
)

// wrappings is how often a secret may be encoded with base64 and is found all the same: a key is once
// in a kubeconfig, and twice where that is encoded as a whole.
const wrappings = 2

// kinds lists what there is in a text, encoded or not.
func (s *scanner) kinds(text []byte, wrapped int) map[string]bool {
	found := map[string]bool{}
	if keyHeader.Match(text) {
		found[kindKey] = true
	}
	if hasToken(text) {
		found[kindToken] = true
	}
	if jwtForm.Match(text) {
		found[kindJWT] = true
	}
	words := string(text) // once for all of them
	for value, kind := range s.known {
		if strings.Contains(words, value) {
			found[kind] = true
		}
	}
	if wrapped == wrappings {
		return found
	}
	for run := range base64Runs(text) {
		for shift := range 4 { // where it begins is not known: a letter may stand before it
			part := run[shift:]
			inner := make([]byte, base64.RawStdEncoding.DecodedLen(len(part)))
			n, _ := base64.RawStdEncoding.Decode(inner, part[:len(part)/4*4])
			for kind := range s.kinds(inner[:n], wrapped+1) {
				found[kind] = true
			}
		}
	}
	return found
}

// hasToken finds ID.SECRET of 6 and 16 characters. It stands alone: what goes on with a dot or a dash
// is the name of a host or a pod; and it has a digit somewhere, or it is likely two words.
func hasToken(text []byte) bool {
	const id, size = 6, 6 + 1 + 16
	lower := func(b byte) bool { return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' }
	other := func(b byte) bool { return !lower(b) && (b < 'A' || b > 'Z') }
	for dot, b := range text {
		from := dot - id
		if b != '.' || from < 0 || from+size > len(text) {
			continue
		}
		whole := text[from : from+size]
		alone := func(b byte) bool { return other(b) && !bytes.ContainsRune([]byte("._/-"), rune(b)) }
		after := append(slices.Clone(text[from+size:min(from+size+2, len(text))]), "\n\n"...)
		switch {
		case from > 0 && !alone(text[from-1]),
			!alone(after[0]) && (after[0] != '.' || !other(after[1])), // a full stop is no part of it
			!bytes.ContainsAny(whole, "0123456789"):
			continue
		}
		if !slices.ContainsFunc(whole[:id], func(b byte) bool { return !lower(b) }) &&
			!slices.ContainsFunc(whole[id+1:], func(b byte) bool { return !lower(b) }) {
			return true
		}
	}
	return false
}

// shortestRun is how much base64 is worth decoding: enough for a password of 18 letters.
const shortestRun = 24

// base64Runs are the stretches of a text that may be base64, in the alphabet of files.
func base64Runs(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; i < len(text); i++ {
			var run []byte
			for ; i < len(text) && base64Letter(text[i]) != 0; i++ {
				run = append(run, base64Letter(text[i]))
			}
			if len(run) >= shortestRun && !yield(run) {
				return
			}
		}
	}
}

// base64Letter is a letter as files have it, for those of URLs too; 0 is for all other bytes.
func base64Letter(b byte) byte {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '+', b == '/':
		return b
	case b == '-':
		return '+'
	case b == '_':
		return '/'
	}
	return 0
}

// read looks through a text, line by line.
func (s *scanner) read(where string, r io.Reader) error {
	buffered := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := buffered.ReadBytes('\n')
		s.bytes += int64(len(line))
		for kind := range s.kinds(line, 0) {
			s.matches = append(s.matches, match{where, number, kind})
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
}

// archive looks through the files of a tar archive; their names follow that of the host.
func (s *scanner) archive(host string, r io.Reader) (files int, err error) {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, fmt.Errorf("%s: %w", host, err)
		}
		files++
		if err := s.read(host+":/"+strings.TrimPrefix(header.Name, "/"), archive); err != nil {
			return files, err
		}
	}
}

// folder looks through the files below a folder that are wanted, nil for all of them. A folder that
// is not there has none.
func (s *scanner) folder(dir string, wanted func(fs.FileInfo) bool) (files int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || wanted != nil && !wanted(info) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		files++
		return s.read(path, f)
	})
	return files, err
}

// readable tells whether others than its owner may read a file.
func readable(info fs.FileInfo) bool { return info.Mode().Perm()&0o044 != 0 }
