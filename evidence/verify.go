package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"crypto/ed25519"

	"golang.org/x/mod/sumdb/note"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// VerifyOptions says what to check a directory against.
type VerifyOptions struct {
	// Key is the verifier key text (name+id+base64) the log must be signed
	// with; empty takes verifier.key from the directory, which then proves
	// only that the directory agrees with itself.
	Key string
	// Anchors are checkpoints (signed notes) kept elsewhere; the log must be
	// a consistent extension of each. One anchor may hold several notes one
	// after the other, as the Anchor file of Options does.
	Anchors [][]byte
	// Workers bounds the goroutines that hash; default GOMAXPROCS.
	Workers int
	// Progress, if set, is called now and then with records checked so far
	// and their number in all.
	Progress func(done, total uint64)
}

// Report is the outcome of Verify. If Consistent is false, the fields from
// FirstAnomalousSeq on name the first anomaly.
type Report struct {
	Consistent  bool
	Records     uint64 // records checked
	Unsigned    uint64 // of these, beyond the newest checkpoint
	Tail        string // an unfinished append behind them, in words
	Retired     uint64 // records whose payload was purged
	Segments    int
	Checkpoints int    // signed checkpoints and seals checked, anchors included
	KeyGiven    bool   // the key was given, not taken from the directory
	Key         string // verifier key text that was used
	TreeSize    uint64 // size of the newest checkpoint
	Root        string // its root, base64

	// LineageDepth is how many steps the longest walk from a record to its
	// first ancestor has, and DeepestID that record; LineageCycle are the
	// records of a circle, which is an anomaly.
	LineageDepth int
	DeepestID    string
	LineageCycle []uint64
	lineageSeq   uint64

	FirstAnomalousSeq uint64 // 0 where no single record is at fault
	FirstAnomalousID  string
	File              string // relative to the directory
	Offset            int64  // byte offset in File, -1 where there is none
	Problem           string
	Findings          []string // tamper findings recorded earlier and not resolved

	Duration time.Duration
}

// Verify checks a log directory: live (a writer may be appending), stopped,
// or a plain copy. It needs nothing but the files. A live directory should be
// copied with log/ first, so that the copy's checkpoint covers no more than
// its segments hold.
//
// It walks every segment (frames, canonical form, sequence, links, times,
// payload commitments, seals), rebuilds the tree from the records and
// compares it with every tile, bundle, seal, the newest checkpoint and each
// anchor. The error is for what could not be looked at; an inconsistent log
// is a Report with Consistent false.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	start := time.Now()
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	v := &verification{dir: dir, o: o}
	v.rep.Offset = -1
	err := v.run(ctx)
	var d *damage
	if errors.As(err, &d) {
		v.anomaly(d)
		err = nil
	}
	if v.worst != nil {
		v.rep.FirstAnomalousSeq, v.rep.FirstAnomalousID = v.worst.seq, v.worst.id
		v.rep.File, v.rep.Offset, v.rep.Problem = v.worst.file, v.worst.offset, v.worst.problem
	}
	v.rep.Consistent = err == nil && v.worst == nil
	v.rep.Duration = time.Since(start)
	if err != nil {
		return v.rep, fmt.Errorf("verify %s: %w", dir, err)
	}
	return v.rep, nil
}

// verification is one run of Verify.
type verification struct {
	dir      string
	o        VerifyOptions
	rep      Report
	verifier note.Verifier
	public   ed25519.PublicKey
	cp       tile.Checkpoint
	edge     map[tile.ID][]byte       // partial tiles and bundle of the checkpoint
	roots    map[uint64][]expectation // by tree size
	worst    *damage                  // the first anomaly so far
}

// expectation is a root somebody signed.
type expectation struct {
	root string // base64
	file string
	what string
}

// anomaly keeps the first anomaly: the one at the lowest record; one that
// names no record comes last.
func (v *verification) anomaly(d *damage) {
	rank := func(d *damage) uint64 {
		if d.upto > 0 {
			return d.upto // a range is named only if nothing in it is
		}
		return d.seq - 1 // 0 wraps to the highest
	}
	if v.worst == nil || rank(d) < rank(v.worst) {
		v.worst = d
	}
}

func (v *verification) run(ctx context.Context) error {
	if err := v.loadKey(); err != nil {
		return err
	}
	if err := v.loadCheckpoint(); err != nil {
		return err
	}
	if err := v.loadAnchors(); err != nil {
		return err
	}
	if err := v.segments(ctx); err != nil {
		return err
	}
	if v.worst == nil {
		if err := v.leftovers(); err != nil {
			return err
		}
	}
	return v.earlierFindings(ctx)
}

