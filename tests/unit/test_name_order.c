/* Order, keys and hashes of names: what trees and tables rest on. */
#include "nsd-core/base/name.h"

#include <setjmp.h>
#include <stdarg.h>
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
		assert_false(name_is_below(a, (const uint8_t *)"\1q\7example\3com\0"));
		b[len] = 'r';
		assert_false(name_equal(a, b));
		assert_true(name_compare(a, b) < 0);
		free(a);
		free(b);
	}
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
		cmocka_unit_test(canonical_order),
		cmocka_unit_test(order_key_and_hash_agree_on_random_names),
		cmocka_unit_test(nothing_is_read_past_the_root),
		cmocka_unit_test(sort_keys_nest),
		cmocka_unit_test(hashes_of_all_ancestors),
		cmocka_unit_test(hashes_spread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
