package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ai-os-dot-net/aios/objects"
	"github.com/ai-os-dot-net/aios/policy/identity"
)

// catalogPath is where the identity catalogue lies in the tree: it is an object like
// others, with versions, and changes only inside the transaction of a typed action.
const catalogPath = "system/identity/catalog.json"

// identities is the identity catalogue in force.
type identities struct {
	store *objects.Store
	key   ed25519.PrivateKey
	cat   atomic.Pointer[identity.Catalog]
}

// openIdentities reads the catalogue, or makes that of a first start.
func openIdentities(ctx context.Context, s *objects.Store, key ed25519.PrivateKey, gidBase uint32, own bool) (*identities, error) {
	ids := &identities{store: s, key: key}
	a, err := s.Resolve(catalogPath)
	if errors.Is(err, objects.ErrNotFound) {
		c := identity.New(gidBase, own)
		if _, err := s.EnsureDir(ctx, "system", 0o755, 0, 0, objects.Scope{Kind: objects.ScopeSystem}); err != nil {
			return nil, err
		}
		if _, err := s.EnsureDir(ctx, "system/identity", 0o755, 0, 0, objects.Scope{Kind: objects.ScopeSystem}); err != nil {
			return nil, err
		}
		tx := s.Begin(objects.Cred{Subject: "_system:service:identity-init"}, "")
		if err := tx.WriteFile(ctx, catalogPath, bytes.NewReader(c.Marshal(key)), objects.WriteOptions{Mode: 0o644}); err != nil {
			return nil, err
		}
		if _, err := tx.Commit(ctx); err != nil {
			return nil, fmt.Errorf("make the identity catalogue: %w", err)
		}
		ids.cat.Store(c)
		return ids, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := s.OpenFile(objects.Cred{}, a.Ino, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.NewSectionReader(h, 0, a.Size))
	if err = errors.Join(err, h.Close(ctx)); err != nil {
		return nil, err
	}
	c, err := identity.Parse(b, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("identity catalogue: %w", err)
	}
	ids.cat.Store(c)
	return ids, nil
}

// ownApproval says whether the first start lets people approve what they asked for.
type ownApproval string

const (
	ownAuto ownApproval = "auto" // where nobody else could
	ownYes  ownApproval = "true"
	ownNo   ownApproval = "false"
)

func (o *ownApproval) set(text string) error {
	if text == string(ownAuto) {
		*o = ownAuto
		return nil
	}
	yes, err := strconv.ParseBool(text)
	if *o = ownNo; yes {
		*o = ownYes
	}
	return err
}

// allowed says what that means here: in a mount that only its owner sees nobody else
// could approve either.
func (c config) ownApproval() bool {
	return c.SingleOperator == ownYes || c.SingleOperator == ownAuto && (!c.AllowOther || oneHuman())
}

// oneHuman says whether the machine has at most one person's login: then he may
// approve what he asked for himself, since nobody else could (spec/README, decision 6).
func oneHuman() bool {
	n := 0
	for uid := 1000; uid < 1100; uid++ {
		if _, err := user.LookupId(fmt.Sprint(uid)); err == nil {
			n++
		}
	}
	return n <= 1
}

// Catalog is the catalogue in force.
func (i *identities) Catalog() *identity.Catalog { return i.cat.Load() }

// Known tells the log whether the catalogue in force names a subject, and as an AI.
func (i *identities) Known(subject string) (isAI, known bool) {
	c := i.cat.Load()
	if c == nil {
		return false, false
	}
	for _, a := range c.Agents {
		if a.ID == subject {
			return true, true
		}
	}
	group, name, _ := strings.Cut(subject, ":")
	for _, g := range c.Groups {
		if g.ID == group && slices.Contains(g.Members, name) {
			return false, true
		}
	}
	return false, false
}
