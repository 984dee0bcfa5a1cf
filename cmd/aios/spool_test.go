package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	mountfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/objects"
)

// A spool that stops between any two steps of taking a file goes on with it, and the
// goal is carried out once.
func TestSpoolStoppedBetweenItsSteps(t *testing.T) {
	ctx := context.Background()
	cfg := defaultConfig()
	cfg.State = filepath.Join(t.TempDir(), "state")
	d, err := openDaemon(ctx, cfg, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, dir := range []string{"groups", "groups/local", "groups/local/shared"} {
		if _, err := d.store.EnsureDir(ctx, dir, 0o1777, 0, 0, objects.Scope{Kind: objects.ScopeGroup, Group: "local"}); err != nil {
			t.Fatal(err)
		}
	}
	var o mountfs.Options
	if err := d.startRuntime(ctx, &o); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := func(stop string) *spool {
		t.Helper()
		box, err := checkSpool(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { box.Close() })
		box.fail = func(point string) {
			if point == stop {
				runtime.Goexit()
			}
		}
		s, err := startSpool(ctx, box, o.Intents, d.ids.Catalog, func(context.Context, mountfs.Caller) error { return nil }, d.logger)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, stop := range []string{"answer made", "submitted", "moved"} {
		name := strings.ReplaceAll(stop, " ", "-") + ".yaml"
		s := start(stop)
		time.Sleep(50 * time.Millisecond) // past its first look
		tmp := filepath.Join(dir, ".tmp")
		doc := "schema: aios.intent.v1alpha1\nreason: test\nactions:\n  - id: a\n    action: aiosfs.object.append\n    target: {path: /aios/groups/local/shared/" + name + "}\n    params: {content: \"once\\n\"}\n"
		if err := os.WriteFile(tmp, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		s.done.Wait() // it has stopped there
		if b, err := os.ReadFile(filepath.Join(dir, name+".d", "state")); err == nil {
			t.Errorf("%s: it went on to %s", stop, b)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // also once more, when all is done
			s = start("")
			began := time.Now()
			for {
				b, _ := os.ReadFile(filepath.Join(dir, name+".d", "state"))
				if string(b) == "SUCCEEDED\n" {
					break
				}
				if time.Since(began) > 2*time.Minute {
					t.Fatalf("%s: %q", stop, b)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		a, err := d.store.Resolve("groups/local/shared/" + name)
		if err != nil || a.Size != int64(len("once\n")) {
			t.Errorf("%s: %d bytes, %v", stop, a.Size, err)
		}
	}
}

func TestSpoolRefusesDirectoriesOfOthers(t *testing.T) {
	dir := t.TempDir()
	for mode, ok := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o777 | os.ModeSticky: true, 0o733 | os.ModeSticky: true, 0o777: false, 0o770: false, 0o722: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		box, err := checkSpool(dir)
		if (err == nil) != ok {
			t.Errorf("%v: %v", mode, err)
		}
		if err == nil {
			box.Close()
		} else if !strings.Contains(err.Error(), "sticky") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	link := filepath.Join(t.TempDir(), "none")
	if _, err := checkSpool(link); err == nil {
		t.Error("a spool that is not there")
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 4321, 4321); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := checkSpool(dir); err == nil {
			t.Error("a spool of another user")
		}
	}
}
