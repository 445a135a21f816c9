package kube

import (
	"context"
	"errors"

	"sigs.k8s.io/yaml"

	"kubewright/certs"
)

// ClusterAuthority asks a server, without logging in, for the authority that machines which join its
// cluster are told to trust (the ConfigMap kube-public/cluster-info of kubeadm), as PEM.
func ClusterAuthority(ctx context.Context, config Config) ([]byte, error) {
	config.Client = certs.Pair{}
	client, err := New(config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var info struct {
		Data struct{ Kubeconfig string } `json:"data"`
	}
	if err := client.getJSON(ctx, "/api/v1/namespaces/kube-public/configmaps/cluster-info", &info); err != nil {
		return nil, err
	}
	// A kubeconfig with a cluster, and neither user nor context.
	var file struct {
		Clusters []struct {
			Cluster struct {
				Authority []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := yaml.Unmarshal([]byte(info.Data.Kubeconfig), &file); err != nil || len(file.Clusters) == 0 || len(file.Clusters[0].Cluster.Authority) == 0 {
		return nil, errors.New("its cluster-info names no authority")
	}
	return file.Clusters[0].Cluster.Authority, nil
}
