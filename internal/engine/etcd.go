package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/certs"
	"kubewright/internal/etcd"
	"kubewright/internal/kube"
	"kubewright/inventory"
)

// checkEtcdMember is the name of the check of one member of etcd.
const checkEtcdMember = "etcd member"

// etcdClientPort is where members serve clients.
const etcdClientPort = "2379"

// verifyEtcd checks each member in the scope through its own host: it answers through a
// quorum, no alarm is raised, and the members it knows are those of the inventory, all
// of them voters.
func (s *Session) verifyEtcd(ctx context.Context) []kube.Check {
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
	pair, err := s.pki.Etcd.Issue(certs.Request{CommonName: "kube-etcd-healthcheck-client", Client: true, Lifetime: operatorLifetime}, s.env())
	if err != nil {
		return "", err
	}
	client, err := etcd.New(etcd.Config{
		Endpoint: "https://" + net.JoinHostPort(m.NodeIP.String(), etcdClientPort),
		CAPEM:    s.pki.Etcd.CertPEM(), Client: pair, Dial: s.dialVia(m),
	})
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
	if err := s.sameAsInventory(found); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %d voters, read in %s", health.Version, len(found), health.Latency.Round(time.Millisecond)), nil
}

// sameAsInventory compares the members of etcd with those that the inventory wants.
func (s *Session) sameAsInventory(found []etcd.Member) error {
	var have, want []string
	for _, m := range found {
		if m.Learner {
			return fmt.Errorf("the member %s does not vote yet", m)
		}
		have = append(have, m.Name)
	}
	for _, h := range s.Cluster.EtcdMembers() {
		want = append(want, h.Name)
	}
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return fmt.Errorf("its members are %s, want %s", strings.Join(have, ", "), strings.Join(want, ", "))
	}
	return nil
}
