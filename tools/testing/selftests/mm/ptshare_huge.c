// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare and huge pages: a chunk is mapped by a shared PTE table or by a huge
 * page, and goes from one to the other in all sharers without losing anything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(16 * MB)
#define NR		4

#define THP		"/sys/kernel/mm/transparent_hugepage/"

static struct pt_proc *p[NR];
static char *m[NR];

/* @NR processes that map @fd, all of them written to, the last one read-only */
static void make_sharers(struct __test_metadata *_metadata, int fd)
{
	int i;

	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, i == NR - 1 ? RO : RW);
		ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, i < NR - 1));
	}
}

static void all_show(struct __test_metadata *_metadata, unsigned long seed)
{
	int i;

	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, seed));
	EXPECT_EQ(SIGSEGV, pt_poke(p[NR - 1], m[NR - 1] + 3 * MB, 0));
}

static long pmd_mapped_kb(int i)
{
	return pt_smaps(p[i]->pid, m[i], "ShmemPmdMapped");
}

/* From huge pages to small ones and to shared tables */
static void huge_then_small(struct __test_metadata *_metadata, const char *opt,
			    long advice)
{
	char dir[] = "/tmp/ptshare-XXXXXX", path[64];
	int fd, i;

	if (pt_read_num(THP "hpage_pmd_size") != (long)PT_CHUNK)
		SKIP(return, "no huge pages");
	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount("ptshare", dir, "tmpfs", 0, opt));
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, LEN));
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, i == NR - 1 ? RO : RW);
		if (advice)
			ASSERT_EQ(0, pt_sys(p[i], SYS_madvise, m[i], LEN,
					    advice));
	}
	EXPECT_EQ(0, pt_fill(p[0], m[0], 0, LEN, 1));
	EXPECT_LT(0, pmd_mapped_kb(0));
	all_show(_metadata, 1);

	/* A hole of one page in each chunk: its huge page is split. */
	for (i = 0; i < (int)(LEN / PT_CHUNK); i++)
		pt_punch(fd, i * PT_CHUNK + 7 * PT_PAGE, PT_PAGE);
	EXPECT_EQ(0, pt_fill(p[1], m[1], 0, LEN, 2));
	all_show(_metadata, 2);
	EXPECT_EQ(0, pt_fill(p[2], m[2], 0, LEN, 3));
	all_show(_metadata, 3);
	pt_kill_all();
	close(fd);
	EXPECT_EQ(0, umount(dir));
	EXPECT_EQ(0, rmdir(dir));
}

PT_TEST(huge_always)
{
	huge_then_small(_metadata, "huge=always", 0);
}

PT_TEST(huge_advise)
{
	huge_then_small(_metadata, "huge=advise", MADV_HUGEPAGE);
}

/*
 * Who asks for huge pages gets them, although the table is not his alone; the
 * other sharers find their contents in the huge page, and map it as one.
 */
PT_TEST(collapse_shared)
{
	int fd = pt_stamped_memfd(LEN, 1), i, k;
	long ret;

	make_sharers(_metadata, fd);
	for (i = 0; i < NR - 1; i++) {
		ret = pt_collapse(p[i], m[i], LEN);
		if (ret == -EINVAL)
			SKIP(return, "no MADV_COLLAPSE of shared memory");
		EXPECT_EQ(0, ret);
		EXPECT_EQ(0, pt_touch(p[i], m[i], LEN, true));
		all_show(_metadata, i + 1);
		for (k = 0; k < NR; k++)
			EXPECT_EQ((long)LEN / 1024, pmd_mapped_kb(k));
		EXPECT_EQ(0, pt_fill(p[!i], m[!i], 0, LEN, i + 2));
		all_show(_metadata, i + 2);
		/* Back to small pages, and all write again. */
		for (k = 0; k < (int)(LEN / PT_CHUNK); k++)
			pt_punch(fd, k * PT_CHUNK + k * PT_PAGE, 3 * PT_PAGE);
		for (k = 0; k < NR - 1; k++)
			EXPECT_EQ(0, pt_fill(p[k], m[k], 0, LEN, i + 2));
		all_show(_metadata, i + 2);
	}
}

