package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubewright/addons"
	"kubewright/internal/artifact"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/inventory"
)

// sets are what a phase installs by addon.
func (s *Session) sets(p plan.Phase) ([]plan.Set, error) {
	if p.Sets == nil {
		return nil, nil
	}
	sets, err := p.Sets(s.Cluster)
	if err != nil {
		return nil, fmt.Errorf("phase %s: %w", p.Name, err)
	}
	return sets, nil
}

// planSets compares the objects of a phase's addons, all at once. Of a phase that installs several, one
// that fails keeps none of the others from being planned.
func (s *Session) planSets(ctx context.Context, p plan.Phase, unknown string) ([]plan.Objects, error) {
	if p.Sets == nil {
		return nil, nil
	}
	sets, err := s.sets(p)
	if err != nil {
		return nil, err
	}
	if unknown == "" {
		if err := s.readRecords(ctx); err != nil {
			return nil, fmt.Errorf("phase %s: %w", p.Name, err)
		}
	}
	planned := make([]plan.Objects, len(sets))
	consist := make([][]kube.Object, len(sets))
	errs := make([]error, len(sets))
	var all sync.WaitGroup
	for i, set := range sets {
		all.Go(func() {
			o := plan.Objects{Phase: p.Name, Addon: set.Name, Unknown: unknown}
			var err error
			if consist[i], o.Changes, err = s.planSet(ctx, p, set, unknown); err != nil && p.Prunes && ctx.Err() == nil {
				o.Failed = addonError(set.Name, err)
			} else if err != nil {
				errs[i] = fmt.Errorf("phase %s: %w", p.Name, err)
			}
			planned[i] = o
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, set := range sets {
		if err := s.claim(set.Name, consist[i]); err != nil {
			planned[i] = plan.Objects{Phase: p.Name, Addon: set.Name, Failed: err}
		}
	}
	obsolete, err := s.obsolete(p)
	var removed []plan.Objects
	for _, record := range obsolete {
		o := plan.Objects{Phase: p.Name, Addon: record.Name}
		for _, ref := range record.Objects {
			o.Changes = append(o.Changes, plan.ObjectChange{Name: ref.String(), Delete: true})
		}
		o.Changes = append(o.Changes, plan.ObjectChange{Name: kube.Name(record.Object()), Delete: true})
		removed = append(removed, o)
	}
	return slices.Concat(planned, removed), err
}

// claim notes whose an object is, and refuses an addon one that another has: they would take it from each other
// for ever.
func (s *Session) claim(addon string, objects []kube.Object) error {
	var errs []error
	for _, object := range objects {
		key := object.GroupVersionKind().GroupKind().String() + " " + kube.Name(object)
		if owner, taken := s.owners[key]; taken && owner != addon {
			errs = append(errs, fmt.Errorf("%s is an object of the addon %s too; take it out of one of them", kube.Name(object), owner))
			continue
		}
		if s.owners == nil {
			s.owners = map[string]string{}
		}
		s.owners[key] = addon
	}
	if len(errs) == 0 {
		return nil
	}
	if s.refused == nil {
		s.refused = map[string]error{}
	}
	s.refused[addon] = addonError(addon, errors.Join(errs...))
	return s.refused[addon]
}

// planSet compares an addon's objects, which it returns as well.
func (s *Session) planSet(ctx context.Context, p plan.Phase, set plan.Set, unknown string) ([]kube.Object, []plan.ObjectChange, error) {
	objects, err := s.setObjects(ctx, set)
	if err != nil {
		return nil, nil, err
	}
	all := withNamespace(set, objects)
	var out []plan.ObjectChange
	if unknown != "" {
		for _, obj := range all {
			out = append(out, plan.ObjectChange{Name: kube.Name(obj), Create: true})
		}
		return objects, out, nil
	}
	if out, err = s.diffObjects(ctx, all); err != nil {
		return nil, nil, err
	}
	record, before, orphans := s.recordOf(p, set, objects)
	for _, ref := range orphans {
		out = append(out, plan.ObjectChange{Name: ref.String(), Delete: true})
	}
	if len(orphans) == 0 && !record.Equal(before) {
		out = append(out, plan.ObjectChange{Name: kube.Name(record.Object()), Create: before.Name == ""})
	}
	return objects, out, nil
}

// withNamespace adds the namespace that an addon names and does not bring.
func withNamespace(set plan.Set, objects []kube.Object) []kube.Object {
	brought := slices.ContainsFunc(objects, func(o kube.Object) bool { return o.GetKind() == "Namespace" && o.GetName() == set.Namespace })
	if set.Namespace == "" || brought {
		return objects
	}
	namespace := &unstructured.Unstructured{}
	namespace.SetAPIVersion("v1")
	namespace.SetKind("Namespace")
	namespace.SetName(set.Namespace)
	return append([]kube.Object{namespace}, objects...)
}

// setObjects are the objects of an addon, made of its manifests and of what it reads in the cluster.
func (s *Session) setObjects(ctx context.Context, set plan.Set) ([]kube.Object, error) {
	w := plan.World{PKI: s.pki, Targets: s.targets, Scope: s.scope(), Env: s.env(), Custom: s.custom, Manifests: map[string][]byte{}}
	m := s.controlPlane("")
	for _, name := range set.Manifests {
		if m == nil {
			return nil, fault.New(fault.Unreachable, "no control plane was reached")
		}
		content, err := s.manifest(ctx, m.target.Artifacts[name])
		if err != nil {
			return nil, err
		}
		w.Manifests[name] = content
	}
	if len(set.Reads) > 0 && s.apiUp() {
		var err error
		if w.Live, err = s.live(ctx, set.Reads); err != nil {
			return nil, err
		}
	}
	return set.Objects(s.Cluster, w)
}

// live reads objects, those that are there.
func (s *Session) live(ctx context.Context, refs []plan.Ref) (map[plan.Ref]*unstructured.Unstructured, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	found := map[plan.Ref]*unstructured.Unstructured{}
	for _, ref := range refs {
		object, err := client.Get(ctx, schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind), ref.Namespace, ref.Name)
		if kube.Absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[ref] = object
	}
	return found, nil
}

// records are what the cluster remembers of its addons.
type records struct {
	mu     sync.Mutex
	known  bool
	byName map[string]kube.Record
}

// apiUp tells whether the API server answered in this run.
func (s *Session) apiUp() bool {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	return s.apiThere || s.records.known
}

// readRecords asks the cluster for its records, once in a run.
func (s *Session) readRecords(ctx context.Context) error {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	if s.records.known {
		return nil
	}
	client, err := s.client("")
	if err != nil {
		return err
	}
	s.records.byName, err = client.Records(ctx)
	s.records.known = err == nil
	return err
}

// recordOf is the record of an addon as it is to be and as it is, and what only the latter has. What a run
// that prunes nothing leaves stays in the record.
func (s *Session) recordOf(p plan.Phase, set plan.Set, objects []kube.Object) (record, before kube.Record, orphans []kube.Ref) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	record, before = kube.NewRecord(set.Name, p.Name, set.After, objects), s.records.byName[set.Name]
	orphans = before.Lacking(record)
	if !s.prunes() {
		record, orphans = record.With(orphans), nil
	}
	return record, before, orphans
}

// obsolete are the records of addons that no phase has any more, in the order in which they are removed: an
// addon before those that it came after. An addon of a phase that prunes nothing is one that no cluster can be
// without, or changed from.
func (s *Session) obsolete(pruning plan.Phase) ([]kube.Record, error) {
	if !pruning.Prunes || !s.prunes() || s.Cluster.Addons.Untold {
		return nil, nil
	}
	s.records.mu.Lock()
	left := maps.Clone(s.records.byName)
	s.records.mu.Unlock()
	wanted := map[string][]string{}
	for _, p := range s.Phases {
		sets, err := s.sets(p)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			delete(left, set.Name)
			wanted[p.Name] = append(wanted[p.Name], set.Name)
		}
	}
	var sorted []kube.Record
	for len(left) > 0 {
		last := slices.Sorted(maps.Keys(left))
		free := slices.IndexFunc(last, func(name string) bool {
			return !slices.ContainsFunc(last, func(other string) bool { return slices.Contains(left[other].After, name) })
		})
		record := left[last[max(free, 0)]] // a circle, which nobody has written, is broken anywhere
		if record.Phase != pruning.Name {
			return nil, s.unchangeable(record, wanted[record.Phase])
		}
		delete(left, record.Name)
		sorted = append(sorted, record)
	}
	return sorted, nil
}

