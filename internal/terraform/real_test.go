package terraform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kubewright/internal/kube/apitest"
	"kubewright/inventory"
	outputs "kubewright/inventory/terraform"
)

// configuration describes hosts, and needs no provider that would have to be downloaded.
const configuration = `
variable "workers" {
  type    = number
  default = 1
}

variable "password" {
  type      = string
  default   = "hunter2"
  sensitive = true
}

resource "terraform_data" "worker" {
  count = var.workers
  input = { name = "w${count.index + 1}", address = "192.0.2.${count.index + 11}" }
}

output "kubewright" {
  value = {
    apiVersion = "kubewright.io/v1alpha1"
    kind       = "Inventory"
    hosts = [for w in terraform_data.worker : {
      name = w.output.name, address = w.output.address, roles = ["worker"], labels = null
    }]
  }
}

output "password" {
  value     = var.password
  sensitive = true
}
`

// configured makes a folder with a configuration, and returns it with the path of Terraform.
func configured(t *testing.T, text string) (path, dir string) {
	t.Helper()
	path = apitest.Binary(t, "terraform")
	dir = t.TempDir()
	t.Setenv("TF_CLI_CONFIG_FILE", os.DevNull)
	t.Setenv("CHECKPOINT_DISABLE", "1")
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// open opens a runner that is closed with the test, and whose output is kept.
func open(t *testing.T, c Config) (*Runner, *strings.Builder) {
	t.Helper()
	var out strings.Builder
	c.Out = &out
	r, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, &out
}

func agree(context.Context) error { return nil }

// hosts returns the names of the hosts that the outputs describe.
func hosts(t *testing.T, r *Runner) string {
	t.Helper()
	name, data, err := r.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, faults := outputs.Parse(name, data)
	placed, more := inventory.Resolve(parsed.Source)
	if err := append(faults, more...).Err(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range placed {
		names = append(names, p.Name+"="+p.Address)
	}
	return strings.Join(names, " ")
}

func TestRealTerraform(t *testing.T) {
	path, dir := configured(t, configuration)
	r, out := open(t, Config{Dir: dir, Binary: path})

	_, data, err := r.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, faults := outputs.Parse("o", data); len(faults) != 1 || !strings.Contains(faults[0].Message, "there are no outputs: apply the Terraform configuration first") {
		t.Errorf("before anything was applied: %v", faults)
	}

	no := errors.New("no")
	if err := r.Apply(t.Context(), func(context.Context) error { return no }); !errors.Is(err, no) {
		t.Fatalf("not confirmed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "terraform.tfstate")); !os.IsNotExist(err) {
		t.Errorf("something was applied: %v", err)
	}
	if err := r.Apply(t.Context(), agree); err != nil {
		t.Fatal(err)
	}
	if got, want := hosts(t, r), "w1=192.0.2.11"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
	for _, says := range []string{"terraform_data.worker[0] will be created", "Plan: 1 to add", "Apply complete! Resources: 1 added"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("%q is not shown:\n%s", says, out)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("a sensitive value is shown:\n%s", out)
	}

	again := func(context.Context) error { return errors.New("asked although nothing is to be changed") }
	if err := r.Apply(t.Context(), again); err != nil {
		t.Error(err)
	}

	vars := filepath.Join(t.TempDir(), "more.tfvars")
	if err := os.WriteFile(vars, []byte("workers = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ = open(t, Config{Dir: dir, Binary: path, VarFiles: []string{vars}})
	if err := r.Apply(t.Context(), agree); err != nil {
		t.Fatal(err)
	}
	if got, want := hosts(t, r), "w1=192.0.2.11 w2=192.0.2.12 w3=192.0.2.13"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
}

// A workspace is worked in without being selected, and one that is not there is not made.
func TestRealWorkspace(t *testing.T) {
	path, dir := configured(t, configuration)
	r, _ := open(t, Config{Dir: dir, Binary: path, Workspace: "staging"})
	if err := r.Apply(t.Context(), agree); err == nil || !strings.Contains(err.Error(), `has no workspace "staging"`) {
		t.Fatalf("error: %v", err)
	}
	terraform := func(words ...string) string {
		cmd := exec.CommandContext(t.Context(), path, words...)
		cmd.Dir = dir
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return strings.TrimSpace(string(said))
	}
	terraform("workspace", "new", "staging")
	terraform("workspace", "select", "default")
	if err := r.Apply(t.Context(), agree); err != nil {
		t.Fatal(err)
	}
	if got, want := hosts(t, r), "w1=192.0.2.11"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
	if selected := terraform("workspace", "show"); selected != "default" {
		t.Errorf("the folder was switched to %s", selected)
	}
	if in := terraform("output", "-json"); in != "{}" {
		t.Errorf("the workspace default was changed: %s", in)
	}
}

func TestRealFailure(t *testing.T) {
	path, dir := configured(t, "resource \"terraform_data\" \"x\" {\n  nosuch = 1\n}\n")
	r, _ := open(t, Config{Dir: dir, Binary: path})
	err := r.Apply(t.Context(), agree)
	if err == nil || !strings.Contains(err.Error(), "terraform plan in "+dir+": exit status 1\nError: Unsupported argument") {
		t.Errorf("error: %v", err)
	}
}

// An interrupt stops what is being made; what was made before it is in the state, which is not
// locked afterwards.
func TestRealInterrupt(t *testing.T) {
	path, dir := configured(t, `
resource "terraform_data" "made" {
  input = "x"
}

resource "terraform_data" "stuck" {
  depends_on = [terraform_data.made]
  provisioner "local-exec" {
    command = "mkfifo fifo && read line <fifo"
  }
}
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out strings.Builder
	r, err := Open(ctx, Config{Dir: dir, Binary: path, Out: writer(func(line string) {
		out.WriteString(line)
		if strings.HasPrefix(line, "terraform_data.stuck: Provisioning with 'local-exec'") {
			cancel()
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(ctx, agree); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "Interrupt received") {
		t.Errorf("Terraform was not interrupted:\n%s", out.String())
	}
	cmd := exec.CommandContext(t.Context(), path, "state", "list")
	cmd.Dir = dir
	if state, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(state), "terraform_data.made\n") {
		t.Errorf("the state: %v\n%s", err, state)
	}
	if _, err := os.Stat(filepath.Join(dir, ".terraform.tfstate.lock.info")); !os.IsNotExist(err) {
		t.Errorf("the state is locked: %v", err)
	}
}
