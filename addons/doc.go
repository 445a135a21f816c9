// Package addons turns addons into Kubernetes objects. An addon is a folder with an addon.yaml:
// what it is, which upstream manifest and images it consists of, how that manifest is changed for
// a cluster, and what has to be ready afterwards. README.md says how one is made.
//
// Upstream manifests are not part of this repository. They are files of the catalogue, fetched
// and verified like any other, and handed to Render as bytes.
package addons
