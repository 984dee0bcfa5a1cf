package main

import (
	"strings"
	"testing"
)

const rounds = "aios\tmeta_rename\t9000\tops/s\nloopback\tmeta_rename\t3000\tops/s\naios\tmeta_rename\t6000\tops/s\nloopback\tmeta_rename\t2000\tops/s\n" +
	"aios\ttree_tar_x\t2.0\ts\nloopback\ttree_tar_x\t3.2\ts\naios\tgit_clone\t1\ts\nloopback\tgit_clone\t1\ts\naios\trand_read_4k_cold\tNA\tIOPS\n"

func TestTimesAndVerdicts(t *testing.T) {
	rows, err := read(strings.NewReader(rounds))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		metric  string
		times   float64
		verdict string
	}{{"meta_rename", 3, "target"}, {"tree_tar_x", 1.6, "floor"}, {"git_clone", 1, "below"}, {"rand_read_4k_cold", 0, ""}}
	if len(rows) != len(want) {
		t.Fatalf("%d rows, want %d", len(rows), len(want))
	}
	for i, w := range want {
		if r := rows[i]; r.metric != w.metric || r.times("loopback") != w.times || r.verdict() != w.verdict {
			t.Errorf("%s: %v %q, want %v", r.metric, r.times("loopback"), r.verdict(), w)
		}
	}
	var b strings.Builder
	table(&b, rows)
	if !strings.Contains(b.String(), "2 of 3 at the floor") {
		t.Errorf("the table:\n%s", b.String())
	}
	if svg := draw(rows, "a <machine>"); !strings.Contains(svg, "a &lt;machine&gt;") || strings.Count(svg, `fill="#d95f0e"`) != 1 {
		t.Errorf("the picture:\n%s", svg)
	}
}

func TestOddLinesAreErrors(t *testing.T) {
	for _, s := range []string{"aios\tx\t1\n", "aios\tx\tfast\ts\n"} {
		if _, err := read(strings.NewReader(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}
