package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/blob"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// repairRounds bounds the rounds of a repair: a record that is brought back may need
// others put right, such as the links of its directory and what its scope takes up.
const repairRounds = 4

// A repair changes records in the open epoch, with s.mu held, and says what it did; empty
// when nothing can be done.
type repair func() (string, error)

// repairs are what would put right what a check found: records first, and numbers when
// all records are as they can be, since they are counted from those.
type repairs struct{ records, counts []repair }

// Repair puts right what Fsck finds, with what the store itself holds: what a record was
// before, the versions that are there, what can be counted. Nothing is thrown away: what
// lost its name gets it back or another beside it, and a version whose bytes are damaged
// is kept, in quarantine, and given to nobody. The report says what was done, and which
// problems are left; evidence of it is in the epochs that carry it out. Nobody else may
// use the store meanwhile.
func (s *Store) Repair(ctx context.Context) (FsckReport, error) {
	var done []string
	for range repairRounds {
		rep, r, err := s.check(ctx)
		rep.Repairs = done
		if err != nil {
			return rep, err
		}
		now, err := s.repairAll(r.records)
		if err == nil && len(now) == 0 {
			now, err = s.repairAll(r.counts)
		}
		done = append(done, now...)
		if rep.Repairs = done; err != nil || len(now) == 0 {
			return rep, err
		}
		if err := s.commit(ctx); err != nil {
			return rep, fmt.Errorf("repair: %w", err)
		}
	}
	rep, _, err := s.check(ctx)
	rep.Repairs = done
	return rep, err
}

func (s *Store) repairAll(repairs []repair) (done []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return nil, fmt.Errorf("repair: %w", err)
	}
	for _, fix := range repairs {
		what, err := fix()
		if err != nil {
			return done, fmt.Errorf("repair: %w", err)
		}
		if what != "" {
			done = append(done, what)
		}
	}
	if len(done) > 0 {
		const self = "_system:service:aiosfs"
		s.open.emit = append(s.open.emit, evidence.Draft{ID: s.evidenceID(), Type: record.RecoveryEvent, Emitter: string(record.EmitterRecovery), Subject: self, Scope: "_system",
			Payload: map[string]any{"event_kind": "STORE_REPAIRED", "operator_subject": self, "detail": "fsck put the store's records right", "repairs": len(done), "first": done[0]}})
	}
	return done, nil
}

// before gives what a record was when it last could be read; nil where history has none.
func (s *Store) before(key []byte, readable func([]byte) error) []byte {
	past := s.view.History(key)
	for i := len(past) - 1; i >= 0; i-- {
		if !past[i].Deleted && readable(past[i].Value) == nil {
			return past[i].Value
		}
	}
	return nil
}

// mendName binds a name again to what it was bound to before.
func (s *Store) mendName(dir Ino, name string) repair {
	return func() (string, error) {
		b := s.before(dentKey(dir, name), func(b []byte) error { _, err := decodeDent(b); return err })
		if b == nil {
			s.setDent(dir, name, dent{})
			return fmt.Sprintf("name %q in directory %d is gone: what it led to is not known", name, dir), nil
		}
		d, err := decodeDent(b)
		if err != nil {
			return "", err
		}
		s.setDent(dir, name, d)
		return fmt.Sprintf("name %q in directory %d leads to inode %d again", name, dir, d.ino), nil
	}
}

// mendLost brings an inode back as it last was, or takes away the name that leads nowhere.
func (s *Store) mendLost(dir Ino, name string, ino Ino) repair {
	return func() (string, error) {
		if what, err := s.mendInode(ino)(); what != "" || err != nil {
			return what, err
		}
		if _, err := s.node(ino); err == nil {
			return "", nil // another of its names has brought it back
		}
		s.setDent(dir, name, dent{})
		return fmt.Sprintf("name %q in directory %d is gone: it led to inode %d, of which nothing is left", name, dir, ino), nil
	}
}

func (s *Store) mendInode(ino Ino) repair {
	return func() (string, error) {
		key := inoKey(ino)
		if _, ok := s.open.puts[string(key)]; ok {
			return "", nil
		}
		b := s.before(key, func(b []byte) error { _, err := decodeInode(b); return err })
		if b == nil {
			return "", nil
		}
		s.open.puts[string(key)] = b
		s.open.puts[string(draftKey(ino))] = []byte{} // whether it has one or not
		return fmt.Sprintf("inode %d is as its last readable record says", ino), nil
	}
}

