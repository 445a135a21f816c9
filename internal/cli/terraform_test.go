package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"kubewright/internal/fault"
	"kubewright/spec"
)

// terraformYAML is a cluster whose hosts stand in the outputs of Terraform.
const terraformYAML = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  inventory:
    terraform: {dir: .}
`

// fakeTerraform puts a program on the PATH that says it is Terraform, has the outputs, and writes
// down its commands. It returns what it was asked for.
func fakeTerraform(t *testing.T, outputs string) (asked func() string) {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
printf '%s ' "$1" >>"$CALLS"
case $1 in
version) echo '{"terraform_version": "1.5.7"}' ;;
init) echo "Initializing the backend..." ;;
plan) printf 'Terraform will perform\033[2J the following actions:\n\n  + it\n'; exit 2 ;;
apply) echo "Apply complete!" ;;
output) test -f "$OUTPUTS" && cat "$OUTPUTS" || { echo "Error: Backend initialization required" >&2; exit 1; } ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "terraform"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("CALLS", filepath.Join(dir, "calls"))
	t.Setenv("OUTPUTS", filepath.Join(dir, "outputs"))
	t.Setenv("TF_WORKSPACE", "")
	if outputs != "" {
		if err := os.WriteFile(filepath.Join(dir, "outputs"), []byte(outputs), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func() string {
		data, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
}

// terraformOutputs has a host that is reached through the port.
func terraformOutputs(port int) string {
	return `{"kubewright": {"sensitive": false, "type": "dynamic", "value": {
	"apiVersion": "kubewright.io/v1alpha1", "kind": "Inventory", "hosts": [
	{"name": "cp1", "address": "127.0.0.1", "nodeIP": "10.0.0.1", "roles": ["control-plane", "worker"], "ssh": {"trustOnFirstUse": true, "port": ` + strconv.Itoa(port) + `}}]}},
	"password": {"sensitive": true, "type": "string", "value": "hunter2"}}`
}

func TestInventoryFromTerraform(t *testing.T) {
	asked := fakeTerraform(t, terraformOutputs(22))
	file := write(t, "cluster.yaml", terraformYAML)
	got := kubewright(t, "inventory", "show", "-f", file).want(t, 0)
	if !strings.Contains(got.out, "cp1") || !strings.Contains(got.out, "10.0.0.1") || strings.Contains(got.out+got.err, "hunter2") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", got.out, got.err)
	}
	if asked() != "version output" {
		t.Errorf("Terraform was asked for %s", asked())
	}
}

func TestTerraformThatCannotBeRead(t *testing.T) {
	file := write(t, "cluster.yaml", terraformYAML)
	fakeTerraform(t, `{"kubewright": {"sensitive": false, "type": "string", "value": "hunter2"}}`)
	got := kubewright(t, "inventory", "show", "-f", file).
		want(t, int(fault.BadInput), "error: "+filepath.Dir(file)+"/terraform output -json: kubewright.value: expected a mapping, found text").nothing(t)
	if strings.Contains(got.err, "hunter2") {
		t.Errorf("the value is shown:\n%s", got.err)
	}
	fakeTerraform(t, "")
	kubewright(t, "inventory", "show", "-f", file).want(t, int(fault.Other),
		"error: terraform output in "+filepath.Dir(file)+": exit status 1\n  Error: Backend initialization required\n", "hint: if the folder was never initialized: terraform -chdir=").nothing(t)
	t.Setenv("PATH", t.TempDir())
	kubewright(t, "inventory", "show", "-f", file).want(t, int(fault.BadInput), "neither terraform nor tofu is on the PATH", "hint: install").nothing(t)
}

func TestTerraformApply(t *testing.T) {
	asked := fakeTerraform(t, terraformOutputs(closedPort))
	file := write(t, "cluster.yaml", terraformYAML)
	got := kubewright(t, "apply", "-f", file, "--terraform-apply", "--yes", "--reconnect-timeout", "1ms").want(t, int(fault.Unreachable),
		"Initializing the backend...\n", "Terraform will perform the following actions:\n\n  + it\n", "Apply complete!\n", "cp1: cannot reach 127.0.0.1")
	if asked() != "version init plan apply output" {
		t.Errorf("Terraform was asked for %s", asked())
	}
	if strings.Contains(got.err, "\x1b") {
		t.Errorf("what moves the cursor is passed on: %q", got.err)
	}

	asked = fakeTerraform(t, terraformOutputs(closedPort))
	events := kubewright(t, "apply", "-f", file, "--terraform-apply", "--yes", "-o", "json", "--reconnect-timeout", "1ms").want(t, int(fault.Unreachable)).events(t)
	if events[0].Kind != "notice" || events[0].Message != "Initializing the backend..." || asked() != "version init plan apply output" {
		t.Errorf("first event %+v, Terraform was asked for %s", events[0], asked())
	}

	asked = fakeTerraform(t, terraformOutputs(closedPort))
	kubewright(t, "apply", "-f", file, "--yes", "--reconnect-timeout", "1ms").want(t, int(fault.Unreachable))
	if asked() != "version output" {
		t.Errorf("without the flag, Terraform was asked for %s", asked())
	}
}

// While the cluster's file has faults, no machine is made.
func TestTerraformIsNotAppliedForAFaultyFile(t *testing.T) {
	asked := fakeTerraform(t, terraformOutputs(22))
	file := write(t, "cluster.yaml", strings.Replace(terraformYAML, "1.37.2", "1.2.3", 1))
	kubewright(t, "apply", "-f", file, "--terraform-apply", "--yes").want(t, int(fault.BadInput), "Kubernetes 1.2.3").nothing(t)
	if asked() != "" {
		t.Errorf("Terraform was asked for %s", asked())
	}
	file = write(t, "cluster.yaml", clusterYAML("name: a, address: 10.0.0.1, roles: [control-plane, worker]"))
	kubewright(t, "apply", "-f", file, "--terraform-apply", "--yes").want(t, int(fault.BadInput),
		"--terraform-apply: the hosts of this cluster do not come from Terraform", "hint: spec.inventory.terraform").nothing(t)
}

// Terraform's plan is asked about like kubewright's own.
func TestConfirmTerraform(t *testing.T) {
	const question = "Apply this Terraform plan? Only yes is taken as yes: "
	for _, tt := range []struct {
		name             string
		typed            string
		interactive, yes bool
		asks, stops      bool
		asked            string
	}{
		{"yes at a terminal", "yes\n", true, false, true, false, "version init plan apply output"},
		{"no at a terminal", "no\n", true, false, true, true, "version init plan"},
		{"nothing at a terminal", "", true, false, true, true, "version init plan"},
		{"not asked", "no\n", true, true, false, false, "version init plan apply output"},
		{"nobody there", "no\n", false, false, false, false, "version init plan apply output"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := fakeTerraform(t, terraformOutputs(22))
			var screen strings.Builder
			cmd := &cobra.Command{}
			cmd.SetContext(t.Context())
			cmd.SetErr(&screen)
			s := &terraformSource{cmd: cmd, apply: true, yes: tt.yes, prompt: prompt{in: strings.NewReader(tt.typed), out: &screen, interactive: tt.interactive}}
			name, outputs, err := s.outputs(spec.TerraformSource{Dir: t.TempDir()})
			if (err != nil) != tt.stops || tt.stops && fault.KindOf(err) != fault.Interrupted {
				t.Errorf("error: %v", err)
			}
			if !tt.stops && (name != "terraform output -json" || !strings.Contains(string(outputs), "127.0.0.1")) {
				t.Errorf("%s: %s", name, outputs)
			}
			if strings.Contains(screen.String(), question) != tt.asks || !strings.Contains(screen.String(), "  + it\n") {
				t.Errorf("screen:\n%s", screen.String())
			}
			if asked() != tt.asked {
				t.Errorf("Terraform was asked for %s", asked())
			}
		})
	}
}

// A question would stand in the way of JSON.
func TestTerraformDoesNotAskInJSON(t *testing.T) {
	asked := fakeTerraform(t, terraformOutputs(22))
	cmd := &cobra.Command{}
	var f format
	f.add(cmd)
	if err := cmd.Flags().Set(outputFlag, "json"); err != nil {
		t.Fatal(err)
	}
	s := &terraformSource{cmd: cmd, apply: true, prompt: prompt{interactive: true}}
	if _, _, err := s.outputs(spec.TerraformSource{Dir: t.TempDir()}); fault.KindOf(err) != fault.BadInput || asked() != "" {
		t.Errorf("error %v, Terraform was asked for %s", err, asked())
	}
}

// Whoever interrupts a run is told that Terraform is waited for.
func TestInterruptedTerraform(t *testing.T) {
	fakeTerraform(t, terraformOutputs(22))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var screen strings.Builder
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetErr(&screen)
	_, _, err := (&terraformSource{cmd: cmd}).outputs(spec.TerraformSource{Dir: t.TempDir()})
	if fault.KindOf(err) != fault.Interrupted || !strings.Contains(screen.String(), "interrupted: Terraform finishes what it is at") {
		t.Errorf("error %v, screen:\n%s", err, screen.String())
	}
}
