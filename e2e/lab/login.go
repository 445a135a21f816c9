package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/fault"
)

// retryEvery is how often a wait for a server on the lab's bridge looks again, and attemptTime
// how long one attempt may take to connect.
const (
	retryEvery  = 100 * time.Millisecond
	attemptTime = 3 * time.Second
)

// target is a node that is to be logged in to.
type target struct {
	node Node
	port uint16
	user string
	key  []byte // private key in OpenSSH's format
	// command is run there, with stdin, until it succeeds.
	command, stdin string
}

// sshPort is where nodes listen.
const sshPort = 22

// Commands for a target. bootedCommand waits for systemd to have started everything, and is
// refused by a unit that failed: only of a node with nothing of its user's can that be asked.
const (
	loginCommand  = "true"
	bootedCommand = "systemctl is-system-running --wait >/dev/null </dev/null || " +
		"{ echo failed: $(systemctl list-units --plain --no-legend --state=failed </dev/null | cut -d' ' -f1) >&2; exit 1; }"
	passwordCommand = "chpasswd" // reads USER:PASSWORD, as no password may be in a command line
)

// waitForLogin returns once the target accepts its user's key, shows the host key it was given,
// and runs a command. Until ctx ends it tries again; the error then has the reason of the last
// failure.
func waitForLogin(ctx context.Context, t target) error {
	signer, err := ssh.ParsePrivateKey(t.key)
	if err != nil {
		return fmt.Errorf("reading the lab's SSH key: %w", err)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(t.node.HostKey))
	if err != nil {
		return fmt.Errorf("reading the host key of %s: %w", t.node.Name, err)
	}
	config := &ssh.ClientConfig{
		User: t.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(hostKey), HostKeyAlgorithms: []string{hostKey.Type()},
	}
	address := netip.AddrPortFrom(t.node.Address, t.port).String()
	err = retry(ctx, func(ctx context.Context) error {
		client, err := dial(ctx, address, config)
		if err != nil {
			return err
		}
		defer client.Close()
		return command(ctx, client, t)
	})
	if err != nil {
		return fault.New(fault.Unreachable, "waiting to log in as %s at %s: %w", t.user, address, err)
	}
	return nil
}

// dial connects and logs in.
func dial(ctx context.Context, address string, config *ssh.ClientConfig) (*ssh.Client, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(attempt, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(attempt, func() { conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if !stop() && err == nil {
		err = attempt.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// command runs the target's command for its success.
func command(ctx context.Context, client *ssh.Client, t target) error {
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	var stderr strings.Builder
	session.Stdin, session.Stderr = strings.NewReader(t.stdin), &stderr
	if err := session.Run(t.command); err != nil {
		if why := strings.TrimSpace(stderr.String()); why != "" {
			return errors.New(why)
		}
		return err
	}
	return nil
}

// waitForMirror returns once the mirror serves both files and images.
func waitForMirror(ctx context.Context, address netip.Addr) error {
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: attemptTime}
	for _, url := range []string{"http://" + address.String() + "/", "http://" + address.String() + ":5000/v2/"} {
		err := retry(ctx, func(ctx context.Context) error { return get(ctx, client, url) })
		if err != nil {
			return fmt.Errorf("waiting for the mirror: %w", err)
		}
	}
	return nil
}

// get asks for a URL; an answer that is not a server's failure is enough.
func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // only whether it answers matters
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// retry calls attempt until it succeeds or ctx ends, and then returns its last error that says
// more than that it was out of time.
func retry(ctx context.Context, attempt func(context.Context) error) error {
	ticker := time.NewTicker(retryEvery)
	defer ticker.Stop()
	var last error
	for {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		var timeout interface{ Timeout() bool }
		outOfTime := ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
		if last == nil || !outOfTime {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}
