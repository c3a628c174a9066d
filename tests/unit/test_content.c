#include "zones/content.h"
#include "zones/rdata.h"

#include "nsd-core/base/parallel.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t apex[] = "\7Example\3com";

static void add(struct content *c, const char *owner, uint16_t type, uint32_t ttl, const char *data,
		size_t len)
{
	uint8_t name[NAME_MAX_LEN];
	size_t name_octets;
	struct place place = {0, (uint32_t)c->record_count + 1, 1};
	assert_int_equal(name_from_text(owner, strlen(owner), apex, name, &name_octets, NULL),
			 ST_OK);
	struct bytes rdata = {(const uint8_t *)data, len};
	assert_int_equal(content_add(c, name, type, ttl, rdata, place), ST_OK);
}

static void test_add(void **state)
{
	(void)state;
	struct content c;
	uint16_t file = 99;
	content_init(&c, apex);
	assert_memory_equal(c.apex, "\7example\3com", 13);
	assert_int_equal(content_file(&c, "a", &file), ST_OK);
	assert_int_equal(file, 0);
	assert_int_equal(content_file(&c, "b", &file), ST_OK);
	assert_int_equal(file, 1);
	assert_int_equal(content_file(&c, "a", &file), ST_OK);
	assert_int_equal(file, 0);
	assert_int_equal(content_file(&c, "c", &file), ST_OK);
	assert_string_equal(c.files[2], "c");

	add(&c, "WWW", RR_A, 60, "\1\2\3\4", 4);
	add(&c, "www", RR_A, 61, "\1\2\3\5", 4);
	add(&c, "ww", RR_A, 61, "", 0);
	assert_memory_equal(c.records[0].owner, "\3www\7example\3com", 17);
	assert_ptr_equal(c.records[0].owner, c.records[1].owner);
	assert_ptr_not_equal(c.records[1].owner, c.records[2].owner);
	assert_int_equal(c.records[1].ttl, 61);
	assert_int_equal(c.records[1].line, 2);
	assert_int_equal(record_rdata(&c.records[2]).len, 0);
	content_fini(&c);
}

/* Owners in canonical order (RFC 4034 6.1's example), as they must come out. */
static const char *const ordered[] = {
	"@", "a", "yljkjljk.a", "z.a", "zabc.a", "z", "\\001.z", "*.z", "\\200.z",
};
#define ORDERED (sizeof(ordered) / sizeof(ordered[0]))

static void sorted_is(const struct content *c)
{
	assert_int_equal(c->record_count, ORDERED);
	assert_int_equal(c->set_count, ORDERED);
	for (size_t i = 0; i < ORDERED; i++) {
		uint8_t name[NAME_MAX_LEN];
		size_t len;
		assert_int_equal(
			name_from_text(ordered[i], strlen(ordered[i]), apex, name, &len, NULL),
			ST_OK);
		assert_true(name_equal(c->records[i].owner, name));
		assert_int_equal(c->sets[i].first, i);
		assert_int_equal(c->sets[i].count, 1);
	}
}

/* Every rotation and its reverse come out alike. */
static void test_sort_owners(void **state)
{
	(void)state;
	for (size_t turn = 0; turn < 2 * ORDERED; turn++) {
		struct content c;
		content_init(&c, apex);
		for (size_t i = 0; i < ORDERED; i++) {
			size_t at = (i + turn) % ORDERED;
			at = turn < ORDERED ? at : ORDERED - 1 - at;
			add(&c, ordered[at], RR_A, 60, "\1\2\3\4", 4);
		}
		assert_int_equal(content_sort(&c), ST_OK);
		sorted_is(&c);
		assert_int_equal(content_sort(&c), ST_OK);
		sorted_is(&c);
		content_fini(&c);
	}
}

static void test_sort_outside(void **state)
{
	(void)state;
	struct content c;
	content_init(&c, apex);
	add(&c, "zz.org.", RR_A, 60, "\1\2\3\4", 4);
	add(&c, "b", RR_A, 60, "\1\2\3\4", 4);
	add(&c, ".", RR_A, 60, "\1\2\3\4", 4);
	add(&c, "a", RR_A, 60, "\1\2\3\4", 4);
	add(&c, "com.", RR_A, 60, "\1\2\3\4", 4);
	assert_int_equal(content_sort(&c), ST_OK);
	for (size_t i = 1; i < c.record_count; i++) {
		assert_true(name_compare(c.records[i - 1].owner, c.records[i].owner) < 0);
	}
	content_fini(&c);
}

