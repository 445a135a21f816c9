package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"kubewright/internal/fault"
)

// Charts in registries. Source: https://helm.sh/docs/topics/registries/#helm-chart-manifest
const (
	ociScheme       = "oci://"
	chartLayer      = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	maxManifestSize = 4 << 20
)

// ociReference is a chart in a registry.
type ociReference struct {
	written    string // as the user wrote it
	repository registry.Reference
	version    string        // of the chart, "" if only the digest is given
	digest     digest.Digest // of the manifest, "" if only the version is given
}

// parseReference reads a reference to a chart, of which the version may be given apart.
func parseReference(written, version string) (ociReference, error) {
	ref := ociReference{written: written, version: version}
	name, pinned, isPinned := strings.Cut(strings.TrimPrefix(written, ociScheme), "@")
	if isPinned {
		ref.digest = digest.Digest(pinned)
		if err := ref.digest.Validate(); err != nil || ref.digest.Algorithm() != digest.SHA256 {
			return ref, fmt.Errorf("%s: %q is not a digest: write @sha256: and 64 hexadecimal digits", written, pinned)
		}
	}
	if slash, colon := strings.LastIndex(name, "/"), strings.LastIndex(name, ":"); colon > slash {
		tag := name[colon+1:]
		name = name[:colon]
		if version != "" && version != tag {
			return ref, fmt.Errorf("%s: the version is %s there, and %s beside it: keep one of them", written, tag, version)
		}
		ref.version = tag
	}
	if ref.version == "" && ref.digest == "" {
		return ref, fmt.Errorf("%s: what it leads to would change with every release of the chart: "+
			"give it a version, or a digest as …@sha256:…", written)
	}
	if ref.version != "" {
		if _, err := semver.StrictNewVersion(strings.TrimPrefix(ref.version, "v")); err != nil {
			return ref, fmt.Errorf("%s: %q is not a version of a chart: write a whole one, such as 1.2.3, and no range", written, ref.version)
		}
	}
	var err error
	if ref.repository, err = registry.ParseReference(name); err != nil {
		return ref, fmt.Errorf("%s: %w: write oci://REGISTRY/REPOSITORY:VERSION", written, err)
	}
	return ref, nil
}

// which is the tag or the digest that the registry is asked for.
func (r ociReference) which() string {
	if r.digest != "" {
		return r.digest.String()
	}
	return strings.ReplaceAll(r.version, "+", "_") // a tag has no plus; this is how Helm writes them
}

// pull brings the archive of a chart into memory. A digest, if there is one, is that of the manifest, which has
// that of the archive; both are verified.
func (e Env) pull(ctx context.Context, ref ociReference) ([]byte, error) {
	repository, err := e.repository(ref)
	if err != nil {
		return nil, err
	}
	layer, err := ref.layer(ctx, repository)
	if err != nil {
		return nil, err
	}
	if layer.Size > archive.MaxDecompressedChartSize {
		return nil, fmt.Errorf("%s: the chart has %d bytes, over %d: it is not a chart", ref.written, layer.Size, archive.MaxDecompressedChartSize)
	}
	blob, err := repository.Blobs().Fetch(ctx, layer)
	if err != nil {
		return nil, ref.unreachable(err)
	}
	data, err := content.ReadAll(blob, layer)
	if err := errors.Join(err, blob.Close()); err != nil {
		if errors.Is(err, content.ErrMismatchedDigest) {
			return nil, fmt.Errorf("%s: the registry sent another archive than its manifest names, with the digest %s and not %s",
				ref.written, digest.FromBytes(data), layer.Digest)
		}
		return nil, ref.unreachable(err)
	}
	return data, nil
}

// repository opens the way to the repository of a chart.
func (e Env) repository(ref ociReference) (*remote.Repository, error) {
	var stores []credentials.Store
	for _, file := range e.Logins {
		store, err := credentials.NewStore(file, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("%s: the logins to registries cannot be read: %w", file, err)
		}
		stores = append(stores, store)
	}
	client := &auth.Client{Client: &http.Client{Transport: retry.NewTransport(e.Transport)}}
	if len(stores) > 0 {
		client.Credential = credentials.Credential(credentials.NewStoreWithFallbacks(stores[0], stores[1:]...))
	}
	return &remote.Repository{Client: client, Reference: ref.repository, MaxMetadataBytes: maxManifestSize}, nil
}

// layer asks for the manifest of a chart and finds its archive in it.
func (r ociReference) layer(ctx context.Context, repository *remote.Repository) (ocispec.Descriptor, error) {
	found, body, err := repository.Manifests().FetchReference(ctx, r.which())
	if err != nil {
		if errors.Is(err, errdef.ErrNotFound) {
			return ocispec.Descriptor{}, fmt.Errorf("%s: the registry does not have %s: correct the version or the digest", r.written, r.which())
		}
		if strings.Contains(err.Error(), "digest mismatch") { // oras compares, and has no value for this error
			return ocispec.Descriptor{}, fmt.Errorf("%s: the registry sent another manifest: %w: do not use it unless you know why", r.written, err)
		}
		return ocispec.Descriptor{}, r.unreachable(err)
	}
	data, err := io.ReadAll(io.LimitReader(body, maxManifestSize))
	if err := errors.Join(err, body.Close()); err != nil {
		return ocispec.Descriptor{}, r.unreachable(err)
	}
	want := found.Digest
	if r.digest != "" {
		want = r.digest
	}
	if got := digest.FromBytes(data); got != want {
		return ocispec.Descriptor{}, fmt.Errorf("%s: the registry sent a manifest with the digest %s, and not %s: "+
			"do not use it unless you know why", r.written, got, want)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%s: the manifest cannot be read: %w", r.written, err)
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType == chartLayer {
			return layer, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: it is not a chart (%s): name the repository that helm push wrote", r.written, found.MediaType)
}

// unreachable is an error that another attempt may not have, or a login.
func (r ociReference) unreachable(err error) error {
	hint := ""
	var response *errcode.ErrorResponse
	denied := errors.As(err, &response) && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden)
	if denied || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		hint = "log in with helm registry login " + r.repository.Registry
	}
	return &fault.Error{Kind: fault.Unreachable, Hint: hint, Err: fmt.Errorf("%s: the chart cannot be fetched: %w", r.written, err)}
}
