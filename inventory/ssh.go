package inventory

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"

	"kubewright/spec/strict"
)

// sshLayer is an SSHSpec whose values were checked and whose paths were joined to the folder of
// its file.
type sshLayer struct {
	SSHSpec
	doc *strict.Document
	at  strict.Path
}

// sshLayer checks settings of SSH where they stand, so that a fault in what many hosts share is
// reported once.
func (r *resolver) sshLayer(d SSHDefaults) sshLayer {
	l := sshLayer{SSHSpec: d.Spec, doc: d.Doc, at: d.At}
	check := &strict.Checker{Doc: d.Doc}
	file := fileChecker{check: check, exists: r.Exists}
	l.KeyFile = file.key(d.At.Key("keyFile"), d.Spec.KeyFile)
	l.CertificateFile = file.optional(d.At.Key("certificateFile"), d.Spec.CertificateFile, certificateFile)
	l.ConfigFile = file.optional(d.At.Key("configFile"), d.Spec.ConfigFile, configFile)
	l.Bastion = file.bastion(d.At.Key("bastion"), d.Spec.Bastion)
	l.KnownHosts = make([]string, len(d.Spec.KnownHosts))
	for i, p := range d.Spec.KnownHosts {
		l.KnownHosts[i] = fileChecker{check: check}.path(d.At.Key("knownHosts").Index(i), p, knownHostsFile)
	}
	l.Passphrase = file.ref(d.At.Key("passphrase"), d.Spec.Passphrase)
	l.Password = file.ref(d.At.Key("password"), d.Spec.Password)
	l.Sudo.Password = file.ref(d.At.Key("sudo", "password"), d.Spec.Sudo.Password)
	checkLogin(check, d.At, d.Spec.User, d.Spec.HostKey)
	r.check.Faults = append(r.check.Faults, check.Faults...)
	return l
}

// checkLogin refuses what is no user and what is no host key.
func checkLogin(check *strict.Checker, at strict.Path, user, key *string) {
	if user != nil && !userName().MatchString(*user) {
		checkUser(check, at.Key("user"), *user)
	}
	if key != nil && !hostKey().MatchString(*key) {
		check.Refuse(at.Key("hostKey"), "this is no host key: write its fingerprint as ssh-keygen -l shows it "+
			"(SHA256:...), or the key as it stands in the .pub file (ssh-ed25519 AAAA...)")
	}
}

// checkUser refuses a user name; what follows a colon may be a password and is not repeated.
func checkUser(check *strict.Checker, at strict.Path, written string) {
	user, _, colon := strings.Cut(written, ":")
	if !colon {
		check.Refuse(at, "%q is no user name", written)
		return
	}
	if !userName().MatchString(user) {
		user = ""
	}
	check.Suggest(at, user, "a user name has no colon; a password goes into an environment variable or a file, "+
		"named beside user as password: env:NAME or password: file:PATH")
}

var (
	userName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^\s@:/-][^\s@:/]*$`) })
	hostKey  = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(SHA256:[A-Za-z0-9+/]{43}=?|(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( .*)?)$`)
	})
)

// mergeSSH lays the layers over each other, the last on top, and fills in the defaults.
func (r *resolver) mergeSSH(p Placed, layers []sshLayer) SSH {
	var m SSHSpec
	var known sshLayer // has the known hosts
	for _, l := range layers {
		overlay(&m.User, l.User)
		overlay(&m.Port, l.Port)
		overlay(&m.KeyFile, l.KeyFile)
		overlay(&m.CertificateFile, l.CertificateFile)
		overlay(&m.ConfigFile, l.ConfigFile)
		overlay(&m.Passphrase, l.Passphrase)
		overlay(&m.Password, l.Password)
		overlay(&m.Agent, l.Agent)
		overlay(&m.Sudo.Password, l.Sudo.Password)
		overlay(&m.HostKey, l.HostKey)
		overlay(&m.TrustOnFirstUse, l.TrustOnFirstUse)
		if len(l.KnownHosts) > 0 {
			m.KnownHosts, known = l.KnownHosts, l
		}
		if l.Bastion.Address != nil {
			m.Bastion = l.Bastion
		}
		if l.Passphrase != nil && m.KeyFile == nil {
			check := strict.Checker{Doc: l.doc}
			check.Refuse(l.at.Key("passphrase"), "there is no keyFile that the passphrase could open (host %s)", p.Name)
			r.check.Faults = append(r.check.Faults, check.Faults...)
		}
	}
	user, port := m.User, m.Port
	// The tags of SSHSpec are constants, and a test fills them in: no error can come here.
	_ = strict.Default(&m)
	if m.ConfigFile == nil {
		user, port = m.User, m.Port
	}
	if !*m.TrustOnFirstUse {
		r.knownHosts(known)
	}
	noKey := m.KeyFile == nil && m.Password == nil
	return SSH{
		User: value(user), Port: value(port), KeyFile: value(m.KeyFile), CertificateFile: value(m.CertificateFile), Passphrase: value(m.Passphrase),
		Password: value(m.Password), Agent: m.Agent == nil && noKey || value(m.Agent),
		Sudo: Sudo{Password: value(m.Sudo.Password)}, KnownHosts: m.KnownHosts,
		HostKey: value(m.HostKey), TrustOnFirstUse: value(m.TrustOnFirstUse), Bastion: m.Bastion.resolved(), ConfigFile: value(m.ConfigFile),
	}
}

