// SPDX-License-Identifier: GPL-2.0
/*
 * Members: which mms a host has to flush.
 */

#include <linux/slab.h>

#include "internal.h"

static struct ptshare_member *ptshare_member_find(struct ptshare_host *host,
						  struct mm_struct *mm)
{
	struct ptshare_member *member;

	lockdep_assert_held(&mm->ptshare_lock);
	list_for_each_entry(member, &mm->ptshare_members, mm_node) {
		if (member->host == host) {
			/* An mm touches one file many times in a row. */
			list_move(&member->mm_node, &mm->ptshare_members);
			return member;
		}
	}
	return NULL;
}

static bool ptshare_member_count(struct ptshare_host *host,
				 struct mm_struct *mm)
{
	struct ptshare_member *member;

	member = ptshare_member_find(host, mm);
	if (member)
		member->links++;
	return member;
}

/**
 * ptshare_join() - count a link of an mm to tables of a host
 * @host: the host, of which the caller has a reference
 * @mm: the sharer
 * @gfp: how to allocate what its first link takes
 *
 * On return @mm is a member: flushes of @host will reach it. So it comes
 * before the PMD is set.
 *
 * Context: Sleeps as @gfp allows.
 * Return: false when out of memory.
 */
bool ptshare_join(struct ptshare_host *host, struct mm_struct *mm, gfp_t gfp)
{
	struct ptshare_member *new;
	bool counted;

	spin_lock(&mm->ptshare_lock);
	counted = ptshare_member_count(host, mm);
	spin_unlock(&mm->ptshare_lock);
	if (counted)
		return true;

	new = kmalloc(sizeof(*new), gfp);
	if (!new)
		return false;
	new->host = host;
	new->mm = mm;
	new->links = 1;

	spin_lock(&mm->ptshare_lock);
	counted = ptshare_member_count(host, mm);
	if (!counted) {
		refcount_inc(&host->users);
		list_add(&new->mm_node, &mm->ptshare_members);
		spin_lock(&host->members_lock);
		list_add(&new->host_node, &host->members);
		spin_unlock(&host->members_lock);
	}
	spin_unlock(&mm->ptshare_lock);

	if (counted)
		kfree(new);
	return true;
}

/**
 * ptshare_leave() - drop links of an mm to tables of a host
 * @host: the host; not to be used any more unless the caller has a reference
 * @mm: the sharer
 * @links: how many
 *
 * The mm has flushed its TLB since it unlinked them, and has put the tables.
 *
 * Context: May sleep.
 */
void ptshare_leave(struct ptshare_host *host, struct mm_struct *mm,
		   unsigned long links)
{
	struct ptshare_member *member;

	spin_lock(&mm->ptshare_lock);
	member = ptshare_member_find(host, mm);
	if (WARN_ON_ONCE(!member || member->links < links)) {
		spin_unlock(&mm->ptshare_lock);
		return;
	}
	member->links -= links;
	if (member->links) {
		spin_unlock(&mm->ptshare_lock);
		return;
	}
	list_del(&member->mm_node);
	spin_lock(&host->members_lock);
	list_del(&member->host_node);
	spin_unlock(&host->members_lock);
	spin_unlock(&mm->ptshare_lock);

	kfree(member);
	ptshare_host_put(host);
}

/**
 * ptshare_mm_init() - initialise the fields of an mm
 * @mm: a new mm, maybe copied from another
 */
void ptshare_mm_init(struct mm_struct *mm)
{
	mm->ptshare_host = NULL;
	spin_lock_init(&mm->ptshare_lock);
	INIT_LIST_HEAD(&mm->ptshare_members);
}

/**
 * ptshare_mm_check() - complain about an mm that is freed while it shares
 * @mm: the mm
 */
void ptshare_mm_check(struct mm_struct *mm)
{
	if (WARN_ON_ONCE(!list_empty(&mm->ptshare_members)))
		pr_alert("BUG: mm:%p freed while a host flushes it\n", mm);
}
