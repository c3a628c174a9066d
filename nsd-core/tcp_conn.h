/* One TCP connection: what is read, asked and written on it. Private to tcp*.c; the worker's thread
 * only. */
#pragma once

#include "nsd-core/tls.h"
#include "nsd-core/worker_state.h"

#define TCP_READ (64U << 10)
/* The longest answer with its prefix. */
#define TCP_ANSWER_MAX (TCP_PREFIX + TCP_MESSAGE_MAX)
/* Room for answers of one callback, until they are written together. */
#define TCP_OUT (2 * TCP_ANSWER_MAX)
/* Pipelined questions that are answered side by side: what TCP_QUEUE_MAX allows if all answers are
 * the longest. */
#define TCP_BATCH 4
/* From one answer of a batch to the next: most are short, and their first octets should not all
 * compete for the same lines of the cache. */
#define TCP_ROOM (TCP_MESSAGE_MAX + 1 + 192)

struct tcp_conn {
	uv_tcp_t handle;
	struct worker *worker;
	struct tls *tls; /* NULL: in the clear */
	uint32_t slot;
	uint32_t place;		  /* in the clients' table */
	struct sockaddr_in6 peer; /* holds a sockaddr_in as well */
	struct tcp_conn *older;
	struct tcp_conn *newer;
	int64_t active_ms;
	uint8_t *in; /* what was read and not taken yet: part of a message, or what had to wait */
	size_t in_len;
	unsigned in_flight; /* parked questions */
	unsigned transfers; /* under way */
	unsigned making;    /* of them, those whose next messages are being made */
	bool reading;
	bool ended; /* the client sends no more */
	bool closing;
};

/* Counted, and in a slot: reads from now on. */
void tcp_conn_start(struct tcp_conn *c);
/* A whole question came, or an answer is through. */
void tcp_conn_touch(struct tcp_conn *c);
/* Reads, does not, or closes, as the connection's state now asks. */
void tcp_conn_update(struct tcp_conn *c);
/* There may be room again: what was kept is taken up. Then as tcp_conn_update(). */
void tcp_conn_resume(struct tcp_conn *c);
/* Octets of a transfer as they go to the client, to be freed by the caller: data itself is not
 * kept. ST_ENOMEM. */
enum status tcp_conn_seal(struct tcp_conn *c, const uint8_t *data, size_t len, uint8_t **out,
			  size_t *out_len) MUST_USE;
/* A parked question's answer, with its length in front; len 0: there is none after all. */
void tcp_conn_reply(struct tcp_conn *c, const uint8_t *data, size_t len);
/* Freed when libuv has let go. */
void tcp_conn_close(struct tcp_conn *c);
/* The same for one that was never started. */
void tcp_conn_refuse(struct tcp_conn *c);

/* tcp.c: the slot is free again, and its client has one connection less. */
void tcp_leave(struct tcp_conn *c);
