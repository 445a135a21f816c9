package check

import (
	"fmt"
	"slices"

	goversion "github.com/hashicorp/go-version"
)

// checkVersion refuses steps between minor versions of Kubernetes that cannot be made: down, since an API server does
// not read what a newer one has written, and over one that is between, which the version skew policy
// (https://kubernetes.io/releases/version-skew-policy/) has no support for. A kubelet is never newer than an
// API server.
func checkVersion(t *T) {
	wanted, err := goversion.NewVersion(t.Version)
	if err != nil {
		return // the catalogue has it, so it can be read
	}
	var older []string // control planes that stay as they are
	for _, h := range t.Hosts {
		text := t.Facts[h.Name].APIServerVersion
		if !h.ControlPlane || text == "" || !t.ours(h.Name) {
			continue
		}
		running, err := goversion.NewVersion(text)
		if !t.On(h.Name).Assertf(err == nil, "see that "+t.Version+" is not older, and at most one minor version newer",
			"the image in /etc/kubernetes/manifests/kube-apiserver.yaml has the tag %q: whether Kubernetes %s may follow cannot be told", text, wanted) {
			continue
		}
		step := minor(wanted) - minor(running)
		t.Requiref(step >= 0, "set spec.kubernetesVersion to "+text+" or newer",
			"Kubernetes %s is there, and %s is wanted: to an earlier minor version there is no way back", text, wanted)
		t.Requiref(step <= 1, fmt.Sprintf("set spec.kubernetesVersion to a version of 1.%d first, and run apply", minor(running)+1),
			"Kubernetes %s is there, and %s is wanted: no minor version may be left out", text, wanted)
		if step > 0 && !h.InScope {
			older = append(older, h.Name)
		}
	}
	if len(older) == 0 {
		return
	}
	for _, h := range t.Hosts {
		if h.InScope && h.Worker && !h.ControlPlane {
			t.On(h.Name).Requiref(false, "run without --limit, or for all control planes first",
				"Kubernetes %s is wanted here, and %s, which --limit leaves out, is older: a kubelet may not be newer than the API servers", wanted, slices.Min(older))
		}
	}
}

// minor is the second number of a version.
func minor(v *goversion.Version) int { return v.Segments()[1] }
