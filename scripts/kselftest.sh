#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make kselftest: the kernel's own selftests of mm, ipc, file systems, memory
# cgroups and proc on the unpatched kernel, on the patched one, and on that with
# vm.ptshare=2, in a Debian of their own: one table, the differences marked.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
: "${RUNS=vanilla:- perf:0 perf:2}" "${SECONDS_EACH=180}" "${REPEAT=1}"

usage()
{
	cat <<USAGE
usage: scripts/kselftest.sh [COLLECTION:TEST[:CATEGORY]...]    (or: make kselftest)
       scripts/kselftest.sh -l      list the tests
       scripts/kselftest.sh -r      the report of the logs there are, without a run
$BUILD/kselftest/report.txt has the result, scripts/kselftest.notes the explanations in it.
What was run of some tests is added to the logs there are; a run of all begins anew.
exit: 0 if the results are the same or a note explains the difference
environment (what is set now):
  RUNS='$RUNS'    CONFIG:vm.ptshare ('-': the kernel has none); debug:2
           shares files of any length, as most tests have small ones
  SECONDS_EACH='$SECONDS_EACH'   limit for a test
  REPEAT='$REPEAT'   run all so many times: what is not always the same is flaky
USAGE
}
die() { echo "kselftest.sh: $*" >&2; exit 1; }

just=
while getopts lrh o; do
	case $o in
	l|r) just=$o ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
for n in "$SECONDS_EACH" "$REPEAT"; do
	case $n in ''|*[!0-9]*|0) usage >&2; die "SECONDS_EACH and REPEAT want positive numbers, not '$n'" ;; esac
done
dir=$BUILD/kselftest
report()
{
	st=0
	"$top/scripts/kselftest-report.py" "$dir/log" "$top/scripts/kselftest.notes" >"$dir/report.tmp" || st=$?
	[ $st -le 1 ] || die "no report"
	mv "$dir/report.tmp" "$dir/report.txt"
	return $st
}
if [ "$just" = r ]; then
	[ -d "$dir/log" ] || die "no $dir/log: run it without -r first"
	report || st=$?
	cat "$dir/report.txt"
	exit "$st"
fi

[ -d "$BUILD/linux/.git" ] || [ -f "$BUILD/linux/.git" ] || die "no $BUILD/linux: run 'make tree' first"
[ "$(id -u)" -eq 0 ] || die "run as root: the image has files of root"
"$top/scripts/deps.sh" mmdebstrap rsync
for r in $RUNS; do
	"$top/scripts/kernel.sh" "${r%:*}"
done

# Of the unpatched tree: the kernel's tests, without ours. What run_vmtests.sh
# leaves out is added to the list; of the cgroup tests it is those of memory.
targets="mm ipc filesystems cgroup proc"
for t in epoll eventfd fat overlayfs statmount binderfs; do
	targets="$targets filesystems/$t"
done
more="hmm-tests mseal_test seal_elf droppable pkey_sighandler_tests_64"
base=$(git -C "$BUILD/linux" rev-parse base)
if [ "$(cat "$dir/built" 2>/dev/null)" != "$base" ]; then
	echo "kselftest.sh: building (log: $dir/build.log)"
	rm -rf "$dir/src" "$dir/install" "$dir/built"
	mkdir -p "$dir/src"
	git -C "$BUILD/linux" archive base tools scripts include arch/x86/include mm/gup_test.h \
		lib/test_hmm_uapi.h | tar -x -C "$dir/src"
	{
		make -C "$BUILD/linux" O="$dir/headers" headers &&
			# KSFT_SKIP: khugepaged.c of 6.12.117 forgets to include kselftest.h
			make -j "$(nproc)" -C "$dir/src/tools/testing/selftests" TARGETS="$targets" \
				KHDR_INCLUDES="-isystem $dir/headers/usr/include" USERCFLAGS=-DKSFT_SKIP=4 \
				FORCE_TARGETS=1 INSTALL_PATH="$dir/install" install
	} >"$dir/build.log" 2>&1 || { tail -n 20 "$dir/build.log" >&2; die "the tests do not build"; }
	# shellcheck disable=SC2016 # a pattern
	sed -i 's|("$@" 2>&1)|(/kselftest-one "$@" 2>\&1)|' "$dir/install/mm/run_vmtests.sh"
	grep -q '(/kselftest-one' "$dir/install/mm/run_vmtests.sh" || die "run_vmtests.sh is not what it was: no place for a timeout"
	for t in $more; do
		[ ! -x "$dir/install/mm/$t" ] || echo "mm:$t"
	done >>"$dir/install/kselftest-list.txt"
	echo "$base" >"$dir/built"
