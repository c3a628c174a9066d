#include "nsd-core/base/name.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

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

static int sign(int v)
{
	return (v > 0) - (v < 0);
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

/* RFC 4034 6.1's own example, and what it leaves out. In order. */
static const char *const ordered[] = {
	".",
	"\\000.",
	"\\000\\000.",
	"example.",
	"a.example.",
	"a\\000.example.",
	"yljkjljk.a.example.x.",
	"\\001.z.",
	"\\001\\000.z.",
	"\\002.z.",
	"*.z.",
	"*\\000.z.",
	"-.z.",
	"0.z.",
	"@.z.",
	"[.z.",
	"_.z.",
	"a.z.",
	"aaaaaaa.z.",
	"aaaaaaaa.z.",
	"aaaaaaaaa.z.",
	"aaaaaaaab.z.",
	"baaaaaaaa.z.",
	"\\200.z.",
	"\\255.z.",
	"\\192.zz.",
	"\\224.zz.",
};

static void canonical_order(void **state)
{
	static const char *const rfc[] = {
		"example.",	    "a.example.",      "yljkjljk.a.example.",
		"Z.a.example.",	    "zABC.a.EXAMPLE.", "z.example.",
		"\\001.z.example.", "*.z.example.",    "\\200.z.example.",
	};
	const struct {
		const char *const *names;
		size_t count;
	} lists[] = {
		{rfc, sizeof(rfc) / sizeof(rfc[0])},
		{ordered, sizeof(ordered) / sizeof(ordered[0])},
	};
	uint8_t a[NAME_MAX_LEN];
	uint8_t b[NAME_MAX_LEN];

	(void)state;
	for (size_t l = 0; l < 2; l++) {
		for (size_t i = 0; i < lists[l].count; i++) {
			for (size_t j = 0; j < lists[l].count; j++) {
				wire(lists[l].names[i], a);
				wire(lists[l].names[j], b);
				int want = (i > j) - (i < j);
				if (sign(name_compare(a, b)) != want) {
					fail_msg("%s %s", lists[l].names[i], lists[l].names[j]);
				}
				assert_int_equal(name_equal(a, b), i == j);
			}
		}
	}
}

static int key_compare(const uint8_t *a, const uint8_t *b)
{
	uint8_t ka[NAME_KEY_MAX];
	uint8_t kb[NAME_KEY_MAX];
	size_t la = name_sort_key(a, ka);
	size_t lb = name_sort_key(b, kb);
	int order = memcmp(ka, kb, la < lb ? la : lb);

	return order != 0 ? order : (la > lb) - (la < lb);
}

/* A plain reading of RFC 4034 6.1 and 1035 2.3.3, octet by octet. */
static int plain_compare(const uint8_t *a, const uint8_t *b)
{
	unsigned la = name_labels(a);
	unsigned lb = name_labels(b);

	for (unsigned n = 1; n <= la && n <= lb; n++) {
		const uint8_t *pa = name_strip(a, la - n);
		const uint8_t *pb = name_strip(b, lb - n);
		for (unsigned i = 1; i <= *pa && i <= *pb; i++) {
			int ca = pa[i] >= 'A' && pa[i] <= 'Z' ? pa[i] + 32 : pa[i];
			int cb = pb[i] >= 'A' && pb[i] <= 'Z' ? pb[i] + 32 : pb[i];
			if (ca != cb) {
				return ca - cb;
			}
		}
		if (*pa != *pb) {
			return *pa - *pb;
		}
	}
	return (int)la - (int)lb;
}

static uint32_t next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

/* A name over few octets, those where comparison could go wrong, so that many names share parts. */
static void random_name(uint64_t *seed, uint8_t *name)
{
	static const uint8_t octets[] = {0,   1,   2,	'@',  'A',  'Z',  '[', '`',
					 'a', 'z', '{', 0x7f, 0x80, 0xc1, 0xff};
	size_t at = 0;

	for (uint32_t labels = next_random(seed) % 5; labels > 0; labels--) {
		uint32_t pick = next_random(seed);
		uint32_t len = pick % 4 == 0 ? 1 + pick / 4 % 40 : 1 + pick / 4 % 3;
		name[at++] = (uint8_t)len;
		for (; len > 0; len--) {
			uint32_t o = next_random(seed);
			name[at++] = o % 3 == 0 ? 'a' : octets[o / 3 % sizeof(octets)];
		}
	}
	name[at] = 0;
}

static void toggle_case(const uint8_t *name, uint8_t *out)
{
	size_t len = name_len(name);

	for (size_t i = 0; i < len; i++) {
		uint8_t c = name[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		out[i] = letter ? (uint8_t)(c ^ 0x20) : c;
	}
}

static void order_key_and_hash_agree_on_random_names(void **state)
{
	uint8_t *a = malloc(NAME_MAX_LEN);
	uint64_t seed = 20261122;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint8_t b[NAME_MAX_LEN];
		uint8_t toggled[NAME_MAX_LEN];
		random_name(&seed, a);
		random_name(&seed, b);
		int want = sign(plain_compare(a, b));
		assert_int_equal(sign(name_compare(a, b)), want);
		assert_int_equal(sign(name_compare(b, a)), -want);
		assert_int_equal(sign(key_compare(a, b)), want);
		assert_int_equal(name_equal(a, b), want == 0);
		assert_int_equal(name_hash(a) == name_hash(b), want == 0);
		toggle_case(a, toggled);
		assert_int_equal(name_compare(a, toggled), 0);
		assert_true(name_equal(a, toggled));
		assert_true(name_hash(a) == name_hash(toggled));
	}
	free(a);
}

/* Names end where their block of memory does: wide loads may not look further. */
static void nothing_is_read_past_the_root(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 63; len++) {
		uint8_t *a = malloc(len + 2);
		uint8_t *b = malloc(len + 2);
		uint8_t key[NAME_KEY_MAX];
		struct name_ref ref;
		memset(a, 'q', len + 2);
		a[0] = (uint8_t)len;
		a[len + 1] = 0;
		memcpy(b, a, len + 2);
		b[len] = 'Q';
		assert_true(name_equal(a, b));
		assert_int_equal(name_compare(a, b), 0);
		assert_int_equal(name_sort_key(a, key), len + 1);
		name_ref_init(&ref, b);
		assert_true(ref.hash[1] == name_hash(a));
		assert_int_equal(name_lower(b, b), len + 2);
		assert_memory_equal(a, b, len + 2);
		b[len] = 'r';
		assert_false(name_equal(a, b));
		assert_true(name_compare(a, b) < 0);
		free(a);
		free(b);
	}
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

static void sort_keys_nest(void **state)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t key[NAME_KEY_MAX];

	(void)state;
	assert_int_equal(name_sort_key(wire(".", name), key), 0);
	size_t len = name_sort_key(wire("W\\000w\\001.Example.", name), key);
	assert_int_equal(len, 15);
	assert_memory_equal(key, "example\0w\1\1w\1\2\0", 15);
	/* Escapes at every place of a word. */
	for (size_t at = 0; at < 20; at++) {
		uint8_t label[22] = {20};
		memset(label + 1, 'M', 20);
		label[1 + at] = (uint8_t)(at % 2);
		assert_int_equal(name_sort_key(label, key), 22);
		assert_int_equal(key[at], 1);
		assert_int_equal(key[at + 1], at % 2 + 1);
		assert_int_equal(key[at == 0 ? 2 : 0], 'm');
		assert_int_equal(key[21], 0);
	}
	/* The longest key of all. */
	memset(name, 0, sizeof(name));
	name[0] = name[64] = name[128] = 63;
	name[192] = 61;
	assert_int_equal(name_sort_key(name, key), 504);
}

