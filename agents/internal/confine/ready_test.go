package confine

import "testing"

// Ready says no where nothing could be started, and yes where something can.
func TestReadyAgreesWithAStart(t *testing.T) {
	p, exe := self(t)
	_, err := Run(t.Context(), p, []string{exe, "probe", "true"})
	if ready := Ready(); (ready == nil) != (err == nil) {
		t.Errorf("Ready: %v, and a start: %v", ready, err)
	}
}
