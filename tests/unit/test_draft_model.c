/* Random changes over a small name space, against a naive table of names and types; versions kept
 * alive side by side and dropped in any order. */
#include "version_fixture.h"

#define TYPES	   6
#define NAMES	   259
#define GENERATION 60

static const uint16_t types[TYPES] = {RR_A, RR_NS, RR_SOA, RR_TXT, RR_AAAA, RR_DNAME};

/* value[name][type]: 0 for none. */
struct model {
	unsigned value[NAMES][TYPES];
};

static struct wire_name names[NAMES]; /* sorted canonically; [0] is the apex */

static int compare_names(const void *a, const void *b)
{
	const struct wire_name *x = a;
	const struct wire_name *y = b;
	return name_compare(x->octets, y->octets);
}

static int make_names(void **state)
{
	(void)state;
	static const char labels[] = "abcde*";
	size_t n = 0;
	names[n++] = wire("zone.test");
	for (int i = 0; i < 6; i++) {
		char text[64];
		snprintf(text, sizeof(text), "%c.zone.test", labels[i]);
		names[n++] = wire(text);
		for (int j = 0; j < 6; j++) {
			snprintf(text, sizeof(text), "%c.%c.zone.test", labels[j], labels[i]);
			names[n++] = wire(text);
			for (int k = 0; k < 6; k++) {
				snprintf(text, sizeof(text), "%c.%c.%c.zone.test", labels[k],
					 labels[j], labels[i]);
				names[n++] = wire(text);
			}
		}
	}
	assert_int_equal(n, NAMES);
	qsort(names, NAMES, sizeof(names[0]), compare_names);
	return 0;
}

static bool has_data(const struct model *m, size_t i)
{
	for (size_t t = 0; t < TYPES; t++) {
		if (m->value[i][t] != 0) {
			return true;
		}
	}
	return false;
}

static bool exists(const struct model *m, size_t i)
{
	for (size_t k = i; k < NAMES && name_is_below(names[k].octets, names[i].octets); k++) {
		if (has_data(m, k)) {
			return true;
		}
	}
	return false;
}

static size_t type_index(uint16_t type)
{
	size_t t = 0;
	while (types[t] != type) {
		t++;
	}
	return t;
}

/* The topmost name strictly above i that covers it, or NAMES. */
static size_t cover_of(const struct model *m, size_t i)
{
	size_t ns = type_index(RR_NS);
	size_t dname = type_index(RR_DNAME);
	for (size_t k = 0; k < i; k++) {
		if (name_is_below(names[i].octets, names[k].octets) &&
		    ((k != 0 && m->value[k][ns] != 0) || m->value[k][dname] != 0)) {
			return k;
		}
	}
	return NAMES;
}

static uint8_t flags_of(const struct model *m, size_t i, uint8_t *cover_labels)
{
	size_t cover = cover_of(m, i);
	uint8_t flags = i == 0 ? NODE_APEX : 0;
	*cover_labels = 0;
	if (cover != NAMES) {
		*cover_labels = (uint8_t)name_labels(names[cover].octets);
		return NODE_OCCLUDED;
	}
	if (i != 0 && m->value[i][type_index(RR_NS)] != 0) {
		*cover_labels = (uint8_t)name_labels(names[i].octets);
		return NODE_CUT | NODE_CHAIN;
	}
	if (has_data(m, i)) {
		flags |= NODE_CHAIN;
	}
	if (m->value[i][type_index(RR_DNAME)] != 0) {
		flags |= NODE_DNAME;
	}
	return flags;
}

static void check_rrsets(const struct model *m, size_t i, const struct node *n)
{
	size_t count = 0;
	for (size_t t = 0; t < TYPES; t++) {
		const struct rrset *rs = node_rrset(n, types[t]);
		if (m->value[i][t] == 0) {
			assert_null(rs);
			continue;
		}
		struct rrset *wanted = rrset_valued(types[t], m->value[i][t]);
		assert_non_null(rs);
		assert_true(rrset_equal(rs, wanted));
		rrset_free(wanted);
		count++;
	}
	assert_int_equal(n->rrset_count, count);
	for (size_t k = 1; k < count; k++) {
		assert_true(n->rrsets[k - 1]->type < n->rrsets[k]->type);
	}
}

struct collected {
	const struct node *nodes[NAMES];
	size_t count;
};

static enum status collect(void *ctx, const struct node *n)
{
	struct collected *c = ctx;
	assert_true(c->count < NAMES);
	c->nodes[c->count++] = n;
	return ST_OK;
}

