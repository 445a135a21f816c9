package cluster

import "kubewright/internal/catalog"

// Release is the set of versions that go with a version of Kubernetes.
type Release = catalog.Release

// Releases knows which versions go together; *catalog.Catalog does.
type Releases interface {
	// Release returns what goes with that version of Kubernetes; the error for a version that
	// is malformed or not supported says which ones are.
	Release(kubernetesVersion string) (catalog.Release, error)
	// Latest is the newest version of Kubernetes that is known.
	Latest() string
}
