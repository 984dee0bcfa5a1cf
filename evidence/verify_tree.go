package evidence

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// groupChecker compares bundles and row-0 tiles with the records, beside the
// scan: one job is one group of up to 256 records.
type groupChecker struct {
	v    *verification
	jobs chan groupJob
	wg   sync.WaitGroup
	once sync.Once
	mu   sync.Mutex
	bad  []*damage
}

type groupJob struct {
	n      uint64
	leaves []tile.Hash
	places []place
}

func newGroupChecker(v *verification, workers int) *groupChecker {
	g := &groupChecker{v: v, jobs: make(chan groupJob, 2*workers)}
	for range workers {
		g.wg.Add(1)
		go func() {
			defer g.wg.Done()
			for j := range g.jobs {
				if d := g.check(j); d != nil {
					g.mu.Lock()
					g.bad = append(g.bad, d)
					g.mu.Unlock()
				}
			}
		}()
	}
	return g
}

func (g *groupChecker) add(n uint64, leaves []tile.Hash, places []place) {
	g.jobs <- groupJob{n, leaves, places}
}

// wait ends the checks and hands their findings over.
func (g *groupChecker) wait() {
	g.once.Do(func() {
		close(g.jobs)
		g.wg.Wait()
		for _, d := range g.bad {
			g.v.anomaly(d)
		}
	})
}

// check compares one group. Where record, bundle and tile disagree, the two
// that agree win.
func (g *groupChecker) check(j groupJob) *damage {
	w := len(j.leaves)
	bundleID, tileID := tile.ID{Level: tile.Entries, N: j.n, W: w}, tile.ID{Level: 0, N: j.n, W: w}
	first := j.n*tile.Width + 1
	bundle, d := g.v.published(bundleID, first)
	if d != nil {
		return d
	}
	row, d := g.v.published(tileID, first)
	if d != nil {
		return d
	}
	entries, err := tile.SplitBundle(bundle)
	bundleFile, tileFile := logDir+"/"+bundleID.Path(), logDir+"/"+tileID.Path()
	if len(row) != w*len(tile.Hash{}) {
		return &damage{seq: first, file: tileFile, offset: -1, problem: "tile has the wrong size"}
	}
	off := int64(0)
	for i, leaf := range j.leaves {
		seq := first + uint64(i)
		inTile := tile.Hash(row[i*len(leaf) : (i+1)*len(leaf)])
		var inBundle tile.Hash
		if i < len(entries) {
			inBundle = tile.Leaf(entries[i])
		}
		switch {
		case inTile == leaf && inBundle == leaf:
		case inTile == leaf:
			return &damage{seq: seq, file: bundleFile, offset: off, problem: "entry differs from the record"}
		case inBundle == leaf:
			return &damage{seq: seq, file: tileFile, offset: int64(i * len(leaf)), problem: "tile differs from the records"}
		default:
			p := j.places[i]
			return &damage{seq: seq, id: g.v.idAt(p.rel, p.off), file: p.rel + "/" + recordsName, offset: p.off, problem: "record differs from what was published in " + bundleFile}
		}
		if i < len(entries) {
			off += 2 + int64(len(entries[i]))
		}
	}
	if err != nil || len(entries) != w {
		return &damage{seq: first + uint64(w), file: bundleFile, offset: off, problem: "bundle has bytes behind its last entry"}
	}
	return nil
}

// published returns a tile or bundle as the checkpoint names it.
func (v *verification) published(id tile.ID, seq uint64) ([]byte, *damage) {
	if data, ok := v.edge[id]; ok {
		return data, nil
	}
	data, err := os.ReadFile(filepath.Join(v.dir, logDir, id.Path()))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &damage{seq: seq, file: logDir + "/" + id.Path(), offset: -1, problem: "file is missing"}
	} else if err != nil {
		return nil, &damage{seq: seq, file: logDir + "/" + id.Path(), offset: -1, problem: err.Error()}
	}
	return data, nil
}

// compareTile compares a full tile above row 0.
func (v *verification) compareTile(id tile.ID, want []tile.Hash) {
	first := id.N<<(8*uint(id.Level+1)) + 1
	data, d := v.published(id, first)
	if d == nil && !bytes.Equal(data, tile.Join(want)) {
		d = &damage{seq: first, file: logDir + "/" + id.Path(), offset: firstDifference(data, tile.Join(want)), problem: "tile differs from the records"}
	}
	if d != nil {
		v.anomaly(d)
	}
}

// compareEdge compares a partial tile of the checkpoint above row 0.
func (v *verification) compareEdge(id tile.ID, want []tile.Hash) { v.compareTile(id, want) }

// leftovers compares superseded partial files, which a reader of an older
// checkpoint may still ask for, with what they are a part of, and looks for
// files that are no tiles.
func (v *verification) leftovers() error {
	root := filepath.Join(v.dir, logDir)
	err := filepath.WalkDir(filepath.Join(root, "tile"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a running writer removed it
			}
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if strings.HasSuffix(rel, ".tmp") {
			return nil // being written, or left by a crash
		}
		id, ok := tile.ParsePath(filepath.ToSlash(rel))
		if !ok {
			v.anomaly(&damage{file: logDir + "/" + rel, offset: -1, problem: "not a tile"})
			return nil
		}
		return v.leftover(id)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (v *verification) leftover(id tile.ID) error {
	rows := v.cp.Size
	if id.Level > 0 {
		rows >>= 8 * uint(id.Level)
	}
	end := id.N*tile.Width + uint64(id.W)
	if _, current := v.edge[id]; current || id.W == tile.Width || end > rows {
		return nil // compared already, or beyond the checkpoint
	}
	data, err := os.ReadFile(filepath.Join(v.dir, logDir, id.Path()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	whole := id
	whole.W = int(min(rows-id.N*tile.Width, tile.Width))
	base, d := v.published(whole, 0)
	if d != nil {
		return d
	}
	ok := bytes.HasPrefix(base, data)
	if id.Level == tile.Entries {
		entries, err := tile.SplitBundle(data)
		ok = ok && err == nil && len(entries) == id.W
	} else {
		ok = ok && len(data) == id.W*len(tile.Hash{})
	}
	if !ok {
		v.anomaly(&damage{file: logDir + "/" + id.Path(), offset: firstDifference(data, base), problem: "superseded partial file differs from the one that replaced it"})
	}
	return nil
}
