#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make deb: Debian packages in $BUILD/deb: linux-image, linux-headers and
# linux-libc-dev by the kernel's own bindeb-pkg, configured as Debian's kernel
# for cloud machines plus configs/deb.config, and ptshare-tools (ptshare-stat).
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
JOBS=${JOBS:-$(nproc)}
die() { echo "deb.sh: $*" >&2; exit 1; }
only=
case "$#:${1:-}" in
0:) ;;
1:-c) only=1 ;;
*)
	cat >&2 <<EOT
usage: scripts/deb.sh [-c]
  -c   only write the configuration and build ptshare-tools
environment: BUILD=$BUILD JOBS=$JOBS
EOT
	exit 2 ;;
esac
src=$BUILD/linux
[ -e "$src/.git" ] || die "no kernel tree in $src: run 'make tree' first"
"$top/scripts/deps.sh" linux-config-6.12 debhelper dpkg-dev rsync
debian=/usr/src/linux-config-6.12/config.amd64_none_cloud-amd64.xz
[ -f $debian ] || die "package linux-config-6.12 has no $debian any more: correct this script"

mkdir -p "$BUILD/deb/kernel"
BUILD=$(cd "$BUILD" && pwd)
src=$BUILD/linux
deb=$BUILD/deb
out=$deb/kernel
exec 9>"$deb/.lock"
flock -n 9 || die "another build is running in $deb"
tmp=$(mktemp -d "$deb/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
local=-ptshare$(cat "$top/patches/REVISION")
version=$(make -s -C "$src" kernelversion)$local

# --- ptshare-tools ---
tool=$tmp/tool
doc=$tool/usr/share/doc/ptshare-tools
mkdir -p "$tool/DEBIAN" "$tool/usr/sbin" "$doc"
install -m 755 "$src/tools/mm/ptshare-stat" "$tool/usr/sbin/"
gzip -9nc "$src/Documentation/admin-guide/mm/ptshare.rst" >"$doc/ptshare.rst.gz"
cat >"$doc/copyright" <<EOF2
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: The ptshare developers
License: GPL-2
 The full text is in /usr/share/common-licenses/GPL-2.
EOF2
cat >"$tool/DEBIAN/control" <<EOF2
Package: ptshare-tools
Version: $version
Architecture: all
Section: admin
Priority: optional
Maintainer: ptshare <ptshare@example.org>
Depends: python3
Description: show which page tables processes share
 ptshare-stat tells which files' page tables are shared on a kernel with
 CONFIG_PTSHARE, what that saves, and why the rest is not shared.
EOF2
find "$tool" -type d -exec chmod 755 {} +
dpkg-deb --root-owner-group --build "$tool" "$tmp" >/dev/null

# --- configuration ---
{ xz -dc $debian; cat "$top/configs/deb.config"; } >"$tmp/asked"
if ! cmp -s "$tmp/asked" "$out/.asked"; then
	cp "$tmp/asked" "$out/.config"
	rm -f "$out/.asked"
fi
set -- make -C "$src" O="$out" ARCH=x86_64 LOCALVERSION="$local"
if command -v ccache >/dev/null; then
	set -- "$@" CC="ccache gcc" HOSTCC="ccache gcc"
	export CCACHE_BASEDIR="$BUILD"
fi
"$@" olddefconfig >"$out/config.log" 2>&1 || { tail -n 20 "$out/config.log" >&2; die "configuration failed"; }
grep -E '^(# )?CONFIG_' "$top/configs/deb.config" | while read -r l; do
	case $l in
	'# '*) ! grep -q "^$(echo "$l" | cut -d' ' -f2)=" "$out/.config" ;;
	*) grep -qxF "$l" "$out/.config" ;;
	esac || die "the configuration does not come out with '$l': $out/.config"
done
cp "$tmp/asked" "$out/.asked"
if [ -n "$only" ]; then
	mv "$tmp"/ptshare-tools_*.deb "$deb/"
	echo "deb.sh: $out/.config for $version, $(cd "$deb" && ls ptshare-tools_"$version"_*.deb)"
	exit 0
fi

# --- the kernel ---
# Equal sources give equal objects, and the compiler cache hits.
export KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 2026"
export KBUILD_BUILD_USER=ptshare KBUILD_BUILD_HOST=ptshare KBUILD_BUILD_VERSION=1
export DEBFULLNAME=ptshare DEBEMAIL=ptshare@example.org KDEB_CHANGELOG_DIST=bookworm
log=$deb/build.log
t0=$(date +%s)
echo "deb.sh: building $version, log in $log: an hour on 2 cores, minutes with a filled compiler cache"
nice -n 5 "$@" -j"$JOBS" KDEB_PKGVERSION="$version" bindeb-pkg >"$log" 2>&1 9>&- &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid; exit 130' INT TERM
last=$t0
while kill -0 $pid 2>/dev/null; do
	sleep 1
	now=$(date +%s)
	[ $((now - last)) -ge 60 ] || continue
	last=$now
	echo "deb.sh: $(((now - t0) / 60)) min, $(wc -l <"$log") lines: $(tail -n 1 "$log" | cut -c 1-60)"
done
wait $pid || {
	grep -nE ' error[ :]|Error [0-9]|undefined' "$log" | head -n 20 >&2
	tail -n 5 "$log" >&2
	die "the build failed; all of it: $log"
}
mv "$tmp"/ptshare-tools_*.deb "$deb/"
# what older builds have left
find "$deb" -maxdepth 1 \( -name '*.deb' -o -name '*.changes' -o -name '*.buildinfo' \) ! -name "*_${version}_*" -delete
echo "deb.sh: $(((($(date +%s) - t0) + 30) / 60)) min"
(cd "$deb" && du -h --apparent-size ./*.deb)