// unchangeable refuses to take from a cluster what it cannot be without.
func (s *Session) unchangeable(record kube.Record, instead []string) error {
	to := "none"
	if len(instead) > 0 {
		to = instead[0]
	}
	return fault.New(fault.Preflight, "this cluster has %s, and the cluster file wants %s: pods that run would lose their network", record.Name, to).
		During(record.Phase).WithHint("set it back to %s, or reset the cluster and make it anew", record.Name)
}

// addonError says which addon failed, and what to do where the reason alone does not tell.
func addonError(name string, err error) error {
	e := &fault.Error{Kind: fault.Unhealthy, Op: "addon " + name, Err: err}
	if errors.Is(err, artifact.ErrDigest) {
		e.Hint = "compare the file with what its project publishes; a file that is meant to differ needs its digest in artifacts.digests"
	}
	return e
}

// applySets makes the addons of a phase true, each as soon as those that it comes after are ready, and removes
// what is wanted no more. One that fails keeps only those back that come after it.
func (s *Session) applySets(ctx context.Context, p plan.Phase) error {
	sets, err := s.sets(p)
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Op: p.Name, Err: err}
	}
	if err := s.readRecords(ctx); err != nil {
		return &fault.Error{Kind: fault.Unhealthy, Op: p.Name, Err: err}
	}
	ends := map[string]chan struct{}{}
	for _, set := range sets {
		ends[set.Name] = make(chan struct{})
	}
	failed := make([]error, len(sets))
	place := func(name string) int {
		return slices.IndexFunc(sets, func(set plan.Set) bool { return set.Name == name })
	}
	var all sync.WaitGroup
	for i, set := range sets {
		all.Go(func() {
			defer close(ends[set.Name])
			for _, before := range set.After {
				if ends[before] == nil {
					continue // not there, or of an earlier phase
				}
				<-ends[before]
				if failed[place(before)] != nil {
					failed[i] = addonError(set.Name, fmt.Errorf("not begun: the addon %s failed", before))
					return
				}
			}
			failed[i] = s.applySet(ctx, p, set)
		})
	}
	all.Wait()
	return errors.Join(errors.Join(failed...), s.removeObsolete(ctx, p))
}

