package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"kubewright/e2e/lab"
)

//go:embed files/python.sh
var pythonScript string

//go:embed files/resources.sh
var resourcesScript string

// missing is why something was not measured on this machine, and what to do about it.
type missing struct{ what, remedy string }

func (m *missing) Error() string { return m.what + ": " + m.remedy }

// asked is one resource of a host, as its manifest names it.
type asked struct {
	kind, name string
	// Of a file: its permission bits, and what is in it.
	mode    string
	content []byte
}

// prepared is a lab of prepared hosts that several comparisons look at.
type prepared struct {
	*testbed
	resources []asked // of a worker
}

// planned compares a plan of prepared hosts, with nothing to do, with others that look at the same. Both
// comparisons are made on one lab; where that cannot be made, neither is.
func (b *bench) planned(hosts int, subnet string) []comparison {
	var p *prepared
	var failed error
	setUp := func(ctx context.Context) (func() error, error) {
		if p == nil && failed == nil {
			p, failed = b.prepare(ctx, labSpec{name: fmt.Sprintf("bench-plan-%d", hosts), subnet: subnet, topology: topology{controlPlanes: 1, workers: hosts - 1}})
		}
		return func() error { return nil }, failed
	}
	plan := contender{"kubewright", timed(func(ctx context.Context, id string) error {
		return p.tool(ctx, id, "plan", "--phase", preparation, "--detailed-exitcode", "--stats")
	})}
	const floorLimit, ansibleLimit, often = 1.3, 0.02, 5
	shared := fmt.Sprintf("plan-%d", hosts)
	what := fmt.Sprintf("%d prepared hosts on which the phases %s have nothing to do: a plan of them", hosts, preparation)
	return []comparison{
		{
			name: shared, shares: shared, what: what + ", and one connection of OpenSSH a host that runs one script, all at once",
			limit: floorLimit, repetitions: often, setUp: setUp, subject: plan,
			yardstick: contender{"ssh", timed(func(ctx context.Context, _ string) error {
				script := p.probe()
				return sideBySide(p.state.Nodes, func(n lab.Node) error {
					argv, err := p.ssh(n.Name)
					if err == nil {
						_, err = p.run.Run(ctx, argv, strings.NewReader(script))
					}
					return err
				})
			})},
		},
		{
			name: shared + "-ansible", shares: shared, what: what + ", and a playbook of Ansible with the resources of a worker, pipelining, and as many forks as hosts",
			limit: ansibleLimit, repetitions: 1, subject: plan,
			yardstick: contender{"ansible", timed(func(ctx context.Context, id string) error { return p.playbook(ctx, id) })},
			setUp: func(ctx context.Context) (func() error, error) {
				if _, err := exec.LookPath("ansible-playbook"); err != nil {
					return nil, &missing{"there is no ansible-playbook", "apt-get install --no-install-recommends ansible-core"}
				}
				down, err := setUp(ctx)
				if err == nil {
					err = p.givePython(ctx)
				}
				return down, err
			},
		},
	}
}

// prepare makes a lab of prepared hosts, which is there until the last comparison on it is made.
func (b *bench) prepare(ctx context.Context, spec labSpec) (*prepared, error) {
	made, down, err := b.makeLab(ctx, spec, strings.TrimPrefix(spec.name, "bench-"))
	if err != nil {
		return nil, err
	}
	b.atEnd = append(b.atEnd, func() error { return down(nil) })
	if err := made.tool(ctx, "prepare", "apply", "--yes", "--phase", preparation); err != nil {
		return nil, fmt.Errorf("preparing the nodes: %w", err)
	}
	resources, err := made.resources(ctx)
	if err != nil {
		return nil, err
	}
	return &prepared{made, resources}, nil
}

// givePython puts this machine's Python on all nodes: Ansible needs one, and the nodes have none.
func (t *testbed) givePython(ctx context.Context) error {
	packed, err := t.run.Run(ctx, []string{"sh", "-c", pythonScript}, nil)
	if err != nil {
		return fmt.Errorf("packing this machine's Python: %w", err)
	}
	return sideBySide(t.state.Nodes, func(n lab.Node) error {
		argv, err := lab.SSH(t.dir, t.state, n.Name, []string{"tar -xz -C / && python3 -c 'import json, zipfile, subprocess, hashlib'"})
		if err == nil {
			_, err = t.run.Run(ctx, argv, bytes.NewReader(packed))
		}
		return err
	})
}

// resources are those of a worker.
func (t *testbed) resources(ctx context.Context) ([]asked, error) {
	worker := t.nodes(lab.RoleWorker)[0].Name
	out, err := t.on(ctx, worker, "resources", resourcesScript)
	if err != nil {
		return nil, err
	}
	return parseResources(out)
}

