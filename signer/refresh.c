/* When signatures are valid, and when they fall due. */
#include "signer/rrsig.h"
#include "signer/signer.h"

#include "nsd-core/base/clock.h"

#define INCEPTION_BEFORE_S 3600

/* Nothing that is signed now falls due sooner than this part of the time there is, and nothing is
 * signed again sooner than half of that before it falls due: so that signing again moves on. */
#define LEAST_PART  16
#define AHEAD_MAX_S 3600
/* KSKs may be far away: what they sign is made new each day, so that it is always nearly as young
 * as the policy lets it be. */
#define KSK_RENEWED_S 86400

/* From a fresh signature to when it falls due: at most. */
static uint32_t longest_s(const struct sign_params *p)
{
	return p->validity > p->refresh ? p->validity - p->refresh : 0;
}

/* A signature falls due when 'refresh' is left, at a time of its id's: phase + k * period on the
 * clock, whichever comes next. So the same share of all ids falls due in each hour, from the first
 * hour on, whenever they were signed first. */
void sign_window(const struct sign_params *p, const uint8_t id[32], int64_t now,
		 uint32_t *inception, uint32_t *expiration)
{
	uint32_t least = longest_s(p) / LEAST_PART;
	uint32_t period = longest_s(p) - least;
	int64_t due = now + least;

	if (period > 0) {
		int64_t phase = (int64_t)(((uint64_t)be32_get(id) * period) >> 32);
		int64_t over = (due - phase) % period;
		due += over > 0 ? period - over : -over;
	}
	uint32_t left = p->validity > p->refresh ? p->refresh : p->validity;

	*inception = (uint32_t)(now - INCEPTION_BEFORE_S);
	*expiration = (uint32_t)(due + (left > 0 ? left : 1));
}

void sign_window_ksk(const struct sign_params *p, int64_t now, uint32_t *inception,
		     uint32_t *expiration)
{
	*inception = (uint32_t)(now - INCEPTION_BEFORE_S);
	*expiration = (uint32_t)(now + p->validity);
}

uint32_t sign_ahead_s(const struct sign_params *p)
{
	uint32_t ahead = longest_s(p) / LEAST_PART / 2;

	return ahead < AHEAD_MAX_S ? ahead : AHEAD_MAX_S;
}

/* When signatures of this type that expire then fall due. */
static int64_t due_at(const struct sign_params *p, uint16_t type, int64_t expiration)
{
	if (!rrsig_by_ksk(type)) {
		return expiration - p->refresh;
	}
	uint32_t kept = longest_s(p) / 2;

	return expiration - p->validity + (kept < KSK_RENEWED_S ? kept : KSK_RENEWED_S);
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

static const struct sign_params *version_params(const struct version *v)
{
	static const struct sign_params none;
	const struct keyset *ks = v->keys;
	return ks != NULL ? &ks->params : &none;
}

struct stats_walk {
	struct sign_stats stats;
	const struct sign_params *params;
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
		int64_t due = due_at(walk->params, rs->type, expiration);
		if (due < stats->next_refresh) {
			stats->next_refresh = due;
		}
	}
	return ST_OK;
}

void signer_stats(const struct version *v, struct sign_stats *out)
{
	struct stats_walk walk = {
		.stats = {.next_refresh = INT64_MAX, .safe_until = INT64_MAX},
		.params = version_params(v),
		.now = clock_wall_s(),
	};
	/* stats_each() never fails. */
	if (version_walk(v, stats_each, &walk) == ST_OK) {
		*out = walk.stats;
	}
}

struct renew_walk {
	struct draft *draft;
	const struct keyset *keys;
	bool usable[KEYSET_MAX]; /* keys that sign now */
	int64_t until;
	size_t count;
};

/* What cannot be signed anew now keeps what it has, and does not keep others from being renewed. */
static bool can_sign(const struct renew_walk *walk, uint16_t type)
{
	uint8_t which[KEYSET_MAX];
	size_t count = rrsig_keys(walk->keys, type, which);
	for (size_t i = 0; i < count; i++) {
		if (!walk->usable[which[i]]) {
			return false;
		}
	}
	return count > 0;
}

static bool key_is_usable(const struct key *key)
{
	struct keystore_health health;
	struct hsm_key *handle = atomic_load(&key->handle);
	if (handle == NULL) {
		return false;
	}
	keystore_health(hsm_key_store(handle), &health);
	return health.state == KEYSTORE_UP || health.state == KEYSTORE_CLOSED;
}

static enum status renew_each(void *ctx, const struct node *n)
{
	struct renew_walk *walk = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct sigset *sigs = signer_covers(n, rs) ? rrset_sigs(rs) : NULL;
		if (sigs == NULL ||
		    due_at(&walk->keys->params, rs->type,
			   sigtime_near(sigs->expiration, walk->until)) > walk->until ||
		    !can_sign(walk, rs->type)) {
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
	struct renew_walk walk = {.draft = d, .keys = base->keys, .until = until};
	for (size_t i = 0; i < walk.keys->count; i++) {
		walk.usable[i] = key_is_usable(&walk.keys->keys[i]);
	}
	enum status st = version_walk(base, renew_each, &walk);
	if (st == ST_OK) {
		*count = walk.count;
	}
	return st;
}
