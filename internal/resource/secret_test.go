package resource_test

import (
	"fmt"
	"strings"
	"testing"

	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// Which changes show lines, and which no more than fingerprints: of a secret file neither what is
// there nor what is wanted, and of a static pod only what was ours.
func TestWhatChangesShow(t *testing.T) {
	const path, old, wanted = "/etc/a", "old: hunter1\n", "new: hunter2\n"
	digest := resource.DigestOf([]byte(old))
	file := resource.File{Path: path, Content: []byte(wanted)}
	secretFile, readFile := file, file
	secretFile.Secret = true
	readFile.Secret, readFile.Read = true, true
	pod := resource.StaticPod{Path: path, Render: func(string, map[string]string) ([]byte, error) { return []byte(wanted), nil }}
	for name, tc := range map[string]struct {
		resource resource.Resource
		manifest map[string]string
		lines    bool
	}{
		"file":                 {file, nil, true},
		"secret file":          {secretFile, nil, false},
		"secret file of ours":  {secretFile, map[string]string{"file:" + path: digest}, false},
		"secret that is read":  {readFile, nil, false},
		"pod of somebody else": {pod, nil, false},
		"pod of ours":          {pod, map[string]string{"pod:" + path: digest}, true},
		"pod of ours, edited":  {pod, map[string]string{"pod:" + path: resource.DigestOf([]byte("ours"))}, false},
		"pod, unfinished":      {pod, map[string]string{"pod:" + path: "pending " + digest}, false},
	} {
		t.Run(name, func(t *testing.T) {
			observed := &sh.Answers{Manifest: tc.manifest, Files: map[string]sh.FileState{path: {
				Exists: true, Mode: 0o644, SHA256: digest, Content: []byte(old), HasContent: true,
			}}}
			change, err := tc.resource.Diff(resource.View{Observed: observed})
			if err != nil {
				t.Fatal(err)
			}
			shown := fmt.Sprint(change.Fields, change.Reason)
			if got := strings.Contains(shown, "hunter1") && strings.Contains(shown, "hunter2"); got != tc.lines {
				t.Errorf("lines are shown: %v, want %v: %s", got, tc.lines, shown)
			}
			if !tc.lines && (strings.Contains(shown, "hunter") || strings.Count(shown, "sha256:") != 2) {
				t.Errorf("want fingerprints of both and nothing else: %s", shown)
			}
		})
	}
}

// A look does not even bring the content of a secret file, unless a later run lives by it.
func TestLooksDoNotBringSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		file resource.File
		want sh.FileProbe
	}{
		"open":   {resource.File{}, sh.FileProbe{Want: resource.DigestOf(nil)}},
		"secret": {resource.File{Secret: true}, sh.FileProbe{Secret: true}},
		"read":   {resource.File{Secret: true, Read: true}, sh.FileProbe{Secret: true, Content: true}},
	} {
		tc.file.Path, tc.want.Path = "/a", "/a"
		if got := tc.file.Probes(); len(got) != 1 || got[0] != tc.want {
			t.Errorf("%s: asks %+v, want %+v", name, got, tc.want)
		}
	}
}
