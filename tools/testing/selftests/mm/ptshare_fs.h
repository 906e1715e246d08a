/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File systems with a disk below them for the ptshare selftests. The disks are
 * RAM disks (brd): what was on them is lost.
 */
#ifndef __PTSHARE_FS_H
#define __PTSHARE_FS_H

#include <stdbool.h>
#include <sys/types.h>

#define PT_FS_DIR	"/tmp/ptshare-fs"

struct pt_fs {
	const char *type;
	const char *disk;	/* NULL: needs none */
	const char *mkfs;
	bool reflink;		/* FICLONE works */
	bool linear;		/* offsets of FIEMAP are those of the disk */
};

extern const struct pt_fs pt_ext4, pt_xfs, pt_btrfs, pt_ramfs;

/* Mount it, made anew if need be: NULL, or why it cannot be had */
const char *pt_fs_mount(const struct pt_fs *fs);
/* 0 or -errno; -EBUSY if anybody uses it */
int pt_fs_umount(void);
/* A new file in there, of stamped pages that are on the disk */
int pt_fs_file(const char *name, size_t size, unsigned long seed);
/* Where the disk has a byte of the file, -1 if nowhere */
off_t pt_fs_map(int fd, off_t off);
/* A page of what is on the disk now, whatever is in the page cache */
void pt_fs_read_disk(const struct pt_fs *fs, off_t at, void *page);

#endif /* __PTSHARE_FS_H */
