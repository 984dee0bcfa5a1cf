package objects

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

type hasher struct{ hash.Hash }

func newHasher() hasher { return hasher{blake3.New()} }

func (h hasher) sum() (out blob.Hash) {
	h.Sum(out[:0])
	return out
}

// undo is one record that a transaction changed: what it was, and a digest of what
// it became, so that an undo sees whether anybody changed it since.
type undo struct {
	Key    []byte `json:"k"`
	Before []byte `json:"b,omitempty"` // empty: it was not there
	After  []byte `json:"a,omitempty"` // empty: it was removed
}

// undoPart bounds one record of an undo list: a Badger transaction holds a few MiB.
const undoPart = 512 << 10

func undoKey(txn ID, part int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{'T'}, txn.u[:]...), uint32(part))
}

func digest(b []byte) []byte {
	if b == nil {
		return nil
	}
	h := blake3.Sum256(b)
	return h[:16]
}

// keepUndo writes down how to undo the open epoch, which is one transaction's alone;
// s.view shows the state before it.
func (s *Store) keepUndo(rec *txnRecord) error {
	var list []undo
	add := func(key, after []byte) error {
		before, err := s.view.Get(key)
		if errors.Is(err, kv.ErrNotFound) {
			before = nil
		} else if err != nil {
			return err
		}
		list = append(list, undo{key, before, digest(after)})
		return nil
	}
	for ino, n := range s.open.inodes {
		if err := add(inoKey(ino), n.encode()); err != nil {
			return err
		}
	}
	for dir, names := range s.open.dents {
		for name, d := range names {
			var after []byte
			if d.ino != 0 {
				after = d.dent.encode()
			}
			if err := add(dentKey(dir, name), after); err != nil {
				return err
			}
		}
	}
	for id, o := range s.open.objs {
		if err := add(objKey(id), o.encode()); err != nil {
			return err
		}
	}
	for k, v := range s.open.puts {
		switch k[0] {
		case 'i', 'l', 'u', 'r', 'R':
			if err := add([]byte(k), v); err != nil {
				return err
			}
		}
	}
	for len(list) > 0 {
		n, size := 0, 0
		for n < len(list) && (n == 0 || size < undoPart) {
			size += len(list[n].Key) + len(list[n].Before) + 64
			n++
		}
		b, err := json.Marshal(list[:n])
		if err != nil {
			return err
		}
		s.open.puts[string(undoKey(rec.ID, rec.Parts))] = b
		rec.Parts++
		list = list[n:]
	}
	return nil
}

// Undo takes back what a transaction did to the tree, byte for byte, attributes and
// times included, in a transaction of its own. Where something that it changed was
// changed again since, nothing happens and the error is ErrStale.
func (s *Store) Undo(ctx context.Context, c Cred, txn ID, action string, with func(*Tx)) (CommitResult, error) {
	s.mu.Lock()
	list, err := s.undoList(txn)
	s.mu.Unlock()
	if err != nil {
		return CommitResult{}, err
	}
	t := s.Begin(c, action)
	if with != nil {
		with(t)
	}
	t.do(func() error {
		for _, u := range list {
			if err := s.undoable(u); err != nil {
				return err
			}
		}
		for _, u := range list {
			if err := s.undoOne(u); err != nil {
				return err
			}
		}
		return nil
	})
	return t.Commit(ctx)
}

