/* A version in master-file form (RFC 1035 5.1), for people, tests and other programs. */
#pragma once

#include "zones/version.h"

#include <stdio.h>

struct dump_options {
	/* ST_EAGAIN, and nothing is written, where an RRset that 'covers' has an empty slot. */
	bool complete_only;
	/* Is this RRset to carry signatures? The slot of one that is not, which may hold those of
	 * a time when it was, is left out. NULL: what slots hold is given, and none must. */
	bool (*covers)(const struct node *n, const struct rrset *rs);
};

/* Gives v record by record: owner, TTL, class, type and RDATA, names absolute, each line with its
 * end. The SOA first, then canonical order, an RRset's RRSIGs after it, NSEC3s at the end. 'line'
 * stops it by returning other than ST_OK, which is then the result. O(n); not for loop threads. */
enum status version_dump(const struct version *v, const struct dump_options *opt,
			 enum status (*line)(void *ctx, const char *text, size_t len),
			 void *ctx) MUST_USE;
/* ST_EIO: writing failed. Does not flush. */
enum status version_dump_file(const struct version *v, const struct dump_options *opt,
			      FILE *f) MUST_USE;
