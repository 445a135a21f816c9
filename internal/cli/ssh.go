package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"

	"kubewright/internal/host"
	"kubewright/internal/secret"
	"kubewright/internal/ssh"
	"kubewright/inventory"
)

// dialer opens SSH connections as the inventory says. All hosts share the connections to their
// bastions, and one limit of handshakes, so that a busy sshd is not overrun.
type dialer struct {
	limiter  *ssh.Limiter
	bastions *ssh.Bastions
	known    *ssh.KnownHostsFiles
	configs  map[string]ssh.Config // by host

	mu    sync.Mutex
	files map[string]clientFile // ssh_config files by path
}

// clientFile is an ssh_config file that was read, or why it could not be.
type clientFile struct {
	config *ssh.ClientConfig
	err    error
}

// newDialer prepares the connections to hosts: every secret that is missing is found
// before anything is dialled.
func newDialer(hosts []inventory.Host) (*dialer, error) {
	d := &dialer{
		limiter: ssh.NewLimiter(ssh.DefaultHandshakes), bastions: ssh.NewBastions(), known: ssh.NewKnownHostsFiles(),
		files: map[string]clientFile{}, configs: map[string]ssh.Config{},
	}
	var errs []error
	for _, h := range hosts {
		config, err := d.config(h)
		errs = append(errs, err)
		d.configs[h.Name] = config
	}
	return d, joinOnce(errs)
}

// joinOnce joins errors, of which several hosts may have the same: that of a file that they share.
func joinOnce(errs []error) error {
	var once []error
	for _, err := range failures(errors.Join(errs...)) {
		if !slices.Contains(once, err) {
			once = append(once, err)
		}
	}
	return errors.Join(once...)
}

// dial connects to a host. One that was not prepared is only asked for what it knows.
func (d *dialer) dial(ctx context.Context, h inventory.Host) (host.Conn, error) {
	config, ok := d.configs[h.Name]
	if !ok {
		var err error
		if config, err = d.config(h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	config.Limiter, config.Bastions, config.KnownHostsFiles = d.limiter, d.bastions, d.known
	return ssh.Dial(ctx, config)
}

// config turns what the inventory says into what a connection needs: secrets are read
// from where they are kept, paths are made whole, what the inventory does not say is taken from an
// ssh_config file, OpenSSH's defaults are filled in. The error names every secret that cannot be had.
func (d *dialer) config(h inventory.Host) (ssh.Config, error) {
	s := h.SSH
	config := ssh.Config{
		Host: h.Name, Address: h.Address, Port: s.Port, User: s.User,
		AgentSocket: os.Getenv("SSH_AUTH_SOCK"), Agent: s.Agent,
		HostKey: s.HostKey, TrustOnFirstUse: s.TrustOnFirstUse,
	}
	for _, path := range s.KnownHosts {
		config.KnownHosts = append(config.KnownHosts, expandHome(path))
	}
	var errs []error
	resolve := func(ref inventory.Ref) secret.String {
		value, err := resolveRef(ref)
		errs = append(errs, err)
		return value
	}
	config.Password = resolve(s.Password)
	config.SudoPassword = resolve(s.Sudo.Password)
	if s.KeyFile != "" {
		config.Keys = []ssh.Key{{Path: expandHome(s.KeyFile), Passphrase: resolve(s.Passphrase)}}
	}
	if s.CertificateFile != "" {
		config.Certificates = []string{expandHome(s.CertificateFile)}
	}
	bastion := config // its credentials, known hosts and trust
	b := s.Bastion
	bastion.Host, bastion.Address, bastion.Port, bastion.User, bastion.HostKey = "bastion "+b.Address, b.Address, b.Port, b.User, b.HostKey
	bastion.Settings = ssh.SettingsBastion
	bastion.SudoPassword = "" // nobody becomes root there
	if b.KeyFile != "" || !b.Password.IsZero() {
		bastion.Agent, bastion.Keys, bastion.Certificates = false, nil, nil
		bastion.Password = resolve(b.Password)
	}
	if b.KeyFile != "" {
		bastion.Keys = []ssh.Key{{Path: expandHome(b.KeyFile), Passphrase: resolve(b.Passphrase)}}
	}
	if b.Address != "" {
		config.Via = []ssh.Config{} // whatever an ssh_config says
	}
	config, err := d.complete(config, s.ConfigFile, "root")
	errs = append(errs, err)
	if b.Address != "" && b.Address != inventory.NoBastion {
		bastion, err = d.complete(bastion, s.ConfigFile, config.User)
		errs = append(errs, err)
		config.Via = bastion.Way()
	}
	return config, joinOnce(errs)
}

// complete fills in what the inventory does not say: from an ssh_config file if there is one, else with
// OpenSSH's defaults; user logs in where nobody says who.
func (d *dialer) complete(config ssh.Config, path, user string) (ssh.Config, error) {
	home := expandHome("~/")
	if path == "" {
		if config.User == "" {
			config.User = user
		}
		return config.WithDefaultFiles(home), nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	file, ok := d.files[path]
	if !ok {
		file.config, file.err = ssh.ReadClientConfig(expandHome(path), ssh.Environment{Home: home, User: ownName(), Lookup: os.LookupEnv})
		d.files[path] = file
	}
	if file.err != nil {
		return config, file.err
	}
	config, err := file.config.Apply(config, user)
	return config.WithDefaultFiles(home), err
}

// ownName is who runs kubewright, as ssh would log in to a jump host; "" where that is not known.
func ownName() string {
	if me, err := user.Current(); err == nil {
		return me.Username
	}
	return os.Getenv("USER")
}

// resolveRef reads a secret from where the inventory says it is kept. Its errors name the
// reference and never what was read.
func resolveRef(ref inventory.Ref) (secret.String, error) {
	var value string
	switch ref.Source {
	case "":
		return "", nil
	case inventory.RefEnv:
		found, ok := os.LookupEnv(ref.Name)
		if !ok {
			return "", fmt.Errorf("a secret is kept in %s, and that environment variable is not set", ref)
		}
		value = found
	case inventory.RefFile:
		data, err := os.ReadFile(expandHome(ref.Name))
		if err != nil {
			return "", fmt.Errorf("a secret is kept in %s: %w", ref, err)
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	default:
		return "", fmt.Errorf("a secret cannot be kept in %q", ref.Source)
	}
	if value == "" {
		return "", fmt.Errorf("a secret is kept in %s, and that is empty", ref)
	}
	return secret.String(value), nil
}
