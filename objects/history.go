package objects

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Reader reads a version's bytes. It must be closed.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Version is what is known of a version (OM §2).
type Version struct {
	ID          ID        `json:"version_id"`
	Object      ID        `json:"object_id"`
	Parent      ID        `json:"parent_version_id,omitzero"`
	Hash        string    `json:"content_hash,omitempty"` // 64 hex digits of BLAKE3; "" until sealed
	Size        int64     `json:"size"`
	State       string    `json:"state"`
	CreatedAt   time.Time `json:"created_at"`
	Taken       time.Time `json:"taken_at,omitzero"` // when a rename brought it to its object or its name, if that had another before
	CreatedBy   string    `json:"created_by"`
	Transaction ID        `json:"created_by_transaction_id"`
	Action      string    `json:"created_by_action_id,omitempty"`
	Chunks      []string  `json:"chunk_refs"` // chk_…, in order
}

func (v *version) public() Version {
	p := Version{ID: v.id, Object: v.object, Parent: v.parent, Hash: hashText(v), Size: v.size, State: v.state.String(),
		CreatedAt: v.createdAt, Taken: v.taken, CreatedBy: v.createdBy, Transaction: v.txn, Action: v.action, Chunks: []string{}}
	for _, c := range v.chunks {
		p.Chunks = append(p.Chunks, "chk_"+c.hash.String())
	}
	if v.isInline && v.size > 0 {
		p.Chunks = append(p.Chunks, "chk_"+v.hash.String()) // one chunk, though it is kept inline (OM §5)
	}
	return p
}

// Versions lists an object's versions, oldest first.
func (s *Store) Versions(obj ID) ([]Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs, err := s.versions(obj)
	if err != nil {
		return nil, err
	}
	list := make([]Version, len(vs))
	for i, v := range vs {
		list[i] = v.public()
	}
	return list, nil
}

