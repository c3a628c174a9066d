/* Reading a long text by several threads.
 *
 * The text is cut where a line starts with what looks like an owner, and the chunks are read ahead,
 * each with the state that is expected at its start. They are then taken over in the order of the
 * file, by whichever thread comes by: a chunk counts if the one before really ended where it
 * starts, in a state that makes no difference to it. Otherwise, and where it holds anything but
 * records, $ORIGIN, $TTL and $GENERATE without a fault, it is read again from the state that is
 * known by then. So what comes out is what reading from the front to the end gives. */
#include "zones/master.h"

#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"
#include "nsd-core/base/text.h"

#include <pthread.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)256 << 10)
/* Chunks read but not taken over yet, beside those being read. */
#define SPARE 2
/* A longer directive is not looked for: the chunk behind it is read again. */
#define DIRECTIVE_MAX ((size_t)2048)
/* An entry is followed so far behind its chunk, and a chunk's size more. */
#define OVERHANG ((size_t)256)

struct chunk {
	const char *start;
	const char *stop;
	uint32_t line;
	struct reader_state expected; /* at the start */
	struct reader *r;
	struct content c;
	/* Where the first entry starts that was not read. */
	const char *end;
	uint32_t end_line;
	bool fine;
	bool done;
};

struct chunks {
	struct reader *r; /* holds the state at 'taken' */
	const struct source *src;
	const char *text;
	const char *end;
	size_t chunk_bytes;

	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct chunk ring[PARALLEL_MAX + SPARE];
	unsigned room;
	size_t given_count;
	size_t taken_count;
	bool taking; /* a thread is at it */
	enum status st;
	/* The next chunk to be given out. */
	const char *next;
	uint32_t next_line;
	struct reader_state expected;
	/* What has been taken over; that of the thread which takes. */
	const char *taken;
	uint32_t taken_line;
};

static bool looks_like_owner(char c)
{
	return c != '\0' && strchr(" \t\r\n;()\"\\$", c) == NULL;
}

static const char *chunk_stop(const struct chunks *k)
{
	const char *p = k->next;
	if ((size_t)(k->end - p) <= k->chunk_bytes) {
		return k->end;
	}
	p += k->chunk_bytes;
	while ((p = memchr(p, '\n', (size_t)(k->end - p))) != NULL) {
		if (++p == k->end) {
			break;
		}
		if (looks_like_owner(*p)) {
			return p;
		}
	}
	return k->end;
}

static uint32_t count_lines(const char *p, const char *end)
{
	uint32_t count = 0;
	for (; p < end; p++) {
		count += *p == '\n';
	}
	return count;
}

/* What the directives in the text seem to do. They may be wrong, or none at all within quotes. */
static void expect_directives(struct reader_state *at, const struct chunks *k, const char *p,
			      const char *stop)
{
	while (p < stop && (p = memchr(p, '$', (size_t)(stop - p))) != NULL) {
		struct scan s;
		const char *why;
		size_t len = (size_t)(k->end - p);
		if (p > k->text && p[-1] != '\n') {
			p++;
			continue;
		}
		scan_init(&s, p, len < DIRECTIVE_MAX ? len : DIRECTIVE_MAX, 1);
		if (scan_next(&s) == ST_OK && s.tokens[0].text == p) {
			const struct token *t = &s.tokens[0];
			if (text_equal_nocase(t->text, t->len, "$ORIGIN")) {
				(void)reader_origin(&s, at, &why);
			} else if (text_equal_nocase(t->text, t->len, "$TTL")) {
				(void)reader_ttl(&s, at);
			}
		}
		/* On behind what it went over: no octet is scanned twice. */
		p = s.pos;
		scan_fini(&s);
	}
}

/* Gives out the next chunk; the lock is held. */
static struct chunk *give(struct chunks *k)
{
	struct chunk *c = &k->ring[k->given_count++ % k->room];
	c->start = k->next;
	c->stop = chunk_stop(k);
	c->line = k->next_line;
	c->expected = k->expected;
	c->done = false;
	k->next = c->stop;
	k->next_line += count_lines(c->start, c->stop);
	expect_directives(&k->expected, k, c->start, c->stop);
	return c;
}

/* Where reading ahead ends in any case: a parenthesis that only seems to be open would have every
 * chunk read on to the end of the text. */
