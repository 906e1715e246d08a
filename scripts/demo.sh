#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The demonstration: boot the unpatched kernel and the patched one (vm.ptshare 0
# and 2), run benchmarks/ptshare_demo.c in each, print one table, draw one
# picture, and fail if sharing did not happen or a byte was wrong.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
BUILD=${BUILD:-$top/build}
mkdir -p "$BUILD"
BUILD=$(cd "$BUILD" && pwd)
export BUILD
: "${DEMO_PROCS:=50}" "${DEMO_MIB:=1024}" "${DEMO_CPUS:=2}"
: "${DEMO_STORY_PROCS:=1500}" "${DEMO_STORY_MIB:=512}" "${DEMO_STORY_MEM:=1280}"
: "${DEMO_VANILLA:=vanilla}" "${DEMO_PATCHED:=perf}"

usage()
{
	cat <<USAGE
usage: scripts/demo.sh [-q] [-k] [-r]     (or: make demo)
  -q  quick: 8 processes x 64 MiB, no story and no picture; to see that it works
  -k  take the kernels as they are, build only what is missing
  -r  report only: evaluate the runs that are in $BUILD/demo again
environment (what is set now):
  DEMO_PROCS=$DEMO_PROCS DEMO_MIB=$DEMO_MIB          processes, and the file they map (MiB, even, at least 16)
  DEMO_STORY_PROCS=$DEMO_STORY_PROCS DEMO_STORY_MIB=$DEMO_STORY_MIB DEMO_STORY_MEM=$DEMO_STORY_MEM
                                     the story: processes, file, guest memory (MiB)
  DEMO_CPUS=$DEMO_CPUS                        CPUs of the guest
  DEMO_VANILLA=$DEMO_VANILLA DEMO_PATCHED=$DEMO_PATCHED
                                     config names (built) or bzImages
results: $BUILD/demo/report.md table.txt table.csv pagetables.png
exit: 0 shown, 1 something is wrong (sharing, kernel, data), 64 usage
USAGE
}
die() { echo "demo.sh: $*" >&2; exit 1; }
note() { printf '%s demo.sh: %s\n' "$(date +%H:%M:%S)" "$*"; }

story=1 runs=1 keep=
while getopts qkrh o; do
	case $o in
	q) DEMO_PROCS=8 DEMO_MIB=64 story= ;;
	k) keep=1 ;;
	r) runs= ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 64 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || { usage >&2; exit 64; }
for v in DEMO_PROCS DEMO_MIB DEMO_CPUS DEMO_STORY_PROCS DEMO_STORY_MIB DEMO_STORY_MEM; do
	eval "n=\$$v"
	case $n in ''|*[!0-9]*|0*) echo "demo.sh: $v wants a positive number, not '$n'" >&2; exit 64 ;; esac
done
for n in "$DEMO_MIB" "$DEMO_STORY_MIB"; do
	if [ $((n % 2)) -ne 0 ] || [ "$n" -lt 16 ]; then
		echo "demo.sh: the file must be an even number of MiB, at least 16, not $n" >&2
		exit 64
	fi
done
[ "$DEMO_PROCS" -ge 2 ] || { echo "demo.sh: DEMO_PROCS must be at least 2" >&2; exit 64; }

t0=$(date +%s)
out=$BUILD/demo
raw=$out/raw
mkdir -p "$raw"
rm -f "$out"/report.md "$out"/table.* "$out"/*.png "$out"/*.dat

# --- what is missing ---
"$top/scripts/deps.sh" >"$raw/deps.log" || die "packages are missing ($raw/deps.log); see above"
need_kernel()	# a bzImage as it is; a config is brought up to date, unless -k
{
	case $1 in
	*/*) [ -f "$1" ] || die "no such kernel: $1" ;;
	*)
		[ -z "$keep" ] || [ ! -f "$BUILD/$1/bzImage" ] || return 0
		[ -d "$BUILD/linux/.git" ] || make -C "$top" tree BUILD="$BUILD"
		make -C "$top" kernel CONFIG="$1" BUILD="$BUILD" ;;
	esac
}
if [ -n "$runs" ]; then
	need_kernel "$DEMO_VANILLA"
	need_kernel "$DEMO_PATCHED"
	src=$top/benchmarks/ptshare_demo.c prog=$BUILD/guest/ptshare_demo
	if [ ! -x "$prog" ] || [ -n "$(find "$src" -newer "$prog")" ]; then
		mkdir -p "$BUILD/guest"
		gcc -static -O2 -Wall -Wextra -o "$prog.tmp" "$src" || die "$src does not compile"
		mv "$prog.tmp" "$prog"
	fi
