/* What a zone file (or another source) says: records grouped into RRsets, in canonical order.
 * A flat, temporary thing: made by the reader, checked, then applied to a draft. */
#pragma once

#include "nsd-core/base/arena.h"
#include "zones/rrset.h"

struct place {
	uint16_t file; /* index into content->files */
	uint32_t line;
	uint32_t column;
};

/* One record as read: half a cache line, since a large zone's stand beside what is served. */
struct record {
	/* Lower case, in content's arena or with what is known; equal owners often share it. */
	const uint8_t *owner;
	const uint8_t *rdata; /* uncompressed, there too; record_rdata() has its length */
	uint32_t ttl;
	uint32_t line; /* where it stands in the file */
	uint16_t type;
	uint16_t file;
	uint16_t column; /* UINT16_MAX: that or more */
	/* After content_sort(): how many of its owner's records the file has before it. UINT16_MAX:
	 * that many or more, and of these none is told to be the first. */
	uint16_t order;
};

/* The octets before an RDATA are its length, as in an RRset. */
static inline struct bytes record_rdata(const struct record *r)
{
	return rdata_at(r->rdata - 2);
}

/* The records of one owner and type: records[first .. first + count). */
struct record_set {
	uint32_t first;
	uint32_t count;
};

struct node;
struct version;

struct content {
	uint8_t apex[NAME_MAX_LEN]; /* lower case */
	struct arena arena;
	const char **files; /* names of the files read, for places */
	size_t file_count;
	struct record *records;
	size_t record_count, record_room;
	struct record_set *sets; /* after content_sort() */
	size_t set_count, set_room;
};

void content_init(struct content *c, const uint8_t *apex);
void content_fini(struct content *c);
/* Copies owner (lower-cased) and rdata. */
enum status content_add(struct content *c, const uint8_t *owner, uint16_t type, uint32_t ttl,
			struct bytes rdata, struct place place) MUST_USE;
/* Who owns a record that is added: a name in lower case that is in the content's arena already. */
struct record_owner {
	const uint8_t *name;
	/* NULL, or a version's node of that name, where the RDATA stays if it is there: the version
	 * must outlive the content. */
	const struct node *known;
};

/* The same for such an owner. */
enum status content_add_owned(struct content *c, const struct record_owner *owner, uint16_t type,
			      uint32_t ttl, struct bytes rdata, struct place place) MUST_USE;
/* Adds the records of 'from', whose names and RDATA stay in its arena: that is to be taken too. */
enum status content_append(struct content *c, const struct content *from) MUST_USE;
/* Index of a file's name, for places. */
enum status content_file(struct content *c, const char *name, uint16_t *out) MUST_USE;
/* Sorts by owner (canonical), type, RDATA (canonical); drops duplicates; fills 'sets'. RRSIGs sort
 * by the type they cover. Equal owners share their name from then on: the pointers are equal. */
enum status content_sort(struct content *c) MUST_USE;
/* The same in so many parts at once, at most PARALLEL_MAX: content_sort() chooses by size. */
enum status content_sort_parts(struct content *c, unsigned parts) MUST_USE;

struct check_options {
	bool signing; /* a policy signs this zone: DNSSEC records of the file are dropped (one
			 warning) or refused (DNSKEY, CDS, CDNSKEY) */
};

/* Semantic checks of a sorted content; see docs/zones.md for the table of what is an error and what
 * a warning. Repairs what peers repair: TTLs differing in an RRset become the first's (a warning),
 * records out of zone are errors. ST_EPARSE where an error was found. */
enum status content_check(struct content *c, const struct check_options *opt,
			  struct diags *d) MUST_USE;

/* zones/master.c: reads master file 'path' (RFC 1035 5, 2308 4, 3597; $ORIGIN, $TTL, $INCLUDE,
 * $GENERATE) into c, which is content_init()ed. default_ttl: where neither $TTL nor a record said
 * one before, the SOA's MINIMUM is taken (RFC 2308), with a warning. All faults go to d, up to its
 * limit. ST_ENOENT, ST_EACCES, ST_EIO: the file (with a diag); ST_EPARSE: faults; ST_ENOMEM. */
struct master_options {
	unsigned include_depth; /* 0: 16 */
	size_t generate_max;	/* records one $GENERATE may make; 0: 65536 */
	size_t chunk_bytes;	/* text that a thread reads at a time; 0: 256 KiB */
	unsigned threads;	/* 0: as many as CPUs, up to PARALLEL_MAX */
	/* NULL, or a version that the file is expected to say again, and that outlives the content:
	 * names and RDATA that it holds are not copied. */
	const struct version *known;
};

enum status master_read(const char *path, const struct master_options *opt, struct content *c,
			struct diags *d) MUST_USE;
/* The same from memory, 'name' standing for the file in findings. $INCLUDE is refused where
 * opt->include_depth is UINT_MAX (fuzzing). */
enum status master_read_mem(const char *name, const char *text, size_t len,
			    const struct master_options *opt, struct content *c,
			    struct diags *d) MUST_USE;
