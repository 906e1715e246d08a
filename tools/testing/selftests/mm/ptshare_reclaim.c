// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: pages that the kernel takes away by itself.
 *
 * Reclaim, migration, compaction and poisoning reach a shared table through
 * its host. All sharers must lose their translation in time, get the page
 * back with what was written last, and count as users when pages are aged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "ptshare_fs.h"
#include "vm_util.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define NR		3		/* sharers */

/* --- contents ------------------------------------------------------------- */

#define SWAP_LEN	(24 * MB)

/*
 * A file larger than the memory it may have: each pass of each sharer swaps
 * nearly all of it in and out again.
 */
PT_TEST(swap_out_and_in)
{
	struct pt_proc *p[NR], *ro;
	int fd, i, pass, n = pt_effort(3);
	long out;
	char *m;

	if (!pt_need_swap() || !pt_need_group(SWAP_LEN / 3 * 2))
		SKIP(return, "no swap on zram or no memory cgroup");
	out = pt_vmstat("pswpout");
	fd = pt_memfd(SWAP_LEN);
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		pt_join_group(p[i]);
		pt_map(p[i], i, fd, SWAP_LEN, 0, RW);
	}
	ro = pt_spawn();
	pt_join_group(ro);
	m = pt_map(ro, 0, fd, SWAP_LEN, 0, RO);
	for (pass = 1; pass <= n; pass++) {
		i = pass % NR;
		EXPECT_EQ(0, pt_fill(p[i], pt_slot(p[i], i), 0, SWAP_LEN, pass));
		i = (pass + 1) % NR;
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, SWAP_LEN, pass));
		EXPECT_EQ(0, pt_verify(ro, m, 0, SWAP_LEN, pass));
		EXPECT_EQ(SIGSEGV, pt_poke(ro, m + 5 * MB, 0));
	}
	EXPECT_LT(1000, pt_vmstat("pswpout") - out);
	EXPECT_EQ(pt_on() ? 0 : (long)(SWAP_LEN / PT_CHUNK), pt_private_tables(ro));
	ASSERT_EQ(0, pt_group_write("memory.max", 256 * MB));
	EXPECT_EQ(0, pt_drop_swap());
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, SWAP_LEN, n));
	pt_kill_all();
	pt_drop_group();
}

/* One asks for its pages to go, which others are using: either answer is fine. */
PT_TEST(pageout)
{
	int fd = pt_stamped_memfd(16 * MB, 1), i, k;
	struct pt_proc *p[NR];

	if (!pt_need_swap())
		SKIP(return, "no swap on zram");
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], 0, fd, 16 * MB, 0, RW);
	}
	for (k = 1; k <= pt_effort(4); k++) {
		for (i = 0; i < NR; i++)
			ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], 0), 16 * MB,
					      true));
		EXPECT_EQ(0, pt_sys(p[0], SYS_madvise, pt_slot(p[0], 0),
				    16 * MB, (long)MADV_PAGEOUT));
		for (i = 0; i < NR; i++)
			EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], 0), 0,
					       16 * MB, k));
		EXPECT_EQ(0, pt_fill(p[1], pt_slot(p[1], 0), 0, 16 * MB, k + 1));
	}
	EXPECT_EQ(0, pt_drop_swap());
}

/* --- writers that do not pause -------------------------------------------- */

/*
 * Reclaim unmaps pages in batches and flushes before it writes them out. If
 * that flush misses a sharer, what it writes afterwards is lost.
 */
static void reclaim_under_writers(struct __test_metadata *_metadata, bool crowd)
{
	int i, n = 8;
	long out;

	if (!pt_need_swap() || !pt_need_group(256 * MB))
		SKIP(return, "no swap on zram or no memory cgroup");
	pt_start_writers(pt_join_group);
	if (crowd)
		pt_crowd(pt_counter_fd, 16 * MB, PT_COUNTER_AT);
	out = pt_vmstat("pswpout");
	for (i = 0; i < n; i++) {
		pt_let_write();
		/* All there is, or nearly so */
		pt_squeeze(2 * MB);
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("reclaim"));
	}
	/* Or nothing has been tested. */
	EXPECT_LT(n, pt_vmstat("pswpout") - out);
	EXPECT_EQ(0, pt_stop_writers());
	pt_kill_all();
	close(pt_counter_fd);
	EXPECT_EQ(0, pt_drop_swap());
	pt_drop_group();
}

