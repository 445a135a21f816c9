package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/fault"
)

func TestHasCapability(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nCapEff:\t000001ffffffffff\n":                  true,
		"CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n": false, // without bit 24
		"CapEff:\t0000000001000000\n":                            true,
		"CapEff:\tnonsense\n":                                    false,
		"":                                                       false,
	} {
		if got := hasCapability([]byte(status), capSysResource); got != want {
			t.Errorf("hasCapability(%q) = %v, want %v", status, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		machine Machine
		want    limits
	}{
		"a machine like any other":              {Machine{SysResource: true, MaxFiles: 4096, MaxProcesses: 1000}, limits{1 << 20, 1 << 20}},
		"without the capability, what there is": {Machine{MaxFiles: 20000, MaxProcesses: 96365}, limits{20000, 32768}},
		"without the capability, low":           {Machine{MaxFiles: 1024, MaxProcesses: 1000}, limits{1024, 1000}},
		"without the capability, unlimited":     {Machine{MaxFiles: ^uint64(0), MaxProcesses: ^uint64(0)}, limits{1 << 20, 32768}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.machine.limits(); got != tc.want {
				t.Errorf("limits = %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestOverlapping(t *testing.T) {
	m := Machine{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("fd00::/64")}}
	if got := m.overlapping(netip.MustParsePrefix("10.111.0.0/24")); len(got) != 1 || got[0].String() != "10.0.0.0/9" {
		t.Errorf("overlapping = %v, want 10.0.0.0/9", got)
	}
	if got := m.overlapping(netip.MustParsePrefix("10.128.0.0/24")); len(got) != 0 {
		t.Errorf("overlapping = %v, want none", got)
	}
}

// programs is a machine on which these programs exist, and those that fail do so when they run.
type programs struct{ there, fail []string }

func (p programs) LookPath(program string) (string, error) {
	if slices.Contains(p.there, program) {
		return "/bin/" + program, nil
	}
	return "", exec.ErrNotFound
}

func (p programs) Run(_ context.Context, argv []string, _ io.Reader) ([]byte, error) {
	if !slices.Contains(p.there, argv[0]) || slices.Contains(p.fail, argv[0]) {
		return nil, &CommandError{Argv: argv, Code: 1, Stderr: argv[0] + " does not answer"}
	}
	return nil, nil
}

func TestChooseEngine(t *testing.T) {
	tests := map[string]struct {
		machine programs
		asked   Engine
		want    Engine
		missing string // part of what is missing; empty for nothing
		apt     string
	}{
		"podman is there":                 {programs{there: []string{"podman"}}, "", Podman, "", ""},
		"both are there":                  {programs{there: []string{"podman", "docker"}}, "", Podman, "", ""},
		"only docker is there":            {programs{there: []string{"docker"}}, "", Docker, "", ""},
		"only a docker that is down":      {programs{there: []string{"docker"}, fail: []string{"docker"}}, "", Podman, "the program podman", "podman"},
		"none is there":                   {programs{}, "", Podman, "the program podman", "podman"},
		"podman does not work":            {programs{there: []string{"podman", "docker"}, fail: []string{"podman"}}, "", Podman, "podman does not answer", ""},
		"docker is asked for":             {programs{there: []string{"podman", "docker"}}, Docker, Docker, "", ""},
		"docker is asked for and is down": {programs{there: []string{"podman", "docker"}, fail: []string{"docker"}}, Docker, Docker, "docker does not answer", ""},
		"docker is asked for, not there":  {programs{there: []string{"podman"}}, Docker, Docker, "the program docker", "docker.io"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, needs := chooseEngine(t.Context(), tc.machine, tc.asked)
			if got != tc.want {
				t.Errorf("engine = %s, want %s", got, tc.want)
			}
			if tc.missing == "" {
				if len(needs) > 0 {
					t.Errorf("missing: %v", needs)
				}
				return
			}
			if len(needs) != 1 || !strings.Contains(needs[0].missing, tc.missing) || needs[0].apt != tc.apt {
				t.Errorf("missing: %+v, want %q of package %q", needs, tc.missing, tc.apt)
			}
		})
	}
}

func TestNeedsAreToldInOneMessage(t *testing.T) {
	l := &Lab{
		run: programs{}, engine: Podman,
		machine:  Machine{OS: "linux"},
		features: []kernelFeature{{name: "overlay", use: "images", path: "/nonexistent", module: "overlay"}},
	}
	err := missingNeeds(l.needs(t.Context(), false))
	want := `a lab cannot be made on this machine:
  - root: the nodes are privileged containers on a bridge of the machine; run it with sudo
  - the program iptables
  - the program runc
  - the program mmdebstrap
  - the kernel feature overlay, for images
On Debian and Ubuntu: apt-get install -y iptables runc mmdebstrap`
	if err == nil || err.Error() != want {
		t.Fatalf("error:\n%v\nwant:\n%s", err, want)
	}
	if kind := fault.KindOf(err); kind != fault.Preflight {
		t.Errorf("kind = %v, want %v", kind, fault.Preflight)
	}
}

func TestNeedsOfAMachineThatHasAll(t *testing.T) {
	for name, tc := range map[string]struct {
		engine     Engine
		programs   []string
		imageReady bool
	}{
		"podman":                     {Podman, []string{"iptables", "runc", "mmdebstrap"}, false},
		"podman, with a node image":  {Podman, []string{"iptables", "runc"}, true},
		"docker brings its own runc": {Docker, []string{"iptables", "mmdebstrap"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Lab{run: programs{there: tc.programs}, engine: tc.engine, machine: Machine{OS: "linux", Root: true}}
			if err := missingNeeds(l.needs(t.Context(), tc.imageReady)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNeedsOfAnotherSystem(t *testing.T) {
	l := &Lab{run: programs{}, engine: Docker, machine: Machine{OS: "darwin", Root: true}}
	if err := missingNeeds(l.needs(t.Context(), true)); err == nil || !strings.Contains(err.Error(), "this is darwin") {
		t.Errorf("error = %v", err)
	}
}

// loader is a machine whose modprobe makes the file of a kernel feature.
type loader struct {
	programs
	path string
}

func (l loader) Run(_ context.Context, argv []string, _ io.Reader) ([]byte, error) {
	if fmt.Sprint(argv) != "[modprobe br_netfilter]" {
		return nil, errors.New("unexpected command")
	}
	return nil, os.WriteFile(l.path, nil, 0o644)
}

func TestKernelFeatureIsLoadedWhereItIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge-nf-call-iptables")
	f := kernelFeature{name: "br_netfilter", path: path, module: "br_netfilter"}
	if f.present(t.Context(), programs{there: []string{"modprobe"}}) {
		t.Error("present, though modprobe changed nothing")
	}
	if f.present(t.Context(), programs{there: []string{"modprobe"}, fail: []string{"modprobe"}}) {
		t.Error("present, though modprobe failed")
	}
	if !f.present(t.Context(), loader{path: path}) {
		t.Error("missing, though it was loaded")
	}
	if !f.present(t.Context(), programs{}) {
		t.Error("missing, though it is there")
	}
}

// The packages that messages tell users to install are those that `make lab` installs.
func TestPackagesOfNeedsAreInPackagesFile(t *testing.T) {
	data, err := os.ReadFile("packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{run: programs{}, engine: Podman, machine: Machine{OS: "linux", Root: true}}
	_, needs := chooseEngine(t.Context(), programs{}, "")
	needs = append(needs, l.needs(t.Context(), false)...)
	if len(needs) < 4 {
		t.Fatalf("only %d needs of a machine without any program", len(needs))
	}
	for _, n := range needs {
		if !slices.Contains(strings.Split(string(data), "\n"), n.apt) {
			t.Errorf("%q mends %q and is not in packages.txt", n.apt, n.missing)
		}
	}
}
