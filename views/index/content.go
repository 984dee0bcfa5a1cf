package index

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
)

// sniff is how much of a file tells its media type, in bytes (WHATWG MIME sniffing §7).
const sniff = 512

// read gives the beginning of a regular file: all of one that is searched, and what
// tells the type of a larger one.
func (x *Index) read(a objects.Attr) ([]byte, error) {
	if a.Mode&unix.S_IFMT != unix.S_IFREG || a.Size == 0 {
		return nil, nil
	}
	h, err := x.o.Store.OpenFile(objects.Cred{Subject: "_system:service:aiosfs"}, a.Ino, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer h.Close(context.Background()) // opened for reading: nothing can be lost
	size := a.Size
	if size > maxText {
		size = sniff
	}
	b := make([]byte, size)
	n := 0
	for n < len(b) {
		m, err := h.ReadAt(b[n:], int64(n))
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return b[:n], nil
}

// text is what is searched of a file, "" for what is none.
func text(a objects.Attr, b []byte) string {
	if a.Size > maxText || !utf8.Valid(b) || bytes.IndexByte(b[:min(len(b), 8192)], 0) >= 0 {
		return ""
	}
	return string(b)
}

// types are the media types that a name tells better than the content does, by ending.
// They are a part of the program, so that views do not differ between machines.
var types = map[string]string{
	".txt": "text/plain", ".log": "text/plain", ".md": "text/markdown", ".markdown": "text/markdown", ".rst": "text/x-rst", ".csv": "text/csv",
	".tsv": "text/tab-separated-values", ".html": "text/html", ".htm": "text/html", ".css": "text/css", ".ics": "text/calendar", ".vcf": "text/vcard",
	".tex": "text/x-tex", ".diff": "text/x-patch", ".patch": "text/x-patch", ".c": "text/x-csrc", ".h": "text/x-chdr", ".cpp": "text/x-c++src",
	".go": "text/x-go", ".py": "text/x-python", ".rs": "text/rust", ".java": "text/x-java", ".qml": "text/x-qml",
	".js": "text/javascript", ".mjs": "text/javascript", ".sh": "application/x-shellscript", ".json": "application/json", ".yaml": "application/yaml",
	".yml": "application/yaml", ".toml": "application/toml", ".xml": "application/xml", ".sql": "application/sql", ".pdf": "application/pdf",
	".ps": "application/postscript", ".rtf": "application/rtf", ".epub": "application/epub+zip", ".zip": "application/zip", ".tar": "application/x-tar",
	".gz": "application/gzip", ".xz": "application/x-xz", ".zst": "application/zstd", ".bz2": "application/x-bzip2", ".7z": "application/x-7z-compressed",
	".odt": "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet", ".odp": "application/vnd.oasis.opendocument.presentation",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", ".desktop": "application/x-desktop", ".sqlite": "application/vnd.sqlite3",
	".wasm": "application/wasm", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".svg": "image/svg+xml", ".avif": "image/avif", ".heic": "image/heic", ".tif": "image/tiff", ".tiff": "image/tiff", ".bmp": "image/bmp",
	".ico": "image/vnd.microsoft.icon", ".kra": "application/x-krita", ".xcf": "image/x-xcf", ".mp3": "audio/mpeg", ".ogg": "audio/ogg",
	".oga": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac", ".wav": "audio/wav", ".m4a": "audio/mp4", ".mp4": "video/mp4",
	".mkv": "video/matroska", ".webm": "video/webm", ".mov": "video/quicktime", ".avi": "video/vnd.avi", ".ttf": "font/ttf", ".otf": "font/otf",
	".woff": "font/woff", ".woff2": "font/woff2", ".eml": "message/rfc822",
}

// mediaType tells what a file is: by its kind, its name, or how it begins.
func mediaType(a objects.Attr, name string, b []byte) string {
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "inode/directory"
	case unix.S_IFLNK:
		return "inode/symlink"
	case unix.S_IFIFO:
		return "inode/fifo"
	case unix.S_IFSOCK:
		return "inode/socket"
	case unix.S_IFCHR:
		return "inode/chardevice"
	case unix.S_IFBLK:
		return "inode/blockdevice"
	}
	if t, ok := types[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	if len(b) == 0 {
		return "application/x-zerosize"
	}
	t, _, _ := strings.Cut(http.DetectContentType(b), ";")
	return t
}

// MIMEs lists the media types that the index has; some may be of things that are gone.
func (x *Index) MIMEs() (list []string, err error) {
	d, err := x.b.FieldDict(mimeField)
	if err != nil {
		return nil, fmt.Errorf("list media types: %w", err)
	}
	defer d.Close()
	for {
		e, err := d.Next()
		if err != nil {
			return nil, fmt.Errorf("list media types: %w", err)
		}
		if e == nil {
			slices.Sort(list)
			return list, nil
		}
		list = append(list, e.Term)
	}
}
