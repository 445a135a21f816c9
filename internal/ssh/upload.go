package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
)

// Upload implements host.Conn over SFTP. Interrupted, it leaves path+".part" behind at worst,
// which the next Upload overwrites.
func (c *Client) Upload(ctx context.Context, path string, r io.Reader, size int64) error {
	l, ch, err := c.session(ctx, "upload", host.Look)
	if err != nil {
		return err
	}
	go func() {
		ssh.DiscardRequests(ch.requests)
		l.slots.release(false)
	}()
	defer func() { _ = ch.Close() }()
	source := &closableReader{from: r}
	defer source.close() // nobody reads r after Upload has returned
	done := make(chan error, 1)
	go func() { done <- c.upload(ch, path, source, size) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return c.wrap("upload "+path, ctx.Err())
	case <-l.gone:
		return c.lost(l, "upload", true)
	}
	if err == nil {
		return nil
	}
	// A connection that has just ended is told from a server that merely closed the session.
	if broken(err) && l.settle(ctx) != nil && ctx.Err() == nil {
		return c.lost(l, "upload", true)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return c.wrap("upload "+path, err)
}

// broken reports whether the conversation ended under way.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, sftp.ErrSSHFxConnectionLost)
}

func (c *Client) upload(ch channel, path string, r io.Reader, size int64) error {
	client, err := startSFTP(ch)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	part := path + ".part"
	if err := writePart(client, part, r, size); err != nil {
		_ = client.Remove(part) // best effort: the next upload overwrites it
		return explainSFTP(part, err)
	}
	if _, ok := client.HasExtension("posix-rename@openssh.com"); ok {
		err = client.PosixRename(part, path)
	} else { // the plain rename of SFTP refuses to replace a file
		_ = client.Remove(path)
		err = client.Rename(part, path)
	}
	if err != nil {
		_ = client.Remove(part)
		return fmt.Errorf("rename %s: %w", part, err)
	}
	return nil
}

// startSFTP starts the sftp subsystem on a session channel.
func startSFTP(ch channel) (*sftp.Client, error) {
	const remedy = `the host has no working sftp server: look for "Subsystem sftp" in its sshd_config and install openssh-sftp-server`
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New(remedy)
	}
	said := host.NewBounded(4 << 10)
	heard := make(chan struct{})
	go func() {
		_, _ = io.Copy(said, ch.Stderr())
		close(heard)
	}()
	client, err := sftp.NewClientPipe(ch, ch,
		sftp.UseConcurrentWrites(true), // a file cut short is never renamed to its final name
		sftp.MaxConcurrentRequestsPerFile(64))
	if err == nil {
		return client, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		<-heard // the channel has ended, so has its standard error
	}
	text, _ := said.Content()
	return nil, fmt.Errorf("start sftp: %w %s; %s, or remove what the shell startup files print",
		err, strings.TrimSpace(string(text)), remedy)
}

// writePart writes exactly size bytes to a file with mode 0600.
func writePart(client *sftp.Client, part string, r io.Reader, size int64) error {
	file, err := client.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := file.Chmod(0o600); err != nil { // before there is anything in it to read
		return fmt.Errorf("set mode: %w", err)
	}
	n, err := file.ReadFrom(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if n < size {
		return fmt.Errorf("the source ended after %d of %d bytes", n, size)
	}
	if extra, _ := io.CopyN(io.Discard, r, 1); extra > 0 {
		return fmt.Errorf("the source is larger than the %d bytes announced", size)
	}
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("check size: %w", err)
	}
	if info.Size() != size {
		return fmt.Errorf("%d of %d bytes arrived: is the disk full?", info.Size(), size)
	}
	return file.Close()
}

// explainSFTP adds the remedy to the failures whose SFTP text says too little.
func explainSFTP(part string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("write %s: %w (the directory does not exist)", part, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("write %s: %w (the login user may not write there)", part, err)
	default:
		return fmt.Errorf("write %s: %w (a full disk is reported as a plain failure)", part, err)
	}
}

// closableReader is a reader that can be taken away from somebody who still reads from it.
type closableReader struct {
	mu     sync.Mutex
	from   io.Reader
	closed bool
}

// Read implements io.Reader.
func (r *closableReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, os.ErrClosed
	}
	return r.from.Read(p)
}

func (r *closableReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
