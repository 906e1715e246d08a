// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: no program may be able to tell that page tables are shared.
 *
 * One process does something to its mapping of a file while three others write
 * to it. That is done twice, with page tables of one's own (vm.ptshare 0) and
 * with shared ones. What system calls returned, what lies at which address and
 * with which rights, and what the others see is noted both times, and has to be
 * the same. No count of the others may get lost in either case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"
#include "vm_util.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		PT_MIN_LEN
/*
 * Where operations strike, for lack of reasons to do otherwise: from the middle
 * of the chunk that the others write to, to the end of the next.
 */
#define AT		(PT_COUNTER_AT + PT_CHUNK / 2)
#define AT_LEN		(3 * MB)
/* A chunk that the others have mapped but do not write to */
#define CALM_AT		(10 * MB)
/* Where a page has its number, out of the way of the others' counters */
#define STAMP_AT	(PT_PAGE / 2)
#define SEED		7UL
#define PFN_MASK	((1UL << 55) - 1)
#define NUM(p)		((long)(p))

/* As in linux/fs.h and linux/userfaultfd.h, which may be older */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof_mask, return_mask;
};

#define SCAN			_IOWR('f', 16, struct scan_arg)
#define SCAN_WP			1
#define SCAN_CHECK		2
#define SCAN_WPALLOWED		1
#define SCAN_WRITTEN		2
#define SCAN_FILE		4
#define SCAN_PRESENT		8
#define SCAN_SWAPPED		16
#define SCAN_HUGE		64

struct poison {
	uint64_t start, len, mode;
	int64_t updated;
};

#define POISON			_IOWR(UFFDIO, 0x08, struct poison)
#define FEATURE_POISON		0x4000
#define FEATURE_WP_UNPOPULATED	0x2000
#define FEATURE_WP_ASYNC	0x8000

/* Notes of both runs are made here, by the test and its processes. */
struct ctl {
	size_t len;
	char text[256 << 10];
	unsigned long val;
};

#define CTL		PT_CTL(struct ctl)

static struct pt_proc *v;	/* who does it */
static char *m;			/* where it has the file */
static long vfd;		/* by what number */
static int fd;			/* and the test itself */

static void __printf(1, 2) note(const char *fmt, ...)
{
	struct ctl *c = CTL;
	va_list ap;

	va_start(ap, fmt);
	c->len += vsnprintf(c->text + c->len, sizeof(c->text) - c->len, fmt, ap);
	va_end(ap);
	if (c->len >= sizeof(c->text))
		pt_die("too many notes");
}

struct args {
	long a[6];
};

/* A system call of @v, and what it returned */
static long sys(const char *name, long nr, struct args s)
{
	long ret = pt_sys(v, nr, s.a[0], s.a[1], s.a[2], s.a[3], s.a[4], s.a[5]);

	note("%s: %ld\n", name, ret);
	return ret;
}

#define SYS(name, ...)	sys(#name, SYS_##name, (struct args){ { __VA_ARGS__ } })

/* --- what there is to be seen --------------------------------------------- */

struct view {
	char what;
	long delta;
};

static struct view view_page(char *addr, long nr)
{
	struct view view = {};
	unsigned long val;
	int sig = pt_load(addr + STAMP_AT, &val);

	if (sig) {
		view.what = sig == SIGSEGV ? 'S' : sig == PT_MCE ? 'P' : 'B';
		return view;
	}
	view.what = pt_store(addr + PT_PAGE - 8, 0) ? 'r' : 'w';
	if (val)
		view.delta = (long)(val - pt_stamp(SEED, nr));
	else
		view.what += 'A' - 'a';
	return view;
}

/*
 * arg[1] pages from arg[0] on: how many in a row are alike. Readable or
 * writable (capitals: and zero), with the number of the page; or a signal.
 */
static long look(unsigned long *arg)
{
	struct view was = {}, now;
	unsigned long i, run = 0;

	for (i = 0; i < arg[1]; i++, run++) {
		now = view_page((char *)arg[0] + i * PT_PAGE, i);
		if (run && (now.what != was.what || now.delta != was.delta)) {
			note(" %lu%c%+ld", run, was.what, was.delta);
			run = 0;
		}
		was = now;
	}
	note(" %lu%c%+ld\n", run, was.what, was.delta);
	return 0;
}

/* Whether anything is mapped at the edges and in the middle of chunks */
static long look_for_holes(unsigned long *arg)
{
	unsigned long i, val;

	for (i = 0; i < arg[1]; i += PT_CHUNK_PAGES / 2)
		note(" %d%d", pt_load((char *)arg[0] + i * PT_PAGE, &val),
		     pt_load((char *)arg[0] + (i + 255) * PT_PAGE, &val));
	note("\n");
	return 0;
}

/* The mappings of @v in its slots, and what lies there */
static void note_maps(void)
{
	char *lo = pt_slot(v, 0) - PT_PAGE, *hi = pt_slot(v, 3) + PT_SLOT_LEN;
	unsigned long start, end, off;
	char line[512], perms[8];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/maps", v->pid);
	f = fopen(line, "r");
	if (!f)
		pt_die("no %s", line);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, perms, &off) != 4)
			continue;
		if (start < (unsigned long)lo || end > (unsigned long)hi)
			continue;
		note("maps: %lx+%lx %s %lx:", start - (unsigned long)m,
		     end - start, perms, off);
		pt_call(v, look, start, (end - start) / PT_PAGE);
	}
	fclose(f);
}

static void note_state(void)
{
	int i;

	note_maps();
	note("slot 0:");
	pt_call(v, look_for_holes, m, (LEN + 2 * MB) / PT_PAGE);
	note("slot 3:");
	pt_call(v, look_for_holes, pt_slot(v, 3), LEN / PT_PAGE);
	for (i = 0; i < PT_WRITERS; i++) {
		note("writer:");
		pt_call(pt_writer[i], look, pt_slot(pt_writer[i], 0),
			LEN / PT_PAGE);
	}
}

