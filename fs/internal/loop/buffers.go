package loop

import (
	"os"
	"sync"
	"unsafe"
)

// buffer is room for a reply's bytes.
type buffer struct{ b []byte }

// Replies' bytes come in few sizes: a page for attributes and small
// directories, what cat and cp read at once, and the kernel's largest request.
var bufferSizes = [...]int{4 << 10, 128 << 10, 1 << 20}

var bufferPools [len(bufferSizes)]sync.Pool

// getBuffer gives room for at least n bytes.
func getBuffer(n int) *buffer {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		if b, ok := bufferPools[i].Get().(*buffer); ok {
			return b
		}
		return &buffer{make([]byte, size)}
	}
	return &buffer{make([]byte, n)}
}

func putBuffer(b *buffer) {
	for i, size := range bufferSizes {
		if len(b.b) == size {
			bufferPools[i].Put(b)
		}
	}
}

// readBuffer makes a buffer for reading requests of up to size bytes of data,
// in which the data of a WRITE begins with a page: whole pages are copied
// faster, and can go to files that are open with O_DIRECT.
func readBuffer(size int) []byte {
	page := os.Getpagesize()
	b := make([]byte, size+writeIn+2*page)
	skip := (2*page - writeIn - int(uintptr(unsafe.Pointer(&b[0]))%uintptr(page))) % page
	return b[skip : skip+size+writeIn]
}
