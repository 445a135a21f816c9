package inventory

import (
	"slices"

	"kubewright/spec/strict"
)

// OriginOf returns where the value of a resolved host was taken from, given its keys as in a HostSpec,
// such as "address", or "ssh" and "port". ok is false where nobody wrote it: it is a default, or
// follows from other values.
func (s Source) OriginOf(p Placed, keys ...string) (o strict.Origin, ok bool) {
	for _, at := range s.layersOf(p) {
		if o, ok = s.Doc.Origin(at.Key(keys...)); ok {
			return o, true
		}
	}
	if keys[0] != "ssh" {
		return strict.Origin{}, false
	}
	for _, d := range slices.Backward(s.Defaults) {
		if o, ok = d.Doc.Origin(d.At.Key(keys[1:]...)); ok {
			return o, true
		}
	}
	return strict.Origin{}, false
}

// OriginOfTaint is OriginOf for a taint of the host.
func (s Source) OriginOfTaint(p Placed, taint Taint) (o strict.Origin, ok bool) {
	lists := [][]Taint{s.Hosts[p.index].Taints}
	for _, name := range slices.Backward(p.Groups) {
		lists = append(lists, s.Groups[name].Taints)
	}
	for i, at := range s.layersOf(p) {
		j := slices.IndexFunc(lists[i], func(t Taint) bool { return t.Key == taint.Key && t.Effect == taint.Effect })
		if j >= 0 {
			return s.Doc.Origin(at.Key("taints").Index(j))
		}
	}
	return strict.Origin{}, false
}

// layersOf are the places a host takes values from, beside the defaults; the one that wins first.
func (s Source) layersOf(p Placed) []strict.Path {
	layers := []strict.Path{p.At}
	for _, name := range slices.Backward(p.Groups) {
		layers = append(layers, s.At.Key("groups", name))
	}
	return layers
}
