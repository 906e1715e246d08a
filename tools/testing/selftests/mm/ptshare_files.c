// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare on regular files of disk file systems: the file system hears of the
 * first write to a clean page, whoever makes it, and what it does with the
 * file happens to all who map it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "ptshare_fs.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(16 * MB)
#define CHUNKS		(LEN / PT_CHUNK)
#define PAGE_AT		(6 * MB + 100 * PT_PAGE)
#define NR		3		/* sharers */
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define OVERLAY		"/tmp/ptshare-overlay"
/* More than links and the test's own doings take, less than one for each page */
#define FEW_FAULTS	64
/* Time stamps of files advance with the timer tick. */
#define TICK_MS		20

FIXTURE_VARIANT(ptshare)
{
	const struct pt_fs *fs;
};

FIXTURE_VARIANT_ADD(ptshare, ext4) { .fs = &pt_ext4 };
FIXTURE_VARIANT_ADD(ptshare, xfs) { .fs = &pt_xfs };
FIXTURE_VARIANT_ADD(ptshare, btrfs) { .fs = &pt_btrfs };
FIXTURE_VARIANT_ADD(ptshare, ramfs) { .fs = &pt_ramfs };

static struct pt_proc *p[NR];
static char *m[NR];
static int fd;
static long hosts;

static bool begin(struct __test_metadata *_metadata, const struct pt_fs *fs)
{
	const char *why = pt_fs_mount(fs);

	if (why)
		SKIP(return false, "%s: %s", fs->type, why);
	hosts = pt_hosts();
	fd = pt_fs_file("file", LEN, 1);
	return true;
}

static bool begin_with_disk(struct __test_metadata *_metadata,
			    const struct pt_fs *fs)
{
	if (!fs->disk)
		SKIP(return false, "%s has no disk", fs->type);
	return begin(_metadata, fs);
}

/* When nobody maps the file any more, nothing keeps it or its file system. */
static void end(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, pt_check_books());
	pt_kill_all();
	EXPECT_EQ(hosts, pt_hosts());
	close(fd);
	unlink(PT_FS_DIR "/file");
	unlink(PT_FS_DIR "/clone");
	EXPECT_EQ(0, pt_fs_umount());
}

static void make_sharers(struct __test_metadata *_metadata)
{
	int i;

	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, RW);
		ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, true));
	}
}

static long minor_faults(unsigned long *arg)
{
	struct rusage ru;

	(void)arg;
	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* Faults that it takes @q to touch all of the file */
static long faults(struct pt_proc *q, char *addr, bool write)
{
	long was = pt_call(q, minor_faults);

	if (pt_touch(q, addr, LEN, write))
		return -1;
	return pt_call(q, minor_faults) - was;
}

/* --- sharing ---------------------------------------------------------------- */

PT_TEST(newcomers)
{
	struct pt_proc *q;
	char *a;
	int i;

	if (!begin(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	q = pt_spawn();
	a = pt_map(q, 0, fd, LEN, 0, RW);
	if (pt_on()) {
		EXPECT_GT(FEW_FAULTS, faults(q, a, true));
		EXPECT_EQ(0, pt_private_tables(q));
	}
	EXPECT_EQ(0, pt_fill(q, a, 0, LEN, 2));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 2));

	/* Readers have tables of their own, which show the same. */
	for (i = 0; i < 2; i++) {
		q = pt_spawn();
		a = pt_map(q, 0, fd, LEN, 0, RO);
		if (i && pt_on())
			EXPECT_GT(FEW_FAULTS, faults(q, a, false));
		EXPECT_EQ(0, pt_touch(q, a, LEN, false));
		if (pt_on())
			EXPECT_EQ(0, pt_private_tables(q));
		EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 2));
		EXPECT_EQ(SIGSEGV, pt_poke(q, a + PAGE_AT, 1));
	}
	end(_metadata);
}

/*
 * Where the kernel wants to know of the first write to a page, a mapping has
 * the protection of a read-only one at first, and is none.
 */
