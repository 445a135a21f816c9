package spec

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// OCI begins the reference of a chart in a registry.
const OCI = "oci://"

// customAddons checks the user's own addons by themselves. What is in their files shows when these are read.
func (v *validator) customAddons() {
	seen := map[string]bool{}
	for i, a := range v.spec.Addons.Custom {
		where := at("addons", "custom").Index(i)
		switch {
		case a.Name == "":
		case len(validation.IsDNS1123Label(a.Name)) > 0:
			v.Suggest(where.Key("name"), asLabel(a.Name), "the name %q must be of lower-case letters, digits and -", a.Name)
		case seen[a.Name]:
			v.Refuse(where.Key("name"), "two addons are called %s", a.Name)
		}
		seen[a.Name] = true
		if a.Namespace != "" && len(validation.IsDNS1123Label(a.Namespace)) > 0 {
			v.Suggest(where.Key("namespace"), asLabel(a.Namespace), "the namespace %q must be of lower-case letters, digits and -", a.Namespace)
		}
		v.source(where, a)
	}
	v.circles()
}

// circles refuses addons that wait for each other, or for themselves: none of them would ever begin. Addons of
// kubewright come after none of the user's.
func (v *validator) circles() {
	after := map[string][]string{}
	for _, a := range v.spec.Addons.Custom {
		after[a.Name] = append(after[a.Name], a.After...)
	}
	told := map[string]bool{}
	for i, a := range v.spec.Addons.Custom {
		for j, before := range a.After {
			way := wayTo(after, before, a.Name, map[string]bool{})
			if way == nil || told[a.Name] {
				continue
			}
			for _, name := range way {
				told[name] = true
			}
			v.Refuse(at("addons", "custom").Index(i).Key("after").Index(j), "%s would wait for itself: it comes after %s", a.Name, strings.Join(way, ", which comes after "))
		}
	}
}

// wayTo is how one leads to another, both included; nil where it does not.
func wayTo(next map[string][]string, from, to string, seen map[string]bool) []string {
	if from == to {
		return []string{to}
	}
	seen[from] = true
	for _, name := range next[from] {
		if seen[name] {
			continue
		}
		if way := wayTo(next, name, to, seen); way != nil {
			return append([]string{from}, way...)
		}
	}
	return nil
}

// source checks that an addon consists of one thing.
func (v *validator) source(where strict.Path, a CustomAddon) {
	given := 0
	for _, path := range []string{a.Manifests, a.Kustomization, a.Chart.Path} {
		if path != "" {
			given++
		}
	}
	if given != 1 {
		v.Refuse(where, "an addon has one of manifests, kustomization and chart.path; this one has %d", given)
	}
	chart := a.Chart
	if chart.Path == "" && (chart.Version != "" || chart.ReleaseName != "" || len(chart.ValuesFiles)+len(chart.Values) > 0) {
		v.Refuse(where.Key("chart", "path"), "must be given with the other fields of chart")
	}
	for _, path := range []struct{ key, value string }{{"manifests", a.Manifests}, {"kustomization", a.Kustomization}} {
		if strings.Contains(path.value, "://") {
			v.Refuse(where.Key(path.key), "%s is not on this machine: fetch it, look at it, and name the file", path.value)
		}
	}
	if strings.Contains(chart.Path, "://") && !strings.HasPrefix(chart.Path, OCI) {
		v.Refuse(where.Key("chart", "path"), "%s is neither a path nor a reference that begins with %s; helm pull fetches the archive", chart.Path, OCI)
	}
	const longestRelease = 53 // Helm's
	if name := chart.ReleaseName; name != "" && (len(validation.IsDNS1123Label(name)) > 0 || len(name) > longestRelease) {
		v.Suggest(where.Key("chart", "releaseName"), asLabel(name[:min(len(name), longestRelease)]), "the name %q must be of lower-case letters, digits and -, at most %d of them", name, longestRelease)
	}
}
