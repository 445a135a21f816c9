package check

import "errors"

func artifactsTable() map[string][]faulty {
	unfetchable := func(must bool) func(World) World {
		return func(w World) World {
			w.MustFetch = must
			w.Unfetchable = map[string][]string{"worker1": {"https://a.test/x", "https://a.test/y"}}
			return w
		}
	}
	return map[string][]faulty{Artifacts: {
		{"pushed", unfetchable(false), []string{"info worker1: cannot fetch https://a.test/x, and is given the files it needs"}},
		{"to be fetched", unfetchable(true), []string{
			"refuse worker1: cannot fetch https://a.test/x; give the host curl", "refuse worker1: cannot fetch https://a.test/y",
		}},
		{"not looked at", func(w World) World {
			w.ArtifactsUnknown = "no authority"
			return w
		}, []string{"info : not looked at: no authority"}},
		{"the operator's source", func(w World) World {
			w.SourceFailure = errors.New("connection refused")
			return w
		}, []string{"refuse : does not answer: connection refused; see that this machine"}},
	}}
}
