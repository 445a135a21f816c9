package catalog

import (
	"path"
	"strings"
	"testing"
)

// A checksum that is found is a digest that the file has, beside the name or alone; what the
// file says of other files changes nothing.
func FuzzParseChecksum(f *testing.F) {
	for _, seed := range []string{
		sumA, sumA + "  runc.amd64\n", sumA + " *out/runc.amd64\r\n", sumB + "  x\n" + sumA + "  runc.amd64\n", strings.ToUpper(sumA), sumA + "\n" + sumB + "  x\n",
		sumA + "  runc.amd64\n" + sumB + "  runc.amd64\n", "<html>", sumA + sumA + "  runc.amd64\n", "\xef\xbb\xbf" + sumA, sumA + "\x00", sumA + "\u00a0runc.amd64", sumA + "  runc.amd64 x\n",
	} {
		f.Add([]byte(seed), "runc.amd64")
	}
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		sum, err := ParseChecksum(file, name)
		if err != nil {
			if sum != "" {
				t.Errorf("%q is refused and given", sum)
			}
			return
		}
		if !isSHA256(sum) || !says(file, sum, name) {
			t.Errorf("the file does not say that the digest of %q is %q", name, sum)
		}
		if other := "other-" + path.Base(name); len(strings.Fields(other)) == 1 {
			more := append(append([]byte{}, file...), "\n"+sumC+"  "+other+"\n"...)
			if again, err := ParseChecksum(more, name); again != sum || err != nil {
				t.Errorf("with a line about %q the digest is %q, %v, before it was %q", other, again, err, sum)
			}
		}
	})
}

// says reads a checksum file in the simplest way: is there a line with the digest that names the
// file, or nothing else?
func says(file []byte, sum, name string) bool {
	for line := range strings.Lines(string(file)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.EqualFold(fields[0], sum) {
			continue
		}
		if len(fields) == 1 || strings.HasSuffix(strings.TrimRight(fields[1], "/"), name) {
			return true
		}
	}
	return false
}

// A lock that is written is read back with every digest, and one digest of it is what was asked
// for.
func FuzzLockRoundTrip(f *testing.F) {
	f.Add("https://a/b", "sha256:"+sumA)
	f.Add("https://a/b: c\n- \"'\u2028", "sha256:"+sumA)
	f.Add("https://a/\xff", "sha256:"+sumA)
	f.Add("a", "sha256:"+sumA)
	f.Add("https://a/b", "sha256:"+strings.ToUpper(sumA))
	f.Fuzz(func(t *testing.T, url, digest string) {
		lock := Lock{Files: map[string]string{url: digest}}
		data, err := lock.Encode()
		if err != nil {
			return
		}
		again, err := DecodeLock(data)
		if err != nil || len(again.Files) != 1 {
			t.Fatalf("%q cannot be read back: %v, %v", data, again, err)
		}
		if sum, ok := again.SHA256(url); !ok || digestPrefix+sum != digest {
			t.Errorf("the digest of %q is read as %q, %v from %q", url, sum, ok, data)
		}
	})
}
