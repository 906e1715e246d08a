#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Boot a kernel in QEMU (TCG), run one command in the guest as root, return its
# status - unless the console shows a complaint, which no status can excuse.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
# shellcheck source=scripts/console.sh
. "$top/scripts/console.sh"

usage()
{
	cat <<EOF
usage: scripts/vm.sh [options] -- COMMAND      run COMMAND under /bin/sh in the guest
       scripts/vm.sh -i [options]              interactive shell
  -k CONFIG|IMAGE  kernel: $BUILD/CONFIG/bzImage or a bzImage (default perf)
  -m MEM           guest memory (default 2G)     -c CPUS  (default 2)
  -t SECONDS       hard timeout (default 600; none with -i)
  -a 'ARGS'        more kernel arguments         -q 'ARGS' more QEMU arguments
  -n NAME          console goes to $BUILD/log/NAME.console (default vm)
  -x REGEX         complaint lines matching REGEX (grep -E) are expected
  -s DIR           share DIR with the guest as /host (9p)
  -I               one CPU with instruction counting (1 instruction = 1 ns)
environment: BUILD, QEMU (default qemu-system-x86_64), GUEST_PROGRAMS (of the host, to be in the guest)
exit: COMMAND's status, or 70 complaint on the console, 71 timeout, 72 guest died
or never reported, 73 KASAN missing from a kernel that should have it, 64 usage,
69 something missing on the host
EOF
}
die() { echo "vm.sh: $2" >&2; exit "$1"; }
number()
{
	case $2 in ''|*[!0-9]*|0) die 64 "$1 wants a positive number, not '$2'" ;; esac
}

kernel=perf mem=2G cpus=2 limit='' kargs='' qargs='' name=vm expect='' share='' icount='' shell=''
while getopts k:m:c:t:a:q:n:x:s:Iih o; do
	case $o in
	k) kernel=$OPTARG ;;
	m) mem=$OPTARG ;;
	c) number -c "$OPTARG"; cpus=$OPTARG ;;
	t) number -t "$OPTARG"; limit=$OPTARG ;;
	a) kargs=$OPTARG ;;
	q) qargs=$OPTARG ;;
	n) name=$OPTARG ;;
	x) expect=$OPTARG ;;
	s) share=$OPTARG ;;
	I) icount=1 ;;
	i) shell=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 64 ;;
	esac
done
shift $((OPTIND - 1))
if [ -n "$shell" ]; then
	[ $# -eq 0 ] || die 64 "-i takes no command"
else
	[ $# -gt 0 ] || { usage >&2; die 64 "no command given"; }
	: "${limit:=600}"
fi
case $name in */*) die 64 "-n wants a plain name, not '$name'" ;; esac
printf '%s\n' "$mem" | grep -qE '^[1-9][0-9]*[KMGkmg]?$' || die 64 "-m wants a size like 2G, not '$mem'"
if [ -n "$expect" ]; then
	echo | grep -qE -e "$expect" || [ $? -eq 1 ] || die 64 "-x: bad regular expression '$expect'"
fi
case $kernel in
*/*) image=$kernel ;;
*) image=$BUILD/$kernel/bzImage ;;
esac
[ -f "$image" ] || die 64 "no kernel image $image: 'make kernel CONFIG=...' builds one"
[ -z "$share" ] || [ -d "$share" ] || die 64 "-s: no directory $share"
qemu=${QEMU:-qemu-system-x86_64}
command -v "$qemu" >/dev/null || die 69 "no $qemu: run 'make deps'"