/* --- twice ----------------------------------------------------------------- */

/* What a test that died half-way may have left switched off */
static int mode;

static void __attribute__((constructor)) read_mode(void)
{
	mode = pt_mode();
}

static long stamp_all(unsigned long *arg)
{
	unsigned long i;

	for (i = 0; i < LEN / PT_PAGE; i++)
		pt_set((unsigned long *)(arg[0] + i * PT_PAGE + STAMP_AT),
		       pt_stamp(SEED, i));
	return 0;
}

static char *run(int how, void (*op)(void))
{
	int i, lost;

	CTL->len = 0;
	pt_set_mode(how);
	pt_start_writers(NULL);
	fd = pt_counter_fd;
	v = pt_spawn();
	vfd = pt_open_fd(v, fd);
	m = pt_map(v, 0, fd, LEN, 0, RW);
	pt_call(v, stamp_all, m);
	for (i = 0; i < PT_WRITERS; i++)
		pt_touch(pt_writer[i], pt_slot(pt_writer[i], 0), LEN, true);
	op();
	pt_let_write();
	if (v->pid)
		note_state();
	lost = pt_lost_writes("after the operation");
	lost += pt_stop_writers();
	note("lost: %d\n", lost);
	pt_kill_all();
	close(fd);
	return strdup(CTL->text);
}

/* Print the first line in which the notes differ. */
static void show_difference(struct __test_metadata *_metadata, const char *own,
			    const char *shared)
{
	size_t at = 0, start = 0;

	for (; own[at] == shared[at] && own[at]; at++)
		if (own[at] == '\n')
			start = at + 1;
	TH_LOG("own tables:    %.*s", (int)strcspn(own + start, "\n"), own + start);
	TH_LOG("shared tables: %.*s", (int)strcspn(shared + start, "\n"),
	       shared + start);
}

static void same(struct __test_metadata *_metadata, void (*op)(void))
{
	char *own, *shared;
	long links;

	/* Without sharing this compares private tables with private tables. */
	if (!pt_on() && pt_effort(2) < 2)
		SKIP(return, PT_OFF);
	own = run(mode < 0 ? mode : 0, op);
	links = pt_vmstat("ptshare_link");
	shared = run(mode, op);
	if (pt_on())
		EXPECT_LT(links, pt_vmstat("ptshare_link"));
	EXPECT_STREQ("lost: 0\n", strstr(own, "lost: "));
	EXPECT_TRUE(!strcmp(own, shared));
	if (strcmp(own, shared))
		show_difference(_metadata, own, shared);
	if (strstr(own, "cannot"))
		SKIP(return, "%.*s", (int)strcspn(strstr(own, "cannot"), "\n"),
		     strstr(own, "cannot"));
	free(own);
	free(shared);
}

