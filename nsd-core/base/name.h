/* Domain names (RFC 1035 3.1, 4343) in uncompressed wire form: labels, then the root's zero octet.
 * Case is kept where it is stored and ignored where it is compared. A 'const uint8_t *' called a
 * name is always valid and complete: input is checked once, where it enters. */
#pragma once

#include "nsd-core/base/wire.h"

#define NAME_MAX_LEN	255
#define NAME_MAX_LABELS 127
/* Octets that name_to_text() may need, the final NUL included: every octet as \DDD. */
#define NAME_TEXT_MAX 1024
/* Octets that name_sort_key() may need: every octet escaped to two, terminators, and a word's spare
 * room behind them. */
#define NAME_KEY_MAX 512

/* Is there a valid uncompressed name at 'data'? Its length goes to *len. ST_EPARSE if not. */
enum status name_check(const uint8_t *data, size_t avail, size_t *len) MUST_USE;
/* Octets of a valid name, the root's included. */
size_t name_len(const uint8_t *name);
/* Labels without the root: 0 for ".", 2 for "example.com.". A "*" counts. */
unsigned name_labels(const uint8_t *name);
/* The name without its first n labels; n <= name_labels(). Borrowed. */
const uint8_t *name_strip(const uint8_t *name, unsigned n);
bool name_is_wildcard(const uint8_t *name); /* its first label is "*" */

/* Master-file text (RFC 1035 5.1: \X and \DDD) to wire. A name without a final dot gets 'origin'
 * appended; where origin is NULL it is taken as absolute. "@" is the origin. 'out' has
 * NAME_MAX_LEN octets. ST_EPARSE: empty or bad label or escape; ST_ESPACE: too long. *why, if not
 * NULL, says in a static phrase what was wrong. */
enum status name_from_text(const char *text, size_t len, const uint8_t *origin, uint8_t *out,
			   size_t *out_len, const char **why) MUST_USE;
/* NUL-terminated text, with a final dot, special characters escaped. buf has NAME_TEXT_MAX.
 * Returns buf. */
char *name_to_text(const uint8_t *name, char *buf);

/* Canonical order (RFC 4034 6.1): <0, 0, >0. */
int name_compare(const uint8_t *a, const uint8_t *b);
bool name_equal(const uint8_t *a, const uint8_t *b);
/* The same of two names that both have 'len' octets. */
bool name_equal_len(const uint8_t *a, const uint8_t *b, size_t len);
/* One label each, with its length octet. */
bool name_label_equal(const uint8_t *a, const uint8_t *b);
/* Octets (not labels) that both names end in, the root's included; the lengths are name_len()'s. */
size_t name_common_tail(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);
/* Is 'name' equal to or below 'ancestor'? */
bool name_is_below(const uint8_t *name, const uint8_t *ancestor);
/* Labels that both end in, the root not counted. */
unsigned name_common_labels(const uint8_t *a, const uint8_t *b);
/* Copies in lower case (ASCII only); dst may be src. Returns the length. */
size_t name_lower(uint8_t *dst, const uint8_t *src);
/* prefix (without its root) + suffix; ST_ESPACE if over 255 octets. 'prefix_len' counts the
 * octets of prefix's labels to be used. */
enum status name_join(const uint8_t *prefix, size_t prefix_len, const uint8_t *suffix, uint8_t *out,
		      size_t *out_len) MUST_USE;

/* The key whose memcmp() order is the canonical order: labels from the root's side, lower case,
 * each ended by 0x00; 0x00 and 0x01 inside a label become 01 01 and 01 02. Returns octets.
 * A name's key is a prefix of the key of every name below it. key has NAME_KEY_MAX. */
size_t name_sort_key(const uint8_t *name, uint8_t *key);

/* Hashes are made label by label from the root, so that one pass gives those of all ancestors. */
#define NAME_HASH_ROOT UINT64_C(0x9e3779b97f4a7c15)
/* Hash of "label.parent" from the hash of parent; the label (its length octet first) in any case.
 */
uint64_t name_hash_label(uint64_t parent, const uint8_t *label);
uint64_t name_hash(const uint8_t *name);

/* A name prepared for look-up: where each label starts, and the hash of each ancestor. */
struct name_ref {
	const uint8_t *wire; /* any case; borrowed */
	uint16_t len;
	uint8_t labels;
	uint8_t offset[NAME_MAX_LABELS +
		       1]; /* offset[i]: start of the ancestor with labels - i labels */
	uint64_t hash[NAME_MAX_LABELS + 1]; /* hash[n]: of the ancestor with n labels */
};

void name_ref_init(struct name_ref *ref, const uint8_t *name);
/* As name_sort_key(). */
size_t name_ref_sort_key(const struct name_ref *ref, uint8_t *key);
/* The ancestor (or the name itself) that has n labels. Borrowed. */
static inline const uint8_t *name_ref_at(const struct name_ref *ref, unsigned n)
{
	return ref->wire + ref->offset[ref->labels - n];
}
