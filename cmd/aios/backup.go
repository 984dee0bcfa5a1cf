package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// A backup is a directory: files/ is the state directory's, manifest.json says which they
// are and what is in them. It is written last and the directory named after that, so that a
// backup that was cut short is none.
const (
	backupFiles    = "files"
	backupManifest = "manifest.json"
	backupSchema   = "aios.backup.v1"
)

// manifest lists everything of a backup.
type manifest struct {
	Schema string                `json:"schema"`
	Made   time.Time             `json:"made_at"`
	Bytes  int64                 `json:"bytes"` // of data; holes take nothing
	Files  map[string]backedFile `json:"files"`
}

// backedFile is one file or directory; Hash is over the blocks that are not all zero, each
// with its place, so that holes cost nothing and a copy may have others.
type backedFile struct {
	Mode fs.FileMode `json:"mode"`
	Size int64       `json:"size,omitempty"`
	Hash string      `json:"hash,omitempty"`
}

func backupCommand() *cobra.Command {
	var state string
	c := &cobra.Command{Use: "backup [--state DIR] BACKUP", Short: "Copy a state directory that is not mounted, whole and checkable, into a new directory",
		Long: `Copy everything of a state directory that no mount holds: files with all their versions,
evidence, policy and keys, all of one moment. BACKUP must not exist; it holds the keys, so
it is its owner's alone. ` + "`aios restore --from BACKUP STATE`" + ` makes a state directory of it.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			if state == "" {
				state = defaultState()
			}
			if err := holdsState(state); err != nil {
				return err
			}
			if rel, err := filepath.Rel(absolute(state), absolute(a[0])); err == nil && filepath.IsLocal(rel) {
				return fail(exitUsage, "%s lies in the state directory that is backed up", a[0])
			}
			lock, err := lockLeft(state)
			if errors.Is(err, errInUse) {
				return fail(exitFailed, "%v; unmount it first", err)
			}
			if err != nil {
				return err
			}
			defer lock.Close()
			m := &manifest{Schema: backupSchema, Made: time.Now().UTC(), Files: map[string]backedFile{}}
			err = whole(a[0], func(dir string) error {
				if err := m.copyAll(state, filepath.Join(dir, backupFiles)); err != nil {
					return err
				}
				b, err := json.MarshalIndent(m, "", "  ")
				if err != nil {
					return err
				}
				return writeSynced(filepath.Join(dir, backupManifest), append(b, '\n'), 0o600)
			})
			if err != nil {
				return err
			}
			return m.report(c, a[0])
		}}
	c.Flags().StringVar(&state, "state", "", "state directory (default: the default one)")
	return c
}

// restoreBackup makes a state directory of a backup, after every file matched its hash.
func restoreBackup(c *cobra.Command, from, state string) error {
	b, err := os.ReadFile(filepath.Join(from, backupManifest))
	if err != nil {
		return fail(exitUsage, "%s is no whole backup: %v", from, err)
	}
	var want manifest
	if err := json.Unmarshal(b, &want); err != nil || want.Schema != backupSchema {
		return fail(exitFailed, "%s: no manifest that this aios reads (%q): %v", from, want.Schema, err)
	}
	got := &manifest{Made: want.Made, Files: map[string]backedFile{}}
	err = whole(state, func(dir string) error {
		if err := got.copyAll(filepath.Join(from, backupFiles), dir); err != nil {
			return err
		}
		for name, w := range want.Files {
			if g, ok := got.Files[name]; !ok {
				return fail(exitFailed, "the backup lacks %s", name)
			} else if g.Size != w.Size || g.Hash != w.Hash {
				return fail(exitFailed, "%s of the backup is not what was backed up", name)
			}
			if err := os.Chmod(filepath.Join(dir, name), w.Mode); err != nil {
				return err
			}
		}
		for name := range got.Files {
			if _, ok := want.Files[name]; !ok {
				return fail(exitFailed, "the backup has %s, which its manifest does not list", name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return got.report(c, state)
}

func (m *manifest) report(c *cobra.Command, to string) error {
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), map[string]any{"path": to, "made_at": m.Made, "files": len(m.Files), "bytes": m.Bytes})
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s: %d files, %d bytes, as of %s\n", to, len(m.Files), m.Bytes, m.Made.Local().Format(time.DateTime))
	return err
}

// whole fills a new directory under another name and gives it its own when all of it is on
// disk; where something fails, nothing is left.
func whole(dir string, fill func(dir string) error) (err error) {
	dir = filepath.Clean(dir)
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty directory may be replaced
		return fail(exitUsage, "%s must not exist, or be empty: %v", dir, err)
	}
	part := dir + ".part"
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	if err := fill(part); err != nil {
		return err
	}
	if err := syncAll(part); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("rename %s: %w", part, err)
	}
	return syncAll(filepath.Dir(dir))
}

// syncAll puts everything of the filesystem that a directory lies in on disk.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return d.Sync()
}

// copyAll copies a directory of plain files and notes each of them.
func (m *manifest) copyAll(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil || rel == "LOCK" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case rel == ".":
			if err := os.Mkdir(target, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		case d.IsDir():
			m.Files[rel] = backedFile{Mode: info.Mode().Perm()}
			return os.Mkdir(target, 0o700)
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is no plain file; a state directory has none such", p)
		}
		f := backedFile{Mode: info.Mode().Perm(), Size: info.Size()}
		n, hash, err := copySparse(p, target, info)
		if err != nil {
			return err
		}
		f.Hash = hash
		m.Bytes += n
		m.Files[rel] = f
		return nil
	})
}

// sparseBlock is the unit in which a file is hashed.
const sparseBlock = 64 << 10

// copySparse copies a file without its holes, durable once the filesystem is synced, and
// gives how much data it had and its hash.
func copySparse(from, to string, info fs.FileInfo) (n int64, hash string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return 0, "", err
	}
	defer func() {
		if e := out.Close(); err == nil {
			err = e
		}
	}()
	h := blake3.New()
	buf := make([]byte, sparseBlock)
	size := info.Size()
	for off := int64(0); off < size; {
		data, err := unix.Seek(int(in.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return n, "", fmt.Errorf("seek in %s: %w", from, err)
		}
		off = data &^ (sparseBlock - 1)
		k, err := in.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return n, "", err
		}
		if k == 0 {
			return n, "", fmt.Errorf("%s became shorter while it was read", from)
		}
		if _, err := out.WriteAt(buf[:k], off); err != nil {
			return n, "", err
		}
		n += int64(k)
		if !allZero(buf[:k]) {
			var place [8]byte
			binary.BigEndian.PutUint64(place[:], uint64(off))
			_, _ = h.Write(place[:]) // a hash takes everything
			_, _ = h.Write(buf[:k])
		}
		off += sparseBlock
	}
	if err := out.Truncate(size); err != nil {
		return n, "", err
	}
	if err := os.Chtimes(to, info.ModTime(), info.ModTime()); err != nil {
		return n, "", err
	}
	return n, "b3:" + hex.EncodeToString(h.Sum(nil)), nil
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
