#include "zones/node.h"

#include <assert.h>
#include <stdlib.h>

#define HOME_UNIT 8
/* Beside the count of parts: the block was cut, not malloc()ed. */
#define WAS_CUT 0x80

static uint8_t *parts_of(const struct node *n)
{
	return (uint8_t *)(uintptr_t)node_name(n) + n->name_len;
}

size_t node_size(size_t name_len, size_t room)
{
	size_t size = sizeof(struct node) + room * (sizeof(struct rrset *) + sizeof(uint16_t)) +
		      name_len + 1;
	return (size + HOME_UNIT - 1) / HOME_UNIT * HOME_UNIT;
}

struct node *node_new(const uint8_t *name, size_t name_len, uint64_t hash, size_t room,
		      size_t inside, struct cutter *cutter)
{
	size_t size = node_size(name_len, room) + inside;
	bool cut = cutter != NULL && size <= SLAB_PIECE_MAX;
	struct node *n = cut ? cutter_cut(cutter, size) : malloc(size);
	if (n == NULL) {
		return NULL;
	}
	n->hash = hash;
	n->flags = 0;
	n->labels = (uint8_t)name_labels(name);
	n->name_len = (uint8_t)name_len;
	n->cover_labels = 0;
	n->rrset_count = 0;
	n->rrset_room = (uint16_t)room;
	memcpy((uint8_t *)(uintptr_t)node_name(n), name, name_len);
	*parts_of(n) = cut ? 1 | WAS_CUT : 1;
	return n;
}

struct rrset *node_embed(struct node *n, size_t offset)
{
	struct rrset *rs = (struct rrset *)((uint8_t *)n + offset);
	assert(offset % HOME_UNIT == 0 && offset <= NODE_BLOCK_MAX);
	rs->home = (uint8_t)(offset / HOME_UNIT);
	++*parts_of(n);
	return rs;
}

void node_assign(struct node *n, struct rrset *const *rrsets, size_t count)
{
	uint16_t *types = (uint16_t *)(uintptr_t)node_types(n);
	for (size_t i = 0; i < count; i++) {
		n->rrsets[i] = rrsets[i];
		types[i] = rrsets[i]->type;
	}
	n->rrset_count = (uint16_t)count;
}

void node_append(struct node *n, struct rrset *rs)
{
	((uint16_t *)(uintptr_t)node_types(n))[n->rrset_count] = rs->type;
	n->rrsets[n->rrset_count++] = rs;
}

void node_insert(struct node *n, struct rrset *rs)
{
	uint16_t *types = (uint16_t *)(uintptr_t)node_types(n);
	unsigned at = n->rrset_count++;
	for (; at > 0 && types[at - 1] > rs->type; at--) {
		types[at] = types[at - 1];
		n->rrsets[at] = n->rrsets[at - 1];
	}
	types[at] = rs->type;
	n->rrsets[at] = rs;
}

void node_free(const struct node *n)
{
	if (n == NULL) {
		return;
	}
	uint8_t left = --*parts_of(n);
	if (left == 0) {
		free((void *)(uintptr_t)n);
	} else if (left == WAS_CUT) {
		slab_free_piece((void *)(uintptr_t)n);
	}
}

void node_free_inside(struct rrset *rs)
{
	node_free((struct node *)((uint8_t *)rs - (size_t)rs->home * HOME_UNIT));
}
