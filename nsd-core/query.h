/* A question as it came: header, question section, EDNS, TSIG. Nothing is copied out of the
 * message. */
#pragma once

#include "nsd-core/base/name.h"
#include "nsd-core/base/rrtype.h"

#define DNS_HEADER_LEN 12
#define DNS_UDP_MIN    512
#define OPT_FIXED_LEN  11 /* root owner, type, size, TTL, RDLENGTH (RFC 6891 6.1.2) */

/* The second 16 bits of the header. */
enum header_flags {
	HEADER_QR = 0x8000,
	HEADER_AA = 0x0400,
	HEADER_TC = 0x0200,
	HEADER_RD = 0x0100,
};

#define EDNS_DO 0x8000

enum opcode {
	OPCODE_QUERY = 0,
	OPCODE_NOTIFY = 4,
};

enum rcode {
	RCODE_NOERROR = 0,
	RCODE_FORMERR = 1,
	RCODE_SERVFAIL = 2,
	RCODE_NXDOMAIN = 3,
	RCODE_NOTIMP = 4,
	RCODE_REFUSED = 5,
	RCODE_YXDOMAIN = 6,
	RCODE_NOTAUTH = 9,
	RCODE_BADVERS = 16, /* its upper bits stand in the OPT record */
};

enum edns_option {
	EDNS_NSID = 3,
	EDNS_EDE = 15,
};

/* INFO-CODEs of extended errors (RFC 8914). */
enum ede {
	EDE_NONE = -1,
	EDE_SIGNATURE_EXPIRED = 7,
	EDE_RRSIGS_MISSING = 10,
	EDE_NOT_READY = 14,
	EDE_NOT_SUPPORTED = 21,
	EDE_PROHIBITED = 18,
	EDE_NOT_AUTHORITATIVE = 20,
};

struct query {
	const uint8_t *wire; /* the whole message; borrowed */
	uint16_t flags;
	uint8_t opcode;
	uint16_t question_len; /* octets of the question behind the header; 0: none to be echoed */
	uint16_t qtype;
	uint16_t qclass;

	bool edns;	/* a good OPT record is there: the answer carries one */
	bool dnssec_ok; /* DO */
	bool nsid;	/* asked for */
	uint8_t edns_version;
	uint16_t edns_size;
	uint16_t tsig_at; /* offset of a TSIG record; 0: none */
};

enum query_verdict {
	QUERY_DROP,  /* a response, or too short to answer */
	QUERY_ERROR, /* to be answered with *rcode; q says whether with question and OPT */
	QUERY_GOOD,  /* one well-formed question of opcode QUERY or NOTIFY, EDNS version 0 if any */
};

/* Reads a message of at most 65535 octets. q is filled in all cases but QUERY_DROP. */
enum query_verdict query_parse(const uint8_t *wire, size_t len, struct query *q, enum rcode *rcode);

static inline const uint8_t *query_name(const struct query *q)
{
	return q->wire + DNS_HEADER_LEN;
}