// mendNameless gives an inode its name back, or another in the directory that it was in
// or in the first of its scope.
func (s *Store) mendNameless(ino, home Ino) repair {
	return func() (string, error) {
		n, err := s.node(ino)
		if err != nil {
			return "", err
		}
		dir, name := n.parent, n.name
		if p, err := s.node(dir); err != nil || !isDir(p.mode) || p.nlink == 0 || dir == ino {
			dir = home
		}
		if dir == 0 || dir == ino {
			return "", nil
		}
		if name == "" || strings.Contains(name, "/") {
			name = fmt.Sprintf("lost-%d", ino)
		}
		if _, taken, err := s.dent(dir, name); err != nil {
			return "", err
		} else if taken {
			name = fmt.Sprintf("%.200s.lost-%d", name, ino)
		}
		s.setDent(dir, name, dent{ino: ino, typ: n.mode & unix.S_IFMT})
		s.touch(n)
		n.parent, n.name = dir, name
		return fmt.Sprintf("inode %d is %q in directory %d", ino, name, dir), nil
	}
}

func (s *Store) mendLinks(ino Ino, links uint32) repair {
	return func() (string, error) {
		n, err := s.node(ino)
		if err != nil {
			return "", err
		}
		s.touch(n)
		n.nlink = links
		return fmt.Sprintf("inode %d says that it has %d links", ino, links), nil
	}
}

// newest finds an object's newest version that may be read; nil if there is none.
func (s *Store) newest(obj ID) (*version, error) {
	vs, err := s.versions(obj)
	if err != nil {
		return nil, err
	}
	for i := len(vs) - 1; i >= 0; i-- {
		if v := vs[i]; !v.loser && !v.shut() {
			return v, nil
		}
	}
	return nil, nil
}

// mendVersionOf has a file show the newest version that is there.
func (s *Store) mendVersionOf(ino Ino) repair {
	return func() (string, error) {
		n, err := s.node(ino)
		if err != nil {
			return "", err
		}
		v, err := s.newest(n.object)
		if v == nil || err != nil {
			return "", err
		}
		s.touch(n)
		n.inode.version, n.size = v.id, v.size
		return fmt.Sprintf("inode %d shows version %s, the newest that is there", ino, v.id), nil
	}
}

func (s *Store) mendCurrent(obj ID) repair {
	return func() (string, error) {
		v, err := s.newest(obj)
		if v == nil || err != nil {
			return "", err
		}
		o, err := s.editObject(obj)
		if err != nil {
			return "", err
		}
		o.current = v.id
		return fmt.Sprintf("object %s has version %s as its current one, the newest that is there", obj, v.id), nil
	}
}

// damaged tells whether bytes are other ones or gone for good; a disk that cannot be read
// at this moment says nothing of them.
func damaged(err error) bool {
	for _, sure := range []error{ErrIntegrity, kv.ErrNotFound, blob.ErrNoStaging, blob.ErrNotHot} {
		if errors.Is(err, sure) {
			return true
		}
	}
	return false
}

// mendContent puts a version in quarantine, so that nobody takes damaged bytes for good ones.
func (s *Store) mendContent(v *version) repair {
	return func() (string, error) {
		s.fence(map[ID]ID{v.id: v.object}, Cred{}, chunkIntegrityFailure)
		shows := "nothing earlier is there to show instead"
		if o, err := s.object(v.object); err == nil && o.current != v.id {
			shows = fmt.Sprintf("version %s is current", o.current)
		}
		return fmt.Sprintf("version %s of object %s is in quarantine: %s", v.id, v.object, shows), nil
	}
}

// mendReleased ends the quarantine of a version that is whole again: the disk below was at
// fault, or somebody has written the same bytes.
func (s *Store) mendReleased(v *version) repair {
	return func() (string, error) {
		if err := s.reinstate(v); err != nil {
			return "", err
		}
		s.release(v, VerifiedState, Cred{}, "a check of all its bytes")
		return fmt.Sprintf("version %s of object %s is whole again, and in quarantine no more", v.id, v.object), nil
	}
}

func (s *Store) mendUsage(sc Scope, u Usage) repair {
	return func() (string, error) {
		s.quota.usage[sc] = u
		s.quota.dirty[sc] = true
		return fmt.Sprintf("%s %s %s is said to take up %d bytes in %d files", sc.Kind, sc.Group, sc.User, u.Bytes, u.Files), nil
	}
}
