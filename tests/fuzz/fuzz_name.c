/* Names from arbitrary octets and text: what is taken must survive every way there and back, and
 * order, keys, hashes and equality must agree with each other. A failure aborts. */
#include "nsd-core/base/name.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

static void check_text(const uint8_t *name, size_t len)
{
	char text[NAME_TEXT_MAX];
	uint8_t back[NAME_MAX_LEN];
	size_t back_len;

	name_to_text(name, text);
	require(name_from_text(text, strlen(text), NULL, back, &back_len, NULL) == ST_OK);
	require(back_len == len && memcmp(back, name, len) == 0);
}

static void check_case(const uint8_t *name, size_t len)
{
	uint8_t other[NAME_MAX_LEN];
	uint8_t lower[NAME_MAX_LEN];
	uint8_t again[NAME_MAX_LEN];

	for (size_t i = 0; i < len; i++) {
		bool letter =
			(name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z');
		other[i] = letter ? (uint8_t)(name[i] ^ 0x20) : name[i];
	}
	require(name_equal(name, other));
	require(name_compare(name, other) == 0);
	require(name_hash(name) == name_hash(other));
	require(name_lower(lower, name) == len);
	require(name_lower(again, other) == len);
	require(memcmp(lower, again, len) == 0);
}

static void check_ancestors(const uint8_t *name, size_t len)
{
	struct name_ref ref;
	uint8_t key[NAME_KEY_MAX];
	uint8_t above_key[NAME_KEY_MAX];
	size_t key_len = name_sort_key(name, key);

	name_ref_init(&ref, name);
	require(ref.len == len && ref.labels == name_labels(name));
	for (unsigned n = 0; n <= ref.labels; n++) {
		const uint8_t *above = name_ref_at(&ref, n);
		require(above == name_strip(name, ref.labels - n));
		require(ref.hash[n] == name_hash(above));
		require(name_is_below(name, above));
		require(name_common_labels(name, above) == n);
		size_t above_len = name_sort_key(above, above_key);
		require(above_len <= key_len && memcmp(key, above_key, above_len) == 0);
		require(n == ref.labels ||
			(name_compare(above, name) < 0 && !name_equal(above, name)));
	}
}

static int key_order(const uint8_t *a, const uint8_t *b)
{
	uint8_t ka[NAME_KEY_MAX];
	uint8_t kb[NAME_KEY_MAX];
	size_t la = name_sort_key(a, ka);
	size_t lb = name_sort_key(b, kb);
	int order = memcmp(ka, kb, la < lb ? la : lb);

	return order != 0 ? order : (la > lb) - (la < lb);
}

static void check_pair(const uint8_t *a, const uint8_t *b)
{
	int order = name_compare(a, b);
	int by_key = key_order(a, b);
	unsigned common = name_common_labels(a, b);
	uint8_t joined[NAME_MAX_LEN];
	size_t len = 0;

	require((order < 0) == (by_key < 0) && (order > 0) == (by_key > 0));
	require((name_compare(b, a) < 0) == (order > 0));
	require(name_equal(a, b) == (order == 0));
	require(order != 0 || name_hash(a) == name_hash(b));
	require(name_is_below(a, b) == (common == name_labels(b)));
	enum status st = name_join(a, name_len(a) - 1, b, joined, &len);
	require((st == ST_OK) == (name_len(a) - 1 + name_len(b) <= NAME_MAX_LEN));
	if (st == ST_OK) {
		require(name_len(joined) == len && name_is_below(joined, b));
		require(name_labels(joined) == name_labels(a) + name_labels(b));
	}
}

static void check_name(const uint8_t *name, size_t len)
{
	require(name_len(name) == len && len <= NAME_MAX_LEN);
	require(name_labels(name) <= NAME_MAX_LABELS);
	check_text(name, len);
	check_case(name, len);
	check_ancestors(name, len);
}

/* The input as text, absolute and below an origin of its own. */
static void try_text(const uint8_t *data, size_t size)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t below[NAME_MAX_LEN];
	size_t len;
	size_t below_len;

	if (name_from_text((const char *)data, size, NULL, name, &len, NULL) != ST_OK) {
		return;
	}
	check_name(name, len);
	if (name_from_text((const char *)data, size, name, below, &below_len, NULL) == ST_OK) {
		check_name(below, below_len);
		require(name_equal(below, name) || name_is_below(below, name));
	}
}

/* The input as a message: names from every offset, plain and compressed. */
static void try_message(const uint8_t *data, size_t size)
{
	uint8_t names[2][NAME_MAX_LEN] = {{0}, {0}};
	size_t len;

	for (size_t at = 0; at < size && at < 128; at++) {
		struct wreader r;
		uint8_t *name = names[at % 2];
		wreader_init(&r, data, size);
		wreader_bytes(&r, at);
		size_t expanded = wreader_name_expand(&r, name);
		require((expanded == 0) == (r.err != ST_OK));
		if (name_check(data + at, size - at, &len) == ST_OK) {
			require(expanded == len && memcmp(name, data + at, len) == 0);
			require(r.pos == data + at + len);
		}
		if (expanded != 0) {
			check_name(name, expanded);
			check_pair(names[0], names[1]);
		} else {
			name[0] = 0;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_text(data, size);
	try_message(data, size);
	return 0;
}
