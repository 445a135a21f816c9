//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// labSpec says which lab a test needs.
type labSpec struct {
	name, subnet           string
	controlPlanes, workers int
	etcd                   int    // hosts of etcd's own
	login                  string // empty: root
	vip                    bool
	reuse                  string // folder of a lab to take instead
}

// lab is a set of bare hosts.
type lab struct {
	name, dir string
}

// node is a host of a lab, as `lab status -o json` has it.
type node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Role    string `json:"role"`
}

// ownDir is where the files of a lab of the tests are. It does not change from one run to the
// next, so that what an interrupted run left is found again.
func ownDir(name string) string { return filepath.Join("_labs", name) }

// artifacts is the folder of files and images to serve to the hosts; empty for upstream's.
func artifacts() string {
	dir := os.Getenv("KUBEWRIGHT_E2E_ARTIFACTS")
	switch dir {
	case "upstream":
		return ""
	case "":
		cache := os.Getenv("KUBEWRIGHT_CACHE")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return ""
			}
			cache = filepath.Join(home, ".cache", "kubewright")
		}
		dir = filepath.Join(cache, "artifacts")
		if _, err := os.Stat(filepath.Join(dir, "digests.yaml")); err != nil {
			return ""
		}
	}
	return dir
}

// upArgs are the arguments of the `lab up` that makes the lab.
func (s labSpec) upArgs(dir string) []string {
	args := []string{
		"lab", "up", "--name", s.name, "--dir", dir, "--subnet", s.subnet,
		"--control-planes", strconv.Itoa(s.controlPlanes), "--workers", strconv.Itoa(s.workers),
	}
	if s.etcd > 0 {
		args = append(args, "--etcd", strconv.Itoa(s.etcd))
	}
	if s.login != "" {
		args = append(args, "--login", s.login)
	}
	if s.vip {
		args = append(args, "--vip")
	}
	if a := artifacts(); a != "" {
		args = append(args, "--artifacts", a)
	}
	return args
}

// up makes the lab anew, or takes the one to reuse.
func (s labSpec) up(ctx context.Context) (*lab, error) {
	if s.reuse != "" {
		return &lab{name: s.name, dir: s.reuse}, nil
	}
	l := &lab{name: s.name, dir: ownDir(s.name)}
	if err := os.MkdirAll("_labs", 0o755); err != nil {
		return nil, err
	}
	if err := l.down(ctx); err != nil {
		return nil, err
	}
	if err := loadImages(); err != nil {
		return nil, err
	}
	return l, must(invoke(ctx, s.upArgs(l.dir)...))
}

// must is the error of a run that was to succeed.
func must(r result, err error) error {
	if err == nil && r.code != exitDone {
		err = errors.New(r.String())
	}
	return err
}

// down removes the lab with its folder.
func (l *lab) down(ctx context.Context) error {
	if err := must(invoke(ctx, "lab", "down", "--name", l.name, "--dir", l.dir)); err != nil {
		return err
	}
	return os.RemoveAll(l.dir)
}

// long skips what takes minutes and tells seldom what the other tests do not, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if !all() {
		t.Skip("it takes minutes: `make e2e-all`, or KUBEWRIGHT_E2E_LONG=1")
	}
}

// all tells whether the long tests are asked for, too.
func all() bool { return os.Getenv("KUBEWRIGHT_E2E_LONG") != "" }

