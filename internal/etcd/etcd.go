// Package etcd looks at an etcd member, and changes who is one, through a dialer: usually the SSH
// connection to its host.
package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"kubewright/certs"
)

// requestTimeout bounds one question to the member when ctx allows more.
const requestTimeout = 10 * time.Second

// redialDelay is the time between two attempts to connect.
const redialDelay = 500 * time.Millisecond

// DialFunc opens a network connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Config says where the member is and how to authenticate.
type Config struct {
	// Endpoint is the member's client URL, for example https://10.111.0.10:2379.
	Endpoint string
	// CAPEM is the authority of etcd.
	CAPEM []byte
	// Client is a client certificate of that authority; kube-etcd-healthcheck-client will do.
	Client certs.Pair
	// Dial opens connections; nil means directly from this machine.
	Dial DialFunc
}

// Client talks to one etcd member. It is safe for concurrent use.
type Client struct {
	config Config
	client *clientv3.Client
	cause  *cause
}

// New returns a client. It does not connect.
func New(config Config) (*Client, error) {
	fail := func(err error) (*Client, error) {
		return nil, fmt.Errorf("etcd client for %s: %w", config.Endpoint, err)
	}
	endpoint, err := url.Parse(config.Endpoint)
	if err != nil || endpoint.Scheme != "https" || endpoint.Host == "" {
		return fail(errors.New("the endpoint must be a URL of the form https://host:port"))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.CAPEM) {
		return fail(errors.New("no certificate authority given"))
	}
	pair, err := tls.X509KeyPair(config.Client.CertPEM, config.Client.KeyPEM.Reveal())
	if err != nil {
		return fail(fmt.Errorf("client certificate: %w", err))
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	last := &cause{}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{config.Endpoint},
		TLS:       tlsConfig,
		Logger:    zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithNoProxy(),
			// A member that was away is found again within a request: gRPC would wait for up to two minutes.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: redialDelay, Multiplier: 1, Jitter: 0.2, MaxDelay: redialDelay},
				MinConnectTimeout: requestTimeout,
			}),
			grpc.WithTransportCredentials(watchedTLS{credentials.NewTLS(tlsConfig), last}),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := dial(ctx, "tcp", addr)
				last.set(err)
				return conn, err
			}),
		},
	})
	if err != nil {
		return fail(err)
	}
	return &Client{config: config, client: client, cause: last}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.client.Close() }

// Member is a member of the etcd cluster.
type Member struct {
	ID uint64
	// Name is empty until the member has been started for the first time.
	Name       string
	PeerURLs   []string
	ClientURLs []string
	// Learner members replicate but do not vote yet.
	Learner bool
}

// String returns the member as etcdctl writes it: the identifier in hexadecimal, and the name.
func (m Member) String() string { return strings.TrimSpace(hex(m.ID) + " " + m.Name) }

// hex writes an identifier as etcdctl and the logs of etcd do.
func hex(id uint64) string { return strconv.FormatUint(id, 16) }

// ID is the identifier of the cluster in hexadecimal.
func (v View) ID() string { return hex(v.ClusterID) }

// Members lists the members, sorted by name. The answer is linearizable: it is the one of a quorum,
// and there is none without.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	members, err := c.list(ctx)
	if err != nil {
		return nil, c.failure("list members", err)
	}
	return members, nil
}

func (c *Client) list(ctx context.Context, options ...clientv3.OpOption) ([]Member, error) {
	answer, err := c.client.MemberList(ctx, options...)
	if err != nil {
		return nil, err
	}
	c.cause.forget()
	return sorted(answer.Members), nil
}

func sorted(answer []*etcdserverpb.Member) []Member {
	members := make([]Member, 0, len(answer))
	for _, it := range answer {
		members = append(members, Member{
			ID: it.ID, Name: it.Name, PeerURLs: it.PeerURLs, ClientURLs: it.ClientURLs, Learner: it.IsLearner,
		})
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return members
}

// Health is the state of a member that answers.
type Health struct {
	MemberID uint64
	Version  string
	// Leader says that this member leads; Learner that it does not vote yet.
	Leader, Learner bool
	// DBSize is the size of the database file, in bytes.
	DBSize int64
	// Alarms are the alarms raised on any member, for example "NOSPACE".
	Alarms []string
	// Latency is how long a linearizable read took.
	Latency time.Duration
}

// Health reads a key through a quorum, which proves that the member serves and that the cluster has
// a leader, and asks for the member's state. A member without quorum, or an alarm anywhere in the
// cluster, is an error; the state is returned beside it as far as it is known.
func (c *Client) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var health Health
	begun := time.Now()
	// The key does not exist; refusing to read it proves as much as reading it.
	_, err := c.client.Get(ctx, "health")
	if err != nil && !errors.Is(err, rpctypes.ErrPermissionDenied) {
		return health, c.failure("read through a quorum", err)
	}
	c.cause.forget()
	health.Latency = time.Since(begun)
	status, err := c.client.Status(ctx, c.config.Endpoint)
	if err != nil {
		return health, c.failure("read its state", err)
	}
	health.MemberID, health.Version = status.Header.GetMemberId(), status.Version
	health.Leader, health.Learner = status.Leader == health.MemberID, status.IsLearner
	health.DBSize = status.DbSize
	alarms, err := c.client.AlarmList(ctx)
	if err != nil {
		return health, c.failure("list alarms", err)
	}
	for _, alarm := range alarms.Alarms {
		health.Alarms = append(health.Alarms, alarm.Alarm.String())
	}
	if len(health.Alarms) > 0 {
		return health, c.failure("check alarms", fmt.Errorf("raised: %s", strings.Join(health.Alarms, ", ")))
	}
	return health, nil
}

// Count returns how many keys begin with a prefix, as a quorum has it.
func (c *Client) Count(ctx context.Context, prefix string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, c.failure("count the keys below "+prefix, err)
	}
	c.cause.forget()
	return answer.Count, nil
}

// Get returns the value of a key, as a quorum has it; nil where there is no such key.
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := c.client.Get(ctx, key)
	if err != nil {
		return nil, c.failure("read "+key, err)
	}
	c.cause.forget()
	if len(answer.Kvs) == 0 {
		return nil, nil
	}
	return answer.Kvs[0].Value, nil
}

func (c *Client) failure(doing string, err error) error {
	if last := c.cause.get(); last != nil && !errors.Is(err, last) {
		return fmt.Errorf("etcd %s: %s: %w (connection: %w)", c.config.Endpoint, doing, err, last)
	}
	return fmt.Errorf("etcd %s: %s: %w", c.config.Endpoint, doing, err)
}
