//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// initiated are bare machines that are to become a cluster by themselves, with nothing but the binary on each of
// them, and on the first the site's files: what kubewright did before with a file of the hosts, and SSH.
type initiated struct{ *lab }

// The files on the first machine: the cluster's, which names no hosts, and a token.
const (
	siteFile  = "/root/site/cluster.yaml"
	tokenFile = "/run/token"
)

// A cluster made on its machines, one after the other, is taken over by apply, which finds what differs, and is
// taken apart again on the machines.
func TestInit(t *testing.T) {
	besideOthers(t)
	m := initiated{newLab(t, labSpec{name: "e2e-init", subnet: "10.142.0.0/24", controlPlanes: 1, workers: 2})}
	before := m.prepare(t)
	t.Run("DryRun", func(t *testing.T) {
		m.here(t, "cp1", "init", "--config", siteFile, "--dry-run").want(t, exitDone).says(t, "ConfigMap kube-system/kubewright-config")
		if diff := unlike(before["cp1"], m.inventory(t, "cp1")); len(diff) > 0 {
			t.Errorf("a plan has changed something:\n%s", strings.Join(diff, "\n"))
		}
	})
	m.interrupted(t)
	line := m.initialize(t)
	t.Run("Again", m.again)
	t.Run("Tokens", m.tokens)
	m.joined(t, line)

	c := m.connect(t)
	m.provideImage(t)
	t.Run("Workloads", func(t *testing.T) {
		ns := c.namespace(t)
		c.serverOnEach(t, ns)
		c.wantMesh(t, ns)
		t.Run("TakenOver", m.takenOver)
		c.wantMesh(t, ns)
	})
	t.Run("Again", m.again)
	t.Run("Reset", func(t *testing.T) { m.reset(t, before) })
}

// prepare copies the binary and the site's files, and returns what is on each machine then.
func (m initiated) prepare(t *testing.T) map[string][]string {
	t.Helper()
	file, err := os.ReadFile(m.file())
	if err != nil {
		t.Fatal(err)
	}
	m.put(t, "cp1", siteFile, regexp.MustCompile(`(?m)^ *inventory: .*\n`).ReplaceAll(file, nil))
	if digests, err := os.ReadFile(filepath.Join(m.dir, "digests.yaml")); err == nil { // none with upstream's artifacts
		m.put(t, "cp1", filepath.Join(filepath.Dir(siteFile), "digests.yaml"), digests)
	}
	before := map[string][]string{}
	for _, n := range m.nodes(t) {
		m.carry(t, n.Name)
		m.on(t, n.Name, "umask 077; echo 0a1b2c.0123456789abcdef >"+tokenFile)
		before[n.Name] = m.inventory(t, n.Name)
	}
	return before
}

// put writes a file on a machine.
func (m initiated) put(t *testing.T, host, path string, content []byte) {
	t.Helper()
	if _, err := m.ssh(t.Context(), host, strings.NewReader(string(content)), "mkdir -p "+filepath.Dir(path)+" && cat >"+path); err != nil {
		t.Fatal(err)
	}
}

// What is on a host once a run has begun to change it, and once the host belongs to a cluster, whose
// authorities no other run replaces from then on.
const (
	begunFile   = "/var/lib/kubewright/manifest"
	belongsFile = "/var/lib/kubewright/cluster"
)

// interrupted begins, and is cut on the way: the next run goes on from there.
func (m initiated) interrupted(t *testing.T) {
	t.Helper()
	m.cut(t, "cp1", belongsFile, "init", "--config", siteFile).says(t, "run the same command again")
}

// cut runs kubewright on a host itself, and interrupts it as soon as that file is there.
func (l *lab) cut(t *testing.T, host, file string, args ...string) result {
	t.Helper()
	// The shell becomes kubewright, and what it leaves behind watches it.
	watch := "p=$$; (until [ -s " + file + " ] || ! kill -0 $p; do sleep 0.1; done; kill -INT $p) >/dev/null 2>&1 & exec /usr/local/bin/kubewright "
	r := kubewright(t, "lab", "--dir", l.dir, "ssh", host, "--", "sh", "-c", "'"+watch+strings.Join(args, " ")+"'").want(t, exitInterrupted)
	l.on(t, host, "test -s "+file)
	return r
}

// initialize makes the first machine a control plane, and returns the line by which workers join.
func (m initiated) initialize(t *testing.T) string {
	t.Helper()
	ca := m.caFingerprint(t)
	r := m.here(t, "cp1", "init", "--config", siteFile, "--token", "file:"+tokenFile, "--skip-token-print").want(t, exitDone)
	t.Logf("%s", r)
	if m.caFingerprint(t) != ca {
		t.Error("the run that went on has made another authority")
	}
	lines := regexp.MustCompile(`(?m)^  kubewright join \S+ --token <value withheld> --discovery-token-ca-cert-hash sha256:\S+$`).FindAllString(r.stdout, -1)
	if len(lines) != 1 {
		t.Fatalf("how others join is not said\n%s", r)
	}
	if out := m.on(t, "cp1", "KUBECONFIG=/etc/kubernetes/admin.conf kubectl get nodes -o wide"); !regexp.MustCompile(`(?m)^cp1 +Ready `).MatchString(out) {
		t.Errorf("kubectl on the machine says\n%s", out)
	}
	return strings.TrimSpace(lines[0])
}

