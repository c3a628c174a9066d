/* The one door into a loop from another thread: a wait-free queue and a uv_async_t that is
 * signalled when the queue goes from empty to filled. */
#pragma once

#include "nsd-core/base/status.h"

#include <urcu/wfcqueue.h>
#include <uv.h>

struct inbox_msg {
	struct cds_wfcq_node node;
	void (*run)(struct inbox_msg *msg); /* called on the loop's thread; owns msg */
};

struct inbox {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	uv_async_t async;
};

/* Loop thread, before any post. */
enum status inbox_init(struct inbox *in, uv_loop_t *loop) MUST_USE;
/* Any thread. Messages from one thread arrive in order. The caller gives msg away. */
void inbox_post(struct inbox *in, struct inbox_msg *msg, void (*run)(struct inbox_msg *));
/* Loop thread: runs what is queued now. */
void inbox_drain(struct inbox *in);
/* Loop thread: closes the async handle ('in' must live until the loop has run once more). No post
 * after that; what is queued is not run: drain first, once the other threads have ended. */
void inbox_close(struct inbox *in);
