/* Messages as they are written: random names, beside a compressor that tries every name. */
#include "nsd-core/encode.h"

#include "answer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MESSAGE_MAX 40000
#define TARGETS	    8
#define SAMPLES	    20
#define ROUNDS	    3000

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* Labels that share ends, cases and octets that look like another label's length. */
static const char *const labels[] = {"a",
				     "A",
				     "b",
				     "ns1",
				     "NS1",
				     "ns2",
				     "xns1",
				     "x\3ns1",
				     "mail-host-01",
				     "mail-host-02",
				     "a-label-of-more-than-sixteen-octets",
				     "A-LABEL-of-more-than-sixteen-octets",
				     "example",
				     "EXAMPLE",
				     "\1a",
				     "x\1a"};

/* Most names are below "zone.example.", some above or elsewhere, some the root. */
static size_t random_name(uint32_t *seed, uint8_t *out)
{
	static const uint8_t zone[] = "\4zone\7example";
	uint8_t *p = out;
	unsigned count = random_next(seed) % 4;
	if (random_next(seed) % 64 == 0) {
		count = random_next(seed) % 110;
	}
	for (unsigned i = 0; i < count; i++) {
		const char *label = labels[random_next(seed) % (sizeof(labels) / sizeof(*labels))];
		size_t len = strlen(label);
		if ((size_t)(p - out) + 1 + len + sizeof(zone) > NAME_MAX_LEN) {
			break;
		}
		*p++ = (uint8_t)len;
		memcpy(p, label, len);
		p += len;
	}
	if (random_next(seed) % 4 != 0) {
		memcpy(p, zone, sizeof(zone));
		p += sizeof(zone);
	} else {
		*p++ = 0;
	}
	return (size_t)(p - out);
}

/* Where every name and every ancestor of one stands that was written. */
struct model {
	struct {
		uint8_t name[NAME_MAX_LEN];
		size_t at;
	} places[ENCODE_LABELS_MAX + NAME_MAX_LABELS];
	size_t count;
	size_t len;
	bool exact; /* no label was too many */
};

static size_t model_find(const struct model *m, const uint8_t *name)
{
	for (size_t i = 0; i < m->count; i++) {
		if (name_equal(m->places[i].name, name)) {
			return m->places[i].at;
		}
	}
	return 0;
}

static void model_name(struct model *m, const uint8_t *name)
{
	size_t at = m->len;
	for (; *name != 0 && model_find(m, name) == 0; name += *name + 1) {
		if (m->count < sizeof(m->places) / sizeof(*m->places)) {
			memcpy(m->places[m->count].name, name, name_len(name));
			m->places[m->count++].at = at;
		}
		at += *name + 1U;
	}
	m->len = at + (*name != 0 ? 2 : 1);
}

static const uint8_t signer[14] = "\4zone\7example";

/* An RRset of a random type with names, TXT and signatures. */
struct sample {
	uint8_t owner[NAME_MAX_LEN];
	struct rrset *rs;
	struct sigset *sigs;
	unsigned names; /* in each RDATA */
	size_t before;
};

