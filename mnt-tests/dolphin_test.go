package mnttests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Dolphin in a session of an ordinary user, before a mount with something of everything
// (kde.md). AIOS_LONG, for it takes minutes and wants 250 MB of packages.
func TestDolphin(t *testing.T) {
	if os.Getenv("AIOS_LONG") == "" {
		t.Skip("takes minutes: AIOS_LONG=1")
	}
	if os.Geteuid() != 0 {
		t.Skip("acts as another user: needs root")
	}
	p := newPeopleAlone(t)
	p.populate()
	d := newDesktop(t, p, aliceUID, p.dir)
	d.keys("F11", "alt+period") // the information panel, and hidden files
	for _, c := range []struct {
		name string
		do   func(t *testing.T, d *desktop)
	}{
		{"files", dolphinWorksWithFiles},
		{"copies", dolphinCopies},
		{"tags", dolphinTags},
		{"previews", dolphinPreviews},
		{"goal", dolphinDropsAGoal},
		{"browse", dolphinBrowses},
	} {
		d.within(c.name, func(t *testing.T) {
			began := time.Now()
			c.do(t, d)
			t.Logf("took %s", time.Since(began).Round(time.Second))
		})
	}
}

// projected are the directories that a person comes to within a few steps from the root:
// all that are listed, of those with many of a kind the first few, and some that are not.
func (p *people) projected(t *testing.T) (dirs []string) {
	t.Helper()
	readable := strings.Split(p.ok(aliceUID, `find $M -maxdepth 4 -type d -readable -executable 2>/dev/null; find $M/self/home $M/evidence/log $M/intents/*.d -type d`), "\n")
	slices.Sort(readable)
	of := map[string]int{} // how many children a directory had so far
	for _, dir := range slices.Compact(readable) {
		rel, err := filepath.Rel(p.dir, dir)
		if err != nil {
			t.Fatal(err)
		}
		depth := strings.Count(rel, "/")
		if depth > 2 && strings.Contains(rel, "/evidence/") {
			continue // evidence/ itself shows the same
		}
		if up := filepath.Dir(rel); depth > 2 || depth == 2 && !strings.HasPrefix(rel, "groups/") {
			if of[up]++; of[up] > 4-min(depth, 3) { // two, and one further down
				continue
			}
		}
		dirs = append(dirs, dir)
	}
	// And what is looked up only.
	object := p.ok(aliceUID, `getfattr --only-values -n user.aios.object_id $M/self/home/a/b/1.md 2>/dev/null`)
	for _, dir := range []string{"views/search/text", "views/at/1m", "views/labels/red/blue", "self/home/a/b/.versions/1.md", "objects/" + object, "objects/" + object + "/versions"} {
		dirs = append(dirs, filepath.Join(p.dir, dir))
	}
	return dirs
}

// Every projection is browsed, with previews, hidden files and the information panel, while
// the window answers all the time.
func dolphinBrowses(t *testing.T, d *desktop) {
	dirs := d.p.projected(t)
	t.Logf("%d directories", len(dirs))
	stop := d.ping()
	d.signal("STOP")
	time.Sleep(2 * freeze)
	d.signal("CONT")
	if took := stop(); took < freeze {
		t.Fatalf("a window that stood still for %s is said to answer after %s", 2*freeze, took)
	}
	stop = d.ping()
	for _, dir := range dirs {
		d.open(dir)
		if os.Getenv("AIOS_TEST_SHOTS") != "" {
			rel, _ := filepath.Rel(d.p.dir, dir)
			time.Sleep(time.Second)
			d.shoot("browse-" + rel)
		}
		if w := d.dialog(); w != "" {
			t.Errorf("%s: a dialog came up: %q", dir, d.title(w))
			d.shoot("dialog")
			d.keys("Escape")
		}
	}
	worst := stop()
	t.Logf("the longest answer came after %s", worst)
	if worst >= freeze {
		t.Errorf("the window froze for %s", worst)
	}
}
