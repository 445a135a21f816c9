package lab

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rootfs holds what is done to a plain Debian to make it a node: files laid over it, and a
// script.
//
//go:embed rootfs
var rootfs embed.FS

// suite is the Debian release of nodes. Its systemd still boots on cgroup v1.
const suite = "bookworm"

// nodeCommand is process 1 of a node.
const nodeCommand = "/usr/local/sbin/lab-init"

// nodePackages is what a small server has that kubelet, kube-proxy and the lab rely on. Nothing
// here is Kubernetes: a node is a bare host.
func nodePackages() []string {
	return []string{
		"ca-certificates", "conntrack", "curl", "dbus", "ethtool", "ipset", "iproute2", "iptables",
		"kmod", "nftables", "openssh-server", "openssh-sftp-server", "procps", "socat", "sudo", "systemd", "systemd-sysv",
	}
}

// rootfsOptions is what every build of a root file system has in common.
func rootfsOptions() []string {
	return []string{
		"--variant=minbase",
		"--include=" + strings.Join(nodePackages(), ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*",
	}
}

// rootfsDigest is the digest of all that decides what is in a node's root file system: release,
// architecture, packages, options, files, script and command. (Not the versions of the packages: those
// are today's.)
func rootfsDigest(arch string) (string, error) {
	sum := sha256.New()
	add := func(parts ...string) {
		for _, p := range parts {
			fmt.Fprintf(sum, "%d:%s,", len(p), p) // lengths keep parts apart
		}
	}
	add(suite, arch, nodeCommand)
	add(rootfsOptions()...)
	err := fs.WalkDir(rootfs, "rootfs", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := rootfs.ReadFile(path)
		add(path, string(data))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the embedded files of the node image: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// imageName is the name under which the engine has the image of a digest.
func imageName(digest string) string { return "localhost/kubewright-node:" + digest[:12] }

// mmdebstrap builds the root file system into a tar file. work holds the files of rootfs, and
// apt.conf with this machine's settings, which are not on the command line because the address
// of a proxy may have a password in it. With no mirror it takes Debian's own.
func mmdebstrap(work, tar, mirror string) []string {
	argv := slices.Concat([]string{"mmdebstrap", "--quiet", "--format=tar"}, rootfsOptions(), []string{
		"--aptopt=" + filepath.Join(work, "apt.conf"),
		"--customize-hook=sync-in " + filepath.Join(work, "overlay") + " /",
		"--customize-hook=" + filepath.Join(work, "customize.sh"),
		suite, tar,
	})
	if mirror != "" {
		argv = append(argv, mirror)
	}
	return argv
}

// debianMirror finds, in what apt-get indextargets printed, the machine's own mirror of the
// nodes' Debian release. Empty means that it has none, as another distribution does, or that it
// is the one that mmdebstrap takes by itself, together with updates and security.
func debianMirror(indexTargets string) string {
	for line := range strings.Lines(indexTargets) {
		site, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		site = strings.TrimSuffix(site, "/")
		if rest != suite+" main" || !strings.HasPrefix(site, "http") {
			continue
		}
		if strings.HasSuffix(site, "://deb.debian.org/debian") {
			return ""
		}
		return site
	}
	return ""
}

// aptSettings picks, out of what apt-config dump printed, what decides whether the archive can
// be reached and believed from this machine: proxies, certificates, and dates.
func aptSettings(dump string) string {
	var out strings.Builder
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		name, value, _ := strings.Cut(line, " ")
		if value == `"";` {
			continue
		}
		key := strings.ToLower(name)
		for _, prefix := range []string{"acquire::http::", "acquire::https::", "acquire::check-", "acquire::retries"} {
			if strings.HasPrefix(key, prefix) {
				out.WriteString(line + "\n")
				break
			}
		}
	}
	return out.String()
}

// nodeImage is the image of the nodes: what the engine calls it, and the file it is made of.
type nodeImage struct{ digest, name, tar string }

// findImage says which image nodes on this machine get, and whether the engine and the cache
// have it.
func (l *Lab) findImage(ctx context.Context, cacheDir string) (image nodeImage, imported, cached bool, err error) {
	image.digest, err = rootfsDigest(l.machine.Arch)
	if err != nil {
		return image, false, false, err
	}
	image.name = imageName(image.digest)
	image.tar = filepath.Join(cacheDir, "lab", "node-"+image.digest[:12]+".tar")
	out, err := l.run.Run(ctx, l.engine.findImage(image.name), nil)
	if err != nil {
		return image, false, false, fmt.Errorf("looking for the node image: %w", err)
	}
	_, err = os.Stat(image.tar)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return image, false, false, fmt.Errorf("looking for the node image: %w", err)
	}
	return image, len(out) > 0, err == nil, nil
}

// ensureImage returns the name of the node image, and builds it where neither the engine nor
// the cache has it.
func (l *Lab) ensureImage(ctx context.Context, cacheDir string) (string, error) {
	image, imported, cached, err := l.findImage(ctx, cacheDir)
	if err != nil || imported {
		return image.name, err
	}
	if !cached {
		l.notify(fmt.Sprintf("building the node image: Debian %s and %d packages, once, about a minute", suite, len(nodePackages())))
		if err := l.buildRootfs(ctx, image.tar); err != nil {
			return "", err
		}
	}
	if _, err := l.run.Run(ctx, l.engine.importImage(image), nil); err != nil {
		return "", fmt.Errorf("importing the node image %s (delete the file if it is damaged): %w", image.tar, err)
	}
	return image.name, nil
}

// buildRootfs makes the tar file, which gets its name only when it is complete.
func (l *Lab) buildRootfs(ctx context.Context, tar string) error {
	if err := os.MkdirAll(filepath.Dir(tar), 0o755); err != nil {
		return fmt.Errorf("making the cache folder: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(tar), "build-")
	if err != nil {
		return fmt.Errorf("making a folder for the build of the node image: %w", err)
	}
	defer os.RemoveAll(work)
	content, err := fs.Sub(rootfs, "rootfs")
	if err != nil {
		return err
	}
	if err := os.CopyFS(work, content); err != nil {
		return fmt.Errorf("unpacking the files of the node image: %w", err)
	}
	if err := os.Chmod(filepath.Join(work, "customize.sh"), 0o755); err != nil {
		return err
	}
	mirror, settings := AptOfMachine(ctx, l.run)
	if err := os.WriteFile(filepath.Join(work, "apt.conf"), []byte(settings), 0o600); err != nil {
		return err
	}
	part := filepath.Join(work, "node.tar")
	if _, err := l.run.Run(ctx, mmdebstrap(work, part, mirror), nil); err != nil {
		return fmt.Errorf("building the node image, for which a Debian mirror must be reachable: %w", err)
	}
	return os.Rename(part, tar)
}

// AptOfMachine asks apt of this machine for its mirror of the nodes' Debian release and for its
// settings, which may have a password in them. On a machine without apt both are empty, and
// Debian's own mirrors are used.
func AptOfMachine(ctx context.Context, run Runner) (mirror, settings string) {
	out, err := run.Run(ctx, []string{"apt-get", "indextargets", "--no-release-info",
		"--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"}, nil)
	if err == nil {
		mirror = debianMirror(string(out))
	}
	out, err = run.Run(ctx, []string{"apt-config", "dump"}, nil)
	if err == nil {
		settings = aptSettings(string(out))
	}
	return mirror, settings
}
