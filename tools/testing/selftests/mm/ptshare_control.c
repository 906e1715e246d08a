// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: the knobs. What vm.ptshare*, madvise(), prctl() and the choice of
 * addresses do, what they refuse, and that they can be turned at any time.
 *
 * The tests set the sysctls as they need them, whatever they are, and put them
 * back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_util.h"
#include "vm_util.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(32 * MB)
#define CHUNKS		16

#define VM		"/proc/sys/vm/"
#define TRUST		VM "ptshare_trust"
#define UNLINK		VM "ptshare_unlink"

FIXTURE(control)
{
	struct pt_state state;
	int mode;
	long trust;
};

FIXTURE_SETUP(control)
{
	self->mode = pt_mode();
	if (self->mode < 0)
		SKIP(return, "no vm.ptshare");
	self->trust = pt_read_num(TRUST);
	pt_setup(&self->state);
}

static int set_trust(long trust)
{
	return pt_write_file(TRUST, trust ? "1" : "0");
}

FIXTURE_TEARDOWN(control)
{
	EXPECT_EQ(0, pt_teardown(&self->state));
	EXPECT_EQ(0, set_trust(self->trust));
	pt_set_mode(self->mode);
}

#define CONTROL_TEST(name)	TEST_F_TIMEOUT(control, name, 900)

static long advise(struct pt_proc *p, char *addr, size_t len, long advice)
{
	return pt_sys(p, SYS_madvise, addr, len, advice);
}

static long set_disable(struct pt_proc *p, long val)
{
	return pt_sys(p, SYS_prctl, (long)PR_SET_PTSHARE_DISABLE, val, 0L, 0L, 0L);
}

static long get_disable(struct pt_proc *p)
{
	return pt_sys(p, SYS_prctl, (long)PR_GET_PTSHARE_DISABLE, 0L, 0L, 0L, 0L);
}

/* "pt" or "np" if VmFlags at addr contains it, else "-" */
static const char *flag_at(struct pt_proc *p, char *addr)
{
	static const char * const flag[] = { "pt", "np" };
	const char *found = "-";
	unsigned long lo, hi;
	char line[512], path[64];
	bool here = false;
	unsigned int i;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", p->pid);
	f = fopen(path, "r");
	if (!f)
		pt_die("reading %s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			here = lo <= (unsigned long)addr &&
			       (unsigned long)addr < hi;
		if (!here || strncmp(line, "VmFlags:", 8))
			continue;
		for (i = 0; i < ARRAY_SIZE(flag); i++) {
			char word[8];

			snprintf(word, sizeof(word), " %s ", flag[i]);
			if (strstr(line, word))
				found = flag[i];
		}
	}
	fclose(f);
	return found;
}

/* How many mappings there are from addr on to addr + len */
static int nr_maps(struct pt_proc *p, char *addr, size_t len)
{
	unsigned long lo, hi;
	char line[512], path[64];
	int nr = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", p->pid);
	f = fopen(path, "r");
	if (!f)
		pt_die("reading %s", path);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2 &&
		    lo < (unsigned long)addr + len && (unsigned long)addr < hi)
			nr++;
	fclose(f);
	return nr;
}

/* Tables made while a process touches memory for the first time */
static long new_tables(struct pt_proc *p, char *addr, size_t len)
{
	long before = pt_vmstat("ptshare_table_alloc");

	if (pt_touch(p, addr, len, false))
		pt_die("touching memory");
	return pt_vmstat("ptshare_table_alloc") - before;
}

/* --- sysctls ------------------------------------------------------------- */

/* Numbers that wrap around to 0 or 1, and what is none */
static const char * const bad_values[] = {
	"-1", "x", "1x", "0x", "4294967296", "4294967297", "18446744073709551617",
};

static void refuses(struct __test_metadata *_metadata, const char *path,
		    const char *also)
{
	unsigned int i;

	EXPECT_EQ(-EINVAL, pt_write_file(path, also));
	for (i = 0; i < ARRAY_SIZE(bad_values); i++)
		EXPECT_EQ(-EINVAL, pt_write_file(path, bad_values[i]));
}

CONTROL_TEST(bad_modes)
{
	int mode;

	for (mode = 0; mode <= 2; mode++) {
		pt_set_mode(mode);
		refuses(_metadata, VM "ptshare", "3");
		EXPECT_EQ(mode, pt_mode());
	}
}

CONTROL_TEST(bad_trust)
{
	long trust;

	for (trust = 0; trust <= 1; trust++) {
		EXPECT_EQ(0, set_trust(trust));
		refuses(_metadata, TRUST, "2");
		EXPECT_EQ(trust, pt_read_num(TRUST));
	}
}

CONTROL_TEST(bad_unlink)
{
	struct pt_proc *p = pt_spawn();
	char *m = pt_map(p, 0, pt_stamped_memfd(LEN, 1), LEN, 0, RW);
	long unlinked;

	pt_set_mode(2);
	ASSERT_EQ(0, pt_touch(p, m, LEN, true));
	unlinked = pt_vmstat("ptshare_unlink");
	refuses(_metadata, UNLINK, "0");
	refuses(_metadata, UNLINK, "2");
	EXPECT_EQ(unlinked, pt_vmstat("ptshare_unlink"));
	EXPECT_EQ(-1, open(UNLINK, O_RDONLY));
	EXPECT_EQ(EACCES, errno);
}

