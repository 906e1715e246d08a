// SPDX-License-Identifier: GPL-2.0
/*
 * ptshare: what the kernel says about shared tables. Counters, /proc, debugfs
 * and tracepoints are compared with what the test did, to the number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "ptshare_fixture.h"

#define MB		PT_MB
#define RO		PT_RO
#define RW		PT_RW
#define LEN		(32 * MB)
#define CHUNKS		16L
#define FILES		"/sys/kernel/debug/ptshare/files"
#define DISK		"/dev/ram0"
#define MIRROR		"/dev/hmm_dmirror0"

/* --- counters ------------------------------------------------------------ */

static const char * const counter[] = {
	"ptshare_link",
	"ptshare_link_hit",
	"ptshare_unlink",
	"ptshare_unlink_unmap",
	"ptshare_unlink_zap",
	"ptshare_unlink_protect",
	"ptshare_unlink_walk",
	"ptshare_unlink_range",
	"ptshare_unlink_process",
	"ptshare_unlink_split",
	"ptshare_fallback_file",
	"ptshare_fallback_flags",
	"ptshare_fallback_notifier",
	"ptshare_fallback_small",
	"ptshare_fallback_align",
	"ptshare_fallback_edge",
	"ptshare_fallback_huge",
	"ptshare_fallback_nomem",
	"ptshare_fallback_poison",
};

static long before[ARRAY_SIZE(counter)];

static void snapshot(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counter); i++)
		before[i] = pt_vmstat(counter[i]);
}

/* How often did it happen since the snapshot? */
static long since(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(counter); i++)
		if (!strcmp(name, counter[i]))
			return pt_vmstat(name) - before[i];
	pt_die("no counter %s", name);
}

/* All that happened with a prefix in common */
static long since_all(const char *prefix)
{
	unsigned int i;
	long n = 0;

	for (i = 0; i < ARRAY_SIZE(counter); i++)
		if (!strncmp(prefix, counter[i], strlen(prefix)))
			n += since(counter[i]);
	return n;
}

static void expect_unlinks(struct __test_metadata *_metadata, const char *name,
			   long n)
{
	EXPECT_EQ(n, since(name)) TH_LOG("%s", name);
	EXPECT_EQ(n, since("ptshare_unlink")) TH_LOG("%s", name);
	EXPECT_EQ(n, since_all("ptshare_unlink_")) TH_LOG("%s", name);
	snapshot();
}

PT_TEST(unlinks_by_cause)
{
	struct pt_proc *p = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *m = pt_map(p, 0, fd, LEN, 0, RW);
	char *to = pt_slot(p, 1);

	if (!pt_on())
		SKIP(return, PT_OFF);
	ASSERT_EQ(0, pt_touch(p, m, LEN, true));
	snapshot();

	EXPECT_EQ(0, pt_sys(p, SYS_madvise, m, 4 * MB, (long)MADV_DONTNEED));
	expect_unlinks(_metadata, "ptshare_unlink_zap", 2);
	EXPECT_EQ(0, pt_sys(p, SYS_mprotect, m + 4 * MB, 4 * MB, (long)RO));
	expect_unlinks(_metadata, "ptshare_unlink_protect", 2);
	EXPECT_EQ(0, pt_sys(p, SYS_mlock, m + 8 * MB, 4 * MB));
	expect_unlinks(_metadata, "ptshare_unlink_walk", 2);
	EXPECT_EQ((long)to, pt_sys(p, SYS_mremap, m + 12 * MB, 4 * MB, 4 * MB,
				   (long)(MREMAP_MAYMOVE | MREMAP_FIXED), to));
	expect_unlinks(_metadata, "ptshare_unlink_range", 2);
	EXPECT_EQ(0, pt_sys(p, SYS_munmap, m + 17 * MB, PT_PAGE));
	expect_unlinks(_metadata, "ptshare_unlink_split", 1);
	EXPECT_EQ(0, pt_sys(p, SYS_munmap, m + 18 * MB, 4 * MB));
	expect_unlinks(_metadata, "ptshare_unlink_unmap", 2);
	if (pt_open(p, MIRROR, O_RDWR) >= 0)
		expect_unlinks(_metadata, "ptshare_unlink_process", 5);
	else
		TH_LOG("no test_hmm device, cause 'process' not tested");
}

