// Package objects is the store: a POSIX tree in which nothing is lost (design §2).
//
// Its nouns. An inode is what POSIX sees: mode, owner, times, links. A dentry binds a
// name in a directory to an inode. An object is the identity behind an inode: it has
// labels, a privacy class and a history, and it outlives the inode when a program
// saves by renaming a new file over an old one. A version is the immutable content
// of an object at one close; pointers name versions (S1.3). A draft is the open,
// unversioned state of a file that is being written. A transaction is what one
// subject changed in one epoch. A snapshot is the whole tree as it was at a time.
//
// Changes apply to tables in memory and join the open epoch, which becomes one
// atomic commit after at most a second, or at an fsync, whichever is first. After a
// crash the tree is exactly some epoch, and nothing that was synced is missing.
// Evidence of a change is written inside its commit and handed to the log after it
// (the outbox), so there is never one without the other.
//
// FORMAT.md describes the bytes on disk.
package objects

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Errors of the store; fs maps each to an errno in one table.
var (
	ErrNotFound     = errors.New("no such file or directory")
	ErrExist        = errors.New("it exists already")
	ErrNotDir       = errors.New("not a directory")
	ErrIsDir        = errors.New("is a directory")
	ErrNotEmpty     = errors.New("the directory is not empty")
	ErrCrossScope   = errors.New("the other place belongs to another scope")
	ErrStale        = errors.New("the base version is no longer current")
	ErrPermission   = errors.New("not permitted")
	ErrReadOnly     = errors.New("the store is read-only")
	ErrNoSpace      = errors.New("no space left in the store")
	ErrInvalid      = errors.New("invalid argument")
	ErrNameTooLong  = errors.New("the name is longer than 255 bytes")
	ErrNoXattr      = errors.New("no such extended attribute")
	ErrRange        = errors.New("too large")
	ErrTooManyLinks = errors.New("too many links")
	ErrHorizon      = errors.New("the time lies before the history that is kept")
	ErrIntegrity    = errors.New("stored bytes do not match their hash")
	ErrBusy         = errors.New("in use")
)

// Ino is an inode number; it is never used again for another inode.
type Ino uint64

// RootIno is the root of the tree.
const RootIno Ino = 1

// ID is an object's, version's, transaction's, pointer's or conflict's identifier: a
// prefix and a ULID (OM §3.1).
type ID struct {
	kind byte
	u    ulid.ULID
}

var idPrefixes = map[byte]string{'o': "obj_", 'v': "ver_", 't': "txn_", 'p': "ptr_", 'c': "cnf_"}

// idEntropy makes ULIDs of one millisecond strictly increasing: versions of one
// object sort by the order in which they were made.
var idEntropy = struct {
	sync.Mutex
	m *ulid.MonotonicEntropy
}{m: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 1<<10), 0)} // one read of the system's for a hundred ids

func newID(kind byte, now time.Time) ID {
	idEntropy.Lock()
	defer idEntropy.Unlock()
	return ID{kind, ulid.MustNew(ulid.Timestamp(now), idEntropy.m)}
}

// String gives the text form; the zero ID is "".
func (id ID) String() string {
	if id.kind == 0 {
		return ""
	}
	return idPrefixes[id.kind] + id.u.String()
}

// IsZero says that the ID names nothing.
func (id ID) IsZero() bool { return id.kind == 0 }

// Time is when the ID was made, in milliseconds.
func (id ID) Time() time.Time { return ulid.Time(id.u.Time()).UTC() }

// MarshalText makes IDs strings in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseID reads the text form of any of the kinds.
func ParseID(s string) (ID, error) {
	for k, p := range idPrefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			u, err := ulid.ParseStrict(rest)
			if err != nil {
				return ID{}, fmt.Errorf("%q is not an identifier: %w", s, ErrInvalid)
			}
			return ID{k, u}, nil
		}
	}
	return ID{}, fmt.Errorf("%q is not an identifier: %w", s, ErrInvalid)
}

// Cred says whom a change is attributed to. The store checks no permission with it:
// that is fs' and policy's; it is written into the transaction and its evidence.
type Cred struct {
	UID, GID uint32
	Subject  string // canonical id, `family:alice`
	IsAI     bool
	Session  string
	// Umask is taken from the mode of what is made, unless the directory has a default
	// access control list.
	Umask uint32
}

// ScopeKind is the kind of place that an object belongs to for life (S4.1).
type ScopeKind uint8