static void sample_make(struct sample *s, uint32_t *seed)
{
	static const uint16_t types[] = {RR_NS, RR_MX, RR_SOA, RR_TXT, RR_SRV};
	uint8_t rdata[TARGETS][2 * NAME_MAX_LEN + 20];
	struct bytes list[TARGETS];
	uint16_t type = types[random_next(seed) % 5];
	size_t count = type == RR_SOA ? 1 : 1 + random_next(seed) % TARGETS;
	s->names = type == RR_SOA ? 2 : type == RR_NS || type == RR_MX ? 1 : 0;
	s->before = type == RR_MX ? 2 : 0;
	random_name(seed, s->owner);
	for (size_t i = 0; i < count; i++) {
		size_t len = s->before;
		memset(rdata[i], 7, sizeof(rdata[i]));
		for (unsigned n = 0; n < s->names; n++) {
			len += random_name(seed, rdata[i] + len);
		}
		len += type == RR_SOA ? 20 : 0;
		if (s->names == 0) {
			len = 1 + random_next(seed) % 80;
			rdata[i][0] = (uint8_t)i;
		}
		list[i] = (struct bytes){rdata[i], len};
	}
	assert_int_equal(rrset_new(type, 300, list, count, &s->rs), ST_OK);
	s->sigs = NULL;
	if (random_next(seed) % 2 == 0) {
		uint8_t rrsig[18 + 14 + 64] = {0, (uint8_t)type, 13, 2};
		/* Half of them cannot be kept short. */
		be32_put(rrsig + 4, random_next(seed) % 2 == 0 ? 300 : 301);
		memcpy(rrsig + 18, signer, sizeof(signer));
		struct bytes one = {rrsig, sizeof(rrsig)};
		assert_int_equal(sigset_new(s->rs, rrsig + 18, &one, 1, &s->sigs), ST_OK);
	}
}

struct message {
	uint8_t out[MESSAGE_MAX];
	uint8_t question[DNS_HEADER_LEN + NAME_MAX_LEN + 4];
	struct query query;
	struct name_ref qname;
	struct encoder e;
	struct model m;
	struct sample samples[SAMPLES]; /* borrowed by the encoder */
	unsigned sample_count;
};

static void start(struct message *msg, uint32_t *seed, size_t limit)
{
	memset(msg->question, 0, DNS_HEADER_LEN);
	size_t len = random_name(seed, msg->question + DNS_HEADER_LEN);
	be32_put(msg->question + DNS_HEADER_LEN + len, RR_A << 16 | CLASS_IN);
	msg->query = (struct query){.wire = msg->question, .question_len = (uint16_t)(len + 4)};
	name_ref_init(&msg->qname, msg->question + DNS_HEADER_LEN);
	encode_init(&msg->e, msg->out, limit, 0, &msg->query);
	encode_names(&msg->e, &msg->qname);
	msg->sample_count = 0;
	msg->m.count = 0;
	msg->m.exact = true;
	msg->m.len = DNS_HEADER_LEN;
	model_name(&msg->m, msg->question + DNS_HEADER_LEN);
	msg->m.count = msg->qname.labels;
	msg->m.len = DNS_HEADER_LEN + len + 4;
}

static void finish(struct message *msg)
{
	for (unsigned i = 0; i < msg->sample_count; i++) {
		rrset_free(msg->samples[i].rs);
		sigset_free(msg->samples[i].sigs);
	}
}

/* What the RRset adds to the message. */
static void model_rrset(struct model *m, const struct sample *s)
{
	const uint8_t *end = s->rs->data + s->rs->size;
	for (const uint8_t *p = s->rs->data; p < end; p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		const uint8_t *q = rdata.data + s->before;
		model_name(m, s->owner);
		m->len += 10 + s->before;
		for (unsigned n = 0; n < s->names; n++) {
			model_name(m, q);
			q += name_len(q);
		}
		m->len += (size_t)(rdata.data + rdata.len - q);
	}
	if (s->sigs != NULL) {
		model_name(m, s->owner);
		uint8_t buf[SIGSET_BUF];
		m->len += 8 + sigset_data(s->sigs, s->rs, signer, buf).len;
	}
}

static void expect_name(struct wreader *r, const uint8_t *name)
{
	uint8_t got[NAME_MAX_LEN];
	assert_true(wreader_name_expand(r, got) > 0);
	assert_true(name_equal(got, name));
}

static void expect_head(struct wreader *r, const struct sample *s, uint16_t type)
{
	expect_name(r, s->owner);
	assert_int_equal(wreader_u16(r), type);
	assert_int_equal(wreader_u16(r), CLASS_IN);
	assert_int_equal(wreader_u32(r), 300);
}

