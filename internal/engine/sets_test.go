package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/inventory"
)

// pruner is a session whose cluster has recorded addons of two phases, network and addons.
func pruner(wanted map[string][]string, recorded ...kube.Record) *Session {
	phase := func(name string, prunes bool) plan.Phase {
		return plan.Phase{Name: name, Short: name, Prunes: prunes, Sets: func(*cluster.Cluster) ([]plan.Set, error) {
			var sets []plan.Set
			for _, set := range wanted[name] {
				sets = append(sets, plan.Set{Name: set})
			}
			return sets, nil
		}}
	}
	s := &Session{Engine: &Engine{Options: Options{
		Cluster: &cluster.Cluster{}, Phases: []plan.Phase{phase("network", false), phase("addons", true)},
	}}}
	s.records.known, s.records.byName = true, map[string]kube.Record{}
	for _, r := range recorded {
		s.records.byName[r.Name] = r
	}
	return s
}

func TestObsolete(t *testing.T) {
	record := func(name, phase string, after ...string) kube.Record { return kube.NewRecord(name, phase, after, nil) }
	network := record("calico", "network")
	for name, test := range map[string]struct {
		wanted   map[string][]string
		recorded []kube.Record
		only     map[string]bool
		untold   bool
		keeps    bool
		want     string // the names in order
	}{
		"nothing":            {want: ""},
		"all wanted":         {wanted: map[string][]string{"network": {"calico"}, "addons": {"a"}}, recorded: []kube.Record{network, record("a", "addons")}},
		"what comes after":   {recorded: []kube.Record{record("a", "addons"), record("b", "addons", "a"), record("c", "addons", "b", "a")}, want: "c b a"},
		"after what stays":   {wanted: map[string][]string{"addons": {"b"}}, recorded: []kube.Record{record("a", "addons"), record("b", "addons", "a")}, want: "a"},
		"a circle":           {recorded: []kube.Record{record("a", "addons", "b"), record("b", "addons", "a")}, want: "a b"},
		"some phases only":   {recorded: []kube.Record{record("a", "addons")}, only: map[string]bool{"addons": true}},
		"not known":          {recorded: []kube.Record{record("a", "addons")}, untold: true},
		"of another phase":   {recorded: []kube.Record{network, record("a", "addons")}, want: "a"},
		"ways that are left": {keeps: true, recorded: []kube.Record{record("a", "addons")}, want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			s := pruner(test.wanted, test.recorded...)
			s.Only, s.Cluster.Addons.Untold, s.keeps = test.only, test.untold, test.keeps
			got, err := s.obsolete(s.Phases[1])
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, r := range got {
				names = append(names, r.Name)
			}
			if diff := cmp.Diff(test.want, strings.Join(names, " ")); diff != "" {
				t.Error(diff)
			}
			if none, err := s.obsolete(s.Phases[0]); none != nil || err != nil {
				t.Errorf("a phase that does not prune: %v, %v", none, err)
			}
		})
	}
}

// Another pod network is refused by every run that is about it, before it is installed beside the first.
func TestUnchangeable(t *testing.T) {
	network := kube.NewRecord("calico", "network", nil, nil)
	for _, test := range []struct {
		wanted []string
		want   string
	}{
		{[]string{"calico"}, ""},
		{[]string{"flannel"}, "network: this cluster has calico, and the cluster file wants flannel"},
		{nil, "network: this cluster has calico, and the cluster file wants none"},
	} {
		s := pruner(map[string][]string{"network": test.wanted, "addons": {"a"}}, network, kube.NewRecord("b", "addons", nil, nil))
		s.Only, s.apiThere = map[string]bool{"network": true}, true
		s.api = newAPI()
		s.api.clients["cp1"] = nil
		s.hosts = []*member{{Host: inventory.Host{Name: "cp1", Roles: []inventory.Role{inventory.RoleControlPlane}}, seen: true}}
		if err := s.unchangeable(s.Phases[0], named(test.wanted)); (err == nil) != (test.want == "") {
			t.Errorf("%v, want %q", err, test.want)
		}
		if err := s.unchangeable(s.Phases[1], named([]string{"a"})); err != nil {
			t.Errorf("a phase that prunes: %v", err)
		}
		if test.want == "" {
			continue // what a run goes on with takes a cluster
		}
		_, planned := s.planSets(t.Context(), s.Phases[0], "")
		for _, err := range []error{planned, s.applySets(t.Context(), s.Phases[0])} {
			if err == nil || !strings.Contains(err.Error(), test.want) || fault.KindOf(err) != fault.Preflight {
				t.Errorf("%v, want %q", err, test.want)
			}
		}
	}
}

// A run that does not know the settings looks whether what is recorded is there, before it touches it; what is not recorded
// it makes.
func TestUnsettled(t *testing.T) {
	sets := []plan.Set{{Name: "calico"}}
	for name, test := range map[string]struct {
		untold   bool
		recorded []kube.Record
		asks     bool
	}{
		"settings are known": {recorded: []kube.Record{kube.NewRecord("calico", "network", nil, nil)}},
		"not there yet":      {untold: true, recorded: []kube.Record{kube.NewRecord("coredns", "dns", nil, nil)}},
		"recorded":           {untold: true, recorded: []kube.Record{kube.NewRecord("calico", "network", nil, nil)}, asks: true},
	} {
		s := pruner(nil, test.recorded...)
		s.Cluster.Addons.Untold, s.api = test.untold, newAPI()
		left, err := s.unsettled(t.Context(), sets)
		if asked := err != nil && strings.Contains(err.Error(), "no control plane was reached"); asked != test.asks || !asked && len(left) != 1 {
			t.Errorf("%s: %d sets are left, %v", name, len(left), err)
		}
	}
}

