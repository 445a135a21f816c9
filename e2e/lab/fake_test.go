package lab

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeEngine stands in for podman: it keeps what it is told to make, and refuses, as podman
// does, what makes no sense. A command it does not know fails.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]*fakeContainer
	labels     map[string]map[string]string // of volumes, networks and images, by kind and name
	ran        []string                     // command lines of changes, without options
	fail       map[string]error             // by the beginning of such a command line
	busy       map[string]int               // the same: how often it fails at first
}

type fakeContainer struct {
	status string
	labels map[string]string
	files  map[string]string // unpacked into it
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{
		containers: make(map[string]*fakeContainer), fail: make(map[string]error), busy: make(map[string]int),
		labels: map[string]map[string]string{"volume": {}, "network": {}, "image": {}},
	}
}

func (f *fakeEngine) LookPath(program string) (string, error) {
	if slices.Contains([]string{"podman", "runc", "iptables", "mmdebstrap"}, program) {
		return "/usr/bin/" + program, nil
	}
	return "", exec.ErrNotFound
}

func (f *fakeEngine) Run(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out, err := f.run(ctx, argv, stdin)
	if err != nil {
		return nil, &CommandError{Argv: argv, Code: 125, Stderr: err.Error(), Cause: err}
	}
	return []byte(out), nil
}

func (f *fakeEngine) run(ctx context.Context, argv []string, stdin io.Reader) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	switch argv[0] {
	case "mmdebstrap":
		f.ran = append(f.ran, "mmdebstrap")
		return "", os.WriteFile(argv[len(argv)-1], []byte("root file system"), 0o644)
	case "apt-get", "apt-config":
		return "", exec.ErrNotFound
	}
	options, words := parse(argv[1:])
	label := options["--label"]
	name := words[len(words)-1]
	change := strings.Join(words, " ")
	if slices.Contains([]string{"ls", "inspect"}, words[min(1, len(words)-1)]) {
		return f.look(words, options)
	}
	f.ran = append(f.ran, change)
	for begin, err := range f.fail {
		if strings.HasPrefix(change, begin) {
			return "", err
		}
	}
	for begin, left := range f.busy {
		if strings.HasPrefix(change, begin) && left > 0 {
			f.busy[begin]--
			return "", errors.New("busy")
		}
	}
	switch words[0] {
	case "network", "volume", "image":
		return "", f.object(words[0], words[1], words[2:], label)
	case "import":
		if _, err := os.Stat(words[1]); err != nil {
			return "", err
		}
		_, f.labels["image"][name], _ = strings.Cut(options["--change"], "LABEL ")
		return "", nil
	case "create":
		return "", f.create(words[1:], options)
	case "rm":
		for _, name := range words[1:] {
			delete(f.containers, name)
		}
		return "", nil
	case "cp":
		return "", f.unpack(strings.TrimSuffix(name, ":/"), stdin)
	case "start", "kill", "pause", "unpause":
		return "", f.power(words[0], name)
	}
	return "", fmt.Errorf("unknown command %q", argv)
}

// parse splits a command line. Options of one kind that repeat are joined by newlines.
func parse(argv []string) (options map[string]string, words []string) {
	flags := []string{"--quiet", "--all", "--no-trunc", "--force", "--volumes", "--privileged", "--disable-dns"}
	options = make(map[string]string)
	for i := 0; i < len(argv); i++ {
		name, value, joined := strings.Cut(argv[i], "=")
		switch {
		case !strings.HasPrefix(argv[i], "--"):
			words = append(words, argv[i])
			continue
		case !joined && !slices.Contains(flags, name):
			i++
			value = argv[i]
		}
		options[name] = strings.TrimPrefix(options[name]+"\n"+value, "\n")
	}
	return options, words
}

func labelsOf(option string) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(option) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		out[name] = value
	}
	return out
}

