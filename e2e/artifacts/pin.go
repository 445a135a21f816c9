package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const kubernetesModule = "k8s.io/kubernetes"

// upstreamModule is what `go mod edit -json` says of the go.mod of k8s.io/kubernetes.
type upstreamModule struct {
	Go      string
	Replace []struct {
		Old struct{ Path string }
		New struct{ Path string }
	}
}

// pin writes kubernetes/MINOR/go.mod and go.sum for a version, replacing those of another
// patch version of the minor.
func pin(ctx context.Context, version string) error {
	version = strings.TrimPrefix(version, "v")
	if strings.Count(version, ".") != 2 {
		return fmt.Errorf("version %q of Kubernetes is not MAJOR.MINOR.PATCH", version)
	}
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	r := release{Kubernetes: version}
	dir := filepath.Join(root, "e2e", "artifacts", r.kubernetes().Dir)
	upstream, err := readUpstream(ctx, version)
	if err != nil {
		return err
	}
	text, err := pinnedModule(r, upstream)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "go.mod"), []byte(text)); err != nil {
		return err
	}
	get := []string{"get", "-tool"}
	for _, b := range slices.Concat(r.kubernetes().Binaries, r.kubeadm().Binaries) {
		get = append(get, b.Package+"@v"+version)
	}
	cmd := exec.CommandContext(ctx, "go", get...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	return runCommand(ctx, cmd)
}

func readUpstream(ctx context.Context, version string) (upstreamModule, error) {
	var upstream upstreamModule
	var download struct{ GoMod, Error string }
	data, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", kubernetesModule+"@v"+version).Output()
	if jsonErr := json.Unmarshal(data, &download); jsonErr != nil || download.GoMod == "" {
		return upstream, fmt.Errorf("downloading %s v%s: %s (%w)", kubernetesModule, version, download.Error, errors.Join(err, jsonErr))
	}
	if data, err = exec.CommandContext(ctx, "go", "mod", "edit", "-json", download.GoMod).Output(); err != nil {
		return upstream, fmt.Errorf("reading %s: %w", download.GoMod, err)
	}
	err = json.Unmarshal(data, &upstream)
	return upstream, err
}

// pinnedModule is a go.mod that builds Kubernetes from outside its repository: there the
// staging modules are folders, here they are the releases that go with it (v1.37.2 goes
// with v0.37.2).
func pinnedModule(r release, upstream upstreamModule) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "module kubewright/e2e/artifacts/%s\n\ngo %s\n\nrequire %s v%s\n\nreplace (\n",
		r.kubernetes().Dir, upstream.Go, kubernetesModule, r.Kubernetes)
	staging := 0
	for _, replace := range upstream.Replace {
		if strings.HasPrefix(replace.New.Path, "./staging/") {
			fmt.Fprintf(&out, "\t%s => %s v0.%s\n", replace.Old.Path, replace.Old.Path, strings.TrimPrefix(r.Kubernetes, "1."))
			staging++
		}
	}
	if staging == 0 {
		return "", fmt.Errorf("%s v%s replaces no staging module; has its layout changed?", kubernetesModule, r.Kubernetes)
	}
	out.WriteString(")\n")
	return out.String(), nil
}
