package check

// Artifacts is the name of the check that looks at where files come from. It is made again
// when it is known which files the hosts need.
const Artifacts = "artifacts"

// checkArtifacts refuses hosts that have to fetch files for themselves and cannot, and says
// which are given them over the connection instead.
func checkArtifacts(t *T) {
	t.Requiref(t.SourceFailure == nil, "see that this machine reaches the source, or that spec.artifacts names the right one",
		"the source of artifacts does not answer: %v", t.SourceFailure)
	if t.ArtifactsUnknown != "" {
		t.Notef("", "not looked at: %s", t.ArtifactsUnknown)
	}
	for _, h := range t.Hosts {
		urls := t.Unfetchable[h.Name]
		t.On(h.Name)
		switch {
		case len(urls) == 0:
		case t.MustFetch:
			for _, url := range urls {
				t.Requiref(false, "give the host curl or wget and a way there, or set spec.artifacts.delivery to auto or push",
					"the host cannot fetch %s", url)
			}
		default:
			t.Notef("", "the host cannot fetch %s, and is given the files it needs over SSH", urls[0])
		}
	}
}
