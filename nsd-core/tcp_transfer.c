#include "nsd-core/tcp_transfer.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/journal.h"
#include "nsd-core/log.h"
#include "nsd-core/query.h"
#include "nsd-core/socket.h"
#include "nsd-core/transfer.h"

#include <stdio.h>
#include <stdlib.h>

/* Refusals that are told of, a second. */
#define REFUSED_LOGGED 10

struct tcp_transfer {
	struct builder_job job;
	struct inbox_msg msg;
	uv_write_t req;
	struct worker *worker;
	uint32_t slot; /* the connection's, which may be gone */
	uint32_t generation;
	struct tcp_transfer *next; /* all of the worker's */
	struct tcp_transfer **link;
	struct transfer *transfer;
	struct journal_zone *journal; /* NULL: the zone has none */
	/* Of the last stretch. */
	enum status status;
	size_t len;
	bool done;
	char zone[NAME_TEXT_MAX];
	uint8_t *sealed; /* over TLS: what is being written */
	uint8_t out[TRANSFER_ROOM];
};

static void transfer_drop(struct tcp_transfer *x)
{
	*x->link = x->next;
	if (x->next != NULL) {
		x->next->link = x->link;
	}
	x->worker->tcp.transfer_count--;
	transfer_free(x->transfer);
	free(x->sealed);
	free(x);
}

static struct tcp_conn *transfer_conn(const struct tcp_transfer *x)
{
	const struct tcp_slot *slot = &x->worker->tcp.slots[x->slot];

	return slot->generation == x->generation ? slot->conn : NULL;
}

static void on_made(struct inbox_msg *msg);

static void make_job(struct builder_job *job)
{
	struct tcp_transfer *x = container_of(job, struct tcp_transfer, job);

	x->status = transfer_next(x->transfer, clock_wall_s(), x->out, &x->len, &x->done);
	inbox_post(&x->worker->inbox, &x->msg, on_made);
}

static void transfer_go_on(struct tcp_transfer *x, struct tcp_conn *c)
{
	c->making++;
	builder_submit(x->worker->transferers, BUILDER_LATER, &x->job, make_job);
}

static void count_end(const struct tcp_transfer *x, const struct transfer_summary *s)
{
	count_add(&x->worker->counts.transfers, 1);
	if (x->journal != NULL && s->kind != TRANSFER_NOTHING) {
		journal_serve(x->journal, s->kind == TRANSFER_WHOLE ? JOURNAL_AXFR : JOURNAL_IXFR);
	}
}

static void log_end(const struct tcp_transfer *x, const struct tcp_conn *c,
		    const struct transfer_summary *s)
{
	char peer[SOCKET_TEXT_MAX];
	char since[32] = "";

	if (s->kind == TRANSFER_NOTHING) {
		return;
	}
	if (s->kind == TRANSFER_DIFFERENCES) {
		snprintf(since, sizeof(since), " from serial %u", s->from);
	}
	log_info("zone %s: serial %u transferred%s to %s: %llu records, %llu octets", x->zone,
		 s->serial, since, socket_text((const struct sockaddr *)&c->peer, peer),
		 (unsigned long long)s->records, (unsigned long long)s->octets);
}

static void on_written(uv_write_t *req, int status)
{
	struct tcp_transfer *x = container_of(req, struct tcp_transfer, req);
	struct tcp_conn *c = transfer_conn(x);

	free(x->sealed);
	x->sealed = NULL;
	if (c == NULL) {
		transfer_drop(x);
		return;
	}
	if (status != 0) {
		tcp_conn_close(c);
		transfer_drop(x);
		return;
	}
	tcp_conn_touch(c);
	if (!x->done) {
		transfer_go_on(x, c);
		return;
	}
	struct transfer_summary s;
	transfer_summary(x->transfer, &s);
	log_end(x, c, &s);
	count_end(x, &s);
	c->transfers--;
	transfer_drop(x);
	tcp_conn_resume(c);
}

