package tile

import (
	"fmt"
	"strconv"
	"strings"
)

// Entries is the level of entry bundles in ID.
const Entries = -1

// ID names one file of the tree: a tile of a row, or a bundle of entries.
type ID struct {
	Level int    // row of tiles, or Entries
	N     uint64 // index within the row
	W     int    // width, 1..256; below 256 it is partial
}

// Path returns the file's path relative to the log, such as
// tile/entries/x001/x234/067 or tile/0/001.p/17.
func (id ID) Path() string {
	level := "entries"
	if id.Level != Entries {
		level = strconv.Itoa(id.Level)
	}
	p := fmt.Sprintf("%03d", id.N%1000)
	for n := id.N / 1000; n > 0; n /= 1000 {
		p = fmt.Sprintf("x%03d/%s", n%1000, p)
	}
	if id.W < Width {
		p += ".p/" + strconv.Itoa(id.W)
	}
	return "tile/" + level + "/" + p
}

// ParsePath reads a path as Path writes it; ok is false for anything else.
func ParsePath(path string) (id ID, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) < 3 || parts[0] != "tile" {
		return ID{}, false
	}
	id.W = Width
	if parts[1] == "entries" {
		id.Level = Entries
	} else if l, err := strconv.Atoi(parts[1]); err == nil && l >= 0 && l < 8 {
		id.Level = l
	} else {
		return ID{}, false
	}
	nums := parts[2:]
	if len(nums) >= 2 && strings.HasSuffix(nums[len(nums)-2], ".p") {
		w, err := strconv.Atoi(nums[len(nums)-1])
		if err != nil || w < 1 || w >= Width {
			return ID{}, false
		}
		id.W = w
		nums = nums[:len(nums)-1]
		nums[len(nums)-1] = strings.TrimSuffix(nums[len(nums)-1], ".p")
	}
	for i, s := range nums {
		if i < len(nums)-1 {
			if !strings.HasPrefix(s, "x") {
				return ID{}, false
			}
			s = s[1:]
		}
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || len(s) != 3 || id.N > 1<<50 {
			return ID{}, false
		}
		id.N = id.N*1000 + n
	}
	return id, id.Path() == path
}

// Files returns the tiles and bundles that a tree of the given size consists
// of at its right edge, partial or just completed: what a reader of exactly
// this size asks for besides full tiles to the left.
func Files(size uint64) []ID {
	var ids []ID
	if w := int(size % Width); w > 0 {
		ids = append(ids, ID{Entries, size / Width, w})
	}
	for l, n := 0, size; n > 0; l, n = l+1, n/Width {
		if w := int(n % Width); w > 0 {
			ids = append(ids, ID{l, n / Width, w})
		}
	}
	return ids
}
