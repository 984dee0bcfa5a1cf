package objects

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// still is a clock that stands where a test sets it.
type still struct{ ns atomic.Int64 }

func (c *still) now() time.Time      { return time.Unix(0, c.ns.Load()).UTC() }
func (c *still) set(t time.Time)     { c.ns.Store(t.UnixNano()) }
func (c *still) add(d time.Duration) { c.ns.Add(int64(d)) }

// How far back the past can be read: a second within the retention it is all there, a second
// beyond it is refused, also when what lies before was given up on disk (F-105).
func TestHorizon(t *testing.T) {
	c := &still{}
	c.set(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	const keep = 90 * 24 * time.Hour
	dir := t.TempDir()
	open := func() *Store {
		t.Helper()
		s, err := Open(context.Background(), Options{Dir: dir, Now: c.now, Retention: keep, EpochInterval: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	write := func(text string) time.Time {
		t.Helper()
		c.add(time.Second)
		put(t, s, RootIno, "f", text)
		if err := s.commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.add(time.Second)
		return c.now()
	}
	read := func(at time.Time) (string, error) {
		sn, err := s.At(at)
		if err != nil {
			return "", err
		}
		defer sn.Close()
		a, err := sn.Lookup(RootIno, "f")
		if err != nil {
			return "", err
		}
		r, err := sn.Open(a.Ino)
		if err != nil {
			return "", err
		}
		defer r.Close()
		b := make([]byte, r.Size())
		_, err = r.ReadAt(b, 0)
		return string(b), err
	}
	want := func(when string, at time.Time, text string) {
		t.Helper()
		if got, err := read(at); text == "" && !errors.Is(err, ErrHorizon) || text != "" && (err != nil || got != text) {
			t.Errorf("%s: %q, %v, want %q", when, got, err, text)
		}
	}
	first := write("first")
	c.add(10 * 24 * time.Hour)
	second := write("second")
	c.set(first.Add(keep - time.Second))
	want("one second within", first, "first")
	c.add(2 * time.Second)
	want("one second beyond", first, "")
	want("the second within", second, "second")
	c.set(second.Add(keep - time.Second))
	write("third")
	c.set(second.Add(keep - time.Second))
	s.advanceHorizon()
	if h := s.db.Horizon().Time(); !h.After(first) {
		t.Fatalf("nothing is given up: the horizon is at %v", h)
	}
	want("one second within what is left", second, "second")
	want("given up", first, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	want("one second within, at the next start", second, "second")
	c.add(3 * time.Second)
	want("one second beyond, at the next start", second, "")
	t.Log("proves: F-105")
}
