/* Which serial a version has, and what is said of it. */
#include "nsd-core/zonemgr_making.h"

#include "nsd-core/base/clock.h"
#include "zones/rdata.h"

/* By the zone's rule, or its file's where that is ahead of both. */
static uint32_t serial_after(const struct making *m, uint32_t last)
{
	uint32_t next = serial_next(m->src->serial, last, clock_wall_s());
	bool ahead = m->has_file_serial && serial_gt(m->file_serial, last) &&
		     serial_gt(m->file_serial, next);

	return ahead ? m->file_serial : next;
}

/* The greatest of what is served, what is on record, and before the first version what secondaries
 * have. */
static bool last_serial(const struct making *m, uint32_t *last)
{
	const struct version *base = m->b->base;
	bool known = base != NULL;

	if (known) {
		*last = base->serial;
	}
	if (m->record.has_serial && (!known || serial_gt(m->record.serial, *last))) {
		*last = m->record.serial;
		known = true;
	}
	if (base == NULL && m->src->has_floor && (!known || serial_gt(m->src->floor, *last))) {
		*last = m->src->floor;
		known = true;
	}
	return known;
}

/* The first version is what was served last, until making_restore() has shown that it is not. */
void making_first_serial(struct making *m)
{
	uint32_t last = 0;

	if (m->b->base != NULL) {
		m->serial = m->b->base->serial;
	} else if (last_serial(m, &last)) {
		bool ahead = m->has_file_serial && serial_gt(m->file_serial, last);
		m->serial = ahead ? m->file_serial : last;
	} else {
		m->serial = serial_first(m->src->serial, m->file_serial, clock_wall_s());
	}
}

enum status making_read_serial(struct making *m)
{
	struct build *b = m->b;

	/* What is made has none. */
	if (m->src->make != NULL) {
		m->file_serial = 1;
		return ST_OK;
	}
	enum status st = content_serial(&m->content, NULL, &m->file_serial);
	if (st != ST_OK) {
		return st;
	}
	m->has_file_serial = true;
	m->serial = m->file_serial;
	m->is_back = b->has_file_serial || m->record.has_file_serial;
	m->file_serial_was = b->has_file_serial ? b->file_serial : m->record.file_serial;
	m->is_back = m->is_back && serial_gt(m->file_serial_was, m->file_serial);
	return ST_OK;
}

enum status making_check_soa(struct making *m)
{
	const struct node *apex = draft_find(m->draft, m->src->apex);
	const struct rrset *soa = apex != NULL ? node_rrset(apex, RR_SOA) : NULL;

	if (m->keys != NULL || soa == NULL || rrset_sigs(soa) == NULL) {
		return ST_OK;
	}
	diags_add(&m->b->diags, DIAG_ERROR, m->src->path, 0, 0,
		  "the SOA is signed in the file, so that the zone cannot have another serial: it "
		  "goes with 'serial: keep'");
	return ST_EREFUSED;
}

/* The same SOA with m->serial, which nobody has signed yet. */
static enum status put_serial(struct making *m)
{
	const struct node *n = draft_find(m->draft, m->src->apex);
	const struct rrset *soa = n != NULL ? node_rrset(n, RR_SOA) : NULL;
	struct rrset *changed = NULL;
	uint8_t rdata[2 * NAME_MAX_LEN + 20];

	if (soa == NULL) {
		return ST_EPARSE;
	}
	struct bytes old = rdata_at(soa->data);
	if (old.len < 20 || old.len > sizeof(rdata)) {
		return ST_EPARSE;
	}
	memcpy(rdata, old.data, old.len);
	be32_put(rdata + old.len - 20, m->serial);
	enum status st = rrset_new(RR_SOA, soa->ttl, &(struct bytes){rdata, old.len}, 1, &changed);
	if (st == ST_OK) {
		st = draft_put(m->draft, m->src->apex, changed);
	}
	m->whole = false;
	m->b->matched = false;
	return st == ST_OK ? draft_settle(m->draft) : st;
}

