package kube

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// resolveFrom asks the cluster's DNS service, over a connection that begins on the node, for the
// name of the API's service. The way there is that of any client on the node: kube-proxy's rules,
// then the pod network.
func resolveFrom(ctx context.Context, node VerifyNode, input VerifyInput) (string, error) {
	name := "kubernetes.default.svc." + strings.TrimSuffix(input.DNSDomain, ".") + "."
	server := netip.AddrPortFrom(input.DNSServiceIP, dnsPort).String()
	connection, err := node.Dial(ctx, "tcp", server)
	if err != nil {
		return "", said{fmt.Sprintf("connect to %s: %s", server, explainError(err))}
	}
	defer func() { _ = connection.Close() }()
	// A tunnelled connection may know no deadlines: closing it ends the exchange in any case.
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer stop()
	addresses, err := query(connection, name, input.APIServiceIP.Is6())
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", said{fmt.Sprintf("%s from %s: %s", name, server, explainError(err))}
	}
	if !slices.Contains(addresses, input.APIServiceIP) {
		return "", fmt.Errorf("%s from %s is %v, want %s", name, server, addresses, input.APIServiceIP)
	}
	return name + " is " + input.APIServiceIP.String(), nil
}

// query asks for the addresses of a name over TCP (RFC 1035, 4.2.2: each message after its length).
func query(connection net.Conn, name string, v6 bool) ([]netip.Addr, error) {
	question, id, err := newQuestion(name, v6)
	if err != nil {
		return nil, err
	}
	message := binary.BigEndian.AppendUint16(nil, uint16(len(question)))
	if _, err := connection.Write(append(message, question...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(connection, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(connection, answer); err != nil {
		return nil, err
	}
	return parseAnswer(answer, id)
}

func newQuestion(name string, v6 bool) (message []byte, id uint16, err error) {
	full, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, 0, err
	}
	kind := dnsmessage.TypeA
	if v6 {
		kind = dnsmessage.TypeAAAA
	}
	id = uint16(rand.Uint32()) //nolint:gosec // tells answers apart on one TCP connection, no secret
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: full, Type: kind, Class: dnsmessage.ClassINET}},
	}
	message, err = query.Pack()
	return message, id, err
}

func parseAnswer(data []byte, id uint16) ([]netip.Addr, error) {
	var message dnsmessage.Message
	if err := message.Unpack(data); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if message.ID != id || !message.Response {
		return nil, errors.New("the answer is to another question")
	}
	if message.RCode != dnsmessage.RCodeSuccess {
		return nil, fmt.Errorf("the answer is %s", strings.TrimPrefix(message.RCode.String(), "RCode"))
	}
	var addresses []netip.Addr
	for _, answer := range message.Answers {
		switch body := answer.Body.(type) {
		case *dnsmessage.AResource:
			addresses = append(addresses, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addresses = append(addresses, netip.AddrFrom16(body.AAAA))
		}
	}
	if len(addresses) == 0 {
		return nil, errors.New("the answer holds no address")
	}
	return addresses, nil
}
