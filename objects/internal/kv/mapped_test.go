package kv

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The files that are given stay mapped, though tables come and go: what is done to their
// addresses is done to them.
func TestMappedFilesStayMapped(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{Dir: dir, MemTable: minMemTable})
	defer d.Close()
	var writing sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := NewBatch()
			for k := range 40 {
				v := make([]byte, 2<<10)
				_, _ = rand.Read(v) // never fails
				b.Set(fmt.Appendf(nil, "k%d", (i*40+k)*7919%4000), v)
			}
			if _, err := d.Commit(context.Background(), b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	most := 0
	for looks := 0; looks < 200 || most < 8; looks++ {
		if err := d.Mapped(func(files []string) {
			most = max(most, len(files))
			maps, err := os.ReadFile("/proc/self/maps")
			if err != nil {
				t.Error(err)
			}
			for _, f := range files {
				if filepath.Ext(f) == ".sst" && !strings.Contains(string(maps), f+"\n") {
					t.Errorf("look %d: %s is not mapped", looks, f)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if t.Failed() || looks > 20_000 {
			break
		}
	}
	close(stop)
	writing.Wait()
	if most < 8 {
		t.Errorf("at most %d files", most)
	}
}
