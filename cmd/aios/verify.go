package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-os-dot-net/aios/evidence"
)

func verifyCommand() *cobra.Command {
	var state, key string
	var anchors []string
	c := &cobra.Command{Use: "verify [--state DIR] [--anchor CHECKPOINT]…", Short: "Prove the evidence log: chain, tree and signatures",
		Long: "Reads the log as it lies on disk, of a running daemon, a stopped one, or a plain copy; it needs no mount.\n" +
			"A key or an older checkpoint that was kept elsewhere (--key, --anchor) proves more than the ones that lie beside the log.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := evidenceDir(c, state)
			if err != nil {
				return err
			}
			o := evidence.VerifyOptions{}
			if key != "" {
				b, err := os.ReadFile(key)
				if err != nil {
					return fail(exitUsage, "read the key: %v", err)
				}
				o.Key = string(b)
			}
			for _, a := range anchors {
				b, err := os.ReadFile(a)
				if err != nil {
					return fail(exitUsage, "read the checkpoint: %v", err)
				}
				o.Anchors = append(o.Anchors, b)
			}
			rep, err := evidence.Verify(c.Context(), dir, o)
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			return showReport(c, dir, rep)
		}}
	c.Flags().StringVar(&state, "state", "", "state directory, or its evidence directory (default: of the mount, or the default one)")
	c.Flags().StringVar(&key, "key", "", "file with the log's public key, kept elsewhere")
	c.Flags().StringArrayVar(&anchors, "anchor", nil, "file with an older signed checkpoint")
	return c
}

// evidenceDir finds the log: what was named, the state directory of a mount that
// is there, or the default one.
func evidenceDir(c *cobra.Command, state string) (string, error) {
	if state == "" {
		t, err := findTree(c)
		name, _ := c.Flags().GetString("mount")
		switch {
		case err == nil:
			// Not the default one instead: that would prove the wrong log.
			if state = stateOf(t.root); state == "" {
				return "", fail(exitUnreachable, "the mount at %s does not tell its state directory; name it with --state", t.root)
			}
		case name != "" || os.Getenv("AIOS_MOUNT") != "":
			return "", err
		default:
			state = defaultState()
		}
	}
	for _, dir := range []string{filepath.Join(state, "evidence"), state} {
		if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
			return dir, nil
		}
	}
	return "", fail(exitUsage, "%s holds no evidence log", state)
}

func showReport(c *cobra.Command, dir string, r evidence.Report) error {
	if wantsJSON(c) {
		if err := printJSON(c.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		out := c.OutOrStdout()
		if r.Consistent {
			fmt.Fprintf(out, "consistent: %d records in %s, chain, tree and checkpoint agree (%s)\n", r.Records, dir, r.Duration.Round(time.Millisecond))
		} else {
			fmt.Fprintf(out, "NOT consistent: %s\n", r.Problem)
			if r.FirstAnomalousSeq > 0 {
				fmt.Fprintf(out, "  first record concerned: %d %s\n", r.FirstAnomalousSeq, r.FirstAnomalousID)
			}
			if r.File != "" {
				fmt.Fprintf(out, "  place: %s, byte %d\n", r.File, r.Offset)
			}
		}
	}
	if !r.Consistent {
		return &exitError{code: exitFailed}
	}
	return nil
}
