// Command benchtable turns the rounds of peers.sh into one table and one picture: the
// median of every metric on our mount, on go-fuse's loopback and on the bare disk, how
// many times better than loopback we are, and whether that reaches the floor and the
// target set for it.
//
// Usage: benchtable [-svg FILE] [-tsv FILE] ROUNDS.tsv; a line of ROUNDS.tsv is
// target, metric, value, unit, with tabs between.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// bound is what a metric must reach in times loopback before this is called done, and
// what is wanted.
type bound struct{ floor, target float64 }

// bounds are those of "As fast as the disk under it"; the cold listing's are the ones
// for a mount that has ACLs, as ours has.
var bounds = map[string]bound{
	"meta_create_1k": {1.5, 2.5}, "meta_stat_cold": {1.5, 2.3}, "meta_stat_warm": {0.8, 1},
	"meta_ls_l_cold": {1.5, 2}, "meta_ls_l_warm": {4, 7}, "meta_read_1k_cold": {2, 3.5}, "meta_read_1k_warm": {1.2, 1.8},
	"meta_rename": {1.5, 2.3}, "meta_unlink": {1.8, 3}, "fsync_create_1k": {1.2, 1.8},
	"seq_write_128k_fsync": {0.9, 1.2}, "seq_read_128k_cold": {0.85, 1}, "seq_read_128k_warm": {0.85, 1},
	"rand_read_4k_cold": {0.85, 1}, "rand_read_4k_warm": {0.85, 1}, "rand_write_4k_fsync": {3, 6},
	"tree_tar_x": {1.5, 2.3}, "tree_rm_rf": {2.5, 4.5}, "tree_find_cold": {1.5, 2.3},
	"tree_grep_r_cold": {2, 3.5}, "tree_grep_r_warm": {2, 3.5},
	"git_clone": {1.1, 1.5}, "git_status_cold": {1.5, 3.5}, "git_status_warm": {0.9, 1},
}

// row is one metric: its medians by target.
type row struct {
	metric, unit string
	values       map[string][]float64
}

func (r row) median(target string) float64 {
	v := slices.Clone(r.values[target])
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// times is how many times better than loopback we are; 0 where one of them is missing.
func (r row) times(than string) float64 {
	ours, theirs := r.median("aios"), r.median(than)
	switch {
	case ours <= 0 || theirs <= 0:
		return 0
	case r.unit == "s":
		return theirs / ours
	}
	return ours / theirs
}

// verdict compares with the bounds of the metric.
func (r row) verdict() string {
	b, ok := bounds[r.metric]
	t := r.times("loopback")
	switch {
	case !ok || t == 0:
		return ""
	case t >= b.target:
		return "target"
	case t >= b.floor:
		return "floor"
	}
	return "below"
}

func read(in io.Reader) ([]row, error) {
	var rows []row
	at := map[string]int{}
	sc := bufio.NewScanner(in)
	for n := 1; sc.Scan(); n++ {
		f := strings.Split(sc.Text(), "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("line %d: want target, metric, value, unit; have %d columns", n, len(f))
		}
		if _, ok := at[f[1]]; !ok {
			at[f[1]] = len(rows)
			rows = append(rows, row{metric: f[1], unit: f[3], values: map[string][]float64{}})
		}
		if f[2] == "NA" {
			continue
		}
		v, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r := rows[at[f[1]]]
		r.values[f[0]] = append(r.values[f[0]], v)
	}
	return rows, sc.Err()
}

func table(w io.Writer, rows []row) {
	fmt.Fprintf(w, "%-22s %11s %11s %11s  %-6s %9s %7s %6s %7s\n", "metric", "aios", "loopback", "disk", "unit", "×loopback", "×disk", "floor", "")
	met, count := 0, 0
	for _, r := range rows {
		b := bounds[r.metric]
		v := r.verdict()
		if v != "" {
			count++
			if v != "below" {
				met++
			}
		}
		fmt.Fprintf(w, "%-22s %11.6g %11.6g %11.6g  %-6s %9.2f %7.2f %6.4g %7s\n", r.metric, r.median("aios"), r.median("loopback"), r.median("disk"), r.unit, r.times("loopback"), r.times("disk"), b.floor, v)
	}
	fmt.Fprintf(w, "%d of %d at the floor or above it\n", met, count)
}

func tsv(w io.Writer, rows []row) {
	fmt.Fprintln(w, "metric\taios\tloopback\tdisk\tunit\ttimes_loopback\ttimes_disk\tfloor\ttarget\tverdict")
	for _, r := range rows {
		b := bounds[r.metric]
		fmt.Fprintf(w, "%s\t%g\t%g\t%g\t%s\t%.3f\t%.3f\t%g\t%g\t%s\n", r.metric, r.median("aios"), r.median("loopback"), r.median("disk"), r.unit, r.times("loopback"), r.times("disk"), b.floor, b.target, r.verdict())
	}
}

func run() error {
	picture := flag.String("svg", "", "write the picture to `FILE`")
	numbers := flag.String("tsv", "", "write the table with tabs to `FILE`")
	title := flag.String("title", "", "a line under the picture's heading")
	flag.Parse()
	if flag.NArg() != 1 {
		return fmt.Errorf("usage: benchtable [-svg FILE] [-tsv FILE] ROUNDS.tsv")
	}
	f, err := os.Open(flag.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", flag.Arg(0), err)
	}
	table(os.Stdout, rows)
	var b strings.Builder
	if *numbers != "" {
		tsv(&b, rows)
		if err := os.WriteFile(*numbers, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if *picture != "" {
		return os.WriteFile(*picture, []byte(draw(rows, *title)), 0o644)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}