fi

# --- run ---
# boot NAME PART KIND KERNEL MEM PROCS MIB SECONDS: one guest; its status in $rc.
# The figures are taken on one CPU that counts instructions: times that do not
# depend on what else this machine does. The rest runs on DEMO_CPUS.
boot()
{
	name=$1 part=$2 kind=$3 kernel=$4 mem=$5 procs=$6 mib=$7 limit=$8
	avail=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
	[ "$avail" -ge $((mem + 256)) ] ||
		die "$name needs a guest of $mem MiB, but this machine has $avail MiB free: choose smaller DEMO_* sizes"
	how="-c $DEMO_CPUS"
	[ "$part" != figures ] || how=-I
	note "$name: $part on $kernel, $mem MiB"
	: >"$raw/$name.part"
	b0=$(date +%s)
	{
		s=0
		# shellcheck disable=SC2086 # a list of words
		"$top/scripts/vm.sh" -k "$kernel" -m "${mem}M" $how -t "$limit" \
			-n "demo-$name" -x 'oom|Out of memory' -- \
			"demo $part $kind $procs $mib" 2>&1 || s=$?
		echo "runner.status=$s"
	} | while IFS= read -r line; do
		printf '%s\n' "$line" >>"$raw/$name.part"
		case $line in
		*.sample=*|*.proc=*|*=*) ;;
		*) printf '         %s\n' "$line" ;;
		esac
		case $line in story.sample=*00,*)
			printf '         %s processes, PageTables %s kB\n' \
				"$(echo "${line#*=}" | cut -d, -f1)" "$(echo "$line" | cut -d, -f3)" ;;
		esac
	done
	echo "runner.seconds=$(($(date +%s) - b0))" >>"$raw/$name.part"
	mv "$raw/$name.part" "$raw/$name.txt"
	tr -d '\r' <"$BUILD/log/demo-$name.console" >"$raw/$name.console"
	rc=$(sed -n 's/^runner.status=//p' "$raw/$name.txt")
}
if [ -n "$runs" ]; then
	rm -f "$raw"/*.txt "$raw"/*.part "$raw"/*.console
	# The file, a table set for each process and writer, and half a GiB.
	mem=$((DEMO_MIB + (DEMO_PROCS + 3) * (DEMO_MIB / 512 + 1) + 512))
	for kind in vanilla off on; do
		kernel=$DEMO_PATCHED
		[ $kind != vanilla ] || kernel=$DEMO_VANILLA
		boot $kind figures $kind "$kernel" "$mem" "$DEMO_PROCS" "$DEMO_MIB" 600
		[ "$rc" = 0 ] || die "the $kind run failed (status $rc): $raw/$kind.txt, console $raw/$kind.console"
	done
	boot together together on "$DEMO_PATCHED" "$mem" "$DEMO_PROCS" "$DEMO_MIB" 600
	[ "$rc" = 0 ] || die "the run on $DEMO_CPUS CPUs failed (status $rc): $raw/together.txt, console $raw/together.console"
	if [ -n "$story" ]; then
		boot story-vanilla story vanilla "$DEMO_VANILLA" "$DEMO_STORY_MEM" \
			"$DEMO_STORY_PROCS" "$DEMO_STORY_MIB" 600
		case $rc in
		3) ;;
		0) die "the unpatched kernel did not run out of memory: give it less (DEMO_STORY_MEM=$DEMO_STORY_MEM)" ;;
		*) die "the story failed on the unpatched kernel (status $rc): $raw/story-vanilla.txt" ;;
		esac
		boot story-on story on "$DEMO_PATCHED" "$DEMO_STORY_MEM" \
			"$DEMO_STORY_PROCS" "$DEMO_STORY_MIB" 600
		case $rc in
		0) ;;
		3) note "with sharing on, the guest ran out of memory too" ;;
		*) die "the story failed with sharing on (status $rc): $raw/story-on.txt" ;;
		esac
	fi
fi

# --- judge ---
get()	# get RUN KEY
{
	sed -n "s/^$2=//p" "$raw/$1.txt" | tail -n 1
}
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
failures=
bad()
{
	echo "demo.sh: FAILED: $*" >&2
	failures="$failures
- $*"
}
# at_most WHAT RUN KEY LIMIT / at_least: figures may have a fraction
compare()
{
	value=$(get "$3" "$4")
	awk -v v="$value" -v l="$5" -v op="$1" 'BEGIN {
		if (v !~ /^-?[0-9.]+$/) exit 1
		exit !(op == "max" ? v + 0 <= l + 0 : v + 0 >= l + 0) }' ||
		bad "$2 ($3, $4): ${value:-nothing}, but should be at $([ "$1" = max ] && echo most || echo least) $5"
}
at_most() { compare max "$@"; }
at_least() { compare min "$@"; }

for kind in vanilla off on together; do
	[ -f "$raw/$kind.txt" ] || die "no $raw/$kind.txt: run without -r first"
done
procs=$(get vanilla turns.procs)
mib=$(get vanilla turns.mib)
chunks=$((mib / 2))
set_kb=$((chunks * 4))		# one set of PTE tables
v=$(get vanilla turns.growth_kb)
# 2.5 % of vanilla's at 50 x 1 GiB; a smaller crowd cannot save that much. A
# process keeps one or two tables of the level above for itself.
limit=$((set_kb + 8 * procs + 64))
ideal=$((v * 25 / 1000))
if [ "$procs" -ge 50 ] && [ "$mib" -ge 1024 ] && [ $ideal -lt $limit ]; then
	limit=$ideal
fi

at_least 'PageTables grow without sharing' vanilla turns.growth_kb $((procs * set_kb * 95 / 100))
at_least 'PageTables grow with the switch off' off turns.growth_kb $((v * 97 / 100))
at_most 'PageTables grow with the switch off' off turns.growth_kb $((v * 103 / 100 + 64))
[ "$(get off turns.links_before)" = "$(get off turns.links_after)" ] ||
	bad "with vm.ptshare=0 tables were linked all the same (ptshare_link moved)"
linked=$(($(get on turns.links_after) - $(get on turns.links_before)))
[ $linked -ge $((procs * chunks)) ] ||
	bad "sharing did not happen: ptshare_link grew by $linked, expected at least $((procs * chunks))"
for mode in turns first; do
	at_most 'PageTables growth with sharing' on $mode.growth_kb $limit
	at_most 'minor faults of a process that comes later' on $mode.reader_minflt_max $((chunks + 8))
done
at_most 'PageTables growth with sharing' together together.growth_kb $limit
at_most 'minor faults of the writer' on turns.writer_minflt $((chunks + 8))
at_most 'minor faults of the second writer' on first.writer2_minflt $((chunks + 8))
at_most 'PageTables at the end' on first.end_kb $(($(get vanilla first.end_kb) + 256))
for run in vanilla:turns vanilla:first off:turns on:turns on:first together:together; do
	kind=${run%:*} mode=${run#*:}
	[ "$(get "$kind" "$mode.verdict")" = ok ] ||
		bad "wrong data or no verdict: $kind, $mode: '$(get "$kind" "$mode.verdict")'"
	at_least 'different addresses' "$kind" "$mode.distinct_addresses" $((procs + 1))
done

has_story=
if [ -f "$raw/story-vanilla.txt" ] && [ -f "$raw/story-on.txt" ]; then
	has_story=1
	sprocs=$(get story-on story.procs)
	smib=$(get story-on story.mib)
	smem=$(($(get story-on story.memtotal_kb) / 1024))
	oom_at=$(get story-vanilla story.oom_alive)
	oom_kb=$(get story-vanilla story.oom_pagetables_kb)
	[ "$(get story-vanilla story.verdict)" = out-of-memory ] ||
		bad "the unpatched kernel did not run out of memory in the story"
	grep -q 'Out of memory: Killed process' "$raw/story-vanilla.console" ||
		bad "no OOM killer line on the unpatched kernel's console"
	[ "$(get story-on story.verdict)" = ok ] ||
		bad "story with sharing on: $(get story-on story.verdict)"
	for key in read_all saw_write alive; do
		at_least 'processes of the story' story-on story.$key "$sprocs"
	done
	at_most 'processes killed with sharing on' story-on story.killed 0
fi

# --- show ---
ms() { if [ -n "$1" ]; then calc %.1f "$1 / 1000"; else echo -; fi; }
unmap_sum()
{
	ms "$(sed -n 's/^turns.proc=//p' "$raw/$1.txt" | awk -F, '{ s += $6 } END { print s }')"
}
row()	# one line of the table in the format $1, times in ms
{
	kind=$1
	echo "$kind|$(get "$kind" turns.before_kb)|$(get "$kind" turns.after_kb)|$(get "$kind" turns.per_extra_kb)|$(get "$kind" turns.reader_minflt)|$(get "$kind" turns.writer_minflt)|$(ms "$(get "$kind" turns.reader_touch_us)")|$(ms "$(get "$kind" turns.writer_touch_us)")|$(ms "$(get "$kind" turns.unmap_us)")"
}
{
	echo "kernel|PageTables before kB|PageTables after kB|kB per extra process|minor faults per reader|minor faults of the writer|ms to read all|ms to write all|ms to munmap"
	row vanilla
	row off
	row on
} >"$out/table.psv"
tr '|' ',' <"$out/table.psv" >"$out/table.csv"
{
	echo "$procs processes map one $mib MiB tmpfs file and read it all, one more writes it, all unmap."
	echo "(Emulated: counts are exact; times are instructions executed, taken as 1 ns each.)"
	echo
	printf '%-8s | %23s | %9s | %17s | %19s | %9s\n' '' 'PageTables, kB' 'kB per' 'minor faults' 'ms to touch it all' 'ms to'
	printf '%-8s | %11s %11s | %9s | %8s %8s | %9s %9s | %9s\n' kernel before after 'extra' reader writer reader writer munmap
	echo '---------+-------------------------+-----------+-------------------+---------------------+----------'
	tail -n +2 "$out/table.psv" | while IFS='|' read -r a b c d e f g h i; do
		printf '%-8s | %11s %11s | %9s | %8s %8s | %9s %9s | %9s\n' "$a" "$b" "$c" "$d" "$e" "$f" "$g" "$h" "$i"
	done
} >"$out/table.txt"
rm "$out/table.psv"

for kind in vanilla off on; do
	sed -n 's/^turns.sample=//p' "$raw/$kind.txt" |
		awk -F, '{ printf "%d %.3f\n", $1, $2 / 1024 }' >"$out/$kind.dat"
done
gp="dir='$out'; procs=$procs; mib=$mib"
if [ -n "$has_story" ]; then
	for kind in vanilla on; do
		last=$sprocs
		[ $kind = on ] || last=$oom_at
		sed -n 's/^story.sample=//p' "$raw/story-$kind.txt" |
			awk -F, -v last="$last" '$1 <= last { printf "%d %.3f\n", $1, $3 / 1024 }' \
				>"$out/story-$kind.dat"
	done
	gp="$gp; sprocs=$sprocs; smib=$smib; smem_mib=$smem; oom_at=$oom_at; oom_mib=$((oom_kb / 1024))"
	echo "$oom_at $(calc %.3f "$oom_kb / 1024")" >>"$out/story-vanilla.dat"
	# A picture of a failed run would say what is not so.
	if [ -z "$failures" ]; then
		gnuplot -e "$gp" "$top/benchmarks/ptshare_demo.gp" || bad "gnuplot could not draw the picture"
		[ -s "$out/pagetables.png" ] || bad "no picture $out/pagetables.png"
	fi
fi

percent=$(calc %.2f "100 * $(get on turns.growth_kb) / $v")
{
	echo "# ptshare: the demonstration"
	echo
	echo "Kernels: vanilla $(get vanilla guest.kernel), patched $(get on guest.kernel); one CPU for the table, $(get together guest.cpus) for the rest,"
	echo "QEMU $(qemu-system-x86_64 --version 2>/dev/null | sed -n '1s/.*version \([0-9.]*\).*/\1/p') with TCG. Off and on are the same patched kernel with vm.ptshare 0 and 2."
	echo "Made $(date -u '+%Y-%m-%d %H:%M UTC'); the guests ran for $(cat "$raw"/*.txt | awk -F= '$1 == "runner.seconds" { s += $2 } END { print s }') s."
	[ -z "$failures" ] || printf '\n**This run FAILED:**\n%s\n' "$failures"
	echo
	echo '```'
	cat "$out/table.txt"
	echo '```'
	echo
	echo "- Growth of PageTables between 'all have mapped' and 'all have read': vanilla $v kB, off $(get off turns.growth_kb) kB, on $(get on turns.growth_kb) kB = $percent % of vanilla's."
	echo "- If one process has read everything before the others come (read-only readers): vanilla $(get vanilla first.growth_kb) kB, on $(get on first.growth_kb) kB; faults per later reader $(get vanilla first.reader_minflt) and $(get on first.reader_minflt) (most: $(get on first.reader_minflt_max))."
	echo "- If all read at the same time on $(get together guest.cpus) CPUs, on: $(get together together.growth_kb) kB, faults per reader $(get together together.reader_minflt) (median; the tables are filled by all)."
	echo "- Somebody pays: the first reader with sharing on took $(get on turns.first_minflt) faults and $(ms "$(get on turns.first_touch_us)") ms (vanilla: $(get vanilla turns.first_minflt) and $(ms "$(get vanilla turns.first_touch_us)") ms). The readers of the table map the file writable, as a database does, so the writer finds their tables; after read-only readers the first writer takes $(get on first.writer_minflt) faults and $(ms "$(get on first.writer_touch_us)") ms (vanilla: $(ms "$(get vanilla first.writer_touch_us)") ms), the second $(get on first.writer2_minflt) faults and $(ms "$(get on first.writer2_touch_us)") ms."
	echo "- munmap, all $((procs + 1)) together: vanilla $(unmap_sum vanilla) ms, on $(unmap_sum on) ms, of which the last took $(ms "$(get on turns.last_unmap_us)") (the tables die with it)."
	echo "- A reader's own status, on: VmPTE $(get on turns.reader_vmpte_kb) kB, VmRSS $(get on turns.reader_vmrss_kb) kB (VmShPT $(get on turns.reader_vmshpt_kb) kB); vanilla: VmPTE $(get vanilla turns.reader_vmpte_kb) kB, VmRSS $(get vanilla turns.reader_vmrss_kb) kB."
	echo "- Data: every process checked every page before and after the write at $(get on turns.distinct_addresses) different addresses, wrong pages: $(get on turns.bad_pages). PageTables when all was over: vanilla $(get vanilla turns.end_kb) kB, on $(get on turns.end_kb) kB."
	if [ -n "$has_story" ]; then
		echo
		echo "## $sprocs processes, one $smib MiB file, a machine of $smem MiB"
		echo
		echo "Each process needs $((smib / 512)).$((smib % 512 * 10 / 512)) MiB of page tables for the file if it has them to itself: $((sprocs * smib / 512)) MiB for all."
		echo
		echo "**Vanilla** ran out of memory after $oom_at processes, with $oom_kb kB of page tables. In the next $(($(get story-vanilla story.started) - oom_at)) arrivals the kernel killed $(get story-vanilla story.killed) processes. Its own words:"
		echo
		echo '```'
		grep -m 1 'invoked oom-killer' "$raw/story-vanilla.console" || :
		grep -m 1 -o 'Node 0 active_anon.*' "$raw/story-vanilla.console" | tr ' ' '\n' | grep -E '^(shmem|pagetables):' || :
		grep -m 4 'Out of memory: Killed process' "$raw/story-vanilla.console" || :
		echo "... ($(grep -c 'Out of memory: Killed process' "$raw/story-vanilla.console") in all)"
		echo '```'
		echo
		echo "In $(grep -c ' pte_alloc_one+' "$raw/story-vanilla.console") of $(grep -c 'invoked oom-killer' "$raw/story-vanilla.console") cases it was a PTE table that could not be allocated (\`pte_alloc_one\` in the call trace)."
		echo
		if [ "$(get story-on story.verdict)" = ok ]; then
			echo "**With vm.ptshare=2** all $(get story-on story.read_all) ran, each read the whole file and found it right, and all $(get story-on story.saw_write) saw what one more process then wrote. PageTables grew by $(get story-on story.growth_kb) kB in all, $(calc %.0f "$(get story-on story.memavail_end_kb) / 1024") MiB were still available, nobody was killed."
		else
			echo "**With vm.ptshare=2** the run FAILED: $(get story-on story.verdict), $(get story-on story.read_all) of $sprocs processes."
		fi
		[ ! -s "$out/pagetables.png" ] || echo
		[ ! -s "$out/pagetables.png" ] || echo "![PageTables against the number of processes](pagetables.png)"
	fi
} >"$out/report.md"

echo
cat "$out/table.txt"
echo
echo "Growth with sharing: $percent % of vanilla's."
if [ -n "$has_story" ]; then
	echo "Story ($sprocs processes, $smib MiB file, $smem MiB of memory): vanilla out of memory at $oom_at, with sharing $(get story-on story.read_all) ran."
	[ ! -s "$out/pagetables.png" ] || echo "Picture: $out/pagetables.png"
fi
echo "Report:  $out/report.md"
note "done in $(($(date +%s) - t0)) s"
[ -z "$failures" ] || die "the demonstration FAILED: the reasons are above and in $out/report.md"
