// Package terraform runs Terraform, or OpenTofu, in a folder of the user: it reads the outputs, and
// applies the configuration when asked to. What the outputs mean is the knowledge of
// inventory/terraform.
package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/terraform-exec/tfexec"

	"kubewright/internal/fault"
	"kubewright/internal/sh"
	"kubewright/spec/strict"
)

// versions are the versions of Terraform that are accepted, and of OpenTofu, which counts on from
// 1.5: older ones may hang after an interrupt.
const versions = ">= 1.1"

// lockTimeout is how long to wait for somebody else's lock of the state.
const lockTimeout = "2m"

// workspaceVariable is the environment variable that names a workspace.
const workspaceVariable = "TF_WORKSPACE"

// Config says which Terraform configuration to work with.
type Config struct {
	// Dir is the folder of the configuration.
	Dir string
	// Workspace is the workspace to work with. If empty, that of the environment variable
	// TF_WORKSPACE is, or else the one that is selected in the folder; no other gets selected.
	Workspace string
	// VarFiles are the files of variables for Apply; relative paths begin in the working directory.
	VarFiles []string
	// Binary is the name or the path of the program. If empty, terraform is looked for on the PATH,
	// then tofu.
	Binary string
	// Out is where the program's own output goes while it prepares, plans and applies.
	Out io.Writer
}

// program is what is needed of tfexec.Terraform.
type program interface {
	Version(ctx context.Context, skipCache bool) (*version.Version, map[string]*version.Version, error)
	Init(ctx context.Context, opts ...tfexec.InitOption) error
	Plan(ctx context.Context, opts ...tfexec.PlanOption) (bool, error)
	Apply(ctx context.Context, opts ...tfexec.ApplyOption) error
	Output(ctx context.Context, opts ...tfexec.OutputOption) (map[string]tfexec.OutputMeta, error)
}

// lister is what is needed of tfexec.Terraform outside of the workspace: within it, the program adds
// words to its list that terraform-exec takes for the name of a workspace.
type lister interface {
	WorkspaceList(ctx context.Context, opts ...tfexec.WorkspaceListOption) ([]string, string, error)
}

// Runner runs the program in one folder. When a context ends, the program gets an interrupt, and
// is waited for: killed in the middle, it would leave its state locked, or wrong.
type Runner struct {
	config  Config
	name    string // terraform or tofu
	program program
	lister  lister
	screen  screen // what the program prints
	private string // folder for what nobody else is to see
}

// screen passes on what is written while there is somewhere to show it.
type screen struct{ to io.Writer }

func (s *screen) Write(p []byte) (int, error) {
	if s.to == nil {
		return len(p), nil
	}
	return s.to.Write(p)
}

// Open finds the program and checks its version. Close is to be called in the end.
func Open(ctx context.Context, c Config) (*Runner, error) {
	path, err := find(c.Binary)
	if err != nil {
		return nil, err
	}
	r := &Runner{config: c, name: strings.TrimSuffix(filepath.Base(path), ".exe")}
	if r.config.Workspace == "" {
		r.config.Workspace = os.Getenv(workspaceVariable)
	}
	if r.private, err = os.MkdirTemp("", "kubewright-terraform-"); err != nil {
		return nil, err
	}
	if err := r.open(ctx, path); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Runner) open(ctx context.Context, path string) error {
	tf, err := r.at(path)
	if err != nil {
		return err
	}
	r.program, r.lister = tf, tf
	if r.config.Workspace != "" {
		if path, err = r.inWorkspace(path); err != nil {
			return err
		}
		if r.program, err = r.at(path); err != nil {
			return err
		}
	}
	return r.checkVersion(ctx)
}

// at is the program at a path, to be run in the folder.
func (r *Runner) at(path string) (*tfexec.Terraform, error) {
	tf, err := tfexec.NewTerraform(r.config.Dir, path)
	if err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	tf.SetStdout(&r.screen)
	err = tf.SetWaitDelay(0) // no limit: it is waited for until it ends
	return tf, err
}

// Close removes what was kept while the program was worked with.
func (r *Runner) Close() error { return os.RemoveAll(r.private) }

// find returns the absolute path of the program.
func find(binary string) (string, error) {
	names := []string{binary}
	if binary == "" {
		names = []string{"terraform", "tofu"}
	}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			return filepath.Abs(path)
		}
		if binary != "" {
			return "", fault.New(fault.BadInput, "the program for Terraform cannot be run: %w", err).
				WithHint("spec.inventory.terraform.binary is the name of a program on the PATH, or the path of one")
		}
	}
	return "", fault.New(fault.BadInput, "the hosts stand in the outputs of Terraform, but neither terraform nor tofu is on the PATH").
		WithHint("install Terraform or OpenTofu, or name the program in spec.inventory.terraform.binary")
}

