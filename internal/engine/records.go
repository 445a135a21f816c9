package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
)

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

// knownRecords asks the cluster for its records, unless it has told them.
func (s *Session) knownRecords(ctx context.Context) error {
	client, err := s.client("")
	if err != nil {
		return err
	}
	return s.readRecords(ctx, client)
}

// unsettled leaves out the sets that are in the cluster, with all of their objects, where the run does not know how
// these are to be: made of what a cluster says of itself, they would lose the settings of its file.
func (s *Session) unsettled(ctx context.Context, sets []plan.Set) ([]plan.Set, error) {
	if !s.Cluster.Addons.Untold {
		return sets, nil
	}
	var left []plan.Set
	for _, set := range sets {
		s.records.mu.Lock()
		record, recorded := s.records.byName[set.Name]
		s.records.mu.Unlock()
		if recorded {
			client, err := s.client("")
			if err == nil {
				recorded, err = client.Complete(ctx, record)
			}
			if err != nil {
				return nil, addonError(set.Name, err)
			}
		}
		if !recorded {
			left = append(left, set)
		}
	}
	return left, nil
}

// readRecords asks an API server for the records, once in a run. What addons have in phases that the run leaves out
// is theirs.
func (s *Session) readRecords(ctx context.Context, client *kube.Client) error {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	if s.records.known {
		return nil
	}
	found, err := client.Records(ctx)
	if err != nil {
		return err
	}
	s.records.byName, s.records.known = found, true
	return s.ownRecorded()
}

// ownRecorded notes whose the objects are that were recorded by phases which this run leaves out.
func (s *Session) ownRecorded() error {
	for _, p := range s.Phases {
		if !s.skips(p, s.Only) {
			continue
		}
		sets, err := s.sets(p)
		if err != nil {
			return err
		}
		for _, set := range sets {
			for _, ref := range s.records.byName[set.Name].Objects {
				s.own(set.Name, ref)
			}
		}
	}
	return nil
}

// recordOf is the record of an addon as it is to be and as it is, and what only the latter has. What a run of some
// phases leaves stays in the record. What another addon has now is that one's.
func (s *Session) recordOf(p plan.Phase, set plan.Set, objects []kube.Object) (record, before kube.Record, orphans []kube.Ref) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	record, before = kube.NewRecord(set.Name, p.Name, set.After, objects), s.records.byName[set.Name]
	orphans = s.ungiven(set.Name, before.Lacking(record))
	if s.Only != nil {
		record, orphans = record.With(orphans), nil
	}
	return record, before, orphans
}

// obsolete are the records of addons that a phase has no more, in the order in which they are removed: an
// addon before those that it came after. A run of some phases removes none. Ways to the API servers that are left for
// now, which keep everything on the hosts, keep nothing here.
func (s *Session) obsolete(pruning plan.Phase) ([]kube.Record, error) {
	if !pruning.Prunes || s.Only != nil || s.Cluster.Addons.Untold {
		return nil, nil
	}
	s.records.mu.Lock()
	left := maps.Clone(s.records.byName)
	s.records.mu.Unlock()
	maps.DeleteFunc(left, func(_ string, record kube.Record) bool { return record.Phase != pruning.Name })
	for _, p := range s.Phases {
		sets, err := s.sets(p)
		if err != nil {
			return nil, err
		}
		for _, set := range sets {
			delete(left, set.Name)
		}
	}
	var sorted []kube.Record
	for len(left) > 0 {
		last := slices.Sorted(maps.Keys(left))
		free := slices.IndexFunc(last, func(name string) bool {
			return !slices.ContainsFunc(last, func(other string) bool { return slices.Contains(left[other].After, name) })
		})
		record := left[last[max(free, 0)]] // a circle, which nobody has written, is broken anywhere
		delete(left, record.Name)
		sorted = append(sorted, record)
	}
	return sorted, nil
}

// unchangeable refuses to take from a cluster what it cannot be without, or to give it another one: an addon of a
// phase that prunes nothing.
func (s *Session) unchangeable(p plan.Phase, sets []plan.Set) error {
	if p.Prunes {
		return nil
	}
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	to := "none"
	if len(sets) > 0 {
		to = sets[0].Name
	}
	for _, name := range slices.Sorted(maps.Keys(s.records.byName)) {
		if s.records.byName[name].Phase == p.Name && !slices.ContainsFunc(sets, func(set plan.Set) bool { return set.Name == name }) {
			return fault.New(fault.Preflight, "this cluster has %s, and the cluster file wants %s: pods that run would lose their network", name, to).
				During(p.Name).WithHint("set it back to %s, or reset the cluster and make it anew", name)
		}
	}
	return nil
}

// ownerKey is what an object is one by, whatever the version of its kind.
func ownerKey(ref kube.Ref) string { return ref.GroupKind().String() + " " + ref.String() }

// own notes whose an object is. The first one keeps it.
func (s *Session) own(addon string, ref kube.Ref) (owner string) {
	if s.owners == nil {
		s.owners = map[string]string{}
	}
	key := ownerKey(ref)
	if _, taken := s.owners[key]; !taken {
		s.owners[key] = addon
	}
	return s.owners[key]
}

// claim notes whose objects are, and refuses an addon one that another has: they would take it from each other
// for ever.
func (s *Session) claim(addon string, objects []kube.Object) error {
	var errs []error
	for _, object := range objects {
		if owner := s.own(addon, kube.RefOf(object)); owner != addon {
			errs = append(errs, fmt.Errorf("%s is an object of the addon %s too; take it out of one of them", kube.Name(object), owner))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	if s.refused == nil {
		s.refused = map[string]error{}
	}
	err := errors.Join(errs...)
	s.refused[addon] = addonError(addon, err)
	return err
}

// ungiven are the objects of an addon without those that another has now. These are not deleted on the way.
func (s *Session) ungiven(addon string, refs []kube.Ref) []kube.Ref {
	return slices.DeleteFunc(slices.Clone(refs), func(ref kube.Ref) bool {
		owner, owned := s.owners[ownerKey(ref)]
		return owned && owner != addon
	})
}
