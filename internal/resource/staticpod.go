package resource

import (
	"strings"

	"sigs.k8s.io/yaml"

	"kubewright/internal/sh"
)

// StaticPod is a pod manifest that the kubelet runs. Its content carries the digest of
// its inputs as an annotation, so that a new certificate changes the manifest and the
// kubelet restarts the pod: from state, not from a notification.
type StaticPod struct {
	Path string
	// Render makes the manifest for a digest of the inputs, and the flags that are kept.
	Render func(inputsDigest string, kept map[string]string) ([]byte, error)
	// On lists the resources that the running pod has read at its start.
	On []ID
	// Keep names flags that matter to the pod when it first starts and never again, such as
	// etcd's --initial-cluster: a manifest that is there keeps those it was given, for to change
	// them would restart the pod for nothing.
	Keep []string
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
	got, err := v.Observed.File(p.Path)
	if err != nil {
		return Change{}, err
	}
	content, err := p.Render(digest, p.kept(got))
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

// kept are the flags to keep of a manifest that is there. One that cannot be read keeps none, for
// it is replaced as a whole.
func (p StaticPod) kept(got sh.FileState) map[string]string {
	if len(p.Keep) == 0 || !got.HasContent {
		return nil
	}
	return pick(ManifestFlags(got.Content), p.Keep)
}

func pick(flags map[string]string, names []string) map[string]string {
	picked := map[string]string{}
	for _, name := range names {
		if value, ok := flags[name]; ok {
			picked[name] = value
		}
	}
	return picked
}

// ManifestFlags are the flags, by name without dashes, that a pod manifest gives its first
// container. What is no manifest has none.
func ManifestFlags(manifest []byte) map[string]string {
	var pod struct {
		Spec struct {
			Containers []struct{ Command, Args []string }
		}
	}
	flags := map[string]string{}
	if err := yaml.Unmarshal(manifest, &pod); err != nil || len(pod.Spec.Containers) == 0 {
		return flags
	}
	first := pod.Spec.Containers[0]
	for _, arg := range append(first.Command, first.Args...) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "="); ok {
			flags[name] = value
		}
	}
	return flags
}
