// Package browser opens pages in a headless Chromium, for tests: what a page looks like, what it measures, and
// what it complains about or asks the network for. It speaks the Chrome DevTools Protocol through a pipe, so
// that no port is opened.
//
// The protocol: https://chromedevtools.github.io/devtools-protocol/
package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Find returns the path of a Chromium on this machine, "" where there is none.
func Find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Browser is a running Chromium.
type Browser struct {
	cmd    *exec.Cmd
	dir    string // its profile
	to     *os.File
	from   *os.File
	stderr bytes.Buffer
	ended  chan struct{} // closed when nothing comes from it any more

	mu      sync.Mutex
	last    int
	answers map[int]chan message
	pages   map[string]*Page
}

// message is a call, an answer or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start runs a Chromium until ctx ends, or Close is called.
func Start(ctx context.Context, program string) (*Browser, error) {
	dir, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, err
	}
	theirIn, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	b := &Browser{dir: dir, to: to, from: from, ended: make(chan struct{}), answers: map[int]chan message{}, pages: map[string]*Page{}}
	b.cmd = exec.CommandContext(ctx, program, "--headless", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--no-sandbox", // it does not start as root with one; the pages are our own
		"--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
		"--hide-scrollbars", "--force-color-profile=srgb", "about:blank")
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the protocol has it
	b.cmd.Stderr = &b.stderr
	b.cmd.Env = append(os.Environ(), "HOME="+dir) // where crash reports would go
	err = b.cmd.Start()
	err = errors.Join(err, theirIn.Close(), theirOut.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), os.RemoveAll(dir))
	}
	go b.listen()
	return b, nil
}

// endTimeout is how long a browser may take to end by itself.
const endTimeout = 20 * time.Second

// Close ends the browser and its helpers, and removes its profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	// It may end before it answers.
	_ = b.call(ctx, "", "Browser.close", nil, nil)
	select {
	case <-b.ended:
	case <-ctx.Done():
		_ = b.cmd.Process.Kill() // it may have ended now
		<-b.ended
	}
	_ = b.cmd.Wait() // how it ended is no matter
	return errors.Join(b.to.Close(), b.from.Close(), os.RemoveAll(b.dir))
}

// listen hands on what the browser says: messages that end with a zero byte.
func (b *Browser) listen() {
	defer close(b.ended)
	lines := bufio.NewReader(b.from)
	for {
		line, err := lines.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(line, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		answer, page := b.answers[m.ID], b.pages[m.Session]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case page != nil:
			page.hear(m)
		}
	}
}

// call asks for something, and reads the result into what result points to, nil for nowhere.
func (b *Browser) call(ctx context.Context, session, method string, params map[string]any, result any) error {
	encoded, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	m := message{ID: b.last, Session: session, Method: method, Params: encoded}
	b.answers[m.ID] = answer
	line, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m = <-answer:
	case <-b.ended:
		return fmt.Errorf("%s: the browser has ended: %s", method, b.said())
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// said is what a browser that has ended wrote to its standard error.
func (b *Browser) said() string {
	_ = b.cmd.Wait() // only then all of it is there
	return b.stderr.String()
}

// Look is how a page is looked at.
type Look struct {
	Width, Height int
	Dark          bool
}

// Page is an open page.
type Page struct {
	browser *Browser
	session string
	loaded  chan struct{} // gets a value when it is

	mu         sync.Mutex
	complaints []string
	requests   []string
}

// Open opens a page, and returns when it is loaded.
func (b *Browser) Open(ctx context.Context, url string, look Look) (*Page, error) {
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p := &Page{browser: b, session: attached.Session, loaded: make(chan struct{}, 1)}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	for _, step := range []struct {
		method string
		params map[string]any
	}{
		{"Page.enable", nil},
		{"Runtime.enable", nil},
		{"Log.enable", nil},
		{"Network.enable", nil},
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": look.Width, "height": look.Height, "deviceScaleFactor": 1, "mobile": false}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}},
		{"Page.navigate", map[string]any{"url": url}},
	} {
		if err := b.call(ctx, p.session, step.method, step.params, nil); err != nil {
			return nil, err
		}
	}
	select {
	case <-p.loaded:
		return p, nil
	case <-b.ended:
		return nil, fmt.Errorf("open %s: the browser has ended: %s", url, b.said())
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", url, ctx.Err())
	}
}

// hear takes an event of the page.
func (p *Page) hear(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		p.complaints = append(p.complaints, string(m.Params))
	case "Network.requestWillBeSent":
		var e struct {
			Request struct {
				URL string `json:"url"`
			} `json:"request"`
		}
		if json.Unmarshal(m.Params, &e) == nil {
			p.requests = append(p.requests, e.Request.URL)
		}
	}
}

// Complaints are what the page, or the browser about it, has written to the console.
func (p *Page) Complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.complaints...)
}

// Requests are the URLs that were asked for, that of the page included.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

// Evaluate reads the value of a JavaScript expression into what result points to.
func (p *Page) Evaluate(ctx context.Context, expression string, result any) error {
	var answer struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	err := p.browser.call(ctx, p.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &answer)
	if err != nil {
		return err
	}
	if answer.Exception != nil {
		return fmt.Errorf("%s: %s", expression, answer.Exception.Text)
	}
	return json.Unmarshal(answer.Result.Value, result)
}

// Screenshot writes the whole page, not only what fits into its window, to a PNG file.
func (p *Page) Screenshot(ctx context.Context, file string) error {
	var metrics struct {
		Size struct {
			Width  float64 `json:"width"`
			Height float64 `json:"height"`
		} `json:"cssContentSize"`
	}
	if err := p.browser.call(ctx, p.session, "Page.getLayoutMetrics", nil, &metrics); err != nil {
		return err
	}
	var shot struct {
		Data []byte `json:"data"`
	}
	err := p.browser.call(ctx, p.session, "Page.captureScreenshot", map[string]any{
		"format": "png", "captureBeyondViewport": true,
		"clip": map[string]any{"x": 0, "y": 0, "width": metrics.Size.Width, "height": metrics.Size.Height, "scale": 1},
	}, &shot)
	if err != nil {
		return err
	}
	return os.WriteFile(file, shot.Data, 0o600)
}
