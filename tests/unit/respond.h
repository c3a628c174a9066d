/* For tests of answers: questions from text, replies as text.
 *
 * A question is "NAME TYPE [word...]"; words: do, edns, nsid, tcp, size=N, rd, cd, class=N. A reply
 * is its return code and flags, then a line for each record:
 *
 *     NXDOMAIN aa
 *     ns example. 300 SOA ns1.example. host.example. 7 7200 3600 1209600 300
 *     ns example. 300 RRSIG SOA
 *     edns 1232 do
 *
 * A reply is read strictly: whatever a client might choke on fails the test. */
#pragma once

#include "answer_fixture.h"
#include "nsd-core/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RESPOND_TEXT_MAX 65536

struct ask {
	uint8_t wire[1024];
	size_t len;
	enum answer_transport transport;
	size_t room;
};

static inline void ask_parse(struct ask *a, const char *text)
{
	char words[512];
	char *save = NULL;
	uint16_t type;
	uint16_t rrclass = CLASS_IN;
	uint16_t flags = 0;
	uint16_t size = 1232;
	bool edns = false;
	bool dnssec = false;
	bool nsid = false;
	size_t name_octets;
	snprintf(words, sizeof(words), "%s", text);
	const char *name = strtok_r(words, " ", &save);
	const char *type_text = strtok_r(NULL, " ", &save);
	assert_int_equal(rrtype_from_text(type_text, strlen(type_text), &type), ST_OK);
	a->transport = ANSWER_UDP;
	a->room = 65535;
	for (char *w = strtok_r(NULL, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		if (strcmp(w, "do") == 0) {
			edns = dnssec = true;
		} else if (strcmp(w, "edns") == 0) {
			edns = true;
		} else if (strcmp(w, "nsid") == 0) {
			edns = nsid = true;
		} else if (strcmp(w, "tcp") == 0) {
			a->transport = ANSWER_TCP;
		} else if (strcmp(w, "rd") == 0) {
			flags |= 0x0100;
		} else if (strcmp(w, "cd") == 0) {
			flags |= 0x0010;
		} else if (strncmp(w, "size=", 5) == 0) {
			edns = true;
			size = (uint16_t)atoi(w + 5);
		} else if (strncmp(w, "class=", 6) == 0) {
			rrclass = (uint16_t)atoi(w + 6);
		} else {
			fail_msg("what is '%s'?", w);
		}
	}
	struct wwriter w;
	wwriter_init(&w, a->wire, sizeof(a->wire));
	wwriter_u16(&w, 0x1234);
	wwriter_u16(&w, flags);
	wwriter_u16(&w, 1);
	wwriter_u32(&w, 0);
	wwriter_u16(&w, edns);
	assert_int_equal(name_from_text(name, strlen(name), NULL, w.pos, &name_octets, NULL),
			 ST_OK);
	w.pos += name_octets;
	wwriter_u16(&w, type);
	wwriter_u16(&w, rrclass);
	if (edns) {
		wwriter_u8(&w, 0);
		wwriter_u16(&w, RR_OPT);
		wwriter_u16(&w, size);
		wwriter_u32(&w, dnssec ? 0x8000 : 0);
		wwriter_u16(&w, nsid ? 4 : 0);
		if (nsid) {
			wwriter_u32(&w, 3U << 16);
		}
	}
	assert_int_equal(w.err, ST_OK);
	a->len = wwriter_len(&w);
}

struct reply_text {
	char *pos;
	char *end;
};

static inline void reply_put(struct reply_text *t, const char *fmt, ...) PRINTF(2, 3);
static inline void reply_put(struct reply_text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->pos, (size_t)(t->end - t->pos), fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && n < t->end - t->pos);
	t->pos += n;
}

static inline void reply_put_opt(struct reply_text *t, uint16_t size, uint32_t ttl,
				 struct bytes options)
{
	struct wreader r;
	reply_put(t, "edns %u%s", size, (ttl & 0x8000) != 0 ? " do" : "");
	assert_int_equal(ttl & 0x00ff7fff, 0);
	wreader_init(&r, options.data, options.len);
	while (wreader_left(&r) > 0) {
		uint16_t code = wreader_u16(&r);
		struct bytes value = wreader_bytes(&r, wreader_u16(&r));
		assert_int_equal(r.err, ST_OK);
		if (code == EDNS_NSID) {
			reply_put(t, " nsid=%.*s", (int)value.len, value.data);
		} else if (code == EDNS_EDE) {
			assert_true(value.len >= 2);
			reply_put(t, " ede=%u", be16_get(value.data));
		} else {
			fail_msg("option %u", code);
		}
	}
	reply_put(t, "\n");
}

/* RDATA with its names expanded. */
static inline struct bytes reply_rdata(struct wreader *r, uint16_t type, size_t len, uint8_t *out)
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
	if (rest > 0) {
		memcpy(p, wreader_bytes(r, rest).data, rest);
		p += rest;
	}
	return (struct bytes){out, (size_t)(p - out)};
}

