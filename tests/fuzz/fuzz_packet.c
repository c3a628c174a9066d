/* Any octets as a message, over UDP and TCP, to zones of every kind, from a secondary. Whatever
 * comes, a reply keeps to its room, reads well, and answers this message and no other; so do the
 * messages of a transfer. */
#include "nsd-core/query.h"
#include "nsd-core/transfer.h"
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

/* Whoever asks is a secondary of all zones but the far one, which wants a key. */
static const char CONF[] = "tsig-keys: [ { name: xfr.test, secret-file: s } ]\n"
			   "remotes:\n"
			   "  - { name: plain, address: 192.0.2.53 }\n"
			   "  - { name: keyed, address: 192.0.2.54, tsig-key: xfr.test }\n"
			   "zones:\n"
			   "  - { name: example, file: a, secondaries: [ plain ] }\n"
			   "  - { name: sub.example, file: a, secondaries: [ plain, keyed ] }\n"
			   "  - { name: elsewhere, file: a, secondaries: [ keyed ] }\n"
			   "  - { name: unloaded, file: a, secondaries: [ plain ] }\n";

/* Who asks, and the keys: the one in the configuration, and one with a long name. */
struct remotes {
	struct conf *conf;
	struct tsig_keys *keys;
	struct conf_address peer;
};

static struct remotes remotes;

static void remotes_init(void)
{
	static const uint8_t short_name[] = "\3xfr\4test";
	uint8_t long_name[NAME_MAX_LEN];
	uint8_t octets[32];
	struct diags d;
	uint8_t *p = long_name;
	for (size_t i = 0; i < sizeof(octets); i++) {
		octets[i] = (uint8_t)i;
	}
	for (unsigned i = 0; i < 4; i++) {
		uint8_t len = i < 3 ? 63 : 56;
		*p++ = len;
		memset(p, 'k', len);
		p += len;
	}
	*p = 0;
	const struct tsig_secret secrets[] = {{short_name, HMAC_SHA256, {octets, sizeof(octets)}},
					      {long_name, HMAC_SHA512, {octets, sizeof(octets)}}};
	must(tsig_keys_new(secrets, 2, &remotes.keys) == ST_OK);
	diags_init(&d, DIAGS_LIMIT);
	must(conf_read_mem("/t.yaml", CONF, strlen(CONF), false, &remotes.conf, &d) == ST_OK);
	diags_fini(&d);
	must(conf_address_parse("192.0.2.53", 4000, &remotes.peer) == ST_OK);
}

static const struct conf_zone *zone_conf(const struct zone *z)
{
	for (size_t i = 0; i < remotes.conf->zone_count; i++) {
		if (name_equal(remotes.conf->zones[i].name, z->name)) {
			return &remotes.conf->zones[i];
		}
	}
	abort();
}

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
		d->zones[i].conf = zone_conf(&d->zones[i]);
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

static struct answer_env make_env(const struct database *d)
{
	struct answer_env env = fixture_env(d->db);
	env.conf = remotes.conf;
	env.keys = remotes.keys;
	env.nsid = "fuzz";
	env.version = "signet";
	env.identity = "fuzz";
	env.want = never;
	return env;
}

static void ask(struct database *d, enum answer_transport transport, enum answer_mode mode,
		const uint8_t *data, size_t size, size_t room)
{
	static uint8_t out[ROOM_MAX + 1];
	struct answer_env env = make_env(d);
	struct answer_missing missing;
	size_t len = SIZE_MAX;
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
	case ANSWER_TRANSFER:
		must(false); /* nobody is known to ask */
	}
}

/* All of a transfer that was allowed, each message as an answer. */
static void transfer_all(const struct answer_item *item)
{
	static uint8_t out[TRANSFER_ROOM];
	struct transfer *t;
	bool done = false;
	if (item->zone->cur == NULL) {
		return;
	}
	must(transfer_new(item->zone->cur, item, &t) == ST_OK);
	while (!done) {
		size_t len;
		must(transfer_next(t, FIXTURE_NOW, out, &len, &done) == ST_OK);
		must(len > 2 && len <= TRANSFER_ROOM);
		for (size_t at = 0; at < len; at += 2U + be16_get(out + at)) {
			size_t size = be16_get(out + at);
			must(at + 2 + size <= len);
			check_reply(item->in, item->in_len, out + at + 2, size, false);
		}
	}
	transfer_free(t);
}

/* As it comes from a secondary. */
static void ask_as_secondary(struct database *d, enum answer_transport transport,
			     const uint8_t *data, size_t size)
{
	static uint8_t out[ROOM_MAX];
	struct answer_env env = make_env(d);
	struct answer_item item = {.in = data,
				   .in_len = size,
				   .out = out,
				   .peer = (const struct sockaddr *)&remotes.peer.addr};
	answer_batch(&env, transport, &item, 1, sizeof(out));
	if (item.result == ANSWER_SEND) {
		check_reply(data, size, out, item.out_len, transport == ANSWER_UDP);
	} else if (item.result == ANSWER_TRANSFER) {
		must(transport == ANSWER_TCP && item.refused == NULL);
		transfer_all(&item);
		size_t len = answer_fault(&env, &item, "too many transfers");
		check_reply(data, size, out, len, false);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct database databases[KINDS];
	if (databases[0].db == NULL) {
		rcu_thread_register();
		remotes_init();
		for (unsigned i = 0; i < KINDS; i++) {
			database_init(&databases[i], (enum kind)i);
		}
	}
	for (unsigned i = 0; i < KINDS; i++) {
		ask(&databases[i], ANSWER_UDP, ANSWER_FIRST, data, size, ROOM_MAX);
		ask(&databases[i], ANSWER_TCP, ANSWER_LAST, data, size, DNS_UDP_MIN + size % 1024);
		ask_as_secondary(&databases[i], ANSWER_UDP, data, size);
		ask_as_secondary(&databases[i], ANSWER_TCP, data, size);
	}
	return 0;
}
