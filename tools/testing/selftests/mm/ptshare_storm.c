// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: links come and go in many processes at a time, by force, and while
 * a table dies. Afterwards everything is back where it was: tables, hosts,
 * memory, and the counters that people look at.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(32 * MB)
#define CHUNKS		(LEN / PT_CHUNK)
#define CHUNK_AT	(4 * MB)
#define PARENTS		3
#define CHILDREN	4

struct ctl {
	unsigned long stop, started, ended;
	unsigned long laps;
	unsigned long bad;
};

#define CTL		PT_CTL(struct ctl)

/* --- accounts -------------------------------------------------------------- */

struct accounts {
	long tables, hosts, page_tables, shmem;
};

static struct accounts read_accounts(void)
{
	return (struct accounts) {
		.tables = pt_tables(),
		.hosts = pt_hosts(),
		.page_tables = pt_meminfo("PageTables"),
		.shmem = pt_meminfo("Shmem"),
	};
}

/* All that a test took is given back. Some of it waits for RCU. */
static void accounts_return(struct __test_metadata *_metadata,
			    struct accounts was)
{
	long end = pt_now_ms() + 60000;
	/* kB that the rest of the system may take meanwhile */
	long noise = 1024;
	struct accounts now;

	do {
		now = read_accounts();
		if (now.tables == was.tables && now.hosts == was.hosts &&
		    now.page_tables <= was.page_tables + noise &&
		    now.shmem <= was.shmem + noise)
			break;
		pt_sleep_ms(50);
	} while (pt_now_ms() < end);
	EXPECT_EQ(was.tables, now.tables);
	EXPECT_EQ(was.hosts, now.hosts);
	EXPECT_LE(now.page_tables, was.page_tables + noise);
	EXPECT_LE(now.shmem, was.shmem + noise);
}

/* kB of a process that maps nothing but the file and itself */
#define SANE_RSS	((long)(4 * LEN / 1024))

static void rss_is_sane(struct __test_metadata *_metadata, struct pt_proc *p)
{
	static const char * const name[] = {
		"VmRSS", "RssShmem", "RssFile", "RssAnon",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(name); i++) {
		long val = pt_status(p->pid, name[i]);

		EXPECT_LE(0, val);
		EXPECT_LE(val, SANE_RSS)
			TH_LOG("%s of %d: %ld kB", name[i], p->pid, val);
	}
}

/* What the kernel counts per CPU, it sums up in batches of 32 pages or so. */
static bool about(long val, long want)
{
	return labs(val - want) <= want / 50 + 256 * pt_nr_cpus();
}

/*
 * What ps and smaps say: RSS is about what is mapped, PSS of all adds up to
 * the file, and a chunk that a process gave up is not in its figures.
 */
