package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// bareClient is the name of the command that this program has beside its flags: the floor, which logs in to
// hosts with nothing but Go's SSH library, runs one command on each and ends.
const bareClient = "bare-client"

// What the bare client is told, in the folder of a fleet.
const (
	endpointsFile = "endpoints"
	hostKeyFile   = "host_key.pub"
	userKeyFile   = "id_ed25519"
)

// runBareClient runs one command on all hosts of a fleet at once.
func runBareClient(ctx context.Context, dir string) error {
	texts := map[string]string{}
	for _, name := range []string{endpointsFile, hostKeyFile, userKeyFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		texts[name] = string(data)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(texts[hostKeyFile]))
	if err != nil {
		return fmt.Errorf("%s: %w", hostKeyFile, err)
	}
	user, err := ssh.ParsePrivateKey([]byte(texts[userKeyFile]))
	if err != nil {
		return fmt.Errorf("%s: %w", userKeyFile, err)
	}
	config := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(hostKey), HostKeyAlgorithms: []string{hostKey.Type()},
	}
	endpoints := strings.Fields(texts[endpointsFile])
	errs := make([]error, len(endpoints))
	var all sync.WaitGroup
	for i, endpoint := range endpoints {
		all.Go(func() { errs[i] = runBare(ctx, endpoint, config) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// runBare runs one command on one host.
func runBare(ctx context.Context, endpoint string, config *ssh.ClientConfig) error {
	const patience = time.Minute
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	connection, channels, requests, err := ssh.NewClientConn(conn, endpoint, config)
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	client := ssh.NewClient(connection, channels, requests)
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	if err := session.Run("true"); err != nil {
		return fmt.Errorf("%s: %w", endpoint, err)
	}
	return client.Close()
}
