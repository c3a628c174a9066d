/* One build: the file or what the clock asks for -> draft -> serial -> version -> signatures ->
 * record. */
#include "nsd-core/zonemgr_making.h"

#include "nsd-core/base/clock.h"
#include "zones/nsec3.h"
#include "zones/rdata.h"

#include <stdlib.h>

void build_init(struct build *b, struct build_source *src)
{
	*b = (struct build){.src = src};
	diags_init(&b->diags, DIAGS_LIMIT);
}

void build_fini(struct build *b)
{
	file_stamps_fini(&b->read);
	file_stamps_fini(&b->seen);
	diags_fini(&b->diags);
	build_history_fini(b);
	version_unref(b->next);
	b->next = NULL;
	version_unref(b->unfinished);
	b->unfinished = NULL;
}

enum status build_rebind(const struct build_source *src, struct keyset *keys, struct diags *d)
{
	return keyset_rebind(keys, src->policy->wanted, src->policy->wanted_count, d);
}

void build_blame_keystores(const struct build_source *src, struct diags *d)
{
	char zone[NAME_TEXT_MAX];
	char refusal[sizeof(((struct keystore_health *)NULL)->refusal)] = "";
	const char *refuser = NULL;
	size_t before = d->errors;

	name_to_text(src->apex, zone);
	for (size_t i = 0; i < src->policy->wanted_count; i++) {
		struct keystore *store = src->policy->wanted[i].store;
		struct keystore_health health;
		if (i > 0 && store == src->policy->wanted[i - 1].store) {
			continue;
		}
		keystore_health(store, &health);
		if (health.state != KEYSTORE_UP) {
			diags_error(d, "zone %s: signing waits for keystore %s: %s", zone,
				    keystore_name(store),
				    health.detail[0] != '\0' ? health.detail : "not open yet");
		} else if (health.refusal[0] != '\0') {
			memcpy(refusal, health.refusal, sizeof(refusal));
			refuser = keystore_name(store);
		}
	}
	if (d->errors == before && refuser != NULL) {
		diags_error(d, "zone %s: signing waits for a key in keystore %s: %s", zone, refuser,
			    refusal);
	} else if (d->errors == before) {
		diags_error(d, "zone %s: signing waits: a signature could not be made", zone);
	}
}

static enum status get_keys(struct making *m)
{
	const struct build_policy *policy = m->src->policy;
	struct keyset *before = m->b->base != NULL ? m->b->base->keys : NULL;
	struct sign_params params;

	if (policy == NULL) {
		return ST_OK;
	}
	build_params(m->b, m->has_content ? &m->content : NULL, &params);
	if (before == NULL) {
		return keyset_load(m->src->db, m->src->apex, &params, policy->wanted,
				   policy->wanted_count, clock_wall_s(), &m->keys, &m->b->diags);
	}
	if (before->params.refresh != params.refresh ||
	    before->params.validity != params.validity) {
		return keyset_with_params(before, &params, &m->keys);
	}
	m->keys = keyset_ref(before);
	return ST_OK;
}

/* A change from one chain to the other is a build of its own: what is edited meanwhile comes before
 * or after it. The first version has what the signatures on disk are for, so that it is served
 * signed whatever the keystores do. */
static enum status choose_denial(struct making *m)
{
	const struct build *b = m->b;
	char zone[NAME_TEXT_MAX];

	if (m->keys == NULL) {
		return ST_OK;
	}
	m->denial = atomic_load(&m->src->policy->denial);
	if (b->base != NULL && (b->want & BUILD_DENIAL) == 0) {
		m->denial = signer_denial(b->base);
	} else if (b->base == NULL && m->src->kept != NULL) {
		/* Where nothing is known, or can be read, nothing is kept by the old way. */
		enum status st = sigstore_denial(m->src->signatures, m->src->apex, &m->denial);
		(void)st;
	}
	if (m->denial != SIGN_NSEC && name_len(m->src->apex) > NAME_MAX_LEN - NSEC3_LABEL_LEN) {
		diags_error(&m->b->diags, "zone %s: its name is too long for NSEC3",
			    name_to_text(m->src->apex, zone));
		return ST_EREFUSED;
	}
	return draft_keep_chain(m->draft, m->denial == SIGN_NSEC);
}

/* The file's records into the draft. */
static enum status apply_file(struct making *m)
{
	enum status st = making_read_serial(m);

	if (st == ST_OK && making_is_numbered(m)) {
		uint32_t ignored;
		making_first_serial(m);
		st = content_serial(&m->content, &m->serial, &ignored);
	}
	if (st == ST_OK) {
		st = draft_take(m->draft, &m->content, m->src->policy != NULL);
	}
	if (st == ST_OK && making_is_numbered(m)) {
		st = making_check_soa(m);
	}
	return st == ST_OK ? build_check_loss(m->b, m->draft) : st;
}

static enum status renew(struct making *m)
{
	const struct build *b = m->b;
	int64_t until = clock_wall_s() + sign_ahead_s(&m->keys->params);

	return signer_renew_due(m->draft, b->base, until, &m->b->renewed);
}

