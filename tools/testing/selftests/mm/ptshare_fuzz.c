// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: random operations on files in four processes, against a model.
 *
 * The model knows the contents of each page of each file and, for each page of
 * a window of each process, which page is mapped there and with what rights.
 * So every access has one right outcome: a value, SIGSEGV or SIGBUS.
 *
 * Rounds of two kinds take turns. In one, operations are done one after the
 * other, whatever they do. In the other all processes are busy at a time: each
 * changes its own mappings at will, and of the files only the pages that are
 * its own (every fourth), while the kernel is made to reclaim and move them.
 * When all have come to a halt, everything is compared.
 *
 * What is done depends on the seed only, for each process. A failure prints
 * it. With -F allocations of the processes fail at random, and with -k somebody
 * turns vm.ptshare* meanwhile, so it takes more than the seed to see the same
 * again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "ptshare_util.h"

#define NR		4
#define MAX_FILES	4
#define WINDOW		8192		/* pages */
#define FILE_PAGES	6144
#define NONE		(-1)
#define SERIAL_OPS	200		/* in a round */
#define PARALLEL_OPS	100		/* of each process */

#define TRUST		"/proc/sys/vm/ptshare_trust"
#define UNLINK		"/proc/sys/vm/ptshare_unlink"

/* What a page has to show: a value that was written, zero, or one of these */
#define WANT_SEGV	(~0UL)
#define WANT_BUS	(~1UL)
/* Somebody else's page: whatever was written there at any time */
#define WANT_TAG	0x8000000000000000UL
#define TAG_SHIFT	40

struct map {
	int file;
	int page;		/* of the file, or NONE */
	int prot;
};

struct user {
	struct pt_proc *p;
	char *base;
	unsigned long rng;
	unsigned long written;	/* values so far */
	struct map map[WINDOW];
};

struct file {
	int fd;
	int direct;		/* the same, O_DIRECT if there is such a thing */
	int size;		/* pages */
	unsigned long contents[FILE_PAGES];
	unsigned long before[FILE_PAGES];	/* this parallel round */
};

/* An access: to which page of the window, and what is to be found there */
struct want {
	unsigned long val;
	unsigned long before;	/* fine, too, if @val is a tag */
};

struct access {
	long page;
	struct want want;
};

/* What a process is told to access, and what it finds wrong */
struct ctl {
	unsigned long seen;
	struct access access[WINDOW];
};

#define CTL(nr)		(&PT_CTL(struct ctl)[nr])

static struct user user[NR];
static struct file file[MAX_FILES];
static int nr_files;
static bool verbose, parallel, knobs;
static unsigned long seed;
static int mode, fail_percent;
static long trust;
/* No knob is turned while somebody holds this. */
static pthread_mutex_t knobs_rest = PTHREAD_MUTEX_INITIALIZER;
static unsigned long next_op;
static long hard_end = LONG_MAX;	/* of a round, too: on a machine that is very slow */
static __thread unsigned long *rng;
static __thread struct user *me;

/* --- odds and ends ------------------------------------------------------- */

static unsigned int rnd(unsigned int n)
{
	*rng = *rng * 6364136223846793005UL + 1442695040888963407UL;
	return (*rng >> 33) % n;
}

static int nr_of(struct user *u)
{
	return u - user;
}

static void __printf(1, 2) say(const char *fmt, ...)
{
	char line[200];
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	printf("# %lu, process %d%s: %s\n", next_op, me ? nr_of(me) : -1,
	       parallel ? " of all" : "", line);
}

static void inject_globally(bool on);

static void set_trust(long val)
{
	if (val >= 0 && pt_write_file(TRUST, val ? "1" : "0"))
		pt_die("setting " TRUST " to %ld", val);
}

static void reset_knobs(void)
{
	pt_set_mode(mode);
	set_trust(trust);
}

static void __noreturn __printf(1, 2) fail(const char *fmt, ...)
{
	static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
	va_list ap;

	/* One failure is enough, and the others are likely to be its doing. */
	pthread_mutex_lock(&first);
	inject_globally(false);
	printf("# seed %lu, operation %lu, process %d%s: ", seed, next_op,
	       me ? nr_of(me) : -1, parallel ? " of all" : "");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	pthread_mutex_lock(&knobs_rest);
	reset_knobs();
	pt_kill_all();
	ksft_test_result_fail("random operations\n");
	ksft_exit_fail();
}

/*
 * A page below @limit: most of the time one of a few, or nobody would ever come
 * by where another one has just been
 */
static int pick_page(int limit)
{
	static const int chunks[] = { 1, 4, 7 };
	static const int pages[] = { 0, 1, 2, 100, 255, 256, 510, 511 };

	if (!rnd(4))
		return rnd(limit);
	return chunks[rnd(ARRAY_SIZE(chunks))] * 512 +
	       pages[rnd(ARRAY_SIZE(pages))];
}

/* A range of up to @max pages below @limit, of a size that is worth a test */
static int pick_range(int limit, int max, int *len)
{
	static const int sizes[] = { 1, 3, 512, 700, 2048, 4096, 6144 };
	int first;

	*len = sizes[rnd(ARRAY_SIZE(sizes))];
	if (*len > max)
		*len = 1 + rnd(max);
	if (*len < 512)
		return pick_page(limit - *len);
	first = rnd(limit - *len + 1);
	/* Whole chunks half of the time */
	if (rnd(2))
		first &= ~511;
	return first;
}

/* Pages from @first on that are mapped one after the other, alike */
static int run_length(struct user *u, int first, int max)
{
	struct map *m = &u->map[first];
	int n = 1;

	if (m->page == NONE)
		return 0;
	while (n < max && m[n].file == m->file && m[n].page == m->page + n &&
	       m[n].prot == m->prot)
		n++;
	return n;
}

