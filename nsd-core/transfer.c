#include "nsd-core/transfer.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/ixfr.h"
#include "signer/signer.h"

#include <stdlib.h>

#define FRAME 2 /* the length in front of a message (RFC 1035 4.2.2) */

/* Where a transfer is. */
enum stage {
	STAGE_FIRST, /* the SOA that begins it */
	STAGE_DIFFERENCES,
	STAGE_NAMES,
	STAGE_NSEC3,
	STAGE_LAST, /* the SOA that ends it */
	STAGE_DONE,
};

struct transfer {
	struct version *version; /* a reference; NULL: all is made */
	uint32_t serial;
	struct query query;   /* of wire[] */
	struct name_ref apex; /* the question's name, as it was asked */
	struct tsig_session tsig;
	struct journal_zone *journal; /* NULL: none */
	struct ixfr *ixfr;	      /* TRANSFER_DIFFERENCES */
	uint32_t from;
	enum transfer_kind kind;
	bool any; /* a message was made */
	enum stage stage;
	enum status status; /* why it cannot go on */
	/* The next record: of a node, an RRset, and of that a record or, behind those, an RRSIG. */
	struct btree_cursor cursor;
	const struct node *node;
	unsigned rrset;
	const uint8_t *rdata; /* NULL: the RRset is not begun */
	const uint8_t *end;
	bool signatures;
	uint8_t rrsig[SIGSET_BUF]; /* the RRSIG, where it is kept short */
	uint64_t records, octets, messages;
	uint16_t wire_len;
	uint8_t wire[];
};

enum status transfer_client_serial(struct bytes message, uint32_t *serial)
{
	struct wreader r;
	uint8_t name[NAME_MAX_LEN];

	wreader_init(&r, message.data, message.len);
	wreader_bytes(&r, 4);
	uint16_t questions = wreader_u16(&r);
	uint16_t answers = wreader_u16(&r);
	uint16_t authority = wreader_u16(&r);
	wreader_u16(&r);
	if (questions != 1 || answers != 0 || authority == 0) {
		return ST_ENOENT;
	}
	wreader_name_expand(&r, name);
	wreader_bytes(&r, 2 + 2);
	wreader_name_expand(&r, name);
	uint16_t type = wreader_u16(&r);
	wreader_bytes(&r, 2 + 4 + 2);
	wreader_name_expand(&r, name); /* MNAME, RNAME */
	wreader_name_expand(&r, name);
	uint32_t value = wreader_u32(&r);
	if (r.err != ST_OK || type != RR_SOA) {
		return ST_ENOENT;
	}
	*serial = value;
	return ST_OK;
}

/* RFC 1995 2: one SOA where the client has this version, or a later one. */
static bool asks_for_news(struct transfer *t)
{
	struct bytes message = {t->wire, t->wire_len};

	return t->query.qtype == RR_IXFR && transfer_client_serial(message, &t->from) == ST_OK;
}

/* Before the first message: what is to be sent. */
static enum status choose(struct transfer *t)
{
	t->kind = TRANSFER_WHOLE;
	if (!asks_for_news(t)) {
		return ST_OK;
	}
	if (!serial_gt(t->serial, t->from)) {
		t->kind = TRANSFER_NOTHING;
		return ST_OK;
	}
	enum status st =
		t->journal != NULL ? ixfr_new(t->journal, t->from, t->serial, &t->ixfr) : ST_ENOENT;
	if (st == ST_OK) {
		t->kind = TRANSFER_DIFFERENCES;
	}
	return st == ST_ENOENT ? ST_OK : st;
}

enum status transfer_new(struct version *v, const struct answer_item *request,
			 struct transfer **out)
{
	enum rcode rcode;
	enum status st = ST_OK;
	struct transfer *t = calloc(1, sizeof(*t) + request->in_len);

