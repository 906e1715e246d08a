// SPDX-License-Identifier: GPL-2.0
/*
 * <debugfs>/ptshare/files: what is shared, host by host.
 */

#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/seq_file.h>

#include "internal.h"

#define PTSHARE_NAME_LEN	64

/*
 * A name of the file as it was opened, without the directories. While the
 * host is on the list and has a mapping, clear_inode() has yet to come.
 */
static void ptshare_show_name(struct seq_file *m, struct ptshare_host *host)
{
	char name[PTSHARE_NAME_LEN] = "-";
	struct inode *inode;
	struct dentry *dentry;

	lockdep_assert_held(&ptshare_hosts_lock);
	if (host->mapping) {
		inode = host->mapping->host;
		spin_lock(&inode->i_lock);
		dentry = hlist_entry_safe(inode->i_dentry.first, struct dentry,
					  d_u.d_alias);
		if (dentry)
			snprintf(name, sizeof(name), "%pd", dentry);
		spin_unlock(&inode->i_lock);
	}
	seq_escape(m, name, " \t\n\\");
}

static void ptshare_show_host(struct seq_file *m, struct ptshare_host *host)
{
	unsigned long tables = atomic_long_read(&host->nr_tables);
	unsigned long sharers = 0, links = 0, pages;
	struct ptshare_member *member;

	spin_lock(&host->members_lock);
	list_for_each_entry(member, &host->members, host_node) {
		sharers++;
		links += READ_ONCE(member->links);
	}
	spin_unlock(&host->members_lock);
	pages = get_mm_counter_sum(host->mm, MM_FILEPAGES) +
		get_mm_counter_sum(host->mm, MM_SHMEMPAGES);

	seq_printf(m, "%02x:%02x %10lu r%c%c  %6d %7lu %7lu %8lu %9lu %10lu ",
		   MAJOR(host->dev), MINOR(host->dev), host->ino,
		   host->class.access & VM_WRITE ? 'w' : '-',
		   host->class.access & VM_EXEC ? 'x' : '-',
		   from_kuid(&init_user_ns, host->class.uid),
		   tables, sharers, links,
		   links > tables ? (links - tables) << (PAGE_SHIFT - 10) : 0,
		   pages << (PAGE_SHIFT - 10));
	ptshare_show_name(m, host);
	seq_putc(m, '\n');
}

/*
 * The lock is held for as long as it takes to fill a buffer. Faults wait for it
 * if they make a host, and others if they free one or its inode.
 */
static void *ptshare_files_start(struct seq_file *m, loff_t *pos)
	__acquires(&ptshare_hosts_lock)
{
	spin_lock(&ptshare_hosts_lock);
	return seq_list_start_head(&ptshare_hosts, *pos);
}

static void *ptshare_files_next(struct seq_file *m, void *v, loff_t *pos)
{
	return seq_list_next(v, &ptshare_hosts, pos);
}

static void ptshare_files_stop(struct seq_file *m, void *v)
	__releases(&ptshare_hosts_lock)
{
	spin_unlock(&ptshare_hosts_lock);
}

static int ptshare_files_show(struct seq_file *m, void *v)
{
	if (v == &ptshare_hosts)
		seq_puts(m, "dev          ino prot    uid  tables sharers    links  saved_kB  mapped_kB name\n");
	else
		ptshare_show_host(m, list_entry(v, struct ptshare_host, all));
	return 0;
}

static const struct seq_operations ptshare_files_sops = {
	.start	= ptshare_files_start,
	.next	= ptshare_files_next,
	.stop	= ptshare_files_stop,
	.show	= ptshare_files_show,
};
DEFINE_SEQ_ATTRIBUTE(ptshare_files);

static int __init ptshare_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("ptshare", NULL);

	debugfs_create_file("files", 0400, dir, NULL, &ptshare_files_fops);
	ptshare_check_init(dir);
	return 0;
}
late_initcall(ptshare_debugfs_init);
