// SPDX-License-Identifier: GPL-2.0
/* Sharers and probes for the ptshare selftests, see ptshare_util.h */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ptshare_util.h"

#define SYSCTL		"/proc/sys/vm/ptshare"
#define DEBUGFS		"/sys/kernel/debug/ptshare/"

/* Addresses that neither a program, its stack nor mmap() would take. */
#define AREA_ADDR	0x0f0000000000UL
#define SLOT_ADDR	0x100000000000UL
#define PROC_STRIDE	(64UL << 30)
#define SLOT_STRIDE	0x40000000UL

#define NARGS		6
#define WORKER_ENV	"PTSHARE_WORKER"

struct pt_area *pt_area;
__thread sigjmp_buf pt_fault_env;
__thread bool pt_fault_expected;

static struct pt_proc procs[PT_MAX_PROCS];
static int area_fd = -1;
static int worker_sock;

struct request {
	long fn;		/* relative to origin(), programs may be PIE */
	unsigned long arg[NARGS];
	int fdarg;		/* the argument that the passed fd replaces */
};

static long origin(unsigned long *arg)
{
	return arg[0];
}

/* The vDSO, which the clock needs, and more stack can be in a PTE table more. */
static long warm_up(unsigned long *arg)
{
	char stack[64 * 1024];

	(void)arg;
	stack[0] = 0;
	asm volatile("" : : "r" (stack) : "memory");
	return pt_now_ms();
}

void pt_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "# ptshare: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, " (errno %d, pid %d)\n", errno, getpid());
	va_end(ap);
	pt_kill_all();
	exit(1);
}

/* --- faults -------------------------------------------------------------- */

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	(void)uc;
	/* Early news of a page that this process may never touch */
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AO)
		return;
	if (!pt_fault_expected) {
		signal(sig, SIG_DFL);
		return;
	}
	pt_fault_expected = false;
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AR)
		sig = PT_MCE;
	siglongjmp(pt_fault_env, sig);
}

static void catch_faults(void)
{
	/* No mask to restore: leaving by siglongjmp() needs no system call. */
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

int pt_load(const void *addr, unsigned long *val)
{
	int sig = pt_protect();

	if (!sig)
		*val = pt_get(addr);
	pt_unprotect();
	return sig;
}

int pt_store(void *addr, unsigned long val)
{
	int sig = pt_protect();

	if (!sig)
		pt_set(addr, val);
	pt_unprotect();
	return sig;
}

unsigned long pt_stamp(unsigned long seed, unsigned long pgno)
{
	return (seed << 40) + pgno + 1;
}

static const unsigned int stamp_at[] = { 0, PT_PAGE / 2, PT_PAGE - 8 };

void pt_stamp_page(void *page, unsigned long seed, unsigned long pgno)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(stamp_at); i++)
		pt_set(page + stamp_at[i], pt_stamp(seed, pgno));
}

bool pt_page_ok(const void *page, unsigned long seed, unsigned long pgno)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(stamp_at); i++)
		if (pt_get(page + stamp_at[i]) != pt_stamp(seed, pgno))
			return false;
	return true;
}

/* --- threads ------------------------------------------------------------- */

struct thread_arg {
	pt_fn fn;
	unsigned long arg[NARGS];
};

static void *thread_main(void *data)
{
	struct thread_arg t = *(struct thread_arg *)data;

	free(data);
	t.fn(t.arg);
	return NULL;
}

void pt_thread_here(pt_fn fn, const unsigned long *arg)
{
	struct thread_arg *t = malloc(sizeof(*t));
	pthread_attr_t attr;
	pthread_t thread;

	if (!t)
		pt_die("no memory for a thread");
	t->fn = fn;
	memcpy(t->arg, arg, sizeof(t->arg));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, thread_main, t))
		pt_die("pthread_create");
	pthread_attr_destroy(&attr);
}

