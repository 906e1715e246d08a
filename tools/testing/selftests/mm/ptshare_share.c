// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: who shares page tables with whom, and that sharers see one file.
 *
 * Most of it must hold on any kernel. Sharing itself shows in VmPTE, which
 * counts only the tables that a process owns alone. With vm.ptshare off the
 * same probes must find that nothing is shared.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define RX		(PROT_READ | PROT_EXEC)

/* Private tables of a process that touched @chunks which can be shared. */
static long private_if_off(long chunks)
{
	return pt_on() ? 0 : chunks;
}

/* How the number of tables ever made grew while a process touched chunks */
static long new_tables(struct pt_proc *p, char *addr, size_t len, bool write)
{
	long before = pt_vmstat("ptshare_table_alloc");

	if (pt_touch(p, addr, len, write))
		pt_die("touching memory");
	return pt_vmstat("ptshare_table_alloc") - before;
}

/*
 * The base case: processes without a common parent, which map different parts
 * of a file at different addresses, see each other's writes.
 */
PT_TEST(unrelated_processes)
{
	struct pt_proc *a = pt_spawn(), *b = pt_spawn(), *c = pt_spawn();
	int fd = pt_stamped_memfd(64 * MB, 1);
	char *ma = pt_map(a, 0, fd, 64 * MB, 0, RW);
	char *mb = pt_map(b, 0, fd, 32 * MB, 16 * MB, RW);
	char *mc = pt_map(c, 1, fd, 24 * MB, 30 * MB, RW);

	EXPECT_EQ(0, pt_verify(a, ma, 0, 64 * MB, 1));
	EXPECT_EQ(0, pt_verify(b, mb, 16 * MB / PT_PAGE, 32 * MB, 1));
	EXPECT_EQ(0, pt_verify(c, mc, 30 * MB / PT_PAGE, 24 * MB, 1));
	EXPECT_EQ(0, pt_fill(c, mc, 30 * MB / PT_PAGE, 24 * MB, 2));
	EXPECT_EQ(0, pt_verify(a, ma, 0, 30 * MB, 1));
	EXPECT_EQ(0, pt_verify(a, ma + 30 * MB, 30 * MB / PT_PAGE, 24 * MB, 2));
	EXPECT_EQ(0, pt_verify(b, mb, 16 * MB / PT_PAGE, 14 * MB, 1));
	EXPECT_EQ(0, pt_verify(b, mb + 14 * MB, 30 * MB / PT_PAGE, 18 * MB, 2));
	EXPECT_EQ(0, pt_fill(b, mb, 16 * MB / PT_PAGE, 32 * MB, 3));
	EXPECT_EQ(0, pt_verify(a, ma + 16 * MB, 16 * MB / PT_PAGE, 32 * MB, 3));
	EXPECT_EQ(0, pt_verify(c, mc, 30 * MB / PT_PAGE, 18 * MB, 3));

	EXPECT_EQ(private_if_off(32), pt_private_tables(a));
	EXPECT_EQ(private_if_off(16), pt_private_tables(b));
	EXPECT_EQ(private_if_off(12), pt_private_tables(c));
}

/* One table per chunk, one link per process and chunk; nothing when off. */
PT_TEST(counters)
{
	struct pt_proc *p[3] = { pt_spawn(), pt_spawn(), pt_spawn() };
	int fd = pt_stamped_memfd(32 * MB, 1), i;
	long links, tables, now;

	for (i = 0; i < 3; i++)
		pt_map(p[i], i, fd, 32 * MB, 0, RW);
	links = pt_vmstat("ptshare_link");
	tables = pt_vmstat("ptshare_table_alloc");
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pt_touch(p[i], pt_slot(p[i], i), 32 * MB, i & 1));
	now = pt_vmstat("ptshare_link");
	if (pt_on()) {
		EXPECT_EQ(16, pt_vmstat("ptshare_table_alloc") - tables);
		EXPECT_EQ(48, now - links);
		EXPECT_LE(16, pt_tables());
		EXPECT_LE(1, pt_hosts());
	} else {
		EXPECT_EQ(tables, pt_vmstat("ptshare_table_alloc"));
		EXPECT_EQ(links, now);
	}
}

