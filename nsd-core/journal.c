#include "nsd-core/journal_state.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/log.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_ROOM 4200
/* A few hundred secondaries that are a long way behind. */
#define BORROW_MAX ((size_t)64 << 20)

struct bytes journal_key(const struct journal_zone *z, uint8_t buf[JOURNAL_KEY_MAX])
{
	memcpy(buf, z->apex, z->apex_len);
	return (struct bytes){buf, z->apex_len};
}

struct bytes journal_head_key(const struct journal_zone *z, uint64_t number,
			      uint8_t buf[JOURNAL_KEY_MAX])
{
	struct bytes key = journal_key(z, buf);

	be64_put(buf + key.len, number);
	return (struct bytes){buf, key.len + 8};
}

struct bytes journal_piece_key(const struct journal_zone *z, uint64_t number, uint32_t index,
			       uint8_t buf[JOURNAL_KEY_MAX])
{
	struct bytes key = journal_head_key(z, number, buf);

	be32_put(buf + key.len, index);
	return (struct bytes){buf, key.len + 4};
}

static bool set_aside(const char *state, char path[PATH_ROOM], char aside[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/%s.lmdb", state, JOURNAL_STORE);
	snprintf(aside, PATH_ROOM, "%s/%s.lmdb.damaged", state, JOURNAL_STORE);
	return rename(path, aside) == 0;
}

void journal_give_up(struct journal *j)
{
	char path[PATH_ROOM];
	char aside[PATH_ROOM];

	if (j->given_up) {
		return;
	}
	j->given_up = true;
	if (set_aside(j->state, path, aside)) {
		log_warn("%s: the journal is damaged; it is kept as %s, and histories are kept "
			 "again from the next start on",
			 path, aside);
	}
}

enum status journal_open(const char *state, size_t map_bytes, struct journal **out, struct diags *d)
{
	const struct store_options opt = {.map_bytes = map_bytes};
	char path[PATH_ROOM];
	char aside[PATH_ROOM];
	struct diags why;
	struct journal *j = calloc(1, sizeof(*j));

	if (j == NULL || (j->state = strdup(state)) == NULL) {
		free(j);
		return ST_ENOMEM;
	}
	diags_init(&why, DIAGS_LIMIT);
	enum status st = store_open(state, JOURNAL_STORE, &opt, &j->store, &why);
	/* Secondaries then transfer whole zones; these must be served. */
	if (st == ST_EIO && set_aside(state, path, aside)) {
		diags_warn(d,
			   "%s: the journal is damaged; it is kept as %s, and secondaries transfer "
			   "whole zones",
			   path, aside);
		st = store_open(state, JOURNAL_STORE, &opt, &j->store, d);
	} else if (st != ST_OK) {
		diags_take(d, &why);
	}
	diags_fini(&why);
	if (st != ST_OK) {
		journal_close(j);
		return st;
	}
	*out = j;
	return ST_OK;
}

void journal_close(struct journal *j)
{
	if (j != NULL) {
		store_close(j->store);
		free(j->state);
		free(j);
	}
}

void journal_forget(struct journal_zone *z)
{
	z->known = false;
	z->clean = false;
	z->first += z->count;
	z->begin = 0;
	z->count = 0;
	z->stored = 0;
}

static bool head_read(struct bytes v, struct journal_head *out)
{
	struct wreader r;

	wreader_init(&r, v.data, v.len);
	bool good = v.len == HEAD_LEN && wreader_u8(&r) == JOURNAL_VERSION;
	out->from = wreader_u32(&r);
	out->to = wreader_u32(&r);
	out->pieces = wreader_u32(&r);
	out->octets = wreader_u64(&r);
	out->stored = wreader_u64(&r);
	return good && out->pieces > 0;
}

struct loading {
	struct journal_zone *zone;
	bool good;
};

/* They come by number: each begins where the one before ends. */
static enum status load_head(void *ctx, struct bytes key, struct bytes value)
{
	struct loading *l = ctx;
	struct journal_zone *z = l->zone;
	struct journal_head head;

	if (key.len != z->apex_len + 8 || !head_read(value, &head)) {
		l->good = false;
		return ST_OK;
	}
	uint64_t number = be64_get(key.data + z->apex_len);
	if (z->count == 0) {
		z->first = number;
	} else if (number != z->first + z->count || head.from != z->heads[z->count - 1].to) {
		l->good = false;
		return ST_OK;
	}
	if (z->count == z->room) {
		size_t room = z->room == 0 ? 16 : z->room * 2;
		struct journal_head *grown = realloc(z->heads, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		z->heads = grown;
		z->room = room;
	}
	z->heads[z->count++] = head;
	z->stored += head.stored;
	return ST_OK;
}

static bool zone_read(struct journal_zone *z, struct bytes v)
{
	struct wreader r;

	wreader_init(&r, v.data, v.len);
	if (v.len != ZONE_LEN || wreader_u8(&r) != JOURNAL_VERSION) {
		return false;
	}
	z->serial = wreader_u32(&r);
	for (size_t i = 0; i < 4; i++) {
		z->sum.words[i] = wreader_u64(&r);
	}
	z->sum.octets = wreader_u64(&r);
	return true;
}

static enum status load(struct journal_zone *z, struct diags *d)
{
	struct loading l = {.zone = z, .good = true};
	uint8_t buf[JOURNAL_KEY_MAX];
	struct bytes key = journal_key(z, buf);
	struct bytes value;
	struct store_txn *txn = NULL;
	char name[NAME_TEXT_MAX];

	enum status st = store_begin(z->journal->store, false, &txn);
	if (st != ST_OK) {
		return st;
	}
	st = store_get(txn, TABLE_ZONES, key, &value);
	bool found = st == ST_OK;
	if (found) {
		l.good = zone_read(z, value);
	}
	if (st == ST_OK || st == ST_ENOENT) {
		st = store_scan(txn, TABLE_HEADS, key, load_head, &l);
	}
	store_abort(txn);
	if (st != ST_OK) {
		return st;
	}
	l.good = l.good && (found || z->count == 0) &&
		 (z->count == 0 || z->heads[z->count - 1].to == z->serial);
	if (!l.good) {
		diags_warn(d, "zone %s: its journal cannot be used; it begins anew",
			   name_to_text(z->apex, name));
		journal_forget(z);
		return ST_OK;
	}
	z->known = found;
	z->clean = found;
	return ST_OK;
}

enum status journal_zone_new(struct journal *j, const uint8_t *apex, uint64_t limit,
			     struct journal_zone **out, struct diags *d)
{
	char name[NAME_TEXT_MAX];
	struct journal_zone *z = calloc(1, sizeof(*z));

	if (z == NULL) {
		return ST_ENOMEM;
	}
	z->journal = j;
	z->limit = limit;
	z->apex_len = name_lower(z->apex, apex);
	pthread_mutex_init(&z->lock, NULL);
	enum status st = load(z, d);
	if (st == ST_EIO) {
		diags_warn(d, "zone %s: its journal cannot be read; it begins anew",
			   name_to_text(z->apex, name));
		journal_forget(z);
		st = ST_OK;
	}
	if (st != ST_OK) {
		journal_zone_free(z);
		return st;
	}
	*out = z;
	return ST_OK;
}

void journal_zone_free(struct journal_zone *z)
{
	if (z != NULL) {
		pthread_mutex_destroy(&z->lock);
		free(z->heads);
		free(z);
	}
}

bool journal_last(struct journal_zone *z, uint32_t *serial, struct zone_sum *sum)
{
	pthread_mutex_lock(&z->lock);
	bool known = z->known && !z->damaged;
	if (known) {
		*serial = z->serial;
		*sum = z->sum;
	}
	pthread_mutex_unlock(&z->lock);
	return known;
}

uint64_t journal_limit(const struct journal_zone *z)
{
	return z->limit;
}

enum status journal_span(struct journal_zone *z, uint32_t from, uint32_t to,
			 struct journal_span *out)
{
	struct journal_span span = {.count = 0};
	bool inside = false;
	bool found = false;

	pthread_mutex_lock(&z->lock);
	/* From the newest, where most ask from. */
	for (size_t i = z->damaged ? 0 : z->count; i > 0 && !found; i--) {
		const struct journal_head *h = &z->heads[z->begin + i - 1];
		inside = inside || h->to == to;
		if (!inside) {
			continue;
		}
		span.first = z->first + i - 1;
		span.count++;
		span.octets += h->octets;
		found = h->from == from;
	}
	span.zone_octets = z->sum.octets;
	pthread_mutex_unlock(&z->lock);
	if (!found) {
		return ST_ENOENT;
	}
	*out = span;
	return ST_OK;
}

static enum status piece_copy(struct bytes value, struct journal_piece *piece)
{
	uint8_t sum[DIGEST_MAX];

	if (value.len <= PIECE_SUM_LEN) {
		return ST_EIO;
	}
	struct bytes body = {value.data + PIECE_SUM_LEN, value.len - PIECE_SUM_LEN};
	enum status st = digest_of(DIGEST_SHA256, &body, 1, sum);
	if (st == ST_OK && memcmp(sum, value.data, PIECE_SUM_LEN) != 0) {
		st = ST_EIO;
	}
	if (st != ST_OK) {
		return st;
	}
	if (piece->room < body.len) {
		uint8_t *data = realloc(piece->data, body.len);
		if (data == NULL) {
			return ST_ENOMEM;
		}
		piece->data = data;
		piece->room = body.len;
	}
	memcpy(piece->data, body.data, body.len);
	piece->len = body.len;
	return ST_OK;
}

/* How many pieces the difference has; 0: it is not there any more. */
static uint32_t pieces_of(struct journal_zone *z, uint64_t number)
{
	uint32_t pieces = 0;

	pthread_mutex_lock(&z->lock);
	if (!z->damaged && number >= z->first && number - z->first < z->count) {
		pieces = z->heads[z->begin + (number - z->first)].pieces;
	}
	pthread_mutex_unlock(&z->lock);
	return pieces;
}

/* Somebody found a difference damaged. */
static void damaged(struct journal_zone *z)
{
	char name[NAME_TEXT_MAX];

	pthread_mutex_lock(&z->lock);
	bool first = !z->damaged;
	z->damaged = true;
	pthread_mutex_unlock(&z->lock);
	if (first) {
		log_error("zone %s: its journal is damaged and begins anew: secondaries transfer "
			  "all of it",
			  name_to_text(z->apex, name));
	}
}

enum status journal_read(struct journal_zone *z, uint64_t number, uint32_t index,
			 struct journal_piece *piece)
{
	uint8_t buf[JOURNAL_KEY_MAX];
	struct bytes value;
	struct store_txn *txn = NULL;
	uint32_t pieces = pieces_of(z, number);

	if (index >= pieces) {
		return ST_ENOENT;
	}
	enum status st = store_begin(z->journal->store, false, &txn);
	if (st == ST_OK) {
		st = store_get(txn, TABLE_PIECES, journal_piece_key(z, number, index, buf), &value);
	}
	if (st == ST_OK) {
		st = piece_copy(value, piece);
		piece->last = index + 1 == pieces;
	}
	store_abort(txn);
	if (st == ST_EIO) {
		damaged(z);
	}
	return st;
}

void journal_piece_fini(struct journal_piece *p)
{
	free(p->data);
	*p = (struct journal_piece){.len = 0};
}

void journal_serve(struct journal_zone *z, enum journal_served what)
{
	atomic_fetch_add_explicit(&z->served[what], 1, memory_order_relaxed);
}

void journal_zone_status(struct journal_zone *z, struct journal_status *out)
{
	pthread_mutex_lock(&z->lock);
	*out = (struct journal_status){.versions = 0};
	if (!z->damaged && z->count > 0) {
		out->versions = z->count;
		out->octets = z->stored;
		out->oldest = z->heads[z->begin].from;
	}
	pthread_mutex_unlock(&z->lock);
	for (size_t i = 0; i < JOURNAL_SERVED_MAX; i++) {
		out->served[i] = atomic_load_explicit(&z->served[i], memory_order_relaxed);
	}
}

bool journal_borrow(struct journal_zone *z, size_t octets)
{
	_Atomic(size_t) *borrowed = &z->journal->borrowed;

	if (atomic_fetch_add(borrowed, octets) + octets <= BORROW_MAX) {
		return true;
	}
	atomic_fetch_sub(borrowed, octets);
	return false;
}

void journal_give_back(struct journal_zone *z, size_t octets)
{
	atomic_fetch_sub(&z->journal->borrowed, octets);
}