static inline void reply_put_record(struct reply_text *t, struct wreader *r, const char *section)
{
	static uint8_t data[RDATA_MAX + 2 * NAME_MAX_LEN];
	static char text[RESPOND_TEXT_MAX];
	uint8_t owner[NAME_MAX_LEN];
	char owner_text[NAME_TEXT_MAX];
	char type_text[RRTYPE_TEXT_MAX];
	const char *why;
	wreader_name_expand(r, owner);
	uint16_t type = wreader_u16(r);
	uint16_t rrclass = wreader_u16(r);
	uint32_t ttl = wreader_u32(r);
	uint16_t len = wreader_u16(r);
	assert_int_equal(r->err, ST_OK);
	if (type == RR_OPT) {
		assert_string_equal(section, "ar");
		assert_int_equal(owner[0], 0);
		reply_put_opt(t, rrclass, ttl, wreader_bytes(r, len));
		assert_int_equal(r->err, ST_OK);
		return;
	}
	struct bytes rdata = reply_rdata(r, type, len, data);
	assert_int_equal(r->err, ST_OK);
	name_to_text(owner, owner_text);
	if (type == RR_TSIG) {
		assert_int_equal(rrclass, CLASS_ANY);
		reply_put(t, "%s %s TSIG %u\n", section, owner_text,
			  be16_get(rdata.data + rdata.len - 4));
		return;
	}
	assert_int_equal(rdata_check(type, rdata, &why), ST_OK);
	if (type == RR_RRSIG) {
		struct rrsig sig;
		assert_int_equal(rrsig_parse(rdata, &sig), ST_OK);
		snprintf(text, sizeof(text), "%s", rrtype_to_text(sig.type_covered, type_text));
	} else {
		assert_int_equal(rdata_to_text(type, rdata, text, sizeof(text)), ST_OK);
	}
	reply_put(t, "%s %s %u %s %s%s\n", section, owner_text, ttl,
		  rrtype_to_text(type, type_text), rrclass == CLASS_CH ? "CH " : "", text);
	if (rrclass != CLASS_CH) {
		assert_int_equal(rrclass, CLASS_IN);
	}
}

/* The reply to a question as text; buf has RESPOND_TEXT_MAX. */
static inline const char *reply_text(const uint8_t *wire, size_t len, const struct ask *a,
				     char *buf)
{
	static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
					     "NOTIMP",	"REFUSED", "YXDOMAIN", "RCODE7",
					     "RCODE8",	"NOTAUTH"};
	static const char *const sections[] = {"an", "ns", "ar"};
	struct reply_text t = {buf, buf + RESPOND_TEXT_MAX};
	struct wreader r;
	wreader_init(&r, wire, len);
	assert_int_equal(wreader_u16(&r), be16_get(a->wire));
	uint16_t flags = wreader_u16(&r);
	assert_true((flags & HEADER_QR) != 0);
	assert_int_equal(flags & 0x00f0, 0);				  /* RA, Z, AD, CD */
	assert_int_equal(flags & 0x7900, be16_get(a->wire + 2) & 0x7900); /* opcode, RD */
	assert_true((flags & 15) <= 9);
	uint16_t questions = wreader_u16(&r);
	uint16_t counts[3] = {wreader_u16(&r), wreader_u16(&r), wreader_u16(&r)};
	reply_put(&t, "%s%s%s\n", rcodes[flags & 15], (flags & HEADER_AA) != 0 ? " aa" : "",
		  (flags & HEADER_TC) != 0 ? " tc" : "");
	assert_true(questions <= 1);
	if (questions == 1) {
		/* With its case. */
		struct bytes name = wreader_name(&r);
		wreader_bytes(&r, 4);
		assert_int_equal(r.err, ST_OK);
		assert_memory_equal(name.data, a->wire + DNS_HEADER_LEN, name.len + 4);
	} else {
		reply_put(&t, "no question\n");
	}
	for (unsigned s = 0; s < 3; s++) {
		for (unsigned i = 0; i < counts[s]; i++) {
			reply_put_record(&t, &r, sections[s]);
		}
	}
	assert_int_equal(wreader_left(&r), 0);
	return buf;
}

/* Asks, and gives the reply as text. */
static inline const char *respond(struct answer_env *env, const char *question, char *buf)
{
	static uint8_t out[65535];
	struct ask a;
	struct answer_missing missing;
	size_t len = 0;
	ask_parse(&a, question);
	assert_int_equal(answer_query(env, a.transport, ANSWER_FIRST, a.wire, a.len, out, a.room,
				      &len, &missing),
			 ANSWER_SEND);
	assert_int_equal(missing.count, 0);
	return reply_text(out, len, &a, buf);
}
