package facts

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Route flags, from linux/route.h and linux/ipv6_route.h.
const (
	routeReject  = 0x200
	routeAnycast = 0x00100000
	routeLocal   = 0x80000000
	hexBase      = 16
	hexAddr4     = 8
)

// fillInterfaces joins names and MTUs with addresses: from the ip command or,
// where that is missing, from what /proc/net tells without it.
func fillInterfaces(f *Facts, r report) error {
	byName := map[string]*Interface{}
	for _, v := range r.values["link"] {
		name, mtu, _ := strings.Cut(v, " ")
		n, err := strconv.Atoi(mtu)
		if err != nil || n < 0 {
			return fmt.Errorf("link: %s has no MTU", quote(v))
		}
		byName[name] = &Interface{Name: name, MTU: n}
	}
	add := func(name string, prefix netip.Prefix) {
		iface := byName[name]
		if iface == nil { // it came after the links were listed
			iface = &Interface{Name: name}
			byName[name] = iface
		}
		if !slices.Contains(iface.Addrs, prefix) {
			iface.Addrs = append(iface.Addrs, prefix)
		}
	}
	for _, v := range r.values["addr"] {
		name, text, _ := strings.Cut(v, " ")
		prefix, err := parsePrefix(text)
		if err != nil {
			return fmt.Errorf("addr: %w", err)
		}
		add(name, prefix)
	}
	if err := addLocal4(r, add); err != nil {
		return err
	}
	if err := addLocal6(r, add); err != nil {
		return err
	}
	for _, iface := range byName {
		f.Interfaces = append(f.Interfaces, *iface)
	}
	slices.SortFunc(f.Interfaces, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// parsePrefix reads an address with or without a prefix length; ip leaves it out
// on point-to-point links.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is no address", quote(text))
	}
	return prefix, nil
}

// addLocal4 places the host's own IPv4 addresses, which fib_trie lists without
// their interface, by the narrowest directly connected route.
func addLocal4(r report, add func(string, netip.Prefix)) error {
	routes, err := routes4(r)
	if err != nil {
		return err
	}
	for _, v := range r.values["local4"] {
		addr, err := netip.ParseAddr(v)
		if err != nil || !addr.Is4() {
			return fmt.Errorf("local4: %s is no address", quote(v))
		}
		dev, length := "lo", addr.BitLen()
		if addr.IsLoopback() {
			length = 8
		}
		best := -1
		for _, route := range routes {
			if route.Dst.Bits() > best && route.Dst.Bits() > 0 && route.Dst.Contains(addr) && route.Dev != "" {
				dev, length, best = route.Dev, route.Dst.Bits(), route.Dst.Bits()
			}
		}
		add(dev, netip.PrefixFrom(addr, length))
	}
	return nil
}

// addLocal6 reads "address prefixlength interface" of if_inet6.
func addLocal6(r report, add func(string, netip.Prefix)) error {
	for _, v := range r.values["local6"] {
		w := strings.Fields(v)
		if len(w) != 3 {
			return fmt.Errorf("local6: %s is no address", quote(v))
		}
		prefix, err := prefix6(w[0], w[1])
		if err != nil {
			return fmt.Errorf("local6: %w", err)
		}
		add(w[2], prefix)
	}
	return nil
}

// fillRoutes keeps what leads somewhere: not the default route, which overlaps
// with everything, nor local, link-local and multicast ones.
func fillRoutes(f *Facts, r report) error {
	all, err := routes4(r)
	if err != nil {
		return err
	}
	six, err := routes6(r)
	if err != nil {
		return err
	}
	for _, route := range append(all, six...) {
		addr := route.Dst.Addr()
		if route.Dst.Bits() == 0 || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsLoopback() {
			continue
		}
		if !slices.Contains(f.Routes, route) {
			f.Routes = append(f.Routes, route)
		}
	}
	return nil
}

