// SPDX-License-Identifier: GPL-2.0
/*
 * Reverse mapping: from a folio or a range of the file to shared PTEs.
 *
 * Hosts are visited before i_mmap. A folio that only shared tables map is
 * then unmapped, aged or found clean after as many visits as there are
 * classes, however many processes map it.
 */

#include <linux/rmap.h>
#include <linux/sched.h>

#include "internal.h"

/*
 * How many PTEs of a host map @folio, of those in the mapcount read before, with
 * a read barrier? No lock is needed: with the folio locked they only get fewer,
 * and a PTE is cleared before the mapcount forgets it.
 */
static int ptshare_count_mapped(struct folio *folio, struct ptshare_host *host)
{
	unsigned long nr_pages = folio_nr_pages(folio), i;
	pgoff_t pgoff = folio_pgoff(folio);
	struct ptshare_table *table;
	pte_t *ptes, pte;
	int nr = 0;

	/* It is aligned to its size, so in one chunk. To count none is safe. */
	if (nr_pages > PTSHARE_CHUNK_PAGES)
		return 0;

	rcu_read_lock();
	table = xa_load(&host->tables, pgoff / PTSHARE_CHUNK_PAGES);
	if (table) {
		ptes = page_address(table->page);
		ptes += pgoff % PTSHARE_CHUNK_PAGES;
		for (i = 0; i < nr_pages; i++) {
			pte = ptep_get_lockless(ptes + i);
			if (pte_present(pte) &&
			    pte_pfn(pte) == folio_pfn(folio) + i)
				nr++;
		}
	}
	rcu_read_unlock();
	return nr;
}

/*
 * May a walk of @folio, whose mapcount was @mapped before, have left a poison
 * entry? A large folio does not know of all its pages that are broken.
 */
static bool ptshare_left_poison(struct folio *folio, int mapped)
{
	unsigned long i;

	if (!folio_test_large(folio))
		return folio_test_hwpoison(folio);
	if (folio_mapcount(folio) == mapped)
		return false;

	for (i = 0; i < folio_nr_pages(folio); i++) {
		if (PageHWPoison(folio_page(folio, i)))
			return true;
	}
	return false;
}

/**
 * __ptshare_rmap_walk() - walk the hosts of a file for a folio
 * @folio: the folio, locked
 * @mapping: its file
 * @rwc: what to do
 *
 * Most walks are over when nothing maps the folio any more. One that leaves
 * PTEs in place would go through all VMAs, for the sake of private tables that
 * may not exist. So it counts. Mappings are added under the folio lock, or copied
 * from a private one, by fork. Hence all PTEs of hosts, whether @rwc->rmap_one
 * did something about them or not, are in the mapcount read before. If that is
 * no more, there was no other mapping then, and there will be none until the
 * folio is unlocked. Mappings that go away meanwhile make the walk longer, no
 * more.
 *
 * Context: i_mmap_rwsem for read. May sleep if @rwc's functions do.
 * Return: true if the walk is over.
 */
bool __ptshare_rmap_walk(struct folio *folio, struct address_space *mapping,
			 struct rmap_walk_control *rwc)
{
	pgoff_t pgoff = folio_pgoff(folio);
	pgoff_t chunk = pgoff / PTSHARE_CHUNK_PAGES;
	int mapped = folio_mapcount(folio), unseen = mapped;
	struct ptshare_host *host = NULL;
	bool over = false;

	/* No PTE from before it was cleared, and the mapcount from after. */
	smp_rmb();
	while (!over && (host = ptshare_host_next(mapping, host))) {
		struct vm_area_struct *vma = host->vma;
		int seen = rwc->seen ? *rwc->seen : 0;

		if (pgoff + folio_nr_pages(folio) > vma_pages(vma))
			continue;
		/* The walk may leave poison entries. */
		if (folio_contain_hwpoisoned_page(folio))
			ptshare_table_poison(host, chunk);
		ptshare_delay();
		if (rwc->invalid_vma && rwc->invalid_vma(vma, rwc->arg))
			continue;
		over = !rwc->rmap_one(folio, vma, pgoff << PAGE_SHIFT,
				      rwc->arg) ||
		       (rwc->done && rwc->done(folio));
		/*
		 * memory_failure() marks a page before it waits for the folio
		 * lock. Migration may have seen that, and not the test above.
		 */
		if (unlikely(ptshare_left_poison(folio, mapped)))
			ptshare_table_poison(host, chunk);
		if (rwc->seen) {
			/* If it did something about all, no need to look. */
			seen = *rwc->seen - seen;
			if (seen != unseen)
				seen = ptshare_count_mapped(folio, host);
			VM_WARN_ON_ONCE(seen > unseen);
			unseen -= seen;
			over |= !unseen;
		}
		if (!over)
			cond_resched();
	}
	if (over)
		ptshare_host_put(host);
	return over;
}

/**
 * __ptshare_walk_skip() - keep rmap away from shared tables of sharers
 * @pvmw: a walk that has mapped a PTE, and locked it or not
 *
 * What is in there was, or will be, found through the host; counting it for
 * the sharer would get its RSS wrong and flush it alone.
 *
 * Return: true if the table is shared and @pvmw moved on behind it. Then no
 *	PTE is mapped or locked.
 */
bool __ptshare_walk_skip(struct page_vma_mapped_walk *pvmw)
{
	if (pvmw->vma->vm_mm->ptshare_host || !ptshare_pte_table(pvmw->pte))
		return false;

	__acquire(RCU); /* The walk did, and took the lock: for sparse. */
	if (pvmw->ptl) {
		__acquire(pvmw->ptl);
		spin_unlock(pvmw->ptl);
		pvmw->ptl = NULL;
	}
	pte_unmap(pvmw->pte);
	pvmw->pte = NULL;
	pvmw->address = (pvmw->address & PMD_MASK) + PMD_SIZE;
	count_vm_event(PTSHARE_RMAP_SKIP);
	return true;
}

/**
 * __ptshare_zap_hosts() - unmap a range of a file from shared tables
 * @mapping: the file
 * @first: first page, page offset
 * @last: last page, page offset
 * @details: of the zap; marked as one that sharers' tables survive
 *
 * Poison entries always go. A process of its own would keep them until it
 * unmaps; shared, they would meet processes that never saw the broken page.
 *
 * Context: i_mmap_rwsem for read. May sleep.
 */
void __ptshare_zap_hosts(struct address_space *mapping, pgoff_t first,
			 pgoff_t last, struct zap_details *details)
{
	struct zap_details host_details = *details;
	struct ptshare_host *host = NULL;

	host_details.even_cows = true;
	details->zap_flags |= ZAP_FLAG_MAPPING;
	while ((host = ptshare_host_next(mapping, host))) {
		/* An empty address space takes longer than a table. */
		pgoff_t end = READ_ONCE(host->end) * PTSHARE_CHUNK_PAGES;

		if (first >= end)
			continue;
		end = min(last, end - 1);
		zap_page_range_single(host->vma, first << PAGE_SHIFT,
				      (end - first + 1) << PAGE_SHIFT,
				      &host_details);
	}
}
