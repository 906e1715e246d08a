// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: nobody may use a page through a stale TLB entry.
 *
 * When a page leaves a shared table, every process that could reach it through
 * that table has to be flushed before the page is reused. A process that is
 * just giving up its link has to be flushed for all that the table maps, and
 * must not drop out of the circle of those who are flushed any sooner.
 *
 * The detector: a thread reads a page of the file without pause, so that its
 * translation stays in the TLB. The test punches the page out of the file,
 * writes junk to other new pages in order to have the freed page reused,
 * writes the page of the file anew, and publishes the new generation. A
 * reader that still sees junk or an older generation had a stale translation.
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
#define CHUNK_AT	(8 * MB)	/* the chunk that all of it is about */
#define PAGE_IN		69UL		/* and a page in there */
#define SAMPLES		16UL		/* pages in there that are looked at, */
#define SAMPLE_STEP	(PT_CHUNK_PAGES / SAMPLES - 1)	/* odd: the TLB has sets */
#define FIRST_SAMPLE	5UL		/* this one to begin with */
#define MAGIC		0x600dUL	/* what a page of the file shows */
#define JUNK		0xbad0bad0bad0bad0UL
#define JUNK_PAGES	64UL
#define MEMBERS		5

struct ctl {
	unsigned long gen;	/* older ones must not be seen any more */
	unsigned long stable;	/* while not 0: exactly this one is right */
	unsigned long closed;	/* while not 0 any access has to fault */
	unsigned long junk_only;	/* older generations are all right */
	unsigned long op_done;
	unsigned long stop;
	unsigned long started, ended;
	unsigned long round[8];	/* how often each spinner came round */
	unsigned long bad;
	unsigned long bad_val, bad_gen, bad_page;
};

#define CTL		PT_CTL(struct ctl)

static int fd, junk_fd;
static char *own;		/* the chunk, for the test itself */
static struct pt_proc *member[MEMBERS];
static bool crowd;		/* many more of them, who stand by */

/* Stores of words: readers that look on may see the old or the new one. */
static void fill_page(unsigned long page, unsigned long gen)
{
	pt_set((void *)(own + page * PT_PAGE), MAGIC << 32 | gen);
}

static void fill_samples(unsigned long gen)
{
	unsigned long i;

	for (i = 0; i < SAMPLES; i++)
		fill_page(FIRST_SAMPLE + i * SAMPLE_STEP, gen);
}

/* Have pages that were just freed here reused with other contents. */
static void write_junk(size_t len)
{
	static unsigned long buf[JUNK_PAGES * PT_PAGE / sizeof(long)];
	unsigned int i;

	for (i = buf[0] ? ARRAY_SIZE(buf) : 0; i < ARRAY_SIZE(buf); i++)
		buf[i] = JUNK;
	if (pwrite(junk_fd, buf, len, 0) != (ssize_t)len)
		pt_die("writing junk");
}

static char *chunk_of(struct pt_proc *p)
{
	return pt_slot(p, 0) + CHUNK_AT;
}

static char *page_of(struct pt_proc *p)
{
	return chunk_of(p) + PAGE_IN * PT_PAGE;
}

static char *samples_of(struct pt_proc *p)
{
	return chunk_of(p) + FIRST_SAMPLE * PT_PAGE;
}

/* A sharer at each place of the host's list of members, in this order */
static void make_members(struct __test_metadata *_metadata)
{
	int i;

	fd = pt_memfd(LEN);
	junk_fd = pt_memfd(JUNK_PAGES * PT_PAGE);
	/* Not all of the chunk: the test itself is not one of the sharers. */
	own = mmap(NULL, PT_CHUNK - PT_PAGE, RW, MAP_SHARED, fd, CHUNK_AT);
	ASSERT_NE(MAP_FAILED, own);
	CTL->gen = 1;
	fill_samples(1);
	for (i = 0; i < MEMBERS; i++) {
		member[i] = pt_spawn();
		pt_map(member[i], 0, fd, LEN, 0, RW);
		ASSERT_EQ(0, pt_touch(member[i], chunk_of(member[i]), PT_CHUNK,
				      true));
	}
	if (crowd)
		pt_crowd(fd, LEN, CHUNK_AT);
}