void pt_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % pt_nr_cpus(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int pt_nr_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

long pt_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void pt_sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

bool pt_await(const unsigned long *p, unsigned long val)
{
	long end = pt_now_ms() + 300000;

	while (pt_get(p) < val) {
		if (pt_now_ms() > end)
			return false;
		sched_yield();
	}
	return true;
}

/* --- the sharer's side --------------------------------------------------- */

static void attach_area(int fd)
{
	pt_area = mmap((void *)AREA_ADDR, sizeof(*pt_area),
		       PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (pt_area != (void *)AREA_ADDR)
		pt_die("cannot map the common area");
}

static ssize_t transfer(int sock, struct request *req, int *fd, bool out)
{
	char ctl[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { req, sizeof(*req) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (!out || *fd >= 0) {
		msg.msg_control = ctl;
		msg.msg_controllen = sizeof(ctl);
	}
	if (out && *fd >= 0) {
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), fd, sizeof(int));
	}
	if (out)
		return sendmsg(sock, &msg, MSG_NOSIGNAL);

	do {
		n = recvmsg(sock, &msg, 0);
	} while (n < 0 && errno == EINTR);
	cmsg = CMSG_FIRSTHDR(&msg);
	if (n > 0 && cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
	return n;
}

static void __noreturn serve(void)
{
	struct request req;
	long ret;
	int fd;

	for (;;) {
		fd = -1;
		if (transfer(worker_sock, &req, &fd, false) != sizeof(req))
			_exit(0);	/* the test is over */
		if (fd >= 0)
			req.arg[req.fdarg] = fd;
		ret = ((pt_fn)((long)origin + req.fn))(req.arg);
		if (fd >= 0)
			close(fd);
		if (send(worker_sock, &ret, sizeof(ret), MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}

/* In an exec()ed sharer, main() is never reached. */
static void __attribute__((constructor(101))) worker_entry(void)
{
	const char *env = getenv(WORKER_ENV);
	int fd;

	if (!env)
		return;
	if (sscanf(env, "%d,%d", &worker_sock, &fd) != 2)
		_exit(1);
	unsetenv(WORKER_ENV);
	attach_area(fd);
	close(fd);
	catch_faults();
	serve();
}

/* --- the test's side ----------------------------------------------------- */

static void create_area(void)
{
	area_fd = memfd_create("ptshare-area", MFD_CLOEXEC);
	if (area_fd < 0 || ftruncate(area_fd, sizeof(*pt_area)))
		pt_die("cannot create the common area");
	attach_area(area_fd);
}

static struct pt_proc *new_proc(int sock, pid_t pid)
{
	struct pt_proc *p;
	int i;

	for (i = 0; procs[i].pid; i++)
		if (i == PT_MAX_PROCS - 1)
			pt_die("too many sharers");
	p = &procs[i];
	p->id = i;
	p->pid = pid;
	p->sock = sock;
	p->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (p->pidfd < 0)
		pt_die("pidfd_open");
	return p;
}

static void send_request(struct pt_proc *p, pt_fn fn, const unsigned long *arg,
			 int fdarg, int fd)
{
	struct request req = { .fn = (long)fn - (long)origin, .fdarg = fdarg };

	memcpy(req.arg, arg, sizeof(req.arg));
	if (transfer(p->sock, &req, &fd, true) != sizeof(req))
		pt_die("sharer %d (%d) does not listen", p->id, p->pid);
}

static long get_reply(struct pt_proc *p)
{
	ssize_t n;
	long ret;

	do {
		n = recv(p->sock, &ret, sizeof(ret), 0);
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(ret))
		pt_die("sharer %d (%d) has died", p->id, p->pid);
	return ret;
}

static void get_args(unsigned long *arg, va_list ap)
{
	int i;

	/* As in syscall(): reading more than were passed does no harm. */
	for (i = 0; i < NARGS; i++)
		arg[i] = va_arg(ap, unsigned long);
}

long pt_call(struct pt_proc *p, pt_fn fn, ...)
{
	unsigned long arg[NARGS];
	va_list ap;

	va_start(ap, fn);
	get_args(arg, ap);
	va_end(ap);
	send_request(p, fn, arg, 0, -1);
	return get_reply(p);
}

void pt_start(struct pt_proc *p, pt_fn fn, ...)
{
	unsigned long arg[NARGS];
	va_list ap;

	va_start(ap, fn);
	get_args(arg, ap);
	va_end(ap);
	send_request(p, fn, arg, 0, -1);
}

long pt_finish(struct pt_proc *p)
{
	return get_reply(p);
}

static long do_thread(unsigned long *arg)
{
	unsigned long a[NARGS];

	memcpy(a, (void *)arg[1], sizeof(a));
	pt_thread_here((pt_fn)((long)origin + (long)arg[0]), a);
	return 0;
}

void pt_thread(struct pt_proc *p, pt_fn fn, ...)
{
	unsigned long *arg = pt_scratch(p);
	va_list ap;

	va_start(ap, fn);
	get_args(arg, ap);
	va_end(ap);
	pt_call(p, do_thread, (long)fn - (long)origin, arg);
}

struct sys_args {
	long nr;
	unsigned long arg[NARGS];
};

static long do_sys(unsigned long *arg)
{
	struct sys_args *s = (void *)arg[0];
	long ret;

	ret = syscall(s->nr, s->arg[0], s->arg[1], s->arg[2], s->arg[3],
		      s->arg[4], s->arg[5]);
	return ret == -1 ? -errno : ret;
}

/* The end of the scratch page: pt_scratch() users have the start. */
static struct sys_args *sys_args(struct pt_proc *p)
{
	return pt_scratch(p) + PT_SCRATCH - sizeof(struct sys_args);
}

long pt_sys(struct pt_proc *p, long nr, ...)
{
	struct sys_args *s = sys_args(p);
	va_list ap;

	s->nr = nr;
	va_start(ap, nr);
	get_args(s->arg, ap);
	va_end(ap);
	return pt_call(p, do_sys, s);
}

static long anchor_slots(unsigned long *arg)
{
	char *addr = (void *)arg[0];
	int i;

	for (i = 0; i < PT_SLOTS; i++, addr += SLOT_STRIDE) {
		/* A child may have it from an ancestor of the same number. */
		if (mmap(addr, PT_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			 -1, 0) != addr && errno != EEXIST)
			return -errno;
		*addr = 1;
	}
	return 0;
}

/*
 * A private page below each slot, in the same GiB: with it all upper level
 * tables exist, and VmPTE counts PTE tables from there on.
 */
static void anchor(struct pt_proc *p)
{
	long ret = pt_call(p, anchor_slots, SLOT_ADDR + p->id * PROC_STRIDE);

	if (ret)
		pt_die("slots of sharer %d are not free: %ld", p->id, ret);
	/* What a sharer's own functions touch is there before it is counted. */
	pt_call(p, warm_up);
	pt_rebase(p);
}

struct pt_proc *pt_spawn(void)
{
	struct pt_proc *p;
	int sv[2], fd;
	pid_t pid;
	char env[32];
	long ret;

	if (!pt_area)
		create_area();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		pt_die("socketpair");
	fflush(NULL);
	pid = fork();
	if (!pid) {
		setsid();
		if (fork())
			_exit(0);
		worker_sock = fcntl(sv[1], F_DUPFD, 3);
		fd = fcntl(area_fd, F_DUPFD, 3);
		snprintf(env, sizeof(env), "%d,%d", worker_sock, fd);
		setenv(WORKER_ENV, env, 1);
		execl("/proc/self/exe", "ptshare-sharer", NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		pt_die("fork");
	close(sv[1]);
	ret = SYS_getpid;
	/* Not yet in the table, where its scratch memory would be: by hand. */
	p = new_proc(sv[0], getpid());
	close(p->pidfd);
	p->pid = pt_sys(p, ret);
	p->pidfd = syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0)
		pt_die("pidfd_open of sharer %d", p->pid);
	anchor(p);
	return p;
}

static long do_fork(unsigned long *arg)
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? -errno : pid;
	close(worker_sock);
	worker_sock = arg[0];
	serve();
}

struct pt_proc *pt_fork(struct pt_proc *p)
{
	unsigned long arg[NARGS] = {};
	struct pt_proc *child;
	int sv[2];
	long pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		pt_die("socketpair");
	send_request(p, do_fork, arg, 0, sv[1]);
	pid = get_reply(p);
	if (pid < 0)
		pt_die("fork in sharer %d: %ld", p->id, pid);
	close(sv[1]);
	child = new_proc(sv[0], pid);
	anchor(child);
	return child;
}

void pt_kill(struct pt_proc *p)
{
	struct pollfd pfd = { .fd = p->pidfd, .events = POLLIN };

	if (!p->pid)
		return;
	syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
	/* By then its memory is gone, too. */
	while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
	close(p->pidfd);
	close(p->sock);
	p->pid = 0;
}

void pt_kill_all(void)
{
	int i;

	for (i = 0; i < PT_MAX_PROCS; i++)
		if (procs[i].pid)
			syscall(SYS_pidfd_send_signal, procs[i].pidfd, SIGKILL,
				NULL, 0);
	for (i = 0; i < PT_MAX_PROCS; i++)
		pt_kill(&procs[i]);
}

void pt_crowd(int fd, size_t len, off_t at)
{
	int i;

	for (i = 0; i < PT_CROWD; i++) {
		struct pt_proc *p = pt_spawn();

		if (pt_touch(p, pt_map(p, 0, fd, len, 0, PT_RW) + at, PT_PAGE,
			     true))
			pt_die("touching the file in a crowd");
	}
}

void *pt_scratch(struct pt_proc *p)
{
	return pt_area->scratch[p->id];
}

char *pt_slot(struct pt_proc *p, int slot)
{
	unsigned long addr = SLOT_ADDR + p->id * PROC_STRIDE +
			     slot * SLOT_STRIDE;

	/* A different entry of the upper level in each: nothing may rely on it. */
	return (char *)addr + (1 + (3 + 7 * p->id + 2 * slot) % 97) * PT_CHUNK;
}

static long do_mmap(unsigned long *arg)
{
	void *addr = mmap((void *)arg[0], arg[1], arg[2], arg[3],
			  arg[4], arg[5]);

	return addr == MAP_FAILED ? -errno : (long)addr;
}

char *pt_mmap(struct pt_proc *p, char *addr, size_t len, int prot, int flags,
	      int fd, off_t off)
{
	unsigned long arg[NARGS] = {
		(unsigned long)addr, len, prot, flags, fd, off
	};
	long ret;

	send_request(p, do_mmap, arg, 4, fd);
	ret = get_reply(p);
	if (ret < 0 && ret > -4096) {
		errno = -ret;
		return MAP_FAILED;
	}
	return (char *)ret;
}

char *pt_map(struct pt_proc *p, int slot, int fd, size_t len, off_t off,
	     int prot)
{
	char *addr = pt_slot(p, slot) + off % PT_CHUNK;

	if (pt_mmap(p, addr, len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
		    fd, off) != addr)
		pt_die("mmap in sharer %d, slot %d", p->id, slot);
	return addr;
}

long pt_open(struct pt_proc *p, const char *path, int flags)
{
	snprintf(pt_scratch(p), PATH_MAX, "%s", path);
	return pt_sys(p, SYS_openat, AT_FDCWD, pt_scratch(p), flags, 0600L);
}

long pt_open_fd(struct pt_proc *p, int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	return pt_open(p, path, O_RDWR);
}

static long do_peek(unsigned long *arg)
{
	return pt_load((void *)arg[0], (void *)arg[1]);
}

int pt_peek(struct pt_proc *p, const char *addr, unsigned long *val)
{
	int ret = pt_call(p, do_peek, addr, pt_scratch(p));

	memcpy(val, pt_scratch(p), sizeof(*val));
	return ret;
}

static long do_poke(unsigned long *arg)
{
	return pt_store((void *)arg[0], arg[1]);
}

int pt_poke(struct pt_proc *p, char *addr, unsigned long val)
{
	return pt_call(p, do_poke, addr, val);
}

static long do_touch(unsigned long *arg)
{
	char *addr = (void *)arg[0], *end = addr + arg[1];
	int sig = pt_protect();

	/* Without changing the contents, also when another one writes */
	if (!sig && arg[2])
		for (; addr < end; addr += PT_PAGE)
			__atomic_fetch_or(addr, 0, __ATOMIC_RELAXED);
	else if (!sig)
		for (; addr < end; addr += PT_PAGE)
			pt_get((unsigned long *)addr);
	pt_unprotect();
	return sig;
}

int pt_touch(struct pt_proc *p, char *addr, size_t len, bool write)
{
	return pt_call(p, do_touch, addr, len, (unsigned long)write);
}

static long do_fill(unsigned long *arg)
{
	char *addr = (void *)arg[0];
	unsigned long i;
	int sig = pt_protect();

	for (i = 0; !sig && i < arg[2] / PT_PAGE; i++)
		pt_stamp_page(addr + i * PT_PAGE, arg[3], arg[1] + i);
	pt_unprotect();
	return sig;
}

int pt_fill(struct pt_proc *p, char *addr, unsigned long pgno, size_t len,
	    unsigned long seed)
{
	return pt_call(p, do_fill, addr, pgno, len, seed);
}

static long do_verify(unsigned long *arg)
{
	char *addr = (void *)arg[0];
	unsigned long i, bad = 0;
	int sig = pt_protect();

	for (i = 0; !sig && i < arg[2] / PT_PAGE; i++)
		if (!pt_page_ok(addr + i * PT_PAGE, arg[3], arg[1] + i))
			bad++;
	pt_unprotect();
	return sig ? -sig : (long)bad;
}

long pt_verify(struct pt_proc *p, char *addr, unsigned long pgno, size_t len,
	       unsigned long seed)
{
	return pt_call(p, do_verify, addr, pgno, len, seed);
}

/* Whoever injects the failure is the first to hear of it. */
static long do_poison(unsigned long *arg)
{
	int sig = pt_protect();
	long ret = 0;

	if (!sig && madvise((void *)arg[0], PT_PAGE, MADV_HWPOISON))
		ret = -errno;
	pt_unprotect();
	return sig && sig != PT_MCE ? -EFAULT : ret;
}

long pt_poison(struct pt_proc *p, char *addr)
{
	return pt_call(p, do_poison, addr);
}

long pt_collapse(struct pt_proc *p, char *addr, size_t len)
{
	long end = pt_now_ms() + 60000, ret;

	do {
		ret = pt_sys(p, SYS_madvise, addr, len, (long)MADV_COLLAPSE);
	} while ((ret == -EAGAIN || ret == -EBUSY || ret == -ENOMEM) &&
		 pt_now_ms() < end);
	return ret;
}

void pt_drain_lru(void)
{
	pt_write_file("/proc/sys/vm/drop_caches", "1");
}

long pt_private_tables(struct pt_proc *p)
{
	return (pt_status(p->pid, "VmPTE") - p->vmpte0) / 4;
}

void pt_rebase(struct pt_proc *p)
{
	p->vmpte0 = pt_status(p->pid, "VmPTE");
}

/* --- files --------------------------------------------------------------- */

int pt_memfd(size_t size)
{
	int fd = memfd_create("ptshare-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, size))
		pt_die("memfd of %zu bytes", size);
	return fd;
}

void pt_stamp_file(int fd, unsigned long pgno, size_t len, unsigned long seed)
{
	static char buf[64 * PT_PAGE];
	unsigned long n, i;

	for (len /= PT_PAGE; len; len -= n, pgno += n) {
		n = len < 64 ? len : 64;
		memset(buf, 0, n * PT_PAGE);
		for (i = 0; i < n; i++)
			pt_stamp_page(buf + i * PT_PAGE, seed, pgno + i);
		if (pwrite(fd, buf, n * PT_PAGE, pgno * PT_PAGE) !=
		    (ssize_t)(n * PT_PAGE))
			pt_die("pwrite");
	}
}

int pt_stamped_memfd(size_t size, unsigned long seed)
{
	int fd = pt_memfd(size);

	pt_stamp_file(fd, 0, size, seed);
	return fd;
}

void pt_punch(int fd, off_t off, size_t len)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len))
		pt_die("punching a hole");
}

/* --- writers that do not pause -------------------------------------------- */

struct pt_proc *pt_writer[PT_WRITERS];
int pt_counter_fd;

static off_t counter_off(unsigned long w, unsigned long i)
{
	return i * PT_COUNTER_STEP * PT_PAGE + w * 64;
}

static long spin_count(unsigned long *arg)
{
	struct pt_counts *c = &pt_area->counts;
	char *addr = (char *)arg[0] + PT_COUNTER_AT;
	unsigned long w = arg[1], i, val;

	pt_inc(&c->started);
	while (!pt_get(&c->stop)) {
		for (i = 0; i < PT_COUNTERS; i++) {
			char *word = addr + counter_off(w, i);

			if (pt_load(word, &val) || val != c->count[w][i]) {
				c->bad_seen = val;
				c->bad_want = c->count[w][i];
				pt_inc(&c->bad);
			}
			val = c->count[w][i] + 1;
			pt_store(word, val);
			pt_set(&c->count[w][i], val);
		}
		pt_inc(&c->round[w]);
	}
	pt_inc(&c->ended);
	return 0;
}

void pt_start_writers(void (*prepare)(struct pt_proc *p))
{
	struct pt_counts *c = &pt_area->counts;
	unsigned long w;

	memset(c, 0, sizeof(*c));
	pt_counter_fd = pt_memfd(PT_MIN_LEN);
	for (w = 0; w < PT_WRITERS; w++) {
		pt_writer[w] = pt_spawn();
		if (prepare)
			prepare(pt_writer[w]);
		pt_map(pt_writer[w], 0, pt_counter_fd, PT_MIN_LEN, 0, PT_RW);
	}
	/* Some more pages, charged to the first writer's group as the others */
	pt_fill(pt_writer[0], pt_slot(pt_writer[0], 0), 0, PT_MB / 2, 1);
	for (w = 0; w < PT_WRITERS; w++)
		pt_thread(pt_writer[w], spin_count, pt_slot(pt_writer[w], 0), w);
	if (!pt_await(&c->started, PT_WRITERS))
		pt_die("writers do not start");
}

void pt_let_write(void)
{
	unsigned long *round = pt_area->counts.round, was[PT_WRITERS];
	int w;

	for (w = 0; w < PT_WRITERS; w++)
		was[w] = pt_get(&round[w]);
	for (w = 0; w < PT_WRITERS; w++)
		if (!pt_await(&round[w], was[w] + 2))
			pt_die("writer %d hangs", w);
}

int pt_lost_writes(const char *what)
{
	struct pt_counts *c = &pt_area->counts;
	unsigned long w, i, want, val;
	int lost = 0;

	/* A stale entry lets a writer go on in a page the file has lost. */
	for (w = 0; w < PT_WRITERS; w++) {
		for (i = 0; i < PT_COUNTERS; i++) {
			want = pt_get(&c->count[w][i]);
			if (pread(pt_counter_fd, &val, sizeof(val),
				  PT_COUNTER_AT + counter_off(w, i)) !=
			    sizeof(val))
				pt_die("reading the counters");
			if (val >= want)
				continue;
			fprintf(stderr, "# %s: %lu of writer %lu, page %lu, but %lu in the file\n",
				what, want, w, i, val);
			lost++;
		}
	}
	if (c->bad)
		fprintf(stderr, "# %s: a writer saw %lu instead of %lu\n", what,
			c->bad_seen, c->bad_want);
	lost += c->bad;
	c->bad = 0;
	return lost;
}

int pt_stop_writers(void)
{
	pt_set(&pt_area->counts.stop, 1);
	if (!pt_await(&pt_area->counts.ended, PT_WRITERS))
		pt_die("a writer hangs");
	return pt_lost_writes("the end");
}

/* --- what the kernel says ------------------------------------------------ */

/* The number behind a key; from the line that starts with @from on. */
static long lookup(const char *path, unsigned long addr, const char *key)
{
	size_t len = strlen(key);
	unsigned long lo, hi;
	bool found = !addr;
	char line[512];
	long val = -1;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (addr && sscanf(line, "%lx-%lx ", &lo, &hi) == 2) {
			found = lo <= addr && addr < hi;
			continue;
		}
		if (!found || strncmp(line, key, len) ||
		    (line[len] != ':' && line[len] != ' '))
			continue;
		val = strtol(line + len + 1, NULL, 10);
		break;
	}
	fclose(f);
	return val;
}

long pt_vmstat(const char *name)
{
	return lookup("/proc/vmstat", 0, name);
}

long pt_read_key(const char *path, const char *name)
{
	return lookup(path, 0, name);
}

long pt_meminfo(const char *name)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);

	/* What CPUs have not added to the sum yet is hundreds of pages. */
	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			pt_die("stat_refresh");
		close(fd);
	}
	return lookup("/proc/meminfo", 0, name);
}