static void hashes_of_all_ancestors(void **state)
{
	uint8_t name[NAME_MAX_LEN];
	struct name_ref ref;
	char text[NAME_TEXT_MAX];

	(void)state;
	name_ref_init(&ref, wire(".", name));
	assert_int_equal(ref.labels, 0);
	assert_int_equal(ref.len, 1);
	assert_true(ref.hash[0] == NAME_HASH_ROOT);
	assert_ptr_equal(name_ref_at(&ref, 0), name);

	name_ref_init(&ref, wire("Very-Long-Label-Here.b.Example.", name));
	assert_int_equal(ref.labels, 3);
	assert_int_equal(ref.len, name_len(name));
	assert_ptr_equal(ref.wire, name);
	assert_ptr_equal(name_ref_at(&ref, 3), name);
	assert_string_equal(name_to_text(name_ref_at(&ref, 2), text), "b.Example.");
	assert_string_equal(name_to_text(name_ref_at(&ref, 0), text), ".");
	for (unsigned n = 0; n <= ref.labels; n++) {
		assert_true(ref.hash[n] == name_hash(name_ref_at(&ref, n)));
	}
	assert_true(name_hash_label(ref.hash[2], name) == ref.hash[3]);

	/* As many labels as there can be. */
	for (size_t i = 0; i < 127; i++) {
		name[2 * i] = 1;
		name[2 * i + 1] = 'x';
	}
	name[254] = 0;
	name_ref_init(&ref, name);
	assert_int_equal(ref.labels, 127);
	assert_int_equal(ref.len, 255);
	assert_ptr_equal(name_ref_at(&ref, 0), name + 254);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Names as zones have them: counted up, differing in little. Each of 16 bits at either end of the
 * hash must spread them: a chi-squared near its mean (65535, deviation 362). */
static void hashes_spread(void **state)
{
	enum { NAMES = 1 << 20, BUCKETS = 1 << 16 };
	static const char *const forms[] = {"host%u.example.", "%u.2.0.192.in-addr.arpa.",
					    "a%07u.zone.example.", "mail-server-number-%u.x."};
	uint64_t *hashes = calloc(NAMES, sizeof(*hashes));
	uint32_t *buckets = calloc(BUCKETS, sizeof(*buckets));

	(void)state;
	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		for (unsigned i = 0; i < NAMES; i++) {
			char text[64];
			uint8_t name[NAME_MAX_LEN];
			size_t len;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			int text_len = snprintf(text, sizeof(text), forms[f], i);
#pragma GCC diagnostic pop
			assert_int_equal(
				name_from_text(text, (size_t)text_len, NULL, name, &len, NULL),
				ST_OK);
			hashes[i] = name_hash(name);
		}
		for (unsigned shift = 0; shift <= 48; shift += 16) {
			double chi = 0;
			double mean = (double)NAMES / BUCKETS;
			memset(buckets, 0, BUCKETS * sizeof(*buckets));
			for (size_t i = 0; i < NAMES; i++) {
				buckets[hashes[i] >> shift & (BUCKETS - 1)]++;
			}
			for (size_t b = 0; b < BUCKETS; b++) {
				chi += (buckets[b] - mean) * (buckets[b] - mean) / mean;
			}
			if (chi > 65535 + 12 * 362) {
				fail_msg("%s, bits %u up: %.0f", forms[f], shift, chi);
			}
		}
		qsort(hashes, NAMES, sizeof(*hashes), compare_u64);
		for (size_t i = 1; i < NAMES; i++) {
			assert_true(hashes[i - 1] != hashes[i]);
		}
	}
	free(hashes);
	free(buckets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_finds_the_end),
		cmocka_unit_test(at_most_255_octets),
		cmocka_unit_test(text_both_ways),
		cmocka_unit_test(text_takes_the_origin),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(lengths_and_labels),
		cmocka_unit_test(canonical_order),
		cmocka_unit_test(order_key_and_hash_agree_on_random_names),
		cmocka_unit_test(nothing_is_read_past_the_root),
		cmocka_unit_test(below_and_common),
		cmocka_unit_test(lower_is_ascii_only),
		cmocka_unit_test(join),
		cmocka_unit_test(sort_keys_nest),
		cmocka_unit_test(hashes_of_all_ancestors),
		cmocka_unit_test(hashes_spread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
