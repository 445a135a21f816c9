package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubewright/cluster"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// goldenResult checks both forms of a result, and that no list in it is null.
func goldenResult(t *testing.T, name string, r *result) {
	t.Helper()
	var text, document strings.Builder
	if err := formatText.write(&text, *r); err != nil {
		t.Fatal(err)
	}
	if err := formatJSON.write(&document, *r); err != nil {
		t.Fatal(err)
	}
	golden(t, name+".txt", text.String())
	golden(t, name+".json", document.String())
	if strings.Contains(document.String(), "null") || !json.Valid([]byte(document.String())) {
		t.Errorf("JSON:\n%s", document.String())
	}
}

// mixedPlan has items of every status, on several hosts.
func mixedPlan() *plan.Plan {
	item := func(status plan.Status, id resource.ID) plan.Item {
		c := resource.Change{ID: id, Create: status == plan.New}
		if status != plan.InSync {
			c.Fields = []resource.Field{{Name: "value", Old: "a", New: "b<c>"}}
		}
		return plan.Item{Phase: "host", Status: status, Change: c}
	}
	return &plan.Plan{
		States:  map[string]check.State{"cp1": check.Unfinished, "worker10": check.Complete},
		Cluster: "lab", CA: "sha256:c0ffee",
		Unreached: map[string]error{"cp2": errors.New("no answer")},
		Checks:    []check.Result{{Check: "disk", Host: "cp1", Severity: check.Warn, Message: "nearly full"}},
		Hosts: []plan.Host{
			{Name: "cp1", Items: []plan.Item{
				item(plan.InSync, "module:overlay"), item(plan.Drift, "sysctl:a"), item(plan.Drift, "sysctl:b"), item(plan.Pending, "file:/p"),
				item(plan.Unfinished, "file:/u"), item(plan.New, "file:/n"), item(plan.Adopted, "file:/a"), item(plan.Orphan, "file:/o"),
			}},
			{Name: "worker10", Items: []plan.Item{item(plan.InSync, "module:overlay")}},
		},
		Objects: []plan.Objects{{Phase: "dns", Changes: []plan.ObjectChange{{Name: "Service kube-system/kube-dns", Create: true}}}},
	}
}

func TestPlanResult(t *testing.T) { goldenResult(t, "plan", planResult(mixedPlan())) }

func TestPlanResultWithNothingToDo(t *testing.T) {
	goldenResult(t, "plan-empty", planResult(&plan.Plan{Cluster: "lab", Hosts: []plan.Host{{Name: "cp1", Items: mixedPlan().Hosts[1].Items}}}))
}

