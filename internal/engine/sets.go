package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		if err := s.knownRecords(ctx); err != nil {
			return nil, fmt.Errorf("phase %s: %w", p.Name, err)
		}
		if err := s.unchangeable(p, sets); err != nil {
			return nil, err
		}
		if sets, err = s.unsettled(ctx, sets); err != nil {
			return nil, fmt.Errorf("phase %s: %w", p.Name, err)
		}
	}
	consist := make([][]kube.Object, len(sets))
	planned := make([]plan.Objects, len(sets))
	errs := make([]error, len(sets))
	each := func(do func(i int, set plan.Set) error) {
		var all sync.WaitGroup
		for i, set := range sets {
			if errs[i] == nil {
				all.Go(func() { errs[i] = do(i, set) })
			}
		}
		all.Wait()
	}
	each(func(i int, set plan.Set) (err error) {
		consist[i], err = s.setObjects(ctx, p, set)
		return err
	})
	// Whose an object is has to be known of all before it is told what goes.
	for i, set := range sets {
		if errs[i] == nil {
			errs[i] = s.claim(set.Name, consist[i])
		}
	}
	each(func(i int, set plan.Set) (err error) {
		planned[i].Changes, err = s.diffSet(ctx, p, set, consist[i], unknown)
		return err
	})
	for i, set := range sets {
		planned[i].Phase, planned[i].Addon, planned[i].Unknown = p.Name, set.Name, unknown
		switch {
		case errs[i] == nil:
		case p.Prunes && ctx.Err() == nil:
			planned[i].Failed, errs[i] = addonError(set.Name, errs[i]), nil
		default:
			errs[i] = fmt.Errorf("phase %s: %w", p.Name, errs[i])
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	removed, err := s.planRemoval(ctx, p)
	return slices.Concat(planned, removed), err
}

// planRemoval is what goes with the addons that are wanted no more.
func (s *Session) planRemoval(ctx context.Context, p plan.Phase) ([]plan.Objects, error) {
	obsolete, err := s.obsolete(p)
	if err != nil {
		return nil, err
	}
	var removed []plan.Objects
	for _, record := range obsolete {
		changes, err := s.deletions(ctx, record.Name, s.ungiven(record.Name, record.Objects))
		if err != nil {
			return nil, fmt.Errorf("phase %s: %w", p.Name, err)
		}
		changes = append(changes, plan.ObjectChange{Name: kube.Name(record.Object()), Delete: true})
		removed = append(removed, plan.Objects{Phase: p.Name, Addon: record.Name, Changes: changes})
	}
	return removed, nil
}

// diffSet compares an addon's objects.
func (s *Session) diffSet(ctx context.Context, p plan.Phase, set plan.Set, objects []kube.Object, unknown string) ([]plan.ObjectChange, error) {
	all := withNamespace(set, objects)
	var out []plan.ObjectChange
	if unknown != "" {
		for _, obj := range all {
			out = append(out, plan.ObjectChange{Name: kube.Name(obj), Create: true})
		}
		return out, nil
	}
	out, err := s.diffObjects(ctx, all)
	if err != nil {
		return nil, err
	}
	record, before, orphans := s.recordOf(p, set, objects)
	deleted, err := s.deletions(ctx, set.Name, orphans)
	if err != nil {
		return nil, err
	}
	if len(deleted) == 0 && !record.Equal(before) {
		out = append(out, plan.ObjectChange{Name: kube.Name(record.Object()), Create: before.Name == ""})
	}
	return append(out, deleted...), nil
}

// deletions are the changes that take objects of an addon away: those that are there, and the addon's still.
func (s *Session) deletions(ctx context.Context, addon string, refs []kube.Ref) ([]plan.ObjectChange, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	found, err := client.Removable(ctx, refs, func(object kube.Object) bool { return isOf(addon, object) })
	if err != nil {
		return nil, err
	}
	var out []plan.ObjectChange
	for _, ref := range found {
		out = append(out, plan.ObjectChange{Name: ref.String(), Delete: true})
	}
	return out, nil
}

// isOf tells whether an object is an addon's, or its record.
func isOf(addon string, object kube.Object) bool {
	labels := object.GetLabels()
	return labels[addons.Label] == addon || labels[kube.RecordLabel] == addon
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
func (s *Session) setObjects(ctx context.Context, p plan.Phase, set plan.Set) ([]kube.Object, error) {
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
		err := s.insist(ctx, p, func(ctx context.Context, client *kube.Client) (err error) {
			w.Live, err = live(ctx, client, set.Reads)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return set.Objects(s.Cluster, w)
}

// live reads objects, those that are there.
func live(ctx context.Context, client *kube.Client, refs []plan.Ref) (map[plan.Ref]*unstructured.Unstructured, error) {
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

// addonError says which addon failed, and what to do where the reason alone does not tell.
func addonError(name string, err error) error {
	e := &fault.Error{Kind: fault.Unhealthy, Op: "addon " + name, Err: err}
	if errors.Is(err, artifact.ErrDigest) {
		e.Hint = "compare the file with what its project publishes; a file that is meant to differ needs its digest in artifacts.digests"
	}
	if unchanging(err) {
		e.Hint = "Kubernetes does not change this in an object that is there: set it back, give the object another name, or delete it, with what it holds, and apply again"
	}
	return e
}

// unchanging tells that an API server refuses a change of what objects keep for life, such as the policy of a
// StorageClass or the class and, where volumes do not grow, the size of a claim.
func unchanging(err error) bool {
	text := fmt.Sprint(err)
	return apierrors.IsInvalid(err) && (strings.Contains(text, "immutable") || strings.Contains(text, "Forbidden: ")) ||
		apierrors.IsForbidden(err) && strings.Contains(text, "resize")
}

// applySets makes the addons of a phase true, each as soon as those that it comes after are ready, and removes
// what is wanted no more. One that fails keeps only those back that come after it.
func (s *Session) applySets(ctx context.Context, p plan.Phase) error {
	sets, err := s.sets(p)
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Op: p.Name, Err: err}
	}
	if !s.apiThere { // else it is held already; the addons would ask for it all at once
		if err := s.holdLease(ctx); err != nil {
			return err
		}
	}
	if err := s.insist(ctx, p, s.readRecords); err != nil {
		return &fault.Error{Kind: fault.Unhealthy, Op: p.Name, Err: err}
	}
	if err := s.unchangeable(p, sets); err != nil {
		return err
	}
	if sets, err = s.unsettled(ctx, sets); err != nil {
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
	return errors.Join(errors.Join(failed...), s.removeObsolete(ctx, p, func(addon string) bool {
		i := place(addon)
		return i >= 0 && failed[i] != nil
	}))
}

// applySet makes one addon true. The record comes before the objects and loses what was removed after that, so that
// a run that is cut forgets nothing.
func (s *Session) applySet(ctx context.Context, p plan.Phase, set plan.Set) error {
	if err := s.refused[set.Name]; err != nil {
		return err
	}
	objects, err := s.setObjects(ctx, p, set)
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
		{Group: "apps", Kind: "DaemonSet"}:   plan.DaemonSetRolledOut, // such as drivers of a device that no node has yet
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

// removeObsolete takes the addons away that are wanted no more. What one has given to another that failed, which may
// have recorded nothing yet, stays recorded.
func (s *Session) removeObsolete(ctx context.Context, p plan.Phase, failed func(addon string) bool) error {
	obsolete, err := s.obsolete(p)
	if err != nil {
		return err
	}
	for _, record := range obsolete {
		err := s.removeObjects(ctx, p, record.Name, s.ungiven(record.Name, record.Objects))
		given := slices.ContainsFunc(record.Objects, func(ref kube.Ref) bool { return failed(s.owners[ownerKey(ref)]) })
		if err == nil && !given {
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
		if isOf(addon, object) {
			return true
		}
		s.emit(report.Event{Kind: report.Notice, Phase: p.Name, Message: kube.Name(object) + " is left: it is not the addon's any more"})
		return false
	}
	return client.Remove(ctx, refs, ours, func(ref kube.Ref) {
		s.emit(report.Event{Kind: report.ResourceChanged, Phase: p.Name, Resource: ref.String(), Message: "delete"})
	})
}