func (b BastionSpec) resolved() Bastion {
	return Bastion{
		Address: strict.WithoutPassword(value(b.Address)), User: value(b.User), Port: value(b.Port),
		KeyFile: value(b.KeyFile), Passphrase: value(b.Passphrase), Password: value(b.Password), HostKey: value(b.HostKey),
	}
}

// knownHosts asks whether the files of host keys are there; a host that is trusted on first use
// creates its own.
func (r *resolver) knownHosts(l sshLayer) {
	if r.Exists == nil {
		return
	}
	check := strict.Checker{Doc: l.doc}
	for i, p := range l.KnownHosts {
		if err := r.Exists(p); p != "" && err != nil {
			check.Refuse(l.at.Key("knownHosts").Index(i), "the known hosts file cannot be used: %v; "+
				"make it with ssh-keyscan, and compare the keys with those of the hosts", err)
		}
	}
	r.check.Faults = append(r.check.Faults, check.Faults...)
}

func overlay[T any](below **T, above *T) {
	if above != nil {
		*below = above
	}
}

func value[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

// fileChecker joins the paths a user writes to the folder of the file they stand in, and asks
// whether there is such a file.
type fileChecker struct {
	check  *strict.Checker
	exists func(path string) error
}

func (f fileChecker) path(at strict.Path, written, what string) string {
	joined := Join(f.check.Doc.File(), written)
	switch home, rest, slash := strings.Cut(written, "/"); {
	case strings.Contains(home, "$"):
		suggestion := ""
		if home == "$HOME" || home == "${HOME}" {
			suggestion = "~/" + rest
		}
		f.check.Suggest(at, suggestion, "variables are not replaced in paths")
		return joined
	case strings.HasPrefix(home, "~") && (home != "~" || !slash):
		f.check.Refuse(at, "of the paths that begin with ~ only those in your own home folder, ~/, are known")
		return joined
	case written == "":
		f.check.Refuse(at, "the path is empty; remove the key or name a %s", what)
		return joined
	}
	if f.exists != nil {
		if err := f.exists(joined); err != nil {
			f.check.Refuse(at, "the %s cannot be used: %v%s", what, err, remedy(what, err))
		}
	}
	return joined
}

// optional is path for a file that need not be given.
func (f fileChecker) optional(at strict.Path, written *string, what string) *string {
	if written == nil {
		return nil
	}
	joined := f.path(at, *written, what)
	return &joined
}

// key is optional for a private key; its public half is refused.
func (f fileChecker) key(at strict.Path, written *string) *string {
	if written != nil && strings.HasSuffix(*written, ".pub") {
		f.check.Suggest(at, strings.TrimSuffix(*written, ".pub"), "this is the public key; name the private one")
		return written
	}
	return f.optional(at, written, keyFile)
}

// bastion checks a bastion where it stands.
func (f fileChecker) bastion(at strict.Path, b BastionSpec) BastionSpec {
	if b.Address == nil {
		if b != (BastionSpec{}) {
			f.check.Refuse(at.Key("address"), "must be given: the bastion has no address; it replaces that of the groups and the defaults as a whole")
		}
		return BastionSpec{}
	}
	address := strict.WithoutPassword(*b.Address)
	if why, suggestion := checkAddress(address, "bastion"); why != "" {
		f.check.Suggest(at.Key("address"), suggestion, "the address %q %s", address, why)
	}
	checkLogin(f.check, at, b.User, b.HostKey)
	if b.Passphrase != nil && b.KeyFile == nil {
		f.check.Refuse(at.Key("passphrase"), "there is no keyFile that the passphrase could open")
	}
	b.KeyFile = f.key(at.Key("keyFile"), b.KeyFile)
	b.Passphrase = f.ref(at.Key("passphrase"), b.Passphrase)
	b.Password = f.ref(at.Key("password"), b.Password)
	return b
}

func (f fileChecker) ref(at strict.Path, ref *Ref) *Ref {
	if ref == nil || ref.Source != RefFile {
		return ref
	}
	return &Ref{Source: RefFile, Name: f.path(at, ref.Name, referredFile)}
}

// The files that settings of SSH name, as messages call them.
const (
	keyFile         = "key file"
	certificateFile = "certificate file"
	configFile      = "ssh_config file"
	knownHostsFile  = "known hosts file"
	referredFile    = "file of the secret"
)

// remedy says what to do about a file that is not there; "" for any other error, which says it itself.
func remedy(what string, err error) string {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return ""
	case what == keyFile:
		return "; create it with ssh-keygen, or name another file in ssh.keyFile"
	case what == certificateFile:
		return "; have the certificate authority sign the key (ssh-keygen -s), or name another file in ssh.certificateFile"
	case what == configFile:
		return "; name another file in ssh.configFile, or remove the key"
	default:
		return "; write the secret into it, readable by you alone, or name another file"
	}
}

// Join makes a path relative to the folder of the file it is written in. Absolute paths and those
// in the home folder (~/) stay as they are.
func Join(file, written string) string {
	if path.IsAbs(written) || strings.HasPrefix(written, "~") || written == "" {
		return written
	}
	return path.Join(path.Dir(file), written)
}
