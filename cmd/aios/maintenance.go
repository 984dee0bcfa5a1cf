package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func fsckCommand() *cobra.Command {
	c := &cobra.Command{Use: "fsck [--state DIR]", Short: "Check a store that is not mounted: all that it names is there and matches its hash", Args: usageArgs(cobra.NoArgs),
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
				return fail(exitUsage, "%w", err)
			}
			began := time.Now()
			rep, err := d.store.Fsck(c.Context())
			if e := d.close(); err == nil {
				err = e
			}
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
		}}
	addFlags(c.Flags())
	return c
}
