#include "nsd-core/zonedb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void name_of(const char *text, uint8_t *out)
{
	size_t len;
	assert_int_equal(name_from_text(text, strlen(text), NULL, out, &len, NULL), ST_OK);
}

static void zone_init(struct zone *z, const char *text)
{
	*z = (struct zone){.name_len = 0};
	name_of(text, z->name);
	z->name_len = (uint8_t)name_len(z->name);
	z->labels = (uint8_t)name_labels(z->name);
	z->hash = name_hash(z->name);
}

static void found(const struct zonedb *db, const char *text, bool above, const struct zone *want)
{
	uint8_t name[NAME_MAX_LEN];
	struct name_ref ref;
	name_of(text, name);
	name_ref_init(&ref, name);
	zonedb_prefetch_slots(db, &ref);
	zonedb_prefetch_zones(db, &ref);
	assert_ptr_equal(zonedb_find(db, &ref, above), want);
}

static void test_longest_match(void **state)
{
	(void)state;
	struct zone com, sub, deep;
	zone_init(&com, "example.com.");
	zone_init(&sub, "sub.example.com.");
	zone_init(&deep, "a.b.c.sub.example.com.");
	struct zone *zones[] = {&deep, &com, &sub};
	struct zonedb *db;
	assert_int_equal(zonedb_new(zones, 3, &db), ST_OK);

	static const struct {
		const char *name;
		bool above;
		int zone; /* 0 com, 1 sub, 2 deep, -1 none */
	} cases[] = {
		{"example.com.", false, 0},
		{"EXAMPLE.com.", false, 0},
		{"example.com.", true, -1},
		{"www.example.com.", false, 0},
		{"www.example.com.", true, 0},
		{"sub.example.com.", false, 1},
		{"sub.example.com.", true, 0},
		{"xsub.example.com.", false, 0},
		{"c.sub.example.com.", false, 1},
		{"a.b.c.sub.example.com.", false, 2},
		{"a.b.c.sub.example.com.", true, 1},
		{"x.a.b.c.sub.example.com.", true, 2},
		{"com.", false, -1},
		{".", false, -1},
		{".", true, -1},
		{"example.org.", false, -1},
	};
	const struct zone *by_number[] = {&com, &sub, &deep};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		found(db, cases[i].name, cases[i].above,
		      cases[i].zone < 0 ? NULL : by_number[cases[i].zone]);
	}
	assert_ptr_equal(zonedb_exact(db, sub.name), &sub);
	assert_false(zonedb_is_large(db));
	zonedb_free(db);
}

static void test_root_and_empty(void **state)
{
	(void)state;
	struct zone root;
	zone_init(&root, ".");
	struct zone *zones[] = {&root};
	struct zonedb *db;
	assert_int_equal(zonedb_new(zones, 1, &db), ST_OK);
	found(db, ".", false, &root);
	found(db, ".", true, NULL);
	found(db, "a.b.", false, &root);
	zonedb_free(db);

	assert_int_equal(zonedb_new(NULL, 0, &db), ST_OK);
	found(db, "a.", false, NULL);
	zonedb_free(db);
	zonedb_free(NULL);
}

static void test_two_of_one_name(void **state)
{
	(void)state;
	struct zone a, b;
	zone_init(&a, "example.");
	zone_init(&b, "example.");
	struct zone *zones[] = {&a, &b};
	struct zonedb *untouched = (struct zonedb *)&a;
	struct zonedb *db = untouched;
	assert_int_equal(zonedb_new(zones, 2, &db), ST_EEXIST);
	assert_ptr_equal(db, untouched);
}

static void test_many(void **state)
{
	(void)state;
	enum { COUNT = 10000 };
	struct zone *zones = calloc(COUNT, sizeof(*zones));
	struct zone **list = calloc(COUNT, sizeof(struct zone *));
	assert_non_null(zones);
	assert_non_null(list);
	for (unsigned i = 0; i < COUNT; i++) {
		char text[64];
		snprintf(text, sizeof(text), "zone%u.%s", i, i % 3 == 0 ? "example." : "test.");
		zone_init(&zones[i], text);
		list[i] = &zones[i];
	}
	struct zonedb *db;
	assert_int_equal(zonedb_new(list, COUNT, &db), ST_OK);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_ptr_equal(zonedb_exact(db, zones[i].name), &zones[i]);
	}
	assert_true(zonedb_is_large(db));
	found(db, "zone10000.test.", false, NULL);
	found(db, "www.zone9999.example.", false, &zones[9999]);
	zonedb_free(db);
	free(list);
	free(zones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_longest_match),
		cmocka_unit_test(test_root_and_empty),
		cmocka_unit_test(test_two_of_one_name),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
