/* What the content of a zone says of its versions: how long signatures have to be good for those
 * who transfer it, and whether it is what was published before. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/digest.h"
#include "zones/rdata.h"

#define DAY_S  86400U
#define YEAR_S (365U * DAY_S)
/* The serial is the first of the five integers that end an SOA (RFC 1035 3.3.13). */
#define SOA_SERIAL_BEFORE_END 20

static const struct record *find_soa(const struct content *c)
{
	for (size_t i = 0; i < c->set_count; i++) {
		const struct record *r = &c->records[c->sets[i].first];
		if (r->type == RR_SOA && name_equal(r->owner, c->apex)) {
			return r;
		}
	}
	return NULL;
}

static uint32_t content_max_ttl(const struct content *c)
{
	uint32_t max = 0;

	for (size_t i = 0; i < c->set_count; i++) {
		uint32_t ttl = c->records[c->sets[i].first].ttl;
		max = ttl > max ? ttl : max;
	}
	return max;
}

/* A secondary that does not reach us serves what it has until the SOA's expire is over, and caches
 * keep that for a TTL more; a day to notice it. */
static void params_for_secondaries(const struct build *b, struct sign_params *p)
{
	const struct build_policy *policy = b->src->policy;
	uint32_t after = p->validity - p->refresh;
	uint64_t refresh = (uint64_t)b->expire + b->max_ttl + DAY_S;

	refresh = refresh < YEAR_S ? refresh : YEAR_S;
	if (policy->validity_given) {
		/* As much as fits, so that signatures are not made anew all the time. */
		uint64_t most = (uint64_t)p->validity * 3 / 4;
		refresh = refresh < most ? refresh : most;
	}
	/* Not less than what zones without secondaries have. */
	if (refresh <= p->refresh) {
		return;
	}
	p->refresh = (uint32_t)refresh;
	if (!policy->validity_given) {
		p->validity = p->refresh + after;
	}
}

void build_params(struct build *b, const struct content *content, struct sign_params *out)
{
	const struct build_policy *policy = b->src->policy;
	const struct record *soa = content != NULL ? find_soa(content) : NULL;
	struct soa fields;

	*out = policy->params;
	if (!b->src->complete) {
		return;
	}
	if (soa != NULL && soa_parse(record_rdata(soa), &fields) == ST_OK) {
		uint32_t ttl = content_max_ttl(content);
		b->expire = fields.expire;
		b->max_ttl = ttl > out->dnskey_ttl ? ttl : out->dnskey_ttl;
	} else if (b->base != NULL && b->base->keys != NULL) {
		*out = ((const struct keyset *)b->base->keys)->params;
		return;
	}
	if (!policy->refresh_given) {
		params_for_secondaries(b, out);
	}
}

/* Owner, type, TTL and RDATA behind what was digested before; without the 'skip' octets that begin
 * 'from' octets before the RDATA's end. */
static enum status digest_record(const struct record *r, size_t from, size_t skip,
				 uint8_t digest[ZONE_CONTENT_LEN])
{
	struct bytes rdata = record_rdata(r);
	uint8_t head[8];
	uint8_t before[ZONE_CONTENT_LEN];
	size_t front = rdata.len - from;
	struct bytes pieces[] = {
		{before, sizeof(before)},
		{r->owner, name_len(r->owner)},
		{head, sizeof(head)},
		{rdata.data, front},
		{rdata.data + front + skip, rdata.len - front - skip},
	};

	memcpy(before, digest, sizeof(before));
	be16_put(head, r->type);
	be32_put(head + 2, r->ttl);
	be16_put(head + 6, (uint16_t)rdata.len);
	return digest_of(DIGEST_SHA256, pieces, sizeof(pieces) / sizeof(pieces[0]), digest);
}

enum status content_digest(const struct content *c, uint8_t out[ZONE_CONTENT_LEN])
{
	const struct record *soa = find_soa(c);
	uint8_t digest[ZONE_CONTENT_LEN] = {0};
	enum status st = ST_OK;

	for (size_t i = 0; i < c->set_count && st == ST_OK; i++) {
		const struct record_set *set = &c->sets[i];
		for (size_t k = 0; k < set->count && st == ST_OK; k++) {
			const struct record *r = &c->records[set->first + k];
			st = r == soa ? digest_record(r, SOA_SERIAL_BEFORE_END, 4, digest)
				      : digest_record(r, 0, 0, digest);
		}
	}
	if (st == ST_OK) {
		memcpy(out, digest, sizeof(digest));
	}
	return st;
}