/* With 1 only those share who asked, with each other and with older links. */
CONTROL_TEST(mode_1)
{
	struct pt_proc *old = pt_spawn(), *a = pt_spawn(), *b = pt_spawn();
	struct pt_proc *c = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *mo = pt_map(old, 0, fd, LEN, 0, RW);
	char *ma = pt_map(a, 0, fd, LEN, 0, RW);
	char *mb = pt_map(b, 1, fd, LEN, 0, RW);
	char *mc = pt_map(c, 2, fd, LEN, 0, RW);

	pt_set_mode(2);
	ASSERT_EQ(0, pt_touch(old, mo, LEN / 2, true));

	pt_set_mode(1);
	ASSERT_EQ(0, advise(a, ma, LEN, MADV_SHARE_PT));
	ASSERT_EQ(0, advise(b, mb + LEN / 4, LEN / 2, MADV_SHARE_PT));
	EXPECT_EQ(CHUNKS / 2, new_tables(a, ma, LEN));
	EXPECT_EQ(0, new_tables(b, mb, LEN));
	EXPECT_EQ(0, new_tables(c, mc, LEN));
	EXPECT_EQ(0, pt_private_tables(a));
	EXPECT_EQ(CHUNKS / 2, pt_private_tables(b));
	EXPECT_EQ(CHUNKS, pt_private_tables(c));

	ASSERT_EQ(0, pt_fill(b, mb, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(old, mo, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(a, ma, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(c, mc, 0, LEN, 2));
}

/* --- madvise() ----------------------------------------------------------- */

/* Advice is remembered until it is wanted, and keeps nothing from working. */
CONTROL_TEST(advice_in_advance)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);
	char *n = pt_map(q, 0, fd, LEN, 0, RW);

	pt_set_mode(0);
	ASSERT_EQ(0, advise(p, m, LEN, MADV_SHARE_PT));
	ASSERT_EQ(0, advise(q, n, LEN, MADV_NOSHARE_PT));
	EXPECT_EQ(0, new_tables(p, m, LEN / 2));
	EXPECT_EQ(CHUNKS / 2, pt_private_tables(p));

	pt_set_mode(1);
	EXPECT_EQ(CHUNKS / 2, new_tables(p, m, LEN));
	EXPECT_EQ(CHUNKS / 2, pt_private_tables(p));
	pt_set_mode(2);
	EXPECT_EQ(0, new_tables(q, n, LEN));
	EXPECT_EQ(CHUNKS, pt_private_tables(q));
	EXPECT_EQ(0, pt_fill(q, n, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 2));
}

/* Who does not want to share any more leaves before the call returns. */
CONTROL_TEST(noshare_leaves)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);
	char *n = pt_map(q, 1, fd, LEN, 0, RW);
	long unlinked;

	pt_set_mode(2);
	ASSERT_EQ(0, pt_touch(p, m, LEN, true));
	ASSERT_EQ(0, pt_touch(q, n, LEN, true));

	unlinked = pt_vmstat("ptshare_unlink");
	ASSERT_EQ(0, advise(p, m + 8 * MB, 8 * MB, MADV_NOSHARE_PT));
	EXPECT_EQ(unlinked + 4, pt_vmstat("ptshare_unlink"));
	EXPECT_EQ(0, pt_private_tables(p));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(4, pt_private_tables(p));
	EXPECT_EQ(0, pt_private_tables(q));

	/* A page in the middle of a chunk takes the chunk along. */
	ASSERT_EQ(0, advise(p, m + 21 * MB, PT_PAGE, MADV_NOSHARE_PT));
	EXPECT_EQ(unlinked + 5, pt_vmstat("ptshare_unlink"));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(5, pt_private_tables(p));

	/* To change one's mind is no use before the tables are gone. */
	ASSERT_EQ(0, advise(p, m, LEN, MADV_SHARE_PT));
	EXPECT_EQ(1, nr_maps(p, m, LEN));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(5, pt_private_tables(p));
	ASSERT_EQ(m, pt_mmap(p, m, LEN, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	EXPECT_EQ(0, new_tables(p, m, LEN));
	EXPECT_EQ(0, pt_private_tables(p));

	EXPECT_EQ(0, pt_fill(p, m, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(q, n, 0, LEN, 2));
}

/* Mappings split where advice ends, merge again, and show it. */
CONTROL_TEST(advice_is_visible)
{
	struct pt_proc *p = pt_spawn(), *child;
	int fd = pt_memfd(LEN);
	char *m = pt_map(p, 0, fd, LEN, 0, RW), *to = pt_slot(p, 1);

	EXPECT_EQ(1, nr_maps(p, m, LEN));
	EXPECT_STREQ("-", flag_at(p, m));
	EXPECT_EQ(0, advise(p, m + 8 * MB, 8 * MB, MADV_SHARE_PT));
	EXPECT_EQ(0, advise(p, m + 16 * MB, 8 * MB, MADV_NOSHARE_PT));
	EXPECT_EQ(4, nr_maps(p, m, LEN));
	EXPECT_STREQ("-", flag_at(p, m));
	EXPECT_STREQ("pt", flag_at(p, m + 8 * MB));
	EXPECT_STREQ("np", flag_at(p, m + 16 * MB));
	EXPECT_STREQ("-", flag_at(p, m + 24 * MB));

	/* The last advice counts. */
	EXPECT_EQ(0, advise(p, m + 8 * MB, 8 * MB, MADV_NOSHARE_PT));
	EXPECT_EQ(3, nr_maps(p, m, LEN));
	EXPECT_STREQ("np", flag_at(p, m + 8 * MB));
	EXPECT_EQ(0, advise(p, m + 16 * MB, 8 * MB, MADV_SHARE_PT));

	/* mprotect() and mremap() keep it. */
	EXPECT_EQ(0, pt_sys(p, SYS_mprotect, m, LEN, (long)RO));
	EXPECT_STREQ("np", flag_at(p, m + 8 * MB));
	EXPECT_EQ((long)to,
		  pt_sys(p, SYS_mremap, m + 16 * MB, 8 * MB, 8 * MB,
			 (long)(MREMAP_MAYMOVE | MREMAP_FIXED), to));
	EXPECT_STREQ("pt", flag_at(p, to));

	/* So does a child, but not what comes after exec. */
	child = pt_fork(p);
	EXPECT_STREQ("np", flag_at(child, m + 8 * MB));
	EXPECT_STREQ("pt", flag_at(child, to));
	EXPECT_STREQ("-", flag_at(child, m));
}

/* The child's own links heed the advice that it inherited. */
CONTROL_TEST(advice_over_fork)
{
	struct pt_proc *p = pt_spawn(), *child;
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);

	pt_set_mode(1);
	ASSERT_EQ(0, advise(p, m, LEN / 2, MADV_SHARE_PT));
	child = pt_fork(p);
	EXPECT_EQ(CHUNKS / 2, new_tables(p, m, LEN));
	EXPECT_EQ(0, new_tables(child, m, LEN));
	EXPECT_EQ(CHUNKS / 2, pt_private_tables(child));
	EXPECT_EQ(0, pt_fill(child, m, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 2));
}

static long give_advice(int pidfd, char *addr, size_t len, int advice)
{
	struct iovec iov = { addr, len };
	long ret = syscall(SYS_process_madvise, pidfd, &iov, 1UL, advice, 0);

	return ret < 0 ? -errno : ret;
}

CONTROL_TEST(process_madvise)
{
	struct pt_proc *p = pt_spawn();
	char *m = pt_map(p, 0, pt_stamped_memfd(LEN, 1), LEN, 0, RW);
	int status;
	pid_t pid;
	long ret;

	pt_set_mode(1);
	EXPECT_EQ((long)LEN, give_advice(p->pidfd, m, LEN, MADV_SHARE_PT));
	EXPECT_STREQ("pt", flag_at(p, m));
	EXPECT_EQ(CHUNKS, new_tables(p, m, LEN));
	EXPECT_EQ((long)LEN / 2,
		  give_advice(p->pidfd, m, LEN / 2, MADV_NOSHARE_PT));
	EXPECT_STREQ("np", flag_at(p, m));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(CHUNKS / 2, pt_private_tables(p));

	/* To advise others takes a privilege. */
	pid = fork();
	if (!pid) {
		if (setresuid(1000, 1000, 1000))
			_exit(2);
		ret = give_advice(p->pidfd, m, LEN, MADV_SHARE_PT);
		_exit(ret != -EPERM && ret != -EACCES);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STREQ("np", flag_at(p, m));
}

/* Where nothing can ever be shared advice does nothing, and that is counted. */
CONTROL_TEST(advice_ignored)
{
	static const int advice[] = { MADV_SHARE_PT, MADV_NOSHARE_PT };
	struct pt_proc *p = pt_spawn();
	int fd = pt_memfd(LEN);
	char *m = pt_slot(p, 0);
	unsigned int i, k;
	long ignored;

	for (k = 0; k < 3; k++) {
		static const int flags[] = {
			MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED,
		};

		ASSERT_EQ(m, pt_mmap(p, m, LEN, RW, flags[k] | MAP_FIXED,
				     flags[k] & MAP_ANONYMOUS ? -1 : fd, 0));
		for (i = 0; i < ARRAY_SIZE(advice); i++) {
			bool counts = !(flags[k] & MAP_SHARED);

			ignored = pt_vmstat("ptshare_advice_ignored");
			EXPECT_EQ(0, advise(p, m + 4 * MB, 4 * MB, advice[i]));
			EXPECT_EQ(counts,
				  pt_vmstat("ptshare_advice_ignored") - ignored);
			EXPECT_EQ(counts ? 1 : 3, nr_maps(p, m, LEN));
		}
	}
}

CONTROL_TEST(bad_advice)
{
	struct pt_proc *p = pt_spawn();
	char *m = pt_map(p, 0, pt_memfd(LEN), LEN, 0, RW);
	static const int advice[] = { MADV_SHARE_PT, MADV_NOSHARE_PT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		EXPECT_EQ(-EINVAL, advise(p, m + 1, PT_PAGE, advice[i]));
		EXPECT_EQ(-EINVAL, advise(p, m, -PT_PAGE, advice[i]));
		EXPECT_EQ(0, advise(p, m, 0, advice[i]));
		EXPECT_STREQ("-", flag_at(p, m));
		/* A gap is an error, but what is there is advised. */
		EXPECT_EQ(-ENOMEM, advise(p, m + LEN, PT_PAGE, advice[i]));
		EXPECT_EQ(-ENOMEM, advise(p, m, LEN + PT_PAGE, advice[i]));
		EXPECT_STREQ(i ? "np" : "pt", flag_at(p, m));
		ASSERT_EQ(m, pt_mmap(p, m, LEN, RW, MAP_SHARED | MAP_ANONYMOUS |
				     MAP_FIXED, -1, 0));
	}
	EXPECT_EQ(-EINVAL, advise(p, m, LEN, MADV_SHARE_PT - 1));
	EXPECT_EQ(-EINVAL, advise(p, m, LEN, MADV_NOSHARE_PT + 1));
}

/* --- prctl() ------------------------------------------------------------- */

CONTROL_TEST(disable)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn(), *child;
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);
	char *n = pt_map(q, 0, fd, LEN, 0, RW), *l;
	long unlinked;

	pt_set_mode(2);
	EXPECT_EQ(0, get_disable(p));
	ASSERT_EQ(0, pt_touch(p, m, LEN, true));
	ASSERT_EQ(0, pt_touch(q, n, LEN, true));

	/* It leaves at once, and stronger than advice. */
	unlinked = pt_vmstat("ptshare_unlink");
	EXPECT_EQ(0, set_disable(p, 1));
	EXPECT_EQ(1, get_disable(p));
	EXPECT_EQ(0, pt_status(p->pid, "PTShare_enabled"));
	EXPECT_EQ(1, pt_status(q->pid, "PTShare_enabled"));
	EXPECT_EQ(unlinked + CHUNKS, pt_vmstat("ptshare_unlink"));
	ASSERT_EQ(0, advise(p, m, LEN, MADV_SHARE_PT));
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(CHUNKS, pt_private_tables(p));
	EXPECT_EQ(0, pt_private_tables(q));

	child = pt_fork(p);
	EXPECT_EQ(1, get_disable(child));
	pt_rebase(child);
	pt_set_mode(1);
	EXPECT_EQ(0, new_tables(child, m, LEN));
	EXPECT_EQ(CHUNKS, pt_private_tables(child));

	/* Each process has its own. */
	EXPECT_EQ(0, set_disable(child, 0));
	EXPECT_EQ(0, get_disable(child));
	EXPECT_EQ(1, get_disable(p));
	EXPECT_EQ(0, get_disable(q));
	pt_set_mode(2);
	l = pt_map(child, 1, fd, LEN, 0, RW);
	EXPECT_EQ(0, new_tables(child, l, LEN));
	EXPECT_EQ(CHUNKS, pt_private_tables(child));

	EXPECT_EQ(0, pt_fill(p, m, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(q, n, 0, LEN, 2));
	EXPECT_EQ(0, pt_verify(child, l, 0, LEN, 2));
}

/* A wrapper can set it for the program that it runs. */
CONTROL_TEST(disable_over_exec)
{
	int fd = pt_stamped_memfd(LEN, 1);
	struct pt_proc *p, *q;

	pt_set_mode(2);
	ASSERT_EQ(0, prctl(PR_SET_PTSHARE_DISABLE, 1, 0, 0, 0));
	p = pt_spawn();
	ASSERT_EQ(0, prctl(PR_SET_PTSHARE_DISABLE, 0, 0, 0, 0));
	q = pt_spawn();
	EXPECT_EQ(1, get_disable(p));
	EXPECT_EQ(0, get_disable(q));
	EXPECT_EQ(0, pt_verify(p, pt_map(p, 0, fd, LEN, 0, RW), 0, LEN, 1));
	EXPECT_EQ(0, pt_verify(q, pt_map(q, 0, fd, LEN, 0, RW), 0, LEN, 1));
	EXPECT_EQ(CHUNKS, pt_private_tables(p));
	EXPECT_EQ(0, pt_private_tables(q));
}

CONTROL_TEST(bad_prctl)
{
	static const unsigned long bad[][4] = {
		{ 2, 0, 0, 0 }, { -1, 0, 0, 0 }, { 1, 1, 0, 0 },
		{ 1, 0, 1, 0 }, { 0, 0, 0, 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-1, prctl(PR_SET_PTSHARE_DISABLE, bad[i][0], bad[i][1],
				    bad[i][2], bad[i][3]));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(-1, prctl(PR_GET_PTSHARE_DISABLE, bad[i][0], bad[i][1],
				    bad[i][2], bad[i][3]));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0, prctl(PR_GET_PTSHARE_DISABLE, 0, 0, 0, 0));
	}
}

