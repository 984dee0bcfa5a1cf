package fs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// A program that saves the same file over and over, as fast as it can, leaves one
// version for each close (contract §3): the last close of one save is seen before the
// next open, although nobody waits for it. The loop reads requests in the order in
// which the kernel queued them; go-fuse's several readers may overtake each other.
func TestEveryCloseIsAVersion(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Transport = TransportLoop })
	const saves = 150
	for name, size := range map[string]int{"small": 20, "packed": 9000, "large": 100_000} {
		file := r.shared(name + ".md")
		for i := range saves {
			text := fmt.Sprintf("%0*d", size, i)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.store.SyncAll(context.Background()); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadDir(r.shared(".versions", name+".md"))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != saves {
			t.Errorf("%s: %d versions of %d saves", name, len(list), saves)
			continue
		}
		for i, e := range list {
			b, err := os.ReadFile(r.shared(".versions", name+".md", e.Name()))
			if want := fmt.Sprintf("%0*d", size, i); err != nil || strings.TrimSpace(string(b)) != want {
				t.Fatalf("%s: version %d of %s: %v: %.40s…", name, i, e.Name(), err, b)
			}
		}
	}
}
