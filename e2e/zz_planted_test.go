//go:build e2e

package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// plant is a secret that is put where none may be.
type plant struct {
	place, name string
	kind        string // as which it is to be found
	where       string // in what
	put         func(testing.TB)
	remove      func(testing.TB)
}

// testPlanted shows that a scan that finds nothing means something: of each kind of place, it finds
// what is put there, and does not when that is taken away again.
func (p *secrets) testPlanted(t *testing.T) {
	for _, planted := range p.plants(t) {
		t.Run(planted.place+"/"+planted.name, func(t *testing.T) {
			remove := func(testing.TB) {}
			if planted.remove != nil {
				var once sync.Once
				remove = func(t testing.TB) { once.Do(func() { planted.remove(t) }) }
				afterwards(t, remove) // also where the test ends in here
			}
			planted.put(t)
			found := p.scan(t, p.places[planted.place])
			remove(t)
			isIt := func(m match) bool { return m.kind == planted.kind && strings.Contains(m.where, planted.where) }
			if !slices.ContainsFunc(found, isIt) {
				t.Errorf("the %s in %s is not found, but\n%s", planted.kind, planted.where, lines(found))
			}
			if planted.remove == nil {
				return
			}
			if left := p.scan(t, p.places[planted.place]); len(left) > 0 {
				t.Errorf("found when it was taken away again:\n%s", lines(left))
			}
		})
	}
}

// plants are secrets of all kinds, and places of all kinds. None of them opens anything.
func (p *secrets) plants(t *testing.T) []plant {
	const kindPassword = "planted password"
	key, password := testKeys(t)["EC"][0], rand.Text()
	// What a journal has it keeps, so another run must not take it for a secret: this one alone knows it.
	inJournal := rand.Text()
	p.scanner.know(kindPassword, password)
	p.scanner.know(kindPassword, inJournal)
	local := func(place, name, kind, dir, content string) plant {
		path := filepath.Join(dir, "planted.log")
		return plant{place: place, name: name, kind: kind, where: path,
			put: func(t testing.TB) {
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			remove: func(t testing.TB) {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}}
	}
	remote := func(name, kind, path, mode, content string) plant {
		return plant{place: "files", name: name, kind: kind, where: "cp1:" + path,
			put: func(t testing.TB) {
				p.on(t, "cp1", "cat >"+path+" <<'END'\n"+content+"\nEND\nchmod "+mode+" "+path)
			},
			remove: func(t testing.TB) { p.on(t, "cp1", "rm "+path) }}
	}
	argv := p.argv
	return []plant{
		local("runs", "key", kindKey, transcript.dir, "--- stdout\n"+key),
		local("runs", "token", kindToken, transcript.dir, "--token=abcdef.0123456789abcdef\n"),
		local("logs", "password", kindPassword, cachedLogs(), `level=INFO msg=exec message="`+password+`"`+"\n"),
		local("lab", "kubeconfig", kindKey, p.dir, "    client-key-data: "+b64(key)+"\n"),
		remote("tree", kindKey, "/etc/kubernetes/planted.key", "0644", key),
		remote("temporary", kindPassword, "/tmp/planted", "0600", password),
		remote("state", kindJWT, "/var/lib/kubewright/planted", "0640",
			"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLXNvbWV0aGluZw"),
		{place: "journals", name: "password", kind: kindPassword, where: "cp1", put: func(t testing.TB) {
			p.on(t, "cp1", "logger -t kubewright 'the password is "+inJournal+"'; journalctl --sync")
		}},
		{place: "argv", name: "password", kind: kindPassword, where: "argv", put: func(t testing.TB) {
			stop := p.sample(t, "cp1")
			// The shell's last command would take its place, and its arguments with it.
			p.on(t, "cp1", "sh -c 'sleep 2; true' "+password)
			p.argv = stop()
		}, remove: func(testing.TB) { p.argv = argv }},
	}
}
