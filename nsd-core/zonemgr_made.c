/* Zones whose content is made here, not read from a file, and what makes it. */
#include "nsd-core/zonemgr_build.h"

#include "zones/catalog.h"

enum status build_read_made(struct build *b, struct content *c)
{
	const struct build_source *src = b->src;
	const struct check_options check = {.signing = src->policy != NULL};
	enum status st = src->make(src->conf, src->zone, c, &b->diags);

	return st == ST_OK ? content_check(c, &check, &b->diags) : st;
}

static enum status make_catalog(const struct conf *conf, const struct conf_zone *zone,
				struct content *c, struct diags *d)
{
	enum status st = catalog_begin(c);

	for (size_t i = 0; i < conf->zone_count && st == ST_OK; i++) {
		const struct conf_zone *z = &conf->zones[i];
		if (z->catalog == zone) {
			st = catalog_add(c, &(struct catalog_member){z->name, z->catalog_group});
		}
	}
	return st == ST_OK ? catalog_end(c, d) : st;
}

content_maker content_maker_of(const struct conf_zone *zone)
{
	return zone->is_catalog ? make_catalog : NULL;
}
