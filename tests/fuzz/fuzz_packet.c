/* Any octets as a message, over UDP and TCP, to zones of every kind. Whatever comes, a reply keeps
 * to its room, reads well, and answers this message and no other. */
#include "nsd-core/query.h"
#include "tests/unit/answer_fixture.h"
#include "tests/unit/answer_zones.h"

#define ROOM_MAX 65535
#define CANARY	 0xa5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Beside the big zone: a child of it, a far one, and one that never loaded. */
#define ZONES 4

static const char CHILD[] = "$ORIGIN sub.example.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns1\n"
			    "ns1 A 192.0.2.1\n* CNAME x.y.wild.example.\nback CNAME cn.example.\n";
static const char FAR[] = "$ORIGIN elsewhere.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
			  "ns A 192.0.2.1\nwww CNAME x.d.example.\nd DNAME dloop.example.\n"
			  "gone CNAME x.unloaded.\n";

enum kind {
	PLAIN,
	NSEC,
	NSEC3,
	OPTOUT,
	COLD, /* signed by us, and no signature is there yet */
	KINDS,
};

struct database {
	struct zone zones[ZONES];
	struct zonedb *db;
};

static enum answer_want never(void *ctx, const struct answer_wanted *wanted)
{
	struct rrset *rs = wanted->rrset;
	(void)ctx;
	must(wanted->version != NULL && node_rrset(wanted->node, rs->type) == rs &&
	     rrset_sigs(rs) == NULL);
	return WANT_PENDING;
}

static void database_init(struct database *d, enum kind kind)
{
	static const char *const chains[KINDS] = {"", ZONE_NSEC, ZONE_NSEC3, ZONE_OPTOUT,
						  ZONE_NSEC};
	static char text[32768];
	struct zone *list[ZONES];
	snprintf(text, sizeof(text), "%s%s", ZONE_BASE, chains[kind]);
	struct version *v = fixture_version("example.", text, kind != PLAIN, kind == COLD);
	if (kind != PLAIN && kind != COLD) {
		fixture_sign(v);
	}
	fixture_zone(&d->zones[0], "example.", v);
	fixture_zone(&d->zones[1], "sub.example.",
		     fixture_version("sub.example.", CHILD, false, false));
	fixture_zone(&d->zones[2], "elsewhere.", fixture_version("elsewhere.", FAR, false, false));
	fixture_zone(&d->zones[3], "unloaded.", NULL);
	for (unsigned i = 0; i < ZONES; i++) {
		list[i] = &d->zones[i];
	}
	/* The child's side of the cut is served with one kind only, the parent's with the others.
	 */
	if (kind != PLAIN) {
		list[1] = list[ZONES - 1];
	}
	must(zonedb_new(list, kind == PLAIN ? ZONES : ZONES - 1, &d->db) == ST_OK);
}

/* RDATA whose names may be compressed, expanded; else as it is. */
static struct bytes expand_rdata(struct wreader *r, uint16_t type, size_t len, uint8_t *out)
{
	const uint8_t *end = r->pos + len;
	uint8_t *p = out;
	must(len <= wreader_left(r));
	for (const char *f = rdata_shape(type); *f == 'N' || *f == '2' || *f == '4'; f++) {
		if (*f == 'N') {
			p += wreader_name_expand(r, p);
		} else {
			size_t n = (size_t)(*f - '0');
			must(n <= wreader_left(r));
			memcpy(p, wreader_bytes(r, n).data, n);
			p += n;
		}
		must(r->err == ST_OK && r->pos <= end);
	}
	size_t rest = (size_t)(end - r->pos);
	if (rest > 0) {
		memcpy(p, wreader_bytes(r, rest).data, rest);
	}
	return (struct bytes){out, (size_t)(p - out) + rest};
}

