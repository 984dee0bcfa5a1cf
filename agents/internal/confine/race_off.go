//go:build !race

package confine

// raceDetector says that the programs of this binary are built with it.
const raceDetector = false
