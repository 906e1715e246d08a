// SPDX-License-Identifier: GPL-2.0
/*
 * Linking tables into a process and unlinking them.
 */

#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include <asm/tlb.h>

#include <trace/events/ptshare.h>

#include "../internal.h"
#include "internal.h"

/* The PTE a fault is about, as it is now. */
static pte_t ptshare_peek(struct ptshare_table *table, unsigned long addr)
{
	pte_t *ptes = page_address(table->page);

	return ptep_get_lockless(ptes + pte_index(addr));
}

/* Was the page of @pte broken? */
static bool ptshare_pte_poisoned(pte_t pte)
{
	return is_swap_pte(pte) && is_hwpoison_entry(pte_to_swp_entry(pte));
}

/*
 * A fault links up to so many chunks, a window aligned in the address space.
 * Few faults for those who go through a file, and for those who want one page
 * of it no more work than another fault would be. A divisor of PTRS_PER_PMD.
 */
#define PTSHARE_AROUND	16

/*
 * Link tables that exist around the one of a fault. The window is part of one
 * PMD table and of one VMA, so the locks of the fault do for all of it. A dying
 * table is left alone: nothing is made, revived or waited for. The mm is a
 * member and has counted the links; no flush, as the entries were none. Under
 * the PMD lock. Returns how many were linked.
 */
static unsigned int ptshare_link_around(struct vm_fault *vmf,
					struct ptshare_host *host)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long first = vma->vm_pgoff / PTSHARE_CHUNK_PAGES;
	unsigned long last = (vma->vm_pgoff + vma_pages(vma)) /
			     PTSHARE_CHUNK_PAGES - 1;
	unsigned long fault = vmf->pgoff / PTSHARE_CHUNK_PAGES;
	unsigned long before = pmd_index(vmf->address) % PTSHARE_AROUND;
	unsigned long after = PTSHARE_AROUND - 1 - before;
	struct ptshare_table *table;
	unsigned int nr = 0;
	unsigned long chunk;

	/* The VMA begins and ends where it likes; a chunk has to be all in it. */
	if (vma->vm_pgoff % PTSHARE_CHUNK_PAGES)
		first++;
	lockdep_assert_held(pmd_lockptr(vma->vm_mm, vmf->pmd));
	first = fault - min(before, fault - first);
	last = fault + min(after, last - fault);

	rcu_read_lock();
	xa_for_each_range(&host->tables, chunk, table, first, last) {
		pmd_t *pmd = vmf->pmd + (long)(chunk - fault);

		if (!pmd_none(*pmd) || READ_ONCE(table->poisoned) ||
		    ptshare_huge_preferred(vma, chunk * PTSHARE_CHUNK_PAGES) ||
		    !ptshare_table_try_get(table))
			continue;
		pmd_populate(vma->vm_mm, pmd, table->page);
		nr++;
	}
	rcu_read_unlock();
	return nr;
}

/*
 * Point the PMD of a fault at a table, if nobody was faster, and those around
 * it at theirs. Returns how many were set.
 */
static unsigned int ptshare_set_pmds(struct vm_fault *vmf,
				     struct ptshare_table *table)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, vmf->pmd);
	unsigned int nr = 0;

	if (pmd_none(*vmf->pmd)) {
		smp_wmb(); /* See comment in pmd_install() */
		pmd_populate(mm, vmf->pmd, table->page);
		nr = 1 + ptshare_link_around(vmf, table->host);
	}
	spin_unlock(ptl);
	return nr;
}

