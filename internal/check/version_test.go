package check

import (
	"slices"

	"kubewright/internal/facts"
)

// versionTable has one control plane, cp1, and workers that stay when only cp1 is in the scope of the run.
func versionTable() map[string][]faulty {
	const down, over, newer = "to an earlier minor version there is no way back", "no minor version may be left out", "a kubelet may not be newer"
	row := func(name, running, wanted string, limit []string, want ...string) faulty {
		return faulty{name, func(w World) World {
			w = w.traced("cp1", "worker1", "worker2")
			w.Version = wanted
			for i, h := range w.Hosts {
				w.Hosts[i].InScope = limit == nil || slices.Contains(limit, h.Name)
			}
			return w.on("cp1", func(f *facts.Facts) { f.APIServerVersion = running })
		}, want}
	}
	foreign := row("of somebody else", "1.20.0", "1.37.2", nil)
	ours := foreign.change
	foreign.change = func(w World) World {
		w = ours(w)
		w.Traces = map[string]Traces{}
		return w
	}
	return map[string][]faulty{"version": {
		row("none yet", "", "1.37.2", nil),
		row("the same", "1.36.4", "1.36.4", nil),
		row("a patch up", "1.36.4", "1.36.5", nil),
		row("a patch down", "1.36.4", "1.36.1", nil),
		row("one up", "1.36.4", "1.37.2", nil),
		row("down", "1.36.4", "1.35.9", nil, "refuse cp1: "+down+"; set spec.kubernetesVersion to 1.36.4 or newer"),
		row("two up", "1.35.9", "1.37.2", nil, "refuse cp1: "+over+"; set spec.kubernetesVersion to a version of 1.36 first"),
		row("no version", "latest", "1.37.2", nil, `warn cp1: has the tag "latest"`),
		row("control plane first", "1.36.4", "1.37.2", []string{"cp1"}),
		row("worker first", "1.36.4", "1.37.2", []string{"worker1"}, "refuse worker1: "+newer),
		row("worker of the same minor", "1.36.4", "1.36.5", []string{"worker1"}),
		foreign,
	}}
}