PT_TEST(read_only_with_write_notify)
{
	struct pt_proc *r;
	char *a;
	int i;

	if (!begin(_metadata, variant->fs))
		return;
	r = pt_spawn();
	a = pt_map(r, 0, fd, LEN, 0, RO);
	ASSERT_EQ(0, pt_touch(r, a, LEN, false));
	make_sharers(_metadata);
	for (i = 0; i < (int)(LEN / MB); i++) {
		EXPECT_EQ(0, pt_poke(p[0], m[0] + i * MB, i));
		EXPECT_EQ(SIGSEGV, pt_poke(r, a + i * MB, 100));
	}
	pt_kill(r);
	ASSERT_EQ(0, fsync(fd));
	/* And the other way round */
	r = pt_spawn();
	a = pt_map(r, 0, fd, LEN, 0, RO);
	for (i = 0; i < (int)(LEN / MB); i++) {
		EXPECT_EQ(0, pt_touch(r, a + i * MB, PT_PAGE, false));
		EXPECT_EQ(0, pt_poke(p[1], m[1] + i * MB, i));
		EXPECT_EQ(SIGSEGV, pt_poke(r, a + i * MB, 100));
	}
	/* A reader that becomes a writer is one from then on. */
	EXPECT_EQ(0, pt_sys(r, SYS_mprotect, a, LEN, (long)RW));
	EXPECT_EQ(0, pt_fill(r, a, 0, LEN, 3));
	EXPECT_EQ(0, pt_verify(p[2], m[2], 0, LEN, 3));
	end(_metadata);
}

/* --- writeback -------------------------------------------------------------- */

/* Does the file system hear of a write? It then has a new time stamp. */
static bool noticed(struct pt_proc *q, char *addr, unsigned long val)
{
	struct stat was, is;

	fstat(fd, &was);
	pt_sleep_ms(TICK_MS);
	if (pt_poke(q, addr, val))
		return false;
	fstat(fd, &is);
	return was.st_mtim.tv_sec != is.st_mtim.tv_sec ||
	       was.st_mtim.tv_nsec != is.st_mtim.tv_nsec;
}

/* A word of the file, on the disk; what it should be if that is not to be had */
static unsigned long on_disk(const struct pt_fs *fs, off_t off,
			     unsigned long want)
{
	static unsigned long page[PT_PAGE / sizeof(long)];
	off_t at;

	if (!fs->linear)
		return want;
	at = pt_fs_map(fd, off);
	if (at < 0)
		return ~want;
	pt_fs_read_disk(fs, at & -PT_PAGE, page);
	return page[0];
}

/* All the ways to have the file written out */
static long sync_file(struct pt_proc *q, char *addr, int how)
{
	switch (how % 3) {
	case 0:
		return fsync(fd);
	case 1:
		return pt_sys(q, SYS_msync, addr, LEN, (long)MS_SYNC);
	default:
		return syncfs(fd);
	}
}

/*
 * A page that was written out is read-only again, for all, so that the next
 * write is noticed by whomever it is.
 */
PT_TEST(write_after_fsync)
{
	int i, k, n = pt_effort(8);

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	ASSERT_EQ(0, fsync(fd));
	for (k = 0; k < n; k++) {
		for (i = 0; i < NR; i++) {
			unsigned long val = pt_now_ms() << 8 | i;
			off_t off = PAGE_AT + k * PT_PAGE;
			struct pt_proc *q = p[(i + k) % NR];

			EXPECT_TRUE(noticed(p[i], m[i] + off, val));
			ASSERT_EQ(0, sync_file(q, m[(i + k) % NR], i + k));
			EXPECT_EQ(val, on_disk(variant->fs, off, val));
		}
	}
	end(_metadata);
}

