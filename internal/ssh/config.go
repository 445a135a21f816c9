package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubewright/internal/secret"
)

// Config says how to reach one host and who to be there. The zero value of every field but
// Address and User has a usable meaning.
type Config struct {
	Host string // name used in messages; default: Address
	// Settings is where messages say that the host's user, keys and host key are set: SettingsSSH,
	// SettingsBastion or SettingsFile. Empty means SettingsSSH.
	Settings string
	Address  string // DNS name or IP address
	Port     int    // default 22
	User     string // login user; anyone but root becomes root with sudo

	// Keys are offered in order, each with its certificates (KEY-cert.pub) first. When there are
	// any, keys that the agent holds besides are not offered: servers count every offer
	// (MaxAuthTries, 6 by default) and hang up after the last. For WithDefaultFiles nil is not said, and
	// empty is none.
	Keys []Key
	// Agent offers the agent's keys even though Keys are given, after them.
	Agent bool
	// AgentSocket is the path in SSH_AUTH_SOCK; empty: there is no agent. Its keys are offered
	// when Keys is nil, and it signs for those of Keys that are locked by a passphrase
	// not given here.
	AgentSocket string
	// Certificates are files of OpenSSH certificates, each for one of Keys or for a key that the agent
	// holds, besides those that lie beside Keys.
	Certificates []string
	// Password answers password and keyboard-interactive authentication, once.
	Password secret.String
	// SudoPassword is sent to sudo when it asks, once. Empty: sudo must not ask.
	SudoPassword secret.String

	// HostKey pins the server's key: a public key ("ssh-ed25519 AAAA...") or the fingerprint
	// ("SHA256:...") of its Ed25519 key. KnownHosts are then not consulted.
	HostKey string
	// HostKeyAlias is the name to look up in KnownHosts, instead of the address and the port.
	HostKeyAlias string
	// KnownHosts are files in known_hosts format; those that do not exist are empty. For
	// WithDefaultFiles nil is not said, and empty is none.
	KnownHosts []string
	// GlobalKnownHosts are read after KnownHosts, and never written.
	GlobalKnownHosts []string
	// TrustOnFirstUse accepts the key of a host that no file knows and appends it to the first
	// of KnownHosts. It never accepts a changed key.
	TrustOnFirstUse bool

	Timeouts    Timeouts
	MaxSessions int      // session channels at a time, default 8; OpenSSH allows 10
	Limiter     *Limiter // bounds handshakes in progress with an address; share it between hosts. nil: unbounded
	// KnownHostsFiles has the files of known hosts that were read; share it between hosts. nil: each
	// connection reads them.
	KnownHostsFiles *KnownHostsFiles

	// Via are the hosts on the way, the one that is connected to first in front; the last one connects
	// to Address. A Limiter, KnownHostsFiles and Timeouts that they lack are those of this host. nil: there are none.
	Via []Config
	// Bastions has the connections to Via; share it between hosts. nil: the host has its own.
	Bastions *Bastions

	// DialContext opens the transport; default: a net.Dialer. With Via it is not used.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// The places of a host's settings, for the remedies of errors: those of an inventory, those of a bastion
// there, and an ssh_config file.
const (
	SettingsSSH     = "ssh"
	SettingsBastion = "ssh.bastion"
	SettingsFile    = "ssh_config"
)

// setting is what messages call a setting of the host, by its name in an inventory.
func (c Config) setting(name string) string {
	keyword, ok := map[string]string{"user": "User", "keyFile": "IdentityFile"}[name]
	switch {
	case c.Settings == "":
		return SettingsSSH + "." + name
	case c.Settings == SettingsFile && ok:
		return keyword
	default:
		return c.Settings + "." + name
	}
}

// Key is a private key to log in with, by Path or as PEM.
type Key struct {
	Path       string
	PEM        secret.Bytes
	Passphrase secret.String
	Optional   bool // skip the key when it cannot be read or unlocked, as ssh does with ~/.ssh/id_*
}

// Timeouts are the deadlines of a connection; a zero field has the default given with it.
type Timeouts struct {
	Dial            time.Duration // TCP connect, 10 s
	Handshake       time.Duration // key exchange and login, 30 s
	Connect         time.Duration // all attempts together while the server is too busy, 60 s
	Start           time.Duration // from asking for a session until the root shell answers, 30 s
	Drain           time.Duration // silence tolerated on stdout after the shell has exited, 2 s
	Stop            time.Duration // ending a cancelled script on the host, 5 s
	Finish          time.Duration // what a cancelled Act is given before that to end by itself, 10 s
	Keepalive       time.Duration // interval of keepalives on a silent connection, 10 s
	KeepaliveMisses int           // unanswered keepalives until the connection counts as lost, 3
}

// withDefaults returns t with its zero fields filled.
func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Dial, 10 * time.Second},
		{&t.Handshake, 30 * time.Second},
		{&t.Connect, 60 * time.Second},
		{&t.Start, 30 * time.Second},
		{&t.Drain, 2 * time.Second},
		{&t.Stop, 5 * time.Second},
		{&t.Finish, 10 * time.Second},
		{&t.Keepalive, 10 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if t.KeepaliveMisses <= 0 {
		t.KeepaliveMisses = 3
	}
	return t
}

