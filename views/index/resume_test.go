package index

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ai-os-dot-net/aios/objects"
)

type shelf struct {
	t *testing.T
	s *objects.Store
	x *Index
	o Options
}

func (h *shelf) put(name, text string) {
	h.t.Helper()
	c := objects.Cred{UID: 1, Subject: "local:a"}
	if a, err := h.s.Lookup(objects.RootIno, name); err == nil {
		if err := h.s.Unlink(c, objects.RootIno, name); err != nil {
			h.t.Fatal(a, err)
		}
	}
	_, f, err := h.s.Create(c, objects.RootIno, name, 0o644, true)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := f.WriteAt(c, []byte(text), 0); err != nil {
		h.t.Fatal(err)
	}
	if err := f.Close(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *shelf) open() {
	h.t.Helper()
	var err error
	if h.x, err = Open(h.o); err != nil {
		h.t.Fatal(err)
	}
	<-h.x.caught
}

func (h *shelf) find(word string) []string {
	h.t.Helper()
	var names []string
	err := h.x.Search(context.Background(), Query{Words: word}, func(hit Hit) error {
		a, err := h.s.GetAttr(hit.Ino)
		if err == nil {
			names = append(names, fmt.Sprint(a.Ino))
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// A long pass that restarts interrupt goes on where it was, with what has changed since;
// one that is done is not done again.
func TestAnInterruptedPassGoesOn(t *testing.T) {
	h := &shelf{t: t}
	var err error
	if h.s, err = objects.Open(context.Background(), objects.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	defer h.s.Close()
	h.o = Options{Dir: t.TempDir(), Store: h.s}
	const files = 3000
	for i := range files {
		h.put(fmt.Sprintf("f%d", i), "walnut")
	}
	h.open() // a first pass over everything
	var before *pass
	for end := time.Now().Add(time.Minute); before == nil; time.Sleep(5 * time.Millisecond) {
		if before = h.x.interrupted(); time.Now().After(end) {
			t.Fatal("the pass tells of nothing that it has done")
		}
	}
	if err := h.x.Close(); err != nil {
		t.Fatal(err)
	}
	h.put("f0", "hazel") // of what was indexed already
	if err := h.s.SyncAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.x.mu.Lock()
	goesOn := h.x.resume
	h.x.mu.Unlock()
	if goesOn == nil || goesOn.UpTo < before.UpTo {
		t.Fatalf("it goes on at %+v, and was at %+v", goesOn, before)
	}
	if err := h.x.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n, m := len(h.find("walnut")), len(h.find("hazel")); n != files-1 || m != 1 {
		t.Errorf("%d and %d files are found, want %d and 1", n, m, files-1)
	}
	if p := h.x.interrupted(); p != nil {
		t.Errorf("a pass that is done is still noted: %+v", p)
	}
	if err := h.x.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * overlap)
	h.open()
	for i := range 2 {
		h.x.mu.Lock()
		n, all := len(h.x.pending), h.x.all
		h.x.mu.Unlock()
		// The first start goes back over what came shortly before the last one's end.
		if all || i > 0 && n > files/2 {
			t.Errorf("a start after a pass that was done has %d files to look at, all: %v", n, all)
		}
		if err := h.x.Settle(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := h.x.Close(); err != nil {
			t.Fatal(err)
		}
		h.open()
	}
	if err := h.x.Close(); err != nil {
		t.Fatal(err)
	}
}
