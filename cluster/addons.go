package cluster

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/spec"
)

// Addons are what is installed into the cluster.
type Addons struct {
	spec.Addons
	// Untold says that it is not known which addons there are to be: a machine that goes on with what the cluster
	// says of itself leaves them as they are.
	Untold bool
	// Objects are what the user's own addons consist of, by name. They are filled in by whoever has read the
	// files.
	Objects map[string][]*unstructured.Unstructured
}
