package plan

import "strings"

// diffLimit bounds the table of a line by line comparison; of longer texts all lines are
// shown as changed.
const diffLimit = 1 << 20

// splitLines cuts a text into lines without their ends.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// lineDiff lists the lines that differ, "- " before those that go and "+ " before those that
// come, with "  ..." where lines between them stay.
func lineDiff(old, want []string) []string {
	common := commonLines(old, want)
	var out []string
	i, j := 0, 0
	for _, c := range append(common, [2]int{len(old), len(want)}) {
		if len(out) > 0 && (i < c[0] || j < c[1]) {
			out = append(out, "  ...")
		}
		for ; i < c[0]; i++ {
			out = append(out, "- "+old[i])
		}
		for ; j < c[1]; j++ {
			out = append(out, "+ "+want[j])
		}
		i, j = c[0]+1, c[1]+1
	}
	return out
}

// commonLines is a longest common subsequence, as pairs of places.
func commonLines(a, b []string) [][2]int {
	if len(a)*len(b) > diffLimit {
		return nil
	}
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}
