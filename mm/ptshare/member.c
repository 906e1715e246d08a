// SPDX-License-Identifier: GPL-2.0
/*
 * Members: which mms a host has to flush.
 */

#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "internal.h"

static struct ptshare_host *ptshare_node_host(const struct rb_node *node)
{
	return rb_entry(node, struct ptshare_member, mm_node)->host;
}

static int ptshare_member_cmp(const void *host, const struct rb_node *node)
{
	const void *other = ptshare_node_host(node);

	return host < other ? -1 : host > other;
}

static bool ptshare_member_less(struct rb_node *a, const struct rb_node *b)
{
	return ptshare_node_host(a) < ptshare_node_host(b);
}

static struct ptshare_member *ptshare_member_find(struct ptshare_host *host,
						  struct mm_struct *mm)
{
	lockdep_assert_held(&mm->ptshare_lock);
	return rb_entry_safe(rb_find(host, &mm->ptshare_members,
				     ptshare_member_cmp),
			     struct ptshare_member, mm_node);
}

static bool ptshare_member_count(struct ptshare_host *host,
				 struct mm_struct *mm, unsigned long links)
{
	struct ptshare_member *member;

	member = ptshare_member_find(host, mm);
	if (member)
		member->links += links;
	return member;
}

/**
 * ptshare_join() - count links of an mm to tables of a host
 * @host: the host, of which the caller has a reference
 * @mm: the sharer
 * @links: how many
 * @gfp: how to allocate what its first link takes
 *
 * When it returns true @mm is a member: flushes of @host will reach it. So it
 * comes before the PMD is set.
 *
 * Context: Sleeps as @gfp allows.
 * Return: false when out of memory.
 */
bool ptshare_join(struct ptshare_host *host, struct mm_struct *mm,
		  unsigned long links, gfp_t gfp)
{
	struct ptshare_member *new;
	bool counted;

	spin_lock(&mm->ptshare_lock);
	counted = ptshare_member_count(host, mm, links);
	spin_unlock(&mm->ptshare_lock);
	if (counted)
		return true;

	new = kmalloc(sizeof(*new), gfp);
	if (!new)
		return false;
	new->host = host;
	new->mm = mm;
	new->links = links;

	/* Before the PMD: its lock is taken when the one here has been dropped. */
	set_bit(MMF_PTSHARE, &mm->flags);
	spin_lock(&mm->ptshare_lock);
	counted = ptshare_member_count(host, mm, links);
	if (!counted) {
		refcount_inc(&host->users);
		rb_add(&new->mm_node, &mm->ptshare_members,
		       ptshare_member_less);
		spin_lock(&host->members_lock);
		list_add_tail(&new->host_node, &host->members);
		WRITE_ONCE(host->nr_members, host->nr_members + 1);
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
 * The mm has flushed its TLB since it unlinked them, or has never set the PMDs,
 * and has put the tables.
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
	rb_erase(&member->mm_node, &mm->ptshare_members);
	spin_lock(&host->members_lock);
	list_del(&member->host_node);
	WRITE_ONCE(host->nr_members, host->nr_members - 1);
	spin_unlock(&host->members_lock);
	spin_unlock(&mm->ptshare_lock);

	kfree(member);
	ptshare_host_put(host);
}

/**
 * ptshare_member_next() - take the members of a host in turn
 * @host: the host, of which the caller has a reference
 * @mm: where to put the mm of the member, with a reference to its users, or
 *	NULL if it is exiting
 *
 * The member goes to the end of the list, where new ones go, too: who calls
 * this as often as there are members has seen all that were there at first,
 * but those that have left.
 *
 * Return: false if there is none.
 */
bool ptshare_member_next(struct ptshare_host *host, struct mm_struct **mm)
{
	struct ptshare_member *member;

	spin_lock(&host->members_lock);
	member = list_first_entry_or_null(&host->members,
					  struct ptshare_member, host_node);
	if (member) {
		list_move_tail(&member->host_node, &host->members);
		/* It leaves before the mm is freed, and needs the lock to. */
		*mm = mmget_not_zero(member->mm) ? member->mm : NULL;
	}
	spin_unlock(&host->members_lock);
	return member;
}

/**
 * ptshare_nr_members() - how many members does a host have now?
 * @host: the host, of which the caller has a reference
 *
 * The lock makes sure that who is not counted joins later, and so sees what
 * the caller has written to ptshare_policy before.
 *
 * Return: their number.
 */
unsigned long ptshare_nr_members(struct ptshare_host *host)
{
	unsigned long nr;

	spin_lock(&host->members_lock);
	nr = host->nr_members;
	spin_unlock(&host->members_lock);
	return nr;
}

/**
 * ptshare_mm_init() - initialise the fields of an mm
 * @mm: a new mm, maybe copied from another, with its flags
 */
void ptshare_mm_init(struct mm_struct *mm)
{
	mm->ptshare_host = NULL;
	spin_lock_init(&mm->ptshare_lock);
	mm->ptshare_members = RB_ROOT;
	/* All high flags are inherited: MMF_TOPDOWN_MASK is negative. */
	clear_bit(MMF_PTSHARE, &mm->flags);
}

/**
 * __ptshare_mm_check() - complain about an mm that is freed while it shares
 * @mm: the mm
 */
void __ptshare_mm_check(struct mm_struct *mm)
{
	if (WARN_ON_ONCE(!RB_EMPTY_ROOT(&mm->ptshare_members)))
		pr_alert("BUG: mm:%p freed while a host flushes it\n", mm);
}