/**
 * __ptshare_link() - link a shared table at a faulting address
 * @vmf: the fault; vmf->pmd is allocated, and none as far as the caller knows
 * @again: it has tried before, and was counted if that failed
 *
 * The order matters: the mm becomes a member, the link is counted, and only
 * then is the PMD set, so that nothing is ever walked that no flush reaches.
 * After losing a race for the PMD both are undone without a flush, for the mm
 * never had the table within reach.
 *
 * Tables of chunks around the fault are linked too, if they exist: the member
 * counts a whole window in advance, and what was not used is taken back.
 *
 * Failing is always right: the fault then builds a private table.
 *
 * With vmf->page set the folio is locked, and writeback of it may be what
 * reclaim waits for. Then only what exists is linked.
 *
 * Context: mmap_lock or VMA lock, at least for read. May sleep.
 * Return: true if allocating a table would be of no use: vmf->pmd was pointed
 *	to a shared one here, or somebody was faster. Both may be undone by now.
 */
bool __ptshare_link(struct vm_fault *vmf, bool again)
{
	bool count = !again && !(vmf->flags & FAULT_FLAG_TRIED);
	enum vm_event_item event = PTSHARE_FALLBACK_NOMEM;
	struct mm_struct *mm = vmf->vma->vm_mm;
	pgoff_t chunk = vmf->pgoff / PTSHARE_CHUNK_PAGES;
	bool populated = false, make = !vmf->page;
	struct ptshare_table *table;
	struct ptshare_host *host;
	unsigned int linked = 0;
	pte_t pte;

	if (!ptshare_eligible(vmf, count))
		return false;

	host = ptshare_host_get(vmf->vma, make);
	if (!host)
		goto out;
	if (!ptshare_join(host, mm, PTSHARE_AROUND,
			  make ? GFP_KERNEL_ACCOUNT :
				 GFP_NOWAIT | __GFP_ACCOUNT))
		goto put_host;
	/* From here on ptshare_unlink_all() finds this mm, or this finds 0. */
	if (READ_ONCE(ptshare_policy) == PTSHARE_NEVER) {
		count = false;
		goto leave;
	}
	table = ptshare_table_get(host, chunk, make);
	if (!table)
		goto leave;

	ptshare_delay();
	/*
	 * Without sharing a process gets rid of a poison entry by MADV_DONTNEED
	 * or a new mapping, and reads the page that took the place of the
	 * broken one. A shared table keeps the entry for as long as anybody
	 * links it, so such a process gets a table of its own, even if it is
	 * faster than the walk that leaves the entry and marks the table.
	 */
	pte = ptshare_peek(table, vmf->address);
	if (READ_ONCE(table->poisoned) || ptshare_pte_poisoned(pte)) {
		event = PTSHARE_FALLBACK_POISON;
		goto put_table;
	}
	populated = true;
	linked = ptshare_set_pmds(vmf, table);
	if (!linked)
		goto put_table;

	/* Another thread may have unlinked it: no use of @table from here on. */
	count_vm_events(PTSHARE_LINK, linked);
	if (pte_present(pte))
		count_vm_event(PTSHARE_LINK_HIT);
	trace_ptshare_link(host, chunk, vmf->address, linked, pte_present(pte));
	goto leave;

put_table:
	ptshare_table_put(table);
leave:
	if (linked < PTSHARE_AROUND)
		ptshare_leave(host, mm, PTSHARE_AROUND - linked);
put_host:
	ptshare_host_put(host);
out:
	if (!populated && count)
		count_vm_event(event);
	return populated;
}

/**
 * __ptshare_populate() - link a shared table for get_user_pages()
 * @vma: the VMA, shared
 * @addr: the address it wants
 *
 * MAP_POPULATE and the like ask for page after page. What others have populated
 * they get by links, without a fault. Where nobody was before, this makes the
 * table, as the fault would that follows.
 *
 * Context: mmap_lock, at least for read. May sleep.
 * Return: true if a table was linked: it is worth looking for the page again.
 */