long pt_status(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return lookup(path, 0, name);
}

long pt_smaps(pid_t pid, const char *addr, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	return lookup(path, (unsigned long)addr, name);
}

uint64_t pt_pagemap(pid_t pid, const char *addr)
{
	uint64_t ent = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || pread(fd, &ent, sizeof(ent),
			    (unsigned long)addr / PT_PAGE * 8) != sizeof(ent))
		pt_die("reading %s", path);
	close(fd);
	return ent;
}

static long balance(const char *more, const char *less)
{
	long a = pt_vmstat(more);

	return a < 0 ? 0 : a - pt_vmstat(less);
}

long pt_tables(void)
{
	return balance("ptshare_table_alloc", "ptshare_table_free");
}

long pt_hosts(void)
{
	return balance("ptshare_host_alloc", "ptshare_host_free");
}

long pt_read_num(const char *path)
{
	long val = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &val) != 1)
		val = -1;
	fclose(f);
	return val;
}

int pt_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int pt_mode(void)
{
	return pt_read_num(SYSCTL);
}

void pt_set_mode(int mode)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", mode);
	if (mode >= 0 && pt_write_file(SYSCTL, text))
		pt_die("setting vm.ptshare to %d", mode);
}

bool pt_on(void)
{
	return pt_mode() == 2;
}

