package main

import (
	"context"

	aiosfs "github.com/ai-os-dot-net/aios/fs"
)

// startRuntime starts what carries intents out and gives it to the mount.
func (d *daemon) startRuntime(ctx context.Context, o *aiosfs.Options) error { return nil }
