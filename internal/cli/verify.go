package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/engine"
	"kubewright/internal/kube"
	"kubewright/internal/report"
)

func newVerifyCommand() *cobra.Command {
	flags := &runFlags{}
	var patience time.Duration
	var quick bool
	cmd := onCluster(flags, &cobra.Command{
		Use:   "verify",
		Short: "Check from the inside that the cluster works",
		Long: `Checks from every node: the node is Ready, its kubelet and API server answer with verified
certificates, cluster DNS answers through its service, pods on other nodes are reached.

Then it tries what is enabled, with pods in a namespace of its own that is deleted again: services, network
policy, load balancer, ingress, metrics, storage, registry. This is left out with --quick or --limit.`,
		Example: `  kubewright verify -f cluster.yaml --patience 1m`,
	}, func(ctx context.Context, r *run) (*result, error) {
		checks, stats, err := r.Verify(ctx, patience, quick)
		r.stats = stats
		if err != nil {
			return nil, err
		}
		return verifyResult(r.cluster.Name, checks), engine.Unhealthy(checks)
	})
	flags.addScope(cmd)
	cmd.Flags().DurationVar(&patience, "patience", 0, "repeat failing checks for this long")
	cmd.Flags().BoolVar(&quick, "quick", false, "only look: make no pods to try services, storage and what else is enabled")
	return cmd
}

// health is the JSON form of verify.
type health struct {
	Cluster string        `json:"cluster"`
	OK      bool          `json:"ok"`
	Checks  []healthCheck `json:"checks"`
}

type healthCheck struct {
	Name string `json:"name"`
	// Node is absent for a check of the whole cluster.
	Node    string  `json:"node,omitempty"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

func verifyResult(clusterName string, checks []kube.Check) *result {
	h := health{Cluster: clusterName, OK: true, Checks: []healthCheck{}}
	var text []string
	for _, c := range checks {
		h.OK = h.OK && c.OK
		h.Checks = append(h.Checks, healthCheck{Name: c.Name, Node: c.Node, OK: c.OK, Detail: c.Detail, Seconds: c.Duration.Seconds()})
		text = append(text, report.Printable(c.String()))
	}
	return &result{document: h, text: lines(text)}
}