/* --- vm.ptshare_unlink --------------------------------------------------- */

CONTROL_TEST(unlink_all)
{
	struct pt_proc *p[4] = { pt_spawn(), pt_spawn(), pt_spawn(), pt_spawn() };
	int fd[2] = { pt_stamped_memfd(LEN, 1), pt_stamped_memfd(LEN, 2) };
	char *m[2][4];
	int i, k;

	pt_set_mode(2);
	for (i = 0; i < 4; i++) {
		for (k = 0; k < 2; k++) {
			m[k][i] = pt_map(p[i], k, fd[k], LEN, 0, i & 1 ? RO : RW);
			ASSERT_EQ(0, pt_touch(p[i], m[k][i], LEN, false));
		}
		EXPECT_EQ(0, pt_private_tables(p[i]));
	}
	EXPECT_LE(4 * CHUNKS, pt_tables());

	/* Who may share is free to do so again. */
	EXPECT_EQ(0, pt_write_file(UNLINK, "1"));
	for (i = 0; i < 4; i++)
		for (k = 0; k < 2; k++)
			EXPECT_EQ(0, pt_verify(p[i], m[k][i], 0, LEN, k + 1));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, pt_private_tables(p[i]));
	EXPECT_LE(4 * CHUNKS, pt_tables());

	/* Else nothing is left, in the whole system. */
	pt_set_mode(0);
	EXPECT_LE(4 * CHUNKS, pt_tables());
	EXPECT_EQ(0, pt_write_file(UNLINK, "1"));
	EXPECT_EQ(0, pt_tables());
	EXPECT_EQ(0, pt_hosts());
	for (i = 0; i < 4; i++)
		for (k = 0; k < 2; k++)
			EXPECT_EQ(0, pt_verify(p[i], m[k][i], 0, LEN, k + 1));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(2 * CHUNKS, pt_private_tables(p[i]));
	EXPECT_EQ(0, pt_write_file(UNLINK, "1"));
}

