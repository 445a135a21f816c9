package lab

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestKeyPairSurvivesItsFile(t *testing.T) {
	made, err := newKeyPair(rand.Reader, "a comment")
	if err != nil {
		t.Fatal(err)
	}
	read, err := parseKeyPair(made.private)
	if err != nil {
		t.Fatal(err)
	}
	if read.public != made.public || !strings.HasPrefix(made.public, "ssh-ed25519 ") || strings.Contains(made.public, "\n") {
		t.Errorf("made %q, read %q", made.public, read.public)
	}
	if _, err := parseKeyPair([]byte("not a key")); err == nil {
		t.Error("a damaged key file was read")
	}
	other, err := newKeyPair(rand.Reader, "a comment")
	if err != nil || other.public == made.public {
		t.Errorf("a second key is %q, %v; the first was %q", other.public, err, made.public)
	}
}

func TestMachineID(t *testing.T) {
	id, err := newMachineID(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^f{12}4f{3}bf{15}$`).MatchString(id) {
		t.Errorf("machine-id = %s, want version 4 and the variant of RFC 9562", id)
	}
}

func TestWithoutRandomnessThereAreNoSecrets(t *testing.T) {
	broken := errors.New("no entropy")
	if _, err := newMachineID(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("machine-id: error = %v", err)
	}
	if _, err := newPassword(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("password: error = %v", err)
	}
}

func TestPasswordIsOneWordOnALine(t *testing.T) {
	password, err := newPassword(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{24}\n$`).Match(password) {
		t.Errorf("password = %q", password)
	}
}

func TestKnownHostsIsReadByOthers(t *testing.T) {
	key, err := newKeyPair(rand.Reader, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	nodes := []Node{{Name: "cp1", Address: netip.MustParseAddr("10.111.0.10"), HostKey: key.public}}
	if err := writeFile(dir, fileKnownHosts, 0o644, knownHosts(nodes)); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(dir + "/" + fileKnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key.public))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"10.111.0.10:22", "cp1:22"} {
		if err := check(host, fakeAddr("10.111.0.10:22"), public); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

type fakeAddr string

func (fakeAddr) Network() string  { return "tcp" }
func (a fakeAddr) String() string { return string(a) }

func TestResolvers(t *testing.T) {
	tests := map[string]struct {
		conf string
		want []string
	}{
		"plain":                     {"search example\nnameserver 10.0.0.53\nnameserver 2001:db8::53\n", []string{"10.0.0.53", "2001:db8::53"}},
		"stub of systemd-resolved":  {"nameserver 127.0.0.53\noptions edns0\n", nil},
		"loopback beside a real":    {"nameserver ::1\nnameserver 10.0.0.53", []string{"10.0.0.53"}},
		"link-local, with its zone": {"nameserver fe80::1%eth0\n", nil},
		"comments and nonsense":     {"# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameserver\nnameserver x\n", nil},
		"empty":                     {"", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, a := range resolvers([]byte(tc.conf)) {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
