#include "nsd-core/tsig.h"

#include "nsd-core/base/rrtype.h"

#include <stdlib.h>

#define HEADER_LEN    12
#define VARIABLES_MAX (NAME_MAX_LEN + 6 + NAME_MAX_LEN + 6 + 2 + 2 + 2 + 6)
/* The record without names and MAC: type, class, TTL, length; time, fudge, MAC size; original ID,
 * error, other length. */
#define FIXED_LEN (10 + 6 + 2 + 2 + 2 + 2 + 2)
#define OTHER_LEN 6 /* the server's time, with TSIG_BADTIME */

/* RFC 8945 6, and in this order, as enum hmac_type. */
static const uint8_t *algorithm_name(enum hmac_type type)
{
	static const uint8_t *const names[] = {
		[HMAC_SHA1] = (const uint8_t *)"\x09hmac-sha1",
		[HMAC_SHA256] = (const uint8_t *)"\x0bhmac-sha256",
		[HMAC_SHA384] = (const uint8_t *)"\x0bhmac-sha384",
		[HMAC_SHA512] = (const uint8_t *)"\x0bhmac-sha512",
	};

	return names[type];
}

const char *tsig_error_text(enum tsig_error error)
{
	switch (error) {
	case TSIG_NOERROR:
		return "NOERROR";
	case TSIG_BADSIG:
		return "BADSIG";
	case TSIG_BADKEY:
		return "BADKEY";
	case TSIG_BADTIME:
		return "BADTIME";
	case TSIG_BADTRUNC:
		return "BADTRUNC";
	}
	return "unknown error";
}

enum status tsig_keys_new(const struct tsig_secret *secrets, size_t count, struct tsig_keys **out)
{
	struct tsig_keys *keys = calloc(1, sizeof(*keys) + count * sizeof(keys->list[0]));

	if (keys == NULL) {
		return ST_ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		struct tsig_key *key = &keys->list[i];
		key->name_len = (uint8_t)name_lower(key->name, secrets[i].name);
		enum status st = hmac_key_new(secrets[i].type, secrets[i].secret, &key->hmac);
		if (st != ST_OK) {
			tsig_keys_free(keys);
			return st;
		}
		keys->count++;
	}
	*out = keys;
	return ST_OK;
}

void tsig_keys_free(struct tsig_keys *keys)
{
	if (keys == NULL) {
		return;
	}
	for (size_t i = 0; i < keys->count; i++) {
		hmac_key_free(keys->list[i].hmac);
	}
	free(keys);
}

const struct tsig_key *tsig_keys_find(const struct tsig_keys *keys, const uint8_t *name)
{
	for (size_t i = 0; keys != NULL && i < keys->count; i++) {
		if (name_equal(keys->list[i].name, name)) {
			return &keys->list[i];
		}
	}
	return NULL;
}

enum status tsig_record_parse(struct bytes message, size_t at, struct tsig_record *out)
{
	struct tsig_record rec;
	struct wreader r;

	wreader_init(&r, message.data, message.len);
	wreader_bytes(&r, at);
	wreader_name_expand(&r, rec.name);
	uint16_t type = wreader_u16(&r);
	wreader_bytes(&r, 2 + 4 + 2);
	rec.algorithm = wreader_name(&r);
	rec.time_s = (uint64_t)wreader_u16(&r) << 32;
	rec.time_s |= wreader_u32(&r);
	rec.fudge_s = wreader_u16(&r);
	rec.mac = wreader_bytes(&r, wreader_u16(&r));
	rec.original_id = wreader_u16(&r);
	rec.error = wreader_u16(&r);
	rec.other = wreader_bytes(&r, wreader_u16(&r));
	if (r.err != ST_OK || type != RR_TSIG) {
		return ST_EPARSE;
	}
	*out = rec;
	return ST_OK;
}

void tsig_session_init(struct tsig_session *s, const struct tsig_key *key)
{
	*s = (struct tsig_session){.key = key};
}

/* What is digested of the record (RFC 8945 4.3.3): of later messages the timers only. */
static struct bytes variables(const struct tsig_session *s, uint64_t time_s, uint16_t fudge_s,
			      struct bytes other, uint8_t *buf)
{
	const uint8_t *algorithm = algorithm_name(hmac_key_type(s->key->hmac));
	struct wwriter w;

	wwriter_init(&w, buf, VARIABLES_MAX);
	if (!s->later) {
		wwriter_put(&w, s->key->name, s->key->name_len);
		wwriter_u16(&w, CLASS_ANY);
		wwriter_u32(&w, 0);
		wwriter_put(&w, algorithm, name_len(algorithm));
	}
	wwriter_u16(&w, (uint16_t)(time_s >> 32));
	wwriter_u32(&w, (uint32_t)time_s);
	wwriter_u16(&w, fudge_s);
	if (!s->later) {
		wwriter_u16(&w, (uint16_t)s->error);
		wwriter_u16(&w, (uint16_t)other.len);
		wwriter_put(&w, other.data, other.len);
	}
	return (struct bytes){buf, wwriter_len(&w)};
}

