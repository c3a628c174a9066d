#include "nsd-core/park.h"

#include "nsd-core/base/digest.h"

#include <stdlib.h>

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9fb21c651e98df25);
	return h ^ h >> 32;
}

/* Keyed, so that nobody can choose questions that share a chain. */
static uint32_t question_hash(const struct park *p, const struct park_reply *reply,
			      const uint8_t *wire, size_t len)
{
	const uint8_t *peer = (const uint8_t *)&reply->peer;
	uint64_t h = mix(p->seed, reply->socket);

	for (size_t i = 0; i + 4 <= reply->peer_len; i += 4) {
		h = mix(h, be32_get(peer + i));
	}
	size_t i = 0;
	for (; i + 8 <= len; i += 8) {
		h = mix(h, be64_get(wire + i));
	}
	for (; i < len; i++) {
		h = mix(h, wire[i]);
	}
	return (uint32_t)(mix(h, p->seed) >> 16);
}

static uint32_t rrset_bucket(const struct park *p, const struct rrset *rs)
{
	return (uint32_t)(mix(p->seed, (uintptr_t)rs) >> 16) & p->mask;
}

static struct park_wait *wait_at(struct park *p, uint32_t id)
{
	return &p->slots[(id - 1) / ANSWER_MISSING_MAX].wait[(id - 1) % ANSWER_MISSING_MAX];
}

static struct parked *wait_owner(struct park *p, uint32_t id)
{
	return &p->slots[(id - 1) / ANSWER_MISSING_MAX];
}

static uint32_t slot_id(const struct park *p, const struct parked *q)
{
	return (uint32_t)(q - p->slots) + 1;
}

static void wait_link(struct park *p, struct parked *q, unsigned which, const struct rrset *rs)
{
	uint32_t id = (slot_id(p, q) - 1) * ANSWER_MISSING_MAX + which + 1;
	uint32_t *head = &p->by_rrset[rrset_bucket(p, rs)];

	q->wait[which] = (struct park_wait){.rrset = rs, .next = *head};
	if (*head != 0) {
		wait_at(p, *head)->previous = id;
	}
	*head = id;
}

static void wait_unlink(struct park *p, struct park_wait *w)
{
	if (w->rrset == NULL) {
		return;
	}
	if (w->previous != 0) {
		wait_at(p, w->previous)->next = w->next;
	} else {
		p->by_rrset[rrset_bucket(p, w->rrset)] = w->next;
	}
	if (w->next != 0) {
		wait_at(p, w->next)->previous = w->previous;
	}
	w->rrset = NULL;
}

/* From here on it waits for what is missing, at the longest until its time is over. */
static void wait_start(struct park *p, struct parked *q, const struct answer_missing *missing,
		       int64_t now_ms)
{
	bool nothing_named = missing->count == 0;

	q->state = PARKED_WAITING;
	q->wake_ms = q->deadline_ms;
	if (nothing_named && q->wake_ms > now_ms + PARK_RETRY_MS) {
		q->wake_ms = now_ms + PARK_RETRY_MS;
	}
	q->waits = (uint8_t)missing->count;
	q->unsettled = q->waits;
	for (unsigned i = 0; i < q->waits; i++) {
		wait_link(p, q, i, missing->rrsets[i]);
	}
}

static void waits_clear(struct park *p, struct parked *q)
{
	for (unsigned i = 0; i < q->waits; i++) {
		wait_unlink(p, &q->wait[i]);
	}
	q->waits = 0;
	q->unsettled = 0;
}

static void make_ready(struct park *p, struct parked *q)
{
	uint32_t id = slot_id(p, q);

	waits_clear(p, q);
	q->state = PARKED_READY;
	q->next = 0;
	if (p->ready_last != 0) {
		p->slots[p->ready_last - 1].next = id;
	} else {
		p->ready_first = id;
	}
	p->ready_last = id;
}