/* An operation is what follows, and a test of that name. */
#define OP(name)						\
static void op_##name(void);					\
PT_TEST(name) { same(_metadata, op_##name); }			\
static void op_##name(void)

/* --- mappings --------------------------------------------------------------- */

OP(map_fixed)
{
	SYS(mmap, NUM(m + AT), AT_LEN, RO, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
	    vfd, 9 * MB);
	SYS(mmap, NUM(m + CALM_AT + MB), 3 * PT_PAGE, RW,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	SYS(mmap, NUM(m + CALM_AT + PT_PAGE), PT_PAGE, RW, MAP_PRIVATE | MAP_FIXED,
	    vfd, MB);
	SYS(munmap, NUM(m + LEN - PT_PAGE), PT_PAGE);
	/* At an address that does not fit the offset */
	SYS(mmap, NUM(pt_slot(v, 3)), 5 * MB, RW,
	    MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, vfd, PT_PAGE);
}

OP(remap_file_pages)
{
	SYS(remap_file_pages, NUM(m + AT), MB, 0, 9 * MB / PT_PAGE, 0);
	SYS(remap_file_pages, NUM(m + CALM_AT), PT_PAGE, 0, 3, MAP_NONBLOCK);
	SYS(remap_file_pages, NUM(m + CALM_AT), PT_PAGE, RO, 3, 0);
}

OP(mremap_move)
{
	SYS(mremap, NUM(m + AT), AT_LEN, AT_LEN, MREMAP_MAYMOVE | MREMAP_FIXED,
	    NUM(pt_slot(v, 3) + AT % PT_CHUNK));
}

OP(mremap_move_apart)
{
	SYS(mremap, NUM(m + AT), AT_LEN, AT_LEN + MB,
	    MREMAP_MAYMOVE | MREMAP_FIXED, NUM(pt_slot(v, 3)));
}

OP(mremap_dontunmap)
{
	SYS(mremap, NUM(m + AT), AT_LEN, AT_LEN,
	    MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
	    NUM(pt_slot(v, 3) + AT % PT_CHUNK));
}

/* Old size 0: a second mapping of the same pages */
OP(mremap_duplicate)
{
	SYS(mremap, NUM(m + AT), 0, AT_LEN, MREMAP_MAYMOVE | MREMAP_FIXED,
	    NUM(pt_slot(v, 3) + AT % PT_CHUNK));
}

OP(mremap_resize)
{
	SYS(mremap, NUM(m), LEN, LEN - MB, 0);
	note_state();
	SYS(mremap, NUM(m), LEN - MB, LEN + MB, 0);
	note_state();
	/* Behind the end of the file, until it grows */
	if (ftruncate(fd, LEN + MB))
		pt_die("growing the file");
}

OP(mprotect)
{
	SYS(mprotect, NUM(m + AT), AT_LEN, RO);
	SYS(mprotect, NUM(m + CALM_AT), PT_PAGE, PROT_NONE);
	SYS(mprotect, NUM(m + CALM_AT + MB), MB, PROT_READ | PROT_EXEC);
	note_state();
	SYS(mprotect, NUM(m), LEN, RW);
}

static long deny_key(unsigned long *arg)
{
	unsigned int pkru = 0;

	__asm__ volatile("rdpkru" : "=a"(pkru) : "c"(0) : "edx");
	pkru &= ~(3U << (2 * arg[0]));
	pkru |= arg[1] << (2 * arg[0]);
	__asm__ volatile("wrpkru" : : "a"(pkru), "c"(0), "d"(0));
	return 0;
}

/* The key is the process's own affair, as are the rights it has with it. */
OP(pkey_mprotect)
{
	long key = SYS(pkey_alloc, 0, 0);

	if (key < 0) {
		note("cannot: no protection keys\n");
		return;
	}
	SYS(pkey_mprotect, NUM(m + AT), AT_LEN, RW, key);
	note_state();
	pt_call(v, deny_key, key, 1L);
	note_state();
	pt_call(v, deny_key, key, 2L);
	note_state();
	SYS(pkey_mprotect, NUM(m + AT), AT_LEN, RW, 0);
}

OP(mseal)
{
	const long nr = 462;

	note("mseal: %ld\n", pt_sys(v, nr, m + AT, AT_LEN, 0L));
	SYS(mprotect, NUM(m + AT), PT_PAGE, RO);
	SYS(munmap, NUM(m), LEN);
	SYS(madvise, NUM(m + AT), AT_LEN, MADV_DONTNEED);
}

/* --- locked memory ---------------------------------------------------------- */

static void note_locked(void)
{
	note("locked: %ld kB, %ld of them here, others %ld\n",
	     pt_status(v->pid, "VmLck"), pt_smaps(v->pid, m + AT, "Locked"),
	     pt_smaps(pt_writer[0]->pid, pt_slot(pt_writer[0], 0), "Locked"));
}

/*
 * Whole chunks: of one that the range cuts, unlinking for the VMA boundary
 * leaves no page resident that could be locked before it is touched.
 */
OP(mlock2)
{
	SYS(mlock2, NUM(m + PT_COUNTER_AT), 2 * PT_CHUNK, 1 /* MLOCK_ONFAULT */);
	note_locked();
	SYS(mlock2, NUM(m + CALM_AT), MB, 0);
	SYS(munlock, NUM(m + CALM_AT + PT_PAGE), PT_PAGE);
	note_state();
	SYS(madvise, NUM(m + AT), AT_LEN, MADV_DONTNEED);
	SYS(madvise, NUM(m + AT), AT_LEN, 24 /* MADV_DONTNEED_LOCKED */);
	note_locked();
}

OP(mlockall)
{
	SYS(mlockall, MCL_CURRENT | MCL_ONFAULT);
	note_locked();
	note_state();
	SYS(munlockall);
	note_locked();
	SYS(mlockall, MCL_FUTURE);
	SYS(mmap, NUM(pt_slot(v, 3)), LEN, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
	    vfd, 0);
	note("locked: %ld\n", pt_smaps(v->pid, pt_slot(v, 3), "Locked"));
}

/* The lock of a segment is on its pages, whoever maps them. */
OP(shm_lock)
{
	int id = shmget(IPC_PRIVATE, LEN, 0600 | IPC_CREAT), k;
	char *at = pt_slot(v, 3);

	if (id < 0) {
		note("cannot: no System V shared memory\n");
		return;
	}
	note("shmat: %d\n", pt_sys(v, SYS_shmat, (long)id, at, 0L) == NUM(at));
	pt_call(v, stamp_all, at);
	SYS(mlock2, NUM(at), 2 * PT_CHUNK, 1 /* MLOCK_ONFAULT */);
	note("locked: %ld\n", pt_smaps(v->pid, at, "Locked"));
	SYS(munlock, NUM(at), 2 * PT_CHUNK);
	for (k = 0; k < 2; k++) {
		note("shmctl: %d\n", shmctl(id, k ? SHM_UNLOCK : SHM_LOCK, NULL));
		SYS(madvise, NUM(at), LEN, MADV_PAGEOUT);
		note_state();
	}
	shmctl(id, IPC_RMID, NULL);
}

/* --- advice ----------------------------------------------------------------- */

/* All there is, good or bad; but for poison, which takes memory away for good */
OP(madvise)
{
	int i;

	for (i = 0; i <= 26; i++) {
		/* Nothing that the others count in is to be removed. */
		bool calm = i == MADV_REMOVE;

		note("%d ", i);
		if (i == MADV_COLLAPSE)
			note("%ld\n", pt_collapse(v, m + AT, AT_LEN));
		else
			SYS(madvise, NUM(m + (calm ? CALM_AT : AT)), AT_LEN, i);
		note_state();
	}
}

/* Of a collapse the caller has to have what it asked for. */
OP(madvise_collapse)
{
	note("collapse: %ld\n", pt_collapse(v, m + CALM_AT, PT_CHUNK));
	note("huge: %ld kB\n", pt_smaps(v->pid, m + CALM_AT, "ShmemPmdMapped"));
	note_state();
	SYS(madvise, NUM(m + CALM_AT + PT_PAGE), PT_PAGE, MADV_DONTNEED);
}

OP(process_madvise)
{
	static const int advice[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE,
		MADV_DONTNEED,
	};
	struct iovec iov[] = {
		{ m + CALM_AT, PT_CHUNK }, { m + LEN - MB, MB },
	};
	unsigned int i;
	long ret, end;

	for (i = 0; i < ARRAY_SIZE(advice); i++) {
		end = pt_now_ms() + 60000;
		do {
			ret = syscall(SYS_process_madvise, v->pidfd, iov, 2L,
				      (long)advice[i], 0L);
		} while (ret < 0 && errno == EAGAIN && pt_now_ms() < end);
		note("process_madvise: %ld\n", ret);
		note_state();
	}
}

OP(msync_mincore)
{
	unsigned char *vec = pt_scratch(v);
	unsigned int i;

	SYS(msync, NUM(m + AT), AT_LEN, MS_SYNC);
	SYS(msync, NUM(m + AT), AT_LEN, MS_ASYNC);
	SYS(msync, NUM(m + AT), AT_LEN, MS_SYNC | MS_INVALIDATE);
	pt_punch(fd, CALM_AT + PT_PAGE, 2 * PT_PAGE);
	SYS(mincore, NUM(m + CALM_AT), 5 * PT_PAGE, NUM(vec));
	for (i = 0; i < 5; i++)
		note("mincore: %d\n", vec[i] & 1);
}

/* --- placement -------------------------------------------------------------- */

OP(mbind)
{
	unsigned long *mask = pt_scratch(v);

	*mask = 2;
	SYS(set_mempolicy, MPOL_INTERLEAVE, NUM(mask), 64);
	SYS(mbind, NUM(m + AT), AT_LEN, MPOL_BIND, NUM(mask), 64);
	SYS(mbind, NUM(m + CALM_AT), MB, MPOL_BIND, NUM(mask), 64);
	note_state();
	*mask = 1;
	note("mbind move: %ld\n",
	     pt_sys(v, SYS_mbind, m + AT, AT_LEN, (long)MPOL_BIND, mask, 64L,
		    (long)(MPOL_MF_MOVE)));
	note("mbind move strict: %ld\n",
	     pt_sys(v, SYS_mbind, m + CALM_AT, MB, (long)MPOL_BIND, mask, 64L,
		    (long)(MPOL_MF_MOVE | MPOL_MF_STRICT)));
	*mask = 2;
	note("mbind move all: %ld\n",
	     pt_sys(v, SYS_mbind, m + CALM_AT, MB, (long)MPOL_BIND, mask, 64L,
		    (long)(MPOL_MF_MOVE_ALL)));
}

static void note_nodes(const char *what, long flags, int node)
{
	void *page[4] = {
		m + CALM_AT, m + CALM_AT + PT_PAGE, m + LEN - PT_PAGE, m - MB,
	};
	int nodes[4] = { node, node, node, node }, status[4] = {};
	long ret;
	int i;

	/* Pages that wait in per-CPU batches cannot be isolated. */
	pt_drain_lru();
	ret = syscall(SYS_move_pages, v->pid, 4L, page,
		      node < 0 ? NULL : nodes, status, flags);
	note("%s: %ld", what, ret);
	for (i = 0; i < 4; i++)
		note(" %d", status[i]);
	note("\n");
}

OP(move_pages)
{
	note_nodes("all to 1", MPOL_MF_MOVE_ALL, 1);
	note_nodes("query", 0, -1);
	note_nodes("own to 0", MPOL_MF_MOVE, 0);
	note_nodes("query", 0, -1);
	note_nodes("all to 0", MPOL_MF_MOVE_ALL, 0);
	note_nodes("query", 0, -1);
}

OP(migrate_pages)
{
	unsigned long from = 1, to = 2;
	int i;

	for (i = 0; i < 4; i++, from ^= 3, to ^= 3)
		note("migrate_pages: %d\n",
		     syscall(SYS_migrate_pages, v->pid, 64L, &from, &to) >= 0);
}

/* --- processes -------------------------------------------------------------- */

static long child_changes(unsigned long *arg)
{
	char *addr = (char *)arg[0];
	int status;
	pid_t pid;

	pid = syscall(SYS_clone, arg[1] | SIGCHLD, 0L, 0L, 0L, 0L);
	if (!pid) {
		syscall(SYS_mprotect, addr, PT_CHUNK, RO);
		syscall(SYS_munmap, addr + PT_CHUNK, PT_PAGE);
		syscall(SYS_exit, 0L);
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

OP(clone)
{
	note("child: %ld\n", pt_call(v, child_changes, m + AT, 0L));
	note_state();
	note("child: %ld\n", pt_call(v, child_changes, m + CALM_AT,
				     (long)(CLONE_VFORK)));
}

/* What a vfork()ed child does is done to its parent. */
OP(vfork)
{
	note("child: %ld\n", pt_call(v, child_changes, m + AT,
				     (long)(CLONE_VM | CLONE_VFORK)));
}

static long execs(unsigned long *arg)
{
	unsigned long i;
	int status;
	pid_t pid;

	for (i = 0; i < arg[1]; i++) {
		pid = vfork();
		if (!pid) {
			execl("/proc/self/exe", "ptshare_ops", "-l", NULL);
			_exit(1);
		}
		pid = fork();
		if (!pid) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, 1);
			dup2(null, 2);
			pt_store((char *)arg[0] + STAMP_AT, pt_stamp(SEED, 0));
			execl("/proc/self/exe", "ptshare_ops", "-h", NULL);
			_exit(1);
		}
		while (wait(&status) > 0)
			;
	}
	return 0;
}

OP(exec)
{
	int null = pt_open(v, "/dev/null", O_WRONLY);

	pt_sys(v, SYS_dup2, (long)null, 1L);
	pt_sys(v, SYS_dup2, (long)null, 2L);
	pt_call(v, execs, m, pt_effort(4));
}

static long unmap_and_map(unsigned long *arg)
{
	for (;;) {
		madvise((void *)arg[0], LEN, MADV_DONTNEED);
		mprotect((char *)arg[0] + AT, PT_PAGE, RO);
		mprotect((char *)arg[0] + AT, PT_PAGE, RW);
		pt_set((unsigned long *)(arg[0] + STAMP_AT), pt_stamp(SEED, 0));
	}
	return 0;
}

OP(sigkill)
{
	int i, n = pt_effort(20);

	for (i = 0; i < n; i++) {
		struct pt_proc *child = pt_fork(v);

		pt_thread(child, unmap_and_map, m);
		pt_sleep_ms(i % 4);
		pt_kill(child);
	}
}

OP(process_mrelease)
{
	struct pt_proc *child = pt_fork(v);
	long ret;

	pt_touch(child, m, LEN, true);
	note("mrelease of the living: %ld\n",
	     syscall(SYS_process_mrelease, child->pidfd, 0L));
	syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
	ret = syscall(SYS_process_mrelease, child->pidfd, 0L);
	/* It may be gone already. */
	note("mrelease: %d\n", !ret || errno == ESRCH);
	pt_kill(child);
}

/* --- looking in from outside ------------------------------------------------- */

static void note_smaps(const char *file, pid_t pid, const char *addr)
{
	static const char * const name[] = {
		"Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean",
		"Private_Dirty", "Anonymous", "Swap", "Locked",
	};
	unsigned int i;

	note("%s:", file);
	for (i = 0; i < ARRAY_SIZE(name); i++)
		note(" %s %ld", name[i], pt_smaps(pid, addr, name[i]));
	note("\n");
}

/* Flags of a page but for its number */
static uint64_t flags_of(const char *addr)
{
	return pt_pagemap(v->pid, addr) & ~PFN_MASK;
}

static void note_numa_maps(const char *addr)
{
	unsigned long start;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/numa_maps", v->pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		char *word = strstr(line, " mapped=");

		if (sscanf(line, "%lx ", &start) == 1 && word &&
		    start == (unsigned long)addr)
			note("numa_maps:%.*s\n", (int)strcspn(word + 1, "\n"),
			     word);
	}
	if (f)
		fclose(f);
}

/* As all have touched all, even figures are the same. */
OP(proc_figures)
{
	char path[64];

	pt_touch(v, m, LEN, true);
	note_smaps("smaps", v->pid, m);
	note_smaps("smaps of another", pt_writer[0]->pid, pt_slot(pt_writer[0], 0));
	note("pagemap: %lx %lx\n", flags_of(m), flags_of(m + CALM_AT));
	note_numa_maps(m);
	SYS(madvise, NUM(m + CALM_AT), PT_CHUNK, MADV_DONTNEED);
	note_smaps("after DONTNEED", v->pid, m);
	note("pagemap: %lx\n", flags_of(m + CALM_AT));
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", v->pid);
	note("clear_refs: %d\n", pt_write_file(path, "1"));
}

OP(proc_mem)
{
	unsigned long val, i;
	char path[64];
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", v->pid);
	mem = open(path, O_RDWR);
	SYS(mprotect, NUM(m + CALM_AT), PT_CHUNK, RO);
	SYS(mprotect, NUM(m + CALM_AT + PT_CHUNK), PT_PAGE, PROT_NONE);
	for (i = 0; i < 4; i++) {
		off_t at = NUM(m + CALM_AT + i * PT_CHUNK / 2 + STAMP_AT);
		ssize_t in = pread(mem, &val, sizeof(val), at), out;

		out = pwrite(mem, &val, sizeof(val), at);
		note("mem %lu: %zd %zd %lx\n", i, in, out, in > 0 ? val : 0);
	}
	close(mem);
}

OP(ptrace)
{
	unsigned long val = pt_stamp(SEED, 0);
	int i;

	SYS(mprotect, NUM(m + CALM_AT), PT_CHUNK, RO);
	if (ptrace(PTRACE_ATTACH, v->pid, 0, 0) ||
	    waitpid(v->pid, NULL, __WALL) != v->pid)
		pt_die("ptrace");
	for (i = 0; i < 3; i++) {
		char *at = m + i * CALM_AT / 2 * 2 + STAMP_AT;

		errno = 0;
		val = ptrace(PTRACE_PEEKDATA, v->pid, at, 0);
		note("ptrace: %lx %d", val, errno);
		errno = 0;
		note(" %ld", ptrace(PTRACE_POKEDATA, v->pid, at, val));
		note(" %d\n", errno);
	}
	ptrace(PTRACE_DETACH, v->pid, 0, 0);
}

OP(process_vm)
{
	unsigned long i, val;

	SYS(mprotect, NUM(m + CALM_AT), PT_CHUNK, RO);
	SYS(madvise, NUM(m), LEN, MADV_DONTNEED);
	for (i = STAMP_AT; i < LEN; i += MB) {
		struct iovec local = { &val, sizeof(val) };
		struct iovec remote = { m + i, sizeof(val) };
		ssize_t in, out;

		in = process_vm_readv(v->pid, &local, 1, &remote, 1, 0);
		out = process_vm_writev(v->pid, &local, 1, &remote, 1, 0);
		note("vm: %zd %zd %lx\n", in, out, val);
	}
}

/* --- pages that the kernel holds on to --------------------------------------- */

static long splice_page(unsigned long *arg)
{
	struct iovec iov = { (void *)(arg[0] + STAMP_AT), sizeof(long) };
	int end[2];

	if (pipe(end) || vmsplice(end[1], &iov, 1, arg[1]) != sizeof(long))
		return -errno;
	return end[0];
}

/* What was spliced stays, whatever becomes of the mapping. */
OP(vmsplice)
{
	unsigned long flags;

	for (flags = 0; flags <= 8 /* SPLICE_F_GIFT */; flags += 8) {
		long in = pt_call(v, splice_page, m + CALM_AT + flags * PT_PAGE,
				  flags);

		SYS(madvise, NUM(m + CALM_AT), PT_CHUNK, MADV_DONTNEED);
		pt_punch(fd, CALM_AT + flags * PT_PAGE, PT_PAGE);
		SYS(read, in, NUM(pt_scratch(v)), 8);
		note("spliced: %lx\n", *(unsigned long *)pt_scratch(v));
	}
}

struct ring {
	int fd;
	char *sq, *cq;
	struct io_uring_params par;
	struct io_uring_sqe *sqe;
};

static long ring_open(struct ring *r)
{
	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, 4, &r->par);
	if (r->fd < 0)
		return -errno;
	r->sq = mmap(NULL, PT_PAGE, RW, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, PT_PAGE, RW, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqe = mmap(NULL, PT_PAGE, RW, MAP_SHARED, r->fd, IORING_OFF_SQES);
	return r->sqe == MAP_FAILED ? -errno : 0;
}

static long ring_do(struct ring *r, int op, int file, void *buf, size_t len,
		    off_t off)
{
	unsigned int *tail = (void *)(r->sq + r->par.sq_off.tail);
	unsigned int mask = *(unsigned int *)(r->sq + r->par.sq_off.ring_mask);
	unsigned int *slot = (void *)(r->sq + r->par.sq_off.array);
	unsigned int *head = (void *)(r->cq + r->par.cq_off.head);
	struct io_uring_cqe *cqe = (void *)(r->cq + r->par.cq_off.cqes);
	struct io_uring_sqe *sqe = &r->sqe[*tail & mask];
	long ret;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = file;
	sqe->addr = (unsigned long)buf;
	sqe->len = len;
	sqe->off = off;
	slot[*tail & mask] = *tail & mask;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS,
		    NULL, 0) != 1)
		return -errno;
	mask = *(unsigned int *)(r->cq + r->par.cq_off.ring_mask);
	ret = cqe[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return ret;
}

/*
 * A fixed buffer in the mapping, pinned for long: written to after the mapping
 * was given up, it is the file that has to have it.
 */
static long fixed_buffer(unsigned long *arg)
{
	struct iovec iov = { (void *)arg[0], MB };
	int source = pt_memfd(MB);
	unsigned long i, val;
	struct ring r;
	long ret;

	for (i = 0; i < MB / PT_PAGE; i++) {
		val = pt_stamp(SEED, arg[1] + i);
		pwrite(source, &val, sizeof(val), i * PT_PAGE + STAMP_AT);
	}
	ret = ring_open(&r);
	if (ret)
		return ret;
	if (syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &iov, 1))
		return -errno;
	if (arg[2])
		madvise(iov.iov_base, MB, MADV_DONTNEED);
	ret = ring_do(&r, IORING_OP_READ_FIXED, source, iov.iov_base, MB, 0);
	note("read fixed: %ld\n", ret);
	ret = ring_do(&r, IORING_OP_WRITE_FIXED, source, iov.iov_base, MB, MB);
	note("write fixed: %ld\n", ret);
	for (i = 0; i < MB / PT_PAGE; i++) {
		pread(source, &val, sizeof(val), MB + i * PT_PAGE + STAMP_AT);
		if (val != pt_stamp(SEED, arg[1] + i))
			note("page %lu: %lx\n", i, val);
	}
	close(r.fd);
	return close(source);
}

