// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: what one process does to its own mapping stays its own affair.
 *
 * In each test one sharer (@v) changes its mapping, and @o[] must notice
 * nothing: contents, rights, and that they are linked as before. @v must find
 * exactly what it would find with tables of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "vm_util.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(16 * MB)
#define CHUNKS		(LEN / PT_CHUNK)
/* Some chunk in the middle, and a page in its middle */
#define CHUNK_AT	(6 * MB)
#define PAGE_AT		(CHUNK_AT + 100 * PT_PAGE)

struct trio {
	int fd;
	struct pt_proc *v, *o[2];
	char *mv, *mo[2];
	unsigned long seed;
};

static struct trio t;

/* Three processes that have written all of a file, in turn */
static void make_trio(struct __test_metadata *_metadata)
{
	int i;

	t.fd = pt_memfd(LEN);
	t.seed = 1;
	t.v = pt_spawn();
	t.mv = pt_map(t.v, 0, t.fd, LEN, 0, RW);
	ASSERT_EQ(0, pt_fill(t.v, t.mv, 0, LEN, t.seed));
	for (i = 0; i < 2; i++) {
		t.o[i] = pt_spawn();
		t.mo[i] = pt_map(t.o[i], i + 1, t.fd, LEN, 0, RW);
		ASSERT_EQ(0, pt_touch(t.o[i], t.mo[i], LEN, true));
	}
}

/* The others have all contents, may write, and did not lose a single link. */
static void others_are_fine(struct __test_metadata *_metadata)
{
	long links = pt_vmstat("ptshare_link");
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, pt_touch(t.o[i], t.mo[i], LEN, true));
		EXPECT_EQ(0, pt_verify(t.o[i], t.mo[i], 0, LEN, t.seed));
		EXPECT_EQ(pt_on() ? 0 : (long)CHUNKS, pt_private_tables(t.o[i]));
	}
	EXPECT_EQ(links, pt_vmstat("ptshare_link"));
}

/* And what they write arrives at @v, and the other way round. */
static void all_see_one_file(struct __test_metadata *_metadata)
{
	t.seed++;
	EXPECT_EQ(0, pt_fill(t.o[1], t.mo[1], 0, LEN / 2, t.seed));
	EXPECT_EQ(0, pt_fill(t.v, t.mv + LEN / 2, LEN / 2 / PT_PAGE, LEN / 2,
			     t.seed));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	others_are_fine(_metadata);
}

static long v_protect(char *addr, size_t len, long prot)
{
	return pt_sys(t.v, SYS_mprotect, addr, len, prot);
}

static long v_advise(char *addr, size_t len, long advice)
{
	return pt_sys(t.v, SYS_madvise, addr, len, advice);
}

/* mprotect() of @len bytes at @off: effective at once, for @v only */
static void protect_range(struct __test_metadata *_metadata, size_t off,
			  size_t len)
{
	char *first = t.mv + off, *last = first + len - PT_PAGE;
	unsigned long val, want = pt_stamp(t.seed, off / PT_PAGE);

	ASSERT_EQ(0, v_protect(first, len, RO));
	EXPECT_EQ(SIGSEGV, pt_poke(t.v, first, 0));
	EXPECT_EQ(SIGSEGV, pt_poke(t.v, last, 0));
	EXPECT_EQ(0, pt_peek(t.v, first, &val));
	EXPECT_EQ(want, val);
	if (off)
		EXPECT_EQ(0, pt_touch(t.v, first - PT_PAGE, PT_PAGE, true));
	others_are_fine(_metadata);
	/* Others have written again: still read-only here */
	EXPECT_EQ(SIGSEGV, pt_poke(t.v, first, 0));
	EXPECT_EQ(SIGSEGV, pt_poke(t.v, last, 0));

	ASSERT_EQ(0, v_protect(first, len, PROT_NONE));
	EXPECT_EQ(SIGSEGV, pt_peek(t.v, first, &val));
	EXPECT_EQ(SIGSEGV, pt_peek(t.v, last, &val));
	others_are_fine(_metadata);
	EXPECT_EQ(SIGSEGV, pt_peek(t.v, first, &val));

	ASSERT_EQ(0, v_protect(first, len, RW));
	EXPECT_EQ(0, pt_touch(t.v, t.mv, LEN, true));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	all_see_one_file(_metadata);
}

PT_TEST(mprotect_whole)
{
	make_trio(_metadata);
	protect_range(_metadata, 0, LEN);
}

PT_TEST(mprotect_chunk)
{
	make_trio(_metadata);
	protect_range(_metadata, CHUNK_AT, PT_CHUNK);
}

PT_TEST(mprotect_page)
{
	make_trio(_metadata);
	protect_range(_metadata, PAGE_AT, PT_PAGE);
}

