/* Bytes in, bytes out: the whole seam between sockets and DNS.
 *
 * No socket, no malloc, no lock and no log line in here; the unit tests, the fuzzer and the micro
 * benchmark call answer_query() as the workers do. */
#pragma once

#include "nsd-core/remotes.h"
#include "nsd-core/zonedb.h"

#define ANSWER_UDP_SIZE 1232

enum answer_counter {
	COUNT_QUERIES,
	COUNT_NOERROR,
	COUNT_NXDOMAIN,
	COUNT_REFERRAL,
	COUNT_REFUSED,
	COUNT_FORMERR,
	COUNT_NOTIMP,
	COUNT_NOTAUTH,
	COUNT_YXDOMAIN,
	COUNT_SERVFAIL,
	COUNT_BADVERS,
	COUNT_TRUNCATED, /* beside the return code's counter, as the next one */
	COUNT_EXPIRED,	 /* carried an expired signature */
	COUNT_DROPPED,
	COUNT_PARKED,
	COUNT_MAX,
};

enum answer_want {
	WANT_FILLED,  /* the slot is filled now: look again */
	WANT_PENDING, /* will be: park the question */
	WANT_LATER,   /* can be made on this thread, which has others to answer first */
	WANT_FAILED,  /* cannot be had now */
};

/* A signature that an answer lacks. Inside a read section. */
struct answer_wanted {
	struct version *version;
	const struct node *node;
	struct rrset *rrset;
	bool waits; /* the question waits for it; else the answer goes without */
};

/* What a worker's answers are made with. One per thread. */
struct answer_env {
	const struct zonedb *db;
	const struct conf *conf;      /* its remotes; NULL: nobody may transfer anything */
	const struct tsig_keys *keys; /* NULL: none */
	const char *nsid;	      /* NULL: not sent */
	const char *version;	      /* CH TXT version.bind, NULL: refused */
	const char *identity;	      /* CH TXT id.server */
	uint16_t udp_size;
	int64_t now_s; /* wall clock, set by the caller before a batch */
	/* Asks for it. NULL: nothing is ever pending. */
	enum answer_want (*want)(void *ctx, const struct answer_wanted *wanted);
	void *want_ctx;
	uint64_t counters[COUNT_MAX];
};

enum answer_transport {
	ANSWER_UDP,
	ANSWER_TCP,
};

enum answer_mode {
	ANSWER_FIRST, /* as it came */
	ANSWER_AGAIN, /* was parked: not counted twice; parks again while signatures are missing */
	ANSWER_LAST,  /* was parked and its time is over: never parks, SERVFAIL with an extended
			 error */
};

enum answer_result {
	ANSWER_DROP, /* nothing is sent */
	ANSWER_SEND, /* *out_len octets are to be sent */
	/* A transfer over TCP that is allowed: transfer_new() with the item. */
	ANSWER_TRANSFER,
	ANSWER_PARK, /* missing[] says for which RRsets; ask again when they settle */
};

#define ANSWER_MISSING_MAX 8

struct answer_missing {
	const struct rrset *rrsets[ANSWER_MISSING_MAX]; /* identities only */
	size_t count;
	bool later; /* some are made when the question is asked again (WANT_LATER) */
	/* Where anything is missing: the zone of the first (an identity), and whether something
	 * belongs to the proof that a name does not exist. */
	const struct zone *zone;
	bool nonexistent;
};

/* Answers one message. room: at least 512; for UDP the client's EDNS size and env->udp_size bound
 * the answer too; for TCP up to 65535. in may not overlap out. Takes its own read section. */
enum answer_result answer_query(struct answer_env *env, enum answer_transport transport,
				enum answer_mode mode, const uint8_t *in, size_t in_len,
				uint8_t *out, size_t room, size_t *out_len,
				struct answer_missing *missing);

struct answer_item;

/* In the place of a transfer that cannot be begun now: SERVFAIL, and why. Returns its octets. */
size_t answer_fault(struct answer_env *env, struct answer_item *item, const char *why);

#define ANSWER_BATCH_MAX 64

struct answer_item {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;	/* room octets */
	size_t out_len; /* ANSWER_SEND */
	/* Who asks; NULL: may transfer nothing. */
	const struct sockaddr *peer;
	bool tls;		     /* it asks over TLS, where there is nothing but transfers */
	const struct tsig_key *tsig; /* ANSWER_TRANSFER: the request was signed with; or NULL */
	struct zone *zone;	     /* ANSWER_TRANSFER */
	const char *refused;	     /* a transfer, for this reason; static, or NULL */
	enum answer_result result;
	struct answer_missing missing; /* ANSWER_PARK */
};

/* Answers up to ANSWER_BATCH_MAX messages, each as answer_query(ANSWER_FIRST) would, several at a
 * time: what one waits for from memory, its neighbours do not wait for again. */
void answer_batch(struct answer_env *env, enum answer_transport transport,
		  struct answer_item *items, size_t count, size_t room);
