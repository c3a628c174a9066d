/* Read-copy-update (liburcu, memb flavour), wrapped so that ThreadSanitizer understands it.
 *
 * Every thread that reads registers first. A read section is short: inside one callback, never
 * across a blocking call; what it borrowed may not leave it. No synchronize on a loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <urcu/urcu-memb.h>

/* Embedded in what is reclaimed; 'free' finds the object with container_of(). */
struct rcu_node {
	struct rcu_head head;
	void (*free)(struct rcu_node *);
};

void rcu_thread_register(void);
void rcu_thread_unregister(void);
void rcu_enter(void);
void rcu_exit(void);
/* Inside a read section? For assertions; always true in release builds. */
bool rcu_inside(void);

/* Store and load of a published pointer. */
#define rcu_publish(ptr, value) __atomic_store_n((ptr), (value), __ATOMIC_RELEASE)
#define rcu_load(ptr)		__atomic_load_n((ptr), __ATOMIC_ACQUIRE)

/* Calls node->free(node) on the reclaimer thread once all present read sections are over.
 * Never allocates. Any thread. */
void rcu_defer(struct rcu_node *node, void (*free)(struct rcu_node *));
/* Waits until every rcu_defer() so far has run. Not on a loop thread, not inside a section. */
void rcu_drain(void);

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
