package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-exec/tfexec"

	"kubewright/internal/fault"
)

// fake is a program in memory, which writes down what it is asked for.
type fake struct {
	version string
	changes bool
	fails   string // the command that fails
	calls   []string
	out     io.Writer
}

// failure is what terraform-exec makes of a program that fails.
const failure = "exit status 1\n\nError: no\n\n  why it is so\n"

func (f *fake) call(command, says string) error {
	f.calls = append(f.calls, command)
	_, _ = io.WriteString(f.out, says)
	if f.fails == command {
		return errors.New(failure)
	}
	return nil
}

func (f *fake) Version(context.Context, bool) (*version.Version, map[string]*version.Version, error) {
	return version.Must(version.NewVersion(f.version)), nil, f.call("version", "")
}

func (f *fake) WorkspaceList(context.Context, ...tfexec.WorkspaceListOption) ([]string, string, error) {
	return []string{"default", "staging"}, "default", f.call("workspace list", "* default\n")
}

func (f *fake) Init(context.Context, ...tfexec.InitOption) error { return f.call("init", "ready\n") }

func (f *fake) Plan(context.Context, ...tfexec.PlanOption) (bool, error) {
	return f.changes, f.call("plan", "the plan\n")
}

func (f *fake) Apply(context.Context, ...tfexec.ApplyOption) error {
	return f.call("apply", "done\n")
}

func (f *fake) Output(context.Context, ...tfexec.OutputOption) (map[string]tfexec.OutputMeta, error) {
	return map[string]tfexec.OutputMeta{"kubewright": {Value: json.RawMessage(`"<x>"`), Type: json.RawMessage(`"string"`)}},
		f.call("output", "hunter2\n")
}

// runner works with the fake.
func (f *fake) runner(out io.Writer, workspace string) *Runner {
	r := &Runner{config: Config{Dir: "infra", Workspace: workspace, Out: out}, name: "terraform", program: f, lister: f, private: "/nowhere"}
	f.out = &r.screen
	return r
}

