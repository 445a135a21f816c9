package templates

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
)

const (
	// HAProxyConfigPath is the file that its pod reads.
	HAProxyConfigPath = kubernetesDir + "/haproxy/haproxy.cfg"

	// haproxyUser is the user of upstream's image. The configuration and the authority have to be
	// readable for everybody.
	haproxyUser = 99
)

// HAProxyServer is one API server.
type HAProxyServer struct {
	Name    string // of the node
	Address netip.Addr
	Port    int
}

// Endpoint is the address and port that the server is reached at.
func (s HAProxyServer) Endpoint() string { return hostPort(s.Address, s.Port) }

// HAProxyData is what the load balancer of a node is told.
type HAProxyData struct {
	Port       int // on the loopback of the node
	HealthPort int // where it answers the probes of its pod, on loopback too
	Servers    []HAProxyServer
	CAPath     string // of the authority that has signed the API servers' certificates
}

// HAProxyConfig renders haproxy.cfg: connections from the node itself are spread over the API
// servers that answer. It is for HAProxy 2.6 and newer. The order of the servers does not matter.
func HAProxyConfig(d HAProxyData) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	d.Servers = slices.SortedFunc(slices.Values(d.Servers), func(a, b HAProxyServer) int { return strings.Compare(a.Name, b.Name) })
	return render("haproxy.cfg.tmpl", d)
}

func (d HAProxyData) check() error {
	if err := errors.Join(checkPort(d.Port), checkPort(d.HealthPort), checkPlainPath(d.CAPath)); err != nil {
		return err
	}
	if d.Port == d.HealthPort {
		return fmt.Errorf("port %d is that of the probes", d.Port)
	}
	if len(d.Servers) == 0 {
		return errors.New("there is no API server to send connections to")
	}
	seen := map[string]bool{}
	for _, s := range d.Servers {
		if !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(s.Name) {
			return fmt.Errorf("%q is not the name of a node", s.Name)
		}
		if err := errors.Join(checkAddress(s.Name, s.Address), checkPort(s.Port)); err != nil {
			return err
		}
		if seen[s.Name] {
			return fmt.Errorf("the server %s is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// HAProxyPodData is what the pod of HAProxy consists of.
type HAProxyPodData struct {
	Image        string // with tag
	HealthPort   int    // HAProxyData.HealthPort
	InputsDigest string // value of InputsDigestAnnotation
}

// HAProxy renders the static pod /etc/kubernetes/manifests/kubewright-haproxy.yaml. It reads
// HAProxyConfigPath and the authority of the cluster, and holds no secret and no privilege.
func HAProxy(d HAProxyPodData) ([]byte, error) {
	if err := checkPort(d.HealthPort); err != nil {
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	dir, ca := path.Dir(HAProxyConfigPath), pkiDir+"/ca.crt"
	return manifest{
		Name: "haproxy", Tier: "node",
		Args:        []string{"-db", "-f", HAProxyConfigPath},
		ProbeScheme: "HTTP", ProbeHost: "127.0.0.1", ProbePort: d.HealthPort,
		Probes: []probe{{"livenessProbe", "/healthz", 5, 5, 3}, readinessProbe("/healthz")},
		CPU:    "25m", Memory: "50Mi",
		Security: &containerSecurity{User: haproxyUser, ReadOnlyRoot: true},
		Volumes: []HostPath{
			{Name: "config", HostPath: dir, MountPath: dir, ReadOnly: true, Type: "Directory"},
			{Name: "ca", HostPath: ca, MountPath: ca, ReadOnly: true, Type: "File"},
		},
	}.finish(StaticPod{Image: d.Image, InputsDigest: d.InputsDigest})
}