static void ignore(int sig)
{
	(void)sig;
}

/* A signal puts an end to it, at the latest when the process is through. */
CONTROL_TEST(unlink_interrupted)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = {};
	struct pt_proc *p[8];
	int fd = pt_memfd(LEN), i, round, ret;
	char *m[8];

	pt_set_mode(2);
	for (i = 0; i < 8; i++) {
		p[i] = pt_spawn();
		m[i] = pt_map(p[i], 0, fd, LEN, 0, RW);
	}
	ASSERT_EQ(0, sigaction(SIGALRM, &sa, NULL));
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 8; i++)
			ASSERT_EQ(0, pt_touch(p[i], m[i], LEN, true));
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &often, NULL));
		ret = pt_write_file(UNLINK, "1");
		ASSERT_EQ(0, setitimer(ITIMER_REAL, &never, NULL));
		EXPECT_TRUE(!ret || ret == -EINTR)
			TH_LOG("write: %d", ret);
	}
	signal(SIGALRM, SIG_DFL);
	for (i = 0; i < 8; i++)
		EXPECT_EQ(0, pt_private_tables(p[i]));
}

/* --- vm.ptshare_trust ---------------------------------------------------- */

/* By relative name: "/" of a test system may be closed to others. */
static struct pt_proc *spawn_in_shm(void)
{
	struct pt_proc *p = pt_spawn();