// Undone tells whether everything that a transaction changed is as it was before it: an
// independent look, for who has taken it back.
func (s *Store) Undone(txn ID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.undoList(txn)
	if err != nil {
		return false, err
	}
	for _, u := range list {
		cur, err := s.now(u.Key)
		if err != nil {
			return false, err
		}
		same, err := sameAs(u.Key, u.Before, cur)
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// sameAs compares a record with what it was. A directory may have changed otherwise, and
// an inode that was made is gone when it has no name any more.
func sameAs(key, before, cur []byte) (bool, error) {
	if bytes.Equal(before, cur) {
		return true, nil
	}
	if key[0] != 'i' || cur == nil {
		return len(before) == 0 && len(cur) == 0, nil
	}
	n, err := decodeInode(cur)
	if err != nil {
		return false, err
	}
	if len(before) == 0 {
		return n.nlink == 0, nil
	}
	was, err := decodeInode(before)
	if err != nil {
		return false, err
	}
	if isDir(n.mode) {
		return isDir(was.mode) && n.mode == was.mode && n.uid == was.uid && n.gid == was.gid, nil
	}
	return n.mode == was.mode && n.uid == was.uid && n.gid == was.gid && n.size == was.size && n.nlink == was.nlink && n.mtime == was.mtime && n.version == was.version, nil
}

// undoList reads how a transaction is undone; s.mu is held.
func (s *Store) undoList(txn ID) ([]undo, error) {
	b, err := s.get(txnKey(txn))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("transaction %s: %w", txn, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	var rec txnRecord
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, err
	}
	if rec.Final {
		return nil, fmt.Errorf("transaction %s put a version in quarantine or released one; a review of that version takes it back: %w", txn, ErrInvalid)
	}
	var list []undo
	for i := range rec.Parts {
		b, err := s.get(undoKey(txn, i))
		if err != nil {
			return nil, err
		}
		var part []undo
		if err := json.Unmarshal(b, &part); err != nil {
			return nil, err
		}
		list = append(list, part...)
	}
	return list, nil
}

// now is what a record is at this moment, encoded; nil where it is not there.
func (s *Store) now(key []byte) ([]byte, error) {
	switch key[0] {
	case 'i':
		n, err := s.node(Ino(binary.BigEndian.Uint64(key[1:])))
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return n.encode(), nil
	case 'd':
		dir := Ino(binary.BigEndian.Uint64(key[1:9]))
		for _, ov := range []*overlay{s.open, s.committing} {
			if ov == nil {
				continue
			}
			if d, ok := ov.dents[dir][string(key[9:])]; ok {
				if d.ino == 0 {
					return nil, nil
				}
				return d.encode(), nil
			}
		}
	case 'o':
		var id ID
		id.kind = 'o'
		copy(id.u[:], key[1:])
		o, err := s.object(id)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return o.encode(), nil
	}
	b, err := s.get(key)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// undoable says whether a record is still what the transaction made of it. A
// directory may have changed otherwise: only its own names concern the undo, and
// those have records of their own. So may an access time.
func (s *Store) undoable(u undo) error {
	cur, err := s.now(u.Key)
	if err != nil {
		return err
	}
	if bytes.Equal(digest(cur), u.After) {
		return nil
	}
	if u.Key[0] == 'i' && cur != nil && len(u.After) > 0 {
		n, err := decodeInode(cur)
		if err != nil {
			return err
		}
		if isDir(n.mode) && len(u.Before) > 0 {
			return nil
		}
	}
	switch u.Key[0] {
	case 'i':
		return fmt.Errorf("a file was changed after the transaction: %w", ErrStale)
	case 'd':
		return fmt.Errorf("%q was changed after the transaction: %w", u.Key[9:], ErrStale)
	}
	return fmt.Errorf("something was changed after the transaction: %w", ErrStale)
}

func (s *Store) undoOne(u undo) error {
	switch u.Key[0] {
	case 'd':
		dir, name := Ino(binary.BigEndian.Uint64(u.Key[1:9])), string(u.Key[9:])
		var d dent
		if len(u.Before) > 0 {
			var err error
			if d, err = decodeDent(u.Before); err != nil {
				return err
			}
		}
		s.setDent(dir, name, d)
		s.changed(dir, name)
	case 'i':
		return s.undoInode(u)
	case 'o':
		if len(u.Before) == 0 {
			s.open.puts[string(u.Key)] = nil
			return nil
		}
		o, err := decodeObject(u.Before)
		if err != nil {
			return err
		}
		s.open.objs[o.id] = o
	default:
		if len(u.Before) == 0 && len(u.After) > 0 || u.Before == nil {
			s.open.puts[string(u.Key)] = nil
		} else {
			s.open.puts[string(u.Key)] = append([]byte{}, u.Before...)
		}
	}
	return nil
}

func (s *Store) undoInode(u undo) error {
	ino := Ino(binary.BigEndian.Uint64(u.Key[1:]))
	n, err := s.node(ino)
	switch {
	case len(u.Before) == 0:
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s.touch(n)
		n.nlink = 0
		if s.held(n) {
			s.orphaned(n)
		} else {
			s.reap(n)
		}
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	rec, err := decodeInode(u.Before)
	if err != nil {
		return err
	}
	if n == nil {
		n = &node{inode: *rec, kept: true}
		s.nodes[ino] = n
		n.element = s.idle.PushFront(n)
		n.dirty, s.open.inodes[ino] = s.open, n
		s.open.made[n] = true
		return nil
	}
	if isDir(n.mode) && !bytes.Equal(digest(n.encode()), u.After) {
		return nil // somebody else works in it: keep its times; the links are counted anew
	}
	s.touch(n)
	n.inode = *rec
	s.moves++
	s.open.change.Inos = append(s.open.change.Inos, ino)
	return nil
}
