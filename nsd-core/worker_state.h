/* The inside of a worker, for worker.c, udp.c and tcp*.c. All of it is touched by the worker's
 * thread only, but for what is atomic. */
#pragma once

#include "nsd-core/base/inbox.h"
#include "nsd-core/builder.h"
#include "nsd-core/park.h"
#include "nsd-core/tcp.h"
#include "nsd-core/udp.h"
#include "nsd-core/worker.h"

/* The longest message over TCP, and its length in front (RFC 1035 4.2.2). */
#define TCP_MESSAGE_MAX 65535
#define TCP_PREFIX	2

/* Written by the worker, read by any thread. */
struct worker_counts {
	_Atomic(uint64_t) answers[COUNT_MAX];
	_Atomic(uint64_t) udp_queries, udp_batches, send_dropped;
	_Atomic(uint64_t) tcp_queries, tcp_accepted, tcp_refused, tcp_now;
	_Atomic(uint64_t) parked_now, parked_full, parked_timeout;
	_Atomic(uint64_t) later, later_full;
	_Atomic(uint64_t) over_budget, over_share;
	_Atomic(uint64_t) transfers, transfers_refused;
};

static inline void count_set(_Atomic(uint64_t) *count, uint64_t value)
{
	atomic_store_explicit(count, value, memory_order_relaxed);
}

/* One writer: no locked instruction is needed. */
static inline void count_add(_Atomic(uint64_t) *count, uint64_t more)
{
	count_set(count, atomic_load_explicit(count, memory_order_relaxed) + more);
}

struct worker {
	const struct conf_server *conf;
	struct signer *signer;
	uv_loop_t loop;
	bool loop_ready; /* loop and inbox are initialised */
	bool started;
	pthread_t thread;
	struct inbox inbox;
	struct inbox_msg stop_msg;
	uv_timer_t tick; /* looks after parked questions, and after the end */
	uv_idle_t idle;	 /* runs while there is something to sign on this thread */
	struct answer_env env;
	struct park park;
	struct udp udp;
	struct tcp tcp;
	struct builder *transferers; /* all workers'; borrowed */
	uint8_t *scratch;	     /* TCP_PREFIX + TCP_MESSAGE_MAX: one answer */
	bool stopping;
	int64_t stop_deadline_ms;
	/* Not zero while a question is parked, or may be before this callback is over: it is raised
	 * before the signing engine is asked, so that no settling can pass between asking and
	 * parking unseen. */
	_Atomic(unsigned) waiting;
	bool wanting;
	bool park_changed; /* since the last batch's end */
	/* RRsets that may be signed on this thread before others get their turn. */
	unsigned sign_now;
	/* The parked question that is being answered. NULL: one that nobody has made room for yet,
	 * and which so makes no keystore work. */
	const struct parked *asked;
	struct worker_counts counts;
};

/* Between these two a worker may call answer_query() with w->env: before, what time it is; after,
 * the counters for other threads, and whether anything waits. */
void worker_batch_begin(struct worker *w);
void worker_batch_end(struct worker *w);
/* Signs one RRset of the questions that wait for this thread, and answers those that are complete.
 * Called between batches, so that nobody else waits for more than one signature. */
void worker_sign_some(struct worker *w);
/* What answer_query() said ANSWER_PARK to: only now its signatures are asked for. ANSWER_PARK: it
 * is in the slab, and is replied to later. ANSWER_SEND: the slab cannot take it, or it need not
 * wait; *out_len octets in out are the last word.   ANSWER_DROP: it is there already, the client
 * only asked again. */
enum answer_result worker_park(struct worker *w, const struct park_reply *reply,
			       const struct bytes *question, const struct answer_missing *missing,
			       uint8_t *out, size_t room, size_t *out_len);