/* First or last of those that this thread signs for. */
static void make_later(struct park *p, struct parked *q, bool first)
{
	uint32_t id = slot_id(p, q);
	uint32_t *head = &p->later_first[!q->ticket.urgent];
	uint32_t *tail = &p->later_last[!q->ticket.urgent];

	q->state = PARKED_LATER;
	p->later_count++;
	if (first) {
		q->next = *head;
		*head = id;
		*tail = *tail != 0 ? *tail : id;
		return;
	}
	q->next = 0;
	if (*tail != 0) {
		p->slots[*tail - 1].next = id;
	} else {
		*head = id;
	}
	*tail = id;
}

enum status park_init(struct park *p, uint32_t max)
{
	*p = (struct park){.max = max, .mask = max * 2 - 1};
	enum status st = random_bytes(&p->seed, sizeof(p->seed));

	if (st == ST_OK) {
		st = budget_init(&p->budget);
	}
	if (st != ST_OK) {
		return st;
	}
	p->slots = calloc(max, sizeof(*p->slots));
	p->by_rrset = calloc((size_t)max * 2, sizeof(*p->by_rrset));
	p->by_question = calloc((size_t)max * 2, sizeof(*p->by_question));
	if (p->slots == NULL || p->by_rrset == NULL || p->by_question == NULL) {
		park_fini(p);
		return ST_ENOMEM;
	}
	return ST_OK;
}

void park_fini(struct park *p)
{
	free(p->slots);
	free(p->by_rrset);
	free(p->by_question);
	*p = (struct park){0};
}

static bool same_question(const struct parked *q, const struct park_reply *reply,
			  const uint8_t *wire, size_t len)
{
	return q->len == len && q->reply.socket == reply->socket &&
	       q->reply.peer_len == reply->peer_len &&
	       memcmp(&q->reply.peer, &reply->peer, reply->peer_len) == 0 &&
	       memcmp(q->wire, wire, len) == 0;
}

static bool is_parked(const struct park *p, uint32_t hash, const struct park_reply *reply,
		      const uint8_t *wire, size_t len)
{
	for (uint32_t id = p->by_question[hash & p->mask]; id != 0;) {
		const struct parked *q = &p->slots[id - 1];
		if (q->hash == hash && same_question(q, reply, wire, len)) {
			return true;
		}
		id = q->same_hash;
	}
	return false;
}

static struct parked *slot_take(struct park *p)
{
	struct parked *q;

	if (p->free != 0) {
		q = &p->slots[p->free - 1];
		p->free = q->next;
	} else if (p->high < p->max) {
		q = &p->slots[p->high++];
	} else {
		return NULL;
	}
	p->count++;
	return q;
}

/* Is there room for another question of this kind? */
static enum status park_admit(const struct park *p, const struct park_reply *reply,
			      const struct answer_missing *missing, struct budget_ticket *ticket)
{
	unsigned waiting = budget_look(&p->budget, (const struct sockaddr *)&reply->peer,
				       missing->zone, missing->nonexistent, ticket);

	if (missing->later) {
		return park_later_full(p) ? ST_ELIMIT : ST_OK;
	}
	if (waiting >=
	    (missing->nonexistent ? PARK_SHARE_NONEXISTENT(p->max) : PARK_SHARE(p->max))) {
		return ST_EREFUSED;
	}
	return ticket->urgent || p->count < PARK_EXCESS(p->max) ? ST_OK : ST_ELIMIT;
}

enum status park_put(struct park *p, const struct park_reply *reply, const struct bytes *question,
		     const struct answer_missing *missing, int64_t now_ms, struct parked **out)
{
	bool udp = reply->transport == ANSWER_UDP;
	uint32_t hash = 0;
	struct budget_ticket ticket;

	if (question->len > PARK_WIRE_MAX) {
		return ST_ESPACE;
	}
	if (udp) {
		hash = question_hash(p, reply, question->data, question->len);
		if (is_parked(p, hash, reply, question->data, question->len)) {
			return ST_EEXIST;
		}
	}
	enum status st = park_admit(p, reply, missing, &ticket);
	if (st != ST_OK) {
		return st;
	}
	struct parked *q = slot_take(p);
	if (q == NULL) {
		return ST_ELIMIT;
	}
	budget_take(&p->budget, &ticket);
	q->ticket = ticket;
	q->deadline_ms = now_ms + PARK_WAIT_MS;
	q->reply = *reply;
	q->hash = hash;
	q->len = (uint16_t)question->len;
	memcpy(q->wire, question->data, question->len);
	q->same_hash = 0;
	if (udp) {
		uint32_t *head = &p->by_question[hash & p->mask];
		q->same_hash = *head;
		*head = slot_id(p, q);
	}
	if (missing->later) {
		make_later(p, q, false);
	} else {
		q->state = PARKED_ASKED;
	}
	*out = q;
	return ST_OK;
}

