/* Catalog zones: labels, and what stands in one. */
#include "zones/catalog.h"
#include "zones/rdata.h"

#include "nsd-core/base/rrtype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t apex[] = "\3Cat\7example";

#define LABEL_A	      "4ai8g3avgocp3r29r7h1tq6ve5d6u1vo" /* a.test */
#define LABEL_EXAMPLE "i0n9ohifkgvslc89q6jbinevgcpol35s" /* example.com */

static void test_labels(void **state)
{
	/* SHA-256 of the name in wire form, its first 20 octets in base32hex: as Python's hashlib
	 * and base64 have it. */
	static const struct {
		const char *name, *label;
	} known[] = {
		{"a.test", LABEL_A},
		{"A.TesT.", LABEL_A},
		{"example.com", LABEL_EXAMPLE},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint8_t name[NAME_MAX_LEN];
		char label[CATALOG_LABEL_LEN + 1];
		size_t len;
		assert_int_equal(name_from_text(known[i].name, strlen(known[i].name), NULL, name,
						&len, NULL),
				 ST_OK);
		assert_int_equal(catalog_label(name, label), ST_OK);
		assert_string_equal(label, known[i].label);
	}
}

/* A label for each of many names. */
static int compare_labels(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void test_labels_differ(void **state)
{
	enum { MANY = 20000 };
	char(*labels)[CATALOG_LABEL_LEN + 1] = calloc(MANY, sizeof(*labels));

	(void)state;
	assert_non_null(labels);
	for (unsigned i = 0; i < MANY; i++) {
		uint8_t name[] = "\4xxxx\4test";
		for (unsigned k = 0, n = i; k < 4; k++, n /= 26) {
			name[1 + k] = (uint8_t)('a' + n % 26);
		}
		assert_int_equal(catalog_label(name, labels[i]), ST_OK);
	}
	qsort(labels, MANY, sizeof(*labels), compare_labels);
	for (unsigned i = 1; i < MANY; i++) {
		assert_string_not_equal(labels[i - 1], labels[i]);
	}
	free(labels);
}

/* The sorted content, a line for each record. */
static void content_text(const struct content *c, char *out, size_t room)
{
	size_t used = 0;
	out[0] = '\0';
	for (size_t i = 0; i < c->record_count; i++) {
		const struct record *r = &c->records[i];
		char owner[NAME_TEXT_MAX];
		char type[RRTYPE_TEXT_MAX];
		char rdata[2 * NAME_TEXT_MAX];
		assert_int_equal(rdata_to_text(r->type, record_rdata(r), rdata, sizeof(rdata)),
				 ST_OK);
		used += (size_t)snprintf(out + used, room - used, "%s %u %s %s\n",
					 name_to_text(r->owner, owner), r->ttl,
					 rrtype_to_text(r->type, type), rdata);
		assert_true(used < room);
	}
}

static void make(struct content *c, const struct catalog_member *members, size_t count, char *text,
		 size_t room)
{
	struct diags d;
	diags_init(&d, 8);
	content_init(c, apex);
	assert_int_equal(catalog_begin(c), ST_OK);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(catalog_add(c, &members[i]), ST_OK);
	}
	assert_int_equal(catalog_end(c, &d), ST_OK);
	/* As any zone. */
	assert_int_equal(content_check(c, &(struct check_options){.signing = false}, &d), ST_OK);
	assert_int_equal(d.count, 0);
	diags_fini(&d);
	content_text(c, text, room);
}

#define EMPTY                                                                                      \
	"cat.example. 0 NS invalid.\n"                                                             \
	"cat.example. 0 SOA invalid. invalid. 0 3600 600 2147483646 0\n"                           \
	"version.cat.example. 0 TXT \"2\"\n"
#define PTR_A	    LABEL_A ".zones.cat.example. 0 PTR a.test.\n"
#define PTR_EXAMPLE LABEL_EXAMPLE ".zones.cat.example. 0 PTR example.com.\n"

static void test_content(void **state)
{
	static const uint8_t a[] = "\1a\4test";
	static const uint8_t example[] = "\7example\3com";
	static const struct {
		struct catalog_member members[3];
		size_t count;
		const char *text;
	} cases[] = {
		{.count = 0, .text = EMPTY},
		{{{a, NULL}}, 1, EMPTY PTR_A},
		{{{a, NULL}, {example, NULL}}, 2, EMPTY PTR_A PTR_EXAMPLE},
		/* In whatever order, and a member twice is one. */
		{{{example, NULL}, {a, NULL}, {a, NULL}}, 3, EMPTY PTR_A PTR_EXAMPLE},
		{{{example, "nodes \"1\""}, {a, NULL}},
		 2,
		 EMPTY PTR_A PTR_EXAMPLE "group." LABEL_EXAMPLE
					 ".zones.cat.example. 0 TXT \"nodes \\\"1\\\"\"\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct content c;
		char text[4096];
		make(&c, cases[i].members, cases[i].count, text, sizeof(text));
		assert_string_equal(text, cases[i].text);
		content_fini(&c);
	}
}

/* Two names of one digest cannot be had: another PTR is put beside a member's. */
static void test_one_label_for_two(void **state)
{
	static const uint8_t a[] = "\1a\4test";
	static const uint8_t other[] = "\5other\4test";
	struct content c;
	struct diags d;
	(void)state;
	diags_init(&d, 8);
	content_init(&c, apex);
	assert_int_equal(catalog_begin(&c), ST_OK);
	assert_int_equal(catalog_add(&c, &(struct catalog_member){.name = a}), ST_OK);
	assert_int_equal(content_add(&c, c.records[c.record_count - 1].owner, RR_PTR, 0,
				     (struct bytes){other, sizeof(other)}, (struct place){0}),
			 ST_OK);
	assert_int_equal(catalog_end(&c, &d), ST_EEXIST);
	assert_int_equal(d.errors, 1);
	assert_string_equal(
		d.items[0].text,
		"zone cat.example.: its members a.test. and other.test. have one label");
	diags_fini(&d);
	content_fini(&c);
}

#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* The longest name that a catalog may have, and one that is longer. */
static void test_longest_name(void **state)
{
	static const char *const texts[] = {LABEL63 "." LABEL63 "." LABEL63 ".aaaaaaaaaaaaaaaa",
					    LABEL63 "." LABEL63 "." LABEL63 ".aaaaaaaaaaaaaaaaa"};
	static const uint8_t a[] = "\1a\4test";
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t name[NAME_MAX_LEN];
		struct content c;
		size_t len;
		assert_int_equal(name_from_text(texts[i], strlen(texts[i]), NULL, name, &len, NULL),
				 ST_OK);
		assert_int_equal(len, CATALOG_NAME_MAX + i);
		content_init(&c, name);
		assert_int_equal(catalog_begin(&c), ST_OK);
		assert_int_equal(catalog_add(&c, &(struct catalog_member){a, "g"}),
				 i == 0 ? ST_OK : ST_ESPACE);
		content_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_labels),	     cmocka_unit_test(test_labels_differ),
		cmocka_unit_test(test_content),	     cmocka_unit_test(test_one_label_for_two),
		cmocka_unit_test(test_longest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
