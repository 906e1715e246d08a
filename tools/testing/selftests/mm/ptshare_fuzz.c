// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: random operations on one file in four processes, against a model.
 *
 * The model knows the contents of each page of the file and, for each page of
 * a window of each process, which page of the file is mapped there and with
 * what rights. Operations are done one at a time, so every access has exactly
 * one right outcome: a value, SIGSEGV or SIGBUS.
 *
 * Usage: ptshare_fuzz [-s SEED] [-n OPERATIONS] [-v]
 * The sequence depends on the seed only. A failure prints it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ptshare_util.h"

#define NR		4
#define WINDOW		8192		/* pages */
#define FILE_PAGES	6144
#define NONE		(-1)
#define WANT_SEGV	(~0UL)
#define WANT_BUS	(~1UL)

struct map {
	int page;		/* of the file, or NONE */
	int prot;
};

struct user {
	struct pt_proc *p;
	char *base;
	struct map map[WINDOW];
};

/* What a process finds wrong, and what it has to find */
struct ctl {
	unsigned long seen;
	unsigned long want[WINDOW];
};

#define CTL		PT_CTL(struct ctl)

static struct user user[NR];
static unsigned long contents[FILE_PAGES];
static int size = FILE_PAGES;	/* of the file */
static int fd;
static bool verbose;
static unsigned long seed, rng, op_nr;
static unsigned long next_val = 1;

static unsigned int rnd(unsigned int n)
{
	rng = rng * 6364136223846793005UL + 1442695040888963407UL;
	return (rng >> 33) % n;
}

