package ssh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ClientConfig is a file in the format of ssh_config(5), with the files that it includes.
type ClientConfig struct {
	items []configItem
	env   Environment
}

// Environment is what an ssh_config can refer to on this machine.
type Environment struct {
	// Home is your home folder, for ~ and %d.
	Home string
	// User is your own name here: who logs in to a jump host of which the file does not say.
	User string
	// Lookup finds an environment variable, for ${NAME}.
	Lookup func(name string) (value string, ok bool)
}

// Apply returns c with what is not set taken from the file, as `ssh ADDRESS` would find it: HostName
// replaces Address; User, Port, key and certificate files, the agent, known hosts and their alias
// are taken when c has none, certificates only where c has no keys either, and Via follows from ProxyJump when it is nil. IdentitiesOnly switches
// Agent off where c has no Keys. user logs in where neither c nor the file says who. The error is
// *ConfigError; it names the file and the line.
func (f *ClientConfig) Apply(c Config, user string) (Config, error) {
	applied, err := f.apply(c, user, nil)
	if err != nil {
		return c, &ConfigError{Host: c.withDefaults().Host, Err: err}
	}
	return applied, nil
}

// apply is Apply for a host to which the jump hosts of the path lead; user logs in where nobody else
// is named.
func (f *ClientConfig) apply(c Config, user string, path []string) (Config, error) {
	alias, agent := c.Address, c.AgentSocket
	// What an inventory says of agent and known hosts holds for jump hosts too, unless the file has known
	// hosts for them. That no agent is used
	// beside a key or a password of the host says nothing about them.
	hop := Config{Settings: SettingsFile, AgentSocket: agent, Agent: c.Agent || len(c.Keys) > 0 || c.Password != "",
		KnownHosts: c.KnownHosts, TrustOnFirstUse: c.TrustOnFirstUse}
	decided := c.User != ""
	if decided {
		user = c.User
	}
	s, err := f.settings(alias, user, decided)
	if err != nil {
		return c, err
	}
	if item, ok := s.items["hostname"]; ok {
		if c.Address, err = expandTokens(item.args[0], map[byte]string{'h': alias}); err != nil {
			return c, item.fault("%w", err)
		}
		if err := plainName(c.Address); err != nil {
			return c, item.fault("%w", err)
		}
	}
	if c.User = user; !decided && s.has("user") {
		if c.User = s.value("user"); strings.Contains(c.User, "%") || plainName(c.User) != nil {
			return c, s.items["user"].fault("%q is no user name", c.User)
		}
	}
	if item, ok := s.items["port"]; ok && c.Port == 0 {
		number, portErr := strconv.ParseUint(item.args[0], 10, 16)
		if portErr != nil || number == 0 {
			return c, item.fault("%q is not between 1 and 65535", item.args[0])
		}
		c.Port = int(number)
	}
	if item, ok := s.items["hostkeyalias"]; ok && c.HostKeyAlias == "" {
		if err := plainName(item.args[0]); err != nil { // it may be written to a known_hosts file
			return c, item.fault("%w", err)
		}
		c.HostKeyAlias = item.args[0]
	}
	tokens := f.tokens(c, alias)
	if err := f.applyFiles(&c, s, tokens); err != nil {
		return c, err
	}
	if c.Via == nil {
		c.Via, err = f.jumps(hop, s, tokens, append(slices.Clone(path), alias))
	}
	return c, err
}

// tokens are what %x stands for in the values of a host.
func (f *ClientConfig) tokens(c Config, alias string) map[byte]string {
	key := c.HostKeyAlias
	if key == "" {
		key = alias
	}
	return map[byte]string{'h': c.Address, 'n': alias, 'k': key, 'p': strconv.Itoa(c.withDefaults().Port), 'r': c.User,
		'u': f.env.User, 'd': f.env.Home, 'i': strconv.Itoa(os.Getuid())}
}

