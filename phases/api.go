package phases

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/taint"
	"kubewright/inventory"
	"kubewright/templates"
)

// bootstrap makes the objects that kubeadm's ecosystem expects of a cluster: who may do
// what, the cluster's configuration, and what a joining machine is told.
func bootstrap() plan.Phase {
	return plan.Phase{
		Name:  "bootstrap",
		Short: "RBAC and configuration in the API, as kubeadm has them",
		After: []plan.Edge{plan.AnyHost("control-plane")},
		Waits: func(*cluster.Cluster, []inventory.Host) []plan.Condition {
			return []plan.Condition{{Kind: plan.APIReady}}
		},
		Objects: bootstrapObjects,
	}
}

func apiReady(hosts []inventory.Host) []plan.Condition {
	var conditions []plan.Condition
	for _, h := range hosts {
		if h.Has(inventory.RoleControlPlane) {
			conditions = append(conditions, plan.Condition{Kind: plan.APIReady, Name: h.Name})
		}
	}
	return conditions
}

func bootstrapObjects(c *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
	shared, err := templates.KubeletConfig(templates.KubeletConfigData{
		ClusterDNS: c.NodeDNS(), ClusterDomain: c.Network.DNSDomain, FailSwapOn: true, Patch: c.KubeletConfig,
	})
	if err != nil {
		return nil, err
	}
	renders := []func() ([]byte, error){
		templates.BootstrapRBAC,
		func() ([]byte, error) {
			return templates.ClusterInfo(templates.ClusterInfoData{Server: c.Endpoint.URL(), CAPEM: w.PKI.Kubernetes.CertPEM()})
		},
		func() ([]byte, error) { return templates.KubeletConfigMap(shared) },
		func() ([]byte, error) {
			return templates.KubeadmConfig(templates.KubeadmConfigData{
				ClusterName: c.Name, KubernetesVersion: c.Version, Endpoint: c.Endpoint.String(),
				PodCIDR: c.Network.PodCIDR, ServiceCIDR: c.Network.ServiceCIDR, DNSDomain: c.Network.DNSDomain,
				CertSANs: certSANs(c), KeyAlgorithm: c.KeyAlgorithm,
				EtcdImageTag: c.Release.EtcdImageTag, EtcdEndpoints: remoteEtcd(c), DNSImageTag: "v" + c.Release.CoreDNS,
				APIServerArgs: c.APIServer.ExtraArgs, ControllerManagerArgs: c.ControllerManager.ExtraArgs,
				SchedulerArgs: c.Scheduler.ExtraArgs, EtcdArgs: c.Etcd.ExtraArgs,
			})
		},
		func() ([]byte, error) { return kubewrightConfig(c) },
	}
	var objects []*unstructured.Unstructured
	for _, render := range renders {
		manifest, err := render()
		if err != nil {
			return nil, err
		}
		decoded, err := addons.Decode(manifest)
		if err != nil {
			return nil, err
		}
		objects = append(objects, decoded...)
	}
	return objects, nil
}

func kubewrightConfig(c *cluster.Cluster) ([]byte, error) {
	document, err := c.Document()
	if err != nil {
		return nil, err
	}
	digests, err := c.Digests()
	if err != nil {
		return nil, err
	}
	return templates.KubewrightConfig(document, digests)
}

// KubewrightConfig is the one object of the phase bootstrap that changes when a control plane joins by itself:
// what machines that join are told of the cluster.
func KubewrightConfig(c *cluster.Cluster) ([]*unstructured.Unstructured, error) {
	manifest, err := kubewrightConfig(c)
	if err != nil {
		return nil, err
	}
	return addons.Decode(manifest)
}

