#include "zones/version.h"

#include "zones/node.h"
#include "zones/nsec3.h"
#include "zones/pending.h"
#include "zones/rdata.h"

#include <assert.h>
#include <stdlib.h>

struct version *version_ref(struct version *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

static void free_nodes(const struct btree *t)
{
	struct btree_cursor c;
	const struct node *n;

	btree_cursor_init(&c, t);
	while ((n = btree_cursor_next(&c)) != NULL) {
		for (unsigned i = 0; i < n->rrset_count; i++) {
			rrset_free(n->rrsets[i]);
		}
		node_free(n);
	}
}

static void free_pages(struct version *v, uint64_t stamp)
{
	nindex_free(&v->names, stamp);
	btree_free(&v->order, stamp);
	btree_free(&v->chain, stamp);
	btree_free(&v->nsec3, stamp);
}

/* Frees what nobody but v used; returns a reference to be dropped next. */
static struct version *free_version(struct version *v)
{
	struct version *next = v->newer;

	if (v->pending != NULL) {
		next = v->pending->base;
		retired_release(&v->pending->added);
		retired_fini(&v->pending->replaced);
		free(v->pending);
		free_pages(v, v->stamp);
	} else if (v->newer != NULL) {
		retired_release(&v->retired);
	} else {
		free_nodes(&v->order);
		free_nodes(&v->nsec3);
		free_pages(v, 0);
	}
	if (v->keys_unref != NULL) {
		v->keys_unref(v->keys);
	}
	free(v);
	return next;
}

void version_unref(struct version *v)
{
	/* Not recursive: a reader that was long away may have kept many versions. */
	while (v != NULL && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1) {
		v = free_version(v);
	}
}

static void unref_node(struct rcu_node *node)
{
	version_unref(container_of(node, struct version, rcu));
}

void version_unref_deferred(struct version *v)
{
	rcu_defer(&v->rcu, unref_node);
}

void version_succeed(struct version *base, struct version *next)
{
	struct pending *pending = next->pending;
	if (pending == NULL) {
		return;
	}
	assert(pending->base == base && base->newer == NULL && base->pending == NULL);
	next->pending = NULL;
	base->retired = pending->replaced;
	base->newer = version_ref(next);
	retired_fini(&pending->added);
	free(pending);
	version_unref(base);
}

/* The next hashed owner name where the node's NSEC3 belongs to the version's chain (a file may hold
 * a second one while its parameters change), else NULL. */
static const uint8_t *nsec3_next(const struct version *v, const struct node *n)
{
	const struct rrset *rs = node_rrset(n, RR_NSEC3);
	for (const uint8_t *p = rs->data; p < rs->data + rs->size; p = rdata_next(p)) {
		struct wreader r;
		struct bytes rdata = rdata_at(p);
		wreader_init(&r, rdata.data, rdata.len);
		uint8_t algorithm = wreader_u8(&r);
		wreader_u8(&r);
		uint16_t iterations = wreader_u16(&r);
		struct bytes salt = wreader_str8(&r);
		struct bytes next = wreader_str8(&r);
		if (r.err == ST_OK && algorithm == 1 && iterations == v->nsec3_iterations &&
		    salt.len == v->nsec3_salt_len && next.len == NSEC3_HASH_LEN &&
		    memcmp(salt.data, v->nsec3_salt, salt.len) == 0) {
			return next.data;
		}
	}
	return NULL;
}

static bool nsec3_covers(const struct node *owner, const uint8_t *next, const uint8_t *hash)
{
	uint8_t first[NSEC3_HASH_LEN];
	if (!nsec3_owner_hash(node_name(owner), first)) {
		return false;
	}
	bool after = memcmp(hash, first, NSEC3_HASH_LEN) > 0;
	bool before = memcmp(hash, next, NSEC3_HASH_LEN) < 0;
	/* The last one's next is the first. */
	return memcmp(first, next, NSEC3_HASH_LEN) < 0 ? after && before : after || before;
}

/* Other chains' NSEC3s that a search steps over. */
#define NSEC3_STEPS_MAX 64

const struct node *version_nsec3(const struct version *v, const uint8_t *name, bool *matches)
{
	uint8_t hash[NSEC3_HASH_LEN];
	uint8_t owner[NAME_MAX_LEN];
	struct bytes salt = {v->nsec3_salt, v->nsec3_salt_len};
	/* One that is too long cannot be there. */
	if (v->denial != DENIAL_NSEC3 ||
	    nsec3_hash(name, v->nsec3_iterations, salt, hash) != ST_OK ||
	    nsec3_owner(hash, v->apex_name, owner) != ST_OK) {
		return NULL;
	}
	bool exact;
	struct sort_key key;
	sort_key_init(&key, owner);
	const struct node *n = btree_find_floor(&v->nsec3, &key, &exact);
	for (unsigned i = 0; i < NSEC3_STEPS_MAX; i++, exact = false) {
		if (n == NULL) {
			n = btree_last(&v->nsec3);
		}
		const uint8_t *next = n == NULL ? NULL : nsec3_next(v, n);
		if (next != NULL) {
			bool found = exact || nsec3_covers(n, next, hash);
			if (found) {
				*matches = exact;
			}
			return found ? n : NULL;
		}
		if (n != NULL) {
			sort_key_init(&key, node_name(n));
			n = btree_before(&v->nsec3, &key);
		}
	}
	return NULL;
}

static enum status walk(const struct btree *t, enum status (*each)(void *ctx, const struct node *n),
			void *ctx)
{
	struct btree_cursor c;
	const struct node *n;
	enum status st = ST_OK;

	btree_cursor_init(&c, t);
	while (st == ST_OK && (n = btree_cursor_next(&c)) != NULL) {
		st = each(ctx, n);
	}
	return st;
}

enum status version_walk(const struct version *v,
			 enum status (*each)(void *ctx, const struct node *n), void *ctx)
{
	enum status st = walk(&v->order, each, ctx);
	return st == ST_OK ? walk(&v->nsec3, each, ctx) : st;
}

bool version_has_children(const struct version *v, const struct node *n)
{
	struct sort_key key;
	sort_key_init(&key, node_name(n));
	const struct node *next = btree_after(&v->order, &key);
	return next != NULL && name_is_below(node_name(next), node_name(n));
}