/* The same when one has a table of its own beside two shared ones */
PT_TEST(write_after_fsync_with_private)
{
	unsigned long val = 100;
	struct pt_proc *q, *r;
	char *a, *b;
	int k;

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	q = pt_spawn();
	/* Not where a shared table would fit */
	a = pt_slot(q, 0) + PT_PAGE;
	ASSERT_EQ(a, pt_mmap(q, a, LEN, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
			     fd, 0));
	r = pt_spawn();
	b = pt_map(r, 0, fd, LEN, 0, RW | PROT_EXEC);
	for (k = 0; k < pt_effort(8); k++) {
		off_t off = PAGE_AT + k * PT_PAGE;

		EXPECT_EQ(0, pt_poke(r, b + off, ++val));
		EXPECT_EQ(0, pt_poke(q, a + off, ++val));
		EXPECT_EQ(0, pt_poke(p[1], m[1] + off, ++val));
		ASSERT_EQ(0, fsync(fd));
		EXPECT_EQ(val, on_disk(variant->fs, off, val));
		EXPECT_TRUE(noticed(q, a + off, ++val));
		ASSERT_EQ(0, fsync(fd));
		EXPECT_EQ(val, on_disk(variant->fs, off, val));
		EXPECT_TRUE(noticed(p[2], m[2] + off, ++val));
		ASSERT_EQ(0, fsync(fd));
		EXPECT_EQ(val, on_disk(variant->fs, off, val));
	}
	end(_metadata);
}

/* Writing out does not go from one sharer to the next. */
PT_TEST(fsync_passes_by_sharers)
{
	long skips;

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	skips = pt_vmstat("ptshare_rmap_skip");
	ASSERT_EQ(0, fsync(fd));
	EXPECT_EQ(skips, pt_vmstat("ptshare_rmap_skip"));
	end(_metadata);
}

/* --- operations on the file -------------------------------------------------- */

static void all_show(struct __test_metadata *_metadata, unsigned long from,
		     unsigned long to, unsigned long pgno)
{
	int i;

	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_verify(p[i], m[i] + from, pgno, to - from, 1));
}

static void all_read(struct __test_metadata *_metadata, off_t off,
		     unsigned long want)
{
	unsigned long val;
	int i;

	for (i = 0; i < NR; i++) {
		val = ~want;
		EXPECT_EQ(0, pt_peek(p[i], m[i] + off, &val));
		EXPECT_EQ(want, val);
	}
}

PT_TEST(truncate_and_holes)
{
	off_t cut = 10 * MB + 33 * PT_PAGE;
	unsigned long val;
	long unlinks;
	int i;

	if (!begin(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	unlinks = pt_vmstat("ptshare_unlink");

	/* Shorter by some pages and a half */
	ASSERT_EQ(0, ftruncate(fd, cut + PT_PAGE / 2));
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(SIGBUS, pt_peek(p[i], m[i] + cut + PT_PAGE, &val));
		EXPECT_EQ(SIGBUS, pt_poke(p[i], m[i] + cut + PT_PAGE, 1));
	}
	all_read(_metadata, cut + PT_PAGE - 8, 0);
	all_read(_metadata, cut, pt_stamp(1, cut / PT_PAGE));
	all_show(_metadata, 0, cut, 0);
	ASSERT_EQ(0, ftruncate(fd, LEN));
	all_read(_metadata, cut + PT_PAGE, 0);
	all_read(_metadata, LEN - PT_PAGE, 0);
	pt_stamp_file(fd, cut / PT_PAGE, LEN - cut, 1);
	all_show(_metadata, 0, LEN, 0);

	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE_AT,
		      5 * PT_PAGE)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
	} else {
		for (i = 0; i < 5; i++)
			all_read(_metadata, PAGE_AT + i * PT_PAGE, 0);
		all_show(_metadata, 0, PAGE_AT, 0);
		/* A write to the hole takes new space. */
		EXPECT_EQ(0, pt_fill(p[1], m[1] + PAGE_AT, PAGE_AT / PT_PAGE,
				     5 * PT_PAGE, 1));
		all_show(_metadata, 0, LEN, 0);
	}
	if (!fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE_AT, PT_PAGE)) {
		all_read(_metadata, PAGE_AT, 0);
		pt_stamp_file(fd, PAGE_AT / PT_PAGE, PT_PAGE, 1);
		all_show(_metadata, 0, LEN, 0);
	}
	/* What was behind comes nearer. */
	if (!fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE_AT, MB)) {
		all_show(_metadata, 0, PAGE_AT, 0);
		all_show(_metadata, PAGE_AT, LEN - MB, (PAGE_AT + MB) / PT_PAGE);
		EXPECT_EQ(SIGBUS, pt_peek(p[2], m[2] + LEN - MB, &val));
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_INSERT_RANGE, PAGE_AT, MB));
		all_read(_metadata, PAGE_AT, 0);
		pt_stamp_file(fd, PAGE_AT / PT_PAGE, MB, 1);
		all_show(_metadata, 0, LEN, 0);
	}
	/* Through all of this the sharers have kept their links. */
	EXPECT_EQ(unlinks, pt_vmstat("ptshare_unlink"));
	end(_metadata);
}

