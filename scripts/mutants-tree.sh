#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# $BUILD/mutants-tree: the present state of $BUILD/linux (committed or not) plus
# mutants/*.patch, as a git worktree in which only files that differ are touched.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
# shellcheck source=scripts/series.sh
. "$top/scripts/series.sh"
[ $# -eq 0 ] || { echo "usage: [BUILD=dir] scripts/mutants-tree.sh" >&2; exit 2; }
tree=$BUILD/linux
wt=$BUILD/mutants-tree
[ -d "$tree/.git" ] || die "no kernel tree in $tree: run 'make tree' first"
tmp=$(mktemp -d "$BUILD/mtree.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

export GIT_DIR="$tree/.git" GIT_INDEX_FILE="$tmp/index"
cp "$tree/.git/index" "$tmp/index"
(
	cd "$tree"
	export GIT_WORK_TREE="$tree"
	git add -u
	untracked "$tree" >"$tmp/new"
	[ ! -s "$tmp/new" ] || git add -f --pathspec-from-file="$tmp/new"
)
for p in "$top"/mutants/*.patch; do
	[ -f "$p" ] || { say "NOTE: no mutants/*.patch yet"; break; }
	git apply --cached --whitespace=nowarn "$p" 2>"$tmp/err" ||
		git apply --cached --3way --whitespace=nowarn "$p" >/dev/null 2>&1 || {
		cat "$tmp/err" >&2
		die "mutants/$(basename "$p") does not fit the patched tree: adapt it (it is made against build/linux)"
	}
done
t=$(git write-tree)
c=$(GIT_AUTHOR_NAME=ptshare GIT_AUTHOR_EMAIL=ptshare@example.org GIT_AUTHOR_DATE=$BASE_DATE \
	GIT_COMMITTER_DATE=$BASE_DATE git commit-tree -m "with the mutants" "$t")
unset GIT_DIR GIT_INDEX_FILE
if [ ! -e "$wt/.git" ]; then
	rm -rf "$wt"
	git -C "$tree" worktree prune
	git -C "$tree" worktree add -q --detach "$wt" "$c"
else
	git -C "$wt" reset -q --hard "$c"
fi
