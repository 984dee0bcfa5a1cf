package objects

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Retention says which superseded versions, and what of the trash, are kept. A directory's
// user.aios.retention holds for all below it, the nearest one counts:
//
//	all      every version, for ever
//	last=N   the newest N versions
//	days=N   every version of the last N days
//	none     the current version alone
//
// Without one, every version is kept until the store's retention (90 days), so that the
// past can be looked at whole; only of a file that is saved more often than a thousand
// times meanwhile (a log, a database) the older ones thin: one a minute of the last day,
// one an hour of the last week, one a day before that. What was removed is kept until the store's retention, N days, or for ever; with `none` until the next pass.
//
// Purge is the pass that lets go of what retention has ended. Nothing else does, and it
// leaves its evidence. It never touches what a pointer, an open conflict or a named
// snapshot needs.

// RetentionXattr is the attribute of a directory.
const RetentionXattr = "user.aios.retention"

// How the default thins. A log that is appended to and closed ten thousand times an
// hour keeps about a thousand versions of that hour.
const (
	thinNewest = 1000
	thinDay    = 24 * time.Hour
	thinWeek   = 7 * thinDay
)

// retention is a policy; the zero one is the default.
type retention struct {
	all  bool
	last int
	days int
}

// maxDays is as many whole days as a Duration can say, some 292 years: more would be less
// than none.
const maxDays = int(math.MaxInt64 / thinDay)

// ParseRetention reads the words of user.aios.retention, for who checks them.
func ParseRetention(s string) error {
	_, err := parseRetention(s)
	return err
}

func parseRetention(s string) (retention, error) {
	switch s {
	case "all":
		return retention{all: true}, nil
	case "none":
		return retention{last: 1}, nil
	}
	k, v, _ := strings.Cut(s, "=")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil && n > 0 {
		switch k {
		case "last":
			return retention{last: int(n)}, nil
		case "days":
			return retention{days: min(int(n), maxDays)}, nil
		}
	}
	return retention{}, fmt.Errorf("retention %q is none of all, none, last=N, days=N: %w", s, ErrInvalid)
}

// ended tells which of an object's versions, newest first, the policy lets go of; the
// first is current.
func (r retention) ended(made []time.Time, now time.Time, keep time.Duration) []bool {
	drop := make([]bool, len(made))
	bucket := map[int64]bool{}
	for i, at := range made {
		age := now.Sub(at)
		switch {
		case i == 0 || r.all:
		case r.last > 0:
			drop[i] = i >= r.last
		case r.days > 0:
			drop[i] = age > time.Duration(r.days)*thinDay
		case age > keep:
			drop[i] = true
		case i < thinNewest:
		default:
			// The last version of a stretch stands for it.
			step := time.Minute
			if age > thinWeek {
				step = thinDay
			} else if age > thinDay {
				step = time.Hour
			}
			slot := at.UnixNano()/int64(step)<<2 | int64(step/time.Hour+1)&3
			drop[i] = bucket[slot]
			bucket[slot] = true
		}
	}
	return drop
}

// lifetime is how long a removed thing is kept; false is for ever.
func (r retention) lifetime(keep time.Duration) (time.Duration, bool) {
	switch {
	case r.all:
		return 0, false
	case r.last == 1:
		return 0, true
	case r.days > 0:
		return time.Duration(r.days) * thinDay, true
	}
	return keep, true
}

// PurgeReport is what a pass let go of.
type PurgeReport struct {
	Versions int `json:"versions"`
	Objects  int `json:"objects"` // removed things whose retention is over
}

// retentionFor finds the policy of a directory: its own, or the nearest above it. A
// removed directory is looked for in the trash. s.mu is held.
func (s *Store) retentionFor(dir Ino, dirObj ID) retention {
	for depth := 0; dir != 0 && depth < 10_000; depth++ {
		var rec *inode
		if n, err := s.node(dir); err == nil && n.nlink > 0 {
			rec, dir, dirObj = &n.inode, n.parent, ID{}
			if rec.ino == RootIno {
				dir = 0
			}
		} else if g, err := s.graveOf(dirObj); err == nil && g.inode != nil {
			rec, dir, dirObj = g.inode, g.last().dir, g.last().dirObj
		} else {
			return retention{}
		}
		if v, ok := rec.xattrs[RetentionXattr]; ok {
			if r, err := parseRetention(string(v)); err == nil {
				return r
			}
		}
	}
	return retention{}
}

