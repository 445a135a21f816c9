package resource_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"io/fs"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
)

// now is when the tests happen; each plan has its own environment, as each run has.
func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func env() certs.Env { return certs.Env{Now: now(), Rand: rand.Reader} }

var authority = sync.OnceValue(func() *certs.Authority {
	a, err := certs.NewAuthority("kubernetes", certs.ECDSAP256, env())
	if err != nil {
		panic(err)
	}
	return a
})

// archive is a .tar.gz of files; names may be hostile to a careless extractor.
func archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range []string{"bin/runtime", "bin/shim", "plugin"} {
		content, ok := files[name]
		if !ok {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// published puts a file where the host can fetch it.
func published(h *memhost.Host, name string, content []byte, isArchive bool) resource.Artifact {
	url := "https://example.com/" + name
	h.Web[url] = content
	return resource.Artifact{Name: name, Version: "1", URL: url, Upstream: url, SHA256: resource.DigestOf(content), Archive: isArchive}
}

func clientRequest() certs.Request {
	return certs.Request{CommonName: "system:node:n", Organization: []string{"system:nodes"}, Client: true, Algorithm: certs.ECDSAP256}
}

func pair() resource.Certificate {
	return resource.Certificate{CertPath: "/etc/pki/a.crt", KeyPath: "/etc/pki/a.key", Request: clientRequest(), Issuer: authority(), Env: env()}
}

func rotated() resource.Certificate {
	return resource.Certificate{CertPath: "/var/lib/kubelet/pki/current.pem", Request: clientRequest(), Issuer: authority(), Env: env()}
}

// trusted is the authority where its key is elsewhere.
func trusted(t testing.TB) *certs.Authority {
	t.Helper()
	a, err := certs.TrustAuthority(authority().CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// selfSigned is what a server serves with there.
func selfSigned(t testing.TB) resource.Certificate {
	t.Helper()
	c := pair()
	c.Request, c.Issuer = certs.Request{CommonName: "w1", DNSNames: []string{"w1"}, Server: true}, trusted(t)
	return c
}

// signedElsewhere is what the cluster has signed for a client.
func signedElsewhere(t testing.TB) resource.Certificate {
	t.Helper()
	c := rotated()
	c.Issuer = trusted(t)
	var err error
	if c.Issued, err = authority().Issue(c.Request, env()); err != nil {
		t.Fatal(err)
	}
	return c
}

func kubeconfig() resource.Kubeconfig {
	return resource.Kubeconfig{Path: "/etc/kubernetes/admin.conf", Env: env(), Want: certs.KubeconfigWant{
		Server: "https://10.0.0.1:6443", ClusterName: "c", User: "admin", Authority: authority(), Request: clientRequest(),
	}}
}

func staticPod() resource.StaticPod {
	return resource.StaticPod{
		Path: "/etc/kubernetes/manifests/api.yaml",
		On:   []resource.ID{resource.FileID("/etc/config"), resource.CertificateID("/etc/pki/a.crt")},
		Render: func(digest string, _ map[string]string) ([]byte, error) {
			return []byte("kind: Pod\nannotation: " + digest + "\n"), nil
		},
	}
}

// service is a small product: binaries, configuration, a certificate, and what runs on them.
func service(t testing.TB, h *memhost.Host, config string) []plan.Group {
	t.Helper()
	runtime := published(h, "runtime.tgz", archive(t, map[string]string{"bin/runtime": "RUNTIME", "bin/shim": "SHIM"}), true)
	agent := published(h, "agent", []byte("AGENT"), false)
	return []plan.Group{
		{Phase: "host", Resources: []resource.Resource{
			resource.File{Path: "/etc/sysctl.d/9.conf", Content: []byte("net.bridge = 1\n")},
			resource.KernelModule{Name: "bridge"},
			resource.Sysctl{Key: "net.bridge.nf", Value: "1"},
			resource.SwapOff{},
			resource.Link{Path: "/etc/systemd/system/swap.target", Target: "/dev/null"},
		}},
		{Phase: "runtime", Resources: []resource.Resource{
			resource.Binary{Path: "/usr/local/bin/runtime", Artifact: runtime, Member: "bin/runtime"},
			resource.Binary{Path: "/usr/local/bin/shim", Artifact: runtime, Member: "bin/shim"},
			resource.Dir{Path: "/etc/runtime", Mode: 0o700, Owned: true},
			resource.Byproduct{Path: "/var/lib/runtime", Tree: true},
			resource.File{Path: "/etc/runtime/config", Mode: 0o600, Content: []byte(config), Secret: true},
			resource.File{Path: "/etc/systemd/system/runtime.service", Content: []byte("[Service]\nExecStart=runtime\n")},
			resource.Unit{Name: "runtime.service", On: []resource.ID{
				resource.BinaryID("/usr/local/bin/runtime"), resource.BinaryID("/usr/local/bin/shim"),
				resource.FileID("/etc/runtime/config"), resource.FileID("/etc/systemd/system/runtime.service"),
			}},
		}},
		{Phase: "agent", Resources: []resource.Resource{
			resource.Binary{Path: "/usr/local/bin/agent", Artifact: agent},
			pair(), rotated(), kubeconfig(),
			resource.File{Path: "/etc/config", Content: []byte(config)},
			staticPod(),
			resource.File{Path: "/etc/systemd/system/agent.service", Content: []byte("[Service]\nExecStart=agent\n")},
			resource.Unit{Name: "agent.service", On: []resource.ID{
				resource.BinaryID("/usr/local/bin/agent"), resource.CertificateID("/etc/pki/a.crt"),
				resource.CertificateID("/var/lib/kubelet/pki/current.pem"), resource.FileID("/etc/systemd/system/agent.service"),
			}},
		}},
	}
}

// reissued names the files of service that have other content each time they are made.
func reissued(p string) bool {
	return strings.HasPrefix(p, "/etc/pki/") || strings.HasPrefix(p, "/var/lib/kubelet/pki/") ||
		strings.HasPrefix(p, "/etc/kubernetes/") || strings.HasSuffix(p, "/units/agent.service")
}

// bare is a machine that has what the kinds need of one.
func bare(t testing.TB) *memhost.Host {
	h := memhost.New(t)
	h.Loadable["bridge"] = map[string]string{"net.bridge.nf": "0"}
	h.Sysctls["net.ip_forward"] = "0"
	h.Swaps = []string{"/dev/sda2", "/swapfile"}
	h.Unit("sshd.service", memhost.Unit{Active: "active", Enabled: true})
	return h
}

// on is a bare machine with something done to it.
func on(change func(h *memhost.Host)) func(testing.TB) *memhost.Host {
	return func(t testing.TB) *memhost.Host {
		h := bare(t)
		change(h)
		return h
	}
}

func TestLaw(t *testing.T) {
	file := resource.File{Path: "/etc/app/app.conf", Mode: 0o640, Content: []byte("a\nb\n")}
	fixtures := map[string]memhost.Fixture{
		"nothing wanted":          {Groups: memhost.Want()},
		"self-signed certificate": {Groups: memhost.Want(selfSigned(t))},
		"self-signed in place of another": {Groups: memhost.Want(selfSigned(t)), Host: on(func(h *memhost.Host) {
			memhost.Fixture{Groups: memhost.Want(pair())}.Converge(t, h)
		})},
		"certificate signed elsewhere": {Groups: memhost.Want(signedElsewhere(t))},
		"file":                         {Groups: memhost.Want(file)},
		"unit file":                    {Groups: memhost.Want(kept("1", "1"))},
		"unit file in place of another": {Groups: memhost.Want(kept("1", "1")), Host: on(func(h *memhost.Host) {
			h.File("/etc/systemd/system/app.service", 0o600, "\"--a=2\"\n")
		})},
		"empty file":            {Groups: memhost.Want(resource.File{Path: "/etc/app/empty"})},
		"file in place of ours": {Groups: memhost.Want(file), Host: on(func(h *memhost.Host) { h.File(file.Path, 0o644, "theirs") })},
		"file with the same content": {Groups: memhost.Want(file), Host: on(func(h *memhost.Host) {
			h.File(file.Path, 0o777, "a\nb\n")
		})},
		"file in place of a link": {Groups: memhost.Want(file), Host: on(func(h *memhost.Host) {
			h.File("/srv/app.conf", 0o644, "theirs")
			h.Symlink(file.Path, "/srv/app.conf")
		})},
		"file in place of a link to the same content": {Groups: memhost.Want(file), Host: on(func(h *memhost.Host) {
			h.File("/srv/app.conf", 0o640, "a\nb\n")
			h.Symlink(file.Path, "/srv/app.conf")
		})},
		"file in place of a broken link": {Groups: memhost.Want(file), Host: on(func(h *memhost.Host) { h.Symlink(file.Path, "gone") })},
		"dir":                            {Groups: memhost.Want(resource.Dir{Path: "/srv/a/b/c", Mode: 0o700})},
		"dir that is there":              {Groups: memhost.Want(resource.Dir{Path: "/srv/a"}), Host: on(func(h *memhost.Host) { h.Dir("/srv/a", 0o700) })},
		"sticky dir":                     {Groups: memhost.Want(resource.Dir{Path: "/srv/a", Mode: fs.ModeSticky | 0o777})},
		"link":                           {Groups: memhost.Want(resource.Link{Path: "/etc/x/l", Target: "../y"})},
		"link in place of a file": {Groups: memhost.Want(resource.Link{Path: "/etc/l", Target: "/dev/null"}), Host: on(func(h *memhost.Host) {
			h.File("/etc/l", 0o600, "theirs")
		})},
		"link in place of a link": {Groups: memhost.Want(resource.Link{Path: "/etc/l", Target: "/dev/null"}), Host: on(func(h *memhost.Host) {
			h.Symlink("/etc/l", "/dev/zero")
		})},
		"module and its parameter": {Groups: memhost.Want(resource.KernelModule{Name: "bridge"}, resource.Sysctl{Key: "net.bridge.nf", Value: "1"})},
		"parameter":                {Groups: memhost.Want(resource.Sysctl{Key: "net.ip_forward", Value: "1"})},
		"swap":                     {Groups: memhost.Want(resource.SwapOff{})},
		"byproduct":                {Groups: memhost.Want(resource.Byproduct{Path: "/etc/cni/x.conf"}, resource.Byproduct{Path: "/var/lib/x", Tree: true})},
		"address":                  {Groups: memhost.Want(resource.Address{IP: netip.MustParseAddr("10.111.0.5")})},
		"certificate":              {Groups: certificates},
		"certificate without its key": {Groups: certificates, Host: on(func(h *memhost.Host) {
			h.File("/etc/pki/a.crt", 0o644, "garbage")
		})},
		"certificates by links": {Groups: certificates, Host: on(func(h *memhost.Host) {
			h.File("/srv/a.crt", 0o644, string(mustIssue().CertPEM))
			h.File("/srv/a.key", 0o600, string(mustIssue().KeyPEM.Reveal()))
			h.Symlink("/etc/pki/a.crt", "/srv/a.crt")
			h.Symlink("/etc/pki/a.key", "/srv/a.key")
		})},
		"kubeconfig": {Groups: func(testing.TB, *memhost.Host) []plan.Group {
			return memhost.Want(kubeconfig())(nil, nil)
		}},
		"service": {Again: 23, Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") }},
		"service where others were": {
			Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") },
			Host: on(func(h *memhost.Host) {
				h.File("/usr/local/bin/runtime", 0o755, "old runtime")
				h.File("/usr/local/bin/agent", 0o755, "AGENT")
				h.File("/etc/runtime/config", 0o644, "theirs")
				h.Unit("runtime.service", memhost.Unit{Active: "active", Enabled: true})
				h.Symlink("/etc/systemd/system/agent.service", "/dev/null")
			}),
		},
	}
	for name, f := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f.Host == nil {
				f.Host = bare
			}
			f.Loose = reissued
			f.Law(t)
		})
	}
}

func certificates(testing.TB, *memhost.Host) []plan.Group {
	return memhost.Want(pair(), rotated())(nil, nil)
}

var mustIssue = sync.OnceValue(func() certs.Pair {
	p, err := authority().Issue(clientRequest(), env())
	if err != nil {
		panic(err)
	}
	return p
})

// A change of what is wanted, cut anywhere, leads to the same world as well: nothing runs
// with old inputs, and what was applied and is wanted no more is gone.
func TestLawOfChanges(t *testing.T) {
	applied := func(t testing.TB) *memhost.Host {
		h := bare(t)
		h.File("/etc/config", 0o644, "theirs")
		h.File("/etc/systemd/system/runtime.service", 0o644, "their unit")
		memhost.Fixture{Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") }}.Converge(t, h)
		return h
	}
	fixtures := map[string]memhost.Fixture{
		"new configuration": {Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "2\n") }, Host: applied},
		"new binary": {Host: applied, Groups: func(t testing.TB, h *memhost.Host) []plan.Group {
			groups := service(t, h, "1\n")
			newer := published(h, "agent-2", []byte("AGENT 2"), false)
			groups[2].Resources[0] = resource.Binary{Path: "/usr/local/bin/agent", Artifact: newer}
			return groups
		}},
		"wanted no more": {Groups: memhost.Want(resource.SwapOff{}), Host: applied},
		"one phase less": {Host: applied, Groups: func(t testing.TB, h *memhost.Host) []plan.Group {
			return service(t, h, "1\n")[:2]
		}},
		// The process may have read what it drifted to: it must not go on with that.
		"drifted input": {
			Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") },
			Host: func(t testing.TB) *memhost.Host {
				h := applied(t)
				h.File("/etc/runtime/config", 0o600, "drifted")
				h.File("/usr/local/bin/agent", 0o755, "drifted")
				return h
			},
		},
		"drifted while a change was pending": {
			Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "2\n") },
			Host: func(t testing.TB) *memhost.Host {
				h := applied(t)
				h.File("/etc/runtime/config", 0o600, "drifted")
				h.Units["runtime.service"].Active = "failed"
				h.Units["agent.service"].Enabled = false
				return h
			},
		},
	}
	for name, f := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.Loose = reissued
			h := f.Law(t)
			if sshd := h.Units["sshd.service"]; sshd.Starts != 0 || sshd.Active != "active" {
				t.Errorf("a unit that is none of ours was touched: %+v", sshd)
			}
		})
	}
}

