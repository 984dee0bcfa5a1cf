package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The records and the search index are read, and their files written, through mappings.
// Every page that was touched once counts as the daemon's memory from then on, 380 MiB after
// 440,000 small files were made, and a host with much memory takes none away by itself.
// So it is looked how many there are, and when they are too many they are let go of. They
// stay in the host's page cache, which gives them back at 64 KiB a fault.
const (
	// heapShare of the memory limit, in hundredths, is the Go heap's; what is left is for
	// files that are mapped, and for what is allocated while it is collected.
	heapShare = 70
	// mappedShare of the limit is how much may be mapped before it is let go of: the program
	// itself takes 25 MiB, and what is written to the journal and is not in a table yet 64.
	mappedShare = 15
	// mappedEvery is how often it is looked: compactions map a few hundred MiB a second.
	mappedEvery = 250 * time.Millisecond
)

// mapper calls fn with files that are mapped until fn returns.
type mapper func(fn func(files []string)) error

func trimMapped(ctx context.Context, limit int64, of []mapper, logger *slog.Logger) {
	t := time.NewTicker(mappedEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if n, err := residentFiles(); err != nil || n < limit*mappedShare/100 {
			continue
		}
		for _, m := range of {
			var err error
			if e := m(func(files []string) { err = letGo(files) }); e != nil || err != nil {
				logger.Debug("mapped files stay in memory", "error", fmt.Sprint(e, err))
			}
		}
	}
}

// residentFiles is how many bytes of files are in the daemon's memory.
func residentFiles() (int64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b) // proc(5): size, resident, shared
	if len(f) < 3 {
		return 0, fmt.Errorf("/proc/self/statm: %q", b)
	}
	pages, err := strconv.ParseInt(string(f[2]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// letGo takes the pages of mapped files out of the daemon's memory. The files must stay
// mapped meanwhile: the call would empty whatever else lay at their addresses.
func letGo(files []string) error {
	mine := make(map[string]bool, len(files))
	for _, f := range files {
		mine[f] = true
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(maps)) {
		// proc(5): address perms offset dev inode pathname
		at := strings.IndexByte(line, '/')
		if at < 0 || !mine[strings.TrimSuffix(line[at:], "\n")] {
			continue
		}
		from, to, _ := strings.Cut(line[:strings.IndexByte(line, ' ')], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("/proc/self/maps: %q", line)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
	}
	return nil
}
