package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ai-os-dot-net/aios/fs/internal/loop"
)

// Every interface that a type here must satisfy, in one place.
var (
	_ fuse.RawFileSystem = (*tree)(nil)
	_ transport          = (*fuse.Server)(nil)
	_ transport          = (*loop.Loop)(nil)

	_ vdir  = (*treeDir)(nil)
	_ vfile = (*textFile)(nil)
	_ vlink = (*linkNode)(nil)

	_ vdir     = (*dropBox)(nil)
	_ vmaker   = (*dropBox)(nil)
	_ vremover = (*dropBox)(nil)
	_ vmover   = (*dropBox)(nil)
	_ vfile    = (*draft)(nil)
	_ vsetter  = (*draft)(nil)
	_ vfile    = (*acceptedFile)(nil)
	_ vsetter  = (*acceptedFile)(nil)
	_ vfile    = (*runFile)(nil)
	_ vsetter  = (*runFile)(nil)

	_ vwriter   = (*draftHandle)(nil)
	_ vflusher  = (*draftHandle)(nil)
	_ vsyncer   = (*draftHandle)(nil)
	_ vsizer    = (*draftHandle)(nil)
	_ vreleaser = (*draftHandle)(nil)
	_ vwriter   = (*controlHandle)(nil)
	_ vflusher  = (*controlHandle)(nil)
	_ vreleaser = (*streamHandle)(nil)
	_ vreleaser = (*followHandle)(nil)
	_ vfile     = (*followFile)(nil)
	_ vreleaser = (*readerHandle)(nil)
	_ vcached   = (*readerHandle)(nil)

	_ vdir   = (*viewDir)(nil)
	_ vmaker = (*viewDir)(nil)
	_ vfile  = (*viewFile)(nil)
	_ vfile  = (*versionNode)(nil)
	_ vxattr = (*versionNode)(nil)
	_ vfile  = (*recordFile)(nil)
	_ vxattr = (*recordFile)(nil)
	_ vdir   = (*atDirNode)(nil)
	_ vfile  = (*atFileNode)(nil)
	_ vlink  = (*atLinkNode)(nil)
	_ vxattr = (*atFileNode)(nil)
)
