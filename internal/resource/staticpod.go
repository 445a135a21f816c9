package resource

import "kubewright/internal/sh"

// StaticPod is a pod manifest that the kubelet runs. Its content carries the digest of
// its inputs as an annotation, so that a new certificate changes the manifest and the
// kubelet restarts the pod: from state, not from a notification.
type StaticPod struct {
	Path string
	// Render makes the manifest for a digest of the inputs.
	Render func(inputsDigest string) ([]byte, error)
	// On lists the resources that the running pod has read at its start.
	On []ID
}

// StaticPodID is the ID of the static pod whose manifest is at path.
func StaticPodID(path string) ID { return ID("pod:" + path) }

// ID implements Resource.
func (p StaticPod) ID() ID { return StaticPodID(p.Path) }

// Inputs implements Dependent.
func (p StaticPod) Inputs() []ID { return p.On }

// Probes implements Resource.
func (p StaticPod) Probes() []sh.Probe {
	// No digest can be expected before the inputs are compared: the content is always asked for.
	return []sh.Probe{sh.FileProbe{Path: p.Path, Content: true}}
}

// Diff implements Resource.
func (p StaticPod) Diff(v View) (Change, error) {
	digest, err := inputsDigest(v, p.On)
	if err != nil {
		return Change{}, err
	}
	content, err := p.Render(digest)
	if err != nil {
		return Change{}, err
	}
	got, err := v.Observed.File(p.Path)
	if err != nil {
		return Change{}, err
	}
	// A manifest of somebody else may have a password in it, such as that of a proxy: lines are
	// shown of what we wrote ourselves.
	ours := v.Observed.Manifest[string(p.ID())] == got.SHA256
	c := File{Path: p.Path, Mode: 0o600, Content: content, Secret: !ours}.diff(got)
	c.ID = p.ID()
	return c, nil
}
