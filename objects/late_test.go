package objects

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// A file is saved, removed and made anew over and over, and the store is told of each close
// at any time after the removal, as the kernel does: each content is in the history of the
// name, in the order in which it was written, and the last is what the file holds.
func TestCloseToldOfAfterTheNameWasTakenAgain(t *testing.T) {
	ctx := context.Background()
	for _, size := range []int{1, 2_000, 20_000} { // of a word; large ones lie in files of their own
		word := func(s string) string { return strings.Repeat(s, size) }
		for _, order := range []string{"cRcRcR", "ccRRcR", "cccRRR", "cRccRR", "crccRR"} { // R is the oldest's close, r the newest's
			for _, how := range []string{"remove", "replace"} {
				t.Run(fmt.Sprintf("%d/%s/%s", size, order, how), func(t *testing.T) {
					s := openStore(t, t.TempDir())
					defer s.Close()
					var open []*Handle
					want, made := "", 0
					for _, step := range order {
						switch step {
						case 'c':
							text := word(fmt.Sprintf("%04d.", made))
							made++
							want += text + " "
							name := "f"
							if how == "replace" && made > 1 {
								name = "g"
							}
							_, h, err := s.Create(alice, RootIno, name, 0o644, true)
							if err == nil {
								_, err = h.WriteAt(alice, []byte(text), 0)
							}
							if err == nil && name == "g" {
								err = s.Rename(alice, RootIno, "g", RootIno, "f", 0)
							} else if err == nil && how == "remove" {
								err = s.Unlink(alice, RootIno, "f")
							}
							if err != nil {
								t.Fatal(err)
							}
							open = append(open, h)
						case 'R':
							if err := open[0].Close(ctx); err != nil {
								t.Fatal(err)
							}
							open = open[1:]
						case 'r':
							last := len(open) - 1
							if err := open[last].Close(ctx); err != nil {
								t.Fatal(err)
							}
							open = open[:last]
						}
					}
					last := word("last.")
					if how == "remove" {
						put(t, s, RootIno, "f", last)
						want += last + " "
					} else {
						last = word(fmt.Sprintf("%04d.", made-1))
					}
					if got := get(t, s, RootIno, "f"); got != last {
						t.Errorf("the file holds %.20q, want %.20q", got, last)
					}
					for range 2 {
						a, err := s.Lookup(RootIno, "f")
						if err != nil {
							t.Fatal(err)
						}
						list, err := s.NameHistory(RootIno, "f")
						if err != nil {
							t.Fatal(err)
						}
						if got := texts(t, s, list); got != want {
							t.Errorf("the history is %s, want %s", short(got), short(want))
						}
						if list[len(list)-1].ID != a.Version {
							t.Errorf("the newest is %s, the file's is %s", list[len(list)-1].ID, a.Version)
						}
						if err := s.sealAll(ctx); err != nil {
							t.Error(err)
						}
						if rep, err := s.Fsck(ctx); err != nil || len(rep.Problems) > 0 {
							t.Errorf("%v, %v", rep.Problems, err)
						}
					}
				})
			}
		}
	}
}

// short is a text of words that are each repeated, with each once.
func short(text string) string {
	l := strings.Fields(text)
	for i, w := range l {
		l[i] = w[:min(5, len(w))]
	}
	return fmt.Sprint(l)
}
