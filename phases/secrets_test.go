package phases_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
)

// open are the files that have no place for a secret, neither in ours nor in somebody else's: a
// plan shows their lines.
func open() []string {
	return []string{"/etc/modules-load.d/kubewright.conf", "/etc/sysctl.d/99-kubewright.conf", sh.ClusterPath, sh.MembersPath}
}

// planted is what somebody else has in a file.
const planted = "hunter2-of-somebody-else"

// shown is all that a plan says of a host, as text and as JSON.
func shown(t *testing.T, m machine, h *memhost.Host) string {
	t.Helper()
	p := plan.Plan{Hosts: []plan.Host{m.fixture().Plan(t, h)}}
	var text bytes.Buffer
	if err := p.Text(&text); err != nil {
		t.Fatal(err)
	}
	document, err := json.MarshalIndent(p.Document(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return text.String() + string(document)
}

// regular lists the files with content that are wanted on a machine.
func regular(t *testing.T, m machine) []string {
	t.Helper()
	var paths []string
	for _, g := range m.desired(t, true) {
		for _, r := range g.Resources {
			if kind := r.ID().Kind(); kind == "file" || kind == "pod" || kind == "cert" {
				paths = append(paths, r.ID().Name())
			}
			if c, ok := r.(resource.Certificate); ok && c.KeyPath != "" {
				paths = append(paths, c.KeyPath)
			}
		}
	}
	if len(paths) < 9 {
		t.Fatalf("%d files are wanted on %s", len(paths), m.host.Name)
	}
	return paths
}

// theirs makes a file that was on the host before us, or was edited since.
func theirs(h *memhost.Host, path string) {
	content := "[auth]\npassword = \"" + planted + "\"\n"
	if n := h.Nodes[path]; n != nil && n.Mode.IsRegular() {
		content = string(n.Content) + content
	}
	h.File(path, 0o600, content)
}

// Whatever somebody else has in a file that becomes ours, a plan shows no more of it than a
// fingerprint: registries, proxies, headers and tokens have their place in most of them.
func TestPlansShowNothingOfOthers(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		for name, host := range map[string]func(*testing.T) *memhost.Host{
			"before us": func(t *testing.T) *memhost.Host { return m.bare(t) },
			"edited since": func(t *testing.T) *memhost.Host {
				h := m.bare(t)
				m.fixture().Converge(t, h)
				return h
			},
		} {
			h := host(t)
			for _, path := range regular(t, m) {
				if !slices.Contains(open(), path) {
					theirs(h, path)
				}
			}
			text := shown(t, m, h)
			if strings.Contains(text, planted) {
				t.Errorf("%s: a plan shows what somebody else has in a file:\n%s", name, text)
			}
			if want := `"old": "` + "sha256:"; !strings.Contains(text, want) {
				t.Errorf("%s: a plan shows no fingerprint of what is there:\n%s", name, text)
			}
		}
		// The same is seen where lines are shown, or the above would hold of any plan.
		h := m.bare(t)
		theirs(h, sh.ClusterPath)
		if text := shown(t, m, h); !strings.Contains(text, planted) {
			t.Errorf("a plan does not show the lines of %s:\n%s", sh.ClusterPath, text)
		}
	})
}

// What is wanted in such a file shows as little: the settings of a kubelet may log in somewhere.
func TestPlansShowNothingOfSecretFiles(t *testing.T) {
	m := newMachine(t, "cp1", "vm")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	header := map[string]any{"Authorization": []any{"Bearer " + planted}}
	m.cluster.KubeletConfig = map[string]any{"staticPodURLHeader": header}
	m.cluster.KubeletExtraArgs = map[string]string{"v": planted}
	m.cluster.Artifacts.RegistryMirrors = map[string][]string{"registry.k8s.io": {"http://" + planted + ":5000/v2/k8s"}}
	text := shown(t, m, h)
	for _, path := range []string{"/var/lib/kubelet/config.yaml", "/etc/systemd/system/kubelet.service", "/etc/containerd/certs.d/registry.k8s.io/hosts.toml"} {
		if !strings.Contains(text, "file:"+path) {
			t.Errorf("%s does not change:\n%s", path, text)
		}
	}
	if strings.Contains(text, planted) {
		t.Errorf("a plan shows what is wanted in a file:\n%s", text)
	}
}

// Of a static pod that we wrote ourselves, and nobody has touched, lines are shown: what an upgrade
// changes is worth knowing.
func TestPlansShowWhatChangesInOurPods(t *testing.T) {
	m := newMachine(t, "cp1", "vm")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	m.cluster.Scheduler.ExtraArgs = map[string]string{"v": "7"}
	if text := shown(t, m, h); !strings.Contains(text, "--v=7") {
		t.Errorf("the plan does not show the new flag:\n%s", text)
	}
}