mkdir -p "$BUILD/log"
tmp=$(mktemp -d "$BUILD/vm.XXXXXX")
pid=
# shellcheck disable=SC2317 # called by the traps
cleanup() { [ -z "$pid" ] || kill "$pid" 2>/dev/null || :; rm -rf "$tmp"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
console=$BUILD/log/$name.console
: >"$console"
printf '%s\n' "$*" >"$tmp/command"
[ -z "$shell" ] || : >"$tmp/command"
BUILD=$BUILD "$top/scripts/guest-image.sh" "$tmp/initrd" "$tmp/command"

append="console=ttyS0 panic=-1 oops=panic tsc=reliable no_timer_check watchdog_thresh=30"
append="$append rcupdate.rcu_cpu_stall_timeout=60 workqueue.watchdog_thresh=120 printk.devkmsg=on"
[ -z "$share" ] || append="$append ptshare_host9p"
set -- "$qemu" -M q35 -cpu max -m "$mem" -nodefaults -no-user-config -display none -no-reboot \
	-kernel "$image" -initrd "$tmp/initrd" -append "$append $kargs" \
	-chardev "file,id=console,path=$console" -serial chardev:console \
	-chardev "file,id=status,path=$tmp/status" -device isa-debugcon,iobase=0xe9,chardev=status
if [ -n "$icount" ]; then
	set -- "$@" -smp 1 -accel tcg,thread=single -icount shift=0,sleep=off
else
	set -- "$@" -smp "$cpus" -accel tcg,thread=multi
fi
[ -z "$share" ] || set -- "$@" \
	-virtfs "local,path=$share,mount_tag=host,security_model=none,multidevs=remap"

# Now and then virtual CPUs trap on a jump label that another one patches, for
# QEMU runs code it translated before; or it resets the machine without a word.
# If that happens while booting, the command has not been tried: once more then.
tries=3
while :; do
	timedout='' qst=0
	: >"$tmp/status"
	: >"$console"
	if [ -n "$shell" ]; then
		[ -z "$limit" ] || set -- timeout --foreground -k 5 "$limit" "$@"
		# shellcheck disable=SC2086 # a list of words
		"$@" $qargs -chardev stdio,id=out,signal=off -serial chardev:out || qst=$?
	else
		# A FIFO, since QEMU would make our own stdout non-blocking.
		mkfifo "$tmp/out"
		exec 8<>"$tmp/out" # held open, so that the reader ends when we say so
		cat "$tmp/out" 8<&- &
		reader=$!
		# shellcheck disable=SC2086 # a list of words
		timeout -k 5 "$limit" "$@" $qargs -chardev "file,id=out,path=$tmp/out" -serial chardev:out \
			</dev/null >"$tmp/qemu.log" 2>&1 8<&- &
		pid=$!
		wait $pid || qst=$?
		pid=
		exec 8<&-
		wait $reader || :
		grep -v 'terminating on signal' "$tmp/qemu.log" >&2 || :
	fi
	case ${qst:-0} in 124|137) timedout=1 ;; esac
	status=$(od -An -tu1 "$tmp/status" | tr -d ' \n')

	tr -d '\r' <"$console" | grep -aE "$complaints" >"$tmp/bad" || :
	if [ -n "$expect" ]; then
		grep -avE -e "$expect" "$tmp/bad" >"$tmp/bad2" || :
		mv "$tmp/bad2" "$tmp/bad"
	fi
	lost=
	if grep -q 'Oops: int3' "$tmp/bad"; then
		lost=int3
	elif [ ! -s "$tmp/bad" ] && [ $qst -eq 0 ] && [ -z "$status" ] && ! grep -aq 'reboot: ' "$console"; then
		lost='reset without a message'
	fi
	if [ -z "$lost" ] || [ $tries -eq 1 ] || grep -aq 'guest: the command starts' "$console"; then
		break
	fi
	tries=$((tries - 1))
	echo "vm.sh: note: QEMU lost its way while booting ($lost), once more; last: $(
		tail -n 1 "$console" | tr -d '\r')" >&2
	rm -f "$tmp/out"
done
[ -z "$timedout" ] || echo "vm.sh: timeout after $limit s, guest killed; console: $console" >&2
if [ -s "$tmp/bad" ]; then
	echo "vm.sh: $(wc -l <"$tmp/bad") complaint(s) on the console ($console):" >&2
	head -n 40 "$tmp/bad" | sed 's/^/  /' >&2
	exit 70
fi
[ -z "$timedout" ] || exit 71
if [ -z "$status" ]; then
	echo "vm.sh: the guest ended without reporting (QEMU status ${qst:-0}); console: $console" >&2
	tail -n 5 "$console" | tr -d '\r' | sed 's/^/  /' >&2
	exit 72
fi
case $kernel in debug) kasan=1 ;; *) kasan= ;; esac
if grep -qs '^CONFIG_KASAN=y' "$(dirname "$image")/.config"; then kasan=1; fi
if [ -n "$kasan" ] && ! grep -aq 'KernelAddressSanitizer initialized' "$console"; then
	die 73 "this kernel should have KASAN, but the console does not say that it is on ($console)"
fi
exit "$status"