/*
 * Who is not to have huge pages keeps the link, and maps the huge page by PTEs
 * with the others, until it asks for a huge page after all.
 */
PT_TEST(collapse_linked)
{
	int fd = pt_stamped_memfd(LEN, 1), i;

	make_sharers(_metadata, fd);
	for (i = 1; i < NR; i++)
		ASSERT_EQ(0, pt_sys(p[i], SYS_madvise, m[i], LEN,
				    (long)MADV_NOHUGEPAGE));
	if (pt_collapse(p[0], m[0], LEN) == -EINVAL)
		SKIP(return, "no MADV_COLLAPSE of shared memory");
	all_show(_metadata, 1);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(i ? 0 : (long)LEN / 1024, pmd_mapped_kb(i));
	ASSERT_EQ(0, pt_sys(p[1], SYS_madvise, m[1], LEN,
			    (long)MADV_HUGEPAGE));
	EXPECT_EQ(0, pt_collapse(p[1], m[1], LEN));
	EXPECT_EQ((long)LEN / 1024, pmd_mapped_kb(1));
	EXPECT_EQ(0, pt_fill(p[2], m[2], 0, LEN, 2));
	all_show(_metadata, 2);
	EXPECT_EQ(0, pmd_mapped_kb(2));
}

/* Collapse while others write without a pause */
PT_TEST(collapse_under_writers)
{
	struct pt_proc *q = pt_spawn();
	int i, n = pt_effort(24);
	long done = 0;
	char *mq;

	if (pt_read_num(THP "hpage_pmd_size") != (long)PT_CHUNK)
		SKIP(return, "no huge pages");
	pt_start_writers(NULL);
	mq = pt_map(q, 1, pt_counter_fd, PT_MIN_LEN, 0, RW);
	for (i = 0; i < n; i++) {
		pt_let_write();
		done += !pt_collapse(q, mq + PT_COUNTER_AT, PT_CHUNK);
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("collapse"));
		/* A page between the counters: splits the huge page. */
		pt_punch(pt_counter_fd, PT_COUNTER_AT + PT_PAGE, PT_PAGE);
		pt_let_write();
		EXPECT_EQ(0, pt_lost_writes("split"));
	}
	EXPECT_EQ(0, pt_stop_writers());
	TH_LOG("%ld of %d collapses done", done, n);
	EXPECT_LT(0, done);
}

/* Move the chunk at arg[0] to arg[1]; count at arg[2] before and after. */
static long move_once(unsigned long *arg)
{
	unsigned long *steps = (void *)arg[2];
	void *to = (void *)arg[1], *moved;

	pt_inc(steps);
	moved = mremap((void *)arg[0], PT_CHUNK, PT_CHUNK,
		       MREMAP_MAYMOVE | MREMAP_FIXED, to);
	pt_inc(steps);
	return moved != to;
}

/*
 * mremap() moves a huge page without a lock of the file: for a moment no PMD
 * maps it, neither here nor there, but its mapcount says that it is mapped.
 * Punching has to wait for that, or the page leaves the file and stays mapped.
 */