fi
all=$(grep -vE '^mm:run_vm|^cgroup:test_(core|cpu|cpuset|freezer|kill|pids|stress)' "$dir/install/kselftest-list.txt"
	sed -n 's/.*CATEGORY="\([a-z_]*\)" run_test.*/mm:run_vmtests.sh:\1/p' "$dir/install/mm/run_vmtests.sh" | sort -u)
if [ "$just" = l ]; then
	echo "$all"
	exit 0
fi
if [ $# -eq 0 ]; then
	rm -rf "$dir/log"
	# shellcheck disable=SC2086 # a list of words
	set -- $all
fi
for t; do # before hours of work
	echo "$all" | grep -qxF -e "$t" || die "no test '$t': scripts/kselftest.sh -l lists them"
done

packages=mount,sudo,procps,iproute2,xfsprogs,kmod,libcap2-bin,liburing2,libnuma1
if [ "$(cat "$dir/root/packages" 2>/dev/null)" != $packages ]; then
	echo "kselftest.sh: a Debian root"
	rm -rf "$dir/root"
	mmdebstrap --quiet --variant=apt --include=$packages --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$dir/root" || die "mmdebstrap failed"
	echo $packages >"$dir/root/packages"
fi
rsync -a --delete "$dir/install/" "$dir/root/opt/kselftest/"
cp "$top/scripts/guest/kselftest" "$dir/root/kselftest"
cp "$top/scripts/guest/kselftest" "$dir/root/kselftest-one"
# va_high_addr_switch.sh wants to know how many levels page tables have.
for r in $RUNS; do
	c=$BUILD/${r%:*}
	cp "$c/.config" "$dir/root/boot/config-$(cat "$c/include/config/kernel.release")"
done
echo '127.0.0.1 localhost guest' >"$dir/root/etc/hosts"
# A new image, which the guests do not change, so that runs begin alike.
rm -f "$dir/image"
truncate -s 3G "$dir/image"
mkfs.ext4 -q -d "$dir/root" "$dir/image"

mkdir -p "$dir/log"
i=0
while [ $i -lt "$REPEAT" ]; do
	i=$((i + 1))
	for r in $RUNS; do
		log=$dir/log/$(echo "$r" | tr ':' '-').$(date +%Y%m%d-%H%M%S)
		echo "kselftest.sh: $r, round $i of $REPEAT ($log)"
		st=0
		"$top/scripts/vm.sh" -k "${r%:*}" -m 4G -c 4 -t $((SECONDS_EACH * 60)) -n "kselftest-${r%:*}-${r#*:}" \
			-a "numa=fake=2" -q "-drive file=$dir/image,format=raw,if=virtio,snapshot=on" \
			-- "kselftest-root /kselftest ${r#*:} $SECONDS_EACH $*" \
			>"$log.tmp" 2>"$log.err" || st=$?
		mv "$log.tmp" "$log"
		cp "$BUILD/log/kselftest-${r%:*}-${r#*:}.console" "$log.console"
		[ $st -eq 0 ] || { echo "kselftest.sh: $r: the run ended with $st:"; head -n 20 "$log.err"; }
	done
done
report || st=$?
tail -n 5 "$dir/report.txt"
echo "kselftest.sh: $dir/report.txt"
exit "$st"
