// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare_bench: what mapping one file in many processes costs
 *
 * Every subcommand prints lines "name param value unit" and knows nothing of
 * the kernel it runs on; benchmarks/run compares kernels. Times are those of
 * CLOCK_MONOTONIC. With one emulated CPU that counts instructions they are
 * instructions, whatever else the machine does.
 *
 * The coordinator never maps the file under test. A "crew" of processes maps
 * and touches it and stays; "visitors" come, do something that is measured,
 * and go. The cost of a visitor's own loop is measured by looping once more
 * over what is mapped by then, and subtracted.
 *
 * Exit status: 0 measured, 1 could not be measured, 64 usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define CHUNK		(2UL << 20)	/* what one PTE table covers */
#define MIB		(CHUNK / 2)
#define MAX_ROUNDS	64

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define die(fmt, ...) do {							\
	fprintf(stderr, "ptshare_bench: " fmt "\n", ##__VA_ARGS__);		\
	exit(1);								\
} while (0)

static struct {
	const char *dir;	/* a tmpfs without huge pages */
	const char *disk;	/* a file system on a ram disk */
	const char *thp;	/* a tmpfs with huge=always */
	const char *cgroup;	/* a memory cgroup to reclaim from */
	unsigned long mib;
	unsigned int rounds;
	unsigned int procs;	/* the largest crew */
	bool quick;		/* memory, attach: only what decides */
} opt = {
	.dir = "/tmp/bench",
	.disk = "/tmp/disk",
	.thp = "/tmp/thp",
	.cgroup = "/sys/fs/cgroup/bench",
	.mib = 1024,
	.rounds = 3,
	.procs = 0,
};

/* Output and sources of figures */

static bool warming_up;	/* the figures of now do not count */

static void result(const char *name, const char *param, double value, const char *unit)
{
	if (warming_up)
		return;
	printf("%s %s %.10g %s\n", name, param, value, unit);
	fflush(stdout);
}

static unsigned long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static long minor_faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt;
}

/* The number behind @key in a file of lines; -1 without such a line. */
static long read_number(const char *path, const char *key)
{
	char line[512];
	FILE *f = fopen(path, "r");
	long value = -1;

	if (!f)
		return -1;
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			value = strtol(line + strlen(key), NULL, 10);
	fclose(f);
	return value;
}

static void write_string(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("%s: %s", path, strerror(errno));
	close(fd);
}

/* Links made so far; 0 on a kernel that knows nothing of them. */
static long links(void)
{
	long n = read_number("/proc/vmstat", "ptshare_link ");

	return n < 0 ? 0 : n;
}

/* Interprocessor interrupts that flush a TLB, on all CPUs. */
static long flush_ipis(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[4096], *p, *end;
	long sum = 0, n;

	if (!f)
		die("/proc/interrupts: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		p = line + strspn(line, " ");
		if (strncmp(p, "TLB:", 4))
			continue;
		for (p += 4; n = strtol(p, &end, 10), end != p; p = end)
			sum += n;
	}
	fclose(f);
	return sum;
}

/*
 * PageTables is summed over CPUs when somebody reads stat_refresh, and tables
 * that were freed may wait for RCU: read until it rests.
 */
static long pagetables_kb(void)
{
	long last = -1, kb;
	char c;
	int fd, i;

	for (i = 0; i < 50; i++) {
		fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);
		if (fd < 0 || read(fd, &c, 1) < 0)
			die("/proc/sys/vm/stat_refresh: %s: needs root", strerror(errno));
		close(fd);
		kb = read_number("/proc/meminfo", "PageTables:");
		if (kb == last)
			break;
		last = kb;
		usleep(100000);
	}
	return last;
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(*v), cmp_double);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* What is mapped */

enum file_kind { TMPFS, MEMFD, SYSV, DISK, THP, HUGETLB };
static const char * const kind_name[] = { "tmpfs", "memfd", "sysv", "disk", "thp", "hugetlb" };

struct object {
	enum file_kind kind;
	size_t size;
	int fd;
	int shmid;
	char path[128];
};

