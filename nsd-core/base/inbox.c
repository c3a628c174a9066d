#include "nsd-core/base/inbox.h"

#include "nsd-core/base/rcu.h"
#include "nsd-core/base/tsan.h"

static void inbox_on_async(uv_async_t *async)
{
	inbox_drain(container_of(async, struct inbox, async));
}

enum status inbox_init(struct inbox *in, uv_loop_t *loop)
{
	int err = uv_async_init(loop, &in->async, inbox_on_async);

	if (err != 0) {
		return status_from_errno(-err);
	}
	cds_wfcq_init(&in->head, &in->tail);
	return ST_OK;
}

void inbox_post(struct inbox *in, struct inbox_msg *msg, void (*run)(struct inbox_msg *))
{
	cds_wfcq_node_init(&msg->node);
	msg->run = run;
	tsan_release(msg);
	/* Whoever finds the queue filled knows that its first message's sender signals, or did. */
	bool was_filled = cds_wfcq_enqueue(&in->head, &in->tail, &msg->node);
	if (!was_filled) {
		uv_async_send(&in->async);
	}
}

void inbox_drain(struct inbox *in)
{
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	struct cds_wfcq_node *node;

	/* Taken whole first: what is posted from here on is signalled anew, so that messages which
	 * post messages cannot hold the loop. One consumer only: no lock needed. */
	cds_wfcq_init(&head, &tail);
	__cds_wfcq_splice_blocking(&head, &tail, &in->head, &in->tail);
	while ((node = __cds_wfcq_dequeue_blocking(&head, &tail)) != NULL) {
		struct inbox_msg *msg = container_of(node, struct inbox_msg, node);
		tsan_acquire(msg);
		msg->run(msg);
	}
	cds_wfcq_destroy(&head, &tail);
}

void inbox_close(struct inbox *in)
{
	uv_close((uv_handle_t *)&in->async, NULL);
	cds_wfcq_destroy(&in->head, &in->tail);
}
