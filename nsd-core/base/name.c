#include "nsd-core/base/name.h"

/* Octets are worked on eight at a time, the first in the low bits. Length octets are below 64 and
 * so never taken for letters: whole names can be compared and lower-cased without regard to labels.
 */
#define EVERY_OCTET UINT64_C(0x0101010101010101)
#define HIGH_BITS   (0x80 * EVERY_OCTET)

static inline uint64_t load8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(v) : v;
}

static inline uint32_t load4(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap32(v) : v;
}

static inline void store8(uint8_t *p, uint64_t v)
{
	v = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(v) : v;
	memcpy(p, &v, sizeof(v));
}

/* n < 8 octets, the rest zero; reads no further. Loads overlap where n is not a power of two. */
static inline uint64_t load_tail(const uint8_t *p, size_t n)
{
	if (n >= 4) {
		return load4(p) | (uint64_t)load4(p + n - 4) << (8 * (n - 4));
	}
	if (n > 0) {
		return p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) |
		       (uint64_t)p[n - 1] << (8 * (n - 1));
	}
	return 0;
}

/* A-Z to a-z in each octet. Adding to the low seven bits alone carries into no neighbour; octets
 * with the high bit set are left as they are. */
static inline uint64_t lower8(uint64_t v)
{
	uint64_t low = v & ~HIGH_BITS;
	uint64_t from_a = low + (0x80 - 'A') * EVERY_OCTET;
	uint64_t past_z = low + (0x7f - 'Z') * EVERY_OCTET;

	return v | ((from_a & ~past_z & ~v & HIGH_BITS) >> 2);
}

