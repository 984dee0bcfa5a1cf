package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The journal makes a small epoch durable with one synchronous write. Badger's own log is
// written through a mapping, and syncing that costs about twice as much (measured: 0.4 ms
// against 0.6 to 0.9, the device's flush included); it is synced behind the journal, in the
// background, and at once for epochs that are too large to be written twice.
//
// The file has two halves that are written in turn, and blocks that are all allocated and
// written: an append changes nothing but them. A half is written over only when Badger's
// log is known to have everything that it holds. A record is, little endian: magic(4)
// generation(8) timestamp(8) previous epoch(8) length of the body(4) CRC-32C of all but
// itself(4), and the body: per key uvarint length, key, uvarint length of the value + 1 or
// 0 for a removal, value. The generation grows with each change of the half.
const (
	journalName = "JOURNAL"
	journalHalf = 2 << 20
	// journalMost is the largest record: what is larger gains nothing, for it is the bytes
	// that take the time.
	journalMost   = 128 << 10
	journalHeader = 36
	journalMagic  = 0x314a4941 // "AIJ1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type journal struct {
	f    *os.File
	half int
	pos  int64 // within the half
	gen  uint64
	last [2]TS // the newest epoch of each half
	buf  []byte
	err  error // a write failed: the journal is not used any more
}

// entry is a record of the journal.
type entry struct {
	gen      uint64
	ts, prev TS
	batch    *Batch
}

