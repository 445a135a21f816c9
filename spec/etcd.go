package spec

import (
	"net/url"
	"strconv"
	"strings"
)

// etcdPort is where etcd serves clients, if an endpoint does not say.
const etcdPort = 2379

// externalEtcd checks the endpoints of an etcd that somebody else runs. What is in its files is
// checked where they are read.
func (v *validator) externalEtcd() {
	where := at("controlPlane", "etcd", "external")
	etcd := v.spec.ControlPlane.Etcd
	if etcd.External.Given() && len(etcd.ExtraArgs) > 0 {
		v.SuggestKey(at("controlPlane", "etcd", "extraArgs"), "", "these are flags of an etcd that kubewright runs, and spec.controlPlane.etcd.external names one that it does not run; remove one of the two")
	}
	endpoints := where.Key("endpoints")
	seen := map[string]bool{}
	for i, text := range etcd.External.Endpoints {
		endpoint, problem := EtcdEndpoint(text)
		switch {
		case problem != nil:
			v.Suggest(endpoints.Index(i), problem.Suggestion, "the endpoint %s", problem.Message)
		case seen[endpoint]:
			v.Refuse(endpoints.Index(i), "%s stands in the list twice", endpoint)
		}
		seen[endpoint] = true
	}
}

// Given tells whether the file names an external etcd, in part at least.
func (e ExternalEtcd) Given() bool {
	return len(e.Endpoints) > 0 || e.CAFile != "" || e.CertFile != "" || e.KeyFile != ""
}

// EtcdEndpoint reads the client URL of a member of etcd, and returns it as https://host:port, the
// port being 2379 if none is given. The problem is nil for a good one, and shows no password.
func EtcdEndpoint(text string) (endpoint string, problem *EndpointProblem) {
	if !strings.Contains(text, "://") {
		_, _, wrong := SplitEndpoint(text, etcdPort)
		problem := &EndpointProblem{Message: "has no scheme"}
		if wrong == nil {
			problem.Suggestion = "https://" + text
		}
		return "", problem
	}
	if why, _ := checkURL(text); why != "" {
		return "", &EndpointProblem{Message: why}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // which checkURL refuses
		return "", &EndpointProblem{Message: "is malformed"}
	case u.Scheme != "https":
		return "", &EndpointProblem{Message: "must begin with https://: what etcd holds, and who may read it, is protected by TLS alone", Suggestion: "https://" + u.Host}
	case strings.Trim(u.Path, "/") != "":
		return "", &EndpointProblem{Message: "must end with its port", Suggestion: "https://" + u.Host}
	}
	host := strings.ToLower(strings.TrimSuffix(u.Host, ":"))
	if u.Port() == "" {
		host += ":" + strconv.Itoa(etcdPort)
	}
	return "https://" + host, nil
}
