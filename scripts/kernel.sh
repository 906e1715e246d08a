#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build one kernel of the project: $BUILD/<config>/bzImage.
# Starts from allnoconfig plus configs/common.config plus configs/<config>.config
# and then checks every line asked for against the final .config, because
# Kconfig drops what it cannot have without a word.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
JOBS=${JOBS:-$(nproc)}

die() { echo "kernel.sh: $*" >&2; exit 1; }
usage()
{
	echo "usage: scripts/kernel.sh [-c] CONFIG   (or: make kernel CONFIG=...)"
	echo "  -c: configure and check the options only"
	echo "  CONFIG: $(cd "$top/configs" && echo *.config | sed 's/\.config//g; s/common //; s/deb //')"
	echo "  environment: BUILD=$BUILD JOBS=$JOBS; TREE=source OUT=directory to build something else"
}

only=
if [ "${1:-}" = -c ]; then only=1; shift; fi
case "${1:-}" in
-h|--help) usage; exit 0 ;;
''|-*|*/*|common|deb) usage >&2; exit 2 ;; # deb: for scripts/deb.sh
esac
[ $# -eq 1 ] || { usage >&2; exit 2; }
cfg=$1
[ -f "$top/configs/$cfg.config" ] || { usage >&2; die "no configs/$cfg.config"; }

mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd)
out=${OUT:-$BUILD/$cfg}
src=${TREE:-$BUILD/linux}
[ -e "$src/.git" ] || die "no kernel tree in $src: run 'make tree' first"
case ${TREE:-$cfg} in
vanilla)
	src=$BUILD/vanilla
	if [ ! -e "$src/Makefile" ]; then
		echo "kernel.sh: $src = worktree of tag base"
		git -C "$BUILD/linux" worktree prune
		git -C "$BUILD/linux" worktree add -q -f --detach "$src" base
	fi ;;
mutants)
	src=$BUILD/mutants-tree
	BUILD=$BUILD "$top/scripts/mutants-tree.sh" ;;
esac

mkdir -p "$out"
exec 9>"$out/.lock"
flock -n 9 || die "another build of '$cfg' is running in $out"
log=$out/build.log

cc=gcc
if command -v ccache >/dev/null; then
	# Relative paths, so that all checkouts and clones share the cache.
	cc="ccache gcc"
	export CCACHE_BASEDIR="$BUILD" CCACHE_IGNOREOPTIONS="-fmacro-prefix-map=*" CCACHE_DEPEND=1
fi
# Fixed stamps: equal sources give equal images and the cache hits.
export KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 2026"
export KBUILD_BUILD_USER=ptshare KBUILD_BUILD_HOST=ptshare KBUILD_BUILD_VERSION=1
set -- nice -n 5 make -C "$src" O="$out" ARCH=x86_64 LOCALVERSION= CC="$cc" HOSTCC="$cc" \
	KCFLAGS="-fmacro-prefix-map=../$(basename "$src")/="

# --- configuration ---
asked=$out/.asked
cat "$top/configs/common.config" "$top/configs/$cfg.config" >"$asked.new"
mv "$asked.new" "$asked"
echo "kernel.sh: configuring $cfg"
"$@" KCONFIG_ALLCONFIG="$asked" allnoconfig >"$out/config.log" 2>&1 ||
	{ tail -n 20 "$out/config.log" >&2; die "configuration failed: $out/config.log"; }

# The last line for an option wins; y/value must be there literally, 'is not
# set' is met by absence. CONFIG_PTSHARE* do not exist in an unpatched tree.
awk -v tree="$src" '
	function name(l) { sub(/^# /, "", l); sub(/[ =].*/, "", l); return l }
	NR == FNR { if ($0 ~ /^(# )?CONFIG_[A-Za-z0-9_]+(=| is not set)/) want[name($0)] = $0; next }
	/^(# )?CONFIG_/ { have[name($0)] = $0 }
	END {
		for (o in want) {
			w = want[o]; h = (o in have) ? have[o] : "# " o " is not set"
			if (w != h) print o "|" w "|" h
		}
	}' "$asked" "$out/.config" | sort >"$out/.differ"
bad=0
while IFS='|' read -r opt want have; do
	sym=${opt#CONFIG_}
	at=$(grep -rlE --include='Kconfig*' "^[[:space:]]*(menu)?config $sym\$" "$src" | head -n 1) || :
	if [ -z "$at" ]; then
		case $opt in CONFIG_PTSHARE*)
			echo "kernel.sh: note: $opt is not in this tree yet, ignored"; continue ;;
		esac
		why="no such option in this kernel"
	else
		why="${at#"$src"/}: $(sed -n "/config $sym\$/,/help/p" "$at" |
			grep -E 'depends on|bool$|tristate$|def_bool|range' | tr -s '\t ' ' ' | tr '\n' ';')"
	fi
	echo "kernel.sh: asked for '$want' but got '$have'" >&2
	echo "           hint: $why" >&2
	bad=1
done <"$out/.differ"
[ $bad -eq 0 ] || die "configs/$cfg.config cannot be had as asked: fix it or configs/common.config"

if [ -n "$only" ]; then
	echo "kernel.sh: $out/.config is as asked"
	exit 0
fi

# --- build, with a line of progress now and then ---
gcov=
if [ "$cfg" = cov ]; then
	for f in "$src"/mm/ptshare/*.c; do
		[ -e "$f" ] && gcov="$gcov GCOV_PROFILE_$(basename "$f" .c).o=y"
	done
fi
t0=$(date +%s)
before=$(cat "$out/.steps" 2>/dev/null || echo 2300)
# shellcheck disable=SC2086 # a list of words
"$@" -j"$JOBS" $gcov bzImage >"$log" 2>&1 9>&- &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid; exit 130' INT TERM
last=$t0
while kill -0 $pid 2>/dev/null; do
	sleep 1
	now=$(date +%s)
	n=$(wc -l <"$log")
	if [ -t 1 ]; then
		printf '\rkernel.sh: %s %4d s, step %d of about %d ' "$cfg" $((now - t0)) "$n" "$before"
	elif [ $((now - last)) -ge 30 ]; then
		last=$now
		echo "kernel.sh: $cfg $((now - t0)) s, step $n of about $before"
	fi
done
[ ! -t 1 ] || echo
if ! wait $pid; then
	grep -nE 'error|Error|undefined' "$log" | head -n 20 >&2 || tail -n 20 "$log" >&2
	die "build of '$cfg' failed; all of it: $log"
fi
n=$(wc -l <"$log")
[ "$n" -lt 500 ] || echo "$n" >"$out/.steps"
grep -E 'warning:' "$log" >&2 || :
img=$out/arch/x86/boot/bzImage
if ! cmp -s "$img" "$out/bzImage"; then
	cp "$img" "$out/bzImage.tmp" && mv "$out/bzImage.tmp" "$out/bzImage"
fi
echo "kernel.sh: $out/bzImage ready ($(($(date +%s) - t0)) s, $(($(stat -c %s "$out/bzImage") / 1024)) kB)"