/* A newcomer finds ready-made tables, also when one process came long before. */
PT_TEST(late_newcomer)
{
	struct pt_proc *a = pt_spawn(), *b;
	int fd = pt_memfd(64 * MB);
	char *ma = pt_map(a, 0, fd, 64 * MB, 0, RW), *mb;

	ASSERT_EQ(0, pt_fill(a, ma, 0, 64 * MB, 4));
	b = pt_spawn();
	mb = pt_map(b, 2, fd, 64 * MB, 0, RW);
	if (pt_on())
		EXPECT_EQ(0, new_tables(b, mb, 64 * MB, true));
	EXPECT_EQ(0, pt_verify(b, mb, 0, 64 * MB, 4));
	EXPECT_EQ(private_if_off(32), pt_private_tables(b));
}

/*
 * What the rules exclude stays private and right: mappings at an address that
 * does not fit the offset, and the chunks at both ends that a mapping covers in
 * part.
 */
PT_TEST(ineligible_mappings)
{
	struct pt_proc *p = pt_spawn(), *other = pt_spawn();
	int fd = pt_stamped_memfd(64 * MB, 1);
	char *m;

	pt_map(other, 0, fd, 64 * MB, 0, RW);
	ASSERT_EQ(0, pt_touch(other, pt_slot(other, 0), 64 * MB, true));

	m = pt_map(p, 1, fd, 20 * MB, 31 * MB, RW);
	EXPECT_EQ(0, pt_verify(p, m, 31 * MB / PT_PAGE, 20 * MB, 1));
	EXPECT_EQ(2 + private_if_off(9), pt_private_tables(p));

	pt_rebase(p);
	m = pt_slot(p, 2) + 3 * PT_PAGE;
	ASSERT_EQ(m, pt_mmap(p, m, 32 * MB, RW,
			     MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0));
	EXPECT_EQ(0, pt_verify(p, m, 0, 32 * MB, 1));
	EXPECT_EQ(17, pt_private_tables(p));

	EXPECT_EQ(0, pt_fill(p, m, 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(other, pt_slot(other, 0), 0, 32 * MB, 2));
}

/*
 * A host costs some pages itself, so small files are not worth it. It is the
 * file that counts: of a large one, even a single chunk is shared.
 */
PT_TEST(minimum_size)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int small = pt_stamped_memfd(PT_MIN_LEN - PT_CHUNK, 1);
	int large = pt_stamped_memfd(PT_MIN_LEN, 2);
	char *m, *n;

	m = pt_map(p, 0, small, 14 * MB, 0, RW);
	n = pt_map(q, 0, small, 14 * MB, 0, RW);
	EXPECT_EQ(0, pt_verify(p, m, 0, 14 * MB, 1));
	EXPECT_EQ(0, pt_fill(q, n, 0, 14 * MB, 3));
	EXPECT_EQ(0, pt_verify(p, m, 0, 14 * MB, 3));
	EXPECT_EQ(7, pt_private_tables(p));
	EXPECT_EQ(7, pt_private_tables(q));

	pt_rebase(p);
	pt_rebase(q);
	m = pt_map(p, 1, large, 2 * MB, 4 * MB, RW);
	n = pt_map(q, 2, large, 6 * MB, 2 * MB, RW);
	EXPECT_EQ(0, pt_verify(p, m, 4 * MB / PT_PAGE, 2 * MB, 2));
	EXPECT_EQ(0, pt_fill(q, n, 2 * MB / PT_PAGE, 6 * MB, 4));
	EXPECT_EQ(0, pt_verify(p, m, 4 * MB / PT_PAGE, 2 * MB, 4));
	EXPECT_EQ(private_if_off(1), pt_private_tables(p));
	EXPECT_EQ(private_if_off(3), pt_private_tables(q));
}

/*
 * A page that a writer made writable must stay read-only for those who mapped
 * it read-only, whoever comes first.
 */