bool pt_set_delay_us(long us)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", us);
	return !pt_write_file(DEBUGFS "delay_us", text);
}

int pt_check_books(void)
{
	char line[512];
	int ret = 0;
	FILE *f;

	f = fopen(DEBUGFS "check", "r");
	if (!f)
		return 0;	/* not a debug kernel */
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "ok", 2))
			continue;
		fprintf(stderr, "# ptshare/check: %s", line);
		ret = -1;
	}
	fclose(f);
	return ret;
}

/* --- swap and a memory cgroup, made here --------------------------------- */

#define ZRAM		"/sys/block/zram0/"
#define ZRAM_DEV	"/dev/zram0"

static bool own_swap;
static char group[64];

/* What mkswap(8) writes */
static void make_swap(const char *dev, unsigned long pages)
{
	static unsigned char head[PT_PAGE];
	uint32_t info[3] = { 1, pages - 1, 0 };
	int fd = open(dev, O_WRONLY | O_CLOEXEC);

	memcpy(head + 1024, info, sizeof(info));
	memcpy(head + PT_PAGE - 10, "SWAPSPACE2", 10);
	if (fd < 0 || write(fd, head, PT_PAGE) != PT_PAGE || fsync(fd))
		pt_die("making swap on %s", dev);
	close(fd);
}