PT_TEST(rss_and_pss)
{
	struct accounts was = read_accounts();
	struct pt_proc *p[6];
	int fd = pt_memfd(LEN), i;
	long pss = 0, kb = LEN / 1024, area[6];
	char *m;

	for (i = 0; i < 6; i++) {
		p[i] = pt_spawn();
		/* The common area of the tests is shmem, too. */
		area[i] = pt_status(p[i]->pid, "RssShmem");
		pt_map(p[i], 1, fd, LEN, 0, RW);
		rss_is_sane(_metadata, p[i]);
		ASSERT_EQ(0, pt_fill(p[i], pt_slot(p[i], 1), 0, LEN, 1));
	}
	for (i = 0; i < 6; i++) {
		m = pt_slot(p[i], 1);
		rss_is_sane(_metadata, p[i]);
		EXPECT_TRUE(about(pt_status(p[i]->pid, "RssShmem") - area[i],
				  kb))
			TH_LOG("RssShmem %ld of %ld",
			       pt_status(p[i]->pid, "RssShmem") - area[i], kb);
		EXPECT_EQ(kb, pt_smaps(p[i]->pid, m, "Rss"));
		EXPECT_EQ(0, pt_smaps(p[i]->pid, m, "Private_Dirty"));
		EXPECT_EQ(0, pt_smaps(p[i]->pid, m, "Private_Clean"));
		pss += pt_smaps(p[i]->pid, m, "Pss");
	}
	EXPECT_TRUE(labs(pss - kb) <= kb / 100) TH_LOG("PSS %ld of %ld", pss, kb);
	if (pt_on())
		EXPECT_LT(0, pt_status(p[0]->pid, "VmShPT"));

	/* One gives up a half. */
	m = pt_slot(p[3], 1);
	ASSERT_EQ(0, pt_sys(p[3], SYS_madvise, m, LEN / 2, (long)MADV_DONTNEED));
	EXPECT_EQ(kb / 2, pt_smaps(p[3]->pid, m, "Rss"));
	rss_is_sane(_metadata, p[3]);
	EXPECT_TRUE(about(pt_status(p[3]->pid, "RssShmem") - area[3], kb / 2));
	for (pss = 0, i = 0; i < 6; i++)
		pss += pt_smaps(p[i]->pid, pt_slot(p[i], 1), "Pss");
	EXPECT_TRUE(labs(pss - kb) <= kb / 100) TH_LOG("PSS %ld of %ld", pss, kb);
	ASSERT_EQ(0, pt_sys(p[3], SYS_munmap, m, LEN));
	rss_is_sane(_metadata, p[3]);
	EXPECT_LE(pt_status(p[3]->pid, "RssShmem"), area[3] + 128);

	/* The file loses a half. */
	pt_punch(fd, 0, LEN / 2);
	for (pss = 0, i = 0; i < 6; i++) {
		if (i == 3)
			continue;
		EXPECT_EQ(kb / 2, pt_smaps(p[i]->pid, pt_slot(p[i], 1), "Rss"));
		rss_is_sane(_metadata, p[i]);
		pss += pt_smaps(p[i]->pid, pt_slot(p[i], 1), "Pss");
	}
	EXPECT_TRUE(labs(pss - kb / 2) <= kb / 200);

	/* The last user is the only one. */
	for (i = 1; i < 6; i++)
		pt_kill(p[i]);
	EXPECT_EQ(kb / 2, pt_smaps(p[0]->pid, pt_slot(p[0], 1), "Private_Dirty") +
			  pt_smaps(p[0]->pid, pt_slot(p[0], 1), "Private_Clean"));
	rss_is_sane(_metadata, p[0]);
	pt_kill(p[0]);
	close(fd);
	accounts_return(_metadata, was);
}

/* --- storms ---------------------------------------------------------------- */

/* What a process of the storm does until it is killed */
static void __noreturn live(char *addr, unsigned int seed)
{
	for (;;) {
		char *chunk;

		seed = seed * 1103515245 + 12345;
		chunk = addr + (seed >> 16) % CHUNKS * PT_CHUNK;
		switch ((seed >> 8) % 8) {
		case 0:
			madvise(chunk, PT_PAGE, MADV_DONTNEED);
			break;
		case 1:
			mprotect(chunk, PT_PAGE, RO);
			mprotect(chunk, PT_PAGE, RW);
			break;
		case 2:
			madvise(addr, LEN, MADV_DONTNEED);
			break;
		default:
			if (!pt_page_ok(chunk + PT_PAGE, 1,
					(chunk - addr) / PT_PAGE + 1))
				pt_inc(&CTL->bad);
			__atomic_fetch_or(chunk + PT_PAGE, 0, __ATOMIC_RELAXED);
		}
		pt_inc(&CTL->laps);
	}
}

/* Fork, let live and kill, for arg[1] ms. */
static long kill_children(unsigned long *arg)
{
	long end = pt_now_ms() + arg[1], n = 0;
	pid_t pid[CHILDREN] = {};
	int i;

	for (i = 0; pt_now_ms() < end; i = (i + 1) % CHILDREN) {
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			n++;
		}
		pid[i] = fork();
		if (!pid[i])
			live((char *)arg[0], arg[2] + n);
	}
	for (i = 0; i < CHILDREN; i++) {
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	}
	return n;
}

/* Processes die in the middle of everything; nobody else notices. */
PT_TEST(kill_storm)
{
	struct accounts was = read_accounts();
	struct pt_proc *p[PARENTS], *watch = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1), i;
	long killed = 0;
	char *m;

	m = pt_map(watch, 2, fd, LEN, 0, RW);
	for (i = 0; i < PARENTS; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], i, fd, LEN, 0, RW);
		/* One parent has no links itself. */
		if (i)
			ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], i), LEN, true));
	}
	for (i = 0; i < PARENTS; i++)
		pt_start(p[i], kill_children, pt_slot(p[i], i), pt_stress_ms(),
			 (unsigned long)i);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, pt_verify(watch, m, 0, LEN, 1));
		rss_is_sane(_metadata, watch);
		rss_is_sane(_metadata, p[1]);
	}
	for (i = 0; i < PARENTS; i++)
		killed += pt_finish(p[i]);
	TH_LOG("%ld killed, %lu laps", killed, CTL->laps);
	EXPECT_EQ(0UL, CTL->bad);
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(watch, m, 0, LEN, 1));
	pt_kill_all();
	close(fd);
	accounts_return(_metadata, was);
}