func (s *Store) versions(obj ID) ([]*version, error) {
	recs := map[string][]byte{}
	prefix := verPrefix(obj)
	for k, v := range s.view.Scan(prefix, nil) {
		recs[string(k)] = append([]byte{}, v...)
	}
	for _, ov := range []*overlay{s.committing, s.open} {
		if ov == nil {
			continue
		}
		for k, v := range ov.puts {
			if len(k) == len(prefix)+16 && k[:len(prefix)] == string(prefix) {
				if v == nil {
					delete(recs, k)
				} else {
					recs[k] = v
				}
			}
		}
	}
	var list []*version
	for _, b := range recs {
		v, err := decodeVersion(b)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	sort.Slice(list, func(i, j int) bool { return earlier(list[i].since(), list[i].id, list[j].since(), list[j].id) })
	return list, nil
}

// earlier is the order of a history: by the millisecond, which is what an id tells of and
// the name of a version in .versions, and within it by the ids.
func earlier(t time.Time, a ID, u time.Time, b ID) bool {
	if x, y := t.UnixMilli(), u.UnixMilli(); x != y {
		return x < y
	}
	return a.u.Compare(b.u) < 0
}

// Since is when the object had the version first.
func (v Version) Since() time.Time {
	if !v.Taken.IsZero() {
		return v.Taken
	}
	return v.CreatedAt
}

// findVersion finds a version by its own id; s.mu is held.
func (s *Store) findVersion(ver ID) (*version, error) {
	b, err := s.get(verIndexKey(ver))
	if errors.Is(err, kv.ErrNotFound) || err == nil && len(b) != 16 {
		return nil, fmt.Errorf("version %s: %w", ver, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	obj := ID{kind: 'o'}
	copy(obj.u[:], b)
	return s.version(obj, ver)
}

// Version finds a version by its id.
func (s *Store) Version(ver ID) (Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.findVersion(ver)
	if err != nil {
		return Version{}, err
	}
	return v.public(), nil
}

// Committed is when a version became a part of the tree: a snapshot of that time has it,
// an earlier one has not.
func (s *Store) Committed(ver ID) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.findVersion(ver)
	if err != nil {
		return time.Time{}, err
	}
	for _, p := range s.view.History(verKey(v.object, v.id)) {
		if !p.Deleted {
			return p.TS.Time(), nil
		}
	}
	return time.Time{}, fmt.Errorf("version %s is not committed yet: %w", ver, ErrNotFound)
}

// OpenVersion opens a version's bytes.
func (s *Store) OpenVersion(ver ID) (Reader, error) {
	s.mu.Lock()
	v, err := s.findVersion(ver)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if v.shut() {
		return nil, fmt.Errorf("version %s is %w", ver, ErrQuarantined)
	}
	c, err := s.openVersion(v)
	if err != nil {
		return nil, err
	}
	return s.guard(c, ver), nil
}

// NameHistory lists the versions that a name in a directory has had, oldest first,
// through all objects that it was bound to (filesystem.md §8: it follows the name).
func (s *Store) NameHistory(dir Ino, name string) ([]Version, error) {
	s.mu.Lock()
	d, _, err := s.dent(dir, name)
	if err == nil {
		s.settleName(dir, name, d.ino)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := s.commit(context.Background()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.view.History(dentKey(dir, name))
	bindings := make([]dent, len(past))
	for i, p := range past {
		if p.Deleted {
			continue
		}
		if bindings[i], err = decodeDent(p.Value); err != nil {
			return nil, err
		}
	}
	at := map[ID]int{} // where in the list
	var list []Version
	for i, p := range past {
		if p.Deleted {
			continue
		}
		end, left := s.o.Now().Add(time.Hour), time.Time{}
		if i+1 < len(past) {
			end, left = past[i+1].TS.Time(), time.UnixMilli(bindings[i+1].since)
		}
		vs, err := s.versionsOf(bindings[i].ino, p.TS, end, left)
		if err != nil {
			return nil, err
		}
		var held Version // what the file had when it came here
		for _, v := range vs {
			if _, ok := at[v.ID]; !ok {
				at[v.ID] = len(list)
				list = append(list, v)
			}
			if v.Since().UnixMilli() <= bindings[i].since && (held.ID.IsZero() || earlier(held.Since(), held.ID, v.Since(), v.ID)) {
				held = v
			}
		}
		// Where other files had the name before, it is the newest from then on, however old
		// it is (an exchange and one back bring a version twice).
		another := func(d dent) bool { return d.ino != 0 && d.ino != bindings[i].ino }
		if !held.ID.IsZero() && slices.ContainsFunc(bindings[:i], another) {
			list[at[held.ID]].Taken = time.UnixMilli(bindings[i].since)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return earlier(list[i].Since(), list[i].ID, list[j].Since(), list[j].ID) })
	return list, nil
}

// versionsOf lists the versions that an inode had until the end of a stretch of time. The
// epoch that ends it ended later than its changes were made: if the next file came to the
// name at `left`, what this one got from then on, under another name, is not the name's.
func (s *Store) versionsOf(ino Ino, from kv.TS, end, left time.Time) ([]Version, error) {
	var list []Version
	for _, obj := range s.objectsOf(ino, from, end) {
		vs, err := s.versions(obj)
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			if since := v.since(); since.After(end) || left.UnixMilli() > 0 && !since.Before(left) {
				continue
			}
			list = append(list, v.public())
		}
	}
	return list, nil
}

// objectsOf gives the objects that an inode stood for in a stretch of time.
func (s *Store) objectsOf(ino Ino, from kv.TS, until time.Time) []ID {
	var list []ID
	seen := map[ID]bool{}
	for _, p := range s.view.History(inoKey(ino)) {
		if p.Deleted || p.TS.Time().After(until) {
			continue
		}
		if n, err := decodeInode(p.Value); err == nil && !seen[n.object] && (p.TS >= from || len(list) == 0) {
			seen[n.object] = true
			list = append(list, n.object)
		}
	}
	return list
}

// NamesEver lists the names that a directory has or had within the history, sorted.
func (s *Store) NamesEver(dir Ino) ([]string, error) {
	if err := s.commit(context.Background()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	prefix := dentPrefix(dir)
	var names []string
	for _, k := range s.view.KeysEver(prefix) {
		names = append(names, k[len(prefix):])
	}
	sort.Strings(names)
	return names, nil
}

// Objects calls fn with every object, in order of creation, until it returns false.
func (s *Store) Objects(fn func(Object) bool) error {
	if err := s.commit(context.Background()); err != nil {
		return err
	}
	v := s.db.View()
	defer v.Close()
	for _, b := range v.Scan([]byte{'o'}, nil) {
		o, err := decodeObject(b)
		if err != nil {
			return err
		}
		if !fn(o.public()) {
			return nil
		}
	}
	return nil
}

// ChangedSince calls fn with the inodes whose records changed after t, in no
// particular order: what a view has to look at after a restart.
func (s *Store) ChangedSince(t time.Time, fn func(Ino) bool) error {
	v := s.db.View()
	defer v.Close()
	for k := range v.KeysSince([]byte{'i'}, kv.At(t)) {
		if !fn(Ino(binary.BigEndian.Uint64(k[1:]))) {
			return nil
		}
	}
	return nil
}
