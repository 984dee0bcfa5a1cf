package evidence

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/evidence/record"
	"github.com/ai-os-dot-net/aios/evidence/tile"
)

// Defaults of Options; sizes and ages are S3.1 §7.1's.
const (
	DefaultOrigin          = "aios/evidence"
	DefaultSealBytes       = 64 << 20
	DefaultSealAge         = time.Hour
	DefaultCheckpointEvery = 100 * time.Millisecond
)

// clockTolerance is how far the clock may be behind the newest record at open
// without being acknowledged: time daemons step by less. Within it, times
// stand still until the clock has caught up.
const clockTolerance = time.Second

// ErrKey is returned by Open for a log that was signed with another key.
var ErrKey = errors.New("log belongs to another key")

// Open opens or creates the log in o.Dir. It looks at the newest checkpoint
// and at every record the checkpoint does not cover in a sealed segment:
// records beyond it whose links hold are adopted, a torn tail beyond it is
// cut and a RECOVERY_EVENT written. Damage below it opens the log degraded:
// Health says what was found, reads work, appends are refused, and the
// finding is recorded in a findings segment (spec/evidence.md §9). The error
// is for a directory that cannot be opened at all.
func Open(ctx context.Context, o Options) (*Log, error) {
	l, err := newLog(o)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := l.open(ctx); err != nil {
		l.release()
		return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
	}
	return l, nil
}