static void __printf(1, 2) say(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	printf("# %lu: ", op_nr);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void __noreturn __printf(1, 2) fail(const char *fmt, ...)
{
	va_list ap;

	printf("# seed %lu, operation %lu: ", seed, op_nr);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	pt_kill_all();
	ksft_test_result_fail("random operations\n");
	ksft_exit_fail();
}

/* A range of up to @max pages below @limit, of a size that is worth a test */
static int pick_range(int limit, int max, int *len)
{
	static const int sizes[] = { 1, 3, 512, 700, 2048, 4096, 6144 };
	int first;

	*len = sizes[rnd(ARRAY_SIZE(sizes))];
	if (*len > max)
		*len = 1 + rnd(max);
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
	while (n < max && m[n].page == m->page + n && m[n].prot == m->prot)
		n++;
	return n;
}

static char *addr_of(struct user *u, int page)
{
	return u->base + page * PT_PAGE;
}

static unsigned long expectation(struct user *u, int page)
{
	struct map *m = &u->map[page];

	if (m->page == NONE || !(m->prot & PROT_READ))
		return WANT_SEGV;
	return m->page < size ? contents[m->page] : WANT_BUS;
}

static long check_pages(unsigned long *arg)
{
	char *addr = (char *)arg[0];
	unsigned long i, val;
	int sig;

	for (i = 0; i < arg[1]; i++, addr += arg[2] * PT_PAGE) {
		val = 0;
		sig = pt_load(addr, &val);
		if (sig == SIGSEGV)
			val = WANT_SEGV;
		else if (sig)
			val = WANT_BUS;
		CTL->seen = val;
		if (val != CTL->want[i])
			return i + 1;
	}
	return 0;
}

/* Every @step-th page from @first on, @n of them if there are so many */
static void check(struct user *u, int first, int n, int step)
{
	long bad;
	int i;

	for (i = 0; i < n && first + i * step < WINDOW; i++)
		CTL->want[i] = expectation(u, first + i * step);
	bad = pt_call(u->p, check_pages, addr_of(u, first), (long)i, (long)step);
	if (!bad)
		return;
	i = first + (bad - 1) * step;
	fail("process %d, page %d (of the file: %d, prot %d): %lx instead of %lx",
	     (int)(u - user), i, u->map[i].page, u->map[i].prot, CTL->seen,
	     CTL->want[bad - 1]);
}

static void op_mmap(struct user *u)
{
	static const int prots[] = { PT_RW, PT_RW, PT_RW, PT_RO, PROT_NONE };
	int len, first, page, prot, i;

	first = pick_range(WINDOW, FILE_PAGES, &len);
	prot = prots[rnd(ARRAY_SIZE(prots))];
	page = rnd(FILE_PAGES - len + 1);
	/* At an address that fits the offset most of the time */
	if (rnd(4))
		page = (page & ~511) + first % 512;
	if (page + len > FILE_PAGES)
		page = first % 512;
	if (page + len > FILE_PAGES)
		len = FILE_PAGES - page;
	say("mmap %d+%d of file %d prot %d", first, len, page, prot);
	if (pt_mmap(u->p, addr_of(u, first), len * PT_PAGE, prot,
		    MAP_SHARED | MAP_FIXED, fd, page * PT_PAGE) !=
	    addr_of(u, first))
		fail("mmap: %d", errno);
	for (i = 0; i < len; i++)
		u->map[first + i] = (struct map){ page + i, prot };
}

static void op_munmap(struct user *u)
{
	int len, first = pick_range(WINDOW, 4096, &len), i;

	say("munmap %d+%d", first, len);
	if (pt_sys(u->p, SYS_munmap, addr_of(u, first), len * PT_PAGE))
		fail("munmap");
	for (i = 0; i < len; i++)
		u->map[first + i].page = NONE;
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
	if (pt_sys(u->p, SYS_mprotect, addr_of(u, first), len * PT_PAGE,
		   (long)prot))
		fail("mprotect");
	for (i = 0; i < len; i++)
		u->map[first + i].prot = prot;
}

static void op_mremap(struct user *u)
{
	int len, first = pick_range(WINDOW, 2048, &len), to, i;
	long ret;

	len = run_length(u, first, len);
	if (!len)
		return;
	to = rnd(WINDOW - len + 1);
	if (rnd(2))
		to = (to & ~511) + first % 512;
	if (to + len > WINDOW || (to < first + len && first < to + len))
		return;
	ret = pt_sys(u->p, SYS_mremap, addr_of(u, first), len * PT_PAGE,
		     len * PT_PAGE, (long)(MREMAP_MAYMOVE | MREMAP_FIXED),
		     addr_of(u, to));
	say("mremap %d+%d to %d: %ld", first, len, to, ret);
	/* More than one mapping is refused, after the target was unmapped. */
	for (i = 0; i < len; i++)
		u->map[to + i].page = NONE;
	if (ret == -EFAULT)
		return;
	if (ret != (long)addr_of(u, to))
		fail("mremap: %ld", ret);
	for (i = 0; i < len; i++) {
		u->map[to + i] = u->map[first + i];
		u->map[first + i].page = NONE;
	}
}

static void op_advise(struct user *u)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED,
		MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE,
	};
	int len, first = pick_range(WINDOW, 6144, &len);
	int what = advice[rnd(ARRAY_SIZE(advice))];

	/* A huge page may reach beyond the end of the file, without SIGBUS. */
	if (what == MADV_COLLAPSE && (size < FILE_PAGES || len > 1024))
		return;
	say("madvise %d+%d %d", first, len, what);
	/* Refusal is fine, contents may not change either way. */
	pt_sys(u->p, SYS_madvise, addr_of(u, first), len * PT_PAGE, (long)what);
}

static void op_lock(struct user *u)
{
	int len, first = pick_range(WINDOW, 700, &len);
	long nr = rnd(2) ? SYS_mlock : SYS_munlock;

	say("%s %d+%d", nr == SYS_mlock ? "mlock" : "munlock", first, len);
	pt_sys(u->p, nr, addr_of(u, first), len * PT_PAGE);
}

static void op_fork(struct user *u)
{
	struct user *child = &user[rnd(NR)];

	if (child == u)
		return;
	say("process %d becomes a child of %d", (int)(child - user),
	    (int)(u - user));
	pt_kill(child->p);
	*child = *u;
	child->p = pt_fork(u->p);
}

static void op_punch(struct user *u)
{
	int len, first = pick_range(FILE_PAGES, FILE_PAGES, &len), i;

	(void)u;
	say("punch %d+%d", first, len);
	pt_punch(fd, first * PT_PAGE, len * PT_PAGE);
	for (i = first; i < first + len; i++)
		contents[i] = 0;
}

