package addons

import "cmp"

// MetricsServerReplicas is the number of pods of metrics-server: as the user says, else two where that keeps
// it running while a node is away.
func (p Params) MetricsServerReplicas() int {
	return cmp.Or(p.Addons.MetricsServer.Replicas, max(1, min(p.Nodes, 2)))
}
