#!/bin/sh
# Measures: the Go benchmarks, then peers.sh on our mount, on go-fuse's own loopback
# and on the bare disk, in turn, several rounds, medians and ratios at the end.
# Usage: bench.sh AIOS-BINARY [PEERS.SH]    ROUNDS=5 PEERS_ARGS='-n 2000 -m 256 -t 5'
set -eu
AIOS=$(readlink -f "$1")
PEERS=${2:-}
ROUNDS=${ROUNDS:-3}
OUT=mnt-tests/out
mkdir -p "$OUT"
go test -run '^$' -bench . -benchtime 1s -timeout 30m ./... 2>&1 | grep -E '^(Benchmark|ok|FAIL|goos|cpu)' | tee "$OUT/bench.txt"
if [ -z "$PEERS" ] || [ ! -f "$PEERS" ]; then
	echo "bench: no peers.sh (make bench PEERS=/path/to/peers.sh): the mount was not measured" >&2
	exit 0
fi
D=$(mktemp -d "${TMPDIR:-/tmp}/aios-bench.XXXXXX")
mkdir "$D/aios" "$D/loop" "$D/under" "$D/disk"
go build -o "$D/loopback" github.com/hanwen/go-fuse/v2/example/loopback
"$AIOS" mount --state "$D/state" "$D/aios" >"$D/aios.log" 2>&1 &
A=$!
allow=; [ "$(id -u)" != 0 ] || allow=-allow-other
"$D/loopback" $allow "$D/loop" "$D/under" >"$D/loop.log" 2>&1 &
L=$!
trap 'fusermount3 -uz "$D/aios" 2>/dev/null; fusermount3 -uz "$D/loop" 2>/dev/null; kill $A $L 2>/dev/null; wait 2>/dev/null; rm -rf "$D"' EXIT
for _ in $(seq 100); do [ -e "$D/aios/README" ] && mountpoint -q "$D/loop" && break; sleep 0.1; done
[ -e "$D/aios/README" ] || { echo "bench: the mount did not come up:" >&2; cat "$D/aios.log" >&2; exit 1; }
mountpoint -q "$D/loop" || { echo "bench: loopback did not come up:" >&2; cat "$D/loop.log" >&2; exit 1; }
: >"$OUT/peers.tsv"
for round in $(seq "$ROUNDS"); do
	for target in aios loopback disk; do
		case $target in aios) dir=$D/aios/groups/local/shared ;; loopback) dir=$D/loop ;; disk) dir=$D/disk ;; esac
		echo "bench: round $round of $ROUNDS, $target" >&2
		sh "$PEERS" ${PEERS_ARGS:--n 2000 -m 256 -t 5} "$dir" | sed "s/^/$target	/" >>"$OUT/peers.tsv" || true
	done
done
awk -F'\t' '
	$3 != "NA" { n[$1, $2]++; v[$1, $2, n[$1, $2]] = $3; unit[$2] = $4; if (!($2 in seen)) { seen[$2] = 1; order[++m] = $2 } }
	function median(t, k,   i, j, x, c) {
		c = n[t, k]; if (!c) return ""
		for (i = 1; i <= c; i++) a[i] = v[t, k, i] + 0
		for (i = 2; i <= c; i++) { x = a[i]; for (j = i - 1; j >= 1 && a[j] > x; j--) a[j + 1] = a[j]; a[j + 1] = x }
		return (c % 2) ? a[(c + 1) / 2] : (a[c / 2] + a[c / 2 + 1]) / 2
	}
	END {
		printf "%-24s %12s %12s %12s  %-6s %s\n", "metric", "aios", "loopback", "disk", "unit", "times loopback"
		for (i = 1; i <= m; i++) { k = order[i]; o = median("aios", k); l = median("loopback", k); d = median("disk", k)
			r = (o > 0 && l > 0) ? ((unit[k] == "s") ? l / o : o / l) : 0
			printf "%-24s %12s %12s %12s  %-6s %.2f\n", k, o, l, d, unit[k], r }
	}' "$OUT/peers.tsv" | tee "$OUT/peers.txt"