func TestApply(t *testing.T) {
	refused := fault.New(fault.Interrupted, "not confirmed")
	for name, tt := range map[string]struct {
		fake      fake
		workspace string
		confirm   error
		calls     []string
		out       string
		err       string
	}{
		"changes":     {fake: fake{changes: true}, calls: []string{"init", "plan", "confirm", "apply"}, out: "ready\nthe plan\ndone\n"},
		"no changes":  {calls: []string{"init", "plan"}, out: "ready\nthe plan\n"},
		"refused":     {fake: fake{changes: true}, confirm: refused, calls: []string{"init", "plan", "confirm"}, out: "ready\nthe plan\n", err: "not confirmed"},
		"init fails":  {fake: fake{changes: true, fails: "init"}, calls: []string{"init"}, out: "ready\n", err: "terraform init in infra: exit status 1\nError: no\n  why it is so"},
		"plan fails":  {fake: fake{changes: true, fails: "plan"}, calls: []string{"init", "plan"}, out: "ready\nthe plan\n", err: "terraform plan in infra: exit status 1"},
		"apply fails": {fake: fake{changes: true, fails: "apply"}, calls: []string{"init", "plan", "confirm", "apply"}, out: "ready\nthe plan\ndone\n", err: "terraform apply in infra: exit status 1"},
		"workspace":   {workspace: "staging", calls: []string{"workspace list", "init", "workspace list", "plan"}, out: "ready\nthe plan\n"},
		"misspelt":    {workspace: "stagin", calls: []string{"workspace list"}, err: `infra has no workspace "stagin"`},
		"list fails":  {fake: fake{fails: "workspace list"}, workspace: "staging", calls: []string{"workspace list", "init", "workspace list"}, out: "ready\n", err: "terraform workspace list in infra"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := tt.fake.runner(&out, tt.workspace).Apply(t.Context(), func(context.Context) error {
				tt.fake.calls = append(tt.fake.calls, "confirm")
				return tt.confirm
			})
			if diff := cmp.Diff(tt.calls, tt.fake.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if out.String() != tt.out {
				t.Errorf("shown: %q, want %q", out.String(), tt.out)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// What is read is not shown: sensitive values are in it.
func TestOutputsAreNotShown(t *testing.T) {
	var out strings.Builder
	f := &fake{changes: true}
	r := f.runner(&out, "")
	if err := r.Apply(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	name, outputs, err := r.Outputs(t.Context())
	if want := `{"kubewright":{"sensitive":false,"type":"string","value":"<x>"}}` + "\n"; err != nil || string(outputs) != want || name != "terraform output -json" {
		t.Errorf("%s: %s, %v", name, outputs, err)
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Errorf("shown: %s", out.String())
	}
}

func TestOutputsFail(t *testing.T) {
	f := &fake{fails: "output"}
	_, _, err := f.runner(io.Discard, "").Outputs(t.Context())
	if err == nil || fault.KindOf(err) != fault.Other || !strings.Contains(err.Error(), "terraform output in infra: exit status 1\nError: no") {
		t.Errorf("error: %v", err)
	}
	if hints := strings.Join(fault.Hints(err), " "); !strings.Contains(hints, "terraform -chdir=infra init") {
		t.Errorf("hints: %s", hints)
	}
	_, _, err = (&fake{}).runner(io.Discard, "prod").Outputs(t.Context())
	if fault.KindOf(err) != fault.BadInput || !strings.Contains(err.Error(), `no workspace "prod"`) {
		t.Errorf("error: %v", err)
	}
}

func TestVersion(t *testing.T) {
	for version, good := range map[string]bool{
		"0.15.5": false, "1.0.11": false, "1.1.0": true, "1.5.7": true, "1.14.0": true, "1.10.6": true, "1.13.0-rc2": true, "2.0.0": true, "1.1.0-beta1": true,
	} {
		f := &fake{version: version}
		err := f.runner(io.Discard, "").checkVersion(t.Context())
		switch {
		case good && err != nil:
			t.Errorf("%s: %v", version, err)
		case !good && (fault.KindOf(err) != fault.BadInput || !strings.Contains(err.Error(), "terraform is of version "+version+", but >= 1.1 is needed")):
			t.Errorf("%s: %v", version, err)
		}
	}
}

// script puts an executable of the name into a folder.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// answers is a program that writes down its words, its folder and its environment, and answers like
// Terraform.
const answers = `printf '%s | %s | %s | %s | %s\n' "$*" "$PWD" "${TF_WORKSPACE-none}" "$TF_VAR_count" "$TF_INPUT" >>"$CALLS"
case $1 in
version) echo '{"terraform_version": "1.5.7", "provider_selections": {}}' ;;
workspace) printf '* default\n  a$HOME&b\n' ;;
plan) echo "the plan"; exit 2 ;;
apply) test -f "$(eval echo \${$#})" || echo "no plan" ;;
output) echo '{"kubewright": {"sensitive": false, "type": "string", "value": "x"}}' ;;
esac
`

// calls returns what a program was called with, and empties the list.
func calls(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(os.Getenv("CALLS"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(os.Getenv("CALLS"), 0); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// The command lines and the environment, as a program on the PATH sees them.
func TestCommandLines(t *testing.T) {
	path, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+":/usr/bin:/bin")
	t.Setenv("CALLS", filepath.Join(t.TempDir(), "calls"))
	t.Setenv("TF_VAR_count", "3 $(x)")
	t.Setenv("TF_WORKSPACE", "")
	script(t, path, "tofu", answers)
	t.Chdir(filepath.Dir(dir))

	r, err := Open(t.Context(), Config{Dir: dir, VarFiles: []string{"it's $(x).tfvars"}, Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	name, outputs, err := r.Outputs(t.Context())
	if err != nil || name != "tofu output -json" || !strings.Contains(string(outputs), `"value":"x"`) {
		t.Fatalf("%s: %s, %v", name, outputs, err)
	}
	end := " | " + dir + " |  | 3 $(x) | "
	plan := filepath.Join(r.private, "plan")
	want := []string{
		"version -json" + end,
		"init -no-color -input=false -backend=true -get=true -upgrade=false" + end,
		"plan -no-color -input=false -detailed-exitcode -lock-timeout=2m -out=" + plan + " -var-file=" + filepath.Dir(dir) + "/it's $(x).tfvars -lock=true -parallelism=10 -refresh=true" + end,
		"apply -no-color -auto-approve -input=false -lock-timeout=2m -lock=true -parallelism=10 -refresh=true " + plan + end,
		"output -no-color -json" + end,
	}
	got := calls(t)
	for i := range got { // terraform-exec takes the variable out, which is as good as empty
		got[i] = strings.Replace(got[i], "| none |", "|  |", 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(r.private); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the plan: %v, %v", info.Mode(), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.private); !os.IsNotExist(err) {
		t.Errorf("the folder of the plan stays: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there are files in the folder of the user: %v, %v", entries, err)
	}
}

// The workspace is in the environment of the commands; the folder's own selection stays.
func TestWorkspace(t *testing.T) {
	path, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+":/usr/bin:/bin")
	t.Setenv("CALLS", filepath.Join(t.TempDir(), "calls"))
	script(t, path, "terraform", answers)
	for _, from := range []string{"spec", "environment"} {
		c := Config{Dir: dir, Out: io.Discard}
		if from == "spec" {
			c.Workspace = "a$HOME&b"
			t.Setenv("TF_WORKSPACE", "other")
		} else {
			t.Setenv("TF_WORKSPACE", "a$HOME&b")
		}
		r, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Outputs(t.Context()); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		var got []string
		for _, call := range calls(t) {
			words := strings.Split(call, " | ")
			got = append(got, words[0]+" in "+words[2])
		}
		want := []string{"version -json in a$HOME&b", "workspace list -no-color in none", "output -no-color -json in a$HOME&b"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: calls (-want +got):\n%s", from, diff)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	empty, dir, log := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "calls")
	t.Setenv("CALLS", log)
	good := script(t, t.TempDir(), "terraform", answers)
	old := script(t, t.TempDir(), "terraform", `echo '{"terraform_version": "0.15.5"}'`)
	broken := script(t, t.TempDir(), "terraform", "echo oops >&2; exit 3")
	for name, tt := range map[string]struct {
		config     Config
		want, hint string
	}{
		"no program":    {Config{Dir: dir}, "neither terraform nor tofu is on the PATH", "install Terraform or OpenTofu"},
		"no such name":  {Config{Dir: dir, Binary: "terraform-9"}, "the program for Terraform cannot be run", "spec.inventory.terraform.binary"},
		"no such path":  {Config{Dir: dir, Binary: "/nowhere/terraform"}, "no such file", "spec.inventory.terraform.binary"},
		"no such dir":   {Config{Dir: dir + "/nowhere", Binary: good}, "nowhere", ""},
		"too old":       {Config{Dir: dir, Binary: old}, "terraform is of version 0.15.5, but >= 1.1 is needed", "install a newer one"},
		"no version":    {Config{Dir: dir, Binary: broken}, "terraform version in " + dir + ": ", ""},
		"not a program": {Config{Dir: dir, Binary: filepath.Dir(log)}, "cannot be run", "spec.inventory.terraform.binary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", empty)
			if name == "too old" || name == "no version" {
				t.Setenv("PATH", "/usr/bin:/bin")
			}
			t.Setenv("TMPDIR", t.TempDir())
			_, err := Open(t.Context(), tt.config)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error: %v, want %s", err, tt.want)
			}
			if hints := strings.Join(fault.Hints(err), " "); !strings.Contains(hints, tt.hint) {
				t.Errorf("hints: %s, want %s", hints, tt.hint)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// An interrupt reaches the program, which may finish; Apply does not return before that.
func TestCancel(t *testing.T) {
	dir := t.TempDir()
	at, finished := filepath.Join(dir, "at"), filepath.Join(dir, "finished")
	t.Setenv("AT", at)
	t.Setenv("FINISHED", finished)
	fifo := filepath.Join(dir, "fifo")
	t.Setenv("FIFO", fifo)
	path := script(t, t.TempDir(), "terraform", `case $1 in
version) echo '{"terraform_version": "1.5.7"}' ;;
plan) exit 2 ;;
apply)
	trap 'echo "Gracefully shutting down"; echo yes >"$FINISHED"; exit 1' INT
	mkfifo "$FIFO"
	echo "Creating"
	read -r line <"$FIFO" ;;
esac
`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out strings.Builder
	r, err := Open(ctx, Config{Dir: dir, Binary: path, Out: writer(func(line string) {
		out.WriteString(line)
		if line == "Creating\n" {
			cancel()
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Apply(ctx, func(context.Context) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	if data, err := os.ReadFile(finished); err != nil || string(data) != "yes\n" {
		t.Errorf("the program did not finish: %q, %v", data, err)
	}
	if out.String() != "Creating\nGracefully shutting down\n" {
		t.Errorf("shown: %q", out.String())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Outputs(ctx); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Interrupted {
		t.Errorf("after the end: %v", err)
	}
}

// writer is a function as a writer.
type writer func(line string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}
