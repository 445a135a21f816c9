package sh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// A name of any bytes is acted on as it is. What is said of it is right, or is refused as
// unreadable; it is never taken for something else.
func TestHostileNames(t *testing.T) {
	names := []string{
		"a b", " lead", "trail ", "tab\there", "new\nline", "-rf", "--help", "'", `"`, "$(touch pwned)", "`id`", "$HOME", `back\slash`, `a\nb`, `\c`, `\\`, "*", "?", "[a]",
		"~", "#", ";", "&", "|", "<>", "%s", "日本語", "\xff\xfe", "a'b\"c", "...", ".hidden", "KW_EOF", strings.Repeat("x", 200), "!", "a|b", "end",
	}
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		for _, name := range names {
			p := "/opt/d/" + name
			tasks := []sh.Task{{ID: "t", Steps: []sh.Step{
				sh.WriteFile{Path: p, Mode: 0o600, Owner: "root:root", Content: []byte(name)}, sh.SetAttributes{Path: p, Mode: 0o640, Owner: "root:root"},
				sh.KeepOriginal{Path: p}, sh.Remove{Path: p}, sh.RestoreOriginal{Path: p},
				sh.MakeDir{Path: "/opt/dirs/" + name, Mode: 0o700, Owner: "root:root"}, sh.RemoveDir{Path: "/opt/dirs/" + name, Tree: true},
				sh.Symlink{Path: "/opt/links/" + name, Target: name}, sh.Record{ID: "file:" + p, Digest: "d"},
			}}}
			probes := []sh.Probe{file(p), sh.FileProbe{Path: "/opt/links/" + name}, sh.FileProbe{Path: "/opt/absent/" + name}}
			code, out, stderr := run(t, r, sh.RenderTasks(marker, tasks, sh.NewLook(probes)))
			if code != 0 {
				t.Errorf("%q: the script ended with %d: %s", name, code, stderr)
				continue
			}
			if got := r.Read(p); got != name {
				t.Errorf("%q: the file holds %q", name, got)
			}
			if target, err := os.Readlink(r.Path("/opt/links/") + "/" + name); target != name {
				t.Errorf("%q: the link points at %q, %v", name, target, err)
			}
			a, err := parseAnswers(marker, sh.NewLook(probes), out)
			switch {
			case errors.Is(err, sh.ErrIncomplete) && strings.ContainsAny(name, " \t\n\\|"):
			case err != nil:
				t.Errorf("%q: %v", name, err)
			case string(a.Files[p].Content) != name || a.Files["/opt/links/"+name].Link != name || a.Files["/opt/absent/"+name].Exists:
				t.Errorf("%q: read as %+v", name, a.Files)
			}
		}
		for _, pwned := range []string{"/pwned", "/opt/d/pwned", "/root/pwned", "/tmp/pwned"} {
			if _, err := os.Stat(r.Path(pwned)); err == nil {
				t.Errorf("a name was run: there is %s", pwned)
			}
		}
	})
}

// Names in a folder that is removed come from pods. One that reads like a list of paths leads
// nowhere else, by way of a link neither.
func TestHostileNamesInATree(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		r.Write("/opt/t/theirs/file", "was there before")
		r.Write("/etc/keep", "somebody else's")
		perform := func(steps ...sh.Step) {
			t.Helper()
			if code, _, stderr := run(t, r, sh.RenderTasks(marker, []sh.Task{{ID: "t", Steps: steps}}, sh.NewLook(nil))); code != 0 {
				t.Fatalf("the script ended with %d: %s", code, stderr)
			}
		}
		perform(sh.ListForeign{Path: "/opt/t"})
		r.Write("/opt/t/a\n/etc/keep", "a pod's")
		r.Write("/opt/t/-rf", "a pod's")
		r.Write("/opt/t/..hidden/x", "a pod's")
		if err := os.Symlink("/etc", r.Path("/opt/t/theirs/out")); err != nil {
			t.Fatal(err)
		}
		perform(sh.RemoveDir{Path: "/opt/t", Tree: true})
		if r.Read("/etc/keep") != "somebody else's" || r.Read("/opt/t/theirs/file") != "was there before" {
			t.Error("something of somebody else's is gone")
		}
		for p := range r.Tree() {
			if strings.HasPrefix(p, "/opt/t/") && !strings.HasPrefix(p, "/opt/t/theirs") || p == "/opt/t/theirs/out" {
				t.Errorf("%q is still there", p)
			}
		}
	})
}