/* A process that ends unmaps. */
PT_TEST(unlinks_at_exit)
{
	struct pt_proc *p = pt_spawn();

	if (!pt_on())
		SKIP(return, PT_OFF);
	ASSERT_EQ(0, pt_touch(p, pt_map(p, 0, pt_memfd(LEN), LEN, 0, RW), LEN,
			      true));
	snapshot();
	pt_kill(p);
	expect_unlinks(_metadata, "ptshare_unlink_unmap", CHUNKS);
}

/* One fault links what has tables in an aligned window of 16 chunks. */
static long windows(const char *m, size_t len)
{
	unsigned long size = 16 * PT_CHUNK, at = (unsigned long)m;

	return (at + len - 1) / size - at / size + 1;
}

/* Who finds pages mapped, and who is the first to come */
PT_TEST(hits)
{
	struct pt_proc *a = pt_spawn(), *b = pt_spawn();
	int fd = pt_memfd(LEN);
	char *ma = pt_map(a, 0, fd, LEN, 0, RW);
	char *mb = pt_map(b, 1, fd, LEN, 0, RW);

	if (!pt_on())
		SKIP(return, PT_OFF);
	snapshot();
	ASSERT_EQ(0, pt_touch(a, ma, LEN / 2, true));
	EXPECT_EQ(CHUNKS / 2, since("ptshare_link"));
	EXPECT_EQ(0, since("ptshare_link_hit"));
	ASSERT_EQ(0, pt_touch(b, mb, LEN, true));
	EXPECT_EQ(CHUNKS / 2 + CHUNKS, since("ptshare_link"));
	EXPECT_EQ(windows(mb, LEN / 2), since("ptshare_link_hit"));
	EXPECT_EQ(0, since_all("ptshare_fallback_"));
}

/* One for each chunk that got a private table. Nothing counts when off. */
static void expect_fallbacks(struct __test_metadata *_metadata,
			     struct pt_proc *p, char *m, size_t len,
			     const char *name, long n, long links)
{
	ASSERT_NE(MAP_FAILED, m);
	snapshot();
	EXPECT_EQ(0, pt_touch(p, m, len, false));
	EXPECT_EQ(pt_on() ? n : 0, since(name)) TH_LOG("%s", name);
	EXPECT_EQ(pt_on() ? n : 0, since_all("ptshare_fallback_"))
		TH_LOG("%s", name);
	EXPECT_EQ(pt_on() ? links : 0, since("ptshare_link"))
		TH_LOG("%s", name);
	EXPECT_EQ(0, pt_sys(p, SYS_munmap, m, len));
}

PT_TEST(fallbacks_by_cause)
{
	struct pt_proc *p = pt_spawn();
	int small = pt_memfd(8 * MB), fd = pt_memfd(LEN), other;
	char *m = pt_slot(p, 0);

	if (pt_mode() < 0)
		SKIP(return, "no vm.ptshare");
	expect_fallbacks(_metadata, p, pt_map(p, 0, fd, LEN, 0, RW), LEN,
			 "ptshare_fallback_align", 0, CHUNKS);
	expect_fallbacks(_metadata, p, pt_map(p, 0, small, 8 * MB, 0, RW),
			 8 * MB, "ptshare_fallback_small", 4, 0);
	expect_fallbacks(_metadata, p,
			 pt_mmap(p, m + PT_PAGE, 16 * MB, RW,
				 MAP_SHARED | MAP_FIXED, fd, 0),
			 16 * MB, "ptshare_fallback_align", 9, 0);
	expect_fallbacks(_metadata, p, pt_map(p, 0, fd, 16 * MB, MB, RW),
			 16 * MB, "ptshare_fallback_edge", 2, 7);

	ASSERT_EQ(m, pt_map(p, 0, fd, 4 * MB, 0, RW));
	snapshot();
	EXPECT_EQ(0, pt_sys(p, SYS_mlock, m, 4 * MB));
	EXPECT_EQ(pt_on() ? 2 : 0, since("ptshare_fallback_flags"));
	EXPECT_EQ(0, pt_sys(p, SYS_munmap, m, 4 * MB));

	/* A block device is no file of a filesystem that takes part. */
	other = open(DISK, O_RDWR);
	if (other >= 0) {
		expect_fallbacks(_metadata, p, pt_map(p, 0, other, LEN, 0, RW),
				 LEN, "ptshare_fallback_file", CHUNKS, 0);
		close(other);
	}

	if (pt_open(p, MIRROR, O_RDWR) >= 0)
		expect_fallbacks(_metadata, p, pt_map(p, 0, fd, LEN, 0, RW),
				 LEN, "ptshare_fallback_notifier", CHUNKS, 0);
}

