/* What a zone's first version finds on disk. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/clock.h"

#include <stdlib.h>

struct items {
	struct sigstore_item *all;
	size_t count, room;
};

static enum status collect(void *ctx, const struct node *n, struct rrset *rs)
{
	struct items *l = ctx;

	if (l->count == l->room) {
		size_t room = l->room == 0 ? 64 : l->room * 2;
		struct sigstore_item *grown = realloc(l->all, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		l->all = grown;
		l->room = room;
	}
	l->all[l->count++] = (struct sigstore_item){n, rs};
	return ST_OK;
}

enum status build_restore(struct build *b, struct draft *d, const struct keyset *keys,
			  uint32_t serial, bool *same)
{
	struct build_source *src = b->src;
	struct items l = {.all = NULL};
	struct sigstore_loaded got = {.same = false};
	char zone[NAME_TEXT_MAX];

	*same = false;
	if (src->kept == NULL) {
		return ST_OK;
	}
	enum status st = draft_each_new(d, collect, &l);
	if (st == ST_OK) {
		enum status read = sigstore_load(src->signatures, src->kept, l.all, l.count, keys,
						 serial, clock_wall_s(), &got);
		/* A zone is served without them all the same. */
		if (read != ST_OK) {
			diags_warn(&b->diags, "zone %s: signatures on disk cannot be read: %s",
				   name_to_text(src->apex, zone), status_text(read));
		} else if (got.damaged > 0) {
			diags_warn(&b->diags,
				   "zone %s: %zu entries with signatures are damaged on disk, and "
				   "are made again",
				   name_to_text(src->apex, zone), got.damaged);
		}
	}
	free(l.all);
	if (st == ST_OK) {
		*same = got.same;
		b->restored = got.filled;
	}
	return st;
}
