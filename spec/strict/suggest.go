package strict

import "strings"

// Nearest returns the candidate that word was most likely meant to be, or "" when none is close.
// Letter case, - and _ do not count, so that pod_cidr is podCIDR; otherwise about one typing
// mistake in three letters is forgiven.
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", -1
	folded := fold(word)
	for _, c := range candidates {
		target := fold(c)
		allowed := max(len([]rune(target)), len([]rune(folded))) / 3
		d := distance(folded, target)
		if d <= allowed && (bestDistance < 0 || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) string {
	const longestWord = 80 // the distance costs the product of the lengths
	if len(s) > longestWord {
		s = s[:longestWord]
	}
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a
// into b (optimal string alignment).
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	rows := make([][]int, len(from)+1)
	for i := range rows {
		rows[i] = make([]int, len(to)+1)
		rows[i][0] = i
	}
	for j := range to {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(from); i++ {
		for j := 1; j <= len(to); j++ {
			cost := 1
			if from[i-1] == to[j-1] {
				cost = 0
			}
			best := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				best = min(best, rows[i-2][j-2]+1)
			}
			rows[i][j] = best
		}
	}
	return rows[len(from)][len(to)]
}
