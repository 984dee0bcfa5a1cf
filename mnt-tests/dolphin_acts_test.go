package mnttests

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script runs a script as the person of the session, which must end well.
func (d *desktop) script(text string) string {
	d.t.Helper()
	return d.p.ok(int(d.uid), text)
}

// holds waits until a script says what it shall.
func (d *desktop) holds(script, want string) {
	d.t.Helper()
	var got string
	until(d.t, fmt.Sprintf("%s says %q", script, want), func() bool {
		got, _ = d.p.as(int(d.uid), script)
		return got == want
	})
}

func (d *desktop) says(script, want string) func() bool {
	return func() bool {
		got, err := d.p.as(int(d.uid), script)
		return err == nil && got == want
	}
}

// versionsOf prints what each version of a file holds.
const versionsOf = `versions() { for v in "$(dirname "$1")/.versions/$(basename "$1")"/*; do cat "$v"; echo; done; }; id() { getfattr --only-values -n user.aios.object_id "$1" 2>/dev/null; }; `

// Folders and files are made, renamed, copied, overwritten, deleted and restored by keys in
// the window; the mount has each change, and keeps the history of each name.
func dolphinWorksWithFiles(t *testing.T, d *desktop) {
	at := filepath.Join(d.p.dir, "groups/local/users/uid-60101/home/desk")
	d.script("mkdir " + at)
	d.open(at)
	d.act("a new folder", d.says("ls "+at, "walks"), func() {
		d.keys("F10")
		d.answers("walks")
	})
	d.act("a new file", d.says("ls "+at, "alps.txt\nwalks"), func() {
		d.click(900, 700, 3)
		d.keys("Down", "Right", "Down", "Return") // Create New, Text File
		d.answers("alps.txt")
	})
	if out := d.script(versionsOf + "id " + at + "/alps.txt > $M/self/home/id; versions " + at + "/alps.txt | wc -l; ls -A " + at); out != "2\nalps.txt\nwalks" {
		t.Errorf("the new file's versions and neighbours: %q", out)
	}
	d.act("a rename", d.says("ls "+at, "hike.txt\nwalks"), func() {
		d.selects("alps")
		d.keys("F2", "ctrl+a")
		d.typed("hike.txt")
		d.keys("Return")
	})
	if out := d.script(versionsOf + `[ "$(id ` + at + `/hike.txt)" = "$(cat $M/self/home/id)" ] && echo same`); out != "same" {
		t.Errorf("a rename makes another object")
	}
	d.script("echo first > " + at + "/hike.txt")
	copied := at + "/walks/hike.txt"
	d.act("a copy", d.says("cat "+copied, "first"), func() {
		d.open(at)
		d.selects("hike")
		d.keys("ctrl+c")
		d.open(filepath.Dir(copied))
		d.keys("ctrl+v")
	})
	first := d.script(versionsOf + "id " + copied)

	d.script("echo second > " + at + "/hike.txt")
	d.act("an overwriting copy", d.says("cat "+copied, "second"), func() {
		d.keys("ctrl+v")
		if comes(func() bool { return d.titled("File Already Exists") }) {
			d.keys("alt+o")
		}
	})
	d.holds(versionsOf+"versions "+copied, "first\n\nsecond")
	if out := d.script(versionsOf + "id " + copied + "; ls -A " + filepath.Dir(copied)); out != first+"hike.txt" {
		t.Errorf("the overwritten file is %q, it was %q", out, first)
	}

	d.act("a deletion", d.says("ls "+filepath.Dir(copied), ""), func() {
		d.selects("hike")
		d.keys("Delete")
	})
	d.holds("cat $M/views/trash/hike.txt", "second")
	d.open("trash:/")
	d.act("a restoration from KDE's trash", d.says("cat "+copied, "second"), func() {
		d.selects("hike")
		d.keys("Menu")
		d.keys("r")
	})
	d.holds(versionsOf+"versions "+copied+" | head -3", "first\n\nsecond")
	d.open(filepath.Dir(copied))
	before := d.script(versionsOf + "id " + copied)
	d.act("another deletion", d.says("ls "+filepath.Dir(copied), ""), func() {
		d.selects("hike")
		d.keys("Delete")
	})
	d.script(d.p.bin + " --mount $M restore " + copied)
	if out := d.script(versionsOf + "id " + copied + "; cat " + copied); out != before+"second" {
		t.Errorf("aios restore gives %q, it was %q", out, before)
	}

	d.open(at)
	d.act("a folder deleted past KDE's trash", d.says("ls "+at, "hike.txt"), func() {
		d.selects("walks")
		d.keys("shift+Delete")
		if comes(func() bool { return d.dialog() != "" }) {
			d.keys("Return")
		}
	})
	d.holds("cat $M/views/trash/walks/hike.txt", "second")
	d.script(d.p.bin + " --mount $M restore " + at + "/walks")
	if out := d.script(versionsOf + "id " + copied + "; cat " + copied); out != before+"second" {
		t.Errorf("aios restore of the folder gives %q, it was %q", out, before)
	}
}