	if (t == NULL) {
		return ST_ENOMEM;
	}
	t->wire_len = (uint16_t)request->in_len;
	memcpy(t->wire, request->in, request->in_len);
	if (query_parse(t->wire, t->wire_len, &t->query, &rcode) != QUERY_GOOD) {
		st = ST_EPARSE;
		goto out;
	}
	if (request->tsig != NULL) {
		struct bytes message = {t->wire, t->wire_len};
		st = tsig_session_resume(&t->tsig, request->tsig, message, t->query.tsig_at);
		if (st != ST_OK) {
			goto out;
		}
	}
	t->version = version_ref(v);
	t->serial = v->serial;
	name_ref_init(&t->apex, query_name(&t->query));
	btree_cursor_init(&t->cursor, &v->order);
	t->journal = request->zone != NULL ? request->zone->journal : NULL;
	*out = t;
	t = NULL;
out:
	transfer_free(t);
	return st;
}

void transfer_free(struct transfer *t)
{
	if (t == NULL) {
		return;
	}
	version_unref(t->version);
	ixfr_free(t->ixfr);
	free(t);
}

void transfer_summary(const struct transfer *t, struct transfer_summary *out)
{
	*out = (struct transfer_summary){.records = t->records,
					 .octets = t->octets,
					 .messages = t->messages,
					 .serial = t->serial,
					 .from = t->from,
					 .kind = t->kind};
}

/* Does this RRset's slot go along? As it is in a zone that is served as it is. */
static const struct sigset *signatures_of(const struct transfer *t, const struct rrset *rs)
{
	if (t->version->keys != NULL && !signer_covers(t->node, rs)) {
		return NULL;
	}
	return rrset_sigs(rs);
}

/* The next RRset that has something to give; the SOA itself is sent apart, its signatures are not.
 * False: the node is through. */
static bool enter_rrset(struct transfer *t)
{
	for (; t->rrset < t->node->rrset_count; t->rrset++) {
		const struct rrset *rs = t->node->rrsets[t->rrset];
		bool soa = rs == t->version->soa;
		const struct sigset *sigs = signatures_of(t, rs);
		if (!soa && !t->signatures) {
			t->rdata = rs->data;
			t->end = rs->data + rs->size;
			return true;
		}
		t->signatures = false;
		if (sigs != NULL) {
			t->signatures = true;
			struct bytes data = sigset_data(sigs, rs, t->version->apex_name, t->rrsig);
			t->rdata = data.data;
			t->end = data.data + data.len;
			return true;
		}
	}
	return false;
}

/* To the next record, over RRsets and nodes. False: the stage is over. */
static bool advance(struct transfer *t)
{
	for (;;) {
		if (t->rdata != NULL && t->rdata < t->end) {
			return true;
		}
		if (t->rdata != NULL && t->signatures) {
			t->signatures = false;
			t->rrset++;
		} else if (t->rdata != NULL) {
			t->signatures = true;
		}
		t->rdata = NULL;
		if (t->node != NULL && enter_rrset(t)) {
			continue;
		}
		t->node = btree_cursor_next(&t->cursor);
		t->rrset = 0;
		t->signatures = false;
		if (t->node == NULL) {
			return false;
		}
	}
}

/* What is written together: a message, and where it is. */
struct filling {
	struct transfer *t;
	struct encoder e;
	uint16_t owner_at; /* of t->node in this message; 0: it is not there yet */
	/* Of the difference's last record, which stands at owner_at; of length 0: none does. */
	size_t owner_len;
	uint8_t owner[NAME_MAX_LEN];
};

static bool put_soa(struct encoder *e, const struct version *v)
{
	struct encode_record r = {
		.owner = v->apex_name,
		.owner_at = DNS_HEADER_LEN,
		.type = RR_SOA,
		.ttl = v->soa->ttl,
		.rdata = rdata_at(v->soa->data),
	};

	return encode_record(e, SECTION_ANSWER, &r);
}

