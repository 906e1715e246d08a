#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make refresh: commits and changes of $BUILD/linux go back to patches/ and the
# overlay. A change that is not committed joins the last commit that touched
# the file; overlay files go back whole, with the first commit that has them.
# The result is applied again and compared before anything is replaced.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
FORCE=${FORCE:-}
# shellcheck source=scripts/series.sh
. "$top/scripts/series.sh"

[ $# -eq 0 ] || { echo "usage: [BUILD=dir] [FORCE=1] scripts/refresh.sh" >&2; exit 2; }
tree=$BUILD/linux
[ -d "$tree/.git" ] || die "no kernel tree in $tree: run 'make tree' first"
BUILD=$(cd "$BUILD" && pwd)
tree=$BUILD/linux
tmp=$(mktemp -d "$BUILD/refresh.XXXXXX")
trap 'rm -rf "$tmp"; git -C "$tree" worktree prune' EXIT
trap 'exit 130' INT TERM
VERSION=$(git -C "$tree" log -1 --format=%s base | sed 's/^Linux //')
export GIT_DIR="$tree/.git" GIT_WORK_TREE="$tree"
cd "$tree"
base=$(git rev-parse base)
head=$(git rev-parse HEAD)
[ -z "$(git rev-list --merges base..HEAD)" ] || die "there are merge commits in $tree: rebase them away first"

# --- fixup! commits of your own: squash them, away from the working tree ---
if git log --format=%s base..HEAD | grep -qE '^(fixup|squash|amend)! '; then
	say "squashing fixup! commits"
	git diff --name-only --no-renames base HEAD | sed 's|^|/|' >"$tmp/touched"
	(
		unset GIT_DIR GIT_WORK_TREE
		git worktree add -q --no-checkout --detach "$tmp/wt" HEAD
		cd "$tmp/wt"
		git sparse-checkout set --no-cone --stdin <"$tmp/touched"
		git checkout -q
		GIT_SEQUENCE_EDITOR=: GIT_EDITOR=: git rebase -q -i --autosquash base >"$tmp/rebase.log" 2>&1
	) || { tail -n 15 "$tmp/rebase.log" >&2; die "the fixup! commits do not squash by themselves: git rebase -i --autosquash base"; }
	head=$(env -u GIT_DIR -u GIT_WORK_TREE git -C "$tmp/wt" rev-parse HEAD)
	[ "$(git rev-parse "$head^{tree}")" = "$(git rev-parse "HEAD^{tree}")" ] || die "squashing changed the result: rebase by hand"
fi

# --- the working state as a tree, and what in it is not committed ---
export GIT_INDEX_FILE="$tmp/index"
cp "$tree/.git/index" "$tmp/index"
git add -u
untracked "$tree" >"$tmp/untracked"
[ ! -s "$tmp/untracked" ] || git add -f --pathspec-from-file="$tmp/untracked"
work=$(git write-tree)
git ls-tree -r --name-only base | LC_ALL=C sort >"$tmp/basefiles"
git diff-tree -r --no-renames --name-only "$head" "$work" >"$tmp/dirty"
git rev-list --reverse "base..$head" >"$tmp/commits"
: >"$tmp/fix"   # commit path: uncommitted change of an existing file, and where it goes
: >"$tmp/first" # commit path: overlay file, and the commit that brings it
bad=0
while read -r f; do
	grep -qxF -e "$f" "$tmp/basefiles" || continue
	c=$(git log -1 --format=%H "base..$head" -- "$f")
	[ -n "$c" ] || { echo "  $f" >&2; bad=1; continue; }
	echo "$c $f" >>"$tmp/fix"
	say "$f: uncommitted change joins '$(git log -1 --format=%s "$c")'"
done <"$tmp/dirty"
[ $bad -eq 0 ] || die "no patch touches the changed file(s) above: commit them with a message in $tree"

git diff-tree -r --no-renames --name-only --diff-filter=A base "$work" >"$tmp/overlay"
[ ! -f "$top/patches/overlay" ] || cp "$top/patches/overlay" "$tmp/oldmap"
[ -f "$tmp/oldmap" ] || : >"$tmp/oldmap"
# by_number NNNN: the commit whose subject is that of the patch of this number
by_number()
{
	for p in "$top/patches/$1"-*.patch; do
		[ -f "$p" ] || return 0
		s=$(git mailinfo -b --encoding=UTF-8 /dev/null /dev/null <"$p" | sed -n 's/^Subject: //p')
		git log --format='%H %s' "base..$head" | awk -v s="$s" '{ h = $1; sub(/^[^ ]* /, ""); if ($0 == s) print h }' | tail -n 1
	done
}
while read -r f; do
	c=$(git log --reverse --no-renames --diff-filter=A --format=%H "base..$head" -- "$f" | head -n 1)
	if [ -z "$c" ]; then
		n=$(awk -v f="$f" '$0 !~ /^[ \t]*#/ && ($2 == f || index(f, $2 "/") == 1) { if (length($2) > l) { l = length($2); n = $1 } } END { print n }' "$tmp/oldmap")
		[ -z "$n" ] || c=$(by_number "$n")
	fi
	[ -n "$c" ] || { echo "  $f" >&2; bad=1; continue; }
	case " $OVERLAY_TOPS " in
	*" ${f%%/*} "*) ;;
	*) die "$f: new files belong under one of: $OVERLAY_TOPS" ;;
	esac
	echo "$c $f" >>"$tmp/first"
