// Command mirror serves a directory made by `go run ./e2e/artifacts build`: its files, as a
// mirror of the upstream sites, and its images, through the registry beside it.
//
//	mirror -dir DIR [-files :80] [-registry :5000]
//
// It is static, needs nothing but DIR (which may be read-only), and ends with the registry
// on SIGTERM or SIGINT. An empty address leaves that server out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	dir := flag.String("dir", "", "`directory` of the artifacts")
	files := flag.String("files", ":80", "`address` to serve the files on; empty for none")
	registry := flag.String("registry", ":5000", "`address` to serve the images on; empty for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, *dir, *files, *registry)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

// serve runs both servers until the context ends or one of them fails.
func serve(ctx context.Context, dir, files, registry string) error {
	if dir == "" {
		return errors.New("-dir is needed: the directory that `artifacts build` printed")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := 0
	results := make(chan error, 2)
	if files != "" {
		listener, err := net.Listen("tcp", files)
		if err != nil {
			return fmt.Errorf("serving files: %w", err)
		}
		servers++
		go func() { results <- serveFiles(ctx, listener, filepath.Join(dir, "files")) }()
	}
	if registry != "" {
		servers++
		go func() { results <- runRegistry(ctx, dir, registry) }()
	}
	var all error
	for range servers {
		all = errors.Join(all, <-results)
		cancel()
	}
	return all
}

// serveFiles serves files only; a folder is not listed.
func serveFiles(ctx context.Context, listener net.Listener, root string) error {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := filepath.Join(root, filepath.FromSlash(filepath.Clean("/"+r.URL.Path)))
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, path)
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving files: %w", err)
	}
	return nil
}

// runRegistry runs the distribution registry of the directory as a child.
func runRegistry(ctx context.Context, dir, address string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "bin", "registry"), "serve", filepath.Join(dir, "registry.yml"))
	cmd.Env = append(os.Environ(),
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="+filepath.Join(dir, "registry"),
		"REGISTRY_HTTP_ADDR="+address, "REGISTRY_LOG_LEVEL=warn", "OTEL_TRACES_EXPORTER=none")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil //nolint:nilerr // we ended it
	}
	return fmt.Errorf("the registry ended: %w", err)
}
