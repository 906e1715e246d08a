#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make series: the series as mails (git format-patch) with a cover letter, in
# $BUILD/series. What is written was applied with git am to the unpatched tree,
# gave the tree of make tree, and has been through checkpatch.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
# shellcheck source=scripts/series.sh
. "$top/scripts/series.sh"
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/format-series.sh" >&2; exit 2; }
[ -d "$BUILD/linux/.git" ] || die "no $BUILD/linux: run 'make tree' first"
BUILD=$(cd "$BUILD" && pwd)
tree=$BUILD/linux
version=$(git -C "$tree" log -1 --format=%s base | sed 's/^Linux //')

# What goes out is what patches/ and the overlay say, and nothing else.
inputs='' head=''
[ ! -f "$tree/.git/ptshare-stamp" ] || read -r inputs head <"$tree/.git/ptshare-stamp"
if [ "$inputs" != "$(inputs_hash "$top" "$version")" ] || [ "$head" != "$(git -C "$tree" rev-parse HEAD)" ]; then
	die "$tree is not what patches/ and the overlay give: run 'make tree', or 'make refresh' for work done in it"
fi

out=$BUILD/series
tmp=$(mktemp -d "$BUILD/series.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
mkdir "$tmp/out"
# A clone that borrows the objects, with only the files that the series
# touches: $tree itself is left alone.
git clone -q -s --no-checkout "$tree" "$tmp/wt"
cd "$tmp/wt"
git diff --name-only --no-renames base "$head" | sed 's|^|/|' >"$tmp/touched"
git sparse-checkout set --no-cone --stdin <"$tmp/touched"
git checkout -q -B series "$head"

git diff --stat=76 --stat-count=1000 --no-renames --diff-filter=M base "$head" >"$tmp/diffstat"
awk -v diffstat="$tmp/diffstat" -v base="linux-source-6.12 $version of Debian" '
	$0 == "@DIFFSTAT@" { while ((getline l < diffstat) > 0) print l; next }
	{ sub(/@BASE@/, base); print }' "$top/patches/cover-letter" >"$tmp/cover"
# --zero-commit: the commits exist here only
git -c "branch.series.description=$(cat "$tmp/cover")" format-patch -q --rfc -v"$(cat "$top/patches/REVISION")" \
	--cover-letter --cover-from-description=subject --zero-commit --no-signature --no-renames \
	-o "$tmp/out" base..series
n=$(find "$tmp/out" -name '*.patch' | wc -l)

say "git am of $((n - 1)) patches on $version"
git checkout -q --detach base
set -- "$tmp"/out/*.patch
shift # the cover letter
git am -q "$@" >"$tmp/am.log" 2>&1 || { tail -n 20 "$tmp/am.log" >&2; die "git am failed"; }
[ "$(git rev-parse "HEAD^{tree}")" = "$(git -C "$tree" rev-parse "$head^{tree}")" ] || {
	git diff --stat "$head" HEAD >&2
	die "git am gives another tree than $tree (above)"
}

say "checkpatch --strict"
export PATH="/usr/bin:/bin:$PATH" # Debian's python3, which has the modules of spdxcheck.py
cd "$tree"
bad=0
for p in "$@"; do
	# A program without a suffix, as its neighbour tools/mm/thpmaps.
	ignore=
	if grep -q '^ create mode 100755 tools/mm/ptshare-stat$' "$p"; then ignore='--ignore=EXECUTE_PERMISSIONS'; fi
	# shellcheck disable=SC2086 # one word or none
	perl scripts/checkpatch.pl --strict --quiet --summary-file --show-types $ignore "$p" >"$tmp/remarks" 2>&1 || :
	[ ! -s "$tmp/remarks" ] || { cat "$tmp/remarks"; bad=$((bad + 1)); }
done
[ $bad -eq 0 ] || die "checkpatch has remarks on $bad patches (above)"

rm -rf "$out"
mv "$tmp/out" "$out"
say "$out: cover letter and $((n - 1)) patches for $version"
