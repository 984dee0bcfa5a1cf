package bundle

import (
	"embed"
	"io/fs"
)

// The policy of a first start: people work in their own places, removing things from
// shared ones and effects outside the tree want an approval, an AI proposes, and
// everything else is denied.
//
//go:embed default
var defaults embed.FS

// Default gives the files of the default bundle, unsigned: the first start signs it
// with keys that it makes.
func Default() fs.FS {
	sub, err := fs.Sub(defaults, "default")
	if err != nil {
		panic("the default policy is not in the binary: " + err.Error()) // it is embedded
	}
	return sub
}