OP(io_uring_fixed)
{
	int i;

	for (i = 0; i < 2; i++) {
		long ret = pt_call(v, fixed_buffer, m + CALM_AT,
				   CALM_AT / PT_PAGE, (long)i);

		note("io_uring: %ld\n", ret);
		if (ret)
			note("cannot: no io_uring\n");
	}
}

static long open_direct(unsigned long *arg)
{
	int out = open((char *)arg[0], O_RDWR | O_CREAT | O_DIRECT, 0600);

	unlink((char *)arg[0]);
	return out < 0 ? -errno : out;
}

/* From the mapping to another file and back, without a copy if that can do it */
OP(direct_io)
{
	char *path = pt_scratch(v);
	long out;

	sprintf(path, "/tmp/ptshare-direct");
	out = pt_call(v, open_direct, path);
	if (out < 0) {
		note("cannot: no O_DIRECT in /tmp\n");
		return;
	}
	SYS(pwrite64, out, NUM(m + CALM_AT), 4 * MB, 0);
	pt_punch(fd, CALM_AT, MB);
	SYS(pread64, out, NUM(m + CALM_AT), 4 * MB, 0);
	SYS(mprotect, NUM(m + CALM_AT), PT_CHUNK, RO);
	SYS(pread64, out, NUM(m + CALM_AT), 4 * MB, 0);
}

