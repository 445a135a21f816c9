package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"kubewright/internal/host"
)

// verifier decides whether a server is the host it should be, in one handshake. The three
// outcomes are: the key is known; the host is unknown (trusted and recorded only when that was
// asked for); the host is known with another key, which is always the end.
type verifier struct {
	config Config
	known  *knownHosts // nil when a key is pinned
	pin    pin

	mu     sync.Mutex
	called bool  // the server has shown a key that it owns
	err    error // why the key was refused
}

func newVerifier(c Config) (*verifier, error) {
	v := &verifier{config: c}
	var err error
	if c.HostKey != "" {
		v.pin, err = parsePin(c.HostKey)
		return v, err
	}
	v.known, err = loadKnownHosts(c.KnownHostsFiles, c.knownHostsFiles(), c.hostKeyName())
	if err != nil {
		return nil, &ConfigError{Host: c.Host, Err: err}
	}
	return v, nil
}

// algorithms returns the host key algorithms to negotiate, those that the known keys can
// answer first: a server has several keys and shows only one. Certificates are asked for only
// when an authority is known, since no other one could be verified.
func (v *verifier) algorithms() []string {
	known, certificates := []string{v.pin.keyType}, false
	if v.known != nil {
		known, certificates = v.known.types(), len(v.known.authorities) > 0
	}
	rank := func(algorithm string) int {
		switch {
		case strings.HasSuffix(algorithm, "-cert-v01@openssh.com"):
			return 0
		case slices.Contains(known, keyType(algorithm)):
			return 1
		case algorithm == ssh.KeyAlgoED25519:
			return 2
		default:
			return 3
		}
	}
	algorithms := ssh.SupportedAlgorithms().HostKeys
	if !certificates {
		algorithms = slices.DeleteFunc(algorithms, func(a string) bool { return rank(a) == 0 })
	}
	slices.SortStableFunc(algorithms, func(a, b string) int { return rank(a) - rank(b) })
	return algorithms
}

// keyType returns the type of key that signs with algorithm.
func keyType(algorithm string) string {
	if strings.HasPrefix(algorithm, "rsa-sha2-") {
		return ssh.KeyAlgoRSA
	}
	return algorithm
}

// check is the ssh.HostKeyCallback. The library has verified by then that the server owns key.
func (v *verifier) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	err := v.judge(remote, key)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.called, v.err = true, err
	return err
}

// outcome returns whether the server came as far as to show its key, and why that was refused.
// The library may still be inside check when a handshake fails for another reason.
func (v *verifier) outcome() (called bool, refused error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.called, v.err
}

func (v *verifier) judge(remote net.Addr, key ssh.PublicKey) error {
	if v.known == nil {
		if v.pin.matches(key) {
			return nil
		}
		return v.refuse(key, []string{v.pin.String() + " (" + v.config.setting("hostKey") + ")"}, nil)
	}
	if v.known.isRevoked(key) {
		err := v.refuse(key, nil, nil)
		err.Revoked, err.Remedy = true, "the key was withdrawn: give the host a new one"
		return err
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		checker := ssh.CertChecker{IsHostAuthority: func(authority ssh.PublicKey, _ string) bool {
			return contains(v.known.authorities, authority)
		}}
		if !contains(v.known.authorities, cert.SignatureKey) && contains(v.known.keys, cert.Key) {
			return nil // the key that is certified is known by itself
		}
		name := v.config.endpoint()
		if alias := v.config.HostKeyAlias; alias != "" {
			name = net.JoinHostPort(alias, "22") // the port has no meaning
		}
		if err := checker.CheckHostKey(name, remote, key); err != nil {
			return v.refuse(key, v.known.expected(), err)
		}
		return nil
	}
	if contains(v.known.keys, key) {
		return nil
	}
	want := v.known.expected()
	if len(want) > 0 || !v.config.TrustOnFirstUse {
		return v.refuse(key, want, nil)
	}
	return v.trust(key)
}