func (f *fakeEngine) look(words []string, options map[string]string) (string, error) {
	var out []string
	if words[1] == "inspect" {
		var all []inspected
		for _, name := range words[2:] {
			c := f.containers[name]
			if c == nil {
				return "", fmt.Errorf("no such container %s", name)
			}
			i := inspected{Name: name}
			i.State.Status, i.Config.Labels = c.status, c.labels
			all = append(all, i)
		}
		data, err := json.Marshal(all)
		return string(data), err
	}
	if reference, ok := strings.CutPrefix(options["--filter"], "reference="); ok {
		if _, ok := f.labels["image"][reference]; ok {
			return reference, nil
		}
		return "", nil
	}
	name, value, exact := strings.Cut(strings.TrimPrefix(options["--filter"], "label="), "=")
	add := func(object string, labels map[string]string) {
		if have, ok := labels[name]; ok && (!exact || have == value) {
			out = append(out, object)
		}
	}
	if words[0] == "container" {
		for object, c := range f.containers {
			add(object, c.labels)
		}
	} else {
		for object, labels := range f.labels[words[0]] {
			add(object, labelsOf(labels))
		}
	}
	return strings.Join(out, "\n"), nil
}

func (f *fakeEngine) object(kind, verb string, names []string, label string) error {
	for _, name := range names {
		_, there := f.labels[kind][name]
		switch {
		case verb == "create" && !there:
			f.labels[kind][name] = label
		case verb == "rm" && there:
			delete(f.labels[kind], name)
		default:
			return fmt.Errorf("cannot %s %s %s", verb, kind, name)
		}
	}
	return nil
}

func (f *fakeEngine) create(words []string, options map[string]string) error {
	name := options["--name"]
	if f.containers[name] != nil {
		return fmt.Errorf("the container name %s is in use", name)
	}
	if _, ok := f.labels["image"][words[0]]; !ok {
		return fmt.Errorf("no image %s", words[0])
	}
	if _, ok := f.labels["network"][options["--network"]]; !ok {
		return fmt.Errorf("no network %s", options["--network"])
	}
	for line := range strings.Lines(options["--volume"]) {
		volume, _, _ := strings.Cut(line, ":")
		if _, ok := f.labels["volume"][volume]; !ok && !strings.HasPrefix(volume, "/") {
			return fmt.Errorf("no volume %s", volume)
		}
	}
	f.containers[name] = &fakeContainer{status: "created", labels: labelsOf(options["--label"]), files: make(map[string]string)}
	return nil
}

func (f *fakeEngine) unpack(name string, stdin io.Reader) error {
	c := f.containers[name]
	if c == nil {
		return fmt.Errorf("no such container %s", name)
	}
	for r := tar.NewReader(stdin); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		c.files[h.Name] = string(content)
	}
}

func (f *fakeEngine) power(verb, name string) error {
	c := f.containers[name]
	if c == nil {
		return fmt.Errorf("no such container %s", name)
	}
	next, ok := map[string]string{
		"start created": "running", "start exited": "running",
		"kill running": "exited", "kill paused": "exited",
		"pause running": "paused", "unpause paused": "running",
	}[verb+" "+c.status]
	if !ok {
		return fmt.Errorf("cannot %s a container that is %s", verb, c.status)
	}
	c.status = next
	return nil
}

// changes returns the command lines of changes since the last call, sorted, as nodes are worked
// on side by side.
func (f *fakeEngine) changes() []string {
	out := f.ran
	f.ran = nil
	slices.Sort(out)
	return out
}

// testLab is a lab on a fake engine. Logins are recorded in the returned slice, and succeed on
// nodes that run and have the key of the login.
func testLab(t *testing.T) (*Lab, *fakeEngine, *[]target) {
	t.Helper()
	f := newFakeEngine()
	var mu sync.Mutex
	logins := &[]target{}
	l := &Lab{
		run: f, engine: Podman, rand: rand.Reader, notify: func(string) {},
		machine:  Machine{OS: "linux", Arch: "amd64", Root: true, Resolvers: []netip.Addr{netip.MustParseAddr("10.0.0.53")}},
		settings: testSettings(t, low()),
		now:      func() time.Time { return time.Unix(1, 0) },
		login: func(_ context.Context, to target) error {
			mu.Lock()
			defer mu.Unlock()
			f.mu.Lock()
			defer f.mu.Unlock()
			*logins = append(*logins, to)
			key, err := parseKeyPair(to.key)
			if err != nil {
				return err
			}
			for _, c := range f.containers {
				if c.labels[labelNode] == to.node.Name && c.status == "running" && c.files["root/.ssh/authorized_keys"] == key.public+"\n" {
					return nil
				}
			}
			return errors.New("permission denied")
		},
		mirror: func(context.Context, netip.Addr) error { return nil },
	}
	return l, f, logins
}