static char *addr_of(struct user *u, int page)
{
	return u->base + page * PT_PAGE;
}

static unsigned long tag_of(int f, int page)
{
	return (f + 1UL) << 16 | page;
}

static unsigned long new_value(struct user *u, int f, int page)
{
	return tag_of(f, page) << TAG_SHIFT | ++u->written << 3 | nr_of(u);
}

static bool may_change(struct user *u, int page)
{
	return !parallel || page % NR == nr_of(u);
}

static void forget(struct user *u, int first, int len)
{
	while (len--)
		u->map[first++].page = NONE;
}

static void clear_pages(int f, int first, int len)
{
	memset(file[f].contents + first, 0, len * sizeof(long));
}

/* --- failing allocations -------------------------------------------------- */

#define DEBUGFS		"/sys/kernel/debug/"

static void inject_globally(bool on)
{
	static const char * const dirs[] = { "failslab", "fail_page_alloc" };
	static const char * const knobs[][2] = {
		{ "task-filter", "Y" }, { "verbose", "0" }, { "times", "-1" },
		{ "interval", "1" }, { "ignore-gfp-wait", "N" },
		{ "ignore-gfp-highmem", "N" }, { "min-order", "0" },
	};
	char path[96], text[16];
	unsigned int i, k;

	if (!fail_percent)
		return;
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		/* Not all of them have all. */
		for (k = 0; on && k < ARRAY_SIZE(knobs); k++) {
			snprintf(path, sizeof(path), DEBUGFS "%s/%s", dirs[i],
				 knobs[k][0]);
			pt_write_file(path, knobs[k][1]);
		}
		snprintf(path, sizeof(path), DEBUGFS "%s/probability", dirs[i]);
		snprintf(text, sizeof(text), "%d", on ? fail_percent : 0);
		if (pt_write_file(path, text) && on)
			pt_die("-F: no %s: needs debugfs, FAILSLAB, FAIL_PAGE_ALLOC",
			       path);
	}
}

/*
 * In a process: only while it does what the test is about. It has to be able
 * to report.
 */
static void inject(bool on)
{
	static int self = -1;
	static pid_t whose;
	unsigned long stack[4 * 512];
	int i;

	/* What a fork left open is the parent's. */
	if (whose != getpid()) {
		close(self);
		self = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
		whose = getpid();
	}
	/* A signal needs a stack to be delivered. */
	for (i = 0; i < 4; i++)
		pt_set(&stack[i * 512], 0);
	if (pwrite(self, on ? "1" : "0", 1, 0) != 1)
		_exit(1);
}

struct call {
	long nr, arg[6];
};

static long do_failing(unsigned long *arg)
{
	struct call *c = (void *)arg[0];
	long ret;

	inject(true);
	ret = syscall(c->nr, c->arg[0], c->arg[1], c->arg[2], c->arg[3],
		      c->arg[4], c->arg[5]);
	ret = ret == -1 ? -errno : ret;
	inject(false);
	return ret;
}

/* A system call of a process; with -F it may fail. */
static long sys(struct user *u, struct call c)
{
	if (!fail_percent)
		return pt_sys(u->p, c.nr, c.arg[0], c.arg[1], c.arg[2],
			      c.arg[3], c.arg[4], c.arg[5]);
	memcpy(pt_scratch(u->p), &c, sizeof(c));
	return pt_call(u->p, do_failing, pt_scratch(u->p));
}

#define SYS(u, name, ...)	sys(u, (struct call){ SYS_##name, { __VA_ARGS__ } })
#define NUM(p)			((long)(p))

/*
 * What a call has to return. When memory for it was made to fail, the range is
 * in a state that the model does not know: make it empty.
 */
static bool succeeded(struct user *u, const char *what, long ret, long want,
		      int first, int len)
{
	if (ret == want)
		return true;
	if (!fail_percent || ret != -ENOMEM)
		fail("%s of %d+%d: %ld instead of %ld", what, first, len, ret,
		     want);
	if (pt_sys(u->p, SYS_munmap, addr_of(u, first), len * PT_PAGE))
		fail("munmap after %s", what);
	forget(u, first, len);
	return false;
}

/* --- access ---------------------------------------------------------------- */

static struct want expectation(struct user *u, int page)
{
	struct map *m = &u->map[page];

	if (m->page == NONE || !(m->prot & PROT_READ))
		return (struct want){ .val = WANT_SEGV };
	if (m->page >= file[m->file].size)
		return (struct want){ .val = WANT_BUS };
	if (may_change(u, m->page))
		return (struct want){ .val = file[m->file].contents[m->page] };
	return (struct want){
		.val = WANT_TAG | tag_of(m->file, m->page),
		.before = file[m->file].before[m->page],
	};
}

static bool as_wanted(unsigned long val, struct want want)
{
	if (want.val >= WANT_BUS || !(want.val & WANT_TAG))
		return val == want.val;
	return !val || val == want.before ||
	       val >> TAG_SHIFT == (want.val & ~WANT_TAG);
}

/* arg: who it is, the window, accesses, whether allocations are to fail */
static long do_loads(unsigned long *arg)
{
	struct ctl *ctl = CTL(arg[0]);
	struct access *acc = ctl->access, *end = acc + arg[2];
	long bad = 0;
	int sig;

	if (arg[3])
		inject(true);
	for (; acc < end && !bad; acc++) {
		ctl->seen = 0;
		sig = pt_load((char *)arg[1] + acc->page * PT_PAGE, &ctl->seen);
		if (sig)
			ctl->seen = sig == SIGSEGV ? WANT_SEGV : WANT_BUS;
		if (!as_wanted(ctl->seen, acc->want))
			bad = acc - ctl->access + 1;
	}
	if (arg[3])
		inject(false);
	return bad;
}

