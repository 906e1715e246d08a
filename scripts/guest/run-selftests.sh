#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the guest: run every test program (or those named) and say pass, skip or
# fail for each; on a debug kernel ask the checker and kmemleak afterwards.
# usage: run-selftests.sh MODE ['PROGRAM [ARGUMENT...]'...]    MODE: vm.ptshare 0 or 2
# PTSHARE_TEST_QUICK=1 shortens the tests, PTSHARE_TEST_LIMIT seconds are for each.
set -u

mode=${1:?usage: run-selftests.sh 0|2 [program...]}
shift
failed=0
d=/sys/kernel/debug
if [ -e /proc/sys/vm/ptshare ]; then
	echo "$mode" >/proc/sys/vm/ptshare || { echo "fail - vm.ptshare=$mode refused"; exit 1; }
elif [ "$mode" != 0 ]; then
	echo "fail - this kernel has no vm.ptshare"
	exit 1
fi
kill_tests()
{
	for e in /proc/[0-9]*/exe; do
		case $(readlink "$e") in /opt/ptshare/ptshare_*) e=${e%/exe}; kill -KILL "${e#/proc/}" ;; esac
	done
}
if [ $# -eq 0 ]; then
	for p in /opt/ptshare/ptshare_*; do
		case $p in */ptshare_demo*|*/ptshare_bench|*'*') ;; *) set -- "$@" "${p##*/}" ;; esac
	done
fi
for p in "$@"; do
	# A program that died may have left another mode.
	[ ! -e /proc/sys/vm/ptshare ] || echo "$mode" >/proc/sys/vm/ptshare
	[ ! -e $d/ptshare/delay_us ] || echo 0 >$d/ptshare/delay_us
	t0=$(date +%s)
	echo "## $p"
	# shellcheck disable=SC2086 # a program and its arguments
	timeout -s KILL "${PTSHARE_TEST_LIMIT:-1800}" /opt/ptshare/$p
	st=$?
	# timeout does not reach the tests' own process groups.
	[ $st -ne 137 ] || kill_tests
	s=$(($(date +%s) - t0))
	if [ -r $d/ptshare/check ]; then
		check=$(cat $d/ptshare/check)
		case $check in
		ok:*) ;;
		*) echo "$check"; [ $st -ne 0 ] && [ $st -ne 4 ] || st="checker" ;;
		esac
	fi
	case $st in
	0) echo "pass - $p (${s} s)" ;;
	4) echo "skip - $p (${s} s)" ;;
	*) echo "fail - $p: status $st (${s} s)"; failed=1 ;;
	esac
done
if [ -w $d/kmemleak ]; then # objects must be a few seconds old to count
	for _ in 1 2 3; do # a pointer on its way from here to there is found later
		echo scan >$d/kmemleak
		sleep 6
		echo scan >$d/kmemleak
		leaks=$(cat $d/kmemleak)
		[ -n "$leaks" ] || break
	done
	if [ -n "$leaks" ]; then
		echo "$leaks"
		echo "fail - kmemleak"
		failed=1
	else
		echo "pass - kmemleak"
	fi
fi
exit $failed
