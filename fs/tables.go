package fs

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/ai-os-dot-net/aios/objects"
)

// virtualBase divides the node ids: the store counts its inodes up from 1 and
// stays below, virtual nodes are at or above it.
const virtualBase = uint64(1) << 62

// nodeID is the stable number of a virtual node: the same name has the same
// number after every mount, so that backups and watchers keep recognising it.
func nodeID(name string) uint64 {
	sum := blake3.Sum256([]byte(name))
	return virtualBase | binary.LittleEndian.Uint64(sum[:8])&(virtualBase-1)
}

// nodeTable holds the virtual nodes that the kernel knows, with their lookup
// counts.
type nodeTable struct {
	mu sync.RWMutex
	m  map[uint64]*nodeRef
}

type nodeRef struct {
	vnode
	lookups uint64
}

func (n *nodeTable) init() { n.m = map[uint64]*nodeRef{} }

// hold notes one more lookup of a node, and makes v its newest form.
func (n *nodeTable) hold(id uint64, v vnode) {
	n.mu.Lock()
	r := n.m[id]
	if r == nil {
		r = &nodeRef{}
		n.m[id] = r
	}
	r.vnode = v
	r.lookups++
	n.mu.Unlock()
}

func (n *nodeTable) get(id uint64) (vnode, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if r := n.m[id]; r != nil {
		return r.vnode, nil
	}
	return nil, ErrNotFound
}

// versioned is a virtual file with the bytes of a version.
type versioned interface{ version() objects.ID }

// showing gives the nodes that have the bytes of one of the versions.
func (n *nodeTable) showing(ids []objects.ID) (list []uint64) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for id, r := range n.m {
		if v, ok := r.vnode.(versioned); ok && slices.Contains(ids, v.version()) {
			list = append(list, id)
		}
	}
	return list
}

func (n *nodeTable) forget(id, count uint64) {
	n.mu.Lock()
	if r := n.m[id]; r != nil {
		if r.lookups -= min(count, r.lookups); r.lookups == 0 {
			delete(n.m, id)
		}
	}
	n.mu.Unlock()
}

// handle is an open file or directory. The caller is who opened it.
type handle struct {
	ino    uint64
	flags  uint32
	caller Caller
	file   *objects.Handle // a stored file
	mode   ioMode          // how the kernel reaches the stored file's bytes
	unseen unseen          // whether the open counts as reading
	virt   vhandle         // a virtual file
	dir    *dirReader      // a directory
}

// handleTable numbers the open handles.
type handleTable struct {
	mu   sync.RWMutex
	m    map[uint64]*handle
	next uint64
}

func (t *handleTable) init() { t.m = map[uint64]*handle{} }

func (t *handleTable) add(h *handle) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	t.m[t.next] = h
	return t.next
}

func (t *handleTable) get(fh uint64) (*handle, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h := t.m[fh]; h != nil {
		return h, nil
	}
	return nil, errBadHandle
}

func (t *handleTable) take(fh uint64) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.m[fh]
	delete(t.m, fh)
	return h
}

// writer tells whether somebody has a file open for writing.
func (t *handleTable) writer(ino uint64, uid uint32) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, h := range t.m {
		if h.ino == ino && h.caller.UID == uid && h.file != nil && writes(h.flags) {
			return true
		}
	}
	return false
}

// closeAll closes what a lost mount left open, so that drafts become
// versions.
func (t *handleTable) closeAll() {
	t.mu.Lock()
	all := t.m
	t.m = map[uint64]*handle{}
	t.mu.Unlock()
	for _, h := range all {
		h.close(context.Background())
	}
}

func (h *handle) close(ctx context.Context) error {
	var err error
	if h.file != nil {
		err = h.file.Close(ctx)
	}
	if r, ok := h.virt.(vreleaser); ok {
		r.release()
	}
	if h.dir != nil {
		h.dir.close()
	}
	return err
}
