package templates

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"kubewright/spec/componentconfig"
)

// Taint is put on a node when it registers.
type Taint struct{ Key, Value, Effect string }

// KubeletConfigData is what a KubeletConfiguration depends on. Left at its zero values where a
// host decides (ResolvConf, CgroupV1, Taints), it gives the configuration all nodes share.
type KubeletConfigData struct {
	ClusterDNS    netip.Addr
	ClusterDomain string
	// ResolvConf is what pods with dnsPolicy Default get. It must not name a loopback resolver,
	// or CoreDNS forwards to itself. "" is the kubelet's default, /etc/resolv.conf.
	ResolvConf string
	FailSwapOn bool
	CgroupV1   bool // the host has only cgroup v1, which the kubelet otherwise refuses
	Taints     []Taint
	// Both 0: pods are not ended gracefully at shutdown, for which the kubelet needs logind.
	ShutdownGracePeriod, ShutdownGracePeriodCriticalPods time.Duration
	// Patch is merged over the result as a JSON merge patch: null removes a field.
	Patch map[string]any
}

// KubeletConfig renders /var/lib/kubelet/config.yaml. The result is decoded strictly, so a field
// the kubelet does not know is an error that names it, and not a kubelet that does not start.
func KubeletConfig(d KubeletConfigData) ([]byte, error) {
	if !d.ClusterDNS.IsValid() {
		return nil, errors.New("kubelet configuration: the address of the cluster DNS is not set")
	}
	base, err := render("kubelet-config.yaml.tmpl", d)
	if err != nil {
		return nil, err
	}
	out, err := patchDocument(base, d.Patch, map[string]string{
		"cgroupDriver":             "containerd is configured for systemd, both must agree",
		"containerRuntimeEndpoint": "kubewright installs containerd at its default socket",
		"staticPodPath":            "the control plane's manifests are written there",
	})
	if err == nil {
		err = yaml.UnmarshalStrict(out, &componentconfig.KubeletConfiguration{})
	}
	if err != nil {
		return nil, fmt.Errorf("kubelet configuration: %w", err)
	}
	return out, nil
}

// KubeletUnitData is what the kubelet's command line depends on.
type KubeletUnitData struct {
	NodeName  string     // the name it registers under, whatever the host calls itself
	NodeIP    netip.Addr // the address it registers with, whatever the default route is
	ExtraArgs map[string]string
}

// KubeletUnit renders kubelet.service.
func KubeletUnit(d KubeletUnitData) ([]byte, error) {
	if err := checkAddress("kubelet", d.NodeIP); err != nil {
		return nil, err
	}
	args, err := flagSet{
		component: "kubelet", extra: d.ExtraArgs,
		defaults: []option{
			{"config", "/var/lib/kubelet/config.yaml"},
			{"hostname-override", d.NodeName},
			{"kubeconfig", kubernetesDir + "/kubelet.conf"},
			{"node-ip", d.NodeIP.String()},
		},
		reserved: map[string]string{
			"config":                     "set kubelet.config to what should differ",
			"hostname-override":          "the node is called like the host in the inventory",
			"kubeconfig":                 "kubewright writes it",
			"node-ip":                    "set the nodeIP of the host",
			"container-runtime-endpoint": "kubewright installs containerd at its default socket",
		},
	}.args()
	if err != nil {
		return nil, err
	}
	return render("kubelet.service.tmpl", struct{ Args []string }{args})
}

// ControlPlaneTaint keeps ordinary pods off control planes that are not workers as well.
func ControlPlaneTaint() Taint {
	return Taint{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}
}

// TaintSet sorts taints and drops duplicates, so that their order in an inventory is no change.
func TaintSet(taints []Taint) []Taint {
	sorted := slices.Clone(taints)
	slices.SortFunc(sorted, func(a, b Taint) int { return slices.Compare(a.fields(), b.fields()) })
	return slices.Compact(sorted)
}

func (t Taint) fields() []string { return []string{t.Key, t.Value, t.Effect} }
