#include "nsd-core/base/tsan.h"

/* Read sections as inline code; under ThreadSanitizer the library's functions, since the inline
 * ones use plain accesses that it takes for races. */
#ifndef TSAN
#define _LGPL_SOURCE
#endif

#include "nsd-core/base/rcu.h"

#include <assert.h>
#include <stdint.h>

/* Addresses that stand for "a read section ended" and "a reclaim callback ran". */
static const char section_tag;
static const char reclaim_tag;

#ifndef NDEBUG
static _Thread_local unsigned rcu_depth;
#endif

void rcu_thread_register(void)
{
	urcu_memb_register_thread();
	/* Makes the reclaimer thread, so that no later rcu_defer() has to. */
	urcu_memb_get_default_call_rcu_data();
}

void rcu_thread_unregister(void)
{
#ifndef NDEBUG
	assert(rcu_depth == 0);
#endif
	urcu_memb_unregister_thread();
}

void rcu_enter(void)
{
	urcu_memb_read_lock();
#ifndef NDEBUG
	rcu_depth++;
#endif
}

void rcu_exit(void)
{
#ifndef NDEBUG
	assert(rcu_depth > 0);
	rcu_depth--;
#endif
	tsan_release(&section_tag);
	urcu_memb_read_unlock();
}

bool rcu_inside(void)
{
#ifndef NDEBUG
	return rcu_depth > 0;
#else
	return true;
#endif
}

static void rcu_reclaim(struct rcu_head *head)
{
	struct rcu_node *node = container_of(head, struct rcu_node, head);

	tsan_acquire(&section_tag);
	tsan_acquire(node);
	node->free(node);
	tsan_release(&reclaim_tag);
}

void rcu_defer(struct rcu_node *node, void (*free)(struct rcu_node *))
{
	node->free = free;
	tsan_release(node);
	urcu_memb_call_rcu(&node->head, rcu_reclaim);
}

void rcu_drain(void)
{
#ifndef NDEBUG
	assert(rcu_depth == 0);
#endif
	urcu_memb_barrier();
	tsan_acquire(&reclaim_tag);
}