bool __ptshare_populate(struct vm_area_struct *vma, unsigned long addr)
{
	struct vm_fault vmf = {
		.vma = vma,
		.address = addr & PAGE_MASK,
		.pgoff = linear_page_index(vma, addr),
	};

	/* Not where a PUD could map a huge page: no DAX, no hugetlbfs. */
	if (!ptshare_file_eligible(vma))
		return false;
	vmf.pmd = ptshare_pmd_alloc(vma->vm_mm, addr);
	/* If it fails, a fault follows, and counts why. */
	return vmf.pmd && pmd_none(*vmf.pmd) && __ptshare_link(&vmf, true);
}

/**
 * ptshare_gather_init() - prepare an mmu_gather for unlinked tables
 * @tlb: the gather
 */
void ptshare_gather_init(struct mmu_gather *tlb)
{
	tlb->ptshare.tables = tlb->ptshare.local;
	tlb->ptshare.max = ARRAY_SIZE(tlb->ptshare.local);
	tlb->ptshare.nr = 0;
	tlb->ptshare.writable = false;
}

/**
 * __ptshare_flush_unlinked() - flush before VMAs leave their files
 * @tlb: the gather that has unlinked and zapped all they map
 *
 * A file without a writable mapping (mapping_deny_writable()) whose pages have
 * no references but the usual is taken to be safe from stores, by seals of
 * memfds among others. A zapped PTE sees to that: it was flushed under the PTE
 * lock if it was dirty, else no CPU can make it so any more, and the gather
 * holds the page until it flushes. Unlinking leaves PTEs and references alone,
 * so before the VMA is counted out no other thread may have a translation left.
 *
 * Context: before free_pgtables().
 */
void __ptshare_flush_unlinked(struct mmu_gather *tlb)
{
	/* An exiting mm has no other threads. */
	if (tlb->ptshare.writable && !tlb->fullmm)
		tlb_flush_mmu_tlbonly(tlb);
}

/**
 * __ptshare_put_unlinked() - put the tables that a gather has unlinked
 * @tlb: the gather, flushed since the last table was unlinked
 *
 * Context: May sleep.
 */
void __ptshare_put_unlinked(struct mmu_gather *tlb)
{
	struct ptshare_gather *gather = &tlb->ptshare;
	struct ptshare_host *host = NULL;
	unsigned long links = 0;
	unsigned int i;

	for (i = 0; i < gather->nr; i++) {
		struct ptshare_table *table = gather->tables[i];

		/* The member keeps the host, and all flushes going, until here. */
		if (host && table->host != host) {
			ptshare_leave(host, tlb->mm, links);
			links = 0;
		}
		host = table->host;
		ptshare_table_put(table);
		links++;
	}
	if (host)
		ptshare_leave(host, tlb->mm, links);
	gather->nr = 0;
	gather->writable = false;
}

/**
 * __ptshare_gather_finish() - free what a gather needed to remember tables
 * @tlb: the gather, flushed and put
 */
void __ptshare_gather_finish(struct mmu_gather *tlb)
{
	struct ptshare_gather *gather = &tlb->ptshare;

	VM_WARN_ON_ONCE(gather->nr);
	if (gather->tables != gather->local)
		free_page((unsigned long)gather->tables);
}

/* Make room for one more table; flush when there is no memory for it. */
static void ptshare_gather_reserve(struct mmu_gather *tlb)
{
	struct ptshare_gather *gather = &tlb->ptshare;
	struct ptshare_table **tables;

	if (gather->nr < gather->max)
		return;
	if (gather->tables == gather->local) {
		tables = (void *)__get_free_page(GFP_NOWAIT | __GFP_NOWARN);
		if (tables) {
			memcpy(tables, gather->local, sizeof(gather->local));
			gather->tables = tables;
			gather->max = PAGE_SIZE / sizeof(*tables);
			return;
		}
	}
	tlb_flush_mmu(tlb);
}

/*
 * Unlink what is at @pmd, if that is a shared table. The table and the
 * membership are put when @tlb has flushed. Under the PMD lock, with room for
 * a table reserved.
 *
 * The whole chunk has to be flushed, whichever part of it the caller is
 * about: the other PTEs go out of reach too, and a page they map may be freed
 * with no flush to this mm once it is no member. Page by page, for these are
 * leaf entries under a PMD; and with freed_tables, so that CPUs in lazy TLB
 * mode drop what they cache of the PMD before somebody else frees the table.
 */
