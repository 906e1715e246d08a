// SPDX-License-Identifier: GPL-2.0
/*
 * Linking tables into a process and unlinking them.
 */

#include <linux/pagewalk.h>
#include <linux/pgalloc.h>
#include <linux/swap.h>
#include <linux/swapops.h>

#include <asm/tlb.h>

#include "../internal.h"
#include "internal.h"

/*
 * Would this fault end at a poison entry? Without sharing a process gets rid
 * of one with MADV_DONTNEED or a new mapping, and reads the page that took
 * the place of the broken one. A shared table keeps the entry for as long as
 * anybody links it, so such a process gets a table of its own.
 */
static bool ptshare_poisoned(struct ptshare_table *table, unsigned long addr)
{
	pte_t *pte = (pte_t *)page_address(table->page) + pte_index(addr);
	pte_t ptent = ptep_get_lockless(pte);

	return is_swap_pte(ptent) && is_hwpoison_entry(pte_to_swp_entry(ptent));
}

/* Point the PMD of a fault at a table, if nobody was faster. */
static bool ptshare_set_pmd(struct vm_fault *vmf, struct ptshare_table *table)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, vmf->pmd);
	bool set = pmd_none(*vmf->pmd);

	if (set) {
		smp_wmb(); /* See comment in pmd_install() */
		pmd_populate(mm, vmf->pmd, table->page);
	}
	spin_unlock(ptl);
	return set;
}

/**
 * __ptshare_link() - link a shared table at a faulting address
 * @vmf: the fault; vmf->pmd is allocated, and none as far as the caller knows
 *
 * The order matters: the mm becomes a member, the link is counted, and only
 * then is the PMD set, so that nothing is ever walked that no flush reaches.
 * After losing a race for the PMD both are undone without a flush, for the
 * table was in nobody's reach.
 *
 * Failing is always right: the fault then builds a private table.
 *
 * With vmf->page set the folio is locked, and writeback of it may be what
 * reclaim waits for. Then only what exists is linked.
 *
 * Context: mmap_lock or VMA lock, at least for read. May sleep.
 * Return: true if allocating a table would be of no use: vmf->pmd was pointed
 *	to a shared one, here or by somebody faster. Both may be undone by now.
 */
bool __ptshare_link(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	bool linked = false, populated = false, make = !vmf->page;
	struct ptshare_table *table;
	struct ptshare_host *host;

	if (!ptshare_eligible(vmf))
		return false;

	host = ptshare_host_get(vmf->vma, make);
	if (!host)
		goto out;
	if (!ptshare_join(host, mm, make ? GFP_KERNEL_ACCOUNT : GFP_NOWAIT))
		goto put_host;
	table = ptshare_table_get(host, vmf->pgoff / PTSHARE_CHUNK_PAGES, make);
	if (!table)
		goto leave;

	ptshare_delay();
	if (!ptshare_poisoned(table, vmf->address)) {
		linked = ptshare_set_pmd(vmf, table);
		populated = true;
	}
	if (!linked)
		ptshare_table_put(table);
leave:
	if (!linked)
		ptshare_leave(host, mm, 1);
put_host:
	ptshare_host_put(host);
out:
	count_vm_event(linked ? PTSHARE_LINK : PTSHARE_LINK_FAIL);
	return populated;
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
 * membership are put when @tlb has flushed.
 *
 * The whole chunk has to be flushed, whichever part of it the caller is
 * about: the other PTEs go out of reach too, and a page they map may be freed
 * with no flush to this mm once it is no member. Page by page, for these are
 * leaf entries under a PMD; and with freed_tables, so that CPUs in lazy TLB
 * mode drop what they cache of the PMD before somebody else frees the table.
 */
static bool ptshare_unlink_pmd(struct mmu_gather *tlb, pmd_t *pmd,
			       unsigned long addr)
{
	spinlock_t *ptl = pmd_lockptr(tlb->mm, pmd);
	struct ptshare_table *table;

	ptshare_gather_reserve(tlb);

	spin_lock(ptl);
	table = ptshare_pmd_table(*pmd);
	if (table)
		pmd_clear(pmd);
	spin_unlock(ptl);
	if (!table)
		return false;

	tlb_flush_pte_range(tlb, addr & PMD_MASK, PMD_SIZE);
	tlb->freed_tables = 1;
	tlb->ptshare.tables[tlb->ptshare.nr++] = table;
	count_vm_event(PTSHARE_UNLINK);
	ptshare_delay();
	return true;
}

/* Is the table of @pte shared, and @vma not the one that owns it? */
static bool ptshare_foreign(struct vm_area_struct *vma, pte_t *pte)
{
	return ptshare_pte_table(pte) && !vma->vm_mm->ptshare_host;
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

	pte_unmap_unlock(pte, ptl);
	if (!details || !(details->zap_flags & ZAP_FLAG_MAPPING))
		ptshare_unlink_pmd(tlb, pmd, addr);
	return true;
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
	       ptshare_unlink_pmd(tlb, pmd, addr);
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

	pte_unmap_unlock(pte, ptl);
	if (!prot_numa)
		ptshare_unlink_pmd(tlb, pmd, addr);
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

	pte_unmap_unlock(pte, ptl);
	tlb_gather_mmu(&tlb, vma->vm_mm);
	ptshare_unlink_pmd(&tlb, pmd, addr);
	tlb_finish_mmu(&tlb);
	return true;
}

static int ptshare_unlink_pmd_entry(pmd_t *pmd, unsigned long addr,
				    unsigned long next, struct mm_walk *walk)
{
	ptshare_unlink_pmd(walk->private, pmd, addr);
	cond_resched();
	return 0;
}

static const struct mm_walk_ops ptshare_unlink_ops = {
	.pmd_entry	= ptshare_unlink_pmd_entry,
	.walk_lock	= PGWALK_RDLOCK,
};

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
	struct mmu_gather tlb;

	if (list_empty(&vma->vm_mm->ptshare_members))
		return;

	/* Chunks go whole, and one that is linked lies in one VMA. */
	start = max(start & PMD_MASK, vma->vm_start);
	end = min(ALIGN(end, PMD_SIZE), vma->vm_end);

	tlb_gather_mmu(&tlb, vma->vm_mm);
	walk_page_range_vma(vma, start, end, &ptshare_unlink_ops, &tlb);
	tlb_finish_mmu(&tlb);
}

