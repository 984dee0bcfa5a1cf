package fs

import (
	"bytes"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// vnode is a thing that is computed, not stored. Its name is unique in the
// mount and gives it its inode number; what differs per caller has the
// caller's id in its name.
type vnode interface {
	name() string
	attr(c *call) (vattr, error)
}

// vattr are the attributes of a virtual node. A regular file's size must be
// true: file managers and tar copy a size of 0 as an empty file.
type vattr struct {
	mode     uint32 // with S_IFMT
	size     int64
	uid, gid uint32
	mtime    time.Time
	// ttl is how long the kernel may remember name and attributes: 0 for
	// whatever differs per caller or changes, more for what never does.
	ttl time.Duration
}

// vdir is a virtual directory. lookup may find more than list shows; nothing
// that list shows may be slow or block, ever.
type vdir interface {
	vnode
	lookup(c *call, name string) (vnode, error)
	list(c *call) ([]vent, error)
}

// vent is a listed name.
type vent struct {
	name string
	node vnode
}

// vfile is a virtual regular file.
type vfile interface {
	vnode
	open(c *call, flags uint32) (vhandle, error)
}

// vlink is a virtual symbolic link.
type vlink interface {
	vnode
	readlink(c *call) (string, error)
}

// vhandle is an open virtual file. read blocks at most until c is cancelled.
type vhandle interface {
	read(c *call, p []byte, off int64) (int, error)
}

// What a virtual node or handle may do besides. A node without one of these
// answers what refusal gives.
type (
	vwriter interface {
		write(c *call, p []byte, off int64) (int, error)
	}
	vflusher interface {
		flush(c *call, opener Caller) error
	}
	vsyncer interface{ fsync(c *call) error }
	vsizer  interface {
		truncate(c *call, size int64) error
	}
	vreleaser interface{ release() }
	// vcached says that the content never changes, so that the kernel may
	// keep it and map it.
	vcached interface{ cached() bool }

	vmaker interface {
		create(c *call, name string, flags, mode uint32) (vnode, vhandle, error)
	}
	vremover interface {
		unlink(c *call, name string) error
	}
	vmover interface {
		// rename moves a name within the directory.
		rename(c *call, old, name string, flags uint32) error
	}
	vsetter interface {
		setattr(c *call, in *fuse.SetAttrIn) error
	}
	vxattr interface {
		getxattr(c *call, name string) ([]byte, error)
		listxattr(c *call) ([]string, error)
	}
	// vrefuser says what a change of the node, or in it, answers; EROFS
	// without it.
	vrefuser interface{ refusal() error }
)

func refusal(v vnode) error {
	if r, ok := v.(vrefuser); ok {
		return r.refusal()
	}
	return ErrReadOnly
}

// ---- ready-made nodes

// node is the common part: a name and fixed attributes.
type node struct {
	key   string
	perm  uint32
	uid   uint32
	gid   uint32
	mtime time.Time
	ttl   time.Duration
	no    error  // refusal; ErrReadOnly when nil
	list  []byte // the access control list of what it shows
}

func (n *node) name() string { return n.key }
func (n *node) acl() []byte  { return n.list }
func (n *node) refusal() error {
	if n.no != nil {
		return n.no
	}
	return ErrReadOnly
}

// textFile is a file whose content is computed at once.
type textFile struct {
	node
	text  func(c *call) ([]byte, error)
	fixed bool // never changes
}

func (f *textFile) attr(c *call) (vattr, error) {
	b, err := f.text(c)
	if err != nil {
		return vattr{}, err
	}
	return vattr{mode: syscall.S_IFREG | f.perm, size: int64(len(b)), uid: f.uid, gid: f.gid, mtime: f.mtime, ttl: f.ttl}, nil
}

func (f *textFile) open(c *call, flags uint32) (vhandle, error) {
	if writes(flags) {
		return nil, f.refusal()
	}
	b, err := f.text(c)
	if err != nil {
		return nil, err
	}
	return &bytesHandle{data: b, fixed: f.fixed}, nil
}

// bytesHandle reads from memory: what the file was when it was opened.
type bytesHandle struct {
	data  []byte
	fixed bool
}

func (h *bytesHandle) cached() bool { return h.fixed }
func (h *bytesHandle) read(_ *call, p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(h.data).ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// treeDir is a directory given by two functions.
type treeDir struct {
	node
	find func(c *call, name string) (vnode, error)
	all  func(c *call) ([]vent, error)
}

func (d *treeDir) attr(*call) (vattr, error) {
	return vattr{mode: syscall.S_IFDIR | d.perm, uid: d.uid, gid: d.gid, mtime: d.mtime, ttl: d.ttl}, nil
}

func (d *treeDir) lookup(c *call, name string) (vnode, error) {
	if d.find != nil {
		return d.find(c, name)
	}
	return listedNode(d, c, name)
}

// listedNode finds a name among those that a directory lists.
func listedNode(d *treeDir, c *call, name string) (vnode, error) {
	es, err := d.list(c)
	if err != nil {
		return nil, err
	}
	for _, e := range es {
		if e.name == name {
			return e.node, nil
		}
	}
	return nil, ErrNotFound
}

func (d *treeDir) list(c *call) ([]vent, error) {
	if d.all == nil {
		return nil, nil
	}
	return d.all(c)
}

// linkNode is a symbolic link. Its target is part of its name, since the
// kernel remembers targets by inode.
type linkNode struct {
	node
	to string
}

func newLink(key, to string, mtime time.Time, no error) *linkNode {
	return &linkNode{node: node{key: key + "\x00->" + to, mtime: mtime, no: no}, to: to}
}

func (l *linkNode) attr(*call) (vattr, error) {
	return vattr{mode: syscall.S_IFLNK | 0o777, size: int64(len(l.to)), uid: l.uid, gid: l.gid, mtime: l.mtime, ttl: l.ttl}, nil
}
func (l *linkNode) readlink(*call) (string, error) { return l.to, nil }

// writes tells whether open flags ask to change the file.
func writes(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}

// upTo leads from a directory so many levels below the mount's root back to
// it.
func upTo(depth int) string { return strings.Repeat("../", depth) }
