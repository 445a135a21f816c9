package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/internal/check"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/inventory"
)

// checkExternalEtcd is the name of the check of an etcd that somebody else runs.
const checkExternalEtcd = "external etcd"

// clusterInfoKey is where an API server keeps what a joining machine is told, the certificate of the
// cluster's authority among it, below the prefix of the cluster.
const clusterInfoKey = "/configmaps/kube-public/cluster-info"

// EtcdReader is what is asked of a member of an etcd that somebody else runs. Nothing is changed there.
type EtcdReader interface {
	View(ctx context.Context) (etcd.View, error)
	Count(ctx context.Context, prefix string) (int64, error)
	Get(ctx context.Context, key string) ([]byte, error)
	Close() error
}

// externalConfig is how an endpoint of that etcd is reached from a host, as the API server there does.
func (s *Session) externalConfig(m *member, endpoint string) etcd.Config {
	external := s.Cluster.ExternalEtcd
	return etcd.Config{Endpoint: endpoint, CAPEM: external.CA, Client: external.Client, Dial: s.dialVia(m)}
}

// etcdWay is a control plane, and an endpoint of the external etcd.
type etcdWay struct {
	from     *member
	endpoint string
}

func (s *Session) waysToEtcd(from []*member) []etcdWay {
	var ways []etcdWay
	for _, m := range from {
		for _, endpoint := range s.Cluster.ExternalEtcd.Endpoints {
			ways = append(ways, etcdWay{m, endpoint})
		}
	}
	return ways
}

// along does something for each way at once, and returns what came of it in the order of the ways.
func along[T any](ways []etcdWay, do func(etcdWay) T) []T {
	out := make([]T, len(ways))
	var wg sync.WaitGroup
	for i, w := range ways {
		wg.Go(func() { out[i] = do(w) })
	}
	wg.Wait()
	return out
}

// askExternalEtcd finds out, from the control planes of this run, what the external etcd is, and whose
// data it has.
func (s *Session) askExternalEtcd(ctx context.Context) {
	planes := slices.DeleteFunc(s.controlPlanes(), func(m *member) bool { return !m.wanted })
	if !s.Cluster.ExternalEtcd.Used() || len(planes) == 0 {
		return
	}
	w := &check.EtcdWorld{Prefix: s.Cluster.EtcdPrefix(), Noted: map[string]string{}, Members: map[string]string{}}
	for _, m := range s.controlPlanes() {
		if place, ok := plan.NotedExternalEtcd(m.noted()); ok {
			w.Noted[m.Name] = place
		} else if m.noted() != "" {
			w.Members[m.Name] = m.noted()
		}
	}
	ways := s.waysToEtcd(planes)
	w.Answers = along(ways, func(way etcdWay) check.EtcdAnswer { return s.externalAnswer(ctx, way) })
	if i := slices.IndexFunc(w.Answers, func(a check.EtcdAnswer) bool { return a.Problem == "" }); i >= 0 {
		w.Content, w.Unread = s.externalContent(ctx, ways[i])
	}
	s.externalEtcd = w
}

func (s *Session) externalAnswer(ctx context.Context, way etcdWay) check.EtcdAnswer {
	answer := check.EtcdAnswer{Host: way.from.Name, Endpoint: way.endpoint}
	view, err := s.externalView(ctx, way)
	switch {
	case err != nil:
		answer.Problem = err.Error()
	case view.Learner:
		answer.Problem = "the member there does not vote yet"
	case !view.Quorum:
		answer.Problem = "no majority of its members answers"
	default:
		answer.ID, answer.Version = view.ID(), view.Version
	}
	return answer
}

