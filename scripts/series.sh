# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Sourced by tree.sh, refresh.sh and others: turn patches/ and the overlay into commits.
# Everything happens in git's object store with an index of its own, so no
# file of the working tree is touched (its time stamps drive the next build).

# Our git results must not depend on anybody's settings.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_COMMITTER_NAME=ptshare GIT_COMMITTER_EMAIL=ptshare@example.org
# shellcheck disable=SC2034 # for tree.sh
BASE_DATE='2026-01-01T00:00:00+0000'
OVERLAY_TOPS='mm include Documentation tools arch fs Kconfig.ptshare'

say() { echo "${0##*/}: $*"; }
die() { echo "${0##*/}: $*" >&2; exit 1; }

# untracked TREE: new files there. Debian's .gitignore hides every new file, so
# git status does not help.
untracked()
{
	# shellcheck disable=SC2086 # a list of words
	git -C "$1" ls-files -o -x '.*' -x '*.o' -x '*.a' -x '*.d' -x '*.cmd' -x '*.mod*' -x '*.orig' \
		-x '*.rej' -x '*~' -- $OVERLAY_TOPS
}

# overlay_files ROOT: all overlay files below ROOT, sorted
overlay_files()
{
	(cd "$1" && for t in $OVERLAY_TOPS; do
		[ ! -e "$t" ] || find "$t" -type f ! -name '.*' ! -name '*~' ! -name '*.orig' ! -name '*.rej'
	done) | LC_ALL=C sort
}