/* Pages from the middle of one chunk to the middle of another */
PT_TEST(mprotect_across_chunks)
{
	make_trio(_metadata);
	protect_range(_metadata, PAGE_AT, 5 * MB);
}

/* DONTNEED of shared file memory loses nothing, for nobody. */
PT_TEST(dontneed)
{
	static const size_t part[][2] = {
		{ PAGE_AT, PT_PAGE }, { CHUNK_AT, PT_CHUNK }, { 0, LEN },
		{ PAGE_AT, 7 * MB },
	};
	unsigned int i;

	make_trio(_metadata);
	for (i = 0; i < ARRAY_SIZE(part); i++) {
		ASSERT_EQ(0, v_advise(t.mv + part[i][0], part[i][1],
				      MADV_DONTNEED));
		others_are_fine(_metadata);
		EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
		/* The chunk is linked again, not turned private. */
		EXPECT_EQ(pt_on() ? 0 : (long)CHUNKS, pt_private_tables(t.v));
		all_see_one_file(_metadata);
	}
}

/* Where a mapping was, another file appears, not the old pages. */
static void replace_range(struct __test_metadata *_metadata, size_t off,
			  size_t len, bool unmap_first)
{
	int other = pt_stamped_memfd(LEN, 77);
	unsigned long val;

	if (unmap_first) {
		ASSERT_EQ(0, pt_sys(t.v, SYS_munmap, t.mv + off, len));
		EXPECT_EQ(SIGSEGV, pt_peek(t.v, t.mv + off, &val));
		EXPECT_EQ(SIGSEGV, pt_peek(t.v, t.mv + off + len - PT_PAGE, &val));
		others_are_fine(_metadata);
	}
	ASSERT_EQ(t.mv + off, pt_mmap(t.v, t.mv + off, len, RW,
				      MAP_SHARED | MAP_FIXED, other, off));
	EXPECT_EQ(0, pt_verify(t.v, t.mv + off, off / PT_PAGE, len, 77));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, off, t.seed));
	EXPECT_EQ(0, pt_verify(t.v, t.mv + off + len, (off + len) / PT_PAGE,
			       LEN - off - len, t.seed));
	others_are_fine(_metadata);
	/* Writing there is writing to the new file. */
	EXPECT_EQ(0, pt_fill(t.v, t.mv + off, off / PT_PAGE, len, 78));
	others_are_fine(_metadata);
	close(other);

	/* And back again */
	ASSERT_EQ(t.mv + off, pt_mmap(t.v, t.mv + off, len, RW,
				      MAP_SHARED | MAP_FIXED, t.fd, off));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	all_see_one_file(_metadata);
}

PT_TEST(munmap_and_map_another)
{
	make_trio(_metadata);
	replace_range(_metadata, PAGE_AT, PT_PAGE, true);
	replace_range(_metadata, CHUNK_AT + MB, MB, true);
	replace_range(_metadata, CHUNK_AT, PT_CHUNK, true);
	replace_range(_metadata, 0, LEN, true);
}

PT_TEST(map_fixed_over)
{
	make_trio(_metadata);
	replace_range(_metadata, PAGE_AT, PT_PAGE, false);
	replace_range(_metadata, CHUNK_AT, MB, false);
	replace_range(_metadata, CHUNK_AT + MB, 5 * MB, false);
	replace_range(_metadata, 0, LEN, false);
}

/* Anonymous memory in the middle of a file mapping has nothing of the file. */
PT_TEST(anonymous_over)
{
	unsigned long val;
	char *m;

	make_trio(_metadata);
	m = t.mv + CHUNK_AT + MB;
	ASSERT_EQ(m, pt_mmap(t.v, m, 3 * MB, RW,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, pt_peek(t.v, m, &val));
	EXPECT_EQ(0UL, val);
	EXPECT_EQ(0, pt_fill(t.v, m, 0, 3 * MB, 99));
	others_are_fine(_metadata);
	EXPECT_EQ(0, pt_verify(t.v, m, 0, 3 * MB, 99));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, CHUNK_AT + MB, t.seed));
}

/*
 * mremap() must not take the shared entries along: old place empty, new place
 * complete, also where the new address does not fit the offset (which makes
 * those chunks private), or where it moves a part of a chunk.
 */
