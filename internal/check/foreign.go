package check

import (
	"fmt"
	"slices"
	"strings"

	"kubewright/internal/facts"
)

const wrongHost = "see that the inventory names the right host"

// checkForeign keeps us from taking over what somebody else built. A host with our
// marker, or with our manifest for this cluster, is ours, finished or not.
func checkForeign(t *T, h Host, f facts.Facts) {
	claimed, denied := t.claim(h.Name)
	if denied {
		refuseMarker(t, f)
	}
	if claimed || denied {
		return
	}
	if evidence := clusterEvidence(f); len(evidence) > 0 {
		t.Requiref(false, wrongHost+"; if it does, remove that cluster with the tool that made it (kubeadm reset, k3s-uninstall.sh, ...)",
			"there are signs of another cluster: %s", strings.Join(evidence, ", "))
	}
	if !h.etcdOnly() {
		checkEngine(t, f.Foreign)
	}
}

// refuseMarker says why a marker is not that of this cluster.
func refuseMarker(t *T, f facts.Facts) {
	name, id, ok := f.Marker()
	switch {
	case !ok:
		t.Requiref(false, "restore the file, or remove it together with the node",
			"/var/lib/kubewright/cluster cannot be read: %q", f.OursMarker)
	case name != t.ClusterName:
		t.Requiref(false, wrongHost+"; to move it, reset it with the spec of "+name,
			"the host belongs to the cluster %s", name)
	default:
		t.Requiref(false, wrongHost+"; or reset it first",
			"the host belongs to another cluster that is also named %s (id %s, not %s)", name, id, t.ClusterID)
	}
}

// checkAuthority compares the certificate authorities on the host with that of the
// cluster. Two are never mixed, whoever made them.
func checkAuthority(t *T, h Host, _ facts.Facts) {
	for _, a := range t.strangeAuthorities(h.Name) {
		t.Requiref(false, "restore the right file from another control plane, or reset the host",
			"%s holds another certificate authority (%s) than the cluster (%s)", a.where, a.fingerprint, t.CAFingerprint)
	}
}

// clusterEvidence names what a cluster left on the host.
func clusterEvidence(of facts.Facts) []string {
	var evidence []string
	f := of.Foreign
	see := func(found bool, what string) {
		if found {
			evidence = append(evidence, what)
		}
	}
	kubelet := "/etc/kubernetes/kubelet.conf"
	if f.KubeletServer != "" {
		kubelet += " for " + f.KubeletServer
	}
	see(f.KubeletConf, kubelet)
	see(f.AdminConf, "/etc/kubernetes/admin.conf")
	see(f.CA, "/etc/kubernetes/pki/ca.crt")
	see(f.CAKey, "/etc/kubernetes/pki/ca.key")
	see(len(f.Manifests) > 0, fmt.Sprintf("static pods in /etc/kubernetes/manifests (%s)", strings.Join(f.Manifests, ", ")))
	see(f.EtcdData, "/var/lib/etcd/member")
	see(f.Kubeadm, "files of a kubeadm run in /var/lib/kubelet")
	see(f.KubeadmUnit, "kubeadm's drop-in 10-kubeadm.conf for the kubelet (remove the package)")
	see(f.KubeletRunning, "a running kubelet")
	see(f.K3s, "k3s")
	see(f.K0s, "k0s")
	see(f.RKE2, "RKE2")
	see(f.Microk8s, "MicroK8s")
	for _, iface := range of.Interfaces {
		maker := otherNetwork(iface.Name)
		see(maker != "", "the interface "+iface.Name+" of "+maker+" (which stays until the next boot)")
	}
	return evidence
}

// checkEngine looks for container engines: containerd has one socket and one
// configuration, and ours would take them over.
func checkEngine(t *T, f facts.Foreign) {
	switch {
	case f.DockerRunning:
		t.Requiref(false, "use another host, or remove Docker and its containerd",
			"Docker runs here, and its containers would lose their containerd to ours")
	case f.Containerd:
		t.Requiref(false, "use another host, or stop and disable containerd",
			"a containerd that is not ours runs here")
	case f.ContainerdConfig:
		t.Requiref(false, "move /etc/containerd/config.toml away",
			"/etc/containerd/config.toml exists and is not ours")
	case f.Docker:
		t.Assertf(false, "remove it if nobody needs it", "Docker is installed, though it does not run")
	}
	// CRI-O shares no socket, configuration or state with containerd: ours takes nothing from it,
	// and the kubelet is told which of the two to use. A kubelet that runs on CRI-O is a sign of a
	// cluster of its own. So what is left are two engines that share memory, disk and CNI folder.
	t.Assertf(!f.CRIO, "stop and disable crio if nobody needs it",
		"CRI-O runs here; our containerd will run beside it, and the kubelet will not see its containers")
	// The first file by name wins, whoever wrote it.
	const ours = "10-calico.conflist"
	var first []string
	for _, name := range f.CNIConfigs {
		isConfig := slices.ContainsFunc([]string{".conf", ".conflist", ".json"}, func(ext string) bool { return strings.HasSuffix(name, ext) })
		if isConfig && name < ours {
			first = append(first, name)
		}
	}
	t.Requiref(len(first) == 0, "move it out of /etc/cni/net.d, or rename it so that it sorts after "+ours,
		"/etc/cni/net.d holds %s, which would be taken as the pod network", strings.Join(first, ", "))
}
