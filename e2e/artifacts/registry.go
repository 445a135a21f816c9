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

// push uploads an image of layers that are files, see pushImage.
func (r *registry) push(ctx context.Context, i Image, layers []blob) (string, error) {
	config, man, err := describe(i, layers)
	if err != nil {
		return "", err
	}
	image := packedImage{ref: i.Ref, mediaType: mediaManifest, manifest: man}
	for _, l := range layers {
		image.parts = append(image.parts, part{l.Digest, l.Size, func() (io.ReadCloser, error) { return os.Open(l.Path) }})
	}
	image.parts = append(image.parts, part{digestOf(config), int64(len(config)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(config)), nil
	}})
	return r.pushImage(ctx, image)
}

// pushImage uploads the image and returns the file, relative to the cache, by which the registry
// knows its tag.
func (r *registry) pushImage(ctx context.Context, i packedImage) (string, error) {
	repository, tag, err := splitRef(i.ref)
	if err != nil {
		return "", err
	}
	if err := r.start(ctx); err != nil {
		return "", err
	}
	for _, p := range i.parts {
		content, err := p.open()
		if err != nil {
			return "", err
		}
		err = r.pushBlob(ctx, repository, p.digest, content, p.size)
		content.Close()
		if err != nil {
			return "", err
		}
	}
	_, err = r.call(ctx, request{
		method: http.MethodPut, url: r.base + "/v2/" + repository + "/manifests/" + tag,
		contentType: i.mediaType, body: bytes.NewReader(i.manifest), size: int64(len(i.manifest)), want: http.StatusCreated,
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
