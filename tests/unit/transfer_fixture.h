/* Asks for transfers and reads what comes. */
#pragma once

#include "answer_fixture.h"
#include "tsig_fixture.h"

#include "nsd-core/transfer.h"

#define RECORDS_MAX 20000
#define OUT_GUARD   0xa5

struct received {
	char **records; /* as version_dump() writes them */
	size_t count;
	size_t messages;
	size_t longest; /* octets of a message */
	size_t opts;
	bool first_opt; /* the first message has one */
	enum transfer_kind kind;
};

static inline void add_record(struct received *r, const char *text)
{
	assert_true(r->count < RECORDS_MAX);
	r->records[r->count] = strdup(text);
	assert_non_null(r->records[r->count++]);
}

static inline void received_init(struct received *r)
{
	*r = (struct received){.records = calloc(RECORDS_MAX, sizeof(char *))};
	assert_non_null(r->records);
}

static inline void received_fini(struct received *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->records[i]);
	}
	free(r->records);
}

/* RDATA with its names expanded; no longer than 'len' says it is. */
static inline struct bytes read_rdata(struct wreader *r, uint16_t type, size_t len, uint8_t *out)
{
	const uint8_t *end = r->pos + len;
	uint8_t *p = out;
	assert_true(len <= wreader_left(r));
	for (const char *f = rdata_shape(type); *f == 'N' || *f == '2' || *f == '4'; f++) {
		if (*f == 'N') {
			p += wreader_name_expand(r, p);
		} else {
			size_t n = (size_t)(*f - '0');
			memcpy(p, wreader_bytes(r, n).data, n);
			p += n;
		}
		assert_int_equal(r->err, ST_OK);
	}
	assert_true(r->pos <= end);
	size_t rest = (size_t)(end - r->pos);
	memcpy(p, wreader_bytes(r, rest).data, rest);
	return (struct bytes){out, (size_t)(p - out) + rest};
}

static inline void read_record(struct received *got, struct wreader *r)
{
	static uint8_t data[RDATA_MAX + 2 * NAME_MAX_LEN];
	static char text[4 * 65536];
	static char line[5 * 65536];
	uint8_t owner[NAME_MAX_LEN];
	uint8_t lower[NAME_MAX_LEN];
	char owner_text[NAME_TEXT_MAX];
	char type_text[RRTYPE_TEXT_MAX];
	assert_true(wreader_name_expand(r, owner) > 0);
	name_lower(lower, owner);
	uint16_t type = wreader_u16(r);
	uint16_t rrclass = wreader_u16(r);
	uint32_t ttl = wreader_u32(r);
	uint16_t len = wreader_u16(r);
	assert_int_equal(r->err, ST_OK);
	assert_int_equal(rrclass, CLASS_IN);
	struct bytes rdata = read_rdata(r, type, len, data);
	assert_int_equal(r->err, ST_OK);
	assert_int_equal(rdata_to_text(type, rdata, text, sizeof(text)), ST_OK);
	snprintf(line, sizeof(line), "%s\t%u\tIN\t%s\t%s\n", name_to_text(lower, owner_text), ttl,
		 rrtype_to_text(type, type_text), text);
	add_record(got, line);
}

static inline void read_message(struct received *got, const uint8_t *octets, size_t len)
{
	struct wreader r;
	wreader_init(&r, octets, len);
	assert_int_equal(wreader_u16(&r), 0x1234);
	assert_int_equal(wreader_u16(&r), HEADER_QR | HEADER_AA);
	assert_int_equal(wreader_u16(&r), 1);
	unsigned answers = wreader_u16(&r);
	assert_true(answers > 0);
	assert_int_equal(wreader_u16(&r), 0);
	unsigned additional = wreader_u16(&r);
	wreader_name(&r);
	wreader_bytes(&r, 4);
	for (unsigned i = 0; i < answers; i++) {
		read_record(got, &r);
	}
	for (unsigned i = 0; i < additional; i++) {
		uint8_t owner[NAME_MAX_LEN];
		wreader_name_expand(&r, owner);
		uint16_t type = wreader_u16(&r);
		wreader_bytes(&r, 6);
		wreader_bytes(&r, wreader_u16(&r));
		assert_int_equal(r.err, ST_OK);
		if (type == RR_OPT) {
			got->opts++;
			got->first_opt |= got->messages == 0;
		} else {
			assert_int_equal(type, RR_TSIG);
			assert_int_equal(i + 1, additional);
		}
	}
	assert_int_equal(wreader_left(&r), 0);
	got->longest = len > got->longest ? len : got->longest;
	got->messages++;
}

/* Asks for v, of a zone that may be NULL, and reads all that comes; with a key all is signed. */
static inline void transfer_of(struct zone *z, struct version *v, const struct test_question *q,
			       const struct tsig_key *key, struct received *got)
{
	uint8_t in[1024];
	uint8_t *out = malloc(TRANSFER_ROOM + 1);
	struct tsig_session client;
	struct answer_item item = {.in = in, .tsig = key, .zone = z};
	struct transfer *t = NULL;
	struct transfer_summary summary;
	bool done = false;
	size_t octets = 0;

	assert_non_null(out);
	received_init(got);
	item.in_len = question_make(q, in, sizeof(in));
	tsig_session_init(&client, key);
	if (key != NULL) {
		assert_int_equal(tsig_sign(&client, in, item.in_len, TSIG_NOW, &item.in_len),
				 ST_OK);
	}
	assert_int_equal(transfer_new(v, &item, &t), ST_OK);
	/* It has its own copy. */
	memset(in, 0xee, sizeof(in));
	while (!done) {
		size_t len = 0;
		out[TRANSFER_ROOM] = OUT_GUARD;
		assert_int_equal(transfer_next(t, TSIG_NOW, out, &len, &done), ST_OK);
		assert_true(len > 2 && len <= TRANSFER_ROOM);
		assert_int_equal(out[TRANSFER_ROOM], OUT_GUARD);
		octets += len;
		for (size_t at = 0; at < len; at += 2U + be16_get(out + at)) {
			size_t size = be16_get(out + at);
			assert_true(at + 2 + size <= len);
			struct bytes message = {out + at + 2, size};
			read_message(got, message.data, size);
			if (key != NULL) {
				size_t place = tsig_place(message.data, size);
				assert_int_equal(
					tsig_check_answer(&client, message, place, TSIG_NOW),
					ST_OK);
			}
		}
	}
	transfer_summary(t, &summary);
	assert_int_equal(summary.records, got->count);
	assert_int_equal(summary.messages, got->messages);
	assert_int_equal(summary.octets, octets);
	assert_int_equal(summary.serial, v->serial);
	got->kind = summary.kind;
	assert_true(summary.kind == TRANSFER_DIFFERENCES ||
		    (summary.kind == TRANSFER_WHOLE) == (got->count > 1));
	transfer_free(t);
	free(out);
}

static inline void transfer_all(struct version *v, const struct test_question *q,
				const struct tsig_key *key, struct received *got)
{
	transfer_of(NULL, v, q, key, got);
}
