package membership

import (
	"strings"
	"testing"
)

// Hosts are wiped without a word to etcd only where it says that they are no members.
func TestMayDiscard(t *testing.T) {
	for name, tc := range map[string]struct{ hosts, views, members, leaving, refused string }{
		"one of three": {hosts: "cp1+ cp2+ cp3+", views: "cp1 cp3", members: "cp1+ cp2+ cp3+", leaving: "cp2",
			refused: "cp2 (member 12) out of etcd|count 3 voters, of which 2 have to be healthy, and 2 would be (cp1 (member 11), cp3 (member 13))|node remove|--force cleans cp2"},
		"one of three, another is dead": {hosts: "cp1+ cp2+ cp3?", views: "cp1", members: "cp1+ cp2+ cp3-", leaving: "cp2", refused: "and 1 would be (cp1 (member 11))"},
		"two of three":                  {hosts: "cp1+ cp2+ cp3+", views: "cp1", members: "cp1+ cp2+ cp3+", leaving: "cp3 cp2", refused: "cp2 (member 12), cp3 (member 13)|and 1 would be|--force cleans cp2, cp3"},
		"the dead one":                  {hosts: "cp1+ cp2+ cp3+", views: "cp1", members: "cp1+ cp2+ cp3-", leaving: "cp3", refused: "and 2 would be"},
		"a learner":                     {hosts: "cp1+ cp2+", views: "cp1", members: "cp1+ ~cp2+", leaving: "cp2", refused: "cp2 (member 12)|count 1 voter, of which 1 have to be healthy, and 1 would be"},
		"a former member":               {hosts: "cp1+ cp2+ cp3+", views: "cp1", members: "cp1+ cp2+", leaving: "cp3"},
		"a former one and one":          {hosts: "cp1+ cp2+ cp3+", views: "cp1", members: "cp1+ cp2+", leaving: "cp3 cp2", refused: "does not take cp2 (member 12) out"},
		"no quorum":                     {hosts: "cp1+ cp2+ cp3+", views: "cp1/n", leaving: "cp2", refused: "cp2 has data of etcd, and no member elsewhere answers|not known|reset all hosts|--force cleans cp2"},
		"nobody answers":                {hosts: "cp1? cp2+ cp3+", leaving: "cp3 cp2", refused: "cp2, cp3 have data of etcd"},
		"a world in contradiction":      {hosts: "cp1 cp2+ cp3+", views: "cp1", members: "cp1+ cp2+ cp3+", leaving: "cp2", refused: "its data folder is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			w := testCase{hosts: tc.hosts, views: tc.views, members: tc.members}.world()
			var leaving []Host
			for _, host := range strings.Fields(tc.leaving) {
				for _, h := range w.Hosts {
					if h.Name == host {
						leaving = append(leaving, h)
					}
				}
			}
			checkRefusal(t, "to be wiped", MayDiscard(w, leaving), tc.refused)
		})
	}
}