PT_TEST(mremap_move)
{
	static const struct {
		size_t off, len, shift;
	} move[] = {
		{ 0, LEN, 0 },
		{ 0, LEN, 5 * PT_PAGE },
		{ CHUNK_AT, 2 * PT_CHUNK, 0 },
		{ CHUNK_AT, 2 * PT_CHUNK, MB },
		{ PAGE_AT, PT_PAGE, 0 },
		{ PAGE_AT, 6 * MB, PAGE_AT % PT_CHUNK },
	};
	unsigned int i;

	make_trio(_metadata);
	for (i = 0; i < ARRAY_SIZE(move); i++) {
		char *from = t.mv + move[i].off;
		char *to = pt_slot(t.v, 3) + move[i].shift;
		size_t len = move[i].len;
		unsigned long val, pgno = move[i].off / PT_PAGE;

		ASSERT_EQ((long)to,
			  pt_sys(t.v, SYS_mremap, from, len, len,
				 (long)(MREMAP_MAYMOVE | MREMAP_FIXED), to));
		EXPECT_EQ(SIGSEGV, pt_peek(t.v, from, &val));
		EXPECT_EQ(SIGSEGV, pt_peek(t.v, from + len - PT_PAGE, &val));
		EXPECT_EQ(0, pt_verify(t.v, to, pgno, len, t.seed));
		others_are_fine(_metadata);
		/* At the new place, the pages still follow the file. */
		pt_punch(t.fd, move[i].off, len);
		pt_stamp_file(t.fd, pgno, len, t.seed);
		EXPECT_EQ(0, pt_verify(t.v, to, pgno, len, t.seed));
		EXPECT_EQ(0, pt_fill(t.v, to, pgno, len, t.seed));
		EXPECT_EQ(0, pt_verify(t.o[0], t.mo[0], 0, LEN, t.seed));
		EXPECT_EQ(0, pt_verify(t.o[1], t.mo[1], 0, LEN, t.seed));

		ASSERT_EQ((long)from,
			  pt_sys(t.v, SYS_mremap, to, len, len,
				 (long)(MREMAP_MAYMOVE | MREMAP_FIXED), from));
		EXPECT_EQ(SIGSEGV, pt_peek(t.v, to, &val));
		EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
		all_see_one_file(_metadata);
	}
	/* Counters that went wrong show when the process is gone. */
	pt_kill(t.v);
	others_are_fine(_metadata);
}

PT_TEST(mremap_grow_shrink)
{
	unsigned long val;

	make_trio(_metadata);
	ASSERT_EQ((long)t.mv, pt_sys(t.v, SYS_mremap, t.mv, LEN,
				     LEN - 3 * MB, 0L));
	EXPECT_EQ(SIGSEGV, pt_peek(t.v, t.mv + LEN - 3 * MB, &val));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN - 3 * MB, t.seed));
	others_are_fine(_metadata);
	ASSERT_EQ((long)t.mv, pt_sys(t.v, SYS_mremap, t.mv, LEN - 3 * MB,
				     LEN, 0L));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	all_see_one_file(_metadata);

	/* Larger than the file, in place: SIGBUS behind it until it grows. */
	ASSERT_EQ((long)t.mv, pt_sys(t.v, SYS_mremap, t.mv, LEN, 2 * LEN, 0L));
	EXPECT_EQ(SIGBUS, pt_peek(t.v, t.mv + LEN, &val));
	ASSERT_EQ(0, ftruncate(t.fd, 2 * LEN));
	EXPECT_EQ(0, pt_peek(t.v, t.mv + LEN, &val));
	EXPECT_EQ(0UL, val);
	others_are_fine(_metadata);
}

/* The old place stays mapped, and is filled again from the file. */
PT_TEST(mremap_dontunmap)
{
	char *to;
	long ret;

	make_trio(_metadata);
	to = pt_slot(t.v, 3);
	ret = pt_sys(t.v, SYS_mremap, t.mv, LEN, LEN,
		     (long)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP),
		     to);
	if (ret == -EINVAL)
		SKIP(return, "no MREMAP_DONTUNMAP for files");
	ASSERT_EQ((long)to, ret);
	EXPECT_EQ(0, pt_verify(t.v, to, 0, LEN, t.seed));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	others_are_fine(_metadata);
	all_see_one_file(_metadata);
	EXPECT_EQ(0, pt_verify(t.v, to, 0, LEN, t.seed));
	pt_kill(t.v);
	others_are_fine(_metadata);
}

/* kB that are locked; what waits in per-CPU batches to be counted is included. */
static long mlocked_now(void)
{
	pt_drain_lru();
	return pt_meminfo("Mlocked");
}

/*
 * Wait for the kernel to have @want kB mlocked, which it counts in batches;
 * give or take what the rest of the system may lock meanwhile.
 */
static long mlocked_settles(long want)
{
	long end = pt_now_ms() + 30000, slack = 64, now;

	do {
		now = mlocked_now();
		if (labs(now - want) <= slack)
			return want;
		pt_sleep_ms(50);
	} while (pt_now_ms() < end);
	return now;
}

/*
 * A locked chunk is private: through the shared table the pages would be
 * locked in the name of someone who never unlocks them.
 */
