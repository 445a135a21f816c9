package resource

import (
	"strings"

	"kubewright/internal/sh"
)

// Keeping saves what is there before a resource is made true for the first time, so that
// Removal can put it back, or leave it.
func Keeping(id ID) []sh.Step {
	switch id.Kind() {
	case "file", "link", "binary", "pod":
		return []sh.Step{sh.KeepOriginal{Path: id.Name()}}
	case "tree":
		return []sh.Step{sh.ListForeign{Path: id.Name()}}
	}
	return nil
}

// Removed is what is left to do once the manifest has forgotten a resource: before, a run
// that is cut could not tell a file that was put back from one that is still to be removed.
func Removed(id ID) []sh.Step {
	switch {
	case id.Kind() == "tree":
		return []sh.Step{sh.Remove{Path: sh.ForeignList(id.Name())}}
	case len(Keeping(id)) > 0:
		return []sh.Step{sh.Remove{Path: sh.OriginalsDir + id.Name()}}
	}
	return nil
}

// Removal is how a resource is removed, told from its ID alone: what a host's manifest
// lists can be removed by a later version, from another machine, without the spec.
func Removal(id ID) []sh.Step {
	name := id.Name()
	switch id.Kind() {
	case "file", "link", "binary", "pod":
		return []sh.Step{sh.RestoreOriginal{Path: name}}
	case "cert":
		steps := []sh.Step{sh.Remove{Path: name}}
		if base, ok := strings.CutSuffix(name, ".crt"); ok {
			steps = append(steps, sh.Remove{Path: base + ".key"})
		}
		return steps
	case "byproduct":
		return []sh.Step{sh.Remove{Path: name}}
	case "tree":
		return []sh.Step{sh.Unmount{Below: name}, sh.RemoveDir{Path: name, Tree: true}}
	case "dir":
		return []sh.Step{sh.RemoveDir{Path: name}}
	case "unit":
		return []sh.Step{sh.StopUnit{Name: name}}
	case "address":
		return []sh.Step{sh.DeleteAddress{IP: name}}
	}
	// Kernel settings: a module or a live value may serve others by now, and the drop-in
	// file that keeps it is removed as a file.
	return nil
}