	memcpy(pt_scratch(p), "/dev/shm", sizeof("/dev/shm"));
	if (pt_sys(p, SYS_chdir, pt_scratch(p)))
		pt_die("entering /dev/shm");
	return p;
}

/* A file that all may read, in /dev/shm */
static bool create_in_shm(char *name, size_t size)
{
	char path[80];
	int fd;

	snprintf(name, size, "ptshare-%d", getpid());
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return false;
	if (fchmod(fd, 0644) || ftruncate(fd, LEN))
		pt_die("making %s", path);
	pt_stamp_file(fd, 0, LEN, 1);
	close(fd);
	return true;
}

static void remove_from_shm(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	if (unlink(path))
		pt_die("removing %s", path);
}

/* Map what the process has opened itself. */
static char *map_own(struct pt_proc *p, int slot, long fd)
{
	char *m = pt_slot(p, slot);

	if (fd < 0 || pt_sys(p, SYS_mmap, m, LEN, (long)RO,
			     (long)(MAP_SHARED | MAP_FIXED), fd, 0L) != (long)m)
		pt_die("mapping a file");
	return m;
}

/* A process of that user which has opened and mapped the file */
static struct pt_proc *map_as(const char *name, long uid, char **m)
{
	struct pt_proc *p = spawn_in_shm();

	if (pt_sys(p, SYS_setresuid, uid, uid, uid))
		pt_die("becoming user %ld", uid);
	*m = map_own(p, 0, pt_open(p, name, O_RDONLY));
	return p;
}

static bool present(struct pt_proc *p, char *addr)
{
	return pt_pagemap(p->pid, addr) & PM_PRESENT;
}

/*
 * Users share if they are told to, and then see what the others touch. A change
 * never makes anybody join those who shared under other terms.
 */
