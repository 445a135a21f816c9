package kube

import (
	"cmp"
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubewright/certs"
	"kubewright/internal/secret"
)

// FromKubeconfig returns a client for the current context of a kubeconfig that has its certificates in it,
// as those have that kubewright and kubeadm make. server replaces the URL that it names, unless it is "".
func FromKubeconfig(content secret.Bytes, server string) (*Client, error) {
	k, err := certs.ParseKubeconfig(content)
	if err != nil {
		return nil, err
	}
	if k.CAFile != "" || k.CertFile != "" || k.KeyFile != "" {
		return nil, errors.New("the kubeconfig names files; one is needed that has its certificates in it: kubectl config view --flatten makes one")
	}
	if k.Client.Empty() {
		return nil, errors.New("the kubeconfig has no client certificate; an administrator's is needed, such as /etc/kubernetes/admin.conf")
	}
	return New(Config{Server: cmp.Or(server, k.Server), CAPEM: k.CAPEM, Client: k.Client})
}

// MergeKubeconfig puts the current context of the kubeconfig file added into the file existing, which
// may be empty, and makes it the current one. The context, its cluster and its user are all called
// name in the result; entries of those names are replaced, all others are left as they are.
//
// It returns an error when existing cannot be read: what a user has collected there must not be lost.
func MergeKubeconfig(existing, added secret.Bytes, name string) (secret.Bytes, error) {
	if name == "" {
		return nil, errors.New("merge kubeconfig: the context needs a name")
	}
	target, err := clientcmd.Load(existing.Reveal())
	if err != nil {
		// The parser's own words may quote the input, which holds tokens and keys.
		return nil, errors.New("merge kubeconfig: the existing file cannot be read, repair or move it: " +
			"it is no kubeconfig, or not valid YAML; kubectl config view --kubeconfig FILE says where")
	}
	source, err := clientcmd.Load(added.Reveal())
	if err != nil {
		return nil, errors.New("merge kubeconfig: the new file cannot be read: it is no kubeconfig, or not valid YAML")
	}
	current := source.Contexts[source.CurrentContext]
	if current == nil {
		return nil, fmt.Errorf("merge kubeconfig: the new file has no context called %q, its current one", source.CurrentContext)
	}
	cluster, user := source.Clusters[current.Cluster], source.AuthInfos[current.AuthInfo]
	if cluster == nil || user == nil {
		return nil, fmt.Errorf("merge kubeconfig: the new file lacks the cluster %q or the user %q", current.Cluster, current.AuthInfo)
	}
	entry := current.DeepCopy()
	entry.Cluster, entry.AuthInfo = name, name
	if before := target.Contexts[name]; before != nil {
		entry.Namespace = before.Namespace // the user's choice, not the cluster's
	}
	target.Clusters = with(target.Clusters, name, cluster)
	target.AuthInfos = with(target.AuthInfos, name, user)
	target.Contexts = with(target.Contexts, name, entry)
	target.CurrentContext = name
	out, err := clientcmd.Write(*target)
	if err != nil {
		return nil, fmt.Errorf("merge kubeconfig: %w", err)
	}
	return out, nil
}

// with returns the entries with one more. A file without entries decodes to no map at all.
func with[T *api.Cluster | *api.AuthInfo | *api.Context](entries map[string]T, name string, value T) map[string]T {
	if entries == nil {
		entries = map[string]T{}
	}
	entries[name] = value
	return entries
}
