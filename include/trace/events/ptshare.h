/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ptshare

#if !defined(_TRACE_PTSHARE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PTSHARE_H

#include <linux/ptshare.h>
#include <linux/tracepoint.h>

TRACE_DEFINE_ENUM(PTSHARE_UNMAP);
TRACE_DEFINE_ENUM(PTSHARE_ZAP);
TRACE_DEFINE_ENUM(PTSHARE_PROTECT);
TRACE_DEFINE_ENUM(PTSHARE_WALK);
TRACE_DEFINE_ENUM(PTSHARE_RANGE);
TRACE_DEFINE_ENUM(PTSHARE_PROCESS);
TRACE_DEFINE_ENUM(PTSHARE_SPLIT);

/* A host keeps device and inode number, and may outlive the inode. */

DECLARE_EVENT_CLASS(ptshare_host_class,
		    TP_PROTO(const struct ptshare_host *host),
		    TP_ARGS(host),
		    TP_STRUCT__entry(__field(dev_t, dev)
				     __field(unsigned long, ino)
				     __field(bool, write)
				     __field(bool, exec)),
		    TP_fast_assign(__entry->dev = host->dev;
				   __entry->ino = host->ino;
				   __entry->write = host->class.access & VM_WRITE;
				   __entry->exec = host->class.access & VM_EXEC;),
		    TP_printk("dev=%u:%u ino=%lu prot=r%c%c",
			      MAJOR(__entry->dev), MINOR(__entry->dev),
			      __entry->ino,
			      __entry->write ? 'w' : '-',
			      __entry->exec ? 'x' : '-'));

DEFINE_EVENT(ptshare_host_class, ptshare_host_create,
	     TP_PROTO(const struct ptshare_host *host),
	     TP_ARGS(host));

DEFINE_EVENT(ptshare_host_class, ptshare_host_free,
	     TP_PROTO(const struct ptshare_host *host),
	     TP_ARGS(host));

DECLARE_EVENT_CLASS(ptshare_table_class,
		    TP_PROTO(const struct ptshare_host *host, pgoff_t chunk),
		    TP_ARGS(host, chunk),
		    TP_STRUCT__entry(__field(dev_t, dev)
				     __field(unsigned long, ino)
				     __field(pgoff_t, chunk)),
		    TP_fast_assign(__entry->dev = host->dev;
				   __entry->ino = host->ino;
				   __entry->chunk = chunk;),
		    TP_printk("dev=%u:%u ino=%lu chunk=%lu",
			      MAJOR(__entry->dev), MINOR(__entry->dev),
			      __entry->ino,
			      __entry->chunk));

DEFINE_EVENT(ptshare_table_class, ptshare_table_create,
	     TP_PROTO(const struct ptshare_host *host, pgoff_t chunk),
	     TP_ARGS(host, chunk));

DEFINE_EVENT(ptshare_table_class, ptshare_table_free,
	     TP_PROTO(const struct ptshare_host *host, pgoff_t chunk),
	     TP_ARGS(host, chunk));

TRACE_EVENT(ptshare_link,
	    TP_PROTO(const struct ptshare_host *host, pgoff_t chunk,
		     unsigned long addr, unsigned int nr, bool hit),
	    TP_ARGS(host, chunk, addr, nr, hit),
	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(unsigned long, ino)
			     __field(pgoff_t, chunk)
			     __field(unsigned long, addr)
			     __field(unsigned int, nr)
			     __field(bool, hit)),
	    TP_fast_assign(__entry->dev = host->dev;
			   __entry->ino = host->ino;
			   __entry->chunk = chunk;
			   __entry->addr = addr;
			   __entry->nr = nr;
			   __entry->hit = hit;),
	    TP_printk("dev=%u:%u ino=%lu chunk=%lu addr=%#lx nr=%u hit=%d",
		      MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->ino,
		      __entry->chunk,
		      __entry->addr,
		      __entry->nr,
		      __entry->hit));

TRACE_EVENT(ptshare_unlink,
	    TP_PROTO(const struct ptshare_host *host, pgoff_t chunk,
		     unsigned long addr, enum ptshare_cause cause),
	    TP_ARGS(host, chunk, addr, cause),
	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(unsigned long, ino)
			     __field(pgoff_t, chunk)
			     __field(unsigned long, addr)
			     __field(int, cause)),
	    TP_fast_assign(__entry->dev = host->dev;
			   __entry->ino = host->ino;
			   __entry->chunk = chunk;
			   __entry->addr = addr;
			   __entry->cause = cause;),
	    TP_printk("dev=%u:%u ino=%lu chunk=%lu addr=%#lx cause=%s",
		      MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->ino,
		      __entry->chunk,
		      __entry->addr,
		      __print_symbolic(__entry->cause,
				       { PTSHARE_UNMAP, "unmap" },
				       { PTSHARE_ZAP, "zap" },
				       { PTSHARE_PROTECT, "protect" },
				       { PTSHARE_WALK, "walk" },
				       { PTSHARE_RANGE, "range" },
				       { PTSHARE_PROCESS, "process" },
				       { PTSHARE_SPLIT, "split" })));

TRACE_EVENT(ptshare_flush,
	    TP_PROTO(const struct ptshare_host *host, bool batched),
	    TP_ARGS(host, batched),
	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(unsigned long, ino)
			     __field(unsigned long, sharers)
			     __field(bool, batched)),
	    TP_fast_assign(__entry->dev = host->dev;
			   __entry->ino = host->ino;
			   __entry->sharers = READ_ONCE(host->nr_members);
			   __entry->batched = batched;),
	    TP_printk("dev=%u:%u ino=%lu sharers=%lu batched=%d",
		      MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->ino,
		      __entry->sharers,
		      __entry->batched));

#endif /* _TRACE_PTSHARE_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
