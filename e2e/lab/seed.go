package lab

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"
)

// seed is what makes a node of the image: its identity, and who may log in.
type seed struct {
	node      Node
	hostKey   keyPair
	machineID string
	resolvers []netip.Addr
	loginKey  string // authorized_keys line of the lab's key
	now       time.Time
}

// archive packs the seed as a tar of root-owned files, to be unpacked on the node's root before
// its first start.
func (s seed) archive() ([]byte, error) {
	a := newArchive(s.now)
	a.file("etc/hostname", 0o644, s.node.Name+"\n")
	a.file("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"+
		fmt.Sprintf("%s %s\n", s.node.Address, s.node.Name))
	a.file("etc/resolv.conf", 0o644, resolvConf(s.resolvers))
	a.file("etc/machine-id", 0o444, s.machineID+"\n")
	a.file("etc/ssh/ssh_host_ed25519_key", 0o600, string(s.hostKey.private))
	a.file("etc/ssh/ssh_host_ed25519_key.pub", 0o644, s.hostKey.public+"\n")
	a.logins(s.loginKey)
	return a.close()
}

// loginArchive packs only who may log in, for a node that exists.
func loginArchive(loginKey string, now time.Time) ([]byte, error) {
	a := newArchive(now)
	a.logins(loginKey)
	return a.close()
}

// resolvConf is a node's resolv.conf, with the machine's name servers. Kubernetes and glibc
// both heed only the first three.
func resolvConf(servers []netip.Addr) string {
	var out strings.Builder
	for i, addr := range servers {
		if i == 3 {
			break
		}
		fmt.Fprintf(&out, "nameserver %s\n", addr)
	}
	return out.String()
}

// archive collects files, and the first error.
type archive struct {
	buf bytes.Buffer
	tar *tar.Writer
	now time.Time
	err error
}

func newArchive(now time.Time) *archive {
	a := &archive{now: now}
	a.tar = tar.NewWriter(&a.buf)
	return a
}

// logins lets the holder of the key in, as any of the lab's users. The files belong to root,
// which sshd accepts for everybody who can read them, so that the archive needs no user numbers.
func (a *archive) logins(key string) {
	a.dir("root/.ssh", 0o700)
	a.file("root/.ssh/authorized_keys", 0o600, key+"\n")
	for _, home := range []string{"home/" + LoginSudo.User(), "home/" + LoginSudoPassword.User()} {
		a.dir(home+"/.ssh", 0o755)
		a.file(home+"/.ssh/authorized_keys", 0o644, key+"\n")
	}
}

func (a *archive) dir(path string, mode fs.FileMode) {
	a.write(&tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: int64(mode), ModTime: a.now}, "")
}

func (a *archive) file(path string, mode fs.FileMode, content string) {
	a.write(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: int64(mode), Size: int64(len(content)), ModTime: a.now}, content)
}

func (a *archive) write(h *tar.Header, content string) {
	if a.err == nil {
		a.err = a.tar.WriteHeader(h)
	}
	if a.err == nil && content != "" {
		_, a.err = a.tar.Write([]byte(content))
	}
}

func (a *archive) close() ([]byte, error) {
	if a.err == nil {
		a.err = a.tar.Close()
	}
	if a.err != nil {
		return nil, fmt.Errorf("packing the files of a node: %w", a.err)
	}
	return a.buf.Bytes(), nil
}
