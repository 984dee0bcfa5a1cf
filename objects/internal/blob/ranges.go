package blob

import "sort"

// Range is a half-open stretch of a file, in bytes.
type Range struct{ Start, End int64 }

// ranges is a sorted list of stretches that neither touch nor overlap.
type ranges []Range

// add joins [start,end) into the list.
func (r *ranges) add(start, end int64) {
	if start >= end {
		return
	}
	l := *r
	i := sort.Search(len(l), func(i int) bool { return l[i].End >= start })
	j := i
	for j < len(l) && l[j].Start <= end {
		start, end = min(start, l[j].Start), max(end, l[j].End)
		j++
	}
	if i == j {
		l = append(l, Range{})
		copy(l[i+1:], l[i:])
		l[i] = Range{start, end}
	} else {
		l[i] = Range{start, end}
		l = append(l[:i+1], l[j:]...)
	}
	*r = l
}

// remove takes [start,end) out of the list.
func (r *ranges) remove(start, end int64) {
	if start >= end {
		return
	}
	var rest ranges
	for _, x := range *r {
		if x.Start < start {
			rest = append(rest, Range{x.Start, min(x.End, start)})
		}
		if x.End > end {
			rest = append(rest, Range{max(x.Start, end), x.End})
		}
	}
	*r = rest
}

// bytes is how many the stretches hold together.
func (r ranges) bytes() (n int64) {
	for _, x := range r {
		n += x.End - x.Start
	}
	return n
}

// cut takes everything from end on out of the list.
func (r *ranges) cut(end int64) {
	l := *r
	i := sort.Search(len(l), func(i int) bool { return l[i].End > end })
	if i < len(l) && l[i].Start < end {
		l[i].End = end
		i++
	}
	*r = l[:i]
}

// at says whether pos lies in a stretch, and up to where that stays so.
func (r ranges) at(pos, limit int64) (in bool, until int64) {
	i := sort.Search(len(r), func(i int) bool { return r[i].End > pos })
	switch {
	case i == len(r):
		return false, limit
	case r[i].Start <= pos:
		return true, min(r[i].End, limit)
	default:
		return false, min(r[i].Start, limit)
	}
}