// retentionOf finds the policy for an object where it is, or was last; false for one that is
// nowhere, or in a trash can, which its owner empties. s.mu is held.
func (s *Store) retentionOf(o *object) (retention, bool) {
	if o.life == Active {
		n, err := s.node(o.ino)
		if err != nil || n.nlink == 0 {
			return retention{}, false
		}
		return s.retentionFor(n.parent, ID{}), true
	}
	g, err := s.graveOf(o.id)
	if err != nil || g.can && g.inode == nil {
		return retention{}, false
	}
	return s.retentionFor(g.last().dir, g.last().dirObj), true
}

// heir is the object that one was absorbed by, at the end of all renames; nil where its
// record is gone. s.mu is held.
func (s *Store) heir(o *object) *object {
	for depth := 0; !o.absorbedBy.IsZero() && depth < 10_000; depth++ {
		next, err := s.object(o.absorbedBy)
		if err != nil {
			return nil
		}
		o = next
	}
	return o
}

// aged is a version as the pass looks at it.
type aged struct {
	id   ID
	made time.Time
}

// Purge lets go of the versions and removed objects whose retention is over, and has those
// packed that are superseded and still plain files. Their bytes are given back by GC.
func (s *Store) Purge(ctx context.Context) (PurgeReport, error) {
	s.purging.Lock()
	defer s.purging.Unlock()
	if err := s.commit(ctx); err != nil {
		return PurgeReport{}, err
	}
	p := &purge{s: s, now: s.o.Now(), hash: blake3.New()}
	if err := p.holds(); err != nil {
		return p.rep, err
	}
	view := s.db.View()
	defer view.Close()
	var obj ID
	var list []aged
	var rest []ID // versions that no retention counts: those that lost, and those nobody is given
	var cool, unresolved []ID
	for k, b := range view.Scan([]byte{'v'}, nil) {
		if ctx.Err() != nil {
			return p.rep, ctx.Err()
		}
		v, err := decodeVersion(b)
		if err != nil || len(k) != 33 {
			continue // fsck tells of it
		}
		if v.object != obj {
			p.object(view, obj, list, rest)
			obj, list, rest = v.object, list[:0], rest[:0]
		}
		if v.state == Quarantined && !v.fencedAt.IsZero() && p.now.Sub(v.fencedAt) > quarantineDays*thinDay {
			unresolved = append(unresolved, v.id)
		}
		if v.hot && len(v.chunks) > 0 && pastOf(view, v) {
			cool = append(cool, v.id)
		}
		if v.staging == "" && !v.loser && !v.shut() {
			list = append(list, aged{v.id, v.since()})
		} else {
			rest = append(rest, v.id)
		}
	}
	p.object(view, obj, list, rest)
	// What has no version, as a directory, is found in the trash alone.
	for k := range view.ScanKeys([]byte{'r'}, nil) {
		id := ID{kind: 'o'}
		if copy(id.u[:], k[1:]) == 16 {
			p.object(view, id, nil, nil)
		}
	}
	if err := view.Err(); err != nil {
		return p.rep, err
	}
	s.expire(unresolved)
	s.seal.addCool(cool...) // what an earlier run left to pack
	p.tell()
	return p.rep, s.commit(ctx)
}

// pastOf tells whether a version is none that a living object has now.
func pastOf(view *kv.View, v *version) bool {
	b, err := view.Get(objKey(v.object))
	if err != nil {
		return false
	}
	o, err := decodeObject(b)
	return err == nil && (o.current != v.id || o.life != Active)
}

type purge struct {
	s    *Store
	now  time.Time
	rep  PurgeReport
	hash *blake3.Hasher
	held map[ID]bool // versions that conflicts need
	seen map[ID]bool
}

// holds gathers what the pass must not touch.
func (p *purge) holds() error {
	p.held, p.seen = map[ID]bool{}, map[ID]bool{}
	v := p.s.db.View()
	defer v.Close()
	for _, b := range v.Scan([]byte{'k'}, nil) {
		c, err := decodeConflict(b)
		if err != nil {
			return err
		}
		for _, id := range []ID{c.Base, c.Current, c.Candidate} {
			p.held[id] = true
		}
	}
	return v.Err()
}

