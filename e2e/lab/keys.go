package lab

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"
)

// keyPair is an ed25519 key for SSH, of the lab or of a node.
type keyPair struct {
	private []byte // OpenSSH's format
	public  string // as in authorized_keys, without a comment
}

// newKeyPair makes a key.
func newKeyPair(rand io.Reader, comment string) (keyPair, error) {
	_, private, err := ed25519.GenerateKey(rand)
	if err != nil {
		return keyPair{}, fmt.Errorf("generating an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return keyPair{}, fmt.Errorf("encoding an SSH key: %w", err)
	}
	return parseKeyPair(pem.EncodeToMemory(block))
}

// parseKeyPair reads a private key without passphrase.
func parseKeyPair(private []byte) (keyPair, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return keyPair{}, err
	}
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return keyPair{private: private, public: public}, nil
}

// newMachineID makes what /etc/machine-id holds: 32 hexadecimal digits of a version 4 UUID, by
// machine-id(5).
func newMachineID(rand io.Reader) (string, error) {
	var id [16]byte
	if _, err := io.ReadFull(rand, id[:]); err != nil {
		return "", fmt.Errorf("generating a machine-id: %w", err)
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return hex.EncodeToString(id[:]), nil
}

// newPassword makes a line with a password of 144 bits.
func newPassword(rand io.Reader) ([]byte, error) {
	var raw [18]byte
	if _, err := io.ReadFull(rand, raw[:]); err != nil {
		return nil, fmt.Errorf("generating a password: %w", err)
	}
	return append(base64.RawURLEncoding.AppendEncode(nil, raw[:]), '\n'), nil
}

// knownHosts renders the nodes' host keys in the format of sshd(8), by address and by name.
func knownHosts(nodes []Node) []byte {
	var out strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&out, "%s,%s %s\n", n.Address, n.Name, n.HostKey)
	}
	return []byte(out.String())
}

// resolvers picks the name servers out of a resolv.conf that a container can use too: those
// that are not on the machine's own loopback.
func resolvers(resolvConf []byte) []netip.Addr {
	var out []netip.Addr
	for line := range strings.Lines(string(resolvConf)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(fields[1])
		if err == nil && !addr.IsLoopback() && !addr.IsLinkLocalUnicast() {
			out = append(out, addr)
		}
	}
	return out
}
