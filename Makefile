# SPDX-License-Identifier: GPL-2.0
# The project's commands; each is a script in scripts/ that says what it does.
# Variables: BUILD=dir (default build), CONFIG=perf|debug|off|vanilla|mutants|cov,
# JOBS=n, FORCE=1, MINUTES=n, BENCH='name ...', STRESS='part ...', VM='option ...',
# MUTANT='name ...'; what else a script takes, it says with -h.

CONFIG ?= perf
BUILD ?= $(CURDIR)/build
VM ?=
export BUILD JOBS FORCE MINUTES

.DEFAULT_GOAL := help
.PHONY: help deps tree refresh kernel vm selftests kselftest demo test test-full fuzz stress bench bench-ci programs \
	mutants off-identical checkpatch docs-check static-check coverage bisect-check \
	roundtrip shellcheck series port-report deb deb-test clean

help:
	@echo 'ptshare: Linux page tables shared between the processes that map one file'
	@echo
	@sed -n 's/^# \([a-z-]*\): \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo
	@echo '  CONFIG=$(CONFIG)   perf debug off vanilla mutants cov: configs/'
	@echo '  BUILD=$(BUILD)   everything generated'

# demo: vanilla against patched, one table and one picture (build/demo/report.md)
demo: deps
	scripts/demo.sh

# bench: benchmarks, three kernels against each other, 15 minutes (BENCH='memory attach': some; build/bench/report.txt)
bench: deps
	benchmarks/run $(BENCH)

# bench-ci: the benchmarks for every change, 3 minutes; fails if a target of 1, 2, 4, 6 is further away than it was
bench-ci: deps
	benchmarks/run --ci

# programs: PostgreSQL, Python and LMDB as Debian has them, three kernels, 15 minutes (build/programs/report.txt)
programs: deps
	benchmarks/run --real --rounds 1 --limit 1800 --out $(BUILD)/programs programs

# test: what can be checked in an hour; ends with 'N passed, N failed'
test: deps
	scripts/test.sh

# test-full: the same with the whole matrix at full length, and off-identical (hours)
test-full: deps
	TEST_FULL=1 scripts/test.sh

# fuzz: the fuzzer on the debug kernel while all knobs turn (MINUTES=10)
fuzz: selftests
	scripts/kernel.sh debug
	scripts/fuzz.sh

# deps: install missing Debian packages
deps:
	@scripts/deps.sh

# What works on the kernel tree makes one if there is none.
kernel vm selftests kselftest fuzz stress mutants off-identical checkpatch docs-check static-check coverage \
	bisect-check roundtrip series deb: | $(BUILD)/linux/.git
$(BUILD)/linux/.git: | deps
	scripts/tree.sh

# tree: build/linux = Debian's source + patches/ + overlay, a git tree (FORCE=1 drops your work)
tree:
	scripts/tree.sh

# refresh: commits and changes of build/linux go back to patches/ and the overlay
refresh:
	scripts/refresh.sh

# kernel: build/CONFIG/bzImage
kernel:
	scripts/kernel.sh $(CONFIG)

# vm: a shell in the guest (kernel CONFIG; VM='-m 4G -c 4' for vm.sh)
vm: selftests
	scripts/vm.sh -i -k $(CONFIG) $(VM)

# selftests: the test programs, static, to build/guest
selftests:
	scripts/selftests.sh

# kselftest: the kernel's own selftests, three kernels against each other (build/kselftest/report.txt)
kselftest:
	scripts/kselftest.sh

# stress: stress-ng, trinity and failing allocations, 3 hours (STRESS='trinity': some; build/stress)
stress: selftests
	scripts/kernel.sh debug
	scripts/kernel.sh vanilla
	scripts/stress.sh $(STRESS)

# mutants: deliberate bugs: does every one turn a test red? (MUTANT='name ...': some)
mutants: selftests
	scripts/mutants.sh

# off-identical: is the code with CONFIG_PTSHARE=n the unpatched kernel's?
off-identical:
	scripts/kernel.sh vanilla
	scripts/kernel.sh off
	scripts/off-identical.sh

# checkpatch: checkpatch.pl --strict on every patch and overlay file
checkpatch:
	scripts/checkpatch-all.sh

# static-check: does the series add a warning of gcc W=1, sparse or kernel-doc?
static-check:
	scripts/static-check.sh

# coverage: which lines of mm/ptshare do the selftests reach? 15 minutes (build/coverage/report.txt)
coverage: selftests
	scripts/kernel.sh cov
	scripts/coverage.sh

# docs-check: the kernel's Sphinx and kernel-doc: any new warning?
docs-check:
	scripts/docs-check.sh

# bisect-check: does every patch of the series build, boot and pass the fast selftests? (long)
bisect-check: selftests
	scripts/bisect-check.sh

# roundtrip: does tree -> refresh -> tree give the same bytes?
roundtrip:
	scripts/test-roundtrip.sh

# shellcheck: all scripts
shellcheck: deps
	shellcheck -x -P . scripts/*.sh scripts/guest/* benchmarks/debian-image .ci/run

# series: the series as mails with a cover letter, proved by git am and checkpatch (build/series)
series:
	scripts/format-series.sh

# port-report: which hunks apply to the newest kernel source of Debian? (build/port/report.txt)
port-report: deps
	scripts/port-report.sh

# deb: Debian packages of a kernel for cloud machines and of ptshare-stat (build/deb; an hour)
deb: deps
	scripts/deb.sh

# deb-test: install, use and remove them in a Debian guest with PostgreSQL
deb-test: deps
	scripts/deb-test.sh

# clean: remove what was built, all but the kernel tree
clean:
	rm -rf $(foreach d,perf debug off vanilla mutants cov mutants-tree bisect-* \
		guest guest-share kselftest log demo bench bench-ci programs docs allyes roundtrip linux.tmp coverage series \
		port deb deb-test debian.ext4* stress static-tree static-before static-after,$(BUILD)/$(d))
	@git -C $(BUILD)/linux worktree prune 2>/dev/null || :