static const char *ahead_end(const struct chunks *k, const struct chunk *c)
{
	size_t most = k->chunk_bytes < SIZE_MAX - OVERHANG ? k->chunk_bytes + OVERHANG : SIZE_MAX;
	size_t behind = (size_t)(k->end - c->stop);
	return c->stop + (behind < most ? behind : most);
}

static void read_ahead(const struct chunks *k, struct chunk *c)
{
	struct reader *r = c->r;
	const char *end = ahead_end(k, c);
	struct source src = *k->src;
	struct scan s;
	src.owner_len = 0;
	c->c.record_count = 0;
	r->failed = false;
	r->stuck = false;
	r->asked_ttl = false;
	r->wrote_ttl = false;
	r->at = c->expected;
	r->owner.name = NULL;
	scan_init(&s, c->start, (size_t)(end - c->start), c->line);
	enum status st = reader_entries(r, &src, &s, c->stop);
	/* What reaches the end may go on behind it. */
	c->fine = st == ST_OK && !r->stuck && (s.pos < end || end == k->end);
	c->end = s.entry;
	c->end_line = s.entry_line;
	scan_fini(&s);
}

/* Would the chunk have been read alike? Its first entry has an owner. */
static bool state_agrees(const struct chunk *c, const struct reader_state *at)
{
	const struct reader_state *e = &c->expected;
	if (e->has_default_ttl != at->has_default_ttl ||
	    (e->has_default_ttl && e->default_ttl != at->default_ttl)) {
		return false;
	}
	if (c->r->asked_ttl &&
	    (e->has_last_ttl != at->has_last_ttl ||
	     (e->has_last_ttl && e->last_ttl != at->last_ttl) || e->ttl_warned != at->ttl_warned)) {
		return false;
	}
	size_t len = name_len(at->origin);
	return name_len(e->origin) == len && memcmp(e->origin, at->origin, len) == 0;
}

static void take_state(struct reader_state *at, const struct reader *from)
{
	struct reader_state before = *at;
	*at = from->at;
	at->ttl_warned = before.ttl_warned;
	if (!from->wrote_ttl) {
		at->has_last_ttl = before.has_last_ttl;
		at->last_ttl = before.last_ttl;
	}
}

/* Reads what the chunk should have given, from where the one before really ended. */
static enum status read_again(struct chunks *k, const struct chunk *c)
{
	struct source src = *k->src;
	struct scan s;
	src.owner_len = 0;
	scan_init(&s, k->taken, (size_t)(k->end - k->taken), k->taken_line);
	enum status st = reader_entries(k->r, &src, &s, c->stop);
	k->taken = s.entry;
	k->taken_line = s.entry_line;
	scan_fini(&s);
	return st;
}

/* What was taken over is not looked at again. Where an entry went on behind the chunk, others may
 * be reading what it went over. */
static void let_go(const struct chunks *k, const char *before, const char *stop)
{
	struct file_text *whole = k->src->whole;
	const char *end = k->taken < stop ? k->taken : stop;
	if (whole != NULL && before < end) {
		/* Of the page where the last one ended the rest has been read by now. */
		size_t from = (size_t)(before - k->text) / BULK_PAGE * BULK_PAGE;
		bulk_discard(whole->text, whole->room, from, (size_t)(end - k->text));
	}
}

/* Takes over a chunk that was read; no lock is held, and nobody else takes. *again: it did not
 * count. */
static enum status take(struct chunks *k, struct chunk *c, bool *again)
{
	*again = false;
	if (k->taken >= c->stop) {
		return ST_OK; /* an entry before went over all of it */
	}
	if (c->fine && k->taken == c->start && state_agrees(c, &k->r->at)) {
		enum status st = content_append(k->r->c, &c->c);
		if (st == ST_OK) {
			take_state(&k->r->at, c->r);
			k->r->owner.name = NULL;
			k->taken = c->end;
			k->taken_line = c->end_line;
		}
		if (st != ST_ELIMIT) {
			return st;
		}
	}
	*again = true;
	return read_again(k, c);
}

/* What is known now, and what lies between there and the next chunk. */
static void expect_anew(struct chunks *k)
{
	k->expected = k->r->at;
	if (k->taken >= k->next) {
		k->next = k->taken;
		k->next_line = k->taken_line;
	} else {
		expect_directives(&k->expected, k, k->taken, k->next);
	}
}

