package cluster

// The ports that kubeadm's layout gives to the API server and to etcd.
const (
	apiServerPort = 6443
	etcdPeerPort  = 2380
)
