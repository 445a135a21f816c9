package ssh

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// configItem is a line of the file that says something: the beginning of a block, or a setting.
type configItem struct {
	file    string
	line    int
	block   *configBlock // the block that begins here, or the one that the setting stands in; nil: all hosts
	begins  bool
	keyword string // as written
	args    []string
}

// configBlock is what stands below a Host or Match line, which is heeded where its line matches.
type configBlock struct {
	above *configBlock // the block in which the file is included; nil: none
	match bool         // Match, not Host
	args  []string
}

// fault is what is wrong with the line.
func (i configItem) fault(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: "+format, append([]any{i.file, i.line, i.keyword}, args...)...)
}

// ReadClientConfig reads an ssh_config file. The error names the file and the line: of a line that
// ssh would refuse, a keyword that is not known (unless IgnoreUnknown names it), a file that cannot
// be read.
func ReadClientConfig(path string, env Environment) (*ClientConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ssh_config: %w", err)
	}
	return parseClientConfig(path, data, env)
}

func parseClientConfig(path string, data []byte, env Environment) (*ClientConfig, error) {
	p := configParser{env: env}
	if err := p.parse(path, string(data), nil, 0); err != nil {
		return nil, err
	}
	return &ClientConfig{items: p.items, env: env}, nil
}

// configParser is the state of reading one file and what it includes.
type configParser struct {
	env     Environment
	items   []configItem
	unknown []string // patterns of IgnoreUnknown
}

// deepestInclude is how deep files may include each other, as in ssh.
const deepestInclude = 16

func (p *configParser) parse(file, text string, above *configBlock, depth int) error {
	block, number := above, 0
	for line := range strings.Lines(text) {
		number++
		keyword, args, err := splitDirective(line)
		item := configItem{file: file, line: number, block: block, keyword: keyword, args: args}
		switch {
		case err != nil:
			return item.fault("%w", err)
		case keyword == "":
			continue
		case len(args) == 0:
			return item.fault("has no value")
		}
		switch lower := strings.ToLower(keyword); lower {
		case "host", "match":
			block = &configBlock{above: above, match: lower == "match", args: args}
			item.block, item.begins = block, true
		case "include":
			if err := p.include(item, depth); err != nil {
				return err
			}
			continue
		case "ignoreunknown":
			p.unknown = append(p.unknown, strings.Split(strings.ToLower(strings.Join(args, ",")), ",")...)
			continue
		default:
			if known, err := p.known(item, lower); err != nil {
				return err
			} else if !known {
				continue
			}
		}
		p.items = append(p.items, item)
	}
	return nil
}

// known reports whether a setting is heeded. A keyword that ssh has not got may be a slip of the pen.
func (p *configParser) known(item configItem, lower string) (bool, error) {
	switch {
	case slices.Contains(understoodKeywords(), lower):
		if !slices.Contains([]string{"userknownhostsfile", "globalknownhostsfile"}, lower) && len(item.args) > 1 {
			return false, item.fault("has %d values, and takes one; a value with blanks stands between double quotes", len(item.args))
		}
		return true, nil
	case refusedKeyword(lower) != "":
		return true, nil
	case slices.Contains(heedlessKeywords(), lower), slices.ContainsFunc(p.unknown, func(pattern string) bool { return matchPattern(pattern, lower) }):
		return false, nil
	}
	return false, item.fault("there is no such keyword; correct it, or name it with IgnoreUnknown above")
}

