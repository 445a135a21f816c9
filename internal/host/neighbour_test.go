package host_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"kubewright/internal/host"
)

// A neighbour can be connected to, and that is all.
func TestNeighbour(t *testing.T) {
	n := host.NewNeighbour("cp1")
	if err := n.Run(t.Context(), host.Script{Text: func() []byte { return []byte("exit 0") }}, io.Discard); !errors.Is(err, host.ErrNeighbour) {
		t.Errorf("run: %v", err)
	}
	if err := n.Upload(t.Context(), t.TempDir()+"/file", strings.NewReader("x"), 1); !errors.Is(err, host.ErrNeighbour) {
		t.Errorf("upload: %v", err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Close(), listener.Close()); err != nil {
		t.Error(err)
	}
	var refused *host.DialError
	if _, err := n.Dial(t.Context(), "tcp", listener.Addr().String()); !errors.As(err, &refused) || refused.Host != "cp1" {
		t.Errorf("where nobody listens: %v", err)
	}
	if s := n.Stats(); s.Dials != 2 || s.Execs != 0 {
		t.Errorf("it has cost %+v", s)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
