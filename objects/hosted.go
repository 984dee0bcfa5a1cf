package objects

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// fileContent is a version that is a whole host file. The file may be exchanged for an
// equal one below its readers.
type fileContent struct {
	l    *lends
	host uint64
	size int64

	mu     sync.RWMutex
	f      *os.File
	closed bool
}

// fileContent is the content of the file that open opens; while it was being opened, the
// version may have moved to another.
func (s *Store) fileContent(size int64, open func() (*os.File, error)) (content, error) {
	for {
		f, err := open()
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		c := &fileContent{l: &s.lends, host: st.Sys().(*syscall.Stat_t).Ino, f: f, size: size}
		s.lends.mu.Lock()
		s.lends.add(c)
		s.lends.mu.Unlock()
		now, err := os.Stat(f.Name())
		if errors.Is(err, os.ErrNotExist) || err == nil && os.SameFile(st, now) {
			return c, nil
		}
		if err := errors.Join(err, c.Close()); err != nil {
			return nil, err
		}
	}
}

func (c *fileContent) Size() int64 { return c.size }

func (c *fileContent) ReadAt(p []byte, off int64) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.f.ReadAt(p, off)
}

// Host is for copying the file below.
func (c *fileContent) Host() (*os.File, func()) {
	c.mu.RLock()
	return c.f, c.mu.RUnlock
}

func (c *fileContent) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.l.mu.Lock()
	if m := c.l.files[c.host]; m != nil {
		if delete(m, c); len(m) == 0 {
			delete(c.l.files, c.host)
		}
	}
	c.l.mu.Unlock()
	c.closed = true
	return c.f.Close()
}
