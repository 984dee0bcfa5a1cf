package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ai-os-dot-net/aios/agents"
	aiosfs "github.com/ai-os-dot-net/aios/fs"
	"github.com/ai-os-dot-net/aios/policy"
)

// otherValue stands for a label's value that its vocabulary does not have.
const otherValue = "_other"

// vocabularies are the labels that there are, each with all that it may say. No subject,
// group, path or id is one: a label that grows with what people do makes the metrics
// grow with it, and tells everybody who reads them what others do (filesystem.md §14).
var vocabularies = map[string][]string{
	"operation":   aiosfs.OperationNames(),
	"state":       agents.RunStates,
	"decision":    {"ALLOW", "REQUIRE_APPROVAL", "DENY"},
	"reason_code": policy.ReasonCodes(),
	"policy_id":   policy.HardDenyIDs(),
	"refused":     aiosfs.RefusedOperations(),
}

// metric is one family of the exposition; values are by their labels' values, in order.
type metric struct {
	name, kind, help string
	labels           []string
	values           map[[2]string]float64
}

// one is a metric without labels.
func one(name, kind, help string, v float64) metric {
	return metric{name: name, kind: kind, help: help, values: map[[2]string]float64{{}: v}}
}

// by is a metric with one label.
func by[N uint64 | int](name, kind, help, label string, values map[string]N) metric {
	m := metric{name: name, kind: kind, help: help, labels: []string{label}, values: map[[2]string]float64{}}
	for k, n := range values {
		m.add(float64(n), k)
	}
	return m
}

// add counts under labels; what is not of a label's vocabulary is counted as otherValue.
func (m *metric) add(n float64, values ...string) {
	var k [2]string
	for i, v := range values {
		if k[i] = v; !slices.Contains(vocabularies[m.labels[i]], v) {
			k[i] = otherValue
		}
	}
	m.values[k] += n
}

// valueWidth is the room of a value, and metricsUnit that of the whole text: a file whose
// size moves with each look at it is copied short by whoever asks for its size first.
const (
	valueWidth  = 24
	metricsUnit = 4096
)

// padded fills the text up with a comment.
func padded(text string) string {
	n := metricsUnit - (len(text)+2)%metricsUnit
	return text + "#" + strings.Repeat(" ", n) + "\n"
}

// write gives the metric in the text format of Prometheus (version 0.0.4).
func (m *metric) write(b *strings.Builder) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
	keys := slices.SortedFunc(maps.Keys(m.values), func(x, y [2]string) int { return strings.Compare(x[0]+"\x00"+x[1], y[0]+"\x00"+y[1]) })
	for _, k := range keys {
		var parts []string
		for i, name := range m.labels {
			parts = append(parts, fmt.Sprintf("%s=%q", name, k[i]))
		}
		b.WriteString(m.name)
		if parts != nil {
			b.WriteString("{" + strings.Join(parts, ",") + "}")
		}
		fmt.Fprintf(b, " %*v\n", valueWidth, m.values[k])
	}
}

// refusedOps counts what the mount refused, by the operation.
type refusedOps struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (r *refusedOps) add(x aiosfs.Denial) {
	if x.Code == aiosfs.SystemAdminOperation {
		return // that one was allowed, and is only told
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == nil {
		r.n = map[string]uint64{}
	}
	r.n[string(x.Op)] += uint64(x.Count)
}

func (r *refusedOps) get() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.n)
}

// metrics is system/runtime/metrics: what is going on, in numbers.
func (d *daemon) metrics() []byte {
	list := []metric{
		one("aios_start_time_seconds", "gauge", "When this daemon started, since the epoch.", float64(d.started.UnixMilli())/1000),
		one("aios_uptime_seconds", "gauge", "How long it has run.", time.Since(d.started).Seconds()),
		one("evidence_records_total", "counter", "Records in the evidence log.", float64(d.log.Head().Size)),
		by("aiosfs_refused_total", "counter", "Operations on files that were refused and recorded.", "refused", d.refused.get()),
	}
	if s := d.server.Load(); s != nil {
		list = append(list, by("aiosfs_operations_total", "counter", "Requests of the kernel that were answered for somebody.", "operation", s.Operations()))
	}
	if d.runtime != nil {
		list = append(list, by("aios_intents", "gauge", "Intents by their state.", "state", d.runtime.States()))
	}
	var b strings.Builder
	for _, m := range append(list, policyMetrics(d.kernel)...) {
		m.write(&b)
	}
	return []byte(padded(b.String()))
}

func policyMetrics(k *policy.Kernel) []metric {
	c, degraded := k.Counts(), 0.0
	if k.Info().Degraded {
		degraded = 1
	}
	evaluations := metric{name: "policy_evaluations_total", kind: "counter", help: "Decisions of the policy kernel.", labels: []string{"decision", "reason_code"}, values: map[[2]string]float64{}}
	simulations := metric{name: "policy_simulations_total", kind: "counter", help: "Decisions that were only asked for.", labels: []string{"decision"}, values: map[[2]string]float64{}}
	hard := metric{name: "policy_hard_deny_total", kind: "counter", help: "Denials for good, by the rule.", labels: []string{"policy_id"}, values: map[[2]string]float64{}}
	for t, n := range c.Decisions {
		if t.Simulated {
			simulations.add(float64(n), t.Outcome.String())
		} else {
			evaluations.add(float64(n), t.Outcome.String(), t.ReasonCode)
		}
		if t.HardDeny != "" {
			hard.add(float64(n), t.HardDeny)
		}
	}
	return []metric{evaluations, simulations, hard,
		one("policy_cache_hit_total", "counter", "Decisions that were remembered.", float64(c.Hits)),
		one("policy_cache_miss_total", "counter", "Decisions that were made anew.", float64(c.Misses)),
		one("policy_engine_degraded", "gauge", "1 while no policy bundle holds.", degraded),
		one("policy_rules", "gauge", "Rules of the bundle in force.", float64(k.Info().Rules)),
	}
}
