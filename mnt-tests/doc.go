// Package mnttests sees only the built binary and a mount: what it asserts, a
// person at a shell could see. It also keeps the rules of the tree itself, the
// imports and the checklist of the reference.
package mnttests
