// SPDX-License-Identifier: GPL-2.0
/* File systems for the ptshare selftests, see ptshare_fs.h */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ptshare_fs.h"
#include "ptshare_util.h"

const struct pt_fs pt_ext4 = {
	.type = "ext4", .disk = "/dev/ram0", .mkfs = "mkfs.ext4 -q -F",
	.linear = true,
};

const struct pt_fs pt_xfs = {
	.type = "xfs", .disk = "/dev/ram1", .mkfs = "mkfs.xfs -q -f",
	.linear = true, .reflink = true,
};

const struct pt_fs pt_btrfs = {
	.type = "btrfs", .disk = "/dev/ram2", .mkfs = "mkfs.btrfs -q -f",
	.reflink = true,
};

const struct pt_fs pt_ramfs = { .type = "ramfs" };

static bool fs_known(const char *type)
{
	char line[64], *name;
	bool known = false;
	FILE *f;

	f = fopen("/proc/filesystems", "r");
	while (f && !known && fgets(line, sizeof(line), f)) {
		name = strchr(line, '\t') + 1;
		name[strcspn(name, "\n")] = 0;
		known = !strcmp(name, type);
	}
	if (f)
		fclose(f);
	return known;
}

const char *pt_fs_mount(const struct pt_fs *fs)
{
	const char *from = fs->disk ? fs->disk : "none";
	char cmd[128];

	if (!fs_known(fs->type))
		return "the kernel does not have it";
	if (fs->disk && access(fs->disk, R_OK | W_OK))
		return "no RAM disk";
	pt_fs_umount();	/* what a test that died has left */
	mkdir(PT_FS_DIR, 0755);
	if (!mount(from, PT_FS_DIR, fs->type, 0, NULL))
		return NULL;
	if (!fs->disk)
		return "mount fails";
	snprintf(cmd, sizeof(cmd), "%s %s >/dev/null", fs->mkfs, fs->disk);
	if (system(cmd))
		return "mkfs fails";
	if (mount(from, PT_FS_DIR, fs->type, 0, NULL))
		pt_die("mounting a new %s", fs->type);
	return NULL;
}

int pt_fs_umount(void)
{
	return umount(PT_FS_DIR) ? -errno : 0;
}

int pt_fs_file(const char *name, size_t size, unsigned long seed)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), PT_FS_DIR "/%s", name);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		pt_die("creating %s", path);
	pt_stamp_file(fd, 0, size, seed);
	if (fsync(fd) || fchmod(fd, 0666))
		pt_die("writing %s", path);
	return fd;
}

off_t pt_fs_map(int fd, off_t off)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} f = {
		.map.fm_start = off,
		.map.fm_length = 1,
		.map.fm_extent_count = 1,
	};

	if (ioctl(fd, FS_IOC_FIEMAP, &f))
		pt_die("FIEMAP");
	if (!f.map.fm_mapped_extents ||
	    f.extent.fe_flags & (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_UNWRITTEN))
		return -1;
	return f.extent.fe_physical + (off - f.extent.fe_logical);
}

void pt_fs_read_disk(const struct pt_fs *fs, off_t at, void *page)
{
	static alignas(PT_PAGE) char buf[PT_PAGE];
	static const struct pt_fs *opened;
	static int fd;

	if (opened != fs) {
		fd = open(fs->disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
		opened = fs;
	}
	if (fd < 0 || pread(fd, buf, PT_PAGE, at) != (ssize_t)PT_PAGE)
		pt_die("reading %s", fs->disk);
	memcpy(page, buf, PT_PAGE);
}
