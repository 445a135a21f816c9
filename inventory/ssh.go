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
	if k := d.Spec.KeyFile; k != nil && strings.HasSuffix(*k, ".pub") {
		check.Suggest(d.At.Key("keyFile"), strings.TrimSuffix(*k, ".pub"), "this is the public key; name the private one")
	} else if k != nil {
		joined := file.path(d.At.Key("keyFile"), *k, keyFile)
		l.KeyFile = &joined
	}
	l.KnownHosts = make([]string, len(d.Spec.KnownHosts))
	for i, p := range d.Spec.KnownHosts {
		l.KnownHosts[i] = fileChecker{check: check}.path(d.At.Key("knownHosts").Index(i), p, knownHostsFile)
	}
	l.Passphrase = file.ref(d.At.Key("passphrase"), d.Spec.Passphrase)
	l.Password = file.ref(d.At.Key("password"), d.Spec.Password)
	l.Sudo.Password = file.ref(d.At.Key("sudo", "password"), d.Spec.Sudo.Password)
	if u := d.Spec.User; u != nil && !userName().MatchString(*u) {
		checkUser(check, d.At.Key("user"), *u)
	}
	if k := d.Spec.HostKey; k != nil && !hostKey().MatchString(*k) {
		check.Refuse(d.At.Key("hostKey"), "this is no host key: write its fingerprint as ssh-keygen -l shows it "+
			"(SHA256:...), or the key as it stands in the .pub file (ssh-ed25519 AAAA...)")
	}
	r.check.Faults = append(r.check.Faults, check.Faults...)
	return l
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
		overlay(&m.Passphrase, l.Passphrase)
		overlay(&m.Password, l.Password)
		overlay(&m.Agent, l.Agent)
		overlay(&m.Sudo.Password, l.Sudo.Password)
		overlay(&m.HostKey, l.HostKey)
		overlay(&m.TrustOnFirstUse, l.TrustOnFirstUse)
		if len(l.KnownHosts) > 0 {
			m.KnownHosts, known = l.KnownHosts, l
		}
		if l.Passphrase != nil && m.KeyFile == nil {
			check := strict.Checker{Doc: l.doc}
			check.Refuse(l.at.Key("passphrase"), "there is no keyFile that the passphrase could open (host %s)", p.Name)
			r.check.Faults = append(r.check.Faults, check.Faults...)
		}
	}
	// The tags of SSHSpec are constants, and a test fills them in: no error can come here.
	_ = strict.Default(&m)
	if !*m.TrustOnFirstUse {
		r.knownHosts(known)
	}
	noKey := m.KeyFile == nil && m.Password == nil
	return SSH{
		User: *m.User, Port: *m.Port, KeyFile: value(m.KeyFile), Passphrase: value(m.Passphrase),
		Password: value(m.Password), Agent: m.Agent == nil && noKey || value(m.Agent),
		Sudo: Sudo{Password: value(m.Sudo.Password)}, KnownHosts: m.KnownHosts,
		HostKey: value(m.HostKey), TrustOnFirstUse: value(m.TrustOnFirstUse),
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

func (f fileChecker) ref(at strict.Path, ref *Ref) *Ref {
	if ref == nil || ref.Source != RefFile {
		return ref
	}
	return &Ref{Source: RefFile, Name: f.path(at, ref.Name, referredFile)}
}

// The files that settings of SSH name, as messages call them.
const (
	keyFile        = "key file"
	knownHostsFile = "known hosts file"
	referredFile   = "file of the secret"
)

// remedy says what to do about a file that is not there; "" for any other error, which says it itself.
func remedy(what string, err error) string {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return ""
	case what == keyFile:
		return "; create it with ssh-keygen, or name another file in ssh.keyFile"
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
