package cli

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"kubewright/internal/plan"
)

func newStatusCommand() *cobra.Command {
	flags := &runFlags{}
	cmd := onCluster(flags, &cobra.Command{
		Use:   "status",
		Short: "Show how each host stands: in sync, drifted, pending",
		Long: `Looks at every host, says whether it is clean, unfinished, complete or of another cluster, and
counts: what is as wanted, what was changed since it was applied (drift), and what apply would change. What has drifted is named; plan shows how.`,
		Example: `  kubewright status -f cluster.yaml`,
	}, func(ctx context.Context, r *run) (*result, error) {
		p, stats, err := r.Plan(ctx)
		r.stats = stats
		if err != nil {
			return nil, err
		}
		return statusResult(p), errors.Join(p.Failed(), p.Absent)
	})
	flags.addScope(cmd)
	return cmd
}

// clusterStatus is the JSON form of status.
type clusterStatus struct {
	Cluster string `json:"cluster"`
	// InSync says that everything is as wanted.
	InSync  bool           `json:"inSync"`
	Hosts   []hostStatus   `json:"hosts"`
	Objects []objectStatus `json:"objects"`
	// Failures are the addons of which it is not known how they stand.
	Failures  []plan.DocumentFailure `json:"failures,omitempty"`
	Unreached map[string]string      `json:"unreached,omitempty"`
}

// hostStatus counts the resources of a host by status.
type hostStatus struct {
	Name string `json:"name"`
	// State is clean, unfinished, complete or foreign.
	State  string              `json:"state"`
	Counts map[plan.Status]int `json:"counts"`
	Drift  []string            `json:"drift"`
}

// objectStatus is an API object that is not as wanted.
type objectStatus struct {
	Phase string `json:"phase"`
	Name  string `json:"name"`
}

func statusResult(p *plan.Plan) *result {
	d := p.Document()
	s := clusterStatus{Cluster: p.Cluster, InSync: p.Empty() && p.Absent == nil, Hosts: []hostStatus{}, Objects: []objectStatus{}, Failures: d.Failures, Unreached: d.Unreached}
	for _, h := range p.Hosts {
		host := hostStatus{Name: h.Name, State: p.States[h.Name].String(), Counts: map[plan.Status]int{}, Drift: []string{}}
		for _, it := range h.Items {
			host.Counts[it.Status]++
			if it.Status == plan.Drift {
				host.Drift = append(host.Drift, string(it.Change.ID))
			}
		}
		s.Hosts = append(s.Hosts, host)
	}
	for _, o := range d.Objects {
		s.Objects = append(s.Objects, objectStatus{Phase: o.Phase, Name: o.Name})
	}
	return &result{document: s, text: func(w io.Writer) error { return s.text(w, p.Summary()) }}
}

func (s clusterStatus) text(w io.Writer, summary string) error {
	statuses := []plan.Status{plan.InSync, plan.Drift, plan.Pending, plan.Unfinished, plan.New, plan.Adopted, plan.Orphan}
	header := []string{"HOST", "STATE"}
	for _, status := range statuses {
		header = append(header, string(status))
	}
	rows := [][]string{header}
	var named []string
	for _, h := range s.Hosts {
		row := []string{h.Name, h.State}
		for _, status := range statuses {
			row = append(row, strconv.Itoa(h.Counts[status]))
		}
		rows = append(rows, row)
		for _, id := range h.Drift {
			named = append(named, "drift  "+h.Name+"  "+id)
		}
	}
	for _, o := range s.Objects {
		named = append(named, "object  "+o.Phase+"  "+o.Name)
	}
	for _, name := range sortedKeys(s.Unreached) {
		named = append(named, "not reached  "+name+": "+s.Unreached[name])
	}
	if err := table(w, rows); err != nil {
		return err
	}
	return lines(append(named, summary))(w)
}
