package objects

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// unfinished is what an earlier run has left to do.
type unfinished struct {
	drafted []*inode
	staged  []*version
	dropped []Ino           // large drafts that a power cut has taken
	named   map[string]bool // staging files that are needed
	stale   [][]byte        // notes of what needs nothing any more
}

func (u *unfinished) inode(n *inode, lost bool) {
	if !n.drafted || n.nlink == 0 {
		return
	}
	id := n.large().staging
	if lost && id != "" && !n.toSynced() {
		u.dropped = append(u.dropped, n.ino)
		return
	}
	u.drafted = append(u.drafted, n)
	if id != "" {
		u.named[id] = true
	}
}

func (u *unfinished) version(v *version) {
	if v.staging != "" {
		u.named[v.staging] = true
		u.staged = append(u.staged, v)
	}
}

// What m-open holds: of a run that notes what the next start must look at, and of one that
// was ended in order and has left nothing. Older programs leave none when they end.
const (
	openNoted   = 2
	closedWhole = 3
)

// openMark says how an earlier run ended: 0 is in order, with what older programs left.
func (s *Store) openMark() byte {
	b, err := s.view.Get([]byte("m-open"))
	if err != nil || len(b) != 1 {
		return 0
	}
	return b[0]
}

// checkNotes has tests find what is left both ways.
var checkNotes = false

// leftBy finds what an earlier run left, of which there are these staging files. A run that
// was ended in order has left at most versions that are not hashed.
func (s *Store) leftBy(mark byte, names []string, lost bool) (*unfinished, error) {
	switch {
	case mark == openNoted:
		u, err := s.noted(lost)
		if err == nil && checkNotes {
			err = s.checkNotes(u, lost)
		}
		return u, err
	case len(names) > 0 || mark != 0 && mark != closedWhole:
		return s.searched(s.view, lost)
	}
	return &unfinished{}, nil
}

func (s *Store) checkNotes(u *unfinished, lost bool) error {
	all, err := s.searched(s.view, lost)
	if err == nil && (len(all.drafted) != len(u.drafted) || len(all.staged) != len(u.staged) || len(all.dropped) != len(u.dropped)) {
		return fmt.Errorf("%d drafts, %d versions and %d lost ones are noted, there are %d, %d and %d",
			len(u.drafted), len(u.staged), len(u.dropped), len(all.drafted), len(all.staged), len(all.dropped))
	}
	return err
}

// noted finds what is left by the notes of it: as many records are read as there are.
func (s *Store) noted(lost bool) (*unfinished, error) {
	u := &unfinished{named: map[string]bool{}}
	for k := range s.view.ScanKeys([]byte("ni"), nil) {
		b, err := s.view.Get(inoKey(Ino(binary.BigEndian.Uint64(k[2:]))))
		if errors.Is(err, kv.ErrNotFound) {
			u.stale = append(u.stale, slices.Clone(k))
			continue
		}
		if err != nil {
			return nil, err
		}
		n, err := decodeInode(b)
		if err != nil {
			return nil, err
		}
		if !n.drafted {
			u.stale = append(u.stale, slices.Clone(k))
		}
		u.inode(n, lost)
	}
	for k := range s.view.ScanKeys([]byte("nv"), nil) {
		id := ID{kind: 'v'}
		copy(id.u[:], k[2:])
		s.mu.Lock()
		v, err := s.findVersion(id)
		s.mu.Unlock()
		if errors.Is(err, ErrNotFound) || err == nil && v.staging == "" {
			u.stale = append(u.stale, slices.Clone(k))
			continue
		}
		if err != nil {
			return nil, err
		}
		u.version(v)
	}
	return u, s.view.Err()
}

// searched finds it among all records.
func (s *Store) searched(view *kv.View, lost bool) (*unfinished, error) {
	u := &unfinished{named: map[string]bool{}}
	for _, b := range view.Scan([]byte{'i'}, nil) {
		if s.stopping() {
			return nil, errStopped
		}
		n, err := decodeInode(b)
		if err != nil {
			return nil, err
		}
		u.inode(n, lost)
	}
	for _, b := range view.Scan([]byte{'v'}, nil) {
		if s.stopping() {
			return nil, errStopped
		}
		v, err := decodeVersion(b)
		if err != nil {
			return nil, err
		}
		u.version(v)
	}
	return u, view.Err()
}

var errStopped = errors.New("the store is being closed")

func (s *Store) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// sweepPatience is how long a start waits until staging files are gone that nothing needs.
const sweepPatience = 300 * time.Millisecond

// sweepStaging removes the staging files that an earlier run left and nothing names. Where
// what is named follows from the notes, all records are looked through first, since a file
// that is gone is gone for good; of a large store that goes on after the start.
func (s *Store) sweepStaging(names []string, named map[string]bool, notes bool) error {
	names = slices.DeleteFunc(names, func(n string) bool { return named[n] })
	if len(names) == 0 {
		return nil
	}
	remove := func(named map[string]bool) error {
		for _, name := range names {
			if named[name] {
				continue
			}
			if err := s.blobs.RemoveStaging(name); err != nil {
				return err
			}
		}
		return nil
	}
	if !notes {
		return remove(nil)
	}
	view := s.db.View()
	done := make(chan error, 1)
	s.goWork(func() {
		defer view.Close()
		all, err := s.searched(view, false)
		if err == nil {
			err = remove(all.named)
		}
		if err != nil && !errors.Is(err, errStopped) {
			s.o.Logger.Warn("staging files of an earlier run stay", "error", err)
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-time.After(sweepPatience):
		return nil
	}
}
