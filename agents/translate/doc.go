// Package translate answers one question: which typed actions do these words
// mean? Never whether they may run, did run, or worked (S1.1 §2).
//
// A *manifest* describes one capability: its action, the JSON Schema of its
// target, names people use for it, its risk, verification and sandbox. A
// *bundle* is a set of manifests signed by a publisher whom the root endorses
// for certain action domains. A *catalogue* is a verified bundle with its
// index, named cat_<hash>. A *draft* is one step that validates against its
// manifest. A *question* asks for what the words leave open; a *refusal* says
// with a closed code why no action can come of them.
//
// Translation is a deterministic grammar over the catalogue: no model, no
// history, no clock but the one handed in. The same request on the same
// catalogue gives the same bytes. A command line is never an output.
package translate