/* --- spinning threads ---------------------------------------------------- */

static void report(unsigned long gen, unsigned long val, unsigned long page)
{
	CTL->bad_val = val;
	CTL->bad_gen = gen;
	CTL->bad_page = page;
	pt_inc(&CTL->bad);
}

static void check_value(unsigned long gen, unsigned long stable,
			unsigned long val, unsigned long page)
{
	/* A hole is read as 0. It must have been filled if nothing moved. */
	if (stable && stable == pt_get(&CTL->stable)) {
		if (val != (MAGIC << 32 | stable))
			report(stable, val, page);
	} else if (val && val >> 32 != MAGIC) {
		report(gen, val, page);
	} else if (val && (val & 0xffffffff) < gen && !CTL->junk_only) {
		report(gen, val, page);
	}
}

static bool is_closed(unsigned long since)
{
	return since && since == pt_get(&CTL->closed);
}

/* Read @n sample pages from @addr on, round and round. */
static long spin_read(unsigned long *arg)
{
	unsigned long addr = arg[0], n = arg[1], *round = (void *)arg[2], i;

	if (pt_nr_cpus() > 2)
		pt_pin(arg[3]);
	pt_inc(&CTL->started);
	while (!pt_get(&CTL->stop)) {
		for (i = 0; i < n; i++) {
			unsigned long closed = pt_get(&CTL->closed);
			unsigned long gen = pt_get(&CTL->gen);
			unsigned long stable = pt_get(&CTL->stable), val;
			unsigned long page = i * SAMPLE_STEP;

			if (pt_load((void *)(addr + page * PT_PAGE), &val))
				continue;
			if (is_closed(closed))
				report(~0UL, val, page);
			check_value(gen, stable, val, page);
		}
		pt_inc(round);
	}
	pt_inc(&CTL->ended);
	return 0;
}

/* Write to them, which must fail while the area is closed. */
static long spin_write(unsigned long *arg)
{
	unsigned long addr = arg[0], n = arg[1], *round = (void *)arg[2], i;

	if (pt_nr_cpus() > 2)
		pt_pin(arg[3]);
	pt_inc(&CTL->started);
	while (!pt_get(&CTL->stop)) {
		for (i = 0; i < n; i++) {
			unsigned long closed = pt_get(&CTL->closed);
			unsigned long page = i * SAMPLE_STEP;

			if (pt_store((void *)(addr + page * PT_PAGE), 0))
				continue;
			if (is_closed(closed))
				report(~0UL, 0, page);
		}
		pt_inc(round);
	}
	pt_inc(&CTL->ended);
	return 0;
}

static void start_spinner(struct pt_proc *p, pt_fn fn, char *addr,
			  unsigned long n, int idx, int cpu)
{
	unsigned long started = pt_get(&CTL->started);

	CTL->stop = 0;
	CTL->ended = 0;
	pt_thread(p, fn, addr, n, &CTL->round[idx], (unsigned long)cpu);
	if (!pt_await(&CTL->started, started + 1))
		pt_die("a spinning thread does not start");
}

static void stop_spinners(unsigned long n)
{
	pt_set(&CTL->stop, 1);
	if (!pt_await(&CTL->ended, n))
		pt_die("a spinning thread hangs");
}

/* Until each spinner has done at least one whole round from now on */
static void let_spin(int n)
{
	unsigned long was[8];
	int i;

	for (i = 0; i < n; i++)
		was[i] = pt_get(&CTL->round[i]);
	for (i = 0; i < n; i++)
		if (!pt_await(&CTL->round[i], was[i] + 2))
			pt_die("a spinning thread hangs");
}

