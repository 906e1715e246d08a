// SPDX-License-Identifier: GPL-2.0
/*
 * Policy: what is shared, and the switch. Nothing here is needed for
 * correctness of what is shared already.
 */

#include <linux/fs.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/sysctl.h>

#include <xen/xen.h>

#include "../internal.h"
#include "internal.h"

DEFINE_STATIC_KEY_FALSE(ptshare_key);

enum {
	PTSHARE_NEVER	= 0,
	PTSHARE_ALWAYS	= 2,
};

static int ptshare_policy __read_mostly = PTSHARE_NEVER;

/*
 * A host costs a handful of pages (an mm, the upper levels of its page table),
 * a shared table saves one for every sharer but the first. A file smaller than
 * this, in bytes, would lose if it has few sharers. It is the file that counts:
 * a mapping may be cut in pieces, say by mprotect(), and be whole again, but
 * private tables that the pieces got would stay.
 */
#define PTSHARE_MIN_SIZE	(8 * PMD_SIZE)

/*
 * What a VMA may be. Everything else, be it known to do no good (locked,
 * userfaultfd, special mappings, protection keys) or unheard of, is out.
 */
#define PTSHARE_VM_FLAGS						\
	(VM_READ | VM_WRITE | VM_EXEC | VM_SHARED |			\
	 VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_MAYSHARE |		\
	 VM_ACCOUNT | VM_NORESERVE | VM_SEQ_READ | VM_RAND_READ |	\
	 VM_DONTDUMP | VM_DONTCOPY | VM_SOFTDIRTY |			\
	 VM_HUGEPAGE | VM_NOHUGEPAGE | VM_SEALED)

static bool ptshare_vma_eligible(struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_MAYSHARE) ||
	    (vma->vm_flags & ~PTSHARE_VM_FLAGS) || !vma_is_accessible(vma))
		return false;

	/*
	 * The file's faults must not depend on who takes them: the PTEs that
	 * one process fills are for all. So filesystems opt in.
	 */
	if (!vma->vm_file || !(vma->vm_file->f_op->fop_flags & FOP_PTSHARE) ||
	    vma_is_dax(vma) || vma->anon_vma)
		return false;

	/* A stacked filesystem opened it, with credentials of its own. */
	if (vma->vm_file->f_mode & FMODE_BACKING)
		return false;

	if (vma_soft_dirty_enabled(vma))
		return false;

	/*
	 * Secondary MMUs are told of what happens to this mm, not of what
	 * happens to a host. Registration excludes faults, see
	 * __mmu_notifier_register().
	 */
	if (mm_has_notifiers(vma->vm_mm))
		return false;

	return i_size_read(vma->vm_file->f_mapping->host) >= PTSHARE_MIN_SIZE;
}

/* Is the chunk at @addr all inside @vma, and a chunk of the file too? */
static bool ptshare_chunk_eligible(struct vm_area_struct *vma,
				   unsigned long addr, pgoff_t pgoff)
{
	addr &= PMD_MASK;
	if (addr < vma->vm_start || addr + PMD_SIZE > vma->vm_end)
		return false;
	if (!IS_ALIGNED((vma->vm_start >> PAGE_SHIFT) - vma->vm_pgoff,
			PTSHARE_CHUNK_PAGES))
		return false;
	return pgoff < ptshare_host_end() >> PAGE_SHIFT;
}

/*
 * Is the fault about to map a huge page? One PMD entry beats a shared table.
 * Without a folio in the page cache shmem may be about to allocate one.
 */
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
static bool ptshare_huge_preferred(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct folio *folio;
	bool huge;

	if (thp_disabled_by_hw() || vma_thp_disabled(vma, vma->vm_flags))
		return false;

	folio = filemap_get_folio(mapping, vmf->pgoff);
	if (IS_ERR(folio))
		return shmem_mapping(mapping) &&
		       (shmem_allowable_huge_orders(mapping->host, vma,
						    vmf->pgoff, 0, false) &
			BIT(PMD_ORDER));
	huge = folio_order(folio) == PMD_ORDER;
	folio_put(folio);
	return huge;
}
#else
static bool ptshare_huge_preferred(struct vm_fault *vmf)
{
	return false;
}
#endif

/**
 * ptshare_eligible() - may a shared table serve this fault?
 * @vmf: the fault
 *
 * Context: mmap_lock or VMA lock, at least for read. Does not sleep.
 * Return: true if so.
 */
bool ptshare_eligible(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;

	return READ_ONCE(ptshare_policy) == PTSHARE_ALWAYS &&
	       ptshare_vma_eligible(vma) &&
	       ptshare_chunk_eligible(vma, vmf->address, vmf->pgoff) &&
	       !ptshare_huge_preferred(vmf);
}

static int ptshare_policy_set(int policy)
{
	if (policy != PTSHARE_NEVER && policy != PTSHARE_ALWAYS)
		return -EINVAL;
	/* Xen PV wants to know of every page table, and of whose it is. */
	if (policy != PTSHARE_NEVER && xen_pv_domain())
		return -EOPNOTSUPP;

	/*
	 * The branches are patched one by one. All of them, among them those
	 * that unlink and flush, have to be live before the first link.
	 */
	if (policy != PTSHARE_NEVER)
		static_branch_enable(&ptshare_key);
	WRITE_ONCE(ptshare_policy, policy);
	return 0;
}

#ifdef CONFIG_SYSCTL
static int ptshare_sysctl(const struct ctl_table *table, int write,
			  void *buffer, size_t *lenp, loff_t *ppos)
{
	int policy = READ_ONCE(ptshare_policy);
	struct ctl_table tmp = *table;
	int err;

	tmp.data = &policy;
	err = proc_dointvec(&tmp, write, buffer, lenp, ppos);
	if (err || !write)
		return err;
	return ptshare_policy_set(policy);
}

static struct ctl_table ptshare_sysctl_table[] = {
	{
		.procname	= "ptshare",
		.maxlen		= sizeof(int),
		.mode		= 0644,
		.proc_handler	= ptshare_sysctl,
	},
};
#endif

static int ptshare_boot_policy __initdata = PTSHARE_NEVER;

static int __init ptshare_setup(char *str)
{
	int policy;

	if (kstrtoint(str, 0, &policy) ||
	    (policy != PTSHARE_NEVER && policy != PTSHARE_ALWAYS))
		pr_warn("ptshare=%s: not 0 or 2, ignored\n", str);
	else
		ptshare_boot_policy = policy;
	return 1;
}
__setup("ptshare=", ptshare_setup);

static int __init ptshare_init(void)
{
#ifdef CONFIG_SYSCTL
	register_sysctl_init("vm", ptshare_sysctl_table);
#endif
	return ptshare_policy_set(ptshare_boot_policy);
}
subsys_initcall(ptshare_init);