/* --- /proc ---------------------------------------------------------------- */

PT_TEST(meminfo)
{
	struct pt_proc *p[3] = { pt_spawn(), pt_spawn(), pt_spawn() };
	long kb = pt_meminfo("SharedPageTables");
	int fd = pt_memfd(LEN), i;

	if (pt_mode() < 0)
		SKIP(return, "no vm.ptshare");
	ASSERT_LE(0, kb);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pt_touch(p[i], pt_map(p[i], i, fd, LEN, 0, RW),
				      LEN, true));
		EXPECT_EQ(kb + (pt_on() ? CHUNKS * 4 : 0),
			  pt_meminfo("SharedPageTables"));
	}
	EXPECT_LE(pt_meminfo("SharedPageTables"), pt_meminfo("PageTables"));
	for (i = 0; i < 3; i++)
		pt_kill(p[i]);
	EXPECT_EQ(kb, pt_meminfo("SharedPageTables"));
}

static long rollup(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	return pt_read_key(path, name);
}

PT_TEST(smaps_and_status)
{
	struct pt_proc *a = pt_spawn(), *b = pt_spawn();
	int fd = pt_stamped_memfd(LEN, 1);
	char *ma = pt_map(a, 0, fd, LEN, 0, RW), *mb;
	long kb = LEN / 1024;

	/* The only user of a table, too */
	ASSERT_EQ(0, pt_touch(a, ma, LEN, true));
	EXPECT_EQ(kb, pt_smaps(a->pid, ma, "Rss"));
	if (!pt_on())
		SKIP(return, PT_OFF);
	EXPECT_EQ(kb, pt_smaps(a->pid, ma, "SharedPtMapped"));
	EXPECT_EQ(kb, pt_smaps(a->pid, ma, "Pss"));
	EXPECT_EQ(kb, pt_status(a->pid, "VmShPT"));

	/* A private mapping next to it, and half of the chunks */
	mb = pt_map(b, 0, fd, LEN / 2, 0, RW);
	ASSERT_NE(MAP_FAILED, pt_mmap(b, pt_slot(b, 1) + PT_PAGE, LEN, RW,
				      MAP_SHARED | MAP_FIXED, fd, 0));
	ASSERT_EQ(0, pt_touch(b, mb, LEN / 2, true));
	ASSERT_EQ(0, pt_touch(b, pt_slot(b, 1) + PT_PAGE, LEN, true));
	EXPECT_EQ(kb / 2, pt_smaps(b->pid, mb, "SharedPtMapped"));
	/* What shares nothing shows no line that other kernels do not have. */
	EXPECT_EQ(-1, pt_smaps(b->pid, pt_slot(b, 1) + PT_PAGE,
			       "SharedPtMapped"));
	EXPECT_EQ(kb, pt_smaps(b->pid, pt_slot(b, 1) + PT_PAGE, "Rss"));
	EXPECT_EQ(kb / 2, rollup(b->pid, "SharedPtMapped"));
	EXPECT_EQ(kb / 2, pt_status(b->pid, "VmShPT"));
	EXPECT_EQ(kb, pt_smaps(a->pid, ma, "SharedPtMapped"));

	/* A chunk that is left is mapped no more. */
	EXPECT_EQ(0, pt_sys(b, SYS_madvise, mb, PT_PAGE, (long)MADV_DONTNEED));
	EXPECT_EQ(kb / 2 - 2048, pt_smaps(b->pid, mb, "SharedPtMapped"));
}