/* Reclaim soon learns which pages are hot: start anew, with others. */
PT_TEST(reclaim_under_writers)
{
	int i, n = pt_effort(4);

	for (i = 0; i < n; i++)
		reclaim_under_writers(_metadata, false);
}

PT_TEST(reclaim_under_writers_crowd)
{
	reclaim_under_writers(_metadata, true);
}

/* The same with pages of one process asking for it */
PT_TEST(pageout_under_writers)
{
	int i, n = pt_effort(8);
	long out;

	if (!pt_need_swap())
		SKIP(return, "no swap on zram");
	pt_start_writers(NULL);
	out = pt_vmstat("pswpout");
	for (i = 0; i < n; i++) {
		pt_let_write();
		EXPECT_EQ(0, pt_sys(pt_writer[i % PT_WRITERS], SYS_madvise,
				    pt_slot(pt_writer[i % PT_WRITERS], 0), 16 * MB,
				    (long)MADV_PAGEOUT));
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("MADV_PAGEOUT"));
	}
	TH_LOG("%ld pages written to swap", pt_vmstat("pswpout") - out);
	EXPECT_EQ(0, pt_stop_writers());
	EXPECT_EQ(0, pt_drop_swap());
}

/* Free pages here and there, so that compaction has something to do. */
static void fragment(int fd)
{
	unsigned long i;

	pt_stamp_file(fd, 0, 16 * MB, 9);
	for (i = 0; i < 16 * MB / PT_PAGE; i += 2)
		pt_punch(fd, i * PT_PAGE, PT_PAGE);
}

PT_TEST(compaction_under_writers)
{
	int i, n = pt_effort(12), junk = pt_memfd(16 * MB);
	long moved = pt_vmstat("pgmigrate_success");

	if (moved < 0)
		SKIP(return, "no migration");
	pt_start_writers(NULL);
	for (i = 0; i < n; i++) {
		fragment(junk);
		pt_let_write();
		EXPECT_EQ(0, pt_write_file("/proc/sys/vm/compact_memory", "1"));
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("compaction"));
	}
	EXPECT_EQ(0, pt_stop_writers());
	TH_LOG("%ld pages migrated", pt_vmstat("pgmigrate_success") - moved);
}

/* From node to node and back, by whoever has the right to move all */
PT_TEST(migration_under_writers)
{
	int i, n = pt_effort(16);
	long moved = pt_vmstat("pgmigrate_success");
	struct stat st;

	if (moved < 0 || stat("/sys/devices/system/node/node1", &st))
		SKIP(return, "no second memory node (numa=fake=2)");
	pt_start_writers(NULL);
	for (i = 0; i < n; i++) {
		struct pt_proc *p = pt_writer[i % PT_WRITERS];
		unsigned long *mask = pt_scratch(p);

		*mask = 1UL << (i & 1);
		pt_let_write();
		EXPECT_EQ(0, pt_sys(p, SYS_mbind, pt_slot(p, 0), 16 * MB,
				    (long)MPOL_BIND, mask, 64L,
				    (long)MPOL_MF_MOVE_ALL));
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("mbind"));
	}
	EXPECT_LT((long)PT_COUNTERS, pt_vmstat("pgmigrate_success") - moved);
	EXPECT_EQ(0, pt_stop_writers());
}

