#include "nsd-core/base/name.h"

#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

/* Text to wire, which must work. */
static const uint8_t *wire(const char *text, uint8_t *buf)
{
	size_t len = 0;
	const char *why = NULL;

	if (name_from_text(text, strlen(text), NULL, buf, &len, &why) != ST_OK) {
		fail_msg("%s: %s", text, why);
	}
	assert_int_equal(len, name_len(buf));
	return buf;
}

static void check_finds_the_end(void **state)
{
	static const struct {
		const char *what;
		uint8_t data[8];
		size_t avail;
		size_t len; /* 0: malformed */
	} cases[] = {
		{"root", {0}, 1, 1},
		{"more follows", {1, 'a', 0, 9, 9}, 5, 3},
		{"two labels", {1, 'a', 2, 'b', 'c', 0}, 6, 6},
		{"nothing", {0}, 0, 0},
		{"no root", {1, 'a'}, 2, 0},
		{"cut in a label", {5, 'a'}, 2, 0},
		{"pointer", {0xc0, 0}, 2, 0},
		{"extended label", {0x41, 0}, 2, 0},
		{"64 octets", {64, 0}, 8, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = 4711;
		enum status st = name_check(cases[i].data, cases[i].avail, &len);
		if ((st == ST_OK) != (cases[i].len != 0)) {
			fail_msg("%s", cases[i].what);
		}
		assert_int_equal(st, cases[i].len != 0 ? ST_OK : ST_EPARSE);
		assert_int_equal(len, cases[i].len != 0 ? cases[i].len : 4711);
	}
}

static void at_most_255_octets(void **state)
{
	uint8_t data[300];
	size_t len = 4711;

	(void)state;
	memset(data, 'a', sizeof(data));
	data[0] = data[64] = data[128] = 63;
	data[192] = 61;
	data[254] = 0;
	assert_int_equal(name_check(data, sizeof(data), &len), ST_OK);
	assert_int_equal(len, 255);
	data[192] = 62;
	data[254] = 'a';
	data[255] = 0;
	len = 4711;
	assert_int_equal(name_check(data, sizeof(data), &len), ST_EPARSE);
	assert_int_equal(len, 4711);
}

static void text_both_ways(void **state)
{
	static const struct {
		const char *in;
		const char *out;
	} cases[] = {
		{".", "."},
		{"example.com.", "example.com."},
		{"example.com", "example.com."},
		{"EXAMPLE.com", "EXAMPLE.com."},
		{"*.a", "*.a."},
		{"\\042.a", "*.a."},
		{"a\\.b.c", "a\\.b.c."},
		{"a\\046b.c", "a\\.b.c."},
		{"\\000\\255", "\\000\\255."},
		{"\\032", "\\032."},
		{"a\\ b", "a\\032b."},
		{"\\\\", "\\\\."},
		{"\\\"\\;\\(\\)\\@\\$", "\\\"\\;\\(\\)\\@\\$."},
		{"@.a", "\\@.a."},
		{"\\@", "\\@."},
		{"\\a\\Z-_", "aZ-_."},
		{"\xff\x7f", "\\255\\127."},
	};
	uint8_t name[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ptr_equal(name_to_text(wire(cases[i].in, name), text), text);
		assert_string_equal(text, cases[i].out);
	}
}

static void text_takes_the_origin(void **state)
{
	static const struct {
		const char *in;
		const char *origin;
		const char *out;
	} cases[] = {
		{"@", "example.", "example."},
		{"@", ".", "."},
		{"a", "example.", "a.example."},
		{"a.", "example.", "a."},
		{".", "example.", "."},
		{"a.b", ".", "a.b."},
		{"a\\.", "example.", "a\\..example."},
	};
	uint8_t name[NAME_MAX_LEN];
	uint8_t origin[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		wire(cases[i].origin, origin);
		assert_int_equal(
			name_from_text(cases[i].in, strlen(cases[i].in), origin, name, &len, NULL),
			ST_OK);
		assert_string_equal(name_to_text(name, text), cases[i].out);
	}
	/* A relative $ORIGIN: the result replaces what it was relative to. */
	wire("example.", origin);
	assert_int_equal(name_from_text("sub", 3, origin, origin, &len, NULL), ST_OK);
	assert_string_equal(name_to_text(origin, text), "sub.example.");
}

static void bad_text_is_refused(void **state)
{
	static const char l63[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	char long_label[70];
	char long_name[300];
	char fits[300];
	snprintf(long_label, sizeof(long_label), "%sb", l63);
	snprintf(fits, sizeof(fits), "%s.%s.%s.%.61s", l63, l63, l63, l63);
	snprintf(long_name, sizeof(long_name), "%s.%s.%s.%.62s", l63, l63, l63, l63);
	const struct {
		const char *text;
		const char *origin;
		enum status st;
	} cases[] = {
		{"", NULL, ST_EPARSE},	      {"..", NULL, ST_EPARSE},
		{".a", NULL, ST_EPARSE},      {"a..b", NULL, ST_EPARSE},
		{"a..", NULL, ST_EPARSE},     {"@", NULL, ST_EPARSE},
		{"a\\", NULL, ST_EPARSE},     {"\\256", NULL, ST_EPARSE},
		{"\\999", NULL, ST_EPARSE},   {"\\1", NULL, ST_EPARSE},
		{"\\12", NULL, ST_EPARSE},    {"\\12a", NULL, ST_EPARSE},
		{"\\1a2", NULL, ST_EPARSE},   {long_label, NULL, ST_ESPACE},
		{long_name, NULL, ST_ESPACE}, {fits, NULL, ST_OK},
		{fits, "a.", ST_ESPACE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t name[NAME_MAX_LEN];
		uint8_t origin[NAME_MAX_LEN];
		size_t len = 4711;
		const char *why = NULL;
		memset(name, 0xee, sizeof(name));
		if (cases[i].origin != NULL) {
			wire(cases[i].origin, origin);
		}
		enum status st =
			name_from_text(cases[i].text, strlen(cases[i].text),
				       cases[i].origin != NULL ? origin : NULL, name, &len, &why);
		assert_int_equal(st, cases[i].st);
		if (st == ST_OK) {
			assert_int_equal(len, 255);
			continue;
		}
		assert_non_null(why);
		assert_int_equal(len, 4711);
		for (size_t k = 0; k < sizeof(name); k++) {
			assert_int_equal(name[k], 0xee);
		}
	}
}

static void longest_text_fits(void **state)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t back[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];

	(void)state;
	memset(name, 1, sizeof(name));
	name[0] = name[64] = name[128] = 63;
	name[192] = 61;
	name[254] = 0;
	memset(text, 'x', sizeof(text));
	name_to_text(name, text);
	assert_true(strlen(text) < NAME_TEXT_MAX);
	assert_memory_equal(wire(text, back), name, 255);
}

static void lengths_and_labels(void **state)
{
	uint8_t name[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];

	(void)state;
	assert_int_equal(name_labels(wire(".", name)), 0);
	assert_int_equal(name_len(name), 1);
	wire("*.a.example.com.", name);
	assert_int_equal(name_labels(name), 4);
	assert_int_equal(name_len(name), 17);
	assert_true(name_is_wildcard(name));
	assert_ptr_equal(name_strip(name, 0), name);
	assert_string_equal(name_to_text(name_strip(name, 2), text), "example.com.");
	assert_string_equal(name_to_text(name_strip(name, 4), text), ".");
	assert_false(name_is_wildcard(wire("a.*.b", name)));
	assert_false(name_is_wildcard(wire("**", name)));
	assert_false(name_is_wildcard(wire(".", name)));
}

static void below_and_common(void **state)
{
	static const struct {
		const char *name;
		const char *other;
		bool below;
		unsigned common;
	} cases[] = {
		{"a.example.", "example.", true, 1}, {"A.eXample.", "Example.", true, 1},
		{"example.", "example.", true, 1},   {"example.", "a.example.", false, 1},
		{"bexample.", "example.", false, 0}, {"b.a.example.", "c.a.example.", false, 2},
		{"example.", ".", true, 0},	     {".", ".", true, 0},
		{".", "example.", false, 0},	     {"x\\007example.", "example.", false, 0},
		{"a.b.c.d.", "c.d.", true, 2},	     {"a.x.c.d.", "b.c.d.", false, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t a[NAME_MAX_LEN];
		uint8_t b[NAME_MAX_LEN];
		wire(cases[i].name, a);
		wire(cases[i].other, b);
		assert_int_equal(name_is_below(a, b), cases[i].below);
		assert_int_equal(name_common_labels(a, b), cases[i].common);
		assert_int_equal(name_common_labels(b, a), cases[i].common);
	}
}

/* Every octet at every place of a word and of what is left after words. */
static void lower_is_ascii_only(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 1; at <= 20; at++) {
			uint8_t name[22] = {20};
			uint8_t want[22] = {20};
			uint8_t out[22];
			memset(name + 1, 'Q', 20);
			memset(want + 1, 'q', 20);
			name[at] = (uint8_t)c;
			want[at] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
			assert_int_equal(name_lower(out, name), 22);
			assert_memory_equal(out, want, 22);
			assert_int_equal(name_equal(name, want), 1);
			assert_int_equal(name_compare(name, want), 0);
			assert_true(name_hash(name) == name_hash(want));
			assert_int_equal(name_lower(name, name), 22);
			assert_memory_equal(name, want, 22);
			want[at] ^= 0x80;
			assert_int_equal(name_equal(name, want), 0);
			assert_true(name_hash(name) != name_hash(want));
		}
	}
}

static void join(void **state)
{
	uint8_t prefix[NAME_MAX_LEN];
	uint8_t suffix[NAME_MAX_LEN];
	uint8_t out[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];
	size_t len = 4711;

	(void)state;
	wire("a.b.old.", prefix);
	wire("new.example.", suffix);
	assert_int_equal(name_join(prefix, 4, suffix, out, &len), ST_OK);
	assert_string_equal(name_to_text(out, text), "a.b.new.example.");
	assert_int_equal(len, name_len(out));
	assert_int_equal(name_join(prefix, 0, suffix, suffix, &len), ST_OK);
	assert_string_equal(name_to_text(suffix, text), "new.example.");
	/* Joined in place, behind itself. */
	assert_int_equal(name_join(prefix, 2, suffix, suffix, &len), ST_OK);
	assert_string_equal(name_to_text(suffix, text), "a.new.example.");
	memset(prefix, 'x', sizeof(prefix));
	prefix[0] = prefix[64] = prefix[128] = 63;
	prefix[192] = 48;
	len = 4711;
	memset(out, 0xee, sizeof(out));
	assert_int_equal(name_join(prefix, 241, suffix, out, &len), ST_ESPACE);
	assert_int_equal(len, 4711);
	assert_int_equal(out[0], 0xee);
	assert_int_equal(name_join(prefix, 240, suffix, out, &len), ST_OK);
	assert_int_equal(len, 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_finds_the_end), cmocka_unit_test(at_most_255_octets),
		cmocka_unit_test(text_both_ways),      cmocka_unit_test(text_takes_the_origin),
		cmocka_unit_test(bad_text_is_refused), cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(lengths_and_labels),  cmocka_unit_test(below_and_common),
		cmocka_unit_test(lower_is_ascii_only), cmocka_unit_test(join),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
