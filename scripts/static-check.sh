#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make static-check: does the series add a warning of gcc (W=1), sparse (C=2) or
# kernel-doc? Compiles the files it touches, before and after, with the cov
# configuration, which has the debug code; no kernel is built.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
JOBS=${JOBS:-$(nproc)}
die() { echo "static-check.sh: $*" >&2; exit 1; }
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] [JOBS=n] scripts/static-check.sh" >&2; exit 2; }
[ -d "$BUILD/linux/.git" ] || die "no $BUILD/linux: run 'make tree' first"
"$top/scripts/deps.sh" sparse
BUILD=$(cd "$BUILD" && pwd)
export BUILD
after=$BUILD/linux before=$BUILD/static-tree files=$BUILD/log/static-files
mkdir -p "$BUILD/log"
git -C "$after" worktree prune
[ -e "$before/.git" ] || git -C "$after" worktree add -q -f --detach "$before" base
git -C "$before" reset -q --hard base

git -C "$after" diff --name-only --no-renames base -- 'mm/*.c' 'fs/*.c' 'ipc/*.c' 'kernel/*.c' 'arch/x86/*.c' \
	>"$files"

# check TREE OUT: compile its files, whether or not that was done before
check()
{
	tree=$1 out=$2
	echo "static-check.sh: $(wc -l <"$files") files in $tree"
	TREE=$tree OUT=$out "$top/scripts/kernel.sh" -c cov
	set -- make -s -C "$tree" O="$out" ARCH=x86_64 LOCALVERSION= -j"$JOBS"
	"$@" prepare >"$out/prepare.log" 2>&1 || die "make prepare failed: $out/prepare.log"
	: >"$out/objects"
	while read -r f; do
		[ ! -f "$tree/$f" ] || { echo "${f%.c}.o" >>"$out/objects"; rm -f "$out/${f%.c}.o"; }
	done <"$files"
	# shellcheck disable=SC2046 # names of kernel files have no blanks
	"$@" W=1 C=2 $(cat "$out/objects") >"$out/check.log" 2>&1 ||
		{ grep 'error' "$out/check.log" >&2; die "a file does not compile: $out/check.log"; }
	# "file: message", as line numbers differ
	{
		cat "$out/check.log"
		(cd "$tree" && for f in include/linux/ptshare.h include/trace/events/ptshare.h mm/ptshare/*.h; do
			[ ! -f "$f" ] || scripts/kernel-doc -none -Wall "$f" 2>&1
		done)
	} | grep -iE '(warning|error): ' | sed "s|$tree/||; s|\.\./[^/]*/||; s/:[0-9][0-9]*\(:[0-9]*\)\{0,1\}:/:/" |
		LC_ALL=C sort >"$out/warnings"
}
t0=$(date +%s)
check "$before" "$BUILD/static-before"
check "$after" "$BUILD/static-after"
new=$(LC_ALL=C comm -13 "$BUILD/static-before/warnings" "$BUILD/static-after/warnings")
[ -z "$new" ] || printf '%s\n' "$new"
echo "static-check.sh: $(wc -l <"$BUILD/static-before/warnings") warnings before, $(wc -l <"$BUILD/static-after/warnings")" \
	"after the series ($(($(date +%s) - t0)) s)"
[ -z "$new" ] || die "the warnings above are new"