/* A clone keeps what the file had, though sharers could write to it before. */
PT_TEST(reflink)
{
	struct pt_proc *q;
	char *a, *b;
	int clone, i;

	if (!variant->fs->reflink)
		SKIP(return, "%s has no reflink", variant->fs->type);
	if (!begin(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	clone = open(PT_FS_DIR "/clone", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		     0600);
	ASSERT_LE(0, clone);
	ASSERT_EQ(0, ioctl(clone, FICLONE, fd));
	q = pt_spawn();
	a = pt_map(q, 0, clone, LEN, 0, RW);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_fill(p[i], m[i] + 2 * i * MB,
				     2 * i * MB / PT_PAGE, MB, 2));
	EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 1));
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(0, fsync(clone));
	EXPECT_EQ(0, pt_sys(q, SYS_munmap, a, LEN));
	EXPECT_EQ(0, posix_fadvise(clone, 0, 0, POSIX_FADV_DONTNEED));
	a = pt_map(q, 1, clone, LEN, 0, RW);
	EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 1));
	/* Nor does a write to the clone get into the file. */
	EXPECT_EQ(0, pt_fill(q, a, 0, LEN, 3));
	EXPECT_EQ(0, fsync(clone));
	for (i = 0; i < NR; i++) {
		b = m[(i + 1) % NR];
		EXPECT_EQ(0, pt_verify(p[(i + 1) % NR], b + 2 * i * MB,
				       2 * i * MB / PT_PAGE, MB, 2));
	}
	EXPECT_EQ(0, pt_verify(p[0], m[0] + 7 * MB, 7 * MB / PT_PAGE, 9 * MB,
			       1));
	close(clone);
	end(_metadata);
}

static long late_store(unsigned long *arg)
{
	pt_set((void *)arg[0], arg[1]);
	pt_set(PT_CTL(unsigned long), 1);
	return 0;
}

/*
 * A frozen file system takes no write, not even from one who finds the page
 * writable thanks to another one.
 */
PT_TEST(freeze)
{
	unsigned long val;
	bool early;
	int dir;

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	dir = open(PT_FS_DIR, O_RDONLY | O_CLOEXEC);
	make_sharers(_metadata);
	ASSERT_EQ(0, ioctl(dir, FIFREEZE, 0));
	pt_thread(p[1], late_store, m[1] + PAGE_AT, 4711L);
	pt_sleep_ms(300);
	early = pt_get(PT_CTL(unsigned long));
	ASSERT_EQ(0, ioctl(dir, FITHAW, 0));
	EXPECT_FALSE(early);
	EXPECT_TRUE(pt_await(PT_CTL(unsigned long), 1));
	EXPECT_EQ(0, pt_peek(p[0], m[0] + PAGE_AT, &val));
	EXPECT_EQ(4711UL, val);
	close(dir);
	end(_metadata);
}