// applyFiles takes over key, certificate and known_hosts files, and the agent.
func (f *ClientConfig) applyFiles(c *Config, s sshSettings, tokens map[byte]string) error {
	ofFile := len(c.Keys) == 0
	if ofFile {
		keys, err := f.files(s.keys, tokens)
		if err != nil {
			return err
		}
		if keys != nil {
			c.Keys = []Key{} // they may all be none
		}
		for _, path := range keys { // as in ssh, one that is not there is passed over
			c.Keys = append(c.Keys, Key{Path: path, Optional: true})
		}
		only, err := s.yes("identitiesonly")
		if err != nil {
			return err
		}
		c.Agent = c.Agent && !only
	}
	if len(c.Certificates) == 0 && ofFile { // else they would be for other keys
		var err error
		if c.Certificates, err = f.files(s.certs, tokens); err != nil {
			return err
		}
	}
	if item, ok := s.items["identityagent"]; ok {
		if err := f.applyAgent(c, item, tokens); err != nil {
			return err
		}
	}
	return f.applyKnownHosts(c, s, tokens)
}

// applyKnownHosts takes over known_hosts files; where one of the two kinds is given, the other has its
// default. One that was switched off (none) is empty and not nil.
func (f *ClientConfig) applyKnownHosts(c *Config, s sshSettings, tokens map[byte]string) error {
	given := c.KnownHosts != nil && c.Settings != SettingsFile // the file says more of a jump host of its own
	if given || !s.has("userknownhostsfile") && !s.has("globalknownhostsfile") {
		return nil
	}
	users, system := DefaultKnownHosts(f.env.Home)
	for keyword, list := range map[string]*[]string{"userknownhostsfile": &users, "globalknownhostsfile": &system} {
		if item, ok := s.items[keyword]; ok {
			var err error
			if *list, err = f.files([]configItem{item}, tokens); err != nil {
				return err
			}
		}
	}
	c.KnownHosts, c.GlobalKnownHosts = users, system
	return nil
}

// files are the paths that settings name; nil without settings, empty where they name none.
func (f *ClientConfig) files(items []configItem, tokens map[byte]string) ([]string, error) {
	var all []string
	if len(items) > 0 {
		all = []string{}
	}
	for _, item := range items {
		for _, arg := range item.args {
			if strings.EqualFold(arg, "none") {
				continue
			}
			path, err := f.expandPath(arg, tokens)
			if err != nil {
				return nil, item.fault("%w", err)
			}
			all = append(all, path)
		}
	}
	return all, nil
}

// applyAgent takes over IdentityAgent: the path of a socket, none, or the name of the variable that
// has the path.
func (f *ClientConfig) applyAgent(c *Config, item configItem, tokens map[byte]string) error {
	written := item.args[0]
	name, variable := strings.CutPrefix(written, "$")
	switch {
	case strings.EqualFold(written, "none"):
		c.AgentSocket = ""
	case written == "SSH_AUTH_SOCK":
	case variable && !strings.HasPrefix(name, "{"):
		if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return item.fault("%q is no environment variable", written)
		}
		c.AgentSocket, _ = f.env.Lookup(name) // without it there is no agent, as in ssh
	default:
		path, err := f.expandPath(written, tokens)
		if err != nil {
			return item.fault("%w", err)
		}
		c.AgentSocket = path
	}
	return nil
}

// jumps are the hosts that ProxyJump leads through. Each is looked up in the file in turn; the first
// may be behind others itself. base is what each has besides, path are the hosts on whose behalf it is
// asked.
func (f *ClientConfig) jumps(base Config, s sshSettings, tokens map[byte]string, path []string) ([]Config, error) {
	item, ok := s.items["proxyjump"]
	if !ok || strings.EqualFold(item.args[0], "none") {
		return nil, nil
	}
	text, err := expandTokens(item.args[0], map[byte]string{'h': tokens['h'], 'n': tokens['n'], 'p': tokens['p'], 'r': tokens['r']})
	if err != nil {
		return nil, item.fault("%w", err)
	}
	var hops []Config
	for i, written := range strings.Split(text, ",") {
		hop, err := parseJump(written, base)
		if err != nil {
			return nil, item.fault("%w", err)
		}
		if slices.Contains(path, hop.Address) {
			return nil, item.fault("the way to %s leads through itself (%s): give the jump host a block with ProxyJump none above",
				hop.Address, strings.Join(append(path, hop.Address), " -> "))
		}
		hop.Host = "bastion " + hop.Address
		if i > 0 {
			hop.Via = []Config{} // the way is the hops before
		}
		if hop, err = f.apply(hop, f.env.User, path); err != nil {
			return nil, err
		}
		hops = append(hops, hop.WithDefaultFiles(f.env.Home).Way()...)
	}
	return hops, nil
}