/* The same, with values to be stored, which signals take the place of */
static long do_stores(unsigned long *arg)
{
	struct access *acc = CTL(arg[0])->access, *end = acc + arg[2];

	if (arg[3])
		inject(true);
	for (; acc < end; acc++)
		acc->want.before = pt_store((char *)arg[1] + acc->page * PT_PAGE,
					    acc->want.val);
	if (arg[3])
		inject(false);
	return 0;
}

/* Of @n pages, as @u's control block has them */
static long access_pages(struct user *u, pt_fn fn, long n)
{
	return pt_call(u->p, fn, (long)nr_of(u), u->base, n,
		       (long)!!fail_percent);
}

static void add_check(struct user *u, int *n, int page)
{
	CTL(nr_of(u))->access[(*n)++] =
		(struct access){ page, expectation(u, page) };
}

/* Do what was added. */
static void check_added(struct user *u, int n)
{
	long bad = access_pages(u, do_loads, n);
	struct ctl *ctl = CTL(nr_of(u));
	struct access *acc;

	if (!bad)
		return;
	acc = &ctl->access[bad - 1];
	fail("window %d, page %ld (of file %d: %d, prot %d): %lx instead of %lx",
	     nr_of(u), acc->page, u->map[acc->page].file,
	     u->map[acc->page].page, u->map[acc->page].prot, ctl->seen,
	     acc->want.val);
}

static void op_check(struct user *u)
{
	int n = 0, page = rnd(WINDOW), step = 1 + rnd(100), i;

	for (i = 0; i < 32 && page < WINDOW; i++, page += step)
		add_check(u, &n, page);
	for (i = 0; i < 32; i++)
		add_check(u, &n, pick_page(WINDOW));
	check_added(u, n);
}

/* Write to some pages, or find that it is not allowed. */
static void op_write(struct user *u)
{
	struct access *acc = CTL(nr_of(u))->access;
	int i, n = 0, tries = 1 + rnd(20);

	while (tries--) {
		int page = pick_page(WINDOW);
		struct map *m = &u->map[page];
		unsigned long val = 1;

		if (m->page != NONE && !may_change(u, m->page))
			continue;
		if (m->page != NONE)
			val = new_value(u, m->file, m->page);
		acc[n++] = (struct access){ page, { .val = val } };
	}
	say("write %d times", n);
	access_pages(u, do_stores, n);
	for (i = 0; i < n; i++) {
		struct map *m = &u->map[acc[i].page];
		unsigned long want = 0;

		if (m->page == NONE || !(m->prot & PROT_WRITE))
			want = SIGSEGV;
		else if (m->page >= file[m->file].size)
			want = SIGBUS;
		if (acc[i].want.before != want)
			fail("writing page %ld: signal %lu instead of %lu",
			     acc[i].page, acc[i].want.before, want);
		if (!want)
			file[m->file].contents[m->page] = acc[i].want.val;
	}
}

/* By way of another process, which faults in the mapping of this one */
static void op_vm_access(struct user *u)
{
	int i, n = 1 + rnd(20);
	unsigned long val, new;
	struct want want;

	say("%d accesses by another process", n);
	for (i = 0; i < n; i++) {
		int page = pick_page(WINDOW);
		struct map *m = &u->map[page];
		struct iovec here = { &val, sizeof(val) };
		struct iovec there = { addr_of(u, page), sizeof(val) };

		want = expectation(u, page);
		if (process_vm_readv(u->p->pid, &here, 1, &there, 1, 0) < 0) {
			if (want.val < WANT_BUS)
				fail("process_vm_readv of %d: %d", page, errno);
			continue;
		}
		if (!as_wanted(val, want))
			fail("process_vm_readv of %d: %lx instead of %lx", page,
			     val, want.val);
		if (!may_change(u, m->page) || !(m->prot & PROT_WRITE))
			continue;
		new = new_value(u, m->file, m->page);
		here.iov_base = &new;
		if (process_vm_writev(u->p->pid, &here, 1, &there, 1, 0) < 0)
			fail("process_vm_writev of %d: %d", page, errno);
		file[m->file].contents[m->page] = new;
	}
}

/* --- mappings --------------------------------------------------------------- */

static void op_mmap(struct user *u)
{
	static const int prots[] = {
		PT_RW, PT_RW, PT_RW, PT_RO, PROT_NONE, PT_RW | PROT_EXEC,
	};
	int len, first, page, prot, flags, f, i;
	long ret;

	first = pick_range(WINDOW, FILE_PAGES, &len);
	prot = prots[rnd(ARRAY_SIZE(prots))];
	f = rnd(nr_files);
	page = rnd(FILE_PAGES - len + 1);
	/* At an address that fits the offset most of the time */
	if (rnd(4))
		page = (page & ~511) + first % 512;
	if (page + len > FILE_PAGES)
		page = first % 512;
	if (page + len > FILE_PAGES)
		len = FILE_PAGES - page;
	flags = MAP_SHARED | MAP_FIXED;
	if (!rnd(4))
		flags |= rnd(2) ? MAP_POPULATE : MAP_NORESERVE;
	say("mmap %d+%d of file %d: %d prot %d", first, len, f, page, prot);
	ret = NUM(pt_mmap(u->p, addr_of(u, first), len * PT_PAGE, prot, flags,
			  file[f].fd, page * PT_PAGE));
	if (!succeeded(u, "mmap", ret, NUM(addr_of(u, first)), first, len))
		return;
	for (i = 0; i < len; i++)
		u->map[first + i] = (struct map){ f, page + i, prot };
}

