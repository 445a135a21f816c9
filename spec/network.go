package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// The bounds of Kubernetes on CIDRs. The API server takes no service CIDR with more than 20 bits
// of addresses; kubeadm none that lacks a tenth address, for that is the DNS service's. The
// controller manager cannot cut /24 pieces for the nodes from a pod CIDR larger than /8.
const (
	largestServiceCIDR  = 12
	smallestServiceCIDR = 28
	largestPodCIDR      = 8
)

func (v *validator) network() {
	n := v.spec.Network
	if prefix, ok := v.prefix(at("network", "podCIDR"), n.PodCIDR); ok && prefix.Bits() < largestPodCIDR {
		v.Refuse(at("network", "podCIDR"), "%s is larger than /%d, which the controller manager cannot divide among nodes; use a /16, for 256 nodes",
			prefix, largestPodCIDR)
	}
	if prefix, ok := v.prefix(at("network", "serviceCIDR"), n.ServiceCIDR); ok {
		switch {
		case prefix.Bits() < largestServiceCIDR:
			v.Suggest(at("network", "serviceCIDR"), netip.PrefixFrom(prefix.Addr(), largestServiceCIDR).Masked().String(),
				"%s is larger than the /%d that the API server can serve", prefix, largestServiceCIDR)
		case prefix.Bits() > smallestServiceCIDR:
			v.Suggest(at("network", "serviceCIDR"), netip.PrefixFrom(prefix.Addr(), smallestServiceCIDR).Masked().String(),
				"%s has no tenth address, which the DNS service needs; the smallest is a /%d", prefix, smallestServiceCIDR)
		}
	}
	if domain := n.DNSDomain; len(validation.IsDNS1123Subdomain(domain)) > 0 {
		suggestion := strings.ToLower(strings.Trim(domain, "."))
		if len(validation.IsDNS1123Subdomain(suggestion)) > 0 {
			suggestion = ""
		}
		v.Suggest(at("network", "dnsDomain"), suggestion, "%q is no DNS domain in lower case", domain)
	}
	if mtu := n.CNI.MTU; mtu != 0 && mtu < smallestMTU {
		v.Refuse(at("network", "cni", "mtu"), "%d is smaller than the %d bytes that every network of IPv4 carries; write 0 to have it worked out", mtu, smallestMTU)
	}
}

// smallestMTU is the datagram that every IPv4 host must accept (RFC 791).
const smallestMTU = 576

// prefix checks that a text is the CIDR of an IPv4 network; ok is false if it is none at all.
func (v *validator) prefix(where strict.Path, text string) (prefix netip.Prefix, ok bool) {
	if v.Doc.Broken(where) {
		return netip.Prefix{}, false
	}
	if first, _, several := strings.Cut(text, ","); several {
		v.Suggest(where, strings.TrimSpace(first), "more than one CIDR is given; dual-stack is not supported yet")
		return netip.Prefix{}, false
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		suggestion := ""
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() {
			suggestion = netip.PrefixFrom(ip, 16).Masked().String()
		}
		v.Suggest(where, suggestion, "%q is no CIDR, which is an address, a slash and a number of bits", text)
		return netip.Prefix{}, false
	}
	if !prefix.Addr().Is4() {
		v.Refuse(where, "%s is of IPv6; only IPv4 is supported yet", text)
		return netip.Prefix{}, false
	}
	if prefix != prefix.Masked() {
		v.Suggest(where, prefix.Masked().String(), "host bits are set in %s", text)
	}
	return prefix.Masked(), true
}

func (v *validator) endpoint() {
	control := v.spec.ControlPlane
	checkAccess(&v.Checker, at("controlPlane"), Access{control.Endpoint, control.CertSANs}, control.Port)
}

// Access is how clients outside of the cluster reach the API servers, as the source of the hosts
// knows it.
type Access struct {
	// Endpoint is the address or DNS name of a load balancer before the API servers: host or
	// host:port.
	Endpoint string `yaml:"endpoint"`
	// CertSANs are DNS names and IP addresses for the API server's certificate.
	CertSANs []string `yaml:"certSANs"`
}

// TakeAccess takes over what the source of the hosts says of the API servers: its endpoint where
// the cluster file gives none, its names beside those of the cluster file. The faults are those of
// the values, which stand in doc at the path. There is a warning, at its place in the cluster file,
// where an endpoint there wins over another one.
func (f *File) TakeAccess(given Access, doc *strict.Document, at strict.Path) (faults, warnings Faults) {
	check := &strict.Checker{Doc: doc}
	control := &f.Spec.ControlPlane
	checkAccess(check, at, given, control.Port)
	switch {
	case given.Endpoint == "" || len(check.Faults) > 0:
	case control.Endpoint == "":
		control.Endpoint = given.Endpoint
	case !sameEndpoint(control.Endpoint, given.Endpoint, control.Port):
		o, _ := doc.Origin(at.Key("endpoint"))
		own := strict.At("spec", "controlPlane", "endpoint")
		warnings = append(warnings, f.Doc().Fault(own, "wins over the endpoint in "+o.String()+", which has another value", ""))
	}
	for _, name := range given.CertSANs {
		if !slices.Contains(control.CertSANs, name) {
			control.CertSANs = append(control.CertSANs, name)
		}
	}
	return check.Faults, warnings
}