/* A zone served as it is keeps its file's serial, whatever secondaries will make of it. */
static void warn_serial(struct making *m)
{
	const struct version *base = m->b->base;

	if (base == NULL || serial_gt(m->serial, base->serial)) {
		return;
	}
	diags_add(&m->b->diags, DIAG_WARNING, m->src->path, 0, 0,
		  m->serial == base->serial
			  ? "the zone has changed, its serial %u has not: secondaries will not "
			    "notice"
			  : "the serial went back to %u: secondaries will not notice",
		  m->serial);
}

enum status making_restore(struct making *m)
{
	struct sigstore_loaded got = {.lacking = SIZE_MAX};
	uint32_t last = 0;
	bool same = false;
	enum status st = ST_OK;

	if (m->b->base != NULL || !making_is_numbered(m)) {
		return ST_OK;
	}
	if (m->keys != NULL) {
		st = build_restore(m->b, m->draft, m->keys, m->serial, &got);
		/* Who has transferred this serial would never ask for what is signed anew. */
		same = got.same && (got.lacking == 0 || !m->src->complete);
	} else {
		same = m->record.has_content && m->serial == m->record.serial &&
		       memcmp(m->record.content, m->b->published.content, ZONE_CONTENT_LEN) == 0;
	}
	/* What has no serial on record was never published; what secondaries are ahead of is not
	 * what they have. */
	same = same && m->record.has_serial &&
	       !(m->src->has_floor && serial_gt(m->src->floor, m->serial));
	if (st != ST_OK || same || !last_serial(m, &last) || m->serial == serial_after(m, last)) {
		m->whole = st == ST_OK && got.lacking == 0;
		return st;
	}
	m->serial = serial_after(m, last);
	return put_serial(m);
}

/* Is it the one that the journal has, and that could not be published then? */
static bool is_unseen(const struct making *m, uint32_t serial)
{
	const struct version *base = m->b->base;

	return m->is_unseen && serial == m->record.serial &&
	       (base == NULL || serial_gt(serial, base->serial));
}

/* An operator's word. */
static enum status settle_given(struct making *m, bool *is_new)
{
	uint32_t last = 0;
	char zone[NAME_TEXT_MAX];

	if (last_serial(m, &last) && !serial_gt(m->b->serial, last) &&
	    !is_unseen(m, m->b->serial)) {
		/* What the file says else is not to be lost: it is read again. */
		file_stamps_fini(&m->b->read);
		diags_error(&m->b->diags,
			    "zone %s: serial %u is not ahead of %u, the last one (RFC 1982): "
			    "secondaries would not take it",
			    name_to_text(m->src->apex, zone), m->b->serial, last);
		return ST_EREFUSED;
	}
	m->serial = m->b->serial;
	*is_new = true;
	return put_serial(m);
}

enum status making_settle_serial(struct making *m, bool *is_new)
{
	const struct version *base = m->b->base;
	uint32_t last = 0;
	bool changed = draft_changed(m->draft);

	if ((m->b->want & BUILD_SERIAL) != 0) {
		return settle_given(m, is_new);
	}
	if (base == NULL) {
		*is_new = true;
		return ST_OK;
	}
	if (!making_is_numbered(m)) {
		if (changed) {
			warn_serial(m);
		}
		*is_new = changed;
		return ST_OK;
	}
	bool has_last = last_serial(m, &last);
	if (!changed && !(m->has_file_serial && has_last && serial_gt(m->file_serial, last))) {
		*is_new = false;
		return ST_OK;
	}
	m->serial = serial_after(m, last);
	enum status st = put_serial(m);
	if (st == ST_OK) {
		*is_new = true;
	}
	return st;
}

/* Of zones whose serials are ours: the file's is only where they start from. */
static void tell_file_serial(struct making *m, bool is_new)
{
	diags_add(&m->b->diags, DIAG_WARNING, m->src->path, 0, 0,
		  is_new ? "the file's serial went back from %u to %u: taken as a change, which is "
			   "served with serial %u"
			 : "the file's serial went back from %u to %u, and nothing else has "
			   "changed: serial %u is served on",
		  m->file_serial_was, m->file_serial, m->serial);
}

void making_note_file_serial(struct making *m, bool is_new)
{
	if (!m->has_file_serial) {
		return;
	}
	if (m->is_back && making_is_numbered(m)) {
		tell_file_serial(m, is_new);
	}
	m->b->file_serial = m->file_serial;
	m->b->has_file_serial = true;
}
