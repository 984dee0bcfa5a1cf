#!/bin/sh
# Makes cmd/aios/default.pgo, from which the compiler learns what the daemon does most:
# profiles taken while peers.sh runs on a mount.
# Usage: pgo.sh AIOS-BINARY PEERS.SH
set -eu
command -v curl >/dev/null || { echo "pgo: curl is missing (apt install curl)" >&2; exit 1; }
[ -f "$2" ] || { echo "pgo: no peers.sh at $2 (make pgo PEERS=/path/to/peers.sh)" >&2; exit 1; }
AIOS=$(readlink -f "$1")
PEERS=$(readlink -f "$2")
D=$(mktemp -d "${TMPDIR:-/tmp}/aios-pgo.XXXXXX")
mkdir "$D/mnt"
cp "$AIOS" "$D/aios" # the profile names the program's path
"$D/aios" mount --state "$D/state" --pprof "$D/pprof" "$D/mnt" >"$D/log" 2>&1 &
A=$!
trap 'fusermount3 -uz "$D/mnt" 2>/dev/null; kill $A 2>/dev/null; wait 2>/dev/null; rm -rf "$D"' EXIT
for _ in $(seq 100); do [ -e "$D/mnt/README" ] && break; sleep 0.1; done
[ -e "$D/mnt/README" ] || { echo "pgo: the mount did not come up:" >&2; cat "$D/log" >&2; exit 1; }
(
	i=100
	while [ ! -e "$D/over" ]; do
		i=$((i + 1))
		curl -sf --unix-socket "$D/pprof" -o "$D/$i.part" 'http://aios/debug/pprof/profile?seconds=10' && mv "$D/$i.part" "$D/$i.pb"
	done
) &
P=$!
# Data once and little of it, the many small requests twice.
sh "$PEERS" -n 5000 -m 128 -t 3 "$D/mnt/groups/local/shared"
sh "$PEERS" -n 5000 -o meta,fsync,tree,git "$D/mnt/groups/local/shared"
: >"$D/over"
wait $P
go tool pprof -proto "$D"/*.pb >"$D/merged" 2>"$D/told" || { cat "$D/told" >&2; exit 1; }
mv "$D/merged" cmd/aios/default.pgo
ls -l cmd/aios/default.pgo