static void expect_no_bad(struct __test_metadata *_metadata, const char *what)
{
	EXPECT_EQ(0UL, CTL->bad)
		TH_LOG("%s: page %lu showed %lx at generation %ld", what,
		       CTL->bad_page, CTL->bad_val, (long)CTL->bad_gen);
	CTL->bad = 0;
}

/* --- how pages leave a file ---------------------------------------------- */

static void lose_page(void)
{
	pt_punch(fd, CHUNK_AT + PAGE_IN * PT_PAGE, PT_PAGE);
}

static void lose_chunk(void)
{
	pt_punch(fd, CHUNK_AT, PT_CHUNK);
}

static void lose_all(void)
{
	pt_punch(fd, 0, LEN);
}

static void cut_file(void)
{
	if (ftruncate(fd, CHUNK_AT) || ftruncate(fd, LEN))
		pt_die("truncate");
}

static void cut_in_chunk(void)
{
	if (ftruncate(fd, CHUNK_AT + PT_PAGE) || ftruncate(fd, LEN))
		pt_die("truncate");
}

/* One generation: the pages go, are reused, and come back. */
static void next_generation(void (*lose)(void))
{
	unsigned long gen = CTL->gen + 1;
	size_t junk = (lose == lose_page ? 8 : JUNK_PAGES) * PT_PAGE;

	pt_set(&CTL->stable, 0);
	pt_punch(junk_fd, 0, junk);
	lose();
	write_junk(junk);
	if (lose == lose_page)
		fill_page(PAGE_IN, gen);
	else
		fill_samples(gen);
	pt_set(&CTL->gen, gen);
}

/* Let @n spinners look at it while nothing moves. */
static void look(int n)
{
	pt_set(&CTL->stable, CTL->gen);
	let_spin(n);
	pt_set(&CTL->stable, 0);
}

/*
 * Whatever the place of a process among the members, pages that leave the file
 * leave its TLB. The others have linked the table, too, but do nothing. As the
 * reader must have come round between the steps, one missing flush is enough
 * to be seen.
 */
static void spin_against(struct __test_metadata *_metadata,
			 void (*lose)(void), const char *what, int threads)
{
	int i, k, n = pt_effort(10);

	make_members(_metadata);
	/* The first, one in the middle, and the last */
	for (k = 0; k < MEMBERS; k += MEMBERS / 2) {
		/* All have the table again, in the same order as at first. */
		for (i = 0; i < MEMBERS; i++)
			ASSERT_EQ(0, pt_touch(member[i], chunk_of(member[i]),
					      PT_CHUNK, true));
		next_generation(lose);
		for (i = 0; i < threads; i++) {
			if (lose == lose_page)
				start_spinner(member[k], spin_read,
					      page_of(member[k]), 1, i, 1 + i);
			else
				start_spinner(member[k], spin_read,
					      samples_of(member[k]), SAMPLES,
					      i, 1 + i);
		}
		for (i = 0; i < n; i++) {
			let_spin(threads);
			next_generation(lose);
			look(threads);
		}
		stop_spinners(threads);
		expect_no_bad(_metadata, what);
	}
}

PT_TEST(punch_page)
{
	spin_against(_metadata, lose_page, "page", 1);
}

PT_TEST(punch_chunk)
{
	spin_against(_metadata, lose_chunk, "chunk", 1);
}

PT_TEST(punch_all)
{
	spin_against(_metadata, lose_all, "file", 1);
}

PT_TEST(truncate_file)
{
	spin_against(_metadata, cut_file, "truncate", 1);
}

PT_TEST(truncate_in_chunk)
{
	spin_against(_metadata, cut_in_chunk, "truncate in a chunk", 1);
}

/* A process on several CPUs at a time is one member, and many flushes. */
PT_TEST(punch_page_threads)
{
	spin_against(_metadata, lose_page, "page, threads", 3);
}

/* Among so many that everything is flushed instead of each of them */
PT_TEST(punch_page_crowd)
{
	crowd = true;
	spin_against(_metadata, lose_page, "page, crowd", 2);
}

