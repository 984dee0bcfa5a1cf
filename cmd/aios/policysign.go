package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ai-os-dot-net/aios/policy"
	"github.com/ai-os-dot-net/aios/policy/bundle"
)

// checkBundle reads a bundle as the kernel will, but for its signatures.
func checkBundle(dir string) (*bundle.Bundle, error) {
	b, err := bundle.Check(os.DirFS(dir), policy.HardDenyIDs())
	if err == nil {
		_, err = policy.New(policy.Options{Bundle: b})
	}
	if err != nil {
		return nil, fail(exitFailed, "%s: %w", dir, err)
	}
	return b, nil
}

func showBundle(c *cobra.Command, did string, b *bundle.Bundle) error {
	if wantsJSON(c) {
		return printJSON(c.OutOrStdout(), map[string]any{"bundle_version": b.Version, "rules": len(b.Rules)})
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s %s, %d rules\n", did, b.Version, len(b.Rules))
	return err
}

func policyLint() *cobra.Command {
	return &cobra.Command{Use: "lint DIR", Short: "Is this a policy bundle that could be signed?", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			b, err := checkBundle(a[0])
			if err != nil {
				return err
			}
			return showBundle(c, "well-formed:", b)
		}}
}

func policySign() *cobra.Command {
	c := &cobra.Command{Use: "sign [DIR]", Short: "Sign a policy bundle with the keys of a state directory",
		Long: "Checks the bundle and writes its signatures. Without DIR it is the state directory's own,\n" +
			"which a running mount then puts in force. What does not hold is not signed.",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, a []string) error {
			cfg, err := loadConfig(c.Flags())
			if err != nil {
				return fail(exitUsage, "%v", err)
			}
			if err := holdsState(cfg.State); err != nil {
				return err
			}
			dir := filepath.Join(cfg.State, "policy")
			if len(a) > 0 {
				dir = a[0]
			}
			b, err := checkBundle(dir)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(cfg.State, "keys", "policy-root.key")); err != nil {
				return fail(exitFailed, "%s has no policy keys: %w", cfg.State, err) // none is made by the way
			}
			root, err := key(cfg.State, "policy-root")
			if err != nil {
				return err
			}
			publisher, err := key(cfg.State, "policy-publisher")
			if err != nil {
				return err
			}
			sigs, err := bundle.Sign(os.DirFS(dir), root, publisher)
			if err != nil {
				return err
			}
			for name, text := range sigs {
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					return err
				}
				if err := os.WriteFile(file, text, 0o600); err != nil {
					return err
				}
			}
			return showBundle(c, "signed", b)
		}}
	addFlags(c.Flags())
	return c
}