/* Memory at an address that agrees with the file offset modulo CHUNK. */
static char *map_object(const struct object *o, int prot, int flags)
{
	char *room, *base;
	void *p;
	int fd;

	room = mmap(NULL, o->size + CHUNK, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		die("no room for a mapping of %zu bytes", o->size);
	base = (char *)(((uintptr_t)room + CHUNK - 1) & ~(CHUNK - 1));
	if (o->kind == SYSV) {
		p = shmat(o->shmid, base, SHM_REMAP | (prot & PROT_WRITE ? 0 : SHM_RDONLY));
	} else {
		fd = o->fd >= 0 ? o->fd : open(o->path, prot & PROT_WRITE ? O_RDWR : O_RDONLY);
		p = fd < 0 ? MAP_FAILED :
		    mmap(base, o->size, prot, MAP_SHARED | MAP_FIXED | flags, fd, 0);
		if (o->fd < 0 && fd >= 0)
			close(fd);
	}
	if (p != base)
		die("mapping a %s file of %zu bytes: %s", kind_name[o->kind], o->size,
		    strerror(errno));
	if (base > room)
		munmap(room, base - room);
	munmap(base + o->size, room + CHUNK - base);
	return base;
}

static void unmap_object(const struct object *o, char *p)
{
	if (o->kind == SYSV ? shmdt(p) : munmap(p, o->size))
		die("unmapping: %s", strerror(errno));
}

static unsigned long sink;

static void touch(char *p, size_t len, size_t stride, bool write)
{
	size_t i;

	if (write) {
		for (i = 0; i < len; i += stride)
			__atomic_store_n(p + i, 1, __ATOMIC_RELAXED);
	} else {
		for (i = 0; i < len; i += stride)
			sink += __atomic_load_n(p + i, __ATOMIC_RELAXED);
	}
}

/* What visitors report, in memory that is too small to be shared tables. */
struct report {
	double ns;
	double loop_ns;
	double leave_ns;
	double faults;
	double dtlb_misses;
	double kernel_instructions;
	unsigned long left_at;
	unsigned int running;
	unsigned int go;
};

static struct report *report;

static pid_t start(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s: give the guest more memory", strerror(errno));
	return pid;
}

static void finish(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		die("a process ended with status %#x", status);
}

/* Makes an object of @size bytes; the first @filled of them get pages. */
static void make_object(struct object *o, enum file_kind kind, size_t size, size_t filled)
{
	static unsigned int serial;
	pid_t pid;

	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->size = size;
	o->fd = -1;
	switch (kind) {
	case MEMFD:
	case HUGETLB:
		o->fd = memfd_create("bench", kind == HUGETLB ? MFD_HUGETLB : 0);
		break;
	case SYSV:
		o->shmid = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
		if (o->shmid < 0)
			die("shmget of %zu bytes: %s", size, strerror(errno));
		break;
	default:
		snprintf(o->path, sizeof(o->path), "%s/file.%u",
			 kind == DISK ? opt.disk : kind == THP ? opt.thp : opt.dir, ++serial);
		o->fd = open(o->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	}
	if (kind != SYSV && (o->fd < 0 || ftruncate(o->fd, size)))
		die("a %s file of %zu bytes: %s", kind_name[kind], size, strerror(errno));
	if (filled) {
		pid = start();
		if (!pid) {
			if (kind == SYSV || kind == DISK)
				touch(map_object(o, PROT_READ | PROT_WRITE, 0), filled, PAGE, true);
			else if (fallocate(o->fd, 0, 0, filled))
				die("fallocate of %zu bytes: %s", filled, strerror(errno));
			_exit(0);
		}
		finish(pid);
	}
	if (*o->path) {
		close(o->fd);
		o->fd = -1;
	}
}

static void drop_object(struct object *o)
{
	if (o->kind == SYSV)
		shmctl(o->shmid, IPC_RMID, NULL);
	else if (o->fd >= 0)
		close(o->fd);
	else
		unlink(o->path);
}

/* The file that most use, made once: it takes longer than what is measured. */
static const struct object *big_file(void)
{
	static struct object big;

	if (!big.size)
		make_object(&big, TMPFS, opt.mib * MIB, opt.mib * MIB);
	return &big;
}

/*
 * The crew: each member maps the file, touches it when told, and stays until
 * it is dismissed.
 */
struct crew {
	unsigned int nr;
	pid_t *pid;
	int ready[2];
	int stay[2];
};

/* What a member touches, in bytes of the file. */
struct touching {
	size_t first;
	size_t end;
	size_t stride;
	bool write;
};

static void crew_open(struct crew *c, unsigned int max)
{
	c->nr = 0;
	c->pid = calloc(max, sizeof(*c->pid));
	if (!c->pid || pipe(c->ready) || pipe(c->stay))
		die("a crew of %u: %s", max, strerror(errno));
}

static void crew_await(struct crew *c)
{
	char ch;

	if (read(c->ready[0], &ch, 1) != 1)
		die("crew: %s", strerror(errno));
}

static void crew_add(struct crew *c, const struct object *o, const struct touching *t)
{
	sigset_t set;
	pid_t pid;
	char *p, ch = 0;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = start();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(c->stay[1]);
		p = map_object(o, PROT_READ | PROT_WRITE, 0);
		if (write(c->ready[1], &ch, 1) != 1 || sigwait(&set, &sig))
			_exit(1);
		touch(p + t->first, t->end - t->first, t->stride, t->write);
		if (write(c->ready[1], &ch, 1) != 1)
			_exit(1);
		while (read(c->stay[0], &ch, 1) > 0)
			;
		_exit(0);
	}
	c->pid[c->nr++] = pid;
	crew_await(c);
}

static void crew_touch(struct crew *c, unsigned int i)
{
	kill(c->pid[i], SIGUSR1);
	crew_await(c);
}

static void crew_fill(struct crew *c, const struct object *o, const struct touching *t,
		      unsigned int nr)
{
	while (c->nr < nr) {
		crew_add(c, o, t);
		crew_touch(c, c->nr - 1);
	}
}

static void crew_dismiss(struct crew *c)
{
	unsigned int i;

	close(c->stay[1]);
	for (i = 0; i < c->nr; i++)
		finish(c->pid[i]);
	close(c->stay[0]);
	close(c->ready[0]);
	close(c->ready[1]);
	free(c->pid);
}

/* Counters of real hardware; an emulated CPU has none and they stay away. */

static int counter_open(unsigned int type, unsigned long config, bool kernel)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = type,
		.config = config,
		.exclude_user = kernel,
		.exclude_hv = 1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static double counter_read(int fd)
{
	unsigned long n;

	return fd >= 0 && read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* Visitors */

enum access_kind { READ, WRITE, MMAP_POPULATE, POPULATE_READ, POPULATE_WRITE };
static const char * const how_name[] = {
	"read", "write", "mmap_populate", "madv_read", "madv_write"
};

enum departure { MUNMAP, EXIT, DONTNEED };
static const char * const leave_name[] = { "munmap", "exit", "dontneed" };

static void visitor(const struct object *o, enum access_kind how, enum departure leave,
		    bool touching)
{
	int miss, instr, prot = PROT_READ | PROT_WRITE;
	char *p = NULL, warm[1];
	double miss0, instr0;
	unsigned long t0, t1;
	long faults;

	miss = counter_open(PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_DTLB |
			    PERF_COUNT_HW_CACHE_OP_READ << 8 |
			    PERF_COUNT_HW_CACHE_RESULT_MISS << 16, false);
	instr = counter_open(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, true);
	if (how != MMAP_POPULATE)
		p = map_object(o, prot, 0);

	/* What this process has not touched since it was forked. */
	touch(warm, 1, 1, true);
	touch(warm, 1, 1, false);
	report->faults = minor_faults() + now_ns();

	miss0 = counter_read(miss);
	instr0 = counter_read(instr);
	faults = minor_faults();
	t0 = now_ns();
	if (!touching)
		;
	else if (how == READ || how == WRITE)
		touch(p, o->size, PAGE, how == WRITE);
	else if (how == MMAP_POPULATE)
		p = map_object(o, prot, MAP_POPULATE);
	else if (madvise(p, o->size, how == POPULATE_READ ? MADV_POPULATE_READ :
			 MADV_POPULATE_WRITE))
		die("madvise: %s", strerror(errno));
	t1 = now_ns();
	report->ns = t1 - t0;
	report->faults = minor_faults() - faults;
	report->kernel_instructions = instr < 0 ? -1 : counter_read(instr) - instr0;
	report->dtlb_misses = miss < 0 ? -1 : counter_read(miss) - miss0;
	report->loop_ns = 0;
	if (touching && (how == READ || how == WRITE)) {
		t0 = now_ns();
		touch(p, o->size, PAGE, how == WRITE);
		report->loop_ns = now_ns() - t0;
	}

	t0 = now_ns();
	if (leave == MUNMAP)
		unmap_object(o, p);
	else if (leave == DONTNEED && madvise(p, o->size, MADV_DONTNEED))
		die("madvise: %s", strerror(errno));
	report->leave_ns = now_ns() - t0;
	report->left_at = now_ns();
	_exit(0);
}

static void visit(const struct object *o, enum access_kind how, enum departure leave, bool touching)
{
	pid_t pid = start();

	if (!pid)
		visitor(o, how, leave, touching);
	finish(pid);
	if (leave == EXIT)
		report->leave_ns = now_ns() - report->left_at;
}

/* What newcomers do to a file that a crew of one has touched. */
static void attach_one(const struct object *o, enum access_kind how)
{
	double ns[MAX_ROUNDS], faults[MAX_ROUNDS];
	unsigned int i;
	char param[64];
	long before = links();

	snprintf(param, sizeof(param), "%s:%s:%lu", kind_name[o->kind], how_name[how],
		 o->size / MIB);
	for (i = 0; i < opt.rounds; i++) {
		visit(o, how, MUNMAP, true);
		ns[i] = report->ns - report->loop_ns;
		faults[i] = report->faults;
	}
	result("attach.faults", param, median(faults, i), "faults");
	result("attach.kernel", param, median(ns, i), "ns");
	if (report->kernel_instructions >= 0)
		result("attach.instructions", param, report->kernel_instructions, "instructions");
	if (report->dtlb_misses >= 0)
		result("attach.dtlb_misses", param, report->dtlb_misses, "misses");
	result("attach.links", param, links() - before, "links");
}

static void attach_all(const struct object *o, enum access_kind last)
{
	struct touching all = { 0, o->size, PAGE, true };
	struct crew c;
	enum access_kind how;

	crew_open(&c, 1);
	crew_fill(&c, o, &all, 1);
	for (how = READ; how <= last; how++)
		attach_one(o, how);
	crew_dismiss(&c);
}

static void attach_kind(enum file_kind kind, size_t size)
{
	struct object o;

	make_object(&o, kind, size, size);
	attach_all(&o, WRITE);
	drop_object(&o);
}

static void bench_attach(void)
{
	attach_all(big_file(), POPULATE_WRITE);
	if (opt.quick)
		return;
	attach_kind(MEMFD, opt.mib * MIB / 4);
	attach_kind(SYSV, opt.mib * MIB / 4);
	attach_kind(DISK, 64 * MIB);
}

static void bench_detach(void)
{
	struct touching all = { 0, opt.mib * MIB, PAGE, true };
	double ns[MAX_ROUNDS], idle[MAX_ROUNDS];
	enum departure leave;
	const struct object *o = big_file();
	unsigned int i;
	struct crew c;
	char param[64];
	long before;

	before = links();
	crew_open(&c, 1);
	crew_fill(&c, o, &all, 1);
	for (leave = MUNMAP; leave <= DONTNEED; leave++) {
		/* The same with nothing touched: what leaving costs anyway. */
		for (i = 0; i < opt.rounds; i++) {
			visit(o, READ, leave, false);
			idle[i] = report->leave_ns;
			visit(o, READ, leave, true);
			ns[i] = report->leave_ns;
		}
		snprintf(param, sizeof(param), "%s:%lu", leave_name[leave], opt.mib);
		result("detach.kernel", param,
		       median(ns, i) - (leave == EXIT ? median(idle, i) : 0), "ns");
	}
	snprintf(param, sizeof(param), "all:%lu", opt.mib);
	result("detach.links", param, links() - before, "links");
	crew_dismiss(&c);
}

/*
 * PageTables against the number of processes, from all having mapped the file
 * on. A table needs one page that is touched, so every process touches one in
 * every @step-th chunk; with @own set the next one starts a chunk further.
 */
static void memory_one(enum file_kind kind, size_t size, unsigned int procs, unsigned int step,
		       bool own)
{
	static const unsigned int samples[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 };
	struct touching t = { 0, size, step * CHUNK, false };
	long before, links_before;
	unsigned int i, s = 0;
	struct object o;
	struct crew c;
	char param[64];

	make_object(&o, kind, size, 0);
	crew_open(&c, procs);
	for (i = 0; i < procs; i++) {
		t.first = own ? i % step * CHUNK : 0;
		crew_add(&c, &o, &t);
	}
	links_before = links();
	before = pagetables_kb();
	for (i = 1; i <= procs; i++) {
		crew_touch(&c, i - 1);
		while (samples[s] < i)
			s++;
		if (i != samples[s] && i != procs)
			continue;
		snprintf(param, sizeof(param), "%s:%u:%lu:1/%u:%s", kind_name[kind], i, size / MIB,
			 step, own ? "own" : "same");
		result("memory.growth", param, pagetables_kb() - before, "kB");
	}
	result("memory.links", param, links() - links_before, "links");
	crew_dismiss(&c);
	drop_object(&o);
}

static void bench_memory(void)
{
	unsigned int n = opt.procs ? opt.procs : 50;

	memory_one(TMPFS, opt.mib * MIB, n, 1, false);
	if (opt.quick)
		return;
	memory_one(TMPFS, opt.mib * MIB / 4, n, 1, false);
	memory_one(TMPFS, opt.mib * MIB, n, 8, false);
	memory_one(TMPFS, opt.mib * MIB, n, 8, true);
	/* Large, and sparse: one page in every chunk. */
	memory_one(TMPFS, opt.mib * MIB * 32, 5, 1, false);
}

/* The alternatives there are without sharing. */
static void bench_huge(void)
{
	enum file_kind kind;

	for (kind = THP; kind <= HUGETLB; kind++) {
		attach_kind(kind, opt.mib * MIB / 4);
		memory_one(kind, opt.mib * MIB / 4, 10, 1, false);
	}
}

/*
 * The first to touch a file whose pages are cached; @nr at the same time. All
 * have to have mapped it before the first one starts.
 */
static void populate_one(size_t size, unsigned int nr, bool write)
{
	double ns[MAX_ROUNDS];
	unsigned int i, round;
	struct object o;
	char param[64];
	long before = links();
	unsigned long t0;
	pid_t pid[64];
	char *p;

	make_object(&o, TMPFS, size, size);
	for (round = 0; round < opt.rounds; round++) {
		report->running = 0;
		report->go = 0;
		report->loop_ns = 0;
		for (i = 0; i < nr; i++) {
			pid[i] = start();
			if (pid[i])
				continue;
			p = map_object(&o, PROT_READ | PROT_WRITE, 0);
			__atomic_add_fetch(&report->running, 1, __ATOMIC_SEQ_CST);
			while (!__atomic_load_n(&report->go, __ATOMIC_ACQUIRE))
				usleep(100);
			touch(p, size, PAGE, write);
			if (!__atomic_sub_fetch(&report->running, 1, __ATOMIC_SEQ_CST))
				report->left_at = now_ns();
			t0 = now_ns();
			touch(p, size, PAGE, write);
			report->loop_ns = now_ns() - t0;
			_exit(0);
		}
		while (__atomic_load_n(&report->running, __ATOMIC_ACQUIRE) < nr)
			usleep(1000);
		t0 = now_ns();
		__atomic_store_n(&report->go, 1, __ATOMIC_RELEASE);
		for (i = 0; i < nr; i++)
			finish(pid[i]);
		ns[round] = report->left_at - t0;
	}
	snprintf(param, sizeof(param), "%s:%u:%lu", write ? "write" : "read", nr, size / MIB);
	result("populate.time", param, median(ns, round), "ns");
	result("populate.links", param, links() - before, "links");
	drop_object(&o);
}

static void bench_populate(void)
{
	unsigned int nr;

	for (nr = 1; nr <= 8; nr *= 2) {
		populate_one(opt.mib * MIB / 8, nr, false);
		populate_one(opt.mib * MIB / 8, nr, true);
	}
}

/* fork() and exit of a process with a linked file; the child does nothing. */
static void bench_forkexit(void)
{
	const unsigned int loops = 1000;
	struct touching all = { 0, opt.mib * MIB, PAGE, true };
	const struct object *o = big_file();
	unsigned int i, mapped;
	struct crew c;
	char param[64];
	double *ns, sum;
	long before = links();
	unsigned long t0;
	pid_t pid;
	char *p;

	ns = calloc(loops, sizeof(*ns));
	if (!ns)
		die("no memory");
	crew_open(&c, 1);
	crew_fill(&c, o, &all, 1);
	for (mapped = 0; mapped < 2; mapped++) {
		pid = start();
		if (!pid) {
			if (mapped) {
				p = map_object(o, PROT_READ | PROT_WRITE, 0);
				touch(p, o->size, PAGE, false);
			}
			for (i = 0; i < loops; i++) {
				t0 = now_ns();
				pid = start();
				if (!pid)
					_exit(0);
				finish(pid);
				ns[i] = now_ns() - t0;
			}
			for (sum = 0, i = 0; i < loops; i++)
				sum += ns[i];
			report->ns = median(ns, loops);
			report->loop_ns = sum / loops;
			_exit(0);
		}
		finish(pid);
		snprintf(param, sizeof(param), "%s:%lu", mapped ? "linked" : "plain", opt.mib);
		result("forkexit.median", param, report->ns, "ns");
		result("forkexit.mean", param, report->loop_ns, "ns");
	}
	result("forkexit.links", param, links() - before, "links");
	crew_dismiss(&c);
	free(ns);
}

/* A server that has mapped the file forks clients who touch some of it. */
static void connect_one(bool write)
{
	const size_t part = 64 * MIB;
	unsigned int i, clients = opt.procs ? opt.procs : 100;
	struct touching all = { 0, part, PAGE, true };
	struct object o;
	struct crew c;
	char param[64];
	long before = links();
	unsigned long t0;
	pid_t pid, client;
	char *p;

	make_object(&o, TMPFS, 2 * part, part);
	crew_open(&c, 1);
	crew_fill(&c, &o, &all, 1);
	pid = start();
	if (!pid) {
		p = map_object(&o, PROT_READ | PROT_WRITE, 0);
		t0 = now_ns();
		for (i = 0; i < clients; i++) {
			client = start();
			if (!client) {
				touch(p, part, PAGE, write);
				_exit(0);
			}
			finish(client);
		}
		report->ns = now_ns() - t0;
		touch(p, part, PAGE, write);
		t0 = now_ns();
		touch(p, part, PAGE, write);
		report->loop_ns = now_ns() - t0;
		_exit(0);
	}
	finish(pid);
	snprintf(param, sizeof(param), "%s:%u", write ? "write" : "read", clients);
	result("connect.client", param, report->ns / clients - report->loop_ns, "ns");
	result("connect.links", param, links() - before, "links");
	crew_dismiss(&c);
	drop_object(&o);
}

static void bench_connect(void)
{
	connect_one(false);
	connect_one(true);
}

/*
 * Taking pages away that many map: reclaim, writeback, truncate. The file is
 * large enough to be shared, one chunk of it is used.
 */
static const unsigned int crowd[] = { 1, 2, 16, 64, 256, 1000 };

/* Once in vain: the first time pays for what the kernel sets up once. */
static void for_crowds(void (*one)(unsigned int nr))
{
	unsigned int i;

	warming_up = true;
	one(crowd[0]);
	warming_up = false;
	for (i = 0; i < sizeof(crowd) / sizeof(*crowd); i++)
		if (crowd[i] <= (opt.procs ? opt.procs : 256))
			one(crowd[i]);
}

/*
 * The cgroup to reclaim from has two below it: the pages of the file are
 * charged to one, the crew is in the other. So references by the crew count,
 * but its own memory, which is protected, is not reclaimed.
 */
static void cgroup_make(void)
{
	static const char * const sub[] = { "", "/pages", "/crew" };
	char path[160];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", opt.cgroup, sub[i]);
		if (mkdir(path, 0755) && errno != EEXIST)
			die("%s: %s", path, strerror(errno));
		if (!i) {
			snprintf(path, sizeof(path), "%s/cgroup.subtree_control", opt.cgroup);
			write_string(path, "+memory");
		}
	}
	snprintf(path, sizeof(path), "%s/crew/memory.min", opt.cgroup);
	write_string(path, "max");
}

static void cgroup_enter(const char *sub)
{
	char path[160], pid[16];

	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", opt.cgroup, sub);
	snprintf(pid, sizeof(pid), "%d", getpid());
	write_string(path, pid);
}

static void fill_in_cgroup(const struct object *o, size_t len)
{
	size_t i;
	char *p;
	pid_t child = start();

	if (!child) {
		cgroup_enter("pages");
		p = map_object(o, PROT_READ | PROT_WRITE, 0);
		/* Pages of one repeated word: zram stores them without compressing. */
		for (i = 0; i < len; i += sizeof(long))
			*(long *)(p + i) = i / PAGE + 1;
		_exit(0);
	}
	finish(child);
}

static long swapped_out(void)
{
	return read_number("/proc/vmstat", "pswpout ");
}

static void reclaim_one(unsigned int nr)
{
	const size_t part = CHUNK;
	struct touching t = { 0, part, PAGE, false };
	unsigned long ns = 0, vain_ns = 0, t0;
	long before, out = 0, last, ipis;
	char param[64], path[160];
	unsigned int vain = 0;
	struct object o;
	struct crew c;
	int fd;

	snprintf(path, sizeof(path), "%s/memory.reclaim", opt.cgroup);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		die("%s: %s: needs cgroup v2 with the memory controller", path, strerror(errno));
	make_object(&o, TMPFS, 16 * MIB, 0);
	fill_in_cgroup(&o, part);
	before = links();
	crew_open(&c, nr);
	crew_fill(&c, &o, &t, nr);
	before = links() - before;
	ipis = flush_ipis();
	last = swapped_out();
	/*
	 * A try may be in vain when all it does is to find that pages were used.
	 * It counts if a later one is not: a few pages may stay for good, on a
	 * stale count.
	 */
	while (out < (long)(part / PAGE) && vain < 5) {
		t0 = now_ns();
		if (write(fd, "2M", 2) < 0 && errno != EAGAIN)
			die("%s: %s", path, strerror(errno));
		vain_ns += now_ns() - t0;
		if (swapped_out() - last == out) {
			vain++;
			continue;
		}
		ns += vain_ns;
		vain_ns = 0;
		vain = 0;
		out = swapped_out() - last;
	}
	/* The unpatched kernel finds a page used, time and again, that 1000 map. */
	if (out < (long)(part / PAGE) * 9 / 10) {
		if (nr <= 256)
			die("reclaim: only %ld of %lu pages went: is there swap?", out, part / PAGE);
		out = 0;
	}
	snprintf(param, sizeof(param), "%u", nr);
	result("reclaim.page", param, out ? (double)ns / out : NAN, "ns");
	result("reclaim.flush_ipis", param, out ? (double)(flush_ipis() - ipis) / out : NAN, "ipis");
	result("reclaim.links", param, before, "links");
	close(fd);
	crew_dismiss(&c);
	drop_object(&o);
}

static void bench_reclaim(void)
{
	cgroup_make();
	cgroup_enter("crew");
	for_crowds(reclaim_one);
}

static void writeback_one(unsigned int nr)
{
	const size_t part = CHUNK;
	const unsigned int rounds = 16;
	struct touching t = { 0, part, PAGE, false };
	unsigned long t0, ns = 0;
	unsigned int round;
	long before, ipis;
	char param[64];
	struct object o;
	struct crew c;
	char *p;
	int fd;

	make_object(&o, DISK, 16 * MIB, 16 * MIB);
	fd = open(o.path, O_RDWR);
	if (fd < 0 || fsync(fd))
		die("%s: %s", o.path, strerror(errno));
	before = links();
	crew_open(&c, nr);
	crew_fill(&c, &o, &t, nr - 1);
	/* The coordinator is the one who writes. */
	p = map_object(&o, PROT_READ | PROT_WRITE, 0);
	ipis = flush_ipis();
	/* The mean: half of them have a timer tick in it, a percent of their time. */
	for (round = 0; round < rounds; round++) {
		touch(p, part, PAGE, true);
		t0 = now_ns();
		if (fsync(fd))
			die("fsync: %s", strerror(errno));
		ns += now_ns() - t0;
	}
	ipis = flush_ipis() - ipis;
	snprintf(param, sizeof(param), "%u", nr);
	result("writeback.page", param, (double)ns / rounds / (part / PAGE), "ns");
	result("writeback.flush_ipis", param, (double)ipis / round / (part / PAGE), "ipis");
	result("writeback.links", param, links() - before, "links");
	unmap_object(&o, p);
	crew_dismiss(&c);
	close(fd);
	drop_object(&o);
}

static void bench_writeback(void)
{
	for_crowds(writeback_one);
}

static void truncate_how(unsigned int nr, bool punch)
{
	const size_t part = CHUNK;
	struct touching t = { 0, part, PAGE, false };
	double ns[MAX_ROUNDS];
	char param[64];
	long before, ipis = 0;
	struct object o;
	struct crew c;
	unsigned long t0;
	/* Few pages' time: a timer tick would show. */
	unsigned int round, rounds = nr <= 2 ? 15 : opt.rounds;
	int fd, err;

	make_object(&o, TMPFS, 16 * MIB, part);
	before = links();
	fd = open(o.path, O_RDWR);
	for (round = 0; round < rounds; round++) {
		crew_open(&c, nr);
		crew_fill(&c, &o, &t, nr);
		ipis -= flush_ipis();
		t0 = now_ns();
		err = punch ? fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, part) :
			      ftruncate(fd, 0);
		ns[round] = now_ns() - t0;
		ipis += flush_ipis();
		if (err || ftruncate(fd, o.size))
			die("truncate: %s", strerror(errno));
		crew_dismiss(&c);
	}
	snprintf(param, sizeof(param), "%s:%u", punch ? "punch" : "truncate", nr);
	result("truncate.page", param, median(ns, round) / (part / PAGE), "ns");
	result("truncate.flush_ipis", param, (double)ipis / round / (part / PAGE), "ipis");
	result("truncate.links", param, links() - before, "links");
	close(fd);
	drop_object(&o);
}