PT_TEST(read_only_stays_read_only)
{
	struct pt_proc *w = pt_spawn(), *r = pt_spawn(), *late = pt_spawn();
	int fd = pt_stamped_memfd(32 * MB, 1);
	char *mw = pt_map(w, 0, fd, 32 * MB, 0, RW);
	char *mr = pt_map(r, 0, fd, 32 * MB, 0, RO), *ml;
	unsigned long i, val;

	ASSERT_EQ(0, pt_touch(r, mr, 16 * MB, false));
	ASSERT_EQ(0, pt_fill(w, mw, 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(r, mr, 0, 32 * MB, 2));
	ml = pt_map(late, 0, fd, 32 * MB, 0, RO);
	for (i = 0; i < 32; i++) {
		EXPECT_EQ(SIGSEGV, pt_poke(r, mr + i * MB, 0));
		EXPECT_EQ(SIGSEGV, pt_poke(late, ml + i * MB, 0));
		ASSERT_EQ(0, pt_peek(w, mw + i * MB, &val));
		EXPECT_EQ(pt_stamp(2, i * MB / PT_PAGE), val);
	}
	EXPECT_EQ(0, pt_verify(late, ml, 0, 32 * MB, 2));
	EXPECT_EQ(private_if_off(16), pt_private_tables(r));
	EXPECT_EQ(private_if_off(16), pt_private_tables(late));
	EXPECT_EQ(private_if_off(16), pt_private_tables(w));

	/* Two of one kind share with each other, not with the writer. */
	if (pt_on()) {
		struct pt_proc *q = pt_spawn();
		char *mq = pt_map(q, 0, fd, 32 * MB, 0, RO);

		EXPECT_EQ(0, new_tables(q, mq, 32 * MB, false));
		pt_kill(r);
		pt_kill(late);
		pt_kill(q);
		q = pt_spawn();
		mq = pt_map(q, 0, fd, 32 * MB, 0, RO);
		EXPECT_EQ(16, new_tables(q, mq, 32 * MB, false));
	}
}

/* A file opened for reading only: no way to write, not even by mprotect. */
PT_TEST(rdonly_file)
{
	struct pt_proc *w = pt_spawn(), *r = pt_spawn();
	int fd = pt_stamped_memfd(32 * MB, 1), ro;
	char path[64], *mw, *mr;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, ro);
	mw = pt_map(w, 0, fd, 32 * MB, 0, RW);
	mr = pt_map(r, 0, ro, 32 * MB, 0, RO);
	EXPECT_EQ(0, pt_fill(w, mw, 0, 32 * MB, 5));
	EXPECT_EQ(0, pt_verify(r, mr, 0, 32 * MB, 5));
	EXPECT_EQ(SIGSEGV, pt_poke(r, mr, 1));
	EXPECT_EQ(-EACCES, pt_sys(r, SYS_mprotect, mr, 32 * MB, (long)RW));
	EXPECT_EQ(SIGSEGV, pt_poke(r, mr + MB, 1));
	EXPECT_EQ(0, pt_verify(w, mw, 0, 32 * MB, 5));
	EXPECT_EQ(private_if_off(16), pt_private_tables(r));
}

static long run_code(unsigned long *arg)
{
	int sig = pt_protect();

	if (!sig)
		((void (*)(void))arg[0])();
	pt_unprotect();
	return sig;
}

/* Only those who mapped it executable can run code of the file. */
PT_TEST(exec_is_a_class_of_its_own)
{
	struct pt_proc *x = pt_spawn(), *r = pt_spawn(), *w = pt_spawn();
	int fd = pt_memfd(32 * MB);
	char *mx = pt_map(x, 0, fd, 32 * MB, 0, RX);
	char *mr = pt_map(r, 0, fd, 32 * MB, 0, RO);
	char *mw = pt_map(w, 0, fd, 32 * MB, 0, RW);

	ASSERT_EQ(0, pt_poke(w, mw, 0xc3));	/* ret */
	EXPECT_EQ(0, pt_call(x, run_code, mx));
	EXPECT_EQ(SIGSEGV, pt_call(r, run_code, mr));
	EXPECT_EQ(SIGSEGV, pt_call(w, run_code, mw));
	EXPECT_EQ(SIGSEGV, pt_poke(x, mx, 0));
	EXPECT_EQ(0, pt_call(x, run_code, mx));
}