/* fork and exec, from a process with other threads that use the mapping */
static long touch_forever(unsigned long *arg)
{
	char *addr = (char *)arg[0];
	unsigned long i;

	pt_inc(&CTL->started);
	for (i = 0; !pt_get(&CTL->stop); i++) {
		char *chunk = addr + i % CHUNKS * PT_CHUNK;

		if (!pt_page_ok(chunk, 1, (chunk - addr) / PT_PAGE))
			pt_inc(&CTL->bad);
		if (arg[1] && i % 3 == arg[1])
			madvise(chunk, 3 * PT_CHUNK, MADV_DONTNEED);
	}
	pt_inc(&CTL->ended);
	return 0;
}

static long fork_and_exec(unsigned long *arg)
{
	long end = pt_now_ms() + arg[1], n;
	pid_t pid;

	for (n = 0; pt_now_ms() < end; n++) {
		pid = fork();
		if (!pid) {
			if (!pt_page_ok((char *)arg[0] + n % CHUNKS * PT_CHUNK, 1,
					n % CHUNKS * PT_CHUNK_PAGES))
				pt_inc(&CTL->bad);
			/* Only how it begins and ends matters. */
			if (n % 4)
				_exit(0);
			close(2);
			execl("/proc/self/exe", "ptshare-exec", "-h", NULL);
			_exit(1);
		}
		if (pid < 0)
			return -errno;
		waitpid(pid, NULL, 0);
	}
	return n;
}

PT_TEST(fork_exec_storm)
{
	struct accounts was = read_accounts();
	struct pt_proc *p[2];
	int fd = pt_stamped_memfd(LEN, 1), i;
	long n = 0;

	for (i = 0; i < 2; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], i, fd, LEN, 0, RW);
		pt_thread(p[i], touch_forever, pt_slot(p[i], i), 0L);
		pt_thread(p[i], touch_forever, pt_slot(p[i], i), 1L);
	}
	ASSERT_TRUE(pt_await(&CTL->started, 4));
	for (i = 0; i < 2; i++)
		pt_start(p[i], fork_and_exec, pt_slot(p[i], i), pt_stress_ms());
	for (i = 0; i < 2; i++)
		n += pt_finish(p[i]);
	EXPECT_LT(0, n);
	pt_set(&CTL->stop, 1);
	ASSERT_TRUE(pt_await(&CTL->ended, 4));
	TH_LOG("%ld forks", n);
	EXPECT_EQ(0UL, CTL->bad);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, LEN, 1));
	pt_kill_all();
	close(fd);
	accounts_return(_metadata, was);
}

/* --- one chunk, linked and unlinked ---------------------------------------- */

/* Read page arg[1], with DONTNEED of page arg[2] each time if it is not 0. */
static long link_and_unlink(unsigned long *arg)
{
	char *chunk = (char *)arg[0];
	char *page = chunk + arg[1] * PT_PAGE, *drop = chunk + arg[2] * PT_PAGE;

	pt_pin(arg[3]);
	pt_inc(&CTL->started);
	while (!pt_get(&CTL->stop)) {
		if (!pt_page_ok(page, 1, arg[1]))
			pt_inc(&CTL->bad);
		if (arg[2])
			madvise(drop, PT_PAGE, MADV_DONTNEED);
		pt_inc(&CTL->laps);
	}
	pt_inc(&CTL->ended);
	return 0;
}

/*
 * Two threads of a process, one reads a page, the other drops its neighbour.
 * The chunk gets its link back each time; it must not end up private because
 * the link went away at the wrong moment of a fault.
 */
