package identity

import (
	"fmt"
	"slices"
	"strings"
)

// operatorPrefix starts the ids of recovery operators (S9.1, D-20).
const operatorPrefix = "_system:local:operator-"

// grantable are the capabilities that an operator can be given.
var grantable = []string{SystemAuditRead}

func (c *Catalog) operator(uid uint32) *Operator {
	for i := range c.Operators {
		if c.Operators[i].UID == uid {
			return &c.Operators[i]
		}
	}
	return nil
}

// subject is the operator in recovery. Nobody's word but another's counts for what he
// asks, so that a machine of one person does not make an exception of him.
func (o *Operator) subject(version string) Subject {
	return Subject{ID: o.ID, Kind: LocalOperator, PrimaryGroup: "_system", Memberships: []string{"_system"}, Capabilities: slices.Clone(o.Capabilities),
		SessionClass: "RECOVERY", UID: o.UID, CatalogVersion: version}
}

func (c *Catalog) checkOperators() error {
	for i, o := range c.Operators {
		if err := checkOperator(o); err != nil {
			return err
		}
		for _, x := range c.Operators[:i] {
			if x.ID == o.ID || x.UID == o.UID {
				return fmt.Errorf("operator %s, uid %d: %w", o.ID, o.UID, ErrExists)
			}
		}
		for _, a := range c.Agents {
			if a.UID == o.UID {
				return fmt.Errorf("uid %d speaks for the agent %s and is an operator: %w", o.UID, a.ID, ErrExists)
			}
		}
	}
	return nil
}

func checkOperator(o Operator) error {
	name, ok := strings.CutPrefix(o.ID, operatorPrefix)
	if !ok {
		return fmt.Errorf("%q: %w: an operator is %s<name>", o.ID, ErrID, operatorPrefix)
	}
	if err := CheckID(name); err != nil {
		return err
	}
	// Root administers the machine and is no operator beside it, and agents have no uid 0.
	if o.UID == 0 || o.UID == noUID {
		return fmt.Errorf("operator %s: uid %d cannot be one: %w", o.ID, o.UID, ErrID)
	}
	for _, k := range o.Capabilities {
		if !slices.Contains(grantable, k) {
			return fmt.Errorf("operator %s: no capability %q: %w", o.ID, k, ErrUnknown)
		}
	}
	return nil
}

// WithOperator registers the person behind a uid as an operator of recovery.
func (c *Catalog) WithOperator(name string, uid uint32) (*Catalog, error) {
	x := c.clone()
	x.Operators = append(x.Operators, Operator{ID: operatorPrefix + name, UID: uid})
	if err := x.checkOperators(); err != nil {
		return nil, err
	}
	return x.sealed(), nil
}

// WithCapability grants a capability to an operator.
func (c *Catalog) WithCapability(name, capability string) (*Catalog, error) {
	x := c.clone()
	for i := range x.Operators {
		o := &x.Operators[i]
		if o.ID != operatorPrefix+name {
			continue
		}
		if slices.Contains(o.Capabilities, capability) {
			return nil, fmt.Errorf("%s holds %s: %w", o.ID, capability, ErrExists)
		}
		o.Capabilities = append(o.Capabilities, capability)
		if err := checkOperator(*o); err != nil {
			return nil, err
		}
		return x.sealed(), nil
	}
	return nil, fmt.Errorf("operator %s: %w", name, ErrUnknown)
}
