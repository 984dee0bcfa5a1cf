package objects

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A daemon that dies leaves what the kernel has of its files; a machine that loses its
// power leaves what was synced, and of the rest any mixture of old and new sectors. Which
// it was, the kernel's number of the boot tells: it is kept in a file beside the records.

const (
	bootName = "boot"
	bootID   = "/proc/sys/kernel/random/boot_id"
)

// powerLost tells whether the machine was started again since the store was last open;
// where that cannot be known, it was.
func (s *Store) powerLost() bool {
	now, err := os.ReadFile(bootID)
	if err != nil {
		return true
	}
	then, err := os.ReadFile(filepath.Join(s.o.Dir, bootName))
	return err != nil || !bytes.Equal(now, then)
}

// noteBoot keeps the number of this boot, when what an earlier one left is taken up and
// before a draft of this one is saved.
func (s *Store) noteBoot() error {
	now, err := os.ReadFile(bootID)
	if err != nil {
		return nil // unknown then as now
	}
	name := filepath.Join(s.o.Dir, bootName)
	if then, err := os.ReadFile(name); err == nil && bytes.Equal(now, then) {
		return nil
	}
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(now)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err == nil {
		err = s.blobs.SyncDir(s.o.Dir)
	}
	if err != nil {
		return fmt.Errorf("keep the number of the boot: %w", err)
	}
	return nil
}

// toSynced makes a draft's record what was synced of the draft; false where nothing was.
func (n *inode) toSynced() bool {
	d := n.large()
	if d.synced.staging != d.staging {
		return false
	}
	n.size, d.over = d.synced.size, d.synced.over
	n.big = &d
	return true
}

// unwrite gives a file the content of its version, as if it had not been opened for
// writing since. s.mu is held.
func (s *Store) unwrite(ino Ino) error {
	n, err := s.node(ino)
	if err != nil {
		return err
	}
	size := int64(0)
	if !n.inode.version.IsZero() {
		v, err := s.version(n.object, n.inode.version)
		if err != nil {
			return err
		}
		size = v.size
	}
	s.touch(n)
	n.clearDraft()
	n.size, n.blocks = size, (size+511)/512
	return nil
}