PT_TEST(mlock)
{
	long before = mlocked_now();
	char *part;

	make_trio(_metadata);
	part = t.mv + CHUNK_AT;
	ASSERT_EQ(0, pt_sys(t.v, SYS_mlock, part, 4 * PT_CHUNK));
	EXPECT_EQ(before + 8192, mlocked_settles(before + 8192));
	if (pt_on())
		EXPECT_EQ(4, pt_private_tables(t.v));
	others_are_fine(_metadata);
	EXPECT_EQ(8192, pt_status(t.v->pid, "VmLck"));
	EXPECT_EQ(0, pt_smaps(t.o[0]->pid, t.mo[0] + CHUNK_AT, "Locked"));
	all_see_one_file(_metadata);

	ASSERT_EQ(0, pt_sys(t.v, SYS_munlock, part, 2 * PT_CHUNK));
	EXPECT_EQ(before + 4096, mlocked_settles(before + 4096));
	/* The rest goes with the mapping. */
	ASSERT_EQ(0, pt_sys(t.v, SYS_munmap, part, 4 * PT_CHUNK));
	EXPECT_EQ(before, mlocked_settles(before));
	others_are_fine(_metadata);

	/* All there is and comes; released by exit */
	ASSERT_EQ(0, pt_sys(t.v, SYS_mlockall,
			    (long)(MCL_CURRENT | MCL_FUTURE)));
	EXPECT_LE(before + (long)(LEN - 4 * PT_CHUNK) / 1024,
		  pt_meminfo("Mlocked") + 64);
	others_are_fine(_metadata);
	pt_kill(t.v);
	EXPECT_EQ(before, mlocked_settles(before));
	others_are_fine(_metadata);
}

/* Locked from the start, as mmap() flag and for what comes later */
PT_TEST(map_locked)
{
	long before = mlocked_now();
	char *m;

	make_trio(_metadata);
	m = pt_slot(t.v, 1);
	ASSERT_EQ(m, pt_mmap(t.v, m, LEN, RW,
			     MAP_SHARED | MAP_FIXED | MAP_LOCKED, t.fd, 0));
	EXPECT_EQ(before + (long)LEN / 1024,
		  mlocked_settles(before + (long)LEN / 1024));
	EXPECT_EQ((long)LEN / 1024, pt_status(t.v->pid, "VmLck"));
	EXPECT_EQ(0, pt_verify(t.v, m, 0, LEN, t.seed));
	all_see_one_file(_metadata);
	ASSERT_EQ(0, pt_sys(t.v, SYS_munmap, m, LEN));
	EXPECT_EQ(before, mlocked_settles(before));
	others_are_fine(_metadata);
}

/* --- userfaultfd --------------------------------------------------------- */

static long open_uffd(unsigned long *arg)
{
	struct uffdio_api api = { .api = UFFD_API, .features = arg[0] };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	return ioctl(fd, UFFDIO_API, &api) ? -errno : fd;
}