// inWorkspace makes a program that runs the one at the path in the workspace. The variable for that
// is one that terraform-exec takes out of the environment, and `workspace select` would switch the
// folder under whoever else works in it.
func (r *Runner) inWorkspace(path string) (string, error) {
	script := "#!/bin/sh\nexport " + workspaceVariable + "=" + sh.Quote(r.config.Workspace) + "\nexec " + sh.Quote(path) + ` "$@"` + "\n"
	path = filepath.Join(r.private, r.name)
	return path, os.WriteFile(path, []byte(script), 0o700) //nolint:gosec // it is to be run, by nobody else
}

func (r *Runner) checkVersion(ctx context.Context) error {
	found, _, err := r.program.Version(ctx, true)
	if err != nil {
		return r.failed("version", err)
	}
	wanted, err := version.NewConstraint(versions)
	if err != nil {
		return err
	}
	if !wanted.Check(found.Core()) { // a release candidate is as good as its release
		return fault.New(fault.BadInput, "%s is of version %s, but %s is needed", r.name, found, versions).
			WithHint("install a newer one, or name another program in spec.inventory.terraform.binary")
	}
	return nil
}

// Outputs returns the outputs as `terraform output -json` prints them, those that are sensitive
// included, and what to call them in messages. Nothing is changed.
func (r *Runner) Outputs(ctx context.Context) (name string, outputs []byte, err error) {
	name = r.name + " output -json"
	if err := r.checkWorkspace(ctx); err != nil {
		return name, nil, err
	}
	values, err := r.program.Output(ctx)
	if err != nil {
		return name, nil, r.failed("output", err).
			WithHint("if the folder was never initialized: %s -chdir=%s init; or run kubewright apply with --terraform-apply", r.name, sh.Quote(r.config.Dir))
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(values)
	return name, out.Bytes(), err
}

// Apply prepares the folder, shows the plan, and carries it out, and nothing else, if confirm
// agrees. Where nothing is to be changed, confirm is not asked.
func (r *Runner) Apply(ctx context.Context, confirm func(context.Context) error) error {
	varFiles, err := r.varFiles()
	if err != nil {
		return err
	}
	// Before, because init makes a workspace that is not there; and after, because a folder that
	// was never prepared may not know its workspaces yet.
	if err := r.checkWorkspace(ctx); fault.KindOf(err) == fault.BadInput {
		return err
	}
	r.screen.to = r.config.Out
	defer func() { r.screen.to = nil }() // outputs are not for everybody
	if err := r.program.Init(ctx); err != nil {
		return r.failed("init", err)
	}
	r.screen.to = nil
	if err := r.checkWorkspace(ctx); err != nil {
		return err
	}
	r.screen.to = r.config.Out
	plan := filepath.Join(r.private, "plan") // has secrets in it
	options := []tfexec.PlanOption{tfexec.Out(plan), tfexec.LockTimeout(lockTimeout)}
	for _, path := range varFiles {
		options = append(options, tfexec.VarFile(path))
	}
	changes, err := r.program.Plan(ctx, options...)
	if err != nil {
		return r.failed("plan", err)
	}
	if !changes {
		return nil
	}
	if err := confirm(ctx); err != nil {
		return err
	}
	if err := r.program.Apply(ctx, tfexec.DirOrPlan(plan), tfexec.LockTimeout(lockTimeout)); err != nil {
		return r.failed("apply", err).WithHint("run the same command again: what was made is in Terraform's state, and the rest is planned anew")
	}
	return nil
}

// varFiles are the files of variables as seen from any folder.
func (r *Runner) varFiles() ([]string, error) {
	paths := make([]string, len(r.config.VarFiles))
	for i, path := range r.config.VarFiles {
		var err error
		if paths[i], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// checkWorkspace refuses a workspace that is not there: the program would take it for a new and
// empty one, and plan to make every machine again.
func (r *Runner) checkWorkspace(ctx context.Context) error {
	wanted := r.config.Workspace
	if wanted == "" {
		return nil
	}
	there, _, err := r.lister.WorkspaceList(ctx)
	if err != nil {
		return r.failed("workspace list", err)
	}
	if slices.Contains(there, wanted) {
		return nil
	}
	hint := fmt.Sprintf("there is %s; to make it: %s -chdir=%s workspace new %s",
		strings.Join(there, ", "), r.name, sh.Quote(r.config.Dir), sh.Quote(wanted))
	if near := strict.Nearest(wanted, there); near != "" {
		hint = "did you mean " + near + "? Otherwise, " + hint
	}
	return fault.New(fault.BadInput, "%s has no workspace %q", r.config.Dir, wanted).WithHint("%s", hint)
}

// failed is the error of a command of the program, in whose output it says why.
func (r *Runner) failed(command string, err error) *fault.Error {
	return fault.New(fault.Other, "%w", &said{err}).During(r.name + " " + command + " in " + r.config.Dir)
}

// said is an error with the output of the program, without its empty lines.
type said struct{ error }

func (s *said) Error() string {
	var lines []string
	for line := range strings.Lines(s.error.Error()) {
		if line = strings.TrimRight(line, " \r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the error as it was.
func (s *said) Unwrap() error { return s.error }
