/* Signing in the background, and what follows once a zone is complete. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/clock.h"

static enum status max_ttl_each(void *ctx, const struct node *n)
{
	uint32_t *max = ctx;

	for (size_t i = 0; i < n->rrset_count; i++) {
		if (n->rrsets[i]->ttl > *max) {
			*max = n->rrsets[i]->ttl;
		}
	}
	return ST_OK;
}

/* What was answered unsigned may stand in caches that long: the largest TTL, and that of the
 * negative answers (RFC 7583 3.2's TTLs, seen from the side of going secure). */
static uint32_t max_ttl(const struct version *v)
{
	uint32_t max = v->negative_ttl;

	/* max_ttl_each() never fails. */
	enum status st = version_walk(v, max_ttl_each, &max);
	(void)st;
	return max;
}

static enum status complete(struct warming *w)
{
	struct version *v = w->version;
	struct diags why;

	diags_init(&why, DIAGS_LIMIT);
	/* Also where a key is missing: what the other keys sign is signed. */
	enum status bound = build_rebind(w->src, v->keys, &why);
	enum status st = signer_complete(w->src->signer, v, &w->stop);
	if (st == ST_EAGAIN) {
		if (why.errors == 0) {
			build_blame_keystores(w->src, &w->diags);
		}
		diags_take(&w->diags, &why);
		st = bound != ST_OK ? bound : ST_EAGAIN;
	}
	diags_fini(&why);
	return st;
}

void warming_run(struct warming *w)
{
	diags_fini(&w->diags);
	diags_init(&w->diags, DIAGS_LIMIT);
	w->status = complete(w);
	signer_stats(w->version, &w->stats);
	enum status st = ST_OK;
	if (w->status == ST_OK) {
		st = ledger_put_signed(w->src, clock_wall_s(), max_ttl(w->version), &w->record,
				       &w->diags);
	} else {
		st = ledger_get(w->src, &w->record, &w->diags);
	}
	if (w->status == ST_OK) {
		w->status = st;
	}
}