// again: with the file or without, nothing is to be done.
func (m initiated) again(t *testing.T) {
	for _, args := range [][]string{{"init", "--config", siteFile}, {"init"}, {"init", "phase", "kubelet", "--config", siteFile}} {
		m.here(t, "cp1", args...).want(t, exitDone).says(t, "Nothing to do: everything is as wanted.")
	}
}

// tokens are made, listed and deleted on the control plane, and through SSH. What is printed is looked at
// on the machine: no test leaves tokens in its logs.
func (m initiated) tokens(t *testing.T) {
	out := m.on(t, "cp1", `
		kubewright token create --ttl 1h --description rack --print-join-command >/run/line
		kubewright token list >/run/list
		grep -c '^[a-z0-9]\{6\}\.[a-z0-9]\{16\} ' /run/list
		grep -c ' rack ' /run/list
		grep -c '^0a1b2c\.' /run/list
		sed -E 's/[a-z0-9]{6}\.[a-z0-9]{16}/TOKEN/' /run/line
		kubewright token delete $(sed -nE 's/.*--token ([a-z0-9]{6})\..*/\1/p' /run/line) | sed -E 's/token .* deleted/one deleted/'
		kubewright token list | grep -c rack || true
		rm /run/line /run/list`)
	want := regexp.MustCompile(`^2\n1\n1\nkubewright join 10\.142\.0\.10:6443 --token TOKEN --discovery-token-ca-cert-hash sha256:[0-9a-f]{64}\none deleted\n0$`)
	if !want.MatchString(out) { // two: the one of init, and this one
		t.Errorf("tokens on the machine:\n%s", out)
	}
	m.here(t, "cp1", "init", "phase", "upload-certs", "--upload-certs").want(t, exitBadInput).says(t, "no address leads to all control planes")
	m.tool(t, "token", "delete", "zzzzzz").want(t, exitBadInput).says(t, "the cluster has no token zzzzzz")
	if log := m.on(t, "cp1", `cat /root/.cache/kubewright/logs/*.log | grep -c '0a1b2c\.0123456789abcdef' || true`); log != "0" {
		t.Errorf("%s lines of the debug logs have the token", log)
	}
}

// joined pastes the line on the workers, with where the token is kept in its place.
func (m initiated) joined(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(strings.Replace(line, "<value withheld>", "file:"+tokenFile, 1))
	c := m.connect(t)
	for _, worker := range m.workers(t) {
		m.here(t, worker, words[1:]...).want(t, exitDone).says(t, "is a node of the cluster e2e-init")
		c.wantReady(t, worker)
	}
}

// takenOver: a plan with an inventory of the machines has what only who has the authority's key can issue, and
// nothing else; after it was applied, nothing at all.
func (m initiated) takenOver(t *testing.T) {
	r := m.tool(t, "plan", "-o", "json").want(t, exitDone)
	changes := changedOn(r.plan(t))
	want := []string{"cert:/var/lib/kubelet/pki/kubelet.crt", "unit:kubelet.service"}
	for _, worker := range m.workers(t) {
		if !slices.Equal(changes[worker], want) {
			t.Errorf("%s: want just %v\n%s", worker, want, r)
		}
	}
	if len(changes["cp1"])+len(r.plan(t).Objects) > 0 {
		t.Errorf("the control plane, or the API, is not as apply would have it\n%s", r)
	}
	m.tool(t, "apply", "--yes").want(t, exitDone)
	m.wantEmptyPlan(t)
}

// reset on each machine leaves what was there before, and no more.
func (m initiated) reset(t *testing.T, before map[string][]string) {
	m.here(t, "cp1", "reset").want(t, exitInterrupted).says(t, "name of the cluster")
	for _, host := range append(m.workers(t), "cp1") {
		m.here(t, host, "reset", "--yes").want(t, exitDone).says(t, host+": clean")
		diff := unlike(before[host], m.inventory(t, host))
		if len(diff) > 0 {
			t.Errorf("%s is not as it was (- before, + after):\n%s", host, strings.Join(diff, "\n"))
		}
		m.here(t, host, "reset", "--yes").want(t, exitBadInput).says(t, "nothing of kubewright's")
	}
	m.here(t, "cp1", "init", "phase", "upload-certs", "--upload-certs").want(t, exitBadInput).says(t, "no control plane")
	r := m.here(t, "cp1", "init", "--config", siteFile, "--dry-run", "-o", "json").want(t, exitDone)
	var p planDocument
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil || p.Empty {
		t.Errorf("%v\n%s", err, r)
	}
}