CONTROL_TEST(trust)
{
	struct pt_proc *root, *user, *all, *late, *late_user;
	char name[64], *mr, *mu, *ma, *ml, *mlu;

	if (!create_in_shm(name, sizeof(name)))
		SKIP(return, "no /dev/shm");
	pt_set_mode(2);
	ASSERT_EQ(0, set_trust(0));
	root = map_as(name, 0, &mr);
	user = map_as(name, 1000, &mu);
	EXPECT_EQ(CHUNKS, new_tables(root, mr, LEN));
	EXPECT_EQ(1, new_tables(user, mu, PT_PAGE));
	EXPECT_TRUE(present(user, mu));
	EXPECT_FALSE(present(user, mu + MB));

	ASSERT_EQ(0, set_trust(1));
	all = map_as(name, 1000, &ma);
	late = map_as(name, 0, &ml);
	EXPECT_EQ(1, new_tables(all, ma, PT_PAGE));
	EXPECT_FALSE(present(all, ma + MB));
	EXPECT_EQ(CHUNKS - 1, new_tables(late, ml, LEN));
	EXPECT_TRUE(present(all, ma + MB));
	EXPECT_EQ(0, new_tables(all, ma, LEN));
	EXPECT_FALSE(present(user, mu + MB));

	/* Back again: newcomers find those who are like them. */
	ASSERT_EQ(0, set_trust(0));
	late = map_as(name, 0, &ml);
	EXPECT_EQ(0, new_tables(late, ml, LEN));
	late_user = map_as(name, 1000, &mlu);
	EXPECT_EQ(0, new_tables(late_user, mlu, PT_PAGE));
	EXPECT_FALSE(present(late_user, mlu + MB));
	EXPECT_TRUE(present(all, ma + MB));

	/* Who has left joins as is the rule now. */
	EXPECT_EQ(0, pt_write_file(UNLINK, "1"));
	EXPECT_EQ(0, pt_touch(late, ml, LEN, false));
	EXPECT_EQ(1, new_tables(all, ma, PT_PAGE));
	EXPECT_FALSE(present(all, ma + MB));

	EXPECT_EQ(0, pt_verify(user, mu, 0, LEN, 1));
	EXPECT_EQ(0, pt_verify(all, ma, 0, LEN, 1));
	remove_from_shm(name);
}

/*
 * Who has opened the file counts, not who maps it or who he is by then: what a
 * setuid program has open it shares as root, whoever it goes on as.
 */
CONTROL_TEST(trust_over_setuid)
{
	char name[64], *mr, *given, *own, *again;
	struct pt_proc *root, *p;
	long fd;

	if (!create_in_shm(name, sizeof(name)))
		SKIP(return, "no /dev/shm");
	pt_set_mode(2);
	ASSERT_EQ(0, set_trust(0));
	root = map_as(name, 0, &mr);
	EXPECT_EQ(CHUNKS, new_tables(root, mr, LEN));

	p = spawn_in_shm();
	fd = pt_open(p, name, O_RDONLY);
	ASSERT_EQ(0, pt_sys(p, SYS_setresuid, 1000L, 1000L, 0L));
	given = map_own(p, 0, fd);
	EXPECT_EQ(0, new_tables(p, given, PT_PAGE));
	EXPECT_TRUE(present(p, given + MB));

	own = map_own(p, 1, pt_open(p, name, O_RDONLY));
	EXPECT_EQ(1, new_tables(p, own, PT_PAGE));
	EXPECT_FALSE(present(p, own + MB));

	/* Root again: what was mapped meanwhile stays what it was. */
	ASSERT_EQ(0, pt_sys(p, SYS_setresuid, 0L, 0L, 0L));
	again = map_own(p, 2, pt_open(p, name, O_RDONLY));
	EXPECT_EQ(0, new_tables(p, again, LEN));
	EXPECT_EQ(CHUNKS - 1, new_tables(p, own, LEN));
	EXPECT_EQ(0, pt_private_tables(p));
	EXPECT_EQ(0, pt_verify(p, own, 0, LEN, 1));
	remove_from_shm(name);
}

/* Root of another user namespace is another user, unless all are one. */
CONTROL_TEST(trust_over_namespaces)
{
	struct pt_proc *root, *ns;
	char name[64], *m;
	long trust;

	if (!create_in_shm(name, sizeof(name)))
		SKIP(return, "no /dev/shm");
	pt_set_mode(2);
	for (trust = 0; trust <= 1; trust++) {
		ASSERT_EQ(0, set_trust(trust));
		root = map_as(name, 0, &m);
		EXPECT_EQ(CHUNKS, new_tables(root, m, LEN));
		ns = spawn_in_shm();
		if (pt_sys(ns, SYS_unshare, (long)CLONE_NEWUSER)) {
			remove_from_shm(name);
			SKIP(return, "no user namespaces");
		}
		m = map_own(ns, 0, pt_open(ns, name, O_RDONLY));
		EXPECT_EQ(!trust, new_tables(ns, m, PT_PAGE));
		EXPECT_EQ(trust, present(ns, m + MB));
		EXPECT_EQ(0, pt_verify(ns, m, 0, LEN, 1));
	}
	remove_from_shm(name);
}

/* --- placement ----------------------------------------------------------- */

static bool aligned(char *addr, off_t off)
{
	return addr != MAP_FAILED &&
	       !(((unsigned long)addr - off) % PT_CHUNK);
}