PT_TEST(punch_all_crowd)
{
	crowd = true;
	spin_against(_metadata, lose_all, "file, crowd", 1);
}

/* --- what one process does to its own chunk ------------------------------ */

enum own_op {
	OP_DONTNEED, OP_PROTECT, OP_MLOCK, OP_UNMAP, OP_REMAP, OP_MOVE, NR_OPS
};

static const char * const op_name[NR_OPS] = {
	"MADV_DONTNEED", "mprotect", "mlock", "munmap", "mmap over", "mremap",
};

/* To the page or pages at @addr: the chunk as a whole loses its table. */
static long do_op(struct pt_proc *p, enum own_op op, char *addr, size_t len)
{
	char *m;

	switch (op) {
	case OP_DONTNEED:
		return pt_sys(p, SYS_madvise, addr, len, (long)MADV_DONTNEED);
	case OP_PROTECT:
		return pt_sys(p, SYS_mprotect, addr, len, (long)RO);
	case OP_MLOCK:
		return pt_sys(p, SYS_mlock2, addr, len, 1L /* MLOCK_ONFAULT */);
	case OP_UNMAP:
		return pt_sys(p, SYS_munmap, addr, len);
	case OP_REMAP:
		m = pt_mmap(p, addr, len, RW, MAP_SHARED | MAP_FIXED, junk_fd,
			    0);
		return m == addr ? 0 : -errno;
	case OP_MOVE:
		m = pt_slot(p, 1);
		return pt_sys(p, SYS_mremap, addr, len, len,
			      (long)(MREMAP_MAYMOVE | MREMAP_FIXED), m) !=
		       (long)m;
	default:
		return -1;
	}
}

/* A fresh mapping of the chunk, which can be linked again */
static void map_chunk(struct __test_metadata *_metadata, struct pt_proc *p)
{
	char *addr = chunk_of(p);

	ASSERT_EQ(addr, pt_mmap(p, addr, PT_CHUNK, RW, MAP_SHARED | MAP_FIXED,
				fd, CHUNK_AT));
	ASSERT_EQ(0, pt_touch(p, addr, PT_CHUNK, true));
}

/*
 * A system call about one page unlinks the whole chunk, so the whole chunk has
 * to be flushed: the process is not a member any more when the other pages go.
 * Seen if the unlink flushed the one page only, or one page in each 2 MiB.
 */
PT_TEST(one_page_op_flushes_chunk)
{
	int op, i, n = pt_effort(8);
	struct pt_proc *b;

	make_members(_metadata);
	b = member[2];
	/* Links around the chunk would keep it a member, and so flushed. */
	ASSERT_EQ(0, pt_sys(b, SYS_munmap, pt_slot(b, 0), CHUNK_AT));
	ASSERT_EQ(0, pt_sys(b, SYS_munmap, chunk_of(b) + PT_CHUNK,
			    LEN - CHUNK_AT - PT_CHUNK));
	for (op = 0; op < NR_OPS; op++) {
		start_spinner(b, spin_read, samples_of(b), SAMPLES, 0, 1);
		for (i = 0; i < n; i++) {
			map_chunk(_metadata, b);
			let_spin(1);
			/* The spinner does not look at this page. */
			ASSERT_EQ(0, do_op(b, op, chunk_of(b), PT_PAGE));
			next_generation(lose_chunk);
			look(1);
		}
		stop_spinners(1);
		expect_no_bad(_metadata, op_name[op]);
	}
}

