/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_PTSHARE_H
#define _LINUX_PTSHARE_H

/*
 * Page table sharing: the one face of mm/ptshare towards the rest of mm.
 *
 * Processes that map a file MAP_SHARED in the same way use one set of PTE
 * tables. A shared table is owned by a *host*, an mm that never runs, with
 * one VMA that maps the whole file; processes that use it are its *sharers*.
 * See Documentation/mm/ptshare.rst for the design, the locks and the life of
 * a table.
 *
 * What code outside mm/ptshare has to know:
 *
 *  - Whether a PTE table is shared is asked of the table, by a pointer into
 *    it and with its lock held, never of a PMD value read earlier: a sharer's
 *    PMD may be linked and unlinked under the mmap or VMA lock held for read,
 *    and unlinked by khugepaged under none.
 *  - Through a sharer, PTEs of a shared table may be filled, upgraded and
 *    aged, never cleared or downgraded. An operation that would do so unlinks
 *    the table from its mm, or leaves it alone.
 *  - rmap and truncation find the table through its host, and TLB flushes of
 *    a host reach every sharer. That happens in flush_tlb_mm_range() and where
 *    mm/rmap.c fills and flushes its batch, so their callers need not know.
 */

#include <linux/jump_label.h>
#include <linux/mm.h>

struct address_space;
struct arch_tlbflush_unmap_batch;
struct file;
struct folio;
struct mmu_gather;
struct page;
struct page_vma_mapped_walk;
struct ptshare_host;
struct rmap_walk_control;
struct seq_file;
struct tlbflush_unmap_batch;
struct vm_fault;
struct zap_details;

/**
 * enum ptshare_cause - what made a process unlink a table
 *
 * In the order of PTSHARE_UNLINK_* in &enum vm_event_item.
 *
 * @PTSHARE_UNMAP: the range is unmapped: munmap, exit
 * @PTSHARE_ZAP: the range stays mapped: MADV_DONTNEED, the OOM reaper
 * @PTSHARE_PROTECT: mprotect
 * @PTSHARE_WALK: a walk came upon it: mlock, soft-dirty, collapse, migration
 * @PTSHARE_RANGE: a range must have none: mremap, userfaultfd, MADV_NOSHARE_PT,
 *	a VMA that merges with one whose soft-dirty pages are tracked
 * @PTSHARE_PROCESS: the process must have none: an MMU notifier,
 *	PR_SET_PTSHARE_DISABLE, a write to vm.ptshare_unlink
 * @PTSHARE_SPLIT: a VMA boundary moves into the chunk
 */
enum ptshare_cause {
	PTSHARE_UNMAP,
	PTSHARE_ZAP,
	PTSHARE_PROTECT,
	PTSHARE_WALK,
	PTSHARE_RANGE,
	PTSHARE_PROCESS,
	PTSHARE_SPLIT,
};

#ifdef CONFIG_PTSHARE

#define PTSHARE_GATHER_LOCAL	8

/**
 * struct ptshare_table - a shared PTE table
 * @vma: of the host, which its PTEs are accounted to
 * @host: its owner
 * @chunk: which part of the file it maps, in units of PMD_SIZE
 * @links: PMDs that point to it, or did until a flush that is still to come.
 *	0 -> 1 only under host->tables.xa_lock.
 * @seq: times it came back to life, under host->tables.xa_lock
 * @tearing: somebody is zapping it, under host->tables.xa_lock
 * @poisoned: it has, or had, a hwpoison entry; linked no more
 * @page: the page table
 * @rcu: frees this and @page
 */
struct ptshare_table {
	struct vm_area_struct	*vma;
	struct ptshare_host	*host;
	pgoff_t			chunk;
	atomic_t		links;
	unsigned int		seq;
	bool			tearing;
	bool			poisoned;
	pgtable_t		page;
	struct rcu_head		rcu;
};

/**
 * struct ptshare_gather - tables unlinked by an mmu_gather, not yet put
 * @tables: @local, or a page when there are more of them
 * @nr: tables collected
 * @max: room in @tables
 * @writable: one of them is for writable mappings
 * @local: room for the common, small unmap
 */
struct ptshare_gather {
	struct ptshare_table	**tables;
	unsigned int		nr;
	unsigned int		max;
	bool			writable;
	struct ptshare_table	*local[PTSHARE_GATHER_LOCAL];
};

DECLARE_STATIC_KEY_FALSE(ptshare_key);

/*
 * Once true it stays so: as long as a table is shared every hook has to see
 * it, whatever vm.ptshare says now.
 */
static inline bool ptshare_active(void)
{
	return static_branch_unlikely(&ptshare_key);
}

/* May @vma ever link tables? Private mappings should not pay for asking. */
static inline bool ptshare_possible(const struct vm_area_struct *vma)
{
	return ptshare_active() && vma->vm_flags & VM_MAYSHARE;
}

