/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Common ground of the ptshare selftests (transparent sharing of PTE tables
 * between processes that map a file MAP_SHARED).
 *
 * A test drives a handful of "sharers". A sharer is a process that has nothing
 * in common with the test process: forked, detached into its own session,
 * reparented to init and exec'd anew. It executes what the test tells it over
 * a socket: any function of the test program, or any system call. So a test
 * reads as a sequence of steps in named processes, and its order does not
 * depend on the scheduler.
 *
 * All sharers and the test process see one small common memory area, pt_area,
 * at the same address. It is too small to be subject to ptshare itself.
 */
#ifndef __PTSHARE_UTIL_H
#define __PTSHARE_UTIL_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include "../kselftest.h"

#define PT_PAGE		4096UL
#define PT_MB		0x100000UL
#define PT_CHUNK	(2UL << 20)	/* what one PTE table maps */
#define PT_CHUNK_PAGES	(PT_CHUNK / PT_PAGE)
#define PT_MIN_LEN	(8 * PT_CHUNK)	/* smaller files stay private */

#ifndef MADV_COLD
#define MADV_COLD	20
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_HWPOISON	100
#define MADV_SOFT_OFFLINE 101
#endif
#ifndef MADV_SHARE_PT
#define MADV_SHARE_PT	0x7074
#define MADV_NOSHARE_PT	0x7075
#endif
#ifndef PR_SET_PTSHARE_DISABLE
#define PR_SET_PTSHARE_DISABLE 0x50545348
#define PR_GET_PTSHARE_DISABLE 0x50545349
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PT_RO		PROT_READ
#define PT_RW		(PROT_READ | PROT_WRITE)

/* Each sharer has this many places for mappings, of up to PT_SLOT_LEN. */
#define PT_SLOTS	4
#define PT_SLOT_LEN	(768UL << 20)

#define PT_MAX_PROCS	96
#define PT_CROWD	72
#define PT_SCRATCH	8192UL		/* per process, in pt_area */

/* pt_load() and friends: SIGBUS because of a poisoned page */
#define PT_MCE		(SIGBUS | 0x100)

/* Writers that do not pause, see pt_start_writers() */
#define PT_WRITERS	3
#define PT_COUNTERS	32UL		/* pages with a counter of each writer */
#define PT_COUNTER_STEP	5UL		/* pages from one to the next */
#define PT_COUNTER_AT	(2 * PT_CHUNK)	/* all of them in this chunk */

struct pt_counts {
	unsigned long stop, started, ended;
	unsigned long round[PT_WRITERS];
	unsigned long bad, bad_seen, bad_want;
	/* What is certainly written */
	unsigned long count[PT_WRITERS][PT_COUNTERS];
};

struct pt_area {
	unsigned char user[1 << 20];	/* the test's own control block */
	struct pt_counts counts;
	unsigned char scratch[PT_MAX_PROCS][PT_SCRATCH];
};

extern struct pt_area *pt_area;

/* The test's control block: every process of the test sees the same one. */
#define PT_CTL(type)	((type *)pt_area->user)

struct pt_proc {
	int id;
	pid_t pid;		/* 0: this slot is free */
	int sock;
	int pidfd;
	long vmpte0;		/* VmPTE when no slot had a mapping */
};

struct pt_state {
	int kmsg;		/* to see what the kernel complained about */
};

/* Functions that run in a sharer have this type. */
typedef long (*pt_fn)(unsigned long *arg);

/* --- the test's frame ---------------------------------------------------- */

void pt_setup(struct pt_state *state);
/* End all sharers, 0 if neither the checker nor the log has a complaint. */
int pt_teardown(struct pt_state *state);