static long uffd_arm(unsigned long *arg)
{
	struct uffdio_register reg = {
		.range = { arg[1], arg[2] }, .mode = arg[3],
	};

	return ioctl(arg[0], UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static long uffd_protect(unsigned long *arg)
{
	struct uffdio_writeprotect wp = {
		.range = { arg[1], arg[2] }, .mode = arg[3],
	};

	return ioctl(arg[0], UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

static long uffd_continue(unsigned long *arg)
{
	struct uffdio_continue cont = { .range = { arg[1], arg[2] } };

	return ioctl(arg[0], UFFDIO_CONTINUE, &cont) ? -errno : 0;
}

static long uffd_zeropage(unsigned long *arg)
{
	struct uffdio_zeropage zero = { .range = { arg[1], arg[2] } };

	return ioctl(arg[0], UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

struct access {
	unsigned long done;
	unsigned long val;
};

static long access_in_thread(unsigned long *arg)
{
	struct access *acc = (void *)arg[1];

	if (arg[2])
		pt_store((void *)arg[0], arg[2]);
	else
		pt_load((void *)arg[0], &acc->val);
	pt_set(&acc->done, 1);
	return 0;
}

/* The address the next event is about, 0 if there is none in a while. */
static long uffd_event(unsigned long *arg)
{
	struct pollfd pfd = { .fd = arg[0], .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pfd, 1, arg[1]) != 1 ||
	    read(arg[0], &msg, sizeof(msg)) != sizeof(msg))
		return 0;
	return msg.arg.pagefault.address & ~(PT_PAGE - 1);
}

/* Let a thread of @v touch addr, which must stop it. @val 0 means reading. */
static void expect_event(struct __test_metadata *_metadata, long uffd,
			 char *addr, unsigned long val)
{
	struct access *acc = PT_CTL(struct access);

	pt_set(&acc->done, 0);
	pt_thread(t.v, access_in_thread, addr, acc, val);
	EXPECT_EQ((long)addr, pt_call(t.v, uffd_event, uffd, 60000L));
	EXPECT_EQ(0UL, pt_get(&acc->done));
}

static bool access_finishes(void)
{
	return pt_await(&PT_CTL(struct access)->done, 1);
}

/*
 * Of pages that others have mapped, a process that asks for minor faults must
 * be told at its first access, so registration has to end the sharing.
 */
PT_TEST(uffd_minor)
{
	char *addr;
	long uffd;

	make_trio(_metadata);
	uffd = pt_call(t.v, open_uffd, (long)UFFD_FEATURE_MINOR_SHMEM);
	if (uffd < 0)
		SKIP(return, "no userfaultfd minor faults for shmem");
	/* @v has not seen this page since; the others map it anew. */
	addr = t.mv + PAGE_AT;
	pt_punch(t.fd, PAGE_AT, PT_PAGE);
	ASSERT_EQ(0, pt_call(t.v, uffd_arm, uffd, t.mv, LEN,
			     (long)UFFDIO_REGISTER_MODE_MINOR));
	pt_stamp_file(t.fd, PAGE_AT / PT_PAGE, PT_PAGE, t.seed);
	others_are_fine(_metadata);

	expect_event(_metadata, uffd, addr, 0);
	others_are_fine(_metadata);
	ASSERT_EQ(0, pt_call(t.v, uffd_continue, uffd, addr, PT_PAGE));
	EXPECT_TRUE(access_finishes());
	EXPECT_EQ(pt_stamp(t.seed, PAGE_AT / PT_PAGE),
		  PT_CTL(struct access)->val);
	others_are_fine(_metadata);
}

/* Holes: only the process that registered is stopped. */
PT_TEST(uffd_missing)
{
	unsigned long val;
	char *addr;
	long uffd;

	make_trio(_metadata);
	uffd = pt_call(t.v, open_uffd, (long)UFFD_FEATURE_MISSING_SHMEM);
	if (uffd < 0)
		SKIP(return, "no userfaultfd for shmem");
	addr = t.mv + PAGE_AT;
	ASSERT_EQ(0, pt_call(t.v, uffd_arm, uffd, t.mv, LEN,
			     (long)UFFDIO_REGISTER_MODE_MISSING));
	pt_punch(t.fd, PAGE_AT, 2 * PT_PAGE);
	expect_event(_metadata, uffd, addr, 0);
	/* Others fill their hole as ever, without asking anybody. */
	EXPECT_EQ(0, pt_peek(t.o[0], t.mo[0] + PAGE_AT + PT_PAGE, &val));
	EXPECT_EQ(0UL, val);
	EXPECT_EQ(0, pt_poke(t.o[1], t.mo[1] + PAGE_AT + PT_PAGE, 5));
	ASSERT_EQ(0, pt_call(t.v, uffd_zeropage, uffd, addr, PT_PAGE));
	EXPECT_TRUE(access_finishes());
	EXPECT_EQ(0UL, PT_CTL(struct access)->val);
	pt_stamp_file(t.fd, PAGE_AT / PT_PAGE, 2 * PT_PAGE, t.seed);
	others_are_fine(_metadata);
}

/* Write protection by userfaultfd holds in one process and stays there. */
PT_TEST(uffd_wp)
{
	unsigned long feat = UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
			     UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	struct pt_proc *late;
	char *addr, *ml;
	long uffd;

	make_trio(_metadata);
	uffd = pt_call(t.v, open_uffd, feat);
	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection for shmem");
	addr = t.mv + PAGE_AT;
	ASSERT_EQ(0, pt_call(t.v, uffd_arm, uffd, t.mv, LEN,
			     (long)UFFDIO_REGISTER_MODE_WP));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	ASSERT_EQ(0, pt_call(t.v, uffd_protect, uffd, t.mv, LEN,
			     (long)UFFDIO_WRITEPROTECT_MODE_WP));
	others_are_fine(_metadata);
	late = pt_spawn();
	ml = pt_map(late, 0, t.fd, LEN, 0, RW);
	EXPECT_EQ(0, pt_touch(late, ml, LEN, true));

	expect_event(_metadata, uffd, addr, pt_stamp(t.seed, PAGE_AT / PT_PAGE));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	ASSERT_EQ(0, pt_call(t.v, uffd_protect, uffd, addr, PT_PAGE, 0L));
	EXPECT_TRUE(access_finishes());
	others_are_fine(_metadata);
	EXPECT_EQ(0, pt_verify(late, ml, 0, LEN, t.seed));
}

/* --- soft-dirty ---------------------------------------------------------- */

static bool soft_dirty(struct pt_proc *p, char *addr)
{
	return pt_pagemap(p->pid, addr) & PM_SOFT_DIRTY;
}

/* "Written by this process since": writes of others are not. */
PT_TEST(soft_dirty)
{
	char path[64];

	make_trio(_metadata);
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", t.v->pid);
	/* All of a new mapping counts as written. */
	if (!soft_dirty(t.v, t.mv) || pt_write_file(path, "4"))
		SKIP(return, "no soft-dirty tracking");
	/* That much must work with tables of one's own. */
	EXPECT_FALSE(soft_dirty(t.v, t.mv + PAGE_AT));
	others_are_fine(_metadata);
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	EXPECT_FALSE(soft_dirty(t.v, t.mv + PAGE_AT));
	EXPECT_FALSE(soft_dirty(t.v, t.mv + PAGE_AT + PT_PAGE));
	EXPECT_EQ(0, pt_fill(t.o[0], t.mo[0], 0, LEN, ++t.seed));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	EXPECT_FALSE(soft_dirty(t.v, t.mv + PAGE_AT));
	EXPECT_EQ(0, pt_touch(t.v, t.mv + PAGE_AT, PT_PAGE, true));
	EXPECT_TRUE(soft_dirty(t.v, t.mv + PAGE_AT));
	EXPECT_FALSE(soft_dirty(t.v, t.mv + PAGE_AT + PT_PAGE));
	/* Others did not lose theirs. */
	EXPECT_TRUE(soft_dirty(t.o[0], t.mo[0] + PAGE_AT + PT_PAGE));
	EXPECT_TRUE(soft_dirty(t.o[1], t.mo[1] + PAGE_AT + PT_PAGE));
	others_are_fine(_metadata);
}

/* Clearing referenced bits is allowed to show in others, nothing else is. */
PT_TEST(clear_referenced)
{
	char path[64];
	int i;

	make_trio(_metadata);
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", t.v->pid);
	for (i = 1; i <= 3; i++) {
		char how[2] = { '0' + i, 0 };

		EXPECT_EQ(0, pt_write_file(path, how));
		EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
		others_are_fine(_metadata);
	}
}

/* --- looking at memory from elsewhere ------------------------------------ */

/* What is resident is a matter of the file, not of the tables. */
PT_TEST(mincore)
{
	struct pt_proc *late;
	unsigned char *vec;
	unsigned long i;
	char *ml;

	make_trio(_metadata);
	late = pt_spawn();
	ml = pt_map(late, 0, t.fd, LEN, 0, RW);
	vec = pt_scratch(late);
	for (i = 0; i < CHUNKS; i += 2) {
		pt_punch(t.fd, i * PT_CHUNK, PT_PAGE);
		ASSERT_EQ(0, pt_sys(late, SYS_mincore, ml + i * PT_CHUNK,
				    2 * PT_PAGE, vec));
		EXPECT_EQ(0, vec[0] & 1);
		EXPECT_EQ(1, vec[1] & 1);
		EXPECT_EQ(0, pt_touch(late, ml + i * PT_CHUNK, PT_PAGE, true));
		ASSERT_EQ(0, pt_sys(late, SYS_mincore, ml + i * PT_CHUNK,
				    2 * PT_PAGE, vec));
		EXPECT_EQ(1, vec[0] & 1);
		ASSERT_EQ(0, pt_sys(t.v, SYS_mincore, t.mv + i * PT_CHUNK,
				    2 * PT_PAGE, pt_scratch(t.v)));
		EXPECT_EQ(1, *(unsigned char *)pt_scratch(t.v) & 1);
		pt_stamp_file(t.fd, i * PT_CHUNK_PAGES, PT_PAGE, t.seed);
	}
	others_are_fine(_metadata);
}

/* Reading and writing the memory of a process faults in its mapping. */
PT_TEST(process_vm_access)
{
	static char buf[PT_PAGE];
	struct pt_proc *late;
	unsigned long i;
	char *ml;

	make_trio(_metadata);
	late = pt_spawn();
	ml = pt_map(late, 2, t.fd, LEN, 0, RW);
	for (i = 0; i < LEN / PT_PAGE; i += 123) {
		struct iovec local = { buf, PT_PAGE };
		struct iovec remote = { ml + i * PT_PAGE, PT_PAGE };

		ASSERT_EQ((ssize_t)PT_PAGE,
			  process_vm_readv(late->pid, &local, 1, &remote, 1, 0));
		EXPECT_TRUE(pt_page_ok(buf, t.seed, i));
		pt_stamp_page(buf, 50, i);
		ASSERT_EQ((ssize_t)PT_PAGE,
			  process_vm_writev(late->pid, &local, 1, &remote, 1, 0));
		EXPECT_EQ(0, pt_verify(t.v, t.mv + i * PT_PAGE, i, PT_PAGE, 50));
		EXPECT_EQ(0, pt_fill(t.o[0], t.mo[0] + i * PT_PAGE, i, PT_PAGE,
				     t.seed));
	}
	EXPECT_EQ(pt_on() ? 0 : (long)CHUNKS, pt_private_tables(late));
	others_are_fine(_metadata);

	/* Not even ptrace() writes to a shared mapping that is read-only. */
	ml = pt_map(late, 3, t.fd, LEN, 0, RO);
	ASSERT_EQ(0, ptrace(PTRACE_ATTACH, late->pid, 0, 0));
	ASSERT_EQ(late->pid, waitpid(late->pid, NULL, __WALL));
	errno = 0;
	EXPECT_EQ(pt_stamp(t.seed, 0),
		  (unsigned long)ptrace(PTRACE_PEEKDATA, late->pid, ml, 0));
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, late->pid, ml, 1));
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, late->pid, pt_slot(late, 2) +
			    PAGE_AT, pt_stamp(t.seed, PAGE_AT / PT_PAGE)));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, late->pid, 0, 0));
	others_are_fine(_metadata);
}