// The umask of the session changes nothing: every mode is as wanted, and what is on its
// way to its name is for root alone.
func TestUmask(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		for _, umask := range []string{"000", "077", "777"} {
			h, r := memhost.New(t), shtest.New(t, shell)
			h.File(sh.CachePath("abc"), 0o600, "RAW")
			h.File("/etc/theirs", 0o604, "theirs")
			h.Unit("a.service", memhost.Unit{})
			r.Load(h)
			// While it is written the content must not be readable by others.
			r.Command("chmod", "#!/bin/sh\nfor f; do :; done\ncase $f in *.kw-tmp) [ \"$(stat -c %a \"$f\")\" = 600 ] || echo \"$f is $(stat -c %a \"$f\")\" >> /fake.state/unknown ;; esac\nexec /bin/chmod \"$@\"\n")
			tasks := []sh.Task{{ID: "t", Steps: []sh.Step{
				sh.KeepOriginal{Path: "/etc/theirs"}, sh.Intend{ID: "a"},
				sh.WriteFile{Path: "/etc/deep/er/x", Mode: 0o600, Owner: "root:root", Content: []byte("secret")},
				sh.WriteFile{Path: "/etc/y", Mode: 0o644, Owner: "root:root", Content: []byte("public")},
				sh.MakeDir{Path: "/opt/a/b", Mode: 0o711, Owner: "root:root"}, sh.Symlink{Path: "/opt/c/l", Target: "x"},
				sh.Install{Path: "/opt/bin/raw", Mode: 0o755, Archive: "abc"}, sh.StartUnit{Name: "a.service", Digest: "d"}, sh.Record{ID: "a", Digest: "b"},
			}}}
			if _, err := h.Run(tasks, -1); err != nil {
				t.Fatal(err)
			}
			code, stderr, err := r.RunWith(t.Context(), shtest.Options{Umask: umask}, sh.RenderTasks(marker, tasks, sh.NewLook(nil)), nil)
			if err != nil || code != 0 {
				t.Fatalf("umask %s: status %d, %v: %s", umask, code, err, stderr)
			}
			if d := r.Differences(h); len(d) > 0 {
				t.Errorf("umask %s:\n%s", umask, strings.Join(d, "\n"))
			}
		}
	})
}

// A stream that is cut anywhere runs nothing, or, when only its last words are missing,
// all of it.
func TestCutScriptRunsNothing(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		h, r := memhost.New(t), shtest.New(t, shell)
		r.Load(h)
		tasks := []sh.Task{{ID: "t", Steps: []sh.Step{
			sh.Intend{ID: "x"}, sh.WriteFile{Path: "/etc/x", Mode: 0o600, Owner: "root:root", Content: bytes.Repeat([]byte("0123456789\n"), 500)},
			sh.SwapOff{}, sh.Remove{Path: "/etc/passwd"}, sh.Record{ID: "x", Digest: "d"},
		}}}
		script := sh.RenderTasks(marker, tasks, sh.NewLook([]sh.Probe{file("/etc/x")}))
		const call = "kw_main </dev/null\n"
		if !bytes.HasSuffix(script, []byte("\n}\n"+call)) {
			t.Fatalf("the script ends with %q", script[len(script)-40:])
		}
		body := len(script) - len(call) + len("kw_mai")
		for at := 0; at <= body; {
			var out bytes.Buffer
			if _, _, err := r.Run(t.Context(), script[:at], &out); err != nil {
				t.Fatal(err)
			}
			if d := r.Differences(h); len(d) > 0 || strings.Contains(out.String(), marker) {
				t.Fatalf("cut after %d of %d bytes (...%q) it did something: %q\n%s", at, len(script), tail(script[:at]), out.String(), strings.Join(d, "\n"))
			}
			step := 1 // near the end, where it matters, every byte
			if at < body-len(call) {
				step = min(len(script)/50+1, body-len(call)-at)
			}
			at += step
		}
	})
}