/*
 * May tables be linked in @vma? The flag is set before the first PMD and never
 * cleared, so whoever has locked a PTE in a linked table sees it. Who asks
 * without that lock may be told no too late, and then has to do what any
 * process needs: ptshare_zap_done(). Nor should a process pay that shares
 * nothing.
 */
static inline bool ptshare_used(const struct vm_area_struct *vma)
{
	return ptshare_possible(vma) &&
	       test_bit(MMF_PTSHARE, &vma->vm_mm->flags);
}

/*
 * The same for a whole mm, for those who have unlinked what they found, or have
 * unmapped everything: to them the flag is exact.
 */
static inline bool ptshare_used_mm(const struct mm_struct *mm)
{
	return ptshare_active() && test_bit(MMF_PTSHARE, &mm->flags);
}

/* Is @mm a host? Its flushes concern its members, its cpumask is empty. */
static inline bool ptshare_is_host(const struct mm_struct *mm)
{
	return ptshare_active() && unlikely(mm->ptshare_host);
}

/**
 * ptshare_pte_table() - find the shared table a PTE belongs to
 * @pte: the PTE, mapped
 *
 * Context: the PTE lock, RCU, or anything else that keeps the table.
 * Return: the table, or NULL if the PTE table is a private one.
 */
static inline struct ptshare_table *ptshare_pte_table(pte_t *pte)
{
	return READ_ONCE(virt_to_ptdesc(pte)->pt_share);
}

/**
 * ptshare_pte_vma() - find the VMA that the PTE of a fault is accounted to
 * @vmf: the fault, its PTE mapped and locked
 * @vma: the VMA of the fault
 *
 * RSS and reverse mappings of a shared table are its host's, so that whoever
 * removes the PTE takes them off where they were put on.
 *
 * A fault around calls this for every page. Therefore it takes the fault and
 * looks for the PTE behind the static branch, and takes the VMA, which every
 * caller has in a register.
 *
 * Return: @vma, or the VMA of the host.
 */
static inline struct vm_area_struct *
ptshare_pte_vma(const struct vm_fault *vmf, struct vm_area_struct *vma)
{
	struct ptshare_table *table;

	if (!ptshare_used(vma))
		return vma;
	table = ptshare_pte_table(vmf->pte);
	return table ? table->vma : vma;
}

void ptshare_mm_init(struct mm_struct *mm);
void ptshare_gather_init(struct mmu_gather *tlb);
void ptshare_report_meminfo(struct seq_file *m);
int ptshare_madvise(struct vm_area_struct *vma, unsigned long start,
		    unsigned long end, int advice, unsigned long *vm_flags);
int ptshare_disable(struct mm_struct *mm, bool disable);
void __ptshare_adjust_vma(struct vm_area_struct *vma, unsigned long start,
			  unsigned long end, long adjust_next);
bool __ptshare_retract(struct vm_area_struct *vma, pmd_t *pmd,
		       unsigned long addr, spinlock_t *ptl);

static inline void ptshare_adjust_vma(struct vm_area_struct *vma,
				      unsigned long start, unsigned long end,
				      long adjust_next)
{
	if (ptshare_active())
		__ptshare_adjust_vma(vma, start, end, adjust_next);
}

static inline bool ptshare_retract(struct vm_area_struct *vma, pmd_t *pmd,
				   unsigned long addr, spinlock_t *ptl)
{
	if (!ptshare_active())
		return false;
	return __ptshare_retract(vma, pmd, addr, ptl);
}

#else /* !CONFIG_PTSHARE */

/*
 * The compiler then drops every hook below, and with it the reference to the
 * function behind it.
 */
static inline bool ptshare_active(void)
{
	return false;
}