func (v *verification) loadKey() error {
	stored, err := os.ReadFile(filepath.Join(v.dir, keyFile))
	text := strings.TrimSpace(string(stored))
	v.rep.Key, v.rep.KeyGiven = text, false
	if v.o.Key != "" {
		v.rep.Key, v.rep.KeyGiven = strings.TrimSpace(v.o.Key), true
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Stat(v.dir); err != nil {
			return err
		}
		return &damage{file: keyFile, offset: -1, problem: "file is missing"}
	case err != nil:
		return err
	}
	v.verifier, err = note.NewVerifier(v.rep.Key)
	if err == nil {
		v.public, err = publicKey(v.rep.Key)
	}
	switch {
	case err != nil && v.rep.KeyGiven:
		return fmt.Errorf("given key: %w", err)
	case err != nil || string(stored) != text+"\n":
		return &damage{file: keyFile, offset: 0, problem: "malformed verifier key"}
	case text != v.rep.Key:
		return &damage{file: keyFile, offset: 0, problem: "the log is of another key than the one given"}
	}
	return nil
}

// loadCheckpoint reads the checkpoint and, at once, the partial files it
// names: a running writer replaces them after a while.
func (v *verification) loadCheckpoint() error {
	const file = logDir + "/checkpoint"
	var lost error
	for range 5 {
		msg, err := os.ReadFile(filepath.Join(v.dir, file))
		if errors.Is(err, os.ErrNotExist) {
			return &damage{file: file, offset: -1, problem: "file is missing"}
		} else if err != nil {
			return err
		}
		if v.cp, err = tile.ParseCheckpoint(msg, v.verifier); err != nil {
			return &damage{file: file, offset: 0, problem: err.Error()}
		}
		if !v.cp.Canonical(msg) {
			return &damage{file: file, offset: 0, problem: "checkpoint is not in canonical form"}
		}
		v.edge, lost = map[tile.ID][]byte{}, nil
		for _, id := range tile.Files(v.cp.Size) {
			data, err := os.ReadFile(filepath.Join(v.dir, logDir, id.Path()))
			if err != nil {
				lost = missing(err, logDir+"/"+id.Path(), 0)
				break
			}
			v.edge[id] = data
		}
		if lost == nil {
			break
		}
	}
	if lost != nil {
		return lost
	}
	v.rep.TreeSize, v.rep.Root = v.cp.Size, rootText(v.cp.Root)
	v.rep.Checkpoints++
	v.roots = map[uint64][]expectation{v.cp.Size: {{v.rep.Root, file, "signed checkpoint"}}}
	return nil
}

func (v *verification) loadAnchors() error {
	for i, a := range v.o.Anchors {
		notes := tile.SplitNotes(a)
		if len(notes) == 0 {
			return fmt.Errorf("anchor %d holds no checkpoint", i+1)
		}
		for _, n := range notes {
			cp, err := tile.ParseCheckpoint(n, v.verifier)
			if err != nil {
				return fmt.Errorf("anchor %d: %w", i+1, err)
			}
			v.rep.Checkpoints++
			if cp.Size > v.cp.Size {
				return &damage{seq: v.cp.Size + 1, file: logDir + "/checkpoint", offset: -1,
					problem: fmt.Sprintf("an anchored checkpoint covers %d records, the log's own only %d: the log was rolled back", cp.Size, v.cp.Size)}
			}
			v.roots[cp.Size] = append(v.roots[cp.Size], expectation{rootText(cp.Root), logDir + "/checkpoint", "anchored checkpoint"})
		}
	}
	return nil
}

// earlierFindings verifies the findings log and lists what is unresolved.
func (v *verification) earlierFindings(ctx context.Context) error {
	dir := filepath.Join(v.dir, findingsDir)
	if _, err := os.Stat(dir); err != nil || filepath.Base(v.dir) == findingsDir {
		return nil
	}
	rep, err := Verify(ctx, dir, VerifyOptions{Key: v.rep.Key, Workers: v.o.Workers})
	if err != nil {
		return err
	}
	if !rep.Consistent {
		v.anomaly(&damage{file: findingsDir + "/" + rep.File, offset: rep.Offset, problem: rep.Problem})
		return nil
	}
	var f findings
	if err := f.load(v.dir); err != nil {
		return err
	}
	if p := f.open(); p != "" {
		v.rep.Findings = append(v.rep.Findings, p)
	}
	return nil
}
