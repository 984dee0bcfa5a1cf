package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Root is how the tree is written in documents, wherever it is mounted.
const Root = "/aios"

// CheckPath tells why a path string of a document cannot name anything in the
// tree, or "" (S4.1 §5: reject, never normalise). A path is absolute below
// /aios or relative to the submitter's home; one trailing slash says directory.
func CheckPath(p string) string {
	switch {
	case p == "":
		return "the path is empty"
	case len(p) > MaxPath:
		return fmt.Sprintf("the path has %d bytes, at most %d", len(p), MaxPath)
	case !utf8.ValidString(p):
		return "the path is not UTF-8"
	case strings.ContainsRune(p, '\\'):
		return "the path contains a backslash"
	case strings.HasPrefix(p, "~"):
		return "the path starts with ~; relative paths are relative to the home already"
	}
	for _, r := range p {
		if isControl(r) {
			return "the path contains a control or invisible character"
		}
	}
	rest := p
	if strings.HasPrefix(p, "/") {
		if p != Root && !strings.HasPrefix(p, Root+"/") {
			return "the path is outside " + Root
		}
		rest = strings.TrimPrefix(strings.TrimPrefix(p, Root), "/")
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" {
		return ""
	}
	segments := strings.Split(rest, "/")
	if len(segments) > MaxPathDepth {
		return fmt.Sprintf("the path has %d segments, at most %d", len(segments), MaxPathDepth)
	}
	for i, s := range segments {
		switch dotted := strings.NewReplacer("%2e", ".", "%2E", ".").Replace(s); {
		case s == "":
			return fmt.Sprintf("segment %d of the path is empty", i+1)
		case dotted == "." || dotted == "..":
			return fmt.Sprintf("segment %d of the path is %q; paths are written out", i+1, s)
		case len(s) > 255:
			return fmt.Sprintf("segment %d of the path has %d bytes, at most 255", i+1, len(s))
		}
	}
	return ""
}
