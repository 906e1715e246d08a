// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: what one more process costs that maps a file others have mapped.
 *
 * Sharing is on: no page table of its own below the upper levels, and at most
 * one fault per chunk, for reading and for writing. Off: the full price.
 */
#define _GNU_SOURCE
#include <sys/resource.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define LEN		(128 * MB)
#define CHUNKS		((long)(LEN / PT_CHUNK))
#define NR		8
/* 520 faults per GiB, and some for the rest of the process */
#define MAX_FAULTS	((long)(520 * LEN / (1024 * MB)) + 8)

static long touch_and_count(unsigned long *arg)
{
	char *addr = (void *)arg[0], *end = addr + arg[1];
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	for (; addr < end; addr += PT_PAGE) {
		if (arg[2])
			pt_set((void *)addr, 7);
		else
			pt_get((void *)addr);
	}
	getrusage(RUSAGE_SELF, &after);
	return after.ru_minflt - before.ru_minflt;
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