/* --- userfaultfd, soft-dirty, PAGEMAP_SCAN ------------------------------------ */

static long uffd_open(unsigned long *arg)
{
	struct uffdio_api api = { .api = UFFD_API, .features = arg[0] };
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_register reg = {
		.range = { arg[1], arg[2] }, .mode = arg[3],
	};

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return uffd;
}

static long uffd_close(unsigned long *arg)
{
	struct uffdio_range range = { arg[1], arg[2] };

	return ioctl(arg[0], UFFDIO_UNREGISTER, &range) ? -errno : close(arg[0]);
}

static long uffd_poison(unsigned long *arg)
{
	struct poison p = { arg[1], arg[2], 0, 0 };

	return ioctl(arg[0], POISON, &p) ? -errno : p.updated;
}

/* Poison that is one process's own, until it is dropped */
OP(uffd_poison)
{
	long uffd = pt_call(v, uffd_open, FEATURE_POISON, m + CALM_AT, PT_CHUNK,
			    (long)UFFDIO_REGISTER_MODE_MISSING);

	if (uffd < 0) {
		note("cannot: no userfaultfd poison\n");
		return;
	}
	SYS(madvise, NUM(m + CALM_AT + MB), 3 * PT_PAGE, MADV_DONTNEED);
	note("poison: %ld\n", pt_call(v, uffd_poison, uffd, m + CALM_AT + MB,
				      2 * PT_PAGE));
	note("poison again: %ld\n",
	     pt_call(v, uffd_poison, uffd, m + CALM_AT + MB, 2 * PT_PAGE));
	note_state();
	note("unregister: %ld\n", pt_call(v, uffd_close, uffd, m + CALM_AT,
					  PT_CHUNK));
	note_state();
	SYS(madvise, NUM(m + CALM_AT + MB), 3 * PT_PAGE, MADV_DONTNEED);
}

