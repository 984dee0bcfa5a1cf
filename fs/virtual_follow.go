package fs

import (
	"context"
	"syscall"
)

// EvidenceFollower is a log that tells of its records as they become durable.
type EvidenceFollower interface {
	// Follow begins to tell the caller of the records that he may read.
	Follow(c Caller) (EvidenceFeed, error)
}

// EvidenceFeed gives one line after the other: a record, or word of records that
// were not kept for a reader who was too slow.
type EvidenceFeed interface {
	// Next waits for the next line; it fails with ctx, and with an error of its
	// own when there will be none.
	Next(ctx context.Context) ([]byte, error)
	Close()
}

// followName is evidence/follow, which is looked up and never listed: reading it
// waits.
const followName = "follow"

// followFile is evidence/follow: each open is a subscription of its own.
type followFile struct {
	node
	log EvidenceFollower
}

func (f *followFile) attr(*call) (vattr, error) {
	return vattr{mode: syscall.S_IFREG | f.perm}, nil
}

func (f *followFile) open(c *call, flags uint32) (vhandle, error) {
	if writes(flags) {
		return nil, f.refusal()
	}
	feed, err := f.log.Follow(c.Caller)
	if err != nil {
		return nil, err
	}
	return &followHandle{feed: feed, turn: make(chan struct{}, 1)}, nil
}

// followHandle gives what comes when it comes, at the reader's pace: nothing
// is held here but the rest of a line.
type followHandle struct {
	feed EvidenceFeed
	turn chan struct{} // one reader at a time, each interruptible
	rest []byte
}

func (h *followHandle) read(c *call, p []byte, _ int64) (int, error) {
	select {
	case h.turn <- struct{}{}:
	case <-c.Done():
		return 0, context.Canceled
	}
	defer func() { <-h.turn }()
	if len(h.rest) == 0 {
		line, err := h.feed.Next(c)
		if c.Err() != nil {
			return 0, context.Canceled
		}
		if err != nil {
			return 0, nil // the log is closed: the end of the file
		}
		h.rest = line
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

func (h *followHandle) release() { h.feed.Close() }