func newLog(o Options) (*Log, error) {
	if o.Dir == "" {
		return nil, errors.New("no directory")
	}
	if o.Origin == "" {
		o.Origin = DefaultOrigin
	}
	if o.SealBytes <= 0 {
		o.SealBytes = DefaultSealBytes
	}
	if o.SealAge <= 0 {
		o.SealAge = DefaultSealAge
	}
	if o.CheckpointEvery <= 0 {
		o.CheckpointEvery = DefaultCheckpointEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &Log{
		o: o, tree: &tile.Tree{}, pending: map[tile.ID][]tile.Hash{}, lastLink: zeroLink, prevSeal: zeroLink,
		changed: make(chan struct{}), requests: make(chan *request, maxBatch), ops: make(chan *operation),
		stop: make(chan struct{}), dirty: make(chan struct{}, 1),
	}
	if o.ReadOnly && o.Key == nil {
		return l, nil
	}
	if len(o.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("no signing key")
	}
	var err error
	if l.signer, err = tile.Signer(o.Origin, o.Key); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	fresh, err := l.prepareDir()
	if err != nil {
		return err
	}
	if err := l.loadKey(); err != nil {
		return err
	}
	if err := l.findings.load(l.o.Dir); err != nil {
		return err
	}
	if fresh {
		if err := l.publish(true); err != nil {
			return err
		}
	}
	rec, err := l.recover(ctx)
	var found *damage
	if errors.As(err, &found) {
		l.loadAnyway()
		l.broken = fmt.Errorf("%w: %w", ErrDegraded, found)
	} else if err != nil {
		return err
	}
	if found == nil {
		if f := l.findings.open(); f != "" {
			l.broken = fmt.Errorf("%w: unresolved finding: %s", ErrDegraded, f)
		}
	}
	if l.o.ReadOnly {
		return nil
	}
	if found != nil {
		l.quarantine(found)
		if err := l.record(found, "RECOVERY_ON_OPEN"); err != nil {
			l.o.Logger.Error("finding could not be recorded", "finding", found.Error(), "err", err)
		}
	}
	l.done.Add(2)
	go l.write()
	go l.publisher()
	if l.broken == nil {
		if err := l.resume(ctx, rec); err != nil {
			close(l.stop)
			l.done.Wait()
			return err
		}
	}
	return nil
}

// prepareDir makes and locks the directory. It reports a directory without a
// log in it.
func (l *Log) prepareDir() (fresh bool, err error) {
	if l.o.ReadOnly {
		_, err := os.Stat(l.o.Dir)
		return false, err
	}
	if err := os.MkdirAll(l.o.Dir, 0o755); err != nil {
		return false, err
	}
	l.lock, err = os.OpenFile(filepath.Join(l.o.Dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	if err := unix.Flock(int(l.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, ErrLocked
	}
	_, cpErr := os.Stat(filepath.Join(l.o.Dir, logDir, "checkpoint"))
	_, segErr := os.Stat(segmentPath(l.o.Dir, 1))
	fresh = errors.Is(cpErr, os.ErrNotExist) && errors.Is(segErr, os.ErrNotExist)
	for _, d := range []string{logDir, segmentsDir} {
		if err := os.MkdirAll(filepath.Join(l.o.Dir, d), 0o755); err != nil {
			return false, err
		}
	}
	return fresh, syncDir(l.o.Dir)
}

// loadKey compares the stored verifier key with ours, or stores ours.
func (l *Log) loadKey() error {
	path := filepath.Join(l.o.Dir, keyFile)
	stored, err := os.ReadFile(path)
	text := strings.TrimSpace(string(stored))
	if l.o.Key != nil {
		ours, err2 := tile.VerifierKey(l.o.Origin, l.o.Key.Public().(ed25519.PublicKey))
		if err2 != nil {
			return err2
		}
		if errors.Is(err, os.ErrNotExist) && !l.o.ReadOnly {
			if err := writeDurable(path, []byte(ours+"\n"), 0o644); err != nil {
				return err
			}
			text, err = ours, syncDir(l.o.Dir)
		}
		if err == nil && text != ours {
			return fmt.Errorf("%w: %s", ErrKey, path)
		}
	}
	if err != nil {
		return err
	}
	if l.verifier, err = note.NewVerifier(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	l.o.Origin = l.verifier.Name()
	l.keyID = fmt.Sprintf("%s+%08x", l.verifier.Name(), l.verifier.KeyHash())
	l.public, err = publicKey(text)
	return err
}

// recovery is what recover found besides damage.
type recovery struct {
	adopted   uint64   // records beyond the checkpoint
	cut       []string // torn tails, in words
	unsealed  bool     // the last segment was left active
	clockBack bool
}

// recover loads segments and tree (see Open).
func (l *Log) recover(ctx context.Context) (rec recovery, err error) {
	cp, err := l.readCheckpoint()
	if err != nil {
		return rec, err
	}
	l.cpSize = cp.Size
	numbers, err := segmentNumbers(l.o.Dir)
	if err != nil {
		return rec, err
	}
	st := segmentState{seq: 1, link: zeroLink}
	load := 0
	for ; load < len(numbers); load++ {
		s, ok := l.loadSealed(numbers[load], &st)
		if !ok || s.last() > cp.Size {
			break
		}
		l.segs = append(l.segs, s)
		st = segmentState{seq: s.last() + 1, link: s.lastLink, time: s.lastTime, id: s.id, lastID: s.lastID}
	}
	if l.tree, err = tile.Load(st.seq-1, func(id tile.ID) ([]tile.Hash, error) { return readTileAt(l.o.Dir, id, cp.Size) }); err != nil {
		return rec, l.tileDamage(err)
	}
	if err := l.checkRoot(cp); err != nil {
		return rec, err
	}
	for i := load; i < len(numbers); i++ {
		if err := ctx.Err(); err != nil {
			return rec, err
		}
		if err := l.loadScanned(numbers[i], i == len(numbers)-1, cp, &st, &rec); err != nil {
			return rec, err
		}
	}
	if st.seq-1 < cp.Size {
		file, off := segmentsDir, int64(-1)
		if n := len(l.segs); n > 0 {
			file, off = fmt.Sprintf("%s/%08d/%s", segmentsDir, l.segs[n-1].number, recordsName), l.segs[n-1].records
		}
		return rec, &damage{seq: st.seq, file: file, offset: off, problem: fmt.Sprintf("the signed checkpoint covers %d records, only %d are there", cp.Size, st.seq-1)}
	}
	rec.adopted = st.seq - 1 - cp.Size
	rec.unsealed = l.active() != nil
	l.setHead(&st)
	l.prevSeal, err = l.lastSeal()
	rec.clockBack = l.size > 0 && l.o.Now().UnixNano() < l.lastTime-int64(clockTolerance)
	return rec, err
}

func (l *Log) setHead(st *segmentState) {
	l.size, l.lastID, l.lastLink, l.lastTime = st.seq-1, st.lastID, st.link, st.time
}

// readCheckpoint loads and opens the stored checkpoint.
func (l *Log) readCheckpoint() (tile.Checkpoint, error) {
	file := logDir + "/checkpoint"
	msg, err := os.ReadFile(filepath.Join(l.o.Dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return tile.Checkpoint{}, &damage{file: file, offset: -1, problem: "the signed checkpoint is missing"}
	} else if err != nil {
		return tile.Checkpoint{}, err
	}
	cp, err := tile.ParseCheckpoint(msg, l.verifier)
	if err != nil {
		return cp, &damage{file: file, offset: 0, problem: err.Error()}
	}
	l.cp = msg
	return cp, nil
}

// loadSealed takes a sealed segment from its index, if that fits the files
// and continues the chain.
func (l *Log) loadSealed(number int, st *segmentState) (*segment, bool) {
	s, ok := l.loadIndexed(number)
	if !ok || s.first != st.seq || s.firstPrev != st.link {
		return nil, false
	}
	for name, size := range map[string]int64{recordsName: s.records, payloadsName: s.payloads} {
		fi, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil || fi.Size() != size {
			return nil, false
		}
	}
	return s, true
}

// loadIndexed takes a sealed segment from its index alone.
func (l *Log) loadIndexed(number int) (*segment, bool) {
	s := &segment{dir: segmentPath(l.o.Dir, number), number: number}
	x, err := openIndex(s.dir)
	if err != nil || x.head.Count == 0 {
		return nil, false
	}
	h := &x.head
	s.id, s.first, s.count, s.opened = string(h.ID[:]), h.First, h.Count, h.Opened
	s.firstPrev, s.lastLink, s.lastID = string(h.FirstPrev[:]), string(h.LastLink[:]), idPrefix+h.LastID.String()
	s.firstTime, s.lastTime, s.records, s.payloads = h.FirstTime, h.LastTime, h.Records, h.Payloads
	s.sealed.Store(true)
	s.setIndex(x)
	return s, true
}

// loadScanned reads a whole segment, adds it to the tree and checks the root
// where the checkpoint falls inside. Bad bytes behind the checkpoint in the
// last segment are a torn tail and cut.
func (l *Log) loadScanned(number int, last bool, cp tile.Checkpoint, st *segmentState, rec *recovery) error {
	s := &segment{dir: segmentPath(l.o.Dir, number), number: number, first: st.seq, records: magicLen, payloads: magicLen, firstPrev: st.link}
	rel := fmt.Sprintf("%s/%08d", segmentsDir, number)
	mem := newMemIndex()
	st.lastType = 0
	var rootErr error
	err := scanSegment(s.dir, rel, st, func(r *scanned) error {
		mem.add(&r.Receipt, r.off, r.end)
		if s.count == 0 {
			s.id, s.opened, s.firstTime = r.SegmentID, r.RecordedAt.UnixNano(), r.RecordedAt.UnixNano()
		}
		s.count++
		s.records, s.payloads = r.end, r.payloadEnd
		s.lastID, s.lastLink, s.lastTime = r.ID, r.LinkHash, r.RecordedAt.UnixNano()
		if l.tree.Size() < r.Seq {
			l.tree.Add(r.leaf, func(f tile.Full) { l.pending[f.ID] = f.Hashes })
			if rootErr == nil {
				rootErr = l.checkRoot(cp)
			}
		}
		return nil
	})
	s.setIndex(mem)
	s.sealed.Store(st.lastType == record.SegmentSealed && s.count > 0)
	if s.count > 0 {
		l.segs = append(l.segs, s)
	}
	l.setHead(st)
	if rootErr != nil {
		return rootErr
	}
	var found *damage
	if errors.As(err, &found) {
		if !last || st.seq-1 < cp.Size {
			return found
		}
		rec.cut = append(rec.cut, found.Error())
		if !l.o.ReadOnly {
			if err := s.cut(); err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	if !last && !s.sealed.Load() {
		return &damage{seq: st.seq, file: rel + "/" + recordsName, offset: s.records, problem: "segment ends without its seal"}
	}
	if s.sealed.Load() && !l.o.ReadOnly {
		return l.finishSealed(s)
	}
	if s.count > 0 && !l.o.ReadOnly {
		return s.reopen()
	}
	return nil
}

// finishSealed writes what is derived from a sealed segment again, where a
// crash or a deletion left it out.
func (l *Log) finishSealed(s *segment) error {
	if s.last() > l.cpSize {
		// A checkpoint is about to vouch for it; it may be in the page cache only.
		if err := s.reopen(); err != nil {
			return err
		}
		s.closeFiles()
	}
	p, err := l.sealPayload(s)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(filepath.Join(s.dir, sealName)); errors.Is(err, os.ErrNotExist) || err == nil && len(have) == 0 {
		if err := writeDurable(filepath.Join(s.dir, sealName), p, 0o444); err != nil {
			return err
		}
	}
	return s.writeIndex()
}

// sealPayload returns the canonical SEGMENT_SEALED payload of a sealed segment.
func (l *Log) sealPayload(s *segment) ([]byte, error) {
	r, err := l.readOne(s, s.count-1)
	if err != nil {
		return nil, err
	}
	b, err := l.payloadOf(s, &r)
	if err != nil {
		return nil, err
	}
	canonical, _, _ := splitPayload(b)
	return canonical, nil
}

// lastSeal returns the hash of the newest seal, zeros if there is none.
func (l *Log) lastSeal() (string, error) {
	for i := len(l.segs) - 1; i >= 0; i-- {
		if s := l.segs[i]; s.sealed.Load() {
			p, err := l.sealPayload(s)
			if err != nil {
				return "", &damage{seq: s.last(), file: fmt.Sprintf("%s/%08d", segmentsDir, s.number), offset: -1, problem: "seal cannot be read: " + err.Error()}
			}
			return hex32(p), nil
		}
	}
	return zeroLink, nil
}

// checkRoot compares the tree with the checkpoint where their sizes meet.
func (l *Log) checkRoot(cp tile.Checkpoint) error {
	if l.tree.Size() == cp.Size && l.tree.Root() != cp.Root {
		return &damage{file: logDir + "/checkpoint", offset: -1, problem: fmt.Sprintf("the root of %d records differs from the signed one", cp.Size)}
	}
	return nil
}

func (l *Log) tileDamage(err error) error {
	var d *damage
	if errors.As(err, &d) {
		return d
	}
	return &damage{file: logDir + "/tile", offset: -1, problem: err.Error()}
}

// loadAnyway makes as many records readable as can be found, for a log that
// is degraded: segments by their index whatever their size, others as far as
// they were scanned.
func (l *Log) loadAnyway() {
	scannedSoFar := map[int]*segment{}
	for _, s := range l.segs {
		scannedSoFar[s.number] = s
	}
	numbers, _ := segmentNumbers(l.o.Dir)
	l.segs = nil
	next := uint64(1)
	for _, n := range numbers {
		s := scannedSoFar[n]
		if x, ok := l.loadIndexed(n); ok {
			s = x
		}
		if s == nil || s.first < next {
			continue
		}
		l.segs = append(l.segs, s)
		next = s.last() + 1
		l.setHead(&segmentState{seq: next, link: s.lastLink, time: s.lastTime, lastID: s.lastID})
	}
	l.tree = &tile.Tree{}
	clear(l.pending)
}

// cut removes everything behind the last good record and its payload.
func (s *segment) cut() error {
	if s.count == 0 {
		if err := os.RemoveAll(s.dir); err != nil {
			return err
		}
		return syncDir(filepath.Dir(s.dir))
	}
	for name, size := range map[string]int64{recordsName: s.records, payloadsName: s.payloads} {
		f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		err = f.Truncate(size)
		if err == nil {
			err = f.Sync()
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
	}
	return nil
}

// reopen opens the files of a segment that a crash left active, to seal it.
func (s *segment) reopen() error {
	for i, name := range []string{recordsName, payloadsName} {
		f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s.files[i] = f
	}
	// The tail may be in the page cache only; it is about to be vouched for.
	return syncBoth(s.files)
}

// resume continues a log after recovery: an active segment is sealed
// (restart), a cut tail is recorded.
func (l *Log) resume(ctx context.Context, rec recovery) error {
	if rec.adopted > 0 {
		l.o.Logger.Info("adopted records beyond the last checkpoint", "records", rec.adopted)
	}
	if rec.unsealed {
		if err := l.do(ctx, func() error { return l.sealActive(sealRestart) }); err != nil {
			return err
		}
	} else if rec.adopted > 0 {
		if err := l.publish(true); err != nil {
			return err
		}
	}
	for _, c := range rec.cut {
		l.o.Logger.Warn("cut a torn tail", "where", c)
		if _, err := l.appendSelf(ctx, record.RecoveryEvent, map[string]any{
			"event_kind": "TORN_TAIL_CUT", "operator_subject": selfSubject, "detail": c,
		}); err != nil {
			return err
		}
	}
	if rec.clockBack {
		l.mu.Lock()
		l.clockBack = true
		l.mu.Unlock()
	}
	return nil
}

// AcknowledgeClock records, in a RECOVERY_EVENT by the given operator, that
// the clock went backwards, and lets appends go on with the clock as it is.
// It does nothing if the clock is not behind.
func (l *Log) AcknowledgeClock(ctx context.Context, operator string) error {
	p, err := selfDraft(record.RecoveryEvent, map[string]any{
		"event_kind": "CLOCK_BACKWARDS_ACKNOWLEDGED", "operator_subject": operator,
		"detail": "the clock was behind the newest record at open",
	})
	if err != nil {
		return err
	}
	r := &request{drafts: []*prepared{p}, self: true, done: make(chan struct{})}
	return l.do(ctx, func() error {
		if l.Health() != ErrClockBackwards {
			return nil
		}
		// Times rise within a segment: the earlier clock starts a new one.
		if err := l.sealActive(sealRestart); err != nil {
			return err
		}
		last := l.lastTime
		l.mu.Lock()
		l.lastTime = 0
		l.mu.Unlock()
		l.commit([]*request{r})
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.err != nil {
			l.lastTime = last
			return r.err
		}
		l.clockBack = false
		return nil
	})
}

// Seal ends the active segment at the operator's word. It does nothing if
// there is none.
func (l *Log) Seal(ctx context.Context) error {
	if l.o.ReadOnly {
		return fmt.Errorf("seal segment: %w", ErrReadOnly)
	}
	return l.do(ctx, func() error {
		if err := l.Health(); err != nil {
			return fmt.Errorf("seal segment: %w", err)
		}
		return l.sealActive(sealOperator)
	})
}

// readTileFile reads a full tile.
func readTileFile(dir string, id tile.ID) ([]tile.Hash, error) {
	data, err := os.ReadFile(filepath.Join(dir, logDir, id.Path()))
	if err != nil {
		return nil, err
	}
	hashes, err := tile.Split(data)
	if err == nil && len(hashes) != id.W {
		err = fmt.Errorf("tile %s has %d hashes", id.Path(), len(hashes))
	}
	return hashes, err
}

// readTileAt reads a tile as a tree of the given size has it: at least id.W
// hashes, from the full tile or the partial one of that size.
func readTileAt(dir string, id tile.ID, size uint64) ([]tile.Hash, error) {
	at := id
	row := size >> (8 * uint(id.Level))
	at.W = tile.Width
	if row/tile.Width == id.N {
		at.W = int(row % tile.Width)
	}
	hashes, err := readTileFile(dir, at)
	if err != nil {
		return nil, &damage{file: logDir + "/" + at.Path(), offset: -1, problem: err.Error()}
	}
	return hashes, nil
}
