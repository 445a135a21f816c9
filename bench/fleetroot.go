package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/sh/shtest"
	"kubewright/templates"
)

// fleetKubernetes is the version of the fleet's clusters.
const fleetKubernetes = "1.37.2"

func digest(content []byte) [sha256.Size]byte { return sha256.Sum256(content) }

// writeBlocks writes as programs do to a pipe: OpenSSH's server sends the 13 kB of a look in nine packets.
func writeBlocks(w io.Writer, text string) {
	const block = 4 << 10
	for piece := range slices.Chunk([]byte(text), block) {
		_, _ = w.Write(piece)
	}
}

// newKind makes the scratch root of hosts of a kind: a bare Debian with two CPUs, as far as kubewright looks.
func newKind(t *tb, p *patterns, name string) (k *kind, err error) {
	original, _ := identify(name, 0)
	k = &kind{original: original, ctx: t.ctx, patterns: p, roots: map[string]*shtest.Root{}, answers: map[string]*answer{}}
	return k, t.attempt(func() {
		r := shtest.New(t, shtest.Dash)
		for p, content := range map[string]string{
			"/proc/sys/kernel/hostname": original.name + "\n", "/proc/sys/kernel/osrelease": "6.1.0-18-amd64\n", "/etc/machine-id": original.name + "\n",
			"/sys/class/dmi/id/product_uuid": original.name + "\n",
			"/proc/self/status":              "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n",
			"/proc/meminfo":                  "MemTotal:        8000000 kB\n", "/proc/self/mounts": "/dev/vda / ext4 rw 0 0\n",
			"/sys/devices/system/cpu/online": "0-1\n", "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory pids\n",
			"/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian\"\n", "/etc/resolv.conf": "nameserver 10.0.0.1\n",
			"/proc/net/tcp": "  sl  local_address\n", "/proc/net/udp": "  sl  local_address\n", "/proc/net/tcp6": "  sl\n", "/proc/net/udp6": "  sl\n",
			"/proc/net/route":                  "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t0100C90A\t0003\t0\t0\t0\t00000000\n",
			"/etc/systemd/system/sshd.service": "[Service]\n", "/fake.state/units/sshd.service/active": "active\n",
			"/fake.state/addresses": "2: eth0    inet " + original.address + "/16 scope global eth0\n", "/sys/class/net/eth0/mtu": "1500\n",
		} {
			r.Write(p, content)
		}
		var bridged strings.Builder
		for _, s := range templates.Sysctls(false) {
			path := "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
			if strings.Contains(s.Key, ".bridge.") {
				fmt.Fprintf(&bridged, "%s 0\n", path)
			} else {
				r.Write(path, "0\n")
			}
		}
		for _, name := range templates.Modules("auto") {
			r.Write("/fake.state/modules/"+name, "")
		}
		r.Write("/fake.state/modules/br_netfilter", bridged.String())
		k.roots[""] = r
	})
}

// tb is what shtest needs of a test, outside of one.
type tb struct {
	testing.TB                 // for what a test has beside
	ctx        context.Context //nolint:containedctx // as a test has it
	cleanups   []func()
	errs       []string // what roots were asked that they do not know
}

// failed is what ends an attempt.
type failed struct{ error }

// attempt does something that may fail as a test does.
func (t *tb) attempt(do func()) (err error) {
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failed:
			err = f.error
		default:
			panic(f)
		}
	}()
	do()
	return nil
}

func (t *tb) cleanup() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	t.cleanups = nil
}

func (t *tb) Helper()                  {}
func (t *tb) Context() context.Context { return t.ctx }
func (t *tb) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *tb) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Sprintf(format, args...))
}
func (t *tb) Fatal(args ...any)                 { panic(failed{errors.New(fmt.Sprint(args...))}) }
func (t *tb) Fatalf(format string, args ...any) { panic(failed{fmt.Errorf(format, args...)}) }
func (t *tb) Skip(args ...any)                  { panic(failed{lacking(fmt.Sprint(args...))}) }
func (t *tb) Skipf(format string, args ...any)  { panic(failed{lacking(fmt.Sprintf(format, args...))}) }

// lacking is what a test would be skipped for.
func lacking(reason string) error {
	return &missing{"there can be no simulated hosts on this machine", reason}
}

func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp("", "bench-root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