/* Writers keep the file system writable. When they are gone nothing does. */
PT_TEST(remount_read_only)
{
	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	EXPECT_EQ(-1, mount(NULL, PT_FS_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	EXPECT_EQ(EBUSY, errno);
	pt_kill_all();
	close(fd);
	EXPECT_EQ(0, mount(NULL, PT_FS_DIR, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	fd = open(PT_FS_DIR "/file", O_RDONLY | O_CLOEXEC);
	p[0] = pt_spawn();
	m[0] = pt_map(p[0], 0, fd, LEN, 0, RO);
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	EXPECT_EQ(SIGSEGV, pt_poke(p[0], m[0], 1));
	end(_metadata);
}

PT_TEST(unlinked_file)
{
	struct pt_proc *q;
	char *a;
	int i;

	if (!begin(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	ASSERT_EQ(0, unlink(PT_FS_DIR "/file"));
	EXPECT_EQ(-EBUSY, pt_fs_umount());
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_fill(p[i], m[i] + i * MB, i * MB / PT_PAGE, MB, 1));
	q = pt_spawn();
	a = pt_map(q, 0, fd, LEN, 0, RW);
	if (pt_on())
		EXPECT_GT(FEW_FAULTS, faults(q, a, true));
	EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 1));
	/* Now only mappings keep it. */
	close(fd);
	all_show(_metadata, 0, LEN, 0);
	EXPECT_EQ(-EBUSY, pt_fs_umount());
	for (i = 1; i < NR; i++)
		EXPECT_EQ(0, pt_sys(p[i], SYS_munmap, m[i], LEN));
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	end(_metadata);
}

/* --- memory failure ---------------------------------------------------------- */

/*
 * A bad page that was dirty is lost: who had it gets SIGBUS, until he drops it
 * and reads what the disk has.
 */
PT_TEST(poison)
{
	unsigned long val;
	struct pt_proc *q;
	long ret;
	char *a;
	int i;

	if (variant->fs == &pt_xfs)
		SKIP(return, "xfs keeps a large folio that is bad");
	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	ret = pt_poison(p[1], m[1] + PAGE_AT);
	if (ret == -EINVAL) {
		end(_metadata);
		SKIP(return, "no memory failure injection");
	}
	ASSERT_EQ(0, ret);
	for (i = 0; i < NR; i++) {
		EXPECT_EQ(PT_MCE, pt_peek(p[i], m[i] + PAGE_AT, &val));
		EXPECT_EQ(PT_MCE, pt_poke(p[i], m[i] + PAGE_AT, 1));
	}
	all_show(_metadata, 0, PAGE_AT, 0);
	all_show(_metadata, PAGE_AT + PT_PAGE, LEN, PAGE_AT / PT_PAGE + 1);

	ASSERT_EQ(0, pt_sys(p[0], SYS_madvise, m[0] + PAGE_AT, PT_PAGE,
			    (long)MADV_DONTNEED));
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
	EXPECT_EQ(PT_MCE, pt_peek(p[1], m[1] + PAGE_AT, &val));
	q = pt_spawn();
	a = pt_map(q, 0, fd, LEN, 0, RW);
	EXPECT_EQ(0, pt_verify(q, a + PAGE_AT, PAGE_AT / PT_PAGE, PT_PAGE, 1));
	EXPECT_EQ(0, pt_fill(q, a + PAGE_AT, PAGE_AT / PT_PAGE, PT_PAGE, 2));
	EXPECT_EQ(0, pt_verify(p[0], m[0] + PAGE_AT, PAGE_AT / PT_PAGE, PT_PAGE,
			       2));
	end(_metadata);
}

/* Move the page at arg[0] to node arg[1]: the node it is on then, or -errno. */
static long move_page(unsigned long *arg)
{
	int node = arg[1], status = -EAGAIN;
	void *page = (void *)arg[0];

	if (syscall(SYS_move_pages, 0, 1L, &page, &node, &status,
		    (long)MPOL_MF_MOVE_ALL) < 0)
		return -errno;
	return status;
}

/*
 * A page may turn out to be broken while it is moved, and memory_failure() waits
 * for that to end. By then moving has left the bad entry. All is as above. With
 * the reference of memory_failure() no page can be moved, and undoing it marks
 * the table, too. That it is marked without is seen nowhere: the page would have
 * to be gone before memory_failure() takes its reference.
 */
PT_TEST(poison_in_migration)
{
	int i, n = pt_effort(CHUNKS), hit = 0;
	unsigned long val;
	long ret, moved;

	if (variant->fs == &pt_xfs)
		SKIP(return, "xfs keeps a large folio that is bad");
	if (!begin_with_disk(_metadata, variant->fs))
		return;
	make_sharers(_metadata);
	pt_drain_lru();
	if (pt_call(p[0], move_page, m[0], 1) != 1) {
		end(_metadata);
		SKIP(return, "no second node to move pages to");
	}
	/* A chunk each: once there was a bad page, nobody links its table. */
	for (i = 0; i < n; i++) {
		unsigned long bad = i * PT_CHUNK + 17 * PT_PAGE;
		struct pt_proc *late;
		bool bad_for_all;
		long was;
		char *a;

		pt_call(p[0], move_page, m[0] + bad, 0);
		/* Slow, from the look at the page to that at its PTE */
		pt_set_delay_us(200000);
		pt_start(p[0], move_page, m[0] + bad, 1);
		pt_sleep_ms(20 << i % 4);
		ret = pt_poison(p[1], m[1] + bad);
		moved = pt_finish(p[0]);
		pt_set_delay_us(0);
		if (ret == -EINVAL) {
			end(_metadata);
			SKIP(return, "no memory failure injection");
		}
		hit += moved != 1;
		bad_for_all = pt_peek(p[2], m[2] + bad, &val) == PT_MCE;

		/* Who comes by a neighbour of the page gets another table. */
		late = pt_spawn();
		a = pt_map(late, 0, fd, LEN, 0, RW);
		was = pt_vmstat("ptshare_fallback_poison");
		EXPECT_EQ(0, pt_peek(late, a + bad + PT_PAGE, &val));
		if (pt_on() && bad_for_all)
			EXPECT_LT(was, pt_vmstat("ptshare_fallback_poison"));
		/* If it is not back on its LRU list by then, it stays in the file. */
		if (ret != -EBUSY) {
			EXPECT_EQ(0, ret);
			ASSERT_EQ(0, pt_sys(p[0], SYS_madvise, m[0] + bad,
					    PT_PAGE, (long)MADV_DONTNEED));
			EXPECT_EQ(0, pt_verify(p[0], m[0] + bad, bad / PT_PAGE,
					       PT_PAGE, 1));
			EXPECT_EQ(0, pt_verify(late, a + bad, bad / PT_PAGE,
					       PT_PAGE, 1));
		}
		pt_kill(late);
	}
	TH_LOG("%d of %d during the move", hit, n);
	end(_metadata);
}

/* --- huge pages -------------------------------------------------------------- */

/*
 * khugepaged's work on a file that is only read: all get a huge page in place
 * of a shared table, who asks for it at once, the others with their next fault.
 */
PT_TEST(collapse)
{
	struct pt_proc *q;
	char *a;
	long ret;
	int i;

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	close(fd);
	fd = open(PT_FS_DIR "/file", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 0; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], i, fd, LEN, 0, RO);
		ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, false));
	}
	ret = pt_collapse(p[1], m[1] + PT_CHUNK, PT_CHUNK);
	if (ret == -EINVAL) {
		end(_metadata);
		SKIP(return, "no huge pages for such files");
	}
	EXPECT_EQ(0, ret);
	EXPECT_LE((long)(PT_CHUNK >> 10),
		  pt_smaps(p[1]->pid, m[1], "FilePmdMapped"));
	q = pt_spawn();
	a = pt_map(q, 0, fd, LEN, 0, RO);
	EXPECT_EQ(0, pt_touch(q, a, LEN, false));
	EXPECT_LE((long)(PT_CHUNK >> 10),
		  pt_smaps(q->pid, a, "FilePmdMapped"));
	all_show(_metadata, 0, LEN, 0);
	for (i = 0; i < NR; i++)
		EXPECT_LE((long)(PT_CHUNK >> 10),
			  pt_smaps(p[i]->pid, m[i], "FilePmdMapped"));
	EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 1));
	/* With the first writer huge pages may have to go. */
	i = open(PT_FS_DIR "/file", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, i);
	pt_stamp_file(i, PT_CHUNK_PAGES + 1, PT_PAGE, 2);
	EXPECT_EQ(0, pt_verify(q, a + PT_CHUNK + PT_PAGE, PT_CHUNK_PAGES + 1,
			       PT_PAGE, 2));
	pt_stamp_file(i, PT_CHUNK_PAGES + 1, PT_PAGE, 1);
	close(i);
	all_show(_metadata, 0, LEN, 0);
	EXPECT_EQ(0, pt_verify(q, a, 0, LEN, 1));
	end(_metadata);
}

