#include "zones/catalog.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

/* Nobody asks for it but those who transfer it (RFC 9432 4). */
#define CATALOG_TTL 0
/* RFC 9432 has these in its example. They do not expire: a secondary that does not reach us goes on
 * with the zones that it has. */
#define CATALOG_REFRESH 3600
#define CATALOG_RETRY	600
#define CATALOG_EXPIRE	2147483646
#define CATALOG_MINIMUM 0

#define LABEL_OCTETS (CATALOG_LABEL_LEN * 5 / 8)

static const uint8_t name_invalid[] = "\7invalid";
static const uint8_t label_version[] = "\7version";
static const uint8_t label_zones[] = "\5zones";
static const uint8_t label_group[] = "\5group";

enum status catalog_label(const uint8_t *member, char out[CATALOG_LABEL_LEN + 1])
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t digest[DIGEST_MAX];
	struct bytes piece = {name, name_lower(name, member)};
	enum status st = digest_of(DIGEST_SHA256, &piece, 1, digest);

	if (st == ST_OK) {
		base32hex_encode(digest, LABEL_OCTETS, out);
	}
	return st;
}

static enum status add(struct content *c, const uint8_t *owner, uint16_t type,
		       const struct wwriter *rdata)
{
	struct bytes data = {rdata->start, wwriter_len(rdata)};

	return rdata->err == ST_OK
		       ? content_add(c, owner, type, CATALOG_TTL, data, (struct place){0})
		       : rdata->err;
}

static enum status add_text(struct content *c, const uint8_t *owner, const char *text)
{
	uint8_t rdata[1 + UINT8_MAX];
	struct wwriter w;

	wwriter_init(&w, rdata, sizeof(rdata));
	wwriter_str8(&w, text, strlen(text));
	return add(c, owner, RR_TXT, &w);
}

enum status catalog_begin(struct content *c)
{
	uint8_t rdata[2 * sizeof(name_invalid) + 20];
	uint8_t owner[NAME_MAX_LEN];
	size_t len;
	struct wwriter w;

	wwriter_init(&w, rdata, sizeof(rdata));
	wwriter_put(&w, name_invalid, sizeof(name_invalid));
	enum status st = add(c, c->apex, RR_NS, &w);
	wwriter_put(&w, name_invalid, sizeof(name_invalid));
	wwriter_u32(&w, 0);
	wwriter_u32(&w, CATALOG_REFRESH);
	wwriter_u32(&w, CATALOG_RETRY);
	wwriter_u32(&w, CATALOG_EXPIRE);
	wwriter_u32(&w, CATALOG_MINIMUM);
	if (st == ST_OK) {
		st = add(c, c->apex, RR_SOA, &w);
	}
	if (st == ST_OK) {
		st = name_join(label_version, sizeof(label_version) - 1, c->apex, owner, &len);
	}
	return st == ST_OK ? add_text(c, owner, "2") : st;
}

enum status catalog_add(struct content *c, const struct catalog_member *m)
{
	char label[CATALOG_LABEL_LEN + 1];
	uint8_t front[1 + CATALOG_LABEL_LEN + sizeof(label_zones) - 1];
	uint8_t owner[NAME_MAX_LEN];
	uint8_t below[NAME_MAX_LEN];
	size_t len;
	struct wwriter w;
	enum status st = catalog_label(m->name, label);

	if (st != ST_OK) {
		return st;
	}
	wwriter_init(&w, front, sizeof(front));
	wwriter_str8(&w, label, CATALOG_LABEL_LEN);
	wwriter_put(&w, label_zones, sizeof(label_zones) - 1);
	st = name_join(front, sizeof(front), c->apex, owner, &len);
	if (st == ST_OK) {
		st = content_add(c, owner, RR_PTR, CATALOG_TTL,
				 (struct bytes){m->name, name_len(m->name)}, (struct place){0});
	}
	if (st == ST_OK && m->group != NULL) {
		st = name_join(label_group, sizeof(label_group) - 1, owner, below, &len);
		st = st == ST_OK ? add_text(c, below, m->group) : st;
	}
	return st;
}

enum status catalog_end(struct content *c, struct diags *d)
{
	char names[3][NAME_TEXT_MAX];
	enum status st = content_sort(c);

	for (size_t i = 0; i < c->set_count && st == ST_OK; i++) {
		const struct record *r = &c->records[c->sets[i].first];
		if (r->type != RR_PTR || c->sets[i].count == 1) {
			continue;
		}
		diags_error(d, "zone %s: its members %s and %s have one label",
			    name_to_text(c->apex, names[0]),
			    name_to_text(record_rdata(&r[0]).data, names[1]),
			    name_to_text(record_rdata(&r[1]).data, names[2]));
		st = ST_EEXIST;
	}
	return st;
}
