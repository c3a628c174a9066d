/* When signatures are valid, and when they fall due. */
#include "signer/signer.h"

#include "nsd-core/base/clock.h"

#define INCEPTION_BEFORE_S 3600

/* The expiration is now + validity - phase, with the phase in [0, (validity - refresh) / 2) from
 * the id. A signature falls due when 'refresh' is left, so what was signed in one go falls due
 * evenly spread between (validity - refresh) / 2 and validity - refresh from now; and since the
 * phase stays with the content, each keeps a period of its own. */
void sign_window(const struct sign_params *p, const uint8_t id[32], int64_t now,
		 uint32_t *inception, uint32_t *expiration)
{
	uint32_t span = p->validity > p->refresh ? (p->validity - p->refresh) / 2 : 0;
	uint32_t phase = (uint32_t)(((uint64_t)be32_get(id) * span) >> 32);
	uint32_t validity = p->validity > phase ? p->validity - phase : 1;
	*inception = (uint32_t)(now - INCEPTION_BEFORE_S);
	*expiration = (uint32_t)(now + validity);
}

/* The 64-bit time that an RRSIG's 32 bits mean, seen from a time less than 68 years off (RFC 4034
 * 3.1.5). */
static int64_t sigtime_near(uint32_t t, int64_t near)
{
	return near + (int32_t)(t - (uint32_t)near);
}

const struct sigset *signer_valid(const struct rrset *rs, int64_t now)
{
	const struct sigset *sigs = rrset_sigs(rs);
	if (sigs == NULL || serial_gt(sigs->inception, (uint32_t)now) ||
	    serial_gt((uint32_t)now, sigs->expiration)) {
		return NULL;
	}
	return sigs;
}

bool signer_covers(const struct node *n, const struct rrset *rs)
{
	if ((n->flags & NODE_OCCLUDED) != 0 || rs->type == RR_RRSIG) {
		return false;
	}
	return (n->flags & NODE_CUT) == 0 || rs->type == RR_DS || rs->type == RR_NSEC;
}

static uint32_t version_refresh(const struct version *v)
{
	const struct keyset *ks = v->keys;
	return ks != NULL ? ks->params.refresh : 0;
}

struct stats_walk {
	struct sign_stats stats;
	uint32_t refresh;
	int64_t now;
};

static enum status stats_each(void *ctx, const struct node *n)
{
	struct stats_walk *walk = ctx;
	struct sign_stats *stats = &walk->stats;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		if (!signer_covers(n, rs)) {
			continue;
		}
		stats->rrsets++;
		const struct sigset *sigs = rrset_sigs(rs);
		if (sigs == NULL) {
			continue;
		}
		stats->filled++;
		int64_t expiration = sigtime_near(sigs->expiration, walk->now);
		if (expiration < stats->safe_until) {
			stats->safe_until = expiration;
		}
		if (expiration - walk->refresh < stats->next_refresh) {
			stats->next_refresh = expiration - walk->refresh;
		}
	}
	return ST_OK;
}

void signer_stats(const struct version *v, struct sign_stats *out)
{
	struct stats_walk walk = {
		.stats = {.next_refresh = INT64_MAX, .safe_until = INT64_MAX},
		.refresh = version_refresh(v),
		.now = clock_wall_s(),
	};
	/* stats_each() never fails. */
	if (version_walk(v, stats_each, &walk) == ST_OK) {
		*out = walk.stats;
	}
}

struct renew_walk {
	struct draft *draft;
	uint32_t refresh;
	int64_t until;
	size_t count;
};

static enum status renew_each(void *ctx, const struct node *n)
{
	struct renew_walk *walk = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct sigset *sigs = signer_covers(n, rs) ? rrset_sigs(rs) : NULL;
		if (sigs == NULL ||
		    sigtime_near(sigs->expiration, walk->until) - walk->refresh > walk->until) {
			continue;
		}
		enum status st = draft_renew(walk->draft, node_name(n), rs->type);
		/* What the draft has removed need not be renewed. */
		if (st != ST_OK && st != ST_ENOENT) {
			return st;
		}
		walk->count += st == ST_OK;
	}
	return ST_OK;
}

enum status signer_renew_due(struct draft *d, const struct version *base, int64_t until,
			     size_t *count)
{
	struct renew_walk walk = {.draft = d, .refresh = version_refresh(base), .until = until};
	enum status st = version_walk(base, renew_each, &walk);
	if (st == ST_OK) {
		*count = walk.count;
	}
	return st;
}
