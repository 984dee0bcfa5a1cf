package mnttests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A byte of a pack rots on the disk below (F-4). The first reader is refused, with it all
// versions that share the chunk are in quarantine; a file that had a version before shows
// that one, to who opens it from then on, one that had none is refused; the same bytes
// written again are whole; the log tells of it once, and of who was refused. root may look
// at what is left of it.
func TestDamagedChunk(t *testing.T) {
	p := newPlace(t)
	daemon := mounted(t, p.bin, p.state, p.dir)
	shared := filepath.Join(p.dir, "groups/local/shared")
	random := rand.NewChaCha8([32]byte{7})
	first, second := make([]byte, 20_000), make([]byte, 20_000)
	random.Read(first)
	random.Read(second)
	doc, twin, other := filepath.Join(shared, "doc.bin"), filepath.Join(shared, "twin"), filepath.Join(shared, "other")
	for _, w := range []struct {
		name string
		b    []byte
	}{{doc, first}, {doc, second}, {twin, second}, {other, first}} {
		if err := os.WriteFile(w.name, w.b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	object := xattrOf(doc, "user.aios.object_id")
	damaged := xattrOf(doc, "user.aios.version_id")
	stopMount(t, p, daemon)
	rotPack(t, p.state, second)

	daemon = mounted(t, p.bin, p.state, p.dir)
	before, err := os.Open(doc)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: %v, want EACCES", what, err)
		}
	}
	read := func(name string) error {
		b, err := os.ReadFile(name)
		if err == nil && bytes.Equal(b, second) {
			t.Fatalf("%s: the bytes are whole, nothing was damaged", name)
		}
		return err
	}
	refused("the first reader", read(twin))
	refused("who had it open before", func() error { _, err := before.Read(make([]byte, 100)); return errors.Join(err, before.Close()) }())
	if b, err := os.ReadFile(doc); err != nil || !bytes.Equal(b, first) {
		t.Errorf("the version before: %d bytes, as they were: %v, %v", len(b), bytes.Equal(b, first), err)
	}
	if b, err := os.ReadFile(other); err != nil || !bytes.Equal(b, first) {
		t.Errorf("another file: %d bytes, %v", len(b), err)
	}
	var meta struct {
		Current string `json:"current_version_id"`
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "objects", object, "meta.json"))
	if err := errors.Join(err, json.Unmarshal(b, &meta)); err != nil || meta.Current == damaged || meta.Current != xattrOf(doc, "user.aios.version_id") {
		t.Errorf("CURRENT is %q, %v; %s is damaged", meta.Current, err, damaged)
	}
	vs, err := os.ReadDir(filepath.Join(shared, ".versions/doc.bin"))
	if err != nil || len(vs) != 2 {
		t.Fatalf("versions: %v, %v", vs, err)
	}
	i := slices.IndexFunc(vs, func(e fs.DirEntry) bool { return strings.Contains(e.Name(), damaged) })
	refused("its version", read(filepath.Join(shared, ".versions/doc.bin", vs[i].Name())))
	if code, _, errs := run(t, p.bin, "--mount", p.dir, "restore-version", doc+"@"+damaged); code == 0 || !strings.Contains(errs, "quarantine") {
		t.Errorf("restore-version of it: %d %s", code, errs)
	}
	if code, out, _ := run(t, p.bin, "--mount", p.dir, "history", doc); code != 0 || strings.Count(out, "in quarantine") != 1 || strings.Count(out, "current") != 1 {
		t.Errorf("history: %d %s", code, out)
	}
	// root looks at it, as far as it goes.
	b, err = os.ReadFile(filepath.Join(p.dir, "objects", object, "versions", damaged))
	if err != nil || len(b) != len(second) || bytes.Equal(b, second) || !bytes.Equal(b[:7000], second[:7000]) || !bytes.Equal(b[7001:], second[7001:]) {
		t.Errorf("what is left: %d bytes, %v", len(b), err)
	}
	// The same bytes, written again.
	again := filepath.Join(shared, "again")
	if err := os.WriteFile(again, second, 0o644); err != nil {
		t.Fatal(err)
	}
	whole := func(when string) {
		t.Helper()
		if b, err := os.ReadFile(again); err != nil || !bytes.Equal(b, second) {
			t.Errorf("%s, the same bytes: %d, as written: %v, %v", when, len(b), bytes.Equal(b, second), err)
		}
		refused(when, func() error { _, err := os.ReadFile(twin); return err }())
	}
	whole("written again")
	stopMount(t, p, daemon)
	if code, out, errs := run(t, p.bin, "fsck", "--state", p.state); code != 0 || !strings.Contains(out, "2 in quarantine") {
		t.Errorf("fsck: %d %s%s", code, out, errs)
	}
	if code, out, errs := run(t, p.bin, "gc", "--state", p.state); code != 0 {
		t.Errorf("gc: %d %s%s", code, out, errs)
	}
	daemon = mounted(t, p.bin, p.state, p.dir)
	whole("at the next start")
	for _, word := range []string{`"event":"entered"`, "VersionQuarantined"} {
		out, err := exec.Command("grep", "-rl", "--", word, filepath.Join(p.dir, "evidence/payloads")).CombinedOutput()
		if n := len(bytes.Fields(out)); err != nil || n == 0 || n > 1 && word != "VersionQuarantined" {
			t.Errorf("records of %s: %q, %v", word, out, err)
		}
	}
	stopMount(t, p, daemon)
	if code, out, errs := run(t, p.bin, "verify", "--state", p.state); code != 0 {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
	t.Log("proves: F-4")
}

// rotPack changes one byte of these, where they lie in a pack.
func rotPack(t *testing.T, state string, want []byte) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(state, "blobs/packs/*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range packs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, want); i >= 0 {
			b[i+7000] ^= 0x10
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("the bytes are in none of %d packs", len(packs))
}
