#!/bin/sh
# posix.sh AIOS PJDFSTEST: mounts an instance of its own and runs pjdfstest there.
# PJDFSTEST is a built checkout of github.com/pjd/pjdfstest: pjdfstest and tests/ lie in it.
# Fails unless every test passes. The last line is passed/total.
set -u
aios=$(realpath "$1")
suite=${2:-}
say() { echo "posix: $*" >&2; exit 1; }
[ -n "$suite" ] || say "say where pjdfstest is: make posix PJDFSTEST=<dir>  (git clone https://github.com/pjd/pjdfstest; cd pjdfstest; autoreconf -ifs && ./configure && make pjdfstest)"
suite=$(realpath "$suite") || exit 1
[ -d "$suite/tests" ] || say "$suite has no tests/; it is no checkout of pjdfstest"
[ -x "$suite/pjdfstest" ] || say "$suite/pjdfstest is not built (autoreconf -ifs && ./configure && make pjdfstest)"
[ "$(id -u)" = 0 ] || say "pjdfstest changes its users; run it as root"
command -v prove >/dev/null 2>&1 || say "prove is missing (Debian: apt-get install perl)"

work=$(mktemp -d "${TMPDIR:-/tmp}/aios-posix.XXXXXX")
chmod 755 "$work"
mkdir "$work/mnt"
finish() {
	cd /
	umount "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null
	[ -z "${pid:-}" ] || wait "$pid" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

"$aios" mount --state "$work/state" "$work/mnt" 2>"$work/log" &
pid=$!
until [ -e "$work/mnt/README" ]; do
	kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
	sleep 0.1
done
mkdir "$work/mnt/groups/local/shared/pjdfstest"
cd "$work/mnt/groups/local/shared/pjdfstest" || exit 1
prove -r "$suite/tests" 2>&1 | tee "$work/out" | grep -v '\.\. ok$'

# What a file that ended early did not come to counts as failed.
total=$(sed -n 's/^Files=[0-9]*, Tests=\([0-9]*\),.*/\1/p' "$work/out")
missing=$(sed -n 's/.*You planned \([0-9]*\) tests but ran \([0-9]*\)\.$/\1 \2/p' "$work/out" | awk '$1 > $2 {n += $1 - $2} END {print n + 0}')
failed=$(sed -n 's/^ *Failed \([0-9]*\)\/[0-9]* subtests.*/\1/p' "$work/out" | awk '{n += $1} END {print n + 0}')
[ -n "$total" ] || say "the run did not come to its end"
total=$((total + missing))
echo "posix: $((total - failed))/$total"
[ "$failed" = 0 ] && [ "$total" -gt 0 ] && grep -q '^Result: PASS$' "$work/out"
