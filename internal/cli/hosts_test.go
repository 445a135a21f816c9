package cli

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/plan"
	"kubewright/internal/ssh/sshtest"
)

// twoHosts describes a control plane and a worker with SSH settings.
func twoHosts(ssh string) string {
	return clusterYAML(
		"name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {"+ssh+"}",
		"name: worker1, address: 127.0.0.2, nodeIP: 192.0.2.2, roles: [worker], ssh: {"+ssh+"}")
}

// closedPort is one on which nothing listens.
const closedPort = 1

func TestHostsThatRefuseConnections(t *testing.T) {
	file := write(t, "cluster.yaml", twoHosts(fmt.Sprintf("port: %d, trustOnFirstUse: true", closedPort)))
	for _, args := range dialling() {
		t.Run(args[0], func(t *testing.T) {
			want := []string{"error: cp1: cannot reach 127.0.0.1:1", "error: worker1: cannot reach 127.0.0.2:1", "debug log: "}
			if args[0] == "kubeconfig" {
				want = []string{want[0], want[2]} // the workers have no part in it
			}
			o := kubewright(t, append(args, "-f", file)...).want(t, 11, want...).nothing(t)
			if strings.Count(o.err, "error: cp1") != 1 {
				t.Errorf("the error is told more than once:\n%s", o.err)
			}
			if args[0] == "kubeconfig" {
				return
			}
			events := kubewright(t, append(args, "-f", file, "-o", "json")...).want(t, 11).nothing(t).events(t)
			failed := map[string]bool{}
			for _, e := range events {
				failed[e.Host] = failed[e.Host] || e.Kind == "host-failed" && e.ErrorKind == "unreachable"
			}
			last := events[len(events)-1]
			if !failed["cp1"] || !failed["worker1"] || last.Kind != "run-done" || last.ErrorKind != "unreachable" ||
				!strings.Contains(last.Error, "cp1") || !strings.Contains(last.Error, "worker1") {
				t.Errorf("events: %+v", events)
			}
		})
	}
}

func TestLimitLeavesHostsAlone(t *testing.T) {
	port, accepted := deaf(t)
	file := write(t, "cluster.yaml", clusterYAML(
		fmt.Sprintf("name: cp1, address: 127.0.0.2, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: %d, trustOnFirstUse: true}", closedPort),
		fmt.Sprintf("name: worker1, address: 127.0.0.1, nodeIP: 192.0.2.2, roles: [worker], ssh: {port: %d, trustOnFirstUse: true}", port)))
	kubewright(t, "plan", "-f", file, "--limit", "control-plane").want(t, 11, "cp1")
	kubewright(t, "kubeconfig", "-f", file).want(t, 11, "cp1")
	if len(accepted) > 0 {
		t.Error("a host outside the limit was dialled")
	}
}

func TestSignalEndsARun(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, output := range []string{"text", "json"} {
			t.Run(sig.String()+" "+output, func(t *testing.T) {
				port, accepted := deaf(t)
				file := write(t, "cluster.yaml", clusterYAML(
					fmt.Sprintf("name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: %d, trustOnFirstUse: true}", port)))
				go func() {
					<-accepted // the run is waiting for the host to say something
					_ = syscall.Kill(os.Getpid(), sig)
				}()
				o := kubewright(t, "plan", "-f", file, "-o", output).want(t, 130, sig.String()+" signal received", "run the same command again").nothing(t)
				if output == "json" {
					if events := o.events(t); events[len(events)-1].ErrorKind != "interrupted" {
						t.Errorf("events: %+v", events)
					}
				} else if strings.Contains(o.err, "error: cp1") {
					t.Errorf("that it was stopped is told as a failure of the host:\n%s", o.err)
				}
			})
		}
	}
}

// thisMachine serves the machine that the test runs on as a host, and describes a cluster on
// it whose preflight checks are heeded or not. The commands below only look, and have the host
// ask no server for files.
func thisMachine(t *testing.T, ignore ...string) (server *sshtest.Server, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("looking at a host needs root")
	}
	key, pem := sshtest.NewKey(t)
	server = sshtest.Start(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{key.PublicKey()}})
	y := strings.Replace(clusterYAML(fmt.Sprintf(
		"name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane, worker], ssh: {port: %d, keyFile: key, knownHosts: [known]}", server.Port())),
		"  hosts:", "  network: {cni: {name: none}}\n  artifacts: {digests: digests, delivery: push}\n  preflight: {ignore: ["+strings.Join(ignore, ", ")+"]}\n  hosts:", 1)
	return server, write(t, "cluster.yaml", y, "key", string(pem), "known", server.KnownHostsLine(), "digests", allDigests(t))
}