static inline bool ptshare_possible(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool ptshare_used(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool ptshare_used_mm(const struct mm_struct *mm)
{
	return false;
}

static inline bool ptshare_is_host(const struct mm_struct *mm)
{
	return false;
}

static inline struct vm_area_struct *
ptshare_pte_vma(const struct vm_fault *vmf, struct vm_area_struct *vma)
{
	return vma;
}

/* No functions: loads of arguments that nobody uses would move other code. */
#define ptshare_adjust_vma(...) do { } while (0)
#define ptshare_retract(...) false

static inline void ptshare_mm_init(struct mm_struct *mm) {}
static inline void ptshare_gather_init(struct mmu_gather *tlb) {}
static inline void ptshare_report_meminfo(struct seq_file *m) {}

#endif /* CONFIG_PTSHARE */

/*
 * The hooks: a static branch each until page tables are shared for the first
 * time. What they do is described with the functions behind them.
 */

/* mmap() without an address */

unsigned long __ptshare_place(struct file *file, unsigned long len,
			      unsigned long pgoff, unsigned long flags);

static inline unsigned long ptshare_place(struct file *file, unsigned long addr,
					  unsigned long len,
					  unsigned long pgoff,
					  unsigned long flags)
{
	if (!ptshare_active() || addr)
		return addr;
	return __ptshare_place(file, len, pgoff, flags);
}

/* Faults */

bool __ptshare_link(struct vm_fault *vmf, bool again);

static inline bool ptshare_link(struct vm_fault *vmf)
{
	if (!ptshare_possible(vmf->vma))
		return false;
	return __ptshare_link(vmf, false);
}

/* Later in the same fault, which is counted but once. */
static inline bool ptshare_link_again(struct vm_fault *vmf)
{
	if (!ptshare_possible(vmf->vma))
		return false;
	return __ptshare_link(vmf, true);
}

bool __ptshare_populate(struct vm_area_struct *vma, unsigned long addr);

static inline bool ptshare_populate(struct vm_area_struct *vma,
				    unsigned long addr)
{
	if (!ptshare_possible(vma))
		return false;
	return __ptshare_populate(vma, addr);
}

/* Unmap, truncate */

bool __ptshare_zap(struct mmu_gather *tlb, struct vm_area_struct *vma,
		   pmd_t *pmd, unsigned long addr, pte_t *pte, spinlock_t *ptl,
		   struct zap_details *details);

static inline bool ptshare_zap(struct mmu_gather *tlb,
			       struct vm_area_struct *vma, pmd_t *pmd,
			       unsigned long addr, pte_t *pte, spinlock_t *ptl,
			       struct zap_details *details)
{
	if (!ptshare_used(vma))
		return false;
	return __ptshare_zap(tlb, vma, pmd, addr, pte, ptl, details);
}

void __ptshare_zap_range(struct mmu_gather *tlb, struct vm_area_struct *vma,
			 pmd_t *pmd, unsigned long addr, unsigned long end,
			 struct zap_details *details);

static inline void ptshare_zap_range(struct mmu_gather *tlb,
				     struct vm_area_struct *vma, pmd_t *pmd,
				     unsigned long addr, unsigned long end,
				     struct zap_details *details)
{
	if (ptshare_used(vma))
		__ptshare_zap_range(tlb, vma, pmd, addr, end, details);
}

bool __ptshare_zap_done(struct vm_area_struct *vma, unsigned long addr,
			unsigned long end, struct zap_details *details);

static inline bool ptshare_zap_done(struct vm_area_struct *vma,
				    unsigned long addr, unsigned long end,
				    struct zap_details *details)
{
	if (!ptshare_used(vma))
		return false;
	return __ptshare_zap_done(vma, addr, end, details);
}

/*
 * The mm of a gather is passed along, because struct mmu_gather, which has
 * struct ptshare_gather in it, is not complete here.
 */

bool __ptshare_free(struct mmu_gather *tlb, pmd_t *pmd, unsigned long addr);

static inline bool ptshare_free(struct mmu_gather *tlb, struct mm_struct *mm,
				pmd_t *pmd, unsigned long addr)
{
	if (!ptshare_used_mm(mm))
		return false;
	return __ptshare_free(tlb, pmd, addr);
}

void __ptshare_flush_unlinked(struct mmu_gather *tlb);

static inline void ptshare_flush_unlinked(struct mmu_gather *tlb,
					  struct mm_struct *mm)
{
	if (ptshare_used_mm(mm))
		__ptshare_flush_unlinked(tlb);
}

void __ptshare_put_unlinked(struct mmu_gather *tlb);

static inline void ptshare_put_unlinked(struct mmu_gather *tlb,
					struct mm_struct *mm)
{
	if (ptshare_used_mm(mm))
		__ptshare_put_unlinked(tlb);
}

void __ptshare_gather_finish(struct mmu_gather *tlb);

static inline void ptshare_gather_finish(struct mmu_gather *tlb,
					 struct mm_struct *mm)
{
	if (ptshare_used_mm(mm))
		__ptshare_gather_finish(tlb);
}

void __ptshare_mm_check(struct mm_struct *mm);

static inline void ptshare_mm_check(struct mm_struct *mm)
{
	if (ptshare_used_mm(mm))
		__ptshare_mm_check(mm);
}

void __ptshare_zap_hosts(struct address_space *mapping, pgoff_t first,
			 pgoff_t last, struct zap_details *details);

static inline void ptshare_zap_hosts(struct address_space *mapping,
				     pgoff_t first, pgoff_t last,
				     struct zap_details *details)
{
	if (ptshare_active())
		__ptshare_zap_hosts(mapping, first, last, details);
}

void __ptshare_mapping_release(struct address_space *mapping);

static inline void ptshare_mapping_release(struct address_space *mapping)
{
	if (ptshare_active())
		__ptshare_mapping_release(mapping);
}

/* TLB flushes of a host; true: done for its members */

bool __ptshare_flush(struct mm_struct *mm);

static inline bool ptshare_flush(struct mm_struct *mm)
{
	if (!ptshare_is_host(mm))
		return false;
	return __ptshare_flush(mm);
}

bool __ptshare_batch_flush(struct arch_tlbflush_unmap_batch *batch,
			   struct mm_struct *mm, unsigned long uaddr);

static inline bool ptshare_batch_flush(struct arch_tlbflush_unmap_batch *batch,
				       struct mm_struct *mm,
				       unsigned long uaddr)
{
	if (!ptshare_is_host(mm))
		return false;
	return __ptshare_batch_flush(batch, mm, uaddr);
}

void __ptshare_batch_flush_all(struct tlbflush_unmap_batch *batch);

static inline void ptshare_batch_flush_all(struct tlbflush_unmap_batch *batch)
{
	if (ptshare_active())
		__ptshare_batch_flush_all(batch);
}

/* Reverse mapping */

bool __ptshare_rmap_walk(struct folio *folio, struct address_space *mapping,
			 struct rmap_walk_control *rwc);

static inline bool ptshare_rmap_walk(struct folio *folio,
				     struct address_space *mapping,
				     struct rmap_walk_control *rwc)
{
	if (!ptshare_active())
		return false;
	return __ptshare_rmap_walk(folio, mapping, rwc);
}

bool __ptshare_walk_skip(struct page_vma_mapped_walk *pvmw);

static inline bool ptshare_walk_skip(struct page_vma_mapped_walk *pvmw)
{
	if (!ptshare_active())
		return false;
	return __ptshare_walk_skip(pvmw);
}

/* What a process does to its own mappings */

bool __ptshare_protect(struct mmu_gather *tlb, struct vm_area_struct *vma,
		       pmd_t *pmd, unsigned long addr, pte_t *pte,
		       spinlock_t *ptl, bool prot_numa);

static inline bool ptshare_protect(struct mmu_gather *tlb,
				   struct vm_area_struct *vma, pmd_t *pmd,
				   unsigned long addr, pte_t *pte,
				   spinlock_t *ptl, bool prot_numa)
{
	if (!ptshare_used(vma))
		return false;
	return __ptshare_protect(tlb, vma, pmd, addr, pte, ptl, prot_numa);
}

bool __ptshare_unlink(struct vm_area_struct *vma, pmd_t *pmd,
		      unsigned long addr, pte_t *pte, spinlock_t *ptl);

static inline bool ptshare_unlink(struct vm_area_struct *vma, pmd_t *pmd,
				  unsigned long addr, pte_t *pte,
				  spinlock_t *ptl)
{
	if (!ptshare_used(vma))
		return false;
	return __ptshare_unlink(vma, pmd, addr, pte, ptl);
}

void __ptshare_refill(struct vm_area_struct *vma, pmd_t *pmd,
		      unsigned long addr, unsigned long end);

static inline void ptshare_refill(struct vm_area_struct *vma, pmd_t *pmd,
				  unsigned long addr, unsigned long end)
{
	if (ptshare_used(vma))
		__ptshare_refill(vma, pmd, addr, end);
}

void __ptshare_unlink_range(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end);

static inline void ptshare_unlink_range(struct vm_area_struct *vma,
					unsigned long start, unsigned long end)
{
	if (ptshare_used(vma))
		__ptshare_unlink_range(vma, start, end);
}

void __ptshare_unlink_mm(struct mm_struct *mm);

static inline void ptshare_unlink_mm(struct mm_struct *mm)
{
	if (ptshare_active())
		__ptshare_unlink_mm(mm);
}

/* What is reported about it */

unsigned int __ptshare_links(pte_t *pte);

static inline unsigned int ptshare_links(pte_t *pte)
{
	if (!ptshare_active())
		return 0;
	return __ptshare_links(pte);
}

unsigned int __ptshare_extra(pte_t *pte, struct page *page);

static inline unsigned int ptshare_extra(pte_t *pte, struct page *page)
{
	if (!ptshare_active())
		return 0;
	return __ptshare_extra(pte, page);
}

unsigned long __ptshare_rss(struct mm_struct *mm, unsigned long *file,
			    unsigned long *shmem);

static inline unsigned long ptshare_rss_add(struct mm_struct *mm,
					    unsigned long *file,
					    unsigned long *shmem)
{
	if (!ptshare_active())
		return 0;
	return __ptshare_rss(mm, file, shmem);
}

static inline unsigned long ptshare_rss(struct mm_struct *mm)
{
	unsigned long file = 0, shmem = 0;

	return ptshare_rss_add(mm, &file, &shmem);
}

#endif /* _LINUX_PTSHARE_H */
