/* What a zone's first version finds on disk. */
#include "nsd-core/zonemgr_build.h"

#include "nsd-core/base/bulk.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/ixfr.h"

#include <stdlib.h>

/* A signature that the journal has added since signatures were written, or has removed. */
struct replayed {
	struct rrset *rs;
	bool added;
	struct bytes rdata; /* in the journal's differences */
};

/* An RRset whose slot was changed by that, and what was in it. */
struct undone {
	struct rrset *rs;
	struct sigset *was;
};

struct replay {
	struct replayed *list;
	size_t count, room;
	struct undone *undo;
	size_t undo_count;
};

/* The RRset of the draft that the signature is for; NULL: there is none. */
static struct rrset *signed_rrset(const struct draft *d, const struct diff_record *r)
{
	uint16_t covered = r->rdata.len >= 2 ? be16_get(r->rdata.data) : 0;
	const struct node *n =
		covered == RR_NSEC3 ? draft_nsec3_find(d, r->owner) : draft_find(d, r->owner);
	struct rrset *rs = n != NULL ? node_rrset(n, covered) : NULL;

	return rs != NULL && signer_covers(n, rs) ? rs : NULL;
}

static enum status replay_add(struct replay *p, const struct replayed *r)
{
	if (p->count == p->room) {
		size_t room = p->room == 0 ? 64 : p->room * 2;
		struct replayed *grown = realloc(p->list, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		p->list = grown;
		p->room = room;
	}
	p->list[p->count++] = *r;
	return ST_OK;
}

static int compare_replayed(const void *a, const void *b)
{
	const struct replayed *x = a;
	const struct replayed *y = b;

	if (x->rs != y->rs) {
		return (uintptr_t)x->rs < (uintptr_t)y->rs ? -1 : 1;
	}
	return (int)x->added - (int)y->added;
}

/* More signatures than an RRset has in any zone of ours. */
#define RRSIGS_MAX 32

struct rrsigs {
	struct bytes list[RRSIGS_MAX];
	size_t count;
};

static void rrsigs_change(struct rrsigs *s, const struct replayed *r)
{
	size_t i = 0;

	while (i < s->count && (s->list[i].len != r->rdata.len ||
				memcmp(s->list[i].data, r->rdata.data, r->rdata.len) != 0)) {
		i++;
	}
	if (r->added && i == s->count && s->count < RRSIGS_MAX) {
		s->list[s->count++] = r->rdata;
	} else if (!r->added && i < s->count) {
		s->list[i] = s->list[--s->count];
	}
}

/* Nobody else sees the RRset yet: its slot may change. */
static void set_slot(struct rrset *rs, struct sigset *sigs)
{
	atomic_store_explicit(&rs->sigs, sigs, memory_order_release);
	atomic_store(&rs->sig_state, sigs != NULL ? SIG_FILLED : SIG_EMPTY);
}

/* The changes of one RRset: p->list[first .. end). */
static enum status replay_rrset(struct replay *p, const uint8_t *apex, size_t first, size_t end)
{
	struct rrset *rs = p->list[first].rs;
	struct sigset *was = rrset_sigs(rs);
	struct sigset *sigs = NULL;
	struct rrsigs s = {.count = 0};
	uint8_t buf[SIGSET_BUF];
	enum status st = ST_OK;

