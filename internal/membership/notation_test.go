package membership

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// The tables write worlds in a notation of words separated by spaces. Addresses are numbers: 4 is
// the peer URL https://10.0.0.4:2380, and the member made with it has the ID 0x14, which etcdctl
// and the sentences spell 14. A number is the last digit of the name if there is no @N.
//
//	hosts    cp1 was seen and is empty, cp1+ has data, cp1? was not seen; /m123 is its mark, /m- an
//	         empty one; /i123 its --initial-cluster of cp1, cp2 and cp3
//	members  cp1+ is healthy, cp1- not, cp1? unknown; ~cp1+ is a learner; _@4 has never started
//	views    cp1 answers through a quorum; /n without; /c2 of cluster 2; /id14 as that member;
//	         /r123 remembers cp1, cp2 and cp3 as voters

func url(n string) string { return "https://10.0.0." + n + ":2380" }

func id(n string) uint64 {
	id, err := strconv.ParseUint("1"+n, 16, 64)
	if err != nil {
		panic(err)
	}
	return id
}

func urls(digits string) []string {
	all := []string{}
	for _, d := range strings.Trim(digits, "-") {
		all = append(all, url(string(d)))
	}
	return all
}

func initial(digits string) string {
	var all []string
	for _, d := range digits {
		all = append(all, "cp"+string(d)+"="+url(string(d)))
	}
	return strings.Join(all, ",")
}

// place splits "cp1@7" into its name and number.
func place(word string) (name, number string) {
	name, number, given := strings.Cut(word, "@")
	if !given {
		number = name[len(name)-1:]
	}
	return strings.Trim(name, "_"), number
}

func hostsOf(notation string) []Host {
	var hosts []Host
	for _, word := range strings.Fields(notation) {
		parts := strings.Split(word, "/")
		name, number := place(strings.Trim(parts[0], "+?"))
		h := Host{Name: name, PeerURL: url(number), Seen: !strings.HasSuffix(parts[0], "?"), Data: strings.HasSuffix(parts[0], "+")}
		for _, part := range parts[1:] {
			if mark, is := strings.CutPrefix(part, "m"); is {
				h.Mark = urls(mark)
			} else {
				h.Initial = initial(strings.TrimPrefix(part, "i"))
			}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func membersOf(notation string) []Member {
	health := map[byte]Tri{'+': Yes, '-': No}
	var members []Member
	for _, word := range strings.Fields(notation) {
		rest, learner := strings.CutPrefix(word, "~")
		name, number := place(strings.Trim(rest, "+-?"))
		members = append(members, Member{ID: id(number), Name: name, PeerURLs: []string{url(number)}, Learner: learner, Healthy: health[word[len(word)-1]]})
	}
	return members
}

func viewsOf(notation string, members []Member) []View {
	var views []View
	for _, word := range strings.Fields(notation) {
		parts := strings.Split(word, "/")
		name, number := place(parts[0])
		v := View{Host: name, ClusterID: 1, MemberID: id(number), Quorum: true, Members: members}
		for _, part := range parts[1:] {
			switch {
			case part == "n":
				v.Quorum, v.Members = false, nil
			case strings.HasPrefix(part, "c"):
				v.ClusterID, _ = strconv.ParseUint(part[1:], 16, 64)
			case strings.HasPrefix(part, "id"):
				v.MemberID, _ = strconv.ParseUint(part[2:], 16, 64)
			case strings.HasPrefix(part, "r"):
				v.Quorum, v.Members = false, nil
				for _, u := range urls(part[1:]) {
					v.Members = append(v.Members, Member{ID: uint64(len(v.Members) + 1), PeerURLs: []string{u}})
				}
			}
		}
		views = append(views, v)
	}
	return views
}

// spell writes actions as the tables do: "add cp4; start cp4 14 cp1=1,cp4=4". IDs and initial
// clusters are those of brief == false.
func spell(actions []Action, brief bool) string {
	short := strings.NewReplacer("https://10.0.0.", "", ":2380", "")
	all := make([]string, len(actions))
	for i, a := range actions {
		words := []string{string(a.Kind)}
		if a.Host != "" {
			words = append(words, a.Host)
		}
		if a.MemberID != 0 && (!brief || a.Host == "") {
			words = append(words, fmt.Sprintf("%x", a.MemberID))
		}
		if a.InitialCluster != "" && !brief {
			words = append(words, short.Replace(a.InitialCluster))
		}
		all[i] = strings.Join(words, " ")
	}
	return strings.Join(all, "; ")
}

// testCase is a world and what has to come of it.
type testCase struct {
	name, hosts, views, members, remove string
	joining                             bool

	// want are the actions now, then the ones foreseen after them.
	want, then string
	// refused are words of the refusal and its remedy, separated by "|"; refusedThen of one that
	// stands at the end of the foreseen actions.
	refused, refusedThen string
	// notices are words that have to stand in the notices, separated by "|".
	notices string
}

func (tc testCase) world() World {
	return World{Hosts: hostsOf(tc.hosts), Views: viewsOf(tc.views, membersOf(tc.members)), Remove: strings.Fields(tc.remove), Joining: tc.joining}
}

func check(t *testing.T, w World, tc testCase) {
	t.Helper()
	decision, err := Decide(w)
	checkRefusal(t, "decided", err, tc.refused)
	if got := spell(decision.Actions, false); got != tc.want {
		t.Errorf("actions:\n got %s\nwant %s", got, tc.want)
	}
	notices := strings.Join(decision.Notices, "\n")
	for _, words := range strings.Split(tc.notices, "|") {
		if !strings.Contains(notices, words) {
			t.Errorf("no notice %q in:\n%s", words, notices)
		}
	}
	if tc.notices == "" && notices != "" {
		t.Errorf("notices:\n%s", notices)
	}
	for _, a := range decision.Actions {
		if a.Reason == "" || a.PeerURL == "" {
			t.Errorf("%s has no reason or no peer URL: %+v", a.Kind, a)
		}
	}
	foreseen, err := Foresee(w)
	end := tc.refusedThen
	if tc.refused != "" {
		end = tc.refused
	}
	checkRefusal(t, "foreseen", err, end)
	all := spell(decision.Actions, true)
	if tc.then != "" {
		all += "; " + tc.then
	}
	if got := spell(foreseen, true); got != all {
		t.Errorf("foreseen:\n got %s\nwant %s", got, all)
	}
}

func checkRefusal(t *testing.T, when string, err error, words string) {
	t.Helper()
	if words == "" {
		if err != nil {
			t.Errorf("%s: refused: %v", when, err)
		}
		return
	}
	var refused *Refused
	if !errors.As(err, &refused) {
		t.Errorf("%s: error %v, want a refusal with %q", when, err, words)
		return
	}
	if refused.Remedy == "" {
		t.Errorf("%s: no remedy for: %v", when, err)
	}
	text := refused.Error() + "\n" + refused.Remedy
	for _, word := range strings.Split(words, "|") {
		if !strings.Contains(text, word) {
			t.Errorf("%s: no %q in the refusal:\n%s", when, word, text)
		}
	}
}

func run(t *testing.T, tests []testCase) {
	t.Helper()
	seen := make(map[string]bool)
	for _, tc := range tests {
		if seen[tc.name] {
			t.Errorf("two worlds are called %q", tc.name)
		}
		seen[tc.name] = true
		t.Run(tc.name, func(t *testing.T) { check(t, tc.world(), tc) })
	}
}