static void op_truncate(struct user *u)
{
	int i;

	(void)u;
	size = rnd(3) ? FILE_PAGES : (int)rnd(FILE_PAGES);
	say("truncate to %d", size);
	if (ftruncate(fd, size * PT_PAGE))
		fail("truncate");
	for (i = size; i < FILE_PAGES; i++)
		contents[i] = 0;
}

/* Write to some pages, or find that it is not allowed. */
static void op_write(struct user *u)
{
	int i, n = 1 + rnd(20), page = rnd(WINDOW), sig, want;

	say("write %d times from %d on", n, page);
	for (i = 0; i < n; i++, page += 1 + rnd(100)) {
		struct map *m = &u->map[page % WINDOW];

		sig = pt_poke(u->p, addr_of(u, page % WINDOW), next_val);
		if (m->page == NONE || !(m->prot & PROT_WRITE))
			want = SIGSEGV;
		else
			want = m->page < size ? 0 : SIGBUS;
		if (sig != want)
			fail("writing page %d: signal %d instead of %d",
			     page % WINDOW, sig, want);
		if (!sig)
			contents[m->page] = next_val++;
	}
}

static void op_pwrite(struct user *u)
{
	int page = rnd(FILE_PAGES);

	(void)u;
	if (page >= size)
		return;
	say("pwrite %d", page);
	if (pwrite(fd, &next_val, sizeof(next_val), page * PT_PAGE) !=
	    sizeof(next_val))
		fail("pwrite");
	contents[page] = next_val++;
}

static void op_check(struct user *u)
{
	check(u, rnd(WINDOW), 1 + rnd(64), 1 + rnd(100));
}

static const struct {
	void (*fn)(struct user *u);
	int weight;
} ops[] = {
	{ op_mmap, 6 }, { op_munmap, 3 }, { op_mprotect, 4 }, { op_mremap, 4 },
	{ op_advise, 5 }, { op_lock, 1 }, { op_fork, 1 }, { op_punch, 2 },
	{ op_truncate, 1 }, { op_write, 12 }, { op_pwrite, 3 },
	{ op_check, 10 },
};

static void random_op(void)
{
	struct user *u = &user[rnd(NR)];
	int total = 0, pick;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		total += ops[i].weight;
	pick = rnd(total);
	for (i = 0; pick >= ops[i].weight; i++)
		pick -= ops[i].weight;
	ops[i].fn(u);
}

int main(int argc, char **argv)
{
	struct pt_state state;
	long limit = 0, end;
	int opt, i, k;

	seed = time(NULL);
	while ((opt = getopt(argc, argv, "s:n:v")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			limit = strtol(optarg, NULL, 0);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			fprintf(stderr, "usage: %s [-s SEED] [-n OPERATIONS] [-v]\n",
				argv[0]);
			return KSFT_FAIL;
		}
	}
	ksft_print_header();
	ksft_set_plan(1);
	ksft_print_msg("replay with -s %lu\n", seed);
	rng = seed;

	pt_setup(&state);
	fd = pt_memfd(FILE_PAGES * PT_PAGE);
	for (i = 0; i < NR; i++) {
		user[i].p = pt_spawn();
		user[i].base = pt_slot(user[i].p, 0);
		for (k = 0; k < WINDOW; k++)
			user[i].map[k].page = NONE;
		/* Everybody begins with the whole file. */
		if (pt_map(user[i].p, 0, fd, FILE_PAGES * PT_PAGE, 0, PT_RW))
			for (k = 0; k < FILE_PAGES; k++)
				user[i].map[k] = (struct map){ k, PT_RW };
	}
	end = pt_now_ms() + 4 * pt_stress_ms();
	for (op_nr = 1; limit ? op_nr <= (unsigned long)limit : pt_now_ms() < end;
	     op_nr++) {
		random_op();
		if (op_nr % 200)
			continue;
		for (i = 0; i < NR; i++)
			check(&user[i], rnd(16), WINDOW, 16);
		if (pt_check_books())
			fail("the kernel's books are wrong");
	}
	ksft_print_msg("%lu operations\n", op_nr - 1);
	for (i = 0; i < NR; i++)
		check(&user[i], 0, WINDOW, 1);
	if (pt_teardown(&state))
		fail("the kernel complained");
	ksft_test_result_pass("random operations\n");
	ksft_finished();
}
