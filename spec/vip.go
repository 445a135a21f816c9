package spec

import (
	"net/netip"
	"regexp"
)

// vip checks the virtual IP by itself; whether it fits the hosts shows when these are known.
func (v *validator) vip() {
	vip := v.spec.ControlPlane.VIP
	if vip.Address != "" {
		if why, suggestion := checkVIP(vip.Address); why != "" {
			v.Suggest(at("controlPlane", "vip", "address"), suggestion, "the virtual IP %s", why)
		}
	}
	where := at("controlPlane", "vip", "interface")
	switch {
	case vip.Interface == "":
	case !interfaceName().MatchString(vip.Interface):
		v.Refuse(where, "%q is no name of a network interface, which is of letters, digits, -, _ and ., at most 15 of them", vip.Interface)
	case vip.Interface == "lo":
		v.Refuse(where, "lo is the loopback interface, whose addresses no other machine reaches; "+
			"name the one in the network of the virtual IP, or leave the interface out")
	}
}

// checkVIP says why a text is no virtual IP, and what was likely meant; both are empty for a
// good one.
func checkVIP(text string) (why, suggestion string) {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is4() {
			return "is written without the number of bits", prefix.Addr().String()
		}
		if addrPort, err := netip.ParseAddrPort(text); err == nil && addrPort.Addr().Is4() {
			return "is written without a port; the port is spec.controlPlane.port", addrPort.Addr().String()
		}
		return "must be an IPv4 address", ""
	case ip.Is6() && !ip.Is4In6():
		return ip.String() + " is of IPv6; only IPv4 is supported yet", ""
	}
	if why := checkEndpointHost(text); why != "" {
		return text + " " + why, ""
	}
	return "", ""
}

// interfaceName is narrower than the kernel, which takes quotes and the like. The name gets into
// a configuration file and must not be read there as anything else.
func interfaceName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$`) }