// refuse builds the error for a key that is not trusted.
func (v *verifier) refuse(key ssh.PublicKey, want []string, cause error) *host.HostKeyError {
	c := v.config
	err := &host.HostKeyError{Host: c.Host, Fingerprint: ssh.FingerprintSHA256(key), Want: want, Err: cause}
	switch {
	case c.HostKey != "" && v.pin.key == nil:
		err.Remedy = fmt.Sprintf("nothing was sent. The server showed its %s key: if the fingerprint pinned is that of a key "+
			"of another type, pin the whole public key instead; if the host was reinstalled, correct %s", key.Type(), c.setting("hostKey"))
	case c.HostKey != "":
		err.Remedy = fmt.Sprintf("nothing was sent. If the host was reinstalled, correct %s; if not, somebody may be in between", c.setting("hostKey"))
	case len(want) > 0:
		err.Remedy = fmt.Sprintf("nothing was sent. If the host was reinstalled, run: ssh-keygen -R '%s' -f %s; "+
			"if not, somebody may be in between", v.known.name, v.known.expectedIn())
	default:
		err.Remedy = "compare it with the host's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: " +
			strings.Join(v.waysToTrust(key), ", or ")
		if len(v.known.skipped) > 0 {
			err.Err = fmt.Errorf("unreadable lines were skipped: %s", strings.Join(v.known.skipped, ", "))
		}
	}
	return err
}

// waysToTrust says how the key of an unknown host becomes a known one. ssh-keyscan reaches only hosts
// without others in between, and does not know of an alias.
func (v *verifier) waysToTrust(key ssh.PublicKey) []string {
	c := v.config
	var ways []string
	switch {
	case len(c.KnownHosts) == 0:
		ways = append(ways, "name a file that has it as ssh.knownHosts")
	case len(c.Via) > 0 || c.HostKeyAlias != "":
		ways = append(ways, fmt.Sprintf("add this line to %s: %s", c.KnownHosts[0], knownhosts.Line([]string{c.hostKeyName()}, key)))
	default:
		ways = append(ways, fmt.Sprintf("ssh-keyscan -p %d %s >> %s", c.Port, c.Address, c.KnownHosts[0]))
	}
	if c.Settings != SettingsFile { // which can pin none
		ways = append(ways, "pin it with "+c.setting("hostKey"))
	}
	if len(c.KnownHosts) > 0 {
		ways = append(ways, "set ssh.trustOnFirstUse: true")
	}
	return ways
}

// pin is a key given in the inventory: a public key or only its fingerprint.
type pin struct {
	key         ssh.PublicKey
	keyType     string
	fingerprint string
}

// String returns the fingerprint.
func (p pin) String() string { return p.fingerprint }

func (p pin) matches(key ssh.PublicKey) bool {
	if p.key != nil {
		return bytes.Equal(p.key.Marshal(), key.Marshal())
	}
	return p.fingerprint == ssh.FingerprintSHA256(key)
}

// parsePin reads "SHA256:..." or a public key as ssh-keygen and ssh-keyscan print it.
func parsePin(s string) (pin, error) {
	s = strings.TrimSpace(s)
	if fingerprint := strings.TrimRight(s, "="); strings.HasPrefix(fingerprint, "SHA256:") {
		// 256 bits are 43 characters of base64 without padding.
		if len(fingerprint) != len("SHA256:")+43 {
			return pin{}, errors.New("host key: the SHA256 fingerprint is not 43 characters long")
		}
		return pin{fingerprint: fingerprint}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		// ssh-keyscan puts the name of the host in front of the key.
		var scanErr error
		if _, _, key, _, _, scanErr = ssh.ParseKnownHosts([]byte(s)); scanErr != nil {
			return pin{}, errors.New(`host key: neither a fingerprint ("SHA256:...") nor a public key ("ssh-ed25519 AAAA...")`)
		}
	}
	return pin{key: key, keyType: key.Type(), fingerprint: ssh.FingerprintSHA256(key)}, nil
}