/* The same where the call is about everything */
PT_TEST(whole_op_flushes_all)
{
	int op, i, k, n = pt_effort(4);
	struct pt_proc *b;

	make_members(_metadata);
	b = member[2];
	for (op = 0; op < NR_OPS; op++) {
		if (op == OP_REMAP || op == OP_UNMAP || op == OP_MOVE)
			continue;	/* below: nothing is left to read */
		start_spinner(b, spin_read, samples_of(b), SAMPLES, 0, 1);
		for (i = 0; i < n; i++) {
			char *m = pt_slot(b, 0);

			ASSERT_EQ(m, pt_mmap(b, m, LEN, RW,
					     MAP_SHARED | MAP_FIXED, fd, 0));
			ASSERT_EQ(0, pt_touch(b, m, CHUNK_AT + PT_CHUNK, false));
			let_spin(1);
			ASSERT_EQ(0, do_op(b, op, m, LEN));
			/* Again: a fault may have brought some back already. */
			for (k = 0; k < 2; k++) {
				next_generation(lose_chunk);
				look(1);
			}
		}
		stop_spinners(1);
		expect_no_bad(_metadata, op_name[op]);
	}
}

/*
 * Rights that were taken away are gone on all CPUs when the call returns: no
 * thread may get at any page of the chunk after that.
 */
static void late_success(struct __test_metadata *_metadata, pt_fn spin,
			 long prot)
{
	static const size_t span[] = { PT_CHUNK, LEN };
	unsigned int i, k, n = pt_effort(10);
	struct pt_proc *b;
	char *m;

	make_members(_metadata);
	b = member[2];
	m = pt_slot(b, 0);
	start_spinner(b, spin, samples_of(b), SAMPLES, 0, 1);
	for (i = 0; i < n; i++) {
		size_t len = span[i & 1];
		char *addr = len == LEN ? m : chunk_of(b);

		ASSERT_EQ(m, pt_mmap(b, m, LEN, RW, MAP_SHARED | MAP_FIXED, fd,
				     0));
		ASSERT_EQ(0, pt_touch(b, chunk_of(b), PT_CHUNK, true));
		let_spin(1);
		ASSERT_EQ(0, prot < 0 ? pt_sys(b, SYS_munmap, addr, len) :
			     pt_sys(b, SYS_mprotect, addr, len, prot));
		pt_set(&CTL->closed, i + 1);
		for (k = 0; k < 2; k++)
			let_spin(1);
		pt_set(&CTL->closed, 0);
	}
	stop_spinners(1);
	expect_no_bad(_metadata, "late success");
}

PT_TEST(late_read_after_munmap)
{
	late_success(_metadata, spin_read, -1);
}

PT_TEST(late_read_after_prot_none)
{
	late_success(_metadata, spin_read, PROT_NONE);
}

PT_TEST(late_write_after_read_only)
{
	late_success(_metadata, spin_write, RO);
}

PT_TEST(late_write_after_munmap)
{
	late_success(_metadata, spin_write, -1);
}

/* --- races of unlink against the file ------------------------------------- */

/* Unlinks one chunk over and over, in the way of arg[1]. */
static long spin_unlink(unsigned long *arg)
{
	char *addr = (void *)arg[0];
	int op = arg[1], mapfd = arg[2];
	char *other = addr + (PAGE_IN + 1) * PT_PAGE;
	unsigned long was;

	if (pt_nr_cpus() > 2)
		pt_pin(arg[3]);
	pt_inc(&CTL->started);
	while (!pt_get(&CTL->stop)) {
		if (op == OP_DONTNEED) {
			madvise(other, PT_PAGE, MADV_DONTNEED);
		} else if (op == OP_PROTECT) {
			mprotect(other, PT_PAGE, RO);
			mprotect(other, PT_PAGE, RW);
		} else {
			/* Once private, a chunk would stay so: start afresh. */
			mmap(addr, PT_CHUNK, RW, MAP_SHARED | MAP_FIXED, mapfd,
			     CHUNK_AT);
		}
		pt_inc(&CTL->round[1]);
		/* Until the reader has the table again: else there is no race. */
		was = pt_get(&CTL->round[0]);
		while (pt_get(&CTL->round[0]) < was + 2 && !pt_get(&CTL->stop))
			;
	}
	pt_inc(&CTL->ended);
	return 0;
}