/* Each process opens a file of tmpfs by its name, as programs do. */
static void share_by_name(struct __test_metadata *_metadata, const char *dir)
{
	struct pt_proc *p[3] = { pt_spawn(), pt_spawn(), pt_spawn() };
	char path[128], *m[3];
	int i, j;

	snprintf(path, sizeof(path), "%s/ptshare-%d", dir, getpid());
	for (i = 0; i < 3; i++) {
		long fd = pt_open(p[i], path, O_RDWR | O_CREAT);

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, pt_sys(p[i], SYS_ftruncate, fd, 48 * MB));
		m[i] = pt_slot(p[i], i);
		ASSERT_EQ((long)m[i],
			  pt_sys(p[i], SYS_mmap, m[i], 48 * MB, (long)RW,
				 (long)(MAP_SHARED | MAP_FIXED), fd, 0L));
	}
	ASSERT_EQ(0, unlink(path));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pt_fill(p[i], m[i], 0, 48 * MB, 7 + i));
		for (j = 0; j < 3; j++)
			EXPECT_EQ(0, pt_verify(p[j], m[j], 0, 48 * MB, 7 + i));
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(private_if_off(24), pt_private_tables(p[i]));
}

PT_TEST(tmpfs_file)
{
	char dir[] = "/tmp/ptshare-XXXXXX";

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount("ptshare", dir, "tmpfs", 0, "huge=never"));
	share_by_name(_metadata, dir);
	pt_kill_all();
	EXPECT_EQ(0, umount(dir));
	EXPECT_EQ(0, rmdir(dir));
}

/* shm_open() is open() in this directory. */
PT_TEST(posix_shm)
{
	struct stat st;

	if (stat("/dev/shm", &st))
		SKIP(return, "no /dev/shm");
	share_by_name(_metadata, "/dev/shm");
}

PT_TEST(sysv_shm)
{
	struct pt_proc *p[2] = { pt_spawn(), pt_spawn() };
	int id = shmget(IPC_PRIVATE, 32 * MB, IPC_CREAT | 0600), i;
	char *m[2];

	if (id < 0)
		SKIP(return, "no SysV IPC");
	for (i = 0; i < 2; i++) {
		m[i] = pt_slot(p[i], 0);
		EXPECT_EQ((long)m[i], pt_sys(p[i], SYS_shmat, id, m[i], 0L));
	}
	/* A third, read-only attachment in the same process */
	EXPECT_EQ((long)pt_slot(p[1], 1),
		  pt_sys(p[1], SYS_shmat, id, pt_slot(p[1], 1),
			 (long)SHM_RDONLY));
	ASSERT_EQ(0, shmctl(id, IPC_RMID, NULL));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, pt_fill(p[i], m[i], 0, 32 * MB, 3 + i));
		EXPECT_EQ(0, pt_verify(p[!i], m[!i], 0, 32 * MB, 3 + i));
	}
	EXPECT_EQ(0, pt_verify(p[1], pt_slot(p[1], 1), 0, 32 * MB, 4));
	EXPECT_EQ(SIGSEGV, pt_poke(p[1], pt_slot(p[1], 1), 0));
	EXPECT_EQ(private_if_off(16), pt_private_tables(p[0]));
	EXPECT_EQ(private_if_off(32), pt_private_tables(p[1]));
	EXPECT_EQ(0, pt_sys(p[1], SYS_shmdt, m[1]));
	EXPECT_EQ(0, pt_verify(p[1], pt_slot(p[1], 1), 0, 32 * MB, 4));
	EXPECT_EQ(0, pt_verify(p[0], m[0], 0, 32 * MB, 4));
}

