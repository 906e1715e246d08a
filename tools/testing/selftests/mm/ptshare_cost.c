// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: what one more process costs that maps a file others have mapped.
 *
 * Sharing is on: no page table of its own below the upper levels, and one fault
 * for many chunks, for reading and for writing. Off: the full price.
 */
#define _GNU_SOURCE
#include <sys/resource.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define LEN		(128 * MB)
#define CHUNKS		((long)(LEN / PT_CHUNK))
#define NR		8
#define WINDOW		(16 * PT_CHUNK)	/* what one fault may link, aligned */
/* 40 faults per GiB, and some for the rest of the process */
#define MAX_FAULTS	((long)(40 * LEN / (1024 * MB)) + 8)

static long faults_so_far(unsigned long *arg)
{
	struct rusage now;

	getrusage(RUSAGE_SELF, &now);
	return now.ru_minflt;
}

static long touch_and_count(unsigned long *arg)
{
	char *addr = (void *)arg[0], *end = addr + arg[1];
	long before = faults_so_far(NULL);

	for (; addr < end; addr += PT_PAGE) {
		if (arg[2])
			pt_set((void *)addr, 7);
		else
			pt_get((void *)addr);
	}
	return faults_so_far(NULL) - before;
}

static void touch_cheaply(struct __test_metadata *_metadata, struct pt_proc *p,
			  bool write)
{
	long faults = pt_call(p, touch_and_count, pt_slot(p, 0), LEN,
			      (unsigned long)write);
	long tables = pt_private_tables(p);

	if (pt_on()) {
		EXPECT_LE(faults, MAX_FAULTS);
		EXPECT_EQ(0, tables);
	} else {
		EXPECT_LE(CHUNKS, faults);
		EXPECT_EQ(CHUNKS, tables);
	}
}

static void one_more(struct __test_metadata *_metadata, bool write,
		     bool map_first)
{
	struct pt_proc *p[NR], *first = pt_spawn();
	long before, grown;
	int fd, i;

	fd = pt_memfd(LEN);
	pt_map(first, 0, fd, LEN, 0, PT_RW);
	if (!map_first)
		ASSERT_EQ(0, pt_touch(first, pt_slot(first, 0), LEN, true));
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], 0, fd, LEN, 0, PT_RW);
	}
	if (map_first)
		ASSERT_EQ(0, pt_touch(first, pt_slot(first, 0), LEN, true));
	before = pt_meminfo("PageTables");
	for (i = 0; i < NR; i++)
		touch_cheaply(_metadata, p[i], write);
	grown = pt_meminfo("PageTables") - before;
	/* 2.5 % of what own tables take, give or take the rest of the system */
	if (pt_on())
		EXPECT_LE(grown, NR * CHUNKS * 4 / 40 + 128);
	TH_LOG("%d processes with %ld MiB each: PageTables +%ld kB", NR,
	       LEN / MB, grown);
}

PT_TEST(read_after_first)
{
	one_more(_metadata, false, false);
}

PT_TEST(write_after_first)
{
	one_more(_metadata, true, false);
}

PT_TEST(read_all_mapped_before)
{
	one_more(_metadata, false, true);
}

PT_TEST(write_all_mapped_before)
{
	one_more(_metadata, true, true);
}

/* How many chunks of a mapping have a page in the page table now? */
static long linked_chunks(struct pt_proc *p, char *addr, size_t len)
{
	size_t off;
	long n = 0;

	for (off = 0; off < len; off += PT_CHUNK)
		n += pt_pagemap(p->pid, addr + off) >> 63;
	return n;
}

/* Which of every @step-th chunk from @from to @to are in a window with @at? */
static long in_window(char *at, char *from, char *to, int step)
{
	long n = 0;

	for (; from < to; from += step * PT_CHUNK)
		n += (uintptr_t)from / WINDOW == (uintptr_t)at / WINDOW;
	return n;
}

/*
 * One fault links what is around it, but nothing that has no table, nothing
 * outside of the mapping, and no chunk that is only in part in it.
 */