static void check_version(const struct version *v, const struct model *m)
{
	struct collected all = {.count = 0};
	struct btree_cursor chain;
	size_t at = 0;
	size_t named = 0;
	size_t records = 0;
	assert_int_equal(version_walk(v, collect, &all), ST_OK);
	btree_cursor_init(&chain, &v->chain);
	for (size_t i = 0; i < NAMES; i++) {
		struct name_ref ref;
		name_ref_init(&ref, names[i].octets);
		const struct node *n = version_find(v, &ref, ref.labels);
		if (!exists(m, i)) {
			assert_null(n);
			continue;
		}
		uint8_t cover;
		uint8_t flags = flags_of(m, i, &cover);
		assert_non_null(n);
		assert_ptr_equal(all.nodes[at++], n);
		assert_true(name_equal(node_name(n), names[i].octets));
		assert_int_equal(n->flags, flags);
		assert_int_equal(n->cover_labels, cover);
		check_rrsets(m, i, n);
		named += n->rrset_count > 0;
		records += n->rrset_count;
		if ((flags & NODE_CHAIN) != 0) {
			assert_ptr_equal(btree_cursor_next(&chain), n);
		}
	}
	assert_int_equal(at, all.count);
	assert_int_equal(v->names.count, all.count);
	assert_int_equal(v->order.count, all.count);
	assert_null(btree_cursor_next(&chain));
	assert_int_equal(v->name_count, named);
	assert_int_equal(v->record_count, records);
	assert_int_equal(v->serial, m->value[0][type_index(RR_SOA)]);
}

static void check_chain(const struct draft *d, const struct model *m)
{
	for (size_t i = 0; i < NAMES; i++) {
		uint8_t cover;
		size_t before = i;
		size_t after = i;
		do {
			before = (before + NAMES - 1) % NAMES;
		} while ((flags_of(m, before, &cover) & NODE_CHAIN) == 0);
		do {
			after = (after + 1) % NAMES;
		} while ((flags_of(m, after, &cover) & NODE_CHAIN) == 0);
		const struct node *n = draft_chain_before(d, names[i].octets);
		assert_true(name_equal(node_name(n), names[before].octets));
		n = draft_chain_after(d, names[i].octets);
		assert_true(name_equal(node_name(n), names[after].octets));
	}
}

/* Where does a name lead, by the model? */
static void check_lookup(const struct version *v, const struct model *m, size_t i)
{
	struct lookup found;
	struct name_ref ref;
	name_ref_init(&ref, names[i].octets);
	version_lookup(v, &ref, false, &found);
	size_t cover = cover_of(m, i);
	if (cover == NAMES && i != 0 && m->value[i][type_index(RR_NS)] != 0) {
		cover = i;
	}
	if (cover != NAMES) {
		bool cut = cover != 0 && m->value[cover][type_index(RR_NS)] != 0;
		assert_int_equal(found.kind, cut ? LOOKUP_CUT : LOOKUP_DNAME);
		assert_true(name_equal(node_name(found.node), names[cover].octets));
		return;
	}
	if (exists(m, i)) {
		assert_int_equal(found.kind, LOOKUP_NODE);
		assert_true(name_equal(node_name(found.node), names[i].octets));
		return;
	}
	size_t encloser = 0;
	for (size_t k = 0; k < i; k++) {
		if (name_is_below(names[i].octets, names[k].octets) && exists(m, k)) {
			encloser = k;
		}
	}
	assert_true(name_equal(node_name(found.encloser), names[encloser].octets));
	bool wildcard = false;
	for (size_t k = encloser + 1; k < NAMES; k++) {
		wildcard = wildcard ||
			   (name_is_wildcard(names[k].octets) && exists(m, k) &&
			    name_equal(name_strip(names[k].octets, 1), names[encloser].octets));
	}
	assert_int_equal(found.kind, wildcard ? LOOKUP_WILDCARD : LOOKUP_NXDOMAIN);
}

