/* The configuration: catalogs, their members and who has them. */
#include "nsd-core/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define REMOTES                                                                                    \
	"remotes:\n  - { name: r1, address: 192.0.2.1 }\n  - { name: r2, address: 192.0.2.2 }\n"

/* Findings as "LINE:COLUMN:TEXT\n" each. */
static struct conf *read_text(const char *text, char *found, size_t room)
{
	struct conf *c = NULL;
	struct diags d;
	size_t used = 0;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("/etc/signet/t.yaml", text, strlen(text), false, &c, &d);
	found[0] = '\0';
	for (size_t i = 0; i < d.count; i++) {
		used += (size_t)snprintf(found + used, room - used, "%u:%u:%s%s\n", d.items[i].line,
					 d.items[i].column,
					 d.items[i].level == DIAG_WARNING ? "warning: " : "",
					 d.items[i].text);
		assert_true(used < room);
	}
	assert_true((st == ST_OK) == (d.errors == 0));
	diags_fini(&d);
	return c;
}

static const struct conf_zone *find(const struct conf *c, const char *text)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	assert_int_equal(name_from_text(text, strlen(text), NULL, name, &len, NULL), ST_OK);
	for (size_t i = 0; i < c->zone_count; i++) {
		if (name_equal(c->zones[i].name, name)) {
			return &c->zones[i];
		}
	}
	return NULL;
}

/* With an entry, which says who has it. */
static void test_entry(void **state)
{
	char found[4096];
	struct conf *c = read_text(
		REMOTES
		"zones:\n"
		"  - { name: a.test, file: a, catalog: Cat.Example, secondaries: [ r1, r2 ] }\n"
		"  - { name: z.test, file: z, catalog: cat.example., catalog-group: big,\n"
		"      secondaries: [ r2 ] }\n"
		"  - { name: cat.example, make: catalog, secondaries: [ r2 ] }\n"
		"  - { name: other.example, make: catalog, secondaries: [ r1 ] }\n"
		"  - { name: b.test, file: b }\n",
		found, sizeof(found));

	(void)state;
	assert_string_equal(found, "");
	assert_int_equal(c->zone_count, 5);
	const struct conf_zone *cat = find(c, "cat.example");
	assert_true(cat->is_catalog);
	assert_null(cat->file);
	assert_null(cat->catalog);
	assert_int_equal(cat->policy, -1);
	assert_int_equal(cat->secondary_count, 1);
	assert_int_equal(cat->secondaries[0], 1);
	assert_ptr_equal(find(c, "a.test")->catalog, cat);
	assert_null(find(c, "a.test")->catalog_group);
	assert_ptr_equal(find(c, "z.test")->catalog, cat);
	assert_string_equal(find(c, "z.test")->catalog_group, "big");
	assert_null(find(c, "b.test")->catalog);
	assert_false(find(c, "b.test")->is_catalog);
	/* One that nobody is in stays. */
	assert_true(find(c, "other.example")->is_catalog);
	conf_free(c);
}

/* Without one: the secondaries of all members. */
static void test_no_entry(void **state)
{
	char found[4096];
	struct conf *c = read_text(
		REMOTES
		"zones:\n"
		"  - { name: a.test, file: a, catalog: cat.example, secondaries: [ r2 ] }\n"
		"  - { name: b.test, file: b, catalog: CAT.example, secondaries: [ r2, r1 ] }\n"
		"  - { name: c.test, file: c, catalog: aaa.example, secondaries: [ r1 ] }\n",
		found, sizeof(found));

	(void)state;
	assert_string_equal(
		found, "5:39:warning: 'catalog': r1 has it, and is none of the secondaries of zone "
		       "a.test.\n");
	assert_int_equal(c->zone_count, 5);
	const struct conf_zone *cat = find(c, "cat.example");
	assert_true(cat->is_catalog);
	assert_int_equal(cat->secondary_count, 2);
	assert_int_equal(cat->secondaries[0], 1);
	assert_int_equal(cat->secondaries[1], 0);
	assert_ptr_equal(find(c, "a.test")->catalog, cat);
	assert_ptr_equal(find(c, "b.test")->catalog, cat);
	assert_ptr_equal(find(c, "c.test")->catalog, find(c, "aaa.example"));
	assert_int_equal(find(c, "aaa.example")->secondary_count, 1);
	/* Sorted, the added ones too. */
	for (size_t i = 1; i < c->zone_count; i++) {
		assert_true(name_compare(c->zones[i - 1].name, c->zones[i].name) < 0);
	}
	conf_free(c);
}

#define ENTRY  "  - { name: cat.example, make: catalog, secondaries: [ r1 ] }\n"
#define MEMBER "  - { name: a.test, file: a, secondaries: [ r1 ], catalog: "
#define L63    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG   L63 "." L63 "." L63 ".aaaaaaaaaaaaaaaaa"