bool pt_need_swap(void)
{
	if (pt_meminfo("SwapFree") > 256 << 10)
		return true;
	if (pt_read_num(ZRAM "disksize") ||
	    pt_write_file(ZRAM "disksize", "512M"))
		return false;
	make_swap(ZRAM_DEV, 512 * PT_MB / PT_PAGE);
	own_swap = !swapon(ZRAM_DEV, 0);
	return own_swap;
}

int pt_drop_swap(void)
{
	if (!own_swap)
		return 0;
	own_swap = false;
	if (swapoff(ZRAM_DEV))
		return -errno;
	return pt_write_file(ZRAM "reset", "1");
}

int pt_group_write(const char *file, long num)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	snprintf(text, sizeof(text), "%ld", num);
	return pt_write_file(path, text);
}

long pt_group_read(const char *file, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, file);
	return pt_read_key(path, name);
}

bool pt_need_group(long limit)
{
	pt_write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	snprintf(group, sizeof(group), "/sys/fs/cgroup/ptshare-%d", getpid());
	if (mkdir(group, 0755) && errno != EEXIST)
		return false;
	return !pt_group_write("memory.max", limit);
}

void pt_join_group(struct pt_proc *p)
{
	if (pt_group_write("cgroup.procs", p->pid))
		pt_die("moving a process to %s", group);
}