// routes4 reads "interface destination mask flags", numbers in hex, addresses in
// the byte order of the machine, which is little endian on all we support.
func routes4(r report) ([]Route, error) {
	var routes []Route
	for _, v := range r.values["route4"] {
		w := strings.Fields(v)
		if len(w) != 4 {
			return nil, fmt.Errorf("route4: %s is no route", quote(v))
		}
		dst, err := hexAddr(w[1])
		if err != nil {
			return nil, fmt.Errorf("route4: %w", err)
		}
		mask, err := hexAddr(w[2])
		if err != nil || !dst.Is4() || !mask.Is4() {
			return nil, fmt.Errorf("route4: %s is no route", quote(v))
		}
		flags, err := strconv.ParseUint(w[3], hexBase, 32)
		if err != nil {
			return nil, fmt.Errorf("route4: %s has no flags", quote(v))
		}
		length, ok := maskBits(mask)
		if !ok {
			return nil, fmt.Errorf("route4: %s has a mask with holes", quote(v))
		}
		route := Route{Dst: netip.PrefixFrom(dst, length).Masked(), Dev: w[0]}
		if flags&routeReject != 0 || route.Dev == "*" {
			route.Dev = ""
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// maskBits returns the prefix length of an IPv4 mask.
func maskBits(mask netip.Addr) (int, bool) {
	octets := mask.As4()
	word := binary.BigEndian.Uint32(octets[:])
	n := bits.LeadingZeros32(^word)
	return n, uint64(word) == uint64(1<<32-1)<<(32-n)&(1<<32-1)
}

// routes6 reads "interface destination prefixlength flags".
func routes6(r report) ([]Route, error) {
	var routes []Route
	for _, v := range r.values["route6"] {
		w := strings.Fields(v)
		if len(w) != 4 {
			return nil, fmt.Errorf("route6: %s is no route", quote(v))
		}
		dst, err := prefix6(w[1], w[2])
		if err != nil {
			return nil, fmt.Errorf("route6: %w", err)
		}
		flags, err := strconv.ParseUint(w[3], hexBase, 32)
		if err != nil {
			return nil, fmt.Errorf("route6: %s has no flags", quote(v))
		}
		if flags&(routeLocal|routeAnycast) != 0 {
			continue
		}
		route := Route{Dst: dst.Masked(), Dev: w[0]}
		if flags&routeReject != 0 {
			route.Dev = ""
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// prefix6 reads an IPv6 address as 32 hex digits in network order, and a prefix
// length in hex.
func prefix6(addr, length string) (netip.Prefix, error) {
	raw, err := hex.DecodeString(addr)
	n, errBits := strconv.ParseUint(length, hexBase, 8)
	if err != nil || errBits != nil || len(raw) != 16 || n > 128 {
		return netip.Prefix{}, fmt.Errorf("%s is no IPv6 prefix", quote(addr+" "+length))
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte(raw)), int(n)), nil
}

// hexAddr reads an address as /proc/net/tcp and route print it: 32-bit words in
// hex, each in little-endian order.
func hexAddr(text string) (netip.Addr, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(text) != hexAddr4 && len(text) != 4*hexAddr4 {
		return netip.Addr{}, fmt.Errorf("%s is no address in hex", quote(text))
	}
	for word := range slices.Chunk(raw, hexAddr4/2) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr.Unmap(), nil
}

// fillListening reads "protocol address:port" and adds the names of processes
// where the script asked for them.
func fillListening(f *Facts, r report) error {
	process := map[int]string{}
	for _, v := range r.values["process"] {
		port, name, _ := strings.Cut(v, " ")
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || name == "" {
			return fmt.Errorf("process: %s names no port and process", quote(v))
		}
		if process[int(n)] == "" {
			process[int(n)] = name
		}
	}
	for _, v := range r.values["socket"] {
		proto, where, _ := strings.Cut(v, " ")
		text, port, _ := strings.Cut(where, ":")
		addr, err := hexAddr(text)
		n, errPort := strconv.ParseUint(port, hexBase, 16)
		proto = strings.TrimSuffix(proto, "6")
		if err != nil || errPort != nil || proto != "tcp" && proto != "udp" {
			return fmt.Errorf("socket: %s is no socket", quote(v))
		}
		listener := Listener{Proto: proto, Addr: addr, Port: int(n)}
		if proto == "tcp" {
			listener.Process = process[listener.Port]
		}
		f.Listening = append(f.Listening, listener)
	}
	slices.SortFunc(f.Listening, func(a, b Listener) int {
		if c := strings.Compare(a.Proto, b.Proto); c != 0 {
			return c
		}
		if a.Port != b.Port {
			return a.Port - b.Port
		}
		return a.Addr.Compare(b.Addr)
	})
	f.Listening = slices.Compact(f.Listening)
	return nil
}

// resolvConf is where the C library looks; the kubelet's default as well.
const resolvConf = "/etc/resolv.conf"

// fillResolvers chooses the file whose name servers a pod can reach, every one of
// them. A loopback address is the host's own stub: handed to pods it is their own
// loopback, and CoreDNS would forward to itself, be it to one server of several.
func fillResolvers(f *Facts, r report) error {
	servers := map[string][]string{}
	for _, v := range r.values["nameserver"] {
		file, server, _ := strings.Cut(v, " ")
		servers[file] = append(servers[file], server)
	}
	f.ResolvConf = resolvConf
	for _, file := range append([]string{resolvConf}, r.values["resolv-file"]...) {
		if len(servers[file]) > 0 && !slices.ContainsFunc(servers[file], unreachable) {
			f.ResolvConf = file
			break
		}
	}
	f.Nameservers = servers[f.ResolvConf]
	return nil
}

// unreachable says whether a name server is none that a pod can reach: one on the
// host's loopback, or no address at all.
func unreachable(server string) bool {
	addr, err := netip.ParseAddr(server)
	return err != nil || addr.Unmap().IsLoopback() || addr.IsUnspecified()
}
