#include "zones/zonesum.h"

#include "nsd-core/base/digest.h"
#include "nsd-core/base/parallel.h"

#include <stdlib.h>

#define RR_FIXED_LEN 10 /* type, class, TTL, length */
/* A thread for fewer nodes is not worth it. */
#define NODES_MIN 4096

const struct sigset *zone_sigs(zone_covers covers, const struct node *n, const struct rrset *rs)
{
	return covers == NULL || covers(n, rs) ? rrset_sigs(rs) : NULL;
}

/* What is kept of signatures: of a short one what the RRset does not say. */
static struct bytes sigs_data(const struct sigset *sigs, const struct rrset *rs)
{
	if (sigs == NULL) {
		return (struct bytes){NULL, 0};
	}
	return sigset_is_short(sigs) ? (struct bytes){(const uint8_t *)sigset_short(sigs),
						      sizeof(struct sigset_short)}
				     : sigset_data(sigs, rs, NULL, NULL);
}

/* Owner, type, TTL, data, signatures: each with its length, so that none runs into another. */
static enum status rrset_digest(const struct node *n, const struct rrset *rs,
				const struct sigset *sigs, uint64_t out[4])
{
	uint8_t head[24] = {0};
	uint8_t digest[32];
	struct bytes pieces[] = {
		{head, sizeof(head)},
		{node_name(n), n->name_len},
		{rs->data, rs->size},
		sigs_data(sigs, rs),
	};
	be16_put(head, rs->type);
	be32_put(head + 2, rs->ttl);
	be32_put(head + 6, rs->size);
	be32_put(head + 10, (uint32_t)pieces[3].len);
	if (sigs != NULL) {
		be32_put(head + 14, sigs->inception);
		be32_put(head + 18, sigs->expiration);
		head[22] = sigs->labels;
		head[23] = sigset_is_short(sigs);
	}
	enum status st = digest_of(DIGEST_SHA256, pieces, sigs != NULL ? 4 : 3, digest);
	for (size_t i = 0; st == ST_OK && i < 4; i++) {
		out[i] = be64_get(digest + 8 * i);
	}
	return st;
}

static uint64_t rrset_octets(const struct node *n, const struct rrset *rs,
			     const struct sigset *sigs)
{
	/* Each RDATA stands with two octets of length, which the fixed part has too. */
	const uint64_t fixed = n->name_len + RR_FIXED_LEN - 2;
	uint64_t octets = fixed * rs->count + rs->size;
	if (sigs == NULL) {
		return octets;
	}
	size_t size = sigset_is_short(sigs) ? 2 + RRSIG_FIXED_LEN + sigset_short(sigs)->signer_len +
						      (size_t)SIG_SHORT_LEN
					    : sigset_data(sigs, rs, NULL, NULL).len;
	return octets + fixed * sigs->count + size;
}

enum status zone_sum_add(struct zone_sum *sum, zone_covers covers, const struct node *n,
			 const struct rrset *rs)
{
	const struct sigset *sigs = zone_sigs(covers, n, rs);
	uint64_t words[4];
	uint64_t carry = 0;
	enum status st = rrset_digest(n, rs, sigs, words);
	for (size_t i = 0; st == ST_OK && i < 4; i++) {
		uint64_t partial = sum->words[i] + carry;
		carry = partial < carry;
		sum->words[i] = partial + words[i];
		carry += sum->words[i] < partial;
	}
	sum->octets += st == ST_OK ? rrset_octets(n, rs, sigs) : 0;
	return st;
}

enum status zone_sum_remove(struct zone_sum *sum, zone_covers covers, const struct node *n,
			    const struct rrset *rs)
{
	const struct sigset *sigs = zone_sigs(covers, n, rs);
	uint64_t words[4];
	uint64_t borrow = 0;
	enum status st = rrset_digest(n, rs, sigs, words);
	for (size_t i = 0; st == ST_OK && i < 4; i++) {
		uint64_t before = sum->words[i];
		uint64_t partial = before - borrow;
		borrow = before < borrow;
		sum->words[i] = partial - words[i];
		borrow += partial < words[i];
	}
	sum->octets -= st == ST_OK ? rrset_octets(n, rs, sigs) : 0;
	return st;
}

static void sum_join(struct zone_sum *sum, const struct zone_sum *more)
{
	uint64_t carry = 0;
	for (size_t i = 0; i < 4; i++) {
		uint64_t partial = sum->words[i] + carry;
		carry = partial < carry;
		sum->words[i] = partial + more->words[i];
		carry += sum->words[i] < partial;
	}
	sum->octets += more->octets;
}

bool zone_sum_equal(const struct zone_sum *a, const struct zone_sum *b)
{
	return memcmp(a->words, b->words, sizeof(a->words)) == 0;
}

struct part {
	struct zone_sum sum;
	enum status status;
};

struct summing {
	zone_covers covers;
	const struct node **nodes;
	size_t count, room;
	unsigned parts;
	struct part part[PARALLEL_MAX];
};

static enum status collect(void *ctx, const struct node *n)
{
	struct summing *s = ctx;
	if (s->count == s->room) {
		size_t room = s->room == 0 ? 256 : s->room * 2;
		const struct node **grown = realloc(s->nodes, room * sizeof(*grown));
		if (grown == NULL) {
			return ST_ENOMEM;
		}
		s->nodes = grown;
		s->room = room;
	}
	s->nodes[s->count++] = n;
	return ST_OK;
}

static void sum_part(void *ctx, unsigned i)
{
	struct summing *s = ctx;
	struct part *p = &s->part[i];
	size_t end = s->count * (i + 1) / s->parts;
	for (size_t k = s->count * i / s->parts; k < end; k++) {
		const struct node *n = s->nodes[k];
		for (unsigned r = 0; r < n->rrset_count && p->status == ST_OK; r++) {
			p->status = zone_sum_add(&p->sum, s->covers, n, n->rrsets[r]);
		}
	}
}

/* Of the nodes collected; they are given back. */
static enum status finish(struct summing *s, enum status st, struct zone_sum *out)
{
	struct zone_sum sum = {.octets = 0};
	if (st == ST_OK) {
		s->parts = s->count < NODES_MIN ? 1 : parallel_cpus();
		parallel_run(s->parts, sum_part, s);
	}
	for (unsigned i = 0; st == ST_OK && i < s->parts; i++) {
		st = s->part[i].status;
		sum_join(&sum, &s->part[i].sum);
	}
	free(s->nodes);
	if (st == ST_OK) {
		*out = sum;
	}
	return st;
}

enum status version_sum(const struct version *v, zone_covers covers, struct zone_sum *out)
{
	struct summing s = {.covers = covers};
	return finish(&s, version_walk(v, collect, &s), out);
}

enum status draft_sum(const struct draft *d, zone_covers covers, struct zone_sum *out)
{
	struct summing s = {.covers = covers};
	enum status st = draft_each_name(d, collect, &s);
	if (st == ST_OK) {
		st = draft_each_nsec3(d, collect, &s);
	}
	return finish(&s, st, out);
}