/* The kernel itself faults in the mapping when it copies from and to it. */
PT_TEST(kernel_copies)
{
	int source = pt_stamped_memfd(LEN, 30);
	struct pt_proc *late;
	unsigned long i;
	char *ml;
	long in;

	make_trio(_metadata);
	late = pt_spawn();
	ml = pt_map(late, 2, t.fd, LEN, 0, RW);
	in = pt_open_fd(late, source);
	ASSERT_LE(0, in);
	for (i = 0; i < LEN; i += MB) {
		ASSERT_EQ((long)MB, pt_sys(late, SYS_pread64, in, ml + i, MB, i));
		EXPECT_EQ(0, pt_verify(t.v, t.mv + i, i / PT_PAGE, MB, 30));
	}
	ASSERT_EQ(0, pt_fill(t.o[0], t.mo[0], 0, LEN, ++t.seed));
	ASSERT_EQ((long)LEN, pt_sys(late, SYS_pwrite64, in, ml, LEN, 0L));
	EXPECT_EQ(pt_on() ? 0 : (long)CHUNKS, pt_private_tables(late));
	ml = mmap(NULL, LEN, RO, MAP_SHARED, source, 0);
	ASSERT_NE(MAP_FAILED, ml);
	for (i = 0; i < LEN / PT_PAGE; i++)
		EXPECT_TRUE(pt_page_ok(ml + i * PT_PAGE, t.seed, i));
	others_are_fine(_metadata);
}