static inline uint8_t lower1(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Most names come in lower case, as they are stored. */
static inline bool words_equal_nocase(uint64_t a, uint64_t b)
{
	return a == b || lower8(a) == lower8(b);
}

static bool octets_equal_nocase(const uint8_t *a, const uint8_t *b, size_t len)
{
	if (len < 8) {
		return words_equal_nocase(load_tail(a, len), load_tail(b, len));
	}
	for (size_t at = 0; at + 8 < len; at += 8) {
		if (!words_equal_nocase(load8(a + at), load8(b + at))) {
			return false;
		}
	}
	/* The last word overlaps the one before it. */
	return words_equal_nocase(load8(a + len - 8), load8(b + len - 8));
}

/* As memcmp() over the octets in lower case, for len octets. */
static int octets_compare_nocase(const uint8_t *a, const uint8_t *b, size_t len)
{
	for (;; a += 8, b += 8, len -= 8) {
		bool last = len < 8;
		uint64_t va = last ? load_tail(a, len) : load8(a);
		uint64_t vb = last ? load_tail(b, len) : load8(b);
		if (!words_equal_nocase(va, vb)) {
			/* The first octet of the text is the most significant one of the swapped
			 * word. */
			va = __builtin_bswap64(lower8(va));
			vb = __builtin_bswap64(lower8(vb));
			return va < vb ? -1 : 1;
		}
		if (last) {
			return 0;
		}
	}
}

/* Where each label starts, the root's included; returns how many without the root. */
static unsigned label_offsets(const uint8_t *name, uint8_t offsets[NAME_MAX_LABELS + 1])
{
	unsigned labels = 0;
	size_t at = 0;

	while (name[at] != 0) {
		offsets[labels++] = (uint8_t)at;
		at += (size_t)name[at] + 1;
	}
	offsets[labels] = (uint8_t)at;
	return labels;
}

enum status name_check(const uint8_t *data, size_t avail, size_t *len)
{
	size_t room = avail < NAME_MAX_LEN ? avail : NAME_MAX_LEN;
	size_t at = 0;

	while (at < room) {
		if (data[at] == 0) {
			*len = at + 1;
			return ST_OK;
		}
		if (data[at] > 63) {
			return ST_EPARSE;
		}
		at += (size_t)data[at] + 1;
	}
	return ST_EPARSE;
}

size_t name_len(const uint8_t *name)
{
	const uint8_t *p = name;

	while (*p != 0) {
		p += *p + 1;
	}
	return (size_t)(p - name) + 1;
}

unsigned name_labels(const uint8_t *name)
{
	unsigned labels = 0;

	for (; *name != 0; name += *name + 1) {
		labels++;
	}
	return labels;
}

const uint8_t *name_strip(const uint8_t *name, unsigned n)
{
	for (; n > 0; n--) {
		name += *name + 1;
	}
	return name;
}

bool name_is_wildcard(const uint8_t *name)
{
	return name[0] == 1 && name[1] == '*';
}

int name_compare(const uint8_t *a, const uint8_t *b)
{
	uint8_t at_a[NAME_MAX_LABELS + 1];
	uint8_t at_b[NAME_MAX_LABELS + 1];
	unsigned left_a = label_offsets(a, at_a);
	unsigned left_b = label_offsets(b, at_b);

	while (left_a > 0 && left_b > 0) {
		const uint8_t *la = a + at_a[--left_a];
		const uint8_t *lb = b + at_b[--left_b];
		uint8_t common = *la < *lb ? *la : *lb;
		int order = octets_compare_nocase(la + 1, lb + 1, common);
		if (order == 0) {
			order = *la - *lb;
		}
		if (order != 0) {
			return order;
		}
	}
	return (int)left_a - (int)left_b;
}

bool name_equal(const uint8_t *a, const uint8_t *b)
{
	size_t len = name_len(a);

	return len == name_len(b) && octets_equal_nocase(a, b, len);
}

bool name_equal_len(const uint8_t *a, const uint8_t *b, size_t len)
{
	return octets_equal_nocase(a, b, len);
}

bool name_label_equal(const uint8_t *a, const uint8_t *b)
{
	return *a == *b && octets_equal_nocase(a + 1, b + 1, *a);
}

size_t name_common_tail(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	const uint8_t *a_end = a + a_len;
	const uint8_t *b_end = b + b_len;
	size_t most = a_len < b_len ? a_len : b_len;
	size_t n = 0;

	while (n < most && most >= 8) {
		/* The last word overlaps the one before it. */
		n = n + 8 < most ? n + 8 : most;
		uint64_t va = load8(a_end - n);
		uint64_t vb = load8(b_end - n);
		uint64_t differ = va == vb ? 0 : lower8(va) ^ lower8(vb);
		if (differ != 0) {
			return n - 8 + (size_t)__builtin_clzll(differ) / 8;
		}
	}
	while (n < most && lower1(a_end[-1 - (ptrdiff_t)n]) == lower1(b_end[-1 - (ptrdiff_t)n])) {
		n++;
	}
	return n;
}

bool name_is_below(const uint8_t *name, const uint8_t *ancestor)
{
	size_t len = name_len(ancestor);
	size_t left = name_len(name);

	while (left > len) {
		left -= (size_t)*name + 1;
		name += *name + 1;
	}
	return left == len && octets_equal_nocase(name, ancestor, len);
}

unsigned name_common_labels(const uint8_t *a, const uint8_t *b)
{
	uint8_t at_a[NAME_MAX_LABELS + 1];
	uint8_t at_b[NAME_MAX_LABELS + 1];
	unsigned left_a = label_offsets(a, at_a);
	unsigned left_b = label_offsets(b, at_b);
	unsigned common = 0;

	while (left_a > 0 && left_b > 0) {
		const uint8_t *la = a + at_a[--left_a];
		const uint8_t *lb = b + at_b[--left_b];
		if (*la != *lb || !octets_equal_nocase(la + 1, lb + 1, *la)) {
			break;
		}
		common++;
	}
	return common;
}

size_t name_lower(uint8_t *dst, const uint8_t *src)
{
	size_t len = name_len(src);
	size_t at = 0;

	for (; at + 8 <= len; at += 8) {
		store8(dst + at, lower8(load8(src + at)));
	}
	for (; at < len; at++) {
		dst[at] = lower1(src[at]);
	}
	return len;
}

enum status name_join(const uint8_t *prefix, size_t prefix_len, const uint8_t *suffix, uint8_t *out,
		      size_t *out_len)
{
	size_t suffix_len = name_len(suffix);

	if (prefix_len + suffix_len > NAME_MAX_LEN) {
		return ST_ESPACE;
	}
	/* The suffix first, and with memmove: either part may stand in 'out' already. */
	uint8_t joined[NAME_MAX_LEN];
	memcpy(joined, prefix, prefix_len);
	memcpy(joined + prefix_len, suffix, suffix_len);
	memcpy(out, joined, prefix_len + suffix_len);
	*out_len = prefix_len + suffix_len;
	return ST_OK;
}

/* One label's octets into a sort key, in lower case and escaped. */
static uint8_t *sort_key_label(uint8_t *key, const uint8_t *label)
{
	const uint8_t *p = label + 1;
	size_t left = *label;

	for (; left >= 8; p += 8, left -= 8) {
		uint64_t v = load8(p);
		/* Exact as a test for "some octet is below 2". */
		if (((v - 2 * EVERY_OCTET) & ~v & HIGH_BITS) != 0) {
			break;
		}
		store8(key, lower8(v));
		key += 8;
	}
	if (left > 0 && left < 8) {
		/* Octets past the label count as good ones. */
		uint64_t v = load_tail(p, left);
		uint64_t all = v | ~UINT64_C(0) << (8 * left);
		if (((all - 2 * EVERY_OCTET) & ~all & HIGH_BITS) == 0) {
			/* The word's rest is written over, or lies in the key's spare room. */
			store8(key, lower8(v));
			return key + left;
		}
	}
	for (; left > 0; p++, left--) {
		if (*p <= 1) {
			*key++ = 1;
			*key++ = (uint8_t)(*p + 1);
		} else {
			*key++ = lower1(*p);
		}
	}
	return key;
}

static inline size_t sort_key_labels(const uint8_t *name, const uint8_t *offsets, unsigned labels,
				     uint8_t *key)
{
	uint8_t *p = key;

	while (labels > 0) {
		p = sort_key_label(p, name + offsets[--labels]);
		*p++ = 0;
	}
	return (size_t)(p - key);
}

size_t name_sort_key(const uint8_t *name, uint8_t *key)
{
	uint8_t offsets[NAME_MAX_LABELS + 1];
	unsigned labels = label_offsets(name, offsets);

	return sort_key_labels(name, offsets, labels, key);
}

size_t name_ref_sort_key(const struct name_ref *ref, uint8_t *key)
{
	return sort_key_labels(ref->wire, ref->offset, ref->labels, key);
}

/* Both halves of the product of 64 by 64 bits: every bit of the input reaches every bit below. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Odd 64-bit constants without structure: the fractional parts of the square roots of 2 and 3. */
#define HASH_MUL UINT64_C(0x6a09e667f3bcc909)
#define HASH_LEN UINT64_C(0xbb67ae8584caa73b)

/* load_tail(), faster where at least 8 octets from 'start' on end with these n. */
static inline uint64_t load_last(const uint8_t *start, const uint8_t *p, size_t n)
{
	if (n > 0 && p + n - start >= 8) {
		return load8(p + n - 8) >> (64 - 8 * n);
	}
	return load_tail(p, n);
}

/* 'name': at or before the label, and nothing but octets of a name from there on. */
static inline uint64_t hash_label(uint64_t parent, const uint8_t *name, const uint8_t *label)
{
	const uint8_t *p = label + 1;
	size_t left = *label;
	uint64_t hash = parent + left * HASH_LEN;

	for (; left >= 8; p += 8, left -= 8) {
		hash = fold(hash ^ lower8(load8(p)), HASH_MUL);
	}
	/* Twice: after once the top bits of labels that differ in a few digits lie too evenly. */
	return fold(fold(hash ^ lower8(load_last(name, p, left)), HASH_MUL), HASH_MUL);
}

uint64_t name_hash_label(uint64_t parent, const uint8_t *label)
{
	return hash_label(parent, label, label);
}

uint64_t name_hash(const uint8_t *name)
{
	uint8_t offsets[NAME_MAX_LABELS + 1];
	unsigned left = label_offsets(name, offsets);
	uint64_t hash = NAME_HASH_ROOT;

	while (left > 0) {
		hash = hash_label(hash, name, name + offsets[--left]);
	}
	return hash;
}

void name_ref_init(struct name_ref *ref, const uint8_t *name)
{
	unsigned labels = label_offsets(name, ref->offset);
	uint64_t hash = NAME_HASH_ROOT;

	ref->wire = name;
	ref->len = (uint16_t)(ref->offset[labels] + 1);
	ref->labels = (uint8_t)labels;
	ref->hash[0] = hash;
	for (unsigned n = 1; n <= labels; n++) {
		hash = hash_label(hash, name, name + ref->offset[labels - n]);
		ref->hash[n] = hash;
	}
}