/* The MAC of a message without its record: header, as it was signed, and the rest. */
static enum status compute(const struct tsig_session *s, const uint8_t header[HEADER_LEN],
			   struct bytes rest, struct bytes vars, uint8_t mac[TSIG_MAC_MAX])
{
	uint8_t mac_len[2];
	struct bytes pieces[5];
	size_t count = 0;

	be16_put(mac_len, s->mac_len);
	if (s->mac_len > 0) {
		pieces[count++] = (struct bytes){mac_len, sizeof(mac_len)};
		pieces[count++] = (struct bytes){s->mac, s->mac_len};
	}
	pieces[count++] = (struct bytes){header, HEADER_LEN};
	pieces[count++] = rest;
	pieces[count++] = vars;
	return hmac_of(s->key->hmac, pieces, count, mac);
}

/* Is the MAC of the record right? The message is as it came: ID and count are put back. */
static enum status verify(const struct tsig_session *s, struct bytes message, size_t at,
			  const struct tsig_record *rec)
{
	uint8_t header[HEADER_LEN];
	uint8_t mac[TSIG_MAC_MAX];
	uint8_t buf[VARIABLES_MAX];

	memcpy(header, message.data, sizeof(header));
	be16_put(header, rec->original_id);
	be16_put(header + 10, (uint16_t)(be16_get(header + 10) - 1));
	struct bytes rest = {message.data + HEADER_LEN, at - HEADER_LEN};
	struct bytes vars = variables(s, rec->time_s, rec->fudge_s, rec->other, buf);
	enum status st = compute(s, header, rest, vars, mac);
	if (st != ST_OK) {
		return st;
	}
	return hmac_equal(mac, rec->mac.data, rec->mac.len) ? ST_OK : ST_EREFUSED;
}

/* RFC 8945 5.2.2.1: as long as the digest, or shorter by half at most. */
static bool mac_len_good(const struct tsig_key *key, size_t len)
{
	size_t full = hmac_size(hmac_key_type(key->hmac));
	size_t least = full / 2 > 10 ? full / 2 : 10;

	return len >= least && len <= full;
}

static bool time_good(const struct tsig_record *rec, int64_t now_s)
{
	int64_t off = now_s - (int64_t)rec->time_s;

	return off <= rec->fudge_s && -off <= rec->fudge_s;
}

static void keep_mac(struct tsig_session *s, struct bytes mac)
{
	memcpy(s->mac, mac.data, mac.len);
	s->mac_len = (uint16_t)mac.len;
}

static bool is_algorithm_of(const struct tsig_key *key, struct bytes algorithm)
{
	return name_equal(algorithm.data, algorithm_name(hmac_key_type(key->hmac)));
}

enum status tsig_check_request(const struct tsig_keys *keys, struct bytes message, size_t at,
			       int64_t now_s, struct tsig_session *s)
{
	struct tsig_record rec;
	enum status st = tsig_record_parse(message, at, &rec);

	tsig_session_init(s, NULL);
	if (st != ST_OK) {
		return st;
	}
	const struct tsig_key *key = tsig_keys_find(keys, rec.name);
	if (key == NULL || !is_algorithm_of(key, rec.algorithm)) {
		s->error = TSIG_BADKEY;
		return ST_EREFUSED;
	}
	if (!mac_len_good(key, rec.mac.len)) {
		return ST_EPARSE;
	}
	s->key = key;
	/* The request's own field is digested as it stands, which is 0 in requests. */
	s->error = (enum tsig_error)rec.error;
	st = verify(s, message, at, &rec);
	s->error = TSIG_NOERROR;
	if (st == ST_EREFUSED) {
		s->key = NULL;
		s->error = TSIG_BADSIG;
	}
	if (st != ST_OK) {
		return st;
	}
	keep_mac(s, rec.mac);
	s->client_time_s = rec.time_s;
	if (!time_good(&rec, now_s)) {
		s->error = TSIG_BADTIME;
	} else if (rec.mac.len < hmac_size(hmac_key_type(key->hmac))) {
		s->error = TSIG_BADTRUNC;
	}
	return s->error == TSIG_NOERROR ? ST_OK : ST_EREFUSED;
}

enum status tsig_check_answer(struct tsig_session *s, struct bytes message, size_t at,
			      int64_t now_s)
{
	struct tsig_record rec;

	s->error = TSIG_BADSIG;
	if (at == 0 || tsig_record_parse(message, at, &rec) != ST_OK) {
		return ST_ECRYPTO;
	}
	s->error = (enum tsig_error)rec.error;
	if (!name_equal(rec.name, s->key->name) || !is_algorithm_of(s->key, rec.algorithm)) {
		s->error = TSIG_BADKEY;
		return ST_ECRYPTO;
	}
	/* An unsigned one can only say why (RFC 8945 5.4.1, 5.4.2). */
	if (rec.mac.len != hmac_size(hmac_key_type(s->key->hmac))) {
		s->error = rec.error != 0 ? (enum tsig_error)rec.error : TSIG_BADSIG;
		return ST_ECRYPTO;
	}
	enum status st = verify(s, message, at, &rec);
	if (st != ST_OK) {
		s->error = TSIG_BADSIG;
		return st == ST_EREFUSED ? ST_ECRYPTO : st;
	}
	if (rec.error == 0 && !time_good(&rec, now_s)) {
		s->error = TSIG_BADTIME;
	}
	if (s->error != TSIG_NOERROR) {
		return ST_ECRYPTO;
	}
	keep_mac(s, rec.mac);
	s->later = true;
	return ST_OK;
}

