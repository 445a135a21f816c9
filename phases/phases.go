// Package phases is the table of contents of kubewright: what makes a machine a node and
// a set of machines a cluster, in order. A phase says what must be true; how a thing is
// looked at and made true is in internal/resource, and who does it when, in internal/engine.
package phases

import (
	"kubewright/internal/plan"
)

// All lists the phases of a cluster in the order in which a host runs through them. The
// authorities are the one barrier between hosts; after them workers prepare themselves and start their kubelets while
// the control plane comes up, and API objects are made as soon as it answers.
func All() []plan.Phase {
	return []plan.Phase{
		preflight(), authorities(), hostPrep(), runtime(), binaries(), pki(), kubeconfigs(),
		loadBalancer(), vip(), etcd(), controlPlane(), kubelets(),
		bootstrap(), vipRights(), members(), kubeProxy(), network(), dns(), nodes(), installAddons(), verify(),
	}
}

// Names lists the names of phases in order.
func Names(list []plan.Phase) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// preflight judges the facts of all hosts together, before anything changes.
func preflight() plan.Phase {
	return plan.Phase{Name: "preflight", Short: "checks that refuse unfit hosts", Checks: true}
}