static void test_sort_records(void **state)
{
	(void)state;
	struct content c;
	content_init(&c, apex);
	add(&c, "b", RR_TXT, 1, "\1x", 2);
	add(&c, "a", RR_NS, 2, "\1B\0", 3);
	add(&c, "b", RR_A, 3, "\2\2\2\2", 4);
	add(&c, "A", RR_NS, 4, "\1a\0", 3);
	add(&c, "b", RR_A, 5, "\1\1\1\1", 4);
	add(&c, "a", RR_NS, 6, "\1b\0", 3); /* the first, in another case */
	add(&c, "b", RR_TXT, 7, "\1X", 2);  /* not the same: TXT has no case to ignore */
	add(&c, "b", RR_A, 8, "\2\2\2\2", 4);
	assert_int_equal(content_sort(&c), ST_OK);
	static const uint32_t ttls[] = {4, 2, 5, 3, 7, 1};
	assert_int_equal(c.record_count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(c.records[i].ttl, ttls[i]);
	}
	assert_int_equal(c.set_count, 3);
	static const struct record_set sets[] = {{0, 2}, {2, 2}, {4, 2}};
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(c.sets[i].first, sets[i].first);
		assert_int_equal(c.sets[i].count, sets[i].count);
	}
	content_fini(&c);
}

static void test_rrsigs_by_covered_type(void **state)
{
	(void)state;
	struct content c;
	content_init(&c, apex);
	add(&c, "@", RR_RRSIG, 1, "\0\x10\15\2\0\0\0\1\0\0\0\1\0\0\0\1\0\1\0x", 20);
	add(&c, "@", RR_RRSIG, 2, "\0\6\15\2\0\0\0\1\0\0\0\1\0\0\0\1\0\1\0x", 20);
	assert_int_equal(content_sort(&c), ST_OK);
	assert_int_equal(be16_get(c.records[0].rdata), RR_SOA);
	assert_int_equal(be16_get(c.records[1].rdata), RR_TXT);
	assert_int_equal(c.set_count, 1);
	content_fini(&c);
}

static void test_sort_empty(void **state)
{
	(void)state;
	struct content c;
	content_init(&c, apex);
	assert_int_equal(content_sort(&c), ST_OK);
	assert_int_equal(c.set_count, 0);
	content_fini(&c);
}

/* More than the records' first room, in an order without order. */
static void test_sort_many(void **state)
{
	(void)state;
	struct content c;
	uint32_t x = 1;
	content_init(&c, apex);
	for (int i = 0; i < 5000; i++) {
		char owner[32];
		x = x * 1664525 + 1013904223;
		snprintf(owner, sizeof(owner), "h%u.s%u", x >> 22, x >> 30);
		char data[4] = {(char)(x >> 8), 0, 0, (char)(x >> 16)};
		add(&c, owner, x >> 31 ? RR_A : RR_CAA, 1, data, 4);
	}
	assert_int_equal(content_sort(&c), ST_OK);
	size_t in_sets = 0;
	for (size_t i = 0; i < c.set_count; i++) {
		assert_int_equal(c.sets[i].first, in_sets);
		in_sets += c.sets[i].count;
	}
	assert_int_equal(in_sets, c.record_count);
	for (size_t i = 1; i < c.record_count; i++) {
		const struct record *a = &c.records[i - 1];
		const struct record *b = &c.records[i];
		int diff = name_compare(a->owner, b->owner);
		diff = diff != 0 ? diff : a->type - b->type;
		diff = diff != 0 ? diff : memcmp(a->rdata, b->rdata, 4);
		assert_true(diff < 0);
	}
	content_fini(&c);
}

enum made {
	MADE_AT_RANDOM,
	MADE_IN_ORDER,
	MADE_OUTSIDE, /* some owners are not in the zone */
	MADE_FEW,     /* fewer owners than parts */
};

static void make(struct content *c, enum made made)
{
	uint32_t x = 7;
	content_init(c, apex);
	for (uint32_t i = 0; i < (made == MADE_FEW ? 5 : 4000); i++) {
		char owner[64];
		char data[4] = {0};
		x = x * 1664525 + 1013904223;
		uint32_t number = made == MADE_IN_ORDER ? i / 3 : x >> 20;
		bool outside = made == MADE_OUTSIDE && x >> 28 == 3;
		/* The same first sixteen octets, and some names below others. */
		snprintf(owner, sizeof(owner), "%shost-with-a-long-name-%06u%s",
			 made == MADE_AT_RANDOM && number % 5 == 0 ? "\\001b." : "", number,
			 outside ? ".example.org." : "");
		data[3] = (char)(x >> 28 & 3); /* now and then twice the same */
		add(c, owner, (x >> 30) == 1 ? RR_CAA : RR_A, 1, data, 4);
	}
}

