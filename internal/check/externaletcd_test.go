package check

import (
	"errors"
	"strings"
	"testing"
)

// heard makes cp1 hear of an external etcd at two endpoints; change makes it another.
func heard(change func(*EtcdWorld)) func(World) World {
	return func(w World) World {
		w.Etcd = &EtcdWorld{
			Answers: []EtcdAnswer{
				{Host: "cp1", Endpoint: "https://a:2379", ID: "cafe", Version: "3.6.1"},
				{Host: "cp1", Endpoint: "https://b:2379", ID: "cafe", Version: "3.5.24"},
			},
			Prefix: "/registry", Content: NoData, Noted: map[string]string{}, Members: map[string]string{},
		}
		change(w.Etcd)
		return w
	}
}

// holding is an etcd that holds something, and what is noted of it on cp1, cp2 and so on.
func holding(content EtcdContent, noted ...string) func(World) World {
	return heard(func(w *EtcdWorld) {
		w.Content = content
		for i, id := range noted {
			w.Noted["cp"+string(rune('1'+i))] = id
		}
	})
}

func externalEtcdTable() map[string][]faulty {
	const another = "refuse : the external etcd has the data of another cluster below /registry; " +
		"give this cluster an etcd of its own, or keys of its own with etcd-prefix in spec.controlPlane.apiServer.extraArgs; " +
		"if that cluster is no more, delete its keys: etcdctl del --prefix /registry/"
	return map[string][]faulty{
		ExternalEtcd: {
			{"all is well", holding(NoData), nil},
			{"one endpoint of two is away", heard(func(w *EtcdWorld) { w.Answers[1].Problem = "timed out" }),
				[]string{"warn cp1: not all endpoints of the external etcd answer: https://b:2379: timed out; "}},
			{"nobody answers", heard(func(w *EtcdWorld) { w.Answers[0].Problem, w.Answers[1].Problem = "refused", "timed out" }),
				[]string{"refuse cp1: no endpoint of the external etcd answers: https://a:2379: refused; https://b:2379: timed out; "}},
			{"one control plane hears nothing", heard(func(w *EtcdWorld) {
				w.Answers = append(w.Answers, EtcdAnswer{Host: "cp2", Endpoint: "https://a:2379", Problem: "timed out"})
			}), []string{"refuse cp2: no endpoint of the external etcd answers: https://a:2379: timed out"}},
			{"too old", heard(func(w *EtcdWorld) { w.Answers[1].Version = "3.5.9" }),
				[]string{`refuse : the external etcd at https://b:2379 is of version "3.5.9"; Kubernetes needs 3.5.24 or newer; upgrade`}},
			{"of no version", heard(func(w *EtcdWorld) { w.Answers[1].Version = "" }), []string{`refuse : the external etcd at https://b:2379 is of version ""`}},
		},
		ExternalEtcdData: {
			{"empty, for a new cluster", holding(NoData), nil},
			{"empty, for one that is being made", holding(NoData, "cafe/registry"), nil},
			{"of one that is being made", holding(SomeData, "cafe/registry"), nil},
			{"of this cluster", holding(OwnData, "cafe/registry"), nil},
			{"of this cluster, whose notes are lost", holding(OwnData), nil},
			{"of this cluster, restored from a snapshot", holding(OwnData, "beef/registry"), nil},
			{"restored, half of the notes are newer", holding(OwnData, "beef/registry", "cafe/registry"), nil},
			{"of another, for a new cluster", holding(ForeignData), []string{another}},
			{"of another, where this one was", holding(ForeignData, "cafe/registry"), []string{another}},
			{"of another, which is not told", holding(SomeData), []string{another}},
			{"of one that is being made, elsewhere", holding(SomeData, "beef/registry"), []string{another}},
			{"empty, while this one is elsewhere", holding(NoData, "beef/registry", "beef/registry"),
				[]string{"refuse : the data of the cluster is in the etcd beef/registry, and there is none in the one at the endpoints, cafe/registry; name the endpoints of that etcd"}},
			{"empty, for another prefix is given", holding(NoData, "cafe/other"),
				[]string{"refuse : the data of the cluster is in the etcd cafe/other, and there is none in the one at the endpoints, cafe/registry; "}},
			{"nobody answers", heard(func(w *EtcdWorld) {
				w.Answers[0].Problem, w.Answers[1].Problem, w.Content = "refused", "timed out", NothingAsked
			}), []string{"refuse : whether the external etcd holds the data of this cluster, or of another, is not known"}},
			{"two of them", heard(func(w *EtcdWorld) { w.Answers[1].ID = "beef" }),
				[]string{"refuse : the endpoints lead to different etcd clusters: beef at https://b:2379, cafe at https://a:2379; "}},
			{"unread", heard(func(w *EtcdWorld) { w.Content, w.Unread = NothingAsked, errors.New("permission denied") }),
				[]string{"refuse : what the external etcd holds could not be read: permission denied"}},
			{"members of its own", heard(func(w *EtcdWorld) { w.Members["cp1"] = "cp1=https://10.1.0.10:2380" }),
				[]string{"refuse : the data of the cluster is in members of etcd of its own, as noted on cp1: cp1=https://10.1.0.10:2380; take spec.controlPlane.etcd.external out again"}},
		},
	}
}

// That etcd is out of reach may be borne. Whose data it has may not.
func TestExternalEtcdData(t *testing.T) {
	if err := ValidateIgnore([]string{ExternalEtcd}); err != nil {
		t.Error(err)
	}
	if err := ValidateIgnore([]string{ExternalEtcdData}); err == nil || !strings.Contains(err.Error(), "would destroy each other") {
		t.Errorf("error is %v", err)
	}
}