PT_TEST(fault_links_around)
{
	struct pt_proc *first = pt_spawn(), *p = pt_spawn();
	int fd = pt_memfd(LEN), i;
	long links, tables, n;
	char *m, *at;

	/* Of the second half every other chunk has a table. */
	m = pt_map(first, 0, fd, LEN, 0, PT_RW);
	ASSERT_EQ(0, pt_touch(first, m, LEN / 2, true));
	for (i = CHUNKS / 2; i < CHUNKS; i += 2)
		ASSERT_EQ(0, pt_touch(first, m + i * PT_CHUNK, PT_CHUNK, true));
	links = pt_vmstat("ptshare_link");
	tables = pt_vmstat("ptshare_table_alloc");

	/* Five chunks, of which the first and the last are not all in it */
	m = pt_slot(p, 0) + PT_CHUNK - PT_PAGE;
	ASSERT_EQ(m, pt_mmap(p, m, 4 * PT_CHUNK + 2 * PT_PAGE, PT_RW,
			     MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			     PT_CHUNK - PT_PAGE));
	/* Another VMA right behind it, with the next pages of the file */
	m += 4 * PT_CHUNK + 2 * PT_PAGE;
	ASSERT_EQ(m, pt_mmap(p, m, 8 * PT_CHUNK, PT_RO,
			     MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			     5 * PT_CHUNK + PT_PAGE));
	m = pt_slot(p, 0);
	at = m + 3 * PT_CHUNK;
	ASSERT_EQ(0, pt_touch(p, at, PT_PAGE, false));
	n = linked_chunks(p, m + PT_CHUNK, 12 * PT_CHUNK);
	if (!pt_on()) {
		EXPECT_EQ(1, n);
		return;
	}
	EXPECT_EQ(in_window(at, m + PT_CHUNK, m + 5 * PT_CHUNK, 1), n);
	EXPECT_EQ(n, pt_vmstat("ptshare_link") - links);

	/* What does not exist is not made. */
	m = pt_map(p, 1, fd, LEN / 2, LEN / 2, PT_RW);
	at = m + 16 * PT_CHUNK;
	links = pt_vmstat("ptshare_link");
	ASSERT_EQ(0, pt_touch(p, at, PT_PAGE, false));
	n = linked_chunks(p, m, LEN / 2);
	EXPECT_EQ(in_window(at, m, m + LEN / 2, 2), n);
	EXPECT_EQ(n, pt_vmstat("ptshare_link") - links);
	EXPECT_EQ(tables, pt_vmstat("ptshare_table_alloc"));

	EXPECT_EQ(0, pt_check_books());
	pt_kill(p);
	EXPECT_EQ(0, pt_check_books());
}

/* MAP_POPULATE and MADV_POPULATE_* link everything, with no fault at any time. */
PT_TEST(populate)
{
	static const int advice[] = { MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	struct pt_proc *first = pt_spawn(), *p;
	int fd = pt_memfd(LEN), i;
	long faults;
	char *m;

	pt_map(first, 0, fd, LEN, 0, PT_RW);
	ASSERT_EQ(0, pt_touch(first, pt_slot(first, 0), LEN, true));
	for (i = 0; i < 3; i++) {
		p = pt_spawn();
		m = pt_slot(p, 0);
		faults = pt_call(p, faults_so_far);
		ASSERT_EQ(m, pt_mmap(p, m, LEN, PT_RW,
				     MAP_SHARED | MAP_FIXED_NOREPLACE |
				     (i == 2 ? MAP_POPULATE : 0), fd, 0));
		if (i < 2)
			ASSERT_EQ(0, pt_sys(p, SYS_madvise, m, LEN,
					    (long)advice[i]));
		faults = pt_call(p, faults_so_far) - faults;
		if (pt_on()) {
			EXPECT_GE(2, faults);
			EXPECT_EQ(0, pt_private_tables(p));
			EXPECT_EQ(CHUNKS, linked_chunks(p, m, LEN));
		}
		EXPECT_LE(pt_call(p, touch_and_count, m, LEN, 0UL), 8);
		EXPECT_LE(pt_call(p, touch_and_count, m, LEN, 1UL), 8);
	}
}

/* Read-only users have tables of their own, one set for all of them. */
PT_TEST(read_only_mappings)
{
	struct pt_proc *p[NR], *first = pt_spawn();
	int fd = pt_memfd(LEN), i;

	pt_map(first, 0, fd, LEN, 0, PT_RW);
	ASSERT_EQ(0, pt_touch(first, pt_slot(first, 0), LEN, true));
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		pt_map(p[i], 0, fd, LEN, 0, PT_RO);
	}
	/* The first of them fills the set. */
	ASSERT_EQ(0, pt_touch(p[0], pt_slot(p[0], 0), LEN, false));
	for (i = 1; i < NR; i++)
		touch_cheaply(_metadata, p[i], false);
}

/* Leaving is cheap, too, and takes nothing from those who stay. */
PT_TEST(come_and_go)
{
	struct pt_proc *stay = pt_spawn();
	int fd = pt_memfd(LEN), i;

	pt_map(stay, 0, fd, LEN, 0, PT_RW);
	ASSERT_EQ(0, pt_touch(stay, pt_slot(stay, 0), LEN, true));
	for (i = 0; i < NR; i++) {
		struct pt_proc *p = pt_spawn();

		pt_map(p, 0, fd, LEN, 0, PT_RW);
		touch_cheaply(_metadata, p, i & 1);
		pt_kill(p);
		EXPECT_LE(pt_call(stay, touch_and_count, pt_slot(stay, 0), LEN,
				  1UL), 8);
	}
}

TEST_HARNESS_MAIN