static const struct {
	const char *name, *zones, *found;
} bad[] = {
	{"in itself", MEMBER "a.test }\n", "5:60:'catalog': zone a.test. in itself\n"},
	{"in itself, with an entry", ENTRY MEMBER "a.test }\n",
	 "6:60:'catalog': zone a.test. in itself\n"},
	{"a zone with a file", "  - { name: b.test, file: b }\n" MEMBER "b.test }\n",
	 "6:60:'catalog': zone b.test. has a file (line 5), and is no catalog\n"},
	{"unknown, where there are entries", ENTRY MEMBER "cat.exmaple }\n",
	 "6:60:there is no catalog 'cat.exmaple.'\n"},
	{"the root", MEMBER ". }\n", "5:60:'catalog': the root cannot be a catalog\n"},
	{"no name", MEMBER "a..b }\n", "5:60:'catalog': a label is empty: 'a..b'\n"},
	{"a list", MEMBER "[ a ] }\n", "5:60:'catalog': expected a domain name, found a list\n"},
	{"too long", MEMBER LONG " }\n",
	 "5:60:'catalog': too long for a catalog, which has longer names in it\n"},
	{"nobody has it", "  - { name: a.test, file: a, catalog: cat.example }\n",
	 "5:39:'catalog': none of its zones has secondaries: nobody would have the catalog\n"},
	{"a group of nothing", "  - { name: a.test, file: a, catalog-group: g }\n",
	 "5:30:'catalog-group' without 'catalog'\n"},
	{"an empty group", MEMBER "cat.example, catalog-group: '' }\n",
	 "5:88:'catalog-group': empty\n"},
	{"with a file", "  - { name: cat.example, make: catalog, file: a, secondaries: [ r1 ] }\n",
	 "5:41:'file' and 'make: catalog' exclude each other\n"},
	{"with a directory", "  - { make: catalog, directory: d, secondaries: [ r1 ] }\n",
	 "5:5:'name' is missing\n5:22:'directory' and 'make: catalog' exclude each other\n"},
	{"with a policy",
	 "  - { name: cat.example, make: catalog, policy: p, secondaries: [ r1 ] }\n",
	 "5:41:'policy' and 'make: catalog' exclude each other\n"
	 "5:49:there is no policy 'p'\n"},
	{"with more",
	 "  - { name: cat.example, make: catalog, watch: true, parent: [ 192.0.2.9 ],\n"
	 "      secondaries: [ r1 ] }\n",
	 "5:41:'watch' and 'make: catalog' exclude each other\n"
	 "5:54:'parent' and 'make: catalog' exclude each other\n"},
	{"a catalog in a catalog",
	 ENTRY
	 "  - { name: b.example, make: catalog, secondaries: [ r1 ], catalog: cat.example }\n",
	 "6:60:'catalog' and 'make: catalog' exclude each other\n"},
	{"without secondaries", "  - { name: cat.example, make: catalog }\n",
	 "5:5:'secondaries' is missing: nobody would have the catalog\n"},
	{"the root made", "  - { name: ., make: catalog, secondaries: [ r1 ] }\n",
	 "5:13:'name': the root cannot be a catalog\n"},
	{"made too long", "  - { name: " LONG ", make: catalog, secondaries: [ r1 ] }\n",
	 "5:13:'name': too long for a catalog, which has longer names in it\n"},
	{"its file's serial",
	 "  - { name: cat.example, make: catalog, serial: keep, secondaries: [ r1 ] }\n",
	 "5:49:'serial': keep is for zones with a file, which has one\n"},
	{"another thing made", "  - { name: a.test, make: tea, secondaries: [ r1 ] }\n",
	 "5:27:'make': expected catalog, found 'tea'\n"},
	{"twice", ENTRY ENTRY, "6:13:zone cat.example. is given twice, first in line 5 (made)\n"},
	{"twice, with a file", ENTRY "  - { name: cat.example, file: a }\n",
	 "6:13:zone cat.example. is given twice, first in line 5 (made)\n"},
};

static void test_faults(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[2048];
		char found[4096];
		snprintf(text, sizeof(text), "%szones:\n%s", REMOTES, bad[i].zones);
		struct conf *c = read_text(text, found, sizeof(found));
		if (c != NULL || strcmp(found, bad[i].found) != 0) {
			print_error("%s:\n%s", bad[i].name, found);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

/* A secondary of the catalog that may not have a member: a warning, once for each entry. */
static void test_secondaries_without(void **state)
{
	char found[4096];
	struct conf *c = read_text(REMOTES "zones:\n" ENTRY
					   "  - { name: a.test, file: a, catalog: cat.example }\n"
					   "  - { name: b.test, file: b, secondaries: [ r2 ],\n"
					   "      catalog: cat.example }\n",
				   found, sizeof(found));
	(void)state;
	assert_non_null(c);
	assert_string_equal(
		found, "6:39:warning: 'catalog': r1 has it, and is none of the secondaries of zone "
		       "a.test.\n"
		       "8:16:warning: 'catalog': r1 has it, and is none of the secondaries of zone "
		       "b.test.\n");
	conf_free(c);
}

static void put_file(const char *folder, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* All zones of a directory are members. */
static void test_directory(void **state)
{
	static const char *const files[] = {"one.test.zone", "two.test.zone", "t.yaml"};
	char folder[] = "/tmp/signet-test-XXXXXX";
	char path[128];
	struct conf *c = NULL;
	struct diags d;

	(void)state;
	assert_non_null(mkdtemp(folder));
	put_file(folder, files[0], "");
	put_file(folder, files[1], "");
	put_file(folder, files[2],
		 REMOTES "zones:\n  - { directory: ., catalog: cat.example, catalog-group: g,\n"
			 "      secondaries: [ r1 ] }\n" ENTRY);
	snprintf(path, sizeof(path), "%s/t.yaml", folder);
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(conf_read(path, &c, &d), ST_OK);
	assert_int_equal(d.count, 0);
	diags_fini(&d);
	assert_int_equal(c->zone_count, 3);
	assert_ptr_equal(find(c, "one.test")->catalog, find(c, "cat.example"));
	assert_string_equal(find(c, "one.test")->catalog_group, "g");
	assert_string_equal(find(c, "two.test")->catalog_group, "g");
	conf_free(c);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
		assert_int_equal(remove(path), 0);
	}
	assert_int_equal(remove(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry),	  cmocka_unit_test(test_no_entry),
		cmocka_unit_test(test_faults),	  cmocka_unit_test(test_secondaries_without),
		cmocka_unit_test(test_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
