package templates

import (
	"bytes"
	"fmt"
	"regexp"
)

// Sysctl is a kernel parameter, by its name with dots.
type Sysctl struct{ Key, Value string }

// Modules are the kernel modules a node needs: overlay for images, br_netfilter so that bridged
// pod traffic meets the service rules, nf_conntrack for kube-proxy, and what its mode asks for
// ("iptables", "nftables" or "ipvs").
func Modules(proxyMode string) []string {
	modules := []string{"overlay", "br_netfilter", "nf_conntrack"}
	switch proxyMode {
	case "ipvs":
		return append(modules, "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh")
	case "nftables":
		return append(modules, "nf_tables")
	}
	return modules
}

// Sysctls are the kernel parameters a node needs. ipv6 is for clusters with IPv6 pods.
func Sysctls(ipv6 bool) []Sysctl {
	sysctls := []Sysctl{
		{"net.bridge.bridge-nf-call-iptables", "1"},
		{"net.bridge.bridge-nf-call-ip6tables", "1"},
		{"net.ipv4.ip_forward", "1"},
	}
	if ipv6 {
		sysctls = append(sysctls, Sysctl{"net.ipv6.conf.all.forwarding", "1"})
	}
	return sysctls
}

// ModulesLoadConf renders a drop-in for /etc/modules-load.d.
func ModulesLoadConf(modules []string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# Kernel modules a Kubernetes node needs, loaded at boot.\n")
	for _, module := range modules {
		if !regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(module) {
			return nil, fmt.Errorf("%q is not the name of a kernel module", module)
		}
		out.WriteString(module + "\n")
	}
	return out.Bytes(), nil
}

// SysctlConf renders a drop-in for /etc/sysctl.d.
func SysctlConf(sysctls []Sysctl) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("# Kernel parameters a Kubernetes node needs, set at boot.\n")
	for _, s := range sysctls {
		if !regexp.MustCompile(`^[a-zA-Z0-9_./*-]+$`).MatchString(s.Key) {
			return nil, fmt.Errorf("%q is not the name of a kernel parameter", s.Key)
		}
		if !regexp.MustCompile(`^[^\pC]+$`).MatchString(s.Value) {
			return nil, fmt.Errorf("kernel parameter %s: %q is not a value", s.Key, s.Value)
		}
		out.WriteString(s.Key + " = " + s.Value + "\n")
	}
	return out.Bytes(), nil
}
