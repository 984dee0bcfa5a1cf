package plan

import (
	"fmt"
	"strings"
)

// order resolves `after` and fills Order; it names unknown ids and cycles.
func (d *Document) order() *Error {
	at := make(map[string]int, len(d.Actions))
	for i, a := range d.Actions {
		at[a.ID] = i
	}
	var ids []string
	for _, a := range d.Actions {
		ids = append(ids, a.ID)
	}
	for i, a := range d.Actions {
		for j, id := range a.After {
			if _, ok := at[id]; !ok {
				hint := nearHint(id, ids)
				if hint == "" {
					hint = "the ids of this intent: " + strings.Join(ids, ", ")
				}
				return d.Fail(CodeMalformed, fmt.Sprintf("/actions/%d/after/%d", i, j), "`after` names "+quoted(id)+", which no action has as its id", hint)
			}
		}
	}
	order, cycle := Sort(len(d.Actions), func(i int) []int {
		var before []int
		for _, id := range d.Actions[i].After {
			before = append(before, at[id])
		}
		return before
	})
	if cycle != nil {
		names := make([]string, len(cycle))
		for i, n := range cycle {
			names[i] = d.Actions[n].ID
		}
		return d.Fail(CodeMalformed, fmt.Sprintf("/actions/%d/after", cycle[0]), "`after` goes in a circle: "+strings.Join(names, " → "), "remove one of them")
	}
	d.Order = order
	return nil
}

// Sort gives a topological order of n items, each after those before(i) names;
// among the free ones the lowest index comes first, so that the order is the
// same every time. When there is a cycle it gives nil and the cycle, with the
// first item repeated at its end.
func Sort(n int, before func(int) []int) (order, cycle []int) {
	done := make([]bool, n)
	for len(order) < n {
		found := false
	search:
		for i := range n {
			if done[i] {
				continue
			}
			for _, b := range before(i) {
				if !done[b] {
					continue search
				}
			}
			done[i], found = true, true
			order = append(order, i)
			break
		}
		if !found {
			return nil, findCycle(done, before)
		}
	}
	return order, nil
}

// findCycle walks unfinished predecessors from the first unfinished item until
// one repeats, and starts the cycle at its lowest item.
func findCycle(done []bool, before func(int) []int) []int {
	at := 0
	for done[at] {
		at++
	}
	seen := map[int]int{}
	var path []int
	for {
		if from, ok := seen[at]; ok {
			path = path[from:]
			break
		}
		seen[at] = len(path)
		path = append(path, at)
		for _, b := range before(at) {
			if !done[b] {
				at = b
				break
			}
		}
	}
	low := 0
	for i := range path {
		if path[i] < path[low] {
			low = i
		}
	}
	cycle := append(append([]int{}, path[low:]...), path[:low]...)
	return append(cycle, cycle[0])
}
