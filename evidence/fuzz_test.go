package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// Whatever parses as a record is exactly what would be written for it.
func FuzzParseRecord(f *testing.F) {
	l := openAt(f, Options{})
	for _, r := range appendN(f, l, 2) {
		f.Add(r.Bytes)
		f.Add(bytes.Replace(r.Bytes, []byte(`"emitter"`), []byte(`"emittex"`), 1))
		f.Add(r.Bytes[:len(r.Bytes)-7])
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"a":true,}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		if !bytes.Equal(appendRecord(nil, &r), data) {
			t.Fatal("not canonical")
		}
		if again, err := jcs.Transform(data); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("not JCS: %v", err)
		}
	})
}

// A segment of any bytes is read without panic, and only whole, chained
// records come out of it.
func FuzzSegment(f *testing.F) {
	l := openAt(f, Options{})
	appendN(f, l, 3)
	recs, _ := os.ReadFile(filepath.Join(segmentPath(l.o.Dir, 1), recordsName))
	pays, _ := os.ReadFile(filepath.Join(segmentPath(l.o.Dir, 1), payloadsName))
	f.Add(recs, pays)
	f.Add(recs[:len(recs)-9], pays)
	f.Add(recs, pays[:40])
	f.Add([]byte(recordMagic), []byte(payloadMagic))
	f.Add([]byte{}, []byte{})
	f.Add(append([]byte(recordMagic), 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4), pays)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, recs, pays []byte) {
		os.Remove(filepath.Join(dir, recordsName)) // truncating one instead makes ext4 flush it
		os.Remove(filepath.Join(dir, payloadsName))
		os.WriteFile(filepath.Join(dir, recordsName), recs, 0o644)
		os.WriteFile(filepath.Join(dir, payloadsName), pays, 0o644)
		st := segmentState{seq: 1, link: zeroLink}
		n := uint64(0)
		err := scanSegment(dir, "segment", &st, func(s *scanned) error {
			n++
			if s.Seq != n {
				t.Fatalf("record %d has number %d", n, s.Seq)
			}
			return nil
		})
		var d *damage
		if err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
	})
}

func FuzzSplitBundle(f *testing.F) {
	f.Add(tile.AppendEntry(tile.AppendEntry(nil, []byte("a")), nil))
	f.Add([]byte{0, 5, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := tile.SplitBundle(data)
		var again []byte
		for _, e := range entries {
			again = tile.AppendEntry(again, e)
		}
		if !bytes.HasPrefix(data, again) || err == nil && len(again) != len(data) {
			t.Fatal("entries do not add up")
		}
	})
}

// small leaves out floats that JSON writes as integers beyond 2^53: those
// become strings here, on purpose.
func small(f float64) bool { return math.Abs(f) <= maxSafe || math.Abs(f) >= 1e21 }

// The canonical encoder agrees with an independent JCS implementation.
func TestCanonicalAgainstJCS(t *testing.T) {
	var value *rapid.Generator[any]
	scalar := rapid.OneOf(
		rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil), rapid.Int32().AsAny(), rapid.Float64Range(-1e300, 1e300).Filter(small).AsAny(),
		rapid.SampledFrom([]string{"<&>", "\u2028", "é", "\U0001f600", "\x00\x1f\x7f", `"\/`}).AsAny())
	value = rapid.Deferred(func() *rapid.Generator[any] {
		return rapid.OneOf(scalar, scalar, rapid.SliceOfN(value, 0, 4).AsAny(), rapid.MapOfN(rapid.String(), value, 0, 4).AsAny())
	})
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOfN(rapid.String(), value, 0, 6).Draw(t, "payload")
		plainPayload, err := normalise(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := appendCanonical(nil, plainPayload)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(raw)
		if err != nil {
			t.Skip("the reference refuses it: " + err.Error())
		}
		if string(got) != string(want) {
			t.Fatalf("\n got %s\nwant %s", got, want)
		}
	})
	big, err := normalise(map[string]any{"a": uint64(1) << 60, "b": int64(-1) << 60, "c": 12})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := appendCanonical(nil, big)
	if string(got) != `{"a":"1152921504606846976","b":"-1152921504606846976","c":12}` {
		t.Fatalf("%s", got)
	}
}

// Redaction is idempotent, and what it returns never holds a dropped value.
func TestRedactionProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9]{12,40}`).Draw(t, "secret")
		name := rapid.SampledFrom([]string{"password", "Api-Key", "client_secret", "TOKEN", "private_key"}).Draw(t, "name")
		m := map[string]any{"x": []any{map[string]any{name: secret}}, "y": "fine"}
		out, rules, err := redact(m, false)
		if err != nil || rules&ruleDropped == 0 {
			t.Fatal(err, rules)
		}
		b, _ := appendCanonical(nil, out)
		if strings.Contains(string(b), secret) {
			t.Fatalf("%s", b)
		}
		key := "ghp_" + rapid.StringMatching(`[A-Za-z0-9]{36}`).Draw(t, "key")
		pre := rapid.StringMatching(`[a-z ]{0,20}`).Draw(t, "pre")
		var r redactor
		once := r.text(pre+" "+key, "log")
		if strings.Contains(once, key) {
			t.Fatal(once)
		}
		if twice := r.text(once, "log"); twice != once {
			t.Fatalf("%q became %q", once, twice)
		}
	})
}
