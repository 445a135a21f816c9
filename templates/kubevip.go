package templates

import (
	"fmt"
	"net/netip"
	"strconv"
)

const (
	kubeVIPConfig = kubernetesDir + "/kube-vip.conf"
	// kubeVIPLease is upstream's name of the Lease. It is given all the same: the Role names it too.
	kubeVIPLease = "plndr-cp-lock"
)

// KubeVIPData is what kube-vip of one control plane consists of, and what it is told.
type KubeVIPData struct {
	Image        string // with tag
	InputsDigest string // value of InputsDigestAnnotation
	NodeName     string // its identity in the election
	Interface    string // that gets VIP
	VIP          netip.Addr
}

// KubeVIP renders the static pod /etc/kubernetes/manifests/kubewright-kube-vip.yaml, for kube-vip
// 1.2.3 and newer. It moves the address and does nothing else that kube-vip can do: no load
// balancing, no Services. It reads /etc/kubernetes/kube-vip.conf.
//
// The one that has the address gives it up when it could not renew the Lease for three seconds, and
// another takes it two seconds later. kube-vip announces it with the next of its ARP broadcasts, not
// at once: hence one each second instead of upstream's three.
func KubeVIP(d KubeVIPData) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("kube-vip: %w", err)
	}
	return manifest{
		Name: "kube-vip", Command: "/kube-vip", // the image has no PATH
		// It would serve metrics to the network; an empty variable does not keep it from that.
		Args: []string{"manager", "--prometheusHTTPServer="},
		Env: []envVar{
			{"address", d.VIP.String()},
			{"cp_enable", "true"},
			{"cp_namespace", "kube-system"},
			{"k8s_config_file", kubeVIPConfig},
			{"vip_arp", "true"},
			{"vip_arpRate", "1000"}, // milliseconds
			{"vip_interface", d.Interface},
			{"vip_leaderelection", "true"},
			{"vip_leaseduration", "5"}, // seconds, as the next two
			{"vip_leasename", kubeVIPLease},
			{"vip_nodename", d.NodeName},
			{"vip_renewdeadline", "3"},
			{"vip_retryperiod", "1"},
			{"vip_subnet", strconv.Itoa(d.VIP.BitLen())},
		},
		CPU: "10m", Memory: "50Mi",
		Security: &containerSecurity{Capabilities: []string{"NET_ADMIN", "NET_RAW"}, ReadOnlyRoot: true},
		Volumes:  []HostPath{{Name: "kubeconfig", HostPath: kubeVIPConfig, MountPath: kubeVIPConfig, ReadOnly: true, Type: "File"}},
	}.finish(StaticPod{Image: d.Image, InputsDigest: d.InputsDigest})
}

func (d KubeVIPData) check() error {
	if err := checkInterface(d.Interface); err != nil {
		return err
	}
	return checkAddress("the virtual IP", d.VIP)
}

// KubeVIPRBAC renders what a user may do by whose certificate kube-vip works: hold its Lease.
func KubeVIPRBAC(user string) ([]byte, error) {
	return render("kube-vip-rbac.yaml.tmpl", struct{ User, Lease string }{user, kubeVIPLease})
}
