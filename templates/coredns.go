package templates

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// CoreDNSData is what the cluster's DNS depends on.
type CoreDNSData struct {
	Image         string
	ServiceIP     netip.Addr // what every kubelet tells its pods
	ClusterDomain string
	Replicas      int // 2 unless there is a reason; they prefer different nodes
	// Forward are the servers of names outside of the cluster; none means those of the nodes.
	Forward []netip.AddrPort
	Zones   []DNSZone // domains with servers of their own
	Hosts   []DNSHost // names that CoreDNS answers for by itself, in every domain
}

// DNSZone is a domain with servers of its own.
type DNSZone struct {
	Name    string
	Forward []netip.AddrPort
}

// DNSHost is an address with its names.
type DNSHost struct {
	Address netip.Addr
	Names   []string
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
	if err := d.words(); err != nil {
		return nil, fmt.Errorf("coredns: %w", err)
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

// words checks what becomes words of the Corefile, which has no quoting that every plugin honours.
func (d CoreDNSData) words() error {
	domain := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	names := []string{d.ClusterDomain}
	servers := slices.Clone(d.Forward)
	for _, zone := range d.Zones {
		if len(zone.Forward) == 0 {
			return fmt.Errorf("the zone %q has no servers", zone.Name)
		}
		names, servers = append(names, zone.Name), append(servers, zone.Forward...)
	}
	for _, host := range d.Hosts {
		if !host.Address.IsValid() || host.Address.Zone() != "" || len(host.Names) == 0 {
			return fmt.Errorf("the host %s %q has no address or no name", host.Address, host.Names)
		}
		names = append(names, host.Names...)
	}
	for _, name := range names {
		if !domain.MatchString(name) {
			return fmt.Errorf("%q is not a domain name", name)
		}
	}
	for _, server := range servers {
		if !server.IsValid() || server.Addr().Zone() != "" {
			return fmt.Errorf("%q is not a server", server)
		}
	}
	return nil
}
