package resource_test

import (
	"io/fs"
	"slices"
	"testing"

	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// What runs with a manifest is noted when the kubelet will replace it, and only then: an act would wait in
// vain for the end of what goes on.
func TestStaticPodNotesWhatRuns(t *testing.T) {
	const path, want = "/etc/kubernetes/manifests/app.yaml", "spec:\n  containers:\n  - command:\n    - app\n    - --b=2\n"
	pod := resource.StaticPod{Path: path, Render: func(string, map[string]string) ([]byte, error) { return []byte(want), nil }}
	for name, tt := range map[string]struct {
		there string
		noted []string
	}{
		"another flag":     {"spec:\n  containers:\n  - command: [app]\n    args: [--b=1]\n", []string{"app", "--b=1"}},
		"another label":    {"metadata: {labels: {a: b}}\n" + want, []string{"app", "--b=2"}},
		"a comment":        {"# mine\n" + want, nil},
		"another layout":   {"spec: {containers: [{command: [app, --b=2]}]}\n", nil},
		"what is no pod":   {"{", nil},
		"nothing":          {"", nil},
		"what it would be": {want, nil},
	} {
		t.Run(name, func(t *testing.T) {
			observed := &sh.Answers{Files: map[string]sh.FileState{path: {}}}
			if tt.there != "" {
				observed.Files[path] = sh.FileState{
					Exists: true, Mode: fs.FileMode(0o600),
					SHA256: resource.DigestOf([]byte(tt.there)), Content: []byte(tt.there), HasContent: true,
				}
			}
			c, err := pod.Diff(resource.View{Observed: observed})
			if err != nil {
				t.Fatal(err)
			}
			var noted []string
			for _, s := range c.Steps {
				if n, ok := s.(sh.NoteProcess); ok {
					noted = n.Command
				}
			}
			if !slices.Equal(noted, tt.noted) {
				t.Errorf("noted is %q, want %q; the change is %+v", noted, tt.noted, c)
			}
		})
	}
}
