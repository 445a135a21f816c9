package engine

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// operatorLifetime bounds the administrator certificate that a run has in memory.
const operatorLifetime = 2 * time.Hour

// apiProbeTimeout is how long a plan waits for an API server that should be there.
const apiProbeTimeout = 5 * time.Second

// api holds a client for each control plane's own API server, through that host's
// connection: nothing depends on a load balancer or a route from the operator.
type api struct {
	mu      sync.Mutex
	clients map[string]*kube.Client
	// from names the control plane whose API server answered last, "" before one did.
	from string
}

func newAPI() *api { return &api{clients: map[string]*kube.Client{}} }

// prefer has an API server be the one that is asked from now on.
func (a *api) prefer(controlPlane string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = controlPlane
}

func (a *api) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clients {
		c.Close()
	}
}

// client is the client for the API server on a control plane; "" is one that answered, or any that was
// reached.
func (s *Session) client(name string) (*kube.Client, error) {
	s.api.mu.Lock()
	defer s.api.mu.Unlock()
	m := s.controlPlane(cmp.Or(name, s.api.from))
	if m == nil {
		return nil, fault.New(fault.Unreachable, "no control plane was reached")
	}
	if c, ok := s.api.clients[m.Name]; ok {
		return c, nil
	}
	pair, err := s.operatorPair()
	if err != nil {
		return nil, err
	}
	c, err := kube.New(kube.Config{
		Server: s.apiOf(m),
		CAPEM:  s.pki.Kubernetes.CertPEM(), Client: pair, Dial: s.dialVia(m),
	})
	if err != nil {
		return nil, err
	}
	s.api.clients[m.Name] = c
	return c, nil
}

// apiOf is the URL of the API server on a control plane, by its own address.
func (s *Session) apiOf(m *member) string {
	return "https://" + net.JoinHostPort(m.NodeIP.String(), strconv.Itoa(s.Cluster.APIPort))
}

func (s *Session) controlPlane(name string) *member {
	for _, m := range s.controlPlanes() {
		if name == "" || name == m.Name {
			return m
		}
	}
	return nil
}

// controlPlanes are those that were seen, and that stay.
func (s *Session) controlPlanes() []*member {
	return slices.DeleteFunc(slices.Clone(s.hosts), func(m *member) bool {
		return !m.Has(inventory.RoleControlPlane) || !m.seen || m.Name == s.leaving
	})
}

// objects asks a phase for its API objects, those of the hosts in scope.
func (s *Session) objects(p plan.Phase, scope []inventory.Host) ([]kube.Object, error) {
	w := plan.World{PKI: s.pki, Targets: s.targets, Scope: scope, Env: s.env()}
	objects, err := p.Objects(s.Cluster, w)
	if err != nil {
		return nil, fmt.Errorf("phase %s: %w", p.Name, err)
	}
	return objects, nil
}

// scope are the hosts that this run is about.
func (s *Session) scope() []inventory.Host {
	var hosts []inventory.Host
	for _, m := range s.wanted() {
		hosts = append(hosts, m.Host)
	}
	return hosts
}

// skips tells whether a phase that is about the API is left out, of those that only names (nil: all): it
// was not asked for, or it is about the whole cluster and only some hosts were looked at.
func (s *Session) skips(p plan.Phase, only map[string]bool) bool {
	if p.Desire != nil || p.Checks || (only != nil && !only[p.Name]) {
		return true
	}
	return !p.PerHost && len(s.wanted()) < len(s.Cluster.Hosts)
}

