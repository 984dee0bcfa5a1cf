package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/user"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
	"github.com/zeebo/blake3"
)

// Group is one first-class group (S5.1): flat, with members and admins.
type Group struct {
	ID      string   `json:"group_id"`
	Tier    string   `json:"tier,omitempty"` // PERSONAL, TEAM, ORGANIZATIONAL, FINANCE: a label only
	GID     uint32   `json:"gid"`            // the Unix group that owns its directory
	Members []string `json:"members"`        // names of its users; each is the subject <group>:<name>
	Admins  []string `json:"admins,omitempty"`
}

// Agent is a registered AI subject.
type Agent struct {
	ID    string `json:"canonical_subject_id"`
	Owner string `json:"owner"`         // the human who registered it
	UID   uint32 `json:"uid,omitempty"` // speaks for it when it is not 0
}

// Binding says which subject a uid speaks for.
type Binding struct {
	UID          uint32   `json:"uid"`
	Subjects     []string `json:"subjects"` // the first is the one at home; a matching gid selects another
	Capabilities []string `json:"capabilities,omitempty"`
}

// Operator is a person as he is in recovery, and only there (S9.1): of the system scope,
// never of a group, and with what capabilities he was granted.
type Operator struct {
	ID           string   `json:"canonical_subject_id"` // _system:local:operator-<name>
	UID          uint32   `json:"uid"`
	Capabilities []string `json:"capabilities,omitempty"`
}

// SystemAuditRead lets an operator ask to read what is another group's (S2.3 §26.3).
const SystemAuditRead = "system_audit_read"

// Catalog is the identity catalogue: immutable, its changes give copies.
type Catalog struct {
	Schema         string     `json:"schema"` // aios.identity.v1alpha1
	Groups         []Group    `json:"groups"`
	Bindings       []Binding  `json:"unix_bindings"`
	Agents         []Agent    `json:"agents"`
	Operators      []Operator `json:"recovery_operators,omitempty"`
	SingleOperator bool       `json:"single_operator"`
	GIDBase        uint32     `json:"gid_base"`
	Signature      string     `json:"ed25519_signature,omitempty"`
	version        string
}

const schema = "aios.identity.v1alpha1"

// defaultGIDBase is above what Debian gives to people and below nobody's 65534.
const defaultGIDBase = 62000

// New gives the catalogue of a first start: the group local, which is everyone on
// this machine, and root as a human who administers it.
func New(gidBase uint32, singleOperator bool) *Catalog {
	if gidBase == 0 {
		gidBase = defaultGIDBase
	}
	c := &Catalog{Schema: schema, GIDBase: gidBase, SingleOperator: singleOperator,
		Groups:   []Group{{ID: "local", Tier: "PERSONAL", GID: gidBase}},
		Bindings: []Binding{{UID: 0, Subjects: []string{"local:root"}, Capabilities: []string{"system_admin"}}}, Agents: []Agent{}}
	return c.sealed()
}

// Parse reads a catalogue; unknown fields are errors. A key, if given, must have
// signed it.
func Parse(b []byte, key ed25519.PublicKey) (*Catalog, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	c := &Catalog{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("identity catalogue: %w", err)
	}
	if c.Schema != schema {
		return nil, fmt.Errorf("identity catalogue: schema %q is not %s", c.Schema, schema)
	}
	if key != nil {
		sig, err := base64.StdEncoding.DecodeString(c.Signature)
		if err != nil || !ed25519.Verify(key, c.body(), sig) {
			return nil, ErrSignature
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.sealed(), nil
}

func (c *Catalog) check() error {
	seen := map[string]bool{}
	for _, g := range c.Groups {
		if err := CheckID(g.ID); err != nil {
			return err
		}
		if seen[g.ID] {
			return fmt.Errorf("group %s: %w", g.ID, ErrExists)
		}
		seen[g.ID] = true
	}
	uids := map[uint32]bool{}
	for _, b := range c.Bindings {
		if uids[b.UID] {
			return fmt.Errorf("uid %d is bound twice", b.UID)
		}
		uids[b.UID] = true
	}
	for _, a := range c.Agents {
		if err := CheckCanonical(a.ID, AIAgent); err != nil {
			return err
		}
		if a.UID != 0 && uids[a.UID] {
			return fmt.Errorf("uid %d speaks for a human and for the agent %s", a.UID, a.ID)
		}
	}
	return c.checkOperators()
}

// body is what is signed and hashed: everything but the signature, canonical.
func (c *Catalog) body() []byte {
	x := *c
	x.Signature = ""
	b, err := json.Marshal(&x)
	if err == nil {
		b, err = jcs.Transform(b)
	}
	if err != nil {
		panic("an identity catalogue cannot be written: " + err.Error()) // strings and numbers only
	}
	return b
}

func (c *Catalog) sealed() *Catalog {
	h := blake3.Sum256(c.body())
	c.version = fmt.Sprintf("idbundle_%x", h[:16])
	return c
}

// Version names the catalogue's content: idbundle_ and 32 hex digits.
func (c *Catalog) Version() string { return c.version }

// Marshal writes the catalogue, signed with the key.
func (c *Catalog) Marshal(key ed25519.PrivateKey) []byte {
	x := *c
	if key != nil {
		x.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, x.body()))
	}
	b, err := json.MarshalIndent(&x, "", "  ")
	if err != nil {
		panic("an identity catalogue cannot be written: " + err.Error())
	}
	return append(b, '\n')
}