// sameEndpoint reports whether two endpoints are the same host and port.
func sameEndpoint(a, b string, defaultPort int) bool {
	host, port, problem := SplitEndpoint(a, defaultPort)
	other, otherPort, otherProblem := SplitEndpoint(b, defaultPort)
	return problem == nil && otherProblem == nil && host == other && port == otherPort
}

// checkAccess checks the endpoint and the names that stand at the path.
func checkAccess(v *strict.Checker, at strict.Path, given Access, defaultPort int) {
	if given.Endpoint != "" {
		where := at.Key("endpoint")
		if host, _, problem := SplitEndpoint(given.Endpoint, defaultPort); problem != nil {
			v.Suggest(where, problem.Suggestion, "%s", problem.Message)
		} else if why := checkEndpointHost(host); why != "" {
			v.Refuse(where, "the host %s %s", host, why)
		}
	}
	for i, name := range given.CertSANs {
		where := at.Key("certSANs").Index(i)
		_, err := netip.ParseAddr(name)
		dns := len(validation.IsDNS1123Subdomain(name)) == 0 || len(validation.IsWildcardDNS1123Subdomain(name)) == 0
		if err != nil && (!dns || strings.Trim(name, "0123456789.") == "") {
			v.Refuse(where, "%q is neither an IP address nor a DNS name in lower case", strict.WithoutPassword(name))
		}
	}
}

// checkEndpointHost says why other machines cannot reach the API server at a host; "" for a good one.
func checkEndpointHost(host string) string {
	const elsewhere = "; write an address by which every node and client reaches the control plane"
	ip, err := netip.ParseAddr(host)
	switch plain := ip.Unmap().WithZone(""); {
	case err != nil && (host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasPrefix(host, "localhost.")):
		return "is another machine on every machine" + elsewhere
	case err != nil:
		return ""
	case ip.Zone() != "":
		return "has a zone, which means something else on every machine" + elsewhere
	case plain.IsLoopback():
		return "is a loopback address" + elsewhere
	case plain.IsUnspecified(), plain.IsMulticast(), plain.IsLinkLocalUnicast(), plain == broadcast():
		return "is no address by which nodes could reach the control plane" + elsewhere
	case ip.Is4In6():
		return "is an IPv4 address in IPv6 clothes; write " + plain.String()
	}
	return ""
}

// broadcast is the address of every machine of a network at once (RFC 919).
func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// EndpointProblem says why a text is no endpoint.
type EndpointProblem struct {
	Message string
	// Suggestion is the endpoint that was likely meant, or "".
	Suggestion string
}

// SplitEndpoint reads host or host:port, where an IPv6 address with a port is in brackets. The
// port is defaultPort if none is given. The problem is nil for a good endpoint, and shows no
// password.
func SplitEndpoint(text string, defaultPort int) (host string, port int, problem *EndpointProblem) {
	if problem := notBare(text, defaultPort); problem != nil {
		return "", 0, problem
	}
	host, port = text, defaultPort
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String(), port, nil
	}
	if h, p, ok := cutLast(text, ":"); ok && !strings.HasSuffix(text, "]") {
		n, ok := parsePort(p)
		if !ok {
			problem := &EndpointProblem{Message: strconv.Quote(p) + " is no port from 1 to 65535"}
			if isHost(h) {
				problem.Suggestion = h + ":" + strconv.Itoa(defaultPort)
			}
			return "", 0, problem
		}
		host, port = h, n
	}
	if bare, ok := strings.CutPrefix(host, "["); ok {
		bare, closed := strings.CutSuffix(bare, "]")
		if ip, err := netip.ParseAddr(bare); err == nil && ip.Is6() && closed {
			return ip.String(), port, nil
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return host, port, nil
	}
	if len(validation.IsDNS1123Subdomain(strings.ToLower(host))) > 0 || strings.Trim(host, "0123456789.") == "" {
		return "", 0, &EndpointProblem{Message: strconv.Quote(host) + " is neither an IP address nor a DNS name"}
	}
	return strings.ToLower(host), port, nil
}

// notBare refuses a URL, and a user before the host.
func notBare(text string, defaultPort int) *EndpointProblem {
	_, rest, isURL := strings.Cut(text, "://")
	problem := &EndpointProblem{Message: "the endpoint is host or host:port, not a URL"}
	switch {
	case isURL:
	case strings.Contains(text, "@"):
		problem.Message, rest = "the endpoint is host or host:port, without a user", text
	default:
		return nil
	}
	// What follows the last @, for a password may hold a slash or another @.
	host, _, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
	if _, _, worse := SplitEndpoint(host, defaultPort); worse == nil {
		problem.Suggestion = host
	}
	return problem
}

func parsePort(text string) (port int, ok bool) {
	port, err := strconv.Atoi(text)
	return port, err == nil && port >= 1 && port <= 65535
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
