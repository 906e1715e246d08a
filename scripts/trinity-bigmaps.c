// SPDX-License-Identifier: GPL-2.0
/*
 * For trinity (LD_PRELOAD). What its processes work on are anonymous shared
 * mappings of up to 2 MiB, which are too small to have shared page tables.
 * Make them pieces of a large file, overlapping, and large enough themselves.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MB	(1UL << 20)

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	static int file = -1, n;

	/* A file descriptor, and it is /dev/zero, distinguishes them from others. */
	if ((flags & MAP_SHARED) && (flags & MAP_ANONYMOUS) && fd >= 0) {
		if (file < 0) {
			file = memfd_create("bigmaps", MFD_CLOEXEC);
			if (ftruncate(file, 64 * MB))
				return MAP_FAILED;
		}
		fd = file;
		flags &= ~MAP_ANONYMOUS;
		off = n++ % 8 * 2 * MB;
		if (len < 4 * MB)
			len = 4 * MB;
	}
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
}
