#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Does tree -> refresh -> tree give the same bytes, does uncommitted work end up
# in the right patch, and is unsaved work never thrown away? Works on a copy of
# the project and a clone of $BUILD/linux in $BUILD/roundtrip.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/test-roundtrip.sh     (or: make roundtrip)" >&2; exit 2; }
[ -d "$BUILD/linux/.git" ] || { echo "test-roundtrip.sh: no $BUILD/linux: run 'make tree'" >&2; exit 1; }
w=$BUILD/roundtrip
src=$BUILD/linux
rm -rf "$w"
mkdir -p "$w/proj" "$w/build"
trap 'rm -rf "$w"' EXIT
trap 'exit 130' INT TERM

fail() { echo "test-roundtrip.sh: FAILED: $*" >&2; [ ! -s "$w/log" ] || sed 's/^/    /' "$w/log" >&2; exit 1; }
pass() { echo "  ok: $*"; }
run() { BUILD=$w/build SOURCE_VERSION=$version "$w/proj/scripts/$1" >"$w/log" 2>&1; }
k() { git -C "$w/build/linux" "$@"; }
export GIT_AUTHOR_NAME=T GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=T GIT_COMMITTER_EMAIL=t@example.org

version=$(git -C "$src" log -1 --format=%s base | sed 's/^Linux //')
for f in scripts patches mm include Documentation tools arch fs Kconfig.ptshare; do
	[ ! -e "$top/$f" ] || cp -a "$top/$f" "$w/proj/"
done
mkdir -p "$w/proj/patches"
echo "$version" >"$w/proj/patches/BASE"
git clone -q -s --no-checkout "$src" "$w/build/linux"
k sparse-checkout set --no-cone /mm/ # enough to look at, and fast
k tag -f base "$(git -C "$src" rev-parse base)" >/dev/null 2>&1
k config gc.auto 0
k reset -q --hard base

run tree.sh || fail "make tree"
first=$(k rev-parse HEAD)
cp -a "$w/proj" "$w/before"
[ -f "$w/before/patches/overlay" ] || : >"$w/before/patches/overlay"
run refresh.sh || fail "make refresh"
diff -r "$w/before" "$w/proj" >"$w/log" || fail "refresh changed patches or overlay of an unchanged tree"
run tree.sh || fail "second make tree"
[ "$(k rev-parse HEAD)" = "$first" ] || fail "the commits differ after a round trip"
pass "tree -> refresh -> tree is byte-identical ($(k rev-list --count base..HEAD) patches)"

# two commits, then changes that are not committed: old files and new ones
mkdir -p "$w/build/linux/mm/rt"
echo "/* one */" >"$w/build/linux/mm/rt/one.c"
sed -i '1s/^/\/* rt *\/\n/' "$w/build/linux/mm/memcontrol-v1.h"
k add -u .
k add -f mm/rt
k commit -q -m "mm: round trip: first" -m "A body with \"quotes\", a\\backslash and ümlauts.

  --indented
Signed-off-by: T <t@example.org>"
echo "/* two */" >"$w/build/linux/mm/rt/two.c"
sed -i '1s/^/\/* rt *\/\n/' "$w/build/linux/mm/maccess.c"
k add -u .
k add -f mm/rt
k commit -q -m "mm: round trip: [odd] subject / with: signs"
echo "/* one, changed */" >>"$w/build/linux/mm/rt/one.c"
echo "/* rt end */" >>"$w/build/linux/mm/memcontrol-v1.h"
k add -u
k commit -q -m "fixup! mm: round trip: first"
echo "/* rt end */" >>"$w/build/linux/mm/maccess.c"
echo "/* not committed */" >>"$w/build/linux/mm/rt/two.c"
cp -a "$w/build/linux/mm" "$w/mm.before"
stamp=$(stat -c %Y "$w/build/linux/mm/maccess.c")

echo "# a line nobody asked for" >>"$w/proj/patches/overlay"
if run tree.sh; then fail "make tree threw uncommitted work away"; fi
grep -q "make refresh" "$w/log" || fail "make tree does not say what to do"
diff -r "$w/mm.before" "$w/build/linux/mm" >"$w/log" || fail "make tree changed files though it refused"
pass "make tree refuses to drop work and says what to do"

run refresh.sh || fail "refresh with uncommitted changes"
n=$(k rev-list --count base..HEAD)
[ "$n" -eq $(($(find "$w/before/patches" -name '0*.patch' | wc -l) + 2)) ] || fail "expected two patches more, have $n"
k status --porcelain -uno >"$w/log"
[ ! -s "$w/log" ] || fail "refresh left the tree dirty"
[ "$(stat -c %Y "$w/build/linux/mm/maccess.c")" = "$stamp" ] || fail "refresh touched files (builds would start anew)"
grep -q 'rt end' "$w"/proj/patches/*-mm-round-trip-first.patch || fail "the fixup! is not in its patch"
grep -q 'rt end' "$w"/proj/patches/*odd-subject*.patch || fail "the uncommitted change is not in its patch"
grep -q 'not committed' "$w/proj/mm/rt/two.c" || fail "the overlay file is not the final one"
second=$(k rev-parse HEAD)
cp -a "$w/proj" "$w/after"
run refresh.sh || fail "refresh again"
diff -r "$w/after" "$w/proj" >"$w/log" || fail "a second refresh changed something"
k reset -q --hard base
rm -f "$w/build/linux/.git/ptshare-stamp"
run tree.sh || fail "make tree from nothing"
[ "$(k rev-parse HEAD)" = "$second" ] || fail "make tree gives other commits than refresh left"
diff -r "$w/mm.before" "$w/build/linux/mm" >"$w/log" || fail "make tree gives other files"
pass "commits, fixups, uncommitted changes and overlay files come back"

stamp=$(stat -c %Y "$w/build/linux/mm/maccess.c")
echo "/* overlay edited */" >>"$w/proj/mm/rt/one.c"
run tree.sh || fail "make tree after an overlay change"
grep -q "overlay edited" "$w/build/linux/mm/rt/one.c" || fail "the overlay change did not arrive"
[ "$(stat -c %Y "$w/build/linux/mm/maccess.c")" = "$stamp" ] || fail "make tree touched files that did not change"
pass "an overlay change arrives, and only it"

echo x >>"$w/build/linux/mm/nommu.c"
if run refresh.sh; then fail "refresh took a change no patch owns"; fi
grep -q "commit them with a message" "$w/log" || fail "refresh does not say what to do"
k checkout -q mm/nommu.c
pass "a change no patch owns is refused"

good=$(k rev-parse HEAD)
p=$(find "$w/proj/patches" -name '*-mm-round-trip-first.patch')
sed -i 's|^ /\* SPDX.*|  no such line|; s|^ #ifndef.*| no such line either|; s|^ #define.*| nor this|' "$p"
sed -i '/^Subject/s/first/first, broken/' "$p"
if run tree.sh; then fail "make tree applied a patch that does not fit"; fi
grep -q "$(basename "$p")" "$w/log" || fail "the patch is not named"
grep -q "memcontrol-v1.h" "$w/log" || fail "the file is not named"
[ "$(k rev-parse HEAD)$(k status --porcelain -uno)" = "$good" ] || fail "a half-done tree was left"
pass "a patch that does not fit: named with file and remedy, tree as before"