/* --- processes that come and go ------------------------------------------ */

PT_TEST(fork_changes_exit)
{
	struct pt_proc *child;

	make_trio(_metadata);
	child = pt_fork(t.v);
	EXPECT_EQ(0, pt_verify(child, t.mv, 0, LEN, t.seed));
	if (pt_on())
		EXPECT_EQ(0, pt_private_tables(child));
	/* What the child does is nobody's business, not even its parent's. */
	EXPECT_EQ(0, pt_sys(child, SYS_mprotect, t.mv, LEN, (long)RO));
	EXPECT_EQ(0, pt_touch(t.v, t.mv, LEN, true));
	EXPECT_EQ(SIGSEGV, pt_poke(child, t.mv, 0));
	EXPECT_EQ(0, pt_sys(child, SYS_munmap, t.mv, LEN / 2));
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	others_are_fine(_metadata);
	pt_kill(child);
	all_see_one_file(_metadata);
	child = pt_fork(t.v);
	pt_kill(t.v);
	EXPECT_EQ(0, pt_verify(child, t.mv, 0, LEN, t.seed));
	others_are_fine(_metadata);
	t.v = child;
	all_see_one_file(_metadata);
}

static long exec_in_child(unsigned long *arg)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		*(unsigned long *)arg[0] = arg[1];
		execl("/proc/self/exe", "ptshare-exec", "-h", NULL);
		_exit(1);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? 0 : -1;
}

/* exec() leaves the old memory, with all its links. */
PT_TEST(fork_exec)
{
	int null, err;

	make_trio(_metadata);
	/* The usage message of -h is of no interest. */
	null = pt_open(t.v, "/dev/null", O_WRONLY);
	err = pt_sys(t.v, SYS_dup2, (long)null, 2L);
	ASSERT_EQ(2, err);
	EXPECT_EQ(0, pt_call(t.v, exec_in_child, t.mv + PAGE_AT,
			     pt_stamp(t.seed, PAGE_AT / PT_PAGE)));
	others_are_fine(_metadata);
	all_see_one_file(_metadata);
}

/* --- advice and placement ------------------------------------------------- */

/* Advice of one process: allowed to do nothing, never to do damage. */
PT_TEST(madvise_hints)
{
	static const int advice[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_RANDOM,
		MADV_SEQUENTIAL, MADV_NORMAL, MADV_DONTDUMP, MADV_DODUMP,
		MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
	};
	unsigned int i;

	make_trio(_metadata);
	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		long ret = v_advise(t.mv + CHUNK_AT, 3 * PT_CHUNK, advice[i]);

		EXPECT_TRUE(!ret || ret == -EINVAL)
			TH_LOG("advice %d: %ld", advice[i], ret);
		EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
		others_are_fine(_metadata);
	}
	all_see_one_file(_metadata);
	/* Removal is an operation on the file and reaches everybody. */
	ASSERT_EQ(0, v_advise(t.mv + CHUNK_AT, PT_CHUNK, MADV_REMOVE));
	for (i = 0; i < 2; i++) {
		unsigned long val;

		EXPECT_EQ(0, pt_peek(t.o[i], t.mo[i] + CHUNK_AT, &val));
		EXPECT_EQ(0UL, val);
	}
	pt_stamp_file(t.fd, CHUNK_AT / PT_PAGE, PT_CHUNK, t.seed);
	others_are_fine(_metadata);
}

