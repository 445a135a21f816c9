package templates

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The flags that matter when a member first starts, and the value of the second for one that joins.
const (
	EtcdInitialCluster      = "initial-cluster"
	EtcdInitialClusterState = "initial-cluster-state"
	EtcdExisting            = "existing"
)

// EtcdData describes one member of etcd.
type EtcdData struct {
	StaticPod            // of which the unit has the ExtraArgs only
	NodeName  string     // of the host, and of the member
	Address   netip.Addr // of the node: clients and peers reach the member here
	// InitialCluster is "name=peerURL,..." of all members, this one included.
	InitialCluster string
	// JoinExisting is true for a member that is added to a running cluster.
	JoinExisting bool
}

// Etcd renders the static pod /etc/kubernetes/manifests/etcd.yaml, of a member that shares its host
// with a control plane.
func Etcd(d EtcdData) ([]byte, error) {
	flags, err := d.flags()
	if err != nil {
		return nil, err
	}
	scheme, host, probePort, err := metricsEndpoint(flags.value("listen-metrics-urls"))
	if err != nil {
		return nil, err
	}
	return manifest{
		Name:        "etcd",
		Annotations: []annotation{{"kubeadm.kubernetes.io/etcd.advertise-client-urls", url("https", d.Address, etcdClientPort)}},
		ProbeScheme: scheme, ProbeHost: host, ProbePort: probePort,
		Probes: []probe{livenessProbe("/livez"), readinessProbe("/readyz"), startupProbe("/readyz")},
		CPU:    "100m", Memory: "100Mi",
		Volumes: []HostPath{
			{Name: "etcd-data", HostPath: etcdDataDir, MountPath: etcdDataDir},
			{Name: "etcd-certs", HostPath: pkiDir + "/etcd", MountPath: pkiDir + "/etcd"},
		},
	}.render(d.StaticPod, flags)
}

// EtcdUnit renders etcd.service, of a member that has its host for itself: there is no kubelet that
// would run a pod.
func EtcdUnit(d EtcdData) ([]byte, error) {
	flags, err := d.flags()
	if err != nil {
		return nil, err
	}
	args, err := flags.args()
	if err != nil {
		return nil, err
	}
	return render("etcd.service.tmpl", struct{ Args []string }{args})
}

// flags are those of etcd 3.6 and newer: the experimental flags that 3.7 removed are feature gates
// and plain flags here.
func (d EtcdData) flags() (flagSet, error) {
	if err := checkAddress("etcd", d.Address); err != nil {
		return flagSet{}, err
	}
	if d.NodeName == "" || !strings.Contains(d.InitialCluster, d.NodeName+"=") {
		return flagSet{}, errors.New("etcd: the initial cluster " + strconv.Quote(d.InitialCluster) +
			" does not have the member " + strconv.Quote(d.NodeName))
	}
	local := loopback(d.Address)
	client, peer := url("https", d.Address, etcdClientPort), url("https", d.Address, etcdPeerPort)
	return flagSet{component: "etcd", extra: d.ExtraArgs, reserved: etcdReserved(), defaults: []option{
		{"name", d.NodeName},
		{"data-dir", etcdDataDir},
		{"listen-client-urls", url("https", local, etcdClientPort) + "," + client},
		{"advertise-client-urls", client},
		{"listen-peer-urls", peer},
		{"initial-advertise-peer-urls", peer},
		{EtcdInitialCluster, d.InitialCluster},
		{EtcdInitialClusterState, initialClusterState(d.JoinExisting)},
		{"cert-file", pkiDir + "/etcd/server.crt"},
		{"key-file", pkiDir + "/etcd/server.key"},
		{"trusted-ca-file", pkiDir + "/etcd/ca.crt"},
		{"client-cert-auth", "true"},
		{"peer-cert-file", pkiDir + "/etcd/peer.crt"},
		{"peer-key-file", pkiDir + "/etcd/peer.key"},
		{"peer-trusted-ca-file", pkiDir + "/etcd/ca.crt"},
		{"peer-client-cert-auth", "true"},
		{"snapshot-count", "10000"},
		{"listen-metrics-urls", url("http", local, etcdMetricsPort)},
		{"feature-gates", "InitialCorruptCheck=true"},
		{"watch-progress-notify-interval", "5s"},
	}}, nil
}

func initialClusterState(joinExisting bool) string {
	if joinExisting {
		return EtcdExisting
	}
	return "new"
}

func etcdReserved() map[string]string {
	const identity = "it follows from the name and the nodeIP of the host"
	return map[string]string{
		"name": identity, "listen-client-urls": identity, "advertise-client-urls": identity,
		"listen-peer-urls": identity, "initial-advertise-peer-urls": identity,
		EtcdInitialCluster:      "it follows from the hosts with the role etcd",
		EtcdInitialClusterState: "it follows from the members that run already",
		"data-dir":              "mount a disk at " + etcdDataDir + " instead",
	}
}

// metricsEndpoint is where etcd answers health probes: the first of its metrics URLs.
func metricsEndpoint(urls string) (scheme, host string, port int, err error) {
	first, _, _ := strings.Cut(urls, ",")
	name, rest, found := strings.Cut(first, "://")
	at, parseErr := netip.ParseAddrPort(rest)
	if !found || parseErr != nil || (name != "http" && name != "https") {
		return "", "", 0, errors.New("etcd: extra argument listen-metrics-urls: " + strconv.Quote(first) +
			" is not http(s)://ADDRESS:PORT")
	}
	return strings.ToUpper(name), probeHost(at.Addr().String()), int(at.Port()), nil
}