/* A whole file again, for pieces of chunks are not shared. */
static void op_renew(struct user *u)
{
	int first = 512 * rnd(4), f = rnd(nr_files), i;
	int prot = rnd(4) ? PT_RW : PT_RO;

	say("renew: file %d at %d, prot %d", f, first, prot);
	if (pt_sys(u->p, SYS_munmap, u->base, WINDOW * PT_PAGE))
		fail("munmap of the window");
	forget(u, 0, WINDOW);
	if (pt_mmap(u->p, addr_of(u, first), FILE_PAGES * PT_PAGE, prot,
		    MAP_SHARED | MAP_FIXED, file[f].fd, 0) != addr_of(u, first))
		fail("mmap of file %d: %d", f, errno);
	for (i = 0; i < FILE_PAGES; i++)
		u->map[first + i] = (struct map){ f, i, prot };
}

static void op_munmap(struct user *u)
{
	int len, first = pick_range(WINDOW, 4096, &len);

	say("munmap %d+%d", first, len);
	if (succeeded(u, "munmap", SYS(u, munmap, NUM(addr_of(u, first)),
				       len * PT_PAGE), 0, first, len))
		forget(u, first, len);
}

static void op_mprotect(struct user *u)
{
	static const int prots[] = { PT_RW, PT_RO, PROT_NONE };
	int len, first = pick_range(WINDOW, 6144, &len), i;
	int prot = prots[rnd(ARRAY_SIZE(prots))];

	len = run_length(u, first, len);
	if (!len)
		return;
	say("mprotect %d+%d %d", first, len, prot);
	if (!succeeded(u, "mprotect", SYS(u, mprotect, NUM(addr_of(u, first)),
					  len * PT_PAGE, prot), 0, first, len))
		return;
	for (i = 0; i < len; i++)
		u->map[first + i].prot = prot;
}

/* Move, and maybe leave the old place mapped or make the new one longer. */
static void op_mremap(struct user *u)
{
	int len, first = pick_range(WINDOW, 2048, &len), to, i, new;
	bool keep = !rnd(4);
	long ret;

	len = run_length(u, first, len);
	if (!len)
		return;
	new = len;
	if (!keep && !rnd(4))
		new += rnd(600);
	if (new > WINDOW)
		return;
	to = rnd(WINDOW - new + 1);
	if (rnd(2))
		to = (to & ~511) + first % 512;
	if (to + new > WINDOW || (to < first + len && first < to + new))
		return;
	ret = SYS(u, mremap, NUM(addr_of(u, first)), len * PT_PAGE,
		  new * PT_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED |
		  (keep ? MREMAP_DONTUNMAP : 0), NUM(addr_of(u, to)));
	say("mremap %d+%d to %d+%d%s: %ld", first, len, to, new,
	    keep ? ", kept" : "", ret);
	/* More than one mapping is refused, after the target was unmapped. */
	if (ret == -EFAULT) {
		forget(u, to, new);
		return;
	}
	if (!succeeded(u, "mremap", ret, NUM(addr_of(u, to)), to, new)) {
		succeeded(u, "mremap", ret, 0, first, len);
		return;
	}
	for (i = 0; i < new; i++) {
		u->map[to + i] = u->map[first];
		u->map[to + i].page += i;
	}
	if (keep)
		return;
	/* Without memory to split it, the old mapping stays, as if by chance. */
	if (fail_percent &&
	    pt_sys(u->p, SYS_munmap, addr_of(u, first), len * PT_PAGE))
		fail("munmap after mremap");
	forget(u, first, len);
}

static void op_resize(struct user *u)
{
	int len, first = pick_range(WINDOW, 2048, &len), new, i;
	long ret;

	len = run_length(u, first, len);
	new = 1 + rnd(2 * len + 1);
	if (!len || first + new > WINDOW)
		return;
	ret = SYS(u, mremap, NUM(addr_of(u, first)), len * PT_PAGE,
		  new * PT_PAGE, 0);
	say("resize %d+%d to %d: %ld", first, len, new, ret);
	/* No room, or more than one mapping */
	if ((ret == -ENOMEM && !fail_percent) || ret == -EFAULT)
		return;
	if (!succeeded(u, "mremap", ret, NUM(addr_of(u, first)), first,
		       new > len ? new : len))
		return;
	for (i = len; i < new; i++) {
		u->map[first + i] = u->map[first];
		u->map[first + i].page += i;
	}
	forget(u, first + new, len > new ? len - new : 0);
}

static void op_remap_pages(struct user *u)
{
	int len, first = pick_range(WINDOW, 1024, &len), page, i;
	long ret;

	len = run_length(u, first, len);
	if (!len)
		return;
	page = rnd(FILE_PAGES - len + 1);
	ret = SYS(u, remap_file_pages, NUM(addr_of(u, first)), len * PT_PAGE, 0,
		  page, 0);
	say("remap_file_pages %d+%d to %d: %ld", first, len, page, ret);
	if (ret == -EINVAL || ret == -EACCES)
		return;
	if (!succeeded(u, "remap_file_pages", ret, 0, first, len))
		return;
	for (i = 0; i < len; i++)
		u->map[first + i].page = page + i;
}

