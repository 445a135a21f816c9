package manifest

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubewright/internal/objects"
)

// served is the stable API of Kubernetes, which every release that can be installed serves: group/version and
// its kinds, first those in namespaces, then those of the whole cluster.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/
func served() map[string][2]string {
	return map[string][2]string{
		"v1": {
			"ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
			"ComponentStatus Namespace Node PersistentVolume",
		},
		"admissionregistration.k8s.io/v1": {"", "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration"},
		"apiextensions.k8s.io/v1":         {"", "CustomResourceDefinition"},
		"apiregistration.k8s.io/v1":       {"", "APIService"},
		"apps/v1":                         {"ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""},
		"authentication.k8s.io/v1":        {"", "SelfSubjectReview TokenReview"},
		"authorization.k8s.io/v1":         {"LocalSubjectAccessReview", "SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview"},
		"autoscaling/v1":                  {"HorizontalPodAutoscaler", ""},
		"autoscaling/v2":                  {"HorizontalPodAutoscaler", ""},
		"batch/v1":                        {"CronJob Job", ""},
		"certificates.k8s.io/v1":          {"", "CertificateSigningRequest"},
		"coordination.k8s.io/v1":          {"Lease", ""},
		"discovery.k8s.io/v1":             {"EndpointSlice", ""},
		"events.k8s.io/v1":                {"Event", ""},
		"flowcontrol.apiserver.k8s.io/v1": {"", "FlowSchema PriorityLevelConfiguration"},
		"networking.k8s.io/v1":            {"Ingress NetworkPolicy", "IPAddress IngressClass ServiceCIDR"},
		"node.k8s.io/v1":                  {"", "RuntimeClass"},
		"policy/v1":                       {"Eviction PodDisruptionBudget", ""},
		"rbac.authorization.k8s.io/v1":    {"Role RoleBinding", "ClusterRole ClusterRoleBinding"},
		"resource.k8s.io/v1":              {"ResourceClaim ResourceClaimTemplate", "DeviceClass ResourceSlice"},
		"scheduling.k8s.io/v1":            {"", "PriorityClass"},
		"storage.k8s.io/v1":               {"CSIStorageCapacity", "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass"},
	}
}

// unstable are the kinds of the whole cluster that are not served, or not in a stable version, by all releases.
func unstable() []schema.GroupKind {
	return []schema.GroupKind{
		{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"},
		{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"},
		{Group: "certificates.k8s.io", Kind: "ClusterTrustBundle"},
		{Group: "internal.apiserver.k8s.io", Kind: "StorageVersion"},
		{Group: "resource.k8s.io", Kind: "DeviceTaintRule"},
		{Group: "storagemigration.k8s.io", Kind: "StorageVersionMigration"},
	}
}

// servedVersions are the group/versions and group/version/Kinds of the stable API, as charts ask for them.
func servedVersions() []string {
	var all []string
	for version, kinds := range served() {
		all = append(all, version)
		for _, kind := range append(strings.Fields(kinds[0]), strings.Fields(kinds[1])...) {
			all = append(all, version+"/"+kind)
		}
	}
	slices.Sort(all)
	return all
}

// definedVersions are those that the CustomResourceDefinitions among objects define.
func definedVersions(located []objects.Located) []string {
	var all []string
	for _, o := range located {
		kind, ok := definedKind(o)
		if !ok {
			continue
		}
		versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions") // another form defines nothing
		for _, v := range versions {
			version, _ := v.(map[string]any)
			isServed, _ := version["served"].(bool)
			if name, _ := version["name"].(string); name != "" && isServed {
				all = append(all, kind.Group+"/"+name, kind.Group+"/"+name+"/"+kind.Kind)
			}
		}
	}
	return all
}

// definedKind is the kind that a CustomResourceDefinition defines.
func definedKind(o objects.Located) (kind schema.GroupKind, ok bool) {
	if o.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}) {
		return schema.GroupKind{}, false
	}
	kind.Group, _, _ = unstructured.NestedString(o.Object, "spec", "group")        // another form defines nothing
	kind.Kind, _, _ = unstructured.NestedString(o.Object, "spec", "names", "kind") // as above
	return kind, kind.Group != "" && kind.Kind != ""
}

// scopes are the kinds that are not in namespaces.
type scopes map[schema.GroupKind]bool

// scopesOf knows the kinds of Kubernetes, and those that are defined among the objects.
func scopesOf(located []objects.Located) scopes {
	wide := scopes{}
	for version, kinds := range served() {
		group, _, named := strings.Cut(version, "/")
		if !named {
			group = ""
		}
		for _, kind := range strings.Fields(kinds[1]) {
			wide[schema.GroupKind{Group: group, Kind: kind}] = true
		}
	}
	for _, kind := range unstable() {
		wide[kind] = true
	}
	for _, o := range located {
		if kind, ok := definedKind(o); ok {
			scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope") // the API server will say so
			wide[kind] = scope == "Cluster"
		}
	}
	return wide
}

// place gives the objects that are in namespaces and have none the addon's. Of kinds that nobody here
// knows it is taken that they are: on those of the whole cluster, a namespace means nothing to internal/kube,
// which asks the API server.
func (s scopes) place(located []objects.Located, namespace string) {
	for _, o := range located {
		switch {
		case s[o.GroupVersionKind().GroupKind()]:
			o.SetNamespace("")
		case o.GetNamespace() == "" && namespace != "":
			o.SetNamespace(namespace)
		}
	}
}