static void truncate_one(unsigned int nr)
{
	truncate_how(nr, false);
	truncate_how(nr, true);
}

static void bench_truncate(void)
{
	for_crowds(truncate_one);
}

/* A process that protects its own mapping, and lives with it. */
static void bench_mprotect(void)
{
	struct touching all = { 0, opt.mib * MIB, PAGE, true };
	const struct object *o = big_file();
	struct crew c;
	char param[64];
	long before = links();
	unsigned long t0;
	pid_t pid;
	char *p;

	crew_open(&c, 1);
	crew_fill(&c, o, &all, 1);
	pid = start();
	if (!pid) {
		p = map_object(o, PROT_READ | PROT_WRITE, 0);
		touch(p, o->size, PAGE, false);
		t0 = now_ns();
		touch(p, o->size, PAGE, false);
		report->loop_ns = now_ns() - t0;
		t0 = now_ns();
		if (mprotect(p, o->size, PROT_READ))
			die("mprotect: %s", strerror(errno));
		report->ns = now_ns() - t0;
		t0 = now_ns();
		touch(p, o->size, PAGE, false);
		report->leave_ns = now_ns() - t0 - report->loop_ns;
		_exit(0);
	}
	finish(pid);
	snprintf(param, sizeof(param), "%lu", opt.mib);
	result("mprotect.call", param, report->ns, "ns");
	result("mprotect.and_touch", param, report->ns + report->leave_ns, "ns");
	result("mprotect.links", param, links() - before, "links");
	crew_dismiss(&c);
}

