#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Can the runner fail? Every exit status that scripts/vm.sh promises, produced.
# shellcheck disable=SC2016 # the guest expands
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
export BUILD
k=${1:-perf}
case $#:$k in
[01]:[!-]*) ;;
*) echo "usage: [BUILD=dir] scripts/test-vm.sh [CONFIG]   (default perf)" >&2; exit 2 ;;
esac
[ -f "$BUILD/$k/bzImage" ] || { echo "test-vm.sh: no $BUILD/$k/bzImage: run 'make kernel CONFIG=$k'" >&2; exit 1; }
bad=0
want()
{
	st=$1 what=$2 st2=0
	shift 2
	"$top/scripts/vm.sh" -n test-vm -k "$k" "$@" >"$BUILD/log/test-vm.out" 2>&1 || st2=$?
	if [ $st2 -eq "$st" ]; then
		echo "  ok: $what gives $st"
	else
		echo "  FAILED: $what gives $st2, not $st"
		sed 's/^/    /' "$BUILD/log/test-vm.out"
		bad=1
	fi
}
mkdir -p "$BUILD/log"
want 64 "no command"
want 64 "a size that is none" -m 2Q -- true
want 64 "a kernel that is not there" -k nosuch -- true
QEMU=no-such-qemu want 69 "no QEMU" -- true
want 0 "a good command" -- true
want 0 "a good command on 3 CPUs" -c 3 -m 512M -- 'test $(nproc) = 3'
want 7 "a status" -- 'exit 7'
want 137 "a kill" -- 'kill -9 $$'
want 71 "a hanging command" -t 10 -- 'sleep 1000'
want 72 "a guest that goes away" -- 'poweroff -f'
want 72 "a guest that goes away while booting" -a 'rdinit=/bin/poweroff -- -f' -- true
QEMU=true want 72 "a boot that is lost each time" -- true
mkdir -p "$BUILD/log/test-vm"
cat >"$BUILD/log/test-vm/qemu" <<'EOT'
#!/bin/sh
[ ! -e "$0.lost" ] || exec qemu-system-x86_64 "$@"
: >"$0.lost"
EOT
chmod +x "$BUILD/log/test-vm/qemu"
QEMU=$BUILD/log/test-vm/qemu want 5 "a boot that is lost once" -- 'exit 5'
want 70 "a panic" -- 'echo c >/proc/sysrq-trigger'
want 70 "a warning" -- 'echo "WARNING: CPU: 1 test" >/dev/kmsg'
want 70 "a counter gone wrong" -- 'echo "BUG: Bad rss-counter state mm:0" >/dev/kmsg'
want 3 "an expected warning" -x 'CPU: 1 test' -- 'echo "WARNING: CPU: 1 test" >/dev/kmsg; exit 3'
# An image whose .config promises KASAN
cp "$BUILD/$k/bzImage" "$BUILD/log/test-vm/bzImage"
echo CONFIG_KASAN=y >"$BUILD/log/test-vm/.config"
grep -q CONFIG_KASAN=y "$BUILD/$k/.config" ||
	want 73 "KASAN that is not there" -k "$BUILD/log/test-vm/bzImage" -- true
rm -rf "$BUILD/log/test-vm"
exit $bad