// certSANs are the names that kubeadm does not think of by itself when it issues a certificate for an
// API server: it knows the endpoint, and the node's own names.
func certSANs(c *cluster.Cluster) []string {
	names := slices.Clone(c.CertSANs)
	if c.VIP.Address.IsValid() && c.VIP.Address.String() != c.Endpoint.Host {
		names = append(names, c.VIP.Address.String())
	}
	if c.LocalBalancer {
		names = append(names, c.NodeEndpoint.Host)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodes gives the Node objects their roles, labels, annotations and taints: a kubelet may not
// give itself a role, and sets its taints once, when it registers.
func nodes() plan.Phase {
	return plan.Phase{
		Name:    "nodes",
		Short:   "roles, labels, annotations and taints of the nodes",
		After:   []plan.Edge{plan.AllHosts("kubelet")},
		PerHost: true,
		Waits: func(_ *cluster.Cluster, hosts []inventory.Host) []plan.Condition {
			return nodeConditions(hosts, plan.NodeRegistered)
		},
		Objects: nodeObjects,
	}
}

func nodeConditions(hosts []inventory.Host, kind plan.ConditionKind) []plan.Condition {
	var conditions []plan.Condition
	for _, h := range hosts {
		if runsPods(h) {
			conditions = append(conditions, plan.Condition{Kind: kind, Name: h.Name})
		}
	}
	return conditions
}

func nodeObjects(_ *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, h := range w.Scope {
		if !runsPods(h) {
			continue
		}
		node := &unstructured.Unstructured{}
		node.SetAPIVersion("v1")
		node.SetKind("Node")
		node.SetName(h.Name)
		labels := map[string]string{}
		for k, v := range h.Labels {
			labels[k] = v
		}
		if h.Has(inventory.RoleControlPlane) {
			labels["node-role.kubernetes.io/control-plane"] = ""
			// kubeadm sets it on all control planes. One that runs pods of users has services for load
			// balancers, too; of a single node these would get no traffic at all.
			if !h.Has(inventory.RoleWorker) {
				labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
			}
		}
		// An empty map would still be ours in the API's eyes.
		if len(labels) > 0 {
			node.SetLabels(labels)
		}
		if len(h.Annotations) > 0 {
			node.SetAnnotations(h.Annotations)
		}
		var taints []any
		for _, t := range nodeTaints(h) {
			taints = append(taints, taint.Entry(t))
		}
		if len(taints) > 0 {
			node.Object["spec"] = map[string]any{"taints": taints}
		}
		objects = append(objects, node)
	}
	return objects, nil
}

// nodeTaints lists the taints that we set on a host's node, one of each key and effect.
func nodeTaints(h inventory.Host) []inventory.Taint {
	taints := slices.Clone(h.Taints)
	if h.Has(inventory.RoleControlPlane) && !h.Has(inventory.RoleWorker) {
		taints = append(taints, inventory.Taint(templates.ControlPlaneTaint()))
	}
	return taint.Merge(nil, nil, taints)
}

// verify waits until every node is Ready and what makes them a cluster is available, and then checks from
// every node that names, services and pods on other nodes are reached.
func verify() plan.Phase {
	return plan.Phase{
		Name:   "verify",
		Short:  "nodes Ready, network and DNS available, the cluster checked from inside",
		Verify: true,
		After: []plan.Edge{plan.AllHosts("nodes"), plan.AllHosts("kube-proxy"), plan.AllHosts("network"), plan.AllHosts("dns"),
			plan.AllHosts("etcd")}, // which is on hosts that are no nodes, too
		Ready: func(c *cluster.Cluster, hosts []inventory.Host) []plan.Condition {
			conditions := apiReady(hosts)
			if c.Network.CNI == "none" {
				return append(conditions, nodeConditions(hosts, plan.NodeRegistered)...) // Ready takes a network
			}
			conditions = append(conditions, nodeConditions(hosts, plan.NodeReady)...)
			sets, err := coreSets(c)
			if err != nil {
				return conditions // the phases that install them report it
			}
			for _, set := range sets {
				conditions = append(conditions, set.Ready...)
			}
			return conditions
		},
	}
}

// Find returns the phases of the given names, in order; an unknown name is an error that
// lists those there are.
func Find(names []string) (map[string]bool, error) {
	known := Names(All())
	found := map[string]bool{}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is no phase %q; there are %s", n, strings.Join(known, ", "))
		}
		found[n] = true
	}
	return found, nil
}
