// SPDX-License-Identifier: GPL-2.0
/*
 * The debug checker: hosts against tables against members against the page
 * tables of the processes. Delays, for races that are rare otherwise, and the
 * length from which files are shared.
 */

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include "../internal.h"
#include "internal.h"

static u32 ptshare_delay_us;
static u32 ptshare_min_kb = PTSHARE_MIN_SIZE >> 10;

/**
 * ptshare_delay() - stand still in the window of a race
 *
 * Context: any that may spin for the microseconds in debugfs' delay_us.
 */
void ptshare_delay(void)
{
	u32 us = READ_ONCE(ptshare_delay_us);

	if (us) {
		mdelay(us / 1000);
		udelay(us % 1000);
	}
}

/**
 * ptshare_min_size() - how long must a file be?
 *
 * Context: any.
 * Return: bytes, from debugfs' min_kB.
 */
loff_t ptshare_min_size(void)
{
	return (loff_t)READ_ONCE(ptshare_min_kb) << 10;
}

/**
 * struct ptshare_check - totals of a run, and what it found
 * @seq: where findings go
 * @hosts: hosts
 * @tables: tables
 * @members: members
 * @links: links found in page tables
 * @failed: findings
 */
struct ptshare_check {
	struct seq_file	*seq;
	unsigned long	hosts;
	unsigned long	tables;
	unsigned long	members;
	unsigned long	links;
	unsigned long	failed;
};

/* What is walked: one member, and the links of it that were found. */
struct ptshare_check_walk {
	struct ptshare_check	*check;
	struct ptshare_host	*host;
	struct xarray		*seen;
	unsigned long		links;
};

static __printf(2, 3) void ptshare_fail(struct ptshare_check *check,
					const char *fmt, ...)
{
	va_list args;

	check->failed++;
	seq_puts(check->seq, "FAILED: ");
	va_start(args, fmt);
	seq_vprintf(check->seq, fmt, args);
	va_end(args);
	seq_putc(check->seq, '\n');
}

static int ptshare_check_pmd(pmd_t *pmd, unsigned long addr,
			     unsigned long next, struct mm_walk *walk)
{
	struct ptshare_check_walk *cw = walk->private;
	struct vm_area_struct *vma = walk->vma;
	spinlock_t *ptl = pmd_lock(walk->mm, pmd);
	struct ptshare_table *table = ptshare_pmd_table(*pmd);
	pgoff_t chunk = 0;
	bool mine;

	mine = table && table->host == cw->host;
	if (mine)
		chunk = table->chunk;
	spin_unlock(ptl);
	if (!mine)
		return 0;

	cw->links++;
	xa_store(cw->seen, chunk,
		 xa_mk_value(xa_to_value(xa_load(cw->seen, chunk)) + 1),
		 GFP_KERNEL);

	if (addr & ~PMD_MASK || next - addr != PMD_SIZE)
		ptshare_fail(cw->check, "a VMA ends inside chunk %lu", chunk);
	else if (linear_page_index(vma, addr) != chunk * PTSHARE_CHUNK_PAGES)
		ptshare_fail(cw->check, "chunk %lu linked at page %lu", chunk,
			     linear_page_index(vma, addr));
	if (pgprot_val(vma->vm_page_prot) != pgprot_val(cw->host->class.prot) ||
	    (vma->vm_flags & (VM_WRITE | VM_EXEC)) != cw->host->class.access)
		ptshare_fail(cw->check, "chunk %lu linked in another class",
			     chunk);
	if (!vma->vm_file || vma->vm_file->f_mapping != cw->host->mapping)
		ptshare_fail(cw->check, "chunk %lu linked to another file",
			     chunk);
	return 0;
}

static const struct mm_walk_ops ptshare_check_ops = {
	.pmd_entry	= ptshare_check_pmd,
	.walk_lock	= PGWALK_RDLOCK,
};

/* Walk all VMAs of an mm, for a link may be where it should not. */
static void ptshare_check_member(struct ptshare_check_walk *cw,
				 struct mm_struct *mm, unsigned long links)
{
	cw->links = 0;
	mmap_read_lock(mm);
	walk_page_range(mm, 0, -1, &ptshare_check_ops, cw);
	mmap_read_unlock(mm);

	cw->check->members++;
	cw->check->links += cw->links;
	if (cw->links != links)
		ptshare_fail(cw->check, "a member counts %lu links and has %lu",
			     links, cw->links);
}

