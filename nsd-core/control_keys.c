#include "nsd-core/control_keys.h"

#include "nsd-core/base/text.h"

#include <stdlib.h>
#include <string.h>

#define DS_TTL	     3600 /* in the text form only: the parent chooses its own */
#define DS_LEN	     36
#define DS_HEADER    4
#define DNSKEY_FIXED 4

static int compare_zone(const void *name, const void *zone)
{
	return name_compare(name, ((const struct conf_zone *)zone)->name);
}

static const struct conf_zone *find_zone(const struct conf *conf, const uint8_t *name)
{
	if (conf->zone_count == 0) {
		return NULL;
	}
	return bsearch(name, conf->zones, conf->zone_count, sizeof(*conf->zones), compare_zone);
}

const struct conf_zone *conf_zone_by_text(const struct conf *conf, const char *text,
					  struct reply *r)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	const char *why = "not a domain name";

	if (name_from_text(text, strlen(text), NULL, name, &len, &why) != ST_OK) {
		reply_fail(r, EXIT_FAILED, "%s: %s", text, why);
		return NULL;
	}
	const struct conf_zone *zone = find_zone(conf, name);
	if (zone == NULL) {
		reply_fail(r, EXIT_FAILED, "%s: no such zone is configured", text);
	}
	return zone;
}

/* The zone's keys and record. NULL: *r says why not. */
static struct keyset *read_keys(const struct keys_query *q, struct zone_record *rec,
				struct reply *r)
{
	char name[NAME_TEXT_MAX];
	struct keyset *ks = NULL;

	name_to_text(q->zone->name, name);
	if (q->zone->policy < 0) {
		reply_fail(r, EXIT_FAILED, "%s has no policy: it is not signed here", name);
		return NULL;
	}
	enum status st = keyset_read(q->db, q->zone->name, &ks);
	if (st == ST_ENOENT) {
		reply_fail(r, EXIT_FAILED, "%s has no keys yet: they are made when it is loaded",
			   name);
		return NULL;
	}
	if (st == ST_OK) {
		st = zone_record_get(q->db, q->zone->name, rec);
		st = st == ST_ENOENT ? ST_OK : st;
	}
	if (st != ST_OK) {
		reply_fail(r, EXIT_FAILED, "%s: its record in the state directory: %s", name,
			   status_text(st));
		keyset_unref(ks);
		return NULL;
	}
	return ks;
}

static const struct conf_policy *policy_of(const struct keys_query *q)
{
	return &q->conf->policies[q->zone->policy];
}

/* When the key's lifetime is over; 0: never. */
static int64_t lifetime_end(const struct keys_query *q, const struct key *key)
{
	const struct conf_policy *p = policy_of(q);
	const struct conf_key *c = key->role == KEY_KSK	  ? &p->ksk
				   : key->role == KEY_ZSK ? &p->zsk
							  : &p->csk;

	if (key->state != KEY_ACTIVE || !c->present || c->lifetime_s == 0) {
		return 0;
	}
	return key->times.active + c->lifetime_s;
}

static int64_t state_since(const struct key *key)
{
	const struct key_times *t = &key->times;
	const int64_t since[] = {
		[KEY_MADE] = t->made,	    [KEY_PUBLISHED] = t->published,
		[KEY_ACTIVE] = t->active,   [KEY_RETIRED] = t->retired,
		[KEY_REMOVED] = t->removed,
	};

	return since[key->state];
}

static json_t *time_json(int64_t t)
{
	char text[24];

	return t != 0 ? json_string(time_to_text(t, text)) : json_null();
}

static json_t *key_json(const struct keys_query *q, const struct key *key)
{
	char id[TEXT_HEX_SIZE(sizeof(key->id))];
	int64_t end = lifetime_end(q, key);

	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:s?, s:o}",
			 "role", key_role_text(key->role), "origin", key_origin_text(key->origin),
			 "tag", (int)key->tag, "algorithm", ALG_ECDSAP256SHA256, "keystore",
			 key->keystore, "id", key_id_text(key->id, key->id_len, id), "state",
			 key_state_text(key->state), "flags", (int)key->flags, "made",
			 time_json(key->times.made), "published", time_json(key->times.published),
			 "active", time_json(key->times.active), "next",
			 end != 0 ? "lifetime-over" : NULL, "next_at", time_json(end));
}

static void key_row(const struct keys_query *q, const struct key *key, struct table *t)
{
	char id[TEXT_HEX_SIZE(sizeof(key->id))];
	char time[24];
	int64_t end = lifetime_end(q, key);

	table_put(t, "%s", key_role_text(key->role));
	table_put(t, "%u", key->tag);
	table_put(t, "%d", ALG_ECDSAP256SHA256);
	table_put(t, "%s", key->keystore);
	table_put(t, "%s", key_origin_text(key->origin));
	table_put(t, "%s", key_id_text(key->id, key->id_len, id));
	table_put(t, "%s", key_state_text(key->state));
	table_put(t, "%s", time_to_text(state_since(key), time));
	/* Nothing rolls keys over yet: the operator is told, and the key goes on signing. */
	if (end != 0) {
		table_put(t, "lifetime over %s", time_to_text(end, time));
	} else {
		table_put(t, "nothing");
	}
}

