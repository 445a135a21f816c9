package engine

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"kubewright/internal/check"
	"kubewright/internal/facts"
	"kubewright/internal/host"
	"kubewright/internal/report"
	"kubewright/internal/sh"
)

const (
	// reachTimeout bounds the whole of trying the connections between hosts.
	reachTimeout = 40 * time.Second
	// datagramTimeout is how long a datagram may be on its way once its sender is done.
	datagramTimeout = 2 * time.Second
)

// links are the connections among hosts that are tried, and what came of it.
type links struct {
	closed   []check.Closed
	unprobed map[string]string // host to the reason
}

// tryLinks has the hosts connect to each other wherever nodes have to: in both directions, on the
// ports of what runs there already, and of listeners in its place. Between hosts whose
// installation is complete that was tried before, and is tried again only when all is asked for.
func (s *Session) tryLinks(ctx context.Context, w check.World, all bool) {
	if slices.Contains(s.Cluster.IgnoreChecks, check.Reach) {
		return
	}
	t := &linkTrial{session: s, marker: newMarker(), listen: map[string][]sh.Endpoint{}, connect: map[string][]sh.Endpoint{},
		listeners: map[string]*listener{}, said: map[string]sh.Reached{}, links: links{unprobed: map[string]string{}}}
	for _, l := range check.Links(w) {
		if all || w.State(l.From) != check.Complete || w.State(l.To) != check.Complete {
			t.add(l, w.Facts[l.To])
		}
	}
	if len(t.tried) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	t.run(ctx)
	s.links = t.links
}

// linkTrial is one trial of all links. All its scripts have one marker.
type linkTrial struct {
	links
	session         *Session
	marker          string
	tried           []check.Link
	listen, connect map[string][]sh.Endpoint // by host

	mu        sync.Mutex
	listeners map[string]*listener
	said      map[string]sh.Reached // by host that connects
}

// add makes a link part of the trial. What has a port already answers itself; but for datagrams,
// to which nothing answers.
func (t *linkTrial) add(l check.Link, to facts.Facts) {
	target := t.session.member(l.To)
	e := sh.Endpoint{AddrPort: netip.AddrPortFrom(target.NodeIP.Unmap(), uint16(l.Port)), Proto: l.Proto}
	taken := slices.ContainsFunc(to.Listening, func(x facts.Listener) bool {
		return x.Port == l.Port && x.Proto == l.Proto && (x.Addr.IsUnspecified() || x.Addr == e.Addr())
	})
	if taken && l.Proto == "udp" {
		return
	}
	if !taken && !slices.Contains(t.listen[l.To], e) {
		t.listen[l.To] = append(t.listen[l.To], e)
	}
	t.connect[l.From] = append(t.connect[l.From], e)
	t.tried = append(t.tried, l)
}

// run listens, connects once everybody listens, and judges.
func (t *linkTrial) run(ctx context.Context) {
	listening, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	t.each(t.listen, func(m *member) { t.listenOn(listening, m, &ended) })
	t.each(t.connect, func(m *member) { t.connectFrom(ctx, m) })
	t.judge(ctx)
	stop()
	ended.Wait()
}

// each works on the hosts of a map at once.
func (t *linkTrial) each(hosts map[string][]sh.Endpoint, f func(*member)) {
	var members []*member
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		members = append(members, t.session.member(name))
	}
	t.session.each(members, f)
}

// listenOn has a host listen until ctx ends, and returns when it does or cannot.
func (t *linkTrial) listenOn(ctx context.Context, m *member, ended *sync.WaitGroup) {
	l := &listener{marker: t.marker, news: make(chan struct{}, 1)}
	t.mu.Lock()
	t.listeners[m.Name] = l
	t.mu.Unlock()
	start := t.session.Now()
	ended.Go(func() {
		err := m.conn.Run(ctx, host.Script{Kind: host.Hold, Text: sh.RenderListen(t.marker, t.listen[m.Name])}, l)
		l.end(err)
		if ctx.Err() != nil {
			err = nil // it was ended when it was not needed any more
		}
		t.session.emit(report.Event{Kind: report.Exec, Host: m.Name, Message: "listen", Duration: t.session.Now().Sub(start), Err: err})
	})
	r, err := l.await(ctx, func(r sh.Reached) bool { return r.Listening || r.Unable != "" })
	switch {
	case err != nil:
		t.unable(m, err.Error())
	case r.Unable != "":
		t.unable(m, r.Unable)
	}
}

// connectFrom has a host connect to all that it needs.
func (t *linkTrial) connectFrom(ctx context.Context, m *member) {
	out := sh.NewWatcher(t.marker, nil)
	script := host.Script{Text: sh.RenderReach(t.marker, m.Name, t.connect[m.Name])}
	err := t.session.run(ctx, m, script, out, "reach")
	r := sh.ParseReached(t.marker, out.Bytes())
	switch {
	case err != nil:
		t.unable(m, err.Error())
	case r.Unable != "":
		t.unable(m, r.Unable)
	case !r.Ended:
		t.unable(m, "its answer does not end")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said[m.Name] = r
}

func (t *linkTrial) unable(m *member, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unprobed[m.Name] = why
}

// judge finds the links that did not come about, where both ends could try.
func (t *linkTrial) judge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, datagramTimeout)
	defer cancel()
	for _, l := range t.tried {
		if t.unprobed[l.From] != "" || t.unprobed[l.To] != "" {
			continue
		}
		if l.Proto == "udp" {
			port := strconv.Itoa(l.Port)
			if _, err := t.listeners[l.To].await(ctx, func(r sh.Reached) bool { return r.Heard[port][l.From] }); err != nil {
				t.closed = append(t.closed, check.Closed{Link: l, Reason: "no datagram arrived"})
			}
			continue
		}
		at := netip.AddrPortFrom(t.session.member(l.To).NodeIP.Unmap(), uint16(l.Port))
		if reason, ok := t.said[l.From].Closed[at]; ok {
			t.closed = append(t.closed, check.Closed{Link: l, Reason: reason})
		}
	}
}

// listener takes what a listening host says, and tells whoever waits for it.
type listener struct {
	marker string
	news   chan struct{} // holds one when something came since somebody last looked

	mu    sync.Mutex
	out   []byte
	ended bool
	err   error
}

// Write implements io.Writer.
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.out = append(l.out, p...)
	l.mu.Unlock()
	l.tell()
	return len(p), nil
}

func (l *listener) end(err error) {
	l.mu.Lock()
	l.ended, l.err = true, err
	l.mu.Unlock()
	l.tell()
}

func (l *listener) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// await waits until enough was said. One waits at a time.
func (l *listener) await(ctx context.Context, enough func(sh.Reached) bool) (sh.Reached, error) {
	for {
		l.mu.Lock()
		r, ended, err := sh.ParseReached(l.marker, l.out), l.ended, l.err
		l.mu.Unlock()
		switch {
		case enough(r):
			return r, nil
		case ended:
			return r, errors.Join(errors.New("the listener ended"), err)
		case ctx.Err() != nil:
			return r, ctx.Err()
		}
		select {
		case <-l.news:
		case <-ctx.Done():
		}
	}
}