/* CDS and CDNSKEY stand once a DS would be safe, and from then on: what says so is on record. */
static bool wants_cds(const struct making *m)
{
	const struct sign_params *p = &m->keys->params;

	return p->publish_cds && ds_safe_from(&m->record, p->propagation) <= clock_wall_s();
}

static enum status fill_draft(struct making *m)
{
	enum status st = ST_OK;

	/* First, while the draft is the base: renewed RRsets that the file leaves as they are stay.
	 */
	if ((m->b->want & BUILD_REFRESH) != 0 && m->keys != NULL && m->b->base != NULL) {
		st = renew(m);
	}
	if (st == ST_OK && m->has_content) {
		st = apply_file(m);
	}
	if (st != ST_OK) {
		return st;
	}
	return m->keys != NULL ? signer_prepare_draft(m->draft, m->keys, wants_cds(m), m->denial)
			       : draft_settle(m->draft);
}

/* Before a version is seen, all of an eager zone, and of one with secondaries, is signed; of others
 * the records of the apex that every answer needs, denial, and what replaces an RRset that was
 * signed: what was answered signed never goes cold. The first version of an online zone is
 * published as it is. */
static bool must_sign(const struct making *m, const struct node *n, const struct rrset *rs)
{
	if (!signer_covers(n, rs) || rrset_sigs(rs) != NULL) {
		return false;
	}
	if (m->keys->params.eager || m->src->complete) {
		return true;
	}
	if (m->b->base == NULL) {
		return false;
	}
	if (rs->type == RR_NSEC || rs->type == RR_NSEC3 || (n->flags & NODE_APEX) != 0) {
		return true;
	}
	const struct rrset *old = draft_base_rrset(m->draft, node_name(n), rs->type);
	return old != NULL && rrset_sigs(old) != NULL;
}

static enum status list_rrset(void *ctx, const struct node *n, struct rrset *rs)
{
	struct making *m = ctx;

	if (!must_sign(m, n, rs)) {
		return ST_OK;
	}
	if (m->count == m->room) {
		size_t room = m->room == 0 ? 64 : m->room * 2;
		const struct node **nodes = realloc(m->nodes, room * sizeof(*nodes));
		if (nodes == NULL) {
			return ST_ENOMEM;
		}
		m->nodes = nodes;
		struct rrset **rrsets = realloc(m->rrsets, room * sizeof(*rrsets));
		if (rrsets == NULL) {
			return ST_ENOMEM;
		}
		m->rrsets = rrsets;
		m->room = room;
	}
	m->nodes[m->count] = n;
	m->rrsets[m->count] = rs;
	m->count++;
	return ST_OK;
}

static enum status freeze(struct making *m)
{
	const struct node *apex = draft_find(m->draft, m->src->apex);
	const struct rrset *soa = apex != NULL ? node_rrset(apex, RR_SOA) : NULL;
	struct freeze f = {.denial = m->denial == SIGN_NSEC ? DENIAL_NSEC : DENIAL_NSEC3,
			   .is_signed = true};

	if (m->keys == NULL) {
		f.is_signed = soa != NULL && rrset_sigs(soa) != NULL;
		f.denial = DENIAL_NONE;
		return draft_freeze(m->draft, &f, &m->version);
	}
	f.keys = keyset_ref(m->keys);
	f.keys_unref = keyset_unref;
	enum status st = draft_freeze(m->draft, &f, &m->version);
	if (st != ST_OK) {
		keyset_unref(m->keys);
	}
	return st;
}

/* What signing looks at to see whether it is to end. */
static const _Atomic(bool) *stop_flag(struct making *m)
{
	struct build *b = m->b;

	if ((b->want & BUILD_DENIAL) == 0) {
		return m->src->stop;
	}
	int64_t now_ms = clock_mono_ms();
	atomic_store(&b->yield_from_ms, now_ms + (now_ms - m->start_ms));
	/* Whoever stops us all sets the one, then the other. */
	if (atomic_load(m->src->stop)) {
		atomic_store(&b->yield, true);
	}
	return &b->yield;
}

static enum status sign(struct making *m)
{
	struct diags why;

	if (m->count == 0) {
		return ST_OK;
	}
	diags_init(&why, DIAGS_LIMIT);
	enum status st = build_rebind(m->src, m->keys, &why);
	if (st == ST_OK) {
		st = signer_sign_list(m->src->signer, m->version, m->nodes, m->rrsets, m->count,
				      stop_flag(m));
	}
	if (st == ST_EAGAIN || st == ST_EFATAL) {
		/* What rebinding found is the cause; it only warns, since a zone may be served so.
		 */
		if (why.errors == 0) {
			build_blame_keystores(m->src, &m->b->diags);
		}
		diags_take(&m->b->diags, &why);
	}
	diags_fini(&why);
	return st;
}

/* Of another denial what was signed is kept in memory until it is done, or not wanted any more. */
static void keep_unfinished(struct making *m)
{
	struct build *b = m->b;

	if ((b->want & BUILD_DENIAL) != 0 && m->version != NULL) {
		version_unref(b->unfinished);
		b->unfinished = m->version;
		m->version = NULL;
	}
}