/* --- debugfs -------------------------------------------------------------- */

struct listed {
	unsigned int major, minor;
	unsigned long ino;
	long tables, sharers, links, saved, mapped;
	int uid;
	char prot[8], name[128];
};

/* The lines of a file: how many; the last one in @entry */
static int list(unsigned long ino, struct listed *entry)
{
	struct listed one;
	char line[512];
	int n = 0;
	FILE *f;

	f = fopen(FILES, "r");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line,
			   "%x:%x %lu %7s %d %ld %ld %ld %ld %ld %127s",
			   &one.major, &one.minor, &one.ino, one.prot, &one.uid,
			   &one.tables, &one.sharers, &one.links, &one.saved,
			   &one.mapped, one.name) == 11 && one.ino == ino) {
			*entry = one;
			n++;
		}
	}
	fclose(f);
	return n;
}

PT_TEST(debugfs_files)
{
	struct pt_proc *p[3] = { pt_spawn(), pt_spawn(), pt_spawn() };
	int fd = pt_memfd(LEN), i;
	struct listed entry = {};
	struct stat st;

	if (!pt_on())
		SKIP(return, PT_OFF);
	if (stat(FILES, &st))
		SKIP(return, "no " FILES);
	EXPECT_EQ(0400U, st.st_mode & 0777);
	EXPECT_EQ(0, pt_sys(p[0], SYS_setresuid, 1000L, 1000L, 1000L));
	EXPECT_EQ(-EACCES, pt_open(p[0], FILES, O_RDONLY));

	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0, list(st.st_ino, &entry));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pt_touch(p[i], pt_map(p[i], i, fd, LEN, 0, RW),
				      i ? LEN : LEN / 2, true));
	ASSERT_EQ(1, list(st.st_ino, &entry));
	EXPECT_EQ(major(st.st_dev), entry.major);
	EXPECT_EQ(minor(st.st_dev), entry.minor);
	EXPECT_STREQ("rw-", entry.prot);
	EXPECT_EQ(0, entry.uid);
	EXPECT_EQ(CHUNKS, entry.tables);
	EXPECT_EQ(3, entry.sharers);
	EXPECT_EQ(CHUNKS * 5 / 2, entry.links);
	EXPECT_EQ(CHUNKS * 3 / 2 * 4, entry.saved);
	EXPECT_EQ((long)LEN / 1024, entry.mapped);
	EXPECT_EQ(0, strncmp("memfd:", entry.name, 6));

	/* Readers are a class of their own. */
	ASSERT_EQ(0, pt_touch(p[0], pt_map(p[0], 3, fd, LEN, 0, RO), LEN,
			      false));
	EXPECT_EQ(2, list(st.st_ino, &entry));
	for (i = 0; i < 3; i++)
		pt_kill(p[i]);
	EXPECT_EQ(0, list(st.st_ino, &entry));
}

/* More hosts than fit into one read of the list */
PT_TEST(debugfs_many)
{
	struct pt_proc *p = pt_spawn();
	unsigned long ino[64];
	struct listed entry;
	struct stat st;
	int i, fd;

	if (!pt_on())
		SKIP(return, PT_OFF);
	for (i = 0; i < 64; i++) {
		fd = pt_memfd(16 * MB);
		ASSERT_EQ(0, fstat(fd, &st));
		ino[i] = st.st_ino;
		ASSERT_EQ(pt_slot(p, 0) + i * 4 * MB,
			  pt_mmap(p, pt_slot(p, 0) + i * 4 * MB, 4 * MB, RW,
				  MAP_SHARED | MAP_FIXED, fd, 0));
		close(fd);
	}
	ASSERT_EQ(0, pt_touch(p, pt_slot(p, 0), 256 * MB, true));
	if (stat(FILES, &st))
		SKIP(return, "no " FILES);
	for (i = 0; i < 64; i++) {
		EXPECT_EQ(1, list(ino[i], &entry)) TH_LOG("file %d", i);
		EXPECT_EQ(2, entry.tables);
	}
}

