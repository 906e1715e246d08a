#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make port-report: which hunks of the series apply to the newest kernel source
# that Debian has? A table in $BUILD/port/report.txt. Only the files that the
# patches change are unpacked; nothing is installed.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
SUITES=${SUITES:-trixie trixie-backports}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
die() { echo "port-report.sh: $*" >&2; exit 1; }
case $#:${1:-} in
0:) version='' ;;
1:[0-9]*) version=$1 ;;
*)
	cat >&2 <<EOT
usage: scripts/port-report.sh [VERSION]
  VERSION   of package linux-source, as 6.12.107-1; default: the newest there is
environment: SUITES='$SUITES' MIRROR=$MIRROR BUILD=$BUILD
EOT
	exit 2 ;;
esac
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f $keys ] || die "no $keys: apt-get install debian-archive-keyring"

mkdir -p "$BUILD/port/apt/lists/partial" "$BUILD/port/apt/cache/archives/partial"
port=$(cd "$BUILD/port" && pwd)
tmp=$(mktemp -d "$port/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# --- apt with a state of its own: the suites of this machine are left alone ---
for s in $SUITES; do
	echo "deb [signed-by=$keys] $MIRROR $s main"
done >"$port/apt/sources.list"
: >"$port/apt/status"
cat >"$port/apt/conf" <<EOF2
Dir::State "$port/apt";
Dir::State::status "$port/apt/status";
Dir::Cache "$port/apt/cache";
Dir::Etc::SourceList "$port/apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
APT::Sandbox::User "";
EOF2
export APT_CONFIG="$port/apt/conf"
echo "port-report.sh: package lists of $SUITES"
apt-get -qq update || die "apt-get update failed: is $MIRROR within reach, are these suites there: $SUITES?"
if [ -z "$version" ]; then
	apt-cache madison linux-source | awk '{ print $3 }' >"$tmp/versions"
	while read -r v; do
		if [ -z "$version" ] || dpkg --compare-versions "$v" gt "$version"; then version=$v; fi
	done <"$tmp/versions"
fi
[ -n "$version" ] || die "no linux-source in $SUITES"
source=$(apt-cache show "linux-source=$version" 2>/dev/null | sed -n 's/^Depends: \(linux-source-[0-9.]*\).*/\1/p')
[ -n "$source" ] || die "no linux-source $version in $SUITES; there are: $(apt-cache madison linux-source |
	awk '{ printf "%s ", $3 }')"

# --- the files that the patches change ---
deb=$port/${source}_$(echo "$version" | sed 's/:/%3a/')_all.deb
if [ ! -f "$deb" ]; then
	echo "port-report.sh: downloading $source $version, about 150 MB"
	(cd "$tmp" && apt-get -qq download "$source=$version") || die "cannot download $source=$version"
	mv "$tmp"/*.deb "$deb"
fi
cat "$top"/patches/[0-9]*.patch | sed -n 's|^--- a/||p' | sort -u >"$tmp/files"
echo "port-report.sh: unpacking $(wc -l <"$tmp/files") files, about a minute"
mkdir "$tmp/new"
dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './usr/src/linux-source-*.tar.*' |
	xz -dc >"$tmp/source.tar"
tar -tf "$tmp/source.tar" | sed 's|^[^/]*/||' | grep -xF -f "$tmp/files" >"$tmp/there" || :
# shellcheck disable=SC2046 # names of kernel files have no blanks
tar -xf "$tmp/source.tar" -C "$tmp/new" --strip-components=1 --no-anchored \
	$(sed "s|^|${source}/|" "$tmp/there")
rm "$tmp/source.tar"

# --- one patch after the other, each on what the ones before it left ---
report=$tmp/report.txt
{
	echo "The series, made on $(cat "$top/patches/BASE"), on $source $version: hunks in files of the kernel."
	echo "offset: applies at another line; fuzz: its surroundings have changed, to be looked at."
	echo "Files that only this series has (patches/overlay) go in as they are, and have to be ported by reading."
	echo
	printf '%-6s %6s %6s %7s %6s %7s  %s\n' patch hunks clean offset fuzz failed subject
} >"$report"
: >"$tmp/failed"
for p in "$top"/patches/[0-9]*.patch; do
	n=$(basename "$p")
	n=${n%%-*}
	subject=$(git mailinfo -b /dev/null "$tmp/diff" <"$p" | sed -n 's/^Subject: //p')
	hunks=$(grep -c '^@@ ' "$tmp/diff") || :
	[ "$hunks" -eq 0 ] || patch -d "$tmp/new" -p1 -F2 -f --verbose --no-backup-if-mismatch -r - <"$tmp/diff" >"$tmp/log" 2>&1 || :
	[ "$hunks" -ne 0 ] || : >"$tmp/log"
	awk -v n="$n" -v hunks="$hunks" -v subject="$subject" -v failed="$tmp/failed" '
		/^(Patching|Checking) file / || /^\|--- a\// { if ($1 == "|---") { file = substr($2, 3) } else file = $3 }
		/^Hunk #[0-9]+ succeeded/ { if (/with fuzz/) fuzz++; else if (/\(offset/) offset++; else clean++ }
		/^Hunk #[0-9]+ (FAILED|ignored)/ { sub(/^#/, "", $2); bad[file] = bad[file] " " $2 }
		END {
			printf "%-6s %6d %6d %7d %6d %7d  %s\n", n, hunks, clean, offset, fuzz,
				hunks - clean - offset - fuzz, subject
			for (f in bad) print n, f ": hunk" bad[f] >>failed
		}' "$tmp/log" >>"$report"
	sed -n 's|^--- a/||p' "$tmp/diff" | while read -r f; do
		grep -qxF "$f" "$tmp/there" || echo "$n $f: not in this kernel" >>"$tmp/failed"
	done
done
{
	awk 'NR > 5 { for (i = 2; i <= 6; i++) sum[i] += $i }
		END { printf "%-6s %6d %6d %7d %6d %7d\n", "all", sum[2], sum[3], sum[4], sum[5], sum[6] }' "$report"
	echo
	echo "What does not apply:"
	sed 's/^/  /' "$tmp/failed" | LC_ALL=C sort
	[ -s "$tmp/failed" ] || echo "  nothing"
} >"$tmp/end"
cat "$tmp/end" >>"$report"
mv "$report" "$port/report.txt"
cat "$port/report.txt"