// parseJump reads [user@]host[:port], or the same as a URI (ssh://), into c.
func parseJump(written string, c Config) (Config, error) {
	text := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(written), "ssh://"), "/")
	if at := strings.LastIndex(text, "@"); at >= 0 {
		c.User, text = text[:at], text[at+1:]
		if plainName(c.User) != nil || strings.Contains(c.User, ":") {
			return c, errors.New("the user of a jump host is no user name")
		}
	}
	address, port := text, ""
	switch end := strings.Index(text, "]"); {
	case strings.HasPrefix(text, "[") && end > 0:
		address, port = text[1:end], text[end+1:]
		if port != "" && port[0] != ':' {
			return c, fmt.Errorf("%q is not [user@]host[:port]", written)
		}
		port = strings.TrimPrefix(port, ":")
	case strings.Count(text, ":") == 1:
		address, port, _ = strings.Cut(text, ":")
	}
	if port != "" || strings.HasSuffix(text, ":") {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return c, fmt.Errorf("the port of %q is not between 1 and 65535", written)
		}
		c.Port = int(number)
	}
	c.Address = address
	return c, plainName(address)
}

// plainName refuses what is neither a host nor a user, and what no such name has in it: everything that
// means something to a shell, to known_hosts, and a dash in front, which would be an option there.
func plainName(name string) error {
	if name == "" || strings.IndexByte("-#", name[0]) >= 0 || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("'`\"$;&<>|(){}*?!,", r)
	}) {
		return fmt.Errorf("%q is no name", name)
	}
	return nil
}

// expandPath replaces ~, ${VARIABLES} and tokens in a path.
func (f *ClientConfig) expandPath(written string, tokens map[byte]string) (string, error) {
	path, err := f.env.path(written)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(path, "${")
		b.WriteString(before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}")
		value, ok := f.env.Lookup(name)
		if !closed || !ok {
			return "", fmt.Errorf("%q: the environment variable %q is not set", written, name)
		}
		b.WriteString(value)
		path = after
	}
	return expandTokens(b.String(), tokens)
}

// expandTokens replaces %% and the tokens; any other is an error.
func expandTokens(text string, tokens map[byte]string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", fmt.Errorf("%q ends in the middle of a token", text)
		}
		value, ok := tokens[text[i]]
		switch {
		case text[i] == '%':
			value = "%"
		case !ok:
			return "", fmt.Errorf("%q: the token %%%c is not supported there", text, text[i])
		}
		b.WriteString(value)
	}
	return b.String(), nil
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

// DefaultKnownHosts returns the known_hosts files of the user and of the system that ssh reads when it is
// told of none.
func DefaultKnownHosts(home string) (users, system []string) {
	return []string{filepath.Join(home, ".ssh", "known_hosts")}, []string{"/etc/ssh/ssh_known_hosts"}
}

// WithDefaultFiles returns c with ssh's own key files where Keys is nil, and its known_hosts files where
// KnownHosts is.
func (c Config) WithDefaultFiles(home string) Config {
	if c.Keys == nil {
		c.Keys = DefaultKeys(home)
	}
	if c.KnownHosts == nil {
		c.KnownHosts, c.GlobalKnownHosts = DefaultKnownHosts(home)
	}
	return c
}

// Way returns the hosts on the way to whatever is behind c: those that lead to it, and c itself.
func (c Config) Way() []Config {
	way := slices.Clone(c.Via)
	c.Via = nil
	return append(way, c)
}