// What is wanted no more is removed, what was there before it is back, and no copy of that
// is kept: the next time, what is there then counts.
func TestPruneRestores(t *testing.T) {
	before := on(func(h *memhost.Host) {
		h.File("/etc/config", 0o604, "theirs")
		h.Symlink("/etc/systemd/system/swap.target", "/dev/zero")
	})(t)
	h := before.Clone()
	f := memhost.Fixture{Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") }}
	none := memhost.Fixture{Groups: memhost.Want()}
	for round, content := range []string{"theirs", "theirs, edited"} {
		h.File("/etc/config", 0o604, content)
		f.Converge(t, h)
		none.Converge(t, h)
		for p, n := range map[string]string{"/etc/config": content, "/etc/systemd/system/swap.target": "", "/etc/runtime/config": "absent"} {
			switch got := h.Nodes[p]; {
			case n == "absent":
				if got != nil {
					t.Errorf("round %d: %s is still there", round+1, p)
				}
			case got == nil || string(got.Content) != n || n == "" && got.Target != "/dev/zero" || got.Mode.Perm() != before.Nodes[p].Mode.Perm():
				t.Errorf("round %d: %s is %+v", round+1, p, got)
			}
		}
		for p, n := range h.Nodes {
			if strings.HasPrefix(p, sh.OriginalsDir) && !n.Mode.IsDir() {
				t.Errorf("round %d: a copy was kept: %s", round+1, p)
			}
		}
	}
}

// What signs itself while the key of the authority is elsewhere is issued as soon as it is at hand, with the
// reason; and what the authority has issued is good there, too.
func TestTakenOver(t *testing.T) {
	h := bare(t)
	memhost.Fixture{Groups: memhost.Want(selfSigned(t))}.Converge(t, h)
	issued := selfSigned(t)
	issued.Issuer = authority()
	taken := memhost.Fixture{Groups: memhost.Want(issued)}
	changes := taken.Plan(t, h).Changes()
	if len(changes) != 1 || changes[0].Change.Reason != `issued by "w1", want "kubernetes"` {
		t.Errorf("the plan is %+v", changes)
	}
	taken.Converge(t, h)
	if changes := (memhost.Fixture{Groups: memhost.Want(selfSigned(t))}).Plan(t, h).Changes(); len(changes) > 0 {
		t.Errorf("what the authority has issued is not good enough: %+v", changes)
	}
}

// A certificate that the cluster is to sign is planned before it has, and asked for when the host lacks it.
func TestUnsigned(t *testing.T) {
	h := bare(t)
	signed := signedElsewhere(t)
	wanted := signed
	wanted.Issued = certs.Pair{}
	changes := memhost.Fixture{Groups: memhost.Want(wanted)}.Plan(t, h).Changes()
	if len(changes) != 1 || changes[0].Change.Reason != "missing" || len(changes[0].Change.Steps) > 0 {
		t.Errorf("the plan is %+v", changes)
	}
	for name, test := range map[string]struct {
		certificate resource.Certificate
		unsigned    bool
	}{
		"the cluster signs it": {wanted, true}, "it was signed": {signed, false}, "its authority is here": {rotated(), false}, "it signs itself": {selfSigned(t), false},
	} {
		if got := test.certificate.Unsigned(h.Answer(test.certificate.Probes())); got != test.unsigned {
			t.Errorf("%s: unsigned is %v", name, got)
		}
	}
	memhost.Fixture{Groups: memhost.Want(signed)}.Converge(t, h)
	if wanted.Unsigned(h.Answer(wanted.Probes())) {
		t.Error("it is on the host, and is to be signed again")
	}
}
