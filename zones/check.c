/* Semantic checks. docs/zones.md has the table of them, and what the peers do. */
#include "zones/content.h"
#include "zones/rdata.h"

#include <stdio.h>

/* A name as the checks see it. */
enum target {
	TARGET_FINE,  /* has an address, or it is not for this zone to say */
	TARGET_CNAME, /* is an alias */
	TARGET_DNAME, /* lies below a DNAME */
	TARGET_GLUE,  /* lies below the cut in question, and has no address */
	TARGET_NONE,  /* has no address */
};

/* Targets remembered: many records name the same few. A power of two. */
#define REMEMBERED 64

struct checker {
	struct content *c;
	struct diags *d;
	bool signing;
	bool failed;
	bool all_inside; /* no owner is outside the zone */
	/* The sets of the present owner, and those of the apex; where it has none, both 0. */
	size_t set, end;
	size_t apex_set, apex_end;
	/* The topmost cut or DNAME at or above the present owner; NULL: none. */
	const uint8_t *cover;
	bool cover_is_dname;
	/* Targets asked for, by hash, and what came out. */
	const uint8_t *targets[REMEMBERED];
	enum target results[REMEMBERED];
};

static const struct record *set_first(const struct content *c, size_t set)
{
	return &c->records[c->sets[set].first];
}

static void report(struct checker *k, enum diag_level level, const struct record *r,
		   const char *fmt, ...) PRINTF(4, 5);

