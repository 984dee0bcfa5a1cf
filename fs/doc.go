// Package fs is the mount: what the kernel asks through FUSE, answered from
// the store and from projections (design §3, filesystem.md §8).
//
// Its nouns. A caller is the process behind a request, resolved to a subject.
// A stored thing is an inode of the store; the kernel may remember it for an
// hour, because nobody but the kernel and this package's notices changes it. A
// virtual node is a thing that is computed when it is asked for: the kernel
// remembers nothing of it, so that it may differ from caller to caller. A
// place is where in the closed layout a path stands; it decides what may be
// made, moved or removed there. The gate is asked for policy, and a denial is
// what leaves evidence when something is refused.
//
// The kernel caches what it was told and shares it between users: a rule that
// cannot be said in owner and mode cannot be enforced at lookup. Stored
// directories therefore carry real owners and modes, per-caller answers are
// given by projections only, and policy is asked where the kernel always
// calls: open, opendir, create, mkdir, rename, unlink, setxattr, setattr.
package fs