static void op_lock(struct user *u)
{
	int len, first = pick_range(WINDOW, 700, &len);
	long addr = NUM(addr_of(u, first)), ret;

	switch (rnd(3)) {
	case 0:
		ret = SYS(u, mlock, addr, len * PT_PAGE);
		break;
	case 1:
		ret = SYS(u, mlock2, addr, len * PT_PAGE, 1);
		break;
	default:
		ret = SYS(u, munlock, addr, len * PT_PAGE);
	}
	say("lock %d+%d: %ld", first, len, ret);
}

/* Refusal is fine, contents may not change either way. */
static void op_advise(struct user *u)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED,
		MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT,
		MADV_COLLAPSE, MADV_COLLAPSE, MADV_NORMAL, MADV_RANDOM,
		MADV_SEQUENTIAL, MADV_DONTDUMP, MADV_DODUMP, MADV_HUGEPAGE,
		MADV_NOHUGEPAGE, MADV_MERGEABLE, MADV_FREE, MADV_WIPEONFORK,
		22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */,
		24 /* DONTNEED_LOCKED */,
		MADV_SHARE_PT, MADV_NOSHARE_PT,
	};
	int len, first = pick_range(WINDOW, 6144, &len), f;
	int what = advice[rnd(ARRAY_SIZE(advice))];
	long ret;

	/* A huge page may reach beyond the end of the file, without SIGBUS. */
	for (f = 0; what == MADV_COLLAPSE && f < nr_files; f++)
		if (file[f].size < FILE_PAGES || len > 1024)
			return;
	if (rnd(4)) {
		ret = SYS(u, madvise, NUM(addr_of(u, first)), len * PT_PAGE, what);
	} else {
		struct iovec iov = { addr_of(u, first), len * PT_PAGE };

		ret = syscall(SYS_process_madvise, u->p->pidfd, &iov, 1L,
			      (long)what, 0L);
	}
	say("madvise %d+%d %d: %ld", first, len, what, ret);
}

