/* A reply being written: header, question, RRsets with name compression, OPT.
 *
 * An RRset goes in whole, with its signatures, or not at all: what does not fit is rolled back.
 * Room for what must follow (OPT) is set aside from the start. */
#pragma once

#include "nsd-core/query.h"
#include "zones/rrset.h"

enum section {
	SECTION_ANSWER,
	SECTION_AUTHORITY,
	SECTION_ADDITIONAL,
	SECTION_COUNT,
};

#define ENCODE_LABELS_MAX 64

/* A label in the message that later names can point to. The question's labels are none of these. */
struct encode_label {
	const uint8_t *label; /* its length octet first; borrowed */
	uint16_t parent;      /* where what follows it stands; 0: the root */
	uint16_t at;
};

struct encoder {
	uint8_t *start;
	uint8_t *pos;
	uint8_t *end; /* of what RRsets may use */
	const struct name_ref *qname;
	uint16_t counts[SECTION_COUNT];
	unsigned label_count;
	uint32_t tags[ENCODE_LABELS_MAX]; /* of the labels: few pairs have the same one */
	struct encode_label labels[ENCODE_LABELS_MAX];
};

/* Writes the header (flags, rcode and counts come with encode_finish()) and the question as it
 * came. 'limit': octets the whole message may have, of which 'reserve' are kept back. There is
 * always room for the question. */
void encode_init(struct encoder *e, uint8_t *out, size_t limit, size_t reserve,
		 const struct query *q);
/* Before the first RRset: the question's name; borrowed. */
void encode_names(struct encoder *e, const struct name_ref *qname);

/* What is written of an RRset. */
struct encode_rrset {
	const uint8_t *owner;
	/* Where the owner's end stands in the message already, and the octets before that end,
	 * which are not looked for: known to stand nowhere, or few. 0: not known. */
	uint16_t owner_at;
	uint8_t owner_own;
	bool only_sigs; /* without the RRset itself */
	uint32_t ttl;
	const struct rrset *rs;
	const struct sigset *sigs; /* NULL: none */
	const uint8_t *signer;	   /* of sigs: the zone's name, lower case */
	/* Of an SOA at owner_at: octets of its names before the owner's, which both end in. Neither
	 * is looked for beyond that, nor found by others. NULL: not known. */
	const uint8_t *soa_own;
};

/* Appends; sections must come in order. False, and nothing appended, where it does not fit. */
bool encode_rrset(struct encoder *e, enum section section, const struct encode_rrset *r);
/* One record by itself, of an RRset that may be too long for a message. */
struct encode_record {
	const uint8_t *owner;
	/* As in encode_rrset: where the owner's end stands, and its octets before that. */
	uint16_t owner_at;
	uint8_t owner_own;
	uint16_t place; /* where the whole owner stands; 0: nowhere yet, and then set */
	uint16_t type;
	uint32_t ttl;
	struct bytes rdata;
};

/* False, and nothing appended, where it does not fit. */
bool encode_record(struct encoder *e, enum section section, struct encode_record *r);
/* One CNAME record that stands in no zone (RFC 6672 3.1). */
bool encode_cname(struct encoder *e, const uint8_t *owner, uint16_t owner_at, uint32_t ttl,
		  const uint8_t *target);

/* What an OPT record says beside the server's size. */
struct encode_opt {
	uint16_t size;
	uint8_t rcode_high;
	bool dnssec_ok;
	const char *nsid;     /* NULL: none */
	enum ede ede;	      /* EDE_NONE: none */
	const char *ede_text; /* never NULL where ede is set */
};

/* Octets that encode_opt() takes: the reserve. */
size_t encode_opt_len(const struct encode_opt *opt);
/* Appends the OPT record out of the reserve. */
void encode_opt(struct encoder *e, const struct encode_opt *opt);

/* Sets flags and rcode (low four bits) and the counts; returns the length. */
size_t encode_finish(struct encoder *e, uint16_t flags, enum rcode rcode);
