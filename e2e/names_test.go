//go:build e2e

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
)

// clusterDNS: services have names on every node, in each of their forms, and others have none.
func clusterDNS(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	service := c.expose(t, ns, "web", nil)
	api := apiServiceIP(t, c)
	for _, pod := range c.serverOnEach(t, ns) {
		for _, name := range []string{"web", "web." + ns, "web." + ns + ".svc.cluster.local"} {
			c.wantAddresses(t, pod, name, service.Spec.ClusterIP)
		}
		if _, err := c.exec(t.Context(), pod, testserver, "resolve", "none."+ns+".svc.cluster.local"); err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("a name that does not exist, in %s: %v", pod.Name, err)
		}
		c.wantAddresses(t, pod, "kubernetes.default", api)
	}
}

// Names outside the cluster go to the resolvers of the hosts: here, to a server of the test that
// alone knows the answer.
func TestNamesOutsideTheCluster(t *testing.T) {
	c := shared.cluster(t)
	ns := c.namespace(t)
	pods := c.serverOnEach(t, ns)
	gateway := c.on(t, "cp1", "ip -4 route show default | cut -d' ' -f3")
	const name, address = "outside.example.test", "203.0.113.7"
	server := serveDNS(t, gateway, name, netip.MustParseAddr(address))

	before := map[string]string{}
	afterwards(t, func(t testing.TB) {
		for host, content := range before {
			c.on(t, host, "cat >/etc/resolv.conf <<'END'\n"+content+"\nEND\n")
		}
		restartDNS(t, c)
	})
	for _, n := range c.nodes(t) {
		before[n.Name] = c.on(t, n.Name, "cat /etc/resolv.conf")
		// The file is a mount of the container: it can be written, not replaced.
		c.on(t, n.Name, fmt.Sprintf("echo 'nameserver %s' >/etc/resolv.conf", gateway))
	}
	restartDNS(t, c)
	for _, pod := range pods {
		c.wantAddresses(t, pod, name, address)
	}
	if server.Load() == 0 {
		t.Error("the server of the test was not asked")
	}
	c.wantAddresses(t, pods["cp1"], "kubernetes.default.svc.cluster.local", apiServiceIP(t, c))
}

func apiServiceIP(t testing.TB, c *cluster) string {
	t.Helper()
	services := await(t, watched{getter: c.client.CoreV1().RESTClient(), resource: "services", namespace: "default"}.named("kubernetes"),
		answerTimeout, func(s []*corev1.Service) string {
			if len(s) == 0 {
				return "the service of the API"
			}
			return ""
		})
	return services[0].Spec.ClusterIP
}

// restartDNS has CoreDNS read its resolvers again, as its pods do when they start.
func restartDNS(t testing.TB, c *cluster) {
	t.Helper()
	dns := c.pods("kube-system").labelled("k8s-app=kube-dns")
	for _, p := range c.ready(t, dns, 2) {
		c.deletePod(t.Context(), t, p)
	}
	c.ready(t, dns, 2)
}

// serveDNS answers one name on port 53 of an address of this machine until the test ends, and
// counts how often it was asked for it.
func serveDNS(t testing.TB, address, name string, answer netip.Addr) *atomic.Int64 {
	t.Helper()
	endpoint := net.JoinHostPort(address, "53")
	packets, err := net.ListenPacket("udp", endpoint)
	if errors.Is(err, syscall.EADDRINUSE) {
		t.Skipf("another name server has %s: %v", endpoint, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	listener, err := net.Listen("tcp", endpoint)
	if errors.Is(err, syscall.EADDRINUSE) {
		t.Skipf("another name server has %s: %v", endpoint, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	asked := &atomic.Int64{}
	reply := func(query []byte) []byte {
		response, known := dnsReply(query, name, answer)
		if known {
			asked.Add(1)
		}
		return response
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			packets.WriteTo(reply(buffer[:n]), from)
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveTCP(conn, reply)
		}
	}()
	return asked
}

// serveTCP answers the queries of one connection, each with its length before it.
func serveTCP(conn net.Conn, reply func([]byte) []byte) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	for {
		var size uint16
		if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
			return
		}
		query := make([]byte, size)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		response := reply(query)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(response))), response...)); err != nil {
			return
		}
	}
}

// dnsReply answers a query: the one name has the one address, others do not exist.
func dnsReply(query []byte, name string, answer netip.Addr) (response []byte, known bool) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, false
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	m.RCode = dnsmessage.RCodeNameError
	if known = strings.EqualFold(q.Name.String(), name+"."); known {
		m.RCode = dnsmessage.RCodeSuccess
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: answer.As4()},
			}}
		}
	}
	response, err := m.Pack()
	if err != nil {
		return nil, false
	}
	return response, known
}
