package mnttests

import (
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// mapAsk is a request to the process that maps files: this one's runtime must never wait
// on a page of the mount, nor die of one.
type mapAsk struct {
	Op   string // read, write, sync, drop: forget the mapping of Path
	Path string
	Off  int
	Len  int
	Data []byte
}

type mapAnswer struct {
	Data []byte
	Err  string
}

// mapWindow is the length of every mapping, whatever the size of the file: pages beyond
// the end come and go with it.
const mapWindow = 8 << 20

// serveMaps keeps one shared writable mapping a path, with a descriptor of its own that is
// closed at once: a mapping must not need it.
func serveMaps(in io.Reader, out io.Writer) error {
	dec, enc := gob.NewDecoder(in), gob.NewEncoder(out)
	maps := map[string][]byte{}
	for {
		var q mapAsk
		if err := dec.Decode(&q); err != nil {
			return err
		}
		var a mapAnswer
		if err := q.serve(maps, &a); err != nil {
			a.Err = err.Error()
		}
		if err := enc.Encode(&a); err != nil {
			return err
		}
	}
}

func (q *mapAsk) serve(maps map[string][]byte, a *mapAnswer) error {
	m, held := maps[q.Path]
	if q.Op == "drop" {
		if !held {
			return nil
		}
		delete(maps, q.Path)
		return syscall.Munmap(m)
	}
	if !held {
		f, err := os.OpenFile(q.Path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		m, err = syscall.Mmap(int(f.Fd()), 0, mapWindow, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err2 := f.Close(); err == nil {
			err = err2
		}
		if err != nil {
			return fmt.Errorf("mmap: %w", err)
		}
		maps[q.Path] = m
	}
	switch q.Op {
	case "read":
		a.Data = append([]byte(nil), m[q.Off:q.Off+q.Len]...)
	case "write":
		copy(m[q.Off:], q.Data)
	case "sync":
		return unix.Msync(m, unix.MS_SYNC)
	default:
		return fmt.Errorf("unknown request %q", q.Op)
	}
	return nil
}
