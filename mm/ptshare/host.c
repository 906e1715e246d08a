// SPDX-License-Identifier: GPL-2.0
/*
 * Hosts: their mm and VMA, and where a file keeps them.
 */

#include <linux/backing-file.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include <asm/tlb.h>

#include <trace/events/ptshare.h>

#include "internal.h"

LIST_HEAD(ptshare_hosts);

/* Adding and removing hosts; finding that of a file needs only RCU. */
DEFINE_SPINLOCK(ptshare_hosts_lock);

/**
 * ptshare_host_end() - the end of what a host can map
 *
 * A host maps a file at address 0, and a sparse file may be larger than any
 * address space.
 *
 * Return: file offset in bytes, a multiple of PMD_SIZE.
 */
unsigned long ptshare_host_end(void)
{
	return TASK_SIZE_MAX & PMD_MASK;
}

static void ptshare_class_init(struct ptshare_class *class,
			       struct vm_area_struct *vma)
{
	const struct cred *cred = file_user_cred(vma->vm_file);

	class->prot = vma->vm_page_prot;
	class->access = vma->vm_flags & (VM_WRITE | VM_EXEC);
	if (READ_ONCE(ptshare_trust) == PTSHARE_TRUST_ALL) {
		/* Nobody's: tables of users who trust each other stay theirs. */
		class->uid = INVALID_UID;
		class->user_ns = &init_user_ns;
	} else {
		class->uid = cred->fsuid;
		class->user_ns = cred->user_ns;
	}
}

static bool ptshare_class_equal(const struct ptshare_class *a,
				const struct ptshare_class *b)
{
	return pgprot_val(a->prot) == pgprot_val(b->prot) &&
	       a->access == b->access && uid_eq(a->uid, b->uid) &&
	       a->user_ns == b->user_ns;
}

static struct ptshare_host *ptshare_host_find(struct address_space *mapping,
					      const struct ptshare_class *class)
{
	struct ptshare_host *host;

	hlist_for_each_entry_rcu(host, &mapping->i_ptshare, node,
				 lockdep_is_held(&ptshare_hosts_lock)) {
		if (ptshare_class_equal(&host->class, class) &&
		    refcount_inc_not_zero(&host->users))
			return host;
	}
	return NULL;
}

static void ptshare_host_free(struct ptshare_host *host)
{
	struct mmu_gather tlb;

	/* Upper levels only: every table was erased before the last put. */
	tlb_gather_mmu(&tlb, host->mm);
	free_pgd_range(&tlb, 0, ptshare_host_end(), 0, 0);
	tlb_finish_mmu(&tlb);

	vm_area_free(host->vma);
	mmdrop(host->mm);
	put_user_ns(host->class.user_ns);
	/* No entries, but an expansion that failed may have left nodes. */
	xa_destroy(&host->tables);
	kfree_rcu(host, rcu);
}

static struct ptshare_host *ptshare_host_alloc(struct address_space *mapping,
					       const struct ptshare_class *class)
{
	struct ptshare_host *host;

	host = kzalloc(sizeof(*host), GFP_KERNEL_ACCOUNT);
	if (!host)
		return NULL;

	host->mm = mm_alloc_ptshare();
	if (!host->mm)
		goto free_host;

	host->vma = vm_area_alloc(host->mm);
	if (!host->vma)
		goto free_mm;

	/*
	 * Not VM_SPECIAL in any way, which rmap would respect, and not
	 * anonymous: vm_area_alloc() has set vm_ops. No vm_file, so that no
	 * file, mount or write count is pinned.
	 */
	vm_flags_init(host->vma, VM_SHARED | VM_MAYSHARE | VM_READ |
		      VM_MAYREAD | class->access);
	host->vma->vm_start = 0;
	host->vma->vm_end = ptshare_host_end();
	host->vma->vm_page_prot = class->prot;

	refcount_set(&host->users, 1);
	host->mapping = mapping;
	host->dev = mapping->host->i_sb->s_dev;
	host->ino = mapping->host->i_ino;
	host->class = *class;
	get_user_ns(host->class.user_ns);
	xa_init(&host->tables);
	spin_lock_init(&host->members_lock);
	INIT_LIST_HEAD(&host->members);
	host->mm->ptshare_host = host;
	return host;

free_mm:
	mmdrop(host->mm);
free_host:
	kfree(host);
	return NULL;
}

/**
 * ptshare_host_get() - find or make the host for a mapping
 * @vma: an eligible VMA
 * @make: make it if there is none. May sleep then.
 *
 * Context: mmap_lock or VMA lock of @vma.
 * Return: the host with a reference, or NULL when out of memory or not made.
 */
