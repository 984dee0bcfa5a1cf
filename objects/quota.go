package objects

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unique"

	"github.com/ai-os-dot-net/aios/evidence"
	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/objects/internal/kv"
)

// Quotas bound what lives in a scope: the sizes of its files as they are now, and how
// many files, directories and links there are. Earlier versions and what was removed are
// not counted, or removing would never free anything (T-15). A group's quota holds for
// all below its directory, its users' included; a user's for his own.
//
// What a scope uses is kept in memory, follows every change, and is written with each
// epoch; Fsck counts it anew.

// ErrQuota is a change that would take more than the scope's quota allows.
var ErrQuota = errors.New("the quota of the place is used up")

// Quota is the limit of a scope; 0 means none.
type Quota struct {
	Bytes int64 `json:"bytes,omitempty"`
	Files int64 `json:"files,omitempty"`
}

// Usage is what a scope takes up.
type Usage struct {
	Bytes int64 `json:"bytes"`
	Files int64 `json:"files"`
}

// ParseQuota reads `bytes=10G,files=1000000`: either may be left out; K, M, G and T are
// powers of 1024.
func ParseQuota(text string) (Quota, error) {
	var q Quota
	for _, part := range strings.Split(text, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		shift := 0
		if ok && v != "" {
			if i := strings.IndexByte("KMGT", v[len(v)-1]); i >= 0 {
				v, shift = v[:len(v)-1], 10*(i+1)
			}
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if !ok || err != nil || n <= 0 || n > math.MaxInt64>>shift {
			return q, fmt.Errorf("quota %q is not like bytes=10G,files=1000000: %w", text, ErrInvalid)
		}
		switch k {
		case "bytes":
			q.Bytes = n << shift
		case "files":
			q.Files = n << shift
		default:
			return q, fmt.Errorf("quota %q bounds %q, which is neither bytes nor files: %w", text, k, ErrInvalid)
		}
	}
	return q, nil
}

// String is the form that ParseQuota reads.
func (q Quota) String() string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("bytes=%d", q.Bytes))
	}
	if q.Files > 0 {
		parts = append(parts, fmt.Sprintf("files=%d", q.Files))
	}
	return strings.Join(parts, ",")
}

// counted is what of an inode its scope's usage holds.
type counted struct {
	scope unique.Handle[Scope] // of a live one
	size  int64
	live  bool
}

func countOf(n *inode) counted {
	if n.nlink == 0 {
		return counted{}
	}
	c := counted{unique.Make(n.scope), 0, true}
	if isRegular(n.mode) {
		c.size = n.size
	}
	return c
}

// quotas is the usage and the limits of all scopes; guarded by Store.mu.
type quotas struct {
	usage  map[Scope]Usage
	dirty  map[Scope]bool
	limits map[Scope]Quota
}

// scopesOf are the scopes whose usage an inode of this scope belongs to.
func scopesOf(sc Scope) []Scope {
	switch sc.Kind {
	case ScopeGroup:
		return []Scope{sc}
	case ScopeUser:
		return []Scope{sc, {Kind: ScopeGroup, Group: sc.Group}}
	case ScopeTrash: // what programs note about the trash is its owner's
		if sc.User == "" {
			return nil
		}
		return []Scope{{ScopeUser, sc.Group, sc.User}, {Kind: ScopeGroup, Group: sc.Group}}
	}
	return nil
}

func quotaKey(kind byte, sc Scope) []byte {
	return append([]byte{'Q', kind, byte(sc.Kind)}, sc.Group+"\x00"+sc.User...)
}

func scopeOfKey(k []byte) Scope {
	g, u, _ := strings.Cut(string(k[3:]), "\x00")
	return Scope{ScopeKind(k[2]), g, u}
}

func encodePair(a, b int64) []byte {
	return binary.AppendVarint(binary.AppendVarint(nil, a), b)
}

func decodePair(v []byte) (a, b int64) {
	a, n := binary.Varint(v)
	if n > 0 {
		b, _ = binary.Varint(v[n:])
	}
	return a, b
}

// loadQuotas reads usage and limits at the start; a store from before they were kept is
// counted once.
func (s *Store) loadQuotas(ctx context.Context) error {
	q := &s.quota
	q.usage, q.dirty, q.limits = map[Scope]Usage{}, map[Scope]bool{}, map[Scope]Quota{}
	for k, v := range s.view.Scan([]byte("Ql"), nil) {
		a, b := decodePair(v)
		q.limits[scopeOfKey(k)] = Quota{a, b}
	}
	if ok, err := s.view.Has([]byte("m-usage")); err != nil {
		return err
	} else if ok {
		for k, v := range s.view.Scan([]byte("Qu"), nil) {
			a, b := decodePair(v)
			q.usage[scopeOfKey(k)] = Usage{a, b}
		}
		return s.view.Err()
	}
	counted, err := countUsage(s.view)
	if err != nil || s.o.ReadOnly {
		q.usage = counted
		return err
	}
	s.mu.Lock()
	q.usage = counted
	for sc := range counted {
		q.dirty[sc] = true
	}
	s.open.puts["m-usage"] = []byte{1}
	s.mu.Unlock()
	return s.commit(ctx)
}

// countUsage counts what every scope takes up from the inodes alone.
func countUsage(v *kv.View) (map[Scope]Usage, error) {
	m := map[Scope]Usage{}
	for _, b := range v.Scan([]byte{'i'}, nil) {
		n, err := decodeInode(b)
		if err != nil {
			return nil, err
		}
		c := countOf(n)
		if !c.live {
			continue
		}
		for _, sc := range scopesOf(c.scope.Value()) {
			u := m[sc]
			m[sc] = Usage{u.Bytes + c.size, u.Files + 1}
		}
	}
	return m, v.Err()
}