static bool ptshare_clear_pmd(struct mmu_gather *tlb, pmd_t *pmd,
			      unsigned long addr, enum ptshare_cause cause)
{
	struct ptshare_table *table = ptshare_pmd_table(*pmd);

	lockdep_assert_held(pmd_lockptr(tlb->mm, pmd));
	if (!table)
		return false;

	pmd_clear(pmd);
	tlb_flush_pte_range(tlb, addr & PMD_MASK, PMD_SIZE);
	tlb->freed_tables = 1;
	tlb->ptshare.tables[tlb->ptshare.nr++] = table;
	if (table->host->class.access & VM_WRITE)
		tlb->ptshare.writable = true;
	count_vm_event(PTSHARE_UNLINK);
	static_assert(PTSHARE_UNLINK_SPLIT - PTSHARE_UNLINK_UNMAP ==
		      PTSHARE_SPLIT);
	count_vm_event(PTSHARE_UNLINK_UNMAP + cause);
	trace_ptshare_unlink(table->host, table->chunk, addr & PMD_MASK, cause);
	return true;
}

static bool ptshare_unlink_pmd(struct mmu_gather *tlb, pmd_t *pmd,
			       unsigned long addr, enum ptshare_cause cause)
{
	spinlock_t *ptl = pmd_lockptr(tlb->mm, pmd);
	bool unlinked;

	ptshare_gather_reserve(tlb);
	spin_lock(ptl);
	unlinked = ptshare_clear_pmd(tlb, pmd, addr, cause);
	spin_unlock(ptl);
	if (unlinked)
		ptshare_delay();
	return unlinked;
}

/* Is the table of @pte shared, and @vma not the one that owns it? */
static bool ptshare_foreign(struct vm_area_struct *vma, pte_t *pte)
{
	return ptshare_pte_table(pte) && !vma->vm_mm->ptshare_host;
}

/* Tells sparse that the PTE has come mapped and locked. */
static void ptshare_drop_pte(pte_t *pte, spinlock_t *ptl)
{
	__acquire(RCU);
	__acquire(ptl);
	pte_unmap_unlock(pte, ptl);
}

static enum ptshare_cause ptshare_zap_cause(const struct zap_details *details)
{
	if (details && details->zap_flags & ZAP_FLAG_UNMAP)
		return PTSHARE_UNMAP;
	return PTSHARE_ZAP;
}

/**
 * __ptshare_zap() - keep a zap away from a shared table
 * @tlb: the gather of the zap
 * @vma: the VMA
 * @pmd: the PMD
 * @addr: where in the chunk the zap starts
 * @pte: its PTE
 * @ptl: the lock of the table, held
 * @details: of the zap, or NULL
 *
 * A sharer that unmaps its own memory unlinks the table. Truncation and
 * invalidation of the file have zapped the table through its host already and
 * leave sharers alone, else every hole punched would unshare everything.
 *
 * Context: drops @ptl and unmaps @pte if it returns true. May sleep then.
 * Return: true if there is nothing left to do under this PMD.
 */
bool __ptshare_zap(struct mmu_gather *tlb, struct vm_area_struct *vma,
		   pmd_t *pmd, unsigned long addr, pte_t *pte, spinlock_t *ptl,
		   struct zap_details *details)
{
	if (!ptshare_foreign(vma, pte))
		return false;

	ptshare_drop_pte(pte, ptl);
	if (!details || !(details->zap_flags & ZAP_FLAG_MAPPING))
		ptshare_unlink_pmd(tlb, pmd, addr, ptshare_zap_cause(details));
	return true;
}

