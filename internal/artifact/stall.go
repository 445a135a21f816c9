package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// moving is the body of a download that ends when no byte came for a while: how long the whole may
// take depends on its size, but one that stands still never ends.
type moving struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // that of the request, which tells why a read failed
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

// newMoving watches a body. cancel ends the request that it belongs to.
func newMoving(ctx context.Context, body io.ReadCloser, cancel context.CancelCauseFunc, limit time.Duration) *moving {
	stalled := fmt.Errorf("no byte came for %s", limit)
	return &moving{ReadCloser: body, ctx: ctx, cancel: cancel, limit: limit, timer: time.AfterFunc(limit, func() { cancel(stalled) })}
}

// Read implements io.Reader.
func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if n > 0 {
		m.timer.Reset(m.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) && m.ctx.Err() != nil {
		err = context.Cause(m.ctx)
	}
	return n, err
}

// Close implements io.Closer.
func (m *moving) Close() error {
	m.timer.Stop()
	m.cancel(nil)
	return m.ReadCloser.Close()
}
