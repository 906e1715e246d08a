#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make test: everything that can be checked in one go. One pass/fail line per
# check, the time it took, logs in $BUILD/log; the last line counts.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
: "${TEST_FULL=}" "${TEST_OFF=$TEST_FULL}" "${TEST_BENCH=1}"
if [ -n "$TEST_FULL" ]; then # the whole matrix
	: "${TEST_RUNS=perf:2:0 perf:2:2 perf:4:0 perf:4:2 debug:2:0 debug:2:2 debug:4:0 debug:4:2}"
	: "${MINUTES:=10}" # make passes it on, empty or not
else # what fits into an hour with three kernel builds: each value of each axis
	: "${TEST_RUNS=perf:2:0 perf:4:2 debug:2:2 debug:4:0}" "${MINUTES:=2}"
fi
export MINUTES
if [ $# -ne 0 ]; then
	cat >&2 <<EOF
usage: scripts/test.sh     (or: make test, make test-full)
environment (what is set now):
  TEST_RUNS='$TEST_RUNS'
               the selftest runs, CONFIG:CPUS:vm.ptshare
  MINUTES='$MINUTES'     for the fuzzer on the debug kernel
  TEST_BENCH='$TEST_BENCH' 1 = also what 'make bench-ci' does
  TEST_FULL='$TEST_FULL'  1 = all runs, full-length tests, and TEST_OFF
  TEST_OFF='$TEST_OFF'   1 = also build off and vanilla and compare their code
EOF
	exit 2
fi
mkdir -p "$BUILD/log"
BUILD=$(cd "$BUILD" && pwd)
export BUILD
passed=0 failed=0 begin=$(date +%s)

pass() { passed=$((passed + 1)); echo "pass - $*"; }
fail() { failed=$((failed + 1)); echo "fail - $*"; }
# notes LOG: a boot that had to be repeated is no secret
notes() { sed -n 's/^vm.sh: note: /note: /p' "$1"; }
# check NAME COMMAND...: quiet if good, the log's end if not
check()
{
	name=$1 log=$BUILD/log/test-$(echo "$1" | tr -c 'a-z0-9\n' '-').log t0=$(date +%s)
	shift
	st=0
	"$@" >"$log" 2>&1 || st=$?
	notes "$log"
	if [ $st -eq 0 ]; then
		pass "$name ($(($(date +%s) - t0)) s)"
		return 0
	fi
	fail "$name ($(($(date +%s) - t0)) s); $log ends:"
	tail -n 15 "$log" | sed 's/^/    /'
	return 1
}
# allyesconfig sets every option that can be had: this one, with 64 bits only.
not_32_bit()
{
	for arch in x86_64 i386; do
		make -s -C "$BUILD/linux" O="$BUILD/allyes" ARCH=$arch allyesconfig || return 1
		mv "$BUILD/allyes/.config" "$BUILD/allyes/$arch"
	done
	grep -x CONFIG_PTSHARE=y "$BUILD/allyes/x86_64" && ! grep CONFIG_PTSHARE= "$BUILD/allyes/i386"
}
# A bad value is ignored, and the log says so.
boot_parameter()
{
	for try in 2:2 3:0 x:0; do
		"$top/scripts/vm.sh" -k perf -n test-boot-parameter -a "ptshare=${try%:*}" -- "
			[ \$(cat /proc/sys/vm/ptshare) = ${try#*:} ] || exit
			[ ${try#*:} != 0 ] || dmesg | grep 'ptshare=${try%:*}: not 0, 1 or 2, ignored'" || return
	done
}
# QEMU runs code that it translated before another CPU patched it, so that a
# static key which changes now and then leaves a CPU with a stray int3.
stray_int3() { [ "$1" -eq 70 ] && grep -q 'Oops: int3' "$2"; }
fuzz()
{
	for _ in 1 2 3; do
		st=0
		"$top/scripts/fuzz.sh" || st=$?
		stray_int3 $st "$BUILD/log/fuzz.console" || break
	done
	return "$st"
}
# not_ok LOG: of each test that failed what was expected, and the last four lines
not_ok()
{
	awk '/#  RUN / { n = 0 }
		{ line[++n] = $0 }
		/^not ok/ {
			for (i = 1; i <= n; i++)
				if (i > n - 5 || line[i] ~ /Expected/)
					print line[i]
		}' "$1"
}
# selftests CONFIG CPUS MODE: boot and take over the guest's pass/fail lines
selftests()
{
	where="$1, $2 CPUs, vm.ptshare=$3" quick=1 mem=3G limit=2400
	log=$BUILD/log/test-run-$1-$2-$3
	# For hangs: a test has a limit of its own, and machines may have other work.
	[ "$1" != debug ] || limit=4800
	if [ -n "$TEST_FULL" ]; then quick='' limit=10800; fi
	# 4 CPUs: two NUMA nodes and five-level tables; 2 CPUs: one and four.
	# Not five with KASAN: an interrupt early in identify_cpu(), where the
	# CPU's features are unknown for a moment, makes it see wild accesses.
	args=no5lvl
	[ "$1" = debug ] || [ "$2" -lt 4 ] || args=
	[ "$2" -lt 4 ] || args="$args numa=fake=2"
	st=0 t0=$(date +%s) tries=3
	while :; do
		"$top/scripts/vm.sh" -k "$1" -c "$2" -m $mem -t $limit -a "$args" -n "test-$1-$2-$3" -- \
			"PTSHARE_TEST_LIMIT=$limit PTSHARE_TEST_QUICK=$quick sh /opt/ptshare/guest/run-selftests.sh $3" \
			>"$log.out" 2>"$log.err" || st=$?
		tries=$((tries - 1))
		if [ $tries -eq 0 ] || ! stray_int3 $st "$log.err"; then break; fi
		echo "note: $where: QEMU left an int3 behind, once more"
		st=0
	done
	notes "$log.err"
	grep -aE '^(pass|skip|fail) - ' "$log.out" >"$log.lines" || :
	not_ok "$log.out" | head -n 60 >"$log.notok"
	while read -r line; do
		case $line in
		'pass - '*) pass "$where: ${line#pass - }" ;;
		'skip - '*) echo "skip - $where: ${line#skip - }" ;;
		'fail - '*) fail "$where: ${line#fail - }" ;;
		esac
	done <"$log.lines"
	sed 's/^/    /' "$log.notok"
	took="$(($(date +%s) - t0)) s"
	[ -s "$log.lines" ] || [ "$programs" -eq 0 ] || st="$st without a single result"
	case $st in
	0|1) pass "$where: the console has no complaint ($took)" ;;
	*) fail "$where: the run ended with $st ($took), $log.out ends:"
		tail -n 5 "$log.out" | sed 's/^/    /'
		head -n 20 "$log.err" | sed 's/^/    /' ;;
	esac
}

