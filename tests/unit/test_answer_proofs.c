/* What NSEC proves, in random zones: wildcards at every level, empty non-terminals, cuts, octets at
 * both ends of the order, the root as a zone. A model that knows nothing of trees, searches and
 * compression says what has to be matched or covered. */
#include "respond.h"

enum { OWNERS_MAX = 32, PROOFS_MAX = 8, ZONES = 400, QUESTIONS = 48 };

struct owner {
	uint8_t name[NAME_MAX_LEN];
	bool cut;
};

struct model {
	uint8_t apex[NAME_MAX_LEN];
	struct owner owners[OWNERS_MAX]; /* in canonical order */
	unsigned count;
};

struct proof {
	uint8_t owner[NAME_MAX_LEN];
	uint8_t next[NAME_MAX_LEN];
};

struct reply {
	enum rcode rcode;
	unsigned answers;
	struct proof proofs[PROOFS_MAX];
	unsigned count;
};

static uint64_t random_state;

static unsigned pick(unsigned below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(random_state >> 33) % below;
}

static void wire_of(const char *text, uint8_t *out)
{
	size_t len;
	assert_int_equal(name_from_text(text, strlen(text), NULL, out, &len, NULL), ST_OK);
}

/* Up to 'most' labels before a name. */
static void random_name(const uint8_t *below, unsigned most, bool upper, uint8_t *out)
{
	static const uint8_t labels[][4] = {"\1*", "\1a",    "\1b",    "\1!", "\2*a",
					    "\2z", "\1\xff", "\1\x01", "\1z", "\1\x02"};
	static const uint8_t upper_a[] = "\1A";
	static const uint8_t zero[] = {1, 0};
	size_t len = name_len(below);
	memcpy(out, below, len);
	for (unsigned n = 1 + pick(most); n > 0; n--) {
		unsigned which = pick(sizeof(labels) / sizeof(labels[0]) + 1);
		const uint8_t *label = which == 0 ? zero : labels[which - 1];
		label = upper && label[1] == 'a' ? upper_a : label;
		assert_int_equal(name_join(label, label[0] + 1U, out, out, &len), ST_OK);
	}
}

static bool is_owner(const struct model *m, const uint8_t *name)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (name_equal(m->owners[i].name, name)) {
			return true;
		}
	}
	return false;
}

static bool exists(const struct model *m, const uint8_t *name)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (name_is_below(m->owners[i].name, name)) {
			return true;
		}
	}
	return false;
}

static const struct owner *cut_of(const struct model *m, const uint8_t *name)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (m->owners[i].cut && name_is_below(name, m->owners[i].name)) {
			return &m->owners[i];
		}
	}
	return NULL;
}

static void add_owner(struct model *m, const uint8_t *name, bool cut)
{
	if (is_owner(m, name) || cut_of(m, name) != NULL || (cut && exists(m, name))) {
		return;
	}
	unsigned at = m->count++;
	for (; at > 0 && name_compare(name, m->owners[at - 1].name) < 0; at--) {
		m->owners[at] = m->owners[at - 1];
	}
	memcpy(m->owners[at].name, name, name_len(name));
	m->owners[at].cut = cut;
}

static void make_model(struct model *m)
{
	static const char *const apexes[] = {".", "example.", "\\000.a."};
	uint8_t name[NAME_MAX_LEN];
	m->count = 0;
	wire_of(apexes[pick(3)], m->apex);
	add_owner(m, m->apex, false);
	if (m->apex[0] == 0) {
		wire_of("ns.other.", name);
		add_owner(m, name, false);
	}
	for (unsigned i = pick(OWNERS_MAX - 2); i > 0; i--) {
		random_name(m->apex, 4, false, name);
		add_owner(m, name, name[1] != '*' && pick(5) == 0);
	}
}

static struct version *make_version(const struct model *m)
{
	static char text[OWNERS_MAX * 4 * NAME_TEXT_MAX];
	char apex[NAME_TEXT_MAX];
	char owner[NAME_TEXT_MAX];
	char next[NAME_TEXT_MAX];
	name_to_text(m->apex, apex);
	int at = snprintf(text, sizeof(text),
			  "%s 300 SOA ns.other. h.other. 1 2 3 4 5\n%s 300 NS ns.other.\n", apex,
			  apex);
	for (unsigned i = 0; i < m->count; i++) {
		const struct owner *o = &m->owners[i];
		name_to_text(o->name, owner);
		name_to_text(m->owners[(i + 1) % m->count].name, next);
		at += snprintf(text + at, sizeof(text) - (size_t)at,
			       "%s 300 %s\n%s 300 NSEC %s A\n", owner,
			       o->cut ? "NS ns.other." : "A 192.0.2.1", owner, next);
	}
	struct version *v = fixture_version(apex, text, true, false);
	fixture_sign(v);
	return v;
}

