package plan

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/check"
	"kubewright/internal/resource"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everything is a plan with every kind of item there is.
func everything() Plan {
	file := func(path, old, want string) resource.Change {
		return resource.Change{ID: resource.FileID(path), Fields: []resource.Field{{Name: "content", Old: old, New: want}}}
	}
	prepare := []Item{
		{Phase: "host", Status: InSync, Change: resource.Change{ID: "module:overlay"}},
		{Phase: "host", Status: Drift, Change: resource.Change{ID: "sysctl:net.ipv4.ip_forward", Fields: []resource.Field{{Name: "value", Old: "0", New: "1"}}}},
		{Phase: "runtime", Status: New, Change: resource.Change{
			ID: "file:/etc/crictl.yaml", Create: true,
			Fields: []resource.Field{{Name: "type", Old: "absent", New: "file"}, {Name: "content", New: "sha256:0123456789ab"}},
		}},
	}
	return Plan{
		Cluster: "lab", CA: "sha256:c0ffee",
		Checks: []check.Result{
			{Check: "disk", Host: "worker1", Severity: check.Warn, Message: "/var/lib is nearly full", Remedy: "free some room"},
			{Check: "disk", Host: "worker2", Severity: check.Warn, Message: "/var/lib is nearly full", Remedy: "free some room"},
			{Check: "swap", Host: "cp1", Severity: check.Refuse, Ignored: true, Message: "swap is on"},
			{Check: "hostname", Host: "cp1", Severity: check.Info, Message: "the host calls itself box"},
		},
		Orphans:   []string{"old\x1b[2J"},
		Actions:   []Action{{Host: "cp3", What: "add", Reason: "the inventory wants it as a member"}, {Host: "cp3", What: "promote", Reason: "it is a learner, and is to vote"}},
		Unreached: map[string]error{"cp2": errors.New("cp2: cannot reach 192.0.2.2:22")},
		Hosts: []Host{
			{Name: "cp1", Items: []Item{
				{Phase: "prune", Status: Orphan, Change: resource.Change{ID: "unit:old.service", Fields: []resource.Field{{Name: "wanted", Old: "yes", New: "no"}}}},
				{Phase: "pki", Status: New, Change: resource.Change{
					ID: "certificate:/etc/kubernetes/pki/apiserver.crt", Create: true, Reason: "missing",
					Fields: []resource.Field{{Name: "certificate", New: "issue: missing"}},
				}},
				{Phase: "pki", Status: Pending, Change: resource.Change{
					ID: "certificate:/etc/kubernetes/pki/etcd/server.crt", Reason: "expires in 12 days",
					Fields: []resource.Field{{Name: "certificate", Old: "sha256:aaaaaaaaaaaa", New: "renew: expires in 12 days"}},
				}},
				{Phase: "pki", Status: Drift, Change: file("/etc/kubernetes/pki/ca.key", "sha256:bbbbbbbbbbbb", "sha256:cccccccccccc")},
				{Phase: "kubelet", Status: Unfinished, Change: resource.Change{
					ID: "file:/var/lib/kubelet/config.yaml", Restarts: "kubelet.service",
					Fields: []resource.Field{
						{Name: "content", Old: "a: 1\nb: 2\nc: 3\nd: 4\n", New: "a: 1\nb: two\nc: 3\nd: 4\ne: 5\n"},
						{Name: "mode", Old: "0600", New: "0644"},
					},
				}},
				{Phase: "host", Status: Adopted, Change: file("/etc/motd", "\x1b[2Jgotcha\n\u202e", "")},
				{Phase: "host", Status: New, Change: resource.Change{
					ID: "link:/etc/cni/net.d", Create: true, Fields: []resource.Field{{Name: "target", New: "/etc/cni"}},
				}},
			}},
			{Name: "worker1", Items: prepare},
			{Name: "worker2", Items: prepare},
			{Name: "worker3", Items: prepare[:1]},
		},
		Objects: []Objects{
			{Phase: "bootstrap", Unknown: "known after the control plane is up", Changes: []ObjectChange{{Name: "ConfigMap kube-system/kubeadm-config", Create: true}}},
			{Phase: "dns", Changes: []ObjectChange{{Name: "Deployment kube-system/coredns", Fields: []resource.Field{{Name: "spec.replicas", Old: "1", New: "2"}}}}},
			{Phase: "network"},
			{Phase: "addons", Addon: "metrics", Changes: []ObjectChange{{Name: "Deployment monitoring/old", Delete: true}, {Name: "Deployment monitoring/new", Create: true}}},
			{Phase: "addons", Addon: "mine", Failed: errors.New("addon mine: a.yaml:2:\x1b[2J the Pod has no name")},
		},
	}
}

