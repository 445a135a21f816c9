package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// Sets lists the sets of API objects that the phase keeps; pure.
	Sets func(*cluster.Cluster) ([]Set, error)
	// Prunes is set for the phase that takes away the sets that no phase has any more.
	Prunes bool
	// Verify is set for the phase that checks from the inside that the cluster works.
	Verify bool
	// Members is set for the phase in which a host becomes a member of etcd.
	Members bool
	// Voter is set for a phase that needs the host's member of etcd to vote: on a host that joins,
	// it comes after that.
	Voter bool
	// Rolling is set for a phase that may interrupt what serves the cluster on a control plane:
	// of a cluster that runs, one control plane after the other is taken through it.
	Rolling bool
	// Way is set for a phase that leads clients to the API servers: it gives these their names, or is
	// what stands before them. A cluster that runs is given a new way before anybody is sent there.
	Way bool
	// PerHost is set when Objects are about the hosts in scope, and not about the whole cluster: such a
	// phase is run even when the run is limited to some hosts.
	PerHost bool
	// Waits and Ready list what is waited for before and after the phase is applied: for
	// the one host, or for all hosts of the run when the phase is not about hosts.
	Waits, Ready func(*cluster.Cluster, []inventory.Host) []Condition
}

// Edge orders two phases.
type Edge struct {
	Phase string
	// All is a barrier: the earlier phase must be done and ready on every host, not only
	// on this one. With Any one host is enough, whichever is first.
	All, Any bool
}

// SameHost orders a phase after another on the same host.
func SameHost(phase string) Edge { return Edge{Phase: phase} }

// AllHosts orders a phase after another on every host it is for.
func AllHosts(phase string) Edge { return Edge{Phase: phase, All: true} }

// AnyHost orders a phase after another on whichever host is done with it first.
func AnyHost(phase string) Edge { return Edge{Phase: phase, Any: true} }

// Target is the host that a phase is asked about, with what is known of it.
type Target struct {
	inventory.Host
	// Looked is set once the host was looked at; before, Facts, PKI and Artifacts are zero.
	Looked    bool
	Facts     facts.Facts
	PKI       *certs.Bundle
	Artifacts map[string]resource.Artifact
	Env       certs.Env
	// KubeletClient is the certificate that the cluster has signed for the kubelet of a machine that joins by
	// itself; empty where PKI signs it, and before it was asked for.
	KubeletClient certs.Pair
	// KeepsWays is set while clients may still come to the API servers by a way that is wanted no more:
	// then ways are added, and none is taken away.
	KeepsWays bool
	// VirtualIPs are the addresses that pods of ours were given to put on the host and take away again, by
	// their IDs. They are known while KeepsWays is set.
	VirtualIPs []resource.ID
	// Voters are the members of etcd that vote once this run is through, name=peer URL, separated by
	// commas; "" for all that the inventory wants.
	Voters string
	// Etcd is how a member of etcd starts on the host for the first time; zero for one that runs,
	// or once did.
	Etcd EtcdStart
	// ExternalEtcd is where in an etcd that somebody else runs the data of the cluster is: the
	// identifier of that, in hexadecimal, and the prefix. It is "" while that is not known.
	ExternalEtcd string
}

// EtcdStart is what a new member of etcd has to know at its first start.
type EtcdStart struct {
	// InitialCluster is name=peer URL of all members, as etcd's flag of that name wants them.
	InitialCluster string
	// Existing is set for a member that joins a cluster which runs already.
	Existing bool
}

// World is what is known of all hosts when API objects are made.
type World struct {
	Targets map[string]Target
	// Scope are the hosts of this run; Targets may know more.
	Scope []inventory.Host
	PKI   *certs.Bundle
	Env   certs.Env
	// Manifests holds the upstream manifests that a set names.
	Manifests map[string][]byte
	// Custom holds what the user's own addons consist of, by name.
	Custom map[string][]*unstructured.Unstructured
	// Live holds the objects that a set reads, those that are there.
	Live map[Ref]*unstructured.Unstructured
}

// Set is API objects that come and go together: an addon. The cluster records what a set consists of, so that
// what it has no more is taken away.
type Set struct {
	// Name is that of the addon; no two sets of a cluster have the same.
	Name string
	// After names sets that are ready before this one begins, as far as they are there.
	After []string
	// Namespace is made where it is not there, and belongs to nobody: it stays when the set goes.
	Namespace string
	// Manifests names the upstream manifests that Objects needs.
	Manifests []string
	// Reads are objects that Objects looks at, such as a certificate that is kept while it is valid.
	Reads []Ref
	// Objects lists the objects; pure.
	Objects func(*cluster.Cluster, World) ([]*unstructured.Unstructured, error)
	// Ready is waited for after the objects were applied; with Workloads, every workload among them is.
	Ready     []Condition
	Workloads bool
}

// Ref names an API object.
type Ref struct{ APIVersion, Kind, Namespace, Name string }

// ConditionKind names what is waited for.
type ConditionKind string

// The kinds of condition.
const (
	// APIReady is the API server on the host Name answering /readyz; with no Name, any of them.
	APIReady ConditionKind = "api-ready"
	// NodeRegistered is the Node object Name existing.
	NodeRegistered ConditionKind = "node-registered"
	// NodeReady is the Node Name being Ready.
	NodeReady ConditionKind = "node-ready"
	// DeploymentAvailable, StatefulSetReady and DaemonSetReady are about Namespace/Name, and so is DaemonSetRolledOut, for
	// which no node has to take the DaemonSet.
	DeploymentAvailable ConditionKind = "deployment-available"
	StatefulSetReady    ConditionKind = "statefulset-ready"
	DaemonSetReady      ConditionKind = "daemonset-ready"
	DaemonSetRolledOut  ConditionKind = "daemonset-rolled-out"
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
		case p.Desire == nil && p.Objects == nil && p.Sets == nil && p.Ready == nil && !p.Checks && !p.Verify:
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
// the host. Phases without resources have no part in it. On a host that others depend on while
// the cluster runs, rolling phases are a run of their own.
func Segments(phases []Phase, h inventory.Host, running bool) [][]Phase {
	var segments [][]Phase
	rolling := false
	for _, p := range phases {
		if p.Desire == nil || !p.On(h) {
			continue
		}
		barrier := slices.ContainsFunc(p.After, func(e Edge) bool { return e.All || e.Any })
		if barrier || len(segments) == 0 || running && p.Rolling != rolling {
			segments = append(segments, nil)
		}
		rolling = p.Rolling
		last := len(segments) - 1
		segments[last] = append(segments[last], p)
	}
	return segments
}

// externalNote is what the note on a control plane begins with that says of an external etcd which one
// it is, in place of the members that a cluster has of its own.
const externalNote = "external "

// ExternalEtcdNote is the note on a control plane that the data of the cluster is in an external etcd.
func ExternalEtcdNote(place string) string { return externalNote + place }

// NotedExternalEtcd reads that note; false says that it is none.
func NotedExternalEtcd(note string) (place string, ok bool) {
	return strings.CutPrefix(note, externalNote)
}
