package agents

import (
	"github.com/ai-os-dot-net/aios/agents/internal/confine"
	"github.com/ai-os-dot-net/aios/agents/internal/gitbox"
)

// Main must be the first call of the program's main: a confined child is the same binary,
// and starts here.
func Main() { confine.Main() }

// Scratch makes the directory in which confined programs work for one state directory,
// and removes what a crash left there.
func Scratch(state string) (string, error) { return gitbox.Base(state) }
