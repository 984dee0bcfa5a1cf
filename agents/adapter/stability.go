package adapter

import (
	"fmt"
	"slices"
)

// Stability says how far an adapter has proved itself (S10.1 §3.4).
type Stability string

// The stabilities (closed).
const (
	Registered   Stability = "REGISTERED" // new, and treated as EXPERIMENTAL
	Experimental Stability = "EXPERIMENTAL"
	Stable       Stability = "STABLE"
	Deprecated   Stability = "DEPRECATED"
	Retired      Stability = "RETIRED" // it serves nothing any more
)

// Dispatch is where an action is carried out (S10.1 §3.2).
type Dispatch string

// The dispatch kinds (closed). A manifest asks for one of the first three.
const (
	InProcess  Dispatch = "IN_PROCESS_RPC"
	Subprocess Dispatch = "SUBPROCESS_FORK"
	Isolated   Dispatch = "ISOLATED_SANDBOX"
	DryRun     Dispatch = "DRY_RUN"
)

// Check refuses a manifest that says what nobody knows.
func (m Manifest) Check() error {
	known := []Stability{Registered, Experimental, Stable, Deprecated, Retired}
	if !slices.Contains(known, m.Stability) {
		return fmt.Errorf("adapter %s: stability %q is not one of %v", m.ID, m.Stability, known)
	}
	if wants := []Dispatch{InProcess, Subprocess, Isolated}; !slices.Contains(wants, m.Dispatch) {
		return fmt.Errorf("adapter %s: dispatch %q is not one of %v", m.ID, m.Dispatch, wants)
	}
	return nil
}

// Place is where an action of the adapter is carried out: the first rule that matches,
// each stricter than what the manifest asks for and never looser (S10.1 §3.2). Only an
// adapter that has proved itself runs within the daemon.
func (m Manifest) Place(simulated, ai, privileged bool) Dispatch {
	switch {
	case simulated:
		return DryRun
	case ai, privileged, m.Dispatch == Isolated:
		return Isolated
	case m.Dispatch == InProcess && m.Stability == Stable:
		return InProcess
	}
	return Subprocess
}
