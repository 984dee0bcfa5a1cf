package mnttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long anything that must happen may take. It is no measure of speed: a
// busy machine may be slow, and what never happens fails a little later.
const patience = 3 * time.Minute

// forTests begin the names of the variables that are meant for the tests, by whoever
// starts them; the others set up daemons, which is each test's own affair.
var forTests = []string{"AIOS_LONG", "AIOS_FILES", "AIOS_RACE", "AIOS_TEST_", "AIOS_FSX_", "AIOS_DIFF_", "AIOS_CUTS", "AIOS_BENCH_", "AIOS_FUSE_", "AIOS_TRANSPORT", "AIOS_PASSTHROUGH"}

// onAnyMachine runs the tests on a machine of which they know nothing: no configuration
// of its own, a temporary directory that every user can enter. With AIOS_RACE set, the
// daemons are built with the race detector, and a race that one of them reports fails
// the run.
func onAnyMachine(m *testing.M) (code int) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "AIOS_") && !slices.ContainsFunc(forTests, func(p string) bool { return strings.HasPrefix(name, p) }) || name == "NOTIFY_SOCKET" || strings.HasPrefix(name, "GIT_") {
			_ = os.Unsetenv(name) // fails for no name that the environment has
		}
	}
	base, err := commonDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(base)
	races, config := filepath.Join(base, "race"), filepath.Join(base, "aios.yaml")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, value := range map[string]string{"AIOS_CONFIG": config, "TMPDIR": base, "GORACE": "log_path=" + races} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	built = sync.OnceValues(func() (string, error) { return build(filepath.Join(base, "bin")) })
	code = m.Run()
	found, _ := filepath.Glob(races + ".*") // the pattern is a good one
	for _, f := range found {
		b, err := os.ReadFile(f)
		fmt.Fprintf(os.Stderr, "a data race in the daemon:\n%s%v\n", b, err)
		code = 1
	}
	return code
}

// commonDir makes a directory that every user can reach: a TMPDIR within somebody's
// private place is not.
func commonDir() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		reachable := true
		for d := parent; ; d = filepath.Dir(d) {
			info, err := os.Stat(d)
			reachable = reachable && err == nil && info.Mode()&0o001 != 0
			if d == "/" || d == "." {
				break
			}
		}
		if !reachable && os.Geteuid() == 0 {
			continue
		}
		base, err := os.MkdirTemp(parent, "aios-test-")
		if err != nil {
			continue
		}
		return base, os.Chmod(base, 0o755)
	}
	return "", fmt.Errorf("there is no directory for tests that every user can enter: set TMPDIR to one")
}

// built gives the program under test, built once for all tests.
var built func() (string, error)

// build makes it; with the race detector where that is asked for.
func build(dir string) (string, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "aios")
	// As make build does it, so that what that has compiled serves here, too.
	args, cgo := []string{"build", "-trimpath", "-buildvcs=false", "-o", bin, "../cmd/aios"}, "CGO_ENABLED=0"
	if os.Getenv("AIOS_RACE") != "" {
		args, cgo = []string{"build", "-buildvcs=false", "-pgo=off", "-race", "-o", bin, "../cmd/aios"}, "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, os.Chmod(bin, 0o755)
}

// aios is the built program.
func aios(t testing.TB) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// soon is how long something may take that must follow within two seconds on a quiet
// machine, which only the long tests have to themselves.
func soon() time.Duration {
	if os.Getenv("AIOS_LONG") == "" {
		return patience
	}
	return 2 * time.Second
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// daemonArgs start a daemon that does not ask what this machine is like; more flags may
// say otherwise.
func daemonArgs(state, dir string, more ...string) []string {
	return append([]string{"mount", "--state", state, "--single-operator=false", "--policy-timeout=1m", dir}, more...)
}
