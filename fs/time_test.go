package fs

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"2026-11-23T10:15:04Z":           time.Date(2026, 11, 23, 10, 15, 4, 0, time.UTC),
		"2026-11-23T10:15:04.5+02:00":    time.Date(2026, 11, 23, 8, 15, 4, 5e8, time.UTC),
		"2026-11-22":                     time.Date(2026, 11, 22, 23, 59, 59, 999999000, time.UTC),
		"2026-11-23":                     now, // not over yet
		"yesterday":                      now.AddDate(0, 0, -1),
		"2h":                             now.Add(-2 * time.Hour),
		"3d":                             now.AddDate(0, 0, -3),
		"now":                            now,
		"2026-11-23T10:15":               time.Date(2026, 11, 23, 10, 15, 0, 0, time.UTC),
		"whenever":                       {},
		"h":                              {},
		"-2h":                            {},
		"99999999999d":                   {},
		"2026-13-01":                     {},
		"2026-11-23T10:15:04Z; rm -rf /": {},
	} {
		got, err := parseTime(in, now)
		if (err != nil) != want.IsZero() || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("2h")
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseTime(s, time.Now()); err == nil && at.IsZero() {
			t.Errorf("%q is the zero time", s)
		}
	})
}