/* The RRset stands at the reader. */
static void expect_rrset(struct wreader *r, const struct sample *s)
{
	const uint8_t *end = s->rs->data + s->rs->size;
	for (const uint8_t *p = s->rs->data; p < end; p = rdata_next(p)) {
		struct bytes rdata = rdata_at(p);
		const uint8_t *q = rdata.data + s->before;
		expect_head(r, s, s->rs->type);
		size_t len = wreader_u16(r);
		const uint8_t *start = r->pos;
		assert_memory_equal(wreader_bytes(r, s->before).data, rdata.data, s->before);
		for (unsigned n = 0; n < s->names; n++) {
			expect_name(r, q);
			q += name_len(q);
		}
		size_t rest = (size_t)(rdata.data + rdata.len - q);
		struct bytes got = wreader_bytes(r, rest);
		assert_int_equal(r->err, ST_OK);
		assert_memory_equal(got.data, q, rest);
		assert_int_equal(r->pos - start, len);
	}
	if (s->sigs != NULL) {
		expect_head(r, s, RR_RRSIG);
		uint8_t buf[SIGSET_BUF];
		struct bytes sigs = sigset_data(s->sigs, s->rs, signer, buf);
		struct bytes got = wreader_bytes(r, wreader_u16(r));
		assert_int_equal(got.len, sigs.len - 2);
		assert_memory_equal(got.data, sigs.data + 2, got.len);
	}
}

/* Appends a random RRset; what does not fit leaves no trace. */
static void append(struct message *msg, uint32_t *seed)
{
	static struct model before;
	struct sample *s = &msg->samples[msg->sample_count++];
	uint8_t *pos = msg->e.pos;
	unsigned label_count = msg->e.label_count;
	uint16_t count = msg->e.counts[SECTION_ANSWER];
	sample_make(s, seed);
	struct encode_rrset r = {
		.owner = s->owner, .ttl = 300, .rs = s->rs, .sigs = s->sigs, .signer = signer};
	before = msg->m;
	model_rrset(&msg->m, s);
	if (encode_rrset(&msg->e, SECTION_ANSWER, &r)) {
		struct wreader reader;
		wreader_init(&reader, msg->out, (size_t)(msg->e.pos - msg->out));
		reader.pos = pos;
		expect_rrset(&reader, s);
		assert_int_equal(wreader_left(&reader), 0);
		assert_int_equal(msg->e.counts[SECTION_ANSWER],
				 count + s->rs->count + (s->sigs != NULL));
	} else {
		assert_ptr_equal(msg->e.pos, pos);
		assert_int_equal(msg->e.label_count, label_count);
		assert_int_equal(msg->e.counts[SECTION_ANSWER], count);
		/* Not for want of a few octets. */
		assert_true(msg->m.len + 1 > (size_t)(msg->e.end - msg->out) || !msg->m.exact);
		msg->m = before;
	}
}

/* While the encoder has room for labels its messages are as short as they can be, and whatever
 * happens they say what was meant. */
static void random_messages(void **state)
{
	static struct message msg;
	(void)state;
	unsigned full = 0;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint32_t seed = round;
		size_t limit =
			random_next(&seed) % 8 == 0 ? MESSAGE_MAX : 512 + random_next(&seed) % 1024;
		start(&msg, &seed, limit);
		for (unsigned i = 0; i < 6; i++) {
			append(&msg, &seed);
			size_t len = (size_t)(msg.e.pos - msg.out);
			assert_true(len <= limit);
			msg.m.exact = msg.m.exact && msg.e.label_count < ENCODE_LABELS_MAX;
			if (msg.m.exact) {
				assert_int_equal(len, msg.m.len);
			}
		}
		full += !msg.m.exact;
		finish(&msg);
	}
	/* Both kinds were seen. */
	assert_in_range(full, 10, ROUNDS / 2);
}

