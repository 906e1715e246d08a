// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: places where sharing has to be minded, and the contents of memory
 * do not show whether it is, or not of memory alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "vm_util.h"

#define MB		PT_MB
#define RW		PT_RW
#define LEN		(16 * MB)
#define CHUNK_AT	(6 * MB)
#define PAGE_AT		(CHUNK_AT + 100 * PT_PAGE)
#define NR		3		/* sharers */
#define PFN_MASK	((1UL << 55) - 1)	/* in pagemap */
#define IDLE		"/sys/kernel/mm/page_idle/bitmap"
#define BALANCING	"/proc/sys/kernel/numa_balancing"
#define UPROBES		"/sys/bus/event_source/devices/uprobe/type"

#ifndef MPOL_F_NUMA_BALANCING
#define MPOL_F_NUMA_BALANCING 0x2000
#endif

static struct pt_proc *p[NR];
static char *m[NR];

static void make_sharers(struct __test_metadata *_metadata, int fd)
{
	int i;

	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, RW);
		ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, true));
	}
}

/* --- boundaries ------------------------------------------------------------ */

/*
 * A VMA that ends within a linked chunk ends the link, also if whoever draws
 * the line is not interested in page tables. The checker looks for such links.
 */
PT_TEST(split_in_chunk)
{
	int fd = pt_stamped_memfd(LEN, 1);

	make_sharers(_metadata, fd);
	/* Two lines in one chunk */
	ASSERT_EQ(0, pt_sys(p[0], SYS_madvise, m[0] + PAGE_AT, PT_PAGE,
			    (long)MADV_DONTDUMP));
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	/* One line, and then it moves on, from chunk to chunk. */
	ASSERT_EQ(0, pt_sys(p[1], SYS_madvise, m[1], MB, (long)MADV_DONTDUMP));
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(p[1], m[1], 0, LEN, 1));
	ASSERT_EQ(0, pt_sys(p[1], SYS_madvise, m[1] + MB, 4 * MB,
			    (long)MADV_DONTDUMP));
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(p[1], m[1], 0, LEN, 1));
	/* And a mapping that gets shorter and longer */
	ASSERT_EQ((long)m[2], pt_sys(p[2], SYS_mremap, m[2], LEN, LEN - 3 * MB,
				     0L));
	EXPECT_EQ(0, pt_check_books());
	ASSERT_EQ((long)m[2], pt_sys(p[2], SYS_mremap, m[2], LEN - 3 * MB, LEN,
				     0L));
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(p[2], m[2], 0, LEN, 1));
}

/* --- hosts instead of sharers ---------------------------------------------- */

/*
 * A walk of all who map a page comes by the sharers, too, and must pass: what
 * there is to do was done in the host. Marking a page idle is such a walk.
 */
PT_TEST(rmap_passes_sharers)
{
	int fd = pt_stamped_memfd(LEN, 1), idle = open(IDLE, O_RDWR);
	unsigned long pfn;
	uint64_t bits;
	long skips;

	make_sharers(_metadata, fd);
	/* Only pages on the LRU lists can be asked. */
	pt_drain_lru();
	skips = pt_vmstat("ptshare_rmap_skip");
	if (idle < 0 || skips < 0)
		SKIP(return, "no idle page tracking or no ptshare");
	pfn = pt_pagemap(p[0]->pid, m[0] + PAGE_AT) & PFN_MASK;
	ASSERT_NE(0UL, pfn);
	bits = 1UL << pfn % 64;
	ASSERT_EQ((ssize_t)sizeof(bits),
		  pwrite(idle, &bits, sizeof(bits), pfn / 64 * 8));
	close(idle);
	skips = pt_vmstat("ptshare_rmap_skip") - skips;
	if (pt_on())
		EXPECT_LE(NR, skips);
	if (!pt_on())
		EXPECT_EQ(0, skips);
}

/*
 * A hole is made in the host, all of it, and not in one page after the other;
 * nor do sharers lose their links for it.
 */
PT_TEST(punch_is_one_flush)
{
	int fd = pt_stamped_memfd(LEN, 1);
	long flushes, unlinks;

	make_sharers(_metadata, fd);
	flushes = pt_vmstat("ptshare_flush");
	unlinks = pt_vmstat("ptshare_unlink");
	pt_punch(fd, CHUNK_AT, PT_CHUNK);
	flushes = pt_vmstat("ptshare_flush") - flushes;
	EXPECT_EQ(unlinks, pt_vmstat("ptshare_unlink"));
	if (pt_on()) {
		EXPECT_LT(0, flushes);
		EXPECT_GT(64, flushes);
	} else {
		EXPECT_EQ(0, flushes);
	}
}