// What KDE copies out of a projection is whole, and what it copies and moves between
// folders keeps tags.
func dolphinCopies(t *testing.T, d *desktop) {
	h := filepath.Join(d.p.dir, "groups/local/users/uid-60101/home")
	kio := func(args ...string) {
		t.Helper()
		d.do("kioclient5", append([]string{"--noninteractive"}, args...)...)
	}
	run := filepath.Join(d.p.dir, "intents/done.d")
	kio("copy", "file://"+run, "file://"+d.home+"/run")
	if out := d.script(`cd ` + run + ` && find . -type f | while read -r f; do cmp "$f" ` + d.home + `/run/"$f" 2>&1; done; find ` + d.home + `/run -type f -size +0 | wc -l`); strings.Contains(out, "differ") || strings.Contains(out, "EOF") || out < "8" {
		t.Errorf("a copy of a run: %s", out)
	}
	d.script(`mkdir -p $M/self/home/kio/to; cd $M/self/home/kio; echo text > f.txt; setfattr -n user.xdg.tags -v kept f.txt; setfattr -n user.baloo.rating -v 6 f.txt`)
	kio("copy", "file://"+h+"/kio/f.txt", "file://"+h+"/kio/to/")
	kio("move", "file://"+h+"/kio/f.txt", "file://"+h+"/kio/g.txt")
	for _, f := range []string{"to/f.txt", "g.txt"} {
		d.holds(`cd $M/self/home/kio; cat `+f+`; getfattr --only-values -n user.xdg.tags `+f+`; getfattr --only-values -n user.baloo.rating `+f, "text\nkept6")
	}
	kio("move", "file://"+h+"/kio", "trash:/")
	d.holds("cat $M/views/trash/kio/to/f.txt", "text")
}

// Tags and the rating that others set show in the information panel; those that are set
// there are the mount's.
func dolphinTags(t *testing.T, d *desktop) {
	at := filepath.Join(d.p.dir, "groups/local/users/uid-60101/home/tags")
	d.script(`mkdir ` + at + `; echo x > ` + at + `/walk.txt; setfattr -n user.xdg.tags -v hike,alps ` + at + `/walk.txt`)
	d.holds("ls $M/views/labels/alps/hike/", "walk.txt")
	d.open(at)
	// The stars stand in the panel, below the tags: how far, the fonts decide.
	rated := `getfattr --only-values -n user.baloo.rating ` + at + `/walk.txt 2>/dev/null || true`
	d.act("five stars in the panel", d.says(rated, "10"), func() {
		d.selects("walk")
		for y := 380; y < 580 && d.script(rated) == ""; y += 7 {
			d.click(panelRight, y, 1)
		}
		for y := 380; y < 580 && d.script(rated) != "10"; y += 7 {
			d.click(panelRight-2, y, 1)
		}
	})
	d.act("the dialog for tags", func() bool { return d.titled("Edit Tags") }, func() {
		d.selects("walk")
		for y := 380; y < 580 && d.dialog() == ""; y += 6 {
			d.click(panelLinks, y, 1)
			time.Sleep(200 * time.Millisecond) // one at a time: the next link opens another dialog
		}
	})
	d.typed("fromkde")
	d.keys("Return")
	d.holds(`getfattr --only-values -n user.xdg.tags `+at+`/walk.txt 2>/dev/null | tr , '\n' | sort`, "alps\nfromkde\nhike")
	d.holds("ls $M/views/labels/fromkde/walk.txt", d.p.dir+"/views/labels/fromkde/walk.txt")
}