static enum status transfer_write(struct tcp_transfer *x, struct tcp_conn *c)
{
	uint8_t *data = x->out;
	size_t len = x->len;

	if (c->tls != NULL) {
		enum status st = tcp_conn_seal(c, x->out, x->len, &x->sealed, &len);
		if (st != ST_OK) {
			return st;
		}
		data = x->sealed;
	}
	uv_buf_t buf = uv_buf_init((char *)data, (unsigned)len);
	int err = uv_write(&x->req, (uv_stream_t *)&c->handle, &buf, 1, on_written);
	return err == 0 ? ST_OK : status_from_errno(-err);
}

/* The next stretch is there. What cannot be made breaks the connection: the client then keeps what
 * it had (RFC 5936 2.2). */
static void on_made(struct inbox_msg *msg)
{
	struct tcp_transfer *x = container_of(msg, struct tcp_transfer, msg);
	struct tcp_conn *c = transfer_conn(x);

	if (c == NULL) {
		transfer_drop(x);
		return;
	}
	c->making--;
	if (x->status != ST_OK) {
		log_error("zone %s: its transfer ends early: %s", x->zone, status_text(x->status));
	}
	if (x->status != ST_OK || transfer_write(x, c) != ST_OK) {
		tcp_conn_close(c);
		transfer_drop(x);
		return;
	}
	tcp_conn_touch(c);
}

/* Inside a read section: a reference on what is served, or NULL. */
static enum status begin(struct tcp_transfer *x, const struct answer_item *item)
{
	enum status st = ST_EAGAIN;

	rcu_enter();
	struct version *v = rcu_load(&item->zone->cur);
	if (v != NULL) {
		st = transfer_new(v, item, &x->transfer);
	}
	rcu_exit();
	return st;
}

enum status tcp_transfer_start(struct tcp_conn *c, const struct answer_item *item)
{
	struct worker *w = c->worker;

	if (w->tcp.transfer_count >= TCP_TRANSFERS_MAX) {
		return ST_ELIMIT;
	}
	struct tcp_transfer *x = malloc(sizeof(*x));
	if (x == NULL) {
		return ST_ENOMEM;
	}
	enum status st = begin(x, item);
	if (st != ST_OK) {
		free(x);
		return st;
	}
	x->worker = w;
	x->sealed = NULL;
	x->slot = c->slot;
	x->generation = w->tcp.slots[c->slot].generation;
	x->journal = item->zone->journal;
	name_to_text(item->zone->name, x->zone);
	x->next = w->tcp.transfers;
	x->link = &w->tcp.transfers;
	if (x->next != NULL) {
		x->next->link = &x->next;
	}
	w->tcp.transfers = x;
	w->tcp.transfer_count++;
	c->transfers++;
	transfer_go_on(x, c);
	return ST_OK;
}

void tcp_transfer_refused(struct tcp_conn *c, const struct answer_item *item)
{
	struct worker *w = c->worker;
	int64_t now_ms = clock_mono_ms();
	char zone[NAME_TEXT_MAX];
	char peer[SOCKET_TEXT_MAX];

	count_add(&w->counts.transfers_refused, 1);
	if (now_ms - w->tcp.refused_since_ms >= 1000) {
		w->tcp.refused_since_ms = now_ms;
		w->tcp.refused_logged = 0;
	}
	if (w->tcp.refused_logged >= REFUSED_LOGGED) {
		return;
	}
	w->tcp.refused_logged++;
	log_warn("zone %s: no transfer to %s: %s", name_to_text(item->in + DNS_HEADER_LEN, zone),
		 socket_text((const struct sockaddr *)&c->peer, peer), item->refused);
}

void tcp_transfers_free(struct worker *w)
{
	while (w->tcp.transfers != NULL) {
		transfer_drop(w->tcp.transfers);
	}
}
