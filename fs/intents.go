package fs

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Intents is the runtime behind the drop box intents/ (contract §4). fs calls
// it with the caller who opened the file; everything it answers is that
// caller's own.
type Intents interface {
	// Submit takes a finished document. It returns after the document was
	// accepted durably, or with an *IntentError for a malformed one, or
	// ErrBusy while an intent of that name runs.
	Submit(ctx context.Context, c Caller, name string, doc []byte) error
	// Runs lists the live runs of the caller.
	Runs(c Caller) []RunInfo
	// Find gives the live run of the caller with a name.
	Find(c Caller, name string) (RunInfo, bool)
	// Inbox lists the runs that wait for the caller by name, his own or another's, newest
	// first; each is named by its ID.
	Inbox(c Caller) []RunInfo
	// GroupInbox lists so what waits for somebody of a group, as far as the caller may see
	// it.
	GroupInbox(c Caller, group string) []RunInfo
	// Done lists the finished runs that were moved away, as YYYY/MM/DD/NAME, sorted.
	Done(c Caller) []string
	// List lists what lies in a directory of NAME.d; dir is "" for NAME.d
	// itself. A run of .done/ is named by its path YYYY/MM/DD/NAME.
	List(c Caller, run, dir string) ([]FileInfo, error)
	// Stat finds one file, also those that are not listed: wait, events.
	Stat(c Caller, run, file string) (FileInfo, error)
	// Read gives the whole of a file that is there at once.
	Read(c Caller, run, file string) ([]byte, error)
	// Stream opens a file whose reading waits; it ends at the run's end or
	// when ctx does.
	Stream(ctx context.Context, c Caller, run, file string) (io.ReadCloser, error)
	// Write takes what was written into answer, approval, cancel, rollback.
	Write(ctx context.Context, c Caller, run, file string, data []byte) error
	// Document is the accepted document, as it was dropped.
	Document(c Caller, run string) ([]byte, error)
}

// RunInfo is one run.
type RunInfo struct {
	Name     string // the file's name in intents/
	ID       string // of the run
	Accepted time.Time
	DocSize  int64 // bytes
}

// FileInfo is a file of a run's directory.
type FileInfo struct {
	Name     string
	Mode     uint32 // S_IFREG, S_IFDIR or S_IFLNK, and permissions
	Size     int64  // true size in bytes; 0 for what blocks
	ModTime  time.Time
	Listed   bool   // shown by readdir
	Blocking bool   // reading may wait: never listed
	Writable bool   // takes Write
	Link     string // target of a symlink
}

// IntentError says why a document was not accepted: EINVAL at the call that
// commits it.
type IntentError struct {
	Code, Message string
	Line, Column  int // 1-based; 0 where the whole document is at fault
}

func (e *IntentError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d, column %d: %s", e.Code, e.Line, e.Column, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}