// Where the panel has its stars' right end, and its links.
const panelRight, panelLinks = 1578, 1520

// A picture on the mount is shown small: a field of a colour that nothing else has.
func dolphinPreviews(t *testing.T, d *desktop) {
	at := filepath.Join(d.p.dir, "groups/local/users/uid-60101/home/pictures")
	magenta := color.RGBA{255, 0, 255, 255}
	img := image.NewRGBA(image.Rect(0, 0, 640, 480))
	draw.Draw(img, img.Bounds(), image.NewUniform(magenta), image.Point{}, draw.Src)
	f, err := os.Create(filepath.Join(d.p.base, "lake.png"))
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, img); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d.script("mkdir " + at)
	d.open(at)
	shown := func() (n int) {
		screen, err := png.Decode(bytes.NewReader(d.screen()))
		if err != nil {
			t.Fatal(err)
		}
		for y := range screen.Bounds().Dy() {
			for x := range screen.Bounds().Dx() {
				if color.RGBAModel.Convert(screen.At(x, y)) == magenta {
					n++
				}
			}
		}
		return n
	}
	if n := shown(); n > 0 {
		t.Fatalf("%d dots of the picture's colour before it is there", n)
	}
	d.script("cp " + f.Name() + " " + at)
	until(t, "the picture in the window", func() bool { return shown() > 1000 })
}

// A goal in a file, copied and pasted into intents/, is carried out, and its directory
// shows beside it.
func dolphinDropsAGoal(t *testing.T, d *desktop) {
	if err := os.MkdirAll(filepath.Join(d.home, "goals"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home, "goals/zermatt"), []byte(`write "I went hiking today." to journal.md`), 0o644); err != nil {
		t.Fatal(err)
	}
	d.act("the goal is done", d.says("cat $M/intents/zermatt.d/wait", "SUCCEEDED"), func() {
		d.open(filepath.Join(d.home, "goals"))
		d.selects("zermatt")
		d.keys("ctrl+c")
		d.open(filepath.Join(d.p.dir, "intents"))
		d.keys("ctrl+v")
	})
	if out := d.script("cat $M/self/home/journal.md; cat $M/intents/zermatt"); !strings.HasPrefix(out, "I went hiking today.") {
		t.Errorf("the journal says %q", out)
	}
	if w := d.dialog(); w != "" {
		t.Errorf("a dialog came up: %q", d.title(w))
		d.keys("Escape")
	}
	d.open(filepath.Join(d.p.dir, "intents/zermatt.d"))
	dolphinDragsAGoal(d)
}

// The same with the mouse: a file is dragged from one half of the window into intents/ in
// the other, and the menu that comes up is asked to copy it.
func dolphinDragsAGoal(d *desktop) {
	d.t.Helper()
	from := filepath.Join(d.home, "drag")
	if err := os.MkdirAll(from, 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "gornergrat"), []byte(`write "dragged" to dragged.md`), 0o644); err != nil {
		d.t.Fatal(err)
	}
	d.open(from)
	d.keys("F3")
	d.open(filepath.Join(d.p.dir, "intents"))
	d.act("the goal that was dragged is done", d.says("cat $M/intents/gornergrat.d/wait && cat $M/self/home/dragged.md", "SUCCEEDED\ndragged"), func() {
		d.drag(324, 98, 1000, 700) // the one file of the left half
		time.Sleep(time.Second)
		d.keys("c") // Copy Here
	})
	d.keys("F3")
}
