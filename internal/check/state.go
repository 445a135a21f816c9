package check

// State says whose a host is, and how far its installation got.
type State int

// The states of a host.
const (
	// Clean hosts show no sign of any cluster.
	Clean State = iota + 1
	// Unfinished hosts are of this cluster, and lack something that is wanted on them.
	Unfinished
	// Complete hosts are of this cluster, and all that is wanted on them was applied.
	Complete
	// Foreign hosts are of another cluster, or nobody can tell of which.
	Foreign
)

// String returns "clean", "unfinished", "complete" or "foreign".
func (s State) String() string {
	switch s {
	case Clean:
		return "clean"
	case Unfinished:
		return "unfinished"
	case Complete:
		return "complete"
	case Foreign:
		return "foreign"
	default:
		return "unknown"
	}
}

// Traces is what our manifest on a host (/var/lib/kubewright/manifest) lists, most of it counted.
type Traces struct {
	// Applied are the entries that were applied, Begun those that were begun and not finished.
	Applied, Begun int
	// Missing are the things that are wanted on the host and have no entry: they were never
	// applied.
	Missing int
	// Draft says that the authorities on the host are of a first run of ours that was cut:
	// nothing was signed by them yet, and the next run replaces them by those of the cluster.
	Draft bool
	// Balancer says that it lists the configuration of the node's own load balancer.
	Balancer bool
}

// State tells whose a host is from its marker, its authorities, our manifest and, where none of
// these says anything, from what another cluster would have left.
func (w World) State(host string) State {
	f, traces := w.Facts[host], w.Traces[host]
	switch claimed, denied := w.claim(host); {
	case denied, len(w.strangeAuthorities(host)) > 0:
		return Foreign
	case claimed && f.OursMarker != "" && traces.Applied > 0 && traces.Begun == 0 && traces.Missing == 0:
		return Complete
	case claimed:
		return Unfinished
	case len(clusterEvidence(f)) > 0:
		return Foreign
	default:
		return Clean
	}
}

// States tells the state of all hosts.
func (w World) States() map[string]State {
	states := map[string]State{}
	for _, h := range w.Hosts {
		states[h.Name] = w.State(h.Name)
	}
	return states
}

// claim says whether what we wrote on the host makes it one of this cluster (claimed), or of
// another (denied). Without a marker our manifest alone claims it: the very first run was cut
// before the marker. A marker that cannot be read denies, since it may be anybody's; any id will
// do while that of the cluster is not known.
func (w World) claim(host string) (claimed, denied bool) {
	f, traces := w.Facts[host], w.Traces[host]
	if f.OursMarker == "" {
		return traces.Applied+traces.Begun > 0, false
	}
	name, id, ok := f.Marker()
	claimed = ok && name == w.ClusterName && (w.ClusterID == "" || id == w.ClusterID)
	return claimed, !claimed
}

// ours says whether the host is part of this cluster already, finished or not.
func (w World) ours(host string) bool {
	s := w.State(host)
	return s == Unfinished || s == Complete
}

// authority is a certificate authority that was found on a host.
type authority struct{ where, fingerprint string }

// strangeAuthorities are those on a host that are not the cluster's; none while the cluster has
// no authority, or where they are a draft. One that cannot be read is strange too.
func (w World) strangeAuthorities(host string) []authority {
	if w.CAFingerprint == "" || w.Traces[host].Draft {
		return nil
	}
	f := w.Facts[host]
	var strange []authority
	for _, a := range []authority{
		{"/etc/kubernetes/pki/ca.crt", f.Foreign.CAFingerprint},
		{"/etc/kubernetes/kubelet.conf", f.Foreign.KubeletCA},
	} {
		if a.fingerprint != "" && a.fingerprint != w.CAFingerprint {
			strange = append(strange, a)
		}
	}
	return strange
}
