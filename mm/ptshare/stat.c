// SPDX-License-Identifier: GPL-2.0
/*
 * What is told about shared tables to those who ask.
 */

#include <linux/seq_file.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/ptshare.h>

/* For so many hosts an estimate starts from exact counts. */
#define PTSHARE_EXACT_HOSTS	16

/**
 * __ptshare_links() - how many processes does one PTE map a page for?
 * @pte: the PTE, locked
 *
 * A page that is mapped once by a shared table is mapped by all who link it.
 *
 * Return: their number, 0 if the table is a private one.
 */
unsigned int __ptshare_links(pte_t *pte)
{
	struct ptshare_table *table = ptshare_pte_table(pte);

	return table ? max(atomic_read(&table->links), 1) : 0;
}

/* The same for all tables of a file, but not the mapcount itself. */
static unsigned int ptshare_extra_of_file(struct folio *folio,
					  struct page *page)
{
	struct address_space *mapping = READ_ONCE(folio->mapping);
	pgoff_t pgoff = folio->index + folio_page_idx(folio, page);
	struct ptshare_host *host;
	unsigned int extra = 0;

	if (!mapping)
		return 0;
	rcu_read_lock();
	hlist_for_each_entry_rcu(host, &mapping->i_ptshare, node) {
		struct ptshare_table *table;
		pte_t *pte, ptent;

		table = xa_load(&host->tables, pgoff / PTSHARE_CHUNK_PAGES);
		if (!table)
			continue;
		pte = page_address(table->page);
		ptent = ptep_get_lockless(pte + pgoff % PTSHARE_CHUNK_PAGES);
		if (pte_present(ptent) && pte_pfn(ptent) == page_to_pfn(page))
			extra += max(atomic_read(&table->links), 1) - 1;
	}
	rcu_read_unlock();
	return extra;
}

/**
 * __ptshare_extra() - by how many does a mapcount fall short?
 * @pte: a PTE of the page, locked
 * @page: the page, NULL if @pte is not present. Then only @pte is looked at.
 *
 * A PTE of a shared table counts once and maps the page for all who link the
 * table. A page may be in tables of more than one class, and in private ones.
 *
 * Context: the PTE lock, which keeps the page mapped and so in its file.
 * Return: how many processes map @page in addition to its mapcount.
 */
unsigned int __ptshare_extra(pte_t *pte, struct page *page)
{
	struct folio *folio = page ? page_folio(page) : NULL;

	if (!folio || folio_test_anon(folio) || folio_mapcount(folio) < 2)
		return max(__ptshare_links(pte), 1U) - 1;
	return ptshare_extra_of_file(folio, page);
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
	unsigned long sum = 0;
	struct rb_node *node;
	int hosts = 0;

	/* Held for short and never across sleep, unlike mmap_lock. */
	spin_lock(&mm->ptshare_lock);
	for (node = rb_first(&mm->ptshare_members); node; node = rb_next(node)) {
		struct ptshare_member *member = rb_entry(node, typeof(*member),
							 mm_node);
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

/**
 * ptshare_report_meminfo() - add the line of /proc/meminfo
 * @m: where to
 *
 * Tables count from when a process can link them until they are empty again,
 * however many processes do link them. They are a part of PageTables.
 */
void ptshare_report_meminfo(struct seq_file *m)
{
	unsigned long nr = atomic_long_read(&ptshare_nr_tables);

	seq_put_decimal_ull_width(m, "SharedPageTables: ",
				  nr << (PAGE_SHIFT - 10), 6);
	seq_puts(m, " kB\n");
}
