package spec

import (
	"maps"
	"net/netip"
	"slices"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// How an ingress controller is reached.
const (
	ExposeLoadBalancer = "load-balancer"
	ExposeNodePort     = "node-port"
)

// Exposed decides how the controller is reached: ExposeLoadBalancer or ExposeNodePort.
func (i Ingress) Exposed(lb MetalLB) string {
	switch {
	case i.Expose == ExposeLoadBalancer, i.Expose != ExposeNodePort && lb.Enabled:
		return ExposeLoadBalancer
	}
	return ExposeNodePort
}

// ingress checks the settings of the ingress controller, also of one that is not installed.
func (v *validator) ingress() {
	i := v.spec.Addons.Ingress
	where := func(key string) strict.Path { return at("addons", "ingress", key) }
	if problems := validation.IsDNS1123Subdomain(i.ClassName); len(problems) > 0 {
		v.Refuse(where("className"), "%q is no name of an IngressClass: it is of lower-case letters, digits, - and ., and begins and ends with a letter or digit", i.ClassName)
	}
	v.nodePorts()
	v.ingressAddress()
	switch {
	case i.CertFile != "" && i.KeyFile == "":
		v.Refuse(where("certFile"), "its private key is missing: name its file as keyFile")
	case i.CertFile == "" && i.KeyFile != "":
		v.Refuse(where("keyFile"), "its certificate is missing: name its file as certFile")
	}
	for _, key := range slices.Sorted(maps.Keys(i.Config)) {
		if len(validation.IsConfigMapKey(key)) > 0 {
			v.SuggestKey(where("config").Key(key), "", "%q is no key of a ConfigMap, which is of letters, digits, -, _ and ., at most 253 of them", key)
		}
	}
	v.nodeSelector(where("nodeSelector"), i.NodeSelector)
}

// nodePortRangeFlag is the flag of kube-apiserver with the ports that services may have on the nodes.
const nodePortRangeFlag = "service-node-port-range"

// nodePorts checks the ports of the nodes against those that the API servers hand out.
func (v *validator) nodePorts() {
	i := v.spec.Addons.Ingress
	allowed := utilnet.PortRange{Base: 30000, Size: 2768} // Kubernetes' own
	if given, ok := v.spec.ControlPlane.APIServer.ExtraArgs[nodePortRangeFlag]; ok {
		if err := allowed.Set(given); err != nil {
			v.Refuse(at("controlPlane", "apiServer", "extraArgs", nodePortRangeFlag), "%q is no range of ports such as 30000-32767", given)
			return
		}
	}
	check := func(key string, port int) {
		if port != 0 && !allowed.Contains(port) {
			v.Refuse(at("addons", "ingress", key), "%d is not among the ports that services may have on the nodes, %s; "+
				"take one of them, or change %s in spec.controlPlane.apiServer.extraArgs", port, allowed.String(), nodePortRangeFlag)
		}
	}
	check("httpPort", i.HTTPPort)
	check("httpsPort", i.HTTPSPort)
	if i.HTTPPort != 0 && i.HTTPPort == i.HTTPSPort {
		v.Refuse(at("addons", "ingress", "httpsPort"), "%d is httpPort already; take another one", i.HTTPSPort)
	}
}

// ingressAddress checks that the address can be given out.
func (v *validator) ingressAddress() {
	i, lb := v.spec.Addons.Ingress, v.spec.Addons.MetalLB
	where := at("addons", "ingress", "address")
	if i.Address == "" {
		return
	}
	ip, err := netip.ParseAddr(i.Address)
	switch {
	case err != nil || !ip.Is4():
		v.Refuse(where, "%q is no IPv4 address", i.Address)
	case i.Expose == ExposeNodePort:
		v.Refuse(where, "it is reached through ports of the nodes, whose addresses it has; leave this out, or write expose: load-balancer")
	case !lb.Enabled:
		v.Refuse(where, "only MetalLB gives out %s: enable spec.addons.metallb with a pool that has it", ip)
	default:
		i := slices.IndexFunc(lb.Pools, func(p AddressPool) bool { return p.contains(ip) })
		switch last := ip.As4()[3]; {
		case i < 0:
			v.Refuse(where, "no pool of spec.addons.metallb has %s", ip)
		case lb.Pools[i].AvoidBuggyIPs && (last == 0 || last == 255):
			v.Refuse(where, "the pool %s leaves out addresses that end in .0 or .255 (avoidBuggyIPs); take another address", lb.Pools[i].Name)
		}
	}
}

// contains tells whether an address is in a pool. Addresses that cannot be read are none; they are refused elsewhere.
func (p AddressPool) contains(ip netip.Addr) bool {
	return slices.ContainsFunc(p.Addresses, func(text string) bool {
		r, why, _ := ParseAddressRange(text)
		return why == "" && r.Overlaps(AddressRange{ip, ip})
	})
}