static void on_wait_settled(struct park *p, struct parked *q, struct park_wait *w, bool ok,
			    int64_t now_ms)
{
	wait_unlink(p, w);
	q->unsettled--;
	if (!ok && q->wake_ms > now_ms + PARK_RETRY_MS) {
		q->wake_ms = now_ms + PARK_RETRY_MS;
	}
	/* After a failure nothing is ready before wake_ms: asking at once would fail at once. */
	if (q->unsettled == 0 && ok && q->wake_ms == q->deadline_ms) {
		make_ready(p, q);
	}
}

void park_settled(struct park *p, const struct rrset *rs, bool ok, int64_t now_ms)
{
	uint32_t id = p->by_rrset[rrset_bucket(p, rs)];

	while (id != 0) {
		struct park_wait *w = wait_at(p, id);
		struct parked *q = wait_owner(p, id);
		uint32_t next = w->next;
		/* A question waits for an RRset once, so what is unlinked here is not 'next'. */
		if (w->rrset == rs) {
			on_wait_settled(p, q, w, ok, now_ms);
		}
		id = next;
	}
}

void park_due(struct park *p, int64_t now_ms)
{
	for (uint32_t i = 0; i < p->high; i++) {
		struct parked *q = &p->slots[i];
		if (q->state == PARKED_WAITING && q->wake_ms <= now_ms) {
			make_ready(p, q);
		}
	}
}

void park_expire(struct park *p)
{
	for (uint32_t i = 0; i < p->high; i++) {
		struct parked *q = &p->slots[i];
		q->deadline_ms = 0;
		if (q->state == PARKED_WAITING || q->state == PARKED_LATER) {
			make_ready(p, q);
		}
	}
	memset(p->later_first, 0, sizeof(p->later_first));
	memset(p->later_last, 0, sizeof(p->later_last));
	p->later_count = 0;
}

struct parked *park_next(struct park *p)
{
	if (p->ready_first == 0) {
		return NULL;
	}
	struct parked *q = &p->slots[p->ready_first - 1];
	p->ready_first = q->next;
	if (p->ready_first == 0) {
		p->ready_last = 0;
	}
	q->state = PARKED_ASKED;
	return q;
}

struct parked *park_next_later(struct park *p)
{
	bool excess = p->later_first[0] == 0;
	uint32_t *head = &p->later_first[excess];

	if (*head == 0) {
		return NULL;
	}
	struct parked *q = &p->slots[*head - 1];
	*head = q->next;
	if (*head == 0) {
		p->later_last[excess] = 0;
	}
	p->later_count--;
	q->state = PARKED_ASKED;
	return q;
}

enum answer_mode parked_mode(const struct parked *q, int64_t now_ms)
{
	return now_ms >= q->deadline_ms ? ANSWER_LAST : ANSWER_AGAIN;
}

void park_again(struct park *p, struct parked *q, const struct answer_missing *missing,
		int64_t now_ms)
{
	if (missing->later) {
		make_later(p, q, true);
	} else {
		wait_start(p, q, missing, now_ms);
	}
}

void park_release(struct park *p, struct parked *q)
{
	uint32_t id = slot_id(p, q);

	waits_clear(p, q);
	budget_give(&p->budget, &q->ticket);
	if (q->reply.transport == ANSWER_UDP) {
		uint32_t *link = &p->by_question[q->hash & p->mask];
		while (*link != id) {
			link = &p->slots[*link - 1].same_hash;
		}
		*link = q->same_hash;
	}
	q->state = PARKED_FREE;
	q->next = p->free;
	p->free = id;
	p->count--;
	if (p->count == 0) {
		p->free = 0;
		p->high = 0;
	}
}