/* Nor are private tables passed over, for the sake of the shared ones around. */
PT_TEST(punch_reaches_private)
{
	unsigned long hole = CHUNK_AT - PT_CHUNK, len = 3 * PT_CHUNK;
	int fd = pt_stamped_memfd(LEN, 1), i;

	make_sharers(_metadata, fd);
	/* A chunk in three VMAs is private, between shared ones of two of them. */
	ASSERT_EQ(0, pt_sys(p[0], SYS_mprotect, m[0] + PAGE_AT, PT_PAGE,
			    (long)PROT_READ));
	ASSERT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	if (pt_on())
		EXPECT_EQ(1, pt_private_tables(p[0]));
	pt_punch(fd, hole, len);
	pt_stamp_file(fd, hole / PT_PAGE, len, 2);
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(0, pt_verify(p[i], m[i] + hole, hole / PT_PAGE, len,
				       2));
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, hole, 1));
	}
}

/* Behind GiBs that nobody has touched there is something again. */
PT_TEST(punch_sparse)
{
	const unsigned long far = 3UL << 30;
	int fd = pt_stamped_memfd(LEN, 1), i;

	ASSERT_EQ(0, ftruncate(fd, far + LEN));
	pt_stamp_file(fd, far / PT_PAGE, LEN, 1);
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		/* Behind the slots, which are not as large */
		m[i] = pt_slot(p[i], PT_SLOTS);
		ASSERT_EQ(m[i], pt_mmap(p[i], m[i], far + LEN, RW, MAP_SHARED |
					MAP_FIXED_NOREPLACE, fd, 0));
		ASSERT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 1));
		ASSERT_EQ(0, pt_verify(p[i], m[i] + far, far / PT_PAGE, LEN,
				       1));
	}
	pt_punch(fd, 0, far + LEN);
	pt_stamp_file(fd, 0, LEN, 2);
	pt_stamp_file(fd, far / PT_PAGE, LEN, 2);
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 2));
		EXPECT_EQ(0, pt_verify(p[i], m[i] + far, far / PT_PAGE, LEN,
				       2));
	}
}

/* --- soft-dirty tracking of more than one ----------------------------------- */

static bool soft_dirty(int i, unsigned long off)
{
	return pt_pagemap(p[i]->pid, m[i] + off) & PM_SOFT_DIRTY;
}

/* Two that track their own writes are alike, and must not share all the same. */
PT_TEST(soft_dirty_of_two)
{
	int fd = pt_stamped_memfd(LEN, 1), i;
	char path[64];

	make_sharers(_metadata, fd);
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", p[i]->pid);
		if (!soft_dirty(i, PAGE_AT) || pt_write_file(path, "4"))
			SKIP(return, "no soft-dirty tracking");
	}
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 1));
	EXPECT_EQ(0, pt_touch(p[0], m[0] + PAGE_AT, PT_PAGE, true));
	EXPECT_EQ(0, pt_verify(p[1], m[1], 0, LEN, 1));
	EXPECT_TRUE(soft_dirty(0, PAGE_AT));
	EXPECT_FALSE(soft_dirty(1, PAGE_AT));
	EXPECT_FALSE(soft_dirty(0, PAGE_AT + PT_PAGE));
}

/*
 * A mapping whose writes are tracked becomes like its neighbour, which came
 * later. They merge, and all of it is tracked.
 */
PT_TEST(soft_dirty_merge)
{
	int fd = pt_stamped_memfd(LEN, 1);
	const unsigned long half = LEN / 2;
	char path[64];

	p[0] = pt_spawn();
	p[1] = pt_spawn();
	m[0] = pt_map(p[0], 0, fd, half, 0, PT_RO);
	m[1] = pt_map(p[1], 1, fd, LEN, 0, RW);
	ASSERT_EQ(0, pt_touch(p[1], m[1], LEN, true));
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", p[0]->pid);
	if (!soft_dirty(1, PAGE_AT) || pt_write_file(path, "4"))
		SKIP(return, "no soft-dirty tracking");
	ASSERT_EQ(m[0] + half, pt_mmap(p[0], m[0] + half, half, RW, MAP_SHARED |
				       MAP_FIXED_NOREPLACE, fd, half));
	/* All that others have touched, and not one page of his own */
	if (pt_on())
		EXPECT_EQ(0, pt_touch(p[0], m[0] + half, PT_PAGE, false));
	ASSERT_EQ(0, pt_sys(p[0], SYS_mprotect, m[0], half, (long)RW));
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	EXPECT_EQ(0, pt_touch(p[0], m[0] + half + PT_PAGE, PT_PAGE, true));
	EXPECT_FALSE(soft_dirty(0, half));
	EXPECT_TRUE(soft_dirty(0, half + PT_PAGE));
	EXPECT_FALSE(soft_dirty(0, half + 2 * PT_PAGE));
}

/* --- NUMA balancing --------------------------------------------------------- */