static void change(struct draft *d, struct model *m, uint64_t *random)
{
	size_t i = next_random(random) % NAMES;
	size_t t = next_random(random) % TYPES;
	/* Few cuts and DNAMEs, or they would cover everything. */
	if ((types[t] == RR_NS || types[t] == RR_DNAME) && next_random(random) % 3 != 0) {
		t = 0;
	}
	if (types[t] == RR_SOA) {
		return;
	}
	enum status st;
	if (next_random(random) % 5 < 2) {
		unsigned value = 1 + next_random(random) % 3;
		st = draft_put(d, names[i].octets, rrset_valued(types[t], value));
		assert_int_equal(st, ST_OK);
		m->value[i][t] = value;
	} else {
		st = draft_remove(d, names[i].octets, types[t]);
		assert_int_equal(st, m->value[i][t] == 0 ? ST_ENOENT : ST_OK);
		m->value[i][t] = 0;
	}
	struct wire_name upper = names[i];
	for (size_t k = 0; k < upper.len; k++) {
		upper.octets[k] = (uint8_t)(upper.octets[k] >= 'a' && upper.octets[k] <= 'z'
						    ? upper.octets[k] - 32
						    : upper.octets[k]);
	}
	const struct node *n = draft_find(d, upper.octets);
	assert_int_equal(n != NULL, exists(m, i));
}

static void check_touched(struct draft *d, const struct model *now, const struct model *was)
{
	const uint8_t *const *touched;
	size_t count;
	size_t at = 0;
	bool changed = memcmp(now, was, sizeof(*now)) != 0;
	assert_int_equal(draft_touched(d, &touched, &count), ST_OK);
	for (size_t i = 0; i < NAMES; i++) {
		bool listed = at < count && name_equal(touched[at], names[i].octets);
		at += listed;
		if (memcmp(now->value[i], was->value[i], sizeof(now->value[i])) != 0) {
			assert_true(listed);
		}
	}
	assert_int_equal(at, count);
	assert_true(draft_changed(d) || !changed);
}

static struct version *build(const struct version *base, const struct model *was, struct model *m,
			     uint64_t *random, unsigned serial)
{
	struct draft *d;
	unsigned changes = next_random(random) % 60;
	assert_int_equal(draft_new(names[0].octets, (struct version *)(uintptr_t)base, &d), ST_OK);
	for (unsigned k = 0; k < changes; k++) {
		change(d, m, random);
		if (next_random(random) % 20 == 0) {
			assert_int_equal(draft_settle(d), ST_OK);
		}
	}
	assert_int_equal(draft_put(d, names[0].octets, rrset_valued(RR_SOA, serial)), ST_OK);
	m->value[0][type_index(RR_SOA)] = serial;
	assert_int_equal(draft_settle(d), ST_OK);
	check_chain(d, m);
	check_touched(d, m, was);
	/* Some drafts come to nothing. */
	struct version *v = NULL;
	if (next_random(random) % 4 != 0) {
		v = freeze(d, DENIAL_NSEC);
	}
	draft_free(d);
	return v;
}

static void run_history(uint64_t seed)
{
	static struct model models[GENERATION];
	struct version *versions[GENERATION] = {NULL};
	uint64_t random = seed;
	size_t last = 0;

	memset(models, 0, sizeof(models));
	do {
		memset(&models[0], 0, sizeof(models[0]));
		versions[0] = build(NULL, &models[1], &models[0], &random, 1);
	} while (versions[0] == NULL);
	for (size_t g = 1; g < GENERATION; g++) {
		models[g] = models[last];
		struct version *v =
			build(versions[last], &models[last], &models[g], &random, (unsigned)g + 1);
		if (v == NULL) {
			continue;
		}
		check_version(v, &models[g]);
		if (next_random(&random) % 4 == 0) {
			/* Frozen, and never published. */
			version_unref(v);
			continue;
		}
		version_succeed(versions[last], v);
		versions[g] = v;
		last = g;
		size_t victim = next_random(&random) % GENERATION;
		if (victim < last && versions[victim] != NULL) {
			version_unref(versions[victim]);
			versions[victim] = NULL;
		}
	}
	for (size_t g = 0; g < GENERATION; g++) {
		if (versions[g] == NULL) {
			continue;
		}
		check_version(versions[g], &models[g]);
		for (size_t i = 0; i < NAMES; i++) {
			check_lookup(versions[g], &models[g], i);
		}
	}
	/* Dropped in random order: those that are left must stay whole. */
	for (size_t left = GENERATION; left > 0; left--) {
		size_t pick = next_random(&random) % GENERATION;
		while (versions[pick] == NULL && pick < GENERATION - 1) {
			pick++;
		}
		version_unref(versions[pick]);
		versions[pick] = NULL;
		for (size_t g = 0; left % 16 == 0 && g < GENERATION; g++) {
			if (versions[g] != NULL) {
				check_version(versions[g], &models[g]);
			}
		}
	}
	for (size_t g = 0; g < GENERATION; g++) {
		version_unref(versions[g]);
	}
}

static void test_history(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		run_history(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_history),
	};
	return cmocka_run_group_tests(tests, make_names, NULL);
}
