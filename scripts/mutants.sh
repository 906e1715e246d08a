#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# make mutants: does every deliberate bug (mutants/*.patch) turn the test red
# that mutants/table names for it? One boot for each, as some leave a kernel
# that is good for nothing; and first all these tests without a bug: green.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
: "${MUTANT=}" "${RUNS=1}" "${CPUS=4}" "${TABLE=$top/mutants/table}"
if [ $# -ne 0 ]; then
	cat >&2 <<USAGE
usage: [MUTANT='name...'] [RUNS=n] scripts/mutants.sh     (or: make mutants)
  MUTANT: only these (none = only the tests without a bug)   RUNS: how often each, default 1
  NOBUILD=1: take kernel and tests as they are
  passes if the bug is seen in every run; CPUS=$CPUS of the guest, TABLE=$TABLE
mutants: $(awk '/^[^#]/ { printf "%s ", $1 }' "$TABLE")
USAGE
	exit 2
fi
die() { echo "mutants.sh: $*" >&2; exit 1; }
case $RUNS in ''|*[!0-9]*|0) die "RUNS wants a positive number, not '$RUNS'" ;; esac
[ -f "$TABLE" ] || die "no table $TABLE"
for m in $MUTANT; do
	[ "$m" = none ] || grep -q "^${m}[[:space:]]" "$TABLE" || die "no mutant '$m' in $TABLE"
done
mkdir -p "$BUILD/log"
BUILD=$(cd "$BUILD" && pwd)
export BUILD
log=$BUILD/log/mutants
mkdir -p "$log"
[ -n "${NOBUILD:-}" ] || {
	"$top/scripts/kernel.sh" mutants
	"$top/scripts/selftests.sh"
}
passed=0 failed=0 begin=$(date +%s)

# run NAME MUTANT SECONDS TESTS COMMANDS: boot and run; the kinds of red are in $red
run()
{
	st=0 numa=' numa=fake=2'
	# With two nodes a freed page is seldom reused by the one who freed it,
	# which is what the TLB tests look for.
	case $5 in *ptshare_tlb*) numa='' ;; esac
	"$top/scripts/vm.sh" -k mutants -c "$CPUS" -m 2G -t $(($3 + 60)) -n "mutants-$1" \
		-a "ptshare=2$numa" -- \
		"f=/sys/kernel/debug/ptshare/mutant; echo $2 >\$f && grep -qx '\\[$2\\]' \$f || exit 99; $5" \
		>"$log/$1.out" 2>"$log/$1.err" || st=$?
	red=
	case $st in
	99) die "the kernel has no mutant '$2': mutants/table and mutants/*.patch disagree" ;;
	6[0-9]|73) cat "$log/$1.err" >&2; die "no run of the guest (status $st)" ;;
	esac
	# What a test finds, but for what its teardown was told by others
	if grep -ahE '^# [^:]*:[0-9]+:[^:]*:Expected|^# ptshare: ' "$log/$1.out" |
		grep -aqv 'pt_teardown'; then red="$red test"; fi
	if grep -aq '^# ptshare/check: ' "$log/$1.out"; then red="$red checker"; fi
	case $st in 70|72) red="$red console" ;; esac
	if [ $st -eq 71 ] || grep -aqE '^guest-status (124|143|137)|terminated by timeout' "$log/$1.out"; then
		red="$red hang"
	fi
	# A test that did not run proves nothing.
	if grep -aq '# SKIP' "$log/$1.out"; then red="$red skip"; fi
	for t in $(echo "$4" | tr ',' ' '); do
		[ -n "$red" ] || grep -aqE "^ok [0-9]+ ptshare\\.$t( |\$)" "$log/$1.out" || red=" missing"
	done
	if [ -z "$red" ] && ! grep -aq '^guest-status 0' "$log/$1.out"; then red=" unclear"; fi
	red=${red# }
}

# commands SECONDS EFFORT PROGRAM TESTS: what the guest is to do
commands()
{
	printf 'PTSHARE_TEST_QUICK=%s timeout %s /opt/ptshare/ptshare_%s' \
		"$([ "$2" = full ] || echo 1)" "$1" "$3"
	for t in $(echo "$4" | tr ',' ' '); do printf ' -r ptshare.%s' "$t"; done
	printf ' 2>&1; echo guest-status $?;'
}

# Without a bug: each program once, with all of its tests
if [ -z "$MUTANT" ] || echo " $MUTANT " | grep -q ' none '; then
	echo "mutants.sh: first without a mutant"
	awk '/^[^#]/ && (want == "" || want == "none" || index(" " want " ", " " $1 " ")) {
		key = $2 " " $5; n = split($3, t, ",")
		for (i = 1; i <= n; i++) if (!((key, t[i]) in seen)) {
			seen[key, t[i]] = 1; tests[key] = tests[key] (tests[key] ? "," : "") t[i]
		}
	} END { for (k in tests) print k, tests[k] }' want="$MUTANT" "$TABLE" | sort >"$log/none.list"
	while read -r prog effort tests <&3; do
		t0=$(date +%s)
		run "none-$prog-$effort" none 600 "$tests" "$(commands 600 "$effort" "$prog" "$tests")"
		what="none: ptshare_$prog $tests ($(($(date +%s) - t0)) s)"
		if [ -z "$red" ]; then
			passed=$((passed + 1)); echo "pass - $what"
		else
			failed=$((failed + 1)); echo "fail - $what: $red, $log/none-$prog-$effort.*"
			grep -ahE '^# [^ ]*:[0-9]+:|^not ok|SKIP' "$log/none-$prog-$effort.out" |
				head -n 10 | sed 's/^/    /'
			head -n 5 "$log/none-$prog-$effort.err" | sed 's/^/    /'
		fi
	done 3<"$log/none.list"
fi

grep -v '^#' "$TABLE" >"$log/list"
while read -r name prog tests expect effort <&3; do
	[ -n "$name" ] || continue
	[ -z "$MUTANT" ] || echo " $MUTANT " | grep -q " $name " || continue
	t0=$(date +%s) caught=0 how='' i=0
	while [ $i -lt "$RUNS" ]; do
		i=$((i + 1))
		run "$name-$prog-$i" "$name" 120 "$tests" "$(commands 120 "$effort" "$prog" "$tests")"
		hit=
		for k in $red; do
			case " $how " in *" $k "*) ;; *) how="$how $k" ;; esac
			case ",$expect," in *",$k,"*) hit=1 ;; esac
		done
		[ -z "$hit" ] || caught=$((caught + 1))
	done
	what="$name: caught $caught/$RUNS by ptshare_$prog $tests ($(echo "$expect" | tr ',' '|')); seen:${how:- nothing}; $(($(date +%s) - t0)) s"
	if [ "$expect" = - ]; then
		echo "note - $what; cannot be seen here, see $TABLE"
	elif [ $caught -eq "$RUNS" ]; then
		passed=$((passed + 1)); echo "pass - $what"
	else
		failed=$((failed + 1)); echo "fail - $what; $log/$name-$prog-*"
	fi
done 3<"$log/list"
echo "all this took $((($(date +%s) - begin + 30) / 60)) minutes"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
