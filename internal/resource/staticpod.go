package resource

import (
	"reflect"
	"slices"

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
	On   []ID
	Keep []string // see Starter
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
	render := func(kept map[string]string) ([]byte, error) { return p.Render(digest, kept) }
	change := starting{p, File{Path: p.Path, Mode: 0o600}, p.Keep, render}
	c, err := change.diff(v)
	if old := v.Observed.Files[p.Path].Content; c.Rewrites && !samePod(old, change.file.Content) {
		c.Steps = slices.Concat(NoteRunning(old), c.Steps)
	}
	return c, err
}

// samePod tells whether manifests mean the same, for which a kubelet starts nothing again.
func samePod(a, b []byte) bool {
	var x, y any
	return yaml.Unmarshal(a, &x) == nil && yaml.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// NoteRunning notes what runs with a manifest before another takes its place, for sh.Replaced.
func NoteRunning(manifest []byte) []sh.Step {
	if command := podCommand(manifest); len(command) > 0 {
		return []sh.Step{sh.NoteProcess{Command: command}}
	}
	return nil
}

// Flags implements Starter: those that a manifest gives its first container. What is no manifest has
// none.
func (StaticPod) Flags(content []byte) map[string]string { return flagsOf(podCommand(content)) }

// podCommand is what the first container of a manifest runs.
func podCommand(manifest []byte) []string {
	var pod struct {
		Spec struct {
			Containers []struct{ Command, Args []string }
		}
	}
	if err := yaml.Unmarshal(manifest, &pod); err != nil || len(pod.Spec.Containers) == 0 {
		return nil
	}
	first := pod.Spec.Containers[0]
	return slices.Concat(first.Command, first.Args)
}
