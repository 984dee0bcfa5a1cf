package evidence

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ai-os-dot-net/aios/evidence/record"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EVIDENCE_APPEND_CHILD"); dir != "" {
		appendChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// openAt opens a log that the test closes.
func openAt(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "evidence")
	}
	if o.Key == nil && !o.ReadOnly {
		o.Key = newKey(t)
	}
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func received(n int) Draft {
	return Draft{Type: record.ActionReceived, Subject: "family:alice", Emitter: "runtime", GroupID: "family",
		Payload: map[string]any{"action": "aiosfs.object.write", "n": n}}
}

func appendN(t testing.TB, l *Log, n int) []Receipt {
	t.Helper()
	var out []Receipt
	for i := range n {
		r, err := l.Append(context.Background(), received(i))
		if err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
		out = append(out, r...)
	}
	return out
}

// verified fails the test unless dir verifies.
func verified(t testing.TB, dir string) Report {
	t.Helper()
	rep, err := Verify(context.Background(), dir, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Consistent {
		t.Fatalf("not consistent: record %d %s, %s at %d: %s", rep.FirstAnomalousSeq, rep.FirstAnomalousID, rep.File, rep.Offset, rep.Problem)
	}
	return rep
}

// clock is a clock that moves only when told to.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func id(prefix string, n int) string {
	return prefix + fmt.Sprintf("01HZZZZZZZZZZZZZZZZZ%06d", n)
}