func (c *Catalog) clone() *Catalog {
	x := *c
	x.Signature = ""
	x.Groups = slices.Clone(c.Groups)
	for i := range x.Groups {
		x.Groups[i].Members = slices.Clone(x.Groups[i].Members)
		x.Groups[i].Admins = slices.Clone(x.Groups[i].Admins)
	}
	x.Bindings = slices.Clone(c.Bindings)
	for i := range x.Bindings {
		x.Bindings[i].Subjects = slices.Clone(x.Bindings[i].Subjects)
	}
	x.Agents = slices.Clone(c.Agents)
	x.Operators = slices.Clone(c.Operators)
	for i := range x.Operators {
		x.Operators[i].Capabilities = slices.Clone(x.Operators[i].Capabilities)
	}
	return &x
}

func (c *Catalog) group(id string) *Group {
	for i := range c.Groups {
		if c.Groups[i].ID == id {
			return &c.Groups[i]
		}
	}
	return nil
}

// Group finds a group.
func (c *Catalog) Group(id string) (Group, bool) {
	if g := c.group(id); g != nil {
		return *g, true
	}
	return Group{}, false
}

// GroupIDs lists the groups, sorted.
func (c *Catalog) GroupIDs() []string {
	ids := make([]string, len(c.Groups))
	for i, g := range c.Groups {
		ids[i] = g.ID
	}
	sort.Strings(ids)
	return ids
}

// WithGroup adds a group with the next free gid of the range.
func (c *Catalog) WithGroup(id, tier string, admins ...string) (*Catalog, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	if c.group(id) != nil {
		return nil, fmt.Errorf("group %s: %w", id, ErrExists)
	}
	x := c.clone()
	gid := x.GIDBase
	for _, g := range x.Groups {
		gid = max(gid, g.GID+1)
	}
	x.Groups = append(x.Groups, Group{ID: id, Tier: tier, GID: gid, Members: []string{}, Admins: admins})
	return x.sealed(), nil
}

// WithMember makes name a user of a group, spoken for by uid. A uid may speak for
// members of several groups: two principals, of which the caller's gid selects one.
func (c *Catalog) WithMember(group, name string, uid uint32) (*Catalog, error) {
	if err := CheckID(name); err != nil {
		return nil, err
	}
	x := c.clone()
	g := x.group(group)
	if g == nil {
		return nil, fmt.Errorf("group %s: %w", group, ErrUnknown)
	}
	for _, a := range x.Agents {
		if a.UID == uid && uid != 0 {
			return nil, fmt.Errorf("uid %d speaks for the agent %s: %w", uid, a.ID, ErrExists)
		}
	}
	id := group + ":" + name
	for _, b := range x.Bindings {
		if slices.Contains(b.Subjects, id) {
			return nil, fmt.Errorf("%s: %w", id, ErrExists)
		}
	}
	if !slices.Contains(g.Members, name) {
		g.Members = append(g.Members, name)
	}
	for i := range x.Bindings {
		if x.Bindings[i].UID == uid {
			x.Bindings[i].Subjects = append(x.Bindings[i].Subjects, id)
			return x.sealed(), nil
		}
	}
	subjects := []string{id}
	x.Bindings = append(x.Bindings, Binding{UID: uid, Subjects: subjects})
	return x.sealed(), nil
}

// WithAgent registers an AI subject; uid 0 gives it no uid of its own.
func (c *Catalog) WithAgent(id, owner string, uid uint32) (*Catalog, error) {
	if err := CheckCanonical(id, AIAgent); err != nil {
		return nil, err
	}
	x := c.clone()
	if x.group(strings.Split(id, ":")[0]) == nil {
		return nil, fmt.Errorf("group of %s: %w", id, ErrUnknown)
	}
	for _, a := range x.Agents {
		if a.ID == id || uid != 0 && a.UID == uid {
			return nil, fmt.Errorf("agent %s: %w", a.ID, ErrExists)
		}
	}
	for _, b := range x.Bindings {
		if uid != 0 && b.UID == uid || slices.Contains(b.Subjects, id) {
			return nil, fmt.Errorf("uid %d or %s is a human's: %w", uid, id, ErrExists)
		}
	}
	if o := x.operator(uid); o != nil {
		return nil, fmt.Errorf("uid %d is the operator %s in recovery: %w", uid, o.ID, ErrExists)
	}
	x.Agents = append(x.Agents, Agent{ID: id, Owner: owner, UID: uid})
	return x.sealed(), nil
}

