#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make docs-check: the kernel's own Sphinx on the folders of documentation that
# the patches touch, and kernel-doc on all source files that they touch, for the
# tree before and after them. What only the latter says is a failure.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
die() { echo "docs-check.sh: $*" >&2; exit 1; }
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/docs-check.sh" >&2; exit 2; }
tree=$BUILD/linux
[ -e "$tree/.git" ] || die "no kernel tree in $tree: run 'make tree' first"
"$top/scripts/deps.sh" python3-sphinx
out=$BUILD/docs
rm -rf "$out"
mkdir -p "$out"
git -C "$tree" diff --name-only base HEAD >"$out/files"
dirs=$(sed -n 's|^Documentation/\(.*\)/[^/]*\.rst$|\1|p' "$out/files" | sort -u)
sources=$(grep '\.[ch]$' "$out/files" | grep -v selftests)
trap 'git -C "$tree" worktree remove -f "$out/tree" 2>/dev/null || :' EXIT
trap 'exit 130' INT TERM
git -C "$tree" worktree add -q -f --detach "$out/tree" base

for at in base HEAD; do
	echo "docs-check.sh: $at: Sphinx and kernel-doc, about a minute"
	git -C "$out/tree" checkout -q --detach "$(git -C "$tree" rev-parse $at)"
	# Files of the same name in both, so that the messages are the same.
	(
		cd "$out/tree"
		make htmldocs SPHINXDIRS="$dirs" BUILDDIR="$out/$at" SPHINXOPTS=-q 2>&1 || echo "Sphinx failed: $?"
		for f in $sources; do
			[ ! -f "$f" ] || scripts/kernel-doc -none -Wall "$f" 2>&1
		done
	) >"$out/$at.log"
	grep -E 'WARNING|ERROR|warning:|error:|failed' "$out/$at.log" | sed "s|$out/tree/||; s/:[0-9]*:/:/" | sort -u >"$out/$at.said"
done
comm -13 "$out/base.said" "$out/HEAD.said" >"$out/new"
cat "$out/new"
echo "docs-check.sh: $(wc -l <"$out/new") new warnings; $(wc -l <"$out/base.said") old ones; pages in $out/HEAD"
[ ! -s "$out/new" ]