/* Returns the record's type. */
static uint16_t check_record(struct wreader *r, bool additional, bool last)
{
	static uint8_t data[RDATA_MAX + 2 * NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN];
	const char *why;
	must(wreader_name_expand(r, owner) > 0);
	uint16_t type = wreader_u16(r);
	uint16_t rrclass = wreader_u16(r);
	wreader_u32(r);
	uint16_t len = wreader_u16(r);
	must(r->err == ST_OK);
	if (type == RR_OPT) {
		must(additional && owner[0] == 0 && rrclass == ANSWER_UDP_SIZE);
		must(len == wreader_bytes(r, len).len);
		return type;
	}
	struct bytes rdata = expand_rdata(r, type, len, data);
	must(r->err == ST_OK);
	if (type == RR_TSIG) {
		must(additional && last && rrclass == CLASS_ANY);
		return type;
	}
	must(rrclass == CLASS_IN || rrclass == CLASS_CH);
	must(rdata_check(type, rdata, &why) == ST_OK);
	return type;
}

static void check_reply(const uint8_t *in, size_t in_len, const uint8_t *out, size_t len, bool udp)
{
	struct wreader r;
	wreader_init(&r, out, len);
	must(wreader_u16(&r) == be16_get(in));
	uint16_t flags = wreader_u16(&r);
	must((flags & HEADER_QR) != 0 && (flags & 0xf0) == 0);
	must(((flags ^ be16_get(in + 2)) & 0x7900) == 0);
	uint16_t questions = wreader_u16(&r);
	unsigned answers = wreader_u16(&r);
	unsigned authorities = wreader_u16(&r);
	unsigned records = answers + authorities + wreader_u16(&r);
	must(questions <= 1);
	if (questions == 1) {
		struct bytes name = wreader_name(&r);
		wreader_bytes(&r, 4);
		must(r.err == ST_OK && DNS_HEADER_LEN + name.len + 4 <= in_len);
		must(memcmp(in + DNS_HEADER_LEN, out + DNS_HEADER_LEN, name.len + 4) == 0);
	}
	unsigned opts = 0;
	for (unsigned i = 0; i < records; i++) {
		opts += check_record(&r, i >= answers + authorities, i + 1 == records) == RR_OPT;
	}
	must(wreader_left(&r) == 0 && opts <= 1);
	must(!udp || opts == 1 || len <= DNS_UDP_MIN);
}

static void ask(struct database *d, enum answer_transport transport, enum answer_mode mode,
		const uint8_t *data, size_t size, size_t room)
{
	static uint8_t out[ROOM_MAX + 1];
	struct answer_env env = fixture_env(d->db);
	struct answer_missing missing;
	size_t len = SIZE_MAX;
	env.nsid = "fuzz";
	env.version = "signet";
	env.identity = "fuzz";
	env.want = never;
	out[room] = CANARY;
	enum answer_result result =
		answer_query(&env, transport, mode, data, size, out, room, &len, &missing);
	must(out[room] == CANARY);
	switch (result) {
	case ANSWER_DROP:
		must(size < DNS_HEADER_LEN || size > ROOM_MAX || (data[2] & 0x80) != 0);
		must(len == SIZE_MAX);
		break;
	case ANSWER_PARK:
		must(mode != ANSWER_LAST && missing.count > 0 &&
		     missing.count <= ANSWER_MISSING_MAX && len == SIZE_MAX);
		break;
	case ANSWER_SEND:
		must(len <= room && missing.count == 0);
		must(transport == ANSWER_TCP || len <= ANSWER_UDP_SIZE);
		check_reply(data, size, out, len, transport == ANSWER_UDP);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct database databases[KINDS];
	if (databases[0].db == NULL) {
		rcu_thread_register();
		for (unsigned i = 0; i < KINDS; i++) {
			database_init(&databases[i], (enum kind)i);
		}
	}
	for (unsigned i = 0; i < KINDS; i++) {
		ask(&databases[i], ANSWER_UDP, ANSWER_FIRST, data, size, ROOM_MAX);
		ask(&databases[i], ANSWER_TCP, ANSWER_LAST, data, size, DNS_UDP_MIN + size % 1024);
	}
	return 0;
}
