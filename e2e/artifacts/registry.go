package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// registryConfig is the configuration of the distribution registry. The address and the
// storage directory are set by environment, as they differ between building and serving.
const registryConfig = `version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: /var/lib/registry
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: :5000
  draintimeout: 2s
`

// registry is the built registry serving the storage of the cache, started when the first
// image is pushed.
type registry struct {
	cache
	base   string // URL; "" when not started
	cmd    *exec.Cmd
	pushed bool
}

func (r *registry) environment() []string {
	return append(os.Environ(),
		"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="+filepath.Join(r.dir, "registry"),
		"REGISTRY_HTTP_ADDR=127.0.0.1:0", "OTEL_TRACES_EXPORTER=none")
}

// start waits for the registry's own word about the port that it listens on.
func (r *registry) start(ctx context.Context) error {
	if r.base != "" {
		return nil
	}
	config := filepath.Join(r.dir, "registry.yml")
	if err := writeFile(config, []byte(registryConfig)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "registry"), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(r.dir, "bin", "registry"), "serve", config)
	cmd.Env = r.environment()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the registry: %w; build the group registry first", err)
	}
	address, err := listeningAddress(stderr)
	if err != nil {
		return errors.Join(fmt.Errorf("starting the registry: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	// The registry's further log is of no interest, but its pipe must not fill up.
	go func() { _, _ = io.Copy(io.Discard, stderr) }()
	r.cmd, r.base = cmd, "http://"+address
	return nil
}

// listeningAddress reads the log until the registry says where it listens.
func listeningAddress(log io.Reader) (string, error) {
	pattern := regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)
	var seen []string
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := pattern.FindStringSubmatch(lines.Text()); m != nil {
			return m[1], nil
		}
		seen = append(seen, lines.Text())
	}
	return "", fmt.Errorf("it ended without listening:\n%s", tail(strings.Join(seen, "\n"), 10))
}

// stop ends the registry and drops what no tag refers to any more.
func (r *registry) stop(ctx context.Context) error {
	if r.base == "" {
		return nil
	}
	r.base = ""
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the registry: %w", err)
	}
	err := r.cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("stopping the registry: %w", err)
	}
	if !r.pushed {
		return nil
	}
	collect := exec.CommandContext(ctx, filepath.Join(r.dir, "bin", "registry"),
		"garbage-collect", "--delete-untagged", filepath.Join(r.dir, "registry.yml"))
	collect.Env = r.environment()
	return runCommand(ctx, collect)
}

// push uploads the image and returns the file, relative to the cache, by which the registry
// knows its tag.
func (r *registry) push(ctx context.Context, i Image, layers []blob) (string, error) {
	repository, tag, err := splitRef(i.Ref)
	if err != nil {
		return "", err
	}
	if err := r.start(ctx); err != nil {
		return "", err
	}
	config, man, err := describe(i, layers)
	if err != nil {
		return "", err
	}
	for _, l := range layers {
		f, err := os.Open(l.Path)
		if err != nil {
			return "", err
		}
		err = r.pushBlob(ctx, repository, l.Digest, f, l.Size)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	if err := r.pushBlob(ctx, repository, digestOf(config), bytes.NewReader(config), int64(len(config))); err != nil {
		return "", err
	}
	_, err = r.call(ctx, request{
		method: http.MethodPut, url: r.base + "/v2/" + repository + "/manifests/" + tag,
		contentType: mediaManifest, body: bytes.NewReader(man), size: int64(len(man)), want: http.StatusCreated,
	})
	r.pushed = true
	return filepath.Join("registry", "docker", "registry", "v2", "repositories", filepath.FromSlash(repository),
		"_manifests", "tags", tag, "current", "link"), err
}

// pushBlob uploads in one piece; the registry keeps one copy of a blob for all repositories.
func (r *registry) pushBlob(ctx context.Context, repository, digest string, body io.Reader, size int64) error {
	response, err := r.call(ctx, request{
		method: http.MethodPost, url: r.base + "/v2/" + repository + "/blobs/uploads/", want: http.StatusAccepted,
	})
	if err != nil {
		return err
	}
	location, err := response.Location()
	if err != nil {
		return fmt.Errorf("uploading to %s: %w", repository, err)
	}
	query := location.Query()
	query.Set("digest", digest)
	location.RawQuery = query.Encode()
	_, err = r.call(ctx, request{
		method: http.MethodPut, url: location.String(), contentType: "application/octet-stream",
		body: body, size: size, want: http.StatusCreated,
	})
	return err
}

type request struct {
	method, url, contentType string
	body                     io.Reader
	size                     int64
	want                     int // status
}

func (r *registry) call(ctx context.Context, q request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, q.body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = q.size
	if q.contentType != "" {
		req.Header.Set("Content-Type", q.contentType)
	}
	// Never through a proxy: the registry is on the loopback.
	client := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }, DisableKeepAlives: true}}
	response, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 2000))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != q.want {
		return nil, fmt.Errorf("%s %s: %s: %s", q.method, q.url, response.Status, text)
	}
	return response, nil
}
