package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// logLine is what `aios log` shows of an evidence record; the JSON form prints the
// record whole, as it is stored.
type logLine struct {
	Seq     string `json:"sequence_number"`
	ID      string `json:"receipt_id"`
	At      string `json:"recorded_at"`
	Type    string `json:"record_type"`
	Subject string `json:"subject"`
	AI      bool   `json:"subject_is_ai"`
	Action  string `json:"action_id"`
	Corr    string `json:"correlation_id"`
	Sim     bool   `json:"simulated"`
}

// logFilter picks records; a zero field does not filter.
type logFilter struct {
	typ, action, correlation, subject string
	since                             time.Time
	simulated                         bool
}

func (f logFilter) takes(r logLine) bool {
	if f.typ != "" && !strings.EqualFold(f.typ, r.Type) || f.action != "" && f.action != r.Action ||
		f.correlation != "" && f.correlation != r.Corr || f.subject != "" && f.subject != r.Subject || r.Sim && !f.simulated {
		return false
	}
	if !f.since.IsZero() {
		at, err := time.Parse(time.RFC3339Nano, r.At)
		return err == nil && !at.Before(f.since)
	}
	return true
}

func logCommand() *cobra.Command {
	var follow bool
	var last int
	var since string
	var f logFilter
	c := &cobra.Command{Use: "log", Short: "Evidence, newest last", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if since != "" {
				d, err := parseDuration(since)
				if err == nil {
					f.since = time.Now().Add(-d)
				} else if f.since, err = time.Parse(time.RFC3339, since); err != nil {
					return fail(exitUsage, "--since takes a duration (2h, 3d) or a time (2026-11-23T10:00:00Z), not %q", since)
				}
			}
			t, err := findTree(c)
			if err != nil {
				return err
			}
			return showLog(c, t, f, last, follow)
		}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as records come")
	c.Flags().IntVarP(&last, "last", "n", 50, "how many of the newest (0: all)")
	c.Flags().StringVar(&f.typ, "type", "", "this record type only, such as POLICY_DECISION")
	c.Flags().StringVar(&f.action, "action", "", "this action only (act_…)")
	c.Flags().StringVar(&f.correlation, "correlation", "", "this correlation only (corr_…)")
	c.Flags().StringVar(&f.subject, "subject", "", "this subject only, such as local:alice")
	c.Flags().StringVar(&since, "since", "", "not older than this: 2h, 3d, or a time")
	c.Flags().BoolVar(&f.simulated, "simulated", false, "show what simulations recorded too")
	return c
}

// head reads the number of records from evidence/head, whose first line is it.
func (t tree) head() (uint64, error) {
	b, err := os.ReadFile(t.evidence("head"))
	if err != nil {
		return 0, reach(err)
	}
	s := bufio.NewScanner(strings.NewReader(string(b)))
	for s.Scan() {
		for _, field := range strings.Fields(s.Text()) {
			if n, err := strconv.ParseUint(strings.Trim(field, `",:`), 10, 64); err == nil {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%s names no size", t.evidence("head"))
}

// bySeq is the path of record n, by threes, as evidence/by-seq has it.
func (t tree) bySeq(n uint64) string {
	s := fmt.Sprintf("%09d", n)
	return t.evidence("by-seq", s[:len(s)-6], s[len(s)-6:len(s)-3], s[len(s)-3:])
}

func showLog(c *cobra.Command, t tree, f logFilter, last int, follow bool) error {
	size, err := t.head()
	if err != nil {
		return err
	}
	var shown [][]byte
	hidden := 0
	for n := size; n >= 1 && (last == 0 || len(shown) < last); n-- {
		b, r, err := readRecord(t, n)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			hidden++
			continue
		}
		if err != nil {
			return reach(err)
		}
		if !f.since.IsZero() {
			if at, err := time.Parse(time.RFC3339Nano, r.At); err == nil && at.Before(f.since) {
				break
			}
		}
		if f.takes(r) {
			shown = append(shown, b)
		}
	}
	for i := len(shown) - 1; i >= 0; i-- {
		printRecord(c, shown[i])
	}
	if !follow {
		return nil
	}
	return followLog(c.Context(), c, t, f, size)
}

func readRecord(t tree, n uint64) ([]byte, logLine, error) {
	var r logLine
	b, err := os.ReadFile(t.bySeq(n))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	return b, r, err
}

// followLog reads evidence/follow, which waits for records (inotify does not see what the
// daemon does). What was appended between the look at the head and its open, and what it
// says that it did not keep for a terminal that was too slow, is read by number.
func followLog(ctx context.Context, c *cobra.Command, t tree, f logFilter, seen uint64) error {
	feed, err := os.Open(t.evidence("follow"))
	if err != nil {
		return reach(err)
	}
	// It is never closed: that would wait for the read that waits for the next record, which
	// only the end of the process breaks off.
	upTo := func(last uint64) {
		for ; seen < last; seen++ {
			if b, r, err := readRecord(t, seen+1); err == nil && f.takes(r) {
				printRecord(c, b)
			}
		}
	}
	size, err := t.head()
	if err != nil {
		return err
	}
	upTo(size)
	// A read that waits ends with the process, not with ctx.
	type read struct {
		line []byte
		err  error
	}
	reads := make(chan read)
	go func() {
		lines := bufio.NewReader(feed)
		for {
			line, err := lines.ReadBytes('\n')
			select {
			case reads <- read{line, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var line []byte
		select {
		case <-ctx.Done():
			return nil
		case x := <-reads:
			if errors.Is(x.err, io.EOF) {
				return fail(exitUnreachable, "the log was closed")
			} else if x.err != nil {
				return reach(x.err)
			}
			line = x.line
		}
		var gap dropped
		var r logLine
		if json.Unmarshal(line, &gap) == nil && gap.Event == subscriberDropped {
			upTo(gap.To)
			continue
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("read %s: %w", t.evidence("follow"), err)
		}
		if n, err := strconv.ParseUint(r.Seq, 10, 64); err != nil || n <= seen {
			continue
		} else {
			seen = n
		}
		if f.takes(r) {
			printRecord(c, line[:len(line)-1])
		}
	}
}

func printRecord(c *cobra.Command, b []byte) {
	if wantsJSON(c) {
		fmt.Fprintf(c.OutOrStdout(), "%s\n", b)
		return
	}
	var r logLine
	_ = json.Unmarshal(b, &r) // readRecord has parsed it before
	who := "human"
	if r.AI {
		who = "AI   " // never told apart by colour alone (INV-021)
	}
	if strings.HasPrefix(r.Subject, "_system") {
		who = "system"
	}
	mark := ""
	if r.Sim {
		mark = "  (simulated)"
	}
	at := r.At
	if tm, err := time.Parse(time.RFC3339Nano, at); err == nil {
		at = tm.Local().Format("Jan _2 15:04:05.000")
	}
	fmt.Fprintf(c.OutOrStdout(), "%6s  %s  %-34s %-6s %-22s %s%s\n", r.Seq, at, r.Type, who, r.Subject, r.Action, mark)
}
