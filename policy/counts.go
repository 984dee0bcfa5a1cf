package policy

import "maps"

// Tally is what decisions are counted by. Each of it is of a closed set, so that the
// counts do not grow with what is asked.
type Tally struct {
	Outcome    Outcome
	ReasonCode string
	HardDeny   string // the constitutional rule, or ""
	Simulated  bool
}

// Counts is how often the kernel has answered what since it started.
type Counts struct {
	Decisions    map[Tally]uint64
	Hits, Misses uint64 // of the cache
}

// Counts gives the counters of the kernel.
func (k *Kernel) Counts() Counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Counts{maps.Clone(k.tally), k.hits, k.misses}
}

// ReasonCodes lists all reason codes that a decision may have; there are thirty at most
// (S2.3 §4).
func ReasonCodes() []string {
	codes := []string{ScopedAllow, AISelfApproval, SubjectUnauthenticated, EnrichmentUnavailable, EvaluationTimeout, EngineInternal, EngineDegraded,
		BudgetExceeded, DefaultDeny, ScopedDeny, ScopedApprovalRequired, EmergencyOverride}
	for _, h := range hardDenies {
		codes = append(codes, h.code)
	}
	return codes
}