PT_TEST(punch_in_mremap)
{
	int fd = pt_stamped_memfd(LEN, 1), i, n = pt_effort(16), hit = 0;
	unsigned long *steps = PT_CTL(unsigned long);
	long ret;

	/* All have links, and keep those of the other chunks. */
	make_sharers(_metadata, fd);
	for (i = 0; i < n; i++) {
		/* Not back to where it was: mappings that merge move locked. */
		char *to = pt_slot(p[0], 1 + i % 2);
		bool delay;

		ret = pt_collapse(p[0], m[0], PT_CHUNK);
		if (ret == -EINVAL)
			SKIP(return, "no MADV_COLLAPSE of shared memory");
		ASSERT_EQ(0, ret);
		EXPECT_EQ((long)PT_CHUNK / 1024, pmd_mapped_kb(0));
		/* The kernel may keep it between here and there, from then on. */
		delay = pt_set_delay_us(200000);
		pt_start(p[0], move_once, m[0], to, steps);
		ASSERT_TRUE(pt_await(steps, 2 * i + 1));
		if (delay)
			pt_sleep_ms(10 << i % 4);
		hit += pt_get(steps) == 2 * i + 1UL;
		pt_punch(fd, 0, PT_CHUNK);
		pt_set_delay_us(0);
		ASSERT_EQ(0, pt_finish(p[0]));
		m[0] = to;
		EXPECT_EQ(0, pt_fill(p[1], m[1], 0, PT_CHUNK, i + 2));
		EXPECT_EQ(0, pt_verify(p[0], to, 0, PT_CHUNK, i + 2));
	}
	TH_LOG("%d of %d during the move", hit, n);
}

/* khugepaged does by itself what MADV_COLLAPSE does on demand. */
PT_TEST(khugepaged)
{
	long scan = pt_read_num(THP "khugepaged/scan_sleep_millisecs");
	long pages = pt_read_num(THP "khugepaged/pages_to_scan");
	long again = pt_read_num(THP "khugepaged/alloc_sleep_millisecs");
	int fd = pt_stamped_memfd(LEN, 1), i, k;
	char enabled[64] = "", shmem[64] = "", num[32];
	long end, full = LEN / 1024;

	i = open(THP "shmem_enabled", O_RDONLY | O_CLOEXEC);
	if (i < 0 || scan < 0)
		SKIP(return, "no khugepaged for shared memory");
	k = read(i, shmem, sizeof(shmem) - 1);
	close(i);
	i = open(THP "enabled", O_RDONLY | O_CLOEXEC);
	k += read(i, enabled, sizeof(enabled) - 1);
	close(i);
	ASSERT_LT(0, k);
	make_sharers(_metadata, fd);
	ASSERT_EQ(0, pt_write_file(THP "enabled", "madvise"));
	ASSERT_EQ(0, pt_write_file(THP "shmem_enabled", "advise"));
	pt_write_file(THP "khugepaged/scan_sleep_millisecs", "10");
	pt_write_file(THP "khugepaged/pages_to_scan", "65536");
	pt_write_file(THP "khugepaged/alloc_sleep_millisecs", "10");

	/* One of them wants it. The others share their tables meanwhile. */
	ASSERT_EQ(0, pt_sys(p[0], SYS_madvise, m[0], LEN, (long)MADV_HUGEPAGE));
	end = pt_now_ms() + 180000;
	while (pt_vmstat("thp_file_alloc") >= 0 && pt_now_ms() < end) {
		for (i = 0; i < NR; i++)
			EXPECT_EQ(0, pt_touch(p[i], m[i], LEN, i < NR - 1));
		if (pmd_mapped_kb(0) == full)
			break;
		pt_sleep_ms(20);
	}
	EXPECT_EQ(full, pmd_mapped_kb(0));
	all_show(_metadata, 1);
	EXPECT_EQ(0, pt_fill(p[1], m[1], 0, LEN, 2));
	all_show(_metadata, 2);

	/* What was in force before is the word in brackets. */
	pt_write_file(THP "enabled", strtok(strchr(enabled, '[') + 1, "]"));
	pt_write_file(THP "shmem_enabled", strtok(strchr(shmem, '[') + 1, "]"));
	snprintf(num, sizeof(num), "%ld", scan);
	pt_write_file(THP "khugepaged/scan_sleep_millisecs", num);
	snprintf(num, sizeof(num), "%ld", pages);
	pt_write_file(THP "khugepaged/pages_to_scan", num);
	snprintf(num, sizeof(num), "%ld", again);
	pt_write_file(THP "khugepaged/alloc_sleep_millisecs", num);
}

TEST_HARNESS_MAIN
