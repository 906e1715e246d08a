// SPDX-License-Identifier: GPL-2.0
/*
 * Control: the switch, and what processes ask for.
 */

#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/mutex.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sysctl.h>

#include <xen/xen.h>

#include "internal.h"

DEFINE_STATIC_KEY_FALSE(ptshare_key);

/* vm.ptshare */
int ptshare_policy __read_mostly = PTSHARE_NEVER;

/* vm.ptshare_trust */
int ptshare_trust __read_mostly = PTSHARE_TRUST_OPENER;

/**
 * ptshare_madvise() - MADV_SHARE_PT and MADV_NOSHARE_PT
 * @vma: the VMA
 * @start: first byte of the part of it that is concerned
 * @end: first byte behind
 * @advice: one of the two
 * @vm_flags: the flags that this part is going to have
 *
 * Advice counts whenever it is given, also while vm.ptshare is 0. To say so of
 * a mapping that can never share is no mistake; a program need not know.
 *
 * Context: mmap_lock for write. May sleep.
 * Return: 0, or -EINVAL where the kernel cannot share at all.
 */
int ptshare_madvise(struct vm_area_struct *vma, unsigned long start,
		    unsigned long end, int advice, unsigned long *vm_flags)
{
	if (xen_pv_domain())
		return -EINVAL;

	if (!ptshare_file_eligible(vma)) {
		count_vm_event(PTSHARE_ADVICE_IGNORED);
		return 0;
	}

	if (advice == MADV_SHARE_PT) {
		*vm_flags &= ~VM_NOSHARE_PT;
		*vm_flags |= VM_SHARE_PT;
		return 0;
	}

	/* No fault links anything again before the flags are set. */
	vma_start_write(vma);
	ptshare_unlink_range(vma, start, end);
	*vm_flags &= ~VM_SHARE_PT;
	*vm_flags |= VM_NOSHARE_PT;
	return 0;
}

/**
 * ptshare_disable() - prctl(PR_SET_PTSHARE_DISABLE)
 * @mm: the mm
 * @disable: leave all shared tables and link none, or put an end to that
 *
 * Context: Takes mmap_lock for write. May sleep.
 * Return: 0, or -EINTR after a fatal signal.
 */
int ptshare_disable(struct mm_struct *mm, bool disable)
{
	if (mmap_write_lock_killable(mm))
		return -EINTR;
	if (disable) {
		set_bit(MMF_DISABLE_PTSHARE, &mm->flags);
		ptshare_unlink_mm(mm);
	} else {
		clear_bit(MMF_DISABLE_PTSHARE, &mm->flags);
	}
	mmap_write_unlock(mm);
	return 0;
}

/**
 * __ptshare_place() - choose an address at which a mapping can share
 * @file: what to map, NULL for anonymous memory
 * @len: bytes
 * @pgoff: offset in the file, pages
 * @flags: of mmap()
 *
 * The file is not looked at closely, it may still grow, and advice comes later.
 * Only what can never come to share is spared the loss of random bits. So are
 * 32-bit programs, which would lose all they have.
 *
 * Context: mmap_lock of current for write.
 * Return: an address congruent to @pgoff modulo PMD_SIZE, for use as a hint, or
 *	0 if any will do.
 */
unsigned long __ptshare_place(struct file *file, unsigned long len,
			      unsigned long pgoff, unsigned long flags)
{
	unsigned long offset = pgoff << PAGE_SHIFT;
	unsigned long lead = -offset & ~PMD_MASK;
	unsigned long addr;

	if (READ_ONCE(ptshare_policy) == PTSHARE_NEVER ||
	    test_bit(MMF_DISABLE_PTSHARE, &current->mm->flags))
		return 0;
	if (!(flags & MAP_SHARED) || flags & MAP_FIXED || in_compat_syscall())
		return 0;
	if (file && !(file->f_op->fop_flags & FOP_PTSHARE))
		return 0;
	if (len < lead + PMD_SIZE)
		return 0;

	addr = mm_get_unmapped_area(current->mm, NULL, 0,
				    len + PMD_SIZE - PAGE_SIZE, 0, flags);
	if (IS_ERR_VALUE(addr))
		return 0;
	return addr + ((offset - addr) & ~PMD_MASK);
}

static int ptshare_policy_set(int policy)
{
	if (policy < PTSHARE_NEVER || policy > PTSHARE_ALWAYS)
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
/* One at a time, for they take members from the same lists. */
static DEFINE_MUTEX(ptshare_unlink_mutex);

static int ptshare_unlink_members(struct ptshare_host *host)
{
	unsigned long nr = ptshare_nr_members(host);
	struct mm_struct *mm;
	int err = 0;

	while (!err && nr-- && ptshare_member_next(host, &mm)) {
		if (!mm)
			continue;
		err = mmap_write_lock_killable(mm);
		if (!err) {
			ptshare_unlink_mm(mm);
			mmap_write_unlock(mm);
		}
		mmput(mm);
		if (!err && signal_pending(current))
			err = -ERESTARTSYS;
		cond_resched();
	}
	return err;
}

/*
 * Make every process leave all its shared tables. With a policy other than 0
 * they are free to link them again. Otherwise nothing is shared when this is
 * done, but by processes that are exiting: a fault that saw another policy has
 * joined its host before the host's members are looked at, and is waited for,
 * or looks at the policy once more after that, see __ptshare_link().
 */
static int ptshare_unlink_all(void)
{
	struct ptshare_host *host = NULL;
	int err;

	err = mutex_lock_interruptible(&ptshare_unlink_mutex);
	if (err)
		return err;
	while (!err && (host = ptshare_host_next_all(host)))
		err = ptshare_unlink_members(host);
	mutex_unlock(&ptshare_unlink_mutex);

	if (host)
		ptshare_host_put(host);
	return err;
}

static int ptshare_unlink_sysctl(const struct ctl_table *table, int write,
				 void *buffer, size_t *lenp, loff_t *ppos)
{
	int value = 0;
	struct ctl_table tmp = *table;
	int err;

	tmp.data = &value;
	err = proc_dointvec(&tmp, write, buffer, lenp, ppos);
	if (err || !write)
		return err;
	return value == 1 ? ptshare_unlink_all() : -EINVAL;
}

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
	{
		.procname	= "ptshare_trust",
		.data		= &ptshare_trust,
		.maxlen		= sizeof(int),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
	{
		.procname	= "ptshare_unlink",
		.maxlen		= sizeof(int),
		.mode		= 0200,
		.proc_handler	= ptshare_unlink_sysctl,
	},
};
#endif

static int ptshare_boot_policy __initdata = CONFIG_PTSHARE_DEFAULT;

static int __init ptshare_setup(char *str)
{
	int policy;

	if (kstrtoint(str, 0, &policy) ||
	    policy < PTSHARE_NEVER || policy > PTSHARE_ALWAYS)
		pr_warn("ptshare=%s: not 0, 1 or 2, ignored\n", str);
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