// Looking changes nothing on a host, not even a time.
func TestLookChangesNothing(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		h, r := memhost.New(t), shtest.New(t, shell)
		manyFiles(h)
		h.Unit("a.service", memhost.Unit{Active: "active"})
		h.File(sh.ManifestPath, 0o600, "file:/x\ttorn")
		r.Load(h)
		probes := append(manyQuestions(), sh.UnitProbe{Name: "a.service"}, sh.SwapProbe{}, sh.ModuleProbe{Name: "br_netfilter"}, sh.SysctlProbe{Key: "net.none"})
		before := r.Times()
		look(t, r, probes)
		if diff := cmp.Diff(before, r.Times()); diff != "" {
			t.Errorf("a look changed something (-before +after):\n%s", diff)
		}
	})
}

// What commands print on standard output is noise: it can neither fake nor spoil an answer,
// and it is not lost either, for it may say why a step failed.
func TestNoisyCommands(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		h, r := memhost.New(t), shtest.New(t, shell)
		h.Unit("a.service", memhost.Unit{})
		h.Loadable["m"] = nil
		h.File(sh.ManifestPath, 0o600, "file:/first\tabc\n")
		r.Load(h)
		r.Write("/fake.state/noise", "")
		probes := []sh.Probe{file("/etc/x"), sh.UnitProbe{Name: "a.service"}}
		tasks := []sh.Task{
			{ID: "one", Steps: []sh.Step{sh.StartUnit{Name: "a.service", Digest: "d"}, sh.Record{ID: "one", Digest: "d"}}},
			{ID: "two", Steps: []sh.Step{sh.WriteFile{Path: "/etc/x", Mode: 0o600, Owner: "root:root", Content: []byte("x")}, sh.DaemonReload{}}},
		}
		if _, err := h.Run(tasks, -1); err != nil {
			t.Fatal(err)
		}
		var progress []string
		w := sh.NewWatcher(marker, sh.NewLook(probes), func(p sh.Progress) { progress = append(progress, fmt.Sprint(p.State, p.Index)) })
		if code, stderr, err := r.Run(t.Context(), sh.RenderTasks(marker, tasks, sh.NewLook(probes)), w); err != nil || code != 0 {
			t.Fatalf("status %d, %v: %s", code, err, stderr)
		}
		if diff := cmp.Diff([]string{"start0", "done0", "start1", "done1"}, progress); diff != "" {
			t.Errorf("progress (-want +got):\n%s", diff)
		}
		answers, err := w.Answers()
		if err != nil {
			t.Fatal(err)
		}
		compareAnswers(t, answers, h.Answer(probes))

		r.Command("modprobe", "#!/bin/sh\nprintf 'why it failed'; exit 1\n")
		code, out, stderr := run(t, r, sh.RenderTasks(marker, []sh.Task{{ID: "m", Steps: []sh.Step{sh.LoadModule{Name: "m"}}}}, sh.NewLook(nil)))
		if code != 8 || !strings.Contains(out, "\n"+marker+" fail 0\n") && !strings.HasPrefix(out, marker+" fail 0\n") || !strings.Contains(stderr, "why it failed") {
			t.Errorf("a failure with its reason on standard output: status %d, stdout %q, stderr %q", code, out, stderr)
		}
	})
}

