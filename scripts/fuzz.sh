#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make fuzz: the fuzzer on the debug kernel with 4 CPUs and two NUMA nodes,
# while vm.ptshare, vm.ptshare_trust, vm.ptshare_unlink, advice and prctl change
# all the time. Nothing may show, neither in memory nor on the console.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
MINUTES=${MINUTES:-10}
[ $# -eq 0 ] || { echo "usage: [MINUTES=n] [BUILD=dir] scripts/fuzz.sh     (now $MINUTES minutes)" >&2; exit 2; }
case $MINUTES in ''|*[!0-9]*|0*) echo "fuzz.sh: MINUTES wants a positive number, not '$MINUTES'" >&2; exit 2 ;; esac
seconds=$((MINUTES * 60))

begin=$(date +%s)
echo "fuzz.sh: $MINUTES minutes and the time to boot; console: $BUILD/log/fuzz.console"
# The fuzzer does not stop in the middle of a round.
"$top/scripts/vm.sh" -k debug -c 4 -m 3G -t $((seconds + 900)) -a 'ptshare=2 no5lvl numa=fake=2' -n fuzz -- \
	"PTSHARE_TEST_LIMIT=$((seconds + 300)) run-selftests.sh 2 'ptshare_fuzz -k -t $seconds'"
echo "fuzz.sh: passed, and the console has no complaint ($(($(date +%s) - begin)) s)"
