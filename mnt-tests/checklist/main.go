// Command checklist turns the JSON stream of `go test` into two things: what a
// person wants to see while tests run, and the measure of how much of the
// reference is proved.
//
// The reference (the numbered checklists of its documents) stands in
// mnt-tests/checklist.tsv. A test proves an item by logging a line
//
//	proves: actions-6 F-90
//
// and passing. The command runs no test itself: `-record FILE` reads the stream
// on standard input, keeps it and prints it readably; `-report FILE` reads a kept
// stream and prints proved / total for each document with what is missing.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// item is one row of checklist.tsv.
type item struct{ id, document, what, issue string }

var provesLine = regexp.MustCompile(`\bproves:\s+([A-Za-z0-9 ,-]+)`)

func main() {
	record := flag.String("record", "", "keep the stream read from standard input in this file")
	report := flag.String("report", "", "report on a kept stream")
	table := flag.String("table", "mnt-tests/checklist.tsv", "the checklist")
	issue := flag.String("issue", "", "list missing items of this issue only")
	brief := flag.Bool("brief", false, "print totals only, not the missing items")
	flag.Parse()
	var err error
	switch {
	case *record != "":
		err = keep(os.Stdin, *record, os.Stdout)
	case *report != "":
		err = measure(*report, *table, *issue, *brief, os.Stdout)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "checklist:", err)
		os.Exit(1)
	}
}

// keep copies the stream to a file and prints package results and the full
// output of failed tests. It fails when any package failed or none ran.
func keep(in io.Reader, path string, out io.Writer) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var passed, failed, skipped, packages int
	kept := map[string][]string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		if _, err := fmt.Fprintln(f, lines.Text()); err != nil {
			return err
		}
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // a build error, printed by the go command itself
			continue
		}
		key := e.Package + "\x00" + e.Test
		switch e.Action {
		case "output":
			if e.Test == "" {
				if strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL") || strings.HasPrefix(e.Output, "panic") {
					fmt.Fprint(out, e.Output)
				} else {
					kept[key] = append(kept[key], e.Output)
				}
				continue
			}
			kept[key] = append(kept[key], e.Output)
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "pass", "skip", "fail":
			if e.Test == "" {
				packages++
				if e.Action == "fail" {
					failed++
					fmt.Fprint(out, strings.Join(kept[key], ""))
				}
			} else {
				switch e.Action {
				case "pass":
					passed++
				case "skip":
					skipped++
					fmt.Fprint(out, strings.Join(kept[key], ""))
				case "fail":
					failed++
					fmt.Fprint(out, strings.Join(kept[key], ""))
				}
			}
			delete(kept, key)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		return fmt.Errorf("%d tests or packages failed", failed)
	}
	if passed == 0 || packages == 0 {
		return fmt.Errorf("no test ran")
	}
	return f.Close()
}

// measure prints, for each document, how many items a passing test proves.
func measure(stream, table, issue string, brief bool, out io.Writer) error {
	items, err := readTable(table)
	if err != nil {
		return err
	}
	proved, unknown, err := readProofs(stream, items)
	if err != nil {
		return err
	}
	total, done := map[string]int{}, map[string]int{}
	var documents []string
	for _, it := range items {
		if total[it.document] == 0 {
			documents = append(documents, it.document)
		}
		total[it.document]++
		if proved[it.id] {
			done[it.document]++
		}
	}
	all, allDone := 0, 0
	for _, d := range documents {
		fmt.Fprintf(out, "%-24s %4d / %d\n", d, done[d], total[d])
		all, allDone = all+total[d], allDone+done[d]
	}
	fmt.Fprintf(out, "%-24s %4d / %d  (%.1f %%)\n", "all", allDone, all, 100*float64(allDone)/float64(all))
	byIssue := map[string][2]int{}
	for _, it := range items {
		n := byIssue[it.issue]
		n[1]++
		if proved[it.id] {
			n[0]++
		}
		byIssue[it.issue] = n
	}
	issues := make([]string, 0, len(byIssue))
	for k := range byIssue {
		issues = append(issues, k)
	}
	sort.Strings(issues)
	for _, k := range issues {
		fmt.Fprintf(out, "issue %-18s %4d / %d\n", k, byIssue[k][0], byIssue[k][1])
	}
	if !brief {
		fmt.Fprintln(out, "\nmissing:")
		for _, it := range items {
			if !proved[it.id] && (issue == "" || it.issue == issue) {
				fmt.Fprintf(out, "  %-12s issue %-6s %s\n", it.id, it.issue, it.what)
			}
		}
	}
	if len(unknown) > 0 {
		return fmt.Errorf("tests claim items that the checklist does not have: %s", strings.Join(unknown, " "))
	}
	return nil
}

func readTable(path string) ([]item, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var items []item
	for n, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		if n == 0 {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("%s:%d: want 4 columns, have %d", path, n+1, len(f))
		}
		items = append(items, item{f[0], f[1], f[2], f[3]})
	}
	return items, nil
}

// readProofs returns the items that a passed test claims. A claim counts for the
// test that logged it; a test whose result is not `pass` proves nothing.
func readProofs(path string, items []item) (map[string]bool, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (run `make test` first)", err)
	}
	defer f.Close()
	known := map[string]bool{}
	for _, it := range items {
		known[it.id] = true
	}
	claims, result := map[string][]string{}, map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		key := e.Package + "\x00" + e.Test
		switch e.Action {
		case "output":
			if m := provesLine.FindStringSubmatch(e.Output); m != nil {
				claims[key] = append(claims[key], strings.FieldsFunc(m[1], func(r rune) bool { return r == ' ' || r == ',' })...)
			}
		case "pass", "fail", "skip":
			result[key] = e.Action
		}
	}
	proved, bad := map[string]bool{}, map[string]bool{}
	for test, ids := range claims {
		for _, id := range ids {
			if !known[id] {
				bad[id] = true
			} else if result[test] == "pass" {
				proved[id] = true
			}
		}
	}
	var unknown []string
	for id := range bad {
		unknown = append(unknown, id)
	}
	sort.Strings(unknown)
	return proved, unknown, lines.Err()
}
