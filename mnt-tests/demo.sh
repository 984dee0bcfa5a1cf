#!/bin/sh
# Shows AIOS in under a minute: a goal that is done, one that is denied, one that is
# rolled back, and the log that proves all three. Everything lives in a scratch
# directory and is gone afterwards. Usage: demo.sh AIOS-BINARY
set -u
AIOS=$(readlink -f "$1")
D=$(mktemp -d "${TMPDIR:-/tmp}/aios-demo.XXXXXX") || exit 1
M=$D/aios
mkdir "$M"
export AIOS_MOUNT="$M"
PID=
cleanup() {
	[ -z "$PID" ] || "$AIOS" umount "$M" >/dev/null 2>&1 || { fusermount3 -uz "$M" 2>/dev/null || umount -l "$M" 2>/dev/null; }
	[ -z "$PID" ] || wait "$PID" 2>/dev/null
	rm -rf "$D"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
bold=; dim=; off=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m'); dim=$(printf '\033[2m'); off=$(printf '\033[0m'); fi
failed=0
say() { printf '\n%s%s%s\n' "$bold" "$*" "$off"; }
show() { awk '{ print "  " $0 }' | sed "s|$M|/aios|g; s|$D|…|g"; } # awk ends a last line that has no end
# type COMMAND: print it as typed at a shell, run it, indent what comes back
type_() { printf '%s$ %s%s\n' "$dim" "$(printf '%s' "$1" | sed "s|$M|/aios|g; s|$AIOS|aios|g; s|$D/||g")" "$off"; sh -c "$1" 2>&1 | show; }
# expect FILE WORD: the demo's own check, so that it cannot lie
expect() {
	got=$(timeout 30 cat "$1" 2>/dev/null)
	[ "$got" = "$2" ] || { printf '  !! expected %s, got "%s"\n' "$2" "$got"; failed=1; }
}

say "Mount it"
"$AIOS" mount --state "$D/state" "$M" >"$D/log" 2>&1 &
PID=$!
i=0
until [ -e "$M/README" ]; do
	i=$((i + 1))
	if [ $i -gt 200 ] || ! kill -0 $PID 2>/dev/null; then echo "the mount did not come up:" >&2; cat "$D/log" >&2; exit 1; fi
	sleep 0.05
done
type_ "ls $M"

say "1. A goal in words becomes a verified change"
type_ "echo 'write \"I went hiking today.\" to journal/2026-11-23.md' > $M/intents/hike"
type_ "cat $M/intents/hike.d/wait"
expect "$M/intents/hike.d/wait" SUCCEEDED
type_ "cat $M/self/home/journal/2026-11-23.md"
type_ "head -20 $M/intents/hike.d/plan"
type_ "ls $M/intents/hike.d/evidence"

say "2. Nothing is forgotten"
type_ "echo 'I went hiking, and it rained.' > $M/self/home/journal/2026-11-23.md; $AIOS history $M/self/home/journal/2026-11-23.md"

say "3. What policy forbids does not happen, and leaves proof"
cat >"$D/evil.yaml" <<'Y'
schema: aios.intent.v1alpha1
reason: switch the policy off
actions:
  - id: off
    action: aiosfs.object.write
    target: {path: /aios/system/policy/allow-all.yaml}
    params: {content: "effect: allow"}
Y
type_ "tail -4 $D/evil.yaml; cp $D/evil.yaml $M/intents/evil; cat $M/intents/evil.d/wait"
expect "$M/intents/evil.d/wait" POLICY_DENIED
type_ "$AIOS policy explain evil"

say "4. What fails half-way is rolled back, whole"
cat >"$D/half.yaml" <<'Y'
schema: aios.intent.v1alpha1
reason: two writes and a clone that cannot work
actions:
  - id: one
    action: aiosfs.object.write
    target: {path: report/one.md}
    params: {content: "first\n"}
  - id: two
    action: aiosfs.object.write
    target: {path: report/two.md}
    params: {content: "second\n"}
    after: [one]
    verify: [{type: file.hash, args: {path: report/two.md, hash: "b3:0000000000000000000000000000000000000000000000000000000000000000"}}]
Y
type_ "grep -E 'id:|action:|verify' $D/half.yaml; cp $D/half.yaml $M/intents/half; cat $M/intents/half.d/wait"
state=$(cat "$M/intents/half.d/state")
case $state in ROLLED_BACK | FAILED) ;; *) printf '  !! expected a rollback, got %s\n' "$state"; failed=1 ;; esac
type_ "ls $M/self/home/report"
[ ! -e "$M/self/home/report" ] || { echo "  !! something was left behind"; failed=1; }

say "5. The proof"
type_ "$AIOS log -n 12"
type_ "$AIOS verify --state $D/state"
"$AIOS" verify --state "$D/state" >/dev/null 2>&1 || { echo "  !! the log does not verify"; failed=1; }
[ $failed = 0 ] || { echo; echo "the demo did not go as it should; the daemon said:"; cat "$D/log"; exit 1; }
printf '\n%sDone; everything above was real, and is cleaned up.%s\n' "$bold" "$off"