func (s *Session) externalView(ctx context.Context, way etcdWay) (view etcd.View, err error) {
	client, err := s.ExternalEtcd(s.externalConfig(way.from, way.endpoint))
	if err != nil {
		return etcd.View{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return client.View(ctx)
}

// externalContent tells whose data there is. A cluster is known by the certificate of its authority,
// which is public, and in the API from the end of its first run on.
func (s *Session) externalContent(ctx context.Context, way etcdWay) (content check.EtcdContent, err error) {
	client, err := s.ExternalEtcd(s.externalConfig(way.from, way.endpoint))
	if err != nil {
		return check.NothingAsked, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	keys, err := client.Count(ctx, s.Cluster.EtcdPrefix()+"/")
	switch {
	case err != nil:
		return check.NothingAsked, err
	case keys == 0:
		return check.NoData, nil
	}
	info, err := client.Get(ctx, s.Cluster.EtcdPrefix()+clusterInfoKey)
	own := base64.StdEncoding.EncodeToString(s.pki.Kubernetes.CertPEM())
	switch {
	case err != nil:
		return check.NothingAsked, err
	case bytes.Contains(info, []byte(own)):
		return check.OwnData, nil
	case bytes.Contains(info, []byte("certificate-authority-data: ")):
		return check.ForeignData, nil
	}
	return check.SomeData, nil
}

// foreseeExternal finds out which etcd it is that the cluster is to use. That it is the right one is
// judged by the checks that follow. The cluster runs, and others depend on its control planes, once
// that etcd has its data.
func (s *Session) foreseeExternal(ctx context.Context) {
	s.askExternalEtcd(ctx)
	if s.externalEtcd == nil {
		return
	}
	s.etcd.running = s.externalEtcd.Content == check.OwnData
	for _, m := range s.hosts {
		m.target.ExternalEtcd = s.externalEtcd.Place()
	}
}

// notElsewhere refuses to make members, and an authority of theirs, for a cluster whose data is in an
// external etcd.
func (s *Session) notElsewhere() error {
	if s.Cluster.ExternalEtcd.Used() {
		return nil
	}
	var errs []error
	for _, m := range s.controlPlanes() {
		if place, ok := plan.NotedExternalEtcd(m.noted()); ok {
			errs = append(errs, fault.New(fault.Preflight, "the data of the cluster is in the external etcd %s; members of its own would begin without it", place).
				On(m.Name).WithHint("give spec.controlPlane.etcd.external again; a cluster cannot be moved to members of its own yet"))
		}
	}
	return errors.Join(errs...)
}

// verifyExternalEtcd checks, from each control plane in the scope, that all endpoints answer through a
// quorum, and no alarm is raised.
func (s *Session) verifyExternalEtcd(ctx context.Context) []kube.Check {
	var checks []kube.Check
	for _, m := range s.wanted() {
		if !m.Has(inventory.RoleControlPlane) {
			continue
		}
		start := s.Now()
		results := along(s.waysToEtcd([]*member{m}), func(way etcdWay) endpointHealth { return s.endpointHealth(ctx, way) })
		c := healthCheck(results)
		c.Node, c.Duration = m.Name, s.Now().Sub(start)
		checks = append(checks, c)
	}
	return checks
}

// endpointHealth is what a control plane has heard at an endpoint.
type endpointHealth struct {
	version string
	latency time.Duration
	err     error
}

func (s *Session) endpointHealth(ctx context.Context, way etcdWay) (h endpointHealth) {
	client, err := etcd.New(s.externalConfig(way.from, way.endpoint))
	if err != nil {
		return endpointHealth{err: err}
	}
	defer func() { h.err = errors.Join(h.err, client.Close()) }()
	health, err := client.Health(ctx)
	return endpointHealth{version: health.Version, latency: health.Latency, err: err}
}

func healthCheck(results []endpointHealth) kube.Check {
	var faults, versions []string
	var slowest time.Duration
	for _, r := range results {
		if r.err != nil {
			faults = append(faults, r.err.Error())
			continue
		}
		versions = append(versions, r.version)
		slowest = max(slowest, r.latency)
	}
	slices.Sort(versions)
	c := kube.Check{Name: checkExternalEtcd, OK: len(faults) == 0, Detail: strings.Join(faults, "; ")}
	if c.OK {
		c.Detail = fmt.Sprintf("%s, %d endpoints, read in %s", strings.Join(slices.Compact(versions), " and "), len(results), slowest.Round(time.Millisecond))
	}
	return c
}