/* Soft offlining moves a page away for good; nobody notices. */
PT_TEST(soft_offline_under_writers)
{
	int i, n = pt_effort(8), moved = 0;
	long ret = 0;

	pt_start_writers(NULL);
	for (i = 0; i < n; i++) {
		struct pt_proc *p = pt_writer[i % PT_WRITERS];

		pt_let_write();
		ret = pt_sys(p, SYS_madvise, pt_slot(p, 0) + PT_COUNTER_AT +
			     i * PT_COUNTER_STEP * PT_PAGE, PT_PAGE,
			     (long)MADV_SOFT_OFFLINE);
		if (ret == -EINVAL)
			break;
		/* Off the LRU list for now, or no memory to move it to: as it is */
		EXPECT_TRUE(!ret || ret == -EBUSY || ret == -EIO ||
			    ret == -ENOMEM);
		moved += !ret;
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("soft offline"));
	}
	EXPECT_EQ(0, pt_stop_writers());
	if (ret == -EINVAL)
		SKIP(return, "no soft offlining");
	TH_LOG("%d of %d pages moved", moved, n);
}

/* --- memory hotplug --------------------------------------------------------- */

#define BLOCKS		"/sys/devices/system/memory"
#define PFN_MASK	((1UL << 55) - 1)	/* in pagemap */

/* 0 or an errno. Taking a block offline goes on until a signal comes. */
static int set_block(int block, const char *state, int seconds)
{
	char path[128];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), BLOCKS "/memory%d/state", block);
	pid = fork();
	if (!pid) {
		alarm(seconds);
		_exit(-pt_write_file(path, state));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Have a block that is for movable pages only, the highest there is: or -1 */
static int movable_block(void)
{
	int block, tries = 3;
	char path[128];

	for (block = 1023; block >= 0 && tries; block--) {
		snprintf(path, sizeof(path), BLOCKS "/memory%d", block);
		if (access(path, F_OK))
			continue;
		if (!set_block(block, "offline", 20))
			return set_block(block, "online_movable", 20) ? -1 : block;
		tries--;
	}
	return -1;
}

/* Have new pages on the node of a block; for what this process starts, too. */
static void prefer_node_of(int block)
{
	unsigned long node;
	char path[128];

	for (node = 0; node < 64; node++) {
		snprintf(path, sizeof(path), BLOCKS "/memory%d/node%lu", block,
			 node);
		if (access(path, F_OK))
			continue;
		node = 1UL << node;
		syscall(SYS_set_mempolicy, MPOL_PREFERRED, &node, 64UL);
		return;
	}
}

/* How many of the writers' counters are in a block? */
static int counters_in(int block, unsigned long pages)
{
	char *at = pt_slot(pt_writer[0], 0) + PT_COUNTER_AT;
	unsigned long i, pfn;
	int in = 0;

	for (i = 0; i < PT_COUNTERS; i++) {
		pfn = pt_pagemap(pt_writer[0]->pid,
				 at + i * PT_COUNTER_STEP * PT_PAGE) & PFN_MASK;
		in += pfn / pages == (unsigned long)block;
	}
	return in;
}

/* Memory goes away under those who write to it. */
PT_TEST(offline_under_writers)
{
	int i, n = pt_effort(4), block = movable_block();
	unsigned long size = 0;
	FILE *f = fopen(BLOCKS "/block_size_bytes", "r");

	if (block < 0 || !f || fscanf(f, "%lx", &size) != 1 || !size)
		SKIP(return, "no memory that can be taken offline");
	fclose(f);
	prefer_node_of(block);
	for (i = 0; i < n; i++) {
		pt_start_writers(NULL);
		pt_let_write();
		/* Or nothing has been tested. */
		EXPECT_LT(0, counters_in(block, size / PT_PAGE));
		EXPECT_EQ(0, set_block(block, "offline", 120));
		EXPECT_EQ(0, counters_in(block, size / PT_PAGE));
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("offlining"));
		EXPECT_EQ(0, pt_stop_writers());
		pt_kill_all();
		close(pt_counter_fd);
		EXPECT_EQ(0, set_block(block, "online_movable", 120));
	}
	EXPECT_EQ(0, set_block(block, "offline", 120));
	EXPECT_EQ(0, set_block(block, "online_kernel", 120));
}

/* --- out of memory ---------------------------------------------------------- */

static long store_one(unsigned long *arg)
{
	pt_set(PT_CTL(unsigned long), syscall(SYS_gettid));
	return pt_store((void *)arg[0], 1);
}

