package engine

import (
	"context"
	"errors"

	"kubewright/internal/check"
	"kubewright/internal/fault"
)

// Diagnosis is what preflight found, on hosts with a cluster or without.
type Diagnosis struct {
	// Hosts names those that were looked at, Unreached those that were not, with the reason.
	Hosts     []string
	Unreached map[string]error
	// States says of the hosts that were seen whose they are, and how far they got.
	States map[string]check.State
	// Results is everything that the checks found, refusals included.
	Results []check.Result
}

// Doctor makes all preflight checks on the hosts that answer, and changes nothing. The
// error is about hosts that could not be looked at and authorities that do not go together;
// what refuses is in the diagnosis, which is nil when no host was seen.
func (e *Engine) Doctor(ctx context.Context) (_ *Diagnosis, _ []Stats, err error) {
	defer e.begin("doctor")(&err)
	s := e.survey(ctx, nil)
	defer s.Close()
	d := &Diagnosis{Unreached: map[string]error{}}
	for _, m := range s.hosts {
		if m.err != nil {
			d.Unreached[m.Name] = m.err
		} else {
			d.Hosts = append(d.Hosts, m.Name)
		}
	}
	unreached := s.unreached()
	if len(d.Hosts) == 0 {
		return nil, s.stats(), unreached
	}
	adopt := s.adopt()
	if unreached != nil && fault.KindOf(adopt) == fault.Unreachable {
		adopt = nil // the hosts that did not answer are named already
	}
	// What the hosts lack tells what they would have to fetch.
	unknown := "the cluster's authorities are not known"
	if s.pki != nil {
		unknown = ""
		s.askExternalEtcd(ctx)
		err := s.target(ctx)
		if err == nil {
			err = s.planHosts(ctx)
		}
		if s.sourceFailure == nil {
			adopt = errors.Join(adopt, err)
		}
	}
	s.tryLinks(ctx, s.checkWorld(), true)
	s.tryEndpoints()(ctx)
	w := s.checkWorld()
	w.ArtifactsUnknown = unknown
	d.States = w.States()
	var input error
	if d.Results, input = check.Preflight(w); input != nil {
		return nil, s.stats(), fault.Wrap(fault.BadInput, input)
	}
	return d, s.stats(), errors.Join(unreached, adopt)
}
