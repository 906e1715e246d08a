// SPDX-License-Identifier: GPL-2.0
/*
 * Policy: what is shared. Nothing here is needed for correctness of what is
 * shared already.
 */

#include <linux/fs.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/coredump.h>
#include <linux/shmem_fs.h>

#include "../internal.h"
#include "internal.h"

/*
 * What a VMA may be. Everything else, be it known to do no good (locked,
 * userfaultfd, special mappings, protection keys) or unheard of, is out.
 */
#define PTSHARE_VM_FLAGS						\
	(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED |			\
	 VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_MAYSHARE |		\
	 VM_ACCOUNT | VM_NORESERVE | VM_SEQ_READ | VM_RAND_READ |	\
	 VM_DONTDUMP | VM_DONTCOPY | VM_SOFTDIRTY |			\
	 VM_HUGEPAGE | VM_NOHUGEPAGE | VM_SEALED |			\
	 VM_SHARE_PT | VM_NOSHARE_PT)

/**
 * ptshare_file_eligible() - does a VMA map a file that takes part, shared?
 * @vma: the VMA
 *
 * Nothing that a process may do to @vma changes the answer.
 *
 * Context: mmap_lock or VMA lock or i_mmap_rwsem, at least for read.
 * Return: true if so.
 */
bool ptshare_file_eligible(struct vm_area_struct *vma)
{
	/*
	 * The file's faults must not depend on who takes them: the PTEs that
	 * one process fills are for all. So filesystems opt in.
	 */
	if (!(vma->vm_flags & VM_MAYSHARE) || !vma->vm_file ||
	    !(vma->vm_file->f_op->fop_flags & FOP_PTSHARE) || vma_is_dax(vma))
		return false;

	/*
	 * A driver that maps a shmem file of its own making may have plans for
	 * the VMA: i915 changes its vm_page_prot, with no regard for faults.
	 * Other files were opened, which goes for memfds, too, so that they
	 * can be read at an offset, or are the kernel's, and private.
	 */
	if (!(vma->vm_file->f_mode & FMODE_PREAD) &&
	    !IS_PRIVATE(file_inode(vma->vm_file)))
		return false;

	/*
	 * The filesystems that opt in do not count VMAs. Whoever does has put
	 * their file there and opened it himself, as coda has its daemon do:
	 * f_cred is not the user. Unless the flag is of operations of his own
	 * making, as those of System V shared memory on a file of shmem.
	 */
	return !vma->vm_ops->open ||
	       vma->vm_file->f_op != file_inode(vma->vm_file)->i_fop;
}

/* PTSHARE_LINK, or the counter of what speaks against it. */
static enum vm_event_item ptshare_vma_eligible(struct vm_area_struct *vma)
{
	if (!ptshare_file_eligible(vma))
		return PTSHARE_FALLBACK_FILE;

	if ((vma->vm_flags & ~PTSHARE_VM_FLAGS) || !vma_is_accessible(vma) ||
	    vma_soft_dirty_enabled(vma) || vma->anon_vma)
		return PTSHARE_FALLBACK_FLAGS;

	/*
	 * Secondary MMUs are told of what happens to this mm, not of what
	 * happens to a host. Registration excludes faults, see
	 * __mmu_notifier_register().
	 */
	if (mm_has_notifiers(vma->vm_mm))
		return PTSHARE_FALLBACK_NOTIFIER;

	if (i_size_read(vma->vm_file->f_mapping->host) < ptshare_min_size())
		return PTSHARE_FALLBACK_SMALL;
	return PTSHARE_LINK;
}

/* What have the administrator and the process to say? */
static bool ptshare_wanted(struct vm_area_struct *vma)
{
	int policy = READ_ONCE(ptshare_policy);

	if (vma->vm_flags & VM_NOSHARE_PT ||
	    test_bit(MMF_DISABLE_PTSHARE, &vma->vm_mm->flags))
		return false;
	return policy == PTSHARE_ALWAYS ||
	       (policy == PTSHARE_ADVISED && vma->vm_flags & VM_SHARE_PT);
}

