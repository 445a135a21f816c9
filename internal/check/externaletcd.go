package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	semver "k8s.io/apimachinery/pkg/util/version"
)

// The checks of an etcd that somebody else runs. What they look at is asked for after the others have
// refused nothing.
const (
	ExternalEtcd     = "external-etcd"
	ExternalEtcdData = "external-etcd-data"
)

// oldestEtcd is the oldest version of etcd that Kubernetes is run on: MinExternalEtcdVersion of
// kubeadm 1.37.
const oldestEtcd = "3.5.24"

// EtcdWorld is what the control planes have heard of an etcd that somebody else runs.
type EtcdWorld struct {
	// Answers has what each control plane heard at each endpoint.
	Answers []EtcdAnswer
	// Prefix is what the keys of the cluster begin with, and Content what is there.
	Prefix  string
	Content EtcdContent
	// Unread is why Content is not known, where somebody answers; nil: it is.
	Unread error
	// Noted is, by control plane, the place of the cluster's data in an earlier run; no entry where
	// there was none.
	Noted map[string]string
	// Members has, by control plane, the note of who the members of an etcd of the cluster's own were.
	Members map[string]string
}

// EtcdAnswer is what a control plane heard at an endpoint.
type EtcdAnswer struct {
	Host, Endpoint string
	// ID identifies the etcd, in hexadecimal, and Version is that of the member that answered.
	ID, Version string
	// Problem is why it did not answer as it has to; "": it did.
	Problem string
}

// EtcdContent says whose data an etcd holds.
type EtcdContent int

// What an etcd may hold below the prefix of a cluster.
const (
	// NothingAsked: nobody was there to be asked.
	NothingAsked EtcdContent = iota
	// NoData: there are no keys.
	NoData
	// OwnData is of this cluster, by its certificate authority.
	OwnData
	// ForeignData is of a cluster with another certificate authority.
	ForeignData
	// SomeData is of a cluster that does not say which: one that is being made, or no kubeadm's kind.
	SomeData
)

// ids are the identifiers of all that answered, with an endpoint at which each did.
func (e *EtcdWorld) ids() map[string]string {
	ids := map[string]string{}
	for _, a := range e.Answers {
		if a.Problem == "" {
			ids[a.ID] = a.Endpoint
		}
	}
	return ids
}

// Place says where the data of the cluster is, or is to be: the identifier of the etcd, and the prefix
// there; "" where nobody answered.
func (e *EtcdWorld) Place() string {
	for id := range e.ids() {
		return id + e.Prefix // the checks refuse several
	}
	return ""
}

// checkExternalEtcd refuses a control plane whose API server would find no etcd, or one that is too old.
func checkExternalEtcd(t *T) {
	if t.Etcd == nil {
		return
	}
	hosts, problems := map[string]bool{}, map[string][]string{}
	for _, a := range t.Etcd.Answers {
		hosts[a.Host] = hosts[a.Host] || a.Problem == ""
		if a.Problem != "" {
			problems[a.Host] = append(problems[a.Host], a.Endpoint+": "+a.Problem)
		}
	}
	const remedy = "see that etcd runs and takes the client certificate, and open its port in the firewalls between them"
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		t.On(host)
		all := strings.Join(problems[host], "; ")
		if t.Requiref(hosts[host], remedy, "no endpoint of the external etcd answers: %s", all) {
			t.Assertf(all == "", remedy, "not all endpoints of the external etcd answer: %s", all)
		}
	}
	old := map[string]string{} // version by endpoint
	for _, a := range t.Etcd.Answers {
		v, err := semver.ParseGeneric(a.Version)
		if a.Problem == "" && (err != nil || v.LessThan(semver.MustParseGeneric(oldestEtcd))) {
			old[a.Endpoint] = a.Version
		}
	}
	for _, endpoint := range slices.Sorted(maps.Keys(old)) {
		t.On("").Requiref(false, "upgrade it first", "the external etcd at %s is of version %q; Kubernetes needs %s or newer", endpoint, old[endpoint], oldestEtcd)
	}
}

// checkExternalEtcdData refuses an etcd with data that is not the cluster's, and one without the data of
// a cluster that has some: an API server would serve the one, and begin anew on the other.
func checkExternalEtcdData(t *T) {
	if t.Etcd == nil {
		return
	}
	t.On("")
	if !ownMembers(t) {
		return
	}
	ids := t.Etcd.ids()
	if len(ids) > 1 {
		var parts []string
		for id, endpoint := range ids {
			parts = append(parts, fmt.Sprintf("%s at %s", id, endpoint))
		}
		slices.Sort(parts)
		t.Requiref(false, "name the endpoints of one etcd only", "the endpoints lead to different etcd clusters: %s", strings.Join(parts, ", "))
		return
	}
	if !t.Requiref(t.Etcd.Unread == nil, "see that the client certificate may read all keys", "what the external etcd holds could not be read: %v", t.Etcd.Unread) ||
		!t.Requiref(t.Etcd.Content != NothingAsked, "see that one of its endpoints answers", "whether the external etcd holds the data of this cluster, or of another, is not known") {
		return
	}
	if t.Etcd.Content == OwnData {
		return // wherever it was before: a snapshot of it was restored there
	}
	noted := slices.Compact(slices.Sorted(maps.Values(t.Etcd.Noted)))
	switch content := t.Etcd.Content; {
	case content == ForeignData, content == SomeData && !slices.Contains(noted, t.Etcd.Place()):
		t.Requiref(false, "give this cluster an etcd of its own, or keys of its own with etcd-prefix in spec.controlPlane.apiServer.extraArgs; "+
			"if that cluster is no more, delete its keys: etcdctl del --prefix "+t.Etcd.Prefix+"/",
			"the external etcd has the data of another cluster below %s", t.Etcd.Prefix)
	case len(noted) > 0 && !slices.Contains(noted, t.Etcd.Place()):
		t.Requiref(false, "name the endpoints of that etcd, and the prefix as it was; to move the cluster, restore a snapshot of it there first",
			"the data of the cluster is in the etcd %s, and there is none in the one at the endpoints, %s", strings.Join(noted, ", "), t.Etcd.Place())
	}
}

// ownMembers refuses a cluster that has its data in members of its own.
func ownMembers(t *T) bool {
	hosts := slices.Sorted(maps.Keys(t.Etcd.Members))
	if len(hosts) == 0 {
		return true
	}
	return t.Requiref(false, "take spec.controlPlane.etcd.external out again; a cluster cannot be moved to an external etcd yet",
		"the data of the cluster is in members of etcd of its own, as noted on %s: %s", strings.Join(hosts, ", "), t.Etcd.Members[hosts[0]])
}
