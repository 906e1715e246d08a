#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make stress: stress-ng, trinity and failing allocations on the debug kernel
# with vm.ptshare=2. What fails there is run on vanilla, too: only what vanilla
# does better is a failure. Tables and logs go to $BUILD/stress.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
: "${STRESS_SECONDS=60}" "${STRESS_MINUTES=20}" "${STRESSORS=}"
parts='stress-ng trinity failure'
usage()
{
	cat <<EOF
usage: scripts/stress.sh [PART...]     (or: make stress STRESS='PART ...')
parts: $parts (all of them)
environment (what is set now):
  STRESS_SECONDS='$STRESS_SECONDS'  for each stressor of stress-ng and each run of failure
  STRESS_MINUTES='$STRESS_MINUTES'  for trinity
  STRESSORS='$STRESSORS'  stress-ng: these only
EOF
}
die() { echo "stress.sh: $2" >&2; exit "$1"; }
case ${1:-} in -h|--help) usage; exit 0 ;; esac
for p in "$@"; do
	case " $parts " in
	*" $p "*) ;;
	*) usage >&2; die 64 "no part '$p'" ;;
	esac
done
for n in "$STRESS_SECONDS" "$STRESS_MINUTES"; do
	case $n in
	''|*[!0-9]*|0) die 64 "STRESS_SECONDS and STRESS_MINUTES want positive numbers, not '$n'" ;;
	esac
done
"$top/scripts/deps.sh" stress-ng trinity
for k in debug vanilla; do
	[ -f "$BUILD/$k/bzImage" ] || die 69 "no $BUILD/$k/bzImage: 'make kernel CONFIG=$k' builds it"
done
[ -x "$BUILD/guest/ptshare_fuzz" ] || die 69 "no $BUILD/guest/ptshare_fuzz: 'make selftests' builds it"
mkdir -p "$BUILD/stress"
BUILD=$(cd "$BUILD" && pwd)
export BUILD GUEST_PROGRAMS='stress-ng trinity'
out=$BUILD/stress
failed=0

# First what works on shared mappings, which the others hardly have
stressors()
{
	if [ -n "$STRESSORS" ]; then
		echo "$STRESSORS"
		return
	fi
	first='mmap msync shm shm-sysv memfd tmpfs dev-shm madvise mremap remap mlock mlockmany fork userfaultfd
		pagemove stackmmap vm-splice msyncmany mmapaddr mmapfixed mmapfork mmaphuge mmapmany forkheavy
		vfork vforkmany'
	{
		echo "$first" | xargs -n 1
		for class in vm memory; do
			# It says so and calls it an error.
			{ stress-ng --class "$class?" || :; } | sed 's/.*: //' | xargs -n 1
		done
	} | awk '!seen[$0]++' | xargs
}

# The stressor, or whatever was marked last, before each complaint
whose()
{
	[ -s "$2" ] || return 0
	tr -d '\r' <"$1" | awk 'BEGIN { name = "boot" }
		NR == FNR { sub(/^  /, ""); bad[$0] = 1; next }
		/stress: .* starts/ { sub(/.*stress: /, ""); sub(/ starts.*/, ""); name = $0 }
		$0 in bad { print name ": " $0 }' "$2" -
}

# QEMU runs code that it translated before another CPU patched it: see test.sh.
int3() { [ $tries -gt 0 ] && grep -q 'Oops: int3' "$log.err" && tries=$((tries - 1)); }

pid='' tries=3
trap '[ -z "$pid" ] || kill "$pid"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# guest KERNEL MODE LIMIT PART LENGTH ARGUMENT...: status in $st, output in $log.out
guest()
{
	k=$1 mode=$2 limit=$3
	shift 3
	log=$out/$1-$k-$mode
	: >"$log.out"
	"$top/scripts/vm.sh" -k "$k" -c 4 -m 4G -t "$limit" -a no5lvl -n "stress-$1-$k-$mode" -- \
		"stress $mode $*" >"$log.out" 2>"$log.err" &
	pid=$!
	tail -n +1 -f --pid="$pid" "$log.out" | sed -u "s/^/$k $mode: /" &
	# Not in the foreground: a signal ends a wait, and the guest with it.
	wait "$pid" && st=0 || st=$?
	pid=
	wait
	cat "$log.err"
	whose "$BUILD/log/stress-$1-$k-$mode.console" "$log.err" | tee "$log.complaints"
}

