package mnttests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A program that makes its file anew each time, removing the old one or renaming over it,
// leaves each content as a version of the name, however fast it is: the kernel tells of a
// close after what follows it.
func TestFilesMadeAnewKeepTheirPast(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	defer stopMount(t, p, daemon)
	rounds := 200
	if os.Getenv("AIOS_LONG") != "" {
		rounds = 900 // below what thins
	}
	for _, size := range []int{100, 30_000, 100_000} {
		for _, how := range []string{"remove", "replace"} {
			dir := filepath.Join(p.dir, "groups/local/shared", fmt.Sprint(how, size))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			name, want := filepath.Join(dir, "f"), map[string]bool{}
			for i := range rounds {
				if i%40 == 0 {
					time.Sleep(150 * time.Millisecond) // a file that is made alone may be the kernel's own to write
				}
				word := fmt.Sprintf("%06d.", i)
				want[word] = true
				text := strings.Repeat(word, size/len(word))
				err := os.WriteFile(name, []byte(text), 0o644)
				switch {
				case err != nil:
				case how == "remove" && i < rounds-1:
					err = os.Remove(name)
				case how == "replace":
					err = os.Rename(name, filepath.Join(dir, "g"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if how == "replace" {
				name = filepath.Join(dir, "g")
			}
			script(t, dir, "sync .")
			past := filepath.Join(dir, ".versions", filepath.Base(name))
			for _, v := range listed(t, past) {
				b, err := os.ReadFile(filepath.Join(past, v))
				if err != nil {
					t.Fatal(err)
				}
				word := string(b[:min(7, len(b))])
				if !want[word] || string(b) != strings.Repeat(word, size/7) {
					t.Errorf("%s, %d bytes: version %s is %.20q of %d bytes, a second time or never written", how, size, v, b, len(b))
				}
				delete(want, word)
			}
			if len(want) > 0 {
				t.Errorf("%s, %d bytes: %d of %d contents are no version: %.200s", how, size, len(want), rounds, fmt.Sprint(want))
			}
		}
	}
}
