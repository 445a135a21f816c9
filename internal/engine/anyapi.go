package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
)

// anyAPI is the condition that some API server is ready for what a run does, which has all rights. The first that
// is serves the run from then on.
type anyAPI struct {
	session *Session
	// stragglers is how long the others are waited for once one has said that it is not ready; zero is for as long
	// as the look may take. One that starts takes connections seconds before it answers, and whoever looks again and
	// again must not miss meanwhile that another gets ready.
	stragglers time.Duration
}

// readyAPI is the condition to wait for.
func (s *Session) readyAPI() anyAPI {
	const stragglers = 300 * time.Millisecond
	return anyAPI{session: s, stragglers: stragglers}
}

// String implements kube.Condition.
func (anyAPI) String() string { return "an API server to be ready" }

// Check implements kube.Condition: it asks all of them at once.
func (a anyAPI) Check(ctx context.Context) (ready bool, detail string, err error) {
	type answer struct {
		name          string
		ready, serves bool
		detail        string
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
				got.ready, got.detail, err = client.APIOpen().Check(ctx)
			}
			got.serves = got.detail != "" // it lists what it waits for
			if errors.Is(err, context.Canceled) {
				got.detail = "no answer yet"
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
		if got.serves && a.stragglers > 0 {
			time.AfterFunc(a.stragglers, cancel) // which does nothing to a look that is over
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
	_, _, _ = anyAPI{session: s}.Check(ctx) // that there is none is what the client will say
	return s.client("")
}
