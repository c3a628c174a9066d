/* Zones from text, with signatures that look like signatures, for tests, the fuzzer and the
 * benchmark of answers. What cannot be made ends the program. */
#pragma once

#include "nsd-core/answer.h"
#include "signer/signer.h"
#include "zones/draft.h"
#include "zones/rdata.h"

#include <stdio.h>
#include <stdlib.h>

#define must(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define FIXTURE_NOW 1000000000

/* Keys are only asked whether they are there. */
static inline void fixture_keys_unref(void *keys)
{
	(void)keys;
}

/* A master file's records, sorted and checked. */
static inline void fixture_read(struct content *c, const uint8_t *apex, const char *text)
{
	struct master_options opt = {0};
	struct check_options check = {.signing = false};
	struct diags d;
	diags_init(&d, 8);
	content_init(c, apex);
	enum status st = master_read_mem("zone", text, strlen(text), &opt, c, &d);
	if (st == ST_OK) {
		st = content_sort(c);
	}
	if (st == ST_OK) {
		st = content_check(c, &check, &d);
	}
	for (size_t i = 0; st != ST_OK && i < d.count; i++) {
		char line[512];
		fprintf(stderr, "%s\n", diag_format(&d.items[i], line, sizeof(line)));
	}
	diags_fini(&d);
	must(st == ST_OK);
}

/* A version from the text of a master file. keys: as a zone that we sign. */
static inline struct version *fixture_version(const char *apex_text, const char *text,
					      bool is_signed, bool keys)
{
	static char key;
	struct content c;
	struct draft *draft;
	struct version *v;
	uint8_t apex[NAME_MAX_LEN];
	size_t len;
	must(name_from_text(apex_text, strlen(apex_text), NULL, apex, &len, NULL) == ST_OK);
	fixture_read(&c, apex, text);
	must(draft_new(apex, NULL, &draft) == ST_OK);
	must(draft_apply(draft, &c, false) == ST_OK);
	struct freeze f = {
		.denial = DENIAL_NONE,
		.is_signed = is_signed,
		.keys = keys ? &key : NULL,
		.keys_unref = fixture_keys_unref,
	};
	must(draft_freeze(draft, &f, &v) == ST_OK);
	draft_free(draft);
	content_fini(&c);
	return v;
}

/* A signature set that looks like one: 'count' signatures, good from one hour before now to
 * 'expiration'. */
static inline struct sigset *fixture_sigset(const struct version *v, const struct node *n,
					    const struct rrset *rs, unsigned count,
					    uint32_t expiration)
{
	uint8_t rdata[4][18 + NAME_MAX_LEN + 64];
	struct bytes list[4];
	struct sigset *out;
	size_t len = name_len(v->apex_name);
	unsigned labels = n->labels - (name_is_wildcard(node_name(n)) ? 1U : 0U);
	for (unsigned i = 0; i < count; i++) {
		uint8_t *p = rdata[i];
		be16_put(p, rs->type);
		p[2] = 13;
		p[3] = (uint8_t)labels;
		be32_put(p + 4, rs->ttl);
		be32_put(p + 8, expiration);
		be32_put(p + 12, FIXTURE_NOW - 3600);
		be16_put(p + 16, (uint16_t)(1000 + i));
		memcpy(p + 18, v->apex_name, len);
		memset(p + 18 + len, (int)(0xa0 + i), 64);
		list[i] = (struct bytes){p, 18 + len + 64};
	}
	must(sigset_new(rs, v->apex_name, list, count, &out) == ST_OK);
	return out;
}

static inline void fixture_fill(struct version *v, const struct node *n, struct rrset *rs,
				uint32_t expiration)
{
	atomic_store(&rs->sigs, fixture_sigset(v, n, rs, 1, expiration));
	atomic_store(&rs->sig_state, (uint8_t)SIG_FILLED);
}

static inline enum status fixture_sign_node(void *ctx, const struct node *n)
{
	for (unsigned i = 0; i < n->rrset_count; i++) {
		if (signer_covers(n, n->rrsets[i]) && rrset_sigs(n->rrsets[i]) == NULL) {
			fixture_fill(ctx, n, n->rrsets[i], FIXTURE_NOW + 86400);
		}
	}
	return ST_OK;
}

/* Fills every empty slot. */
static inline void fixture_sign(struct version *v)
{
	must(version_walk(v, fixture_sign_node, v) == ST_OK);
}

static inline void fixture_zone(struct zone *z, const char *name, struct version *v)
{
	size_t len;
	*z = (struct zone){.cur = v};
	must(name_from_text(name, strlen(name), NULL, z->name, &len, NULL) == ST_OK);
	z->name_len = (uint8_t)len;
	z->labels = (uint8_t)name_labels(z->name);
	z->hash = name_hash(z->name);
}

static inline struct answer_env fixture_env(const struct zonedb *db)
{
	return (struct answer_env){.db = db, .udp_size = ANSWER_UDP_SIZE, .now_s = FIXTURE_NOW};
}
