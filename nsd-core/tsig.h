/* Transaction signatures (RFC 8945): keys, and messages signed and checked with them.
 *
 * Nothing in here allocates but tsig_keys_new(), and nothing knows sockets, so that queries,
 * transfers and notifications share it. */
#pragma once

#include "nsd-core/base/hmac.h"
#include "nsd-core/base/name.h"

struct tsig_key {
	uint8_t name[NAME_MAX_LEN]; /* lower case */
	uint8_t name_len;
	struct hmac_key *hmac;
};

/* Immutable; any thread. */
struct tsig_keys {
	size_t count;
	struct tsig_key list[];
};

/* What a key is made of. */
struct tsig_secret {
	const uint8_t *name; /* lower case */
	enum hmac_type type;
	struct bytes secret;
};

enum status tsig_keys_new(const struct tsig_secret *secrets, size_t count,
			  struct tsig_keys **out) MUST_USE;
void tsig_keys_free(struct tsig_keys *keys); /* takes NULL */
/* Any case. 'keys' may be NULL. NULL: there is none of this name. */
const struct tsig_key *tsig_keys_find(const struct tsig_keys *keys, const uint8_t *name);

/* Octets of the longest MAC. */
#define TSIG_MAC_MAX HMAC_MAX
/* Seconds that clocks may differ (RFC 8945 10). */
#define TSIG_FUDGE 300

enum tsig_error {
	TSIG_NOERROR = 0,
	TSIG_BADSIG = 16,
	TSIG_BADKEY = 17,
	TSIG_BADTIME = 18,
	TSIG_BADTRUNC = 22,
};

/* "BADSIG"; static. */
const char *tsig_error_text(enum tsig_error error);

/* A TSIG record as it stands in a message (RFC 8945 4.2). */
struct tsig_record {
	uint8_t name[NAME_MAX_LEN];
	struct bytes algorithm; /* a name; borrowed, as all below */
	uint64_t time_s;
	uint16_t fudge_s;
	struct bytes mac;
	uint16_t original_id;
	uint16_t error;
	struct bytes other;
};

/* 'at': where the record starts (struct query.tsig_at). ST_EPARSE. */
enum status tsig_record_parse(struct bytes message, size_t at, struct tsig_record *out) MUST_USE;

/* One exchange: a request and its answers, or one side of it. */
struct tsig_session {
	const struct tsig_key *key; /* borrowed; NULL: nothing is signed */
	enum tsig_error error;	    /* what the answer's record is to say */
	uint64_t client_time_s;	    /* the request's, for TSIG_BADTIME */
	uint16_t mac_len;	    /* of the message before; 0: there was none */
	bool later;		    /* not the first of an answer's messages */
	uint8_t mac[TSIG_MAC_MAX];
};

/* A message that begins an exchange is signed with 'key' next; NULL: it is not signed. */
void tsig_session_init(struct tsig_session *s, const struct tsig_key *key);

/* A request whose record starts at 'at'. ST_OK: it is good, and s signs the answer.   ST_EREFUSED:
 * it is to be answered NOTAUTH, with what tsig_sign() or tsig_refuse() appends by s->error.
 * ST_EPARSE: to be answered FORMERR, without a record (RFC 8945 5.2).   ST_ENOMEM, ST_ECRYPTO. */
enum status tsig_check_request(const struct tsig_keys *keys, struct bytes message, size_t at,
			       int64_t now_s, struct tsig_session *s) MUST_USE;
/* The answer to a request that tsig_sign() signed with s, or the next one of its messages. A
 * message without a record has 'at' 0 (RFC 8945 5.3.1). ST_OK; ST_ECRYPTO: it is not to be
 * believed, s->error says what the other side said or what is wrong here. */
enum status tsig_check_answer(struct tsig_session *s, struct bytes message, size_t at,
			      int64_t now_s) MUST_USE;

/* The session of a request that was checked before, to answer it. ST_EPARSE: it has no record at
 * 'at'. */
enum status tsig_session_resume(struct tsig_session *s, const struct tsig_key *key,
				struct bytes request, size_t at) MUST_USE;

/* Octets that tsig_sign() appends. */
size_t tsig_len(const struct tsig_key *key, enum tsig_error error);
/* Signs the message of 'len' octets, which has room for tsig_len() behind it and a key: appends the
 * record and counts it. *out_len: the new length. */
enum status tsig_sign(struct tsig_session *s, uint8_t *message, size_t len, int64_t now_s,
		      size_t *out_len) MUST_USE;
/* The unsigned record of a refusal by TSIG_BADKEY or TSIG_BADSIG (RFC 8945 5.2.1, 5.2.2), for the
 * request whose record starts at 'at'. Returns the new length: 'len' where there is no room for
 * it. */
size_t tsig_refuse(const struct tsig_session *s, struct bytes request, size_t at, uint8_t *message,
		   size_t len, size_t room);
