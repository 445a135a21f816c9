package ssh

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// trust records the key of a host that is not known yet. Another run may be doing the same:
// the file is locked, read again, and an entry that has appeared since decides.
func (v *verifier) trust(key ssh.PublicKey) error {
	path := v.config.KnownHosts[0]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("%s: record host key: %w", v.config.Host, err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("%s: record host key: %w", v.config.Host, err)
	}
	defer func() { _ = file.Close() }() // releases the lock as well
	if err := lockFile(file, v.config.Timeouts.Handshake); err != nil {
		return fmt.Errorf("%s: record host key: lock %s: %w", v.config.Host, path, err)
	}
	now, err := loadKnownHosts(nil, v.config.knownHostsFiles(), v.config.hostKeyName())
	if err != nil {
		return fmt.Errorf("%s: record host key: %w", v.config.Host, err)
	}
	v.known = now
	if contains(now.keys, key) {
		return nil
	}
	if want := now.expected(); len(want) > 0 {
		return v.refuse(key, want, nil)
	}
	if err := appendLine(file, knownhosts.Line([]string{v.config.hostKeyName()}, key)); err != nil {
		return fmt.Errorf("%s: record host key in %s: %w", v.config.Host, path, err)
	}
	return nil
}

// appendLine adds a line to file and makes it durable, after ending a last line that has no
// line break.
func appendLine(file *os.File, line string) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	text := line + "\n"
	if end > 0 {
		last := make([]byte, 1)
		if _, err := file.ReadAt(last, end-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			text = "\n" + text
		}
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	if err := file.Sync(); !errors.Is(err, syscall.EINVAL) { // as of /dev/null, which keeps nothing
		return err
	}
	return nil
}

// lockFile takes an exclusive advisory lock. The lock is held for moments only, so one that
// cannot be had in time is a fault.
func lockFile(file *os.File, patience time.Duration) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-retry.C:
		case <-deadline.C:
			return fmt.Errorf("held by another process for more than %v", patience)
		}
	}
}