PT_TEST(link_survives_dontneed)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);

	pt_map(q, 1, fd, LEN, 0, RW);
	ASSERT_EQ(0, pt_touch(q, pt_slot(q, 1), LEN, true));
	pt_thread(p, link_and_unlink, m, 100L, 0L, 0L);
	ASSERT_TRUE(pt_await(&CTL->started, 1));
	pt_thread(p, link_and_unlink, m, 200L, 201L, 1L);
	ASSERT_TRUE(pt_await(&CTL->started, 2));
	pt_sleep_ms(pt_stress_ms());
	pt_set(&CTL->stop, 1);
	ASSERT_TRUE(pt_await(&CTL->ended, 2));
	EXPECT_EQ(0UL, CTL->bad);
	if (pt_on()) {
		/* The tables of the thread stacks are not in question. */
		pt_rebase(p);
		ASSERT_EQ(0, pt_sys(p, SYS_munmap, m, LEN));
		EXPECT_EQ(0, pt_private_tables(p));
	}
	EXPECT_EQ(0, pt_verify(q, pt_slot(q, 1), 0, LEN, 1));
	TH_LOG("%lu laps", CTL->laps);
}

/*
 * The last link of a table goes while a new one comes: a dying table is
 * revived, and what came in meanwhile has to be zapped before it dies for good.
 * Otherwise pages stay mapped by a table that is freed, which shows when the
 * file is cut. In the debug kernel, the windows are held open.
 */
static void revive(struct __test_metadata *_metadata, long delay_us)
{
	struct accounts was = read_accounts();
	long rezap = pt_vmstat("ptshare_rezap");
	long revived = pt_vmstat("ptshare_table_revive");
	int fd = pt_stamped_memfd(LEN, 1), i, k, n = pt_effort(8);
	struct pt_proc *p[3];
	unsigned long val;

	if (delay_us && !pt_set_delay_us(delay_us))
		SKIP(return, "no delay injection in this kernel");
	for (i = 0; i < 3; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], i, fd, LEN, 0, RW);
	}
	for (k = 0; k < n; k++) {
		memset(CTL, 0, sizeof(*CTL));
		for (i = 0; i < 3; i++)
			pt_thread(p[i], link_and_unlink, pt_slot(p[i], i),
				  10L + 20 * i, 11L + 20 * i, (long)i);
		ASSERT_TRUE(pt_await(&CTL->started, 3));
		pt_sleep_ms(pt_stress_ms() / n);
		pt_set(&CTL->stop, 1);
		ASSERT_TRUE(pt_await(&CTL->ended, 3));
		EXPECT_EQ(0UL, CTL->bad);
		/* No links are left, nor may a page be mapped any more. */
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, pt_sys(p[i], SYS_madvise,
					    pt_slot(p[i], i), LEN,
					    (long)MADV_DONTNEED));
		ASSERT_EQ(0, ftruncate(fd, 0));
		ASSERT_EQ(0, ftruncate(fd, LEN));
		for (i = 0; i < 3; i++) {
			EXPECT_EQ(0, pt_peek(p[i], pt_slot(p[i], i) +
					     (10 + 20 * i) * PT_PAGE, &val));
			EXPECT_EQ(0UL, val);
		}
		pt_stamp_file(fd, 0, LEN, 1);
		EXPECT_EQ(0, pt_check_books());
	}
	pt_set_delay_us(0);
	TH_LOG("%ld revived, %ld zapped again",
	       pt_vmstat("ptshare_table_revive") - revived,
	       pt_vmstat("ptshare_rezap") - rezap);
	pt_kill_all();
	close(fd);
	accounts_return(_metadata, was);
}

PT_TEST(revive)
{
	revive(_metadata, 0);
}

PT_TEST(revive_delayed)
{
	revive(_metadata, 500);
}

PT_TEST(revive_long_delay)
{
	revive(_metadata, 5000);
}

/*
 * Read a page of one's own chunk, then drop it, its neighbourhood or all: the
 * fault that comes next links tables around it that others are giving up.
 */
static long link_around(unsigned long *arg)
{
	char *addr = (char *)arg[0], *chunk = addr + arg[1] * PT_CHUNK;
	unsigned long i;

	pt_pin(arg[2]);
	pt_inc(&CTL->started);
	for (i = arg[1]; !pt_get(&CTL->stop); i++) {
		char *at = addr + i % CHUNKS * PT_CHUNK;

		if (!pt_page_ok(chunk + PT_PAGE, 1,
				arg[1] * PT_CHUNK_PAGES + 1) ||
		    !pt_page_ok(at, 1, (at - addr) / PT_PAGE))
			pt_inc(&CTL->bad);
		if (i % 3 == 0)
			madvise(addr, LEN, MADV_DONTNEED);
		else if (i % 3 == 1)
			madvise(chunk, PT_PAGE, MADV_DONTNEED);
		pt_inc(&CTL->laps);
	}
	pt_inc(&CTL->ended);
	return 0;
}

