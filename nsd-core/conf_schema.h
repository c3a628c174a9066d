/* The one table of what may stand in signet.yaml: it drives parsing, defaults, ranges and the
 * faults for what is unknown, and the manual page is tested against it. */
#pragma once

#include "nsd-core/conf.h"

enum option_section {
	SECTION_ROOT,
	SECTION_SERVER,
	SECTION_KEYSTORE,
	SECTION_POLICY,
	SECTION_KEY, /* ksk, zsk, csk of a policy */
	SECTION_TSIG_KEY,
	SECTION_REMOTE,
	SECTION_ZONE,
	SECTION_MAX,
};

/* What a value looks like, and (in parentheses) what it is stored as. */
enum option_type {
	OPT_MAP,	  /* a section of its own; read by conf.c */
	OPT_LIST,	  /* a list of such */
	OPT_LATER,	  /* known, but not supported by this version */
	OPT_TEXT,	  /* min to max octets (char *) */
	OPT_PATH,	  /* relative to the file it stands in (char *) */
	OPT_BOOL,	  /* true, false (bool) */
	OPT_NUMBER,	  /* (unsigned) */
	OPT_NUMBER16,	  /* (uint16_t) */
	OPT_NUMBER64,	  /* (int64_t) */
	OPT_SIZE,	  /* 64K, 16M, 1G (uint32_t) */
	OPT_SECONDS,	  /* 90s, 5m, 1h, 14d, 1y (uint32_t) */
	OPT_MILLISECONDS, /* the same (uint32_t) */
	OPT_CHOICE,	  /* a word of 'choices' (bool: is it the second?; or nothing) */
	OPT_ADDRESSES,	  /* a list of ADDRESS@PORT (struct conf_address *, and size_t) */
	OPT_NAME,	  /* a domain name (lower case, in NAME_MAX_LEN octets) */
	OPT_KEYSTORE,	  /* the name of one (size_t: its index) */
	OPT_POLICY,	  /* the name of one (int64_t: its index) */
	OPT_TSIG_KEY,	  /* the name of one (int64_t: its index) */
	OPT_PEERS,	  /* ADDRESS@PORT or ADDRESS/BITS, or a list (struct conf_peer *, size_t) */
	OPT_REMOTES,	  /* a list of names (size_t *: their indices, and size_t) */
};

#define OPT_NOWHERE SIZE_MAX

struct option {
	enum option_section section;
	const char *name;
	enum option_type type;
	const char *initial; /* the value where the key is absent, as written; NULL: none */
	bool required;
	uint64_t min, max;   /* of numbers, sizes, seconds; of texts, octets */
	size_t offset;	     /* in the section's struct; OPT_NOWHERE: checked and not stored */
	size_t count_offset; /* of lists */
	uint16_t port;	     /* of addresses without one; 0: 53 */
	const char *choices; /* "a|b" */
	const char *later;   /* choices of later versions */
	const char *doc;     /* one line; stands in the manual page */
};

/* An entry of 'zones': one zone, or all of a directory. */
struct conf_zone_entry {
	struct conf_zone zone;
	char *directory;
	uint8_t catalog[NAME_MAX_LEN];
	char *catalog_group;
};

extern const struct option conf_options[];
extern const size_t conf_option_count;

/* As people know it: "server", "keystores", "ksk, zsk, csk"; "" for the file itself. */
const char *conf_section_name(enum option_section section);
/* NULL: there is none. */
const struct option *conf_option_find(enum option_section section, const char *name);
/* The name that 'wrong' was probably meant for, by edit distance; NULL: none is near. */
const char *conf_option_near(enum option_section section, const char *wrong);
/* Steps (insert, delete, change, swap) from a to b, counted up to 'limit' + 1. */
unsigned conf_distance(const char *a, const char *b, unsigned limit);