// newLab makes a lab for one test, and removes it when the test ends.
func newLab(t *testing.T, s labSpec) *lab {
	t.Helper()
	l, err := s.up(t.Context())
	t.Cleanup(func() {
		if !keepLabs() && l != nil {
			if err := l.down(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) file() string { return filepath.Join(l.dir, "cluster.yaml") }

// tool runs a command of kubewright on the lab's cluster, with a debug log that is kept if the
// test fails.
func (l *lab) tool(t testing.TB, command string, args ...string) result {
	t.Helper()
	return kubewright(t, l.args(command, append(args, "--log", debugLog(t))...)...)
}

func (l *lab) args(command string, args ...string) []string {
	return append([]string{command, "-f", l.file()}, args...)
}

// power switches nodes: verb is stop, start, pause or resume.
func (l *lab) power(t testing.TB, verb string, nodes ...string) {
	t.Helper()
	kubewright(t, append([]string{"lab", "--dir", l.dir, "node", verb}, nodes...)...).want(t, exitDone)
}

// nodes lists the hosts.
func (l *lab) nodes(t testing.TB) []node {
	t.Helper()
	var nodes []node
	r := kubewright(t, "lab", "--dir", l.dir, "status", "-o", "json").want(t, exitDone)
	if err := json.Unmarshal([]byte(r.stdout), &nodes); err != nil {
		t.Fatalf("lab status: %v\n%s", err, r)
	}
	return nodes
}

// workers are the names of the lab's workers.
func (l *lab) workers(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, n := range l.nodes(t) {
		if n.Role == "worker" {
			names = append(names, n.Name)
		}
	}
	return names
}

// shell runs a script on a host as the lab's user, and returns what it prints.
func (l *lab) shell(ctx context.Context, host, script string) (string, error) {
	out, err := l.ssh(ctx, host, strings.NewReader(script), "sh", "-seu")
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, script)
	}
	return out, err
}

// ssh runs a command on a host, and returns what it prints.
func (l *lab) ssh(ctx context.Context, host string, stdin io.Reader, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd, err := command(ctx, append([]string{"lab", "--dir", l.dir, "ssh", host, "--"}, argv...)...)
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s on %s: %w\n%s%s", strings.Join(argv, " "), host, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// on runs a script on a host, which has to succeed.
func (l *lab) on(t testing.TB, host, script string) string {
	t.Helper()
	out, err := l.shell(t.Context(), host, script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// caFingerprint is the digest of the cluster's CA certificate on its first control plane.
func (l *lab) caFingerprint(t testing.TB) string {
	t.Helper()
	return l.on(t, "cp1", "sha256sum < /etc/kubernetes/pki/ca.crt")
}

// wantEmptyPlan checks that nothing is left to do, as the exit code and the JSON say it.
func (l *lab) wantEmptyPlan(t testing.TB) {
	t.Helper()
	r := l.tool(t, "plan", "--detailed-exitcode", "-o", "json")
	if r.code != exitDone || !r.plan(t).Empty {
		t.Fatalf("the plan is not empty\n%s", r)
	}
}

// fixture is a lab that tests share, made when the first of them needs it.
type fixture struct {
	spec  labSpec
	bare  sync.Once
	whole sync.Once
	lab   *lab
	apply result
	err   error
}

// hosts returns the lab; what is on the hosts is whatever earlier tests left there.
func (f *fixture) hosts(t testing.TB) *lab {
	t.Helper()
	f.bare.Do(func() { f.lab, f.err = f.spec.up(t.Context()) })
	if f.err != nil {
		t.Fatalf("the lab %s is not up: %v", f.spec.name, f.err)
	}
	return f.lab
}

// cluster returns the lab's cluster and applies it the first time.
func (f *fixture) cluster(t testing.TB) *cluster {
	t.Helper()
	l := f.hosts(t)
	f.whole.Do(func() {
		// Stays when the test ends in here, which counts as done all the same.
		f.err = errors.New("the test that made it was ended before it was whole")
		log := debugLog(t)
		var err error
		f.apply, err = invoke(t.Context(), l.args("apply", "--yes", "--stats", "--log", log)...)
		err = must(f.apply, err)
		t.Logf("%s", f.apply)
		if err == nil {
			l.provideImage(t)
		}
		f.err = err
	})
	if f.err != nil {
		t.Fatalf("the cluster %s did not come up: %v", f.spec.name, f.err)
	}
	return l.connect(t)
}

// down removes the lab unless it is somebody else's, was never made, or is removed already.
func (f *fixture) down(ctx context.Context) error {
	if f.lab == nil || f.spec.reuse != "" {
		return nil
	}
	l := f.lab
	f.lab = nil
	return l.down(ctx)
}

// cluster is a lab that carries a cluster, and a client for its API.
type cluster struct {
	*lab
	client *kubernetes.Clientset
	config *rest.Config
}

// connect asks kubewright for a kubeconfig and uses it as it is, from this machine.
func (l *lab) connect(t testing.TB) *cluster {
	t.Helper()
	r := l.tool(t, "kubeconfig").want(t, exitDone)
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(r.stdout))
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	config.QPS = -1 // no limit of our own
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{lab: l, client: client, config: config}
	explainFailure(t, c)
	return c
}