/* --- tracepoints ---------------------------------------------------------- */

static const char *trace_path(const char *name)
{
	static const char * const dir[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing",
	};
	static char path[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(dir); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir[i], name);
		if (!access(path, F_OK))
			return path;
	}
	return NULL;
}

/* Lines of the trace that contain both */
static int traced(const char *event, const char *what)
{
	char line[1024], *at;
	int n = 0;
	FILE *f;

	f = fopen(trace_path("trace"), "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = ' ';
		at = strstr(line, event);
		if (at && strstr(at, what))
			n++;
	}
	fclose(f);
	return n;
}

PT_TEST(tracepoints)
{
	struct pt_proc *a = pt_spawn(), *b = pt_spawn();
	char file[64], chunk[128], addr[64];
	int fd = pt_stamped_memfd(LEN, 1);
	char *ma = pt_map(a, 0, fd, LEN, 0, RW);
	char *mb = pt_map(b, 1, fd, LEN, 0, RW);
	struct stat st;

	if (!pt_on())
		SKIP(return, PT_OFF);
	if (!trace_path("events/ptshare/enable"))
		SKIP(return, "no tracefs with events/ptshare");
	ASSERT_EQ(0, fstat(fd, &st));
	snprintf(file, sizeof(file), "dev=%u:%u ino=%lu ", major(st.st_dev),
		 minor(st.st_dev), st.st_ino);
	snprintf(chunk, sizeof(chunk), "%schunk=3 ", file);
	snprintf(addr, sizeof(addr), "chunk=0 addr=%p nr=", mb);

	ASSERT_EQ(0, pt_write_file(trace_path("trace"), "\n"));
	ASSERT_EQ(0, pt_write_file(trace_path("events/ptshare/enable"), "1"));
	EXPECT_EQ(0, pt_touch(a, ma, LEN, true));
	EXPECT_EQ(0, pt_touch(b, mb, LEN, true));
	pt_punch(fd, 4 * MB, 64 << 10);
	EXPECT_EQ(0, pt_sys(b, SYS_madvise, mb, LEN, (long)MADV_DONTNEED));
	EXPECT_EQ(0, pt_sys(a, SYS_munmap, ma, LEN));
	EXPECT_EQ(0, pt_write_file(trace_path("events/ptshare/enable"), "0"));

	EXPECT_EQ(1, traced("ptshare_host_create:", file));
	EXPECT_EQ(1, traced("ptshare_host_create:", "prot=rw- "));
	EXPECT_EQ(CHUNKS, traced("ptshare_table_create:", file));
	EXPECT_EQ(1, traced("ptshare_table_create:", chunk));
	EXPECT_EQ(CHUNKS + windows(mb, LEN), traced("ptshare_link:", file));
	EXPECT_LE(1, traced("ptshare_link:", chunk));
	EXPECT_EQ(windows(mb, LEN), traced("ptshare_link:", "hit=1 "));
	EXPECT_EQ(1, traced("ptshare_link:", addr));
	EXPECT_LE(1, traced("ptshare_flush:", "sharers=2 batched=0 "));
	EXPECT_EQ(CHUNKS, traced("ptshare_unlink:", "cause=zap "));
	EXPECT_EQ(CHUNKS, traced("ptshare_unlink:", "cause=unmap "));
	EXPECT_EQ(2, traced("ptshare_unlink:", chunk));
	EXPECT_EQ(CHUNKS, traced("ptshare_table_free:", file));
	EXPECT_EQ(1, traced("ptshare_host_free:", file));
	ASSERT_EQ(0, pt_write_file(trace_path("trace"), "\n"));
}

TEST_HARNESS_MAIN
