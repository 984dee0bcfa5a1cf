package views

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A program that lists a view looks up each of its names right after. So the last
// listings are kept for lookups of the same caller; listing itself is always fresh.
const (
	listingAge = time.Second // as long as the kernel may keep a name
	maxListing = 64          // listings that are kept, of all callers
)

type listing struct {
	made   time.Time
	byName map[string]Entry
}

func listingKey(c Caller, path []string) string {
	return fmt.Sprintf("%d %d %v %q %q %q %v\x00%s", c.UID, c.GID, c.Groups, c.Subject.ID, c.Subject.PrimaryGroup, c.Subject.Memberships, c.Subject.IsAI, strings.Join(path, "\x00"))
}

func (v *Views) keep(c Caller, path []string, list []Entry) {
	l := listing{v.d.Now(), make(map[string]Entry, len(list))}
	for _, e := range list {
		l.byName[e.Name] = e
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.listings) >= maxListing {
		clear(v.listings)
	}
	v.listings[listingKey(c, path)] = l
}

// named finds a name in a listing: in one that was made just now, or in a new one.
func (v *Views) named(ctx context.Context, c Caller, dir []string, name string) (Entry, error) {
	v.mu.Lock()
	l, ok := v.listings[listingKey(c, dir)]
	v.mu.Unlock()
	if ok && v.d.Now().Sub(l.made) < listingAge {
		if e, ok := l.byName[name]; ok {
			return e, nil
		}
	}
	list, err := v.List(ctx, c, dir)
	if err != nil {
		return Entry{}, err
	}
	for _, e := range list {
		if e.Name == name {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("%s/%s: %w", strings.Join(dir, "/"), name, ErrNotFound)
}
