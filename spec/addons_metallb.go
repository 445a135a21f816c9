package spec

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// AddressRange are the addresses from First to Last, both of them among it.
type AddressRange struct{ First, Last netip.Addr }

// Overlaps tells whether two ranges have an address in common.
func (r AddressRange) Overlaps(other AddressRange) bool {
	return r.First.Compare(other.Last) <= 0 && other.First.Compare(r.Last) <= 0
}

// RangeOf is the range of the addresses of a network of IPv4.
func RangeOf(prefix netip.Prefix) AddressRange {
	first := prefix.Masked().Addr()
	last := first.As4()
	for i := prefix.Bits(); i < 8*len(last); i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	return AddressRange{first, netip.AddrFrom4(last)}
}

// ParseAddressRange reads the addresses of a pool, a range or a CIDR. Where it is neither, why says so, and
// suggestion is what was likely meant, or "".
func ParseAddressRange(text string) (r AddressRange, why, suggestion string) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() {
				return r, "is one address, written without the number of bits", text + "/32"
			}
			return r, "is neither a range (192.168.1.240-192.168.1.250) nor a CIDR (192.168.1.240/28)", ""
		}
		switch {
		case !prefix.Addr().Is4():
			return r, "is of IPv6; only IPv4 is supported yet", ""
		case prefix != prefix.Masked():
			return r, "has host bits set", prefix.Masked().String()
		}
		return RangeOf(prefix), "", ""
	}
	from, errFrom := netip.ParseAddr(strings.TrimSpace(first))
	to, errTo := netip.ParseAddr(strings.TrimSpace(last))
	switch {
	case errFrom != nil || errTo != nil:
		return r, "is no range, which is its first address, - and its last address in full", ""
	case !from.Is4() || !to.Is4():
		return r, "is of IPv6; only IPv4 is supported yet", ""
	case to.Less(from):
		return r, "is reversed", to.String() + "-" + from.String()
	case text != from.String()+"-"+to.String():
		return r, "has blanks in it", from.String() + "-" + to.String()
	}
	return AddressRange{from, to}, "", ""
}

// metalLB checks the pools by themselves, and what announces them; whether they fit the cluster shows when
// its hosts are known.
func (v *validator) metalLB() {
	m := v.spec.Addons.MetalLB
	where := at("addons", "metallb")
	if m.Enabled && len(m.Pools) == 0 {
		v.Refuse(where.Key("pools"), "must be given with MetalLB: it has no addresses to give to services otherwise")
	}
	pools := v.pools(where.Key("pools"), m.Pools)
	for i, a := range m.L2 {
		here := where.Key("l2").Index(i)
		v.among(here.Key("pools"), a.Pools, pools, "pool")
		for j, name := range a.Interfaces {
			if !interfaceName().MatchString(name) {
				v.Refuse(here.Key("interfaces").Index(j), "%q is no name of a network interface", name)
			}
		}
		v.nodeSelector(here.Key("nodeSelector"), a.NodeSelector)
	}
	v.bgp(where.Key("bgp"), pools)
}

// pools returns the names of the pools. No address may be in two of them.
func (v *validator) pools(where strict.Path, pools []AddressPool) []string {
	var names []string
	type placed struct {
		AddressRange
		text, pool string
	}
	var all []placed
	for i, p := range pools {
		names = v.labelled(where.Index(i), p.Name, names, "pool")
		for j, text := range p.Addresses {
			here := where.Index(i).Key("addresses").Index(j)
			r, why, suggestion := ParseAddressRange(text)
			if why != "" {
				v.Suggest(here, suggestion, "%s %s", strconv.Quote(text), why)
				continue
			}
			if special := notForServices(r); special != "" {
				v.Refuse(here, "%s has addresses that %s", text, special)
				continue
			}
			if k := slices.IndexFunc(all, func(other placed) bool { return other.Overlaps(r) }); k >= 0 {
				v.Refuse(here, "%s overlaps %s of the pool %s", text, all[k].text, all[k].pool)
			}
			all = append(all, placed{r, text, p.Name})
		}
	}
	return names
}

