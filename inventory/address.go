package inventory

import (
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// checkAddress says why a text is no IP address or DNS name that SSH can connect to, and what
// was likely meant; both are empty for a good address. A password was cut out of it before. under is
// the key below which user and port stand.
func checkAddress(address, under string) (why, suggestion string) {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		host, _, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
		return "is a URL; write the host alone", host
	}
	if user, rest, ok := strings.Cut(address, "@"); ok {
		return "has a user; write " + under + ": {user: " + user + "} and the host alone", rest
	}
	if bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"); bare != address {
		return "has brackets; write the IPv6 address alone", bare
	}
	if prefix, err := netip.ParsePrefix(address); err == nil {
		return "has a prefix length; write the address alone", prefix.Addr().String()
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		switch {
		case ip.IsUnspecified(), ip.IsMulticast():
			return "is no address of a host", ""
		case ip.Zone() != "":
			return "has a zone; an address with a zone means something else on every machine", ""
		}
		return "", ""
	}
	if host, port, ok := strings.Cut(address, ":"); ok {
		if _, err := strconv.Atoi(port); err == nil {
			return "has a port; write " + under + ": {port: " + port + "} and the host alone", host
		}
	}
	if strings.Trim(address, "0123456789.") == "" {
		return "is not an IP address", ""
	}
	if len(validation.IsDNS1123Subdomain(strings.ToLower(strings.TrimSuffix(address, ".")))) > 0 {
		return "is neither an IP address nor a DNS name", ""
	}
	return "", ""
}

// checkNodeIP says why a text cannot be the address of a node in the cluster's network, and what
// was likely meant; both are empty for a good address.
func checkNodeIP(text string) (ip netip.Addr, why, suggestion string) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return netip.Addr{}, "has a prefix length; write the address alone", prefix.Addr().String()
	}
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return netip.Addr{}, "is not an IP address", ""
	case ip.Is4In6():
		return netip.Addr{}, "is an IPv4 address in IPv6 clothes", ip.Unmap().String()
	case ip.IsLoopback():
		return netip.Addr{}, "is a loopback address; set nodeIP to the address by which the other nodes reach this one", ""
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return netip.Addr{}, "is no address by which other nodes could reach this one", ""
	case !ip.Is4():
		return netip.Addr{}, "is an IPv6 address; only IPv4 node addresses are supported yet", ""
	}
	return ip, "", ""
}

// canonicalAddress is the same for two spellings of the same address.
func canonicalAddress(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(address, "."))
}