func TestTextGolden(t *testing.T) {
	p := everything()
	var text strings.Builder
	if err := p.Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "everything.txt", text.String()+p.Summary()+"\n")
}

func TestDocumentGolden(t *testing.T) {
	for name, p := range map[string]Plan{"everything.json": everything(), "empty.json": {Cluster: "lab"}} {
		data, err := json.MarshalIndent(p.Document(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(data)+"\n")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestTextOfAnEmptyPlanSaysWhatMatters(t *testing.T) {
	p := everything()
	p.Hosts, p.Objects, p.Actions = p.Hosts[3:], nil, nil
	var text strings.Builder
	if err := p.Text(&text); err != nil {
		t.Fatal(err)
	}
	want := "warn  worker1, worker2: disk: /var/lib is nearly full; free some room\n" +
		"not reached  cp2: cannot reach 192.0.2.2:22\n" +
		"not in the inventory  old\\x1b[2J: a node of the cluster; it is left as it is\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := p.Summary(); got != "Nothing to do: everything is as wanted." {
		t.Errorf("summary: %s", got)
	}
}

func TestPlanThatFailed(t *testing.T) {
	if err := everything().Failed(); err == nil || !strings.Contains(err.Error(), "addon mine") {
		t.Errorf("error is %v", err)
	}
	if err := (Plan{Objects: []Objects{{Addon: "metrics"}}}).Failed(); err != nil {
		t.Errorf("error is %v", err)
	}
}

func TestTextSaysThatAClusterIsNew(t *testing.T) {
	var text strings.Builder
	if err := (Plan{NewPKI: true}).Text(&text); err != nil || !strings.Contains(text.String(), "A new cluster") {
		t.Errorf("%q, %v", text.String(), err)
	}
}

func TestTextReportsAWriterThatFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if err := everything().Text(full); err == nil {
		t.Error("no error")
	}
}

func TestSummary(t *testing.T) {
	change := Item{Status: Drift, Change: resource.Change{ID: "swap:all", Fields: []resource.Field{{Name: "active", Old: "/swap"}}}}
	object := Objects{Changes: []ObjectChange{{Name: "a"}}}
	for _, tt := range []struct {
		plan Plan
		want string
	}{
		{Plan{}, "Nothing to do: everything is as wanted."},
		{Plan{Objects: []Objects{{Addon: "a", Failed: errors.New("x")}, {Addon: "b"}}}, "1 addon that could not be planned."},
		{Plan{Hosts: []Host{{Name: "a", Items: []Item{change}}, {Name: "b"}}}, "1 change on 1 host."},
		{Plan{Hosts: []Host{{Name: "a", Items: []Item{change, change}}, {Name: "b", Items: []Item{change}}}}, "3 changes on 2 hosts."},
		{Plan{Objects: []Objects{object}}, "1 API object."},
		{Plan{Hosts: []Host{{Items: []Item{change}}}, Objects: []Objects{object, object}}, "1 change on 1 host, 2 API objects."},
	} {
		if got := tt.plan.Summary(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestLineDiff(t *testing.T) {
	for _, tt := range []struct{ name, old, want, diff string }{
		{"the same", "a b", "a b", ""},
		{"from nothing", "", "a b", "+a +b"},
		{"to nothing", "a b", "", "-a -b"},
		{"one line", "a b c", "a x c", "-b +x"},
		{"two places", "a b c d", "a x c y", "-b +x ... -d +y"},
		{"at both ends", "a b c", "b", "-a ... -c"},
		{"moved", "a b", "b a", "-a ... +a"},
	} {
		var got []string
		for _, l := range lineDiff(strings.Fields(tt.old), strings.Fields(tt.want)) {
			got = append(got, strings.ReplaceAll(strings.TrimSpace(l), " ", ""))
		}
		if strings.Join(got, " ") != tt.diff {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.diff)
		}
	}
}

func TestLineDiffOfLongTextsIsBounded(t *testing.T) {
	long := strings.Split(strings.Repeat("x\n", 2000), "\n")
	if got := lineDiff(long, append([]string{"y"}, long...)); len(got) != 2*len(long)+1 {
		t.Errorf("%d lines", len(got))
	}
}
