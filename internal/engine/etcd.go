package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/cluster"
	"kubewright/internal/etcd"
	"kubewright/internal/kube"
	"kubewright/inventory"
)

// checkEtcdMember is the name of the check of one member of etcd.
const checkEtcdMember = "etcd member"

// etcdClientPort is where members serve clients.
const etcdClientPort = "2379"

// verifyEtcd checks each member in the scope through its own host: it answers through a
// quorum, no alarm is raised, and all of the inventory are among the members, which all vote.
func (s *Session) verifyEtcd(ctx context.Context) []kube.Check {
	if s.Cluster.ExternalEtcd.Used() {
		return s.verifyExternalEtcd(ctx)
	}
	var members []*member
	for _, m := range s.wanted() {
		if m.Has(inventory.RoleEtcd) {
			members = append(members, m)
		}
	}
	checks := make([]kube.Check, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			start := s.Now()
			detail, err := s.etcdMember(ctx, m)
			checks[i] = kube.Check{Name: checkEtcdMember, Node: m.Name, OK: err == nil, Detail: detail, Duration: s.Now().Sub(start)}
			if err != nil {
				checks[i].Detail = err.Error()
			}
		})
	}
	wg.Wait()
	return checks
}

func (s *Session) etcdMember(ctx context.Context, m *member) (detail string, err error) {
	config, err := s.etcdConfig(m)
	if err != nil {
		return "", err
	}
	client, err := etcd.New(config)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	health, err := client.Health(ctx)
	if err != nil {
		return "", err
	}
	found, err := client.Members(ctx)
	if err != nil {
		return "", err
	}
	orphans, err := s.compareMembers(found)
	if err != nil {
		return "", err
	}
	detail = fmt.Sprintf("%s, %d voters, read in %s", health.Version, len(found), health.Latency.Round(time.Millisecond))
	if len(orphans) > 0 {
		detail += "; not in the inventory: " + strings.Join(orphans, ", ")
	}
	return detail, nil
}

// compareMembers holds the members of etcd against those that the inventory wants. Those that it
// does not have are named: they are whole, and somebody may want them.
func (s *Session) compareMembers(found []etcd.Member) (orphans []string, err error) {
	missing := map[string]string{} // by peer URL
	for _, h := range s.Cluster.EtcdMembers() {
		missing[cluster.PeerURL(h)] = h.Name
	}
	for _, m := range found {
		if m.Learner {
			return nil, fmt.Errorf("the member %s does not vote yet", m)
		}
		known := false
		for _, url := range m.PeerURLs {
			_, wanted := missing[url]
			known = known || wanted
			delete(missing, url)
		}
		if !known {
			orphans = append(orphans, m.Name)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("not among its members: %s", strings.Join(slices.Sorted(maps.Values(missing)), ", "))
	}
	return orphans, nil
}

// etcdConfig is how the member on a host is reached: through the host's connection.
func (s *Session) etcdConfig(m *member) (etcd.Config, error) {
	pair, err := s.etcd.pair()
	if err != nil {
		return etcd.Config{}, err
	}
	return etcd.Config{
		Endpoint: "https://" + net.JoinHostPort(m.NodeIP.String(), etcdClientPort),
		CAPEM:    s.pki.Etcd.CertPEM(), Client: pair, Dial: s.dialVia(m),
	}, nil
}
