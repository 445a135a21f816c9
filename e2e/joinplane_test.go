//go:build e2e

package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The name by which all control planes are reached, and the key that opens the uploaded authorities.
const (
	joinName = "api.join.test"
	keyFile  = "/run/key"
)

// Three control planes and two workers become a cluster by themselves, with nothing but the binary on each:
// control planes by learners that are promoted, opened with the key of the uploaded authorities. A wrong key
// leaves a machine on which join works. Taken over by apply, the first members are told of the last.
func TestJoinControlPlanes(t *testing.T) {
	long(t)
	besideOthers(t)
	m := initiated{newLab(t, labSpec{name: "e2e-joins", subnet: "10.145.0.0/24", controlPlanes: 3, workers: 2})}
	m.prepare(t)
	const way = "  controlPlane:\n    endpoint: " + joinName + ":6443\n    nodeEndpoint: endpoint\n"
	for _, n := range m.nodes(t) {
		m.on(t, n.Name, "echo "+m.nodes(t)[0].Address+" "+joinName+" >>/etc/hosts; umask 077; printf %064d 7 >"+keyFile+"; printf %064d 8 >/run/wrong-key")
	}
	m.on(t, "cp1", "cat >>"+siteFile+" <<'END'\n"+way+"END")

	r := m.here(t, "cp1", "init", "--config", siteFile, "--token", "file:"+tokenFile, "--skip-token-print", "--upload-certs", "--certificate-key", "file:"+keyFile).want(t, exitDone)
	line := regexp.MustCompile(`(?m)^  kubewright join .* --control-plane .*$`).FindString(r.stdout)
	line = strings.Replace(strings.TrimSpace(line), "<value withheld>", "file:"+tokenFile, 1)
	with := func(key string) []string {
		return strings.Fields(strings.Replace(line, "<value withheld>", "file:"+key, 1))[1:]
	}

	t.Run("WrongKey", func(t *testing.T) {
		was := m.inventory(t, "cp2")
		m.here(t, "cp2", with("/run/wrong-key")...).want(t, exitBadInput).says(t, "the certificate key is not the one")
		m.here(t, "cp2", append(with(keyFile), "--dry-run")...).want(t, exitDone).says(t, "promote")
		if diff := unlike(was, m.inventory(t, "cp2")); len(diff) > 0 {
			t.Errorf("cp2 is not as it was (- before, + after):\n%s", strings.Join(diff, "\n"))
		}
	})
	for _, name := range []string{"cp2", "cp3"} {
		r := m.here(t, name, with(keyFile)...).want(t, exitDone).says(t, "This machine is a control plane of the cluster e2e-join")
		t.Logf("%s joined in %s", name, r.took)
		m.here(t, name, with(keyFile)...).want(t, exitDone).says(t, "Nothing to do")
	}
	worker := slices.Clone(with(keyFile))
	worker = slices.DeleteFunc(worker, func(word string) bool {
		return strings.Contains(word, "control-plane") || strings.Contains(word, "certificate-key") || word == "file:"+keyFile
	})
	for _, name := range []string{"worker1", "worker2"} {
		m.here(t, name, worker...).want(t, exitDone)
	}

	l := m.copied(t, "  inventory: inventory.yaml\n", "  inventory: inventory.yaml\n"+way)
	r = l.tool(t, "plan", "-o", "json").want(t, exitDone)
	changes := changedOn(r.plan(t))
	served := []string{"cert:/var/lib/kubelet/pki/kubelet.crt", "unit:kubelet.service"}
	noted := []string{"file:/var/lib/kubewright/etcd"}
	for host, want := range map[string][]string{"cp1": noted, "cp2": noted, "cp3": nil, "worker1": served, "worker2": served} {
		if !slices.Equal(changes[host], want) {
			t.Errorf("%s: want just %v\n%s", host, want, r)
		}
	}
	if len(r.plan(t).Objects) > 0 {
		t.Errorf("the API is not as apply would have it\n%s", r)
	}
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantEmptyPlan(t)
	l.tool(t, "verify", "--quick").want(t, exitDone)
}
