package objects

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Pin is a named snapshot: the whole tree as it was at a time, kept whatever retention
// says, with all that has changed since (T-4: it is not one picture that is held, but
// the history from there on).
type Pin struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
	By   string    `json:"created_by"`
}

func pinKey(name string) []byte { return append([]byte{'S'}, name...) }

// pins are the named snapshots of the store, with the views that hold their history.
type pins struct {
	byName map[string]Pin
	views  map[string]*kv.View
}

// loadPins takes the named snapshots up again at the start.
func (s *Store) loadPins() error {
	s.pinned = pins{map[string]Pin{}, map[string]*kv.View{}}
	for k, b := range s.view.Scan([]byte{'S'}, nil) {
		var p Pin
		if err := json.Unmarshal(b, &p); err != nil {
			return fmt.Errorf("named snapshot %q: %w", k[1:], err)
		}
		v, err := s.db.ViewAt(kv.At(p.Time))
		if err != nil {
			s.o.Logger.Error("a named snapshot cannot be read", "name", p.Name, "error", err)
			continue
		}
		s.pinned.byName[p.Name], s.pinned.views[p.Name] = p, v
	}
	return s.view.Err()
}

func (s *Store) dropPins() {
	for _, v := range s.pinned.views {
		v.Close()
	}
}

// pinViews are the views of all named snapshots; s.mu is held.
func (s *Store) pinViews() []*kv.View {
	var l []*kv.View
	for _, v := range s.pinned.views {
		l = append(l, v)
	}
	return l
}

// ValidPinName says whether a snapshot can have a name.
func ValidPinName(name string) bool {
	return name != "" && len(name) <= 100 && name[0] != '.' && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f })
}

// CreatePin names the tree as it is now.
func (s *Store) CreatePin(c Cred, name string) (Pin, error) {
	if !ValidPinName(name) {
		return Pin{}, fmt.Errorf("a snapshot's name has 1 to 100 visible characters and no slash: %w", ErrInvalid)
	}
	if err := s.commit(bg); err != nil {
		return Pin{}, err
	}
	s.mu.Lock()
	if err := s.writable(); err != nil {
		s.mu.Unlock()
		return Pin{}, err
	}
	if _, ok := s.pinned.byName[name]; ok {
		s.mu.Unlock()
		return Pin{}, ErrExist
	}
	v := s.db.View()
	p := Pin{name, v.Time(), c.Subject}
	b, err := json.Marshal(p)
	if err != nil {
		v.Close()
		s.mu.Unlock()
		return Pin{}, err
	}
	s.pinned.byName[name], s.pinned.views[name] = p, v
	s.open.puts[string(pinKey(name))] = b
	s.mu.Unlock()
	return p, s.commit(bg)
}

// DeletePin forgets a named snapshot; what it alone held goes with the next passes.
func (s *Store) DeletePin(name string) error {
	s.mu.Lock()
	v, ok := s.pinned.views[name]
	if !ok {
		s.mu.Unlock()
		return ErrNotFound
	}
	delete(s.pinned.byName, name)
	delete(s.pinned.views, name)
	s.open.puts[string(pinKey(name))] = nil
	s.mu.Unlock()
	v.Close()
	return s.commit(bg)
}

// Pins lists the named snapshots, oldest first.
func (s *Store) Pins() []Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []Pin
	for _, p := range s.pinned.byName {
		l = append(l, p)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].Time.Before(l[j].Time) })
	return l
}

// PinTime is when a named snapshot was made.
func (s *Store) PinTime(name string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pinned.byName[name]
	return p.Time, ok
}

func (s *Store) isPinned(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pinned.byName {
		if p.Time.Equal(t) {
			return true
		}
	}
	return false
}
