package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"kubewright/internal/host"
	"kubewright/internal/secret"
	"kubewright/internal/ssh"
	"kubewright/inventory"
)

// dialer opens SSH connections as the inventory says. The handshakes of all hosts share
// one limit, so that a bastion or a busy sshd is not overrun.
type dialer struct {
	limiter *ssh.Limiter
	configs map[string]ssh.Config // by host
}

// newDialer prepares the connections to hosts: every secret that is missing is found
// before anything is dialled.
func newDialer(hosts []inventory.Host) (*dialer, error) {
	d := &dialer{limiter: ssh.NewLimiter(ssh.DefaultHandshakes), configs: map[string]ssh.Config{}}
	var errs []error
	for _, h := range hosts {
		config, err := sshConfig(h)
		errs = append(errs, err)
		d.configs[h.Name] = config
	}
	return d, errors.Join(errs...)
}

// dial connects to a host. One that was not prepared is only asked for what it knows.
func (d *dialer) dial(ctx context.Context, h inventory.Host) (host.Conn, error) {
	config, ok := d.configs[h.Name]
	if !ok {
		var err error
		if config, err = sshConfig(h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	config.Limiter = d.limiter
	return ssh.Dial(ctx, config)
}

// sshConfig turns what the inventory says into what a connection needs: secrets are read
// from where they are kept, paths are made whole, OpenSSH's defaults are filled in. The
// error names every secret that cannot be had.
func sshConfig(h inventory.Host) (ssh.Config, error) {
	s := h.SSH
	config := ssh.Config{
		Host: h.Name, Address: h.Address, Port: s.Port, User: s.User,
		AgentSocket: os.Getenv("SSH_AUTH_SOCK"), Agent: s.Agent,
		HostKey: s.HostKey, TrustOnFirstUse: s.TrustOnFirstUse,
	}
	for _, path := range s.KnownHosts {
		config.KnownHosts = append(config.KnownHosts, expandHome(path))
	}
	if len(config.KnownHosts) == 0 {
		config.KnownHosts = []string{expandHome("~/.ssh/known_hosts"), "/etc/ssh/ssh_known_hosts"}
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
	} else {
		config.Keys = ssh.DefaultKeys(expandHome("~/"))
	}
	return config, errors.Join(errs...)
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
