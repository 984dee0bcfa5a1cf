package loop

import (
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is a request's kind: the opcode of linux/fuse.h.
type Op uint32

// The kinds of request.
const (
	OpLookup          Op = 1
	OpForget          Op = 2
	OpGetattr         Op = 3
	OpSetattr         Op = 4
	OpReadlink        Op = 5
	OpSymlink         Op = 6
	OpMknod           Op = 8
	OpMkdir           Op = 9
	OpUnlink          Op = 10
	OpRmdir           Op = 11
	OpRename          Op = 12
	OpLink            Op = 13
	OpOpen            Op = 14
	OpRead            Op = 15
	OpWrite           Op = 16
	OpStatfs          Op = 17
	OpRelease         Op = 18
	OpFsync           Op = 20
	OpSetxattr        Op = 21
	OpGetxattr        Op = 22
	OpListxattr       Op = 23
	OpRemovexattr     Op = 24
	OpFlush           Op = 25
	OpInit            Op = 26
	OpOpendir         Op = 27
	OpReaddir         Op = 28
	OpReleasedir      Op = 29
	OpFsyncdir        Op = 30
	OpGetlk           Op = 31
	OpSetlk           Op = 32
	OpSetlkw          Op = 33
	OpAccess          Op = 34
	OpCreate          Op = 35
	OpInterrupt       Op = 36
	OpBmap            Op = 37
	OpDestroy         Op = 38
	OpIoctl           Op = 39
	OpPoll            Op = 40
	OpNotifyReply     Op = 41
	OpBatchForget     Op = 42
	OpFallocate       Op = 43
	OpReaddirplus     Op = 44
	OpRename2         Op = 45
	OpLseek           Op = 46
	OpCopyFileRange   Op = 47
	OpSyncfs          Op = 50
	OpTmpfile         Op = 51
	OpStatx           Op = 52
	OpCopyFileRange64 Op = 53

	opCount = 64
)

var opNames = [opCount]string{
	OpLookup: "LOOKUP", OpForget: "FORGET", OpGetattr: "GETATTR", OpSetattr: "SETATTR", OpReadlink: "READLINK", OpSymlink: "SYMLINK",
	OpMknod: "MKNOD", OpMkdir: "MKDIR", OpUnlink: "UNLINK", OpRmdir: "RMDIR", OpRename: "RENAME", OpLink: "LINK", OpOpen: "OPEN",
	OpRead: "READ", OpWrite: "WRITE", OpStatfs: "STATFS", OpRelease: "RELEASE", OpFsync: "FSYNC", OpSetxattr: "SETXATTR",
	OpGetxattr: "GETXATTR", OpListxattr: "LISTXATTR", OpRemovexattr: "REMOVEXATTR", OpFlush: "FLUSH", OpInit: "INIT",
	OpOpendir: "OPENDIR", OpReaddir: "READDIR", OpReleasedir: "RELEASEDIR", OpFsyncdir: "FSYNCDIR", OpGetlk: "GETLK", OpSetlk: "SETLK",
	OpSetlkw: "SETLKW", OpAccess: "ACCESS", OpCreate: "CREATE", OpInterrupt: "INTERRUPT", OpBmap: "BMAP", OpDestroy: "DESTROY",
	OpIoctl: "IOCTL", OpPoll: "POLL", OpNotifyReply: "NOTIFY_REPLY", OpBatchForget: "BATCH_FORGET", OpFallocate: "FALLOCATE",
	OpReaddirplus: "READDIRPLUS", OpRename2: "RENAME2", OpLseek: "LSEEK", OpCopyFileRange: "COPY_FILE_RANGE", OpSyncfs: "SYNCFS",
	OpTmpfile: "TMPFILE", OpStatx: "STATX", OpCopyFileRange64: "COPY_FILE_RANGE_64",
}

// String is the name that linux/fuse.h gives the opcode.
func (o Op) String() string {
	if o < opCount && opNames[o] != "" {
		return opNames[o]
	}
	return "unknown"
}

const (
	major = 7
	// minor is the newest protocol that the requests here follow: 7.40 brought
	// passthrough's stack depth (Linux 6.9). Older kernels speak theirs.
	minor = 40
	// minorMin is what go-fuse asks for too (Linux 2.6.32).
	minorMin = 12

	headerIn  = int(unsafe.Sizeof(fuse.InHeader{}))
	headerOut = int(unsafe.Sizeof(fuse.OutHeader{}))
	writeIn   = int(unsafe.Sizeof(fuse.WriteIn{}))

	// A RENAME without flags and a SETXATTR of a kernel that was not asked for
	// CAP_SETXATTR_EXT are shorter than go-fuse's types for them.
	renameIn   = headerIn + 8
	setxattrIn = headerIn + 8

	// outMax is the longest structured reply, that to STATX.
	outMax = int(unsafe.Sizeof(fuse.StatxOut{}))

	// readMin is the shortest buffer with which the kernel lets the device be read.
	readMin = 8192
)
