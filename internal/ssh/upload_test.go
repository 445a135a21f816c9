package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

func TestUpload(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	content := make([]byte, 5<<20+17)
	_, _ = rand.Read(content)
	for name, data := range map[string][]byte{"empty": {}, "small": []byte("x"), "large": content} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			write(t, path, "what was there before, longer than what comes")
			write(t, path+".part", strings.Repeat("left over", 1000))
			if err := os.Chmod(path+".part", 0o666); err != nil {
				t.Fatal(err)
			}
			if err := client.Upload(t.Context(), path, bytes.NewReader(data), int64(len(data))); err != nil {
				t.Fatal(err)
			}
			if got := read(t, path); got != string(data) {
				t.Errorf("%d bytes arrived, want %d", len(got), len(data))
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if _, err := os.Stat(path + ".part"); !os.IsNotExist(err) {
				t.Error("the part file is still there")
			}
		})
	}
}

func TestUploadFails(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	dir := t.TempDir()
	write(t, dir+"/before", "before")
	broken := errors.New("source broke")
	for name, test := range map[string]struct {
		path   string
		source io.Reader
		want   string
	}{
		"no directory":  {dir + "/none/file", strings.NewReader("12345"), "the directory does not exist"},
		"short source":  {dir + "/before", strings.NewReader("123"), "ended after 3 of 5 bytes"},
		"long source":   {dir + "/before", strings.NewReader("1234567"), "larger than the 5 bytes"},
		"broken source": {dir + "/before", io.MultiReader(strings.NewReader("12"), failingReader{broken}), "source broke"},
	} {
		t.Run(name, func(t *testing.T) {
			err := client.Upload(t.Context(), test.path, test.source, 5)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "cp1") || !strings.Contains(err.Error(), test.path) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if got := read(t, dir+"/before"); got != "before" {
				t.Errorf("the file became %q", got)
			}
			if _, err := os.Stat(test.path + ".part"); !os.IsNotExist(err) {
				t.Error("the part file is still there")
			}
		})
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestUploadNoSFTP(t *testing.T) {
	_, config := server(t, sshtest.Options{NoSFTP: true})
	err := connect(t, config).Upload(t.Context(), t.TempDir()+"/x", strings.NewReader("x"), 1)
	if err == nil || !strings.Contains(err.Error(), "Subsystem sftp") || !strings.Contains(err.Error(), "cp1") {
		t.Errorf("error %v", err)
	}
}

// endless is a source that never ends and tells when it is being read.
type endless struct {
	once  sync.Once
	began chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	e.once.Do(func() { close(e.began) })
	return len(p), nil
}

func TestUploadCancel(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	source := &endless{began: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-source.began
		cancel()
	}()
	path := t.TempDir() + "/file"
	if err := client.Upload(ctx, path, source, 1<<40); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("half a file has its final name")
	}
	mustRun(t, client, "true")
}

func TestUploadLost(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{})
	client := connect(t, config)
	source := &endless{began: make(chan struct{})}
	go func() {
		<-source.began
		s.DropAll()
	}()
	err := client.Upload(t.Context(), t.TempDir()+"/file", source, 1<<40)
	if lost := wantError[*host.LostError](t, err, "upload"); !lost.Started {
		t.Error("the upload had started")
	}
}

// TestUploadManyWithOneSession queues uploads and scripts where the server allows one session.
func TestUploadManyWithOneSession(t *testing.T) {
	_, config := server(t, sshtest.Options{MaxSessions: 1})
	client := connect(t, config)
	dir := t.TempDir()
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		all.Go(func() {
			if err := client.Upload(t.Context(), filepath.Join(dir, name), strings.NewReader(name), 1); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := client.Run(t.Context(), text("true"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestUploadKeepsAlive uploads for many keepalive intervals over a slow line: an answer that
// queues behind the data must not count as a lost connection.
func TestUploadKeepsAlive(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.Timeouts.Keepalive = 20 * time.Millisecond
	client := connect(t, config)
	slow := readerFunc(func(p []byte) (int, error) {
		<-time.After(5 * time.Millisecond)
		return len(p), nil
	})
	if err := client.Upload(t.Context(), t.TempDir()+"/file", io.LimitReader(slow, 2<<20), 2<<20); err != nil {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