void pt_drop_group(void)
{
	long end = pt_now_ms() + 5000;

	while (rmdir(group) && errno == EBUSY && pt_now_ms() < end)
		pt_sleep_ms(10);
}

void pt_squeeze(long bytes)
{
	int ret = pt_group_write("memory.reclaim", bytes);

	if (ret && ret != -EAGAIN)
		pt_die("memory.reclaim: %d", ret);
}

/* --- the test's frame ---------------------------------------------------- */

static bool quick(void)
{
	const char *env = getenv("PTSHARE_TEST_QUICK");

	return env && *env && *env != '0';
}

long pt_effort(long n)
{
	return quick() ? (n + 3) / 4 : n;
}

long pt_stress_ms(void)
{
	return quick() ? 600 : 2000;
}

void pt_setup(struct pt_state *state)
{
	catch_faults();
	create_area();
	state->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (state->kmsg >= 0)
		lseek(state->kmsg, 0, SEEK_END);
}

static bool is_complaint(const char *line)
{
	static const char * const bad[] = {
		"BUG:", "WARNING:", "Oops", "kernel BUG at",
		"Bad rss-counter", "non-zero pgtables_bytes", "Bad page",
		"possible circular", "inconsistent lock state",
		"suspicious RCU", "KASAN:", "UBSAN:", "kmemleak:",
		"blocked for more than", "rcu: INFO:",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (strstr(line, bad[i]))
			return true;
	return false;
}

static int read_complaints(int kmsg)
{
	char rec[8192];
	int ret = 0;
	ssize_t n;

	if (kmsg < 0)
		return 0;
	for (;;) {
		n = read(kmsg, rec, sizeof(rec) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* overrun: go on with the oldest */
		if (n <= 0)
			break;
		rec[n] = 0;
		if (is_complaint(rec)) {
			fprintf(stderr, "# kernel: %s", rec);
			ret = -1;
		}
	}
	return ret;
}

int pt_teardown(struct pt_state *state)
{
	int ret;

	pt_set_delay_us(0);
	/* While the sharers live, the checker has the most to look at. */
	ret = pt_check_books();
	pt_kill_all();
	ret |= pt_check_books();
	ret |= read_complaints(state->kmsg);
	return ret;
}