// count brings the usage up to what an inode is now; s.mu is held.
func (s *Store) count(n *node) { s.countAs(n, countOf(&n.inode)) }

func (s *Store) countAs(n *node, now counted) {
	if now == n.counted {
		return
	}
	s.quota.add(n.counted, -1)
	s.quota.add(now, 1)
	n.counted = now
}

func (q *quotas) add(c counted, sign int64) {
	if !c.live {
		return
	}
	for _, sc := range scopesOf(c.scope.Value()) {
		u := q.usage[sc]
		q.usage[sc] = Usage{u.Bytes + sign*c.size, u.Files + sign}
		q.dirty[sc] = true
	}
}

// putUsage writes what changed into the epoch that is being closed; s.mu is held.
func (s *Store) putUsage(ov *overlay) {
	for _, n := range ov.inodes {
		s.count(n)
	}
	for sc := range s.quota.dirty {
		u := s.quota.usage[sc]
		ov.puts[string(quotaKey('u', sc))] = encodePair(u.Bytes, u.Files)
	}
	clear(s.quota.dirty)
}

// room refuses to take more of a scope than its quotas leave; s.mu is held.
func (s *Store) room(scope Scope, bytes, files int64) error {
	if len(s.quota.limits) == 0 {
		return nil
	}
	for _, sc := range scopesOf(scope) {
		q, u := s.quota.limits[sc], s.quota.usage[sc]
		if bytes > 0 && q.Bytes > 0 && u.Bytes+bytes > q.Bytes || files > 0 && q.Files > 0 && u.Files+files > q.Files {
			return fmt.Errorf("%s of %s %s has %s: %w", sc.Kind, sc.Group, sc.User, q, ErrQuota)
		}
	}
	return nil
}

// grow reserves what a file takes that is about to end at `end`, before it is written.
// What was reserved and is not used is given back by the next count.
func (s *Store) grow(n *node, end int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.quota.limits) == 0 || n.nlink == 0 {
		return nil
	}
	now := n.counted
	if !now.live {
		now = countOf(&n.inode)
	}
	if end <= now.size {
		return nil
	}
	if err := s.room(n.scope, end-now.size, 0); err != nil {
		return err
	}
	now.size = end
	s.countAs(n, now)
	return nil
}

// SetQuota sets the limit of a scope, none with a zero Quota, and leaves evidence.
func (s *Store) SetQuota(c Cred, scope Scope, q Quota) error {
	if scope.Kind != ScopeGroup && scope.Kind != ScopeUser || q.Bytes < 0 || q.Files < 0 {
		return fmt.Errorf("only a group or a user has a quota: %w", ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	key := string(quotaKey('l', scope))
	if q == (Quota{}) {
		delete(s.quota.limits, scope)
		s.open.puts[key] = nil
	} else {
		s.quota.limits[scope] = q
		s.open.puts[key] = encodePair(q.Bytes, q.Files)
	}
	s.open.emit = append(s.open.emit, evidence.Draft{
		ID: s.evidenceID(), Type: record.ExecutionCompleted, Emitter: "adapter", Subject: c.Subject, SubjectIsAI: c.IsAI, Session: c.Session, Scope: "_system",
		Payload: map[string]any{"detail_kind": "AIOSFS_QUOTA_SET", "outcome": "SUCCEEDED", "adapter_id": "aiosfs", "scope": scope.Kind.String(), "target_group_id": scope.Group, "target_user_id": scope.User,
			"quota": q.String()},
	})
	return nil
}

// QuotaOf gives a scope's limit and what it takes up.
func (s *Store) QuotaOf(scope Scope) (Quota, Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota.limits[scope], s.quota.usage[scope]
}

// Headroom is how many bytes a file may grow before a quota refuses; MaxInt64 where none
// holds. A handle whose writes the store does not see must not be given for a file that
// is near it.
func (s *Store) Headroom(ino Ino) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := int64(math.MaxInt64)
	n, err := s.node(ino)
	if err != nil || len(s.quota.limits) == 0 {
		return room
	}
	for _, sc := range scopesOf(n.scope) {
		if q := s.quota.limits[sc]; q.Bytes > 0 {
			room = min(room, max(0, q.Bytes-s.quota.usage[sc].Bytes))
		}
	}
	return room
}

// limited tells whether a quota bounds the bytes of a file's scope.
func (s *Store) limited(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range scopesOf(n.scope) {
		if s.quota.limits[sc].Bytes > 0 {
			return true
		}
	}
	return false
}

// StatFSAt is StatFS as a place sees it: a quota there is the size of the file system.
func (s *Store) StatFSAt(ino Ino) (StatFS, error) {
	st, err := s.StatFS()
	if err != nil {
		return st, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.node(ino)
	if err != nil || len(s.quota.limits) == 0 {
		return st, nil
	}
	for _, sc := range scopesOf(n.scope) {
		q, u := s.quota.limits[sc], s.quota.usage[sc]
		if bs := int64(st.BlockSize); q.Bytes > 0 {
			free := uint64(max(0, q.Bytes-u.Bytes) / bs)
			st.Available, st.Free = min(st.Available, free), min(st.Free, free)
			st.Blocks = min(st.Blocks, uint64((q.Bytes+bs-1)/bs))
		}
		if q.Files > 0 {
			st.FilesFree = min(st.FilesFree, uint64(max(0, q.Files-u.Files)))
			st.Files = min(st.Files, uint64(q.Files))
		}
	}
	return st, nil
}