/* Names that start beyond 0x3fff are written out, and not pointed to. */
static void beyond_the_pointers(void **state)
{
	static struct message msg;
	(void)state;
	uint32_t seed = 1;
	start(&msg, &seed, MESSAGE_MAX);
	msg.e.pos = msg.out + 0x3fff - 20;
	memset(msg.out + 300, 0, 0x4000);
	for (unsigned i = 0; i < SAMPLES; i++) {
		msg.m.exact = false;
		append(&msg, &seed);
	}
	assert_true(msg.e.pos > msg.out + 0x4000);
	for (unsigned i = 0; i < msg.e.label_count; i++) {
		assert_true(msg.e.labels[i].at <= 0x3fff);
	}
	finish(&msg);
}

/* Where the ends of names are known nothing is looked for. Each record after the first points to
 * the owner. With less room than that nothing is left behind. */
static void known_ends(void **state)
{
	static const uint8_t apex[] = "\4zone\7example";
	static const uint8_t question[] = "\3www\4zone\7example";
	static const uint8_t soa[] = "\3ns1\4Zone\7example\0\4host\4zone\7example\0"
				     "aaaabbbbccccddddeeee";
	static const uint8_t soa_own[2] = {4, 5};
	struct bytes soa_rdata = {soa, sizeof(soa) - 1};
	struct bytes texts[] = {{(const uint8_t *)"\1a", 2}, {(const uint8_t *)"\1b", 2}};
	struct sample s = {.owner = "\4zone\7example", .names = 2};
	struct sample t = {.owner = "\4txt1\4zone\7example"};
	static struct message msg;
	uint32_t seed = 1;
	(void)state;
	assert_int_equal(rrset_new(RR_SOA, 300, &soa_rdata, 1, &s.rs), ST_OK);
	assert_int_equal(rrset_new(RR_TXT, 300, texts, 2, &t.rs), ST_OK);
	uint16_t at = DNS_HEADER_LEN + 4;
	struct encode_rrset first = {
		.owner = s.owner, .owner_at = at, .ttl = 300, .rs = s.rs, .soa_own = soa_own};
	struct encode_rrset second = {
		.owner = t.owner, .owner_at = at, .owner_own = 5, .ttl = 300, .rs = t.rs};
	size_t head = DNS_HEADER_LEN + sizeof(question) + 4;
	size_t with_soa = head + 12 + (4 + 2) + (5 + 2) + 20;
	size_t whole = with_soa + (5 + 2 + 10 + 2) + (2 + 10 + 2);
	for (size_t limit = head; limit <= whole; limit++) {
		start(&msg, &seed, MESSAGE_MAX);
		memcpy(msg.question + DNS_HEADER_LEN, question, sizeof(question));
		msg.query.question_len = sizeof(question) + 4;
		name_ref_init(&msg.qname, msg.question + DNS_HEADER_LEN);
		encode_init(&msg.e, msg.out, limit, 0, &msg.query);
		encode_names(&msg.e, &msg.qname);
		assert_true(encode_rrset(&msg.e, SECTION_AUTHORITY, &first) == (limit >= with_soa));
		assert_true(encode_rrset(&msg.e, SECTION_AUTHORITY, &second) ==
			    (limit == whole || (limit >= head + 33 && limit < with_soa)));
		assert_int_equal(msg.e.pos - msg.out, limit == whole	   ? whole
						      : limit >= with_soa  ? with_soa
						      : limit >= head + 33 ? head + 33
									   : head);
	}
	struct wreader r;
	wreader_init(&r, msg.out, whole);
	r.pos += head;
	expect_rrset(&r, &s);
	expect_rrset(&r, &t);
	assert_int_equal(wreader_left(&r), 0);
	assert_memory_equal(msg.out + DNS_HEADER_LEN + 4, apex, sizeof(apex));
	rrset_free(s.rs);
	rrset_free(t.rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_messages),
		cmocka_unit_test(beyond_the_pointers),
		cmocka_unit_test(known_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
