// Command verifyserver is what the pods of functional checks and of the end-to-end tests run: a
// small HTTP server that shows which pod answered, and a client for looking at the cluster from
// inside a pod. It needs no privilege, and on SIGTERM it answers what it has begun and ends.
//
//	verifyserver serve [-port 8080] [-dir DIR]
//	    GET  /            the host name, which in a pod is the pod's name
//	    GET  /client      the address that the request comes from
//	    ANY  /echo        method, path, peer, headers and body of the request
//	    GET  /file/NAME   a file of -dir; PUT writes it, DELETE removes it
//	    GET  /burn?ms=N   keeps one CPU busy for N milliseconds (default 100)
//	    GET  /healthz     ok
//	verifyserver get [-timeout 5s] [-host NAME] URL  prints the body; fails unless the status is 200
//	verifyserver resolve [-timeout 5s] NAME          prints the addresses, sorted, one a line
//	verifyserver sleep                               waits to be stopped
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "verifyserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("usage: verifyserver serve|get|resolve|sleep")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	port := flags.Int("port", 8080, "TCP `port` of serve")
	dir := flags.String("dir", os.TempDir(), "`directory` of /file")
	timeout := flags.Duration("timeout", 5*time.Second, "longest `time` for get and resolve")
	host := flags.String("host", "", "`name` that get asks for, where it is not that of the URL")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "serve":
		listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(*port)))
		if err != nil {
			return err
		}
		return serve(ctx, listener, *dir, grace)
	case "sleep":
		<-ctx.Done()
		return nil
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%s takes one argument", args[0])
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	switch args[0] {
	case "get":
		return get(ctx, flags.Arg(0), *host, out)
	case "resolve":
		return resolve(ctx, flags.Arg(0), out)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// grace is how long what was begun may take after SIGTERM: less than the 30 s that a pod has.
const grace = 20 * time.Second

// serve answers until the context ends, and then what has been begun.
func serve(ctx context.Context, listener net.Listener, dir string, grace time.Duration) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the directory of /file: %w", err)
	}
	defer root.Close()
	server := &http.Server{Handler: handler(root), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("ending with requests unanswered: %w", errors.Join(err, server.Close()))
	}
	return nil
}

func handler(root *os.Root) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		name, err := os.Hostname()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, name)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /client", func(w http.ResponseWriter, r *http.Request) {
		address, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, address)
	})
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("GET /burn", burn)
	mux.HandleFunc("/file/{name}", func(w http.ResponseWriter, r *http.Request) { file(root, w, r) })
	return mux
}

// echo shows the peer's address, by which a test sees whether a service hides it.
func echo(w http.ResponseWriter, r *http.Request) {
	// Without it the server drops the rest of the body when the first of it has been answered.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s %s\npeer: %s\nhost: %s\n", r.Method, r.URL, r.RemoteAddr, r.Host)
	if err := r.Header.Write(w); err != nil {
		return // the client has gone
	}
	fmt.Fprintln(w)
	if _, err := io.Copy(w, r.Body); err != nil {
		return
	}
}

func burn(w http.ResponseWriter, r *http.Request) {
	ms := 100
	if text := r.URL.Query().Get("ms"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 60_000 {
			http.Error(w, "ms is a number of milliseconds up to 60000", http.StatusBadRequest)
			return
		}
		ms = n
	}
	rounds := 0
	for end := time.Now().Add(time.Duration(ms) * time.Millisecond); time.Now().Before(end) && r.Context().Err() == nil; {
		rounds++
	}
	fmt.Fprintln(w, rounds)
}

func file(root *os.Root, w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.PathValue("name"))
	var err error
	switch r.Method {
	case http.MethodGet:
		var data []byte
		if data, err = root.ReadFile(name); err == nil {
			_, err = w.Write(data)
		}
	case http.MethodPut:
		var data []byte
		if data, err = io.ReadAll(r.Body); err == nil {
			err = root.WriteFile(name, data, 0o644)
		}
	case http.MethodDelete:
		err = root.Remove(name)
	default:
		http.Error(w, "GET, PUT or DELETE", http.StatusMethodNotAllowed)
		return
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// get asks for another host than that of the URL when host is set, as a client of an ingress does
// that reaches it by its address.
func get(ctx context.Context, url, host string, out io.Writer) error {
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Host = host // "" means that of the URL
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(out, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func resolve(ctx context.Context, name string, out io.Writer) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	slices.Sort(addresses)
	for _, a := range addresses {
		fmt.Fprintln(out, a)
	}
	return nil
}