/*
 * Faults link neighbours whose tables die meanwhile, or which another thread
 * links at the same time. No link may be counted twice or not at all, and none
 * may lead to a table that is gone.
 */
static void around(struct __test_metadata *_metadata, long delay_us)
{
	struct accounts was = read_accounts();
	int fd = pt_stamped_memfd(LEN, 1), i;
	struct pt_proc *p[3];
	long links, unlinks;
	unsigned long val;

	if (delay_us && !pt_set_delay_us(delay_us))
		SKIP(return, "no delay injection in this kernel");
	links = pt_vmstat("ptshare_link");
	unlinks = pt_vmstat("ptshare_unlink");
	for (i = 0; i < 3; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], i, fd, LEN, 0, RW);
	}
	for (i = 0; i < 6; i++)
		pt_thread(p[i % 3], link_around, pt_slot(p[i % 3], i % 3),
			  3L + i / 2, (long)i);
	ASSERT_TRUE(pt_await(&CTL->started, 6));
	pt_sleep_ms(pt_stress_ms());
	pt_set(&CTL->stop, 1);
	ASSERT_TRUE(pt_await(&CTL->ended, 6));
	pt_set_delay_us(0);
	EXPECT_EQ(0UL, CTL->bad);
	EXPECT_EQ(0, pt_check_books());
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, LEN, 1));
	/* All that was linked is unlinked, and no page is mapped any more. */
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pt_sys(p[i], SYS_madvise, pt_slot(p[i], i), LEN,
				    (long)MADV_DONTNEED));
	links = pt_vmstat("ptshare_link") - links;
	EXPECT_EQ(pt_vmstat("ptshare_unlink") - unlinks, links);
	ASSERT_EQ(0, ftruncate(fd, 0));
	ASSERT_EQ(0, ftruncate(fd, LEN));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, pt_peek(p[i], pt_slot(p[i], i) + PT_PAGE, &val));
		EXPECT_EQ(0UL, val);
	}
	TH_LOG("%lu laps, %ld links", CTL->laps, links);
	pt_kill_all();
	close(fd);
	accounts_return(_metadata, was);
}

PT_TEST(link_around_dying)
{
	around(_metadata, 0);
}

PT_TEST(link_around_dying_delayed)
{
	around(_metadata, 300);
}

/* The file goes, page by page and at once, while links come and go. */
PT_TEST(truncate_storm)
{
	struct accounts was = read_accounts();
	int fd = pt_memfd(LEN), i, n = pt_effort(80);
	struct pt_proc *p[3];

	for (i = 0; i < 3; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], i, fd, LEN, 0, RW);
		/* Of what they read nothing is expected here: holes or pages. */
		pt_thread(p[i], link_and_unlink, pt_slot(p[i], i) + CHUNK_AT,
			  10L + 20 * i, 11L + 20 * i, (long)i);
	}
	ASSERT_TRUE(pt_await(&CTL->started, 3));
	for (i = 0; i < n; i++) {
		pt_stamp_file(fd, CHUNK_AT / PT_PAGE, 64 * PT_PAGE, 1);
		if (i & 1)
			pt_punch(fd, 0, LEN);
		else
			pt_punch(fd, CHUNK_AT + i % 64 * PT_PAGE, PT_PAGE);
	}
	pt_set(&CTL->stop, 1);
	ASSERT_TRUE(pt_await(&CTL->ended, 3));
	pt_kill_all();
	close(fd);
	accounts_return(_metadata, was);
}

/* Nothing is left of mappings that came and went in every possible way. */
PT_TEST(everything_is_given_back)
{
	struct accounts was = read_accounts();
	int i, k, n = pt_effort(12);

	for (k = 0; k < n; k++) {
		int fd = pt_memfd(LEN);
		struct pt_proc *p[4];

		for (i = 0; i < 4; i++) {
			p[i] = pt_spawn();
			pt_map(p[i], i, fd, LEN, 0, i == 3 ? RO : RW);
			ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], i), 6 * MB,
					      i < 3));
		}
		/* File first, mappings first, or both by force */
		if (k % 3 == 0)
			close(fd);
		if (k % 3 == 1)
			for (i = 0; i < 4; i++)
				ASSERT_EQ(0, pt_sys(p[i], SYS_munmap,
						    pt_slot(p[i], i), LEN));
		pt_kill_all();
		if (k % 3)
			close(fd);
	}
	accounts_return(_metadata, was);
}

TEST_HARNESS_MAIN
