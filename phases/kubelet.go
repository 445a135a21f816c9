package phases

import (
	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/templates"
)

const (
	kubeletConfig = kubeletDir + "/config.yaml"
	kubeletUnit   = "/etc/systemd/system/kubelet.service"
)

// kubelets starts the kubelet on every node; on a control plane it starts the static pods.
// A worker's kubelet may well start before there is an API server: it asks until there is.
func kubelets() plan.Phase {
	configuration, service := remember(templates.KubeletConfig), remember(templates.KubeletUnit)
	return plan.Phase{
		Name:    "kubelet",
		Short:   "kubelet configuration and service",
		On:      runsPods,
		After:   []plan.Edge{plan.SameHost("binaries"), plan.SameHost("load-balancer"), plan.SameHost("control-plane")},
		Rolling: true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			config, err := configuration(kubeletConfigData(c, t))
			if err != nil {
				return nil, err
			}
			unit, err := service(templates.KubeletUnitData{NodeName: t.Name, NodeIP: t.NodeIP, ExtraArgs: c.KubeletExtraArgs})
			if err != nil {
				return nil, err
			}
			// Secret, for staticPodURLHeader may log in, and a unit's environment name a proxy with
			// its password.
			return []resource.Resource{
				resource.File{Path: kubeletConfig, Content: config, Secret: true},
				resource.File{Path: kubeletUnit, Content: unit, Secret: true},
				resource.Unit{Name: "kubelet.service", On: []resource.ID{
					resource.FileID(kubeletConfig), resource.FileID(kubeletUnit),
					resource.BinaryID("/usr/local/bin/kubelet"), resource.FileID(pkiDir + "/ca.crt"),
					resource.KubeconfigID(kubernetesDir + "/" + certs.KubeletConf),
					resource.CertificateID(kubeletClientPath),
					resource.CertificateID(kubeletPKI + "/" + certs.KubeletServer + ".crt"),
				}},
			}, nil
		},
	}
}

// kubeletConfigData adapts the cluster's configuration to what the host is: restricted
// hosts are recognised, not configured by hand.
func kubeletConfigData(c *cluster.Cluster, t plan.Target) templates.KubeletConfigData {
	d := templates.KubeletConfigData{
		ClusterDNS: c.NodeDNS(), ClusterDomain: c.Network.DNSDomain,
		ResolvConf: t.Facts.ResolvConf,
		FailSwapOn: !t.Facts.Container,
		CgroupV1:   t.Facts.CgroupVersion == 1,
		Patch:      c.KubeletConfig,
	}
	// A new node must not run a pod before its taints are there, so it registers with them; from
	// then on the nodes phase keeps them. The kubelet restarts for a change all the same (ADR 9).
	for _, taint := range nodeTaints(t.Host) {
		d.Taints = append(d.Taints, templates.Taint(taint))
	}
	d.Taints = templates.TaintSet(d.Taints)
	return d
}
