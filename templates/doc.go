// Package templates renders every file and every Kubernetes object that kubewright writes itself:
// static pods, kubelet and containerd configuration, systemd units, kube-proxy, CoreDNS and the
// objects that make a cluster known to kubeadm.
//
// Each render is a function from a typed struct to bytes. The text is in files/, where a value
// always goes through a function that quotes it for the format at hand: a value with quotes,
// newlines, "{{" or "$(...)" comes out as that value, or is an error, and never as syntax.
//
// Facts about flags, names and defaults are those of kubeadm 1.37 unless a comment says why not.
package templates
