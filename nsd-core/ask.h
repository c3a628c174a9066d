/* Questions to other name servers: over UDP, again where nothing comes, over TCP where the answer
 * is truncated, signed where they have a key (RFC 8945). Main thread; nothing blocks. */
#pragma once

#include "nsd-core/remotes.h"

#include <uv.h>

struct asker;

/* Tries over UDP, and how long each waits: six seconds in all. */
#define ASK_TRIES 3
/* Over TCP, from connecting to the last octet. */
#define ASK_TCP_MS 5000
/* Of them in flight, and over TCP; the others wait their turn. */
#define ASK_FLIGHT_MAX 4096
#define ASK_TCP_MAX    64

struct ask_question {
	const uint8_t *name; /* borrowed, as all here, until the question is done or cancelled */
	uint16_t type;
	const struct conf_peer *peer; /* no range */
	const struct tsig_key *key;   /* NULL: not signed */
};

/* message.data NULL: nothing came that can be believed, and why; static. */
struct ask_result {
	struct bytes message; /* an answer to the question; borrowed for the call */
	const char *why;
	/* Of an error that should have been signed and was not: some servers sign nothing where
	 * they do not have the zone. 0: none came. */
	unsigned unsigned_rcode;
};

/* On the loop. The question is over, and may be asked again from here. */
typedef void (*ask_done)(void *ctx, const struct ask_result *result);

/* One question; stands in what its owner has of the other server, and begins as zeros. Its fields
 * are ask.c's. */
struct ask {
	struct ask *prev, *next; /* of all that are under way */
	struct ask_question question;
	struct asker *asker;
	ask_done done;
	void *ctx;
	uint8_t state;
	uint8_t tries;
	bool in_flight; /* by_id[id] is it */
	uint16_t id;
	int64_t deadline_ms;
	const char *why;
	uint8_t unsigned_rcode;
	struct tsig_session tsig; /* of the last try */
	struct ask_tcp *tcp;	  /* NULL: none */
};

/* 'conf' is borrowed: questions leave from the address that notifications leave from. Nothing is
 * opened before the first question. */
enum status asker_new(uv_loop_t *loop, const struct conf_server *conf, struct asker **out) MUST_USE;
/* 'done' is called once, later. Not of a question that is under way (ask_is_busy()). */
void ask_start(struct asker *a, struct ask *ask, const struct ask_question *question, ask_done done,
	       void *ctx);
bool ask_is_busy(const struct ask *ask);
/* Its 'done' will not be called. May be over already. */
void ask_cancel(struct asker *a, struct ask *ask);
/* Before the loop runs for the last time: cancels all. Takes NULL. */
void asker_close(struct asker *a);
void asker_free(struct asker *a); /* after the loop; takes NULL */

/* What an answer says of the name and type that were asked for. */
struct ask_reading {
	bool authoritative;
	unsigned rcode;
	bool found;	     /* such a record is there */
	uint32_t serial;     /* of an SOA */
	bool is_signed;	     /* there is an RRSIG over the type */
	uint32_t expiration; /* of them the first to end */
};

/* ST_EPARSE: it is broken. */
enum status ask_read(struct bytes message, const uint8_t *name, uint16_t type,
		     struct ask_reading *out) MUST_USE;

/* Private to ask*.c: ask_message.c. */
#define ASK_MESSAGE_MAX 1024
/* The question as it is sent, by the ask's ID: without recursion, DO set. The length; 0: it cannot
 * be made. */
size_t ask_write(struct ask *ask, uint8_t out[ASK_MESSAGE_MAX]);
/* Is the message an answer to it, signed where it has to be? ST_OK; ST_EPARSE: it is something
 * else; ST_ECRYPTO: it is not to be believed, and ask->why says why. */
enum status ask_check(struct ask *ask, struct bytes message) MUST_USE;
