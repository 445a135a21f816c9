package resource_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/plan"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
)

// A host on which one thing changed by itself is reported with exactly that field, the
// change is mended, and nothing else is touched.
func TestDrift(t *testing.T) {
	const (
		config  = "/etc/runtime/config"
		runtime = "/usr/local/bin/runtime"
		agent   = "/usr/local/bin/agent"
		cert    = "/etc/pki/a.crt"
		key     = "/etc/pki/a.key"
		current = "/var/lib/kubelet/pki/current.pem"
		newest  = "/var/lib/kubelet/pki/kubelet-client-kubewright.pem"
		admin   = "/etc/kubernetes/admin.conf"
		pod     = "/etc/kubernetes/manifests/api.yaml"
	)
	tests := map[string]struct {
		change func(h *memhost.Host)
		// want lists "ID: field, field" of every resource that is reported.
		want []string
		// starts lists the units that are started again.
		starts []string
		// anew is set when the mended thing is another one, such as a new certificate.
		anew bool
	}{
		"file content": {
			change: func(h *memhost.Host) { h.File("/etc/sysctl.d/9.conf", 0o644, "net.bridge = 0\n") },
			want:   []string{"file:/etc/sysctl.d/9.conf: content"},
		},
		"file mode": {
			change: func(h *memhost.Host) { h.Nodes["/etc/sysctl.d/9.conf"].Mode = 0o666 },
			want:   []string{"file:/etc/sysctl.d/9.conf: mode"},
		},
		"file user":  {change: func(h *memhost.Host) { h.Nodes[config].UID = 1000 }, want: []string{"file:" + config + ": owner"}},
		"file group": {change: func(h *memhost.Host) { h.Nodes[config].GID = 1000 }, want: []string{"file:" + config + ": owner"}},
		"file gone": {
			change: func(h *memhost.Host) { delete(h.Nodes, "/etc/sysctl.d/9.conf") },
			want:   []string{"file:/etc/sysctl.d/9.conf: type, content"},
		},
		"file is a link to the same content": {
			change: func(h *memhost.Host) {
				h.Nodes["/root-config"] = h.Nodes["/etc/sysctl.d/9.conf"]
				h.Symlink("/etc/sysctl.d/9.conf", "/root-config")
			},
			want: []string{"file:/etc/sysctl.d/9.conf: type"},
		},
		"configuration of a unit": {
			change: func(h *memhost.Host) { h.File(config, 0o600, "drifted") },
			want:   []string{"file:" + config + ": content", "unit:runtime.service: restart"},
			starts: []string{"runtime.service"},
		},
		"mode of the configuration of a unit": {
			change: func(h *memhost.Host) { h.Nodes[config].Mode = 0o644 },
			want:   []string{"file:" + config + ": mode"},
		},
		"unit file": {
			change: func(h *memhost.Host) { h.File("/etc/systemd/system/runtime.service", 0o644, "[Service]\n") },
			want:   []string{"file:/etc/systemd/system/runtime.service: content", "unit:runtime.service: restart"},
			starts: []string{"runtime.service"},
		},
		"dir mode": {
			change: func(h *memhost.Host) { h.Nodes["/etc/runtime"].Mode = fs.ModeDir | 0o755 },
			want:   []string{"tree:/etc/runtime: mode"},
		},
		"dir owner": {change: func(h *memhost.Host) { h.Nodes["/etc/runtime"].GID = 5 }, want: []string{"tree:/etc/runtime: owner"}},
		"link target": {
			change: func(h *memhost.Host) { h.Nodes["/etc/systemd/system/swap.target"].Target = "/dev/zero" },
			want:   []string{"link:/etc/systemd/system/swap.target: target"},
		},
		"link is a file": {
			change: func(h *memhost.Host) { h.File("/etc/systemd/system/swap.target", 0o644, "[Unit]\n") },
			want:   []string{"link:/etc/systemd/system/swap.target: target"},
		},
		"parameter": {
			change: func(h *memhost.Host) { h.Sysctls["net.bridge.nf"] = "0" },
			want:   []string{"sysctl:net.bridge.nf: value"},
		},
		"module": {change: func(h *memhost.Host) { h.Modules["bridge"] = false }, want: []string{"module:bridge: loaded"}},
		"swap":   {change: func(h *memhost.Host) { h.Swaps = []string{"/dev/zram0"} }, want: []string{"swap:off: active"}},
		"unit stopped": {
			change: func(h *memhost.Host) { h.Units["agent.service"].Active = "failed" },
			want:   []string{"unit:agent.service: active"}, starts: []string{"agent.service"},
		},
		"unit disabled": {
			change: func(h *memhost.Host) { h.Units["agent.service"].Enabled = false },
			want:   []string{"unit:agent.service: enabled"},
		},
		"unit started with other inputs": {
			change: func(h *memhost.Host) { h.File(sh.UnitsDir+"/agent.service", 0o644, strings.Repeat("a", 64)+"\n") },
			want:   []string{"unit:agent.service: inputs"}, starts: []string{"agent.service"},
		},
		"unit started by we know not what": {
			change: func(h *memhost.Host) { delete(h.Nodes, sh.UnitsDir+"/agent.service") },
			want:   []string{"unit:agent.service: inputs"}, starts: []string{"agent.service"},
		},
		"binary bytes": {
			change: func(h *memhost.Host) { h.File(agent, 0o755, "EVIL") },
			want:   []string{"binary:" + agent + ": content", "unit:agent.service: restart"}, starts: []string{"agent.service"},
		},
		"binary from an archive": {
			change: func(h *memhost.Host) { h.File(runtime, 0o755, "EVIL") },
			want:   []string{"binary:" + runtime + ": content", "unit:runtime.service: restart"}, starts: []string{"runtime.service"},
		},
		"binary mode":  {change: func(h *memhost.Host) { h.Nodes[agent].Mode = 0o644 }, want: []string{"binary:" + agent + ": mode"}},
		"binary owner": {change: func(h *memhost.Host) { h.Nodes[agent].UID = 7 }, want: []string{"binary:" + agent + ": owner"}},
		"binary is a link to itself elsewhere": {
			change: func(h *memhost.Host) {
				h.Nodes["/opt/agent"] = h.Nodes[agent]
				h.Symlink(agent, "/opt/agent")
			},
			want: []string{"binary:" + agent + ": type", "unit:agent.service: restart"}, starts: []string{"agent.service"},
		},
		"certificate mode": {change: func(h *memhost.Host) { h.Nodes[cert].Mode = 0o666 }, want: []string{"cert:" + cert + ": mode of " + cert}},
		"key mode":         {change: func(h *memhost.Host) { h.Nodes[key].Mode = 0o644 }, want: []string{"cert:" + cert + ": mode of " + key}},
		"key owner":        {change: func(h *memhost.Host) { h.Nodes[key].UID = 1 }, want: []string{"cert:" + cert + ": owner of " + key}},
		"certificate gone": {
			change: func(h *memhost.Host) { delete(h.Nodes, cert) }, anew: true,
			want:   []string{"cert:" + cert + ": certificate", "pod:" + pod + ": content", "unit:agent.service: inputs, restart"},
			starts: []string{"agent.service"},
		},
		"key of another certificate": {
			change: func(h *memhost.Host) { h.Nodes[key].Content = mustIssue().KeyPEM.Reveal() }, anew: true,
			want:   []string{"cert:" + cert + ": certificate", "pod:" + pod + ": content", "unit:agent.service: inputs, restart"},
			starts: []string{"agent.service"},
		},
		"rotated certificate mode": {
			change: func(h *memhost.Host) { h.Nodes[newest].Mode = 0o644 },
			want:   []string{"cert:" + current + ": mode of " + current},
		},
		"rotated certificate points nowhere": {
			change: func(h *memhost.Host) { delete(h.Nodes, newest) }, anew: true,
			want:   []string{"cert:" + current + ": certificate", "unit:agent.service: restart"},
			starts: []string{"agent.service"},
		},
		"rotated by the kubelet itself": {
			change: func(h *memhost.Host) {
				p := mustIssue()
				h.File("/var/lib/kubelet/pki/newer.pem", 0o600, string(p.CertPEM)+string(p.KeyPEM.Reveal()))
				h.Nodes[current].Target = "newer.pem"
			},
		},
		"kubeconfig mode": {change: func(h *memhost.Host) { h.Nodes[admin].Mode = 0o644 }, want: []string{"file:" + admin + ": mode"}},
		"kubeconfig content": {
			change: func(h *memhost.Host) { h.Nodes[admin].Content = []byte("{}") }, anew: true,
			want: []string{"file:" + admin + ": content"},
		},
		"static pod": {
			change: func(h *memhost.Host) { h.Nodes[pod].Content = append(h.Nodes[pod].Content, "# edited\n"...) },
			want:   []string{"pod:" + pod + ": content"},
		},
		"static pod mode": {change: func(h *memhost.Host) { h.Nodes[pod].Mode = 0o644 }, want: []string{"pod:" + pod + ": mode"}},
		"byproduct":       {change: func(h *memhost.Host) { h.File("/var/lib/runtime/x", 0o600, "state") }},
		"a file of somebody else": {
			change: func(h *memhost.Host) { h.File("/etc/hosts", 0o644, "127.0.0.1 localhost\n") },
		},
	}
	f := memhost.Fixture{
		Host: bare, Loose: reissued,
		Groups: func(t testing.TB, h *memhost.Host) []plan.Group { return service(t, h, "1\n") },
	}
	applied := bare(t)
	f.Converge(t, applied)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := applied.Clone()
			tc.change(h)
			p := f.Plan(t, h)
			if diff := cmp.Diff(tc.want, report(p)); diff != "" {
				t.Fatalf("plan (-want +got):\n%s", diff)
			}
			for _, it := range p.Changes() {
				if !tc.anew && it.Status != plan.Drift {
					t.Errorf("%s is %s, want %s", it.Change.ID, it.Status, plan.Drift)
				}
			}
			if tasks := p.Tasks(nil); len(tc.want) == 0 {
				if len(tasks) > 0 {
					t.Errorf("nothing drifted, but this would be done: %v", tasks)
				}
				return
			}
			before := h.Clone()
			f.Converge(t, h)
			var starts []string
			for _, unit := range []string{"agent.service", "runtime.service", "sshd.service"} {
				if h.Units[unit].Starts != before.Units[unit].Starts {
					starts = append(starts, unit)
				}
			}
			if diff := cmp.Diff(tc.starts, starts); diff != "" {
				t.Errorf("units started (-want +got):\n%s", diff)
			}
			if tc.anew {
				return
			}
			for _, d := range h.Differences(applied, nil) {
				if !strings.HasPrefix(d, "/root-config") && !strings.HasPrefix(d, "/opt/agent") {
					t.Errorf("mended to something else: %s", d)
				}
			}
		})
	}
}

// report is what a plan says of each resource that is not as wanted.
func report(p plan.Host) []string {
	var lines []string
	for _, it := range p.Changes() {
		var fields []string
		for _, f := range it.Change.Fields {
			fields = append(fields, f.Name)
		}
		lines = append(lines, string(it.Change.ID)+": "+strings.Join(fields, ", "))
	}
	return lines
}
