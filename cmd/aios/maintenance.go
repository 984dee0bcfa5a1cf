package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ai-os-dot-net/aios/objects"
)

// maintenance makes a command that works on a state directory which no mount holds.
func maintenance(use, short string, do func(c *cobra.Command, d *daemon) error) *cobra.Command {
	c := &cobra.Command{Use: use + " [--state DIR]", Short: short, Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c.Flags())
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			if err := holdsState(cfg.State); err != nil {
				return err
			}
			logger, err := newLogger(cfg.LogLevel)
			if err != nil {
				return err
			}
			d, err := openDaemon(c.Context(), cfg, logger)
			if err != nil {
				return err
			}
			err = do(c, d)
			if e := d.close(); err == nil {
				err = e
			}
			return err
		}}
	addFlags(c.Flags())
	return c
}

func fsckCommand() *cobra.Command {
	var repair bool
	c := maintenance("fsck", "Check a store that is not mounted: all that it names is there and matches its hash", func(c *cobra.Command, d *daemon) error {
		began := time.Now()
		check := d.store.Fsck
		if repair {
			check = d.store.Repair
		}
		rep, err := check(c.Context())
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			if err := printJSON(c.OutOrStdout(), rep); err != nil {
				return err
			}
		} else {
			for _, r := range rep.Repairs {
				fmt.Fprintln(c.OutOrStdout(), "repaired:", r)
			}
			for _, p := range rep.Problems {
				fmt.Fprintln(c.OutOrStdout(), p)
			}
			quarantined := ""
			if rep.Quarantined > 0 {
				quarantined = fmt.Sprintf(" (%d in quarantine)", rep.Quarantined)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d inodes, %d objects, %d versions%s, %d bytes read: %d problems (%s)\n", rep.Inodes, rep.Objects, rep.Versions, quarantined, rep.Bytes, len(rep.Problems), time.Since(began).Round(time.Millisecond))
		}
		if len(rep.Problems) > 0 {
			return &exitError{code: exitFailed}
		}
		return nil
	})
	c.Flags().BoolVar(&repair, "repair", false, "put right what can be, with what the store holds; nothing is thrown away")
	return c
}

func gcCommand() *cobra.Command {
	return maintenance("gc", "Remove what a store that is not mounted no longer refers to", func(c *cobra.Command, d *daemon) error {
		over, err := d.store.Purge(c.Context())
		if err != nil {
			return err
		}
		rep, err := d.store.GC(c.Context())
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			return printJSON(c.OutOrStdout(), struct {
				objects.PurgeReport
				objects.GCReport
			}{over, rep})
		}
		fmt.Fprintf(c.OutOrStdout(), "%d versions and %d removed things whose retention is over let go\n", over.Versions, over.Objects)
		_, err = fmt.Fprintf(c.OutOrStdout(), "%d files, %d chunks and %d packs removed, %d bytes\n", rep.HotFiles, rep.Chunks, rep.Packs, rep.Bytes)
		return err
	})
}