// object lets go of what is over of one object; the rest goes with the object.
func (p *purge) object(view *kv.View, id ID, list []aged, rest []ID) {
	if id.IsZero() || p.seen[id] {
		return
	}
	b, err := view.Get(objKey(id))
	if err != nil {
		return
	}
	o, err := decodeObject(b)
	if err != nil || o.life == Active && len(list) < 2 || o.life == Purged {
		return
	}
	p.seen[id] = true
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err = s.object(id) // as it is at this moment
	if err != nil {
		return
	}
	var policy retention
	if o.absorbedBy.IsZero() {
		ok := false
		if policy, ok = s.retentionOf(o); !ok {
			return
		}
	} else if h := s.heir(o); h != nil { // what a file held before it was renamed over another
		policy, _ = s.retentionOf(h)
	}
	dead := false
	if o.life != Active {
		life, ends := policy.lifetime(s.o.Retention)
		dead = ends && !o.retiredAt.IsZero() && p.now.Sub(o.retiredAt) > life
	}
	sort.SliceStable(list, func(i, j int) bool { return earlier(list[j].made, list[j].id, list[i].made, list[i].id) })
	for i, a := range list { // what is current is the first, wherever a pointer was moved to
		if a.id == o.current {
			copy(list[1:i+1], list[:i])
			list[0] = a
			break
		}
	}
	made := make([]time.Time, len(list))
	for i, a := range list {
		made[i] = a.made
	}
	var drop []bool
	if dead && !p.pinned(o) {
		drop = make([]bool, len(list))
		for i := range drop {
			drop[i] = true
		}
	} else {
		dead = false
		drop = policy.ended(made, p.now, s.o.Retention)
	}
	for i, a := range list {
		if !drop[i] || !dead && (a.id == o.current || a.id == o.stable) || p.held[a.id] || p.keeps(id, a.id) {
			continue
		}
		p.drop(id, a.id)
	}
	if dead {
		for _, v := range rest {
			if !p.held[v] {
				p.drop(id, v)
			}
		}
		if e, err := s.editObject(id); err == nil {
			e.life = Purged
			s.unbury(id)
			p.rep.Objects++
			p.hash.Write([]byte(id.String() + "\n"))
		}
	}
}

func (p *purge) drop(obj, ver ID) {
	s := p.s
	s.open.puts[string(verKey(obj, ver))] = nil
	s.open.puts[string(verIndexKey(ver))] = nil
	if o, err := s.object(obj); err == nil && o.rollback == ver {
		if e, err := s.editObject(obj); err == nil {
			e.rollback = ID{}
		}
	}
	p.rep.Versions++
	p.hash.Write([]byte(ver.String() + "\n"))
}

// pinned tells whether a named snapshot shows the object.
func (p *purge) pinned(o *object) bool {
	for _, v := range p.s.pinViews() {
		if b, err := v.Get(objKey(o.id)); err == nil {
			if was, err := decodeObject(b); err == nil && was.life == Active {
				return true
			}
		}
	}
	return false
}

// keeps tells whether a named snapshot shows this version.
func (p *purge) keeps(obj, ver ID) bool {
	for _, v := range p.s.pinViews() {
		if b, err := v.Get(objKey(obj)); err == nil {
			if was, err := decodeObject(b); err == nil && was.current == ver {
				return true
			}
		}
	}
	return false
}

// tell leaves the pass' evidence in the epoch that carries it out.
func (p *purge) tell() {
	if p.rep == (PurgeReport{}) {
		return
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.emit = append(s.open.emit, evidence.Draft{
		ID: s.evidenceID(), Type: record.GcPass, Emitter: string(record.EmitterStore), Subject: "_system:service:aiosfs", Scope: "_system",
		Payload: map[string]any{"detail_kind": "AIOSFS_RETENTION_PASS", "outcome": "SUCCEEDED", "versions_released": p.rep.Versions, "objects_purged": p.rep.Objects,
			"ids_digest": "b3:" + hex.EncodeToString(p.hash.Sum(nil))},
	})
}

// purgeEvery is how often a mounted store makes a pass, purgeFirst when after its start the
// first one comes; purgeAfter versions that were superseded since the last one call for it
// at once.
const (
	purgeEvery = time.Hour
	purgeFirst = 5 * time.Minute
	purgeAfter = 10_000
)

// retain makes the passes of a store in use.
func (s *Store) retain() {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	first := time.NewTimer(purgeFirst)
	defer first.Stop()
	stale := time.NewTicker(pendingCheck)
	defer stale.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-stale.C:
			if err := s.abortStale(bg); err != nil {
				s.o.Logger.Error("a transaction that nobody commits could not be ended", "error", err)
			}
			continue
		case <-s.retainNow:
		case <-first.C:
		case <-tick.C:
		}
		if rep, err := s.Purge(bg); err != nil {
			s.o.Logger.Error("what retention has ended could not be let go", "error", err)
		} else if rep != (PurgeReport{}) {
			s.o.Logger.Debug("retention pass", "versions", rep.Versions, "objects", rep.Objects)
		}
	}
}

// noteSuperseded counts versions that another one replaced; s.mu is held.
func (s *Store) noteSuperseded() {
	if s.replaced++; s.replaced >= purgeAfter {
		s.replaced = 0
		select {
		case s.retainNow <- struct{}{}:
		default:
		}
	}
}