/*
 * One thread reads a page, another one of the same process makes its chunk lose
 * the table and get it again, while the page leaves the file and comes back.
 * Between clearing its entry and its own flush a process has to be flushed by
 * others, or what it lost sight of is freed under its TLB: shows a member that
 * is dropped before its flush, and a table that is.
 *
 * With tables of one's own an old generation may be seen meanwhile, though not
 * junk: a process that is about to flush may use the page until then, it holds
 * a reference. That goes for mprotect(), too, which splits the mapping in the
 * chunk. With shared tables whoever takes the page away flushes this process.
 */
static void race_unlink(struct __test_metadata *_metadata, enum own_op op,
			long delay_us)
{
	unsigned long was;
	struct pt_proc *b;
	long end, remote;

	make_members(_metadata);
	b = member[2];
	remote = pt_open_fd(b, fd);
	ASSERT_LE(0, remote);
	if (delay_us && !pt_set_delay_us(delay_us))
		SKIP(return, "no delay injection in this kernel");
	if (pt_nr_cpus() > 2)
		pt_pin(0);
	CTL->junk_only = !pt_on() || op == OP_PROTECT;
	next_generation(lose_page);
	start_spinner(b, spin_read, page_of(b), 1, 0, 1);
	was = CTL->started;
	pt_thread(b, spin_unlink, chunk_of(b), (unsigned long)op, remote, 2L);
	ASSERT_TRUE(pt_await(&CTL->started, was + 1));
	end = pt_now_ms() + pt_stress_ms();
	while (pt_now_ms() < end)
		next_generation(lose_page);
	stop_spinners(2);
	pt_set_delay_us(0);
	expect_no_bad(_metadata, op_name[op]);
	TH_LOG("%lu generations, %lu unlinks, %lu reads", CTL->gen,
	       CTL->round[1], CTL->round[0]);
}

PT_TEST(race_remap)
{
	race_unlink(_metadata, OP_REMAP, 0);
}

PT_TEST(race_dontneed)
{
	race_unlink(_metadata, OP_DONTNEED, 0);
}

PT_TEST(race_mprotect)
{
	race_unlink(_metadata, OP_PROTECT, 0);
}

PT_TEST(race_remap_delayed)
{
	race_unlink(_metadata, OP_REMAP, 300);
}

/* Long enough for virtual CPUs that share a real one to get their turn in it */
PT_TEST(race_remap_long_delay)
{
	race_unlink(_metadata, OP_REMAP, 5000);
}

PT_TEST(race_dontneed_delayed)
{
	race_unlink(_metadata, OP_DONTNEED, 300);
}

/* One unlink of the chunk at arg[0], in the way of arg[1], for arg[3] bytes */
static long unlink_once(unsigned long *arg)
{
	char *addr = (char *)arg[0];
	long ret;

	if (arg[1] == OP_DONTNEED)
		ret = madvise(addr, arg[3], MADV_DONTNEED);
	else
		ret = mmap(addr, PT_CHUNK, RW, MAP_SHARED | MAP_FIXED, arg[2],
			   CHUNK_AT) != addr;
	pt_set(&CTL->op_done, 1);
	return ret;
}

/*
 * Let a spinner look before the call that was started ends, which it can only
 * do with a stale entry. Was there time?
 */
static int look_in_window(void)
{
	int hit = !pt_get(&CTL->op_done);
	unsigned long round = pt_get(&CTL->round[0]);

	while (!pt_get(&CTL->op_done) && pt_get(&CTL->round[0]) < round + 3)
		sched_yield();
	return hit;
}

/*
 * The same order of events made certain: the debug kernel keeps a process in
 * the window between clearing its entry and its flush, and there another one
 * has the page taken offline, which migrates it. (Punching would hide what is
 * looked for: zapping the mappings of a file flushes a process that is about to
 * flush, member or not. Moving to another node first waits for all CPUs.)
 */