/* Shared anonymous memory spreads by fork() only, through generations. */
PT_TEST(anonymous_over_fork)
{
	struct pt_proc *p[4];
	char *m;
	int i;

	p[0] = pt_spawn();
	m = pt_slot(p[0], 0);
	ASSERT_EQ(m, pt_mmap(p[0], m, 32 * MB, RW,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, pt_fill(p[0], m, 0, 16 * MB, 1));
	for (i = 1; i < 4; i++)
		p[i] = pt_fork(p[i - 1]);
	EXPECT_EQ(0, pt_fill(p[3], m + 16 * MB, 16 * MB / PT_PAGE, 16 * MB, 1));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, pt_verify(p[i], m, 0, 32 * MB, 1));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(private_if_off(16), pt_private_tables(p[i]));
	/* The one who made it goes first. */
	pt_kill(p[0]);
	EXPECT_EQ(0, pt_fill(p[1], m, 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(p[2], m, 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(p[3], m, 0, 32 * MB, 2));
}

/*
 * One process with two mappings of a file is one member twice: losing one of
 * them must not cut the other one off from flushes.
 */
PT_TEST(twice_in_one_process)
{
	struct pt_proc *p = pt_spawn(), *w = pt_spawn();
	int fd = pt_stamped_memfd(32 * MB, 1);
	char *m0 = pt_map(p, 0, fd, 32 * MB, 0, RW);
	char *m1 = pt_map(p, 1, fd, 24 * MB, 8 * MB, RW);
	char *mw = pt_map(w, 0, fd, 32 * MB, 0, RW);

	EXPECT_EQ(0, pt_verify(p, m0, 0, 32 * MB, 1));
	EXPECT_EQ(0, pt_verify(p, m1, 8 * MB / PT_PAGE, 24 * MB, 1));
	EXPECT_EQ(private_if_off(28), pt_private_tables(p));
	EXPECT_EQ(0, pt_fill(p, m1, 8 * MB / PT_PAGE, 24 * MB, 2));
	EXPECT_EQ(0, pt_verify(p, m0 + 8 * MB, 8 * MB / PT_PAGE, 24 * MB, 2));
	ASSERT_EQ(0, pt_sys(p, SYS_munmap, m0, 32 * MB));
	EXPECT_EQ(0, pt_fill(w, mw, 0, 32 * MB, 3));
	EXPECT_EQ(0, pt_verify(p, m1, 8 * MB / PT_PAGE, 24 * MB, 3));
	pt_punch(fd, 8 * MB, 8 * MB);
	pt_stamp_file(fd, 8 * MB / PT_PAGE, 8 * MB, 4);
	EXPECT_EQ(0, pt_verify(p, m1, 8 * MB / PT_PAGE, 8 * MB, 4));
	EXPECT_EQ(0, pt_verify(w, mw + 8 * MB, 8 * MB / PT_PAGE, 8 * MB, 4));
}

/* A table can also be linked where the rights came later, by mprotect(). */
PT_TEST(prot_none_first)
{
	struct pt_proc *p = pt_spawn(), *w = pt_spawn();
	int fd = pt_stamped_memfd(32 * MB, 1);
	char *m = pt_map(p, 0, fd, 32 * MB, 0, PROT_NONE);
	char *mw = pt_map(w, 0, fd, 32 * MB, 0, RW);
	unsigned long val;

	ASSERT_EQ(0, pt_fill(w, mw, 0, 32 * MB, 2));
	EXPECT_EQ(SIGSEGV, pt_peek(p, m, &val));
	ASSERT_EQ(0, pt_sys(p, SYS_mprotect, m, 32 * MB, (long)RW));
	EXPECT_EQ(0, pt_verify(p, m, 0, 32 * MB, 2));
	EXPECT_EQ(private_if_off(16), pt_private_tables(p));
}

/*
 * The host maps a file at its offset, so offsets beyond the address space
 * cannot be shared. They have to work all the same.
 */
PT_TEST(huge_offset)
{
	static const off_t offs[] = { 1L << 40, 1L << 46, 1L << 47, 1L << 50,
				      (1L << 62) };
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int fd = pt_memfd((1L << 62) + 64 * MB);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offs); i++) {
		char *m = pt_map(p, 0, fd, 16 * MB, offs[i], RW);
		char *n = pt_map(q, 1, fd, 32 * MB, offs[i], RW);

		EXPECT_EQ(0, pt_fill(p, m, 0, 16 * MB, i + 1));
		EXPECT_EQ(0, pt_verify(q, n, 0, 16 * MB, i + 1));
		pt_punch(fd, offs[i], 2 * MB);
		pt_stamp_file(fd, offs[i] / PT_PAGE, 64 << 10, 9);
		EXPECT_EQ(0, pt_verify(p, m, offs[i] / PT_PAGE, 64 << 10, 9));
		EXPECT_EQ(0, pt_verify(q, n, offs[i] / PT_PAGE, 64 << 10, 9));
		ASSERT_EQ(0, pt_sys(p, SYS_munmap, m, 16 * MB));
		ASSERT_EQ(0, pt_sys(q, SYS_munmap, n, 32 * MB));
	}
}