/* Count mapped pages of a table; complain of what must not be in there. */
static long ptshare_check_ptes(struct ptshare_check *check,
			       struct ptshare_host *host,
			       struct ptshare_table *table)
{
	pte_t *ptes = page_address(table->page);
	long rss = 0;
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++) {
		pte_t pte = ptep_get(ptes + i);
		swp_entry_t entry;

		if (pte_none(pte))
			continue;
		if (pte_present(pte)) {
			rss++;
			if (pte_write(pte) && !(host->class.access & VM_WRITE))
				ptshare_fail(check, "writable in read-only chunk %lu",
					     table->chunk);
			if (pte_special(pte))
				ptshare_fail(check, "special PTE in chunk %lu",
					     table->chunk);
			continue;
		}
		entry = pte_to_swp_entry(pte);
		if (is_migration_entry(entry))
			rss++;
		else if (!is_hwpoison_entry(entry))
			ptshare_fail(check, "PTE %#lx in chunk %lu",
				     pte_val(pte), table->chunk);
	}
	return rss;
}

static void ptshare_check_tables(struct ptshare_check *check,
				 struct ptshare_host *host, struct xarray *seen)
{
	struct ptshare_table *table;
	unsigned long chunk, tables = 0;
	long rss = 0, counted;
	pmd_t *pmd;

	xa_lock(&host->tables);
	xa_for_each(&host->tables, chunk, table) {
		unsigned long links = xa_to_value(xa_load(seen, chunk));

		tables++;
		rss += ptshare_check_ptes(check, host, table);
		pmd = mm_find_pmd(host->mm, ptshare_table_addr(table));
		if (!pmd || ptshare_pmd_table(*pmd) != table)
			ptshare_fail(check, "host does not map chunk %lu", chunk);
		if (atomic_read(&table->links) != links)
			ptshare_fail(check, "chunk %lu counts %d links and has %lu",
				     chunk, atomic_read(&table->links), links);
	}
	xa_unlock(&host->tables);

	counted = get_mm_counter_sum(host->mm, MM_FILEPAGES) +
		  get_mm_counter_sum(host->mm, MM_SHMEMPAGES);
	if (counted != rss)
		ptshare_fail(check, "host counts %ld pages and maps %ld",
			     counted, rss);
	check->tables += tables;
}

/* The @nr-th member, with the mm kept alive. Members come and go. */
static struct mm_struct *ptshare_check_get_member(struct ptshare_host *host,
						  unsigned long nr,
						  unsigned long *links)
{
	struct ptshare_member *member;
	struct mm_struct *mm = NULL;

	spin_lock(&host->members_lock);
	list_for_each_entry(member, &host->members, host_node) {
		if (nr--)
			continue;
		*links = READ_ONCE(member->links);
		mm = mmget_not_zero(member->mm) ? member->mm : ERR_PTR(-ESRCH);
		break;
	}
	spin_unlock(&host->members_lock);
	return mm;
}

static void ptshare_check_host(struct ptshare_check *check,
			       struct ptshare_host *host)
{
	DEFINE_XARRAY(seen);
	struct ptshare_check_walk cw = {
		.check = check,
		.host = host,
		.seen = &seen,
	};
	unsigned long nr, links = 0;
	struct mm_struct *mm;

	check->hosts++;
	for (nr = 0; (mm = ptshare_check_get_member(host, nr, &links)); nr++) {
		if (IS_ERR(mm)) {
			ptshare_fail(check, "a member is exiting");
			continue;
		}
		ptshare_check_member(&cw, mm, links);
		mmput(mm);
		cond_resched();
	}
	ptshare_check_tables(check, host, &seen);
	xa_destroy(&seen);
}

/*
 * A snapshot of processes that run is never consistent. So this is for when
 * they stand still: compare between tests, not under load.
 */
static int ptshare_check_show(struct seq_file *seq, void *unused)
{
	struct ptshare_check check = { .seq = seq };
	struct ptshare_host *host = NULL;

	while ((host = ptshare_host_next_all(host)))
		ptshare_check_host(&check, host);

	seq_printf(seq, "%s: %lu hosts %lu tables %lu members %lu links\n",
		   check.failed ? "FAILED" : "ok", check.hosts, check.tables,
		   check.members, check.links);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(ptshare_check);

/**
 * ptshare_check_init() - add the checker and its knobs to debugfs
 * @dir: directory
 */
void __init ptshare_check_init(struct dentry *dir)
{
	debugfs_create_file("check", 0400, dir, NULL, &ptshare_check_fops);
	debugfs_create_u32("delay_us", 0600, dir, &ptshare_delay_us);
	debugfs_create_u32("min_kB", 0600, dir, &ptshare_min_kb);
}