void keys_list(const struct keys_query *q, struct reply *r)
{
	static const char *const head[] = {"ROLE", "TAG",   "ALG",   "KEYSTORE", "ORIGIN",
					   "ID",   "STATE", "SINCE", "NEXT"};
	struct zone_record rec;
	struct table t;
	struct reply_text text;
	char name[NAME_TEXT_MAX];
	struct keyset *ks = read_keys(q, &rec, r);

	if (ks == NULL) {
		return;
	}
	json_t *keys = json_array();
	table_init(&t, sizeof(head) / sizeof(head[0]));
	for (size_t i = 0; i < t.columns; i++) {
		table_put(&t, "%s", head[i]);
	}
	for (size_t i = 0; i < ks->count; i++) {
		key_row(q, &ks->keys[i], &t);
		json_array_append_new(keys, key_json(q, &ks->keys[i]));
	}
	r->data = json_pack("{s:i, s:s, s:o}", "version", CONTROL_VERSION, "zone",
			    name_to_text(q->zone->name, name), "keys", keys);
	reply_text_open(&text);
	if (text.f != NULL) {
		table_print(&t, text.f);
	}
	reply_text_close(&text, r);
	table_fini(&t);
	keyset_unref(ks);
}

/* One key that a DS may point to, in all its forms. */
struct ds_forms {
	uint8_t ds[DS_LEN];
	char digest[TEXT_HEX_SIZE(DS_LEN - DS_HEADER)];
	char key[TEXT_BASE64_SIZE(HSM_PUBLIC_LEN)];
};

static enum status make_forms(const uint8_t *zone, const struct key *key, struct ds_forms *f)
{
	enum status st = ds_rdata(zone, key, f->ds);

	hex_encode(f->ds + DS_HEADER, DS_LEN - DS_HEADER, f->digest);
	base64_encode(key->public_point, HSM_PUBLIC_LEN, f->key);
	return st;
}

static bool wants_ds(const struct key *key)
{
	return key->role != KEY_ZSK && key->state == KEY_ACTIVE;
}

static void print_ds(FILE *f, const char *zone, const struct key *key, const struct ds_forms *forms)
{
	fprintf(f, "%s %d IN DS %u %d %d %s\n", zone, DS_TTL, key->tag, ALG_ECDSAP256SHA256,
		forms->ds[3], forms->digest);
}

static void print_dnskey(FILE *f, const char *zone, const struct key *key,
			 const struct ds_forms *forms)
{
	fprintf(f,
		"%s\n"
		"  flags (key type)  %u (KSK, secure entry point)\n"
		"  protocol          3\n"
		"  algorithm         %d (ECDSAP256SHA256: ECDSA P-256 with SHA-256)\n"
		"  public key        %s\n",
		zone, key->flags, ALG_ECDSAP256SHA256, forms->key);
}

static json_t *ds_json(const char *zone, const struct key *key, const struct ds_forms *f)
{
	return json_pack("{s:{s:s, s:i, s:i, s:i, s:s}, s:{s:i, s:i, s:i, s:s}}", "ds", "owner",
			 zone, "key_tag", (int)key->tag, "algorithm", ALG_ECDSAP256SHA256,
			 "digest_type", (int)f->ds[3], "digest", f->digest, "dnskey", "flags",
			 (int)key->flags, "protocol", 3, "algorithm", ALG_ECDSAP256SHA256,
			 "public_key", f->key);
}

/* A DS is safe once what was unsigned has left caches; before, it takes the zone down for those who
 * validate. */
static void note_safety(const struct keys_query *q, const struct zone_record *rec, struct reply *r)
{
	int64_t from = ds_safe_from(rec, policy_of(q)->propagation_s);
	char time[24];

	json_object_set_new(r->data, "safe", json_boolean(from <= q->now));
	json_object_set_new(r->data, "not_before",
			    from == INT64_MAX ? json_null() : time_json(from));
	if (from == INT64_MAX) {
		reply_note(r, "not before the zone is completely signed");
	} else if (from > q->now) {
		reply_note(r, "not before %s", time_to_text(from, time));
	}
}

void keys_ds(const struct keys_query *q, const char *form, struct reply *r)
{
	struct zone_record rec;
	struct reply_text text;
	char name[NAME_TEXT_MAX];
	enum status st = ST_OK;
	struct keyset *ks = read_keys(q, &rec, r);
	bool dnskey = form != NULL && strcmp(form, "dnskey") == 0;

	if (ks == NULL) {
		return;
	}
	name_to_text(q->zone->name, name);
	json_t *keys = json_array();
	reply_text_open(&text);
	if (text.f != NULL) {
		fprintf(text.f, dnskey ? "; where flags, protocol, algorithm and public key are "
					 "asked for:\n"
				       : "; where key tag, algorithm, digest type and digest are "
					 "asked for:\n");
	}
	for (size_t i = 0; i < ks->count && st == ST_OK; i++) {
		struct ds_forms forms;
		const struct key *key = &ks->keys[i];
		if (!wants_ds(key)) {
			continue;
		}
		st = make_forms(q->zone->name, key, &forms);
		json_array_append_new(keys, ds_json(name, key, &forms));
		if (text.f != NULL) {
			(dnskey ? print_dnskey : print_ds)(text.f, name, key, &forms);
		}
	}
	r->data = json_pack("{s:i, s:s, s:o}", "version", CONTROL_VERSION, "zone", name, "keys",
			    keys);
	reply_text_close(&text, r);
	if (st != ST_OK) {
		reply_fail(r, EXIT_FAILED, "%s: %s", name, status_text(st));
	} else {
		note_safety(q, &rec, r);
	}
	keyset_unref(ks);
}
