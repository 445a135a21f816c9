package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	sshconfig "github.com/kevinburke/ssh_config"
)

// WithSSHConfig returns c with the fields that are not set filled from the content of an
// ssh_config(5) file, as `ssh ADDRESS` would find them: HostName replaces Address, and User,
// Port and IdentityFile are taken when c has none. home expands ~ and %d. Options that change
// the way to the host and are not supported are an error, since ignoring them would reach
// another machine or none.
func (c Config) WithSSHConfig(content []byte, home string) (Config, error) {
	fail := func(err error) (Config, error) {
		return c, &ConfigError{Host: c.withDefaults().Host, Err: fmt.Errorf("ssh_config: %w", err)}
	}
	file, err := sshconfig.Decode(bytes.NewReader(content))
	if err != nil {
		return fail(err)
	}
	alias := c.Address
	if alias == "" {
		alias = c.Host
	}
	get := func(key string) string {
		if err != nil {
			return ""
		}
		var value string
		value, err = file.Get(alias, key)
		return unquote(value)
	}
	for _, key := range []string{"ProxyJump", "ProxyCommand"} {
		if value := get(key); value != "" && !strings.EqualFold(value, "none") {
			return fail(fmt.Errorf("%s %q for host %q is not supported: give an address that is reached directly", key, value, alias))
		}
	}
	if name := get("HostName"); name != "" {
		c.Address = strings.NewReplacer("%%", "%", "%h", alias).Replace(name)
	}
	if c.User == "" {
		c.User = get("User")
	}
	if port := get("Port"); port != "" && c.Port == 0 {
		number, portErr := strconv.ParseUint(port, 10, 16)
		if portErr != nil || number == 0 {
			return fail(fmt.Errorf("port %q for host %q is not between 1 and 65535", port, alias))
		}
		c.Port = int(number)
	}
	if len(c.Keys) == 0 {
		files, keysErr := file.GetAll(alias, "IdentityFile")
		if keysErr != nil {
			return fail(keysErr)
		}
		if c.Keys, keysErr = c.identityFiles(files, home); keysErr != nil {
			return fail(keysErr)
		}
	}
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// identityFiles turns the values of IdentityFile into keys. As in ssh, a file that is not there
// is passed over.
func (c Config) identityFiles(files []string, home string) ([]Key, error) {
	var keys []Key
	for _, file := range files {
		path := unquote(file)
		if path == "" || strings.EqualFold(path, "none") {
			continue
		}
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(home, rest)
		}
		path = strings.NewReplacer("%%", "%", "%d", home, "%h", c.Address, "%r", c.User).Replace(path)
		if strings.HasPrefix(path, "~") {
			return nil, errors.New("IdentityFile " + path + ": the home of another user is not supported")
		}
		keys = append(keys, Key{Path: path, Optional: true})
	}
	return keys, nil
}

// unquote removes the double quotes that ssh_config allows around a value.
func unquote(value string) string {
	value = strings.TrimSpace(value)
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// DefaultKeys returns the private keys that ssh tries when it is told of none. Those that are not
// there are passed over.
func DefaultKeys(home string) []Key {
	var keys []Key
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		keys = append(keys, Key{Path: filepath.Join(home, ".ssh", name), Optional: true})
	}
	return keys
}
