#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make bisect-check: does every step of the series build, without a warning, with
# CONFIG_PTSHARE=y, boot, and pass the fast selftests? They run with vm.ptshare=0
# (or without it), and with 2 on the last step, where all they need is there.
# A worktree and an output directory of its own, incremental. Long: a patch that
# touches mm_types.h compiles everything again.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
cfg=${1:-perf}
if [ $# -gt 1 ] || [ ! -f "$top/configs/$cfg.config" ]; then
	echo "usage: [BUILD=dir] scripts/bisect-check.sh [CONFIG]   (default perf; of configs/)" >&2
	exit 2
fi
[ -d "$BUILD/linux/.git" ] || { echo "bisect-check.sh: no $BUILD/linux: run 'make tree'" >&2; exit 1; }
BUILD=$(cd "$BUILD" && pwd)
export BUILD
wt=$BUILD/bisect-tree
git -C "$BUILD/linux" worktree prune
[ -e "$wt/.git" ] || git -C "$BUILD/linux" worktree add -q -f --detach "$wt" base
# boots MODE. Until the last steps there is a switch, but nothing behind it.
boots()
{
	unready='-T switch_at_run_time'
	[ "$1" -eq 0 ] || unready=
	"$top/scripts/vm.sh" -k "$BUILD/bisect-$cfg/bzImage" -m 3G -t 900 -a no5lvl -n "bisect-$n" -- \
		"PTSHARE_TEST_QUICK=1 sh /opt/ptshare/guest/run-selftests.sh $1 \
		'ptshare_share $unready' ptshare_isolation" >"$BUILD/log/bisect-$n.out" 2>&1 ||
		{ grep -a '^fail - ' "$BUILD/log/bisect-$n.out"; tail -n 5 "$BUILD/log/bisect-$n.out"; return 1; }
}
n=0 bad=0 total=$(git -C "$BUILD/linux" rev-list --count base..HEAD)
for c in $(git -C "$BUILD/linux" rev-list --reverse base..HEAD); do
	n=$((n + 1))
	what="$n/$total $(git -C "$wt" log -1 --format=%s "$c")"
	echo "bisect-check: $what"
	git -C "$wt" reset -q --hard "$c"
	mode=0
	[ $n -lt "$total" ] || mode=2
	if TREE=$wt OUT=$BUILD/bisect-$cfg "$top/scripts/kernel.sh" "$cfg" &&
		! grep 'warning:' "$BUILD/bisect-$cfg/build.log" && boots $mode; then
		echo "pass - $what"
	else
		echo "fail - $what"
		bad=$((bad + 1))
	fi
done
echo "bisect-check: $n steps, $bad failed"
[ $bad -eq 0 ]
