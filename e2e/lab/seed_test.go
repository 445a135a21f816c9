package lab

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// packed is a file of an archive.
type packed struct {
	Mode     int64
	UID, GID int
	Content  string
}

func unpacked(t *testing.T, archive []byte) map[string]packed {
	t.Helper()
	files := make(map[string]packed)
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = packed{h.Mode, h.Uid, h.Gid, string(content)}
	}
}

func TestSeed(t *testing.T) {
	s := seed{
		node:      Node{Name: "worker1", Role: RoleWorker, Address: netip.MustParseAddr("10.111.0.11")},
		hostKey:   keyPair{private: []byte("PRIVATE"), public: "ssh-ed25519 HOST"},
		machineID: "0123",
		resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.4")},
		loginKey:  "ssh-ed25519 LOGIN",
		now:       time.Unix(1, 0),
	}
	archive, err := s.archive()
	if err != nil {
		t.Fatal(err)
	}
	logins := map[string]packed{
		"root/.ssh/":                      {Mode: 0o700},
		"root/.ssh/authorized_keys":       {Mode: 0o600, Content: "ssh-ed25519 LOGIN\n"},
		"home/ops/.ssh/":                  {Mode: 0o755},
		"home/ops/.ssh/authorized_keys":   {Mode: 0o644, Content: "ssh-ed25519 LOGIN\n"},
		"home/admin/.ssh/":                {Mode: 0o755},
		"home/admin/.ssh/authorized_keys": {Mode: 0o644, Content: "ssh-ed25519 LOGIN\n"},
	}
	want := map[string]packed{
		"etc/hostname":   {Mode: 0o644, Content: "worker1\n"},
		"etc/hosts":      {Mode: 0o644, Content: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.111.0.11 worker1\n"},
		"etc/machine-id": {Mode: 0o444, Content: "0123\n"},
		// glibc reads three, and kubelet warns about more
		"etc/resolv.conf":                  {Mode: 0o644, Content: "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"},
		"etc/ssh/ssh_host_ed25519_key":     {Mode: 0o600, Content: "PRIVATE"},
		"etc/ssh/ssh_host_ed25519_key.pub": {Mode: 0o644, Content: "ssh-ed25519 HOST\n"},
	}
	for path, file := range logins {
		want[path] = file
	}
	if diff := cmp.Diff(want, unpacked(t, archive)); diff != "" {
		t.Errorf("seed of a node (-want +got):\n%s", diff)
	}

	archive, err = loginArchive("ssh-ed25519 LOGIN", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(logins, unpacked(t, archive)); diff != "" {
		t.Errorf("what a node that exists gets (-want +got):\n%s", diff)
	}
}
