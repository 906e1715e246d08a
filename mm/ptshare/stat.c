// SPDX-License-Identifier: GPL-2.0
/*
 * What is told about shared tables to those who ask about a process.
 */

#include "internal.h"

/* For so many hosts an estimate starts from exact counts. */
#define PTSHARE_EXACT_HOSTS	16

/**
 * __ptshare_links() - how many processes does one PTE map a page for?
 * @pte: the PTE, locked
 *
 * A page that is mapped once by a shared table is mapped by all who link it.
 *
 * Return: their number, 1 if the table is a private one.
 */
unsigned int __ptshare_links(pte_t *pte)
{
	struct ptshare_table *table = ptshare_pte_table(pte);

	return table ? max(atomic_read(&table->links), 1) : 1;
}

/**
 * __ptshare_rss() - estimate what a process maps through shared tables
 * @mm: its mm
 * @file: file pages are added here
 * @shmem: shmem pages are added here
 *
 * Exact figures take a walk, as smaps does. This takes the host's pages, as if
 * they were spread evenly over its tables, for each table linked: exact if the
 * process links all or if all are equally full, and never more than the
 * linked tables have room for.
 *
 * Return: pages added.
 */
unsigned long __ptshare_rss(struct mm_struct *mm, unsigned long *file,
			    unsigned long *shmem)
{
	unsigned long (*counter)(struct mm_struct *, int) = get_mm_counter_sum;
	struct ptshare_member *member;
	unsigned long sum = 0;
	int hosts = 0;

	/* Held for short and never across sleep, unlike mmap_lock. */
	spin_lock(&mm->ptshare_lock);
	list_for_each_entry(member, &mm->ptshare_members, mm_node) {
		struct ptshare_host *host = member->host;
		u64 tables = max(atomic_long_read(&host->nr_tables), 1L);
		u64 links = min_t(u64, member->links, tables);
		unsigned long f, s;

		/* Anybody may ask, and faults wait for the lock. */
		if (++hosts > PTSHARE_EXACT_HOSTS)
			counter = get_mm_counter;
		f = div64_u64(counter(host->mm, MM_FILEPAGES) * links, tables);
		s = div64_u64(counter(host->mm, MM_SHMEMPAGES) * links, tables);
		*file += f;
		*shmem += s;
		sum += f + s;
	}
	spin_unlock(&mm->ptshare_lock);
	return sum;
}
