/* Names, drafts and versions from text, for the tests of zone versions. */
#pragma once

#include "zones/content.h"
#include "zones/draft.h"
#include "zones/rdata.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct wire_name {
	uint8_t octets[NAME_MAX_LEN];
	size_t len;
};

/* Absolute names; the final dot may be left out. */
static inline struct wire_name wire(const char *text)
{
	static const uint8_t root[1] = {0};
	struct wire_name n;
	assert_int_equal(name_from_text(text, strlen(text), root, n.octets, &n.len, NULL), ST_OK);
	return n;
}

/* A small generator whose sequence a failure can be repeated with. */
static inline uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static inline struct rrset *rrset_of(uint16_t type, uint32_t ttl, const void *rdata, size_t len)
{
	struct bytes b = {rdata, len};
	struct rrset *rs;
	assert_int_equal(rrset_new(type, ttl, &b, 1, &rs), ST_OK);
	return rs;
}

/* RDATA that is valid for the types the tests use; 'value' tells one from another. */
static inline struct rrset *rrset_valued(uint16_t type, unsigned value)
{
	uint8_t rdata[64];
	size_t len = 4;
	be32_put(rdata, value);
	switch (type) {
	case RR_NS:
	case RR_DNAME:
	case RR_CNAME:
		rdata[0] = 1;
		rdata[1] = (uint8_t)('a' + value % 26);
		rdata[2] = 0;
		len = 3;
		break;
	case RR_SOA:
		memset(rdata, 0, 22);
		be32_put(rdata + 2, value);
		be32_put(rdata + 18, 300);
		len = 22;
		break;
	case RR_NSEC:
		rdata[0] = 0;
		be32_put(rdata + 1, 0x00000140);
		len = 4;
		break;
	case RR_NSEC3:
		memcpy(rdata, "\1\0\0\0\0\24", 6);
		memset(rdata + 6, (int)(value & 0xff), 20);
		len = 26;
		break;
	default:
		break;
	}
	return rrset_of(type, 3600, rdata, len);
}

/* Reads a master file's text into a sorted content. */
static inline void read_content(struct content *c, const char *apex, const char *text)
{
	struct master_options opt = {0};
	struct diags d;
	diags_init(&d, 8);
	content_init(c, wire(apex).octets);
	enum status st = master_read_mem("zone", text, strlen(text), &opt, c, &d);
	for (size_t i = 0; i < d.count; i++) {
		char line[512];
		fprintf(stderr, "%s\n", diag_format(&d.items[i], line, sizeof(line)));
	}
	diags_fini(&d);
	assert_int_equal(st, ST_OK);
	assert_int_equal(content_sort(c), ST_OK);
}

static inline void apply_text(struct draft *d, const char *apex, const char *text, bool signing)
{
	struct content c;
	read_content(&c, apex, text);
	assert_int_equal(draft_apply(d, &c, signing), ST_OK);
	content_fini(&c);
}

static inline struct version *freeze(struct draft *d, enum denial denial)
{
	struct freeze f = {.denial = denial};
	struct version *v;
	assert_int_equal(draft_freeze(d, &f, &v), ST_OK);
	return v;
}

/* The version of a text that follows 'base' (may be NULL, is only borrowed). */
static inline struct version *version_of(const char *apex, struct version *base, const char *text)
{
	struct draft *d;
	assert_int_equal(draft_new(wire(apex).octets, base, &d), ST_OK);
	apply_text(d, apex, text, false);
	struct version *v = freeze(d, DENIAL_NONE);
	draft_free(d);
	return v;
}