static char *map_huge(struct __test_metadata *_metadata, struct pt_proc *q)
{
	char *a = pt_map(q, 0, fd, LEN, 0, RW);

	EXPECT_EQ(0, pt_sys(q, SYS_madvise, a, LEN, (long)MADV_HUGEPAGE));
	EXPECT_EQ(0, pt_sys(q, SYS_madvise, a, LEN, (long)MADV_RANDOM));
	return a;
}

/*
 * A file system with large folios reads huge pages for MADV_HUGEPAGE. The fault
 * that waits for that has to find a place for one. With MADV_RANDOM nothing is
 * read in advance, so that each chunk has such a fault.
 */
PT_TEST(huge_read)
{
	long huge = 0;
	int i;

	if (variant->fs != &pt_xfs)
		SKIP(return, "no large folios");
	if (pt_read_num(THP "hpage_pmd_size") != (long)PT_CHUNK)
		SKIP(return, "no huge pages");
	if (!begin(_metadata, variant->fs))
		return;
	/* One of the chunks will do, but memory may be in pieces. */
	for (i = 0; !huge && i < 5; i++) {
		EXPECT_EQ(0, pt_write_file("/proc/sys/vm/compact_memory", "1"));
		ASSERT_EQ(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		p[0] = pt_spawn();
		m[0] = map_huge(_metadata, p[0]);
		EXPECT_EQ(0, pt_verify(p[0], m[0], 0, LEN, 1));
		huge = pt_smaps(p[0]->pid, m[0], "FilePmdMapped");
		if (!huge)
			pt_kill(p[0]);
	}
	ASSERT_LT(0, huge);
	for (i = 1; i < NR; i++) {
		p[i] = pt_spawn();
		m[i] = map_huge(_metadata, p[i]);
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 1));
		EXPECT_LE(huge, pt_smaps(p[i]->pid, m[i], "FilePmdMapped"));
	}
	EXPECT_EQ(0, pt_fill(p[0], m[0], 0, LEN, 2));
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, pt_verify(p[i], m[i], 0, LEN, 2));
	end(_metadata);
}

