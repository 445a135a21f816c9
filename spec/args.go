package spec

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"kubewright/spec/strict"
)

// component is a program whose flags the user may add to.
type component struct {
	at    strict.Path
	name  string
	args  map[string]string
	owned map[string]string // flags that may not be set, with the reason or the place to set them
}

// extraArgs checks the names of further flags, and refuses those that follow from something else
// in the cluster: changed alone they break it.
func (v *validator) extraArgs() {
	control := v.spec.ControlPlane
	for _, c := range []component{
		{at("controlPlane", "apiServer"), "kube-apiserver", control.APIServer.ExtraArgs, ownedAPIServerArgs()},
		{at("controlPlane", "controllerManager"), "kube-controller-manager", control.ControllerManager.ExtraArgs, ownedControllerManagerArgs()},
		{at("controlPlane", "scheduler"), "kube-scheduler", control.Scheduler.ExtraArgs, map[string]string{"kubeconfig": writesKubeconfig}},
		{at("controlPlane", "etcd"), "etcd", control.Etcd.ExtraArgs, ownedEtcdArgs()},
		{at("kubelet"), "the kubelet", v.spec.Kubelet.ExtraArgs, ownedKubeletArgs()},
	} {
		for _, flag := range slices.Sorted(maps.Keys(c.args)) {
			v.flag(c, flag)
		}
	}
}

func (v *validator) flag(c component, flag string) {
	where := c.at.Key("extraArgs", flag)
	bare, assigned, hasValue := strings.Cut(strings.TrimLeft(flag, "-"), "=")
	bare = strings.ReplaceAll(strings.ToLower(bare), "_", "-")
	switch {
	case hasValue:
		v.SuggestKey(where, bare+": "+strings.TrimSpace(assigned), "the name of a flag and its value are the two sides of a colon")
	case flag != bare:
		v.SuggestKey(where, bare, "a flag is named without leading dashes, in lower case")
	case !flagName().MatchString(flag):
		v.SuggestKey(where, "", "this is not the name of a flag")
	case c.owned[flag] != "":
		v.SuggestKey(where, "", "kubewright sets this flag of %s itself: %s", c.name, c.owned[flag])
	}
}

func flagName() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`)
}

const (
	writesKubeconfig = "kubewright writes the kubeconfig"
	keepsPKI         = "it names a part of the PKI that kubewright keeps"
	followsNodeIP    = "it follows from the nodeIP of the host"
	followsMembers   = "it follows from the hosts with the role etcd"
)

func ownedAPIServerArgs() map[string]string {
	return map[string]string{
		"advertise-address":        followsNodeIP,
		"secure-port":              "set spec.controlPlane.port",
		"service-cluster-ip-range": "set spec.network.serviceCIDR",
		"etcd-servers":             followsMembers + ", or set spec.controlPlane.etcd.external",
		"etcd-cafile":              keepsPKI,
		"etcd-certfile":            keepsPKI,
		"etcd-keyfile":             keepsPKI,
		"client-ca-file":           keepsPKI,
	}
}

func ownedControllerManagerArgs() map[string]string {
	return map[string]string{
		"cluster-cidr":                     "set spec.network.podCIDR",
		"service-cluster-ip-range":         "set spec.network.serviceCIDR",
		"cluster-name":                     "set metadata.name",
		"kubeconfig":                       writesKubeconfig,
		"root-ca-file":                     keepsPKI,
		"client-ca-file":                   keepsPKI,
		"cluster-signing-cert-file":        keepsPKI,
		"cluster-signing-key-file":         keepsPKI,
		"service-account-private-key-file": keepsPKI,
	}
}

func ownedEtcdArgs() map[string]string {
	return map[string]string{
		"name":                        "it is the name of the host",
		"data-dir":                    "it is /var/lib/etcd, as with kubeadm",
		"initial-cluster":             followsMembers,
		"initial-cluster-state":       followsMembers,
		"initial-advertise-peer-urls": followsNodeIP,
		"listen-peer-urls":            followsNodeIP,
		"listen-client-urls":          followsNodeIP,
		"advertise-client-urls":       followsNodeIP,
		"trusted-ca-file":             keepsPKI,
		"peer-trusted-ca-file":        keepsPKI,
	}
}

func ownedKubeletArgs() map[string]string {
	return map[string]string{
		"config":                     "set what should differ in spec.kubelet.config",
		"kubeconfig":                 writesKubeconfig,
		"bootstrap-kubeconfig":       "the kubelet gets its first certificate from kubewright",
		"hostname-override":          "it is the name of the host",
		"node-ip":                    followsNodeIP,
		"node-labels":                "set the labels of the host or of its group",
		"register-with-taints":       "set the taints of the host or of its group",
		"container-runtime-endpoint": "kubewright installs containerd at its default socket",
	}
}
