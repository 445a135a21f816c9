package sh_test

import (
	"bytes"
	"strings"
	"testing"

	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// etcdBefore is what runs with a manifest that is about to be replaced.
var etcdBefore = []string{"etcd", "--name=cp1", "--initial-cluster=cp1=https://10.0.0.1:2380,cp 2=https://10.0.0.2:2380"}

// runs has a process run on a host.
func runs(r *shtest.Root, pid string, command ...string) {
	r.Write("/proc/"+pid+"/comm", command[0][:min(len(command[0]), 15)]+"\n")
	r.Write("/proc/"+pid+"/cmdline", strings.Join(command, "\x00")+"\x00")
}

// An act that replaces manifests ends when the kubelet has ended what ran with the old ones, and fails when
// it does not. What is none of it, and what no kubelet would end, is not waited for.
func TestReplaced(t *testing.T) {
	controllers := []string{"kube-controller-manager", "--leader-elect=true"}
	for name, test := range map[string]struct {
		kubelet bool
		after   string // what happens to process 70 and 71 once the manifest is written
		want    int
		says    string
	}{
		"ended at once":    {kubelet: true, after: "rm -r /proc/70 /proc/71"},
		"replaced":         {kubelet: true, after: `printf 'etcd\0--name=cp2\0' >/proc/70/cmdline; rm -r /proc/71`},
		"a zombie":         {kubelet: true, after: ": >/proc/70/cmdline; : >/proc/71/cmdline"},
		"ended later":      {kubelet: true, after: "(sleep 1; rm -r /proc/70 /proc/71) >/dev/null 2>&1 &"},
		"one is left":      {kubelet: true, after: "rm -r /proc/70", want: 8, says: "kube-controller runs as before its manifest was changed (process 71)"},
		"not ended":        {kubelet: true, after: ":", want: 8, says: "etcd runs as before its manifest was changed (process 70): the kubelet does not replace it; see journalctl -u kubelet"},
		"no kubelet runs":  {after: ":"},
		"told to stop":     {kubelet: true, after: "kill -TERM $PPID", want: sh.StoppedStatus},
		"nothing ran then": {kubelet: true, after: "rm -r /proc/70 /proc/71; mkdir /proc/72; echo etcd >/proc/72/comm; echo >/proc/72/cmdline"},
	} {
		t.Run(name, func(t *testing.T) {
			inShells(t, func(t *testing.T, shell shtest.Shell) {
				r := shtest.New(t, shell)
				runs(r, "70", etcdBefore...)
				runs(r, "71", controllers...)
				runs(r, "80", "etcd", "--name=somebody-elses")
				runs(r, "81", append([]string{"other"}, etcdBefore[1:]...)...)
				state := "inactive\n"
				if test.kubelet {
					state = "active\n"
				}
				r.Write("/fake.state/units/kubelet.service/active", state)
				r.Write("/etc/systemd/system/kubelet.service", "[Service]\n")
				r.Command("modprobe", "#!/bin/sh\n"+test.after+"\n") // in place of a kubelet
				tasks := []sh.Task{{ID: "etcd", Steps: []sh.Step{
					sh.NoteProcess{Command: etcdBefore}, sh.NoteProcess{Command: controllers},
					sh.NoteProcess{Command: []string{"it's $(never)", "ran"}}, sh.LoadModule{Name: "m"},
				}}, {ID: "last"}}
				tasks = sh.Replaced(tasks)
				if test.want == 8 {
					impatient(t, tasks)
				}
				var out bytes.Buffer
				code, stderr, err := r.Run(t.Context(), sh.RenderTasks(marker, tasks, sh.NewLook(nil)), &out)
				if err != nil || code != test.want || !strings.Contains(string(stderr), test.says) || (test.says == "" && len(stderr) > 0) {
					t.Errorf("%v, status %d, want %d; it said %q, want %q", err, code, test.want, stderr, test.says)
				}
			})
		})
	}
}

// impatient has tasks wait for a moment only: first all the same, at the end not.
func impatient(t *testing.T, tasks []sh.Task) {
	t.Helper()
	var waits []sh.AwaitEnd
	for _, task := range tasks {
		for i, s := range task.Steps {
			if await, ok := s.(sh.AwaitEnd); ok {
				waits = append(waits, await)
				await.Tries = 2
				task.Steps[i] = await
			}
		}
	}
	if len(waits) != 2 || !waits[0].Anyway || waits[1].Anyway || waits[0].Tries >= waits[1].Tries {
		t.Fatalf("they wait like this: %+v", waits)
	}
}

// Tasks that replace nothing are left alone.
func TestReplacedNothing(t *testing.T) {
	for _, tasks := range [][]sh.Task{nil, {{ID: "m", Steps: []sh.Step{sh.LoadModule{Name: "m"}}}}} {
		for _, task := range sh.Replaced(tasks) {
			if len(task.Steps) != 1 {
				t.Errorf("%v", task.Steps)
			}
		}
	}
}
