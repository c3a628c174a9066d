/* What one version has and its base has not, record by record. */
#pragma once

#include "zones/zonesum.h"

struct diff_record {
	const uint8_t *owner; /* lower case */
	uint16_t type;
	uint32_t ttl;
	struct bytes rdata;
};

struct diff_options {
	/* Of the base and of the new version. */
	zone_covers covers[2];
	/* Everything that is removed, the base's SOA first; then everything that is added, the new
	 * SOA first, which come also where they are alike. What it returns but ST_OK ends it all.
	 */
	enum status (*each)(void *ctx, const struct diff_record *r);
	void *ctx;
};

/* 'next' was made from 'base' and does not succeed it yet; what it replaces and what it adds is
 * known, so that a change of k RRsets costs O(k log n). Slots are as they are to be. *sum: the
 * base's, and then that of 'next'; on error neither. */
enum status version_diff(const struct version *base, const struct version *next,
			 const struct diff_options *opt, struct zone_sum *sum) MUST_USE;