// The scope kinds; the zero one is the tree above the scopes.
const (
	ScopeNone   ScopeKind = 0
	ScopeSystem ScopeKind = 1
	ScopeGroup  ScopeKind = 2
	ScopeUser   ScopeKind = 3
)

// String gives the reference's name.
func (k ScopeKind) String() string {
	return [...]string{"", "SYSTEM", "GROUP", "USER"}[min(k, 3)] // a trash can is its user's
}

// Scope is the place that an object belongs to (ScopeBinding, OM §21.1). It is
// inherited from the directory that the object is made in and never changes.
type Scope struct {
	Kind        ScopeKind
	Group, User string
}

// Attr is what POSIX and the object model know of an inode.
type Attr struct {
	Ino                        Ino
	Gen                        uint64
	Mode                       uint32 // with the S_IFMT bits
	Nlink, UID, GID            uint32
	Rdev                       uint32
	Size, Blocks               int64 // bytes; units of 512 bytes
	Atime, Mtime, Ctime, Btime time.Time
	Object, Version            ID // Version is the current one, zero where there is none
	Scope                      Scope
	ACL                        string // the access list's bytes, where it says more than Mode
	// Mapped says that the kernel has the file in a form in which a program may write it
	// through mmap: then nobody tells of a write, and size and times are as of now only.
	Mapped bool
}

// SetAttr says what SetAttr changes; a nil field stays. With all of them nil it is what
// chown(-1, -1) asks for: the time of change moves, a capability goes.
type SetAttr struct {
	Mode         *uint32 // permission bits, setuid, setgid, sticky
	UID, GID     *uint32
	Size         *int64
	Atime, Mtime *time.Time
}

// Kind is what an object is for (ObjectKind, with this project's two additions).
type Kind uint8

// The object kinds.
const (
	KindProject Kind = iota + 1
	KindApplication
	KindFile
	KindMemory
	KindPolicy
	KindModel
	KindPackage
	KindEvidenceRef
	KindWorkspace
	KindConfig
	KindView
	KindDirectory
)

var kindNames = []string{"", "PROJECT", "APPLICATION", "FILE", "MEMORY", "POLICY", "MODEL", "PACKAGE", "EVIDENCE_REF", "WORKSPACE", "CONFIG", "VIEW", "DIRECTORY"}

// String gives the reference's name.
func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// Kinds lists the names of all kinds.
func Kinds() []string { return append([]string{}, kindNames[1:]...) }

// Privacy is an object's privacy class; it may rise and never fall (OM §4).
type Privacy uint8

// The privacy classes, from open to closed.
const (
	Public Privacy = iota + 1
	Internal
	Sensitive
	SecretBearing
	Classified
)

var privacyNames = []string{"", "PUBLIC", "INTERNAL", "SENSITIVE", "SECRET_BEARING", "CLASSIFIED"}

// String gives the reference's name.
func (p Privacy) String() string { return privacyNames[min(int(p), len(privacyNames)-1)] }

// ParsePrivacy reads a class's name.
func ParsePrivacy(s string) (Privacy, error) {
	for i, n := range privacyNames {
		if i > 0 && n == s {
			return Privacy(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no privacy class (%s): %w", s, strings.Join(privacyNames[1:], ", "), ErrInvalid)
}

// Lifecycle is where an object is in its life (OM §4).
type Lifecycle uint8

// The lifecycle states.
const (
	Active  Lifecycle = 1
	Retired Lifecycle = 2
	Purged  Lifecycle = 3
)

// String gives the reference's name.
func (l Lifecycle) String() string {
	return [...]string{"", "ACTIVE", "RETIRED", "PURGED"}[min(l, 3)]
}

// VersionState is how far a version has come (OM §6).
type VersionState uint8

// The version states.
const (
	Staged         VersionState = 1
	VerifiedState  VersionState = 2
	Quarantined    VersionState = 3
	RetiredVersion VersionState = 4
)

// String gives the reference's name.
func (v VersionState) String() string {
	return [...]string{"", "STAGED", "VERIFIED", "QUARANTINED", "RETIRED_VERSION"}[min(v, 4)]
}

// Limits of names and links, as on other local file systems.
const (
	MaxName  = 255
	maxLinks = 65000
	maxXattr = 64 << 10 // one value, and the names together: listxattr(2) takes no more
	// maxXattrs bounds what all attributes of an inode hold: they lie in its record, which
	// every change of it writes.
	maxXattrs = 128 << 10
)