/* Value of vm.ptshare, -1 on a kernel that has none. */
int pt_mode(void);
/* Change it; nothing happens for -1. */
void pt_set_mode(int mode);
/* Are tables shared now, without being asked for? */
bool pt_on(void);
/* n, or less of it when PTSHARE_TEST_QUICK is set */
long pt_effort(long n);
/* Length of a stress phase in ms */
long pt_stress_ms(void);
long pt_now_ms(void);
void pt_sleep_ms(long ms);
int pt_nr_cpus(void);
void pt_pin(int cpu);
/* What goes wrong in here is the test environment: it ends the test. */
void __noreturn __printf(1, 2) pt_die(const char *fmt, ...);

/* --- sharers ------------------------------------------------------------- */

struct pt_proc *pt_spawn(void);
void pt_kill(struct pt_proc *p);	/* SIGKILL, returns when it is gone */
void pt_kill_all(void);

/* Run fn with up to six arguments in p and return its result. */
long pt_call(struct pt_proc *p, pt_fn fn, ...);
/* The same in two halves: several sharers can work at a time. */
void pt_start(struct pt_proc *p, pt_fn fn, ...);
long pt_finish(struct pt_proc *p);
/* Run fn in a new thread of p, which ends by itself. */
void pt_thread(struct pt_proc *p, pt_fn fn, ...);
/* A system call in p: its result or -errno. */
long pt_sys(struct pt_proc *p, long nr, ...);
/* A fork()ed child of p that is a sharer of its own right. */
struct pt_proc *pt_fork(struct pt_proc *p);

/*
 * So many more sharers of the chunk at @at of a file, that it takes less to
 * flush everything than to flush each of them.
 */
void pt_crowd(int fd, size_t len, off_t at);

/* The start of place @slot of p, 2 MiB aligned, not the same in any two. */
char *pt_slot(struct pt_proc *p, int slot);
/* Map at an address; the address or MAP_FAILED with errno set. */
char *pt_mmap(struct pt_proc *p, char *addr, size_t len, int prot, int flags,
	      int fd, off_t off);
/* Map fd MAP_SHARED into a slot. Ends the test when that is not possible. */
char *pt_map(struct pt_proc *p, int slot, int fd, size_t len, off_t off,
	     int prot);
/* Buffer of p that the test process sees, too */
void *pt_scratch(struct pt_proc *p);
/* open() by p itself, with its credentials; number in p or -errno */
long pt_open(struct pt_proc *p, const char *path, int flags);
/* A file of the test opened by p, to keep */
long pt_open_fd(struct pt_proc *p, int fd);

/* One word. 0, or the signal that the access raised. */
int pt_peek(struct pt_proc *p, const char *addr, unsigned long *val);
int pt_poke(struct pt_proc *p, char *addr, unsigned long val);
/* Read or write one word in each page: 0 or the signal. */
int pt_touch(struct pt_proc *p, char *addr, size_t len, bool write);
/* Write stamps of file pages pgno.. / count pages that do not show them. */
int pt_fill(struct pt_proc *p, char *addr, unsigned long pgno, size_t len,
	    unsigned long seed);
long pt_verify(struct pt_proc *p, char *addr, unsigned long pgno, size_t len,
	       unsigned long seed);

/* Inject a memory failure into a page of p: 0 or -errno. */
long pt_poison(struct pt_proc *p, char *addr);
/*
 * MADV_COLLAPSE in p, again if memory or a lock cannot be had: 0 or -errno,
 * -EINVAL if the kernel has no huge pages for shared memory.
 */
long pt_collapse(struct pt_proc *p, char *addr, size_t len);

/* Pages that wait in per-CPU batches get on the LRU lists; none is moved. */
void pt_drain_lru(void);

/* PTE tables that p alone owns within its slots */
long pt_private_tables(struct pt_proc *p);
/* Forget page tables for other things (thread stacks) from here on. */
void pt_rebase(struct pt_proc *p);

/* --- the same primitives for use within a process ------------------------ */

extern __thread sigjmp_buf pt_fault_env;
extern __thread bool pt_fault_expected;

/* 0; a second time with the signal when an access faults. */
#define pt_protect()	(pt_fault_expected = true, sigsetjmp(pt_fault_env, 0))

