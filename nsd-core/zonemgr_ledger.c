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

enum status ledger_put_serial(struct build_source *src, uint32_t serial, struct diags *d)
{
	pthread_mutex_lock(&src->ledger.lock);
	enum status st = ledger_know(src, d);
	struct zone_record rec = src->ledger.record;
	if (st == ST_OK && (!rec.has_serial || rec.serial != serial)) {
		rec.serial = serial;
		rec.has_serial = true;
		st = ledger_write(src, &rec, d);
	}
	pthread_mutex_unlock(&src->ledger.lock);
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
