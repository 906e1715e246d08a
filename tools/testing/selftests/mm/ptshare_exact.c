// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: figures that have to be right, whoever shares what.
 *
 * How many interrupts a flush of TLBs takes, compared with tables of one's own,
 * and what PSS says of a file that is mapped in several ways at a time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(32 * MB)
#define PAGES		((long)(LEN / PT_PAGE))
#define NR		6		/* sharers */

struct ctl {
	unsigned long stop, started, ended;
};

#define CTL		PT_CTL(struct ctl)

static struct pt_proc *p[NR];

/* Interrupts for TLB flushes that all CPUs have received so far */
static long tlb_interrupts(void)
{
	char line[4096], *at, *end;
	long sum = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "TLB:");
		if (!at)
			continue;
		for (at += 4; ; at = end) {
			long n = strtol(at, &end, 10);

			if (end == at)
				break;
			sum += n;
		}
	}
	if (f)
		fclose(f);
	return sum;
}

/* A thread that keeps its process on a CPU, where interrupts have to go to */
static long spin(unsigned long *arg)
{
	pt_pin(arg[0]);
	pt_inc(&CTL->started);
	while (!pt_get(&CTL->stop))
		;
	pt_inc(&CTL->ended);
	return 0;
}

/* On all CPUs but the first, where the test is */
static void start_spinning(int procs)
{
	int i, n = pt_nr_cpus() - 1;

	memset(CTL, 0, sizeof(*CTL));
	for (i = 0; i < n; i++)
		pt_thread(p[i % procs], spin, i + 1L);
	if (!pt_await(&CTL->started, n))
		pt_die("threads do not start");
}

static void stop_spinning(void)
{
	pt_set(&CTL->stop, 1);
	if (!pt_await(&CTL->ended, pt_get(&CTL->started)))
		pt_die("threads do not end");
}

struct reclaimed {
	long scanned, stolen, interrupts;
};

/* Reclaim a file that @sharers processes have read. */
static struct reclaimed reclaim(int mode, int sharers)
{
	int fd = pt_memfd(LEN), i;
	struct reclaimed r;
	char path[64];

	pt_set_mode(mode);
	if (!pt_need_group(512 * MB))
		pt_die("no memory cgroup");
	for (i = 0; i < sharers; i++) {
		p[i] = pt_spawn();
		pt_join_group(p[i]);
		pt_map(p[i], 0, fd, LEN, 0, i ? RO : RW);
		if (!i)
			pt_fill(p[i], pt_slot(p[i], 0), 0, LEN, 1);
	}
	/* The writer has to go, or each page would be flushed to be written. */
	pt_sys(p[0], SYS_munmap, pt_slot(p[0], 0), LEN);
	pt_map(p[0], 0, fd, LEN, 0, RO);
	for (i = 0; i < sharers; i++)
		pt_touch(p[i], pt_slot(p[i], 0), LEN, false);
	/* Used once: without that reclaim would have to go around twice. */
	for (i = 0; i < sharers; i++) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", p[i]->pid);
		pt_write_file(path, "1");
	}
	start_spinning(sharers);
	r.scanned = pt_vmstat("pgscan_anon");
	r.stolen = pt_vmstat("pgsteal_anon");
	r.interrupts = tlb_interrupts();
	pt_squeeze(pt_effort(PAGES) * PT_PAGE);
	r.interrupts = tlb_interrupts() - r.interrupts;
	r.scanned = pt_vmstat("pgscan_anon") - r.scanned;
	r.stolen = pt_vmstat("pgsteal_anon") - r.stolen;
	stop_spinning();
	pt_kill_all();
	pt_drop_group();
	close(fd);
	return r;
}

/*
 * Reclaim unmaps a batch of pages and flushes once, all CPUs that any of the
 * sharers run on. So for many sharers it takes as many rounds as for a single
 * process with tables of its own.
 */
PT_TEST(reclaim_is_one_flush_a_batch)
{
	int mode = pt_mode(), others = pt_nr_cpus() - 1, k;
	struct reclaimed r;
	long rounds[2];

	if (!pt_on() || !others)
		SKIP(return, PT_OFF ", or one CPU");
	if (!pt_need_swap() || !pt_need_group(512 * MB))
		SKIP(return, "no swap on zram or no memory cgroup");
	pt_pin(0);
	for (k = 0; k < 2; k++) {
		r = reclaim(k ? mode : 0, k ? NR : 1);
		rounds[k] = (r.interrupts + others - 1) / others;
		TH_LOG("%d sharers, mode %d: %ld pages scanned, %ld reclaimed, %ld rounds",
		       k ? NR : 1, pt_mode(), r.scanned, r.stolen, rounds[k]);
		EXPECT_LT(pt_effort(PAGES) / 2, r.stolen);
	}
	/* A few come from elsewhere, or from a batch less full. */
	EXPECT_LE(rounds[1], rounds[0] + rounds[0] / 16 + 8);
	pt_set_mode(mode);
	EXPECT_EQ(0, pt_drop_swap());
}

/* --- unlinking ---------------------------------------------------------------- */

struct op {
	const char *name;
	long nr;
	size_t off, len;
	long arg;
};

