package lab

import (
	"context"
	"crypto/rand"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestReal makes a lab of two real nodes, breaks it, mends it, and takes it away. It needs root
// and podman or Docker, and runs where KUBEWRIGHT_TEST_LAB=1 says that it may.
func TestReal(t *testing.T) {
	if os.Getenv("KUBEWRIGHT_TEST_LAB") != "1" {
		t.Skip("makes privileged containers: set KUBEWRIGHT_TEST_LAB=1 to allow it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := Open(ctx, Options{Runner: OSRunner{}, Rand: rand.Reader, Now: time.Now, Notify: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	cfg.Name, cfg.Subnet, cfg.Workers, cfg.Login = "selftest", netip.MustParsePrefix("10.119.0.0/24"), 1, LoginSudoPassword
	if cfg.CacheDir = os.Getenv("KUBEWRIGHT_CACHE"); cfg.CacheDir == "" {
		cfg.CacheDir = t.TempDir()
	}
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(ctx), cfg.Name, cfg.Dir); err != nil {
			t.Error(err)
		}
	})
	run := func(argv ...string) string {
		t.Helper()
		out, err := l.run.Run(ctx, argv, nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	var state State
	on := func(node, command string) string {
		t.Helper()
		argv, err := SSH(cfg.Dir, state, node, []string{command})
		if err != nil {
			t.Fatal(err)
		}
		return run(argv...)
	}
	state = up(t, l, cfg)

	if a, b := on("cp1", "cat /etc/machine-id"), on("worker1", "cat /etc/machine-id"); a == b || len(a) != 32 {
		t.Errorf("machine-ids are %q and %q", a, b)
	}
	if got := on("worker1", "hostname; whoami; sudo -n true 2>/dev/null || echo asks; command -v containerd kubelet kubectl || echo bare"); got != "worker1\nadmin\nasks\nbare" {
		t.Errorf("on worker1: %q", got)
	}
	// A path that leads out of the node is in a hierarchy that it shares with other nodes.
	if got := on("worker1", `grep '/\.\.' /proc/self/cgroup || true`); got != "" {
		t.Errorf("cgroups of worker1 outside of it: %s", got)
	}
	password, err := os.ReadFile(cfg.Dir + "/" + fileSudoPassword)
	if err != nil {
		t.Fatal(err)
	}
	argv, err := SSH(cfg.Dir, state, "worker1", []string{"sudo -S -p '' whoami"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := l.run.Run(ctx, argv, strings.NewReader(string(password))); err != nil || string(out) != "root\n" {
		t.Errorf("sudo with the password: %q, %v", out, err)
	}

	// A power cut: disk, address, identity and the shared mounts are there again.
	const shared = `grep -c ' / / .* shared:' /proc/self/mountinfo`
	before := on("worker1", "touch kept && sync && cat /etc/machine-id && ip -br link show eth0 | tr -s ' ' | cut -d' ' -f3 && "+shared)
	if err := l.Stop(ctx, cfg.Name, []string{"worker1"}); err != nil {
		t.Fatal(err)
	}
	if got := powers(t, l, cfg.Name); got != "cp1:running worker1:stopped" {
		t.Errorf("after the power cut: %s", got)
	}
	if err := l.Start(ctx, cfg.Name, cfg.Dir, []string{"worker1"}); err != nil {
		t.Fatal(err)
	}
	after := on("worker1", "ls kept >/dev/null && cat /etc/machine-id && ip -br link show eth0 | tr -s ' ' | cut -d' ' -f3 && "+shared)
	if before != after {
		t.Errorf("before the power cut:\n%s\nafter it:\n%s", before, after)
	}

	if err := l.Pause(ctx, cfg.Name, nil); err != nil {
		t.Fatal(err)
	}
	if got := powers(t, l, cfg.Name); got != "cp1:paused worker1:paused" {
		t.Errorf("paused: %s", got)
	}
	cfg.Workers = 2
	state = up(t, l, cfg) // resumes them, and adds one
	if got := powers(t, l, cfg.Name); got != "cp1:running worker1:running worker2:running" {
		t.Errorf("after up: %s", got)
	}
	if got := on("worker2", "getent hosts worker2 && systemctl is-system-running"); !strings.HasSuffix(got, "running") {
		t.Errorf("on worker2: %q", got)
	}

	// A node is destroyed, and another machine comes in its place.
	const identity = "cat /etc/machine-id; ls kept 2>/dev/null || echo bare"
	old, _, _ := strings.Cut(on("worker1", identity), "\n")
	if err := l.Remove(ctx, cfg.Name, cfg.Dir, []string{"worker1"}); err != nil {
		t.Fatal(err)
	}
	if got := powers(t, l, cfg.Name); got != "cp1:running worker2:running" {
		t.Errorf("without worker1: %s", got)
	}
	if disks, err := l.listed(ctx, "volume", labelLab, cfg.Name); err != nil || len(disks) != 2*len(nodeDisks()) {
		t.Errorf("disks of two nodes: %v, %v", disks, err)
	}
	node, err := l.Add(ctx, cfg, Node{Name: "worker1"})
	if err != nil || node.Address != state.Nodes[1].Address {
		t.Fatalf("worker1 was at %s, and is at %s, %v", state.Nodes[1].Address, node.Address, err)
	}
	if state, err = ReadState(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if got := on("worker1", identity); strings.Contains(got, old) || !strings.HasSuffix(got, "bare") {
		t.Errorf("of the machine that is gone, %s: %q", old, got)
	}

	if err := l.Down(ctx, cfg.Name, cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"container", "volume", "network"} {
		if left, err := l.listed(ctx, kind, labelLab, cfg.Name); err != nil || len(left) > 0 {
			t.Errorf("%ss that are left: %v, %v", kind, left, err)
		}
	}
	if _, err := os.Stat(cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("the lab's folder: %v", err)
	}
}