static void scan(const char *what, unsigned long flags, unsigned long mask,
		 unsigned long ret_mask)
{
	struct scan_region vec[16];
	struct scan_arg arg = {
		.size = sizeof(arg), .flags = flags,
		.start = NUM(m), .end = NUM(m + LEN),
		.vec = NUM(vec), .vec_len = ARRAY_SIZE(vec),
		.mask = mask, .return_mask = ret_mask,
	};
	char path[64];
	int i, map, n;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", v->pid);
	map = open(path, O_RDONLY);
	n = ioctl(map, SCAN, &arg);
	note("%s: %d", what, n < 0 ? -errno : n);
	for (i = 0; i < n; i++)
		note(" %lx-%lx:%lx", (long)vec[i].start - NUM(m),
		     (long)vec[i].end - NUM(m), (long)vec[i].categories);
	note("\n");
	close(map);
}

/* Who wrote what is asked of one process, and not of all that share its tables. */
OP(pagemap_scan)
{
	const unsigned long all = SCAN_WRITTEN | SCAN_FILE | SCAN_PRESENT |
				  SCAN_SWAPPED | SCAN_HUGE | SCAN_WPALLOWED;
	int i;
	long uffd;

	pt_touch(v, m, LEN, true);
	scan("plain", 0, 0, all);
	scan("write-protect, not armed", SCAN_WP, SCAN_WRITTEN, SCAN_WRITTEN);
	scan("the same, checked", SCAN_WP | SCAN_CHECK, SCAN_WRITTEN, SCAN_WRITTEN);
	uffd = pt_call(v, uffd_open, FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED,
		       m + CALM_AT, 2 * PT_CHUNK,
		       (long)UFFDIO_REGISTER_MODE_WP);
	if (uffd < 0) {
		note("cannot: no asynchronous write protection\n");
		return;
	}
	for (i = 0; i < 2; i++) {
		scan("write-protect", SCAN_WP, SCAN_WRITTEN, SCAN_WRITTEN);
		pt_touch(pt_writer[0], pt_slot(pt_writer[0], 0), LEN, true);
		pt_touch(v, m + CALM_AT + MB, 3 * PT_PAGE, true);
		pt_touch(v, m + CALM_AT + 3 * MB, MB, false);
		scan("written", 0, SCAN_WRITTEN | SCAN_WPALLOWED, SCAN_WRITTEN);
	}
	note("unregister: %ld\n", pt_call(v, uffd_close, uffd, m + CALM_AT,
					  2 * PT_CHUNK));
}