	if (was != NULL) {
		struct bytes data = sigset_data(was, rs, apex, buf);
		const uint8_t *stop = data.data + data.len;
		for (const uint8_t *at = data.data; at < stop && s.count < RRSIGS_MAX;
		     at = rdata_next(at)) {
			s.list[s.count++] = rdata_at(at);
		}
	}
	for (size_t i = first; i < end; i++) {
		rrsigs_change(&s, &p->list[i]);
	}
	if (s.count > 0) {
		st = sigset_new(rs, apex, s.list, s.count, &sigs);
	}
	if (st == ST_OK) {
		p->undo[p->undo_count++] = (struct undone){rs, was};
		set_slot(rs, sigs);
	}
	return st;
}

/* Either the slots are as they were, or what was in them is freed. */
static void replay_end(struct replay *p, bool undo)
{
	for (size_t i = 0; i < p->undo_count; i++) {
		struct undone *u = &p->undo[i];
		if (undo) {
			sigset_free(rrset_sigs(u->rs));
			set_slot(u->rs, u->was);
		} else {
			sigset_free(u->was);
		}
	}
	free(p->undo);
	free(p->list);
}

static enum status replay_joined(struct replay *p, const struct draft *d, const uint8_t *apex,
				 const struct joined *j)
{
	struct diff_record r;
	bool added;
	enum status st = ST_OK;

	for (size_t i = 0; st == ST_OK && joined_record(j, i, &r, &added) == ST_OK; i++) {
		struct rrset *rs = r.type == RR_RRSIG ? signed_rrset(d, &r) : NULL;
		if (rs != NULL) {
			st = replay_add(p, &(struct replayed){rs, added, r.rdata});
		}
	}
	if (st != ST_OK || p->count == 0) {
		return st;
	}
	qsort(p->list, p->count, sizeof(p->list[0]), compare_replayed);
	p->undo = calloc(p->count, sizeof(*p->undo));
	if (p->undo == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0, end; i < p->count && st == ST_OK; i = end) {
		for (end = i + 1; end < p->count && p->list[end].rs == p->list[i].rs; end++) {
		}
		st = replay_rrset(p, apex, i, end);
	}
	return st;
}

/* From the version whose signatures are on disk to the journal's last one. */
static enum status replay_signatures(struct replay *p, const struct build_source *src,
				     const struct draft *d, uint32_t serial)
{
	struct journal_span span;
	struct joined *j = NULL;
	uint32_t saved;

	if (!sigstore_serial(src->kept, &saved) || saved == serial ||
	    journal_span(src->history, saved, serial, &span) != ST_OK ||
	    span.octets > IXFR_JOIN_MAX) {
		return ST_OK;
	}
	/* What cannot be read is no history: the sums will differ. */
	if (joined_new(src->history, &span, &j) != ST_OK) {
		return ST_OK;
	}
	enum status st = replay_joined(p, d, src->apex, j);
	joined_free(j);
	return st;
}

/* Is the draft what the journal ends with, once it has the signatures of the last versions? They
 * were served, and may not be in the store of signatures, which is written behind. b->matched says
 * so; else the slots stay as they were. */
static enum status match_history(struct build *b, const struct draft *d, uint32_t serial)
{
	struct journal_zone *h = b->src->history;
	struct replay p = {.list = NULL};
	struct zone_sum last;
	uint32_t last_serial;

	if (h == NULL || !journal_last(h, &last_serial, &last) || last_serial != serial) {
		return ST_OK;
	}
	enum status st = replay_signatures(&p, b->src, d, serial);
	if (st == ST_OK) {
		st = draft_sum(d, signer_covers, &b->sum);
	}
	b->matched = st == ST_OK && zone_sum_equal(&b->sum, &last);
	replay_end(&p, !b->matched);
	return st;
}

/* A zone is served without them all the same. */
static void load_signatures(struct build *b, const struct node *const *nodes, size_t count,
			    const struct keyset *keys, uint32_t serial, struct sigstore_loaded *got)
{
	struct build_source *src = b->src;
	char zone[NAME_TEXT_MAX];

	enum status st = sigstore_load(src->signatures, src->kept, nodes, count, keys, serial,
				       clock_wall_s(), got);
	if (st != ST_OK) {
		diags_warn(&b->diags, "zone %s: signatures on disk cannot be read: %s",
			   name_to_text(src->apex, zone), status_text(st));
	} else if (got->damaged > 0) {
		diags_warn(&b->diags,
			   "zone %s: %zu entries with signatures are damaged on disk, and are made "
			   "again",
			   name_to_text(src->apex, zone), got->damaged);
	}
}

/* Does the journal say what this serial stands for? */
static bool history_knows(const struct build_source *src, uint32_t serial)
{
	struct zone_sum sum;
	uint32_t last;

	return src->history != NULL && journal_last(src->history, &last, &sum) && last == serial;
}

static enum status count_lacking(void *ctx, const struct node *n, struct rrset *rs)
{
	size_t *lacking = ctx;

	*lacking += signer_covers(n, rs) && rrset_sigs(rs) == NULL;
	return ST_OK;
}

enum status build_restore(struct build *b, struct draft *d, const struct keyset *keys,
			  uint32_t serial, struct sigstore_loaded *out)
{
	struct sigstore_loaded got = {.lacking = SIZE_MAX};

	*out = got;
	if (b->src->kept == NULL) {
		return ST_OK;
	}
	size_t size = (draft_list_room(d) + 1) * sizeof(struct node *);
	const struct node **nodes = bulk_alloc(size);
	if (nodes == NULL) {
		return ST_ENOMEM;
	}
	load_signatures(b, nodes, draft_list(d, nodes), keys, serial, &got);
	bulk_free(nodes, size);
	enum status st = match_history(b, d, serial);
	if (st != ST_OK) {
		return st;
	}
	if (history_knows(b->src, serial)) {
		got.same = b->matched;
	}
	if (b->matched) {
		/* The journal may have had what the store of signatures had not. */
		got.lacking = 0;
		st = draft_each_new(d, count_lacking, &got.lacking);
		if (st != ST_OK) {
			return st;
		}
	}
	*out = got;
	b->restored = got.filled;
	return ST_OK;
}