/*
 * Is the chunk at @addr all inside @vma, and a chunk of the file too? In one
 * beyond its end a fault would leave a table behind, and get SIGBUS.
 */
static enum vm_event_item ptshare_chunk_eligible(struct vm_area_struct *vma,
						 unsigned long addr,
						 pgoff_t pgoff)
{
	struct inode *inode = vma->vm_file->f_mapping->host;

	if (!IS_ALIGNED((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff,
			PTSHARE_CHUNK_PAGES))
		return PTSHARE_FALLBACK_ALIGN;
	addr &= PMD_MASK;
	if (addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end ||
	    pgoff >= ptshare_host_end() >> PAGE_SHIFT ||
	    round_down(pgoff, PTSHARE_CHUNK_PAGES) >=
	    DIV_ROUND_UP(i_size_read(inode), PAGE_SIZE))
		return PTSHARE_FALLBACK_EDGE;
	return PTSHARE_LINK;
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/*
 * Will a fault have a huge page read? Only where there is nothing in the way: a
 * page of the chunk in the page cache, or the end of the file. Else fault-around
 * could find a page, and make a private table for it.
 */
static bool ptshare_huge_read(struct vm_area_struct *vma, pgoff_t pgoff)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	loff_t start = (loff_t)round_down(pgoff, PTSHARE_CHUNK_PAGES) <<
		       PAGE_SHIFT;
	loff_t end = start + PMD_SIZE;

	return vma->vm_flags & VM_HUGEPAGE &&
	       mapping_max_folio_size(mapping) >= PMD_SIZE &&
	       i_size_read(mapping->host) >= end &&
	       !filemap_range_has_page(mapping, start, end - 1);
}

/**
 * ptshare_huge_preferred() - is a huge page to be mapped here?
 * @vma: the VMA
 * @pgoff: a page of the chunk, page offset
 *
 * One PMD entry beats a shared table. Without a folio in the page cache shmem
 * may be about to allocate one, or readahead for MADV_HUGEPAGE. The fault that
 * comes back from that maps it only where there is no table yet.
 *
 * Context: mmap_lock, VMA lock or i_mmap_rwsem, at least for read. Does not
 *	sleep.
 * Return: true if a fault would map one.
 */
bool ptshare_huge_preferred(struct vm_area_struct *vma, pgoff_t pgoff)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct folio *folio;
	bool huge;

	if (thp_disabled_by_hw() || vma_thp_disabled(vma, vma->vm_flags))
		return false;

	folio = filemap_get_folio(mapping, pgoff);
	if (IS_ERR(folio)) {
		if (shmem_mapping(mapping))
			return shmem_allowable_huge_orders(mapping->host, vma,
							   pgoff, 0, false) &
			       BIT(PMD_ORDER);
		return ptshare_huge_read(vma, pgoff);
	}
	huge = folio_order(folio) == PMD_ORDER;
	folio_put(folio);
	return huge;
}
#else
bool ptshare_huge_preferred(struct vm_area_struct *vma, pgoff_t pgoff)
{
	return false;
}
#endif

/**
 * ptshare_eligible() - may a shared table serve this fault?
 * @vmf: the fault
 * @count: if not, count why
 *
 * Context: mmap_lock or VMA lock, at least for read. Does not sleep.
 * Return: true if so.
 */
bool ptshare_eligible(struct vm_fault *vmf, bool count)
{
	struct vm_area_struct *vma = vmf->vma;
	enum vm_event_item event;

	if (!ptshare_wanted(vma) || !vma->vm_file)
		return false;

	event = ptshare_vma_eligible(vma);
	if (event == PTSHARE_LINK)
		event = ptshare_chunk_eligible(vma, vmf->address, vmf->pgoff);
	if (event == PTSHARE_LINK && ptshare_huge_preferred(vma, vmf->pgoff))
		event = PTSHARE_FALLBACK_HUGE;
	if (event == PTSHARE_LINK)
		return true;
	if (count)
		count_vm_event(event);
	return false;
}