// planObjects compares the API objects of all phases. Where the API is not there yet,
// the plan says what it waits for instead of guessing.
func (s *Session) planObjects(ctx context.Context) ([]plan.Objects, error) {
	if s.api == nil {
		s.api = newAPI()
	}
	unknown := s.apiUnknown(ctx)
	s.apiThere = unknown == ""
	var out []plan.Objects
	for _, p := range s.Phases {
		if s.skips(p, s.Only) {
			continue
		}
		sets, err := s.planSets(ctx, p, unknown)
		if err != nil {
			return nil, err
		}
		out = append(out, sets...)
		if p.Objects == nil {
			continue
		}
		objects, err := s.objects(p, s.scope())
		if err != nil {
			return nil, err
		}
		o := plan.Objects{Phase: p.Name, Unknown: unknown}
		if unknown != "" {
			for _, obj := range objects {
				o.Changes = append(o.Changes, plan.ObjectChange{Name: kube.Name(obj), Create: true})
			}
		} else if o.Changes, err = s.diffObjects(ctx, objects); err != nil {
			return nil, fmt.Errorf("phase %s: %w", p.Name, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// apiUnknown says why API objects cannot be compared, "" when they can.
func (s *Session) apiUnknown(ctx context.Context) string {
	if s.newPKI {
		return "known after the control plane is up"
	}
	ctx, cancel := context.WithTimeout(ctx, apiProbeTimeout)
	defer cancel()
	if ok, detail, err := (anyAPI{session: s}).Check(ctx); !ok {
		return "known after the control plane is up (" + detail + errText(err) + ")"
	}
	return ""
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (s *Session) diffObjects(ctx context.Context, objects []kube.Object) ([]plan.ObjectChange, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	changes, err := client.Diff(ctx, objects)
	if err != nil {
		return nil, err
	}
	var out []plan.ObjectChange
	for _, c := range changes {
		if c.Action == kube.Keep {
			continue
		}
		oc := plan.ObjectChange{Name: kube.Name(c.Object), Create: c.Action == kube.Create}
		for _, f := range c.Fields {
			oc.Fields = append(oc.Fields, resource.Field{Name: f.Path, Old: f.Old, New: f.New})
		}
		out = append(out, oc)
	}
	return out, nil
}

// applyCluster makes the API objects true, phase by phase, each as soon as what it comes
// after is done, while hosts are still at work.
func (s *Session) applyCluster(ctx context.Context, w walk) (err error) {
	done := w.done
	defer func() { done.abandon(clusterHost, err) }()
	for _, p := range s.Phases {
		if s.skips(p, w.only) {
			done.set(p.Name, clusterHost, nil)
			continue
		}
		scope := s.scope()
		failed := s.awaitBarriers(ctx, clusterHost, []plan.Phase{p}, done)
		if p.PerHost && failed != nil && ctx.Err() == nil {
			scope = slices.DeleteFunc(scope, func(h inventory.Host) bool { return done.failed(p, h.Name) })
		}
		if failed != nil && (!p.PerHost || len(scope) == 0) {
			return &fault.Error{Kind: fault.ChangeFailed, Op: p.Name, Err: fmt.Errorf("not begun: %w", failed)}
		}
		if err := s.applyPhase(ctx, p, scope); err != nil {
			return err
		}
		if failed != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Op: p.Name, Err: fmt.Errorf("done for some hosts only: %w", failed)}
		}
		done.set(p.Name, clusterHost, nil)
	}
	return nil
}

// applyPhase runs one phase that is about the API, for the hosts in scope.
func (s *Session) applyPhase(ctx context.Context, p plan.Phase, scope []inventory.Host) (err error) {
	start := s.Now()
	s.emit(report.Event{Kind: report.PhaseStarted, Phase: p.Name})
	defer func() {
		s.emit(report.Event{Kind: report.PhaseDone, Phase: p.Name, Duration: s.Now().Sub(start), Err: err})
	}()
	if p.Waits != nil {
		if err := s.awaitAll(ctx, p.Name, clusterHost, p.Waits(s.Cluster, scope)); err != nil {
			return err
		}
	}
	if p.Objects != nil {
		objects, err := s.objects(p, scope)
		if err == nil {
			err = s.putObjects(ctx, p, objects)
		}
		if err != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Op: p.Name, Err: err}
		}
	}
	if p.Sets != nil {
		if err := s.applySets(ctx, p); err != nil {
			return err
		}
	}
	if p.Ready != nil {
		if err := s.awaitAll(ctx, p.Name, clusterHost, p.Ready(s.Cluster, scope)); err != nil {
			return err
		}
	}
	if p.Verify {
		if err := s.verifyPhase(ctx, p.Name); err != nil {
			return err
		}
	}
	return nil
}

// putObjects makes API objects true, and tries again while the API server cannot be asked for the moment.
func (s *Session) putObjects(ctx context.Context, p plan.Phase, objects []kube.Object) error {
	if len(objects) == 0 {
		return nil
	}
	if !s.apiThere { // else it is held already, or nothing is to be changed
		if err := s.holdLease(ctx); err != nil {
			return err
		}
	}
	return s.insist(ctx, p, func(ctx context.Context, client *kube.Client) error { return s.applyOnce(ctx, p, client, objects) })
}

// insist does something with an API server, and does it again, with another one if need be, while that cannot be
// asked for the moment.
func (s *Session) insist(ctx context.Context, p plan.Phase, do func(context.Context, *kube.Client) error) (err error) {
	client, err := s.client("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	said := ""
	var wait *pending
	defer func() { wait.done(err) }()
	for {
		err := do(ctx, client)
		if !kube.Transient(err) && !passing(err) {
			return err
		}
		if said != err.Error() {
			said = err.Error()
			if wait == nil {
				wait = s.waitFor(clusterHost, p.Name, "the API server, to try again")
			}
			wait.say(said)
		}
		pause(ctx, reconnectInterval)
		if ctx.Err() != nil {
			return err
		}
		if client, err = s.chooseAPI(ctx); err != nil {
			return err
		}
	}
}

// applyOnce compares and applies the objects of a phase. It may be repeated: what was applied
// already is as it should be.
func (s *Session) applyOnce(ctx context.Context, p plan.Phase, client *kube.Client, objects []kube.Object) error {
	changes, err := client.Diff(ctx, objects)
	if err != nil {
		return err
	}
	if err := client.Apply(ctx, changes); err != nil {
		return err
	}
	for _, c := range changes {
		if c.Action != kube.Keep {
			s.emit(report.Event{Kind: report.ResourceChanged, Phase: p.Name, Resource: kube.Name(c.Object), Message: c.Action.String()})
		}
	}
	return nil
}
