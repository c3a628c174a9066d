/* What the journal is to hold of a version before anybody sees it: on a builder thread. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/clock.h"

/* Left for what the journal adds to a difference. */
#define LIMIT_SPARE 8192

static zone_covers covers_of(const struct version *v)
{
	return v->keys != NULL ? signer_covers : NULL;
}

void build_history_begin(struct build *b)
{
	if (b->base != NULL && b->base == b->changed) {
		b->summed = b->base;
		b->sum = b->change.sum;
	}
	b->matched = false;
	difference_fini(&b->change.difference);
}

void build_history_fini(struct build *b)
{
	difference_fini(&b->change.difference);
}

bool build_history_last(const struct build_source *src, struct zone_record *rec)
{
	uint32_t serial;
	struct zone_sum sum;

	if (src->history == NULL || !journal_last(src->history, &serial, &sum)) {
		return false;
	}
	bool is_ahead = !rec->has_serial || serial_gt(serial, rec->serial);
	if (is_ahead) {
		rec->has_serial = true;
		rec->serial = serial;
	}
	return is_ahead;
}

/* What is longer than any history may be is not kept; the sum goes on. */
static enum status note(void *ctx, const struct diff_record *r)
{
	struct journal_change *c = ctx;

	if (c->step == JOURNAL_RESTART) {
		return ST_OK;
	}
	enum status st = difference_add(&c->difference, r);
	if (st == ST_ELIMIT) {
		difference_fini(&c->difference);
		c->step = JOURNAL_RESTART;
		st = ST_OK;
	}
	return st;
}

/* The version that a start begins with: is it the one the journal ends with? */
static enum status first_version(struct build *b, const struct version *v)
{
	struct journal_change *c = &b->change;
	struct journal_status status;
	struct zone_sum last;
	uint32_t serial;
	char zone[NAME_TEXT_MAX];

	c->step = JOURNAL_KEEP;
	if (b->matched) {
		c->sum = b->sum;
		return ST_OK;
	}
	enum status st = version_sum(v, covers_of(v), &c->sum);
	if (st != ST_OK) {
		return st;
	}
	bool known = journal_last(c->zone, &serial, &last);
	if (!known || serial != v->serial || !zone_sum_equal(&last, &c->sum)) {
		c->step = JOURNAL_RESTART;
	}
	journal_zone_status(c->zone, &status);
	if (c->step == JOURNAL_RESTART && status.versions > 0) {
		diags_warn(&b->diags,
			   "zone %s: it has changed while it was not served: secondaries transfer "
			   "all of it",
			   name_to_text(b->src->apex, zone));
	}
	return ST_OK;
}

enum status build_history(struct build *b, const struct version *v)
{
	struct journal_change *c = &b->change;

	if (b->src->history == NULL) {
		return ST_OK;
	}
	*c = (struct journal_change){
		.zone = b->src->history, .step = JOURNAL_APPEND, .to = v->serial};
	b->changed = v;
	if (b->base == NULL) {
		return first_version(b, v);
	}
	enum status st = ST_OK;
	if (b->summed != b->base) {
		st = version_sum(b->base, covers_of(b->base), &b->sum);
		b->summed = st == ST_OK ? b->base : NULL;
	}
	c->from = b->base->serial;
	c->sum = b->sum;
	c->difference.limit = journal_limit(c->zone) - LIMIT_SPARE;
	/* A serial that stands still, or goes back, leads nowhere. */
	if (!serial_gt(c->to, c->from)) {
		c->step = JOURNAL_RESTART;
	}
	const struct diff_options opt = {
		.covers = {covers_of(b->base), covers_of(v)}, .each = note, .ctx = c};
	return st == ST_OK ? version_diff(b->base, v, &opt, &c->sum) : st;
}
