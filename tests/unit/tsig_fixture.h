/* Keys, questions and TSIG records, for the tests of what is signed with them. */
#pragma once

#include "nsd-core/query.h"
#include "nsd-core/tsig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TSIG_NOW INT64_C(1000000000)

/* "xfr.test." of SHA-256 with the octets 0 to 31; then one of each algorithm. */
static inline struct tsig_keys *test_keys(void)
{
	static const struct {
		const char *name;
		enum hmac_type type;
	} list[] = {
		{"\3xfr\4test", HMAC_SHA256},	 {"\6sha256\4test", HMAC_SHA256},
		{"\6sha384\4test", HMAC_SHA384}, {"\6sha512\4test", HMAC_SHA512},
		{"\4sha1\4test", HMAC_SHA1},
	};
	struct tsig_secret secrets[sizeof(list) / sizeof(list[0])];
	uint8_t octets[32];
	struct tsig_keys *keys = NULL;
	for (uint8_t i = 0; i < sizeof(octets); i++) {
		octets[i] = i;
	}
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		secrets[i] = (struct tsig_secret){.name = (const uint8_t *)list[i].name,
						  .type = list[i].type,
						  .secret = {octets, sizeof(octets)}};
	}
	assert_int_equal(tsig_keys_new(secrets, sizeof(list) / sizeof(list[0]), &keys), ST_OK);
	return keys;
}

struct test_question {
	const uint8_t *name;
	uint16_t type;
	bool edns;
	bool has_serial; /* an SOA in the authority section, as IXFR wants it */
	uint32_t serial;
};

/* Returns its length; 'out' has room for a lot. */
static inline size_t question_make(const struct test_question *q, uint8_t *out, size_t room)
{
	struct wwriter w;
	wwriter_init(&w, out, room);
	wwriter_u16(&w, 0x1234);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 1);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, q->has_serial);
	wwriter_u16(&w, q->edns);
	wwriter_put(&w, q->name, name_len(q->name));
	wwriter_u16(&w, q->type);
	wwriter_u16(&w, CLASS_IN);
	if (q->has_serial) {
		wwriter_u16(&w, 0xc00c);
		wwriter_u16(&w, RR_SOA);
		wwriter_u16(&w, CLASS_IN);
		wwriter_u32(&w, 0);
		wwriter_u16(&w, 2 + 2 + 20);
		wwriter_u32(&w, 0xc00cc00c);
		wwriter_u32(&w, q->serial);
		wwriter_u64(&w, 0);
		wwriter_u64(&w, 0);
	}
	if (q->edns) {
		wwriter_u8(&w, 0);
		wwriter_u16(&w, RR_OPT);
		wwriter_u16(&w, 1232);
		wwriter_u32(&w, EDNS_DO);
		wwriter_u16(&w, 0);
	}
	assert_int_equal(w.err, ST_OK);
	return wwriter_len(&w);
}

/* Where the TSIG of a question or an answer stands; 0: it has none, or is malformed. */
static inline size_t tsig_place(const uint8_t *message, size_t len)
{
	struct query q;
	enum rcode rcode;
	uint8_t *copy = malloc(len);
	assert_non_null(copy);
	memcpy(copy, message, len);
	copy[2] &= 0x7f;
	size_t at = query_parse(copy, len, &q, &rcode) == QUERY_GOOD ? q.tsig_at : 0;
	free(copy);
	return at;
}

/* The message up to 'at', with this record in the place of its own. Returns the new length. */
static inline size_t tsig_rewrite(const uint8_t *message, size_t at, struct bytes owner,
				  const struct tsig_record *rec, uint8_t *out)
{
	struct wwriter w;
	wwriter_init(&w, out, 4096);
	wwriter_put(&w, message, at);
	wwriter_put(&w, owner.data, owner.len);
	wwriter_u16(&w, RR_TSIG);
	wwriter_u16(&w, CLASS_ANY);
	wwriter_u32(&w, 0);
	wwriter_u16(&w, (uint16_t)(rec->algorithm.len + 16 + rec->mac.len + rec->other.len));
	wwriter_put(&w, rec->algorithm.data, rec->algorithm.len);
	wwriter_u16(&w, (uint16_t)(rec->time_s >> 32));
	wwriter_u32(&w, (uint32_t)rec->time_s);
	wwriter_u16(&w, rec->fudge_s);
	wwriter_u16(&w, (uint16_t)rec->mac.len);
	wwriter_put(&w, rec->mac.data, rec->mac.len);
	wwriter_u16(&w, rec->original_id);
	wwriter_u16(&w, rec->error);
	wwriter_u16(&w, (uint16_t)rec->other.len);
	wwriter_put(&w, rec->other.data, rec->other.len);
	assert_int_equal(w.err, ST_OK);
	return wwriter_len(&w);
}