check "shellcheck" make -s -C "$top" shellcheck || :
if check "tree" "$top/scripts/tree.sh"; then
	check "round trip tree -> refresh -> tree" "$top/scripts/test-roundtrip.sh" || :
	check "checkpatch" "$top/scripts/checkpatch-all.sh" || :
	check "ptshare-stat" "$top/scripts/test-ptshare-stat.py" || :
	check "not for 32 bits" not_32_bit || :
	check "selftests build" "$top/scripts/selftests.sh" || TEST_RUNS=
	programs=$(find "$BUILD/guest" -name 'ptshare_*' ! -name 'ptshare_demo*' ! -name ptshare_bench | wc -l)
	if ! grep -qs '^config PTSHARE$' "$BUILD/linux/Kconfig.ptshare" "$BUILD/linux/mm/Kconfig"; then
		echo "note: this tree has no CONFIG_PTSHARE yet: the perf kernel with vm.ptshare=0 only"
		TEST_RUNS=perf:2:0
	fi
	built='' broken=''
	for run in $TEST_RUNS; do
		IFS=: read -r c cpus mode <<EOF
$run
EOF
		case $broken in *" $c "*) continue ;; esac
		case $built in
		*" $c "*) ;;
		*)
			check "kernel $c" "$top/scripts/kernel.sh" "$c" || { broken="$broken $c "; continue; }
			built="$built $c "
			if [ "$c" = perf ]; then
				check "runner vm.sh" "$top/scripts/test-vm.sh" || :
				check "boot parameter ptshare=" boot_parameter || :
			fi ;;
		esac
		selftests "$c" "$cpus" "$mode"
	done
	case $built in *" debug "*)
		check "fuzz $MINUTES minutes, debug, 4 CPUs" fuzz || :
		grep -aho 'replay with -s [0-9]*' "$log" | sed 's/^/note: the fuzzer: /' || : ;;
	esac
	if [ -n "$TEST_BENCH" ]; then
		case $built in *" perf "*)
			if check "kernel vanilla" "$top/scripts/kernel.sh" vanilla; then
				check "bench-ci" "$top/benchmarks/run" --ci || :
			fi ;;
		esac
	fi
	if [ -n "$TEST_OFF" ] && check "kernel off" "$top/scripts/kernel.sh" off &&
		check "kernel vanilla" "$top/scripts/kernel.sh" vanilla; then
		check "off is identical to vanilla" "$top/scripts/off-identical.sh" || :
	fi
fi
echo "all this took $((($(date +%s) - begin + 30) / 60)) minutes"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
