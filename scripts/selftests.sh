#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make selftests: the programs tools/testing/selftests/mm/ptshare_*.c, static,
# for the guest. Every file with a main() or a TEST_HARNESS_MAIN is a program,
# the others (ptshare_util.c) are linked into each.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/selftests.sh" >&2; exit 2; }
dir=$BUILD/linux/tools/testing/selftests/mm
[ -d "$dir" ] || { echo "selftests.sh: no $dir: run 'make tree' first" >&2; exit 1; }
mkdir -p "$BUILD/guest"
prog='TEST_HARNESS_MAIN|^(int )?main\('
helpers=$(grep -LE "$prog" "$dir"/ptshare_*.c 2>/dev/null || :)
n=0
for f in $(grep -lE "$prog" "$dir"/ptshare_*.c 2>/dev/null || :); do
	p=$(basename "$f" .c)
	n=$((n + 1))
	out=$BUILD/guest/$p
	newer=$(find "$f" "$dir"/ptshare_* -newer "$out" 2>/dev/null | head -n 1)
	if [ -f "$out" ] && [ -z "$newer" ]; then continue; fi
	echo "selftests.sh: $p"
	# shellcheck disable=SC2086 # a list of words
	gcc -static -O2 -Wall -Wextra -Wno-clobbered -Wno-unused-parameter -U_FORTIFY_SOURCE \
		-I "$dir" "$f" $helpers -lpthread -o "$out.tmp" ||
		{ echo "selftests.sh: $f does not compile" >&2; exit 1; }
	mv "$out.tmp" "$out"
done
for f in "$BUILD"/guest/ptshare_*; do # tests that are gone
	p=$(basename "$f")
	case $p in ptshare_demo*|ptshare_bench|'ptshare_*') continue ;; esac
	[ -f "$dir/$p.c" ] || { echo "selftests.sh: removing $p, which has no source any more"; rm -f "$f"; }
done
echo "selftests.sh: $n programs in $BUILD/guest"
