package plan

import "sort"

// Distance is the optimal string alignment distance: insertions, deletions,
// replacements and swaps of neighbours.
func Distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var two, one []int
	cur := make([]int, len(y)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := 1; i <= len(x); i++ {
		two, one = one, cur
		cur = make([]int, len(y)+1)
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(one[j]+1, cur[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], two[j-2]+1)
			}
		}
	}
	return cur[len(y)]
}

// Nearest gives up to n of the candidates that are close enough to be what was
// meant (at most a third of the letters differ), closest first.
func Nearest(s string, candidates []string, n int) []string {
	if len(s) > 128 {
		return nil
	}
	type scored struct {
		s string
		d int
	}
	var near []scored
	for _, c := range candidates {
		if d := Distance(s, c); d <= max(1, len([]rune(c))/3) {
			near = append(near, scored{c, d})
		}
	}
	sort.SliceStable(near, func(i, j int) bool {
		if near[i].d != near[j].d {
			return near[i].d < near[j].d
		}
		return near[i].s < near[j].s
	})
	var out []string
	for i := 0; i < len(near) && i < n; i++ {
		out = append(out, near[i].s)
	}
	return out
}

func nearHint(s string, known []string) string {
	if near := Nearest(s, known, 1); near != nil {
		return "did you mean " + quoted(near[0]) + "?"
	}
	return ""
}
