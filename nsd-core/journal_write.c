/* What is written to the journal: one thread. */
#include "nsd-core/journal_state.h"

#include "nsd-core/base/digest.h"

#include <stdlib.h>

/* Keys, to be removed once the scan that found them is over. */
struct keys {
	uint8_t *data; /* each behind an octet that counts 2 */
	size_t len, room;
};

static enum status keys_add(void *ctx, struct bytes key, struct bytes value)
{
	struct keys *k = ctx;

	(void)value;
	if (k->room - k->len < key.len + 2) {
		size_t room = k->room * 2 + key.len + 4096;
		uint8_t *data = realloc(k->data, room);
		if (data == NULL) {
			return ST_ENOMEM;
		}
		k->data = data;
		k->room = room;
	}
	be16_put(k->data + k->len, (uint16_t)key.len);
	memcpy(k->data + k->len + 2, key.data, key.len);
	k->len += key.len + 2;
	return ST_OK;
}

static enum status erase_table(struct store_txn *txn, const char *table, struct bytes apex)
{
	struct keys k = {.data = NULL};
	enum status st = store_scan(txn, table, apex, keys_add, &k);

	for (size_t at = 0; st == ST_OK && at < k.len; at += 2U + be16_get(k.data + at)) {
		struct bytes key = {k.data + at + 2, be16_get(k.data + at)};
		st = store_del(txn, table, key);
	}
	free(k.data);
	return st;
}

enum status journal_erase(struct store_txn *txn, struct bytes apex)
{
	static const char *const tables[] = {TABLE_PIECES, TABLE_HEADS, TABLE_ZONES};
	enum status st = ST_OK;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && st == ST_OK; i++) {
		st = erase_table(txn, tables[i], apex);
	}
	return st;
}

/* In transactions of their own: a big journal is not to stand in the way of the others. */
static enum status prune_zone(struct journal *j, struct bytes apex)
{
	struct store_txn *txn = NULL;
	enum status st = store_begin(j->store, true, &txn);

	if (st == ST_OK) {
		st = journal_erase(txn, apex);
	}
	if (st != ST_OK) {
		store_abort(txn);
		return st;
	}
	return store_commit(txn);
}

enum status journal_prune(struct journal *j, bool (*keep)(void *ctx, const uint8_t *apex),
			  void *ctx, size_t *removed)
{
	struct keys k = {.data = NULL};
	struct store_txn *txn = NULL;
	size_t count = 0;
	enum status st = store_begin(j->store, false, &txn);

	if (st == ST_OK) {
		st = store_scan(txn, TABLE_ZONES, (struct bytes){NULL, 0}, keys_add, &k);
	}
	store_abort(txn);
	for (size_t at = 0; st == ST_OK && at < k.len; at += 2U + be16_get(k.data + at)) {
		struct bytes apex = {k.data + at + 2, be16_get(k.data + at)};
		struct wreader r;
		wreader_init(&r, apex.data, apex.len);
		/* What is no name is nobody's. */
		if (wreader_name(&r).len == apex.len && keep(ctx, apex.data)) {
			continue;
		}
		st = prune_zone(j, apex);
		count++;
	}
	free(k.data);
	if (st == ST_OK) {
		*removed = count;
	}
	return st;
}

/* What a change does to the heads in memory, once it is on disk. */
struct planned {
	enum journal_step step;
	size_t trimmed; /* the oldest */
	bool replaces;	/* the newest, which was never published */
	struct journal_head head;
};

static enum status put_zone(struct store_txn *txn, const struct journal_change *c)
{
	uint8_t buf[JOURNAL_KEY_MAX];
	uint8_t value[ZONE_LEN];
	struct wwriter w;

	wwriter_init(&w, value, sizeof(value));
	wwriter_u8(&w, JOURNAL_VERSION);
	wwriter_u32(&w, c->to);
	for (size_t i = 0; i < 4; i++) {
		wwriter_u64(&w, c->sum.words[i]);
	}
	wwriter_u64(&w, c->sum.octets);
	return store_put(txn, TABLE_ZONES, journal_key(c->zone, buf),
			 (struct bytes){value, sizeof(value)});
}

static enum status put_head(struct store_txn *txn, const struct journal_zone *z, uint64_t number,
			    const struct journal_head *h)
{
	uint8_t buf[JOURNAL_KEY_MAX];
	uint8_t value[HEAD_LEN];
	struct wwriter w;

	wwriter_init(&w, value, sizeof(value));
	wwriter_u8(&w, JOURNAL_VERSION);
	wwriter_u32(&w, h->from);
	wwriter_u32(&w, h->to);
	wwriter_u32(&w, h->pieces);
	wwriter_u64(&w, h->octets);
	wwriter_u64(&w, h->stored);
	return store_put(txn, TABLE_HEADS, journal_head_key(z, number, buf),
			 (struct bytes){value, sizeof(value)});
}

