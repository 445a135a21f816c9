package plan

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/facts"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// Phase is one chapter of making a cluster: what must be true, on which hosts, after what.
type Phase struct {
	Name  string
	Short string
	// Checks is set for the phase that judges facts and changes nothing.
	Checks bool
	// On picks the hosts; nil for a phase that is about the cluster's API objects only.
	On    inventory.Selector
	After []Edge
	// Desire lists what must be true on a host. It is pure, and is asked twice: first with
	// a Target of which only the host is known, to learn what to look at, then with all.
	Desire func(*cluster.Cluster, Target) ([]resource.Resource, error)
	// Objects lists API objects that must exist; pure.
	Objects func(*cluster.Cluster, World) ([]*unstructured.Unstructured, error)
	// Manifests names the upstream manifests that Objects needs; nil: none.
	Manifests func(*cluster.Cluster) []string
	// Verify is set for the phase that checks from the inside that the cluster works.
	Verify bool
	// PerHost is set when each of Objects is about one host: such a phase is run even when
	// the run is limited to some hosts.
	PerHost bool
	// Waits and Ready list what is waited for before and after the phase is applied: for
	// the one host, or for all hosts of the run when the phase is not about hosts.
	Waits, Ready func(*cluster.Cluster, []inventory.Host) []Condition
}

// Edge orders two phases.
type Edge struct {
	Phase string
	// All is a barrier: the earlier phase must be done and ready on every host, not only
	// on this one.
	All bool
}

// SameHost orders a phase after another on the same host.
func SameHost(phase string) Edge { return Edge{Phase: phase} }

// AllHosts orders a phase after another on every host it is for.
func AllHosts(phase string) Edge { return Edge{Phase: phase, All: true} }

// Target is the host that a phase is asked about, with what is known of it.
type Target struct {
	inventory.Host
	// Looked is set once the host was looked at; before, Facts, PKI and Artifacts are zero.
	Looked    bool
	Facts     facts.Facts
	PKI       *certs.Bundle
	Artifacts map[string]resource.Artifact
	Env       certs.Env
}

// World is what is known of all hosts when API objects are made.
type World struct {
	Targets map[string]Target
	// Scope are the hosts of this run; Targets may know more.
	Scope []inventory.Host
	PKI   *certs.Bundle
	// Manifests holds the addons' upstream manifests by artifact name.
	Manifests map[string][]byte
}

// ConditionKind names what is waited for.
type ConditionKind string

// The kinds of condition.
const (
	// APIReady is the API server on the host Name answering /readyz.
	APIReady ConditionKind = "api-ready"
	// NodeRegistered is the Node object Name existing.
	NodeRegistered ConditionKind = "node-registered"
	// NodeReady is the Node Name being Ready.
	NodeReady ConditionKind = "node-ready"
	// DeploymentAvailable and DaemonSetReady are about Namespace/Name.
	DeploymentAvailable ConditionKind = "deployment-available"
	DaemonSetReady      ConditionKind = "daemonset-ready"
)

// Condition is something the engine waits for, as data.
type Condition struct {
	Kind      ConditionKind
	Namespace string
	Name      string
}

// ErrPhases says that a list of phases is not well formed: a defect of the program.
var ErrPhases = errors.New("phases are not well formed")

// CheckPhases refuses duplicate names, edges to unknown or later phases (and so cycles),
// and phases that do nothing.
func CheckPhases(phases []Phase) error {
	seen := map[string]bool{}
	for _, p := range phases {
		switch {
		case p.Name == "" || p.Short == "":
			return fmt.Errorf("%w: phase %q lacks a name or a description", ErrPhases, p.Name)
		case seen[p.Name]:
			return fmt.Errorf("%w: two phases are called %s", ErrPhases, p.Name)
		case p.Desire == nil && p.Objects == nil && p.Ready == nil && !p.Checks && !p.Verify:
			return fmt.Errorf("%w: phase %s does nothing", ErrPhases, p.Name)
		case p.Desire != nil && p.On == nil:
			return fmt.Errorf("%w: phase %s wants resources on no host", ErrPhases, p.Name)
		}
		for _, e := range p.After {
			if !seen[e.Phase] {
				return fmt.Errorf("%w: phase %s comes after %s, which is not before it", ErrPhases, p.Name, e.Phase)
			}
		}
		seen[p.Name] = true
	}
	return nil
}

// Desired asks the phases what must be true on a host.
func Desired(phases []Phase, c *cluster.Cluster, t Target) ([]Group, error) {
	var groups []Group
	for _, p := range phases {
		if p.Desire == nil || !p.On(t.Host) {
			continue
		}
		resources, err := p.Desire(c, t)
		if err != nil {
			return nil, fmt.Errorf("%s: phase %s: %w", t.Name, p.Name, err)
		}
		groups = append(groups, Group{Phase: p.Name, Resources: resources})
	}
	return groups, nil
}

// Segments cuts the phases of a host into runs without a barrier: each run is one act on
// the host. Phases without resources have no part in it.
func Segments(phases []Phase, h inventory.Host) [][]Phase {
	var segments [][]Phase
	for _, p := range phases {
		if p.Desire == nil || !p.On(h) {
			continue
		}
		barrier := false
		for _, e := range p.After {
			barrier = barrier || e.All
		}
		if barrier || len(segments) == 0 {
			segments = append(segments, nil)
		}
		last := len(segments) - 1
		segments[last] = append(segments[last], p)
	}
	return segments
}
