package fs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// Caller is who asks: the kernel's word for the ids, and the subject that the
// identity catalogue binds to them. It is resolved when a file is opened and
// kept in its handle; what comes later for that handle may come from another
// process, or from none.
type Caller struct {
	UID, GID, PID uint32
	// Groups are the supplementary groups of the process; they are known where
	// something is decided by them: in projections and the closed layout.
	Groups  []uint32
	Subject identity.Subject
}

func (c Caller) cred() objects.Cred {
	return objects.Cred{UID: c.UID, GID: c.GID, Subject: c.Subject.ID, IsAI: c.Subject.IsAI}
}

// masked is the caller who makes something: the store takes the umask away where no
// default list says otherwise (CAP_DONT_MASK).
func (c Caller) masked(umask uint32) objects.Cred {
	cred := c.cred()
	cred.Umask = umask
	return cred
}

// in tells whether the process has a group.
func (c Caller) in(gid uint32) bool {
	if c.GID == gid {
		return true
	}
	groups := c.Groups
	if groups == nil && c.UID != 0 {
		groups = groupsOf(c.PID) // plain file work does not look at the process otherwise
	}
	return slices.Contains(groups, gid)
}

// callers remembers who processes are. An entry is used without looking for a
// short time, then checked against the process' start time, so that a reused
// process id is not taken for its predecessor (policy.md §9.1).
type callers struct {
	identity func() *identity.Catalog
	agent    string
	recovery bool
	now      func() time.Time

	mu   sync.Mutex
	seen map[callerKey]*callerEntry

	subMu    sync.RWMutex
	subjects map[ownerKey]subjectEntry
}

type ownerKey struct{ uid, gid uint32 }

// subjectEntry is what a catalogue made of a uid and a gid.
type subjectEntry struct {
	identity.Subject
	err     error
	catalog *identity.Catalog
}

type callerKey struct{ pid, uid, gid uint32 }

type callerEntry struct {
	Caller
	err     error
	started string
	checked time.Time
	catalog *identity.Catalog
}

const (
	// callerTrust is how long a resolved caller is used without asking
	// /proc: process ids are not reused within it under pid_max ≥ 32768.
	callerTrust = time.Second
	// callerMax bounds the cache.
	callerMax = 4096
)

func newCallers(identity func() *identity.Catalog, agent string, recovery bool, now func() time.Time) *callers {
	return &callers{identity: identity, agent: agent, recovery: recovery, now: now, seen: map[callerKey]*callerEntry{}, subjects: map[ownerKey]subjectEntry{}}
}

// subject resolves the ids that the kernel gives with a request. It is all
// that plain file work needs: the process is not looked at, which would cost
// every short-lived one three reads of /proc.
func (cs *callers) subject(h *fuse.InHeader) (Caller, error) {
	k, cat := ownerKey{h.Uid, h.Gid}, cs.identity()
	cs.subMu.RLock()
	e, ok := cs.subjects[k]
	cs.subMu.RUnlock()
	if !ok || e.catalog != cat {
		e = subjectEntry{catalog: cat}
		e.Subject, e.err = cat.Resolve(identity.Caller{UID: h.Uid, GID: h.Gid, AgentID: cs.agent, Recovery: cs.recovery})
		if e.err != nil {
			e.err = fmt.Errorf("resolve uid %d: %w: %w", h.Uid, ErrDenied, e.err)
		}
		cs.subMu.Lock()
		if len(cs.subjects) >= callerMax {
			clear(cs.subjects)
		}
		cs.subjects[k] = e
		cs.subMu.Unlock()
	}
	return Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid, Subject: e.Subject}, e.err
}

// of resolves the caller of a request, with the groups of its process. An error means that the catalogue
// knows no subject for it.
func (cs *callers) of(h *fuse.InHeader) (Caller, error) {
	k := callerKey{h.Pid, h.Uid, h.Gid}
	now, cat := cs.now(), cs.identity()
	cs.mu.Lock()
	e := cs.seen[k]
	if e != nil && e.catalog == cat && now.Sub(e.checked) < callerTrust {
		cs.mu.Unlock()
		return e.Caller, e.err
	}
	cs.mu.Unlock()
	started := startTime(h.Pid)
	if e == nil || e.catalog != cat || started == "" || e.started != started {
		e = &callerEntry{started: started, catalog: cat}
		e.Caller = Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid, Groups: groupsOf(h.Pid)}
		e.Subject, e.err = cat.Resolve(identity.Caller{UID: h.Uid, GID: h.Gid, PID: h.Pid, Groups: e.Groups, AgentID: cs.agent, Recovery: cs.recovery})
		if e.err != nil {
			e.err = fmt.Errorf("resolve uid %d: %w: %w", h.Uid, ErrDenied, e.err)
		}
		if startTime(h.Pid) != started {
			e.started = "" // it ended meanwhile: do not believe this twice
		}
	} else {
		fresh := *e
		e = &fresh
	}
	e.checked = now
	cs.mu.Lock()
	if len(cs.seen) >= callerMax {
		clear(cs.seen)
	}
	cs.seen[k] = e
	cs.mu.Unlock()
	return e.Caller, e.err
}

func (cs *callers) forget() {
	cs.mu.Lock()
	clear(cs.seen)
	cs.mu.Unlock()
	cs.subMu.Lock()
	clear(cs.subjects)
	cs.subMu.Unlock()
}

// startTime is field 22 of /proc/pid/stat, "" for a process that is gone or
// that lives in a namespace we do not see.
func startTime(pid uint32) string {
	if pid == 0 {
		return ""
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return ""
	}
	return f[19] // the fields after the name start at number 3
}

// groupsOf reads the supplementary groups of a process; none when it is gone.
func groupsOf(pid uint32) []uint32 {
	if pid == 0 {
		return nil
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/status")
	if err != nil {
		return nil
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		list, ok := strings.CutPrefix(line, "Groups:")
		if !ok {
			continue
		}
		var gids []uint32
		for _, f := range strings.Fields(list) {
			if n, err := strconv.ParseUint(f, 10, 32); err == nil {
				gids = append(gids, uint32(n))
			}
		}
		return gids
	}
	return nil
}
