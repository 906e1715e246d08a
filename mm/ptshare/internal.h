/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_PTSHARE_INTERNAL_H
#define _MM_PTSHARE_INTERNAL_H

/*
 * Structures of page table sharing, their life and their locks.
 *
 *	address_space ---> host ---> table   one for every 2 MiB of the file
 *	                    |  `---> member ---> mm   one for every sharer
 *	                    `------> mm, VMA          which own the tables
 *
 * A host stands for one file and one class of mappings of it. Its mm never
 * runs and its VMA maps the whole file at address 0; it is in no i_mmap and
 * no maple tree. Whatever clears or downgrades a PTE of a shared table does
 * so through this VMA: rmap walks and truncation visit the hosts of a mapping
 * before they visit i_mmap.
 *
 * A table is born shared and dies shared: it is never made from a private
 * table and never becomes one, and PTEs are never copied. A sharer that needs
 * its own view unlinks the table and takes faults; file PTEs can always be
 * faulted again, so unlinking needs no memory and cannot fail.
 *
 * A member says that an mm may have TLB entries made from the host's tables.
 * It is on the host's list from before the store of the mm's first PMD until
 * after the TLB flush that follows the last clearing of one. Flushes of a
 * host go to all its members, or, if these are very many, to all CPUs. Neither
 * PMDs nor i_mmap would do: an mm that is unlinking has cleared its PMD, and
 * may have left i_mmap, before it flushes.
 *
 * The life of a table:
 *
 *	         +--------------------- get: 0 -> 1, ->seq++ ------+
 *	         v                                                 |
 *	 new -> LIVE (links > 0) -- put: 1 -> 0, ->tearing -> TEARING (links 0)
 *	                                                           |
 *	      RCU <- DEAD <- links 0 and ->seq unchanged after zap +
 *
 * The host's PMD points to the table from LIVE to DEAD, so rmap and truncate
 * find every PTE that maps a page; it is cleared only when all PTEs are gone.
 * A table that is got while its last putter zaps it is alive again. Should it
 * be put once more meanwhile, the zap may have passed PTEs that were filled
 * behind it: ->seq tells the zapper to start over.
 *
 * Lock order:
 *
 *	ptshare_unlink_mutex			a write to vm.ptshare_unlink
 *	  mmap_lock, VMA lock
 *	    invalidate_lock, folio lock
 *	      i_mmap_rwsem
 *	        mm->ptshare_lock
 *	          host->members_lock
 *	        host->tables.xa_lock
 *	          PMD lock of the host
 *	        PMD lock of a sharer		only what folio_put() takes
 *	        PTE lock of a shared table
 *	          host->members_lock		flushes under the PTE lock
 *	        ptshare_hosts_lock		last put, also by rmap walks
 *	          host->members_lock, i_lock	debugfs
 *
 * Putting a table, and with it everything that ends here, may sleep, but
 * takes neither mmap_lock nor i_mmap_rwsem nor a folio lock.
 */

#include <linux/cred.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/ptshare.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/uidgid.h>
#include <linux/vm_event_item.h>
#include <linux/vmstat.h>
#include <linux/xarray.h>

struct dentry;

#define PTSHARE_CHUNK_PAGES	(PMD_SIZE >> PAGE_SHIFT)

/**
 * struct ptshare_class - what PTEs of a table depend on besides the page
 * @prot: vm_page_prot, exactly
 * @access: VM_WRITE and VM_EXEC of the VMA. With write-notify a writable VMA
 *	has the vm_page_prot of a read-only one, so @prot does not tell them
 *	apart.
 * @uid: who opened the file, or INVALID_UID for everybody
 * @user_ns: and in which user namespace
 *
 * Present and accessed bits of a shared table show a sharer what the others
 * touch. The last two confine that to one user, unless vm.ptshare_trust says
 * otherwise. That is wider than ptrace_may_access(), which wants all IDs and
 * capabilities to agree, and a process that may be dumped.
 */
struct ptshare_class {
	pgprot_t		prot;
	unsigned long		access;
	kuid_t			uid;
	struct user_namespace	*user_ns;
};

/**
 * struct ptshare_host - owner of the shared tables of one file and class
 * @node: on mapping->i_ptshare, RCU
 * @all: on ptshare_hosts, under ptshare_hosts_lock
 * @users: members and walkers; hashed in the mapping while it is not zero
 * @mapping: the file, NULL when the inode is gone
 * @dev: device of the file; like @ino for reports, also when it is gone
 * @ino: its inode number
 * @class: the class of mappings
 * @mm: owns the tables; never runs, has no task
 * @vma: maps the file at address 0, in nobody's VMA tree
 * @tables: chunk -> &struct ptshare_table; its lock also serialises creation,
 *	revival and death of tables
 * @nr_tables: entries of @tables
 * @end: first chunk behind all that ever had a table; grows under the lock of
 *	@tables, before the table is linked
 * @members_lock: protects @members and @nr_members
 * @members: &struct ptshare_member of every sharer
 * @nr_members: how many there are
 * @rcu: frees this
 */
struct ptshare_host {
	struct hlist_node	node;
	struct list_head	all;
	refcount_t		users;
	struct address_space	*mapping;
	dev_t			dev;
	unsigned long		ino;
	struct ptshare_class	class;
	struct mm_struct	*mm;
	struct vm_area_struct	*vma;
	struct xarray		tables;
	atomic_long_t		nr_tables;
	pgoff_t			end;
	spinlock_t		members_lock;	/* protects members, nr_members */
	struct list_head	members;
	unsigned int		nr_members;
	struct rcu_head		rcu;
};

/**
 * struct ptshare_member - an mm that uses tables of a host
 * @host: the host; the member holds a reference
 * @mm: the sharer; unlinks everything before it goes, so needs no reference
 * @links: links of this mm to tables of @host, counted as in a table; under
 *	mm->ptshare_lock
 * @host_node: on host->members
 * @mm_node: in mm->ptshare_members, by @host, under mm->ptshare_lock
 */
struct ptshare_member {
	struct ptshare_host	*host;
	struct mm_struct	*mm;
	unsigned long		links;
	struct list_head	host_node;
	struct rb_node		mm_node;
};

/* control.c: vm.ptshare */
enum {
	PTSHARE_NEVER,
	PTSHARE_ADVISED,
	PTSHARE_ALWAYS,
};

/* control.c: vm.ptshare_trust */
enum {
	PTSHARE_TRUST_OPENER,
	PTSHARE_TRUST_ALL,
};

extern int ptshare_policy;
extern int ptshare_trust;

/* eligible.c: policy */
bool ptshare_file_eligible(struct vm_area_struct *vma);
bool ptshare_eligible(struct vm_fault *vmf, bool count);
bool ptshare_huge_preferred(struct vm_area_struct *vma, pgoff_t pgoff);

/* host.c */
extern struct list_head ptshare_hosts;
extern spinlock_t ptshare_hosts_lock;

struct ptshare_host *ptshare_host_get(struct vm_area_struct *vma, bool make);
struct ptshare_host *ptshare_host_next(struct address_space *mapping,
				       struct ptshare_host *prev);
struct ptshare_host *ptshare_host_next_all(struct ptshare_host *prev);
void ptshare_host_put(struct ptshare_host *host);
unsigned long ptshare_host_end(void);

/* table.c */
extern atomic_long_t ptshare_nr_tables;

pmd_t *ptshare_pmd_alloc(struct mm_struct *mm, unsigned long addr);
struct ptshare_table *ptshare_table_get(struct ptshare_host *host,
					pgoff_t chunk, bool make);
bool ptshare_table_try_get(struct ptshare_table *table);
void ptshare_table_poison(struct ptshare_host *host, pgoff_t chunk);
void ptshare_table_put(struct ptshare_table *table);

/**
 * ptshare_pmd_table() - find the shared table a PMD points to
 * @pmd: the PMD
 *
 * Context: the PMD lock, or anything else that keeps the table.
 * Return: the table, or NULL if there is none or it is a private one.
 */
static inline struct ptshare_table *ptshare_pmd_table(pmd_t pmd)
{
	if (!pmd_present(pmd) || pmd_leaf(pmd))
		return NULL;
	return READ_ONCE(page_ptdesc(pmd_page(pmd))->pt_share);
}

static inline unsigned long ptshare_table_addr(struct ptshare_table *table)
{
	return table->chunk << PMD_SHIFT;
}

/* member.c */
bool ptshare_join(struct ptshare_host *host, struct mm_struct *mm,
		  unsigned long links, gfp_t gfp);
void ptshare_leave(struct ptshare_host *host, struct mm_struct *mm,
		   unsigned long links);
bool ptshare_member_next(struct ptshare_host *host, struct mm_struct **mm);
unsigned long ptshare_nr_members(struct ptshare_host *host);

/*
 * A host costs a handful of pages (an mm, the upper levels of its page table),
 * a shared table saves one for every sharer but the first. A file smaller than
 * this, in bytes, would lose if it has few sharers. It is the file that counts:
 * a mapping may be cut in pieces, say by mprotect(), and be whole again, but
 * private tables that the pieces got would stay.
 */
#define PTSHARE_MIN_SIZE	(8 * PMD_SIZE)

/*
 * check.c: widen the window of a race, to see whether what closes it does, and
 * share smaller files, to test programs that have no others.
 */
#ifdef CONFIG_PTSHARE_DEBUG
void ptshare_check_init(struct dentry *dir);
void ptshare_delay(void);
loff_t ptshare_min_size(void);
#else
static inline void ptshare_check_init(struct dentry *dir) {}
static inline void ptshare_delay(void) {}
static inline loff_t ptshare_min_size(void)
{
	return PTSHARE_MIN_SIZE;
}
#endif

#endif /* _MM_PTSHARE_INTERNAL_H */
