// Command artifacts builds, from Go modules and Debian packages, everything a lab cluster
// needs, and lays it out as a mirror of the upstream download sites and as the storage of
// an image registry. It exists because the end-to-end tests must not depend on the network
// beyond a Go module proxy and a Debian mirror.
//
//	go run ./e2e/artifacts build [-kubernetes 1.37.2] [-cache DIR] [-only GROUP,...]
//	go run ./e2e/artifacts list  [-kubernetes 1.37.2]
//	go run ./e2e/artifacts pin   -kubernetes 1.36.3
//	go run ./e2e/artifacts load  -from DIR [-cache DIR]
//
// The result, in -cache (default ${KUBEWRIGHT_CACHE:-~/.cache/kubewright}/artifacts):
//
//	files/HOST/PATH   upstream URL without "https://", with its checksum file beside it
//	digests.yaml      sha256 of every file by upstream URL, in the format of kubewright.lock
//	registry/         storage of the registry; registry.yml is its configuration
//	images.txt        one image reference a line
//	bin/              mirror, registry, kubectl, etcdctl, ... for use on the machine itself
//	build/ state/     the builds themselves (bin/ and files/ are hard links) and what is done
//
// `bin/mirror -dir DIR` serves files/ and registry/. A step is keyed by a digest of all its
// inputs and skipped when its result is there; an interrupted build goes on where it was.
//
// `load` puts the images of archives (OCI's or Docker's, *.tar in -from) into the registry, such as
// those that cannot be built here.
//
// `pin` writes the go.mod that a minor version of Kubernetes is built from; the versions
// that go with it are an entry of releases in release.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "artifacts:", err)
		os.Exit(1)
	}
}

const usage = "usage: artifacts build|list|pin|load [-kubernetes VERSION] [-cache DIR] [-only GROUP,...] [-from DIR]"

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	version := flags.String("kubernetes", newestKubernetes, "Kubernetes `version` to build for")
	dir := flags.String("cache", "", "`directory` of the result (default ${KUBEWRIGHT_CACHE:-~/.cache/kubewright}/artifacts)")
	only := flags.String("only", "", "comma-separated `groups` to build instead of the default ones")
	from := flags.String("from", "", "`directory` with the archives that load reads")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; %s", flags.Arg(0), usage)
	}
	switch args[0] {
	case "pin":
		return pin(ctx, *version)
	case "load":
		return load(ctx, *from, *dir, stdout)
	}
	release, err := findRelease(*version)
	if err != nil {
		return err
	}
	groups, err := selectGroups(release.groups(), *only)
	if err != nil {
		return err
	}
	switch args[0] {
	case "list":
		list(stdout, groups)
		return nil
	case "build":
		return build(ctx, groups, *dir, stdout)
	}
	return fmt.Errorf("unknown command %q; %s", args[0], usage)
}

// selectGroups returns the groups named in only, or the default ones when only is empty.
func selectGroups(all []Group, only string) ([]Group, error) {
	var selected []Group
	if only == "" {
		for _, g := range all {
			if !g.OnRequest {
				selected = append(selected, g)
			}
		}
		return selected, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, g := range all {
			if g.Name == strings.TrimSpace(name) {
				selected, found = append(selected, g), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no group %q; `artifacts list` and the table in groups.go name them", name)
		}
	}
	return selected, nil
}

func list(w io.Writer, groups []Group) {
	for _, g := range groups {
		fmt.Fprintf(w, "%s %s\n", g.Name, g.Version)
		for _, f := range g.Files {
			fmt.Fprintf(w, "  %s\n", f.URL)
		}
		for _, i := range g.Images {
			fmt.Fprintf(w, "  %s\n", i.Ref)
		}
	}
}

// cacheDir is where the artifacts go when -cache does not say.
func cacheDir() (string, error) {
	base := os.Getenv("KUBEWRIGHT_CACHE")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache directory: %w; pass -cache", err)
		}
		base = filepath.Join(home, ".cache", "kubewright")
	}
	return filepath.Join(base, "artifacts"), nil
}

// repositoryRoot finds the main module upwards of the working directory.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module kubewright\n") {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("not inside the kubewright repository; run from its root")
		}
		dir = filepath.Dir(dir)
	}
}
