/* Zones whose content is made here, not read from a file: what makes it, and which serial it has.
 *
 * The state directory knows the serial of such a zone and a digest of what had it, so that the same
 * content has the same serial after a restart, and another one a greater serial. Both are on disk
 * before anybody sees them. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "zones/catalog.h"
#include "zones/rdata.h"

#define MADE_TABLE   "made"
#define MADE_VERSION 1
#define DIGEST_LEN   32

struct made_record {
	bool known; /* else nothing is on record */
	uint32_t serial;
	uint8_t digest[DIGEST_LEN];
};

static enum status record_read(struct store *db, const uint8_t *apex, struct made_record *out)
{
	struct store_txn *txn = NULL;
	struct made_record rec = {.known = true};
	struct bytes value;
	struct wreader r;
	enum status st = store_begin(db, false, &txn);

	if (st == ST_OK) {
		st = store_get(txn, MADE_TABLE, (struct bytes){apex, name_len(apex)}, &value);
	}
	if (st == ST_ENOENT) {
		*out = (struct made_record){.known = false};
		st = ST_OK;
		goto out;
	}
	if (st != ST_OK) {
		goto out;
	}
	wreader_init(&r, value.data, value.len);
	uint8_t version = wreader_u8(&r);
	rec.serial = wreader_u32(&r);
	struct bytes digest = wreader_bytes(&r, DIGEST_LEN);
	if (r.err == ST_OK && version != MADE_VERSION) {
		st = ST_ENOTSUP;
	} else if (r.err != ST_OK || wreader_left(&r) != 0) {
		st = ST_EPARSE;
	} else {
		memcpy(rec.digest, digest.data, DIGEST_LEN);
		*out = rec;
	}
out:
	store_abort(txn);
	return st;
}

static enum status record_write(struct store *db, const uint8_t *apex,
				const struct made_record *rec)
{
	uint8_t value[1 + 4 + DIGEST_LEN];
	struct store_txn *txn = NULL;
	enum status st = store_begin(db, true, &txn);

	value[0] = MADE_VERSION;
	be32_put(value + 1, rec->serial);
	memcpy(value + 5, rec->digest, DIGEST_LEN);
	if (st == ST_OK) {
		st = store_put(txn, MADE_TABLE, (struct bytes){apex, name_len(apex)},
			       (struct bytes){value, sizeof(value)});
	}
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

/* Of all records in their order; the SOA's serial is 0 yet. */
static enum status digest_content(const struct content *c, uint8_t out[DIGEST_LEN])
{
	uint8_t digest[DIGEST_LEN] = {0};
	enum status st = ST_OK;

	for (size_t i = 0; i < c->set_count && st == ST_OK; i++) {
		const struct record_set *set = &c->sets[i];
		for (size_t k = 0; k < set->count && st == ST_OK; k++) {
			const struct record *r = &c->records[set->first + k];
			struct bytes rdata = record_rdata(r);
			uint8_t head[DIGEST_LEN + 8];
			memcpy(head, digest, DIGEST_LEN);
			be16_put(head + DIGEST_LEN, r->type);
			be32_put(head + DIGEST_LEN + 2, r->ttl);
			be16_put(head + DIGEST_LEN + 6, (uint16_t)rdata.len);
			const struct bytes pieces[] = {
				{head, sizeof(head)}, {r->owner, name_len(r->owner)}, rdata};
			st = digest_of(DIGEST_SHA256, pieces, 3, digest);
		}
	}
	if (st == ST_OK) {
		memcpy(out, digest, DIGEST_LEN);
	}
	return st;
}

/* The clock's where that is ahead of the last one, so that also who lost the state directory is
 * ahead of what secondaries have. */
static uint32_t next_serial(const struct made_record *was, const struct zone_record *zone)
{
	uint32_t now = (uint32_t)clock_wall_s();
	uint32_t last = was->serial;

	if (!was->known && !zone->has_serial) {
		return now;
	}
	/* The name may have been that of a zone with a policy. */
	if (zone->has_serial && (!was->known || serial_gt(zone->serial, last))) {
		last = zone->serial;
	}
	return serial_gt(now, last) ? now : last + 1;
}

/* The serial of this content; durable. */
static enum status settle_serial(struct build *b, const struct content *c, uint32_t *serial)
{
	struct made_record was;
	struct made_record now = {.known = true};
	struct zone_record zone;
	char text[NAME_TEXT_MAX];
	enum status st = ledger_get(b->src, &zone, &b->diags);

	if (st == ST_OK) {
		st = digest_content(c, now.digest);
	}
	if (st != ST_OK) {
		return st;
	}
	st = record_read(b->src->db, b->src->apex, &was);
	if (st != ST_OK) {
		diags_error(&b->diags,
			    "zone %s: its serial in the state directory cannot be read: %s",
			    name_to_text(b->src->apex, text), status_text(st));
		return st;
	}
	if (was.known && memcmp(was.digest, now.digest, DIGEST_LEN) == 0) {
		*serial = was.serial;
		return ST_OK;
	}
	now.serial = next_serial(&was, &zone);
	st = record_write(b->src->db, b->src->apex, &now);
	if (st != ST_OK) {
		diags_error(&b->diags,
			    "zone %s: its serial cannot be written to the state directory: %s",
			    name_to_text(b->src->apex, text), status_text(st));
		/* A disk that is full is not so for ever. */
		return ST_EAGAIN;
	}
	*serial = now.serial;
	return ST_OK;
}

enum status build_read_made(struct build *b, struct content *c)
{
	const struct build_source *src = b->src;
	const struct check_options check = {.signing = src->policy != NULL};
	uint32_t serial;
	uint32_t was;
	enum status st = src->make(src->conf, src->zone, c, &b->diags);

	if (st == ST_OK) {
		st = content_check(c, &check, &b->diags);
	}
	if (st == ST_OK) {
		st = settle_serial(b, c, &serial);
	}
	return st == ST_OK ? content_serial(c, &serial, &was) : st;
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
