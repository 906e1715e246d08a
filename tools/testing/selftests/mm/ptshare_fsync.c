// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare and the integrity of data: what was stored before fsync(), by
 * whichever sharer, is on the disk when it returns. Writers do not pause; the
 * disk below the file system is read, not the file.
 *
 * PTSHARE_FSYNC_ROUNDS in the environment is the number of fsync() calls for
 * each file system.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "ptshare_fs.h"

#define LEN		(16 * PT_MB)
#define SHARERS		8UL
#define WRITERS		(SHARERS + 1)	/* the last one does not share */
#define PAGES		4UL		/* of each writer, for it alone */
#define SPREAD		61UL		/* pages from one to the next */
#define TIMEOUT		(4 * 3600)

struct ctl {
	unsigned long stop, ended;
	/* Store number n, of the number n, went to page n % PAGES. */
	unsigned long stored[WRITERS];
};

FIXTURE_VARIANT(ptshare)
{
	const struct pt_fs *fs;
};

FIXTURE_VARIANT_ADD(ptshare, ext4) { .fs = &pt_ext4 };
FIXTURE_VARIANT_ADD(ptshare, xfs) { .fs = &pt_xfs };

static off_t page_off(unsigned long w, unsigned long i)
{
	return (i * WRITERS + w) * SPREAD * PT_PAGE;
}

static long write_on(unsigned long *arg)
{
	struct ctl *ctl = PT_CTL(struct ctl);
	unsigned long w = arg[1], n = 0;

	while (!pt_get(&ctl->stop)) {
		n++;
		pt_set((void *)(arg[0] + page_off(w, n % PAGES)), n);
		pt_set(&ctl->stored[w], n);
	}
	pt_inc(&ctl->ended);
	return 0;
}

static void start_writers(int fd)
{
	unsigned long w;

	for (w = 0; w < WRITERS; w++) {
		struct pt_proc *p = pt_spawn();
		char *addr = pt_slot(p, w % PT_SLOTS);

		if (w == SHARERS)
			addr += PT_PAGE;
		if (pt_mmap(p, addr, LEN, PT_RW,
			    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != addr)
			pt_die("mmap of writer %lu", w);
		/* Who writes out must not wait for writers to use up their time. */
		pt_sys(p, SYS_setpriority, (long)PRIO_PROCESS, 0L, 19L);
		pt_thread(p, write_on, addr, w);
	}
	for (w = 0; w < WRITERS; w++)
		if (!pt_await(&PT_CTL(struct ctl)->stored[w], PAGES))
			pt_die("writer %lu does not write", w);
}

/* How many pages have less than had been stored? */
static int lost(const struct pt_fs *fs, int fd, const unsigned long *stored,
		long round)
{
	static off_t at[WRITERS][PAGES];
	unsigned long page[PT_PAGE / sizeof(long)], w, i, last;
	int lost = 0;

	for (w = 0; w < WRITERS; w++) {
		for (i = 0; i < PAGES; i++) {
			/* Neither file system moves a page that it overwrites. */
			if (!round)
				at[w][i] = pt_fs_map(fd, page_off(w, i));
			if (at[w][i] < 0)
				pt_die("page %lu of writer %lu is nowhere", i, w);
			pt_fs_read_disk(fs, at[w][i], page);
			last = stored[w] - (stored[w] - i) % PAGES;
			if (page[0] >= last)
				continue;
			fprintf(stderr, "# round %ld: %lu by writer %lu, page %lu: disk has %lu\n",
				round, last, w, i, page[0]);
			lost++;
		}
	}
	return lost;
}

/* As many as were asked for; else what fits into the time until @end. */
static bool enough(long round, long end)
{
	const char *env = getenv("PTSHARE_FSYNC_ROUNDS");

	if (env)
		return round >= atol(env);
	return round >= pt_effort(400) || (round >= 20 && pt_now_ms() > end);
}

TEST_F_TIMEOUT(ptshare, stores_before_fsync, TIMEOUT)
{
	struct ctl *ctl = PT_CTL(struct ctl);
	unsigned long stored[WRITERS], w;
	const char *why;
	long round, end;
	int fd;

	why = pt_fs_mount(variant->fs);
	if (why)
		SKIP(return, "%s: %s", variant->fs->type, why);
	fd = pt_fs_file("file", LEN, 0);
	start_writers(fd);
	end = pt_now_ms() + pt_effort(240000);
	for (round = 0; !enough(round, end); round++) {
		for (w = 0; w < WRITERS; w++)
			stored[w] = pt_get(&ctl->stored[w]);
		ASSERT_EQ(0, fsync(fd));
		ASSERT_EQ(0, lost(variant->fs, fd, stored, round));
	}
	TH_LOG("%ld rounds, %lu stores by the first writer", round,
	       pt_get(&ctl->stored[0]));
	pt_set(&ctl->stop, 1);
	EXPECT_TRUE(pt_await(&ctl->ended, WRITERS));
	pt_kill_all();
	close(fd);
	unlink(PT_FS_DIR "/file");
	EXPECT_EQ(0, pt_fs_umount());
}

TEST_HARNESS_MAIN
