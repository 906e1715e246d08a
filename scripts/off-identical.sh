#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make off-identical: is the code of the patched kernel with CONFIG_PTSHARE=n the
# unpatched kernel's, object file by object file? (off-identical.py does it)
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
case $# in
0) a=$BUILD/vanilla b=$BUILD/off ;;
2) a=$1 b=$2 ;;
*) echo "usage: scripts/off-identical.sh [DIR1 DIR2]   (default: \$BUILD/vanilla \$BUILD/off)" >&2; exit 2 ;;
esac
for d in "$a" "$b"; do
	[ -f "$d/bzImage" ] || { echo "off-identical.sh: no kernel in $d: make kernel CONFIG=$(basename "$d")" >&2; exit 1; }
done
exec python3 "$top/scripts/off-identical.py" "$a" "$b"
