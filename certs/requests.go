package certs

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Named is a certificate file: where it lies, who signs it and what it must be.
type Named struct {
	// Name is the base name of the two files, Name.crt and Name.key: relative to
	// /etc/kubernetes/pki for ControlPlaneRequests, to /var/lib/kubelet/pki for NodeRequests.
	Name      string
	Authority AuthorityName
	Request   Request
}

// Widened is the request with the alternative names that the certificate has already, so that one
// that is issued anew takes no name from clients that still use it. What the authority has not signed,
// or is of another subject, adds none.
func (r Request) Widened(pair Pair, issuer *Authority) Request {
	found, reasons := readPair(pair)
	if found == nil || len(reasons) > 0 || len(issuerReasons(found, issuer)) > 0 || len(subjectReasons(found, r)) > 0 {
		return r
	}
	r.DNSNames = dnsNames(slices.Concat(r.DNSNames, found.DNSNames))
	ips := slices.Clone(r.IPs)
	for _, raw := range found.IPAddresses {
		if ip, ok := netip.AddrFromSlice(raw); ok {
			ips = append(ips, ip)
		}
	}
	r.IPs = addresses(ips)
	return r
}

// ControlPlane is what the certificates of one control-plane host are made from.
type ControlPlane struct {
	// NodeName is the name of the Node object, in lower case.
	NodeName string
	// NodeIP is the address the host's API server and etcd advertise.
	NodeIP netip.Addr
	// DNSDomain is the domain of services, for example cluster.local.
	DNSDomain string
	// APIServiceIP is the first address of the service network: the service "kubernetes".
	APIServiceIP netip.Addr
	// Endpoint is the name or address, without port, under which all API servers are reached; ""
	// where each is reached by its own address only.
	Endpoint string
	// VIP is the virtual IP of the control planes; the zero Addr is none. It may have a name,
	// which then is the Endpoint.
	VIP netip.Addr
	// Local says that the nodes reach the API servers through a load balancer on loopback.
	Local bool
	// CertSANs are further names and addresses of the API server.
	CertSANs []string
	// Algorithm and Lifetime apply to all certificates.
	Algorithm KeyAlgorithm
	Lifetime  time.Duration
}

// Names of the certificate files of a control-plane host, relative to /etc/kubernetes/pki.
const (
	APIServer              = "apiserver"
	APIServerKubeletClient = "apiserver-kubelet-client"
	APIServerEtcdClient    = "apiserver-etcd-client"
	FrontProxyClient       = "front-proxy-client"
	EtcdServer             = "etcd/server"
	EtcdPeer               = "etcd/peer"
	EtcdHealthcheckClient  = "etcd/healthcheck-client"
)

// Names of the certificate files of a node, relative to /var/lib/kubelet/pki.
const (
	KubeletClient = "kubelet-client"
	KubeletServer = "kubelet"
)

// ControlPlaneRequests lists the certificates of a control-plane host that runs its own etcd
// member. Alternative names that are neither an address nor a DNS name are an error.
//
// The certificate apiserver-kubelet-client carries no organization, as with kubeadm 1.37: the right
// to use the kubelet's API comes from binding the ClusterRole system:kubelet-api-admin to the user
// kube-apiserver-kubelet-client.
func ControlPlaneRequests(host ControlPlane) ([]Named, error) {
	server, err := host.apiServer()
	if err != nil {
		return nil, err
	}
	client := func(commonName string) Request {
		return Request{CommonName: commonName, Client: true, Algorithm: host.Algorithm, Lifetime: host.Lifetime}
	}
	// etcd connects to itself with its server certificate, hence the client usage.
	etcd := Request{
		CommonName: host.NodeName,
		DNSNames:   []string{host.NodeName, "localhost"},
		IPs:        []netip.Addr{host.NodeIP, loopback(), netip.IPv6Loopback()},
		Client:     true, Server: true,
		Algorithm: host.Algorithm, Lifetime: host.Lifetime,
	}
	return []Named{
		{APIServer, KubernetesCA, server},
		{APIServerKubeletClient, KubernetesCA, client("kube-apiserver-kubelet-client")},
		{FrontProxyClient, FrontProxyCA, client("front-proxy-client")},
		{EtcdServer, EtcdCA, etcd},
		{EtcdPeer, EtcdCA, etcd},
		{EtcdHealthcheckClient, EtcdCA, client("kube-etcd-healthcheck-client")},
		{APIServerEtcdClient, EtcdCA, client("kube-apiserver-etcd-client")},
	}, nil
}

