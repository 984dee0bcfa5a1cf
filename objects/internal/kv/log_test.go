package kv

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What Badger advises on its cache is for debugging; what else it warns of is told.
func TestBadgerWarnings(t *testing.T) {
	var told bytes.Buffer
	l := badgerLog{slog.New(slog.NewTextHandler(&told, nil))}
	l.Warningf("%s might be too small. Metrics: %s\n", "Block cache", "hit: 1")
	l.Warningf("Cache life expectancy (in seconds): %+v\n", 2)
	if told.Len() > 0 {
		t.Errorf("a user is told: %s", &told)
	}
	l.Warningf("the disk is %s", "slow")
	if s := told.String(); !strings.Contains(s, "WARN") || !strings.Contains(s, "badger: the disk is slow") {
		t.Errorf("a warning is told as %q", s)
	}
}