// withDefaults returns c with its zero fields filled.
func (c Config) withDefaults() Config {
	if c.Host == "" {
		c.Host = c.Address
	}
	if c.Port == 0 {
		c.Port = 22
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = 8
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	c.Timeouts = c.Timeouts.withDefaults()
	return c
}

// validate reports what makes c unusable; all of it at once.
func (c Config) validate() error {
	var errs []error
	if c.Address == "" {
		errs = append(errs, errors.New("address is empty"))
	}
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not between 1 and 65535", c.Port))
	}
	if c.User == "" {
		errs = append(errs, errors.New("user is empty"))
	}
	if strings.ContainsAny(c.SudoPassword.Reveal(), "\n\r\x00") {
		errs = append(errs, errors.New("the sudo password contains a line break or NUL: a value read from a file must be trimmed"))
	}
	if c.TrustOnFirstUse && len(c.KnownHosts) == 0 && c.HostKey == "" {
		errs = append(errs, errors.New("trust on first use needs a known_hosts file to write to"))
	}
	if c.HostKey != "" {
		if _, err := parsePin(c.HostKey); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &ConfigError{Host: c.Host, Err: err}
	}
	return nil
}

// way returns the hosts on the way with what they take from the host behind them.
func (c Config) way() []Config {
	var way []Config
	for _, hop := range c.Via {
		if hop.Limiter == nil {
			hop.Limiter = c.Limiter
		}
		if hop.KnownHostsFiles == nil {
			hop.KnownHostsFiles = c.KnownHostsFiles
		}
		if hop.Timeouts == (Timeouts{}) {
			hop.Timeouts = c.Timeouts
		}
		way = append(way, hop)
	}
	return way
}

// ConfigError says that the configuration cannot be used: a value out of range, a key file that
// cannot be read, a wrong passphrase. Nothing was sent to the host.
type ConfigError struct {
	Host string
	Err  error
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Host + ": ssh configuration: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// knownHostsFiles are all files in which the host's key is looked for.
func (c Config) knownHostsFiles() []string {
	return slices.Concat(c.KnownHosts, c.GlobalKnownHosts)
}

// hostKeyName is what known_hosts files call the host: host:port, or the alias alone.
func (c Config) hostKeyName() string {
	if c.HostKeyAlias != "" {
		return c.HostKeyAlias
	}
	return c.endpoint()
}

// endpoint returns host:port as dialled.
func (c Config) endpoint() string {
	return net.JoinHostPort(c.Address, strconv.Itoa(c.Port))
}
