/* Transfers on TCP connections: messages are made on threads of their own, stretch by stretch as
 * the client takes them, and written by the worker. Private to tcp*.c; the worker's thread only. */
#pragma once

#include "nsd-core/tcp_conn.h"

/* At a time, of one worker. More get SERVFAIL: a secondary comes again. */
#define TCP_TRANSFERS_MAX 256

struct tcp_transfer;

/* 'item': answer_batch() said ANSWER_TRANSFER. ST_OK: it is under way, c->transfers is one more.
 * ST_ELIMIT: too many. ST_EAGAIN: the zone is not loaded. ST_ENOMEM. */
enum status tcp_transfer_start(struct tcp_conn *c, const struct answer_item *item) MUST_USE;
/* One was refused: says so in the log, some lines a second at most. */
void tcp_transfer_refused(struct tcp_conn *c, const struct answer_item *item);
/* Once the transfer threads have ended, and the loop: what is left of them. */
void tcp_transfers_free(struct worker *w);
