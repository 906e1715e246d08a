// SPDX-License-Identifier: GPL-2.0
/*
 * TLB flushes of a host: to every member, or to all CPUs.
 *
 * Who has to be flushed after a PTE of a shared table was cleared or
 * downgraded? Every mm whose hardware walked the table before, and that is on
 * the list: it was put there before its PMD was set, and stays until it has
 * flushed, on its own account, after clearing the PMD. An mm that joins after
 * the list was read sets its PMD later still, and its walks find the new PTE.
 *
 * For both sides to agree, the PTE must be written before the list is read,
 * and the list before the PMD. x86 keeps stores in order, and page walks
 * after them, with the locked operation of the PMD lock between list and PMD;
 * the barrier below is the other side's.
 *
 * With very many members it takes less to flush everything: every CPU drops
 * all it has cached of any mm. It is no matter then who is a member, nor that
 * generations are not raised. They tell a CPU that loads an mm, or leaves lazy
 * TLB mode, whether it may use what it has cached before, and there is nothing
 * left from before: by an interrupt that is waited for, in lazy mode and in all
 * PCIDs, too. What a CPU caches later comes from walks that see the new PTE.
 */

#include <linux/sched.h>

#include <asm/tlbflush.h>

#include <trace/events/ptshare.h>

#include "internal.h"

/*
 * Raising a member's generation is some 50 ns if its mm is not in the cache,
 * under the PTE lock. A flush of everything interrupts CPUs that no member runs
 * on, and takes the translations of others along, so not for a few members.
 */
#define PTSHARE_FLUSH_EACH	64U

/* How many there are may change at any time: both ways to flush are right. */
static bool ptshare_flush_all(struct ptshare_host *host)
{
	return READ_ONCE(host->nr_members) > max(PTSHARE_FLUSH_EACH,
						 num_online_cpus());
}

static void ptshare_add_members(struct ptshare_host *host,
				struct arch_tlbflush_unmap_batch *batch,
				unsigned long uaddr)
{
	struct ptshare_member *member;

	spin_lock(&host->members_lock);
	smp_mb__after_spinlock();
	list_for_each_entry(member, &host->members, host_node)
		arch_tlbbatch_add_pending(batch, member->mm, uaddr);
	spin_unlock(&host->members_lock);
}

/**
 * __ptshare_flush() - flush the TLBs of all members of a host, now
 * @mm: the host's mm
 *
 * All pages, because members have the file at addresses of their own. One
 * round of IPIs however many members there are: it goes to the CPUs that any
 * of them runs on; for those that run nowhere the raised generation is
 * enough, they flush when they are switched to.
 *
 * The batch is that of the task for reclaim. What was deferred in it is flushed
 * with the rest; having too little to flush later does no harm.
 *
 * Context: Interrupts enabled. Called under PTE locks.
 * Return: true, this was all.
 */
bool __ptshare_flush(struct mm_struct *mm)
{
	struct arch_tlbflush_unmap_batch *batch = &current->tlb_ubc.arch;

	count_vm_event(PTSHARE_FLUSH);
	trace_ptshare_flush(mm->ptshare_host, false);
	if (ptshare_flush_all(mm->ptshare_host)) {
		flush_tlb_all();
		return true;
	}
	ptshare_add_members(mm->ptshare_host, batch, 0);
	arch_tlbbatch_flush(batch);
	return true;
}

/**
 * __ptshare_batch_flush() - add all members of a host to a batch
 * @batch: what arch_tlbbatch_flush() will flush, of the current task
 * @mm: the host's mm
 * @uaddr: address of a cleared PTE
 *
 * A CPU mask cannot say that everything has to go, for who is in it flushes
 * what it has loaded, and only if a generation was raised.
 *
 * Context: PTE lock.
 * Return: true, this was all.
 */
bool __ptshare_batch_flush(struct arch_tlbflush_unmap_batch *batch,
			   struct mm_struct *mm, unsigned long uaddr)
{
	count_vm_event(PTSHARE_FLUSH_BATCHED);
	trace_ptshare_flush(mm->ptshare_host, true);
	if (ptshare_flush_all(mm->ptshare_host))
		current->tlb_ubc.flush_all = true;
	else
		ptshare_add_members(mm->ptshare_host, batch, uaddr);
	return true;
}

/**
 * __ptshare_batch_flush_all() - flush everything if a batch asks for it
 * @batch: the batch of the current task; arch_tlbbatch_flush() does the rest
 *
 * Context: Interrupts enabled.
 */
void __ptshare_batch_flush_all(struct tlbflush_unmap_batch *batch)
{
	if (!batch->flush_all)
		return;
	batch->flush_all = false;
	flush_tlb_all();
}
