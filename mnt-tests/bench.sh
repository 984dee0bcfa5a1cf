#!/bin/sh
# Measures: the Go benchmarks, then peers.sh on our mount, on go-fuse's own loopback
# and on the bare disk, in turn, several rounds; a table, a TSV of it and a picture at the end, in mnt-tests/out.
# Usage: bench.sh AIOS-BINARY [PEERS.SH]    ROUNDS=5 PEERS_ARGS='-n 2000 -m 256 -t 5' GOBENCH_SKIP=1
set -eu
AIOS=$(readlink -f "$1")
PEERS=${2:-}
ROUNDS=${ROUNDS:-5}
OUT=mnt-tests/out
mkdir -p "$OUT"
[ -n "${GOBENCH_SKIP:-}" ] || go test -run '^$' -bench . -benchtime 1s -timeout 30m ./... 2>&1 | grep -E '^(Benchmark|ok|FAIL|goos|cpu)' | tee "$OUT/bench.txt"
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
machine="$(nproc) CPUs, Linux $(uname -r), $(stat -f -c %T "$D"), $(date +%F), medians of $ROUNDS rounds in turn"
: >"$OUT/peers.tsv"
for round in $(seq "$ROUNDS"); do
	# Who goes first changes, so that a machine that slows down is fair to all.
	case $((round % 3)) in 0) turn="aios loopback disk" ;; 1) turn="loopback disk aios" ;; 2) turn="disk aios loopback" ;; esac
	for target in $turn; do
		case $target in aios) dir=$D/aios/groups/local/shared ;; loopback) dir=$D/loop ;; disk) dir=$D/disk ;; esac
		echo "bench: round $round of $ROUNDS, $target" >&2
		sh "$PEERS" ${PEERS_ARGS:--n 2000 -m 256 -t 5} "$dir" | sed "s/^/$target	/" >>"$OUT/peers.tsv" || true
		sleep "${PAUSE:-3}" # what was left to do in the background is done outside the next one's time
	done
done
echo "bench: $machine"
go run ./mnt-tests/benchtable -svg "$OUT/bench.svg" -tsv "$OUT/bench.tsv" -title "$machine" "$OUT/peers.tsv" | tee "$OUT/peers.txt"