// WithSingleOperator says whether the machine has one human only.
func (c *Catalog) WithSingleOperator(yes bool) *Catalog {
	x := c.clone()
	x.SingleOperator = yes
	return x.sealed()
}

// Caller is what the kernel says of a request.
type Caller struct {
	UID, GID, PID uint32
	Groups        []uint32 // supplementary ones
	AgentID       string   // of the mount that the request came through, for agents' own mounts
	Recovery      bool     // the request came through a mount for recovery
}

// noUID is (uid_t)-1, which stands for no uid at all. 65534 is an account as any other, nobody's:
// who has a uid that this user namespace does not map is refused by the kernel before.
const noUID = 1<<32 - 1

// Resolve finds the subject behind a caller (policy.md §9.1, contract §7).
func (c *Catalog) Resolve(k Caller) (Subject, error) {
	for _, a := range c.Agents {
		if k.AgentID != "" && a.ID == k.AgentID || k.AgentID == "" && a.UID != 0 && a.UID == k.UID {
			return c.agent(a, k.UID), nil
		}
	}
	if k.AgentID != "" {
		return Subject{}, fmt.Errorf("agent %s: %w", k.AgentID, ErrUnauthenticated)
	}
	if k.UID == noUID {
		return Subject{}, fmt.Errorf("uid %d: %w", k.UID, ErrUnauthenticated)
	}
	if o := c.operator(k.UID); o != nil && k.Recovery {
		return o.subject(c.version), nil
	}
	s := Subject{Kind: HumanUser, UID: k.UID, SessionClass: "INTERACTIVE", SingleOperator: c.SingleOperator, CatalogVersion: c.version}
	for _, b := range c.Bindings {
		if b.UID == k.UID && len(b.Subjects) > 0 {
			s.ID = c.pick(b.Subjects, k.GID)
			s.Capabilities = slices.Clone(b.Capabilities)
			s.Admin = slices.Contains(b.Capabilities, "system_admin")
			for _, id := range b.Subjects {
				s.Memberships = append(s.Memberships, strings.Split(id, ":")[0])
			}
			s.PrimaryGroup = strings.Split(s.ID, ":")[0]
			return s, nil
		}
	}
	s.ID, s.PrimaryGroup, s.Memberships = "local:"+LocalName(k.UID), "local", []string{"local"}
	return s, nil
}

// pick picks among a person's principals the one whose group the caller's gid maps.
func (c *Catalog) pick(ids []string, gid uint32) string {
	for _, id := range ids {
		if g := c.group(strings.Split(id, ":")[0]); g != nil && g.GID == gid {
			return id
		}
	}
	return ids[0]
}

func (c *Catalog) agent(a Agent, uid uint32) Subject {
	group := strings.Split(a.ID, ":")[0]
	return Subject{ID: a.ID, Kind: AIAgent, IsAI: true, PrimaryGroup: group, Memberships: []string{group}, SessionClass: "SERVICE",
		RiskFlags: []string{"ELEVATED_PRIVILEGE_REQUEST"}, UID: uid, CatalogVersion: c.version}
}

// LocalName is the name of an unbound uid in the group local: its login where that
// is a valid id, else uid-<n>, never a mangled name (filesystem.md §10.4).
func LocalName(uid uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil && CheckID(u.Username) == nil {
		return u.Username
	}
	return fmt.Sprintf("uid-%d", uid)
}

// UIDOf finds the uid that speaks for a subject.
func (c *Catalog) UIDOf(id string) (uint32, bool) {
	for _, b := range c.Bindings {
		if slices.Contains(b.Subjects, id) {
			return b.UID, true
		}
	}
	for _, a := range c.Agents {
		if a.ID == id && a.UID != 0 {
			return a.UID, true
		}
	}
	if name, ok := strings.CutPrefix(id, "local:"); ok {
		if n, ok := strings.CutPrefix(name, "uid-"); ok {
			if v, err := strconv.ParseUint(n, 10, 32); err == nil {
				return uint32(v), true
			}
		}
		if u, err := user.Lookup(name); err == nil {
			if v, err := strconv.ParseUint(u.Uid, 10, 32); err == nil {
				return uint32(v), true
			}
		}
	}
	return 0, false
}