struct ptshare_host *ptshare_host_get(struct vm_area_struct *vma, bool make)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct ptshare_host *host, *new;
	struct ptshare_class class;

	ptshare_class_init(&class, vma);

	rcu_read_lock();
	host = ptshare_host_find(mapping, &class);
	rcu_read_unlock();
	if (host || !make)
		return host;

	new = ptshare_host_alloc(mapping, &class);
	if (!new)
		return NULL;

	spin_lock(&ptshare_hosts_lock);
	host = ptshare_host_find(mapping, &class);
	if (!host) {
		/*
		 * Whoever unmaps a folio for good holds its lock, and the
		 * folio's PTEs are filled under that lock: it will see here
		 * any host that has one.
		 */
		hlist_add_head_rcu(&new->node, &mapping->i_ptshare);
		list_add(&new->all, &ptshare_hosts);
	}
	spin_unlock(&ptshare_hosts_lock);

	if (host) {
		ptshare_host_free(new);
		return host;
	}
	count_vm_event(PTSHARE_HOST_ALLOC);
	trace_ptshare_host_create(new);
	return new;
}

/**
 * ptshare_host_put() - drop a reference to a host
 * @host: the host
 *
 * The last one is dropped by its last member, or by somebody who passed by: an
 * rmap walk, a truncation, a fault that found no table in the end, the checker,
 * a write to vm.ptshare_unlink. There are no tables then.
 *
 * Context: May sleep. Takes no lock that a caller in rmap or truncation holds.
 */
void ptshare_host_put(struct ptshare_host *host)
{
	/* For each page that rmap looks for, and hardly ever the last. */
	if (likely(refcount_dec_not_one(&host->users)))
		return;
	if (!__cond_lock(&ptshare_hosts_lock,
			 refcount_dec_and_lock(&host->users,
					       &ptshare_hosts_lock)))
		return;
	if (!hlist_unhashed(&host->node))
		hlist_del_init_rcu(&host->node);
	list_del(&host->all);
	spin_unlock(&ptshare_hosts_lock);

	WARN_ON_ONCE(atomic_long_read(&host->nr_tables));
	count_vm_event(PTSHARE_HOST_FREE);
	trace_ptshare_host_free(host);
	ptshare_host_free(host);
}

/**
 * ptshare_host_next() - iterate over the hosts of a file
 * @mapping: the file
 * @prev: where the last call left off, or NULL. Its reference is dropped.
 *
 * Context: May sleep. The caller keeps @mapping.
 * Return: the next host with a reference, or NULL.
 */
struct ptshare_host *ptshare_host_next(struct address_space *mapping,
				       struct ptshare_host *prev)
{
	struct ptshare_host *host = prev;

	rcu_read_lock();
	if (prev)
		hlist_for_each_entry_continue_rcu(host, node) {
			if (refcount_inc_not_zero(&host->users))
				break;
		}
	else
		hlist_for_each_entry_rcu(host, &mapping->i_ptshare, node) {
			if (refcount_inc_not_zero(&host->users))
				break;
		}
	rcu_read_unlock();

	if (prev)
		ptshare_host_put(prev);
	return host;
}

/**
 * ptshare_host_next_all() - iterate over the hosts of all files
 * @prev: where the last call left off, or NULL. Its reference is dropped.
 *
 * New hosts are put before those that are there.
 *
 * Context: May sleep.
 * Return: the next host with a reference, or NULL.
 */
struct ptshare_host *ptshare_host_next_all(struct ptshare_host *prev)
{
	struct ptshare_host *host;

	spin_lock(&ptshare_hosts_lock);
	host = list_prepare_entry(prev, &ptshare_hosts, all);
	list_for_each_entry_continue(host, &ptshare_hosts, all) {
		if (refcount_inc_not_zero(&host->users))
			goto found;
	}
	host = NULL;
found:
	spin_unlock(&ptshare_hosts_lock);

	if (prev)
		ptshare_host_put(prev);
	return host;
}

/**
 * __ptshare_mapping_release() - the inode goes
 * @mapping: its mapping
 *
 * Members go before the file of their VMA is closed and walkers hold a folio
 * or the inode, so no host should be here; the debug checker and a write to
 * vm.ptshare_unlink may keep one a little longer than its file.
 */
void __ptshare_mapping_release(struct address_space *mapping)
{
	struct ptshare_host *host;
	struct hlist_node *tmp;

	if (hlist_empty(&mapping->i_ptshare))
		return;

	spin_lock(&ptshare_hosts_lock);
	hlist_for_each_entry_safe(host, tmp, &mapping->i_ptshare, node) {
		VM_WARN_ON_ONCE(!list_empty(&host->members));
		hlist_del_init_rcu(&host->node);
		host->mapping = NULL;
	}
	spin_unlock(&ptshare_hosts_lock);
}