/**
 * __ptshare_zap_range() - unlink what a zap covers, all under one PMD lock
 * @tlb: the gather of the zap
 * @vma: the VMA
 * @pmd: the first PMD
 * @addr: first byte
 * @end: first byte behind; all PMDs are in one table
 * @details: of the zap, or NULL
 *
 * Nothing but a short cut: what is linked behind it meets __ptshare_zap().
 *
 * Context: mmap_lock, at least for read. May sleep.
 */
void __ptshare_zap_range(struct mmu_gather *tlb, struct vm_area_struct *vma,
			 pmd_t *pmd, unsigned long addr, unsigned long end,
			 struct zap_details *details)
{
	enum ptshare_cause cause = ptshare_zap_cause(details);
	spinlock_t *ptl = pmd_lockptr(tlb->mm, pmd);
	struct ptshare_gather *gather = &tlb->ptshare;

	/* No host has members, nor has who left. */
	if (RB_EMPTY_ROOT(&tlb->mm->ptshare_members) ||
	    (details && details->zap_flags & ZAP_FLAG_MAPPING))
		return;

	while (addr < end) {
		ptshare_gather_reserve(tlb);
		spin_lock(ptl);
		for (; addr < end && gather->nr < gather->max; pmd++) {
			ptshare_clear_pmd(tlb, pmd, addr, cause);
			addr = pmd_addr_end(addr, end);
		}
		spin_unlock(ptl);
		ptshare_delay();
	}
}

/* The PMD of @addr, or NULL; @next is where its page table ends. */
static pmd_t *ptshare_pmd_find(struct mm_struct *mm, unsigned long addr,
			       unsigned long end, unsigned long *next)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	*next = pgd_addr_end(addr, end);
	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	*next = p4d_addr_end(addr, *next);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	*next = pud_addr_end(addr, *next);
	return pud_present(*pud) ? pmd_offset(pud, addr) : NULL;
}

/**
 * __ptshare_zap_done() - is there nothing to zap but in shared tables?
 * @vma: a VMA of a file, part of which is being unmapped from everybody
 * @addr: first byte
 * @end: first byte behind
 * @details: of the zap
 *
 * A file has as many VMAs as sharers, and all that the zaps of them would find
 * is that the hosts' were enough. A look at the PMDs costs a fraction of a zap.
 *
 * What is faulted in behind the look is no more missed than behind a zap. But
 * somebody else may be unmapping. What a gather has cleared may still be in the
 * TLB: a zap that ends meanwhile flushes. And a huge page that mremap() or a
 * split has taken from the PMD is in the mapcount until the PMD lock is dropped:
 * a zap for the sake of a huge folio waits for that, others come back with it.
 *
 * Context: i_mmap_rwsem, at least for read: @vma is in the tree of the file, so
 *	that nobody frees or moves the upper levels of its page table, or has
 *	its mm get an MMU notifier. May sleep.
 * Return: true if the hosts were zapped before, and a zap of @vma would find
 *	nothing to do and nothing to wait for or to flush.
 */
bool __ptshare_zap_done(struct vm_area_struct *vma, unsigned long addr,
			unsigned long end, struct zap_details *details)
{
	struct mm_struct *mm = vma->vm_mm;
	unsigned long next;
	bool done = true;
	pmd_t *pmd, val;

	/* An MMU notifier hears of what is unmapped, mapped or not. */
	if (!(details->zap_flags & ZAP_FLAG_MAPPING) ||
	    (details->single_folio &&
	     folio_test_pmd_mappable(details->single_folio)) ||
	    !ptshare_file_eligible(vma) || mm_has_notifiers(mm))
		return false;

	for (; done && addr < end; addr = next) {
		cond_resched();
		/* No PUD maps a huge page: no DAX, no hugetlbfs. */
		pmd = ptshare_pmd_find(mm, addr, end, &next);
		if (!pmd)
			continue;
		/* RCU, as khugepaged may be unlinking what is found. */
		rcu_read_lock();
		for (; done && addr < next; addr = pmd_addr_end(addr, next)) {
			val = pmdp_get_lockless(pmd++);
			done = pmd_none(val) || ptshare_pmd_table(val);
		}
		rcu_read_unlock();
	}
	/* A gather says that it is there before it clears anything. */
	smp_rmb();
	return done && !mm_tlb_flush_pending(mm);
}

