package spec

import (
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// mostForwards is the number of servers that CoreDNS takes for one domain.
const mostForwards = 15

// Servers are the servers of Forward; what cannot be read is left out, and refused elsewhere.
func (d CoreDNS) Servers() []netip.AddrPort { return dnsServers(d.Forward) }

// Servers are the servers of Forward; what cannot be read is left out, and refused elsewhere.
func (z DNSZone) Servers() []netip.AddrPort { return dnsServers(z.Forward) }

func dnsServers(texts []string) []netip.AddrPort {
	var servers []netip.AddrPort
	for _, text := range texts {
		if server, why := dnsServer(text); why == "" {
			servers = append(servers, server)
		}
	}
	return servers
}

// dnsServer reads IP or IP:port, or says why a text is no server that pods could ask.
func dnsServer(text string) (server netip.AddrPort, why string) {
	server, err := netip.ParseAddrPort(text)
	if err != nil {
		ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
		if err != nil {
			return netip.AddrPort{}, "is neither an IP address nor an IP address with a port; DNS names cannot be asked for before there is DNS"
		}
		server = netip.AddrPortFrom(ip, 53)
	}
	switch ip := server.Addr().Unmap(); {
	case ip.IsLoopback(), ip.IsUnspecified():
		return netip.AddrPort{}, "is the pod itself inside a pod"
	case ip.IsMulticast(), ip == broadcast():
		return netip.AddrPort{}, "is no address of a server"
	case ip.Zone() != "":
		return netip.AddrPort{}, "has a zone, which means something else on every machine"
	case server.Port() == 0:
		return netip.AddrPort{}, "has no port that could be asked"
	}
	return netip.AddrPortFrom(server.Addr().Unmap(), server.Port()), ""
}

// coreDNS checks the settings of the cluster's DNS.
func (v *validator) coreDNS() {
	d := v.spec.Addons.CoreDNS
	where := func(key string) strict.Path { return at("addons", "coredns", key) }
	v.dnsServers(where("forward"), d.Forward)
	var zones []string
	for i, zone := range d.Zones {
		at := where("zones").Index(i)
		if v.domain(at.Key("name"), zone.Name) {
			domain := v.spec.Network.DNSDomain
			switch {
			case within(zone.Name, domain), within(domain, zone.Name):
				v.Refuse(at.Key("name"), "%s and the cluster's own domain, %s, hold one another: names of services would be asked for elsewhere", zone.Name, domain)
			case slices.Contains(zones, zone.Name):
				v.Refuse(at.Key("name"), "%s is there twice; name all of its servers in one place", zone.Name)
			}
			zones = append(zones, zone.Name)
		}
		v.dnsServers(at.Key("forward"), zone.Forward)
	}
	seen := map[string]bool{}
	for i, host := range d.Hosts {
		at := where("hosts").Index(i)
		ip, err := netip.ParseAddr(host.Address)
		if host.Address != "" && (err != nil || ip.Zone() != "" || ip.Is4In6()) {
			v.Refuse(at.Key("address"), "%q is neither an IPv4 nor an IPv6 address", host.Address)
		}
		for j, name := range host.Names {
			at := at.Key("names").Index(j)
			if !v.domain(at, name) {
				continue
			}
			if domain := v.spec.Network.DNSDomain; within(name, domain) {
				v.Refuse(at, "%s is in the cluster's own domain, %s, whose names are those of services; make a Service and its EndpointSlice instead", name, domain)
			}
			if id := name + " " + ip.String(); seen[id] {
				v.Refuse(at, "%s leads to %s already; remove one of the two", name, ip)
			} else {
				seen[id] = true
			}
		}
	}
}

// dnsServers checks a list of servers.
func (v *validator) dnsServers(where strict.Path, servers []string) {
	if len(servers) > mostForwards {
		v.Refuse(where, "%d servers are more than the %d that CoreDNS takes", len(servers), mostForwards)
	}
	for i, text := range servers {
		if _, why := dnsServer(text); why != "" {
			v.Refuse(where.Index(i), "%q %s", text, why)
		}
	}
}

// domain checks a name of DNS in full; an empty one is refused as missing.
func (v *validator) domain(where strict.Path, name string) bool {
	if name == "" {
		return false
	}
	if len(validation.IsDNS1123Subdomain(name)) == 0 {
		return true
	}
	suggestion := strings.ToLower(strings.Trim(name, "."))
	if len(validation.IsDNS1123Subdomain(suggestion)) > 0 {
		suggestion = ""
	}
	v.Suggest(where, suggestion, "%q is no name of DNS in lower case, without a dot at its end", name)
	return false
}

// within tells whether a name is that of a domain, or in it.
func within(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }
