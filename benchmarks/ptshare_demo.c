// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare_demo: what page tables cost when many processes map one file
 *
 * One coordinator starts processes that have nothing in common but the path of
 * a file: each is a fresh execve() of this program, opens the file itself and
 * maps it MAP_SHARED at a 2 MiB aligned address of its own. The coordinator
 * never maps the file. It tells the processes in turn what to do through a
 * small control file and reads PageTables from /proc/meminfo in between.
 *
 *   run    N processes read the whole file, one more writes it, all look
 *          again, all unmap
 *   story  processes arrive until all have come or the kernel starts killing
 *
 * Every page of the file holds a pattern made of its number and a generation,
 * and every read checks it. Output is lines "NAME.key=value".
 *
 * Exit status: 0 all well, 1 could not be run, 2 wrong data,
 * 3 story only: the kernel ran out of memory, 4 deadline passed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <spawn.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define CHUNK		(2UL << 20)	/* what one PTE table covers */
#define LINE		64UL

#define EXIT_DATA	2
#define EXIT_OOM	3
#define EXIT_LATE	4

enum operation { OP_NONE, OP_MAP, OP_READ, OP_WRITE, OP_GLANCE, OP_UNMAP, OP_EXIT };
enum mode { MODE_TURNS, MODE_FIRST, MODE_TOGETHER };

/* One per process, written by the coordinator (cmd) and that process (rest). */
struct slot {
	alignas(64) unsigned int cmd;	/* futex: sequence << 16 | generation << 8 | op */
	unsigned int ack;		/* the last cmd carried out */
	int err;		/* -errno of a failed system call */
	unsigned int pad;
	unsigned long addr;
	unsigned long minflt;	/* of the last operation */
	unsigned long ns;
	unsigned long bad;		/* pages with wrong contents, all operations */
	unsigned long bad_page;
	unsigned long bad_value;
};

struct control {
	unsigned int done;		/* futex: one more with every ack */
	struct slot slot[];
};

/* What the coordinator remembers of a process. */
struct proc {
	pid_t pid;
	bool alive;
	bool seen_all;		/* has read the whole file and found it right */
	bool writer;
	unsigned long minflt;
	unsigned long touch_ns;
	unsigned long unmap_ns;
};

static struct {
	const char *name;
	char dir[200];
	char data[256];
	char ctl[256];
	unsigned long mib;
	unsigned long pages;
	int procs;
	enum mode mode;
	const char *prot;	/* how readers map the file: rw or ro */
	int step;
	int inflight;
	int extra;
	unsigned int deadline;
} opt = {
	.name = "demo",
	.dir = "/dev/shm",
	.mib = 1024,
	.procs = 50,
	.prot = "rw",
	.step = 1,
	.inflight = 2,
	.extra = 8,
	.deadline = 600,
};

static struct control *ctl;
static struct proc *procs;
static int nr_slots;
static int nr_started;
static int nr_killed;
static int stat_refresh_fd = -1;

/* The processes follow the coordinator: PR_SET_PDEATHSIG. */
static noreturn void give_up(void)
{
	unlink(opt.data);
	unlink(opt.ctl);
	exit(1);
}

#define die(fmt, ...) do {							\
	fprintf(stderr, "ptshare_demo: " fmt "\n", ##__VA_ARGS__);		\
	give_up();								\
} while (0)

#define say(key, fmt, ...) printf("%s." key "=" fmt "\n", opt.name, ##__VA_ARGS__)

static unsigned long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static unsigned long pattern(unsigned long page, unsigned int gen)
{
	return ((page + 1) * 0x9e3779b97f4a7c15UL) ^ gen;
}

static long futex_wait(unsigned int *word, unsigned int val, unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	return syscall(SYS_futex, word, FUTEX_WAIT, val, &ts, NULL, 0);
}

static void futex_wake(unsigned int *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static struct control *map_control(const char *path, int slots, bool create)
{
	size_t size = sizeof(struct control) + slots * sizeof(struct slot);
	int fd = open(path, O_RDWR | (create ? O_CREAT | O_TRUNC : 0), 0600);
	void *p;

	if (fd < 0)
		return NULL;
	if (create && ftruncate(fd, size)) {
		close(fd);
		return NULL;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

/*
 * The process that maps the file. It must stay tiny (1500 of them share a small
 * machine), so no stdio and no malloc here.
 */
struct worker {
	struct slot *slot;
	unsigned long pages;
	int prot;
	int idx;
	int fd;
	char *area;
};

static int worker_map(struct worker *w)
{
	size_t size = w->pages * PAGE, room;
	unsigned long start, end, base;
	char *res;

	/*
	 * ASLR gives every process another place already; the index moves it
	 * further. Sharing asks only that address and file offset agree modulo
	 * 2 MiB.
	 */
	room = size + CHUNK + w->idx % 16 * CHUNK;
	res = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (res == MAP_FAILED)
		return -errno;
	start = (unsigned long)res;
	end = start + room;
	base = (start + CHUNK - 1) & ~(CHUNK - 1);
	w->area = mmap((void *)base, size, w->prot, MAP_SHARED | MAP_FIXED, w->fd, 0);
	if (w->area == MAP_FAILED)
		return -errno;
	if (base > start)
		munmap(res, base - start);
	if (end > base + size)
		munmap((void *)(base + size), end - base - size);
	w->slot->addr = base;
	return 0;
}

static void worker_check(struct worker *w, unsigned long page, unsigned long offset,
			 unsigned int gen)
{
	unsigned long *word = (unsigned long *)(w->area + page * PAGE + offset);
	unsigned long got = __atomic_load_n(word, __ATOMIC_RELAXED);

	if (got == pattern(page, gen))
		return;
	if (!w->slot->bad++) {
		w->slot->bad_page = page;
		w->slot->bad_value = got;
	}
}

static int worker_do(struct worker *w, enum operation op, unsigned int gen)
{
	/* Generation 1 fills pages, later ones only word 0: see fill_file(). */
	unsigned long offset = gen == 1 ? w->idx % (PAGE / LINE) * LINE : 0;
	unsigned long page;

	switch (op) {
	case OP_MAP:
		return worker_map(w);
	case OP_READ:
		for (page = 0; page < w->pages; page++)
			worker_check(w, page, offset, gen);
		return 0;
	case OP_WRITE:
		for (page = 0; page < w->pages; page++)
			__atomic_store_n((unsigned long *)(w->area + page * PAGE),
					 pattern(page, gen), __ATOMIC_RELAXED);
		return 0;
	case OP_GLANCE:
		for (page = 0; page < w->pages; page += CHUNK / PAGE)
			worker_check(w, page, offset, gen);
		return 0;
	case OP_UNMAP:
		return munmap(w->area, w->pages * PAGE) ? -errno : 0;
	default:
		return -EINVAL;
	}
}

static int worker_main(char **argv)
{
	struct worker w = {
		.idx = atoi(argv[2]),
		.pages = strtoul(argv[3], NULL, 10) * (1 << 20) / PAGE,
		.prot = PROT_READ | (strcmp(argv[4], "ro") ? PROT_WRITE : 0),
	};
	struct control *c;
	struct rusage ru;
	unsigned int seen = 0;
	int fd;

	prctl(PR_SET_NAME, "ptshare_demo");	/* not "exe" */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The coordinator is exempt from the OOM killer, its children are not. */
	fd = open("/proc/self/oom_score_adj", O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return 1;
	close(fd);
	c = map_control(argv[5], w.idx + 1, false);
	w.fd = open(argv[6], w.prot & PROT_WRITE ? O_RDWR : O_RDONLY);
	if (!c || w.fd < 0)
		return 1;
	w.slot = &c->slot[w.idx];

	for (;;) {
		unsigned int cmd = __atomic_load_n(&w.slot->cmd, __ATOMIC_ACQUIRE);
		enum operation op = cmd & 0xff;
		unsigned long t, faults;

		if (cmd == seen) {
			futex_wait(&w.slot->cmd, seen, 10000);
			continue;
		}
		seen = cmd;
		if (op == OP_EXIT)
			return 0;
		getrusage(RUSAGE_SELF, &ru);
		faults = ru.ru_minflt;
		t = now_ns();
		w.slot->err = worker_do(&w, op, cmd >> 8 & 0xff);
		w.slot->ns = now_ns() - t;
		getrusage(RUSAGE_SELF, &ru);
		w.slot->minflt = ru.ru_minflt - faults;
		__atomic_store_n(&w.slot->ack, cmd, __ATOMIC_RELEASE);
		__atomic_add_fetch(&c->done, 1, __ATOMIC_RELEASE);
		futex_wake(&c->done);
	}
}

/* The coordinator's side. */

static long read_number(const char *path, const char *key)
{
	char buf[16384], *p;
	ssize_t len = 0, n;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = 0;
	for (p = buf; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, key, strlen(key)))
			return strtol(p + strlen(key), NULL, 10);
	}
	return -1;
}

/*
 * NR_PAGETABLE is counted per CPU and only folded into the sum that meminfo
 * shows every second or so. Reading stat_refresh folds it now.
 */
static long meminfo_kb(const char *key)
{
	char c;

	if (stat_refresh_fd < 0)
		stat_refresh_fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);
	if (stat_refresh_fd < 0)
		die("no /proc/sys/vm/stat_refresh: run as root, with /proc mounted");
	if (pread(stat_refresh_fd, &c, 1, 0) < 0)
		die("/proc/sys/vm/stat_refresh: %s", strerror(errno));
	return read_number("/proc/meminfo", key);
}

static long pagetables_kb(void)
{
	return meminfo_kb("PageTables:");
}

/* The first figure after many processes came or went: wait until it rests. */
static long pagetables_settled_kb(void)
{
	long last = pagetables_kb(), kb;
	int i;

	for (i = 0; i < 20; i++) {
		usleep(100000);
		kb = pagetables_kb();
		if (kb == last)
			break;
		last = kb;
	}
	return last;
}

static void say_sample(int n, long kb)
{
	say("sample", "%d,%ld", n, kb);
}

static void on_deadline(int sig)
{
	static const char msg[] = "ptshare_demo: deadline passed\n";

	(void)sig;
	if (write(STDERR_FILENO, msg, sizeof(msg) - 1) < 0)
		_exit(1);
	unlink(opt.data);
	unlink(opt.ctl);
	_exit(EXIT_LATE);
}

static void reap(void)
{
	int status, i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < nr_started; i++)
			if (procs[i].pid == pid)
				break;
		if (i == nr_started)
			continue;
		procs[i].alive = false;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			nr_killed++;
		else if (WIFSIGNALED(status))
			die("process %d died of signal %d", i, WTERMSIG(status));
		else if (WEXITSTATUS(status))
			die("process %d could not start (status %d)", i, WEXITSTATUS(status));
	}
}

/* Starts the next process, false if the kernel has no memory for it. */
static bool spawn(const char *prot, bool writer)
{
	char idx[16], mib[16];
	char *argv[8] = { "ptshare_demo", "--worker", idx, mib, (char *)prot,
			  opt.ctl, opt.data, NULL };
	char *envp[1] = { NULL };
	struct proc *p = &procs[nr_started];
	int err;

	if (nr_started == nr_slots)
		die("no slot left");
	snprintf(idx, sizeof(idx), "%d", nr_started);
	snprintf(mib, sizeof(mib), "%lu", opt.mib);
	err = posix_spawn(&p->pid, "/proc/self/exe", NULL, NULL, argv, envp);
	if (err == ENOMEM || err == EAGAIN)
		return false;
	if (err)
		die("cannot start a process: %s", strerror(err));
	p->alive = true;
	p->writer = writer;
	nr_started++;
	return true;
}

static void order(int i, enum operation op, unsigned int gen)
{
	struct slot *s = &ctl->slot[i];
	unsigned int cmd = ((s->cmd >> 16) + 1) << 16 | gen << 8 | op;

	__atomic_store_n(&s->cmd, cmd, __ATOMIC_RELEASE);
	futex_wake(&s->cmd);
}

/* Waits until process i has done what it was told; false if it was killed. */
static bool await(int i)
{
	struct slot *s = &ctl->slot[i];

	for (;;) {
		unsigned int done = __atomic_load_n(&ctl->done, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&s->ack, __ATOMIC_ACQUIRE) == s->cmd)
			break;
		if (!procs[i].alive)
			return false;
		futex_wait(&ctl->done, done, 50);
		reap();
	}
	if (s->err)
		die("process %d: operation %u: %s", i, s->cmd & 0xff, strerror(-s->err));
	return true;
}

static void must(int i, enum operation op, unsigned int gen)
{
	order(i, op, gen);
	if (!await(i))
		die("process %d was killed", i);
}

/* Reads or writes the whole file in process i and notes what it cost. */
static void touch(int i, enum operation op, unsigned int gen)
{
	must(i, op, gen);
	procs[i].minflt = ctl->slot[i].minflt;
	procs[i].touch_ns = ctl->slot[i].ns;
}

static unsigned long count_bad(void)
{
	unsigned long bad = 0;
	int i;

	for (i = 0; i < nr_started; i++) {
		struct slot *s = &ctl->slot[i];

		if (!s->bad)
			continue;
		if (!bad)
			fprintf(stderr,
				"ptshare_demo: WRONG DATA: process %d page %lu has %#lx, %lu pages in all\n",
				i, s->bad_page,
				s->bad_value, s->bad);
		bad += s->bad;
	}
	return bad;
}

static int cmp_ulong(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

static int distinct_addresses(void)
{
	unsigned long *v = calloc(nr_started + 1, sizeof(*v));
	int i, n = 0;

	if (!v)
		die("out of memory");
	for (i = 0; i < nr_started; i++)
		v[i] = ctl->slot[i].addr;
	qsort(v, nr_started, sizeof(*v), cmp_ulong);
	for (i = 0; i < nr_started; i++)
		n += !i || v[i] != v[i - 1];
	free(v);
	return n;
}

/*
 * Every word of a page is the pattern: readers look at different places. Page
 * by page, because larger writes are slower under emulation.
 */
static void fill_file(void)
{
	unsigned long buf[PAGE / sizeof(unsigned long)];
	unsigned long page, word, t = now_ns();
	int fd = open(opt.data, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		die("%s: %s", opt.data, strerror(errno));
	for (page = 0; page < opt.pages; page++) {
		for (word = 0; word < PAGE / sizeof(*buf); word++)
			buf[word] = pattern(page, 1);
		if (write(fd, buf, PAGE) != PAGE)
			die("%s: cannot write %lu MiB: %s", opt.data, opt.mib, strerror(errno));
	}
	close(fd);
	say("fill_us", "%lu", (now_ns() - t) / 1000);
}

static void setup(int slots)
{
	struct sigaction sa = { .sa_handler = on_deadline };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);

	if (fd < 0 || write(fd, "-1000", 5) != 5)
		die("cannot protect the coordinator from the OOM killer: run as root");
	close(fd);
	sigaction(SIGALRM, &sa, NULL);
	alarm(opt.deadline);
	opt.pages = opt.mib * (1 << 20) / PAGE;
	snprintf(opt.data, sizeof(opt.data), "%s/ptshare-demo.data", opt.dir);
	snprintf(opt.ctl, sizeof(opt.ctl), "%s/ptshare-demo.ctl", opt.dir);
	nr_slots = slots;
	procs = calloc(slots, sizeof(*procs));
	ctl = map_control(opt.ctl, slots, true);
	if (!procs || !ctl)
		die("%s: %s", opt.ctl, strerror(errno));
	/* Touched before the first measurement, for its own page table. */
	memset(ctl, 0, sizeof(*ctl) + slots * sizeof(struct slot));
	say("procs", "%d", opt.procs);
	say("mib", "%lu", opt.mib);
	say("links_before", "%ld", read_number("/proc/vmstat", "ptshare_link "));
	fill_file();
}

static void finish(void)
{
	unsigned long t;
	int i;

	for (i = 0; i < nr_started; i++)
		if (procs[i].alive)
			order(i, OP_EXIT, 0);
	for (i = 0; i < nr_started; i++)
		while (procs[i].alive) {
			usleep(1000);
			reap();
		}
	t = now_ns();
	unlink(opt.data);
	say("delete_us", "%lu", (now_ns() - t) / 1000);
	unlink(opt.ctl);
	say("links_after", "%ld", read_number("/proc/vmstat", "ptshare_link "));
	say("end_kb", "%ld", pagetables_settled_kb());
}

/* Median and maximum of a figure over processes [from, to). */
static void say_stats(const char *key, size_t offset, unsigned long unit, int from, int to)
{
	unsigned long *v = calloc(to + 1, sizeof(*v));
	int i, n = to - from;

	if (!v)
		die("out of memory");
	for (i = 0; i < n; i++)
		v[i] = *(unsigned long *)((char *)&procs[from + i] + offset) / unit;
	if (n > 0) {
		qsort(v, n, sizeof(*v), cmp_ulong);
		printf("%s.%s=%lu\n", opt.name, key, v[n / 2]);
		printf("%s.%s_max=%lu\n", opt.name, key, v[n - 1]);
	}
	free(v);
}

static void start_readers(int count)
{
	int i;

	while (nr_started < count)
		if (!spawn(opt.prot, false))
			die("no memory to start process %d: give the guest more", nr_started);
	for (i = 0; i < count; i++)
		if (!ctl->slot[i].ack)
			must(i, OP_MAP, 0);
}

static void write_all(unsigned int gen, const char *who)
{
	int i = nr_started;
	long before, after;

	if (!spawn("rw", true))
		die("no memory to start the writer: give the guest more");
	must(i, OP_MAP, 0);
	before = pagetables_settled_kb();
	touch(i, OP_WRITE, gen);
	after = pagetables_settled_kb();
	printf("%s.%s_minflt=%lu\n", opt.name, who, procs[i].minflt);
	printf("%s.%s_touch_us=%lu\n", opt.name, who, procs[i].touch_ns / 1000);
	printf("%s.%s_growth_kb=%ld\n", opt.name, who, after - before);
}

static int run(void)
{
	bool two_writers = !strcmp(opt.prot, "ro");
	int n = opt.procs, i, start = 0;
	long before, after, first_kb, growth = 0, first_growth = 0;
	unsigned int gen = 1;
	unsigned long t, look, bad;
	char path[64];

	setup(n + 2);
	if (opt.mode == MODE_FIRST) {
		/* One process has touched everything before anybody else comes. */
		start_readers(1);
		before = pagetables_settled_kb();
		say_sample(0, before);
		touch(0, OP_READ, gen);
		first_kb = pagetables_settled_kb();
		say_sample(1, first_kb);
		first_growth = first_kb - before;
		growth = first_growth;
		start = 1;
	}
	start_readers(n);
	before = pagetables_settled_kb();
	first_kb = before;
	if (opt.mode == MODE_TOGETHER) {
		t = now_ns();
		for (i = 0; i < n; i++)
			order(i, OP_READ, gen);
		for (i = 0; i < n; i++) {
			if (!await(i))
				die("process %d was killed", i);
			procs[i].minflt = ctl->slot[i].minflt;
			procs[i].touch_ns = ctl->slot[i].ns;
		}
		say("together_us", "%lu", (now_ns() - t) / 1000);
	} else {
		if (!start)
			say_sample(0, before);
		for (i = start; i < n; i++) {
			touch(i, OP_READ, gen);
			if (!i)
				first_kb = pagetables_settled_kb();
			if ((i + 1) % opt.step == 0 || i + 1 == n)
				say_sample(i + 1, growth + pagetables_kb());
		}
	}
	after = pagetables_settled_kb();
	if (!start)
		first_growth = first_kb - before;
	growth += after - before;
	say("before_kb", "%ld", after - growth);
	say("after_kb", "%ld", after);
	say("growth_kb", "%ld", growth);
	if (opt.mode != MODE_TOGETHER && n > 1) {
		say("first_growth_kb", "%ld", first_growth);
		say("first_minflt", "%lu", procs[0].minflt);
		say("first_touch_us", "%lu", procs[0].touch_ns / 1000);
		say("per_extra_kb", "%.1f", (double)(growth - first_growth) / (n - 1));
	}
	i = opt.mode == MODE_TOGETHER ? 0 : 1;
	say_stats("reader_minflt", offsetof(struct proc, minflt), 1, i, n);
	say_stats("reader_touch_us", offsetof(struct proc, touch_ns), 1000, i, n);
	snprintf(path, sizeof(path), "/proc/%d/status", procs[n - 1].pid);
	say("reader_vmpte_kb", "%ld", read_number(path, "VmPTE:"));
	say("reader_vmrss_kb", "%ld", read_number(path, "VmRSS:"));
	say("reader_vmshpt_kb", "%ld", read_number(path, "VmShPT:"));

	write_all(++gen, "writer");
	/* Read-only mappers share among themselves: a second writer has company. */
	if (two_writers)
		write_all(++gen, "writer2");
	for (i = 0, look = 0; i < n; i++) {
		must(i, OP_READ, gen);
		look += ctl->slot[i].ns;
	}
	say("look_again_us", "%lu", look / n / 1000);
	say("distinct_addresses", "%d", distinct_addresses());

	for (i = 0; i < nr_started; i++) {
		must(i, OP_UNMAP, 0);
		procs[i].unmap_ns = ctl->slot[i].ns;
	}
	say_stats("unmap_us", offsetof(struct proc, unmap_ns), 1000, 0, n);
	say("writer_unmap_us", "%lu", procs[n].unmap_ns / 1000);
	say("last_unmap_us", "%lu", procs[nr_started - 1].unmap_ns / 1000);
	say("unmapped_kb", "%ld", pagetables_settled_kb());
	for (i = 0; i < nr_started; i++)
		say("proc", "%d,%s,%#lx,%lu,%lu,%lu", i, procs[i].writer ? "writer" : "reader",
		    ctl->slot[i].addr, procs[i].minflt,
		    procs[i].touch_ns / 1000,
		    procs[i].unmap_ns / 1000);
	bad = count_bad();
	finish();
	say("bad_pages", "%lu", bad);
	say("verdict", "%s", bad ? "wrong-data" : "ok");
	return bad ? EXIT_DATA : 0;
}

static int nr_alive(void)
{
	int i, n = 0;

	reap();
	for (i = 0; i < nr_started; i++)
		n += procs[i].alive;
	return n;
}

/*
 * A few at a time, so that the guest's CPUs are busy. A newcomer maps, reads
 * and checks the whole file, and stays.
 */
static bool arrive(int batch)
{
	int from = nr_started, i;
	bool memory = true;

	while (memory && nr_started < from + batch)
		memory = spawn(opt.prot, false);
	for (i = from; i < nr_started; i++)
		order(i, OP_MAP, 0);
	for (i = from; i < nr_started; i++)
		if (await(i))
			order(i, OP_READ, 1);
	for (i = from; i < nr_started; i++)
		procs[i].seen_all = await(i) && !ctl->slot[i].bad;
	return memory;
}

static int story(void)
{
	int i, stop = opt.procs, next = 0, alive, seen = 0, looked = 0;
	int oom_at = 0, oom_alive = 0;
	bool memory = true;
	long before;
	unsigned long bad;

	setup(opt.procs + 1);
	say("memtotal_kb", "%ld", meminfo_kb("MemTotal:"));
	say("memavail_start_kb", "%ld", meminfo_kb("MemAvailable:"));
	before = pagetables_settled_kb();
	while (nr_started < stop && memory) {
		int batch = opt.inflight;

		if (batch > stop - nr_started)
			batch = stop - nr_started;
		if (!oom_at)
			oom_alive = nr_started;
		memory = arrive(batch);
		reap();
		if ((nr_killed || !memory) && !oom_at) {
			oom_at = nr_started;
			if (stop > nr_started + opt.extra)
				stop = nr_started + opt.extra;
			say("oom_alive", "%d", oom_alive);
			say("oom_pagetables_kb", "%ld", pagetables_kb());
		}
		if (nr_started >= next || nr_started == stop || oom_at) {
			alive = nr_alive();
			say("sample", "%d,%d,%ld,%ld", nr_started, alive, pagetables_kb(),
			    meminfo_kb("MemAvailable:"));
			next += opt.step;
		}
	}
	alive = nr_alive();
	for (i = 0; i < nr_started; i++)
		seen += procs[i].seen_all;
	say("started", "%d", nr_started);
	say("read_all", "%d", seen);
	say("killed", "%d", nr_killed);
	say("alive", "%d", alive);
	say("growth_kb", "%ld", pagetables_kb() - before);
	say("memavail_end_kb", "%ld", meminfo_kb("MemAvailable:"));

	/* One more writes everything, and all of them see it. */
	if (!nr_killed && memory) {
		write_all(2, "writer");
		for (i = 0; i < opt.procs; i++) {
			must(i, OP_GLANCE, 2);
			looked += !ctl->slot[i].bad;
		}
		say("saw_write", "%d", looked);
		say("distinct_addresses", "%d", distinct_addresses());
	}
	bad = count_bad();
	finish();
	say("bad_pages", "%lu", bad);
	if (bad) {
		say("verdict", "wrong-data");
		return EXIT_DATA;
	}
	if (nr_killed || !memory) {
		say("verdict", "out-of-memory");
		return EXIT_OOM;
	}
	if (seen != opt.procs || looked != opt.procs)
		die("only %d of %d processes have read the file", seen, opt.procs);
	say("verdict", "ok");
	return 0;
}

static noreturn void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"Usage: ptshare_demo run|story [options]\n"
		"  -n, --name NAME      prefix of the output lines (%s)\n"
		"  -d, --dir DIR        a tmpfs with room for the file (%s)\n"
		"  -s, --mib N          size of the file in MiB, a multiple of 2 (%lu)\n"
		"  -p, --procs N        processes besides the writer (%d)\n"
		"  -r, --prot rw|ro     how the readers map the file (%s)\n"
		"  -m, --mode MODE      run: turns (one after the other), first (one has\n"
		"                       touched everything before the others come), together\n"
		"  -e, --step N         print PageTables after every N processes (%d)\n"
		"  -i, --inflight N     story: processes that arrive at a time (%d)\n"
		"  -x, --extra N        story: go on for N more once the kernel kills (%d)\n"
		"  -t, --deadline SEC   give up after that time (%u)\n",
		opt.name, opt.dir, opt.mib, opt.procs, opt.prot, opt.step,
		opt.inflight, opt.extra, opt.deadline);
	exit(status);
}

static int number(const char *arg, int min)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (*end || n < min || n > 1000000)
		usage(1);
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option longopts[] = {
		{ "name", required_argument, NULL, 'n' },
		{ "dir", required_argument, NULL, 'd' },
		{ "mib", required_argument, NULL, 's' },
		{ "procs", required_argument, NULL, 'p' },
		{ "prot", required_argument, NULL, 'r' },
		{ "mode", required_argument, NULL, 'm' },
		{ "step", required_argument, NULL, 'e' },
		{ "inflight", required_argument, NULL, 'i' },
		{ "extra", required_argument, NULL, 'x' },
		{ "deadline", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "n:d:s:p:r:m:e:i:x:t:h", longopts, NULL)) != -1) {
		switch (c) {
		case 'n':
			opt.name = optarg;
			break;
		case 'd':
			snprintf(opt.dir, sizeof(opt.dir), "%s", optarg);
			break;
		case 's':
			opt.mib = number(optarg, 2);
			break;
		case 'p':
			opt.procs = number(optarg, 1);
			break;
		case 'r':
			if (strcmp(optarg, "rw") && strcmp(optarg, "ro"))
				usage(1);
			opt.prot = optarg;
			break;
		case 'm':
			if (!strcmp(optarg, "turns"))
				opt.mode = MODE_TURNS;
			else if (!strcmp(optarg, "first"))
				opt.mode = MODE_FIRST;
			else if (!strcmp(optarg, "together"))
				opt.mode = MODE_TOGETHER;
			else
				usage(1);
			break;
		case 'e':
			opt.step = number(optarg, 1);
			break;
		case 'i':
			opt.inflight = number(optarg, 1);
			break;
		case 'x':
			opt.extra = number(optarg, 0);
			break;
		case 't':
			opt.deadline = number(optarg, 1);
			break;
		case 'h':
			usage(0);
		default:
			usage(1);
		}
	}
	if (opt.mib % 2 || optind != argc - 1)
		usage(1);
}

int main(int argc, char **argv)
{
	if (argc == 7 && !strcmp(argv[1], "--worker"))
		return worker_main(argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	if (!strcmp(argv[optind], "run"))
		return run();
	if (!strcmp(argv[optind], "story"))
		return story();
	usage(1);
}
