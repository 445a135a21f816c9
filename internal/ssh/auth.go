package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kubewright/internal/host"
	"kubewright/internal/secret"
)

// login is one attempt to authenticate. It keeps what was offered, for the error.
type login struct {
	config     Config
	identities []identity
	agent      agent.ExtendedAgent // nil: none, or not reachable
	agentErr   error

	mu       sync.Mutex
	tried    []string
	accepted []string // methods that the server named
	answered bool     // the password went out
}

// newLogin prepares an attempt; close ends its conversation with the agent.
func newLogin(ctx context.Context, c Config, identities []identity) (l *login, closeAgent func()) {
	l = &login{config: c, identities: identities}
	if c.AgentSocket == "" {
		return l, func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeouts.Handshake)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.AgentSocket)
	if err != nil {
		l.agentErr = err
		return l, func() {}
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	l.agent = agent.NewClient(conn)
	return l, func() { _ = conn.Close() }
}

// methods returns the ways to authenticate, in the order in which they are tried.
func (l *login) methods() []ssh.AuthMethod {
	methods := []ssh.AuthMethod{ssh.PublicKeysCallback(l.signers)}
	if l.config.Password != "" {
		methods = append(methods,
			ssh.PasswordCallback(func() (string, error) {
				l.note("password")
				return l.answer()
			}),
			ssh.KeyboardInteractive(l.challenge))
	}
	return methods
}

// observe is the ssh.ClientAuthCallback: it picks nothing and remembers what the server takes.
func (l *login) observe(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = state.AllowedMethods
	return nil, nil
}

func (l *login) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried = append(l.tried, what)
}

// answer returns the password the first time. A server that takes it by two methods would count
// a wrong one twice, towards locking the account.
func (l *login) answer() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answered {
		return "", errors.New("the password was refused, it is not sent again")
	}
	l.answered = true
	return l.config.Password.Reveal(), nil
}

// challenge answers keyboard-interactive questions: one hidden question is the password, and
// there is nobody to answer any other.
func (l *login) challenge(_, instruction string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) != 1 || echos[0] {
		return nil, fmt.Errorf("the server asks %q, which only a person can answer", strings.Join(append([]string{instruction}, questions...), " "))
	}
	l.note("keyboard-interactive")
	password, err := l.answer()
	if err != nil {
		return nil, err
	}
	return []string{password}, nil
}

// signers returns the keys to offer. It is called once the server accepts keys.
func (l *login) signers() ([]ssh.Signer, error) {
	held, err := l.agentSigners()
	var offer []ssh.Signer
	for _, id := range l.identities {
		if id.signer == nil {
			id.signer = find(held, id.public)
		}
		if id.signer == nil {
			l.note(fmt.Sprintf("key %s (%s)", id.name, l.whyNot(id, err)))
			continue
		}
		signers, err := id.signers()
		if err != nil {
			return nil, err
		}
		l.note(describe(id))
		offer = append(offer, signers...)
	}
	if l.config.AgentSocket != "" && (l.config.Agent || l.config.Keys == nil) {
		if err != nil {
			l.note(fmt.Sprintf("agent (%v)", err))
		} else {
			l.note(fmt.Sprintf("agent (%d keys)", len(held)))
		}
		for _, signer := range held {
			if find(offer, signer.PublicKey()) == nil { // an offer counts, of a key twice too
				offer = append(offer, signer)
			}
		}
	}
	return offer, nil
}

func (l *login) agentSigners() ([]ssh.Signer, error) {
	if l.agent == nil {
		return nil, l.agentErr
	}
	return l.agent.Signers()
}

// whyNot says why a key could not be offered.
func (l *login) whyNot(id identity, agentErr error) string {
	why := "a public key, its private key is not in the agent"
	if id.locked {
		why = "protected by a passphrase that is not set, and not in the agent"
	}
	switch {
	case l.config.AgentSocket == "":
		why += ", of which there is none"
	case agentErr != nil:
		why += fmt.Sprintf(": %v", agentErr)
	}
	return why
}

func describe(id identity) string {
	s := "key " + id.name + " " + ssh.FingerprintSHA256(id.public)
	for _, cert := range id.certs {
		s += " with its certificate"
		if until := cert.ValidBefore; until != ssh.CertTimeInfinity && time.Now().After(time.Unix(int64(until), 0)) {
			s += ", which has expired"
		}
	}
	return s
}

func find(signers []ssh.Signer, public ssh.PublicKey) ssh.Signer {
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), public.Marshal()) {
			return s
		}
	}
	return nil
}

// failed builds the error of a refused login.
func (l *login) failed(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.config
	err := &host.AuthError{Host: c.Host, User: c.User, Tried: l.tried, Err: redact(cause, c.Password)}
	text := strings.ToLower(cause.Error())
	switch {
	case strings.Contains(text, "too many authentication"): // the server's word, or the library's
		err.Remedy = "the server gave up before the right key was offered: name that key with " + c.setting("keyFile")
	case len(l.tried) == 0 && len(l.accepted) > 0:
		ways := fmt.Sprintf("%s, ssh.agent or %s", c.setting("keyFile"), c.setting("password"))
		if c.Settings == SettingsFile { // which has no passwords
			ways = c.setting("keyFile") + " or ssh.agent"
		}
		err.Remedy = fmt.Sprintf("the server takes %s, and none of it is configured: set %s", strings.Join(l.accepted, ", "), ways)
	case len(l.accepted) > 0:
		err.Remedy = fmt.Sprintf("the server takes %s: check %s and that the key is in the user's ~/.ssh/authorized_keys",
			strings.Join(l.accepted, ", "), c.setting("user"))
	default:
		err.Remedy = "check " + c.setting("user") + " and the credentials"
	}
	return err
}

// hide replaces the passwords in text that came from the host.
func (c *Client) hide(text string) string {
	return redactText(text, c.config.SudoPassword, c.config.Password)
}

// redact removes secrets from the text of err. It returns err itself, with what errors.Is and
// errors.As see, when there was nothing to remove.
func redact(err error, secrets ...secret.String) error {
	text := redactText(err.Error(), secrets...)
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// redactText leaves alone what is shorter than 4 bytes: such a password would be told by the
// words around the gaps, and every message would have some.
func redactText(text string, secrets ...secret.String) string {
	for _, s := range secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s.Reveal(), secret.Redacted)
		}
	}
	return text
}
