#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Install the Debian packages the project needs, if any is missing.
set -eu

[ $# -eq 0 ] || { echo "usage: scripts/deps.sh" >&2; exit 2; }
packages="linux-source-6.12 gcc libc6-dev make git patch flex bison bc libelf-dev libssl-dev
	python3 python3-ply python3-git perl cpio lz4 xz-utils kmod ccache busybox-static qemu-system-x86 shellcheck
	libnuma-dev libcap-dev gnuplot-nox e2fsprogs xfsprogs btrfs-progs
	stress-ng trinity"

missing=
for p in $packages; do
	# shellcheck disable=SC2016 # dpkg's own syntax
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || { echo "deps.sh: all there"; exit 0; }
command -v apt-get >/dev/null || {
	echo "deps.sh: no apt-get here; this project runs on Debian 12. Missing:$missing" >&2
	exit 1
}
as=
if [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		as=sudo
	else
		echo "deps.sh: not root: run as root 'apt-get install --no-install-recommends$missing'" >&2
		exit 1
	fi
fi
echo "deps.sh: installing$missing"
$as apt-get update -qq || echo "deps.sh: apt-get update failed, trying with the lists there are" >&2
# shellcheck disable=SC2086 # a list of words
$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
	echo "deps.sh: apt-get could not install all of:$missing" >&2
	echo "remedy: Debian 12 with its 'main', security and update archives; see /etc/apt/sources.list" >&2
	exit 1
}
echo "deps.sh: done"