// notForServices says what is wrong with addresses of a range that no service can have; "" for nothing.
func notForServices(r AddressRange) string {
	for _, bad := range []struct{ prefix, why string }{
		{"0.0.0.0/8", "mean this network"}, {"127.0.0.0/8", "are of the loopback interface"},
		{"169.254.0.0/16", "are link-local"}, {"224.0.0.0/3", "are of multicast, or reserved"},
	} {
		if RangeOf(netip.MustParsePrefix(bad.prefix)).Overlaps(r) {
			return bad.why
		}
	}
	return ""
}

// bgp checks the routers, and what they are told.
func (v *validator) bgp(where strict.Path, pools []string) {
	b := v.spec.Addons.MetalLB.BGP
	var peers []string
	for i, p := range b.Peers {
		here := where.Key("peers").Index(i)
		peers = v.labelled(here, p.Name, peers, "peer")
		v.router(here.Key("address"), p.Address)
		v.nodeSelector(here.Key("nodeSelector"), p.NodeSelector)
	}
	if len(b.Peers) == 0 && len(b.Advertisements) > 0 {
		v.Refuse(where.Key("peers"), "must be given with advertisements: there is no router to tell")
	}
	for i, a := range b.Advertisements {
		here := where.Key("advertisements").Index(i)
		v.among(here.Key("pools"), a.Pools, pools, "pool")
		v.among(here.Key("peers"), a.Peers, peers, "peer")
		v.nodeSelector(here.Key("nodeSelector"), a.NodeSelector)
		v.aggregation(here.Key("aggregationLength"), a)
		for j, c := range a.Communities {
			if !isCommunity(c) {
				v.Refuse(here.Key("communities").Index(j), "%q is no BGP community, which is two numbers from 0 to 65535 with a colon between them", c)
			}
		}
	}
}

// router checks the address of a router; none is refused as missing.
func (v *validator) router(where strict.Path, address string) {
	ip, err := netip.ParseAddr(address)
	switch {
	case address == "":
	case err != nil || !ip.Is4():
		v.Refuse(where, "%q is no IPv4 address of a router", address)
	case ip.IsLoopback(), ip.IsUnspecified(), ip.IsMulticast(), ip == broadcast():
		v.Refuse(where, "%s is no address by which nodes could reach a router", ip)
	}
}

// aggregation refuses routes that lead to addresses beside those of a pool, which MetalLB does not take.
func (v *validator) aggregation(where strict.Path, a BGPAdvertisement) {
	if a.AggregationLength == 0 {
		return
	}
	for _, p := range v.spec.Addons.MetalLB.Pools {
		if len(a.Pools) > 0 && !slices.Contains(a.Pools, p.Name) {
			continue
		}
		for _, text := range p.Addresses {
			r, why, _ := ParseAddressRange(text)
			if why != "" {
				continue
			}
			first := RangeOf(netip.PrefixFrom(r.First, a.AggregationLength))
			last := RangeOf(netip.PrefixFrom(r.Last, a.AggregationLength))
			if first.First != r.First || last.Last != r.Last {
				v.Refuse(where, "%s of the pool %s is not made of whole /%d: their routes would lead here for addresses that are not of the pool",
					text, p.Name, a.AggregationLength)
				return
			}
		}
	}
}

// isCommunity tells whether a text is a BGP community (RFC 1997).
func isCommunity(text string) bool {
	high, low, ok := strings.Cut(text, ":")
	_, errHigh := strconv.ParseUint(high, 10, 16)
	_, errLow := strconv.ParseUint(low, 10, 16)
	return ok && errHigh == nil && errLow == nil
}

// labelled checks the name of an entry of a list, a DNS label that no other has, and adds it to those before.
func (v *validator) labelled(entry strict.Path, name string, before []string, what string) []string {
	where := entry.Key("name")
	switch {
	case name == "": // the decoder has refused it
		return before
	case len(validation.IsDNS1123Label(name)) > 0:
		v.Suggest(where, asLabel(name), "the name %q of the %s must be of lower-case letters, digits and -, at most 63 of them", name, what)
	case slices.Contains(before, name):
		v.Refuse(where, "another %s has the name %s, too", what, name)
	}
	return append(before, name)
}

// among checks that names are those of things that there are.
func (v *validator) among(where strict.Path, names, known []string, what string) {
	for i, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		message := "there is no %s %q"
		if len(known) > 0 {
			message += "; there is " + strings.Join(known, ", ")
		}
		v.Suggest(where.Index(i), strict.Nearest(name, known), message, what, name)
	}
}