// A disk that is full leaves the old file, or none; never a part of the new one.
func TestDiskFull(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	tests := map[string]struct {
		mounts string
		steps  []sh.Step
	}{
		"where the file goes": {
			mounts: `mkdir -p "$1/opt/full"; mount -t tmpfs -o size=256k tmpfs "$1/opt/full"; echo old > "$1/opt/full/x"; echo tool > "$1/opt/full/tool"`,
			steps:  []sh.Step{sh.WriteFile{Path: "/opt/full/x", Mode: 0o600, Owner: "root:root", Content: big}},
		},
		// A shell may keep a long here-document in a temporary file.
		"where temporary files go": {
			mounts: `mkdir -p "$1/opt/full"; echo old > "$1/opt/full/x"; echo tool > "$1/opt/full/tool"; mount -t tmpfs -o size=16k tmpfs "$1/tmp"; head -c 100000 /dev/zero > "$1/tmp/fill" 2>/dev/null || :`,
			steps:  []sh.Step{sh.WriteFile{Path: "/opt/full/x", Mode: 0o600, Owner: "root:root", Content: big}},
		},
		"where a binary goes": {
			mounts: `mkdir -p "$1/opt/full"; mount -t tmpfs -o size=256k tmpfs "$1/opt/full"; echo old > "$1/opt/full/x"; echo tool > "$1/opt/full/tool"`,
			steps:  []sh.Step{sh.Install{Path: "/opt/full/tool", Mode: 0o755, Archive: "abc"}},
		},
		"where the manifest is": {
			mounts: `mkdir -p "$1/opt/full"; echo old > "$1/opt/full/x"; echo tool > "$1/opt/full/tool"
				mount -t tmpfs -o size=32k tmpfs "$1/var/lib/kubewright"; head -c 100000 /dev/zero > "$1/var/lib/kubewright/fill" 2>/dev/null || :`,
			steps: []sh.Step{sh.Intend{ID: "file:/opt/full/x"}, sh.WriteFile{Path: "/opt/full/x", Mode: 0o600, Owner: "root:root", Content: []byte("small")}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inShells(t, func(t *testing.T, shell shtest.Shell) {
				h, r := memhost.New(t), shtest.New(t, shell)
				h.File(sh.CachePath("abc"), 0o600, string(big))
				r.Load(h)
				const after = "kwafter"
				probes := []sh.Probe{file("/opt/full/x"), file("/opt/full/.x.kw-tmp"), file("/opt/full/tool"), file("/opt/full/.tool.kw-tmp")}
				script := append(sh.RenderTasks(marker, []sh.Task{{ID: "t", Steps: tc.steps}}, sh.NewLook(nil)), sh.RenderProbes(after, sh.NewLook(probes))...)
				var out bytes.Buffer
				if _, stderr, err := r.RunWith(t.Context(), shtest.Options{Mounts: tc.mounts}, script, &out); err != nil {
					t.Fatalf("%v: %s", err, stderr)
				}
				a, err := parseAnswers(after, sh.NewLook(probes), out.String())
				if err != nil {
					t.Fatalf("%v\n%.2000s", err, out.String())
				}
				for p, old := range map[string]string{"/opt/full/x": "old\n", "/opt/full/tool": "tool\n"} {
					f := a.Files[p]
					if whole := bytes.Equal(f.Content, big); string(f.Content) != old && !whole {
						t.Errorf("%s holds %d bytes that are neither old nor new", p, f.Size)
					}
					if a.Files[path.Dir(p)+"/."+path.Base(p)+".kw-tmp"].Exists {
						t.Errorf("%s left its temporary name behind", p)
					}
				}
				failed := strings.Contains(out.String(), marker+" fail 0")
				if whole := bytes.Equal(a.Files["/opt/full/x"].Content, big); failed == whole {
					t.Errorf("failed = %v, but the file was replaced = %v", failed, whole)
				}
			})
		})
	}
}

