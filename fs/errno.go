package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/objects"
)

// What this package and the sides behind its interfaces may answer; wrap them
// to say more. The table below gives each its number.
var (
	// ErrDenied is a refusal by policy: EACCES.
	ErrDenied = errors.New("denied by policy")
	// ErrImmutable is a thing that nobody may change: EPERM.
	ErrImmutable = errors.New("it cannot be changed")
	// ErrReadOnly is a virtual path or a snapshot: EROFS.
	ErrReadOnly = errors.New("read-only view")
	// ErrNotFound is a name that is not there: ENOENT.
	ErrNotFound = errors.New("not found")
	// ErrInvalid is a malformed document, query or value: EINVAL.
	ErrInvalid = errors.New("malformed")
	// ErrBusy is an intent of that name that still runs: EBUSY.
	ErrBusy = errors.New("still running")
	// ErrAgain is a queue that is full or a rate that is exceeded: EAGAIN.
	ErrAgain = errors.New("try again later")
	// ErrTooLarge is a document or a value over its limit: EFBIG.
	ErrTooLarge = errors.New("too large")
	// ErrUnhealthy is a store or log that no longer takes changes: EIO.
	ErrUnhealthy = errors.New("the store or the evidence log is unhealthy")
	// errNotSupported is an operation that the thing does not have.
	errNotSupported = errors.New("not supported")
	errNoXattr      = errors.New("no such attribute")
	errRange        = errors.New("the buffer is too small")
	errCrossScope   = errors.New("it belongs to another scope")
	errNotDir       = errors.New("not a directory")
	errIsDir        = errors.New("is a directory")
	errExist        = errors.New("it exists already")
	errBadHandle    = errors.New("not open for that")
	errSeek         = errors.New("beyond the end")
	errRetired      = fmt.Errorf("it was removed, and is kept to be read or restored: %w", ErrImmutable)
	errAccess       = errors.New("not yours")
	errNameTooLong  = errors.New("name too long")
	errNotOwner     = errors.New("only its owner may")
)

// errnoTable is the only place that knows numbers (contract §8). The first
// row that matches counts.
var errnoTable = []struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.EAGAIN},
	{ErrDenied, syscall.EACCES},
	{errAccess, syscall.EACCES},
	{ErrImmutable, syscall.EPERM},
	{ErrReadOnly, syscall.EROFS},
	{ErrNotFound, syscall.ENOENT},
	{ErrInvalid, syscall.EINVAL},
	{ErrBusy, syscall.EBUSY},
	{ErrAgain, syscall.EAGAIN},
	{ErrTooLarge, syscall.EFBIG},
	{ErrUnhealthy, syscall.EIO},
	{errNotSupported, syscall.EOPNOTSUPP},
	{errNoXattr, syscall.ENODATA},
	{errRange, syscall.ERANGE},
	{errCrossScope, syscall.EXDEV},
	{errNotDir, syscall.ENOTDIR},
	{errIsDir, syscall.EISDIR},
	{errExist, syscall.EEXIST},
	{errBadHandle, syscall.EBADF},
	{errSeek, syscall.ENXIO},
	{errNameTooLong, syscall.ENAMETOOLONG},
	{errNotOwner, syscall.EPERM},
	{objects.ErrQuarantined, syscall.EACCES},
	{objects.ErrIntegrity, syscall.EIO},
	{objects.ErrNotFound, syscall.ENOENT},
	{objects.ErrExist, syscall.EEXIST},
	{objects.ErrNotDir, syscall.ENOTDIR},
	{objects.ErrIsDir, syscall.EISDIR},
	{objects.ErrNotEmpty, syscall.ENOTEMPTY},
	{objects.ErrCrossScope, syscall.EXDEV},
	{objects.ErrStale, syscall.ESTALE},
	{objects.ErrPermission, syscall.EPERM},
	{objects.ErrReadOnly, syscall.EROFS},
	{objects.ErrNoSpace, syscall.ENOSPC},
	{objects.ErrQuota, syscall.EDQUOT},
	{objects.ErrNotSupported, syscall.EOPNOTSUPP},
	{objects.ErrNameTooLong, syscall.ENAMETOOLONG},
	{objects.ErrNoXattr, syscall.ENODATA},
	{objects.ErrRange, syscall.E2BIG},
	{objects.ErrTooManyLinks, syscall.EMLINK},
	{objects.ErrHorizon, syscall.ENOENT},
	{objects.ErrBusy, syscall.EBUSY},
	{objects.ErrInvalid, syscall.EINVAL},
}

// errnoOf gives an error its number; what the table does not know and is no
// errno itself is EIO.
func errnoOf(err error) syscall.Errno {
	if err == nil || err == io.EOF {
		return 0
	}
	var ie *IntentError
	if errors.As(err, &ie) {
		return syscall.EINVAL
	}
	// A log or store that waits for room on the disk is no damage: there is a word for it.
	if errors.Is(err, syscall.ENOSPC) {
		return syscall.ENOSPC
	}
	for _, row := range errnoTable {
		if errors.Is(err, row.err) {
			return row.errno
		}
	}
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EIO
}

func status(err error) fuse.Status { return fuse.Status(errnoOf(err)) }
