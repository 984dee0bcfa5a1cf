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
	return maintenance("fsck", "Check a store that is not mounted: all that it names is there and matches its hash", func(c *cobra.Command, d *daemon) error {
		began := time.Now()
		rep, err := d.store.Fsck(c.Context())
		if err != nil {
			return err
		}
		if wantsJSON(c) {
			if err := printJSON(c.OutOrStdout(), rep); err != nil {
				return err
			}
		} else {
			for _, p := range rep.Problems {
				fmt.Fprintln(c.OutOrStdout(), p)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d inodes, %d objects, %d versions, %d bytes read: %d problems (%s)\n", rep.Inodes, rep.Objects, rep.Versions, rep.Bytes, len(rep.Problems), time.Since(began).Round(time.Millisecond))
		}
		if len(rep.Problems) > 0 {
			return &exitError{code: exitFailed}
		}
		return nil
	})
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
