package kv

import (
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// Mapped calls fn with the files of the database that are mapped into memory, and stay so
// until fn returns: whoever looks where they are mapped finds nothing else there.
func (d *DB) Mapped(fn func(files []string)) error {
	dir, err := filepath.Abs(d.o.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	// An iterator keeps the tables that it may read. Those that there were before it came,
	// and still are after, were there when it came: none comes back.
	before := d.tables(dir)
	txn := d.b.NewTransactionAt(uint64(d.LastSealed()), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	files := slices.DeleteFunc(d.tables(dir), func(f string) bool { return !slices.Contains(before, f) })
	// Value logs go in GC alone. The newest is being written, and cut when it is full.
	if d.collecting.TryLock() {
		defer d.collecting.Unlock()
		logs, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
		if err != nil {
			return err
		}
		slices.Sort(logs) // their numbers have leading zeros
		files = append(files, logs[:max(0, len(logs)-1)]...)
	}
	fn(files)
	return nil
}

func (d *DB) tables(dir string) (files []string) {
	for _, t := range d.b.Tables() {
		files = append(files, table.NewFilename(t.ID, dir))
	}
	return files
}