static enum status put_pieces(struct store_txn *txn, const struct journal_zone *z, uint64_t number,
			      const struct difference *d)
{
	uint8_t buf[JOURNAL_KEY_MAX];
	uint8_t sum[DIGEST_MAX];
	uint8_t *value = malloc(PIECE_SUM_LEN + DIFFERENCE_PIECE_MAX);
	enum status st = value != NULL ? ST_OK : ST_ENOMEM;

	for (size_t i = 0; i < d->pieces && st == ST_OK; i++) {
		struct bytes piece = difference_piece(d, i);
		st = digest_of(DIGEST_SHA256, &piece, 1, sum);
		if (st != ST_OK) {
			break;
		}
		memcpy(value, sum, PIECE_SUM_LEN);
		memcpy(value + PIECE_SUM_LEN, piece.data, piece.len);
		st = store_put(txn, TABLE_PIECES, journal_piece_key(z, number, (uint32_t)i, buf),
			       (struct bytes){value, PIECE_SUM_LEN + piece.len});
	}
	free(value);
	return st;
}

static enum status remove_difference(struct store_txn *txn, const struct journal_zone *z,
				     uint64_t number, const struct journal_head *h)
{
	uint8_t buf[JOURNAL_KEY_MAX];
	enum status st = store_del(txn, TABLE_HEADS, journal_head_key(z, number, buf));

	for (uint32_t i = 0; i < h->pieces && st == ST_OK; i++) {
		st = store_del(txn, TABLE_PIECES, journal_piece_key(z, number, i, buf));
	}
	return st;
}

static const struct journal_head *head_at(const struct journal_zone *z, size_t i)
{
	return &z->heads[z->begin + i];
}

/* What there is leads to c->from, or did until its last difference, which was written and never
 * seen. */
static bool can_append(const struct journal_zone *z, const struct journal_change *c, bool *replaces)
{
	*replaces = false;
	if (c->step != JOURNAL_APPEND || !z->known || z->damaged || z->limit == 0) {
		return false;
	}
	if (z->serial == c->from) {
		return true;
	}
	*replaces = z->count > 0 && head_at(z, z->count - 1)->from == c->from;
	return *replaces;
}

/* The oldest go, as many as it takes. */
static enum status trim(struct store_txn *txn, const struct journal_zone *z, struct planned *p)
{
	size_t kept = z->count - p->replaces;
	uint64_t stored = z->stored + p->head.stored;
	enum status st = ST_OK;

	if (p->replaces) {
		stored -= head_at(z, kept)->stored;
	}
	while (st == ST_OK && p->trimmed < kept &&
	       (stored > z->limit || kept - p->trimmed >= JOURNAL_VERSIONS_MAX)) {
		const struct journal_head *h = head_at(z, p->trimmed);
		st = remove_difference(txn, z, z->first + p->trimmed, h);
		stored -= h->stored;
		p->trimmed++;
	}
	return st;
}

static enum status append(struct store_txn *txn, const struct journal_change *c, struct planned *p)
{
	const struct journal_zone *z = c->zone;
	const struct difference *d = &c->difference;
	enum status st = ST_OK;

	p->head = (struct journal_head){
		.from = c->from, .to = c->to, .pieces = (uint32_t)d->pieces, .octets = d->octets};
	p->head.stored = HEAD_LEN + ENTRY_OCTETS + d->len +
			 (uint64_t)d->pieces * (PIECE_SUM_LEN + ENTRY_OCTETS);
	uint64_t number = z->first + z->count - p->replaces;
	if (p->replaces) {
		st = remove_difference(txn, z, number, head_at(z, z->count - 1));
	}
	if (st == ST_OK) {
		st = trim(txn, z, p);
	}
	if (st == ST_OK) {
		st = put_pieces(txn, z, number, d);
	}
	return st == ST_OK ? put_head(txn, z, number, &p->head) : st;
}

/* Room in memory for one head more. */
static enum status make_room(struct journal_zone *z)
{
	enum status st = ST_OK;

	pthread_mutex_lock(&z->lock);
	if (z->begin + z->count == z->room && z->begin > z->count) {
		memmove(z->heads, z->heads + z->begin, z->count * sizeof(z->heads[0]));
		z->begin = 0;
	} else if (z->begin + z->count == z->room) {
		size_t room = z->room == 0 ? 16 : z->room * 2;
		struct journal_head *grown = realloc(z->heads, room * sizeof(*grown));
		st = grown != NULL ? ST_OK : ST_ENOMEM;
		z->heads = grown != NULL ? grown : z->heads;
		z->room = grown != NULL ? room : z->room;
	}
	pthread_mutex_unlock(&z->lock);
	return st;
}

