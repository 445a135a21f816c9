package manifest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"kubewright/internal/fault"
)

// fakeRegistry serves one chart as a registry does.
type fakeRegistry struct {
	*httptest.Server
	manifest, chart []byte
	mediaType       string
	login           string // "user:password", or "" for none
	claims          string // the digest that it says the manifest has, "" for none
}

func newRegistry(t *testing.T, chart []byte) *fakeRegistry {
	t.Helper()
	r := &fakeRegistry{chart: chart, mediaType: "application/vnd.oci.image.manifest.v1+json"}
	r.manifest = manifestOf(t, chartLayer, chart)
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	return r
}

func manifestOf(t *testing.T, mediaType string, chart []byte) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest.FromString("{}"), "size": 2},
		"layers": []any{map[string]any{"mediaType": mediaType, "digest": digest.FromBytes(chart), "size": len(chart)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (r *fakeRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	user, password, _ := request.BasicAuth()
	switch {
	case r.login != "" && r.login != user+":"+password:
		w.Header().Set("WWW-Authenticate", `Basic realm="charts"`)
		w.WriteHeader(http.StatusUnauthorized)
	case request.URL.Path == "/v2/charts/web/manifests/1.2.3" || strings.HasPrefix(request.URL.Path, "/v2/charts/web/manifests/sha256:"):
		w.Header().Set("Content-Type", r.mediaType)
		if r.claims != "" {
			w.Header().Set("Docker-Content-Digest", r.claims)
		}
		if _, err := w.Write(r.manifest); err != nil {
			return
		}
	case strings.HasPrefix(request.URL.Path, "/v2/charts/web/blobs/sha256:"):
		if _, err := w.Write(r.chart); err != nil {
			return
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (r *fakeRegistry) env() Env { return Env{Kubernetes: "1.37.2", Transport: r.Client().Transport} }

func (r *fakeRegistry) path(suffix string) string {
	return "oci://" + strings.TrimPrefix(r.URL, "https://") + "/charts/web" + suffix
}

func TestRegistry(t *testing.T) {
	r := newRegistry(t, web(t))
	pinned := "@" + digest.FromBytes(r.manifest).String()
	for name, c := range map[string]Chart{
		"version":            {Path: r.path(""), Version: "1.2.3"},
		"tag":                {Path: r.path(":1.2.3")},
		"tag and version":    {Path: r.path(":1.2.3"), Version: "1.2.3"},
		"digest":             {Path: r.path(pinned)},
		"tag and digest":     {Path: r.path(":1.2.3" + pinned)},
		"version and digest": {Path: r.path(pinned), Version: "1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(webObjects(), ids(render(t, Source{Namespace: "apps", Chart: c}, r.env()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRegistryRefuses(t *testing.T) {
	r := newRegistry(t, web(t))
	pushed, other := digest.FromBytes(r.manifest).String(), digest.FromString("other").String()
	for name, test := range map[string]struct {
		chart Chart
		want  []string
	}{
		"no version":        {Chart{Path: r.path("")}, []string{"give it a version, or a digest"}},
		"range":             {Chart{Path: r.path(""), Version: "^1.2"}, []string{`"^1.2" is not a version of a chart: write a whole one`}},
		"latest":            {Chart{Path: r.path(":latest")}, []string{`"latest" is not a version`}},
		"two versions":      {Chart{Path: r.path(":1.2.3"), Version: "1.2.4"}, []string{"the version is 1.2.3 there, and 1.2.4 beside it"}},
		"bad digest":        {Chart{Path: r.path("@sha256:1234")}, []string{`"sha256:1234" is not a digest`}},
		"other algorithm":   {Chart{Path: r.path("@sha512:" + strings.Repeat("a", 128))}, []string{"is not a digest"}},
		"no repository":     {Chart{Path: "oci://host", Version: "1.0.0"}, []string{"write oci://REGISTRY/REPOSITORY:VERSION"}},
		"digest mismatch":   {Chart{Path: r.path("@" + other)}, []string{"the registry sent another manifest", pushed, other}},
		"version is gone":   {Chart{Path: r.path(""), Version: "1.2.4"}, []string{"the registry does not have 1.2.4"}},
		"version of digest": {Chart{Path: r.path(":1.2.4@" + pushed)}, []string{"the chart there has version 1.2.3, and not 1.2.4"}},
		"plus":              {Chart{Path: r.path(""), Version: "1.2.3+a"}, []string{"the registry does not have 1.2.3_a"}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, Source{Chart: test.chart}, r.env(), test.want...) })
	}
}

func TestHostileRegistry(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*testing.T, *fakeRegistry)
		want   []string
	}{
		"other archive": {func(_ *testing.T, r *fakeRegistry) { r.chart = append([]byte("x"), r.chart[1:]...) }, []string{"another archive than its manifest names", "and not sha256:"}},
		"an image": {func(t *testing.T, r *fakeRegistry) {
			r.manifest = manifestOf(t, "application/vnd.oci.image.layer.v1.tar", r.chart)
		}, []string{"it is not a chart (application/vnd.oci.image.manifest.v1+json)"}},
		"other manifest": {func(_ *testing.T, r *fakeRegistry) { r.claims = digest.FromString("other").String() },
			[]string{"the registry sent a manifest with the digest sha256:", "and not " + digest.FromString("other").String()}},
		"no JSON": {func(_ *testing.T, r *fakeRegistry) { r.manifest = []byte("<html>") }, []string{"the manifest cannot be read"}},
		"endless archive": {func(_ *testing.T, r *fakeRegistry) {
			r.manifest = fmt.Appendf(nil, `{"layers": [{"mediaType": %q, "digest": %q, "size": 1099511627776}]}`, chartLayer, digest.FromString("x"))
		}, []string{"1099511627776 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, web(t))
			test.change(t, r)
			refused(t, Source{Chart: Chart{Path: r.path(":1.2.3")}}, r.env(), test.want...)
		})
	}
}

func TestRegistryLogin(t *testing.T) {
	r := newRegistry(t, web(t))
	r.login = "user:hunter2"
	host := strings.TrimPrefix(r.URL, "https://")
	folder := write(t, map[string]string{
		"other.json": "{}",
		"good.json":  fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte(r.login))),
		"bad.json":   "[",
	})
	s := Source{Name: "demo", Namespace: "apps", Chart: Chart{Path: r.path(":1.2.3")}}
	e := r.env()
	_, err := Render(t.Context(), s, e)
	if fault.KindOf(err) != fault.Unreachable || len(fault.Hints(err)) != 1 || fault.Hints(err)[0] != "log in with helm registry login "+host {
		t.Errorf("without a login: %v, %v", err, fault.Hints(err))
	}
	e.Logins = []string{filepath.Join(folder, "gone.json"), filepath.Join(folder, "other.json"), filepath.Join(folder, "good.json")}
	if diff := cmp.Diff(webObjects(), ids(render(t, s, e))); diff != "" {
		t.Error(diff)
	}
	e.Logins = []string{filepath.Join(folder, "bad.json")}
	refused(t, s, e, "bad.json: the logins to registries cannot be read")
}

func TestRegistryIsNotThere(t *testing.T) {
	r := newRegistry(t, nil)
	r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failing := r.env()
	failing.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") })
	_, err := Render(ctx, Source{Name: "demo", Chart: Chart{Path: r.path(":1.2.3")}}, failing)
	if fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "the chart cannot be fetched") || len(fault.Hints(err)) != 0 {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
	cancel()
	_, err = Render(ctx, Source{Name: "demo", Chart: Chart{Path: r.path(":1.2.3")}}, r.env())
	if fault.KindOf(err) != fault.Interrupted {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }
