package templates

import (
	"fmt"
	"net/netip"
	"regexp"
)

// CoreDNSData is what the cluster's DNS depends on.
type CoreDNSData struct {
	Image         string
	ServiceIP     netip.Addr // what every kubelet tells its pods
	ClusterDomain string
	Replicas      int // 2 unless there is a reason; they prefer different nodes
}

// CoreDNS renders CoreDNS as one YAML stream, under kubeadm's names, with a disruption budget
// that keeps one replica answering while nodes are drained.
func CoreDNS(d CoreDNSData) ([]byte, error) {
	if !d.ServiceIP.IsValid() {
		return nil, fmt.Errorf("coredns: the service address is not set")
	}
	if d.Replicas < 1 {
		return nil, fmt.Errorf("coredns: %d replicas", d.Replicas)
	}
	// The domain is a word of the Corefile, which has no quoting that every plugin honours.
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`).MatchString(d.ClusterDomain) {
		return nil, fmt.Errorf("coredns: %q is not a domain name", d.ClusterDomain)
	}
	corefile, err := render("Corefile.tmpl", d)
	if err != nil {
		return nil, err
	}
	return render("coredns.yaml.tmpl", struct {
		Image, ServiceIP, ConfigDigest string
		Replicas                       int
		Corefile                       []byte
	}{d.Image, d.ServiceIP.String(), digest(corefile), d.Replicas, corefile})
}
