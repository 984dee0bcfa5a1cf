package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func load(t *testing.T, yaml string, args ...string) (config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "aios.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	addFlags(flags)
	if err := flags.Parse(append([]string{"--config", file}, args...)); err != nil {
		t.Fatal(err)
	}
	return loadConfig(flags)
}

func TestConfigOrder(t *testing.T) {
	t.Setenv("AIOS_SPOOL", "/env")
	t.Setenv("AIOS_LOG_LEVEL", "debug")
	c, err := load(t, "state: /file\nspool: /file\nretention: 30d\nallow_other: false\n", "--log-level", "error")
	if err != nil {
		t.Fatal(err)
	}
	if c.State != "/file" || c.Spool != "/env" || c.LogLevel != "error" || c.Retention != 30*24*time.Hour || c.AllowOther {
		t.Errorf("%+v", c)
	}
}

// Who may approve what he asked for himself is said by the configuration, or else found
// by looking at the machine.
func TestConfigSingleOperator(t *testing.T) {
	for text, want := range map[string]ownApproval{"auto": ownAuto, "true": ownYes, "false": ownNo, "1": ownYes, "0": ownNo} {
		c, err := load(t, "single_operator: "+text+"\n")
		if err != nil || c.SingleOperator != want {
			t.Errorf("%s: %q, %v", text, c.SingleOperator, err)
		}
		if want != ownAuto && c.ownApproval() != (want == ownYes) {
			t.Errorf("%s does not count", text)
		}
	}
	if c, err := load(t, "allow_other: true\n"); err != nil || c.SingleOperator != ownAuto || c.ownApproval() != oneHuman() {
		t.Errorf("the default: %q, %v", c.SingleOperator, err)
	}
	if c, err := load(t, "allow_other: false\n"); err != nil || !c.ownApproval() {
		t.Errorf("where nobody else sees the mount: %v", err)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct{ yaml, says string }{
		{"state: /x\nspol: /y\n", `line 2: there is no setting "spol"`},
		{"epoch_interval: soon\n", `epoch_interval: "soon" is no duration`},
		{"gid_base: -1\n", "gid_base"},
		{"single_operator: maybe\n", "single_operator: \"maybe\" is no auto, true or false"},
		{"spool: [a, b]\n", "line 1: spool takes one value"},
		{"- a\n", "want `key: value` lines"},
		{"state: [\n", "yaml"},
	} {
		if _, err := load(t, c.yaml); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %s", c.yaml, err, c.says)
		}
	}
}

func TestMountHelperArguments(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"/var/lib/aios /aios -o rw,noatime", "mount --background --state /var/lib/aios --source /var/lib/aios -o rw,noatime /aios"},
		{"aios /aios -s -n -o allow_other", "mount --background -o allow_other /aios"},
		{"/s /aios -t aios", "mount --background --state /s --source /s /aios"},
	} {
		got, err := mountHelperArgs(strings.Fields(c.in))
		if err != nil || strings.Join(got, " ") != c.out {
			t.Errorf("%s: %s, %v", c.in, strings.Join(got, " "), err)
		}
	}
	if _, err := mountHelperArgs([]string{"only-one"}); err == nil {
		t.Error("a missing mountpoint was taken")
	}
}

func TestStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	lock, first, err := openState(dir)
	if err != nil || !first {
		t.Fatal(first, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second daemon: %v", err)
	}
	lock.Close()
	if lock, first, err = openState(dir); err != nil || first {
		t.Fatal(first, err)
	}
	lock.Close()
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer state: %v", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openState(other); err == nil || !strings.Contains(err.Error(), "neither empty") {
		t.Errorf("somebody else's directory: %v", err)
	}
}

func TestKeysStay(t *testing.T) {
	dir := t.TempDir()
	a, err := key(dir, "evidence")
	if err != nil {
		t.Fatal(err)
	}
	b, err := key(dir, "evidence")
	if err != nil || !a.Equal(b) {
		t.Errorf("the key changed: %v", err)
	}
	other, err := key(dir, "identity")
	if err != nil || a.Equal(other) {
		t.Error("two purposes share a key")
	}
	file := filepath.Join(dir, "keys", "evidence.key")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(file, []byte("c2VjcmV0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := key(dir, "evidence"); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
		t.Errorf("a damaged key: %v", err)
	}
}
