/* Catalog zones (RFC 9432): the content of one, made from the names of its members. Secondaries
 * that read it serve what it lists. */
#pragma once

#include "zones/content.h"

struct catalog_member {
	const uint8_t *name; /* lower case */
	const char *group;   /* 1 to 255 octets; NULL: none */
};

/* A digest of 160 bits in base32hex. */
#define CATALOG_LABEL_LEN 32
/* Octets that the catalog's own name may have: the longest one in it is group.LABEL.zones.NAME. */
#define CATALOG_NAME_MAX (NAME_MAX_LEN - (1 + 5) - (1 + CATALOG_LABEL_LEN) - (1 + 5))

/* The label that a member stands under: by its name alone, in any case, so that it stays whatever
 * other members come and go (RFC 9432 5.4: with another label it is another zone). ST_ENOMEM,
 * ST_ECRYPTO. */
enum status catalog_label(const uint8_t *member, char out[CATALOG_LABEL_LEN + 1]) MUST_USE;

/* The SOA (of serial 0), NS and version of the catalog c->apex, of at most CATALOG_NAME_MAX octets;
 * c is content_init()ed. */
enum status catalog_begin(struct content *c) MUST_USE;
enum status catalog_add(struct content *c, const struct catalog_member *m) MUST_USE;
/* Sorts. ST_EEXIST: two members have one label, which d says. */
enum status catalog_end(struct content *c, struct diags *d) MUST_USE;
