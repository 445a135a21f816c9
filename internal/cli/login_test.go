package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"kubewright/internal/check"
	"kubewright/internal/plan"
	"kubewright/internal/ssh/sshtest"
	"kubewright/inventory"
	"kubewright/spec/strict"
)

// opensshHost serves the machine that the test runs on as a host by a real sshd, and describes a cluster
// on it; login are settings of SSH beside the port and the known hosts.
func opensshHost(t *testing.T, o sshtest.OpenSSHOptions, login string) (file string) {
	t.Helper()
	server := sshtest.StartOpenSSH(t, o)
	known := fmt.Sprintf("[127.0.0.1]:%d %s", server.Port, ssh.MarshalAuthorizedKey(server.HostKey))
	y := strings.Replace(clusterYAML(fmt.Sprintf(
		"name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane, worker], ssh: {port: %d, knownHosts: [known], %s}", server.Port, login)),
		"  hosts:", "  network: {cni: {name: none}}\n  artifacts: {digests: digests, delivery: push}\n  preflight: {ignore: ["+strings.Join(check.Names(), ", ")+"]}\n  hosts:", 1)
	return write(t, "cluster.yaml", y, "key", string(server.Key), "known", known, "digests", allDigests(t))
}

// planned is the plan for the machine.
func planned(t *testing.T, file string) plan.Document {
	t.Helper()
	var d plan.Document
	kubewright(t, "plan", "-f", file, "-o", "json", "--detailed-exitcode").want(t, 2).decode(t, &d)
	if len(d.Hosts) != 1 || len(d.Hosts[0].Changes) < 10 || len(d.Preflight) == 0 {
		t.Fatalf("this is no plan: %+v", d)
	}
	return d
}

// planFields are the values of a document by their paths.
func planFields(t *testing.T, d plan.Document) map[string]string {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var visit func(at string, value any)
	visit = func(at string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, below := range value {
				visit(at+"."+key, below)
			}
		case []any:
			for i, below := range value {
				visit(fmt.Sprintf("%s[%d]", at, i), below)
			}
		default:
			all[at] = fmt.Sprint(value)
		}
	}
	visit("", tree)
	return all
}

// Whatever shell the login is, whatever that says before it runs a command, whatever the server says
// before it lets anybody in, and whatever language all that is in: the plan is that of a quiet host.
func TestThePlanIsThatOfAQuietHost(t *testing.T) {
	silent := opensshHost(t, sshtest.OpenSSHOptions{}, "keyFile: key")
	quiet, again := planFields(t, planned(t, silent)), planFields(t, planned(t, silent))
	different := []string{} // each time: of new keys and certificates, of what is free on the machine
	for at, value := range quiet {
		if again[at] != value {
			different = append(different, at)
		}
	}
	if len(different) > len(quiet)/4 {
		t.Fatalf("%d of %d values are others each time", len(different), len(quiet))
	}
	stable := func(d map[string]string) map[string]string {
		for _, at := range different {
			delete(d, at)
		}
		return d
	}
	stable(quiet)
	for _, shell := range []string{"bash", "dash", "zsh", "fish", "tcsh", "ksh", "mksh"} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			banner := write(t, "banner", "ACHTUNG! Nur f\u00fcr Befugte.\n\x1b[2J")
			home := sshtest.NoisyHome(t)
			noisy := planned(t, opensshHost(t, sshtest.OpenSSHOptions{
				Shell: path, Home: home,
				Lines: []string{"Banner " + banner, "SetEnv LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 LANGUAGE=de LC_NUMERIC=de_DE.UTF-8"},
			}, "keyFile: key"))
			if _, err := os.Stat(home + "/spoke"); err != nil && !slices.Contains([]string{"dash", "ksh", "mksh"}, shell) {
				t.Errorf("the shell said nothing, so this test tested nothing: %v", err)
			}
			if diff := cmp.Diff(quiet, stable(planFields(t, noisy))); diff != "" {
				t.Errorf("(-quiet +noisy):\n%s", diff)
			}
		})
	}
}

// What ssh reaches with a configuration file, kubewright reaches with it: through a bastion that has a key
// of its own.
func TestPlanThroughAnSSHConfig(t *testing.T) {
	gate := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: []string{"LogLevel VERBOSE"}})
	isolate(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"gate": string(gate.Key), "known": fmt.Sprintf("[127.0.0.1]:%d %s", gate.Port, ssh.MarshalAuthorizedKey(gate.HostKey)),
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf("Host gate\n HostName 127.0.0.1\n Port %d\n User root\n IdentityFile %s/gate\n UserKnownHostsFile %s/known\nHost 127.*\n IdentityFile DIR/key\n ProxyJump gate\n", gate.Port, dir, dir)
	for name, login := range map[string]string{
		"ProxyJump": "configFile: ssh_config",
		"bastion":   fmt.Sprintf("keyFile: key, bastion: {address: 127.0.0.1, port: %d, keyFile: %s/gate, hostKey: %q}", gate.Port, dir, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(gate.HostKey)))),
		"both":      fmt.Sprintf("configFile: ssh_config, bastion: {address: gate, hostKey: %q}", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(gate.HostKey)))),
	} {
		t.Run(name, func(t *testing.T) {
			before := strings.Count(gate.Log(t), "Accepted publickey")
			file := opensshHost(t, sshtest.OpenSSHOptions{}, login)
			folder := strings.TrimSuffix(file, "/cluster.yaml")
			if err := os.WriteFile(folder+"/ssh_config", []byte(strings.ReplaceAll(config, "DIR", folder)), 0o600); err != nil {
				t.Fatal(err)
			}
			planned(t, file)
			if logins := strings.Count(gate.Log(t), "Accepted publickey") - before; logins != 1 {
				t.Errorf("%d logins to the bastion", logins)
			}
		})
	}
}

// Every key of what an inventory says of SSH is shown by inventory show.
func TestSSHKeysAreComplete(t *testing.T) {
	var all []string
	var visit func(typ reflect.Type, above string)
	visit = func(typ reflect.Type, above string) {
		for _, f := range strict.Fields(typ) {
			if f.Type.Kind() == reflect.Struct {
				visit(f.Type, above+f.Name+".")
				continue
			}
			all = append(all, above+f.Name)
		}
	}
	visit(reflect.TypeFor[inventory.SSHSpec](), "")
	var shown []string
	ref := inventory.Ref{Source: inventory.RefEnv, Name: "X"}
	full := inventory.SSH{
		User: "u", Port: 1, KeyFile: "k", KnownHosts: []string{"k"}, CertificateFile: "c", Passphrase: ref, Password: ref, Sudo: inventory.Sudo{Password: ref}, HostKey: "h", ConfigFile: "f",
		Bastion: inventory.Bastion{Address: "a", User: "u", Port: 2, KeyFile: "k", Passphrase: ref, Password: ref, HostKey: "h"},
	}
	for _, keys := range sshKeys() {
		key := strings.Join(keys, ".")
		shown = append(shown, key)
		if sshValue(full, key) == nil {
			t.Errorf("%s has no value", key)
		}
	}
	slices.Sort(all)
	slices.Sort(shown)
	if diff := cmp.Diff(all, shown); diff != "" {
		t.Errorf("(-there are +shown):\n%s", diff)
	}
}