static void take_next(struct chunks *k)
{
	struct chunk *c = &k->ring[k->taken_count % k->room];
	const char *before = k->taken;
	bool again;
	k->taking = true;
	pthread_mutex_unlock(&k->lock);
	enum status st = take(k, c, &again);
	let_go(k, before, c->stop);
	pthread_mutex_lock(&k->lock);
	k->taking = false;
	k->taken_count++;
	k->st = st;
	if (again || k->taken > k->next) {
		expect_anew(k);
	}
	/* Of these nothing can be expected but that they stay as they are. */
	k->expected.has_last_ttl = k->r->at.has_last_ttl;
	k->expected.last_ttl = k->r->at.last_ttl;
	k->expected.ttl_warned = k->r->at.ttl_warned;
	pthread_cond_broadcast(&k->moved);
}

static void read_next(struct chunks *k)
{
	struct chunk *c = give(k);
	pthread_mutex_unlock(&k->lock);
	read_ahead(k, c);
	pthread_mutex_lock(&k->lock);
	c->done = true;
	pthread_cond_broadcast(&k->moved);
}

static void work(void *ctx, unsigned i)
{
	struct chunks *k = ctx;
	(void)i;
	pthread_mutex_lock(&k->lock);
	while (k->st == ST_OK) {
		bool waiting = k->taken_count < k->given_count;
		if (!k->taking && waiting && k->ring[k->taken_count % k->room].done) {
			take_next(k);
		} else if (k->next < k->end && k->given_count - k->taken_count < k->room) {
			read_next(k);
		} else if (waiting) {
			pthread_cond_wait(&k->moved, &k->lock);
		} else {
			break;
		}
	}
	pthread_mutex_unlock(&k->lock);
}

static enum status ring_init(struct chunks *k)
{
	for (unsigned i = 0; i < k->room; i++) {
		struct chunk *c = &k->ring[i];
		content_init(&c->c, k->r->c->apex);
		c->r = calloc(1, sizeof(*c->r));
		if (c->r == NULL) {
			return ST_ENOMEM;
		}
		c->r->c = &c->c;
		c->r->opt = k->r->opt;
		c->r->include_depth = k->r->include_depth;
		c->r->generate_max = k->r->generate_max;
		c->r->ahead = true;
	}
	return ST_OK;
}

static void ring_fini(struct chunks *k)
{
	for (unsigned i = 0; i < k->room; i++) {
		struct chunk *c = &k->ring[i];
		arena_take(&k->r->c->arena, &c->c.arena);
		content_fini(&c->c);
		free(c->r);
	}
}

static enum status read_chunks(struct reader *r, const struct source *src, const char *text,
			       size_t len, unsigned threads)
{
	struct chunks *k = calloc(1, sizeof(*k));
	if (k == NULL) {
		return ST_ENOMEM;
	}
	k->r = r;
	k->src = src;
	k->text = k->next = k->taken = text;
	k->end = text + len;
	k->next_line = k->taken_line = 1;
	k->expected = r->at;
	k->chunk_bytes = r->opt->chunk_bytes == 0 ? CHUNK_BYTES : r->opt->chunk_bytes;
	k->room = threads + SPARE;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->moved, NULL);
	k->st = ring_init(k);
	if (k->st == ST_OK) {
		parallel_run(threads, work, k);
	}
	enum status st = k->st;
	ring_fini(k);
	pthread_cond_destroy(&k->moved);
	pthread_mutex_destroy(&k->lock);
	free(k);
	return st;
}

enum status reader_text(struct reader *r, struct source *src, const char *text, size_t len)
{
	const struct master_options *opt = r->opt;
	bool is_long = opt->chunk_bytes > 0 || len >= 2 * CHUNK_BYTES;
	unsigned threads = !is_long ? 1 : opt->threads > 0 ? opt->threads : parallel_cpus();
	threads = threads < PARALLEL_MAX ? threads : PARALLEL_MAX;
	if (threads > 1) {
		return read_chunks(r, src, text, len, threads);
	}
	struct scan s;
	scan_init(&s, text, len, 1);
	enum status st = reader_entries(r, src, &s, text + len);
	scan_fini(&s);
	return st;
}
