package templates

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// ContainerdConfigData is what containerd's configuration depends on.
type ContainerdConfigData struct {
	SandboxImage string // the pause image; pinned, so that image garbage collection leaves it
	// RestrictOOMScoreAdj is for hosts without CAP_SYS_RESOURCE, where no sandbox starts unless
	// containerd keeps from lowering OOM scores below its own.
	RestrictOOMScoreAdj bool
}

// ContainerdConfig renders /etc/containerd/config.toml, version 3, which containerd 2.0 and newer
// read. It says only what differs from containerd's defaults, and the cgroup driver, which must
// be the kubelet's.
func ContainerdConfig(d ContainerdConfigData) ([]byte, error) {
	if d.SandboxImage == "" {
		return nil, fmt.Errorf("containerd configuration: the sandbox image is not set")
	}
	return render("containerd-config.toml.tmpl", d)
}

// ContainerdUnit renders containerd.service.
func ContainerdUnit() ([]byte, error) { return render("containerd.service.tmpl", struct{}{}) }

// RegistryHostsData is where images of one registry are looked for.
type RegistryHostsData struct {
	Registry string   // as in image names: "registry.k8s.io", "docker.io"
	Mirrors  []string // URLs, tried in order before the registry itself
}

// RegistryHostsPath is where containerd looks for the file that RegistryHosts renders.
func RegistryHostsPath(registry string) string {
	return "/etc/containerd/certs.d/" + registry + "/hosts.toml"
}

// RegistryHosts renders the hosts.toml of one registry. A mirror "http://m:5000/registry.k8s.io"
// is asked for repositories below that path: "http://m:5000/v2/registry.k8s.io/...".
func RegistryHosts(d RegistryHostsData) ([]byte, error) {
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?$`).MatchString(d.Registry) {
		return nil, fmt.Errorf("registry mirror: %q is not the name of a registry (HOST[:PORT])", d.Registry)
	}
	data := struct {
		Server    string
		Endpoints []string
	}{Server: "https://" + d.Registry}
	if d.Registry == "docker.io" {
		data.Server = "https://registry-1.docker.io" // the name in images is not the host's
	}
	for _, mirror := range d.Mirrors {
		endpoint, err := mirrorEndpoint(mirror)
		if err != nil {
			return nil, fmt.Errorf("registry mirror of %s: %w", d.Registry, err)
		}
		data.Endpoints = append(data.Endpoints, endpoint)
	}
	return render("hosts.toml.tmpl", data)
}

// ClusterRegistryHostsData is where the registry inside the cluster is.
type ClusterRegistryHostsData struct {
	Address netip.Addr // of its service
	CAPath  string     // the file with the authority of its certificate
}

// ClusterRegistryHosts renders the hosts.toml of the registry inside the cluster, which serves HTTPS on port 443.
func ClusterRegistryHosts(d ClusterRegistryHostsData) ([]byte, error) {
	if !d.Address.IsValid() {
		return nil, fmt.Errorf("registry inside the cluster: it has no address: the service network is too small")
	}
	url := "https://" + d.Address.String()
	if d.Address.Is6() {
		url = "https://[" + d.Address.String() + "]"
	}
	return render("cluster-registry-hosts.toml.tmpl", struct{ Server, CAPath string }{url, d.CAPath})
}

// mirrorEndpoint is the API root of a mirror: the distribution API has /v2 before the path, and
// override_path makes containerd use the URL as it is.
func mirrorEndpoint(mirror string) (string, error) {
	scheme, rest, found := strings.Cut(mirror, "://")
	host, path, _ := strings.Cut(rest, "/")
	if !found || (scheme != "http" && scheme != "https") || host == "" || strings.ContainsAny(rest, "?#@ ") {
		return "", fmt.Errorf("%q is not http(s)://HOST[:PORT][/PATH]", mirror)
	}
	path = strings.Trim(path, "/")
	if path != "v2" && !strings.HasPrefix(path, "v2/") {
		path = strings.TrimSuffix("v2/"+path, "/")
	}
	return scheme + "://" + host + "/" + path, nil
}
