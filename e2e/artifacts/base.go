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
	"strings"

	"kubewright/e2e/lab"
)

// debianSuite has iptables 1.8.9, whose default back end is nftables.
const debianSuite = "bookworm"

// debianPackages is what the programs of the images on the Debian base call: kube-proxy
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

// baseLayerPath holds the layer, baseInfoPath its digests, relative to the cache.
const (
	baseLayerPath = "build/debian/layer.tar.gz"
	baseInfoPath  = "build/debian/layer.json"
)

// baseStep makes the layer that kube-proxy and calico/node share.
func (b builder) baseStep() (step, error) {
	key, err := new(digester).value([]any{debianSuite, debianPackages(), leftOut(), arch()}).key()
	return step{
		name: "base " + debianSuite, id: "base-" + debianSuite, key: key,
		run: b.makeBase,
	}, err
}

func (b builder) makeBase(ctx context.Context) ([]output, error) {
	target := filepath.Join(b.dir, baseLayerPath)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	raw := target + ".mmdebstrap.tar"
	defer os.Remove(raw)
	args := []string{"--quiet", "--variant=essential", "--format=tar",
		"--include=" + strings.Join(debianPackages(), ","),
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
	layer, err := writeGzip(target, func(w io.Writer) error { return filterTar(w, raw) })
	if err != nil {
		return nil, err
	}
	info, err := json.Marshal(layer)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(b.dir, baseInfoPath), info); err != nil {
		return nil, err
	}
	return b.outputs(baseLayerPath, baseInfoPath)
}

// baseLayer is the layer that baseStep has made.
func (b builder) baseLayer() (blob, error) {
	var layer blob
	data, err := os.ReadFile(filepath.Join(b.dir, baseInfoPath))
	if err != nil {
		return layer, err
	}
	if err := json.Unmarshal(data, &layer); err != nil {
		return layer, err
	}
	layer.Path = filepath.Join(b.dir, baseLayerPath)
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
func filterTar(w io.Writer, source string) error {
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
		if h.Name == "" || isLeftOut(h.Name) {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = strings.TrimPrefix(h.Linkname, "./")
			if isLeftOut(h.Linkname) {
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

// isLeftOut says whether the name, or a folder that it lies in, matches.
func isLeftOut(name string) bool {
	for p := path.Clean(name); p != "."; p = path.Dir(p) {
		for _, pattern := range leftOut() {
			if ok, err := path.Match(pattern, p); ok && err == nil {
				return true
			}
		}
	}
	return false
}