static long arm_and_disarm(unsigned long *arg)
{
	static const unsigned long modes[] = {
		UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP,
		UFFDIO_REGISTER_MODE_MINOR,
	};
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_register reg = {
		.range = { arg[0], arg[1] }, .mode = modes[arg[2]],
	};
	struct uffdio_writeprotect wp = {
		.range = { arg[0], arg[1] },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	long ret = 0;

	if (uffd < 0)
		return -errno;
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		ret = -errno;
	else if (reg.mode == UFFDIO_REGISTER_MODE_WP)
		ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
	close(uffd);
	return ret;
}

static void op_uffd(struct user *u)
{
	int len, first = pick_range(WINDOW, 1024, &len);

	say("userfaultfd %d+%d: %ld", first, len,
	    pt_call(u->p, arm_and_disarm, addr_of(u, first), len * PT_PAGE,
		    (long)rnd(3)));
}

/* --- looking, and placement --------------------------------------------------- */

static void op_proc(struct user *u)
{
	static const char * const names[] = {
		"smaps", "smaps_rollup", "numa_maps", "statm", "status", "maps",
	};
	/* Soft-dirty tracking (4) keeps a mapping from sharing for good. */
	static const char digits[] = "1111111122222334";
	char path[64], buf[8192];
	int i = rnd(ARRAY_SIZE(names) + 2), in;

	if (i >= (int)ARRAY_SIZE(names)) {
		char how[2] = { digits[rnd(sizeof(digits) - 1)], 0 };

		snprintf(path, sizeof(path), "/proc/%d/clear_refs", u->p->pid);
		pt_write_file(path, how);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/%s", u->p->pid, names[i]);
	in = open(path, O_RDONLY | O_CLOEXEC);
	while (in >= 0 && read(in, buf, sizeof(buf)) > 0)
		;
	if (in >= 0)
		close(in);
	for (i = 0; i < 2; i++)
		if (pt_status(u->p->pid, i ? "RssFile" : "RssShmem") < 0)
			fail("a negative RSS");
	in = rnd(WINDOW);
	pt_pagemap(u->p->pid, addr_of(u, in));
}

static void op_place(struct user *u)
{
	int len, first = pick_range(WINDOW, 1024, &len), node = rnd(2), status;
	unsigned long *mask = pt_scratch(u->p) + PT_SCRATCH / 2;
	unsigned long from = 1 << node, to = 3 ^ from;
	void *page = addr_of(u, first);

	switch (rnd(4)) {
	case 0:
		*mask = from;
		SYS(u, mbind, NUM(page), len * PT_PAGE, MPOL_BIND, NUM(mask), 64,
		    rnd(2) ? MPOL_MF_MOVE : MPOL_MF_MOVE_ALL);
		break;
	case 1:
		syscall(SYS_move_pages, u->p->pid, 1L, &page, &node, &status,
			(long)(rnd(2) ? MPOL_MF_MOVE : MPOL_MF_MOVE_ALL));
		break;
	case 2:
		syscall(SYS_migrate_pages, u->p->pid, 64L, &from, &to);
		break;
	default:
		SYS(u, mincore, NUM(page), (len > 1024 ? 1024 : len) * PT_PAGE,
		    NUM(pt_scratch(u->p)) + PT_SCRATCH / 4);
	}
	say("place %d+%d", first, len);
}

/* --- processes ----------------------------------------------------------------- */

static void op_fork(struct user *u)
{
	struct user *child = &user[rnd(NR)];
	unsigned long written;

	if (child == u)
		return;
	say("process %d becomes a child", nr_of(child));
	pt_kill(child->p);
	written = child->written;
	*child = *u;
	child->written = written;
	child->p = pt_fork(u->p);
}

/* Die, and be somebody new. */
static void op_kill(struct user *u)
{
	say("kill");
	pt_kill(u->p);
	u->p = pt_spawn();
	u->base = pt_slot(u->p, 0);
	forget(u, 0, WINDOW);
}

/* What is shared stays so, or gets private tables next to it. */
static void op_switch(struct user *u)
{
	if (mode > 0)
		pt_set_mode(rnd(8) ? mode : 0);
}

/* A process that is told not to share, and one day to share again */
static void op_disable(struct user *u)
{
	long disable;

	if (!knobs)
		return;
	disable = !rnd(4);
	say("disable: %ld", disable);
	if (SYS(u, prctl, PR_SET_PTSHARE_DISABLE, disable))
		fail("prctl");
}

/* --- files ------------------------------------------------------------------------ */

static void punch(struct user *u, int f, int first, int len)
{
	int i = pick_page(WINDOW);

	/* Through a mapping, if there is one */
	if (u->map[i].page != NONE && u->map[i].file == f &&
	    may_change(u, u->map[i].page) &&
	    !SYS(u, madvise, NUM(addr_of(u, i)), PT_PAGE, MADV_REMOVE))
		clear_pages(f, u->map[i].page, u->map[i].page < file[f].size);
	pt_punch(file[f].fd, first * PT_PAGE, len * PT_PAGE);
	clear_pages(f, first, len);
}

static void op_punch(struct user *u)
{
	int len, first = pick_range(FILE_PAGES, FILE_PAGES, &len), n = 1 + rnd(8);
	int f = rnd(nr_files);

	if (!parallel) {
		say("punch file %d %d+%d", f, first, len);
		punch(u, f, first, len);
		return;
	}
	say("punch file %d %d pages from %d on", f, n, first);
	first += (nr_of(u) - first % NR + NR) % NR;
	for (; n-- && first < FILE_PAGES; first += NR * (1 + rnd(3)))
		punch(u, f, first, 1);
}

static void op_truncate(struct user *u)
{
	int f = rnd(nr_files);
	long rest = rnd(2) ? rnd(PT_PAGE - 8) : 0;

	file[f].size = rnd(3) ? FILE_PAGES : 1 + (int)rnd(FILE_PAGES);
	say("truncate file %d to %d pages less %ld", f, file[f].size, rest);
	if (ftruncate(file[f].fd, file[f].size * PT_PAGE - rest))
		fail("truncate");
	clear_pages(f, file[f].size, FILE_PAGES - file[f].size);
}

/* What not every filesystem has */
static void op_fallocate(struct user *u)
{
	int f = rnd(nr_files), len, first, size = file[f].size;
	unsigned long *c = file[f].contents;
	int how = rnd(4), ret;

	first = pick_range(FILE_PAGES, 1024, &len);
	switch (how) {
	case 0:
		ret = fallocate(file[f].fd, FALLOC_FL_KEEP_SIZE, first * PT_PAGE,
				len * PT_PAGE);
		break;
	case 1:
		ret = fallocate(file[f].fd, FALLOC_FL_ZERO_RANGE |
				FALLOC_FL_KEEP_SIZE, first * PT_PAGE,
				len * PT_PAGE);
		if (!ret)
			clear_pages(f, first, len);
		break;
	case 2:
		/* Not up to the end, and only of whole pages */
		if (first + len >= size || ftruncate(file[f].fd, size * PT_PAGE))
			return;
		ret = fallocate(file[f].fd, FALLOC_FL_COLLAPSE_RANGE,
				first * PT_PAGE, len * PT_PAGE);
		if (ret)
			break;
		memmove(c + first, c + first + len,
			(size - first - len) * sizeof(*c));
		clear_pages(f, size - len, len);
		file[f].size = size - len;
		break;
	default:
		if (first >= size || size + len > FILE_PAGES ||
		    ftruncate(file[f].fd, size * PT_PAGE))
			return;
		ret = fallocate(file[f].fd, FALLOC_FL_INSERT_RANGE,
				first * PT_PAGE, len * PT_PAGE);
		if (ret)
			break;
		memmove(c + first + len, c + first,
			(size - first) * sizeof(*c));
		clear_pages(f, first, len);
		file[f].size = size + len;
	}
	say("fallocate %d of file %d %d+%d: %d", how, f, first, len, ret);
	if (ret && errno != EOPNOTSUPP)
		fail("fallocate %d of file %d: %d", how, f, errno);
}

/* A page that may be changed, NONE if chance has it so */
static int own_page(struct user *u, int f)
{
	int page = pick_page(FILE_PAGES);

	return page < file[f].size && may_change(u, page) ? page : NONE;
}

static void op_pwrite(struct user *u)
{
	int f = rnd(nr_files), page = own_page(u, f);
	unsigned long val;

	if (page == NONE)
		return;
	val = new_value(u, f, page);
	say("pwrite file %d page %d", f, page);
	if (pwrite(file[f].fd, &val, sizeof(val), page * PT_PAGE) != sizeof(val))
		fail("pwrite: %d", errno);
	file[f].contents[page] = val;
}

/* By the page cache, and around it */
static void op_pread(struct user *u)
{
	static __thread alignas(PT_PAGE) char buf[PT_PAGE];
	int f = rnd(nr_files), page = own_page(u, f), i;
	int in[2] = { file[f].fd, file[f].direct };

	for (i = 0; page != NONE && i < 2; i++) {
		if (pread(in[i], buf, PT_PAGE, page * PT_PAGE) < 8)
			fail("pread: %d", errno);
		if (*(unsigned long *)buf != file[f].contents[page])
			fail("%sread of file %d page %d: %lx instead of %lx",
			     i ? "direct " : "", f, page, *(unsigned long *)buf,
			     file[f].contents[page]);
	}
}

static void op_direct_write(struct user *u)
{
	static alignas(PT_PAGE) char buf[PT_PAGE];
	int f = rnd(nr_files), page = own_page(u, f);

	/* Not the last, which may end within */
	if (page == NONE || page == file[f].size - 1)
		return;
	*(unsigned long *)buf = new_value(u, f, page);
	say("direct write file %d page %d", f, page);
	if (pwrite(file[f].direct, buf, PT_PAGE, page * PT_PAGE) != PT_PAGE)
		fail("direct write: %d", errno);
	file[f].contents[page] = *(unsigned long *)buf;
}

static void op_sync(struct user *u)
{
	int len, first = pick_range(WINDOW, 1024, &len), f = rnd(nr_files);

	switch (rnd(3)) {
	case 0:
		SYS(u, msync, NUM(addr_of(u, first)), len * PT_PAGE, MS_SYNC);
		break;
	case 1:
		if (fsync(file[f].fd))
			fail("fsync: %d", errno);
		break;
	default:
		sync_file_range(file[f].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	say("sync");
}

/* What the kernel does of itself. Nothing of it may show. */
static void op_stir(struct user *u)
{
	switch (rnd(10)) {
	case 0:
		pt_write_file("/proc/sys/vm/compact_memory", "1");
		break;
	case 1:
		pt_write_file("/proc/sys/vm/drop_caches", "1");
		break;
	case 2:
		posix_fadvise(file[rnd(nr_files)].fd, 0, 0, POSIX_FADV_DONTNEED);
		break;
	default:
		pt_write_file("/sys/fs/cgroup/memory.reclaim", "512K");
	}
	say("stir");
}

/* --- rounds ----------------------------------------------------------------------- */

/* How often, in serial and in parallel rounds */
static const struct {
	void (*fn)(struct user *u);
	int weight[2];
} ops[] = {
	{ op_check, { 12, 12 } }, { op_write, { 14, 14 } },
	{ op_vm_access, { 3, 3 } }, { op_mmap, { 6, 6 } },
	{ op_renew, { 4, 4 } }, { op_munmap, { 3, 3 } }, { op_mprotect, { 4, 4 } },
	{ op_mremap, { 4, 4 } }, { op_resize, { 2, 2 } },
	{ op_remap_pages, { 1, 1 } }, { op_lock, { 1, 1 } },
	{ op_advise, { 6, 6 } }, { op_uffd, { 1, 1 } }, { op_proc, { 2, 2 } },
	{ op_place, { 1, 1 } }, { op_punch, { 3, 3 } }, { op_pwrite, { 3, 3 } },
	{ op_pread, { 3, 3 } }, { op_sync, { 2, 2 } }, { op_stir, { 1, 1 } },
	{ op_fork, { 1, 0 } }, { op_kill, { 1, 0 } }, { op_switch, { 1, 0 } },
	{ op_truncate, { 2, 0 } }, { op_fallocate, { 2, 0 } },
	{ op_direct_write, { 1, 0 } }, { op_disable, { 1, 1 } },
};

static void random_op(struct user *u)
{
	int total = 0, pick;
	unsigned int i;

	me = u;
	for (i = 0; i < ARRAY_SIZE(ops); i++)
		total += ops[i].weight[parallel];
	pick = rnd(total);
	for (i = 0; pick >= ops[i].weight[parallel]; i++)
		pick -= ops[i].weight[parallel];
	ops[i].fn(u);
}

static void *be_busy(void *data)
{
	struct user *u = data;
	int i;

	rng = &u->rng;
	for (i = 0; i < PARALLEL_OPS && pt_now_ms() < hard_end; i++)
		random_op(u);
	return NULL;
}

static void parallel_round(void)
{
	pthread_t thread[NR];
	int i;

	parallel = true;
	for (i = 0; i < nr_files; i++)
		memcpy(file[i].before, file[i].contents, sizeof(file[i].before));
	for (i = 0; i < NR; i++) {
		user[i].rng = ((unsigned long)rnd(INT_MAX) << 31) ^ rnd(INT_MAX);
		if (pthread_create(&thread[i], NULL, be_busy, &user[i]))
			pt_die("pthread_create");
	}
	for (i = 0; i < NR; i++)
		pthread_join(thread[i], NULL);
	parallel = false;
	next_op += NR * PARALLEL_OPS;
}

/*
 * What an administrator may do at any time, until *done. Not so often that
 * nothing ever comes to be shared.
 */
static void *turn_knobs(void *done)
{
	static const int modes[] = { 0, 1, 2, 2 };
	unsigned long own = seed, turns = 0;

	for (rng = &own; !pt_get(done); turns++) {
		pthread_mutex_lock(&knobs_rest);
		switch (rnd(8)) {
		case 0:
			if (pt_write_file(UNLINK, "1"))
				pt_die("writing to " UNLINK);
			break;
		case 1:
		case 2:
			set_trust(rnd(2));
			break;
		default:
			pt_set_mode(modes[rnd(ARRAY_SIZE(modes))]);
		}
		pthread_mutex_unlock(&knobs_rest);
		pt_sleep_ms(rnd(100));
	}
	return (void *)turns;
}

/* Up to operation @limit */
static void serial_round(unsigned long limit)
{
	int i;

	for (i = 0; i < SERIAL_OPS && next_op < limit && pt_now_ms() < hard_end;
	     i++, next_op++)
		random_op(&user[rnd(NR)]);
}

/* Contents of files as read() has them are compared, too. */
static void check_all(int step)
{
	unsigned long val;
	int i, f;

	me = NULL;
	for (i = 0; i < NR; i++) {
		int n = 0, page;

		for (page = rnd(step); page < WINDOW; page += step)
			add_check(&user[i], &n, page);
		check_added(&user[i], n);
	}
	for (f = 0; f < nr_files; f++) {
		for (i = rnd(step); i < file[f].size; i += step) {
			if (pread(file[f].fd, &val, sizeof(val), i * PT_PAGE) !=
			    sizeof(val))
				fail("reading file %d", f);
			if (val != file[f].contents[i])
				fail("file %d, page %d: %lx instead of %lx", f, i,
				     val, file[f].contents[i]);
		}
	}
	pthread_mutex_lock(&knobs_rest);
	i = pt_check_books();
	pthread_mutex_unlock(&knobs_rest);
	if (i)
		fail("the kernel's books are wrong");
}

/* --- beginning and end ---------------------------------------------------------------- */

static void open_file(const char *dir)
{
	struct file *f = &file[nr_files++];
	char path[PATH_MAX];

	if (dir) {
		snprintf(path, sizeof(path), "%s/ptshare-fuzz-%d", dir, getpid());
		f->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (f->fd < 0 || ftruncate(f->fd, FILE_PAGES * PT_PAGE))
			pt_die("%s: needs a directory with room for a file of %lu MiB",
			       path, FILE_PAGES * PT_PAGE / PT_MB);
		f->direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
		unlink(path);
	} else {
		f->fd = pt_memfd(FILE_PAGES * PT_PAGE);
		f->direct = -1;
	}
	if (f->direct < 0)
		f->direct = f->fd;
	f->size = FILE_PAGES;
}

static void open_user(int i)
{
	struct user *u = &user[i];
	int k;

	u->p = pt_spawn();
	u->base = pt_slot(u->p, 0);
	forget(u, 0, WINDOW);
	/* Everybody begins with a whole file. */
	pt_map(u->p, 0, file[i % nr_files].fd, FILE_PAGES * PT_PAGE, 0, PT_RW);
	for (k = 0; k < FILE_PAGES; k++)
		u->map[k] = (struct map){ i % nr_files, k, PT_RW };
}

static long number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 0);

	if (end == text || *end || n < 1 || n > max) {
		fprintf(stderr, "-n, -t and -F want 1 to %ld, not '%s'\n",
			max, text);
		exit(KSFT_FAIL);
	}
	return n;
}

int main(int argc, char **argv)
{
	long links = pt_vmstat("ptshare_link");
	long failed = pt_vmstat("ptshare_fallback_nomem");
	unsigned long limit = ULONG_MAX, first;
	long end = 4 * pt_stress_ms();
	unsigned long done = 0;
	struct pt_state state;
	pthread_t turner;
	void *turns;
	int opt, i;

	seed = time(NULL) * 1000UL + getpid() % 1000;
	while ((opt = getopt(argc, argv, "s:n:t:F:kv")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			limit = number(optarg, LONG_MAX);
			end = LONG_MAX / 2;
			break;
		case 't':
			end = number(optarg, 1000000) * 1000;
			break;
		case 'F':
			fail_percent = number(optarg, 100);
			break;
		case 'k':
			knobs = true;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			fprintf(stderr,
				"usage: %s [-s SEED] [-n OPERATIONS] [-t SECONDS] [-F PERCENT] [-k] [-v] [DIRECTORY...]\n"
				"  a file in each DIRECTORY, up to %d; without one in memory\n"
				"  -F: so many allocations of the processes fail\n"
				"  -k: vm.ptshare, vm.ptshare_trust and vm.ptshare_unlink change all the time,\n"
				"      and processes use PR_SET_PTSHARE_DISABLE\n",
				argv[0], MAX_FILES);
			return KSFT_FAIL;
		}
	}
	if (argc - optind > MAX_FILES) {
		fprintf(stderr, "%s: not more than %d directories\n", argv[0],
			MAX_FILES);
		return KSFT_FAIL;
	}
	ksft_print_header();
	ksft_set_plan(1);
	ksft_print_msg("replay with -s %lu\n", seed);
	first = seed;
	rng = &first;

	mode = pt_mode();
	trust = pt_read_num(TRUST);
	if (knobs && mode < 0)
		ksft_exit_skip("-k: no vm.ptshare\n");
	pt_setup(&state);
	if (!pt_need_swap())
		ksft_print_msg("no swap, so nothing in memory is reclaimed\n");
	for (i = optind; i < argc; i++)
		open_file(argv[i]);
	if (!nr_files)
		open_file(NULL);
	for (i = 0; i < NR; i++)
		open_user(i);
	inject_globally(true);
	if (knobs && pthread_create(&turner, NULL, turn_knobs, &done))
		pt_die("pthread_create");

	end += pt_now_ms();
	if (limit == ULONG_MAX)
		hard_end = end + 60000;
	while (next_op < limit && pt_now_ms() < end) {
		serial_round(limit);
		check_all(32);
		if (next_op >= limit)
			break;
		parallel_round();
		check_all(16);
	}
	check_all(1);
	inject_globally(false);
	ksft_print_msg("%lu operations, %ld links, %ld failed\n", next_op,
		       pt_vmstat("ptshare_link") - links,
		       pt_vmstat("ptshare_fallback_nomem") - failed);
	if (knobs) {
		pt_set(&done, 1);
		pthread_join(turner, &turns);
		ksft_print_msg("%lu turns of knobs\n", (unsigned long)turns);
	}
	reset_knobs();
	if (pt_teardown(&state) || pt_drop_swap())
		fail("the kernel complained");
	ksft_test_result_pass("random operations\n");
	ksft_finished();
}
