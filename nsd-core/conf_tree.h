/* A YAML document as a tree that keeps the place of everything in it. The subset signet takes: one
 * document of block or flow maps, lists and scalars; no anchors, aliases or tags. */
#pragma once

#include "nsd-core/base/arena.h"

#include <stdbool.h>

#define CONF_DEPTH_MAX 8
#define CONF_KEYS_MAX  64 /* in one map */

struct conf_place {
	uint32_t line;	 /* from 1 */
	uint32_t column; /* from 1, in octets */
};

enum conf_node_kind {
	NODE_SCALAR,
	NODE_LIST,
	NODE_MAP,
};

struct conf_node {
	enum conf_node_kind kind;
	struct conf_place place;
	bool plain;	  /* scalars: not quoted */
	const char *text; /* scalars: NUL-terminated, without NUL inside */
	const char *key;  /* where  */
	struct conf_place key_place;
	struct conf_node *first; /* maps, lists */
	struct conf_node *last;
	struct conf_node *next; /* in the map or list this one stands in */
	size_t count;
};

/* Where faults go: all of one file. */
struct conf_faults {
	struct diags *diags;
	const char *file;
};

void conf_fault(const struct conf_faults *f, struct conf_place place, const char *fmt, ...)
	PRINTF(3, 4);
void conf_warning(const struct conf_faults *f, struct conf_place place, const char *fmt, ...)
	PRINTF(3, 4);

/* The document in 'text', its nodes in 'arena'. ST_EPARSE: told in faults; duplicate keys are told
 * too but do not end the reading (the first stands; *out is set). ST_ENOMEM. */
enum status conf_tree_read(const char *text, size_t len, struct arena *arena,
			   const struct conf_faults *faults, struct conf_node **out) MUST_USE;
/* NULL: no such key. */
const struct conf_node *conf_tree_get(const struct conf_node *map, const char *key);
/* "a map", "a list", "nothing" or the scalar in quotes: what was found where something else should
 * stand. buf may be used, and has at
 * least 64 octets. */
const char *conf_node_text(const struct conf_node *node, char *buf, size_t size);
/* A plain scalar without text, or null: what "key:" alone gives. */
bool conf_node_is_null(const struct conf_node *node);