static void read_reply(const struct answer_item *item, struct reply *reply)
{
	struct wreader r;
	uint8_t name[NAME_MAX_LEN];
	wreader_init(&r, item->out, item->out_len);
	wreader_bytes(&r, 2);
	uint16_t flags = wreader_u16(&r);
	assert_int_equal(flags & HEADER_TC, 0);
	wreader_u16(&r);
	unsigned answers = wreader_u16(&r);
	unsigned records = answers + wreader_u16(&r);
	wreader_u16(&r);
	wreader_name_expand(&r, name);
	wreader_bytes(&r, 4);
	*reply = (struct reply){.rcode = (enum rcode)(flags & 15), .answers = answers};
	for (unsigned i = 0; i < records; i++) {
		struct proof *p = &reply->proofs[reply->count];
		assert_true(reply->count < PROOFS_MAX && wreader_name_expand(&r, name) > 0);
		uint16_t type = wreader_u16(&r);
		wreader_bytes(&r, 6);
		struct bytes rdata = wreader_bytes(&r, wreader_u16(&r));
		assert_int_equal(r.err, ST_OK);
		if (type == RR_NSEC) {
			memcpy(p->owner, name, name_len(name));
			memcpy(p->next, rdata.data, name_len(rdata.data));
			reply->count++;
		}
	}
}

/* Every NSEC is one of the zone's, so this is what a validator concludes. */
static bool proves(const struct model *m, const struct reply *r, const uint8_t *name, bool match)
{
	for (unsigned i = 0; i < r->count; i++) {
		const struct proof *p = &r->proofs[i];
		assert_true(is_owner(m, p->owner));
		int order = name_compare(p->owner, name);
		bool last = name_compare(p->next, p->owner) <= 0;
		if (match ? order == 0 : order < 0 && (last || name_compare(name, p->next) < 0)) {
			return true;
		}
	}
	return false;
}

/* That there is no such type at a name that exists. */
static void check_nodata(const struct model *m, const struct reply *r, const uint8_t *name)
{
	assert_true(proves(m, r, name, is_owner(m, name)));
}

static void check_reply(const struct model *m, const uint8_t *name, bool has_type,
			const struct reply *r)
{
	static const uint8_t star[] = {1, '*'};
	uint8_t wildcard[NAME_MAX_LEN];
	size_t len;
	const struct owner *cut = cut_of(m, name);
	if (cut != NULL) {
		assert_true(r->rcode == RCODE_NOERROR && proves(m, r, cut->name, true));
		return;
	}
	if (exists(m, name)) {
		bool data = has_type && is_owner(m, name);
		assert_true(r->rcode == RCODE_NOERROR && (r->answers > 0) == data);
		if (!data) {
			check_nodata(m, r, name);
		}
		return;
	}
	assert_true(proves(m, r, name, false));
	const uint8_t *encloser = name;
	while (!exists(m, encloser)) {
		encloser += *encloser + 1;
	}
	assert_int_equal(name_join(star, sizeof(star), encloser, wildcard, &len), ST_OK);
	bool data = has_type && is_owner(m, wildcard);
	bool wild = exists(m, wildcard);
	assert_int_equal(r->rcode, wild ? RCODE_NOERROR : RCODE_NXDOMAIN);
	assert_true((r->answers > 0) == data);
	if (!data) {
		wild ? check_nodata(m, r, wildcard) : assert_true(proves(m, r, wildcard, false));
	}
}

static void check_zone(const struct model *m, const struct zonedb *db)
{
	static struct ask asks[QUESTIONS];
	static uint8_t outs[QUESTIONS][ANSWER_UDP_SIZE];
	static struct answer_item items[QUESTIONS];
	static uint8_t names[QUESTIONS][NAME_MAX_LEN];
	struct answer_env env = fixture_env(db);
	for (unsigned i = 0; i < QUESTIONS; i++) {
		char text[NAME_TEXT_MAX + 16];
		const uint8_t *below = pick(2) == 0 ? m->apex : m->owners[pick(m->count)].name;
		random_name(below, 3, pick(2) == 0, names[i]);
		name_to_text(names[i], text);
		snprintf(text + strlen(text), 16, " %s do", i % 2 == 0 ? "A" : "TXT");
		ask_parse(&asks[i], text);
		items[i].in = asks[i].wire;
		items[i].in_len = asks[i].len;
		items[i].out = outs[i];
	}
	answer_batch(&env, ANSWER_UDP, items, QUESTIONS, ANSWER_UDP_SIZE);
	for (unsigned i = 0; i < QUESTIONS; i++) {
		struct reply reply;
		assert_int_equal(items[i].result, ANSWER_SEND);
		read_reply(&items[i], &reply);
		check_reply(m, names[i], i % 2 == 0, &reply);
	}
}

static void test_random_zones(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < ZONES; seed++) {
		static struct model m;
		struct zone zone;
		struct zone *list[] = {&zone};
		struct zonedb *db;
		char apex[NAME_TEXT_MAX];
		random_state = seed;
		make_model(&m);
		fixture_zone(&zone, name_to_text(m.apex, apex), make_version(&m));
		assert_int_equal(zonedb_new(list, 1, &db), ST_OK);
		check_zone(&m, db);
		zonedb_free(db);
		version_unref(zone.cur);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_zones),
	};

	rcu_thread_register();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_thread_unregister();
	return failed;
}
