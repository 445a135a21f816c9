package plan

import (
	"strings"

	"kubewright/internal/check"
	"kubewright/internal/resource"
)

// The JSON form of a plan, stable for programs that read it: fields may be added, none is
// renamed. Lists are never null.
type (
	// Document is a whole plan.
	Document struct {
		Cluster string `json:"cluster"`
		// Empty says that nothing would be done.
		Empty  bool `json:"empty"`
		NewPKI bool `json:"newPKI"`
		// CA is the fingerprint of the cluster's CA; absent for a new cluster.
		CA      string           `json:"ca,omitempty"`
		Hosts   []DocumentHost   `json:"hosts"`
		Objects []DocumentObject `json:"objects"`
		// Failures are the addons that could not be planned.
		Failures []DocumentFailure `json:"failures,omitempty"`
		// Actions are the changes of the members of etcd, in order.
		Actions []DocumentAction `json:"actions"`
		// Preflight is what the checks found, one entry a host.
		Preflight []DocumentResult `json:"preflight"`
		// Orphans are the nodes of the cluster that the inventory does not have.
		Orphans []string `json:"orphans,omitempty"`
		// Unreached maps the hosts that could not be looked at to the reason.
		Unreached map[string]string `json:"unreached,omitempty"`
	}
	// DocumentHost is one host with its changes.
	DocumentHost struct {
		Name string `json:"name"`
		// State is clean, unfinished, complete or foreign; absent where it was not asked for.
		State   string           `json:"state,omitempty"`
		Changes []DocumentChange `json:"changes"`
	}
	// DocumentChange is one resource that is not as wanted.
	DocumentChange struct {
		ID       string          `json:"id"`
		Phase    string          `json:"phase"`
		Status   Status          `json:"status"`
		Reason   string          `json:"reason,omitempty"`
		Restarts string          `json:"restarts,omitempty"`
		Fields   []DocumentField `json:"fields"`
	}
	// DocumentObject is one API object that is not as wanted.
	DocumentObject struct {
		Phase string `json:"phase"`
		// Addon is absent for an object of none.
		Addon  string `json:"addon,omitempty"`
		Name   string `json:"name"`
		Create bool   `json:"create"`
		// Delete says that the object is wanted no more.
		Delete  bool            `json:"delete"`
		Unknown string          `json:"unknown,omitempty"`
		Fields  []DocumentField `json:"fields"`
	}
	// DocumentFailure is an addon of which it is not known what it consists of.
	DocumentFailure struct {
		Addon  string `json:"addon"`
		Reason string `json:"reason"`
	}
	// DocumentAction is one change of the members of etcd.
	DocumentAction struct {
		Host   string `json:"host,omitempty"`
		What   string `json:"what"`
		Reason string `json:"reason"`
	}
	// DocumentField is one difference. Secrets are shown as fingerprints.
	DocumentField struct {
		Name string `json:"name"`
		Old  string `json:"old"`
		New  string `json:"new"`
	}
	// DocumentResult is one thing that a preflight check found.
	DocumentResult struct {
		Check string `json:"check"`
		// Host is absent where the result concerns the cluster as a whole.
		Host string `json:"host,omitempty"`
		// Severity is info, warn or refuse.
		Severity string `json:"severity"`
		Ignored  bool   `json:"ignored"`
		Message  string `json:"message"`
		Remedy   string `json:"remedy,omitempty"`
	}
)

// Document makes the form that is printed as JSON.
func (p Plan) Document() Document {
	d := Document{
		Cluster: p.Cluster, Empty: p.Empty(), NewPKI: p.NewPKI, CA: p.CA,
		Hosts: []DocumentHost{}, Objects: []DocumentObject{}, Actions: []DocumentAction{},
		Preflight: DocumentResults(p.Checks), Orphans: p.Orphans, Unreached: Reasons(p.Unreached),
	}
	for _, h := range p.Hosts {
		host := documentHost(h)
		if state, known := p.States[h.Name]; known {
			host.State = state.String()
		}
		d.Hosts = append(d.Hosts, host)
	}
	for _, o := range p.Objects {
		for _, c := range o.Changes {
			d.Objects = append(d.Objects, DocumentObject{
				Phase: o.Phase, Addon: o.Addon, Name: c.Name, Create: c.Create, Delete: c.Delete, Unknown: o.Unknown, Fields: documentFields(c.Fields),
			})
		}
		if o.Failed != nil {
			d.Failures = append(d.Failures, DocumentFailure{Addon: o.Addon, Reason: o.Failed.Error()})
		}
	}
	for _, a := range p.Actions {
		d.Actions = append(d.Actions, DocumentAction(a))
	}
	return d
}

func documentHost(h Host) DocumentHost {
	d := DocumentHost{Name: h.Name, Changes: []DocumentChange{}}
	for _, it := range h.Changes() {
		d.Changes = append(d.Changes, DocumentChange{
			ID: string(it.Change.ID), Phase: it.Phase, Status: it.Status,
			Reason: it.Change.Reason, Restarts: it.Change.Restarts, Fields: documentFields(it.Change.Fields),
		})
	}
	return d
}

func documentFields(fields []resource.Field) []DocumentField {
	out := make([]DocumentField, 0, len(fields))
	for _, f := range fields {
		out = append(out, DocumentField(f))
	}
	return out
}

// DocumentResults makes the form in which what preflight found is printed as JSON.
func DocumentResults(results []check.Result) []DocumentResult {
	out := make([]DocumentResult, 0, len(results))
	for _, r := range results {
		out = append(out, DocumentResult{
			Check: r.Check, Host: r.Host, Severity: r.Severity.String(), Ignored: r.Ignored,
			Message: r.Message, Remedy: r.Remedy,
		})
	}
	return out
}

// Reasons turns errors, by host, into text that does not name the host again. What may not be
// shown redacts itself.
func Reasons(errs map[string]error) map[string]string {
	out := make(map[string]string, len(errs))
	for name, err := range errs {
		out[name] = strings.TrimPrefix(err.Error(), name+": ")
	}
	return out
}
