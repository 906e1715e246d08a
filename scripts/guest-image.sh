#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Write the guest's initramfs: busybox, our init, the helpers of scripts/guest,
# what makes file systems and the programs named in GUEST_PROGRAMS (with the
# libraries they need) and everything in $BUILD/guest (test programs, static) as
# /opt/ptshare.
# Made anew for every run: it takes a fraction of a second.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
[ $# -eq 2 ] || { echo "usage: guest-image.sh OUTPUT.cpio COMMANDFILE" >&2; exit 64; }
out=$1
cmd=$2
for t in busybox cpio; do
	command -v $t >/dev/null || { echo "guest-image.sh: no $t: run 'make deps'" >&2; exit 69; }
done
bb=$(command -v busybox)
if ldd "$bb" 2>/dev/null | grep -q '=>'; then
	echo "guest-image.sh: $bb is not static: install busybox-static ('make deps')" >&2
	exit 69
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir" # not only root may look into the guest's /
mkdir -p "$dir/bin" "$dir/sbin" "$dir/usr/bin" "$dir/usr/sbin" "$dir/etc" "$dir/run" "$dir/root" \
	"$dir/proc" "$dir/sys" "$dir/dev" "$dir/tmp" "$dir/mnt" "$dir/host" "$dir/opt/ptshare/guest"
cp "$bb" "$dir/bin/busybox"
for a in $("$bb" --list); do
	[ "$a" = busybox ] || ln -s busybox "$dir/bin/$a"
done
for t in mkfs.ext4 mkfs.xfs mkfs.btrfs ${GUEST_PROGRAMS:-}; do
	bin=$(PATH=$PATH:/usr/sbin:/sbin command -v "$t") ||
		{ echo "guest-image.sh: no $t: run 'make deps'" >&2; exit 69; }
	cp -L "$bin" "$dir/bin/"
	ldd "$bin" | grep -o '/[^ ]*' >"$dir/libs"
	while read -r l; do
		mkdir -p "$dir/${l%/*}"
		cp -Lu "$l" "$dir/$l"
	done <"$dir/libs"
done
rm "$dir/libs"
cp "$top/scripts/guest/init" "$dir/init"
cp "$top"/scripts/guest/* "$dir/opt/ptshare/guest/"
ln -s ../opt/ptshare/guest/swapon-zram "$dir/bin/swapon-zram"
if [ -d "$BUILD/guest" ]; then
	cp -RL "$BUILD/guest/." "$dir/opt/ptshare/"
fi
cp "$cmd" "$dir/run/command"
echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/etc/passwd"
echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$dir/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$dir/etc/group"
(cd "$dir" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$out"
