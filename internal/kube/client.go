// Package kube talks to the Kubernetes API of a cluster: it compares objects with what is there,
// applies them, waits for conditions, and verifies that the cluster works.
//
// Every connection goes through the dialer in Config, usually an SSH connection to a host of the
// cluster, so the operator's machine needs no route to the cluster's network. Proxies and other
// settings of the environment are ignored, and server certificates are always verified.
package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"kubewright/certs"
	"kubewright/internal/secret"
)

const (
	// FieldManager is the name under which the API server records the fields that Apply sets.
	FieldManager = "kubewright"

	// parallel bounds the requests under way at one time; they share one HTTP/2 connection.
	parallel = 16
	// requestTimeout bounds a single request, watches excepted.
	requestTimeout = 30 * time.Second
	// dialTimeout bounds the opening of a connection.
	dialTimeout = 10 * time.Second
	// pingAfter is how long a connection may be silent before it is probed: a watch on a host that
	// died would otherwise wait for its whole deadline.
	pingAfter = 10 * time.Second
)

// DialFunc opens a network connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Config says where the API is and how to authenticate.
type Config struct {
	// Server is the URL of the API server, for example https://10.111.0.10:6443.
	Server string
	// ServerName is what the server's certificate has to be for; "" is the host of Server.
	ServerName string
	// CAPEM are the authorities that may sign the server's certificate.
	CAPEM []byte
	// Client is the certificate the client presents; empty for none.
	Client certs.Pair
	// Token is presented as a bearer; "" for none.
	Token secret.String
	// Dial opens connections; nil means directly from this machine.
	Dial DialFunc
}

// Client is a client of one API server. It is safe for concurrent use.
type Client struct {
	server  *url.URL
	tls     *tls.Config
	http    *http.Client
	dynamic dynamic.Interface
	kinds   *kinds
	digests digester
}

// New returns a client. It does not connect: whether the API answers is for a Condition to say.
func New(config Config) (*Client, error) {
	fail := func(err error) (*Client, error) {
		return nil, fmt.Errorf("client for %s: %w", config.Server, err)
	}
	server, err := url.Parse(config.Server)
	if err != nil || server.Scheme != "https" || server.Host == "" {
		return fail(errors.New("the server must be a URL of the form https://host:port"))
	}
	tlsConfig, err := clientTLS(config)
	if err != nil {
		return fail(err)
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	client := &http.Client{Transport: newTransport(tlsConfig, dial)}
	if config.Token != "" {
		client.Transport = bearer{newTransport(tlsConfig, dial), config.Token}
	}
	dynamicClient, err := dynamic.NewForConfigAndClient(restConfig(server), client)
	if err != nil {
		return fail(err)
	}
	digests, err := newDigester()
	if err != nil {
		return fail(err)
	}
	out := &Client{server: server, tls: tlsConfig, http: client, dynamic: dynamicClient, digests: digests}
	out.kinds = &kinds{get: out.getJSON}
	return out, nil
}

// restConfig returns the settings of client-go; how to connect is not among them.
func restConfig(server *url.URL) *rest.Config {
	return &rest.Config{
		Host:           server.String(),
		UserAgent:      FieldManager,
		QPS:            -1, // no limit: the number of requests under way is bounded here
		WarningHandler: rest.NoWarnings{},
	}
}

// Close closes idle connections. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// clientTLS returns the TLS configuration: our authorities only, and our certificate.
func clientTLS(config Config) (*tls.Config, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(config.CAPEM) {
		return nil, errors.New("no certificate authority given")
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: config.ServerName}
	if config.Client.Empty() {
		return out, nil
	}
	pair, err := tls.X509KeyPair(config.Client.CertPEM, config.Client.KeyPEM.Reveal())
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

// newTransport returns a transport that knows no proxy and multiplexes requests over HTTP/2.
func newTransport(config *tls.Config, dial DialFunc) *http.Transport {
	bounded := func(ctx context.Context, network, addr string) (net.Conn, error) {
		// The transport drops the deadline of the request; a dial that hangs would block all others.
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		return dial(ctx, network, addr)
	}
	return &http.Transport{
		DialContext:         bounded,
		TLSClientConfig:     config.Clone(),
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     1, // a burst of first requests would otherwise open a connection each
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
	}
}

// bearer is a transport that presents a token.
type bearer struct {
	*http.Transport
	token secret.String
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context()) // which is the caller's
	request.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.Transport.RoundTrip(request)
}
