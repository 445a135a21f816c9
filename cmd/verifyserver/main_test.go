package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func testServer(t *testing.T) *httptest.Server {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	server := httptest.NewServer(handler(root))
	t.Cleanup(server.Close)
	return server
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func TestPages(t *testing.T) {
	server := testServer(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string // contained in the answer
	}{
		{"GET", "/", "", 200, host + "\n"},
		{"GET", "/healthz", "", 200, "ok\n"},
		{"GET", "/client", "", 200, "127.0.0.1\n"},
		{"POST", "/echo?a=1", "hello", 200, "POST /echo?a=1\npeer: 127.0.0.1:"},
		{"POST", "/echo", "hello", 200, "\nhello"},
		{"POST", "/echo", strings.Repeat("hello", 40_000), 200, strings.Repeat("hello", 40_000)},
		{"GET", "/file/a", "", 404, "a"},
		{"PUT", "/file/a", "kept", 200, ""},
		{"GET", "/file/a", "", 200, "kept"},
		{"POST", "/file/a", "", 405, "PUT"},
		{"DELETE", "/file/a", "", 200, ""},
		{"GET", "/file/a", "", 404, "a"},
		{"PUT", "/file/..%2Fa", "escaped", 200, ""}, // only the last element counts
		{"GET", "/file/a", "", 200, "escaped"},
		{"GET", "/burn?ms=1", "", 200, "\n"},
		{"GET", "/burn?ms=-1", "", 400, "milliseconds"},
		{"GET", "/burn?ms=ever", "", 400, "milliseconds"},
		{"GET", "/nothing", "", 404, ""},
	} {
		status, body := call(t, tc.method, server.URL+tc.path, tc.body)
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s: got %d %q, want %d %q", tc.method, tc.path, status, body, tc.status, tc.want)
		}
	}
}

func TestClient(t *testing.T) {
	server := testServer(t)
	host := strings.TrimPrefix(server.URL, "http://")
	named := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	defer named.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for args, want := range map[string]struct{ out, err string }{
		"get " + server.URL + "/healthz":       {"ok\n", ""},
		"get " + host + "/healthz":             {"ok\n", ""},
		"get -host web.test " + named.URL:      {"web.test", ""},
		"get " + server.URL + "/nothing":       {"404 page not found\n", "404 Not Found"},
		"get http://" + closed.Addr().String(): {"", "connection refused"},
		"get":                                  {"", "one argument"},
		"resolve 127.0.0.1":                    {"127.0.0.1\n", ""},
		"resolve -timeout 3s a..b":             {"", "a..b"},
		"dance x":                              {"", `"dance"`},
		"serve -port 1 -dir":                   {"", "needs an argument"},
		"":                                     {"", "usage"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(args), &out)
		if out.String() != want.out || (err == nil) != (want.err == "") || (err != nil && !strings.Contains(err.Error(), want.err)) {
			t.Errorf("%q: got %q, %v, want %q, %q", args, out.String(), err, want.out, want.err)
		}
	}
}

func TestServeAndSleepEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- serve(ctx, listener, t.TempDir(), grace) }()
	go func() { done <- run(ctx, []string{"sleep"}, io.Discard) }()
	if status, _ := call(t, "GET", "http://"+listener.Addr().String()+"/healthz", ""); status != 200 {
		t.Errorf("got %d", status)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	if err := serve(t.Context(), listener, "/nonexistent", grace); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("a missing directory: got %v", err)
	}
}

// TestBegunRequestsAreAnswered: what has been begun when SIGTERM comes is answered, for as long as
// the grace lasts.
func TestBegunRequestsAreAnswered(t *testing.T) {
	for _, tc := range []struct {
		grace time.Duration
		want  string // in the error; "" for none, and an answer
	}{{time.Minute, ""}, {time.Millisecond, "requests unanswered"}} {
		ctx, cancel := context.WithCancel(t.Context())
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- serve(ctx, listener, t.TempDir(), tc.grace) }()
		// The answer begins at once, and ends with the body of the request.
		body, end := io.Pipe()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String()+"/echo", body)
		if err != nil {
			t.Fatal(err)
		}
		write := make(chan error, 1)
		go func() {
			_, err := io.WriteString(end, strings.Repeat("begun", 2000))
			write <- err
		}()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-write; err != nil {
			t.Fatal(err)
		}
		cancel()
		if tc.want == "" {
			end.Close()
		}
		err = <-served
		if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("with %s of grace: got %v, want %q", tc.grace, err, tc.want)
		}
		data, err := io.ReadAll(response.Body)
		if tc.want == "" && (err != nil || !strings.HasSuffix(string(data), "begun")) {
			t.Errorf("the answer was cut: %v", err)
		}
		response.Body.Close()
		end.Close()
	}
}
