package cli

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/e2e/lab"
	"kubewright/internal/fault"
)

func TestLabUpKeepsWhatIsNotSaid(t *testing.T) {
	t.Setenv("KUBEWRIGHT_CACHE", "/cache")
	existing := lab.State{
		Name: "mine", Engine: lab.Docker, Subnet: netip.MustParsePrefix("10.113.0.0/24"), Login: lab.LoginSudo,
		KubernetesVersion: "1.36.3", Artifacts: "/artifacts", Nodes: []lab.Node{{Name: "cp1"}},
	}
	vip := netip.MustParseAddr("10.113.0.5")
	withVIP := existing
	withVIP.VIP = &vip
	tests := map[string]struct {
		state lab.State
		typed labUpFlags
		flags []string
		want  lab.Config
	}{
		"a new lab": {lab.State{}, labUpFlags{controlPlanes: 1, workers: 2}, nil,
			lab.Config{ControlPlanes: 1, Workers: 2, Subnet: netip.MustParsePrefix("10.111.0.0/24"), Login: lab.LoginRoot, KubernetesVersion: "1.37.2"}},
		"a lab that exists": {existing, labUpFlags{controlPlanes: 1, workers: 2}, nil,
			lab.Config{ControlPlanes: 1, Workers: 0, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3", Artifacts: "/artifacts"}},
		"everything is said": {existing,
			labUpFlags{controlPlanes: 3, workers: 4, subnet: "10.114.0.0/24", login: "root", artifacts: "/other", kubernetesVersion: "1.37.2"},
			[]string{"control-planes", "workers", "artifacts"},
			lab.Config{ControlPlanes: 3, Workers: 4, Subnet: netip.MustParsePrefix("10.114.0.0/24"), Login: lab.LoginRoot, KubernetesVersion: "1.37.2", Artifacts: "/other"}},
		"a virtual IP stays": {withVIP, labUpFlags{controlPlanes: 1, workers: 2}, nil,
			lab.Config{ControlPlanes: 1, Workers: 0, VIP: true, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3", Artifacts: "/artifacts"}},
		"a virtual IP comes": {existing, labUpFlags{controlPlanes: 3, vip: true}, []string{"control-planes", "workers", "vip"},
			lab.Config{ControlPlanes: 3, VIP: true, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3", Artifacts: "/artifacts"}},
		"a virtual IP goes": {withVIP, labUpFlags{controlPlanes: 1, workers: 2}, []string{"vip"},
			lab.Config{ControlPlanes: 1, Workers: 0, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3", Artifacts: "/artifacts"}},
		"etcd gets hosts of its own": {existing, labUpFlags{etcd: 3}, []string{"etcd"},
			lab.Config{ControlPlanes: 1, Etcd: 3, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3", Artifacts: "/artifacts"}},
		"from upstream again": {existing, labUpFlags{controlPlanes: 1, workers: 2}, []string{"artifacts"},
			lab.Config{ControlPlanes: 1, Workers: 0, Subnet: existing.Subnet, Login: lab.LoginSudo, KubernetesVersion: "1.36.3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			typed := strings.Join(tc.flags, " ")
			tc.typed.keep(tc.state, func(flag string) bool { return strings.Contains(typed, flag) })
			got, err := tc.typed.config(&labFlags{name: "mine", dir: "/lab"}, tc.state)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Name, tc.want.Dir, tc.want.CacheDir = "mine", "/lab", "/cache"
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLabUpMakesArtifactsAbsolute(t *testing.T) {
	t.Setenv("KUBEWRIGHT_CACHE", "/cache")
	dir := t.TempDir()
	t.Chdir(dir)
	got, err := (&labUpFlags{artifacts: "out"}).config(&labFlags{}, lab.State{})
	if err != nil || got.Artifacts != filepath.Join(dir, "out") {
		t.Errorf("artifacts = %q, %v", got.Artifacts, err)
	}
}

func TestLabRefusesBadFlags(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown engine":          {[]string{"status", "--engine", "lxc"}, `--engine "lxc"`},
		"unknown output":          {[]string{"status", "-o", "xml"}, `--output "xml"`},
		"a node command for none": {[]string{"node", "stop"}, "name nodes, or say --all"},
		"a node and all":          {[]string{"node", "start", "cp1", "--all"}, "name nodes, or say --all"},
		"a new node of no role":   {[]string{"node", "add"}, "say the --role of the node"},
		"ssh without a lab":       {[]string{"ssh", "cp1"}, "no lab here"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newLabCommand()
			cmd.SetArgs(append(tc.args, "--dir", dir))
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error = %v, want %q in it", err, tc.want)
			}
			if kind := fault.KindOf(err); kind != fault.BadInput {
				t.Errorf("kind = %v, want %v", kind, fault.BadInput)
			}
		})
	}
}

func TestLabStatusOutput(t *testing.T) {
	nodes := []lab.NodeStatus{
		{Node: lab.Node{Name: "cp1", Role: lab.RoleControlPlane, Address: netip.MustParseAddr("10.111.0.10")}, Power: lab.PowerOn},
		{Node: lab.Node{Name: "worker10", Role: lab.RoleWorker, Address: netip.MustParseAddr("10.111.0.20")}, Power: lab.PowerPaused},
	}
	var out strings.Builder
	if err := writeLabStatus(&out, "text", nodes); err != nil {
		t.Fatal(err)
	}
	want := `NODE       ADDRESS       ROLE            STATE
cp1        10.111.0.10   control-plane   running
worker10   10.111.0.20   worker          paused
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	if err := writeLabStatus(&out, "json", nil); err != nil || out.String() != "[]\n" {
		t.Errorf("no nodes as JSON: %q, %v", out.String(), err)
	}
}

func TestLabNodeUsage(t *testing.T) {
	for _, args := range []string{"lab node remove", "lab node add cp1 cp2"} {
		kubewright(t, strings.Fields(args)...).want(t, 10, "arg(s)").nothing(t)
	}
}
