/* What a zone's first version finds on disk. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/bulk.h"
#include "nsd-core/base/clock.h"

enum status build_restore(struct build *b, struct draft *d, const struct keyset *keys,
			  uint32_t serial, struct sigstore_loaded *out)
{
	struct build_source *src = b->src;
	struct sigstore_loaded got = {.lacking = SIZE_MAX};
	char zone[NAME_TEXT_MAX];

	*out = got;
	if (src->kept == NULL) {
		return ST_OK;
	}
	size_t size = (draft_list_room(d) + 1) * sizeof(struct node *);
	const struct node **nodes = bulk_alloc(size);
	enum status st = nodes == NULL ? ST_ENOMEM : ST_OK;
	if (st == ST_OK) {
		enum status read =
			sigstore_load(src->signatures, src->kept, nodes, draft_list(d, nodes), keys,
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
	bulk_free(nodes, size);
	if (st == ST_OK) {
		*out = got;
		b->restored = got.filled;
	}
	return st;
}
