#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make tree: $BUILD/linux = Debian's kernel source (tag base) plus one commit
# per patch. Touches only files that differ, so builds stay incremental; never
# throws away work that is not in patches/ and the overlay yet (FORCE=1 does).
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
FORCE=${FORCE:-}
# shellcheck source=scripts/series.sh
. "$top/scripts/series.sh"

[ $# -eq 0 ] || { echo "usage: [BUILD=dir] [FORCE=1] [SOURCE=tar.xz SOURCE_VERSION=v] scripts/tree.sh" >&2; exit 2; }
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd)
tree=$BUILD/linux

SOURCE=${SOURCE:-/usr/src/linux-source-6.12.tar.xz}
if [ -z "${SOURCE_VERSION:-}" ]; then
	# shellcheck disable=SC2016 # dpkg's own syntax
	SOURCE_VERSION=$(dpkg-query -W -f '${Version}' linux-source-6.12 2>/dev/null) || SOURCE_VERSION=
fi
VERSION=$SOURCE_VERSION
[ -n "$VERSION" ] || die "package linux-source-6.12 is not installed: run 'make deps'"
want=$(cat "$top/patches/BASE" 2>/dev/null || echo "$VERSION")
case $VERSION in
"$want") ;;
6.12.*) say "NOTE: the patches were made on $want, this is $VERSION: trying" ;;
*) die "the patches are for $want (any 6.12.y may do), not for $VERSION" ;;
esac

tmp=$(mktemp -d "$BUILD/tree.XXXXXX")
new=$BUILD/linux.tmp
trap 'rm -rf "$tmp" "$new"' EXIT
trap 'exit 130' INT TERM

check_overlay "$top" "$tmp"

# --- what is there, and may it be changed? ---
fresh=
if [ ! -d "$tree/.git" ]; then
	fresh=1
elif [ "$(git -C "$tree" log -1 --format=%s base 2>/dev/null)" != "Linux $VERSION" ]; then
	say "$tree is of another version ($(git -C "$tree" log -1 --format=%s base 2>/dev/null)): unpacking anew"
	fresh=1
fi
inputs=$(inputs_hash "$top" "$VERSION")
stamp=$tree/.git/ptshare-stamp # inputs hash, commit
if [ -d "$tree/.git" ]; then
	at=$(git -C "$tree" rev-parse HEAD)
	dirty=$({ git -C "$tree" status --porcelain -uno; untracked "$tree" | sed 's/^/?? /'; } | head -n 5)
	last_inputs='' last_head=$(git -C "$tree" rev-parse base)
	[ ! -f "$stamp" ] || read -r last_inputs last_head <"$stamp"
	if [ -z "$fresh$FORCE" ] && [ "$inputs" = "$last_inputs" ]; then
		if [ -n "$dirty" ] || [ "$at" != "$last_head" ]; then
			say "nothing changed in patches/ and the overlay; $tree has work of its own, left as it is"
		else
			say "$tree is up to date"
		fi
		exit 0
	fi
fi

# --- the base commit ---
gitdir=$tree/.git
if [ -n "$fresh" ]; then
	[ -f "$SOURCE" ] || die "no $SOURCE: run 'make deps' (package linux-source-6.12)"
	rm -rf "$new"
	mkdir "$new"
	say "unpacking $SOURCE ($VERSION), about 20 s"
	tar -xJf "$SOURCE" --strip-components=1 -C "$new"
	say "making the base commit, about 45 s"
	git -C "$new" init -q -b ptshare
	git -C "$new" config gc.auto 0
	git -C "$new" config user.name ptshare
	git -C "$new" config user.email ptshare@example.org
	git -C "$new" add -A -f .
	GIT_AUTHOR_NAME=ptshare GIT_AUTHOR_EMAIL=ptshare@example.org GIT_AUTHOR_DATE=$BASE_DATE \
		GIT_COMMITTER_DATE=$BASE_DATE git -C "$new" commit -q -m "Linux $VERSION"
	git -C "$new" tag base
	gitdir=$new/.git
fi

# --- the commits, in the object store only ---
export GIT_DIR="$gitdir"
build_series "$top" "$(git rev-parse base)" "$tmp"
unset GIT_DIR
head=$(cat "$tmp/head")

# --- is there anything that would get lost? ---
if [ -d "$tree/.git" ] && [ -z "$FORCE" ]; then
	same=
	[ -n "$fresh" ] || [ "$(git -C "$tree" rev-parse "HEAD^{tree}")" != \
		"$(git -C "$tree" rev-parse "$head^{tree}")" ] || same=1
	if [ -n "$dirty" ]; then
		echo "$dirty" >&2
		die "uncommitted changes in $tree (above): 'make refresh' takes them over, 'make tree FORCE=1' drops them"
	fi
	if [ "$at" != "$last_head" ] && [ -z "$same" ]; then
		die "$tree has commits that are not in patches/: 'make refresh' takes them over, 'make tree FORCE=1' drops them"
	fi
fi

# --- switch ---
if [ -n "$fresh" ]; then
	git -C "$new" reset -q --hard "$head"
	if [ -d "$tree" ]; then rm -rf "$tree"; fi
	mv "$new" "$tree"
else
	if [ -n "$FORCE" ]; then
		untracked "$tree" | while read -r f; do rm -f "$tree/$f"; done
	fi
	git -C "$tree" reset -q --hard "$head"
fi
echo "$inputs $head" >"$stamp"
GIT_DIR=$tree/.git recorded "$top" >"$tree/.git/ptshare-files"
git -C "$tree" worktree prune
if [ -d "$BUILD/vanilla" ] && ! git -C "$BUILD/vanilla" rev-parse HEAD >/dev/null 2>&1; then
	rm -rf "$BUILD/vanilla" # was a worktree of the tree just replaced
fi
say "$tree: $VERSION plus $(git -C "$tree" rev-list --count base..HEAD) patches, $(wc -l <"$tmp/assign") overlay files"
