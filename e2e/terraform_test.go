//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// terraformVersion is the version that is built among the artifacts.
const terraformVersion = "1.5.7"

// terraformConfiguration describes the nodes of a lab as if Terraform had made them.
const terraformConfiguration = `
variable "nodes" {
  type = object({ cp1 = string, workers = map(string) })
}

variable "workers" {
  type = number
}

variable "note" {
  type = string
}

variable "label" {
  type    = string
  default = "fine"
}

variable "ssh" {
  type = any
}

resource "terraform_data" "control_plane" {
  input = { name = "cp1", address = var.nodes.cp1 }
}

resource "terraform_data" "worker" {
  count = var.workers
  input = { name = "worker${count.index + 1}", address = var.nodes.workers["worker${count.index + 1}"] }
}

output "kubewright" {
  value = {
    apiVersion = "kubewright.io/v1alpha1"
    kind       = "Inventory"
    defaults   = { ssh = var.ssh }
    hosts = concat(
      [{ name = terraform_data.control_plane.output.name, address = terraform_data.control_plane.output.address, roles = ["control-plane"] }],
      [for w in terraform_data.worker : {
        name        = w.output.name
        address     = w.output.address
        roles       = ["worker"]
        labels      = { quality = var.label }
        annotations = { "example.com/note" = var.note }
      }],
    )
  }
}
`

// hostileNote would do something in a shell, and nothing as an annotation.
const hostileNote = "$(touch /tmp/pwned) `touch /tmp/pwned` ; touch /tmp/pwned 'x' \"y\"\n\\$HOME"

// terraform is the path of Terraform among the artifacts, without which the test is skipped.
func terraform(t testing.TB) string {
	t.Helper()
	path := filepath.Join(artifacts(), "bin", "terraform")
	out, err := exec.CommandContext(t.Context(), path, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "Terraform v"+terraformVersion+"\n") {
		t.Skipf("no Terraform %s among the artifacts (%s: %v): go run ./e2e/artifacts build -only terraform makes it", terraformVersion, path, err)
	}
	return path
}

// The nodes of a lab, described by Terraform, become a cluster; a changed count adds a worker.
func TestTerraform(t *testing.T) {
	long(t)
	path := terraform(t)
	l := newLab(t, labSpec{name: "e2e-tf", subnet: "10.140.0.0/24", controlPlanes: 1, workers: 2})
	x := &terraformLab{lab: l, dir: filepath.Join(l.dir, "infra"), vars: map[string]any{"workers": 1, "note": hostileNote}}
	x.prepare(t, path)

	x.run(t, "plan").want(t, exitBadInput).says(t, "there are no outputs: apply the Terraform configuration first, or run kubewright apply with --terraform-apply")

	x.set(t, "label", "$(touch /tmp/pwned)")
	x.run(t, "apply", "--yes", "--terraform-apply").want(t, exitBadInput).
		says(t, "Apply complete! Resources: 2 added", "kubewright.value.hosts[1].labels.quality: the value of a label must be empty or of letters")
	x.set(t, "label", "fine")

	x.run(t, "apply", "--yes", "--terraform-apply").want(t, exitDone).says(t, "Changes to Outputs:")
	x.wantNodes(t, "cp1", "worker1")
	x.run(t, "plan", "--detailed-exitcode").want(t, exitDone)

	x.set(t, "workers", 2)
	x.run(t, "plan", "--detailed-exitcode").want(t, exitDone) // Terraform was not told to apply it
	x.run(t, "apply", "--yes", "--terraform-apply").want(t, exitDone).says(t, "terraform_data.worker[1] will be created", "Resources: 1 added, 0 changed, 0 destroyed")
	x.wantNodes(t, "cp1", "worker1", "worker2")
	x.run(t, "verify", "--quick").want(t, exitDone)
	x.run(t, "plan", "--detailed-exitcode").want(t, exitDone)

	for _, n := range x.nodes(t) {
		if left := x.on(t, n.Name, "ls /tmp/pwned 2>&1 || true"); !strings.Contains(left, "No such file") {
			t.Errorf("%s has run what was only to be noted: %s", n.Name, left)
		}
	}
	const note = `KUBECONFIG=/etc/kubernetes/admin.conf kubectl get node worker2 -o 'jsonpath={.metadata.annotations.example\.com/note}'`
	if got := x.on(t, "cp1", note); got != hostileNote {
		t.Errorf("the annotation is %q, want %q", got, hostileNote)
	}
}

// terraformLab is a lab with a cluster file whose hosts come from Terraform.
type terraformLab struct {
	*lab
	dir  string // of the configuration
	vars map[string]any
}

// prepare writes the configuration, its variables and the cluster file.
func (x *terraformLab) prepare(t *testing.T, program string) {
	t.Helper()
	t.Setenv("TF_CLI_CONFIG_FILE", os.DevNull)
	t.Setenv("CHECKPOINT_DISABLE", "1")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(x.dir, "main.tf"), terraformConfiguration)
	workers, nodes := map[string]string{}, map[string]any{}
	for _, n := range x.nodes(t) {
		if n.Role == "worker" {
			workers[n.Name] = n.Address
		} else {
			nodes[n.Name] = n.Address
		}
	}
	nodes["workers"] = workers
	x.vars["nodes"] = nodes
	x.set(t, "ssh", map[string]any{"user": "root", "keyFile": "../id_ed25519", "knownHosts": []string{"../known_hosts"}})

	data, err := os.ReadFile(x.lab.file())
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(program)
	if err != nil {
		t.Fatal(err)
	}
	source := "  inventory:\n    terraform: {dir: infra, varFiles: [infra/lab.tfvars.json], binary: " + string(quoted) + "}\n"
	text := strings.Replace(string(data), "  inventory: inventory.yaml\n", source, 1)
	if text == string(data) {
		t.Fatalf("the cluster file of the lab names no inventory:\n%s", text)
	}
	write(x.file(), text)
}

// set changes a variable of the configuration.
func (x *terraformLab) set(t *testing.T, name string, value any) {
	t.Helper()
	x.vars[name] = value
	data, err := json.Marshal(x.vars)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "lab.tfvars.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (x *terraformLab) file() string { return filepath.Join(x.lab.dir, "terraform.yaml") }

// run runs a command of kubewright on the cluster.
func (x *terraformLab) run(t *testing.T, command string, args ...string) result {
	t.Helper()
	return kubewright(t, append([]string{command, "-f", x.file(), "--log", debugLog(t)}, args...)...)
}

// wantNodes checks that the nodes are those, and Ready.
func (x *terraformLab) wantNodes(t *testing.T, names ...string) {
	t.Helper()
	const ready = `KUBECONFIG=/etc/kubernetes/admin.conf kubectl get nodes -o 'jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}'`
	if got, want := x.on(t, "cp1", ready), strings.Join(names, "=True ")+"=True"; got != want {
		t.Errorf("nodes: %s, want %s", got, want)
	}
}