/* The record that advance() found. */
static bool put_record(struct filling *f)
{
	struct transfer *t = f->t;
	const struct rrset *rs = t->node->rrsets[t->rrset];
	struct encode_record r = {
		.owner = node_name(t->node),
		.owner_at = DNS_HEADER_LEN,
		.owner_own = (uint8_t)(t->node->name_len - t->apex.len),
		.place = f->owner_at,
		.type = t->signatures ? RR_RRSIG : rs->type,
		.ttl = rs->ttl,
		.rdata = rdata_at(t->rdata),
	};

	if (!encode_record(&f->e, SECTION_ANSWER, &r)) {
		return false;
	}
	f->owner_at = r.place;
	return true;
}

/* The difference's record. */
static bool put_change(struct filling *f, const struct diff_record *c)
{
	size_t len = name_len(c->owner);
	bool again = f->owner_len == len && memcmp(f->owner, c->owner, len) == 0;
	struct encode_record r = {
		.owner = c->owner,
		.owner_at = DNS_HEADER_LEN,
		.owner_own = (uint8_t)(len - f->t->apex.len),
		.place = again ? f->owner_at : 0,
		.type = c->type,
		.ttl = c->ttl,
		.rdata = c->rdata,
	};

	if (!encode_record(&f->e, SECTION_ANSWER, &r)) {
		return false;
	}
	f->owner_at = r.place;
	f->owner_len = len;
	memcpy(f->owner, c->owner, len);
	return true;
}

static void next_stage(struct transfer *t)
{
	static const enum stage after_first[] = {
		[TRANSFER_NOTHING] = STAGE_DONE,
		[TRANSFER_WHOLE] = STAGE_NAMES,
		[TRANSFER_DIFFERENCES] = STAGE_DIFFERENCES,
	};

	switch (t->stage) {
	case STAGE_FIRST:
		t->stage = after_first[t->kind];
		break;
	case STAGE_DIFFERENCES:
		t->stage = STAGE_LAST;
		break;
	case STAGE_NAMES:
		btree_cursor_init(&t->cursor, &t->version->nsec3);
		t->stage = STAGE_NSEC3;
		break;
	case STAGE_NSEC3:
		t->stage = STAGE_LAST;
		break;
	default:
		t->stage = STAGE_DONE;
		break;
	}
}

/* The record that is next, and on to the one behind it. False: it does not fit. */
static bool fill_soa(struct filling *f)
{
	if (!put_soa(&f->e, f->t->version)) {
		return false;
	}
	f->owner_len = 0;
	f->t->records++;
	next_stage(f->t);
	return true;
}

static bool fill_change(struct filling *f)
{
	struct transfer *t = f->t;
	struct diff_record c;
	enum status st = ixfr_record(t->ixfr, &c);

	if (st == ST_ENOENT) {
		next_stage(t);
		return true;
	}
	if (st != ST_OK) {
		t->status = st;
		return false;
	}
	if (!put_change(f, &c)) {
		return false;
	}
	t->records++;
	ixfr_advance(t->ixfr);
	return true;
}

static bool fill_record(struct filling *f)
{
	struct transfer *t = f->t;

	if (!advance(t)) {
		next_stage(t);
		return true;
	}
	const struct node *node = t->node;
	if (!put_record(f)) {
		return false;
	}
	t->records++;
	t->rdata = rdata_next(t->rdata);
	bool more = advance(t);
	f->owner_at = more && t->node == node ? f->owner_at : 0;
	if (!more) {
		next_stage(t);
	}
	return true;
}

/* Records until the message is full or there are no more. */
static void fill(struct filling *f)
{
	const struct transfer *t = f->t;
	bool more = true;

	while (more && t->stage != STAGE_DONE) {
		switch (t->stage) {
		case STAGE_FIRST:
		case STAGE_LAST:
			more = fill_soa(f);
			break;
		case STAGE_DIFFERENCES:
			more = fill_change(f);
			break;
		default:
			more = fill_record(f);
			break;
		}
	}
}

