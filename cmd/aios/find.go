package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-os-dot-net/aios/views"
)

// found is one object of `aios find`.
type found struct {
	Path     string    `json:"path"`
	ObjectID string    `json:"object_id"`
	Kind     string    `json:"kind"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Labels   string    `json:"labels,omitempty"`
}

// answer is what a query's result file says (filesystem.md §2, ExecuteQueryResponse).
type answer struct {
	Source  string           `json:"source"`
	Columns []string         `json:"columns"`
	Rows    []map[string]any `json:"rows"`
	AsOf    string           `json:"as_of_timestamp"`
	text    []byte
}

func findCommand() *cobra.Command {
	whole := false
	cmd := &cobra.Command{Use: "find QUERY", Short: "Run a query of the query language, or search for words",
		Long: "QUERY is a query, `from objects where name contains \"report\" order by created_at desc limit 10`,\n" +
			"or plain words, which are searched for in names, labels and text. Besides objects there are versions,\n" +
			"pointers, transactions, conflicts, evidence and actions: `from evidence group by record_type select count(*) as n`.",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			t, err := findTree(c)
			if err != nil {
				return err
			}
			r, err := t.ask(strings.TrimSpace(strings.Join(a, " ")))
			if err != nil {
				return err
			}
			switch {
			case whole:
				_, err = c.OutOrStdout().Write(r.text)
				return err
			case r.Source == "objects" && r.has("path"):
				return printObjects(c, t, r)
			case wantsJSON(c):
				return printJSON(c.OutOrStdout(), r.Rows)
			}
			return r.table(c.OutOrStdout())
		}}
	cmd.Flags().BoolVar(&whole, "result", false, "print the whole result as the mount gives it: the canonical query, its id, the status, the rows")
	return cmd
}

// ask reads the result of a query below views/query/.
func (t tree) ask(q string) (answer, error) {
	if !strings.HasPrefix(q, "from ") {
		if strings.Contains(q, "/") {
			return answer{}, fail(exitUsage, "words are searched for without `/`; a path is given to a query: from objects where under \"…\"")
		}
		q = `from objects where match "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(q) + `" order by score desc`
	}
	for _, part := range strings.Split(q, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return answer{}, fail(exitUsage, "a query is a path here: between two `/` it has 1 to 255 bytes, and neither `.` nor `..`")
		}
	}
	// A query may hold slashes, and is not to be tidied up.
	b, err := os.ReadFile(t.path("views", "query") + "/" + q + "/" + views.ResultFile)
	code := exitFailed
	switch {
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOENT):
		code = exitUsage
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOMEM):
	case err != nil:
		return answer{}, reach(err)
	}
	if err != nil {
		return answer{}, fail(code, "%s", firstOf(t.read("views", "query", ".error"), "the query does not parse"))
	}
	r := answer{text: b}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("the result of the query: %w", err)
	}
	return r, nil
}

func (r answer) has(column string) bool {
	for _, c := range r.Columns {
		if c == column {
			return true
		}
	}
	return false
}

func printObjects(c *cobra.Command, t tree, r answer) error {
	list := make([]found, len(r.Rows))
	for i, row := range r.Rows {
		f := &list[i]
		f.ObjectID, f.Kind, f.Labels = cellText(row["object_id"]), cellText(row["kind"]), cellText(row["metadata.labels"])
		size, _ := row["size"].(float64)
		f.Size, f.Path = int64(size), cellText(row["path"])
		if link := cellText(row["link"]); link != "" {
			f.Path = t.path(link)
		}
		f.Modified, _ = time.Parse(time.RFC3339Nano, cellText(row["updated_at"]))
	}
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), list)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, f := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Modified.Local().Format("2006-01-02 15:04"), f.Size, printableText(f.Path), f.Labels)
	}
	return w.Flush()
}

// table prints rows under their columns' names; a column that no row has is left out.
func (r answer) table(out io.Writer) error {
	var columns []string
	for _, c := range r.Columns {
		for _, row := range r.Rows {
			if row[c] != nil {
				columns = append(columns, c)
				break
			}
		}
	}
	if len(columns) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(columns, "\t")))
	for _, row := range r.Rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = printableText(cellText(row[c]))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// printableText keeps what a name may hold from moving a terminal's cursor.
func printableText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func cellText(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case []any:
		var parts []string
		for _, p := range x {
			parts = append(parts, cellText(p))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(v)
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