// An apply that did without a worker has done the rest, and says so beside its error.
func TestAppliedWithoutAHost(t *testing.T) {
	absent := fault.New(fault.Unreachable, "no route to host").On("worker3")
	p := mixedPlan()
	p.Absent = absent
	res, err := applied(p, absent)
	if fault.KindOf(err) != fault.Unreachable || res == nil {
		t.Fatalf("%v, %v", res, err)
	}
	var text, document strings.Builder
	if err := errors.Join(formatText.write(&text, *res), formatJSON.write(&document, *res)); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text.String(), "Done: ") || !strings.Contains(document.String(), `"cp2": "no answer"`) {
		t.Errorf("%s%s", text.String(), document.String())
	}
	for name, failed := range map[string]struct {
		plan *plan.Plan
		err  error
	}{
		"something failed besides": {p, errors.Join(errors.New("boom"), absent)},
		"something else failed":    {p, errors.New("boom")},
		"everybody was there":      {mixedPlan(), errors.New("boom")},
		"there is no plan":         {nil, absent},
	} {
		if res, err := applied(failed.plan, failed.err); res != nil || !errors.Is(err, failed.err) {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
}

func TestStatusResult(t *testing.T) { goldenResult(t, "status", statusResult(mixedPlan())) }

func TestStatusResultInSync(t *testing.T) {
	goldenResult(t, "status-in-sync", statusResult(&plan.Plan{Cluster: "lab", Hosts: mixedPlan().Hosts[1:], States: mixedPlan().States}))
}

// An addon that could not be planned is not as wanted, whatever else is.
func TestStatusResultWhereAnAddonFailed(t *testing.T) {
	res := statusResult(&plan.Plan{Objects: []plan.Objects{{Phase: "addons", Addon: "mine", Failed: errors.New("addon mine: no")}}})
	status, ok := res.document.(clusterStatus)
	if !ok || status.InSync || len(status.Failures) != 1 || status.Failures[0].Addon != "mine" {
		t.Errorf("%+v", res.document)
	}
	if text := resultText(t, res); !strings.Contains(text, "1 addon that could not be planned.") || strings.Contains(text, "as wanted") {
		t.Errorf("the text is\n%s", text)
	}
}

func TestResetResult(t *testing.T) {
	p := mixedPlan()
	p.States = nil // a reset does not ask
	goldenResult(t, "reset", resetResult(p, &cluster.Cluster{}))
}

// What is in an etcd that somebody else runs stays there, which is worth a word where the cluster is gone.
func TestResetResultWithExternalEtcd(t *testing.T) {
	host := func(name string, role inventory.Role) inventory.Host {
		return inventory.Host{Name: name, Roles: []inventory.Role{role}}
	}
	p := mixedPlan()
	c := &cluster.Cluster{
		ExternalEtcd: cluster.ExternalEtcd{Endpoints: []string{"https://etcd.example.com:2379"}},
		Hosts:        []inventory.Host{host(p.Hosts[0].Name, inventory.RoleControlPlane), host(p.Hosts[1].Name, inventory.RoleWorker)},
	}
	const want = "stays in the external etcd at https://etcd.example.com:2379, below /registry; before another cluster uses it, delete that: etcdctl del --prefix /registry/"
	if text := resultText(t, resetResult(p, c)); !strings.Contains(text, want) {
		t.Errorf("nothing is said of what is kept:\n%s", text)
	}
	p.Hosts = p.Hosts[1:]
	if text := resultText(t, resetResult(p, c)); strings.Contains(text, "etcd") {
		t.Errorf("a worker is said to leave data in etcd:\n%s", text)
	}
}

func resultText(t *testing.T, r *result) string {
	t.Helper()
	var text strings.Builder
	if err := formatText.write(&text, *r); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestResetResultWithNothingToDo(t *testing.T) {
	goldenResult(t, "reset-empty", resetResult(&plan.Plan{Cluster: "lab"}, &cluster.Cluster{}))
}

func TestVerifyResult(t *testing.T) {
	goldenResult(t, "verify", verifyResult("lab", []kube.Check{
		{Name: kube.CheckSystemPods, OK: true, Detail: "12 pods", Duration: 1500 * time.Millisecond},
		{Name: kube.CheckDNS, Node: "cp1", OK: false, Detail: "no answer \x1b[2J"},
	}))
}

func TestDoctorResult(t *testing.T) {
	d := newDiagnosis("lab", &engine.Diagnosis{
		States: map[string]check.State{"cp1": check.Complete, "worker1": check.Unfinished, "worker2": check.Complete},
		Hosts:  []string{"cp1", "worker1", "worker2"}, Unreached: map[string]error{"worker3": errors.New("connection refused")},
		Results: []check.Result{
			{Check: "ports", Host: "worker1", Severity: check.Refuse, Message: "10250/tcp is taken by kubelet", Remedy: "stop it"},
			{Check: "disk", Host: "worker1", Severity: check.Warn, Message: "/var/lib is nearly full", Remedy: "free some room"},
			{Check: "disk", Host: "worker2", Severity: check.Warn, Message: "/var/lib is nearly full", Remedy: "free some room"},
			{Check: "swap", Host: "cp1", Severity: check.Refuse, Ignored: true, Message: "swap is on"},
			{Check: "hostname", Host: "cp1", Severity: check.Info, Message: "the host calls itself box"},
			{Check: "clock", Severity: check.Warn, Message: "the clocks are 3 s apart"},
		},
	})
	if d.OK || fault.KindOf(d.refusal()) != fault.Preflight || !strings.Contains(d.refusal().Error(), "ports") {
		t.Errorf("ok is %v, the refusal is %v", d.OK, d.refusal())
	}
	goldenResult(t, "doctor", &result{document: d, text: d.text})
}

func TestDoctorWithNothingToSay(t *testing.T) {
	d := newDiagnosis("lab", &engine.Diagnosis{Hosts: []string{"cp1"}, States: map[string]check.State{"cp1": check.Clean}})
	var text strings.Builder
	if err := d.text(&text); err != nil {
		t.Fatal(err)
	}
	names := check.Checks()
	if !d.OK || d.refusal() != nil || strings.Count(text.String(), "\nok  ")+1 != len(names) || !strings.HasSuffix(text.String(), fmt.Sprintf(" checks of 1 host: %d ok\nclean: cp1\n", len(names))) {
		t.Errorf("ok is %v, the refusal is %v, %d checks:\n%s", d.OK, d.refusal(), len(names), text.String())
	}
	if d := newDiagnosis("lab", &engine.Diagnosis{Hosts: []string{"cp1"}, Unreached: map[string]error{"cp2": errors.New("x")}}); d.OK {
		t.Error("a host that was not seen is ok")
	}
}

func TestPrintStats(t *testing.T) {
	stats := []engine.Stats{{Host: "cp1"}, {Host: "worker10"}}
	stats[0].Execs, stats[0].Sessions, stats[0].Dials, stats[0].BytesOut, stats[0].BytesIn = 2, 3, 4, 5000, 60
	for name, tt := range map[string]struct {
		flags runFlags
		want  string
	}{
		"not asked for": {runFlags{}, ""},
		"text": {runFlags{stats: true}, `HOST      EXECS  SESSIONS  DIALS  SENT  RECEIVED
cp1       2      3         4      5000  60
worker10  0      0         0      0     0
`},
	} {
		var out strings.Builder
		r := &run{flags: &tt.flags, err: &out, stats: stats}
		if err := r.printStats(); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
	var out strings.Builder
	r := &run{flags: &runFlags{stats: true, output: formatJSON}, err: &out, stats: stats}
	if err := r.printStats(); err != nil {
		t.Fatal(err)
	}
	events := outcome{err: out.String()}.events(t)
	if len(events) != 2 || events[0].Host != "cp1" || events[0].Attrs["execs"] != "2" || events[0].Attrs["received"] != "60" {
		t.Errorf("events: %+v", events)
	}
}

// The last word about a failure has printError, so that it comes once and with everything.
func TestProgressLeavesTheFailureOut(t *testing.T) {
	var out strings.Builder
	sink := progress{plainSink(formatJSON, &out)}
	for _, e := range []report.Event{
		{Kind: report.RunStarted, Message: "plan"}, {Kind: report.RunDone, Message: "good"}, {Kind: report.RunDone, Message: "bad", Err: errors.New("x")},
		{Kind: report.HostFailed, Host: "cp1", Err: errors.New("x")},
	} {
		sink.Emit(e)
	}
	events := outcome{err: out.String()}.events(t)
	if len(events) != 3 || events[1].Message != "good" || events[2].Host != "cp1" {
		t.Errorf("events: %+v", events)
	}
}

func TestWriteReportsAClosedPipe(t *testing.T) {
	for _, f := range []format{formatText, formatJSON, ""} {
		if err := f.write(broken{}, *planResult(mixedPlan())); err == nil {
			t.Errorf("%q: no error", f)
		}
		if err := f.write(broken{}, *statusResult(mixedPlan())); err == nil {
			t.Errorf("%q: no error", f)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }
