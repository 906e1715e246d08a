# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
# Sourced by what boots kernels: what a console must not say (grep -E).
complaints='(^|[^A-Z_])(BUG|WARNING)|Oops|general protection fault|[Uu]nable to handle|Kernel panic'
complaints="$complaints|possible (circular|recursive|irq lock|deadlock)|inconsistent lock state"
complaints="$complaints|suspicious RCU|bad unlock balance|invalid wait context|lock held (when|at)"
complaints="$complaints|held lock freed|still has locks held|sleeping function called|BUG: MAX_LOCK|MAX_LOCK[A-Z_]* too low"
complaints="$complaints|scheduling while atomic|KASAN:|UBSAN:|KFENCE:|KCSAN:"
complaints="$complaints|kmemleak: [0-9]+ new|unreferenced object|(list_add|list_del) corruption"
complaints="$complaints|refcount_t|Bad rss-counter|non-zero pgtables_bytes|Bad page|bad p[gu4mt][de] "
complaints="$complaints|bad pte|soft lockup|hard LOCKUP|detected (expedited )?stall"
complaints="$complaints|self-detected stall|kthread starved|blocked for more than|nobody cared"
