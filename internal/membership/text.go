package membership

import (
	"fmt"
	"strconv"
	"strings"
)

// refuse returns a refusal without its remedy.
func refuse(format string, args ...any) *Refused {
	return &Refused{Reason: fmt.Sprintf(format, args...)}
}

// remedy completes a refusal.
func (r *Refused) remedy(format string, args ...any) *Refused {
	r.Remedy = fmt.Sprintf(format, args...)
	return r
}

// hex spells the ID of a member or cluster as etcdctl does.
func hex(id uint64) string { return strconv.FormatUint(id, 16) }

// byHand is the command for members that no host of the inventory stands for.
func byHand(m member) string { return "etcdctl member remove " + hex(m.ID) }

// list joins words for a sentence.
func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// count spells a number of things, "1 voter" or "3 voters".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// names of the hosts.
func names(hosts []Host) []string {
	all := make([]string, len(hosts))
	for i, h := range hosts {
		all[i] = h.Name
	}
	return all
}

// note adds a notice.
func (s *situation) note(format string, args ...any) {
	s.notices = append(s.notices, fmt.Sprintf(format, args...))
}