static long minor_faults(unsigned long *arg)
{
	struct rusage ru;

	(void)arg;
	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

static long burn(unsigned long *arg)
{
	long end = pt_now_ms() + arg[0];

	while (pt_now_ms() < end)
		;
	return 0;
}

/*
 * A hint fault says that this process uses a page. In a shared table it would
 * hit whoever comes first, so no hints are put there: a process that runs must
 * not make others fault.
 */
PT_TEST(numa_hints)
{
	int fd = pt_stamped_memfd(LEN, 1);
	unsigned long *mask;
	struct stat st;
	long was, faults;

	was = pt_read_num(BALANCING);
	if (was < 0 || stat("/sys/devices/system/node/node1", &st))
		SKIP(return, "no NUMA balancing or a single node (numa=fake=2)");
	if (!pt_on())
		SKIP(return, PT_OFF);
	make_sharers(_metadata, fd);
	mask = pt_scratch(p[0]);
	*mask = 3;
	/* Without such a policy the kernel leaves shared memory alone. */
	ASSERT_EQ(0, pt_sys(p[0], SYS_mbind, m[0], LEN,
			    (long)(MPOL_BIND | MPOL_F_NUMA_BALANCING), mask, 64L,
			    0L));
	ASSERT_EQ(0, pt_write_file(BALANCING, "1"));
	faults = pt_call(p[1], minor_faults);
	pt_call(p[0], burn, 6000L);
	EXPECT_EQ(0, pt_touch(p[1], m[1], LEN, true));
	faults = pt_call(p[1], minor_faults) - faults;
	pt_write_file(BALANCING, was ? "1" : "0");
	EXPECT_GT((long)(LEN / PT_PAGE / 8), faults);
	EXPECT_EQ(0, pt_private_tables(p[0]));
	EXPECT_EQ(0, pt_verify(p[2], m[2], 0, LEN, 1));
}

/* --- uprobes ----------------------------------------------------------------- */

static long run_code(unsigned long *arg)
{
	return ((int (*)(void))arg[0])();
}

/* A counter of each CPU for a probe at PAGE_AT of the file */
static void open_probes(int *event, int fd, long type)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = type };
	char path[64];
	int cpu;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	attr.config1 = (unsigned long)path;
	attr.config2 = PAGE_AT;
	for (cpu = 0; cpu < pt_nr_cpus(); cpu++) {
		event[cpu] = syscall(SYS_perf_event_open, &attr, -1, cpu, -1,
				     PERF_FLAG_FD_CLOEXEC);
		if (event[cpu] < 0)
			pt_die("perf_event_open: %d", errno);
	}
}

static long hits(const int *event)
{
	long sum = 0, val;
	int cpu;

	for (cpu = 0; cpu < pt_nr_cpus(); cpu++) {
		if (read(event[cpu], &val, sizeof(val)) != sizeof(val))
			pt_die("reading a perf event");
		sum += val;
	}
	return sum;
}

/*
 * A breakpoint is for private mappings. Whoever maps the file shared has none,
 * keeps his links and runs the code as it is in the file.
 */
PT_TEST(uprobe)
{
	static const char code[8] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* return 42; */
	int fd = pt_stamped_memfd(LEN, 1), event[16], i;
	long type = pt_read_num(UPROBES);
	unsigned long file, val;
	struct pt_proc *q;
	char *priv;

	if (type < 0 || pt_nr_cpus() > 16)
		SKIP(return, "no uprobes");
	memcpy(&file, code, sizeof(file));
	ASSERT_EQ((ssize_t)sizeof(code),
		  pwrite(fd, code, sizeof(code), PAGE_AT));
	for (i = 0; i < NR - 1; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, PROT_READ | PROT_EXEC);
		ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, false));
	}
	q = pt_spawn();
	priv = pt_mmap(q, pt_slot(q, 0), LEN, PROT_READ | PROT_EXEC,
		       MAP_PRIVATE | MAP_FIXED, fd, 0);
	ASSERT_NE(MAP_FAILED, priv);
	ASSERT_EQ(42, pt_call(q, run_code, priv + PAGE_AT));

	open_probes(event, fd, type);
	/* One comes when the probe is there already. */
	p[i] = pt_spawn();
	m[i] = pt_map(p[i], i, fd, LEN, 0, PROT_READ | PROT_EXEC);
	ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, false));
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(42, pt_call(p[i], run_code, m[i] + PAGE_AT));
		EXPECT_EQ(0, pt_peek(p[i], m[i] + PAGE_AT, &val));
		EXPECT_EQ(file, val);
		if (pt_on())
			EXPECT_EQ(0, pt_private_tables(p[i]));
	}
	EXPECT_EQ(0, hits(event));
	EXPECT_EQ(42, pt_call(q, run_code, priv + PAGE_AT));
	EXPECT_EQ(1, hits(event));
	EXPECT_EQ(0, pt_peek(q, priv + PAGE_AT, &val));
	EXPECT_NE(file, val);
	ASSERT_EQ((ssize_t)sizeof(val), pread(fd, &val, sizeof(val), PAGE_AT));
	EXPECT_EQ(file, val);

	for (i = 0; i < pt_nr_cpus(); i++)
		close(event[i]);
	EXPECT_EQ(0, pt_peek(q, priv + PAGE_AT, &val));
	EXPECT_EQ(file, val);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(42, pt_call(p[i], run_code, m[i] + PAGE_AT));
}

TEST_HARNESS_MAIN
