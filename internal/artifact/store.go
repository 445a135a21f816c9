// Package artifact gets published files: it knows where a cluster's source has them,
// what their digests must be, and keeps verified copies in the operator's cache.
package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/resource"
)

// Store resolves and provides the files of one cluster. It is safe for concurrent use.
type Store struct {
	source cluster.Artifacts
	cache  string
	client *http.Client
	stall  time.Duration

	mu          sync.Mutex
	replacement catalog.Lock // the site's own digests
	lock        catalog.Lock // learned ones
	learned     bool
	// opening holds a lock for each digest, so that what many hosts are given at the same
	// time is fetched once.
	opening map[string]*sync.Mutex
}

// Config says where a Store finds things.
type Config struct {
	Source cluster.Artifacts
	// Cache is the folder for verified copies, one file a digest.
	Cache string
	// Replacement holds the digests of a site that builds its own files, Lock those
	// that were learned by earlier runs.
	Replacement, Lock catalog.Lock
	// Stall is how long a download may stand still; 0 means 30 s.
	Stall time.Duration
}

// Deadlines of a download; its body may take as long as it moves.
const (
	connectTimeout = 15 * time.Second
	answerTimeout  = 30 * time.Second
	stallTimeout   = 30 * time.Second
)

// New makes a Store.
func New(c Config) *Store {
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment, // as upstream is reached from here
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, TLSHandshakeTimeout: connectTimeout,
		ResponseHeaderTimeout: answerTimeout, ForceAttemptHTTP2: true,
	}
	lock := catalog.Lock{Files: map[string]string{}}
	for url, digest := range c.Lock.Files {
		lock.Files[url] = digest
	}
	return &Store{
		source: c.Source, cache: c.Cache, client: &http.Client{Transport: transport}, stall: cmp.Or(c.Stall, stallTimeout),
		replacement: c.Replacement, lock: lock, opening: map[string]*sync.Mutex{},
	}
}

// Resolve gives each file its location and digest. A digest that neither the site nor
// the catalogue nor the lock knows is learned from the checksum that upstream publishes,
// and belongs in the lock from then on.
func (s *Store) Resolve(ctx context.Context, files []catalog.File) (map[string]resource.Artifact, error) {
	out := make(map[string]resource.Artifact, len(files))
	for _, f := range files {
		digest, err := s.digest(ctx, f)
		if err != nil {
			return nil, err
		}
		a := resource.Artifact{Name: f.Name, Version: f.Version, URL: f.URL, Upstream: f.URL, SHA256: digest, Archive: f.Format == catalog.TarGzip}
		switch s.source.Source {
		case "mirror":
			a.URL = s.mirrored(f.URL)
		case "directory":
			a.URL = ""
		}
		out[f.Name] = a
	}
	return out, nil
}

// Lock is the lock as it should be saved, and whether anything in it is new.
func (s *Store) Lock() (lock catalog.Lock, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := make(map[string]string, len(s.lock.Files))
	for url, digest := range s.lock.Files {
		files[url] = digest
	}
	return catalog.Lock{Files: files}, s.learned
}

func (s *Store) mirrored(url string) string {
	return s.source.MirrorURL + "/" + strings.TrimPrefix(url, "https://")
}

func (s *Store) digest(ctx context.Context, f catalog.File) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if digest, _ := catalog.Digest(f, s.replacement, s.lock); digest != "" {
		return digest, nil
	}
	if f.ChecksumURL == "" {
		return "", fmt.Errorf("no digest is known of %s %s and upstream publishes none; add %s to the file that spec.artifacts.digests names", f.Name, f.Version, f.URL)
	}
	body, err := s.open(ctx, f.ChecksumURL)
	if err != nil {
		return "", fmt.Errorf("learn the digest of %s %s: %w", f.Name, f.Version, err)
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("learn the digest of %s %s from %s: %w", f.Name, f.Version, f.ChecksumURL, err)
	}
	digest, err := catalog.ParseChecksum(text, f.URL[strings.LastIndex(f.URL, "/")+1:])
	if err != nil {
		return "", fmt.Errorf("learn the digest of %s %s from %s: %w", f.Name, f.Version, f.ChecksumURL, err)
	}
	s.lock.Files[f.URL] = "sha256:" + digest
	s.learned = true
	return digest, nil
}

// Open returns the path of a verified local copy of a file, fetched when there is none.
func (s *Store) Open(ctx context.Context, a resource.Artifact) (string, error) {
	alone := s.alone(a.SHA256)
	alone.Lock()
	defer alone.Unlock()
	path := filepath.Join(s.cache, a.SHA256)
	if err := verify(path, a.SHA256); err == nil {
		return path, nil
	}
	body, err := s.open(ctx, a.Upstream)
	if err != nil {
		return "", fmt.Errorf("get %s %s: %w", a.Name, a.Version, err)
	}
	defer body.Close()
	if err := save(path, body, a.SHA256); err != nil {
		return "", fmt.Errorf("get %s %s: %w", a.Name, a.Version, err)
	}
	return path, nil
}

// alone is the lock for what has a digest.
func (s *Store) alone(sha256 string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening[sha256] == nil {
		s.opening[sha256] = &sync.Mutex{}
	}
	return s.opening[sha256]
}

// open reads an upstream URL from the cluster's source.
func (s *Store) open(ctx context.Context, url string) (io.ReadCloser, error) {
	switch s.source.Source {
	case "directory":
		path := filepath.Join(s.source.Directory, filepath.FromSlash(strings.TrimPrefix(url, "https://")))
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%w (spec.artifacts.directory has upstream's paths: put %s there)", err, url)
		}
		return f, nil
	case "mirror":
		url = s.mirrored(url)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp, err := s.client.Do(req) //nolint:bodyclose // moving closes it
	if err != nil {
		cancel(nil)
		return nil, err
	}
	body := newMoving(ctx, resp.Body, cancel, s.stall)
	if resp.StatusCode != http.StatusOK {
		body.Close()
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return body, nil
}

// ErrDigest says that bytes are not those that were promised.
var ErrDigest = errors.New("digest mismatch")

func verify(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%w: %s has %s, want %s", ErrDigest, path, got, want)
	}
	return nil
}

// save writes what r gives under its final name only when it has the digest.
func save(path string, r io.Reader, want string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".partial-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(tmp, h), r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%w: got %s, want %s", ErrDigest, got, want)
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