static long hoard(unsigned long *arg)
{
	char *more = mmap(NULL, arg[0], RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long i;

	for (i = 0; more != MAP_FAILED && i < arg[0]; i += PT_PAGE)
		more[i] = 1;
	return 0;
}

/* Does a thread of @p sleep where no signal reaches it? */
static bool sleeps_for_good(struct pt_proc *p, unsigned long tid)
{
	char path[64], stat[256] = "";
	const char *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%lu/stat", p->pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, stat, sizeof(stat) - 1) < 0)
		pt_die("%s", path);
	close(fd);
	state = strrchr(stat, ')');
	return state && state[2] == 'D';
}

/* Wait for a number of the group to be in a range. */
static bool await_group(const char *file, const char *name, long lo, long hi)
{
	long end = pt_now_ms() + 60000, val;

	do {
		val = pt_group_read(file, name);
		if (lo <= val && val <= hi)
			return true;
		pt_sleep_ms(100);
	} while (pt_now_ms() < end);
	return false;
}

/*
 * A victim that cannot end, for a thread of it waits for a frozen file system,
 * so that the reaper takes its memory. It passes by what is mapped VM_SHARED. A
 * file that was opened for reading is not, and its tables are left to others.
 */
PT_TEST(oom_reaper)
{
	int fd = pt_stamped_memfd(16 * MB, 1), ro_fd, disk, dir;
	struct pt_proc *victim, *writer, *reader;
	struct pollfd pfd = { .events = POLLIN };
	char *w, *r, *stuck, path[64];
	const char *why;
	long zaps;
	int i;

	why = pt_fs_mount(&pt_ext4);
	if (why || !pt_need_group(64 * MB))
		SKIP(return, "no ext4 (%s) or no memory cgroup", why ?: "");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro_fd = open(path, O_RDONLY | O_CLOEXEC);
	disk = pt_fs_file("file", PT_PAGE, 1);
	dir = open(PT_FS_DIR, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, ro_fd);
	ASSERT_LE(0, dir);
	writer = pt_spawn();
	reader = pt_spawn();
	victim = pt_spawn();
	w = pt_map(writer, 0, fd, 16 * MB, 0, RW);
	r = pt_map(reader, 1, ro_fd, 16 * MB, 0, RO);
	ASSERT_EQ(0, pt_verify(writer, w, 0, 16 * MB, 1));
	ASSERT_EQ(0, pt_verify(reader, r, 0, 16 * MB, 1));
	pt_map(victim, 0, fd, 16 * MB, 0, RW);
	pt_map(victim, 1, ro_fd, 16 * MB, 0, RO);
	stuck = pt_map(victim, 2, disk, PT_PAGE, 0, RW);
	ASSERT_EQ(0, pt_verify(victim, pt_slot(victim, 0), 0, 16 * MB, 1));
	ASSERT_EQ(0, pt_verify(victim, pt_slot(victim, 1), 0, 16 * MB, 1));
	pt_group_write("memory.swap.max", 0);
	pt_join_group(victim);
	zaps = pt_vmstat("ptshare_unlink_zap");

	ASSERT_EQ(0, ioctl(dir, FIFREEZE, 0));
	pt_set(PT_CTL(unsigned long), 0);
	pt_thread(victim, store_one, stuck);
	ASSERT_TRUE(pt_await(PT_CTL(unsigned long), 1));
	for (i = 0; !sleeps_for_good(victim, pt_get(PT_CTL(unsigned long))); i++) {
		ASSERT_LT(i, 600);
		pt_sleep_ms(100);
	}
	/* It may have slept for a block of the file, a moment ago. */
	pt_sleep_ms(500);
	pt_start(victim, hoard, 128 * MB);
	EXPECT_TRUE(await_group("memory.events", "oom_kill", 1, 1));
	EXPECT_TRUE(await_group("memory.stat", "anon", 0, MB));
	pfd.fd = victim->pidfd;
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	if (pt_on()) {
		EXPECT_EQ((long)(16 * MB / PT_CHUNK),
			  pt_vmstat("ptshare_unlink_zap") - zaps);
		EXPECT_EQ(0, pt_private_tables(writer));
		EXPECT_EQ(0, pt_private_tables(reader));
	}
	EXPECT_EQ(0, pt_check_books());
	EXPECT_EQ(0, pt_verify(writer, w, 0, 16 * MB, 1));
	EXPECT_EQ(0, pt_verify(reader, r, 0, 16 * MB, 1));
	EXPECT_EQ(0, pt_fill(writer, w, 0, 16 * MB, 2));
	EXPECT_EQ(0, pt_verify(reader, r, 0, 16 * MB, 2));
	EXPECT_EQ(0, ioctl(dir, FITHAW, 0));

	pt_kill(victim);
	EXPECT_EQ(0, pt_verify(reader, r, 0, 16 * MB, 2));
	pt_drop_group();
	close(dir);
	close(disk);
	EXPECT_EQ(0, pt_fs_umount());
}

/* --- aging ----------------------------------------------------------------- */

static long major_faults(unsigned long *arg)
{
	struct rusage ru;

	(void)arg;
	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_majflt;
}

/* kept in memory all the time by a group that may have three times as much */
#define HOT		(8 * MB)
#define HOT_LIMIT	(24 * MB)
#define STEPS		80		/* a MiB of the flood in each */

/*
 * Major faults of processes that read a hot file over and over, while a flood
 * of pages that are used once runs through their group
 */
static long refaults(struct __test_metadata *_metadata, int mode)
{
	int hot = pt_memfd(PT_MIN_LEN), cold = pt_memfd(512 * MB), i, k;
	int steps = pt_effort(STEPS);
	struct pt_proc *p[2], *flood;
	char *m, *mc;
	long sum = 0;

	pt_set_mode(mode);
	if (!pt_need_group(HOT_LIMIT))
		pt_die("no memory cgroup");
	flood = pt_spawn();
	pt_join_group(flood);
	/* The hot pages are charged to the group by those who use them. */
	for (i = 0; i < 2; i++) {
		p[i] = pt_spawn();
		pt_join_group(p[i]);
		pt_map(p[i], 0, hot, HOT, 0, RW);
	}
	ASSERT_EQ(0, pt_fill(p[0], pt_slot(p[0], 0), 0, HOT, 1));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], 0), HOT, false));
		sum -= pt_call(p[i], major_faults);
	}
	mc = pt_slot(flood, 0);
	m = mc;
	for (k = 0; k < steps; k++) {
		if (m == mc)
			ASSERT_EQ(mc, pt_mmap(flood, mc, 512 * MB, RW,
					      MAP_SHARED | MAP_FIXED, cold, 0));
		/* Not zeros, which need no space in swap. */
		ASSERT_EQ(0, pt_fill(flood, m, k, MB, 2));
		m += MB;
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], 0), HOT,
					      false));
	}
	for (i = 0; i < 2; i++)
		sum += pt_call(p[i], major_faults);
	EXPECT_EQ(0, pt_verify(p[1], pt_slot(p[1], 0), 0, HOT, 1));
	pt_kill_all();
	close(hot);
	close(cold);
	pt_drop_group();
	return sum;
}

