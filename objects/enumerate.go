package objects

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// What a snapshot can be asked for as a whole, for queries (S2.1). The records of
// every kind come in the order of their ids, which is the order in which they were made.

// Transaction is the record of what one subject changed at once (OM §9).
type Transaction struct {
	ID          ID        `json:"transaction_id"`
	Subject     string    `json:"subject"`
	Action      string    `json:"action_id,omitempty"`
	StartedAt   time.Time `json:"started_at"`
	CompletedAt time.Time `json:"completed_at"`
	State       string    `json:"state"` // COMMITTED or ABORTED
	Writes      []TxWrite `json:"writes"`
	Root        string    `json:"merkle_root,omitempty"`
}

// TxWrite is a version that a transaction made; Before is the one that it follows.
type TxWrite struct {
	Object  ID     `json:"object_id"`
	Version ID     `json:"version_id"`
	Before  ID     `json:"before,omitzero"`
	Hash    string `json:"content_hash,omitempty"`
}

// Newest is the tree as it is now: what is open is committed first.
func (s *Store) Newest(ctx context.Context) (*Snapshot, error) {
	if !s.o.ReadOnly {
		if err := s.commit(ctx); err != nil {
			return nil, err
		}
	}
	return &Snapshot{s, s.db.View()}, nil
}

func scanAll[T any](sn *Snapshot, prefix string, decode func([]byte) (T, error), fn func(T) error) error {
	for _, b := range sn.v.Scan([]byte(prefix), nil) {
		x, err := decode(b)
		if err != nil {
			return err
		}
		if err := fn(x); err != nil {
			return err
		}
	}
	return sn.v.Err()
}

// Objects calls fn with every object, until fn gives an error, which it gives back.
func (sn *Snapshot) Objects(fn func(Object) error) error {
	return scanAll(sn, "o", decodeObject, func(o *object) error { return fn(o.public()) })
}

// Versions calls fn with every version that is kept, like Objects.
func (sn *Snapshot) Versions(fn func(Version) error) error {
	return scanAll(sn, "v", decodeVersion, func(v *version) error { return fn(v.public()) })
}

// Transactions calls fn with every transaction that wrote something, like Objects.
func (sn *Snapshot) Transactions(fn func(Transaction) error) error {
	return scanAll(sn, "t", decodeTxn, fn)
}

// Conflicts calls fn with every conflict, like Objects.
func (sn *Snapshot) Conflicts(fn func(Conflict) error) error {
	return scanAll(sn, "k", decodeConflict, fn)
}

func decodeTxn(b []byte) (Transaction, error) {
	var r txnRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return Transaction{}, fmt.Errorf("read a transaction: %w", err)
	}
	t := Transaction{ID: r.ID, Subject: r.Subject, Action: r.Action, StartedAt: r.ID.Time(), CompletedAt: r.At.UTC(), State: r.State, Root: r.Root, Writes: []TxWrite{}}
	for _, l := range r.Lines {
		t.Writes = append(t.Writes, TxWrite(l))
	}
	return t, nil
}

// GetTransaction gives a transaction's record.
func (s *Store) GetTransaction(id ID) (Transaction, error) {
	s.mu.Lock()
	b, err := s.get(txnKey(id))
	s.mu.Unlock()
	if errors.Is(err, kv.ErrNotFound) || id.kind != 't' {
		return Transaction{}, fmt.Errorf("transaction %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Transaction{}, err
	}
	return decodeTxn(b)
}

// Object gives an object as it was.
func (sn *Snapshot) Object(id ID) (Object, error) {
	b, err := sn.v.Get(objKey(id))
	if errors.Is(err, kv.ErrNotFound) {
		return Object{}, fmt.Errorf("object %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Object{}, err
	}
	o, err := decodeObject(b)
	if err != nil {
		return Object{}, err
	}
	return o.public(), nil
}

// Version gives a version as it was.
func (sn *Snapshot) Version(obj, ver ID) (Version, error) {
	b, err := sn.v.Get(verKey(obj, ver))
	if errors.Is(err, kv.ErrNotFound) {
		return Version{}, fmt.Errorf("version %s: %w", ver, ErrNotFound)
	}
	if err != nil {
		return Version{}, err
	}
	v, err := decodeVersion(b)
	if err != nil {
		return Version{}, err
	}
	return v.public(), nil
}

// PathsOf gives the paths at which an inode was, from the root and sorted; none for one
// without a name.
func (sn *Snapshot) PathsOf(ino Ino) ([]string, error) {
	n, err := sn.inode(ino)
	if err != nil {
		return nil, err
	}
	if n.nlink == 0 {
		return nil, nil
	}
	if n.nlink == 1 || isDir(n.mode) {
		p, err := sn.pathOf(ino)
		return []string{p}, err
	}
	var paths []string
	prefix := linkPrefix(ino)
	for k := range sn.v.ScanKeys(prefix, nil) {
		rest := k[len(prefix):]
		if len(rest) < 9 {
			continue
		}
		name := string(rest[8:])
		dir, err := sn.pathOf(Ino(binary.BigEndian.Uint64(rest)))
		if err != nil {
			return nil, err
		}
		paths = append(paths, strings.TrimPrefix(dir+"/"+name, "/"))
	}
	sort.Strings(paths)
	return paths, sn.v.Err()
}

func (sn *Snapshot) pathOf(ino Ino) (string, error) {
	path := ""
	for depth := 0; ino != RootIno; depth++ {
		n, err := sn.inode(ino)
		if err != nil {
			return "", err
		}
		if n.nlink == 0 || depth > 100_000 {
			return "", ErrNotFound
		}
		path, ino = n.name+"/"+path, n.parent
	}
	return strings.TrimSuffix(path, "/"), nil
}