/**
 * __ptshare_free() - keep free_pgtables() from freeing a shared table
 * @tlb: the gather
 * @pmd: the PMD
 * @addr: an address under it
 *
 * Everything was unmapped before, so there is nothing to find. Freeing a
 * table that others use would be the end; unlinking it is harmless.
 *
 * Context: the mm's page tables are out of reach of faults.
 * Return: true if the PMD pointed to a shared table.
 */
bool __ptshare_free(struct mmu_gather *tlb, pmd_t *pmd, unsigned long addr)
{
	return WARN_ON_ONCE(ptshare_pmd_table(*pmd)) &&
	       ptshare_unlink_pmd(tlb, pmd, addr, PTSHARE_UNMAP);
}

/**
 * __ptshare_protect() - keep a change of protection away from a shared table
 * @tlb: the gather of the change
 * @vma: the VMA
 * @pmd: the PMD
 * @addr: where in the chunk the change starts
 * @pte: its PTE
 * @ptl: the lock of the table, held
 * @prot_numa: this is about NUMA hinting faults only
 *
 * NUMA hints say which process runs where. A table that many use has no
 * answer, so it gets none.
 *
 * Context: drops @ptl and unmaps @pte if it returns true. May sleep then.
 * Return: true if there is nothing left to do under this PMD.
 */
bool __ptshare_protect(struct mmu_gather *tlb, struct vm_area_struct *vma,
		       pmd_t *pmd, unsigned long addr, pte_t *pte,
		       spinlock_t *ptl, bool prot_numa)
{
	if (!ptshare_foreign(vma, pte))
		return false;

	ptshare_drop_pte(pte, ptl);
	if (!prot_numa)
		ptshare_unlink_pmd(tlb, pmd, addr, PTSHARE_PROTECT);
	return true;
}

/**
 * __ptshare_unlink() - unlink a shared table that a walk has come upon
 * @vma: the VMA
 * @pmd: the PMD
 * @addr: an address under it
 * @pte: its PTE
 * @ptl: the lock of the table, held
 *
 * Flushes before it returns.
 *
 * Context: drops @ptl and unmaps @pte if it returns true. May sleep then.
 * Return: true if the table was shared, and now the PMD is clear.
 */
bool __ptshare_unlink(struct vm_area_struct *vma, pmd_t *pmd,
		      unsigned long addr, pte_t *pte, spinlock_t *ptl)
{
	struct mmu_gather tlb;

	if (!ptshare_foreign(vma, pte))
		return false;

	ptshare_drop_pte(pte, ptl);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	ptshare_unlink_pmd(&tlb, pmd, addr, PTSHARE_WALK);
	tlb_finish_mmu(&tlb);
	return true;
}

/**
 * __ptshare_refill() - map again what is in memory, after an unlink
 * @vma: the VMA, no longer eligible
 * @pmd: the PMD
 * @addr: first address to map, as far as it is known to be unlinked
 * @end: first address behind, under the same PMD
 *
 * mlock2(MLOCK_ONFAULT) locks what is resident and populates nothing. What the
 * unlinked table had mapped could be reclaimed until it is touched again. This
 * finds most of it: not what is locked or under writeback by reclaim just now,
 * and nothing without memory for a table.
 *
 * Context: mmap_lock and VMA lock for write. May sleep.
 */