// loopback is the address of localhost in IPv4.
func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// apiServer returns the request for the serving certificate of the API server.
func (c ControlPlane) apiServer() (Request, error) {
	request := Request{
		CommonName: "kube-apiserver",
		DNSNames: []string{c.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + c.DNSDomain},
		IPs:       []netip.Addr{c.APIServiceIP, c.NodeIP},
		Server:    true,
		Algorithm: c.Algorithm,
		Lifetime:  c.Lifetime,
	}
	sans := slices.Clone(c.CertSANs)
	if c.Endpoint != "" {
		sans = append(sans, c.Endpoint)
	}
	if c.VIP.IsValid() {
		sans = append(sans, c.VIP.String())
	}
	if c.Local {
		request.IPs = append(request.IPs, loopback())
	}
	for _, san := range sans {
		ip, err := netip.ParseAddr(san)
		switch {
		case err == nil:
			request.IPs = append(request.IPs, ip)
		case validDNSName(san):
			request.DNSNames = append(request.DNSNames, san)
		default:
			return Request{}, fmt.Errorf("control plane %s: alternative name %q of the API server is neither "+
				"an address nor a DNS name", c.NodeName, san)
		}
	}
	if err := request.validate(); err != nil {
		return Request{}, fmt.Errorf("control plane %s: certificate of the API server: %w", c.NodeName, err)
	}
	request.DNSNames, request.IPs = dnsNames(request.DNSNames), addresses(request.IPs)
	return request, nil
}

// Node is what the certificates of one kubelet are made from.
type Node struct {
	// Name is the name of the Node object, in lower case.
	Name string
	// IP is the address the kubelet serves on.
	IP netip.Addr
	// Algorithm applies to the serving certificate only. The kubelet replaces its client
	// certificate on its own, and then always with an ECDSA key.
	Algorithm KeyAlgorithm
	Lifetime  time.Duration
}

// NodeRequests lists the certificates of a kubelet: the one it is known by to the API server, and
// the one it serves with. Both are signed by the authority of the cluster.
func NodeRequests(node Node) []Named {
	user, groups := "system:node:"+node.Name, []string{"system:nodes"}
	return []Named{
		{KubeletClient, KubernetesCA, Request{
			CommonName: user, Organization: groups, Client: true, Lifetime: node.Lifetime,
		}},
		{KubeletServer, KubernetesCA, Request{
			CommonName: user, Organization: groups,
			DNSNames: []string{node.Name}, IPs: []netip.Addr{node.IP},
			Server: true, Algorithm: node.Algorithm, Lifetime: node.Lifetime,
		}},
	}
}

// NamedKubeconfig is a kubeconfig file of a control-plane host.
type NamedKubeconfig struct {
	// Name is the file below /etc/kubernetes.
	Name string
	// User is the name of the user entry; it is the certificate's common name.
	User string
	// Local says that the file points at the host's own API server instead of the endpoint: the
	// control plane's parts must not depend on a load balancer, nor on a server of another version.
	Local   bool
	Request Request
}

// Names of the kubeconfig files, below /etc/kubernetes.
const (
	AdminConf             = "admin.conf"
	ControllerManagerConf = "controller-manager.conf"
	SchedulerConf         = "scheduler.conf"
	KubeletConf           = "kubelet.conf"
	KubeVIPConf           = "kube-vip.conf"
)

// KubeVIPUser is the user of kube-vip.conf. It has the rights of a Role of that name, on the one
// Lease by which kube-vip elects who has the virtual IP.
const KubeVIPUser = "kubewright:kube-vip"

// ClusterAdminsGroup is the group of admin.conf. It has no rights of its own: a ClusterRoleBinding
// of the same name gives it the role cluster-admin, and taking that away disables the file.
const ClusterAdminsGroup = "kubeadm:cluster-admins"

// KubeconfigRequests lists the kubeconfig files that each control-plane host has, all signed by KubernetesCA.
func KubeconfigRequests(host ControlPlane) []NamedKubeconfig {
	return []NamedKubeconfig{
		host.kubeconfig(AdminConf, "kubernetes-admin", []string{ClusterAdminsGroup}, false),
		host.kubeconfig(ControllerManagerConf, "system:kube-controller-manager", nil, true),
		host.kubeconfig(SchedulerConf, "system:kube-scheduler", nil, true),
	}
}

// KubeVIPRequest is for the kubeconfig file of kube-vip, where that moves the virtual IP; signed by KubernetesCA.
func KubeVIPRequest(host ControlPlane) NamedKubeconfig {
	return host.kubeconfig(KubeVIPConf, KubeVIPUser, nil, true)
}

func (c ControlPlane) kubeconfig(name, user string, groups []string, local bool) NamedKubeconfig {
	return NamedKubeconfig{Name: name, User: user, Local: local, Request: Request{
		CommonName: user, Organization: groups, Client: true, Algorithm: c.Algorithm, Lifetime: c.Lifetime,
	}}
}

// SuperAdminRequest is for a certificate that no RBAC rule can lock out (group system:masters). It
// is for the run's own use, in memory and for a short time: it cannot be revoked, so it is never
// written to a file.
func SuperAdminRequest(lifetime time.Duration) Request {
	return Request{
		CommonName: "kubernetes-super-admin", Organization: []string{"system:masters"},
		Client: true, Lifetime: lifetime,
	}
}
