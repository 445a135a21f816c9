package engine

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
)

// anyAPI is the condition that some API server is ready. The first that is serves the run from then on.
type anyAPI struct{ session *Session }

// String implements kube.Condition.
func (anyAPI) String() string { return "an API server to be ready" }

// Check implements kube.Condition: it asks all of them at once.
func (a anyAPI) Check(ctx context.Context) (ready bool, detail string, err error) {
	type answer struct {
		name   string
		ready  bool
		detail string
	}
	planes := a.session.controlPlanes()
	if len(planes) == 0 {
		return false, "", fault.New(fault.Unreachable, "no control plane was reached")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(planes))
	for _, m := range planes {
		go func() {
			client, err := a.session.client(m.Name)
			got := answer{name: m.Name}
			if err == nil {
				got.ready, got.detail, err = client.APIReady().Check(ctx)
			}
			got.detail = m.Name + ": " + cmp.Or(got.detail, errText(err)) // a server that is not ready says why
			answers <- got
		}()
	}
	var details []string
	for range planes {
		got := <-answers
		if got.ready {
			a.session.api.prefer(got.name)
			return true, "", nil
		}
		details = append(details, got.detail)
	}
	slices.Sort(details)
	return false, strings.Join(details, "; "), nil
}

// chooseAPI returns a client for an API server that is ready, which is the one that is used from then
// on; for the one that was used last, if none is.
func (s *Session) chooseAPI(ctx context.Context) (*kube.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, apiProbeTimeout)
	defer cancel()
	_, _, _ = anyAPI{s}.Check(ctx) // that there is none is what the client will say
	return s.client("")
}