/**
 * __ptshare_unlink_mm() - unlink everything a process has linked
 * @mm: its mm
 *
 * Context: mmap_lock for write. The caller made the mm ineligible, or its
 *	VMAs write-locked, before.
 */
void __ptshare_unlink_mm(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	mmap_assert_write_locked(mm);
	for_each_vma(vmi, vma) {
		if (vma->vm_file && vma->vm_file->f_op->fop_flags & FOP_PTSHARE)
			__ptshare_unlink_range(vma, vma->vm_start, vma->vm_end);
	}
}

static void ptshare_unlink_boundary(struct vm_area_struct *vma,
				    unsigned long addr)
{
	if (addr & ~PMD_MASK && addr > vma->vm_start && addr < vma->vm_end)
		__ptshare_unlink_range(vma, addr, addr + 1);
}

/**
 * __ptshare_adjust_vma() - keep linked chunks inside one VMA
 * @vma: the VMA that will change
 * @start: its new start
 * @end: its new end
 * @adjust_next: by how much the start of the VMA behind it will move, bytes
 *
 * Like vma_adjust_trans_huge(), and called next to it: a chunk that a new
 * boundary cuts is unlinked before the boundary moves.
 *
 * Context: mmap_lock and VMA locks for write; i_mmap_rwsem may be held too.
 */
void __ptshare_adjust_vma(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, long adjust_next)
{
	struct vm_area_struct *next;

	ptshare_unlink_boundary(vma, start);
	ptshare_unlink_boundary(vma, end);
	if (adjust_next > 0) {
		next = find_vma(vma->vm_mm, vma->vm_end);
		ptshare_unlink_boundary(next, next->vm_start + adjust_next);
	}
}

/**
 * __ptshare_collapse_skip() - must a huge page stay PTE-mapped here?
 * @pmd: the PMD of somebody who maps the folio
 *
 * khugepaged clears PMDs of other processes to have them fault the huge page
 * in. The shared table is not theirs to lose. It may also be gone since the
 * PMD was last looked at, for sharers unlink without a lock of the file.
 *
 * Context: the PMD lock.
 * Return: true if @pmd does not point to a private table.
 */
bool __ptshare_collapse_skip(pmd_t *pmd)
{
	return pmd_none(*pmd) || ptshare_pmd_table(*pmd);
}
