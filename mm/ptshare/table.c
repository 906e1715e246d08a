// SPDX-License-Identifier: GPL-2.0
/*
 * Shared tables: from the first link to the last. See internal.h for the
 * states and what keeps them apart.
 */

#include <linux/pgalloc.h>
#include <linux/slab.h>

#include <trace/events/ptshare.h>

#include "../internal.h"
#include "internal.h"

/* Tables of all hosts, for /proc/meminfo. */
atomic_long_t ptshare_nr_tables;

/**
 * ptshare_pmd_alloc() - walk to a PMD, and build what is missing on the way
 * @mm: a host or a process
 * @addr: address in it
 *
 * Context: mmap_lock of a process, at least for read. May sleep.
 * Return: the PMD, or NULL when out of memory.
 */
pmd_t *ptshare_pmd_alloc(struct mm_struct *mm, unsigned long addr)
{
	p4d_t *p4d;
	pud_t *pud;

	p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	if (!p4d)
		return NULL;
	pud = pud_alloc(mm, p4d, addr);
	if (!pud)
		return NULL;
	return pmd_alloc(mm, pud, addr);
}

static void ptshare_table_free(struct ptshare_table *table)
{
	pte_free(table->host->mm, table->page);
	kfree(table);
}

static void ptshare_table_free_rcu(struct rcu_head *rcu)
{
	struct ptshare_table *table;

	table = container_of(rcu, struct ptshare_table, rcu);
	/* Not by table->host, which may be gone; no arch we support uses it. */
	pte_free(NULL, table->page);
	kfree(table);
}

static struct ptshare_table *ptshare_table_alloc(struct ptshare_host *host,
						 pgoff_t chunk)
{
	struct ptshare_table *table;

	table = kzalloc(sizeof(*table), GFP_KERNEL_ACCOUNT);
	if (!table)
		return NULL;
	table->page = pte_alloc_one(host->mm);
	if (!table->page) {
		kfree(table);
		return NULL;
	}
	table->vma = host->vma;
	table->host = host;
	table->chunk = chunk;
	page_ptdesc(table->page)->pt_share = table;
	return table;
}

/*
 * A process may link a table once for each of its VMAs, so a wrap is no more
 * out of reach than it is for page references. Refuse long before.
 */
static bool ptshare_table_full(struct ptshare_table *table)
{
	return atomic_read(&table->links) > INT_MAX / 2;
}

/**
 * ptshare_table_try_get() - count a link to a table that is alive
 * @table: the table
 *
 * Context: RCU, or anything else that keeps @table.
 * Return: false if it has no links, or too many.
 */
bool ptshare_table_try_get(struct ptshare_table *table)
{
	return !ptshare_table_full(table) && atomic_inc_not_zero(&table->links);
}

/* Look @chunk up and count a link. */
static struct ptshare_table *ptshare_table_find(struct ptshare_host *host,
						pgoff_t chunk)
{
	struct ptshare_table *table;

	rcu_read_lock();
	table = xa_load(&host->tables, chunk);
	if (table && !ptshare_table_try_get(table))
		table = NULL;
	rcu_read_unlock();
	return table;
}

/*
 * The same, under host->tables.xa_lock, where links cannot fall to 0 and a
 * table that is being torn down can be had back. An error if there is a table,
 * but no link to be had.
 */
static struct ptshare_table *ptshare_table_revive(struct ptshare_host *host,
						  pgoff_t chunk)
{
	struct ptshare_table *table;

	lockdep_assert_held(&host->tables.xa_lock);
	table = xa_load(&host->tables, chunk);
	if (!table)
		return NULL;
	if (ptshare_table_full(table))
		return ERR_PTR(-EOVERFLOW);
	if (!atomic_read(&table->links)) {
		table->seq++;
		count_vm_event(PTSHARE_TABLE_REVIVE);
	}
	atomic_inc(&table->links);
	return table;
}

/*
 * Put a new table into the index and the page table of its host. Nobody links
 * a table that has no links without xa_lock, so none fills it before rmap and
 * truncation can find it. False when out of memory. Under xa_lock.
 */
static bool ptshare_table_install(struct ptshare_table *table, pmd_t *pmd)
{
	struct ptshare_host *host = table->host;
	spinlock_t *ptl = pmd_lockptr(host->mm, pmd);

	/*
	 * A slot reserved by the caller may have been somebody's, and gone
	 * with what was in it.
	 */
	if (xa_err(__xa_store(&host->tables, table->chunk, table,
			      GFP_NOWAIT | __GFP_NOWARN)))
		return false;
	if (table->chunk >= host->end)
		WRITE_ONCE(host->end, table->chunk + 1);

	spin_lock(ptl);
	VM_WARN_ON_ONCE(!pmd_none(*pmd));
	mm_inc_nr_ptes(host->mm);
	smp_wmb(); /* See comment in pmd_install() */
	pmd_populate(host->mm, pmd, table->page);
	spin_unlock(ptl);

	atomic_long_inc(&host->nr_tables);
	atomic_long_inc(&ptshare_nr_tables);
	atomic_set_release(&table->links, 1);
	return true;
}

/*
 * The other way round, when the last PTE is gone and nobody links the table.
 * No flush: the host never runs, and those who did use the table have flushed
 * their paging-structure caches before they put it. Under xa_lock.
 */
static void ptshare_table_remove(struct ptshare_table *table, pmd_t *pmd)
{
	struct ptshare_host *host = table->host;
	spinlock_t *ptl = pmd_lock(host->mm, pmd);

	VM_WARN_ON_ONCE(ptshare_pmd_table(*pmd) != table);
	pmd_clear(pmd);
	mm_dec_nr_ptes(host->mm);
	spin_unlock(ptl);

	__xa_erase(&host->tables, table->chunk);
	atomic_long_dec(&host->nr_tables);
	atomic_long_dec(&ptshare_nr_tables);
}

/**
 * ptshare_table_get() - find or make the table for a part of the file
 * @host: the host
 * @chunk: which part, in units of PMD_SIZE
 * @make: make it if there is none. May sleep then.
 *
 * A new table is in the host's page table before anybody can fill it.
 *
 * Context: The caller's mm is a member of @host.
 * Return: the table with a link counted, or NULL when out of memory, too many
 *	link it, or it was not made.
 */
struct ptshare_table *ptshare_table_get(struct ptshare_host *host,
					pgoff_t chunk, bool make)
{
	struct ptshare_table *table, *new;
	bool installed;
	pmd_t *pmd;

	table = ptshare_table_find(host, chunk);
	if (table || !make)
		return table;

	new = ptshare_table_alloc(host, chunk);
	if (!new)
		return NULL;
	pmd = ptshare_pmd_alloc(host->mm, chunk << PMD_SHIFT);
	if (!pmd || xa_reserve(&host->tables, chunk, GFP_KERNEL_ACCOUNT)) {
		ptshare_table_free(new);
		return NULL;
	}

	xa_lock(&host->tables);
	table = ptshare_table_revive(host, chunk);
	installed = !table && ptshare_table_install(new, pmd);
	xa_unlock(&host->tables);

	if (installed) {
		count_vm_event(PTSHARE_TABLE_ALLOC);
		trace_ptshare_table_create(host, chunk);
		return new;
	}
	ptshare_table_free(new);
	return IS_ERR(table) ? NULL : table;
}

/**
 * ptshare_table_poison() - remember that a table has or may get a poison entry
 * @host: the host
 * @chunk: which table, in units of PMD_SIZE
 *
 * For good, since who unlinks the table does not take the entry along.
 *
 * Context: any. The page is locked, so that no table made from here on has it.
 */
void ptshare_table_poison(struct ptshare_host *host, pgoff_t chunk)
{
	struct ptshare_table *table;

	rcu_read_lock();
	table = xa_load(&host->tables, chunk);
	if (table)
		WRITE_ONCE(table->poisoned, true);
	rcu_read_unlock();
}

/**
 * ptshare_table_put() - drop a link to a table
 * @table: the table. The mm that linked it has flushed its TLB, or never had
 *	the table in a PMD.
 *
 * The last one empties the table and frees it.
 *
 * Context: May sleep. The caller's mm is a member of the host, and stays one
 *	until this returns.
 */
void ptshare_table_put(struct ptshare_table *table)
{
	/* The page cache may drop these pages: poison entries must go too. */
	struct zap_details details = {
		.even_cows = true,
		.zap_flags = ZAP_FLAG_DROP_MARKER,
	};
	struct ptshare_host *host = table->host;
	unsigned int seq;

	if (!atomic_dec_and_lock(&table->links, &host->tables.xa_lock))
		return;
	if (table->tearing) {
		/* Revived under a zapper, and dead again: ->seq tells it. */
		xa_unlock(&host->tables);
		return;
	}

	table->tearing = true;
	do {
		seq = table->seq;
		xa_unlock(&host->tables);
		ptshare_delay();
		zap_page_range_single(host->vma, ptshare_table_addr(table),
				      PMD_SIZE, &details);
		ptshare_delay();
		xa_lock(&host->tables);
		if (atomic_read(&table->links)) {
			table->tearing = false;
			xa_unlock(&host->tables);
			return;
		}
		if (table->seq != seq)
			count_vm_event(PTSHARE_REZAP);
	} while (table->seq != seq);
	ptshare_table_remove(table, mm_find_pmd(host->mm,
						ptshare_table_addr(table)));
	xa_unlock(&host->tables);

	count_vm_event(PTSHARE_TABLE_FREE);
	trace_ptshare_table_free(host, table->chunk);
	/* Lockless walkers, software and GUP-fast, may still be in there. */
	call_rcu(&table->rcu, ptshare_table_free_rcu);
}