/* Cutting a file reaches all sharers, and what grows back is empty. */
PT_TEST(truncate)
{
	struct pt_proc *p[3] = { pt_spawn(), pt_spawn(), pt_spawn() };
	int fd = pt_stamped_memfd(32 * MB, 1), i;
	unsigned long val;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pt_touch(p[i], pt_map(p[i], i, fd, 32 * MB, 0, RW),
				      32 * MB, true));
	ASSERT_EQ(0, ftruncate(fd, 9 * MB));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, 9 * MB, 1));
		EXPECT_EQ(SIGBUS, pt_peek(p[i], pt_slot(p[i], i) + 9 * MB, &val));
		EXPECT_EQ(SIGBUS, pt_poke(p[i], pt_slot(p[i], i) + 30 * MB, 1));
	}
	ASSERT_EQ(0, ftruncate(fd, 32 * MB));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, pt_peek(p[i], pt_slot(p[i], i) + 9 * MB, &val));
		EXPECT_EQ(0UL, val);
		EXPECT_EQ(0, pt_verify(p[i], pt_slot(p[i], i), 0, 9 * MB, 1));
	}
	EXPECT_EQ(0, pt_poke(p[0], pt_slot(p[0], 0) + 9 * MB, 42));
	EXPECT_EQ(0, pt_peek(p[2], pt_slot(p[2], 2) + 9 * MB, &val));
	EXPECT_EQ(42UL, val);
}

/* Beyond the end of a file there is nothing to map, and nothing to pay for. */
PT_TEST(beyond_the_end)
{
	int fd = pt_stamped_memfd(16 * MB, 1);
	struct pt_proc *p = pt_spawn();
	char *m = pt_map(p, 0, fd, 32 * MB, 0, RW);
	long tables = pt_tables();
	unsigned long val;

	EXPECT_EQ(SIGBUS, pt_peek(p, m + 16 * MB, &val));
	EXPECT_EQ(SIGBUS, pt_poke(p, m + 21 * MB, 1));
	EXPECT_EQ(tables, pt_tables());
	EXPECT_EQ(0, pt_private_tables(p));
	/* Its last chunk is shared, if but for the pages that there are. */
	ASSERT_EQ(0, ftruncate(fd, 16 * MB + 5 * PT_PAGE));
	EXPECT_EQ(SIGBUS, pt_peek(p, m + 16 * MB + 5 * PT_PAGE, &val));
	EXPECT_EQ(0, pt_poke(p, m + 16 * MB + 4 * PT_PAGE, 1));
	ASSERT_EQ(0, ftruncate(fd, 32 * MB));
	EXPECT_EQ(0, pt_poke(p, m + 21 * MB, 1));
	EXPECT_EQ(0, pt_verify(p, m, 0, 16 * MB, 1));
	if (pt_on())
		EXPECT_EQ(0, pt_private_tables(p));
}

static long enter_shm(struct pt_proc *p)
{
	memcpy(pt_scratch(p), "/dev/shm", sizeof("/dev/shm"));
	return pt_sys(p, SYS_chdir, pt_scratch(p));
}

/*
 * Shared accessed bits tell what others read. So by default only those share
 * who got the file from one and the same opener, or opened it as one user.
 */