OP(soft_dirty)
{
	char path[64];
	int i;

	pt_touch(v, m, LEN, true);
	snprintf(path, sizeof(path), "/proc/%d/clear_refs", v->pid);
	if (!(flags_of(m) & PM_SOFT_DIRTY) || pt_write_file(path, "4")) {
		note("cannot: no soft-dirty tracking\n");
		return;
	}
	pt_touch(pt_writer[0], pt_slot(pt_writer[0], 0), LEN, true);
	pt_touch(v, m + CALM_AT, PT_PAGE, true);
	pt_touch(v, m + CALM_AT + PT_PAGE, PT_PAGE, false);
	for (i = 0; i < 3; i++)
		note("pagemap: %lx\n", flags_of(m + CALM_AT + i * PT_PAGE));
}

/* --- core dumps ---------------------------------------------------------------- */

#define CORE		"/tmp/ptshare-core"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

/* A program header of ELF64, and where to find them */
struct segment {
	uint32_t type, flags;
	uint64_t offset, addr, paddr, stored, size, align;
};

#define HEADERS_AT	32
#define NR_HEADERS_AT	56

static long dump_core(unsigned long *arg)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int status;
	pid_t pid = fork();

	(void)arg;
	if (!pid) {
		setrlimit(RLIMIT_CORE, &all);
		pt_write_file("/proc/self/coredump_filter", "0xa");
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	waitpid(pid, &status, 0);
	return WCOREDUMP(status);
}

/* What the core has for the file's mapping, page by page */
static void note_core(void)
{
	int core = open(CORE, O_RDONLY);
	unsigned long good = 0, bad = 0, i, k, at, val;
	struct segment seg;
	uint16_t segs;
	uint64_t head;

	if (core < 0 || pread(core, &head, 8, HEADERS_AT) != 8 ||
	    pread(core, &segs, 2, NR_HEADERS_AT) != 2) {
		note("cannot: no core dump\n");
		return;
	}
	for (i = 0; i < segs; i++) {
		pread(core, &seg, sizeof(seg), head + i * sizeof(seg));
		at = seg.addr - NUM(m);
		if (at >= LEN)
			continue;
		note("core: %lx+%lx, %lx in the file, flags %x\n", at, seg.size,
		     seg.stored, seg.flags);
		for (k = 0; k < seg.stored; k += PT_PAGE) {
			pread(core, &val, sizeof(val), seg.offset + k + STAMP_AT);
			if (val == pt_stamp(SEED, (at + k) / PT_PAGE))
				good++;
			else
				bad++;
		}
	}
	note("core: %lu pages good, %lu bad\n", good, bad);
	close(core);
	unlink(CORE);
}

OP(core_dump)
{
	char was[128] = "";
	FILE *f = fopen(CORE_PATTERN, "r");

	if (!f || !fgets(was, sizeof(was), f) ||
	    pt_write_file(CORE_PATTERN, CORE)) {
		note("cannot: no core pattern\n");
		return;
	}
	fclose(f);
	SYS(madvise, NUM(m + AT), MB, MADV_DONTDUMP);
	SYS(mprotect, NUM(m + CALM_AT), MB, PROT_NONE);
	note("dumped: %d\n", !!pt_call(v, dump_core));
	note_core();
	pt_write_file(CORE_PATTERN, was);
}

/* --- reclaim and monitors -------------------------------------------------------- */