/* Interrupts that it takes to do @op, with threads of the process elsewhere */
static long interrupts_of(int mode, const struct op *op, int times)
{
	int fd = pt_memfd(LEN), i, k;
	long sum = 0, before;

	pt_set_mode(mode);
	for (i = 0; i < 2; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], 0, fd, LEN, 0, RW);
		pt_touch(p[i], pt_slot(p[i], 0), LEN, true);
	}
	start_spinning(1);
	for (k = 0; k < times; k++) {
		char *at = pt_slot(p[0], 0);

		before = tlb_interrupts();
		pt_sys(p[0], op->nr, at + op->off, op->len, op->arg);
		sum += tlb_interrupts() - before;
		pt_sys(p[0], SYS_munmap, at, LEN);
		pt_map(p[0], 0, fd, LEN, 0, RW);
		pt_touch(p[0], at, LEN, true);
	}
	stop_spinning();
	pt_kill_all();
	close(fd);
	return sum;
}

/* A process that leaves shared tables flushes as often as one that has its own. */
PT_TEST(unlinking_is_no_more_flushes)
{
	static const struct op ops[] = {
		{ "munmap of all", SYS_munmap, 0, LEN, 0 },
		{ "munmap of a chunk", SYS_munmap, 4 * MB, PT_CHUNK, 0 },
		{ "munmap of a page", SYS_munmap, 5 * MB, PT_PAGE, 0 },
		{ "MADV_DONTNEED of all", SYS_madvise, 0, LEN, MADV_DONTNEED },
		{ "MADV_DONTNEED of a page", SYS_madvise, 5 * MB, PT_PAGE,
		  MADV_DONTNEED },
		{ "mprotect of all", SYS_mprotect, 0, LEN, RO },
		{ "mprotect of a page", SYS_mprotect, 5 * MB, PT_PAGE, RO },
	};
	int mode = pt_mode(), others = pt_nr_cpus() - 1, n = pt_effort(24), tries;
	unsigned int i;
	long own, shared, most;

	if (!pt_on() || !others)
		SKIP(return, PT_OFF ", or one CPU");
	pt_pin(0);
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		/*
		 * Interrupts of somebody else may come in between, and a CPU that
		 * a kernel thread has at the moment gets none. A flush too many is
		 * there each time.
		 */
		for (tries = 3; tries; tries--) {
			own = interrupts_of(0, &ops[i], n);
			shared = interrupts_of(mode, &ops[i], n);
			most = own + own / 8 + others + 2;
			TH_LOG("%s, %d times: %ld interrupts with own tables, %ld with shared ones",
			       ops[i].name, n, own, shared);
			if (shared <= most)
				break;
		}
		EXPECT_LE(shared, most);
	}
	pt_set_mode(mode);
}

/* --- proportional set size ------------------------------------------------------ */

static long pss_of_all(const char *name)
{
	long sum = 0;
	int i;

	for (i = 0; i < NR; i++)
		if (p[i]->pid)
			sum += pt_smaps(p[i]->pid, pt_slot(p[i], 0) + 4 * MB, name);
	return sum;
}

/*
 * PSS of all who map a file adds up to what is in memory of it: in two classes,
 * with private tables beside the shared ones, and when some have left.
 */
PT_TEST(pss_adds_up)
{
	int fd = pt_stamped_memfd(LEN, 1), i;
	long kb = LEN / 1024;

	for (i = 0; i < NR; i++) {
		char *at;

		p[i] = pt_spawn();
		at = pt_slot(p[i], 0);
		/* Two that write, two that read, two whose place does not fit */
		if (i >= 4)
			at += 3 * PT_PAGE;
		ASSERT_EQ(at, pt_mmap(p[i], at, LEN, i < 2 ? RW : RO,
				      MAP_SHARED | MAP_FIXED, fd, 0));
		ASSERT_EQ(0, pt_touch(p[i], at, LEN, i < 2));
	}
	if (pt_on()) {
		EXPECT_EQ(0, pt_private_tables(p[0]));
		EXPECT_EQ(0, pt_private_tables(p[3]));
		EXPECT_LE((long)(LEN / PT_CHUNK), pt_private_tables(p[5]));
	}
	EXPECT_EQ(NR * kb, pss_of_all("Rss"));
	EXPECT_LE(labs(pss_of_all("Pss") - kb), kb / 100)
		TH_LOG("PSS %ld of %ld", pss_of_all("Pss"), kb);
	EXPECT_EQ(0, pss_of_all("Private_Clean") + pss_of_all("Private_Dirty"));

	pt_kill(p[0]);
	pt_kill(p[4]);
	ASSERT_EQ(0, pt_sys(p[2], SYS_madvise, pt_slot(p[2], 0), LEN,
			    (long)MADV_DONTNEED));
	EXPECT_LE(labs(pss_of_all("Pss") - kb), kb / 100)
		TH_LOG("PSS %ld of %ld", pss_of_all("Pss"), kb);
	for (i = 1; i < 4; i++)
		pt_kill(p[i]);
	EXPECT_EQ(kb, pss_of_all("Private_Clean") + pss_of_all("Private_Dirty"));
	EXPECT_EQ(kb, pss_of_all("Pss"));
}

TEST_HARNESS_MAIN