static void drop_unfinished(struct build *b)
{
	if (b->unfinished != NULL && b->base != NULL &&
	    signer_denial(b->base) == atomic_load(&b->src->policy->denial)) {
		version_unref(b->unfinished);
		b->unfinished = NULL;
	}
}

/* From a draft to a version that may be published: signed as far as it must be, its serial on disk.
 */
static enum status finish(struct making *m)
{
	struct build *b = m->b;
	enum status st = ST_OK;

	if (b->unfinished != NULL && b->unfinished->keys == m->keys) {
		size_t adopted;
		st = signer_adopt(m->draft, b->unfinished, &adopted);
	}
	if (st == ST_OK && m->keys != NULL && !m->whole) {
		st = draft_each_new(m->draft, list_rrset, m);
	}
	if (st == ST_OK) {
		st = freeze(m);
	}
	if (st == ST_OK) {
		st = sign(m);
	}
	if (st == ST_OK) {
		st = build_history(b, m->version);
	}
	if (st != ST_OK) {
		keep_unfinished(m);
		return st;
	}
	b->measured = m->keys != NULL && m->version->name_count <= BUILD_MEASURE_MAX;
	if (b->measured) {
		signer_stats(m->version, &b->stats);
	}
	b->uncommitted = making_is_numbered(m) || b->src->history != NULL;
	b->published.serial = m->version->serial;
	b->published.has_file_serial = m->has_file_serial;
	b->published.file_serial = m->file_serial;
	b->next = m->version;
	m->version = NULL;
	b->outcome = BUILD_NEW;
	return ST_OK;
}

static enum status make(struct making *m)
{
	struct build *b = m->b;
	bool is_new = false;
	enum status st = ST_OK;

	if (making_is_numbered(m)) {
		st = ledger_get(m->src, &m->record, &b->diags);
		m->is_unseen = build_history_last(m->src, &m->record);
	}
	if (st == ST_OK && making_is_numbered(m) && m->src->policy == NULL && m->has_content) {
		st = content_digest(&m->content, b->published.content);
		b->published.has_content = st == ST_OK;
	}
	if (st == ST_OK) {
		st = draft_new(m->src->apex, b->base, &m->draft);
	}
	if (st == ST_OK) {
		st = get_keys(m);
	}
	if (st == ST_OK) {
		st = choose_denial(m);
	}
	if (st == ST_OK) {
		st = fill_draft(m);
	}
	if (st == ST_OK) {
		st = making_restore(m);
	}
	if (st == ST_OK) {
		st = making_settle_serial(m, &is_new);
	}
	if (st == ST_OK) {
		making_note_file_serial(m, is_new);
	}
	if (st != ST_OK || !is_new) {
		b->outcome = BUILD_SAME;
		return st;
	}
	/* Of a million records the text is a burden while they are signed. */
	if (m->has_content) {
		content_fini(&m->content);
		m->has_content = false;
	}
	return finish(m);
}

static void making_fini(struct making *m)
{
	if (m->has_content) {
		content_fini(&m->content);
	}
	/* The version first: the draft it was frozen from holds the base. */
	version_unref(m->version);
	draft_free(m->draft);
	keyset_unref(m->keys);
	free(m->nodes);
	free(m->rrsets);
}

void build_run(struct build *b)
{
	struct making m = {.b = b, .src = b->src, .start_ms = clock_mono_ms()};
	bool read = false;
	char zone[NAME_TEXT_MAX];

	diags_fini(&b->diags);
	diags_init(&b->diags, DIAGS_LIMIT);
	b->outcome = BUILD_NONE;
	b->next = NULL;
	b->measured = false;
	b->uncommitted = false;
	b->renewed = 0;
	b->restored = 0;
	build_history_begin(b);
	atomic_store(&b->yield, false);
	atomic_store(&b->yield_from_ms, INT64_MAX);
	drop_unfinished(b);
	enum status st = build_look(b, &read);
	if (st == ST_EBUSY) {
		b->outcome = BUILD_UNSETTLED;
		b->status = ST_OK;
		return;
	}
	if (st == ST_OK && read) {
		content_init(&m.content, b->src->apex);
		m.has_content = true;
		st = b->src->make != NULL ? build_read_made(b, &m.content)
					  : build_read_file(b, &m.content);
	}
	bool by_clock = (b->want & BUILD_BY_CLOCK) != 0 && b->base != NULL;
	if (st == ST_OK && (read || by_clock)) {
		st = make(&m);
	}
	b->record = m.record;
	making_fini(&m);
	if (st == ST_EREFUSED && atomic_load(&b->yield)) {
		b->outcome = BUILD_NONE;
		st = ST_OK;
	}
	if (st != ST_OK) {
		b->outcome = BUILD_FAILED;
		if (b->diags.errors == 0) {
			diags_error(&b->diags, "zone %s: %s", name_to_text(b->src->apex, zone),
				    status_text(st));
		}
	}
	b->status = st;
}