// allDigests pins every file that there is, so that none is looked up.
func allDigests(t *testing.T) string {
	t.Helper()
	releases, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	release, err := releases.Release("1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	lock := catalog.Lock{Files: map[string]string{}}
	for _, arch := range catalog.Arches() {
		for _, f := range release.Files(arch) {
			lock.Files[f.URL] = "sha256:" + strings.Repeat("ab", 32)
		}
	}
	data, err := lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDoctorOnARealHost(t *testing.T) {
	server, file := thisMachine(t)
	o := kubewright(t, "doctor", "-f", file, "-o", "json", "--stats")
	var d diagnosis
	o.decode(t, &d)
	if len(d.Checks) != len(check.Checks()) || len(d.Hosts) != 1 || d.Hosts[0] != "cp1" {
		t.Errorf("%d checks of %v", len(d.Checks), d.Hosts)
	}
	verdicts := map[string]string{}
	for _, c := range d.Checks {
		verdicts[c.Name] = c.Verdict
	}
	// 192.0.2.1 is on no machine's interfaces: it is reserved for documentation.
	if verdicts["root"] != "ok" || verdicts["node-ip"] != "refuse" || d.OK {
		t.Errorf("verdicts: %v, ok is %v", verdicts, d.OK)
	}
	o.want(t, 12, "refused by preflight", "node-ip")
	if server.Execs() != 1 {
		t.Errorf("%d execs, want one", server.Execs())
	}
	if events := o.events(t); events[len(events)-2].Attrs["execs"] != "1" {
		t.Errorf("--stats: %+v", events)
	}
}

// What is wrong with the hosts that answer is worth knowing although another does not.
func TestDoctorWithAHostThatDoesNotAnswer(t *testing.T) {
	_, file := thisMachine(t)
	y, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	worker := fmt.Sprintf("    - {name: worker1, address: 127.0.0.2, nodeIP: 192.0.2.2, roles: [worker], ssh: {port: %d, trustOnFirstUse: true}}\n", closedPort)
	if err := os.WriteFile(file, append(y, worker...), 0o600); err != nil {
		t.Fatal(err)
	}
	o := kubewright(t, "doctor", "-f", file, "-o", "json").want(t, 11, "worker1: cannot reach 127.0.0.2:1", "refused by preflight")
	var d diagnosis
	o.decode(t, &d)
	if d.OK || len(d.Hosts) != 1 || d.Hosts[0] != "cp1" || len(d.Unreached) != 1 || len(d.Checks) != len(check.Checks()) {
		t.Errorf("diagnosis: %+v", d)
	}
	if text := kubewright(t, "doctor", "-f", file).want(t, 11).out; !strings.Contains(text, "\nnot reached  worker1: cannot reach 127.0.0.2:1") {
		t.Errorf("text:\n%s", text)
	}
}

func TestPlanOnARealHost(t *testing.T) {
	_, file := thisMachine(t, check.Names()...)
	o := kubewright(t, "plan", "-f", file, "-o", "json", "--detailed-exitcode").want(t, 2)
	var d plan.Document
	o.decode(t, &d)
	if d.Cluster != "lab" || d.Empty || len(d.Hosts) != 1 || len(d.Hosts[0].Changes) == 0 || len(d.Preflight) == 0 {
		t.Errorf("plan: %+v", d)
	}
	for _, r := range d.Preflight {
		if !r.Ignored {
			t.Errorf("not ignored: %+v", r)
		}
	}
	if last := o.events(t); last[len(last)-1].ErrorKind != "" {
		t.Errorf("pending changes are told as a failure: %+v", last)
	}
	text := kubewright(t, "plan", "-f", file).want(t, 0)
	if !strings.Contains(text.out, "\ncp1 (clean)\n") || !strings.HasSuffix(text.out, ".\n") {
		t.Errorf("text:\n%s", text.out)
	}
}

func TestPlanThatPreflightRefuses(t *testing.T) {
	_, file := thisMachine(t)
	o := kubewright(t, "plan", "-f", file).want(t, 12, "error: cp1: node-ip: ", "hint: ").nothing(t)
	seen := map[string]bool{}
	for line := range strings.Lines(o.err) {
		if strings.HasPrefix(line, "  hint: ") && seen[line] {
			t.Errorf("told twice: %s", line)
		}
		seen[line] = true
	}
}