// Two runs: the second waits, then is told who holds the lock; when the first dies, by
// whatever means, the lock is free within seconds.
func TestLock(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		first := take(t, r, "alice@laptop, apply\nsince 12:00")
		if holder := first.answer(t); holder != "" {
			t.Fatalf("a free lock is held by %q", holder)
		}
		second := take(t, r, "bob")
		if holder := second.answer(t); holder != "alice@laptop, apply since 12:00" {
			t.Errorf("the lock is held by %q, want alice", holder)
		}
		if code := second.wait(t); code != 15 {
			t.Errorf("status %d when somebody else has the lock, want 15", code)
		}
		third := take(t, r, "carol")
		first.stop() // while the third waits
		if holder := third.answer(t); holder != "" {
			t.Errorf("the lock is still held by %q after its holder was killed", holder)
		}
		// A holder whose connection is gone finds out at its next word.
		third.out.fail()
		fourth := take(t, r, "dave")
		if holder := fourth.answer(t); holder != "" {
			t.Errorf("the lock is still held by %q after nobody listens to its holder", holder)
		}
		third.wait(t)
		fourth.stop()
	})
}

// taker is one run of the lock script.
type taker struct {
	out   *listener
	stop  context.CancelFunc
	ended chan int
}

func take(t *testing.T, r *shtest.Root, holder string) *taker {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	k := &taker{out: &listener{heard: make(chan struct{}, 100)}, stop: cancel, ended: make(chan int, 1)}
	go func() {
		code, _, _ := r.Run(ctx, sh.RenderLock(marker, sh.LockRequest{Holder: holder}), k.out)
		k.ended <- code
	}()
	t.Cleanup(cancel)
	return k
}

// answer waits for the lock's answer and returns its holder, "" when it is ours.
func (k *taker) answer(t *testing.T) string {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if locked, holder := sh.LockAnswer(marker, k.out.bytes()); locked || holder != "" {
			return holder
		}
		select {
		case <-k.out.heard:
		case <-deadline:
			t.Fatalf("no answer in time, only %q", k.out.bytes())
		}
	}
}

func (k *taker) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-k.ended:
		return code
	case <-time.After(30 * time.Second):
		t.Fatal("the script does not end")
		return -1
	}
}

// listener keeps what is written, until it fails.
type listener struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	deaf  bool
	heard chan struct{}
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		return 0, io.ErrClosedPipe
	}
	select {
	case l.heard <- struct{}{}:
	default:
	}
	return l.buf.Write(p)
}

func (l *listener) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = true
}

func (l *listener) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

// An answer that is not there yet, or is somebody else's, is none.
func TestLockAnswer(t *testing.T) {
	for out, want := range map[string]string{
		"": "", "noise\n": "", marker + " held": "", "kwother locked\n": "", "x " + marker + " locked\n": "",
		marker + " held bob since 12:00\n": "bob since 12:00",
	} {
		if locked, holder := sh.LockAnswer(marker, []byte(out)); locked || holder != want {
			t.Errorf("%q: %v, %q; want %q", out, locked, holder, want)
		}
	}
}

// Two acts never run at the same time: the later waits for the earlier.
func TestOneActAtATime(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		r.Command("modprobe", "#!/bin/sh\necho begin >> /fake.state/log; sleep 1.5; echo end >> /fake.state/log\n")
		var acts sync.WaitGroup
		for range 3 {
			acts.Go(func() {
				code, stderr, err := r.Run(t.Context(), sh.RenderTasks(marker, []sh.Task{{ID: "m", Steps: []sh.Step{sh.LoadModule{Name: "m"}}}}, sh.NewLook(nil)), nil)
				if err != nil || code != 0 {
					t.Errorf("status %d, %v: %s", code, err, stderr)
				}
			})
		}
		acts.Wait()
		if got := r.Read("/fake.state/log"); got != strings.Repeat("begin\nend\n", 3) {
			t.Errorf("the acts were not one after the other:\n%s", got)
		}
	})
}
