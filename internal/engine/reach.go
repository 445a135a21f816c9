package engine

import (
	"bytes"
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
	// reachTimeout bounds the whole of trying the connections between hosts, listenTimeout what a
	// host takes to listen: the others do without it.
	reachTimeout  = 40 * time.Second
	listenTimeout = 15 * time.Second
	// datagramTimeout is how long a datagram may be on its way once its sender is done.
	datagramTimeout = 2 * time.Second
)

// links are the connections among hosts that are tried, and what came of it.
type links struct {
	closed   []check.Closed
	unprobed map[string]string // host to the reason
}

// tryLinks has the hosts connect to each other wherever nodes have to: in both directions, on the
// ports of what runs there already, and on clean hosts of listeners in its place. Between hosts whose
// installation is complete that was tried before, and is tried again only when all is asked for.
func (s *Session) tryLinks(ctx context.Context, w check.World, all bool) {
	if slices.Contains(s.ignored(), check.Reach) {
		return
	}
	t := &linkTrial{session: s, marker: newMarker(), listen: map[string][]sh.Endpoint{}, connect: map[string][]sh.Endpoint{},
		listeners: map[string]*listener{}, said: map[string]sh.Reached{}, links: links{unprobed: map[string]string{}}}
	for _, l := range check.Links(w) {
		if all || w.State(l.From) != check.Complete || w.State(l.To) != check.Complete {
			t.add(l, w.Facts[l.To], w.State(l.To) == check.Clean)
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

// add makes a link part of the trial. What has a port already answers itself; but for datagrams, to
// which nothing answers. On a host that is not clean, what is to have a free port may want it any
// moment.
func (t *linkTrial) add(l check.Link, to facts.Facts, clean bool) {
	target := t.session.member(l.To)
	e := sh.Endpoint{AddrPort: netip.AddrPortFrom(target.NodeIP.Unmap(), uint16(l.Port)), Proto: l.Proto}
	taken := slices.ContainsFunc(to.Listening, func(x facts.Listener) bool {
		return x.Port == l.Port && x.Proto == l.Proto && (x.Addr.IsUnspecified() || x.Addr == e.Addr())
	})
	if taken && l.Proto == "udp" || !taken && !clean {
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
		endpoints, locked := t.listen[m.Name], t.session.locks != nil && m.wanted
		text := func() []byte { return sh.RenderListen(t.marker, endpoints, locked) }
		err := m.conn.Run(ctx, host.Script{Kind: host.Hold, Text: text}, l)
		l.end(err)
		if ctx.Err() != nil {
			err = nil // it was ended when it was not needed any more
		}
		t.session.emit(report.Event{Kind: report.Exec, Host: m.Name, Message: "listen", Duration: t.session.Now().Sub(start), Err: err})
	})
	limited, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	r, err := l.await(limited, func(r sh.Reached) bool { return r.Listening || r.Unable != "" })
	switch {
	case err != nil:
		t.unable(m, err.Error())
	case r.Unable != "":
		t.unable(m, r.Unable)
	}
}

// connectFrom has a host connect to all that it needs.
func (t *linkTrial) connectFrom(ctx context.Context, m *member) {
	var out bytes.Buffer
	endpoints := t.connect[m.Name]
	script := host.Script{Text: func() []byte { return sh.RenderReach(t.marker, m.Name, endpoints) }}
	err := t.session.run(ctx, m, script, &out, "reach")
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
	heard := t.heard(ctx)
	for _, l := range t.tried {
		if t.unprobed[l.From] != "" || t.unprobed[l.To] != "" {
			continue
		}
		at := netip.AddrPortFrom(t.session.member(l.To).NodeIP.Unmap(), uint16(l.Port))
		reason, failed := t.said[l.From].Closed[at]
		listens := slices.Contains(t.listen[l.To], sh.Endpoint{AddrPort: at, Proto: l.Proto})
		switch {
		case l.Proto == "udp" && !heard[l.To].Heard[strconv.Itoa(l.Port)][l.From]:
			t.closed = append(t.closed, check.Closed{Link: l, Reason: "no datagram arrived"})
		case l.Proto == "tcp" && failed && blocked(reason, listens):
			t.closed = append(t.closed, check.Closed{Link: l, Reason: reason})
		}
	}
}

// heard is what listeners have said once all datagrams that they wait for arrived, or were given
// their time. One that has ended before says nothing of what comes after it.
func (t *linkTrial) heard(ctx context.Context) map[string]sh.Reached {
	ctx, cancel := context.WithTimeout(ctx, datagramTimeout)
	defer cancel()
	awaited := map[string][]check.Link{}
	for _, l := range t.tried {
		if t.unprobed[l.From] == "" && t.unprobed[l.To] == "" && t.listeners[l.To] != nil {
			awaited[l.To] = append(awaited[l.To], l)
		}
	}
	heard := map[string]sh.Reached{}
	for name, links := range awaited {
		r, err := t.listeners[name].await(ctx, func(r sh.Reached) bool {
			return !slices.ContainsFunc(links, func(l check.Link) bool {
				return l.Proto == "udp" && !r.Heard[strconv.Itoa(l.Port)][l.From]
			})
		})
		heard[name] = r
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.unprobed[name] = err.Error()
		}
	}
	return heard
}

// blocked tells whether a failed connection says something of the way: that a program which had the
// port refuses, or that the host could not try, does not.
func blocked(reason string, listens bool) bool {
	switch reason {
	case "timed out", "no route to host", "network is unreachable", "host is unreachable":
		return true
	case "connection refused":
		return listens
	}
	return false
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