# overlay_assign ROOT: "NNNN path" for every overlay file; the longest line of
# patches/overlay that is the file or a folder above it decides
overlay_assign()
{
	overlay_files "$1" | awk -v map="$1/patches/overlay" '
		BEGIN {
			while ((getline l < map) > 0) {
				if (l ~ /^[ \t]*(#|$)/) continue
				split(l, f, " "); sub(/\/$/, "", f[2]); num[f[2]] = f[1]
			}
		}
		{
			p = $0
			while (!(p in num) && p ~ /\//) sub(/\/[^\/]*$/, "", p)
			print (p in num) ? num[p] : "none", $0
		}'
}

# inputs_hash ROOT VERSION: changes whenever make tree would give something else
inputs_hash()
{
	(
		cd "$1" && echo "$2"
		for f in patches/[0-9]*.patch patches/overlay $(overlay_files .); do
			[ ! -f "$f" ] || { [ ! -x "$f" ] || echo x; echo "$f"; cat "$f"; }
		done
	) | sha256sum | cut -d' ' -f1
}

# recorded ROOT: "blob path" of every overlay file and patch (needs GIT_DIR)
recorded()
{
	(cd "$1" && { overlay_files .; find patches -name '[0-9]*.patch' 2>/dev/null | LC_ALL=C sort; }) |
		while read -r f; do
			echo "$(git hash-object --no-filters "$1/$f") $f"
		done
}

# The patch does not fit the index as it is: try what patch(1) can do.
apply_fuzzy()
{
	patch=$1 tmp=$2
	rm -rf "$tmp/fuzz" && mkdir "$tmp/fuzz"
	sed -n 's|^--- a/||p' "$tmp/diff" | sed 's/\t.*//' >"$tmp/fuzz.files"
	while read -r f; do
		git checkout-index -q --prefix="$tmp/fuzz/" "$f" ||
			die "patches/$patch changes $f, which this kernel does not have: adapt the patch by hand"
	done <"$tmp/fuzz.files"
	if ! patch -d "$tmp/fuzz" -p1 --fuzz=2 --no-backup-if-mismatch -f <"$tmp/diff" >"$tmp/fuzz.log" 2>&1; then
		grep -E '^patching|FAILED|reject' "$tmp/fuzz.log" | grep -B1 FAILED >&2 || cat "$tmp/fuzz.log" >&2
		echo "${0##*/}: patches/$patch does not fit $VERSION: file(s)" \
			"$(awk '/^(patching|checking) file/ { f = $3 } /FAILED at|FAILED -- / { print f }' \
				"$tmp/fuzz.log" | sort -u | tr '\n' ' ')" >&2
		echo "remedy: apt-get install linux-source-6.12=$(cat "$ROOT/patches/BASE" 2>/dev/null)," \
			"or port the hunk in patches/$patch to $VERSION by hand" >&2
		exit 1
	fi
	say "NOTE: patches/$patch fits only with fuzz or offsets:"
	grep -E 'fuzz|offset' "$tmp/fuzz.log" | sed 's/^/    /' || :
	(cd "$tmp/fuzz" && find . -type f) | sed 's|^\./||' | while read -r f; do
		mode=$(git ls-files -s -- "$f" | cut -d' ' -f1)
		git update-index --add --cacheinfo "${mode:-100644},$(git hash-object -w "$tmp/fuzz/$f"),$f"
	done
}

# check_overlay ROOT TMPDIR: is every overlay file assigned to a patch that is there?
check_overlay()
{
	overlay_assign "$1" >"$2/assign"
	if grep '^none ' "$2/assign" >"$2/none"; then
		sed 's/^none /  /' "$2/none" >&2
		die "the files above are assigned to no patch: add lines 'NNNN path' to patches/overlay"
	fi
	root=$1
	while read -r n f; do
		set -- "$root/patches/$n"-*.patch
		[ -f "$1" ] || die "patches/overlay assigns $f to $n, but there is no patches/$n-*.patch"
	done <"$2/assign"
}

# build_series ROOT BASECOMMIT TMPDIR: apply ROOT/patches and ROOT's overlay on
# top of BASECOMMIT; the last commit's id goes to TMPDIR/head
build_series()
{
	ROOT=$1 head=$2 tmp=$3
	export GIT_INDEX_FILE="$tmp/index"
	rm -f "$tmp/index"
	git read-tree "$head"
	check_overlay "$ROOT" "$tmp"
	while read -r n f; do
		git ls-files --error-unmatch -- "$f" >/dev/null 2>&1 &&
			die "$f is a file of the kernel: it cannot be an overlay file, make it a patch"
	done <"$tmp/assign"
	for p in "$ROOT"/patches/[0-9]*.patch; do
		[ -f "$p" ] || continue
		name=$(basename "$p")
		git mailinfo -b --encoding=UTF-8 "$tmp/msg" "$tmp/diff" <"$p" >"$tmp/info" ||
			die "patches/$name is no mail as git format-patch writes it"
		subject=$(sed -n 's/^Subject: //p' "$tmp/info")
		[ -n "$subject" ] || die "patches/$name has no subject"
		if grep -q '^diff --git' "$tmp/diff"; then
			git apply --cached --whitespace=nowarn "$tmp/diff" 2>"$tmp/err" || {
				say "patches/$name does not apply as it is: $(head -n 1 "$tmp/err")"
				cp "$tmp/index" "$tmp/index.before"
				if git apply --cached --3way --whitespace=nowarn "$tmp/diff" >"$tmp/err" 2>&1; then
					say "NOTE: patches/$name applied by three-way merge"
				else
					cp "$tmp/index.before" "$tmp/index"
					apply_fuzzy "$name" "$tmp"
				fi
			}
		fi
		n=${name%%-*}
		while read -r an f; do
			[ "$an" = "$n" ] || continue
			mode=100644
			[ ! -x "$ROOT/$f" ] || mode=100755
			git update-index --add --cacheinfo "$mode,$(git hash-object -w "$ROOT/$f"),$f"
		done <"$tmp/assign"
		GIT_AUTHOR_NAME=$(sed -n 's/^Author: //p' "$tmp/info")
		GIT_AUTHOR_EMAIL=$(sed -n 's/^Email: //p' "$tmp/info")
		GIT_AUTHOR_DATE=$(sed -n 's/^Date: //p' "$tmp/info")
		GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE
		export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
		head=$({ echo "$subject"; [ ! -s "$tmp/msg" ] || { echo; cat "$tmp/msg"; }; } |
			git commit-tree -p "$head" "$(git write-tree)")
	done
	unset GIT_INDEX_FILE
	echo "$head" >"$tmp/head"
}
