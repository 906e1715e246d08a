#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make fuzz: the fuzzer on files of tmpfs, ext4 and xfs, on the debug kernel with
# 4 CPUs and two NUMA nodes, while vm.ptshare, vm.ptshare_trust, vm.ptshare_unlink,
# advice and prctl change all the time. Nothing may show, neither in memory nor
# on the console.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
MINUTES=${MINUTES:-10}
KNOBS=${KNOBS-1}
if [ $# -ne 0 ]; then
	cat >&2 <<EOF
usage: scripts/fuzz.sh     (or: make fuzz)
environment (what is set now):
  MINUTES='$MINUTES'
  KNOBS='$KNOBS'   1 = the knobs change all the time; empty = vm.ptshare stays 2
EOF
	exit 2
fi
case $MINUTES in ''|*[!0-9]*|0*) echo "fuzz.sh: MINUTES wants a positive number, not '$MINUTES'" >&2; exit 2 ;; esac
seconds=$((MINUTES * 60))

begin=$(date +%s)
echo "fuzz.sh: $MINUTES minutes and the time to boot; console: $BUILD/log/fuzz.console"
# The fuzzer ends its round, for a minute at most, and compares all there is.
"$top/scripts/vm.sh" -k debug -c 4 -m 3G -t $((seconds + 1800)) -a 'ptshare=2 no5lvl numa=fake=2' -n fuzz -- \
	"mkfs.ext4 -q /dev/ram0 && mkfs.xfs -q /dev/ram1 && mkdir -p /tmp/tmpfs /tmp/ext4 /tmp/xfs &&
		mount /dev/ram0 /tmp/ext4 && mount /dev/ram1 /tmp/xfs && mount -t tmpfs tmpfs /tmp/tmpfs || exit
	PTSHARE_TEST_LIMIT=$((seconds + 900)) run-selftests.sh 2 \
		'ptshare_fuzz ${KNOBS:+-k} -t $seconds /tmp/tmpfs /tmp/ext4 /tmp/xfs'"
echo "fuzz.sh: passed, and the console has no complaint ($(($(date +%s) - begin)) s)"