static void report(struct checker *k, enum diag_level level, const struct record *r,
		   const char *fmt, ...)
{
	char text[512];
	char owner[NAME_TEXT_MAX];
	va_list args;
	if (level == DIAG_ERROR) {
		k->failed = true;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	const char *file = r->file < k->c->file_count ? k->c->files[r->file] : NULL;
	diags_add(k->d, level, file, r->line, r->column, "%s %s", name_to_text(r->owner, owner),
		  text);
}

static bool set_before(const struct content *c, size_t set, const uint8_t *name)
{
	return name_compare(set_first(c, set)->owner, name) < 0;
}

/* The first set whose owner is not before 'name'. It is looked for from 'near' on, in growing
 * steps: most names that a record holds stand close by. */
static size_t lower_bound(const struct content *c, const uint8_t *name, size_t near)
{
	size_t low = near;
	size_t high = near;
	size_t step = 1;
	while (high < c->set_count && set_before(c, high, name)) {
		low = high + 1;
		high = c->set_count - low > step ? low + step : c->set_count;
		step *= 2;
	}
	/* Nothing is known of what comes before 'near' but that it is sorted. */
	for (step = 1; low == near && low > 0 && !set_before(c, low - 1, name); step *= 2) {
		high = low - 1;
		low = near = high > step ? high - step : 0;
	}
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (set_before(c, mid, name)) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

/* The end of the sets that share the owner of 'set'. */
static size_t owner_end(const struct content *c, size_t set)
{
	const uint8_t *owner = set_first(c, set)->owner;
	for (set++; set < c->set_count && set_first(c, set)->owner == owner; set++) {
	}
	return set;
}

/* The sets [*set, *end) of a name; false where it has none. */
static bool owner_find(const struct checker *k, const uint8_t *name, size_t *set, size_t *end)
{
	const struct content *c = k->c;
	if (k->set < k->end && name_equal(set_first(c, k->set)->owner, name)) {
		*set = k->set;
		*end = k->end;
		return true;
	}
	*set = lower_bound(c, name, k->end);
	if (*set == c->set_count || !name_equal(set_first(c, *set)->owner, name)) {
		return false;
	}
	*end = owner_end(c, *set);
	return true;
}

static bool has_type(const struct content *c, size_t set, size_t end, uint16_t type)
{
	for (; set < end; set++) {
		if (set_first(c, set)->type == type) {
			return true;
		}
	}
	return false;
}

static bool name_exists(const struct checker *k, const uint8_t *name)
{
	size_t set = lower_bound(k->c, name, k->end);
	return set < k->c->set_count && name_is_below(set_first(k->c, set)->owner, name);
}

static enum target judge_sets(const struct content *c, size_t set, size_t end)
{
	if (has_type(c, set, end, RR_CNAME)) {
		return TARGET_CNAME;
	}
	return has_type(c, set, end, RR_A) || has_type(c, set, end, RR_AAAA) ? TARGET_FINE
									     : TARGET_NONE;
}

/* The wildcard that would answer for a name that does not exist (RFC 4592 3.3.1). */
static enum target judge_wildcard(const struct checker *k, const uint8_t *name)
{
	static const uint8_t star[] = {1, '*'};
	uint8_t wildcard[NAME_MAX_LEN];
	size_t len;
	size_t set;
	size_t end;
	const uint8_t *encloser = name_strip(name, 1);
	while (!name_exists(k, encloser) && !name_equal(encloser, k->c->apex)) {
		encloser = name_strip(encloser, 1);
	}
	if (name_join(star, sizeof(star), encloser, wildcard, &len) != ST_OK ||
	    !owner_find(k, wildcard, &set, &end)) {
		return TARGET_NONE;
	}
	return judge_sets(k->c, set, end);
}

/* Is 'name', which is in the zone, fit to be what an NS, MX or SRV record names? 'cut': of the NS
 * in question, or NULL. */
static enum target judge(const struct checker *k, const uint8_t *name, const uint8_t *cut)
{
	const struct content *c = k->c;
	size_t set;
	size_t end;
	unsigned labels = name_labels(name);
	unsigned apex_labels = name_labels(c->apex);
	if (labels > apex_labels && has_type(c, k->apex_set, k->apex_end, RR_DNAME)) {
		return TARGET_DNAME;
	}
	/* From below the apex downwards: the topmost cut or DNAME decides. */
	for (unsigned n = apex_labels + 1; n <= labels; n++) {
		const uint8_t *at = name_strip(name, labels - n);
		if (!owner_find(k, at, &set, &end)) {
			continue;
		}
		if (n < labels && has_type(c, set, end, RR_DNAME)) {
			return TARGET_DNAME;
		}
		if (!has_type(c, set, end, RR_NS)) {
			continue;
		}
		/* Below a cut only its own NS records need what stands there. */
		if (cut == NULL || !name_equal(at, cut) ||
		    (owner_find(k, name, &set, &end) && judge_sets(c, set, end) == TARGET_FINE)) {
			return TARGET_FINE;
		}
		return TARGET_GLUE;
	}
	if (owner_find(k, name, &set, &end)) {
		return judge_sets(c, set, end);
	}
	return name_exists(k, name) || labels == apex_labels ? TARGET_NONE
							     : judge_wildcard(k, name);
}

/* Unless it lies below the cut in question, a target is the same for all who name it. */
static enum target judge_target(struct checker *k, const uint8_t *name, const uint8_t *cut)
{
	if (!name_is_below(name, k->c->apex)) {
		return TARGET_FINE;
	}
	if (cut != NULL && name_is_below(name, cut)) {
		return judge(k, name, cut);
	}
	size_t at = name_hash(name) % REMEMBERED;
	if (k->targets[at] == NULL || !name_equal(k->targets[at], name)) {
		k->results[at] = judge(k, name, NULL);
		k->targets[at] = name;
	}
	return k->results[at];
}

/* Where the name stands in the RDATA of the types whose targets are looked at. */
static size_t target_offset(uint16_t type)
{
	return type == RR_NS ? 0 : type == RR_MX ? 2 : 6;
}

static void check_targets(struct checker *k, const struct record_set *set, bool apex)
{
	static const char *const texts[] = {
		[TARGET_CNAME] = "is an alias (CNAME)",
		[TARGET_DNAME] = "lies below a DNAME",
		[TARGET_GLUE] = "has no address here, which the delegation needs (glue)",
		[TARGET_NONE] = "has no address",
	};
	char target_text[NAME_TEXT_MAX];
	char type[RRTYPE_TEXT_MAX];
	for (size_t i = 0; i < set->count; i++) {
		const struct record *r = &k->c->records[set->first + i];
		const uint8_t *name = r->rdata + target_offset(r->type);
		if (name[0] == 0) {
			continue; /* null MX (RFC 7505), SRV without service (RFC 2782) */
		}
		bool delegation = r->type == RR_NS && !apex;
		enum target found = judge_target(k, name, delegation ? r->owner : NULL);
		if (found == TARGET_FINE) {
			continue;
		}
		/* Nobody could reach the zone through such a name server. */
		enum diag_level level = r->type == RR_NS && apex ? DIAG_ERROR : DIAG_WARNING;
		report(k, level, r, "%s: %s %s", rrtype_to_text(r->type, type),
		       name_to_text(name, target_text), texts[found]);
	}
}

/* One TTL for an RRset (RFC 2181 5.2): that of the record that came first. */
static void unify_ttl(struct checker *k, const struct record_set *set)
{
	struct record *records = k->c->records + set->first;
	const struct record *first = records;
	const struct record *other = NULL;
	char type[RRTYPE_TEXT_MAX];
	for (size_t i = 1; i < set->count; i++) {
		first = records[i].order < first->order ? &records[i] : first;
	}
	for (size_t i = 0; i < set->count; i++) {
		if (records[i].ttl != first->ttl &&
		    (other == NULL || records[i].order < other->order)) {
			other = &records[i];
		}
	}
	if (other == NULL) {
		return;
	}
	report(k, DIAG_WARNING, other,
	       "%s: TTL %u differs from %u, that of the RRset's first record",
	       rrtype_to_text(other->type, type), other->ttl, first->ttl);
	uint32_t ttl = first->ttl;
	for (size_t i = 0; i < set->count; i++) {
		records[i].ttl = ttl;
	}
}

/* What may stand beside a CNAME (RFC 4034 2.5, RFC 5155 3). */
static bool beside_cname(uint16_t type)
{
	return type == RR_CNAME || type == RR_RRSIG || type == RR_NSEC || type == RR_NSEC3 ||
	       type == RR_KEY;
}

static void check_cname(struct checker *k, size_t set, size_t end)
{
	char type[RRTYPE_TEXT_MAX];
	for (size_t i = set; i < end; i++) {
		const struct record *r = set_first(k->c, i);
		if (!beside_cname(r->type)) {
			report(k, DIAG_ERROR, r, "%s beside a CNAME",
			       rrtype_to_text(r->type, type));
		}
	}
}

/* The record that was written later of a set's, for faults of the kind "more than one". */
static const struct record *set_latest(const struct content *c, const struct record_set *set)
{
	const struct record *latest = &c->records[set->first];
	for (size_t i = 1; i < set->count; i++) {
		const struct record *r = &c->records[set->first + i];
		latest = r->order > latest->order ? r : latest;
	}
	return latest;
}

static void check_single(struct checker *k, const struct record_set *set)
{
	char type[RRTYPE_TEXT_MAX];
	if (set->count > 1) {
		const struct record *r = set_latest(k->c, set);
		report(k, DIAG_ERROR, r, "more than one %s", rrtype_to_text(r->type, type));
	}
}

/* RRSIGs are sorted by the type they cover. */
static void check_rrsigs(struct checker *k, size_t set, size_t owner, size_t end)
{
	char type[RRTYPE_TEXT_MAX];
	const struct record *r = set_first(k->c, set);
	uint16_t last = 0;
	for (size_t i = 0; i < k->c->sets[set].count; i++) {
		uint16_t covered = be16_get(r[i].rdata);
		if (covered != last && !has_type(k->c, owner, end, covered)) {
			report(k, DIAG_WARNING, &r[i], "RRSIG of %s, which is not there",
			       rrtype_to_text(covered, type));
		}
		last = covered;
	}
}

static void check_set(struct checker *k, size_t set, size_t owner, size_t end, bool apex)
{
	char type[RRTYPE_TEXT_MAX];
	const struct record_set *s = &k->c->sets[set];
	const struct record *r = set_first(k->c, set);
	if (r->type != RR_RRSIG) {
		unify_ttl(k, s);
	}
	if (rrtype_is_meta(r->type)) {
		report(k, DIAG_ERROR, r, "%s may not stand in a zone",
		       rrtype_to_text(r->type, type));
		return;
	}
	switch (r->type) {
	case RR_SOA:
		if (!apex) {
			report(k, DIAG_ERROR, r, "SOA below the top of the zone");
		}
		check_single(k, s);
		break;
	case RR_CNAME:
		check_cname(k, owner, end);
		check_single(k, s);
		break;
	case RR_DNAME:
		check_single(k, s);
		break;
	case RR_DS:
		if (apex) {
			report(k, DIAG_ERROR, r,
			       "DS at the top of the zone: it belongs to the parent");
		}
		break;
	case RR_NS:
		if (name_is_wildcard(r->owner)) {
			report(k, DIAG_WARNING, r, "NS at a wildcard");
		}
		if (!apex && has_type(k->c, owner, end, RR_DNAME)) {
			report(k, DIAG_WARNING, r, "NS beside a DNAME");
		}
		check_targets(k, s, apex);
		break;
	case RR_MX:
	case RR_SRV:
		check_targets(k, s, apex);
		break;
	case RR_RRSIG:
		if (!k->signing) {
			check_rrsigs(k, set, owner, end);
		}
		break;
	default:
		break;
	}
}

static bool stays_at_cut(uint16_t type)
{
	return type == RR_NS || type == RR_DS || type == RR_NSEC || type == RR_NSEC3 ||
	       type == RR_RRSIG || type == RR_A || type == RR_AAAA || type == RR_DNAME;
}

/* An NSEC3's owner is a hash, and stands below the top whatever is there (RFC 5155 1.3). */
static bool is_nsec3_owner(const struct content *c, size_t set, size_t end)
{
	bool found = has_type(c, set, end, RR_NSEC3);
	for (; set < end && found; set++) {
		uint16_t type = set_first(c, set)->type;
		found = type == RR_NSEC3 || type == RR_RRSIG;
	}
	return found;
}

/* Data of a name that is below a cut or DNAME, or at a cut. */
static void check_covered(struct checker *k, size_t set, size_t end, bool at_cut)
{
	char cover[NAME_TEXT_MAX];
	char type[RRTYPE_TEXT_MAX];
	const struct record *r = set_first(k->c, set);
	if (is_nsec3_owner(k->c, set, end)) {
		return;
	}
	if (k->cover_is_dname) {
		report(k, DIAG_ERROR, r, "lies below the DNAME at %s",
		       name_to_text(k->cover, cover));
		return;
	}
	for (; set < end; set++) {
		r = set_first(k->c, set);
		bool fine = at_cut ? stays_at_cut(r->type) : r->type == RR_A || r->type == RR_AAAA;
		if (!fine) {
			report(k, DIAG_WARNING, r, "%s is never answered: %s is delegated",
			       rrtype_to_text(r->type, type), name_to_text(k->cover, cover));
		}
	}
}

static void check_owner(struct checker *k, size_t set, size_t end)
{
	const uint8_t *owner = set_first(k->c, set)->owner;
	if (!k->all_inside && !name_is_below(owner, k->c->apex)) {
		report(k, DIAG_ERROR, set_first(k->c, set), "is outside the zone");
		return;
	}
	bool apex = set == k->apex_set && end == k->apex_end;
	if (k->cover != NULL && !name_is_below(owner, k->cover)) {
		k->cover = NULL;
	}
	if (k->cover != NULL) {
		check_covered(k, set, end, false);
	} else if (!apex && has_type(k->c, set, end, RR_NS)) {
		k->cover = owner;
		k->cover_is_dname = false;
		check_covered(k, set, end, true);
	} else if (has_type(k->c, set, end, RR_DNAME)) {
		k->cover = owner;
		k->cover_is_dname = true;
	}
	for (size_t i = set; i < end; i++) {
		check_set(k, i, set, end, apex);
	}
}

static bool dropped_when_signing(uint16_t type)
{
	return type == RR_RRSIG || type == RR_NSEC || type == RR_NSEC3 || type == RR_NSEC3PARAM ||
	       type == RR_ZONEMD;
}

/* The signer makes these itself: what the file says of them is left out. */
static void drop_signed(struct checker *k)
{
	struct content *c = k->c;
	struct record first = {0};
	size_t dropped = 0;
	size_t sets = 0;
	size_t records = 0;
	for (size_t i = 0; i < c->set_count; i++) {
		struct record_set set = c->sets[i];
		if (dropped_when_signing(c->records[set.first].type)) {
			if (dropped == 0) {
				first = c->records[set.first];
			}
			dropped += set.count;
			continue;
		}
		memmove(c->records + records, c->records + set.first,
			set.count * sizeof(*c->records));
		c->sets[sets++] = (struct record_set){(uint32_t)records, set.count};
		records += set.count;
	}
	c->set_count = sets;
	c->record_count = records;
	if (dropped > 0) {
		report(k, DIAG_WARNING, &first,
		       "and others: %zu records of types RRSIG, NSEC, NSEC3, NSEC3PARAM, ZONEMD "
		       "left "
		       "out, since the policy makes them",
		       dropped);
	}
}

static void refuse_keys(struct checker *k)
{
	char type[RRTYPE_TEXT_MAX];
	for (size_t i = 0; i < k->c->set_count; i++) {
		const struct record *r = set_first(k->c, i);
		if (r->type == RR_DNSKEY || r->type == RR_CDS || r->type == RR_CDNSKEY) {
			report(k, DIAG_ERROR, r,
			       "%s in a zone that a policy signs: it comes from the keys",
			       rrtype_to_text(r->type, type));
		}
	}
}

/* In canonical order the names of the zone stand together. */
static void find_apex(struct checker *k)
{
	const struct content *c = k->c;
	size_t last = c->set_count - 1;
	if (c->set_count == 0) {
		return;
	}
	k->all_inside = name_is_below(set_first(c, 0)->owner, c->apex) &&
			name_is_below(set_first(c, last)->owner, c->apex);
	if (!owner_find(k, c->apex, &k->apex_set, &k->apex_end)) {
		k->apex_set = k->apex_end = 0;
	}
}

static void check_apex(struct checker *k)
{
	size_t set = k->apex_set;
	size_t end = k->apex_end;
	char apex[NAME_TEXT_MAX];
	const char *file = k->c->file_count > 0 ? k->c->files[0] : NULL;
	name_to_text(k->c->apex, apex);
	if (!has_type(k->c, set, end, RR_SOA)) {
		k->failed = true;
		diags_add(k->d, DIAG_ERROR, file, 0, 0, "%s has no SOA", apex);
	}
	if (!has_type(k->c, set, end, RR_NS)) {
		k->failed = true;
		diags_add(k->d, DIAG_ERROR, file, 0, 0, "%s has no NS", apex);
	}
}

enum status content_check(struct content *c, const struct check_options *opt, struct diags *d)
{
	struct checker k = {.c = c, .d = d, .signing = opt->signing};
	if (k.signing) {
		drop_signed(&k);
		refuse_keys(&k);
	}
	find_apex(&k);
	check_apex(&k);
	for (k.set = 0; k.set < c->set_count; k.set = k.end) {
		k.end = owner_end(c, k.set);
		check_owner(&k, k.set, k.end);
	}
	return k.failed ? ST_EPARSE : ST_OK;
}