static void assert_same(const struct content *a, const struct content *b)
{
	assert_int_equal(a->record_count, b->record_count);
	assert_int_equal(a->set_count, b->set_count);
	for (size_t i = 0; i < a->record_count; i++) {
		const struct record *x = &a->records[i];
		const struct record *y = &b->records[i];
		assert_true(name_equal(x->owner, y->owner));
		assert_int_equal(x->type, y->type);
		assert_memory_equal(x->rdata, y->rdata, record_rdata(x).len);
		assert_true(i == 0 ||
			    name_equal(x->owner, x[-1].owner) == (y->owner == y[-1].owner));
	}
	for (size_t i = 0; i < a->set_count; i++) {
		assert_int_equal(a->sets[i].first, b->sets[i].first);
		assert_int_equal(a->sets[i].count, b->sets[i].count);
	}
}

static void assert_same_order(const struct content *a, const struct content *b)
{
	for (size_t i = 0; i < a->record_count; i++) {
		assert_int_equal(a->records[i].order, b->records[i].order);
		assert_int_equal(a->records[i].line, b->records[i].line);
	}
}

/* Of an owner with more records than one run or the order can count. */
static void test_sort_many_of_one(void **state)
{
	(void)state;
	enum { MANY = UINT16_MAX + 700 };
	for (unsigned parts = 1; parts <= 3; parts++) {
		struct content c;
		content_init(&c, apex);
		add(&c, "z", RR_A, 1, "\1\1\1\1", 4);
		for (uint32_t i = 0; i < MANY; i++) {
			char data[4];
			be32_put((uint8_t *)data, MANY - i);
			add(&c, "m", RR_A, 1, data, 4);
		}
		add(&c, "a", RR_A, 1, "\1\1\1\1", 4);
		assert_int_equal(content_sort_parts(&c, parts), ST_OK);
		assert_int_equal(c.record_count, MANY + 2);
		assert_int_equal(c.set_count, 3);
		assert_int_equal(c.sets[1].count, MANY);
		for (uint32_t i = 0; i < MANY; i++) {
			const struct record *r = &c.records[1 + i];
			uint32_t before = MANY - 1 - i;
			assert_int_equal(be32_get(r->rdata), i + 1);
			assert_int_equal(r->line, before + 2);
			assert_int_equal(r->order, before < UINT16_MAX ? before : UINT16_MAX);
			assert_ptr_equal(r->owner, c.records[1].owner);
		}
		content_fini(&c);
	}
}

static void test_sort_parts(void **state)
{
	(void)state;
	for (enum made made = MADE_AT_RANDOM; made <= MADE_FEW; made++) {
		struct content whole;
		make(&whole, made);
		assert_int_equal(content_sort_parts(&whole, 1), ST_OK);
		for (size_t i = 1; i < whole.record_count; i++) {
			assert_true(name_compare(whole.records[i - 1].owner,
						 whole.records[i].owner) <= 0);
		}
		for (unsigned parts = 2; parts <= PARALLEL_MAX; parts++) {
			struct content c;
			make(&c, made);
			assert_int_equal(content_sort_parts(&c, parts), ST_OK);
			assert_same(&whole, &c);
			assert_same_order(&whole, &c);
			/* And of what is sorted already. */
			assert_int_equal(content_sort_parts(&c, parts), ST_OK);
			assert_same(&whole, &c);
			content_fini(&c);
		}
		content_fini(&whole);
	}
}

/* What a part holds beside an owner outside, or was sorted to before one was found in another part,
 * says nothing of the order in the file: records were lost. */
static void test_sort_outside_first(void **state)
{
	(void)state;
	static const char *const owners[][6] = {
		{"a", "b", "c", "d", "y.example.org.", "z"},
		{"b", "a", "d", "c", "y.example.org.", "z.example.org."},
		{"a.example.org.", "b.example.org.", "b", "a", "d", "c"},
	};
	for (unsigned turn = 0; turn < 3 * 6; turn++) {
		struct content c;
		content_init(&c, apex);
		for (size_t i = 0; i < 6; i++) {
			add(&c, owners[turn / 6][i], RR_A, 1, "\1\1\1\1", 4);
		}
		assert_int_equal(content_sort_parts(&c, 1 + turn % 6), ST_OK);
		assert_int_equal(c.record_count, 6);
		for (size_t i = 1; i < c.record_count; i++) {
			assert_true(name_compare(c.records[i - 1].owner, c.records[i].owner) < 0);
		}
		content_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),	     cmocka_unit_test(test_sort_owners),
		cmocka_unit_test(test_sort_outside), cmocka_unit_test(test_sort_many_of_one),
		cmocka_unit_test(test_sort_records), cmocka_unit_test(test_rrsigs_by_covered_type),
		cmocka_unit_test(test_sort_empty),   cmocka_unit_test(test_sort_many),
		cmocka_unit_test(test_sort_parts),   cmocka_unit_test(test_sort_outside_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