void __ptshare_refill(struct vm_area_struct *vma, pmd_t *pmd,
		      unsigned long addr, unsigned long end)
{
	struct vm_fault vmf = {
		.vma = vma,
		.address = addr,
		.pgoff = linear_page_index(vma, addr),
		.pmd = pmd,
	};

	if (!(vma->vm_flags & VM_LOCKONFAULT) || pte_alloc(vma->vm_mm, pmd))
		return;
	rcu_read_lock();
	/* Not by ->map_pages(), which System V shared memory has none of. */
	filemap_map_pages(&vmf, vmf.pgoff,
			  linear_page_index(vma, end - PAGE_SIZE));
	rcu_read_unlock();
}

struct ptshare_unlink_walk {
	struct mmu_gather	tlb;
	enum ptshare_cause	cause;
};

static int ptshare_unlink_pmd_entry(pmd_t *pmd, unsigned long addr,
				    unsigned long next, struct mm_walk *walk)
{
	struct ptshare_unlink_walk *uw = walk->private;
	struct mmu_gather *tlb = &uw->tlb;
	bool shared;

	/* RCU, as khugepaged may be unlinking it, see __ptshare_retract(). */
	rcu_read_lock();
	shared = ptshare_pmd_table(pmdp_get_lockless(pmd));
	rcu_read_unlock();
	/*
	 * Only if there is something to unlink: a gather inside another one,
	 * that of mprotect, flushes all when it ends, even if it is empty.
	 */
	if (!shared)
		return 0;
	if (!tlb->mm)
		tlb_gather_mmu(tlb, walk->mm);
	ptshare_unlink_pmd(tlb, pmd, addr, uw->cause);
	cond_resched();
	return 0;
}

