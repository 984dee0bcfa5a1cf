package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/ai-os-dot-net/aios/agents"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
)

// config is everything that can be set. Each key is a line of aios.yaml, a flag of
// `aios mount` (dots and underscores become dashes) and an environment variable
// (AIOS_ and the key in capitals). The flag wins over the environment, that over the file;
// the file itself is named by --config or AIOS_CONFIG.
type config struct {
	State           string        `yaml:"state" usage:"state directory (default /var/lib/aios for root, else $XDG_STATE_HOME/aios)"`
	Spool           string        `yaml:"spool" usage:"directory outside the mount that takes goals from programs which cannot see it"`
	EvidenceAnchor  string        `yaml:"evidence_anchor" usage:"file, best on another disk, that signed checkpoints are appended to as well"`
	EpochInterval   time.Duration `yaml:"epoch_interval" usage:"longest time that a change waits before it is durable"`
	VersionInterval time.Duration `yaml:"version_interval" usage:"fsync makes a version at most this often"`
	Retention       time.Duration `yaml:"retention" usage:"how far back history reaches, and how long what was removed is kept; user.aios.retention of a directory (all, none, last=N, days=N) says otherwise below it"`
	SealAge         time.Duration `yaml:"seal_age" usage:"age at which an evidence segment is sealed"`
	GIDBase         uint32        `yaml:"gid_base" usage:"first gid for groups made by group.create"`
	SingleOperator  ownApproval   `yaml:"single_operator" usage:"first start only: may a person approve what he asked for himself: auto (where nobody else could: one login at most, or a mount for its owner alone), true or false"`
	MemoryLimit     int64         `yaml:"memory_limit" usage:"soft limit of the daemon's memory, in MiB"`
	Passthrough     string        `yaml:"passthrough" usage:"auto, or off: no large file is read and written by the kernel itself"`
	LogLevel        string        `yaml:"log_level" usage:"debug, info, warn or error"`
	Transport       string        `yaml:"transport" usage:"what carries the kernel's requests: loop (one reader, the fast one) or go-fuse"`
	HumanRate       agents.Rate   `yaml:"human_rate" usage:"actions of one person, PER_MINUTE/BURST (the reference has 60/30), or off: a person's programs count as that person"`
	AIRate          agents.Rate   `yaml:"ai_rate" usage:"actions of one agent, PER_MINUTE/BURST; 30/15 at most"`
	PolicyTimeout   time.Duration `yaml:"policy_timeout" usage:"how long the facts for one decision may take; what is late is denied, and may be asked again"`
	AllowOther      bool          `yaml:"allow_other" usage:"let other users in (default for root)"`
}

func defaultConfig() config {
	return config{
		State: defaultState(), EpochInterval: time.Second, VersionInterval: 30 * time.Second,
		Retention: 90 * 24 * time.Hour, SealAge: time.Hour, GIDBase: 62000, SingleOperator: ownAuto, MemoryLimit: 1024,
		Passthrough: "auto", LogLevel: "warn", Transport: aiosfs.TransportDefault, AIRate: agents.ReferenceAI, PolicyTimeout: 200 * time.Millisecond, AllowOther: os.Geteuid() == 0,
	}
}

func defaultState() string {
	if os.Geteuid() == 0 {
		return "/var/lib/aios"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "aios")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "aios")
}

func configFiles() []string {
	files := []string{"/etc/aios/aios.yaml"}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "aios", "aios.yaml"))
	}
	return files
}

// keys walks the settable fields.
func (c *config) keys(fn func(key, usage string, field reflect.Value) error) error {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if err := fn(f.Tag.Get("yaml"), f.Tag.Get("usage"), v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// setText sets one field from its text; the key is for the error only.
func setText(key, text string, field reflect.Value) error {
	var err error
	switch p := field.Addr().Interface().(type) {
	case *string:
		*p = text
	case *ownApproval:
		err = p.set(text)
	case *agents.Rate:
		*p, err = agents.ParseRate(text)
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *time.Duration:
		*p, err = parseDuration(text)
	case *uint32:
		var n uint64
		n, err = strconv.ParseUint(text, 10, 32)
		*p = uint32(n)
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	default:
		err = fmt.Errorf("no form for %T", p)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is no %s", key, text, kindName(field))
	}
	return nil
}

func kindName(field reflect.Value) string {
	switch field.Addr().Interface().(type) {
	case *time.Duration:
		return "duration (2s, 15m, 90d)"
	case *agents.Rate:
		return "rate (60/30: a minute, at once; or off)"
	case *ownApproval:
		return "auto, true or false"
	case *bool:
		return "yes or no (true, false)"
	default:
		return "number"
	}
}

// parseDuration takes Go's forms and whole days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}

// addFlags declares a flag for each key.
func addFlags(flags *pflag.FlagSet) {
	c := defaultConfig()
	_ = c.keys(func(key, usage string, field reflect.Value) error { // the walk itself cannot fail
		if field.Kind() == reflect.Bool {
			flags.Bool(flagName(key), field.Bool(), usage)
			return nil
		}
		flags.String(flagName(key), fmt.Sprint(field.Interface()), usage)
		return nil
	})
	flags.String("config", "", "configuration file (default AIOS_CONFIG, else /etc/aios/aios.yaml, then ~/.config/aios/aios.yaml)")
}

// loadConfig reads the file, the environment and the flags, in this order.
func loadConfig(flags *pflag.FlagSet) (config, error) {
	c := defaultConfig()
	files := configFiles()
	name, _ := flags.GetString("config")
	if name == "" {
		name = os.Getenv("AIOS_CONFIG")
	}
	if name != "" {
		files = []string{name}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) && name == "" {
			continue
		}
		if err != nil {
			return c, fmt.Errorf("read configuration: %w", err)
		}
		if err := c.parse(b); err != nil {
			return c, fmt.Errorf("%s: %w", file, err)
		}
	}
	err := c.keys(func(key, _ string, field reflect.Value) error {
		if text, ok := os.LookupEnv("AIOS_" + strings.ToUpper(key)); ok {
			if err := setText("AIOS_"+strings.ToUpper(key), text, field); err != nil {
				return err
			}
		}
		if f := flags.Lookup(flagName(key)); f != nil && f.Changed {
			return setText("--"+flagName(key), f.Value.String(), field)
		}
		return nil
	})
	if err == nil && c.State == "" {
		err = errors.New("no state directory: set --state (there is no home directory to put one into)")
	}
	return c, err
}

// parse reads aios.yaml; a key that is not one of ours is an error with its line.
func (c *config) parse(b []byte) error {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if len(doc.Content) == 0 {
		return nil
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want `key: value` lines", top.Line)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		k, v := top.Content[i], top.Content[i+1]
		found := false
		err := c.keys(func(key, _ string, field reflect.Value) error {
			if key != k.Value {
				return nil
			}
			found = true
			if v.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: %s takes one value", v.Line, key)
			}
			if err := setText(key, v.Value, field); err != nil {
				return fmt.Errorf("line %d: %w", v.Line, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("line %d: there is no setting %q", k.Line, k.Value)
		}
	}
	return nil
}
