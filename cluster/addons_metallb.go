package cluster

import (
	"bytes"
	"net/netip"

	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// longestBGPPassword is what Linux takes for the signature of TCP segments (TCP_MD5SIG_MAXKEYLEN), in bytes.
const longestBGPPassword = 80

// metalLB checks the pools against the cluster, where each of their addresses would be taken by a second one,
// and reads the passwords of routers.
func (r *resolver) metalLB() (passwords map[string]secret.Bytes) {
	written := r.written.Addons.MetalLB
	if !written.Enabled {
		return nil
	}
	where := at("addons", "metallb")
	for i, pool := range written.Pools {
		for j, text := range pool.Addresses {
			if addresses, why, _ := spec.ParseAddressRange(text); why == "" {
				r.freeForServices(where.Key("pools").Index(i).Key("addresses").Index(j), text, addresses)
			}
		}
	}
	passwords = map[string]secret.Bytes{}
	for i, peer := range written.BGP.Peers {
		if peer.PasswordFile != "" {
			passwords[peer.Name] = r.bgpPassword(where.Key("bgp").Key("peers").Index(i).Key("passwordFile"), peer.PasswordFile)
		}
	}
	return passwords
}

// freeForServices refuses addresses that something of the cluster has already.
func (r *resolver) freeForServices(where strict.Path, text string, addresses spec.AddressRange) {
	for key, prefix := range r.cidrs() {
		if spec.RangeOf(prefix).Overlaps(addresses) {
			r.check.Refuse(where, "%s overlaps spec.network.%s, %s", text, key, prefix)
		}
	}
	for i, pool := range r.net.Calico.Pools {
		if prefix, err := netip.ParsePrefix(pool.CIDR); err == nil && prefix.Addr().Is4() && spec.RangeOf(prefix).Overlaps(addresses) {
			r.check.Refuse(where, "%s overlaps %s, %s", text, at("network", "cni", "calico", "pools").Index(i).Key("cidr"), prefix)
		}
	}
	has := func(ip netip.Addr) bool {
		return ip.Is4() && spec.RangeOf(netip.PrefixFrom(ip, ip.BitLen())).Overlaps(addresses)
	}
	var inside []inventory.Placed
	for _, p := range r.placed {
		if has(p.NodeIP) {
			inside = append(inside, p)
		}
	}
	if len(inside) > 0 {
		r.check.Refuse(where, "%s has the node IPs of hosts in it: %s", text, names(inside))
	}
	vip := r.api.vip.Address
	if has(vip) {
		r.check.Refuse(where, "%s has the virtual IP of the control planes in it, %s", text, vip)
	}
	if ip, err := netip.ParseAddr(r.written.ControlPlane.Endpoint); err == nil && ip != vip && has(ip) && len(inside) == 0 {
		r.check.Refuse(where, "%s has the address of spec.controlPlane.endpoint in it, %s", text, ip)
	}
}

// bgpPassword reads the password of a session, and says what is wrong with it; nil is returned then.
func (r *resolver) bgpPassword(where strict.Path, file string) secret.Bytes {
	data, err := r.Read(r.join(file))
	password := bytes.TrimRight(data, "\r\n")
	switch {
	case err != nil:
		r.check.Refuse(where, "%s cannot be read: %v", file, err)
	case len(password) == 0:
		r.check.Refuse(where, "%s is empty: it has to hold the password of the session, and nothing else", file)
	case len(password) > longestBGPPassword:
		r.check.Refuse(where, "%s holds %d bytes; the password of a session has at most %d", file, len(password), longestBGPPassword)
	default:
		return password
	}
	return nil
}