static enum status write_change(struct store_txn *txn, const struct journal_change *c,
				struct planned *p)
{
	struct journal_zone *z = c->zone;
	uint8_t buf[JOURNAL_KEY_MAX];

	pthread_mutex_lock(&z->lock);
	*p = (struct planned){.step = c->step};
	if (c->step != JOURNAL_KEEP) {
		p->step = can_append(z, c, &p->replaces) ? JOURNAL_APPEND : JOURNAL_RESTART;
	}
	bool erase = p->step == JOURNAL_RESTART && (!z->clean || z->damaged || z->count > 0);
	pthread_mutex_unlock(&z->lock);
	if (p->step == JOURNAL_KEEP) {
		return ST_OK;
	}
	enum status st = make_room(z);
	if (st == ST_OK && erase) {
		st = journal_erase(txn, journal_key(z, buf));
	}
	if (st == ST_OK && p->step == JOURNAL_APPEND) {
		st = append(txn, c, p);
	}
	return st == ST_OK ? put_zone(txn, c) : st;
}

/* It is on disk. */
static void apply(struct journal_change *c, const struct planned *p)
{
	struct journal_zone *z = c->zone;

	c->status = ST_OK;
	if (p->step == JOURNAL_KEEP) {
		return;
	}
	pthread_mutex_lock(&z->lock);
	if (p->step == JOURNAL_RESTART) {
		journal_forget(z);
		z->damaged = false;
	} else {
		if (p->replaces) {
			z->stored -= head_at(z, --z->count)->stored;
		}
		for (size_t i = 0; i < p->trimmed; i++) {
			z->stored -= head_at(z, i)->stored;
		}
		z->first += p->trimmed;
		z->begin += p->trimmed;
		z->count -= p->trimmed;
		z->heads[z->begin + z->count++] = p->head;
		z->stored += p->head.stored;
	}
	z->known = true;
	z->clean = true;
	z->serial = c->to;
	z->sum = c->sum;
	pthread_mutex_unlock(&z->lock);
}

static enum status commit(struct journal *j, struct journal_change *const *changes, size_t count)
{
	struct store_txn *txn = NULL;
	struct planned *plans = calloc(count, sizeof(*plans));
	enum status st = plans != NULL ? store_begin(j->store, true, &txn) : ST_ENOMEM;

	for (size_t i = 0; i < count && st == ST_OK; i++) {
		st = write_change(txn, changes[i], &plans[i]);
	}
	if (st == ST_OK) {
		st = store_commit(txn);
	} else {
		store_abort(txn);
	}
	for (size_t i = 0; i < count && st == ST_OK; i++) {
		apply(changes[i], &plans[i]);
	}
	free(plans);
	return st;
}

/* A difference a transaction: what one gives back is room for the next, while all at once may take
 * more than there is. What is left is the next beginning's to remove. */
static void make_way(struct journal *j, const struct journal_zone *z)
{
	enum status st = ST_OK;

	for (size_t i = 0; i < z->count && st == ST_OK; i++) {
		struct store_txn *txn = NULL;
		st = store_begin(j->store, true, &txn);
		if (st == ST_OK) {
			st = remove_difference(txn, z, z->first + i, head_at(z, i));
		}
		if (st == ST_OK) {
			st = store_commit(txn);
		} else {
			store_abort(txn);
		}
	}
}

/* One that could not be written with the others: alone, then as the beginning of a history. */
static void commit_alone(struct journal *j, struct journal_change *c)
{
	struct journal_zone *z = c->zone;

	enum status st = j->given_up ? ST_EIO : commit(j, &c, 1);
	if (st == ST_OK) {
		return;
	}
	c->status = st;
	/* Who reads finds nothing from now on. */
	pthread_mutex_lock(&z->lock);
	z->damaged = true;
	pthread_mutex_unlock(&z->lock);
	if (st == ST_ELIMIT) {
		make_way(j, z);
	}
	pthread_mutex_lock(&z->lock);
	journal_forget(z);
	z->damaged = false;
	pthread_mutex_unlock(&z->lock);
	if (st == ST_EIO) {
		journal_give_up(j);
		return;
	}
	c->step = JOURNAL_RESTART;
	enum status again = commit(j, &c, 1);
	/* The history is lost all the same. */
	c->status = again == ST_OK ? st : again;
}

void journal_commit(struct journal *j, struct journal_change *const *changes, size_t count)
{
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		changes[i]->status = ST_OK;
		any = any || changes[i]->step != JOURNAL_KEEP;
	}
	if (!any || (!j->given_up && commit(j, changes, count) == ST_OK)) {
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (changes[i]->step != JOURNAL_KEEP) {
			commit_alone(j, changes[i]);
		}
	}
}
