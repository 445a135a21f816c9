//go:build e2e

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Three control planes whose virtual IP kube-vip moves. The nodes have no other way to the API than
// that address, which nobody has before the API has said who may: nothing waits for itself.
func TestKubeVIP(t *testing.T) {
	long(t)
	besideOthers(t)
	needsImage(t, "ghcr.io/kube-vip/kube-vip:")
	l := newLab(t, labSpec{name: "e2e-kv", subnet: "10.136.0.0/24", controlPlanes: 3, workers: 1, vip: true})
	address := "address: " + l.vip(t)
	keepalived := l.copied(t, "controlPlane:\n", "controlPlane:\n    nodeEndpoint: endpoint\n")
	kubeVIP := keepalived.copied(t, address, "provider: kube-vip\n      "+address)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"BringUp", func(t *testing.T) {
			kubeVIP.tool(t, "apply", "--yes").want(t, exitDone)
			kubeVIP.wantWhole(t, 4, "cp1", "cp2", "cp3")
			kubeVIP.wantOneHolder(t, "")
		}},
		{"Rights", kubeVIP.rightsOfKubeVIP},
		{"APIServerDies", kubeVIP.holdersAPIServerDies},
		{"HolderDies", kubeVIP.holderDies},
		{"ToKeepalived", func(t *testing.T) {
			migrates(t, kubeVIP, keepalived, "/etc/kubernetes/kube-vip.conf", "/etc/kubernetes/manifests/kubewright-kube-vip.yaml")
		}},
		{"ToKubeVIP", func(t *testing.T) {
			migrates(t, keepalived, kubeVIP, "/etc/kubernetes/keepalived", "/etc/kubernetes/manifests/kubewright-keepalived.yaml")
		}},
		{"Reset", func(t *testing.T) {
			kubeVIP.tool(t, "reset", "--yes").want(t, exitDone)
			if holders := l.holders(t, l.nodes(t)); len(holders) != 0 {
				t.Errorf("after the reset %v have the virtual IP", holders)
			}
			for _, n := range l.nodes(t) {
				if left := l.on(t, n.Name, "ls -d /etc/kubernetes 2>/dev/null || true"); left != "" {
					t.Errorf("%s has %s", n.Name, left)
				}
			}
		}},
	} {
		if !t.Run(step.name, step.run) {
			return // what comes after it needs what it was to leave
		}
	}
}

// wantOneHolder waits until just one node, another than before, has the virtual IP, and returns which.
func (l *lab) wantOneHolder(t testing.TB, before string) string {
	t.Helper()
	nodes := l.nodes(t)
	var holders []string
	eventually(t, answerTimeout, "one node to have the virtual IP", func(context.Context) error {
		if holders = l.holders(t, nodes); len(holders) != 1 || holders[0] == before {
			return fmt.Errorf("these have it: %v", holders)
		}
		return nil
	})
	return holders[0]
}

// rightsOfKubeVIP: what it authenticates with may hold its Lease and nothing else, and no file on any
// node has the rights that no rule can take away.
func (l *lab) rightsOfKubeVIP(t *testing.T) {
	for _, n := range l.nodes(t) {
		for line := range strings.Lines(l.on(t, n.Name, "sed -n 's/^ *client-certificate-data: //p' /etc/kubernetes/*.conf")) {
			data, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(line), `"`))
			block, _ := pem.Decode(data)
			if err != nil || block == nil {
				t.Fatalf("%s: no certificate: %v %q", n.Name, err, line)
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(cert.Subject.Organization, "system:masters") {
				t.Errorf("%s has a kubeconfig of %s", n.Name, cert.Subject)
			}
		}
	}
	c := l.connect(t)
	for _, tt := range []struct {
		verb, group, resource, name string
		allowed                     bool
	}{
		{"update", "coordination.k8s.io", "leases", "plndr-cp-lock", true},
		{"update", "coordination.k8s.io", "leases", "kube-scheduler", false},
		{"list", "coordination.k8s.io", "leases", "", false},
		{"get", "", "secrets", "", false},
		{"list", "", "nodes", "", false},
		{"list", "", "services", "", false},
	} {
		review, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "kubewright:kube-vip", Groups: []string{"system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: "kube-system", Verb: tt.verb, Group: tt.group, Resource: tt.resource, Name: tt.name,
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != tt.allowed {
			t.Errorf("%s %s %s: allowed is %v", tt.verb, tt.resource, tt.name, review.Status.Allowed)
		}
	}
}

// holdersAPIServerDies: a node whose API server is gone gives the address up, though it is well otherwise.
func (l *lab) holdersAPIServerDies(t *testing.T) {
	const manifest, away = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/root/kube-apiserver.yaml"
	holder := l.wantOneHolder(t, "")
	l.interrupted(t, holder, func() {
		l.on(t, holder, "mv "+manifest+" "+away)
		afterwards(t, func(t testing.TB) { l.on(t, holder, "test ! -e "+away+" || mv "+away+" "+manifest) })
		l.wantOneHolder(t, holder)
	})
	l.on(t, holder, "mv "+away+" "+manifest)
	l.wantWhole(t, 4, "cp1", "cp2", "cp3")
}

// holderDies: the node with the address is switched off hard, and another one has it within seconds.
func (l *lab) holderDies(t *testing.T) {
	holder := l.wantOneHolder(t, "")
	l.interrupted(t, holder, func() {
		l.power(t, "stop", holder)
		afterwards(t, func(t testing.TB) { l.power(t, "start", holder) }) // no harm if it is on
	})
	begun := time.Now()
	l.power(t, "start", holder)
	l.connect(t).alive(t, begun, holder)
	l.wantOneHolder(t, "")
	l.wantWhole(t, 4, "cp1", "cp2", "cp3")
}

// interrupted measures for how long a client of the virtual IP is without an answer while something is
// done to the node that has it, and checks that nothing is lost that was acknowledged.
func (l *lab) interrupted(t *testing.T, holder string, do func()) {
	t.Helper()
	c := l.connect(t)
	w := c.writes(t, c.namespace(t), "holder", c.config)
	const some = 100 // five seconds' worth
	w.acknowledged(t, some)
	do()
	w.acknowledged(t, some)
	longest := w.stop(t)
	t.Logf("%s had the address: longest interruption %s", holder, longest.Round(10*time.Millisecond))
	if longest > longestInterruption {
		t.Errorf("clients of the virtual IP were interrupted for %s", longest)
	}
	w.wantAll(t)
}

// migrates: the plan says that one provider goes and the other comes; afterwards the other has the
// address alone, and nothing is left of the first. Clients of the address notice little.
func migrates(t *testing.T, from, to *lab, gone ...string) {
	to.tool(t, "plan").want(t, exitDone).says(t, "kubewright-keepalived.yaml", "kubewright-kube-vip.yaml")
	c := from.connect(t)
	w := c.writes(t, c.namespace(t), "migration", c.config)
	to.tool(t, "apply", "--yes").want(t, exitDone)
	const some = 100 // five seconds' worth
	w.acknowledged(t, some)
	t.Logf("longest interruption %s", w.stop(t).Round(10*time.Millisecond))
	w.wantAll(t)
	to.wantOneHolder(t, "")
	to.wantWhole(t, 4, "cp1", "cp2", "cp3")
	for _, n := range to.nodes(t) {
		if left := to.on(t, n.Name, "ls -d "+strings.Join(gone, " ")+" 2>/dev/null || true"); left != "" {
			t.Errorf("%s still has %s", n.Name, left)
		}
	}
}
