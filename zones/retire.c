#include "zones/retire.h"

#include "zones/node.h"

#include <assert.h>
#include <stdlib.h>

#define IS_RRSET ((uintptr_t)1)
#define IS_NODE	 ((uintptr_t)2)
#define KINDS	 (IS_RRSET | IS_NODE)

void retired_init(struct retired *r)
{
	*r = (struct retired){0};
}

void retired_fini(struct retired *r)
{
	free(r->items);
	*r = (struct retired){0};
}

enum status retired_reserve(struct retired *r, size_t n)
{
	if (r->room - r->count >= n) {
		return ST_OK;
	}
	size_t room = r->room < 16 ? 16 : r->room * 2;
	if (room - r->count < n) {
		room = r->count + n;
	}
	uintptr_t *items = realloc(r->items, room * sizeof(*items));
	if (items == NULL) {
		return ST_ENOMEM;
	}
	r->items = items;
	r->room = room;
	return ST_OK;
}

static void add(struct retired *r, uintptr_t item)
{
	assert(r->count < r->room);
	r->items[r->count++] = item;
}

void retired_add_page(struct retired *r, const void *page)
{
	add(r, (uintptr_t)page);
}

void retired_add_node(struct retired *r, const struct node *n)
{
	add(r, (uintptr_t)n | IS_NODE);
}

void retired_add_rrset(struct retired *r, struct rrset *rs)
{
	add(r, (uintptr_t)rs | IS_RRSET);
}

const struct node *retired_node(const struct retired *r, size_t i)
{
	uintptr_t item = r->items[i];
	return (item & KINDS) == IS_NODE ? (const struct node *)(item & ~KINDS) : NULL;
}

void retired_release(struct retired *r)
{
	for (size_t i = 0; i < r->count; i++) {
		void *item = (void *)(r->items[i] & ~KINDS);
		switch (r->items[i] & KINDS) {
		case IS_RRSET:
			rrset_free(item);
			break;
		case IS_NODE:
			node_free(item);
			break;
		default:
			free(item);
			break;
		}
	}
	retired_fini(r);
}
