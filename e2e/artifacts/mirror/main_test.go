package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// artifacts is a directory as the build leaves it, with a shell script as its registry.
func artifacts(t *testing.T, registryScript string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"files/dl.k8s.io/release/v1/kubelet": "program",
		"secret":                             "not for serving",
		"bin/registry":                       "#!/bin/sh\n" + registryScript,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestServeFiles(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveFiles(ctx, listener, filepath.Join(artifacts(t, ""), "files")) }()
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/dl.k8s.io/release/v1/kubelet": {http.StatusOK, "program"},
		"/dl.k8s.io/release/v1/kubectl": {http.StatusNotFound, "404 page not found\n"},
		"/dl.k8s.io/release/v1":         {http.StatusNotFound, "404 page not found\n"},
		"/":                             {http.StatusNotFound, "404 page not found\n"},
		"/../secret":                    {http.StatusNotFound, "404 page not found\n"},
		"/%2e%2e/secret":                {http.StatusNotFound, "404 page not found\n"},
	} {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != want.status || string(body) != want.body {
			t.Errorf("%s: got %d %q, %v", path, response.StatusCode, body, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestServeStopsTogether(t *testing.T) {
	err := serve(t.Context(), artifacts(t, "exit 3"), "127.0.0.1:0", ":0")
	if err == nil || !strings.Contains(err.Error(), "the registry ended: exit status 3") {
		t.Errorf("a registry that dies ends the mirror and is named: got %v", err)
	}
}

func TestServeEndsOnRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := artifacts(t, `echo "$REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY $REGISTRY_HTTP_ADDR $*" > "${0%/bin/*}/called.part"
mv "${0%/bin/*}/called.part" "${0%/bin/*}/called"
exec cat "${0%/bin/*}/wait"`)
	if err := syscall.Mkfifo(filepath.Join(dir, "wait"), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(ctx, dir, "127.0.0.1:0", "127.0.0.1:5999") }()
	// The script has been started once it has the fifo open.
	f, err := os.OpenFile(filepath.Join(dir, "wait"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
	want := dir + "/registry 127.0.0.1:5999 serve " + dir + "/registry.yml\n"
	if got, err := os.ReadFile(filepath.Join(dir, "called")); err != nil || string(got) != want {
		t.Errorf("registry was called with %q, %v, want %q", got, err, want)
	}
}

func TestServeRefuses(t *testing.T) {
	if err := serve(t.Context(), "", "", ""); err == nil || !strings.Contains(err.Error(), "-dir") {
		t.Errorf("without a directory: got %v", err)
	}
	if err := serve(t.Context(), t.TempDir(), "127.0.0.1:0", ":0"); err == nil || !strings.Contains(err.Error(), "bin/registry") {
		t.Errorf("without a registry: got %v", err)
	}
	if err := serve(t.Context(), t.TempDir(), "256.0.0.1:0", ""); err == nil || !strings.Contains(err.Error(), "serving files") {
		t.Errorf("an impossible address: got %v", err)
	}
}