func named(names []string) []plan.Set {
	var sets []plan.Set
	for _, name := range names {
		sets = append(sets, plan.Set{Name: name})
	}
	return sets
}

// What an addon gives to another is not deleted on the way.
func TestWhatIsGivenIsNotDeleted(t *testing.T) {
	object := func(name string) kube.Object { return kube.Record{Name: name}.Object() } // any object
	before := kube.NewRecord("x", "addons", nil, []kube.Object{object("a"), object("b"), object("c")})
	s := pruner(map[string][]string{"addons": {"x", "y"}}, before)
	if err := errors.Join(s.claim("x", []kube.Object{object("a")}), s.claim("y", []kube.Object{object("b")})); err != nil {
		t.Fatal(err)
	}
	record, _, orphans := s.recordOf(s.Phases[1], plan.Set{Name: "x"}, []kube.Object{object("a")})
	if len(orphans) != 1 || !strings.HasSuffix(orphans[0].Name, "-c") || len(record.Objects) != 1 {
		t.Errorf("orphans %v, record %v", orphans, record)
	}
	// The same of an addon that goes, such as one that is called another name now.
	if left := s.ungiven("old", before.Objects); len(left) != 1 || !strings.HasSuffix(left[0].Name, "-c") {
		t.Errorf("%v", left)
	}
}

// What addons have that this run leaves out is theirs all the same.
func TestObjectsOfPhasesThatAreLeftOut(t *testing.T) {
	object := kube.Record{Name: "a"}.Object() // any object
	s := pruner(map[string][]string{"network": {"calico"}, "addons": {"x"}}, kube.NewRecord("calico", "network", nil, []kube.Object{object}),
		kube.NewRecord("x", "addons", nil, []kube.Object{kube.Record{Name: "b"}.Object()}))
	s.Only = map[string]bool{"addons": true}
	if err := s.ownRecorded(); err != nil {
		t.Fatal(err)
	}
	if err := s.claim("x", []kube.Object{object}); err == nil || !strings.Contains(err.Error(), "is an object of the addon calico too") {
		t.Errorf("%v", err)
	}
	if err := s.claim("y", []kube.Object{kube.Record{Name: "b"}.Object()}); err != nil {
		t.Errorf("what an addon had that this run is about: %v", err)
	}
}

// What a run leaves in the cluster stays recorded.
func TestRecordOfARunThatPrunesNothing(t *testing.T) {
	object := func(name string) kube.Object {
		o := kube.Record{Name: name}.Object() // any object
		return o
	}
	before := kube.NewRecord("x", "addons", nil, []kube.Object{object("a"), object("b")})
	s := pruner(nil, before)
	set := plan.Set{Name: "x"}
	record, _, orphans := s.recordOf(s.Phases[1], set, []kube.Object{object("b")})
	if len(record.Objects) != 1 || len(orphans) != 1 || !strings.HasSuffix(orphans[0].Name, "-a") {
		t.Errorf("record %v, orphans %v", record, orphans)
	}
	s.Only = map[string]bool{"addons": true}
	record, _, orphans = s.recordOf(s.Phases[1], set, []kube.Object{object("b")})
	if !record.Equal(before) || len(orphans) != 0 {
		t.Errorf("record %v, orphans %v", record, orphans)
	}
}

func TestAddonErrors(t *testing.T) {
	err := addonError("x", fmt.Errorf("file y: %w", artifact.ErrDigest))
	if fault.KindOf(err) != fault.Unhealthy || !strings.Contains(err.Error(), "addon x: file y") {
		t.Errorf("%v", err)
	}
	if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "artifacts.digests") {
		t.Errorf("%v", hints)
	}
	if hints := fault.Hints(addonError("x", errors.New("y"))); hints != nil {
		t.Errorf("%v", hints)
	}
}

// What Kubernetes changes in no object is told with what can be done; another refusal is not.
func TestUnchanging(t *testing.T) {
	object := schema.GroupKind{Kind: "Object"}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{apierrors.NewInvalid(object, "x", field.ErrorList{field.Forbidden(field.NewPath("reclaimPolicy"), "updates to reclaimPolicy are forbidden.")}), true},
		{apierrors.NewInvalid(object, "x", field.ErrorList{field.Invalid(field.NewPath("spec", "selector"), nil, "field is immutable")}), true},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "x", errors.New("only dynamically provisioned pvc can be resized")), true},
		{apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New("violates PodSecurity")), false},
		{apierrors.NewInvalid(object, "x", field.ErrorList{field.Required(field.NewPath("spec"), "")}), false},
	} {
		hints := fault.Hints(addonError("x", errors.Join(errors.New("another"), fmt.Errorf("compare Object x: %w", test.err))))
		if got := len(hints) == 1 && strings.Contains(hints[0], "apply again"); got != test.want {
			t.Errorf("%v: hints %v", test.err, hints)
		}
	}
}

// What two addons have is the first one's, and the second is refused for as long as the run lasts.
func TestClaim(t *testing.T) {
	s := pruner(nil)
	objects := []kube.Object{kube.Record{Name: "a"}.Object()}
	if err := s.claim("x", objects); err != nil {
		t.Fatal(err)
	}
	if err := s.claim("x", objects); err != nil {
		t.Errorf("its own: %v", err)
	}
	err := s.claim("y", append(objects, kube.Record{Name: "b"}.Object()))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap kube-system/kubewright-addon-a is an object of the addon x too") {
		t.Errorf("%v", err)
	}
	if err := s.applySet(t.Context(), s.Phases[1], plan.Set{Name: "y"}); err == nil || !strings.Contains(err.Error(), "addon y: ConfigMap") {
		t.Errorf("it is applied all the same: %v", err)
	}
}