static void move_in_window(struct __test_metadata *_metadata, enum own_op op)
{
	int i, n = pt_effort(12), hit = 0, moved = 0;
	struct pt_proc *b;
	long remote;

	make_members(_metadata);
	b = member[2];
	remote = pt_open_fd(b, fd);
	ASSERT_LE(0, remote);
	if (!pt_on() || !pt_set_delay_us(100000))
		SKIP(return, "vm.ptshare is off, or no delay injection");
	/* The three parties must not stand in each other's way. */
	if (pt_nr_cpus() > 2)
		pt_pin(0);
	next_generation(lose_page);
	start_spinner(b, spin_read, page_of(b), 1, 0, 1);
	for (i = 0; i < n; i++) {
		long unlinks = pt_vmstat("ptshare_unlink");

		/* Mapped there, for the call to find it; on the LRU */
		ASSERT_EQ(0, pt_touch(member[0], page_of(member[0]), PT_PAGE,
				      true));
		pt_drain_lru();
		let_spin(1);
		pt_set(&CTL->op_done, 0);
		pt_start(b, unlink_once, chunk_of(b), (unsigned long)op, remote,
			 PT_PAGE);
		while (pt_vmstat("ptshare_unlink") == unlinks &&
		       !pt_get(&CTL->op_done))
			;
		moved += !pt_sys(member[0], SYS_madvise, page_of(member[0]),
				 PT_PAGE, (long)MADV_SOFT_OFFLINE);
		fill_page(PAGE_IN, CTL->gen + 1);
		pt_inc(&CTL->gen);
		hit += look_in_window();
		ASSERT_EQ(0, pt_finish(b));
	}
	pt_set_delay_us(0);
	stop_spinners(1);
	TH_LOG("%d of %d moved, %d in the window", moved, n, hit);
	expect_no_bad(_metadata, op_name[op]);
}

PT_TEST(move_page_in_remap)
{
	move_in_window(_metadata, OP_REMAP);
}

PT_TEST(move_page_in_dontneed)
{
	move_in_window(_metadata, OP_DONTNEED);
}

/*
 * A process drops a huge page, and before it has flushed its TLB the page is
 * punched out of the file. It is mapped nowhere and nothing is left to zap, but
 * who punches has to flush all the same: what another thread of that process
 * reads and writes there is not in the file any more.
 */
PT_TEST(punch_huge_in_dontneed)
{
	int i, n = pt_effort(12), hit = 0;
	struct pt_proc *b;
	long ret;

	make_members(_metadata);
	b = member[2];
	if (pt_nr_cpus() > 2)
		pt_pin(0);
	start_spinner(b, spin_read, samples_of(b), SAMPLES, 0, 1);
	for (i = 0; i < n; i++) {
		ret = pt_collapse(b, chunk_of(b), PT_CHUNK);
		if (ret == -EINVAL) {
			stop_spinners(1);
			SKIP(return, "no MADV_COLLAPSE of shared memory");
		}
		ASSERT_EQ(0, ret);
		let_spin(1);
		pt_set(&CTL->op_done, 0);
		pt_set_delay_us(200000);
		pt_start(b, unlink_once, chunk_of(b), (unsigned long)OP_DONTNEED,
			 -1L, PT_CHUNK);
		/* Not mapped any more; else the spinner has it again already. */
		while (pt_pagemap(b->pid, chunk_of(b)) >> 63 &&
		       !pt_get(&CTL->op_done))
			;
		next_generation(lose_chunk);
		hit += look_in_window();
		pt_set_delay_us(0);
		ASSERT_EQ(0, pt_finish(b));
	}
	stop_spinners(1);
	TH_LOG("%d of %d in the window", hit, n);
	expect_no_bad(_metadata, "huge page");
}

/*
 * Sharers that take turns on one CPU: the one that does not run keeps its TLB
 * entries where the CPU tags them by address space (PCID). It is not sent an
 * interrupt, so the generation of its address space has to tell it to flush.
 */
