package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"kubewright/e2e/lab"
)

// debianSuite has iptables 1.8.9, whose default back end is nftables.
const debianSuite = "bookworm"

// debianBase is the lowest layer of an image: Debian with these packages and what they need.
type debianBase struct {
	name     string // "" is the one that is shared
	packages []string
}

// base is the Debian below the image, and whether it has one.
func (i Image) base() (debianBase, bool) {
	if len(i.Packages) > 0 {
		return debianBase{strings.Join(i.Packages, "-"), i.Packages}, true
	}
	return debianBase{packages: debianPackages()}, i.Debian
}

// leftOut are the patterns of what the base does not keep.
func (d debianBase) leftOut() []string {
	patterns := leftOut()
	if d.name != "" {
		// keepalived is linked to the library of SNMP, and that one to Perl's.
		patterns = slices.DeleteFunc(patterns, func(p string) bool { return path.Base(p) == "libperl*" })
	}
	return patterns
}

// debianPackages is what the programs of the images on the shared base call: kube-proxy
// iptables, nft, ipset and conntrack; calico-node these, ip and kmod, below runit.
func debianPackages() []string {
	return []string{"bash", "conntrack", "debianutils", "ipset", "iproute2", "iptables", "kmod", "nftables", "procps", "runit"}
}

// leftOut are patterns of the parts of the base that nothing in the images reads; what
// lies below a match goes with it. The package manager goes too: an image is replaced, not
// upgraded.
func leftOut() []string {
	return []string{
		"etc/hostname", "etc/resolv.conf", "etc/apt", // of the machine that built it
		"dev/*", "run/*", "tmp/*", "var/cache/*", "var/log/*", "var/lib/apt", "var/lib/dpkg",
		"etc/service", "etc/sv", "etc/runit", // the package's services; calico/node brings its own folder
		"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/zoneinfo",
		"usr/share/i18n", "usr/share/bash-completion", "usr/share/common-licenses", "usr/share/debconf",
		"usr/share/lintian", "etc/perl", "usr/share/perl*", "usr/bin/perl*", "usr/lib/*/perl*", "usr/lib/*/libperl*",
		"usr/lib/*/gconv", "usr/lib/udev", "usr/bin/apt*", "usr/bin/dpkg*", "usr/bin/localedef",
	}
}

// layerPath holds the layer, infoPath its digests, relative to the cache.
func (d debianBase) layerPath() string { return d.named("build/debian") + "/layer.tar.gz" }
func (d debianBase) infoPath() string  { return d.named("build/debian") + "/layer.json" }

// named appends the name, if there is one.
func (d debianBase) named(what string) string {
	return strings.TrimSuffix(what+"-"+d.name, "-")
}

// baseStep makes the layer.
func (b builder) baseStep(d debianBase) (step, error) {
	key, err := new(digester).value([]any{debianSuite, d.packages, d.leftOut(), arch()}).key()
	return step{
		name: strings.TrimSpace("base " + debianSuite + " " + d.name), id: d.named("base-" + debianSuite), key: key,
		run: func(ctx context.Context) ([]output, error) { return b.makeBase(ctx, d) },
	}, err
}

func (b builder) makeBase(ctx context.Context, d debianBase) ([]output, error) {
	target := filepath.Join(b.dir, d.layerPath())
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	raw := target + ".mmdebstrap.tar"
	defer os.Remove(raw)
	args := []string{"--quiet", "--variant=essential", "--format=tar",
		"--include=" + strings.Join(d.packages, ","),
		`--aptopt=APT::Install-Recommends "false"`}
	sources := machineSources()
	if len(sources) == 0 {
		mirror, settings := lab.AptOfMachine(ctx, lab.OSRunner{})
		if mirror != "" {
			sources = []string{mirror}
		}
		conf := target + ".apt.conf"
		defer os.Remove(conf)
		// A file, as the address of a proxy may have a password in it.
		if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--aptopt="+conf)
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", append(append(args, debianSuite, raw), sources...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0")
	if err := runCommand(ctx, cmd); err != nil {
		return nil, err
	}
	layer, err := writeGzip(target, func(w io.Writer) error { return filterTar(w, raw, d.leftOut()) })
	if err != nil {
		return nil, err
	}
	info, err := json.Marshal(layer)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(b.dir, d.infoPath()), info); err != nil {
		return nil, err
	}
	return b.outputs(d.layerPath(), d.infoPath())
}

// baseLayer is the layer that baseStep has made.
func (b builder) baseLayer(d debianBase) (blob, error) {
	var layer blob
	data, err := os.ReadFile(filepath.Join(b.dir, d.infoPath()))
	if err != nil {
		return layer, err
	}
	if err := json.Unmarshal(data, &layer); err != nil {
		return layer, err
	}
	layer.Path = filepath.Join(b.dir, d.layerPath())
	return layer, nil
}

// machineSources are the machine's own package sources, so that its choice of mirrors holds
// for the image too; none means that apt is to be asked.
func machineSources() []string {
	for _, file := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if data, err := os.ReadFile(file); err == nil && strings.Contains(string(data), debianSuite) {
			return []string{file}
		}
	}
	return nil
}

// filterTar copies an archive of a root file system without what is left out, sorted as it
// was, and with the times set.
func filterTar(w io.Writer, source string, leftOut []string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	in, out := tar.NewReader(f), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", source, err)
		}
		h.Name = strings.TrimPrefix(h.Name, "./")
		if h.Name == "" || matches(leftOut, h.Name) {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = strings.TrimPrefix(h.Linkname, "./")
			if matches(leftOut, h.Linkname) {
				continue
			}
		}
		h.ModTime, h.AccessTime, h.ChangeTime = epoch(), epoch(), epoch()
		h.Uname, h.Gname, h.Format = "", "", tar.FormatUnknown
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		// The size is that of the header, so an archive cannot unpack to more than it says.
		if _, err := io.CopyN(out, in, h.Size); err != nil {
			return err
		}
	}
}

// matches says whether the name, or a folder that it lies in, matches one of the patterns.
func matches(patterns []string, name string) bool {
	for p := path.Clean(name); p != "."; p = path.Dir(p) {
		for _, pattern := range patterns {
			if ok, err := path.Match(pattern, p); ok && err == nil {
				return true
			}
		}
	}
	return false
}