/* How many of some mappings that do not fit in 2 MiB by themselves are aligned */
static int nr_aligned(struct pt_proc *p, size_t len, int flags, int fd, off_t off)
{
	int i, nr = 0;
	char *m[8];

	for (i = 0; i < 8; i++) {
		m[i] = pt_mmap(p, NULL, len, RW, flags, fd, off);
		if (m[i] == MAP_FAILED)
			pt_die("mmap");
		nr += aligned(m[i], off);
	}
	while (i--)
		pt_sys(p, SYS_munmap, m[i], len);
	return nr;
}

CONTROL_TEST(placement)
{
	static const off_t offs[] = { 0, PT_PAGE, 3 * MB, 2 * MB - PT_PAGE };
	struct pt_proc *p = pt_spawn();
	int fd = pt_memfd(LEN), id, mode;
	size_t odd = 4 * MB + 3 * PT_PAGE;
	unsigned int i;
	char *m;

	for (mode = 1; mode <= 2; mode++) {
		pt_set_mode(mode);
		for (i = 0; i < ARRAY_SIZE(offs); i++)
			EXPECT_EQ(8, nr_aligned(p, odd, MAP_SHARED, fd, offs[i]));
		EXPECT_EQ(8, nr_aligned(p, 2 * MB, MAP_SHARED, fd, 0));
		EXPECT_EQ(8, nr_aligned(p, odd, MAP_SHARED_VALIDATE, fd, 0));
		EXPECT_EQ(8, nr_aligned(p, odd, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
		EXPECT_EQ(8, nr_aligned(p, odd, MAP_SHARED | MAP_32BIT, fd, MB));

		id = shmget(IPC_PRIVATE, odd, IPC_CREAT | 0600);
		if (id >= 0) {
			m = (char *)pt_sys(p, SYS_shmat, id, 0L, 0L);
			EXPECT_TRUE(aligned(m, 0));
			EXPECT_EQ(0, pt_sys(p, SYS_shmdt, m));
			EXPECT_EQ(0, shmctl(id, IPC_RMID, NULL));
		}

		/* mremap() finds a new place, and also of a part. */
		m = pt_map(p, 0, fd, 8 * MB, MB, RW);
		m = (char *)pt_sys(p, SYS_mremap, m + MB, 6 * MB, 12 * MB,
				   (long)MREMAP_MAYMOVE);
		EXPECT_TRUE(aligned(m, 2 * MB));
		EXPECT_EQ(0, pt_sys(p, SYS_munmap, m, 12 * MB));
		EXPECT_EQ(0, pt_sys(p, SYS_munmap, pt_slot(p, 0), 9 * MB));
	}
}

/* Programs that leave the place to the kernel share, without more. */
CONTROL_TEST(placement_makes_shareable)
{
	struct pt_proc *p = pt_spawn(), *q = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	long links, tables;
	char *m, *n;

	pt_set_mode(2);
	m = pt_mmap(p, NULL, LEN, RW, MAP_SHARED, fd, 0);
	n = pt_mmap(q, NULL, LEN - MB, RW, MAP_SHARED, fd, MB);
	links = pt_vmstat("ptshare_link");
	tables = pt_vmstat("ptshare_table_alloc");
	EXPECT_EQ(0, pt_verify(p, m, 0, LEN, 1));
	EXPECT_EQ(0, pt_fill(q, n, MB / PT_PAGE, LEN - MB, 2));
	EXPECT_EQ(links + 2 * CHUNKS - 1, pt_vmstat("ptshare_link"));
	EXPECT_EQ(tables + CHUNKS, pt_vmstat("ptshare_table_alloc"));
	EXPECT_EQ(0, pt_verify(p, m + MB, MB / PT_PAGE, LEN - MB, 2));
}

static bool thp_aligns(void)
{
	char text[256] = "";
	int fd = open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY);

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return !strstr(text, "[never]") && !strstr(text, "[deny]");
}

/* Addresses that are asked for, and what cannot share, are as ever. */
CONTROL_TEST(placement_spares_others)
{
	struct pt_proc *p = pt_spawn(), *never = pt_spawn();
	size_t odd = 4 * MB + 3 * PT_PAGE;
	int fd = pt_memfd(LEN);
	char *m;

	if (thp_aligns())
		SKIP(return, "transparent huge pages align shmem");
	/* Each of a row of odd length is elsewhere modulo 2 MiB. */
	pt_set_mode(0);
	EXPECT_GE(1, nr_aligned(p, odd, MAP_SHARED, fd, 0));
	EXPECT_GE(1, nr_aligned(p, odd, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pt_set_mode(2);
	EXPECT_GE(1, nr_aligned(p, odd, MAP_PRIVATE, fd, 0));
	EXPECT_GE(1, nr_aligned(p, odd, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	EXPECT_GE(1, nr_aligned(p, 2 * MB - PT_PAGE, MAP_SHARED, fd, 0));
	/* No whole chunk in it */
	EXPECT_GE(1, nr_aligned(p, 3 * MB + PT_PAGE, MAP_SHARED, fd, MB / 2));
	ASSERT_EQ(0, set_disable(never, 1));
	EXPECT_GE(1, nr_aligned(never, odd, MAP_SHARED, fd, 0));

	m = pt_slot(p, 0) + PT_PAGE;
	EXPECT_EQ(m, pt_mmap(p, m, odd, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(m, pt_mmap(p, m, odd, RW, MAP_SHARED | MAP_FIXED, fd, 0));
}

/* No room for an aligned mapping is no reason to fail. */
CONTROL_TEST(placement_without_room)
{
	struct pt_proc *p = pt_spawn();
	int fd = pt_memfd(LEN);
	char *hole = NULL, *m;
	size_t len;

	pt_set_mode(2);
	/*
	 * Fill all that MAP_32BIT may use. It begins at random in the first part,
	 * where the heap may be, just as well.
	 */
	for (m = (char *)0x40000000; m < (char *)0x42000000; m += MB) {
		if (pt_mmap(p, m, MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_FIXED_NOREPLACE, -1, 0) != m)
			ASSERT_EQ(EEXIST, errno);
	}
	for (len = 1UL << 30; len >= PT_PAGE; len /= 2) {
		while ((m = pt_mmap(p, NULL, len, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT |
				    MAP_NORESERVE, -1, 0)) != MAP_FAILED)
			if (!hole && len >= 8 * MB)
				hole = m;
		ASSERT_EQ(ENOMEM, errno);
	}
	ASSERT_NE(NULL, hole);
	hole += -(unsigned long)hole % PT_CHUNK + PT_PAGE;
	ASSERT_EQ(0, pt_sys(p, SYS_munmap, hole, 4 * MB));
	EXPECT_EQ(hole, pt_mmap(p, NULL, 4 * MB, RW, MAP_SHARED | MAP_32BIT,
				fd, 0));
	EXPECT_EQ(0, pt_fill(p, hole, 0, 4 * MB, 1));
}

/* --- all at any time ------------------------------------------------------ */

static unsigned long rng = 1;

static unsigned int rnd(unsigned int n)
{
	rng = rng * 6364136223846793005UL + 1442695040888963407UL;
	return (rng >> 33) % n;
}

static void turn_a_knob(void)
{
	switch (rnd(4)) {
	case 0:
	case 1:
		pt_set_mode(rnd(3));
		break;
	case 2:
		if (set_trust(rnd(2)))
			pt_die("setting vm.ptshare_trust");
		break;
	case 3:
		if (pt_write_file(UNLINK, "1"))
			pt_die("writing to vm.ptshare_unlink");
		break;
	}
}

CONTROL_TEST(any_time)
{
	unsigned long turns = 0;
	long end;

	pt_set_mode(2);
	pt_start_writers(NULL);
	end = pt_now_ms() + pt_stress_ms();
	do {
		struct pt_proc *p = pt_writer[rnd(PT_WRITERS)];
		char *m = pt_slot(p, 0), *at = m + rnd(PT_MIN_LEN / PT_PAGE) * PT_PAGE;
		size_t len = rnd(3) ? PT_PAGE * (1 + rnd(1024)) : PT_MIN_LEN;

		if (len > (size_t)(m + PT_MIN_LEN - at))
			len = m + PT_MIN_LEN - at;
		switch (rnd(6)) {
		case 0:
		case 1:
			turn_a_knob();
			break;
		case 2:
			ASSERT_EQ(0, advise(p, at, len, MADV_SHARE_PT));
			break;
		case 3:
			ASSERT_EQ(0, advise(p, at, len, MADV_NOSHARE_PT));
			break;
		case 4:
			ASSERT_EQ(0, set_disable(p, !rnd(4)));
			break;
		case 5:
			/* Without its private tables it may share again. */
			ASSERT_EQ(m, pt_mmap(p, m, PT_MIN_LEN, RW,
					     MAP_SHARED | MAP_FIXED,
					     pt_counter_fd, 0));
			break;
		}
		turns++;
	} while (pt_now_ms() < end);
	pt_let_write();
	EXPECT_EQ(0, pt_stop_writers());
	TH_LOG("%lu turns", turns);
}

/* The fuzzer knows what each page holds, and no knob may change that. */
CONTROL_TEST(under_the_fuzzer)
{
	char dir[256] = "", prog[300];
	int status, ret = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	pid_t pid;

	ASSERT_LT(0, ret);
	snprintf(prog, sizeof(prog), "%s/ptshare_fuzz", dirname(dir));
	if (access(prog, X_OK))
		SKIP(return, "no ptshare_fuzz");
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* Its results are not ours. */
		dup2(2, 1);
		execl(prog, prog, "-k", NULL);
		_exit(1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* --- a kernel that has none of it ----------------------------------------- */

TEST(not_configured)
{
	char *m;

	if (pt_mode() >= 0)
		SKIP(return, "vm.ptshare is there");
	m = mmap(NULL, LEN, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, m);
	EXPECT_EQ(-1, madvise(m, LEN, MADV_SHARE_PT));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, madvise(m, LEN, MADV_NOSHARE_PT));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_SET_PTSHARE_DISABLE, 1, 0, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, prctl(PR_GET_PTSHARE_DISABLE, 0, 0, 0, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-ENOENT, pt_write_file(UNLINK, "1"));
	EXPECT_EQ(-ENOENT, pt_write_file(TRUST, "1"));
}

TEST_HARNESS_MAIN
