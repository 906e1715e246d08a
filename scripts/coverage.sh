#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make coverage: which lines of mm/ptshare do the selftests reach? Runs them in
# a guest with the cov kernel and asks gcov; $BUILD/coverage/report.txt has a
# table and the lines that nothing reaches.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
die() { echo "coverage.sh: $*" >&2; exit 1; }
case "$#:${1:-}" in
0:) again= ;;
1:-r) again=1 ;;
*)
	cat >&2 <<EOT
usage: scripts/coverage.sh [-r]
  -r   only make the report anew, of what the last run has left
environment: BUILD=$BUILD
EOT
	exit 2 ;;
esac
[ -f "$BUILD/cov/bzImage" ] || die "no kernel $BUILD/cov/bzImage: run 'make kernel CONFIG=cov'"
BUILD=$(cd "$BUILD" && pwd)
export BUILD
out=$BUILD/coverage
if [ -z "$again" ]; then
	rm -rf "$out"
	mkdir -p "$out/gcda"
	echo "coverage.sh: the selftests, with vm.ptshare 0 and 2: about 15 minutes"
	st=0
	# shellcheck disable=SC2016 # for the guest
	"$top/scripts/vm.sh" -k cov -m 3G -c 4 -t 3600 -a 'numa=fake=2 ptshare=2' -n coverage \
		-s "$out/gcda" -- 'st=0
		for mode in 0 2; do
			PTSHARE_TEST_QUICK=1 sh /opt/ptshare/guest/run-selftests.sh $mode || st=1
		done
		for f in $(find /sys/kernel/debug/gcov -path "*/mm/ptshare/*.gcda"); do
			cat $f >/host/${f##*/} || st=1
		done
		exit $st' >"$out/selftests.log" 2>&1 || st=$?
	grep -E '^fail - |^vm.sh' "$out/selftests.log" >&2 || :
	[ $st -le 1 ] || die "the run ended with status $st: $out/selftests.log"
fi
set -- "$out"/gcda/*.gcda
[ -f "$1" ] || die "the guest gave no counters: has this kernel CONFIG_GCOV_KERNEL? See $out/selftests.log"
python3 "$top/scripts/coverage.py" "$BUILD/cov" "$@" >"$out/report.txt.tmp" || {
	cat "$out/report.txt.tmp"
	die "gcov could not read the counters"
}
mv "$out/report.txt.tmp" "$out/report.txt"
cat "$out/report.txt"
[ "${st:-0}" -eq 0 ] || die "tests failed (above), so lines may be missing"
