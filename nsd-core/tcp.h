/* TCP of one worker (RFC 7766): pipelined questions, answers in any order.
 *
 * Bounds of a connection: TCP_QUEUE_MAX octets of answers not yet taken by the client and
 * TCP_IN_FLIGHT_MAX parked questions; above, nothing more is read. One without a whole question or
 * a finished answer for the idle time-out is closed: so are clients that are idle, that send half a
 * message, and that read nothing. */
#pragma once

#include "nsd-core/tcp_clients.h"

#include <uv.h>

#define TCP_QUEUE_MAX	  (256U << 10)
#define TCP_IN_FLIGHT_MAX 64

struct worker;
struct park_reply;
struct tcp_conn;
struct tcp_transfer;

struct tls_context;

struct tcp_listener {
	uv_tcp_t handle;
	struct worker *worker;
	int fd;			 /* -1: none, or the handle's */
	struct tls_context *tls; /* all connections'; NULL: in the clear */
	bool listening;
	bool pending; /* a connection waits to be taken until there is memory */
};

/* A connection's number; the generation tells its tenants apart. */
struct tcp_slot {
	struct tcp_conn *conn;
	uint32_t generation;
	uint32_t next_free; /* counted from 1 */
};

struct tcp {
	struct tcp_listener *listeners;
	size_t count;
	struct tcp_clients *clients; /* all workers'; borrowed */
	struct tcp_slot *slots;
	uint32_t slot_max;
	uint32_t slot_high; /* slots from here on were never used */
	uint32_t slot_free;
	uint32_t open;
	struct tcp_conn *oldest; /* by their last activity */
	struct tcp_conn *newest;
	uv_timer_t sweep;
	uint8_t *in;	      /* what is being read, of whichever connection */
	int64_t tls_since_ms; /* handshakes are counted from here on */
	unsigned tls_begun;
	uint8_t *plain; /* what it says, where it came over TLS; NULL: no listener does */
	uint8_t *rooms; /* TCP_BATCH answers as they are made */
	uint8_t *out;	/* answers of one callback, until they are written together */
	size_t out_len;
	struct tcp_transfer *transfers;
	unsigned transfer_count;
	int64_t refused_since_ms; /* refusals in the log are counted from here on */
	unsigned refused_logged;
};

/* tls: for conf's tls_listen; NULL where there is none. Borrowed, as clients. */
enum status tcp_bind(struct worker *w, struct tcp_clients *clients, struct tls_context *tls,
		     struct diags *d) MUST_USE;
/* The loop is there, and does not run yet. */
enum status tcp_start(struct worker *w) MUST_USE;
/* Is the connection of a parked question still there? */
bool tcp_is_open(const struct worker *w, const struct park_reply *reply);
/* A parked question's answer; message has TCP_PREFIX octets of room in front. len 0: there is none
 * after all. */
void tcp_reply(struct worker *w, const struct park_reply *reply, uint8_t *message, size_t len);
/* Listens and reads no more; connections end as soon as nothing is owed on them. */
void tcp_stop(struct worker *w);
/* Closes what is still open. */
void tcp_abort(struct worker *w);
/* Once the loop has ended. Takes half-built ones. */
void tcp_fini(struct tcp *t);
