/* The zone's durable record, kept in memory beside the store. */
#include "nsd-core/zonemgr_build.h"

void ledger_init(struct ledger *l)
{
	*l = (struct ledger){.known = false};
	pthread_mutex_init(&l->lock, NULL);
}

void ledger_fini(struct ledger *l)
{
	pthread_mutex_destroy(&l->lock);
}

/* Under the lock. */
static enum status ledger_know(struct build_source *src, struct diags *d)
{
	struct ledger *l = &src->ledger;
	char zone[NAME_TEXT_MAX];

	if (l->known) {
		return ST_OK;
	}
	enum status st = zone_record_get(src->db, src->apex, &l->record);
	if (st == ST_ENOENT) {
		l->record = (struct zone_record){.serial = 0};
		st = ST_OK;
	}
	l->known = st == ST_OK;
	if (st != ST_OK) {
		diags_error(d, "zone %s: its record in the state directory cannot be read: %s",
			    name_to_text(src->apex, zone), status_text(st));
	}
	return st;
}

/* Under the lock. */
static enum status ledger_write(struct build_source *src, const struct zone_record *rec,
				struct diags *d)
{
	char zone[NAME_TEXT_MAX];
	enum status st = zone_record_put(src->db, src->apex, rec);

	if (st == ST_OK) {
		src->ledger.record = *rec;
	} else {
		diags_error(d, "zone %s: its record in the state directory cannot be written: %s",
			    name_to_text(src->apex, zone), status_text(st));
	}
	return st;
}

enum status ledger_get(struct build_source *src, struct zone_record *out, struct diags *d)
{
	pthread_mutex_lock(&src->ledger.lock);
	enum status st = ledger_know(src, d);
	if (st == ST_OK) {
		*out = src->ledger.record;
	}
	pthread_mutex_unlock(&src->ledger.lock);
	return st;
}

static struct zone_record with_published(const struct zone_record *before,
					 const struct published *p)
{
	struct zone_record rec = *before;

	rec.serial = p->serial;
	rec.has_serial = true;
	if (p->has_file_serial) {
		rec.file_serial = p->file_serial;
		rec.has_file_serial = true;
	}
	rec.has_content = p->has_content;
	memcpy(rec.content, p->content, sizeof(rec.content));
	return rec;
}

/* With all the locks. */
static enum status write_serials(struct build_source *const *sources,
				 const struct published *const *published, size_t count)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(sources[0]->db, true, &txn);

	for (size_t i = 0; i < count && st == ST_OK; i++) {
		struct zone_record rec = with_published(&sources[i]->ledger.record, published[i]);
		st = zone_record_put_in(txn, sources[i]->apex, &rec);
	}
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

enum status ledger_put_serials(struct build_source *const *sources,
			       const struct published *const *published, size_t count)
{
	size_t locked = 0;
	enum status st = ST_OK;

	if (count == 0) {
		return ST_OK;
	}
	/* Nobody else takes more than one of these locks, so that they can be taken in any order.
	 */
	while (locked < count && st == ST_OK) {
		pthread_mutex_lock(&sources[locked]->ledger.lock);
		st = ledger_know(sources[locked++], NULL);
	}
	if (st == ST_OK) {
		st = write_serials(sources, published, count);
	}
	for (size_t i = 0; i < locked; i++) {
		struct ledger *l = &sources[i]->ledger;
		if (st == ST_OK) {
			l->record = with_published(&l->record, published[i]);
		}
		pthread_mutex_unlock(&l->lock);
	}
	return st;
}

enum status ledger_put_signed(struct build_source *src, int64_t since, uint32_t max_ttl,
			      struct zone_record *out, struct diags *d)
{
	pthread_mutex_lock(&src->ledger.lock);
	enum status st = ledger_know(src, d);
	struct zone_record rec = src->ledger.record;
	if (st == ST_OK && rec.signed_since == 0) {
		rec.signed_since = since;
		rec.max_ttl = max_ttl;
		st = ledger_write(src, &rec, d);
	}
	if (st == ST_OK) {
		*out = rec;
	}
	pthread_mutex_unlock(&src->ledger.lock);
	return st;
}

enum status ledger_put_ds_seen(struct build_source *src, struct diags *d)
{
	pthread_mutex_lock(&src->ledger.lock);
	enum status st = ledger_know(src, d);
	struct zone_record rec = src->ledger.record;
	if (st == ST_OK && !rec.ds_ever_seen) {
		rec.ds_ever_seen = true;
		st = ledger_write(src, &rec, d);
	}
	pthread_mutex_unlock(&src->ledger.lock);
	return st;
}