/* What a process does that shares nothing. */

static struct object lone;

static void lone_map(int prot, int flags, bool write, size_t size)
{
	int fd = flags & MAP_ANONYMOUS ? -1 : open(lone.path, O_RDWR);
	char *p = mmap(NULL, size, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	touch(p, size, PAGE, write);
	munmap(p, size);
	if (fd >= 0)
		close(fd);
}

static void single_anon(void)
{
	lone_map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, true, 8 * MIB);
}

static void single_private_write(void)
{
	lone_map(PROT_READ | PROT_WRITE, MAP_PRIVATE, true, 8 * MIB);
}

static void single_private_read(void)
{
	lone_map(PROT_READ, MAP_PRIVATE, false, 8 * MIB);
}

static void single_shared_small(void)
{
	lone_map(PROT_READ | PROT_WRITE, MAP_SHARED, true, 8 * MIB);
}

static void single_mmap(void)
{
	int i;

	for (i = 0; i < 200; i++)
		lone_map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, true, PAGE);
}

static void single_fork(void)
{
	pid_t pid;
	int i;

	for (i = 0; i < 10; i++) {
		pid = start();
		if (!pid)
			_exit(0);
		finish(pid);
	}
}

static void single_exec(void)
{
	pid_t pid;
	int i;

	for (i = 0; i < 10; i++) {
		pid = start();
		if (!pid) {
			execl("/proc/self/exe", "ptshare_bench", "nothing", NULL);
			_exit(1);
		}
		finish(pid);
	}
}

