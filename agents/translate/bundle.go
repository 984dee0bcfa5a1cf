package translate

import (
	"bytes"
	"crypto/ed25519"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"

	"github.com/gowebpki/jcs"
	"github.com/zeebo/blake3"
)

// BundleSchema names the form of a bundle of manifests.
const BundleSchema = "aios.capability_bundle.v1alpha1"

// ErrUntrusted is wrapped by every refusal of a bundle for whom it is from.
var ErrUntrusted = errors.New("not endorsed by the AIOS root")

// Trust is who may publish what: the AIOS root key.
type Trust struct {
	Root ed25519.PublicKey
}

// Publisher is who signed a bundle, and the root's word for it (S1.1 §6.4).
type Publisher struct {
	Name      string   `json:"name"`
	Key       string   `json:"key"`     // Ed25519 public key, hex
	Domains   []string `json:"domains"` // first segments of actions it may publish
	Signature string   `json:"root_signature"`
}

type bundleBody struct {
	Name      string            `json:"name"`
	Manifests []json.RawMessage `json:"manifests"`
	Recipes   []Recipe          `json:"recipes"`
}

type bundleFile struct {
	Schema    string    `json:"schema"`
	Publisher Publisher `json:"publisher"`
	Body      []byte    `json:"body"` // base64 of the exact signed bytes
	Signature string    `json:"signature"`
}

// Recipe is a phrase that means several actions (C-02).
type Recipe struct {
	ID      string              `json:"id"`
	Phrases map[string][]string `json:"phrases"`
	Steps   []RecipeStep        `json:"steps"`
}

// RecipeStep is one action of a recipe; After are indexes of earlier ones.
type RecipeStep struct {
	Action string         `json:"action"`
	Target map[string]any `json:"target"`
	After  []int          `json:"after,omitempty"`
}

//go:embed manifests/*.json recipes.json
var embedded embed.FS

// DefaultBundle builds the embedded manifests into a bundle whose publisher is
// endorsed, and signed, under key (the root of this state directory).
func DefaultBundle(key ed25519.PrivateKey) ([]byte, error) {
	entries, err := embedded.ReadDir("manifests")
	if err != nil {
		return nil, fmt.Errorf("read embedded manifests: %w", err)
	}
	var manifests []json.RawMessage
	domains := map[string]bool{}
	for _, e := range entries {
		raw, err := embedded.ReadFile(path.Join("manifests", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read embedded manifest: %w", err)
		}
		m, err := parseManifest(raw)
		if err != nil {
			return nil, err
		}
		domains[m.Domain()] = true
		manifests = append(manifests, raw)
	}
	raw, err := embedded.ReadFile("recipes.json")
	if err != nil {
		return nil, fmt.Errorf("read embedded recipes: %w", err)
	}
	var recipes []Recipe
	if err := json.Unmarshal(raw, &recipes); err != nil {
		return nil, fmt.Errorf("read embedded recipes: %w", err)
	}
	var names []string
	for d := range domains {
		names = append(names, d)
	}
	sort.Strings(names)
	seed := blake3.Sum256(append([]byte("aios capability publisher v1\x00"), key.Seed()...))
	publisher := ed25519.NewKeyFromSeed(seed[:])
	p, err := Endorse(key, "aios-base", publisher.Public().(ed25519.PublicKey), names)
	if err != nil {
		return nil, err
	}
	return SignBundle(publisher, p, "base", manifests, recipes)
}

// Endorse is the root's word that a publisher may publish these domains.
func Endorse(root ed25519.PrivateKey, name string, key ed25519.PublicKey, domains []string) (Publisher, error) {
	p := Publisher{Name: name, Key: hex.EncodeToString(key), Domains: domains}
	b, err := p.signed()
	if err != nil {
		return p, err
	}
	p.Signature = hex.EncodeToString(ed25519.Sign(root, b))
	return p, nil
}

func (p Publisher) signed() ([]byte, error) {
	p.Signature = ""
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	if b, err = jcs.Transform(b); err != nil {
		return nil, err
	}
	return append([]byte("aios publisher endorsement v1\x00"), b...), nil
}

// SignBundle builds a bundle file. Verification is Load's; this signs anything.
func SignBundle(key ed25519.PrivateKey, p Publisher, name string, manifests []json.RawMessage, recipes []Recipe) ([]byte, error) {
	body, err := json.Marshal(bundleBody{Name: name, Manifests: manifests, Recipes: recipes})
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	f := bundleFile{Schema: BundleSchema, Publisher: p, Body: body}
	f.Signature = hex.EncodeToString(ed25519.Sign(key, signedBody(body)))
	return json.MarshalIndent(f, "", " ")
}

func signedBody(body []byte) []byte {
	return append([]byte("aios capability bundle v1\x00"), body...)
}

// Load verifies a bundle (root → publisher → manifests, each in an endorsed
// domain) and indexes it. The error wraps ErrUntrusted where a signature or an
// endorsement is missing.
func Load(bundle []byte, trust Trust) (*Catalog, error) {
	var f bundleFile
	if err := strictJSON(bundle, &f); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if f.Schema != BundleSchema {
		return nil, fmt.Errorf("read bundle: schema %q, this version reads %s", f.Schema, BundleSchema)
	}
	endorsed, err := f.Publisher.signed()
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	if len(trust.Root) != ed25519.PublicKeySize || !verifyHex(trust.Root, endorsed, f.Publisher.Signature) {
		return nil, fmt.Errorf("verify bundle: publisher %q is %w", f.Publisher.Name, ErrUntrusted)
	}
	key, err := hex.DecodeString(f.Publisher.Key)
	if err != nil || len(key) != ed25519.PublicKeySize || !verifyHex(key, signedBody(f.Body), f.Signature) {
		return nil, fmt.Errorf("verify bundle: the signature of publisher %q does not fit: %w", f.Publisher.Name, ErrUntrusted)
	}
	var body bundleBody
	if err := strictJSON(f.Body, &body); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	var manifests []*Manifest
	for _, raw := range body.Manifests {
		m, err := parseManifest(raw)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(f.Publisher.Domains, m.Domain()) {
			return nil, fmt.Errorf("verify bundle: publisher %q for domain %q of %s is %w", f.Publisher.Name, m.Domain(), m.CapabilityID, ErrUntrusted)
		}
		manifests = append(manifests, m)
	}
	canonical, err := jcs.Transform(f.Body)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	sum := blake3.Sum256(canonical)
	return index("cat_"+hex.EncodeToString(sum[:])[:32], manifests, body.Recipes)
}

func verifyHex(key ed25519.PublicKey, message []byte, sig string) bool {
	s, err := hex.DecodeString(sig)
	return err == nil && len(s) == ed25519.SignatureSize && ed25519.Verify(key, message, s)
}

func strictJSON(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