enum status tsig_session_resume(struct tsig_session *s, const struct tsig_key *key,
				struct bytes request, size_t at)
{
	struct tsig_record rec;
	enum status st = tsig_record_parse(request, at, &rec);

	if (st != ST_OK || rec.mac.len > TSIG_MAC_MAX) {
		return ST_EPARSE;
	}
	tsig_session_init(s, key);
	keep_mac(s, rec.mac);
	s->client_time_s = rec.time_s;
	return ST_OK;
}

size_t tsig_len(const struct tsig_key *key, enum tsig_error error)
{
	enum hmac_type type = hmac_key_type(key->hmac);

	return key->name_len + name_len(algorithm_name(type)) + hmac_size(type) + FIXED_LEN +
	       (error == TSIG_BADTIME ? OTHER_LEN : 0);
}

/* The record itself. */
struct fields {
	const uint8_t *name;
	struct bytes algorithm;
	uint64_t time_s;
	uint16_t fudge_s;
	struct bytes mac;
	uint16_t id;
	enum tsig_error error;
	struct bytes other;
};

static void put_record(struct wwriter *w, const struct fields *f)
{
	wwriter_put(w, f->name, name_len(f->name));
	wwriter_u16(w, RR_TSIG);
	wwriter_u16(w, CLASS_ANY);
	wwriter_u32(w, 0);
	wwriter_u16(w, (uint16_t)(f->algorithm.len + f->mac.len + f->other.len + FIXED_LEN - 10));
	wwriter_put(w, f->algorithm.data, f->algorithm.len);
	wwriter_u16(w, (uint16_t)(f->time_s >> 32));
	wwriter_u32(w, (uint32_t)f->time_s);
	wwriter_u16(w, f->fudge_s);
	wwriter_u16(w, (uint16_t)f->mac.len);
	wwriter_put(w, f->mac.data, f->mac.len);
	wwriter_u16(w, f->id);
	wwriter_u16(w, (uint16_t)f->error);
	wwriter_u16(w, (uint16_t)f->other.len);
	wwriter_put(w, f->other.data, f->other.len);
}

static void count_record(uint8_t *message)
{
	be16_put(message + 10, (uint16_t)(be16_get(message + 10) + 1));
}

enum status tsig_sign(struct tsig_session *s, uint8_t *message, size_t len, int64_t now_s,
		      size_t *out_len)
{
	uint8_t mac[TSIG_MAC_MAX];
	uint8_t buf[VARIABLES_MAX];
	uint8_t now[OTHER_LEN];
	struct wwriter w;
	enum hmac_type type = hmac_key_type(s->key->hmac);
	const uint8_t *algorithm = algorithm_name(type);
	struct fields f = {
		.name = s->key->name,
		.algorithm = {algorithm, name_len(algorithm)},
		.time_s = (uint64_t)now_s,
		.fudge_s = TSIG_FUDGE,
		.mac = {mac, hmac_size(type)},
		.id = be16_get(message),
		.error = s->error,
	};

	if (s->error == TSIG_BADTIME) {
		/* RFC 8945 5.2.3: the client's time, and ours beside it. */
		f.time_s = s->client_time_s;
		be16_put(now, (uint16_t)((uint64_t)now_s >> 32));
		be32_put(now + 2, (uint32_t)now_s);
		f.other = (struct bytes){now, sizeof(now)};
	}
	struct bytes rest = {message + HEADER_LEN, len - HEADER_LEN};
	struct bytes vars = variables(s, f.time_s, f.fudge_s, f.other, buf);
	enum status st = compute(s, message, rest, vars, mac);
	if (st != ST_OK) {
		return st;
	}
	wwriter_init(&w, message + len, tsig_len(s->key, s->error));
	put_record(&w, &f);
	count_record(message);
	/* What follows a request is the first message of the answer; it has no MAC before it. */
	s->later = s->mac_len > 0;
	keep_mac(s, f.mac);
	*out_len = len + wwriter_len(&w);
	return ST_OK;
}

size_t tsig_refuse(const struct tsig_session *s, struct bytes request, size_t at, uint8_t *message,
		   size_t len, size_t room)
{
	struct tsig_record rec;
	struct wwriter w;

	if (tsig_record_parse(request, at, &rec) != ST_OK) {
		return len;
	}
	struct fields f = {
		.name = rec.name,
		.algorithm = rec.algorithm,
		.time_s = rec.time_s,
		.fudge_s = rec.fudge_s,
		.id = rec.original_id,
		.error = s->error,
	};
	wwriter_init(&w, message + len, room - len);
	put_record(&w, &f);
	if (w.err != ST_OK) {
		return len;
	}
	count_record(message);
	return len + wwriter_len(&w);
}