/* One message into 'out'; its octets go to *len. ST_ELIMIT: a record is longer than any message. */
static enum status make_message(struct transfer *t, int64_t now_s, uint8_t *out, size_t *len)
{
	struct filling f = {.t = t};
	struct encode_opt opt = {
		.size = ANSWER_UDP_SIZE, .dnssec_ok = t->query.dnssec_ok, .ede = EDE_NONE};
	bool with_opt = t->query.edns && !t->any;
	size_t reserve = with_opt ? encode_opt_len(&opt) : 0;

	if (t->tsig.key != NULL) {
		reserve += tsig_len(t->tsig.key, TSIG_NOERROR);
	}
	encode_init(&f.e, out, UINT16_MAX, reserve, &t->query);
	encode_names(&f.e, &t->apex);
	fill(&f);
	if (t->ixfr != NULL) {
		ixfr_settle(t->ixfr);
	}
	if (t->status != ST_OK) {
		return t->status;
	}
	if (f.e.counts[SECTION_ANSWER] == 0) {
		return ST_ELIMIT;
	}
	if (with_opt) {
		encode_opt(&f.e, &opt);
	}
	uint16_t flags = HEADER_QR | HEADER_AA | (t->query.flags & HEADER_RD);
	*len = encode_finish(&f.e, flags, RCODE_NOERROR);
	t->any = true;
	return t->tsig.key != NULL ? tsig_sign(&t->tsig, out, *len, now_s, len) : ST_OK;
}

enum status transfer_next(struct transfer *t, int64_t now_s, uint8_t *out, size_t *len, bool *done)
{
	size_t used = 0;

	if (!t->any) {
		enum status st = choose(t);
		if (st != ST_OK) {
			return st;
		}
	}
	while (t->stage != STAGE_DONE && TRANSFER_ROOM - used >= FRAME + UINT16_MAX) {
		size_t size;
		enum status st = make_message(t, now_s, out + used + FRAME, &size);
		if (st != ST_OK) {
			return st;
		}
		be16_put(out + used, (uint16_t)size);
		used += FRAME + size;
		t->messages++;
	}
	t->octets += used;
	*len = used;
	*done = t->stage == STAGE_DONE;
	if (*done) {
		/* Here, and not on the thread that answers: it may be the last reference. */
		version_unref(t->version);
		t->version = NULL;
		ixfr_free(t->ixfr);
		t->ixfr = NULL;
	}
	return ST_OK;
}

/* In the journal; names that are compressed take less. */
#define UDP_OCTETS_MAX ((size_t)16384)

/* All of it, or nothing that counts. */
static bool put_differences(struct encoder *e, const struct version *v, struct ixfr *x)
{
	struct diff_record c;
	enum status st;
	bool fits = put_soa(e, v);

	while (fits && (st = ixfr_record(x, &c)) != ST_ENOENT) {
		struct encode_record r = {
			.owner = c.owner,
			.owner_at = DNS_HEADER_LEN,
			.owner_own = (uint8_t)(name_len(c.owner) - name_len(v->apex_name)),
			.type = c.type,
			.ttl = c.ttl,
			.rdata = c.rdata,
		};
		fits = st == ST_OK && encode_record(e, SECTION_ANSWER, &r);
		ixfr_advance(x);
	}
	return fits && put_soa(e, v);
}

bool transfer_encode_udp(struct encoder *e, const struct zone *z, const struct version *v,
			 struct bytes message)
{
	const struct encoder before = *e;
	struct ixfr *x = NULL;
	uint32_t from;

	if (z->journal != NULL && transfer_client_serial(message, &from) == ST_OK &&
	    serial_gt(v->serial, from) &&
	    ixfr_new_small(z->journal, from, v->serial, UDP_OCTETS_MAX, &x) == ST_OK) {
		bool whole = put_differences(e, v, x);
		ixfr_free(x);
		if (whole) {
			journal_serve(z->journal, JOURNAL_IXFR);
			return true;
		}
		*e = before;
	}
	return put_soa(e, v);
}