static const struct mm_walk_ops ptshare_unlink_ops = {
	.pmd_entry	= ptshare_unlink_pmd_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

static void ptshare_unlink_for(struct vm_area_struct *vma, unsigned long start,
			       unsigned long end, enum ptshare_cause cause)
{
	struct ptshare_unlink_walk uw;

	if (RB_EMPTY_ROOT(&vma->vm_mm->ptshare_members))
		return;

	/* Chunks go whole, and one that is linked lies in one VMA. */
	start = max(start & PMD_MASK, vma->vm_start);
	end = min(ALIGN(end, PMD_SIZE), vma->vm_end);

	uw.cause = cause;
	uw.tlb.mm = NULL;
	walk_page_range_vma(vma, start, end, &ptshare_unlink_ops, &uw);
	if (uw.tlb.mm)
		tlb_finish_mmu(&uw.tlb);
}

/**
 * __ptshare_unlink_range() - unlink what is linked in a range
 * @vma: the VMA
 * @start: first byte
 * @end: first byte behind
 *
 * Flushes before it returns. What keeps new links out is up to the caller.
 *
 * Context: mmap_lock. May sleep.
 */
void __ptshare_unlink_range(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end)
{
	ptshare_unlink_for(vma, start, end, PTSHARE_RANGE);
}

/**
 * __ptshare_unlink_mm() - unlink everything a process has linked
 * @mm: its mm
 *
 * No fault links anything again before mmap_lock is released, for the VMAs are
 * write-locked here. If none is to link later, the caller has made the mm
 * ineligible.
 *
 * Context: mmap_lock for write. May sleep.
 */
void __ptshare_unlink_mm(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	mmap_assert_write_locked(mm);
	for_each_vma(vmi, vma) {
		if (!vma->vm_file ||
		    !(vma->vm_file->f_op->fop_flags & FOP_PTSHARE))
			continue;
		vma_start_write(vma);
		ptshare_unlink_for(vma, vma->vm_start, vma->vm_end,
				   PTSHARE_PROCESS);
	}
}

static void ptshare_unlink_boundary(struct vm_area_struct *vma,
				    unsigned long addr)
{
	if (addr & ~PMD_MASK && addr > vma->vm_start && addr < vma->vm_end)
		ptshare_unlink_for(vma, addr, addr + 1, PTSHARE_SPLIT);
}

/*
 * VMAs merge though one of them is tracked for soft-dirty pages and the other
 * is not, the only one of the two that can have links. What comes of it may be
 * tracked.
 */
static void ptshare_unlink_merging(struct vm_area_struct *vma,
				   unsigned long start, unsigned long end,
				   long adjust_next)
{
	unsigned long first = min(start, vma->vm_start);
	/* With adjust_next the one that comes next is concerned in any case. */
	unsigned long last = max(end, vma->vm_end) + !!adjust_next;
	struct vm_area_struct *v;
	struct vma_iterator vmi;
	vm_flags_t differ = 0;

	if (!VM_SOFTDIRTY || !ptshare_used(vma))
		return;
	vma_iter_init(&vmi, vma->vm_mm, first);
	for_each_vma_range(vmi, v, last)
		differ |= v->vm_flags ^ vma->vm_flags;
	if (!(differ & VM_SOFTDIRTY))
		return;
	vma_iter_set(&vmi, first);
	for_each_vma_range(vmi, v, last)
		ptshare_unlink_for(v, v->vm_start, v->vm_end, PTSHARE_RANGE);
}

/**
 * __ptshare_adjust_vma() - keep linked chunks inside one VMA
 * @vma: the VMA that will change
 * @start: its new start
 * @end: its new end
 * @adjust_next: by how much the start of the VMA behind it will move, bytes
 *
 * Like vma_adjust_trans_huge(), and called next to it: a chunk that a new
 * boundary cuts is unlinked before the boundary moves, and so is everything
 * before a merge that changes soft-dirty tracking.
 *
 * Context: mmap_lock and VMA locks for write; i_mmap_rwsem may be held too.
 */
void __ptshare_adjust_vma(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, long adjust_next)
{
	struct vm_area_struct *next;

	ptshare_unlink_merging(vma, start, end, adjust_next);
	ptshare_unlink_boundary(vma, start);
	ptshare_unlink_boundary(vma, end);
	if (adjust_next > 0) {
		next = find_vma(vma->vm_mm, vma->vm_end);
		ptshare_unlink_boundary(next, next->vm_start + adjust_next);
	}
}

/**
 * __ptshare_retract() - unlink a shared table in favour of a huge page
 * @vma: the VMA of somebody who maps the file
 * @pmd: its PMD, none or with a table
 * @addr: the address of the huge page
 * @ptl: the lock of @pmd, held
 *
 * khugepaged takes the page tables of all who map the file, emptied by now, for
 * them to fault the huge page in. A private one is freed; of a shared one the
 * link is given up. It may also be gone since the PMD was last looked at, for
 * sharers unlink without a lock of the file.
 *
 * No lock of the mm is held. i_mmap_rwsem keeps @vma in the tree of the file,
 * and so exit_mmap() from its end, until the link is flushed and put. Whoever
 * finds the PMD clear before the flush misses nothing: no PTE was left in the
 * table, all members were flushed, and the lock of the folio that takes the
 * place of the pages keeps new ones out until the flush is done.
 *
 * Context: i_mmap_rwsem for read, the folio lock; drops @ptl if it returns true.
 *	May sleep then.
 * Return: true if there is no private table to free.
 */
bool __ptshare_retract(struct vm_area_struct *vma, pmd_t *pmd,
		       unsigned long addr, spinlock_t *ptl)
{
	bool shared = ptshare_pmd_table(*pmd);
	struct mmu_gather tlb;

	if (!shared && !pmd_none(*pmd))
		return false;

	__acquire(ptl); /* The caller did: for sparse. */
	spin_unlock(ptl);
	/* Who is not to have huge pages keeps the link. */
	if (shared && ptshare_huge_preferred(vma, linear_page_index(vma, addr))) {
		tlb_gather_mmu(&tlb, vma->vm_mm);
		ptshare_unlink_pmd(&tlb, pmd, addr, PTSHARE_WALK);
		tlb_finish_mmu(&tlb);
	}
	return true;
}
