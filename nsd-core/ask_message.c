/* What is asked, and what the answers say. */
#include "nsd-core/ask.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/encode.h"

#include <stdlib.h>

#define UDP_SIZE 1232

size_t ask_write(struct ask *ask, uint8_t out[ASK_MESSAGE_MAX])
{
	const struct ask_question *q = &ask->question;
	struct wwriter w;

	wwriter_init(&w, out, ASK_MESSAGE_MAX);
	wwriter_u16(&w, ask->id);
	wwriter_u16(&w, OPCODE_QUERY << 11);
	wwriter_u16(&w, 1);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 0);
	wwriter_u16(&w, 1);
	wwriter_put(&w, q->name, name_len(q->name));
	wwriter_u16(&w, q->type);
	wwriter_u16(&w, CLASS_IN);
	/* OPT (RFC 6891 6.1.2). */
	wwriter_u8(&w, 0);
	wwriter_u16(&w, RR_OPT);
	wwriter_u16(&w, UDP_SIZE);
	wwriter_u32(&w, EDNS_DO);
	wwriter_u16(&w, 0);
	size_t len = wwriter_len(&w);
	tsig_session_init(&ask->tsig, q->key);
	if (w.err != ST_OK ||
	    (q->key != NULL && tsig_len(q->key, TSIG_NOERROR) > ASK_MESSAGE_MAX - len)) {
		return 0;
	}
	if (q->key != NULL && tsig_sign(&ask->tsig, out, len, clock_wall_s(), &len) != ST_OK) {
		return 0;
	}
	return len;
}

/* Is it an answer to the question? *at: where its TSIG stands; 0: it has none. */
static bool answer_fits(const struct ask *ask, struct bytes message, size_t *at)
{
	struct query q;
	enum rcode rcode;
	/* A question's parser, shown the answer as a question: it knows the rest of a message. */
	uint8_t *copy = malloc(message.len);

	if (copy == NULL) {
		return false;
	}
	memcpy(copy, message.data, message.len);
	copy[2] &= 0x7f;
	bool fits = query_parse(copy, message.len, &q, &rcode) == QUERY_GOOD &&
		    q.opcode == OPCODE_QUERY && q.qtype == ask->question.type &&
		    q.qclass == CLASS_IN && name_equal(query_name(&q), ask->question.name);
	*at = fits ? q.tsig_at : 0;
	free(copy);
	return fits;
}

enum status ask_check(struct ask *ask, struct bytes message)
{
	size_t at;

	if (message.len < DNS_HEADER_LEN || message.len > UINT16_MAX ||
	    be16_get(message.data) != ask->id || (be16_get(message.data + 2) & HEADER_QR) == 0 ||
	    !answer_fits(ask, message, &at)) {
		return ST_EPARSE;
	}
	if (ask->tsig.key == NULL) {
		return ST_OK;
	}
	/* A copy: what somebody forged must not spoil it for the right answer. */
	struct tsig_session s = ask->tsig;
	if (tsig_check_answer(&s, message, at, clock_wall_s()) != ST_OK) {
		unsigned rcode = be16_get(message.data + 2) & 15;
		ask->why = at != 0 && s.error != TSIG_NOERROR ? tsig_error_text(s.error)
			   : rcode != RCODE_NOERROR ? "its answer is an error, and not signed"
						    : "its answer is not signed";
		ask->unsigned_rcode = at == 0 ? (uint8_t)rcode : 0;
		return ST_ECRYPTO;
	}
	return ST_OK;
}

/* Behind its names an SOA has five integers, the first of them the serial. */
static void read_soa(const struct wreader *r, struct bytes rdata, struct ask_reading *out)
{
	struct wreader s = *r;
	uint8_t name[NAME_MAX_LEN];

	s.pos = rdata.data;
	s.end = rdata.data + rdata.len;
	wreader_name_expand(&s, name);
	wreader_name_expand(&s, name);
	uint32_t serial = wreader_u32(&s);
	wreader_bytes(&s, 16);
	if (s.err == ST_OK && wreader_left(&s) == 0) {
		out->found = true;
		out->serial = serial;
	}
}

/* RFC 4034 3.1: the type covered, and the expiration behind algorithm, labels and TTL. */
static void read_rrsig(struct bytes rdata, uint16_t type, struct ask_reading *out)
{
	if (rdata.len < 18 || be16_get(rdata.data) != type) {
		return;
	}
	uint32_t expiration = be32_get(rdata.data + 8);
	if (!out->is_signed || serial_gt(out->expiration, expiration)) {
		out->expiration = expiration;
	}
	out->is_signed = true;
}

static void read_record(struct wreader *r, const uint8_t *name, uint16_t type,
			struct ask_reading *out)
{
	uint8_t owner[NAME_MAX_LEN];
	size_t len = wreader_name_expand(r, owner);
	uint16_t rr = wreader_u16(r);
	uint16_t rrclass = wreader_u16(r);
	wreader_u32(r);
	struct bytes rdata = wreader_bytes(r, wreader_u16(r));

	if (r->err != ST_OK || len == 0 || rrclass != CLASS_IN || !name_equal(owner, name)) {
		return;
	}
	if (rr == RR_RRSIG) {
		read_rrsig(rdata, type, out);
	} else if (rr == RR_SOA && type == RR_SOA) {
		read_soa(r, rdata, out);
	} else if (rr == type) {
		out->found = true;
	}
}

enum status ask_read(struct bytes message, const uint8_t *name, uint16_t type,
		     struct ask_reading *out)
{
	struct wreader r;
	uint8_t qname[NAME_MAX_LEN];
	struct ask_reading got = {.found = false};

	wreader_init(&r, message.data, message.len);
	wreader_u16(&r);
	uint16_t flags = wreader_u16(&r);
	uint16_t questions = wreader_u16(&r);
	uint16_t answers = wreader_u16(&r);
	wreader_u32(&r);
	for (unsigned i = 0; i < questions && r.err == ST_OK; i++) {
		wreader_name_expand(&r, qname);
		wreader_u32(&r);
	}
	got.authoritative = (flags & HEADER_AA) != 0;
	got.rcode = flags & 15;
	for (unsigned i = 0; i < answers && r.err == ST_OK; i++) {
		read_record(&r, name, type, &got);
	}
	if (r.err == ST_OK) {
		*out = got;
	}
	return r.err;
}