/* mbind() and move_pages() of one process must keep contents and links. */
PT_TEST(numa_policy)
{
	unsigned long *mask;
	long ret;
	int i;

	make_trio(_metadata);
	mask = pt_scratch(t.v);
	if (pt_sys(t.v, SYS_get_mempolicy, 0L, 0L, 0L, 0L, 0L))
		SKIP(return, "no NUMA policies");
	for (i = 0; i < 4; i++) {
		*mask = 1UL << (i & 1);
		ret = pt_sys(t.v, SYS_mbind, t.mv, LEN, (long)MPOL_BIND, mask,
			     64L, (long)MPOL_MF_MOVE_ALL);
		EXPECT_TRUE(!ret || ret == -EINVAL || ret == -EIO);
		EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
		EXPECT_EQ(0, pt_verify(t.o[0], t.mo[0], 0, LEN, t.seed));
		EXPECT_EQ(0, pt_verify(t.o[1], t.mo[1], 0, LEN, t.seed));
		all_see_one_file(_metadata);
	}
}

/* --- mmu notifiers -------------------------------------------------------- */

/* As in lib/test_hmm_uapi.h */
struct hmm_dmirror_cmd {
	uint64_t addr;
	uint64_t ptr;
	uint64_t npages;
	uint64_t cpages;
	uint64_t faults;
};

#define HMM_DMIRROR_READ	_IOWR('H', 0x00, struct hmm_dmirror_cmd)
#define KVM_CREATE_VM		_IO(0xAE, 0x01)

static long mirror_read(unsigned long *arg)
{
	static unsigned long buf[PT_PAGE / 8];
	struct hmm_dmirror_cmd cmd = {
		.addr = arg[1], .ptr = (uint64_t)buf, .npages = 1,
	};

	if (ioctl(arg[0], HMM_DMIRROR_READ, &cmd))
		return -errno;
	return buf[0];
}

/*
 * A device that mirrors the page tables (test_hmm) has to be told when they
 * change, but the host of shared tables notifies nobody. So registration ends
 * the sharing of that process.
 */
PT_TEST(mmu_notifier_mirror)
{
	unsigned long pgno = PAGE_AT / PT_PAGE;
	long fd;
	int i;

	make_trio(_metadata);
	fd = pt_open(t.v, "/dev/hmm_dmirror0", O_RDWR);
	if (fd < 0)
		SKIP(return, "no test_hmm device");
	EXPECT_EQ(0, pt_verify(t.v, t.mv, 0, LEN, t.seed));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ((long)pt_stamp(t.seed, pgno),
			  pt_call(t.v, mirror_read, fd, t.mv + PAGE_AT));
		pt_punch(t.fd, PAGE_AT, PT_PAGE);
		pt_stamp_file(t.fd, pgno, PT_PAGE, ++t.seed);
		EXPECT_EQ((long)pt_stamp(t.seed, pgno),
			  pt_call(t.v, mirror_read, fd, t.mv + PAGE_AT));
	}
	pt_stamp_file(t.fd, 0, LEN, t.seed);
	others_are_fine(_metadata);
}

PT_TEST(mmu_notifier_registration)
{
	static const struct {
		const char *path;
		unsigned long cmd;
	} user[] = {
		{ "/dev/kvm", KVM_CREATE_VM },
		{ "/dev/hmm_dmirror0", 0 },
	};
	unsigned int i, found = 0;

	for (i = 0; i < ARRAY_SIZE(user); i++) {
		long fd;

		make_trio(_metadata);
		fd = pt_open(t.v, user[i].path, O_RDWR);
		if (fd >= 0 && user[i].cmd)
			fd = pt_sys(t.v, SYS_ioctl, fd, user[i].cmd, 0L);
		if (fd < 0) {
			pt_kill_all();
			continue;
		}
		found++;
		EXPECT_EQ(0, pt_touch(t.v, t.mv, LEN, true));
		EXPECT_EQ((long)CHUNKS, pt_private_tables(t.v))
			TH_LOG("%s", user[i].path);
		others_are_fine(_metadata);
		all_see_one_file(_metadata);
		pt_kill_all();
	}
	if (!found)
		SKIP(return, "no mmu notifier user (KVM, test_hmm)");
}

TEST_HARNESS_MAIN