PT_TEST(trust_domain)
{
	struct pt_proc *root = pt_spawn(), *given = pt_spawn();
	struct pt_proc *user[2] = { pt_spawn(), pt_spawn() };
	struct pt_proc *ns = pt_spawn();
	char path[64], *m;
	long fd, i;
	int own;

	if (chdir("/dev/shm"))
		SKIP(return, "no /dev/shm");
	snprintf(path, sizeof(path), "ptshare-%d", getpid());
	own = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	ASSERT_LE(0, own);
	ASSERT_EQ(0, fchmod(own, 0666));
	ASSERT_EQ(0, ftruncate(own, 32 * MB));
	m = pt_map(root, 0, own, 32 * MB, 0, RW);
	ASSERT_EQ(0, pt_fill(root, m, 0, 32 * MB, 1));

	/* Another user, but the file was opened by root */
	ASSERT_EQ(0, pt_sys(given, SYS_setresuid, 1000L, 1000L, 1000L));
	m = pt_map(given, 0, own, 32 * MB, 0, RW);
	if (pt_on())
		EXPECT_EQ(0, new_tables(given, m, 32 * MB, true));
	EXPECT_EQ(0, pt_verify(given, m, 0, 32 * MB, 1));

	/* By relative name: "/" of a test system may be closed to others. */
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, enter_shm(user[i]));
		ASSERT_EQ(0, pt_sys(user[i], SYS_setresuid, 1000L, 1000L, 1000L));
		fd = pt_open(user[i], path, O_RDWR);
		ASSERT_LE(0, fd);
		m = pt_slot(user[i], 0);
		ASSERT_EQ((long)m,
			  pt_sys(user[i], SYS_mmap, m, 32 * MB, (long)RW,
				 (long)(MAP_SHARED | MAP_FIXED), fd, 0L));
		if (pt_on())
			EXPECT_EQ(i ? 0 : 16,
				  new_tables(user[i], m, 32 * MB, true));
		EXPECT_EQ(0, pt_verify(user[i], m, 0, 32 * MB, 1));
	}

	/* root of another user namespace is not root */
	ASSERT_EQ(0, enter_shm(ns));
	if (!pt_sys(ns, SYS_unshare, (long)CLONE_NEWUSER)) {
		fd = pt_open(ns, path, O_RDWR);
		ASSERT_LE(0, fd);
		m = pt_slot(ns, 0);
		ASSERT_EQ((long)m,
			  pt_sys(ns, SYS_mmap, m, 32 * MB, (long)RW,
				 (long)(MAP_SHARED | MAP_FIXED), fd, 0L));
		if (pt_on())
			EXPECT_EQ(16, new_tables(ns, m, 32 * MB, true));
		EXPECT_EQ(0, pt_verify(ns, m, 0, 32 * MB, 1));
	}
	unlink(path);

	/* The file is one, whoever maps it. */
	EXPECT_EQ(0, pt_fill(user[1], pt_slot(user[1], 0), 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(root, pt_slot(root, 0), 0, 32 * MB, 2));
	pt_punch(own, 4 * MB, 4 * MB);
	pt_stamp_file(own, 4 * MB / PT_PAGE, 4 * MB, 3);
	EXPECT_EQ(0, pt_verify(user[0], pt_slot(user[0], 0) + 4 * MB,
			       4 * MB / PT_PAGE, 4 * MB, 3));
	EXPECT_EQ(0, pt_verify(root, pt_slot(root, 0) + 4 * MB,
			       4 * MB / PT_PAGE, 4 * MB, 3));
}

/* Off means no new links. Those that exist go on to work. */
PT_TEST(switch_at_run_time)
{
	struct pt_proc *a = pt_spawn(), *b = pt_spawn();
	int fd = pt_stamped_memfd(32 * MB, 1);
	char *ma = pt_map(a, 0, fd, 32 * MB, 0, RW);
	char *mb = pt_map(b, 0, fd, 32 * MB, 0, RW);
	int was = pt_mode();
	long links;

	if (was < 0)
		SKIP(return, "no vm.ptshare");

	pt_set_mode(2);
	EXPECT_EQ(0, pt_touch(a, ma, 16 * MB, true));
	EXPECT_EQ(0, pt_touch(b, mb, 16 * MB, true));
	EXPECT_EQ(0, pt_private_tables(a));
	EXPECT_EQ(0, pt_private_tables(b));

	pt_set_mode(0);
	links = pt_vmstat("ptshare_link");
	EXPECT_EQ(0, pt_touch(a, ma + 16 * MB, 16 * MB, true));
	EXPECT_EQ(0, pt_touch(b, mb + 16 * MB, 16 * MB, true));
	EXPECT_EQ(8, pt_private_tables(a));
	EXPECT_EQ(8, pt_private_tables(b));
	EXPECT_EQ(links, pt_vmstat("ptshare_link"));
	/* Flushes still reach the sharers. */
	EXPECT_EQ(0, pt_fill(a, ma, 0, 32 * MB, 2));
	EXPECT_EQ(0, pt_verify(b, mb, 0, 32 * MB, 2));
	pt_punch(fd, 0, 32 * MB);
	pt_stamp_file(fd, 0, 32 * MB, 3);
	EXPECT_EQ(0, pt_verify(a, ma, 0, 32 * MB, 3));
	EXPECT_EQ(0, pt_verify(b, mb, 0, 32 * MB, 3));
	EXPECT_EQ(0, pt_sys(a, SYS_munmap, ma, 32 * MB));
	EXPECT_EQ(0, pt_verify(b, mb, 0, 32 * MB, 3));

	pt_set_mode(was);
}

TEST_HARNESS_MAIN
