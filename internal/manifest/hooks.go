package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"

	"kubewright/internal/objects"
)

// turn is when the objects of a chart are applied.
type turn int

const (
	before turn = iota // hooks that Helm runs before
	main
	after
)

// order puts the objects of a chart into the order of an installation: hooks that go before it, all
// that is no hook in Helm's order of kinds, hooks that go after it. Hooks have the order of their weights.
//
// An addon is a set of objects that are made true, at any time and again; it has no installation or upgrade to
// hook into. So what Helm would make at these moments is made as other objects are:
//
//   - Hooks of install are objects of the addon, and stay: a Job runs once, whether Helm would delete it afterwards
//     or not, and is not run again by an upgrade. Its time to live is dropped, or it would be made
//     anew as soon as it is over. Those of upgrades only are too, unless they run something.
//   - Jobs and Pods that are for upgrades only are refused: there is no moment to run them at.
//   - Hooks of tests, deletions and rollbacks are dropped, as are those of events that Helm does not know.
//
// The annotations stay, so that whoever applies the objects can tell what was a hook.
func order(located []objects.Located) ([]objects.Located, error) {
	type placed struct {
		objects.Located
		turn         turn
		weight, kind int
	}
	var all []placed
	var bad []error
	for _, o := range located {
		turn, keep, err := turnOf(o)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if !keep {
			continue
		}
		weight, err := weightOf(o)
		bad = append(bad, err)
		kind := slices.Index(releaseutil.InstallOrder, o.GetKind())
		if kind < 0 {
			kind = len(releaseutil.InstallOrder)
		}
		all = append(all, placed{Located: o, turn: turn, weight: weight, kind: kind})
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.weight, b.weight), cmp.Compare(a.kind, b.kind))
	})
	ordered := make([]objects.Located, len(all))
	for i, o := range all {
		ordered[i] = o.Located
	}
	return ordered, errors.Join(bad...)
}

// turnOf decides what becomes of an object by the events that it is a hook of.
func turnOf(o objects.Located) (t turn, keep bool, err error) {
	hook, isHook := o.GetAnnotations()[release.HookAnnotation]
	if !isHook {
		return main, true, nil
	}
	var events []release.HookEvent
	for event := range strings.SplitSeq(hook, ",") {
		events = append(events, release.HookEvent(strings.ToLower(strings.TrimSpace(event))))
	}
	is := func(event release.HookEvent) bool { return slices.Contains(events, event) }
	runs := o.GetKind() == "Job" || o.GetKind() == "Pod"
	install := is(release.HookPreInstall) || is(release.HookPostInstall) || is("crd-install")
	upgrade := is(release.HookPreUpgrade) || is(release.HookPostUpgrade)
	switch {
	case !install && !upgrade:
		return 0, false, nil
	case !install && runs:
		return 0, false, fmt.Errorf("%s: %s is a hook of upgrades (%s), and there is no moment to run it at: "+
			"switch it off in the values of the chart, and do what it does by hand, or install the chart with helm", o.At, o.ID(), hook)
	}
	if o.GetKind() == "Job" {
		unstructured.RemoveNestedField(o.Object, "spec", "ttlSecondsAfterFinished")
	}
	switch {
	case is("crd-install"), is(release.HookPreInstall), !is(release.HookPostInstall) && is(release.HookPreUpgrade):
		return before, true, nil
	default:
		return after, true, nil
	}
}

// weightOf is the weight of a hook, 0 if it has none and of what is no hook.
func weightOf(o objects.Located) (int, error) {
	annotations := o.GetAnnotations()
	text, weighed := annotations[release.HookWeightAnnotation]
	if _, isHook := annotations[release.HookAnnotation]; !weighed || !isHook {
		return 0, nil
	}
	weight, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%s: %s: %s: %q is not a number", o.At, o.ID(), release.HookWeightAnnotation, text)
	}
	return weight, nil
}
