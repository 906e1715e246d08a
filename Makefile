# SPDX-License-Identifier: GPL-2.0
# The project's commands; each is a script in scripts/ that says what it does.
# Variables: BUILD=dir (default build), CONFIG=perf|debug|off|vanilla|mutants|cov,
# JOBS=n, FORCE=1, BENCH='name ...', STRESS='part ...'.

CONFIG ?= perf
BUILD ?= $(CURDIR)/build
VM ?=
export BUILD JOBS FORCE

.DEFAULT_GOAL := help
.PHONY: help deps tree refresh kernel vm selftests demo test test-full bench bench-ci stress mutants off-identical \
	checkpatch bisect-check roundtrip shellcheck clean

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

# bench: benchmarks, three kernels against each other (BENCH='memory attach': some; build/bench/report.txt)
bench: deps
	benchmarks/run $(BENCH)

# bench-ci: the benchmarks for every change; fails if a target of 1, 2, 4, 6 is further away than it was
bench-ci: deps
	benchmarks/run --ci

# test: all checks; ends with 'N passed, N failed'
test: deps
	scripts/test.sh

# test-full: the whole matrix at full length, and off-identical (hours)
test-full: deps
	TEST_FULL=1 scripts/test.sh

# deps: install missing Debian packages
deps:
	@scripts/deps.sh

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

# stress: stress-ng, trinity and failing allocations, 3 hours (STRESS='trinity': some; build/stress)
stress: selftests
	scripts/kernel.sh debug
	scripts/kernel.sh vanilla
	scripts/stress.sh $(STRESS)

# mutants: deliberate bugs: does every one turn a test red?
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

# bisect-check: does every patch of the series build? (long)
bisect-check:
	scripts/bisect-check.sh

# roundtrip: does tree -> refresh -> tree give the same bytes?
roundtrip:
	scripts/test-roundtrip.sh

# shellcheck: all scripts
shellcheck:
	shellcheck -x -P . scripts/*.sh scripts/guest/* .ci/run

# clean: remove what was built, all but the kernel tree
clean:
	rm -rf $(foreach d,perf debug off vanilla mutants cov mutants-tree bisect-tree bisect-perf \
		guest guest-share log demo bench bench-ci stress roundtrip linux.tmp,$(BUILD)/$(d))
	@git -C $(BUILD)/linux worktree prune 2>/dev/null || :
