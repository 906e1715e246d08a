#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make checkpatch: the kernel's checkpatch.pl --strict on every patch and every
# overlay file; anything it says is a failure.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
# shellcheck source=scripts/series.sh
. "$top/scripts/series.sh"
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/checkpatch-all.sh" >&2; exit 2; }
cp=$BUILD/linux/scripts/checkpatch.pl
[ -f "$cp" ] || die "no $cp: run 'make tree' first"
cd "$BUILD/linux"
opts="--strict --quiet --summary-file --show-types"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
export PATH="/usr/bin:/bin:$PATH" # Debian's python3, which has the modules of spdxcheck.py
bad=0 n=0
try()
{
	n=$((n + 1))
	# shellcheck disable=SC2086 # a list of words
	if ! perl "$cp" $opts "$@" >"$out" 2>&1 || [ -s "$out" ]; then
		cat "$out"
		bad=$((bad + 1))
	fi
}
for p in "$top"/patches/[0-9]*.patch; do
	[ -f "$p" ] || continue
	if grep -q '^diff --git' "$p"; then
		try "$p"
	else # brings overlay files only, so it is a message without a diff
		try --ignore NOT_UNIFIED_DIFF "$p"
	fi
done
# Never submitted, so no MAINTAINERS lines and the like; a table made by macros.
for p in "$top"/mutants/*.patch; do
	[ ! -f "$p" ] || try --ignore "FILE_PATH_CHANGES,CONFIG_DESCRIPTION,UNDOCUMENTED_SETUP,COMMIT_LOG_LONG_LINE,\
COMPLEX_MACRO,BRACKET_SPACE,MACRO_ARG_REUSE,MACRO_ARG_UNUSED" "$p"
done
for f in $(overlay_files "$top"); do
	# boot parameters are documented by a hunk, which is in the patch
	try --ignore UNDOCUMENTED_SETUP --file "$top/$f"
done
say "$n files, $bad with remarks"
[ $bad -eq 0 ]