done <"$tmp/overlay"
[ $bad -eq 0 ] || die "new file(s) above: commit them with a message in $tree, or remove them"

# --- the series: existing files as a chain of commits, overlay files aside ---
x=$tmp/export
mkdir -p "$x/patches"
chain=$base
i=0
: >"$tmp/numbers" # NNNN commit
: >"$tmp/fixed"
while read -r c; do
	git read-tree "$c"
	git diff-tree -r --no-renames --name-only --diff-filter=A base "$c" | git update-index --force-remove --stdin
	sed -n "s/^$c //p" "$tmp/fix" >>"$tmp/fixed"
	while read -r f; do
		entry=$(git ls-tree "$work" -- "$f" | awk '{ print $1 "," $3 }')
		if [ -n "$entry" ]; then
			git update-index --add --cacheinfo "$entry,$f"
		else
			git update-index --force-remove "$f"
		fi
	done <"$tmp/fixed"
	t=$(git write-tree)
	if [ "$t" = "$(git rev-parse "$chain^{tree}")" ] && ! grep -q "^$c " "$tmp/first"; then
		say "'$(git log -1 --format=%s "$c")' changes only overlay files of earlier commits: folded into them"
		continue
	fi
	i=$((i + 1))
	printf '%04d %s\n' $i "$c" >>"$tmp/numbers"
	chain=$(git log -1 --format=%B "$c" | GIT_AUTHOR_NAME=$(git log -1 --format=%an "$c") \
		GIT_AUTHOR_EMAIL=$(git log -1 --format=%ae "$c") GIT_AUTHOR_DATE=$(git log -1 --format=%ad --date=raw "$c") \
		GIT_COMMITTER_DATE=$(git log -1 --format=%ad --date=raw "$c") git commit-tree -p "$chain" "$t")
done <"$tmp/commits"
# *.c is diff=cpp, which decides the @@ lines: by the base, not by what is checked out
git show base:.gitattributes >"$tmp/attributes" 2>/dev/null || :
git -c core.attributesFile="$tmp/attributes" -c diff.algorithm=myers format-patch -q -p --always --zero-commit --no-signature --full-index \
	--no-renames --no-numbered --filename-max-length=200 -o "$x/patches" "base..$chain"

