package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// builder turns groups into outputs. here is the folder of this program in the repository.
type builder struct {
	cache
	here string
}

// buildDir holds the binaries of a group, relative to the cache.
func buildDir(g Group) string { return filepath.Join("build", g.Name+"-"+g.Version) }

// binariesStep compiles the group. Which files and images are made of it is no input.
func (b builder) binariesStep(g Group) (step, error) {
	inputs := new(digester).
		value([]string{runtime.Version(), arch()}).
		value([]any{g.Version, g.Binaries, g.LDFlags, g.Tags, g.CGO, g.Tools}).
		files(b.here, g.Sources...)
	if g.nested() {
		inputs.files(b.here, g.Dir+"/go.mod", g.Dir+"/go.sum")
	}
	key, err := inputs.key()
	return step{
		name: fmt.Sprintf("group %s %s", g.Name, g.Version),
		id:   "binaries-" + g.Name + "-" + g.Version,
		key:  key,
		run:  func(ctx context.Context) ([]output, error) { return b.compile(ctx, g) },
	}, err
}

// nested says whether the group has a module of its own.
func (g Group) nested() bool {
	return len(g.Binaries) > 0 && g.Dir != "../.." && !strings.HasSuffix(g.Binaries[0].Package, ".c")
}

// compile builds into a temporary folder that then replaces the group's.
func (b builder) compile(ctx context.Context, g Group) ([]output, error) {
	target := filepath.Join(b.dir, buildDir(g))
	temp := target + ".part"
	if err := os.RemoveAll(temp); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return nil, err
	}
	cmd := goBuild(ctx, g, temp)
	if strings.HasSuffix(g.Binaries[0].Package, ".c") {
		cmd = exec.CommandContext(ctx, "cc", "-Os", "-Wall", "-Wextra", "-static", "-s",
			"-o", filepath.Join(temp, g.Binaries[0].Name), g.Binaries[0].Package)
	}
	cmd.Dir = filepath.Join(b.here, g.Dir)
	if err := runCommand(ctx, cmd); err != nil {
		return nil, err
	}
	for _, binary := range g.Binaries {
		if err := renameDefault(temp, binary); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(target); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, target); err != nil {
		return nil, err
	}
	return b.publishBinaries(g)
}

func goBuild(ctx context.Context, g Group, dir string) *exec.Cmd {
	args := []string{"build", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.Join(append([]string{"-s", "-w"}, g.LDFlags...), " "),
		"-tags", strings.Join(g.Tags, ","), "-o", dir + string(filepath.Separator)}
	for _, binary := range g.Binaries {
		args = append(args, binary.Package)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cgo := "0"
	if g.CGO {
		cgo = "1"
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOWORK=off")
	return cmd
}

// renameDefault undoes the name that `go build` gives a binary when ours differs: the last
// element of the package path that is not a major version.
func renameDefault(dir string, binary Binary) error {
	given := path.Base(binary.Package)
	if regexp.MustCompile(`^v[0-9]+$`).MatchString(given) {
		given = path.Base(path.Dir(binary.Package))
	}
	if given == binary.Name || strings.HasSuffix(given, ".c") {
		return nil
	}
	return os.Rename(filepath.Join(dir, given), filepath.Join(dir, binary.Name))
}

func (b builder) publishBinaries(g Group) ([]output, error) {
	var outputs []output
	for _, binary := range g.Binaries {
		o, err := b.output(filepath.Join(buildDir(g), binary.Name))
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, o)
	}
	for _, tool := range g.Tools {
		if err := b.link(filepath.Join(buildDir(g), tool), filepath.Join("bin", tool)); err != nil {
			return nil, err
		}
		o, err := b.output(filepath.Join("bin", tool))
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, o)
	}
	return outputs, nil
}

// moduleDir downloads a module that the group's go.mod pins and returns its folder.
func (b builder) moduleDir(ctx context.Context, g Group, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = filepath.Join(b.here, g.Dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	data, err := cmd.Output()
	var info struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(data, &info); jsonErr != nil || info.Dir == "" {
		return "", fmt.Errorf("downloading module %s: %s (%w)", module, info.Error, err)
	}
	return info.Dir, nil
}

// runCommand reports the end of what the command printed when it fails.
func runCommand(ctx context.Context, cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "), err, tail(out.String(), 30))
	}
	return nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