static void single_switch(void)
{
	const int turns = 200;
	int a[2], b[2], i;
	pid_t pid;
	char ch = 0;

	if (pipe(a) || pipe(b))
		die("pipe: %s", strerror(errno));
	pid = start();
	for (i = 0; i < turns; i++) {
		if (pid) {
			if (write(a[1], &ch, 1) != 1 || read(b[0], &ch, 1) != 1)
				die("pipe: %s", strerror(errno));
		} else if (read(a[0], &ch, 1) != 1 || write(b[1], &ch, 1) != 1) {
			_exit(1);
		}
	}
	if (!pid)
		_exit(0);
	finish(pid);
	close(a[0]);
	close(a[1]);
	close(b[0]);
	close(b[1]);
}

/* A small program, compiled if the guest has a compiler. */
static void single_compile(void)
{
	pid_t pid = start();

	if (!pid) {
		execl("/tmp/cc/run", "run", NULL);
		_exit(1);
	}
	finish(pid);
}

static void single_one(const char *name, void (*fn)(void), unsigned int n)
{
	double ns[MAX_ROUNDS];
	unsigned int i;
	unsigned long t0;

	fn();
	for (i = 0; i < n; i++) {
		t0 = now_ns();
		fn();
		ns[i] = now_ns() - t0;
	}
	result("single.time", name, median(ns, n), "ns");
}

