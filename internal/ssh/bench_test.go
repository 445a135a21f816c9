package ssh

import (
	"bytes"
	"context"
	"io"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The two benchmarks below show what Run costs on top of the library: one more round trip, since
// the script waits for the shell's ready line, and one more exec of sh.

func BenchmarkRun(b *testing.B) {
	config, _ := openSSH(b)
	client := connect(b, config)
	for b.Loop() {
		if err := client.Run(context.Background(), text("echo hello"), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRawSession(b *testing.B) {
	config, _ := openSSH(b)
	client := connect(b, config)
	for b.Loop() {
		session, err := (&ssh.Client{Conn: client.link.mux}).NewSession()
		if err != nil {
			b.Fatal(err)
		}
		session.Stdin = bytes.NewReader([]byte("echo hello"))
		session.Stdout = io.Discard
		if err := session.Run("exec sh -s"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDial(b *testing.B) {
	config, _ := openSSH(b, "MaxStartups 100")
	for b.Loop() {
		client, err := Dial(context.Background(), config)
		if err != nil {
			b.Fatal(err)
		}
		_ = client.Close()
	}
}

// BenchmarkRawDial is the library alone, with the same checks.
func BenchmarkRawDial(b *testing.B) {
	config, _ := openSSH(b, "MaxStartups 100")
	signer, err := ssh.ParsePrivateKey(config.Keys[0].PEM.Reveal())
	if err != nil {
		b.Fatal(err)
	}
	pinned, err := parsePin(config.HostKey)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		client, err := ssh.Dial("tcp", config.endpoint(), &ssh.ClientConfig{
			User: config.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
			HostKeyCallback: ssh.FixedHostKey(pinned.key), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		})
		if err != nil {
			b.Fatal(err)
		}
		_ = client.Close()
	}
}