static inline void pt_unprotect(void)
{
	pt_fault_expected = false;
}

int pt_load(const void *addr, unsigned long *val);
int pt_store(void *addr, unsigned long val);
unsigned long pt_stamp(unsigned long seed, unsigned long pgno);
void pt_stamp_page(void *page, unsigned long seed, unsigned long pgno);
bool pt_page_ok(const void *page, unsigned long seed, unsigned long pgno);
/* Run fn in a new thread of this process, which ends by itself. */
void pt_thread_here(pt_fn fn, const unsigned long *arg);

static inline unsigned long pt_get(const unsigned long *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static inline void pt_set(unsigned long *p, unsigned long val)
{
	__atomic_store_n(p, val, __ATOMIC_SEQ_CST);
}

static inline void pt_inc(unsigned long *p)
{
	__atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST);
}

/* Wait until *p is at least val: false after ten seconds times patience. */
bool pt_await(const unsigned long *p, unsigned long val);

/* --- writers that do not pause -------------------------------------------- */

/*
 * Sharers (of the first 16 MiB of pt_counter_fd, in slot 0) which count up in
 * words of their own as fast as they can, each time finding what they left
 * there. Whatever the kernel does to the pages meanwhile, not one count may get
 * lost: neither to the writer nor in the file.
 */
extern struct pt_proc *pt_writer[PT_WRITERS];
extern int pt_counter_fd;

/* @prepare is called for each new process, or NULL. */
void pt_start_writers(void (*prepare)(struct pt_proc *p));
/* Until each of them has been everywhere again */
void pt_let_write(void);
/* Compare with the file: how many counts are lost. With messages. */
int pt_lost_writes(const char *what);
/* The same at the end */
int pt_stop_writers(void);

/* --- files --------------------------------------------------------------- */

int pt_memfd(size_t size);
/* A memfd of stamped pages */
int pt_stamped_memfd(size_t size, unsigned long seed);
void pt_stamp_file(int fd, unsigned long pgno, size_t len, unsigned long seed);
void pt_punch(int fd, off_t off, size_t len);

/* --- swap and a memory cgroup ---------------------------------------------- */

/* Have swap, if need be on zram. False if there is none to be had. */
bool pt_need_swap(void);
/* Reads back all that was swapped out. 0 or -errno. */
int pt_drop_swap(void);
/* A group with a limit of its own for processes to be moved into */
bool pt_need_group(long limit);
void pt_join_group(struct pt_proc *p);
void pt_drop_group(void);
int pt_group_write(const char *file, long num);
/* A number from a file of the group, -1 if there is none */
long pt_group_read(const char *file, const char *name);
/* Reclaim as much as can be had, up to this: -EAGAIN is not an error here. */
void pt_squeeze(long bytes);

/* --- what the kernel says ------------------------------------------------ */

/* A number from /proc/vmstat, /proc/meminfo (kB): -1 if there is none. */
long pt_vmstat(const char *name);
long pt_meminfo(const char *name);
/* The same from another such file */
long pt_read_key(const char *path, const char *name);
/* kB, from /proc/PID/status */
long pt_status(pid_t pid, const char *name);
/* kB, from the entry of /proc/PID/smaps that contains addr */
long pt_smaps(pid_t pid, const char *addr, const char *name);
/* For the bits, see vm_util.h */
uint64_t pt_pagemap(pid_t pid, const char *addr);
/* Tables and hosts alive; 0 on a kernel without ptshare */
long pt_tables(void);
long pt_hosts(void);
/* Write to a file of /proc or /sys: 0 or -errno. */
int pt_write_file(const char *path, const char *text);
long pt_read_num(const char *path);
/* Let the debug kernel linger in its race windows. False if it has none. */
bool pt_set_delay_us(long us);
/*
 * Ask the debug kernel to compare its books: 0, or -1 with a message. Not while
 * links come and go, it takes no snapshot.
 */
int pt_check_books(void);

#endif /* __PTSHARE_UTIL_H */