// include reads the files that a line names; those that are not there are passed over, as in ssh.
func (p *configParser) include(item configItem, depth int) error {
	if depth >= deepestInclude {
		return item.fault("files include each other more than %d deep", deepestInclude)
	}
	for _, pattern := range item.args {
		path, err := p.env.path(pattern)
		if err != nil {
			return item.fault("%w", err)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.env.Home, ".ssh", path)
		}
		files, err := filepath.Glob(path)
		if err != nil {
			return item.fault("%q: %w", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return item.fault("%w", err)
			}
			if err := p.parse(file, string(data), item.block, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// path replaces a leading ~ of a path.
func (e Environment) path(path string) (string, error) {
	if path == "~" {
		return e.Home, nil
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(e.Home, rest), nil
	}
	if strings.HasPrefix(path, "~") {
		return "", fmt.Errorf("%q: the home of another user is not supported", path)
	}
	return path, nil
}

// splitDirective takes a line apart: a keyword, and its values after blanks or one =. Values with
// blanks stand between quotes, # begins a comment. A line that says nothing has no keyword.
func splitDirective(line string) (keyword string, args []string, err error) {
	const blanks = " \t\r\n\f"
	line = strings.Trim(line, blanks)
	if line == "" || line[0] == '#' {
		return "", nil, nil
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return line, nil, nil
	}
	keyword, rest := line[:end], strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	keyword = strings.Trim(keyword, `"`)
	args, err = splitArguments(rest)
	return keyword, args, err
}

// splitArguments splits what follows a keyword as OpenSSH does: at blanks outside of quotes; a
// backslash takes away the meaning of a quote, of itself and, outside of quotes, of a blank.
func splitArguments(text string) ([]string, error) {
	var args []string
	for i := 0; i < len(text); {
		switch text[i] {
		case ' ', '\t':
			i++
			continue
		case '#':
			return args, nil
		}
		var arg strings.Builder
		quote := byte(0)
		for ; i < len(text); i++ {
			c := text[i]
			switch {
			case c == '\\' && i+1 < len(text) && (strings.IndexByte(`"'\`, text[i+1]) >= 0 || quote == 0 && text[i+1] == ' '):
				i++
				arg.WriteByte(text[i])
				continue
			case quote == 0 && (c == ' ' || c == '\t'):
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
				continue
			case quote != 0 && c == quote:
				quote = 0
				continue
			default:
				arg.WriteByte(c)
				continue
			}
			break
		}
		if quote != 0 {
			return nil, fmt.Errorf("a quote (%c) is not closed", quote)
		}
		args = append(args, arg.String())
	}
	return args, nil
}

// understoodKeywords are those that are followed, beside Host, Match, Include and IgnoreUnknown.
func understoodKeywords() []string {
	return []string{"hostname", "user", "port", "identityfile", "identitiesonly", "identityagent", "certificatefile", "proxyjump",
		"hostkeyalias", "userknownhostsfile", "globalknownhostsfile"}
}

// refusedKeyword says why a keyword that ssh knows is refused where it applies, and what to do instead.
func refusedKeyword(lower string) string {
	switch lower {
	case "proxycommand", "proxyusefdpass":
		return "name the hosts on the way with ProxyJump"
	case "canonicalizehostname":
		return "write whole host names"
	case "bindaddress", "bindinterface":
		return "give an address that is reached without it"
	case "knownhostscommand", "revokedhostkeys":
		return "write the keys to a known_hosts file, revoked ones as @revoked"
	case "pkcs11provider", "securitykeyprovider":
		return "load the key into your SSH agent"
	}
	return ""
}

// heedlessKeywords are those of ssh that change neither which host is reached nor who is trusted there:
// they are about terminals, forwarding, times and algorithms, or kubewright is stricter than they are.
func heedlessKeywords() []string {
	return strings.Fields(`addkeystoagent addressfamily batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots
		canonicalizepermittedcnames casignaturealgorithms challengeresponseauthentication channeltimeout checkhostip ciphers
		clearallforwardings compression compressionlevel connectionattempts connecttimeout controlmaster controlpath controlpersist
		dynamicforward enableescapecommandline enablesshkeysign escapechar exitonforwardfailure fingerprinthash
		forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports
		gssapiauthentication gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange
		gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hashknownhosts hostbasedacceptedalgorithms
		hostbasedauthentication hostbasedkeytypes hostkeyalgorithms ipqos kbdinteractiveauthentication kbdinteractivedevices
		kexalgorithms localcommand localforward loglevel logverbose macs nohostauthenticationforlocalhost
		numberofpasswordprompts obscurekeystroketiming passwordauthentication permitlocalcommand permitremoteopen
		preferredauthentications protocol pubkeyacceptedalgorithms pubkeyacceptedkeytypes pubkeyauthentication refuseconnection
		rekeylimit remotecommand remoteforward requesttty requiredrsasize rsaauthentication sendenv serveralivecountmax
		serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink stricthostkeychecking
		syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys useprivilegedport verifyhostkeydns versionaddendum
		visualhostkey warnweakcrypto xauthlocation`)
}