/* --- stackable file systems -------------------------------------------------- */

/* Tables of its own, which may be shared, that it takes @q to read the file */
static long new_tables(struct pt_proc *q, char *addr)
{
	long was = pt_tables();

	if (pt_touch(q, addr, LEN, false))
		return -1;
	return pt_private_tables(q) + pt_tables() - was;
}

static char *open_and_map(struct __test_metadata *_metadata, struct pt_proc *q,
			  const char *path, int flags, int prot)
{
	long f = pt_open(q, path, flags);
	char *a = pt_slot(q, 0);

	EXPECT_LE(0, f);
	EXPECT_EQ((long)a, pt_sys(q, SYS_mmap, a, LEN, (long)prot,
				  (long)(MAP_SHARED | MAP_FIXED), f, 0L));
	pt_sys(q, SYS_close, f);
	return a;
}

/*
 * Overlayfs maps the file below, opened as the one who mounted it. It is the
 * user who opened the file in the overlay with whom others share.
 */
PT_TEST(overlay)
{
	struct pt_proc *below, *user, *above[2], *writer[2];
	char *a;
	int i;

	if (!begin_with_disk(_metadata, variant->fs))
		return;
	if (chdir(PT_FS_DIR) || mkdir("lower", 0755) || mkdir("upper", 0755) ||
	    mkdir("work", 0755) || rename("file", "lower/file"))
		pt_die("making layers");
	mkdir(OVERLAY, 0755);
	if (mount("overlay", OVERLAY, "overlay", 0,
		  "lowerdir=lower,upperdir=upper,workdir=work"))
		SKIP(goto out, "no overlayfs");

	below = pt_spawn();
	a = open_and_map(_metadata, below, PT_FS_DIR "/lower/file", O_RDONLY, RO);
	EXPECT_EQ((long)CHUNKS, new_tables(below, a));
	for (i = 0; i < 2; i++) {
		above[i] = pt_spawn();
		a = open_and_map(_metadata, above[i], OVERLAY "/file", O_RDONLY,
				 RO);
		if (pt_on())
			EXPECT_EQ(0, new_tables(above[i], a));
		EXPECT_EQ(0, pt_verify(above[i], a, 0, LEN, 1));
	}
	for (i = 0; i < 2; i++) {
		user = pt_spawn();
		/* By relative name, "/" may be closed to others. */
		memcpy(pt_scratch(user), OVERLAY, sizeof(OVERLAY));
		ASSERT_EQ(0, pt_sys(user, SYS_chdir, pt_scratch(user)));
		ASSERT_EQ(0, pt_sys(user, SYS_setresuid, 1000L, 1000L, 1000L));
		a = open_and_map(_metadata, user, "file", O_RDONLY, RO);
		if (pt_on())
			EXPECT_EQ(i ? 0 : (long)CHUNKS, new_tables(user, a));
		EXPECT_EQ(0, pt_verify(user, a, 0, LEN, 1));
	}

	/* The first who opens it for writing copies it up. */
	for (i = 0; i < 2; i++) {
		writer[i] = pt_spawn();
		a = open_and_map(_metadata, writer[i], OVERLAY "/file", O_RDWR,
				 RW);
		if (pt_on())
			EXPECT_EQ(i ? 0 : (long)CHUNKS,
				  new_tables(writer[i], a));
		EXPECT_EQ(0, pt_verify(writer[i], a, 0, LEN, i + 1));
		EXPECT_EQ(0, pt_fill(writer[i], a, 0, LEN, i + 2));
	}
	EXPECT_EQ(0, pt_verify(above[0], pt_slot(above[0], 0), 0, LEN, 1));

	/*
	 * The kernel chooses an address at which the file below can share. Not
	 * by chance: it would align whole huge pages in any case.
	 */
	for (i = 0; pt_on() && i < 2; i++) {
		long fd = pt_open(writer[i], OVERLAY "/file", O_RDWR);
		long addr = pt_sys(writer[i], SYS_mmap, NULL, LEN - PT_PAGE,
				   (long)RW, (long)MAP_SHARED, fd,
				   (long)PT_PAGE);

		ASSERT_LT(0, addr);
		EXPECT_EQ(PT_PAGE, addr % PT_CHUNK);
	}
	pt_kill_all();
	EXPECT_EQ(0, umount(OVERLAY));
out:
	if (chdir("/") ||
	    system("rm -r " PT_FS_DIR "/lower " PT_FS_DIR "/upper " PT_FS_DIR "/work"))
		pt_die("removing layers");
	end(_metadata);
}

TEST_HARNESS_MAIN