// openJournal opens the journal of a directory, making it where it is not.
func openJournal(dir string) (*journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f}
	st, err := f.Stat()
	if err == nil && st.Size() < 2*journalHalf {
		// Written, not merely allocated: else each append would have to mark its blocks as
		// written, which is a change of the inode.
		_, err = f.WriteAt(make([]byte, 2*journalHalf-st.Size()), st.Size())
		if err == nil {
			err = errors.Join(f.Sync(), syncDir(dir))
		}
		if errors.Is(err, unix.ENOSPC) { // what is there can be read all the same
			j.err, err = err, f.Truncate(st.Size())
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// append writes an epoch behind the last one and gives true when it is on disk. It gives
// false where the epoch is too large, or the other half holds what Badger's log may not
// have: synced is what it has.
func (j *journal) append(ts, prev TS, b *Batch, synced TS) (ok, turned bool) {
	if j.err != nil || b.Size() > journalMost {
		return false, false
	}
	j.buf = encodeEntry(j.buf[:0], entry{j.gen, ts, prev, b})
	if int64(len(j.buf)) > journalHalf {
		return false, false // very many tiny keys
	}
	if j.pos+int64(len(j.buf)) > journalHalf {
		if j.last[1-j.half] > synced {
			return false, false
		}
		j.half, j.pos, j.gen = 1-j.half, 0, j.gen+1
		j.buf = encodeEntry(j.buf[:0], entry{j.gen, ts, prev, b})
		turned = true
	}
	if err := writeSync(j.f, j.buf, int64(j.half)*journalHalf+j.pos); err != nil {
		j.err = err
		return false, turned
	}
	j.pos += int64(len(j.buf))
	j.last[j.half] = ts
	return true, turned
}

// writeSync writes bytes whose blocks are there and returns when they are on disk.
func writeSync(f *os.File, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwritev2(int(f.Fd()), [][]byte{b}, off, unix.RWF_DSYNC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			if n, err = f.WriteAt(b, off); err == nil {
				err = unix.Fdatasync(int(f.Fd()))
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

func encodeEntry(buf []byte, e entry) []byte {
	buf = append(buf, make([]byte, journalHeader)...)
	for k, v := range e.batch.m {
		buf = append(binary.AppendUvarint(buf, uint64(len(k))), k...)
		if v == nil {
			buf = append(buf, 0)
		} else {
			buf = append(binary.AppendUvarint(buf, uint64(len(v))+1), v...)
		}
	}
	le := binary.LittleEndian
	le.PutUint32(buf, journalMagic)
	le.PutUint64(buf[4:], e.gen)
	le.PutUint64(buf[12:], uint64(e.ts))
	le.PutUint64(buf[20:], uint64(e.prev))
	le.PutUint32(buf[28:], uint32(len(buf)-journalHeader))
	le.PutUint32(buf[32:], entrySum(buf))
	return buf
}

func entrySum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:journalHeader-4], castagnoli), castagnoli, b[journalHeader:])
}

// decodeEntry reads the record at the beginning of b, and gives what follows it. ok is
// false where none stands: at the end, which a power cut may have torn.
func decodeEntry(b []byte) (e entry, rest []byte, ok bool) {
	le := binary.LittleEndian
	if len(b) < journalHeader || le.Uint32(b) != journalMagic {
		return entry{}, nil, false
	}
	n := int64(le.Uint32(b[28:])) + journalHeader
	if n > int64(len(b)) || entrySum(b[:n]) != le.Uint32(b[32:]) {
		return entry{}, nil, false
	}
	e = entry{le.Uint64(b[4:]), TS(le.Uint64(b[12:])), TS(le.Uint64(b[20:])), NewBatch()}
	body := b[journalHeader:n]
	bytes := func(n uint64) []byte {
		if n > uint64(len(body)) {
			ok = false
			return nil
		}
		v := body[:n:n]
		body = body[n:]
		return v
	}
	number := func() uint64 {
		v, n := binary.Uvarint(body)
		if n <= 0 {
			ok = false
			return 0
		}
		body = body[n:]
		return v
	}
	for ok = true; ok && len(body) > 0; {
		key := bytes(number())
		if n := number(); n == 0 {
			e.batch.Delete(key)
		} else {
			e.batch.Set(key, append([]byte{}, bytes(n-1)...))
		}
	}
	return e, b[n:], ok
}

// entries are the records of both halves, the older one's first. The next append goes to
// the beginning: by then whoever opens has taken them up.
func (j *journal) entries() ([]entry, error) {
	b := make([]byte, 2*journalHalf)
	if _, err := j.f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", j.f.Name(), err)
	}
	var halves [2][]entry
	for i := range halves {
		for rest := b[i*journalHalf : (i+1)*journalHalf]; ; {
			e, next, ok := decodeEntry(rest)
			if !ok || len(halves[i]) > 0 && e.gen != halves[i][0].gen {
				break
			}
			halves[i] = append(halves[i], e)
			j.last[i] = e.ts
			j.gen = max(j.gen, e.gen)
			rest = next
		}
	}
	if len(halves[0]) > 0 && len(halves[1]) > 0 && halves[0][0].gen > halves[1][0].gen {
		halves[0], halves[1] = halves[1], halves[0]
	}
	j.gen++
	return append(halves[0], halves[1]...), nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}

// replay writes what the journal has above good, where Badger's log was not synced before
// the power went, and gives the newest epoch then. An epoch that Badger has in part is
// written again, at the same timestamp.
func (d *DB) replay(good TS) (TS, error) {
	entries, err := d.journal.entries()
	if err != nil {
		return 0, err
	}
	last, first := d.last, good
	for _, e := range entries {
		if e.ts <= good {
			continue
		}
		if e.prev != good {
			break // what lay between was never acknowledged
		}
		if err := d.write(e.ts, e.prev, e.batch, nil); err != nil {
			return 0, fmt.Errorf("take up the journal: %w", err)
		}
		good = e.ts
		d.sealed.Store(uint64(good))
	}
	d.last = max(d.last, last)
	if good == first {
		return good, nil
	}
	d.o.Logger.Info("epochs were taken up from the journal", "after", first.Time(), "to", good.Time())
	return good, d.syncOnce()
}

// toValueLog tells whether a value of the batch goes to Badger's value log.
func (d *DB) toValueLog(b *Batch) bool {
	for _, v := range b.m {
		if int64(len(v)) >= d.inTree {
			return true
		}
	}
	return false
}