static void take_turns(struct __test_metadata *_metadata)
{
	int i, k, n = pt_effort(60);
	unsigned long val;

	make_members(_metadata);
	for (k = 0; k < MEMBERS; k++) {
		unsigned long *mask = pt_scratch(member[k]);

		*mask = 1;
		ASSERT_LE(0, pt_sys(member[k], SYS_sched_setaffinity, 0L,
				    sizeof(*mask), mask));
	}
	for (i = 0; i < n; i++) {
		next_generation(lose_page);
		for (k = 0; k < MEMBERS; k++) {
			ASSERT_EQ(0, pt_peek(member[k], page_of(member[k]), &val));
			EXPECT_EQ(MAGIC << 32 | CTL->gen, val);
		}
	}
}

PT_TEST(take_turns_on_one_cpu)
{
	take_turns(_metadata);
}

PT_TEST(take_turns_crowd)
{
	crowd = true;
	take_turns(_metadata);
}

#define TRAIL		2000UL		/* mappings behind the file, */
#define TRAIL_STEP	(2 * PT_CHUNK)	/* so far from each other */

/* Many mappings from arg[0] on, each with a page table of its own */
static long map_trail(unsigned long *arg)
{
	unsigned long addr = arg[0], i;

	for (i = 1; i < TRAIL; i++) {
		unsigned long *page = mmap((void *)(addr + i * TRAIL_STEP),
					   PT_PAGE, RW, MAP_PRIVATE |
					   MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
					   -1, 0);

		if (page == MAP_FAILED)
			return -errno;
		*page = i;
	}
	return 0;
}

static long unmap_once(unsigned long *arg)
{
	long ret = munmap((void *)arg[0], arg[1]);

	pt_set(&CTL->op_done, 1);
	return ret;
}

/* Another number at arg[0] each time, as long as it is mapped */
static long spin_change(unsigned long *arg)
{
	unsigned long *round = (void *)arg[2];

	if (pt_nr_cpus() > 2)
		pt_pin(arg[3]);
	pt_inc(&CTL->started);
	while (!pt_store((void *)arg[0], *round))
		pt_inc(round);
	pt_inc(&CTL->ended);
	return 0;
}

/*
 * A file is mapped and written to by one process, which unmaps it and much
 * else, so that this takes a while. Once nothing maps the file writable it can
 * be sealed, and then the process's other thread must not change it any more.
 */
PT_TEST(seal_after_munmap)
{
	const off_t at = CHUNK_AT + PAGE_IN * PT_PAGE;
	int i, n = pt_effort(8), hit = 0;
	struct pt_proc *b = pt_spawn();
	char *addr = pt_slot(b, PT_SLOTS);	/* behind the slots */
	unsigned long was, is;

	if (pt_nr_cpus() > 2)
		pt_pin(0);
	for (i = 0; i < n; i++) {
		fd = pt_memfd(LEN);
		ASSERT_EQ(addr, pt_mmap(b, addr, LEN, RW, MAP_SHARED |
					MAP_FIXED_NOREPLACE, fd, 0));
		ASSERT_EQ(0, pt_touch(b, addr + CHUNK_AT, PT_CHUNK, true));
		ASSERT_EQ(0, pt_call(b, map_trail, addr + LEN));
		start_spinner(b, spin_change, addr + at, 1, 0, 1);
		let_spin(1);
		pt_set(&CTL->op_done, 0);
		pt_start(b, unmap_once, addr, LEN + TRAIL * TRAIL_STEP);
		while (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
			ASSERT_EQ(EBUSY, errno);
		ASSERT_EQ((ssize_t)sizeof(was), pread(fd, &was, sizeof(was), at));
		hit += !pt_get(&CTL->op_done);
		ASSERT_EQ(0, pt_finish(b));
		stop_spinners(1);
		ASSERT_EQ((ssize_t)sizeof(is), pread(fd, &is, sizeof(is), at));
		EXPECT_EQ(was, is);
		close(fd);
	}
	TH_LOG("%d of %d sealed during munmap", hit, n);
}

TEST_HARNESS_MAIN