// parseResources reads lines of ID, permission bits and content in base64, the latter two for files only.
func parseResources(out string) ([]asked, error) {
	var all []asked
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		kind, name, ok := strings.Cut(fields[0], ":")
		a := asked{kind: kind, name: name}
		const ofFile = 3
		switch {
		case kind == "file" && len(fields) == ofFile:
			content, err := base64.StdEncoding.DecodeString(fields[2])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fields[0], err)
			}
			a.mode, a.content = fields[1], content
		case !ok || kind == "file" || len(fields) != 1:
			return nil, fmt.Errorf("no resource: %q", line)
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, errors.New("the manifest of a prepared host lists nothing")
	}
	return all, nil
}

// of are the names of the resources of some kinds.
func (p *prepared) of(kinds ...string) string {
	var names []string
	for _, a := range p.resources {
		for _, kind := range kinds {
			if a.kind == kind {
				names = append(names, "'"+a.name+"'")
			}
		}
	}
	return strings.Join(names, " ")
}

// probe is a script that looks at the same as a plan does, and no more.
func (p *prepared) probe() string {
	return fmt.Sprintf(`stat -c '%%n %%f %%u %%g %%s' %s
sha256sum %s
systemctl show -p Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload %s
for k in %s; do sysctl -n "$k"; done
cat /proc/modules /proc/filesystems /proc/swaps /var/lib/kubewright/manifest 2>/dev/null || true
`, p.of("file", "dir", "link", "binary"), p.of("file"), p.of("unit"), p.of("sysctl"))
}

// playbook has Ansible look at the same: with the module of each kind where ansible-core has one, else with a
// command that changes nothing.
func (p *prepared) playbook(ctx context.Context, id string) error {
	dir, err := os.MkdirTemp("", "bench-ansible-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var tasks []map[string]any
	for i, a := range p.resources {
		task, err := ansibleTask(a, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		if task != nil {
			tasks = append(tasks, task)
		}
	}
	play, err := json.Marshal([]map[string]any{{"hosts": "all", "gather_facts": true, "tasks": tasks}}) // JSON is YAML
	if err != nil {
		return err
	}
	known, key := filepath.Join(p.dir, "known_hosts"), filepath.Join(p.dir, "id_ed25519")
	var hosts strings.Builder
	for _, n := range p.state.Nodes {
		fmt.Fprintf(&hosts, "%s ansible_host=%s ansible_user=root ansible_ssh_private_key_file=%s ansible_python_interpreter=/usr/bin/python3 ansible_ssh_common_args='-o UserKnownHostsFile=%s'\n", n.Name, n.Address, key, known)
	}
	config := fmt.Sprintf("[defaults]\nforks = %d\n[ssh_connection]\npipelining = true\n", len(p.state.Nodes))
	for name, content := range map[string]string{"play.yml": string(play), "hosts": hosts.String(), "ansible.cfg": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	argv := []string{"env", "LC_ALL=C.UTF-8", "ANSIBLE_CONFIG=" + dir + "/ansible.cfg", "ansible-playbook", "-i", dir + "/hosts", dir + "/play.yml"}
	out, err := p.kept(ctx, id, argv, "")
	if err == nil && !strings.Contains(out, "changed=0") {
		err = errors.New("the playbook found something to change:\n" + string(tail([]byte(out))))
	}
	return err
}

// ansibleTask is the task for a resource; nil for what a plan does not look at. file is where its content may be put.
func ansibleTask(a asked, file string) (map[string]any, error) {
	command := func(argv ...string) map[string]any {
		return map[string]any{"command": map[string]any{"argv": argv}, "changed_when": false}
	}
	switch a.kind {
	case "file":
		err := os.WriteFile(file, a.content, 0o600)
		return map[string]any{"copy": map[string]any{"src": file, "dest": a.name, "mode": a.mode, "owner": "root", "group": "root"}}, err
	case "dir":
		return map[string]any{"file": map[string]any{"path": a.name, "state": "directory"}}, nil
	case "link":
		return map[string]any{"stat": map[string]any{"path": a.name}}, nil
	case "binary":
		return map[string]any{"stat": map[string]any{"path": a.name, "get_checksum": false}}, nil
	case "unit":
		return map[string]any{"systemd": map[string]any{"name": a.name, "state": "started", "enabled": true}}, nil
	case "sysctl":
		return command("sysctl", "-n", a.name), nil
	case "module":
		return command("sh", "-c", "grep -qw "+a.name+" /proc/modules /proc/filesystems || test -d /sys/module/"+a.name+" || test -d /proc/sys/net/bridge"), nil
	}
	return nil, nil
}