/*
 * Under a group's limit, pages in shared tables must look as used as they are.
 * Measured against the same work with tables of one's own. A host that is taken
 * for a stranger to the group would make the hot file go round and round.
 */
PT_TEST(hot_pages_stay)
{
	int mode = pt_mode();
	long base, on, out;

	if (!pt_need_swap() || !pt_need_group(HOT_LIMIT))
		SKIP(return, "no swap on zram or no memory cgroup");
	out = pt_vmstat("pswpout");
	base = refaults(_metadata, mode < 0 ? -1 : 0);
	/* The flood did go through. */
	EXPECT_LT(pt_effort(STEPS) * 32, pt_vmstat("pswpout") - out);
	on = mode < 0 ? base : refaults(_metadata, 2);
	pt_set_mode(mode);
	TH_LOG("major faults on %lu hot pages: %ld own tables, %ld shared",
	       HOT / PT_PAGE, base, on);
	/*
	 * A page needs to be seen used twice, as that of a single process, so it
	 * may be lost once. Taken for unused it would be lost time and again.
	 */
	EXPECT_LE(on, 2 * base + (long)(HOT / PT_PAGE / 2));
	EXPECT_EQ(0, pt_drop_swap());
}

/* --- poison ---------------------------------------------------------------- */

static long die_early(unsigned long *arg)
{
	(void)arg;
	signal(SIGBUS, SIG_DFL);
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

/*
 * All sharers see a page that has gone bad, and nobody sees it any longer than
 * with tables of one's own: once the page left the file, who drops his entry
 * gets a good page, not the next link to the table with the bad entry.
 */
PT_TEST(memory_failure)
{
	int fd = pt_stamped_memfd(32 * MB, 1), i;
	unsigned long val, bad = 5 * MB + 17 * PT_PAGE;
	struct pt_proc *p[NR], *late, *early;
	struct pollfd pfd;
	char *m;
	long ret;

	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m = pt_map(p[i], i, fd, 32 * MB, 0, RW);
		ASSERT_EQ(0, pt_touch(p[i], m, 32 * MB, true));
	}
	early = pt_spawn();
	m = pt_map(early, 0, fd, 32 * MB, 0, RW);
	ASSERT_EQ(0, pt_touch(early, m, 32 * MB, true));
	ASSERT_EQ(0, pt_call(early, die_early));
	ret = pt_poison(p[1], pt_slot(p[1], 1) + bad);
	if (ret == -EINVAL)
		SKIP(return, "no memory failure injection");
	ASSERT_EQ(0, ret);

	/* Who wanted to know at once was told. */
	pfd.fd = early->pidfd;
	pfd.events = POLLIN;
	EXPECT_EQ(1, poll(&pfd, 1, 60000));

	late = pt_spawn();
	pt_map(late, 3, fd, 32 * MB, 0, RW);
	for (i = 0; i < NR; i++) {
		m = pt_slot(p[i], i);
		EXPECT_EQ(PT_MCE, pt_peek(p[i], m + bad, &val));
		EXPECT_EQ(PT_MCE, pt_poke(p[i], m + bad, 1));
		EXPECT_EQ(0, pt_verify(p[i], m, 0, bad, 1));
		EXPECT_EQ(0, pt_verify(p[i], m + bad + PT_PAGE,
				       bad / PT_PAGE + 1,
				       32 * MB - bad - PT_PAGE, 1));
	}
	ret = pt_vmstat("ptshare_fallback_poison");
	EXPECT_EQ(PT_MCE, pt_peek(late, pt_slot(late, 3) + bad, &val));
	if (pt_on())
		EXPECT_LT(ret, pt_vmstat("ptshare_fallback_poison"));

	/* The file loses the page. Who drops his entry gets the new one. */
	pt_punch(fd, bad, PT_PAGE);
	pt_stamp_file(fd, bad / PT_PAGE, PT_PAGE, 2);
	ASSERT_EQ(0, pt_sys(p[0], SYS_madvise, pt_slot(p[0], 0) + bad, PT_PAGE,
			    (long)MADV_DONTNEED));
	EXPECT_EQ(0, pt_verify(p[0], pt_slot(p[0], 0) + bad, bad / PT_PAGE,
			       PT_PAGE, 2));
	ASSERT_EQ(0, pt_sys(p[1], SYS_munmap, pt_slot(p[1], 1), 32 * MB));
	m = pt_map(p[1], 2, fd, 32 * MB, 0, RW);
	EXPECT_EQ(0, pt_verify(p[1], m + bad, bad / PT_PAGE, PT_PAGE, 2));
	EXPECT_EQ(0, pt_fill(p[1], m + bad, bad / PT_PAGE, PT_PAGE, 3));
	EXPECT_EQ(0, pt_verify(p[0], pt_slot(p[0], 0) + bad, bad / PT_PAGE,
			       PT_PAGE, 3));
	/* A process that comes only now never had a bad entry. */
	late = pt_spawn();
	m = pt_map(late, 0, fd, 32 * MB, 0, RW);
	EXPECT_EQ(0, pt_verify(late, m + bad, bad / PT_PAGE, PT_PAGE, 3));
	EXPECT_EQ(0, pt_verify(late, m, 0, bad, 1));
}

TEST_HARNESS_MAIN
