package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// behind returns a configuration that reaches a new server through the ways, which share connections.
func behind(t *testing.T, bastions *Bastions, way ...Config) (*sshtest.Server, Config) {
	t.Helper()
	s, config := server(t, sshtest.Options{})
	config.Via, config.Bastions = way, bastions
	return s, config
}

// newBastions are closed at the end of the test.
func newBastions(t *testing.T) *Bastions {
	t.Helper()
	b := NewBastions()
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestBastionIsLoggedInToOnce(t *testing.T) {
	noLeak(t)
	gate, way := server(t, sshtest.Options{MaxSessions: 1})
	way.Host, way.User = "bastion gate", "jumper"
	bastions := newBastions(t)
	limiter := NewLimiter(3) // of an address that the bastion and the hosts share
	var all sync.WaitGroup
	for i := range 10 {
		s, config := behind(t, bastions, way)
		config.Host, config.Limiter = fmt.Sprint("worker", i), limiter
		all.Go(func() {
			client, err := Dial(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = client.Close() }()
			if out, err := run(t, client, "echo $((6*7))"); out != "42\n" || err != nil {
				t.Errorf("%q, %v", out, err)
			}
			if s.Connections() != 1 {
				t.Errorf("%d connections to a host", s.Connections())
			}
		})
	}
	all.Wait()
	if gate.Connections() != 1 || gate.Execs() != 0 {
		t.Errorf("%d connections and %d commands on the bastion", gate.Connections(), gate.Execs())
	}
}

// Each hop has a user, a key and a host key of its own.
func TestBastionsInARow(t *testing.T) {
	noLeak(t)
	first, one := server(t, sshtest.Options{})
	second, two := server(t, sshtest.Options{})
	one.Host, two.Host, one.User = "bastion one", "bastion two", "a"
	s, config := behind(t, nil, one, two)
	client, err := Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if first.Connections() != 1 || second.Connections() != 1 || s.Connections() != 1 {
		t.Errorf("connections: %d, %d, %d", first.Connections(), second.Connections(), s.Connections())
	}
	other, _ := sshtest.NewKey(t)
	for name, breaking := range map[string]func(c *Config){
		"bastion one": func(c *Config) { c.Via[0].HostKey = string(ssh.MarshalAuthorizedKey(other.PublicKey())) },
		"bastion two": func(c *Config) { c.Via[1].HostKey = string(ssh.MarshalAuthorizedKey(other.PublicKey())) },
	} {
		broken := config
		broken.Via = []Config{one, two}
		breaking(&broken)
		_, err := Dial(t.Context(), broken)
		wantError[*host.HostKeyError](t, err, "cp1: ", name+": HOST KEY CHANGED")
	}
}

// Twenty hosts behind a bastion that refuses the login do not mean twenty refused logins.
func TestBastionRefusalIsNotRepeated(t *testing.T) {
	gate, way := server(t, sshtest.Options{Password: "right"})
	way.Host, way.Keys, way.Password = "bastion gate", nil, "wrong one"
	bastions := newBastions(t)
	for range 5 {
		_, config := behind(t, bastions, way)
		_, err := Dial(t.Context(), config)
		auth := wantError[*host.AuthError](t, err, "cp1: bastion gate: login as", "refused")
		if auth.Host != "bastion gate" || strings.Contains(err.Error(), "wrong one") {
			t.Errorf("%v", err)
		}
	}
	if gate.Logins() != 1 {
		t.Errorf("%d logins were tried", gate.Logins())
	}
}

// A login that broke off is no refusal: the next host has the bastion asked again.
func TestBastionLoginThatBrokeOff(t *testing.T) {
	gate, way := server(t, sshtest.Options{DropLogins: 1})
	way.Host = "bastion gate"
	bastions := newBastions(t)
	_, config := behind(t, bastions, way)
	if _, err := Dial(t.Context(), config); err == nil {
		t.Fatal("the first login did not break off")
	}
	mustRun(t, connect(t, config), "true")
	if gate.Connections() != 2 {
		t.Errorf("%d connections to the bastion", gate.Connections())
	}
}

func TestBastionLost(t *testing.T) {
	noLeak(t)
	gate, way := server(t, sshtest.Options{})
	way.Host = "bastion gate"
	bastions := newBastions(t)
	var clients []*Client
	for range 3 {
		_, config := behind(t, bastions, way)
		clients = append(clients, connect(t, config))
	}
	gate.DropAll()
	var all sync.WaitGroup
	for _, client := range clients {
		all.Go(func() {
			_, err := run(t, client, "true")
			if err == nil {
				return // before the loss was noticed there
			}
			wantError[*host.LostError](t, err)
		})
	}
	all.Wait()
	for _, client := range clients {
		all.Go(func() {
			if err := client.Redial(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := run(t, client, "true"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if gate.Connections() != 2 {
		t.Errorf("%d connections to the bastion", gate.Connections())
	}
}

func TestBehindABastionErrors(t *testing.T) {
	gate, way := server(t, sshtest.Options{})
	way.Host = "bastion gate"
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	deny, forbidding := server(t, sshtest.Options{NoForwarding: true})
	forbidding.Host = "bastion deny"
	for name, test := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"closed port": {func(c *Config) { c.Port = closed }, []string{"cp1: cannot reach 127.0.0.1:", "bastion gate: cannot connect", "nothing listens there"}},
		"forbidden":   {func(c *Config) { c.Via = []Config{forbidding} }, []string{"bastion deny", "AllowTcpForwarding"}},
		"bastion that is away": {func(c *Config) {
			away := way
			away.Port = closed
			c.Via = []Config{away}
		}, []string{"cp1: bastion gate: cannot reach 127.0.0.1:", "check that sshd runs"}},
		"bastion without an address": {func(c *Config) { c.Via = []Config{{Host: "bastion x", User: "u"}} }, []string{"bastion x: ssh configuration: address is empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := behind(t, newBastions(t), way)
			test.change(&config)
			_, err := Dial(t.Context(), config)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
	if gate.Connections() == 0 || deny.Connections() == 0 {
		t.Error("the bastions were not asked")
	}
}

// Who waits for a bastion can give up; who closes all ends the attempt.
func TestBastionThatSaysNothing(t *testing.T) {
	noLeak(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, way := server(t, sshtest.Options{})
	way.Host, way.Port = "bastion gate", listener.Addr().(*net.TCPAddr).Port
	bastions := newBastions(t)
	_, config := behind(t, bastions, way)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = Dial(ctx, config)
	wantError[*host.UnreachableError](t, err, "cp1", "no connection came about in time")
	ended := make(chan error, 1)
	go func() {
		_, err := Dial(t.Context(), config)
		ended <- err
	}()
	if err := wait(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	_ = bastions.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// Two bastions with the same address and other users are two, as are two ways to one.
func TestBastionsAreTold(t *testing.T) {
	b := newBastions(t)
	one := Config{Address: "x", User: "a"}
	other := one
	other.User = "b"
	first := b.at([]Config{one})
	if first != b.at([]Config{one}) || first == b.at([]Config{other}) || first == b.at([]Config{other, one}) {
		t.Error("bastions are mixed up")
	}
}
