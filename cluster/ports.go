package cluster

// The ports that kubeadm's layout gives to the API server and to etcd.
const (
	apiServerPort = 6443
	etcdPeerPort  = 2380
)

// The ports of the load balancer that every node has where Cluster.LocalBalancer says so, both on
// loopback only.
const (
	// LocalBalancerPort is where it leads to the API servers.
	LocalBalancerPort = 7443
	// LocalBalancerHealthPort is where it answers whether it works.
	LocalBalancerHealthPort = 7444
)

// PortOwner says what listens on a TCP port of a control plane, beside its API server; "" is
// nothing of the cluster's.
func PortOwner(port int) string {
	return map[int]string{
		2379: "etcd's clients", etcdPeerPort: "etcd's peers", 2381: "etcd's metrics",
		LocalBalancerPort: "the nodes' own load balancer", LocalBalancerHealthPort: "the health of the nodes' own load balancer",
		179: "BGP", 9099: "Calico's health",
		10248: "the kubelet's health", 10249: "kube-proxy's metrics", 10250: "the kubelet", 10256: "kube-proxy's health",
		10257: "the controller manager", 10259: "the scheduler",
	}[port]
}