// applySet makes one addon true. The record comes before the objects and loses what was removed after that, so that
// a run that is cut forgets nothing.
func (s *Session) applySet(ctx context.Context, p plan.Phase, set plan.Set) error {
	if err := s.refused[set.Name]; err != nil {
		return err
	}
	objects, err := s.setObjects(ctx, set)
	if err != nil {
		return addonError(set.Name, err)
	}
	record, before, orphans := s.recordOf(p, set, objects)
	if begun := record.With(orphans); !begun.Equal(before) {
		if err := s.putObjects(ctx, p, []kube.Object{begun.Object()}); err != nil {
			return addonError(set.Name, err)
		}
	}
	if err := s.putObjects(ctx, p, withNamespace(set, objects)); err != nil {
		return addonError(set.Name, err)
	}
	if len(orphans) > 0 {
		if err := s.removeObjects(ctx, p, set.Name, orphans); err != nil {
			return addonError(set.Name, err)
		}
		if err := s.putObjects(ctx, p, []kube.Object{record.Object()}); err != nil {
			return addonError(set.Name, err)
		}
	}
	if !p.Prunes { // the others are waited for when all nodes are there
		return nil
	}
	ready := set.Ready
	if set.Workloads {
		ready = append(slices.Clone(ready), workloads(objects)...)
	}
	if err := s.awaitAll(ctx, p.Name, clusterHost, ready); err != nil {
		return addonError(set.Name, err)
	}
	return nil
}

// workloads are the conditions of what runs among objects.
func workloads(objects []kube.Object) []plan.Condition {
	kinds := map[schema.GroupKind]plan.ConditionKind{
		{Group: "apps", Kind: "Deployment"}:  plan.DeploymentAvailable,
		{Group: "apps", Kind: "StatefulSet"}: plan.StatefulSetReady,
		{Group: "apps", Kind: "DaemonSet"}:   plan.DaemonSetReady,
	}
	var conditions []plan.Condition
	for _, o := range objects {
		if kind, ok := kinds[o.GroupVersionKind().GroupKind()]; ok {
			conditions = append(conditions, plan.Condition{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()})
		}
	}
	return conditions
}

// loadCustom makes the objects of the user's own addons, where the run is about them: before a host is asked, as
// what is wrong with their files is no host's business.
func (e *Engine) loadCustom(ctx context.Context) (map[string][]*unstructured.Unstructured, error) {
	limited := slices.ContainsFunc(e.Cluster.Hosts, func(h inventory.Host) bool { return !e.Limit(h) })
	about := slices.ContainsFunc(e.Phases, func(p plan.Phase) bool { return p.Prunes && (e.Only == nil || e.Only[p.Name]) })
	if e.Custom == nil || limited || !about {
		return nil, nil
	}
	return e.Custom(ctx)
}

// removeObsolete takes the addons away that are wanted no more.
func (s *Session) removeObsolete(ctx context.Context, p plan.Phase) error {
	obsolete, err := s.obsolete(p)
	if err != nil {
		return err
	}
	for _, record := range obsolete {
		err := s.removeObjects(ctx, p, record.Name, record.Objects)
		if err == nil {
			err = s.removeObjects(ctx, p, record.Name, []kube.Ref{kube.RefOf(record.Object())})
		}
		if err != nil {
			return addonError(record.Name, err) // those that it came after may still be needed
		}
	}
	return nil
}

// removeObjects deletes objects of an addon that are still the addon's.
func (s *Session) removeObjects(ctx context.Context, p plan.Phase, addon string, refs []kube.Ref) error {
	client, err := s.client("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	ours := func(object kube.Object) bool {
		labels := object.GetLabels()
		if labels[addons.Label] == addon || labels[kube.RecordLabel] == addon {
			return true
		}
		s.emit(report.Event{Kind: report.Notice, Phase: p.Name, Message: kube.Name(object) + " is left: it is not the addon's any more"})
		return false
	}
	return client.Remove(ctx, refs, ours, func(ref kube.Ref) {
		s.emit(report.Event{Kind: report.ResourceChanged, Phase: p.Name, Resource: ref.String(), Message: "delete"})
	})
}
