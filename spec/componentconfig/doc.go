// Package componentconfig has the types of the configuration files of the kubelet and of kube-proxy, to decode
// and to check them by. They are those of k8s.io/kubelet and k8s.io/kube-proxy, field by field, without what comes
// with these: feature gates, logging and a registry of metrics, for which every command would wait at its start.
package componentconfig

//go:generate go run ./gen -out types.go
