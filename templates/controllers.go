package templates

import (
	"fmt"
	"net/netip"
)

// ControllerManagerData describes the controller manager of one control plane.
type ControllerManagerData struct {
	StaticPod
	ClusterName string
	PodCIDR     netip.Prefix // nodes get their pod networks out of it
	ServiceCIDR netip.Prefix
	Address     netip.Addr // of the node; only its family matters
	CADirs      []string   // those of CADirs that the host has
}

// SchedulerData describes the scheduler of one control plane.
type SchedulerData struct {
	StaticPod
	Address netip.Addr // of the node; only its family matters
}

// KubeControllerManager renders /etc/kubernetes/manifests/kube-controller-manager.yaml.
func KubeControllerManager(d ControllerManagerData) ([]byte, error) {
	const name = "kube-controller-manager"
	if !d.PodCIDR.IsValid() || !d.ServiceCIDR.IsValid() {
		return nil, fmt.Errorf("%s: the pod CIDR or the service CIDR is not set", name)
	}
	flags := flagSet{
		component: name, extra: d.ExtraArgs,
		defaults: append(controllerFlags(d.Address, name),
			option{"allocate-node-cidrs", "true"},
			option{"client-ca-file", pkiDir + "/ca.crt"},
			option{"cluster-cidr", d.PodCIDR.String()},
			option{"cluster-name", d.ClusterName},
			option{"cluster-signing-cert-file", pkiDir + "/ca.crt"},
			option{"cluster-signing-key-file", pkiDir + "/ca.key"},
			option{"controllers", "*,bootstrapsigner,tokencleaner"},
			option{"requestheader-client-ca-file", pkiDir + "/front-proxy-ca.crt"},
			option{"root-ca-file", pkiDir + "/ca.crt"},
			option{"service-account-private-key-file", pkiDir + "/sa.key"},
			option{"service-cluster-ip-range", d.ServiceCIDR.String()},
			option{"use-service-account-credentials", "true"},
		),
		reserved: map[string]string{
			"cluster-cidr":             "set network.podCIDR",
			"service-cluster-ip-range": "set network.serviceCIDR",
		},
	}
	return manifest{
		Name: name, ProbeScheme: "HTTPS", ProbePort: controllerManagerPort,
		ProbeHost: probeHost(flags.value("bind-address")),
		// It has no /livez and no /readyz.
		Probes: []probe{livenessProbe("/healthz"), startupProbe("/healthz")},
		CPU:    "200m",
		Volumes: append(caVolumes(d.CADirs),
			HostPath{Name: "k8s-certs", HostPath: pkiDir, MountPath: pkiDir, ReadOnly: true},
			kubeconfigVolume("controller-manager.conf")),
	}.render(d.StaticPod, flags)
}

// KubeScheduler renders /etc/kubernetes/manifests/kube-scheduler.yaml.
func KubeScheduler(d SchedulerData) ([]byte, error) {
	const name = "kube-scheduler"
	flags := flagSet{component: name, extra: d.ExtraArgs, defaults: controllerFlags(d.Address, name)}
	return manifest{
		Name: name, ProbeScheme: "HTTPS", ProbePort: schedulerPort,
		ProbeHost: probeHost(flags.value("bind-address")),
		Probes:    []probe{livenessProbe("/livez"), readinessProbe("/readyz"), startupProbe("/livez")},
		CPU:       "100m",
		Volumes:   []HostPath{kubeconfigVolume("scheduler.conf")},
	}.render(d.StaticPod, flags)
}

// controllerFlags are those of a client of the API server that elects a leader and serves only
// its own host.
func controllerFlags(address netip.Addr, component string) []option {
	kubeconfig := kubernetesDir + "/" + component[len("kube-"):] + ".conf"
	return []option{
		{"authentication-kubeconfig", kubeconfig},
		{"authorization-kubeconfig", kubeconfig},
		{"bind-address", loopback(address).String()},
		{"kubeconfig", kubeconfig},
		{"leader-elect", "true"},
	}
}

func kubeconfigVolume(file string) HostPath {
	path := kubernetesDir + "/" + file
	return HostPath{Name: "kubeconfig", HostPath: path, MountPath: path, ReadOnly: true, Type: "FileOrCreate"}
}