static long eat(unsigned long *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		char *more = mmap(NULL, arg[0], RW, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
		unsigned long i;

		pt_write_file("/proc/self/oom_score_adj", "1000");
		for (i = 0; more != MAP_FAILED && i < arg[0]; i += PT_PAGE)
			more[i] = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Who shares nothing but the file with a process that eats too much stays. */
OP(memcg_oom)
{
	if (!pt_need_group(32 * MB)) {
		note("cannot: no memory cgroup\n");
		return;
	}
	pt_group_write("memory.swap.max", 0);
	pt_join_group(v);
	note("killed by %ld\n", pt_call(v, eat, 64 * MB));
	pt_touch(v, m, LEN, true);
	pt_call(v, stamp_all, m);
	note_state();
	pt_kill(v);
	pt_drop_group();
}

/* Pages read back by swapoff, while they are written to */
OP(swapoff)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (!pt_need_swap()) {
			note("cannot: no swap on zram\n");
			return;
		}
		SYS(madvise, NUM(m), LEN, MADV_PAGEOUT);
		pt_write_file("/sys/fs/cgroup/memory.reclaim", "16M");
		note("swapoff: %d\n", pt_drop_swap());
		note_state();
	}
}

#define IDLE	"/sys/kernel/mm/page_idle/bitmap"

static bool idle_bit(int idle, unsigned long pfn)
{
	uint64_t bits = 0;

	if (pread(idle, &bits, sizeof(bits), pfn / 64 * 8) != sizeof(bits))
		pt_die("reading %s", IDLE);
	return bits >> pfn % 64 & 1;
}

/* A page is idle until anybody touches it. */
OP(idle_pages)
{
	int idle = open(IDLE, O_RDWR), i;

	if (idle < 0) {
		note("cannot: no idle page tracking\n");
		return;
	}
	pt_drain_lru();
	for (i = 0; i < 2; i++) {
		char *other = pt_slot(pt_writer[i], 0) + LEN - MB;
		char *at = m + LEN - MB;
		unsigned long pfn = pt_pagemap(v->pid, at) & PFN_MASK;
		uint64_t bits = 1UL << pfn % 64;

		note("set: %zd\n", pwrite(idle, &bits, sizeof(bits), pfn / 64 * 8));
		note("idle: %d\n", idle_bit(idle, pfn));
		if (i)
			pt_touch(v, at, PT_PAGE, false);
		else
			pt_touch(pt_writer[i], other, PT_PAGE, false);
		note("idle: %d\n", idle_bit(idle, pfn));
	}
	close(idle);
}

#define DAMON	"/sys/kernel/mm/damon/admin/kdamonds/"

/* Watching one process, and acting upon what is seen */
OP(damon)
{
	static const char * const action[] = { "stat", "cold", "pageout" };
	char pid[16];
	unsigned int i;

	snprintf(pid, sizeof(pid), "%d", v->pid);
	for (i = 0; i < ARRAY_SIZE(action); i++) {
		if (pt_write_file(DAMON "nr_kdamonds", "1")) {
			note("cannot: no DAMON\n");
			return;
		}
		pt_write_file(DAMON "0/contexts/nr_contexts", "1");
		pt_write_file(DAMON "0/contexts/0/operations", "vaddr");
		pt_write_file(DAMON "0/contexts/0/targets/nr_targets", "1");
		pt_write_file(DAMON "0/contexts/0/targets/0/pid_target", pid);
		pt_write_file(DAMON "0/contexts/0/schemes/nr_schemes", "1");
		pt_write_file(DAMON "0/contexts/0/schemes/0/action", action[i]);
		note("damon: %d\n", pt_write_file(DAMON "0/state", "on"));
		pt_let_write();
		pt_sleep_ms(pt_stress_ms() / 4);
		note("damon: %d\n", pt_write_file(DAMON "0/state", "off"));
		pt_write_file(DAMON "nr_kdamonds", "0");
	}
}

#define MERGED	"/sys/kernel/mm/ksm/pages_sharing"

/* Merging in the next mapping must not reach into this one. */
OP(ksm)
{
	char *next = m + LEN;
	long end;

	SYS(mmap, NUM(next), 2 * MB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	    -1, 0);
	pt_touch(v, next, 2 * MB, true);
	SYS(madvise, NUM(m), LEN + 2 * MB, MADV_MERGEABLE);
	pt_write_file("/sys/kernel/mm/ksm/sleep_millisecs", "0");
	pt_write_file("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	if (pt_write_file("/sys/kernel/mm/ksm/run", "1")) {
		note("cannot: no KSM\n");
		return;
	}
	end = pt_now_ms() + 120000;
	while (pt_read_num(MERGED) < 500 && pt_now_ms() < end)
		pt_sleep_ms(20);
	note("merged: %d\n", pt_read_num(MERGED) >= 500);
	note_state();
	SYS(madvise, NUM(m), LEN + 2 * MB, MADV_UNMERGEABLE);
	pt_write_file("/sys/kernel/mm/ksm/run", "2");
}

/* --- the file --------------------------------------------------------------------- */

OP(file_sizes)
{
	int i;

	if (ftruncate(fd, 2 * LEN))
		pt_die("growing");
	SYS(mremap, NUM(m), LEN, LEN + MB, 0);
	note_state();
	if (ftruncate(fd, LEN - MB - 5))
		pt_die("shrinking");
	note_state();
	/* Below the minimum, while chunks are shared */
	if (ftruncate(fd, PT_COUNTER_AT + PT_CHUNK))
		pt_die("shrinking");
	note_state();
	if (ftruncate(fd, LEN))
		pt_die("growing");
	for (i = 0; i < 2; i++) {
		note("fallocate: %d\n", fallocate(fd, i ? FALLOC_FL_KEEP_SIZE : 0,
						  LEN - MB, 2 * MB));
		note_state();
	}
	note("zero range: %d\n", fallocate(fd, FALLOC_FL_ZERO_RANGE, LEN - MB, MB));
}

TEST_HARNESS_MAIN
