#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make deb-test: what a user would do with the packages of make deb, in a Debian
# 12 guest with systemd and PostgreSQL 15: install them, boot, set vm.ptshare,
# work, remove them, boot the stock kernel. No console may show a complaint.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
# shellcheck source=scripts/console.sh
. "$top/scripts/console.sh"
: "${MIRROR=http://deb.debian.org/debian}" "${LIMIT=1800}"
die() { echo "deb-test.sh: $*" >&2; exit 1; }
steps='install patched stock'
case "$#:${1:-}" in
0:) ;;
1:-s) steps=stock ;;
*)
	cat >&2 <<EOT
usage: scripts/deb-test.sh [-s]
  -s   only boot the stock kernel: are the image and the runner in order?
environment: BUILD=$BUILD MIRROR=$MIRROR
  LIMIT=$LIMIT   seconds for each of the three boots
EOT
	exit 2 ;;
esac
if [ "$steps" != stock ]; then
	set -- "$BUILD"/deb/*.deb
	[ $# -ge 4 ] || die "no packages in $BUILD/deb: run 'make deb' first"
else
	set --
fi
"$top/scripts/deps.sh" mmdebstrap genext2fs

mkdir -p "$BUILD/deb-test"
dir=$(cd "$BUILD/deb-test" && pwd)
tmp=$(mktemp -d "$dir/tmp.XXXXXX")
pid=
# shellcheck disable=SC2317 # called by the traps
cleanup() { [ -z "$pid" ] || kill "$pid" 2>/dev/null || :; rm -rf "$tmp"; }
trap cleanup EXIT
trap 'exit 130' INT TERM
t0=$(date +%s)

# --- the image ---
base=$dir/debian.ext4
if [ -z "$(find "$base" -newer "$top/scripts/deb-test.sh" 2>/dev/null)" ]; then
	echo "deb-test.sh: making $base: Debian 12 from $MIRROR, about 3 minutes"
	cat >"$tmp/unit" <<-'EOF2'
	[Unit]
	Description=One step of scripts/deb-test.sh, from the second disk
	After=multi-user.target systemd-sysctl.service postgresql.service
	[Service]
	Type=idle
	TimeoutStartSec=infinity
	ExecStart=/bin/sh -c 'mkdir -p /run/step && tar -xf /dev/disk/by-id/virtio-step -C /run/step && exec sh /run/step/run'
	ExecStopPost=systemctl --no-block start poweroff.target
	StandardOutput=tty
	StandardError=inherit
	TTYPath=/dev/ttyS1
	[Install]
	WantedBy=graphical.target
	EOF2
	# shellcheck disable=SC2016 # $1 is mmdebstrap's
	mmdebstrap --quiet --format=ext2 --variant=apt --aptopt='APT::Install-Recommends "false"' \
		--include=systemd-sysv,udev,procps,initramfs-tools,linux-image-cloud-amd64,postgresql-15,python3 \
		--customize-hook='echo deb-test >"$1/etc/hostname"' \
		--customize-hook='echo "/dev/disk/by-id/virtio-root / ext4 defaults 0 1" >"$1/etc/fstab"' \
		--customize-hook="upload '$tmp/unit' /etc/systemd/system/step.service" \
		--customize-hook='chroot "$1" systemctl -q enable step.service' \
		bookworm "$tmp/image" "deb $MIRROR bookworm main" >"$dir/mmdebstrap.log" 2>&1 || {
		tail -n 20 "$dir/mmdebstrap.log" >&2
		die "mmdebstrap failed; all of it: $dir/mmdebstrap.log"
	}
	# room to work in, and what makes an ext2 filesystem an ext4 one
	{
		truncate -s 4G "$tmp/image"
		tune2fs -O has_journal,extent,dir_index,uninit_bg "$tmp/image"
		e2fsck -fy "$tmp/image" || [ $? -eq 1 ]
		resize2fs "$tmp/image"
	} >>"$dir/mmdebstrap.log" 2>&1 || die "the image could not be enlarged: $dir/mmdebstrap.log"
	mv "$tmp/image" "$base"
fi
cp --sparse=always "$base" "$tmp/disk"

# boot STEP: the newest kernel of the disk, as a boot loader would
boot()
{
	step=$1
	shift
	files=$(debugfs -R 'ls -p /boot' "$tmp/disk" 2>/dev/null | cut -d/ -f6)
	version=$(echo "$files" | sed -n 's/^vmlinuz-//p' | sort -V | tail -n 1)
	echo "$files" | grep -qxF "initrd.img-$version" || die "the disk has no initrd for its kernel '$version'"
	debugfs -R "dump /boot/vmlinuz-$version $tmp/vmlinuz" "$tmp/disk" 2>/dev/null
	debugfs -R "dump /boot/initrd.img-$version $tmp/initrd" "$tmp/disk" 2>/dev/null
	rm -rf "$tmp/step"
	mkdir "$tmp/step"
	cp "$top/scripts/guest/deb-test" "$@" "$tmp/step/"
	cat >"$tmp/step/run" <<-EOF2
	st=0
	sh /run/step/deb-test $step || st=\$?
	echo "status \$st"
	EOF2
	tar -cf "$tmp/step.tar" -C "$tmp/step" .
	console=$dir/$step.console out=$dir/$step.out b0=$(date +%s)
	: >"$console"
	: >"$out"
	echo "deb-test.sh: $step: booting $version"
	timeout -k 5 "$LIMIT" qemu-system-x86_64 -M q35 -cpu max -m 2G -smp 2 -accel tcg,thread=multi \
		-nodefaults -no-user-config -display none -no-reboot -kernel "$tmp/vmlinuz" -initrd "$tmp/initrd" \
		-append "root=/dev/disk/by-id/virtio-root rw console=ttyS0 panic=-1 oops=panic tsc=reliable no_timer_check" \
		-drive "file=$tmp/disk,format=raw,if=none,id=root" -device virtio-blk-pci,drive=root,serial=root \
		-drive "file=$tmp/step.tar,format=raw,if=none,id=step,readonly=on" -device virtio-blk-pci,drive=step,serial=step \
		-device virtio-rng-pci \
		-serial "file:$console" -serial "file:$out" </dev/null >"$dir/qemu.log" 2>&1 &
	pid=$!
	st=0
	wait $pid || st=$?
	pid=
	tr -d '\r' <"$out" | sed "s/^/    /"
	if tr -d '\r' <"$console" | grep -aE "$complaints" >"$tmp/bad"; then
		sed 's/^/    /' "$tmp/bad" | head -n 40 >&2
		die "$step: $(wc -l <"$tmp/bad") complaint(s) on the console (above), all of it: $console"
	fi
	[ $st -ne 124 ] || die "$step: not done after $LIMIT s; console: $console"
	[ $st -eq 0 ] || die "$step: QEMU ended with status $st: $(tail -n 3 "$dir/qemu.log")"
	tr -d '\r' <"$out" | grep -qx 'status 0' || die "$step failed (above); console: $console"
	echo "deb-test.sh: $step: passed, the console of $version has no complaint ($(($(date +%s) - b0)) s)"
}
for s in $steps; do
	if [ "$s" = install ]; then boot "$s" "$@"; else boot "$s"; fi
done
echo "deb-test.sh: all passed in $(((($(date +%s) - t0) + 30) / 60)) min"
