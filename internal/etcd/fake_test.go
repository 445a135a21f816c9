package etcd_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"kubewright/certs"
	"kubewright/internal/etcd"
	"kubewright/internal/kube/apitest"
)

// The members that the tests begin with: three voters, of which cp1 is asked.
const (
	cp1 = iota + 0xc1
	cp2
	cp3
	joining // is added by the tests
	clusterID
)

func nameOf(id uint64) string { return fmt.Sprintf("cp%d", id-0xc0) }

func peerURL(id uint64) string { return "https://" + nameOf(id) + ":2380" }

func voter(id uint64) *etcdserverpb.Member {
	return &etcdserverpb.Member{ID: id, Name: nameOf(id), PeerURLs: []string{peerURL(id)}}
}

// newcomer is a learner that was added and not started.
func newcomer(id uint64) *etcdserverpb.Member {
	return &etcdserverpb.Member{ID: id, PeerURLs: []string{peerURL(id)}, IsLearner: true}
}

// fakeMember is one member of an etcd cluster. It answers as etcd 3.7 does, and refuses all that
// the package does not ask for.
type fakeMember struct {
	etcdserverpb.UnimplementedClusterServer
	etcdserverpb.UnimplementedMaintenanceServer
	Endpoint string
	pki      *apitest.PKI

	mu           sync.Mutex
	self, leader uint64
	members      []*etcdserverpb.Member
	noQuorum     bool
	// before, by the name of a call, happens once before that call and may refuse it.
	before map[string]func() error
	// lost are the calls, by name, that are carried out but whose next answer does not arrive.
	lost map[string]bool
	// changes are the changes that were asked for.
	changes []string
}

// startFake starts cp1 of three voters, which leads.
func startFake(t *testing.T) *fakeMember {
	t.Helper()
	pki := apitest.NewPKI(t)
	pair := pki.Pair("etcd/server")
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pki.Bundle.Etcd.CertPEM())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeMember{
		Endpoint: "https://" + listener.Addr().String(), pki: pki, self: cp1, leader: cp1,
		members: []*etcdserverpb.Member{voter(cp3), voter(cp1), voter(cp2)},
		before:  map[string]func() error{}, lost: map[string]bool{},
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})))
	etcdserverpb.RegisterClusterServer(server, fake)
	etcdserverpb.RegisterMaintenanceServer(server, fake)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return fake
}

func (f *fakeMember) config() etcd.Config {
	return etcd.Config{Endpoint: f.Endpoint, CAPEM: f.pki.Bundle.Etcd.CertPEM(), Client: f.pki.Pair(certs.EtcdHealthcheckClient)}
}

// call is the common part of all calls: what happens before, and what a learner refuses.
func (f *fakeMember) call(name string) error {
	f.mu.Lock()
	happens := f.before[name]
	delete(f.before, name)
	f.mu.Unlock()
	if happens != nil {
		if err := happens(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if self := f.find(f.self); self != nil && self.IsLearner && name != "Status" {
		return rpctypes.ErrGRPCNotSupportedForLearner
	}
	return nil
}

// change does what needs a quorum.
func (f *fakeMember) change(ctx context.Context, name string, do func() error) error {
	if err := f.call(name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, name)
	if f.noQuorum {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return rpctypes.ErrGRPCTimeout
	}
	if err := do(); err != nil {
		return err
	}
	if f.lost[name] {
		delete(f.lost, name)
		return status.Error(codes.Unavailable, "error reading from server: EOF")
	}
	return nil
}

func (f *fakeMember) find(id uint64) *etcdserverpb.Member {
	if i := slices.IndexFunc(f.members, func(m *etcdserverpb.Member) bool { return m.ID == id }); i >= 0 {
		return f.members[i]
	}
	return nil
}

// known copies the members: answers are sent when the lock is not held any more.
func (f *fakeMember) known() []*etcdserverpb.Member {
	known := make([]*etcdserverpb.Member, 0, len(f.members))
	for _, m := range f.members {
		known = append(known, proto.CloneOf(m))
	}
	return known
}

// with looks at the member or changes it while no call is at it.
func (f *fakeMember) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeMember) Status(context.Context, *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	if err := f.call("Status"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	self := f.find(f.self)
	return &etcdserverpb.StatusResponse{
		Header:  &etcdserverpb.ResponseHeader{ClusterId: clusterID, MemberId: f.self},
		Version: "3.7.3", Leader: f.leader, RaftIndex: 70, RaftAppliedIndex: 69, IsLearner: self != nil && self.IsLearner,
	}, nil
}

func (f *fakeMember) MemberList(ctx context.Context, request *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	if err := f.call("MemberList"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noQuorum && request.Linearizable {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return nil, rpctypes.ErrGRPCTimeout
	}
	return &etcdserverpb.MemberListResponse{Members: f.known()}, nil
}

func (f *fakeMember) MemberAdd(ctx context.Context, request *etcdserverpb.MemberAddRequest) (*etcdserverpb.MemberAddResponse, error) {
	var answer *etcdserverpb.MemberAddResponse
	err := f.change(ctx, "MemberAdd", func() error {
		for _, m := range f.members {
			if slices.Contains(m.PeerURLs, request.PeerURLs[0]) {
				return rpctypes.ErrGRPCPeerURLExist
			}
			if m.IsLearner && request.IsLearner {
				return rpctypes.ErrGRPCTooManyLearners
			}
		}
		added := &etcdserverpb.Member{ID: joining, PeerURLs: request.PeerURLs, IsLearner: request.IsLearner}
		f.members = append(f.members, added)
		answer = &etcdserverpb.MemberAddResponse{Member: proto.CloneOf(added), Members: f.known()}
		return nil
	})
	return answer, err
}

func (f *fakeMember) MemberPromote(ctx context.Context, request *etcdserverpb.MemberPromoteRequest) (*etcdserverpb.MemberPromoteResponse, error) {
	err := f.change(ctx, "MemberPromote", func() error {
		switch m := f.find(request.ID); {
		case m == nil:
			return rpctypes.ErrGRPCMemberNotFound
		case m.Name == "": // etcd judges by the log: a member that was never started has nothing of it
			return rpctypes.ErrGRPCLearnerNotReady
		case !m.IsLearner:
			return rpctypes.ErrGRPCMemberNotLearner
		default:
			m.IsLearner = false
			return nil
		}
	})
	return &etcdserverpb.MemberPromoteResponse{}, err
}

func (f *fakeMember) MemberRemove(ctx context.Context, request *etcdserverpb.MemberRemoveRequest) (*etcdserverpb.MemberRemoveResponse, error) {
	err := f.change(ctx, "MemberRemove", func() error {
		if f.find(request.ID) == nil {
			return rpctypes.ErrGRPCMemberNotFound
		}
		f.members = slices.DeleteFunc(f.members, func(m *etcdserverpb.Member) bool { return m.ID == request.ID })
		return nil
	})
	return &etcdserverpb.MemberRemoveResponse{}, err
}