# --- overlay files and their map: folder lines stay, files that differ get one ---
git read-tree "$work"
git checkout-index -q --prefix="$x/" --stdin <"$tmp/overlay"
number() { awk -v c="$1" '$2 == c { print $1 }' "$tmp/numbers"; }
: >"$tmp/map"
while read -r n f rest; do
	case $n in ''|'#'*) continue ;; esac
	f=${f%/}
	grep -qxF -e "$f" "$tmp/overlay" && continue # a file: its commit tells
	c=$(by_number "$n")
	new=
	[ -z "$c" ] || new=$(number "$c")
	[ -n "$new" ] || die "patches/overlay: '$n $f': no commit in $tree has the subject of patch $n any more: correct that line"
	if [ -d "$x/$f" ] || [ -e "$top/$f" ]; then echo "$new $f" >>"$tmp/map"; fi
done <"$tmp/oldmap"
while read -r c f; do
	n=$(number "$c")
	got=$(awk -v f="$f" 'index(f, $2 "/") == 1 { if (length($2) > l) { l = length($2); n = $1 } } END { print n }' "$tmp/map")
	[ "$got" = "$n" ] || echo "$n $f" >>"$tmp/map"
done <"$tmp/first"
LC_ALL=C sort -u "$tmp/map" >"$x/patches/overlay"

# --- prove that make tree gives this very tree again ---
build_series "$x" "$base" "$tmp"
again=$(cat "$tmp/head")
if [ "$(git rev-parse "$again^{tree}")" != "$work" ]; then
	git diff-tree -r --stat "$again^{tree}" "$work" >&2
	die "the patches do not give this tree again (see above); nothing was changed"
fi

# --- has anybody changed the destination since make tree? ---
old=$tree/.git/ptshare-files
recorded "$x" >"$tmp/new"
recorded "$top" >"$tmp/now"
[ -f "$old" ] || cp "$tmp/new" "$tmp/old"
[ ! -f "$old" ] || cp "$old" "$tmp/old"
awk '
	FILENAME ~ /old$/ { old[$2] = $1; all[$2]; next }
	FILENAME ~ /now$/ { now[$2] = $1; all[$2]; next }
	{ new[$2] = $1; all[$2] }
	END {
		for (f in all) {
			if (new[f] == now[f]) continue
			if (now[f] == old[f]) print (f in new) ? "copy" : "remove", f
			else if (new[f] == old[f]) print (f ~ /^patches\//) ? "conflict" : "keep", f
			else if (!(f in now)) print "copy", f
			else print "conflict", f
		}
	}' "$tmp/old" "$tmp/now" "$tmp/new" | LC_ALL=C sort -k2 >"$tmp/todo"
if [ -n "$FORCE" ]; then sed -i 's/^conflict/copy/' "$tmp/todo"; fi
if grep '^conflict ' "$tmp/todo" >&2; then
	die "the file(s) above changed both in $tree and in $top since the last make tree: merge by hand, or FORCE=1 takes the tree's"
fi
while read -r what f; do
	case $what in
	copy)
		if [ -f "$x/$f" ]; then
			mkdir -p "$top/$(dirname "$f")"
			cp "$x/$f" "$top/$f"
		else
			rm -f "${top:?}/$f"
		fi ;;
	remove) rm -f "${top:?}/$f" ;;
	keep) say "$f: changed in the overlay only, kept" ;;
	esac
done <"$tmp/todo"
cmp -s "$x/patches/overlay" "$top/patches/overlay" || cp "$x/patches/overlay" "$top/patches/overlay"
[ -f "$top/patches/BASE" ] || echo "$VERSION" >"$top/patches/BASE"
unset GIT_INDEX_FILE
git reset -q "$again"
echo "$(inputs_hash "$x" "$VERSION") $again" >"$tree/.git/ptshare-stamp"
cp "$tmp/new" "$tree/.git/ptshare-files"
say "$i patches, $(wc -l <"$tmp/overlay") overlay files ($(grep -cE '^(copy|remove)' "$tmp/todo" || :) changed)"
unset GIT_DIR GIT_WORK_TREE
cd "$top"
BUILD=$BUILD SOURCE_VERSION=$VERSION "$top/scripts/tree.sh"