/*
 * As many mappings as a program with libraries has. In the tree of one that has
 * next to none a gap more or less, for an aligned address, is a level.
 */
static void map_like_a_program(void)
{
	const unsigned int n = 64;
	char *p = mmap(NULL, n * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i;

	for (i = 0; i < n; i += 2)
		if (p == MAP_FAILED || mprotect(p + i * PAGE, PAGE, PROT_NONE))
			die("mmap: %s", strerror(errno));
}

static void bench_single(void)
{
	const unsigned int n = 25;
	long before = links();

	map_like_a_program();
	/* 8 MiB, half of what takes part in sharing. */
	make_object(&lone, TMPFS, 8 * MIB, 8 * MIB);
	single_one("page_fault1", single_anon, n);
	single_one("page_fault2", single_private_write, n);
	single_one("page_fault3", single_shared_small, n);
	single_one("private_read", single_private_read, n);
	single_one("mmap_munmap", single_mmap, n);
	single_one("fork_exit", single_fork, n);
	single_one("fork_exec", single_exec, n);
	single_one("context_switch", single_switch, n);
	if (!access("/tmp/cc/run", X_OK) && !opt.quick)
		single_one("compile", single_compile, 3);
	result("single.links_none", "all", links() - before, "links");
	drop_object(&lone);
}

/* The same faults in a file that is large enough, with nobody to share with. */
static void bench_lone(void)
{
	static const char * const name[] = { "read", "write" };
	/* Long enough for all to have about as many timer ticks in it */
	const size_t size = 128 * MIB;
	double ns[MAX_ROUNDS], loop[MAX_ROUNDS], leave[MAX_ROUNDS];
	unsigned int i, write;
	struct object o;
	long before = links();

	make_object(&o, TMPFS, size, size);
	for (write = 0; write < 2; write++) {
		for (i = 0; i < 15; i++) {
			visit(&o, write ? WRITE : READ, MUNMAP, true);
			ns[i] = report->ns;
			loop[i] = report->loop_ns;
			leave[i] = report->leave_ns;
		}
		result("lone.fault", name[write], median(ns, i) - median(loop, i), "ns");
		result("lone.munmap", name[write], median(leave, i), "ns");
	}
	result("lone.links", "all", links() - before, "links");
	drop_object(&o);
}

static const struct bench {
	const char *name;
	void (*fn)(void);
	const char *what;
} benches[] = {
	{ "memory",	bench_memory,	"PageTables against processes, size, occupancy" },
	{ "attach",	bench_attach,	"a newcomer touches a file that others have touched" },
	{ "detach",	bench_detach,	"munmap, exit, MADV_DONTNEED" },
	{ "mprotect",	bench_mprotect,	"mprotect of a linked mapping" },
	{ "forkexit",	bench_forkexit,	"fork and exit with a linked mapping" },
	{ "connect",	bench_connect,	"short-lived clients that touch 64 MiB" },
	{ "populate",	bench_populate,	"the first to touch a file, 1 to 8 at a time" },
	{ "huge",	bench_huge,	"attach with the alternatives: THP, hugetlbfs" },
	{ "reclaim",	bench_reclaim,	"per page, 1 to 256 sharers" },
	{ "writeback",	bench_writeback, "fsync, per page, 1 to 256 sharers" },
	{ "truncate",	bench_truncate,	"truncate and punch, per page, 1 to 256 sharers" },
	{ "single",	bench_single,	"one process that shares nothing" },
	{ "lone",	bench_lone,	"one process alone with a file that could be shared" },
};

#define NR_BENCHES	(sizeof(benches) / sizeof(*benches))

static noreturn void usage(int status)
{
	FILE *f = status ? stderr : stdout;
	unsigned int i;

	fprintf(f, "Usage: ptshare_bench [options] BENCH...\n"
		"  -d DIR   a tmpfs without huge pages (%s)\n"
		"  -f DIR   a disk file system, best on a ram disk (%s)\n"
		"  -t DIR   a tmpfs with huge=always (%s)\n"
		"  -g DIR   a memory cgroup to make and reclaim from (%s)\n"
		"  -s MIB   size of the file (%lu)\n"
		"  -r N     rounds, of which the median is taken (%u)\n"
		"  -p N     processes: of memory and connect, most of the others\n"
		"  -q       only the deciding part of memory and attach\n",
		opt.dir, opt.disk, opt.thp, opt.cgroup, opt.mib, opt.rounds);
	for (i = 0; i < NR_BENCHES; i++)
		fprintf(f, "  %-10s %s\n", benches[i].name, benches[i].what);
	exit(status);
}

static unsigned long number(const char *arg, unsigned long min, unsigned long max)
{
	unsigned long n;
	char *end;

	n = strtoul(arg, &end, 10);
	if (*end || n < min || n > max) {
		fprintf(stderr, "ptshare_bench: '%s' is not an integer from %lu to %lu\n", arg,
			min, max);
		exit(64);
	}
	return n;
}

static const struct bench *find_bench(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_BENCHES; i++)
		if (!strcmp(name, benches[i].name))
			return &benches[i];
	fprintf(stderr, "ptshare_bench: no benchmark '%s'\n", name);
	usage(64);
}

int main(int argc, char **argv)
{
	int c, i;

	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 0;
	while ((c = getopt(argc, argv, "d:f:t:g:s:r:p:qh")) != -1) {
		switch (c) {
		case 'd':
			opt.dir = optarg;
			break;
		case 'f':
			opt.disk = optarg;
			break;
		case 't':
			opt.thp = optarg;
			break;
		case 'q':
			opt.quick = true;
			break;
		case 'g':
			opt.cgroup = optarg;
			break;
		case 's':
			opt.mib = number(optarg, 128, 1 << 20);
			break;
		case 'r':
			opt.rounds = number(optarg, 1, MAX_ROUNDS);
			break;
		case 'p':
			opt.procs = number(optarg, 2, 1000);
			break;
		case 'h':
			usage(0);
		default:
			usage(64);
		}
	}
	if (optind == argc)
		usage(64);
	for (i = optind; i < argc; i++)
		find_bench(argv[i]);
	report = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	for (i = optind; i < argc; i++)
		find_bench(argv[i])->fn();
	return 0;
}