# stress_ng KERNEL MODE STRESSOR...: a table 'NAME STATUS OPS LINKS'. When a guest
# dies, the one that was running gets its status and the next guest goes on.
stress_ng()
{
	kernel=$1 sharing=$2
	table=$out/stress-ng-$kernel-$sharing.table
	shift 2
	: >"$table"
	while [ $# -gt 0 ]; do
		guest "$kernel" "$sharing" $((300 + $# * (STRESS_SECONDS + 250))) \
			stress-ng "$STRESS_SECONDS" "$@"
		sed -n 's/^result //p' "$log.out" >"$log.new"
		last=$(sed -n 's/^stress: \(.*\) starts/\1/p' "$log.out" | tail -n 1)
		[ -n "$last" ] || die 1 "the guest does not get as far as to begin; see $log.err"
		while [ "$1" != "$last" ]; do shift; done
		if ! int3; then
			case $st in
			0|70) ;;
			*) sed -i "/^$last /d" "$log.new" ;;
			esac
			grep -q "^$last " "$log.new" || echo "$last guest:$st - -" >>"$log.new"
			# A complaint spoils it whatever the stressor says.
			awk 'FILENAME == ARGV[1] { sub(/:.*/, ""); bad[$0] = 1; next }
				$1 in bad { $2 = "console"; delete bad[$1] }
				{ print }
				END { for (name in bad) print name, "console - -" }' \
				"$log.complaints" "$log.new" >"$log.judged"
			mv "$log.judged" "$log.new"
			shift
		else
			sed -i "/^$last /d" "$log.new"
		fi
		cat "$log.new" >>"$table"
	done
}

part_stress_ng()
{
	# shellcheck disable=SC2046 # a list of words
	stress_ng debug 2 $(stressors)
	bad=$(awk '$2 != "0" && $1 != "boot" { print $1 }' "$out/stress-ng-debug-2.table" | xargs)
	: >"$out/stress-ng-vanilla-0.table"
	: >"$out/stress-ng-debug-0.table"
	if [ -n "$bad" ]; then
		# shellcheck disable=SC2086 # a list of words
		stress_ng vanilla 0 $bad
		# The debug kernel is slow; is that all?
		# shellcheck disable=SC2086 # a list of words
		stress_ng debug 0 $bad
	fi
	# What a status of stress-ng means: 2 failed, 3 no resources, 4 not implemented
	awk -v secs="$STRESS_SECONDS" 'BEGIN {
			printf "%-14s %12s %10s %10s %10s %10s  (%d s each)\n", "stressor",
				"bogo ops", "links", "status", "vanilla", "debug off", secs
		}
		FILENAME == ARGV[1] { vanilla[$1] = $2; next }
		FILENAME == ARGV[2] { off[$1] = $2; next }
		{
			v = $1 in vanilla ? vanilla[$1] : "-"
			o = $1 in off ? off[$1] : "-"
			verdict = "DIFFERENT"
			if ($2 == "0") verdict = ""
			else if ($2 == v) verdict = "as vanilla"
			else if ($2 == o && o ~ /^[0-9]+$/) verdict = "as debug without sharing"
			printf "%-14s %12s %10s %10s %10s %10s  %s\n", $1, $3, $4, $2, v, o, verdict
		}' "$out/stress-ng-vanilla-0.table" "$out/stress-ng-debug-0.table" \
		"$out/stress-ng-debug-2.table" | tee "$out/stress-ng.txt"
	! grep -q DIFFERENT "$out/stress-ng.txt"
}

part_trinity()
{
	gcc -shared -fPIC -O2 -Wall -Wextra -o "$BUILD/guest/bigmaps.so" "$top/scripts/trinity-bigmaps.c"
	while guest debug 2 $((STRESS_MINUTES * 60 + 600)) trinity "$STRESS_MINUTES" && int3; do :; done
	[ "$st" -eq 0 ]
}

part_failure()
{
	ok=0
	for m in 2 0; do
		while guest debug "$m" $((STRESS_SECONDS * 10 + 900)) failure "$STRESS_SECONDS" 1 5 && int3; do :; done
		[ "$st" -eq 0 ] || ok=1
	done
	return "$ok"
}

# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $parts
for p in "$@"; do
	st=0
	case $p in
	stress-ng) part_stress_ng || st=1 ;;
	trinity) part_trinity || st=1 ;;
	failure) part_failure || st=1 ;;
	esac
	if [ $st -eq 0 ]; then
		echo "pass - $p"
	else
		echo "fail - $p; see $out"
		failed=1
	fi
done
exit $failed
