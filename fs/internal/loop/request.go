package loop

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Request is a request of the kernel. It is good only until it is answered.
type Request struct {
	body    []byte // all of it, the header first
	payload []byte // what follows the fixed part: names, bytes to write

	cancel chan struct{} // closed by INTERRUPT

	// Copies of requests that came shorter than go-fuse's types for them.
	rename   fuse.RenameIn
	setxattr fuse.SetXAttrIn

	// The reply: header and structure lie together, so that most replies are
	// one piece.
	reply struct {
		fuse.OutHeader
		data [outMax]byte
	}
	outLen int
	bytes  []byte          // of the reply, after the structure
	result fuse.ReadResult // instead of bytes
	room   *buffer         // what bytes lie in
	quiet  bool            // the kernel waits for no reply
	lone   bool
}

// Op is the request's kind.
func (r *Request) Op() Op { return Op(r.header().Opcode) }

// Node is the inode that it is about, or in which a name is meant.
func (r *Request) Node() uint64 { return r.header().NodeId }

// Handle is the open file of READ, WRITE, FLUSH, FSYNC, RELEASE, FALLOCATE,
// LSEEK and their directory forms.
func (r *Request) Handle() uint64 { return r.uint64At(headerIn) }

// Size is how many bytes READ and WRITE are about.
func (r *Request) Size() uint32 { return r.uint32At(headerIn + 16) }

// Valid are the FATTR bits of SETATTR.
func (r *Request) Valid() uint32 { return r.uint32At(headerIn) }

// Lone says that the last dozens of requests came from one thread, and of nobody else.
// Then it is better to answer one that takes about as long as the watch's tick in line:
// nobody waits for the lead meanwhile, and handing it over costs two switches.
func (r *Request) Lone() bool { return r.lone }

func (r *Request) header() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&r.body[0])) }

func (r *Request) uint64At(off int) uint64 {
	if len(r.body) < off+8 {
		return 0
	}
	return binary.NativeEndian.Uint64(r.body[off:])
}

func (r *Request) uint32At(off int) uint32 {
	if len(r.body) < off+4 {
		return 0
	}
	return binary.NativeEndian.Uint32(r.body[off:])
}

// set takes a new request; false for one without a whole header. A request is
// as long as it says: what lies behind is not looked at.
func (r *Request) set(body []byte) bool {
	if len(body) < headerIn {
		return false
	}
	r.body, r.payload = body, nil
	r.outLen, r.bytes, r.result, r.quiet = 0, nil, nil, false
	n := int(r.header().Length)
	if n < headerIn || n > len(body) {
		return false
	}
	r.body = body[:n]
	return true
}

// split divides the request behind its fixed part, and leaves the extension
// away that some kernels add at the end. False: it is too short.
func (r *Request) split(fixed int) bool {
	end := len(r.body) - 8*int(r.header().TotalExtlen)
	if end < fixed {
		return false
	}
	r.payload = r.body[fixed:end]
	return true
}

// name takes a string that ends with a zero byte from the payload.
func (r *Request) name() (string, bool) {
	i := bytes.IndexByte(r.payload, 0)
	if i < 0 {
		return "", false
	}
	s := string(r.payload[:i])
	r.payload = r.payload[i+1:]
	return s, true
}

// in is the request as go-fuse's type; its handler's row in the table has seen
// to the length.
func in[T any](r *Request) *T { return (*T)(unsafe.Pointer(&r.body[0])) }

// out is room for the reply's structure, zeroed.
func out[T any](r *Request) *T {
	p := (*T)(unsafe.Pointer(&r.reply.data))
	var zero T
	*p = zero
	r.outLen = int(unsafe.Sizeof(zero))
	return p
}

// space is room for so many bytes of the reply.
func (r *Request) space(n int) []byte {
	r.room = getBuffer(n)
	return r.room.b[:n]
}
