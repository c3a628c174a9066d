#include "nsd-core/worker_state.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/socket.h"
#include "nsd-core/tcp_transfer.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_MS	     50
#define STOP_WAIT_MS 3000
/* Questions answered in one turn, of those that wait for signatures that this thread makes. */
#define LATER_ROUND 16

/* Threads that make the messages of transfers. */
#define TRANSFERERS 2

struct workers {
	const struct conf *conf; /* its remotes; NULL: there are none */
	const struct tsig_keys *keys;
	struct builder *transferers;
	struct tcp_clients clients;
	struct tls_context *tls; /* NULL: none */
	unsigned count;
	struct worker list[];
};

struct settled_msg {
	struct inbox_msg msg;
	struct worker *worker;
	const struct rrset *rrset;
	bool ok;
};

void worker_batch_begin(struct worker *w)
{
	w->env.now_s = clock_wall_s();
}

void worker_batch_end(struct worker *w)
{
	for (size_t i = 0; i < COUNT_MAX; i++) {
		count_set(&w->counts.answers[i], w->env.counters[i]);
	}
	if (w->wanting || w->park_changed) {
		w->wanting = false;
		w->park_changed = false;
		atomic_store(&w->waiting, w->park.count - w->park.later_count);
		count_set(&w->counts.parked_now, w->park.count);
	}
}

/* answer_env.want */
static enum answer_want on_want(void *ctx, const struct answer_wanted *wanted)
{
	struct worker *w = ctx;
	bool here = signer_signs_here(wanted->version, wanted->node, wanted->rrset);

	/* What is warm goes first. Where too much waits already it is signed at once, and the
	 * sockets are read the less. */
	if (here && w->sign_now == 0 && !w->stopping && !park_later_full(&w->park)) {
		return WANT_LATER;
	}
	if (!here && wanted->waits && w->asked == NULL) {
		return WANT_PENDING;
	}
	/* Nobody waits for what an answer goes without. */
	bool urgent = wanted->waits && w->asked != NULL && w->asked->ticket.urgent;
	if (!w->wanting) {
		w->wanting = true;
		atomic_fetch_add(&w->waiting, 1);
	}
	enum status st =
		signer_want(w->signer, wanted->version, wanted->node, wanted->rrset, urgent);
	if (st == ST_EBUSY) {
		return WANT_PENDING;
	}
	w->sign_now -= w->sign_now > 0;
	return st == ST_OK ? WANT_FILLED : WANT_FAILED;
}

static void on_tick(uv_timer_t *timer);
static void on_idle(uv_idle_t *idle);

static void park_started(struct worker *w, bool later)
{
	w->park_changed = true;
	if (later && !uv_is_active((uv_handle_t *)&w->idle)) {
		uv_idle_start(&w->idle, on_idle);
	}
	if (!uv_is_active((uv_handle_t *)&w->tick)) {
		uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS);
	}
}

/* There is no room to wait for this thread: it signs here and now. */
static enum answer_result answer_now(struct worker *w, const struct park_reply *reply,
				     const struct bytes *question, struct answer_missing *missing,
				     uint8_t *out, size_t room, size_t *out_len)
{
	count_add(&w->counts.later_full, 1);
	w->sign_now = UINT_MAX;
	enum answer_result result =
		answer_query(&w->env, reply->transport, ANSWER_AGAIN, question->data, question->len,
			     out, room, out_len, missing);
	w->sign_now = 0;
	return result;
}

/* Into the slab, unless the end is near. */
static enum status park_question(struct worker *w, const struct park_reply *reply,
				 const struct bytes *question, const struct answer_missing *missing,
				 struct parked **out)
{
	return w->stopping ? ST_ELIMIT
			   : park_put(&w->park, reply, question, missing, clock_mono_ms(), out);
}

/* There is room for it to wait: asks it again, which asks for its signatures. */
static enum answer_result parked_begin(struct worker *w, struct parked *q, uint8_t *out,
				       size_t room, size_t *out_len)
{
	struct answer_missing missing;

	count_add(&w->counts.over_budget, !q->ticket.urgent);
	if (q->state == PARKED_LATER) {
		count_add(&w->counts.later, 1);
		park_started(w, true);
		return ANSWER_PARK;
	}
	w->asked = q;
	enum answer_result result = answer_query(&w->env, q->reply.transport, ANSWER_AGAIN, q->wire,
						 q->len, out, room, out_len, &missing);
	w->asked = NULL;
	if (result == ANSWER_PARK) {
		park_again(&w->park, q, &missing, clock_mono_ms());
		park_started(w, missing.later);
	} else {
		park_release(&w->park, q);
	}
	return result;
}

enum answer_result worker_park(struct worker *w, const struct park_reply *reply,
			       const struct bytes *question, const struct answer_missing *missing,
			       uint8_t *out, size_t room, size_t *out_len)
{
	struct answer_missing ignored;
	struct answer_missing left;
	struct parked *q = NULL;
	enum status st = park_question(w, reply, question, missing, &q);

	if (st != ST_OK && st != ST_EEXIST && missing->later) {
		enum answer_result result =
			answer_now(w, reply, question, &left, out, room, out_len);
		if (result != ANSWER_PARK) {
			return result;
		}
		/* Others sign some of it. */
		st = park_question(w, reply, question, &left, &q);
	}
	if (st == ST_EEXIST) {
		return ANSWER_DROP;
	}
	if (st == ST_OK) {
		return parked_begin(w, q, out, room, out_len);
	}
	count_add(st == ST_EREFUSED ? &w->counts.over_share : &w->counts.parked_full, 1);
	return answer_query(&w->env, reply->transport, ANSWER_LAST, question->data, question->len,
			    out, room, out_len, &ignored);
}

static void reply_send(struct worker *w, const struct park_reply *reply, size_t len)
{
	if (reply->transport == ANSWER_TCP) {
		tcp_reply(w, reply, w->scratch, len);
	} else if (len > 0) {
		udp_reply(w, reply, w->scratch + TCP_PREFIX, len);
	}
}

static void parked_ask(struct worker *w, struct parked *q, enum answer_mode mode, int64_t now_ms)
{
	bool tcp = q->reply.transport == ANSWER_TCP;
	struct answer_missing missing;
	size_t len = 0;

	if (tcp && !tcp_is_open(w, &q->reply)) {
		park_release(&w->park, q);
		return;
	}
	w->asked = q;
	enum answer_result result = answer_query(
		&w->env, q->reply.transport, mode, q->wire, q->len, w->scratch + TCP_PREFIX,
		tcp ? TCP_MESSAGE_MAX : w->conf->udp_size, &len, &missing);
	w->asked = NULL;
	if (result == ANSWER_PARK) {
		park_again(&w->park, q, &missing, now_ms);
		park_started(w, missing.later);
		return;
	}
	if (mode == ANSWER_LAST) {
		count_add(&w->counts.parked_timeout, 1);
	}
	/* Off the slab first: the connection may take its next question at once, and park it. */
	struct park_reply reply = q->reply;
	park_release(&w->park, q);
	reply_send(w, &reply, result == ANSWER_SEND ? len : 0);
}

/* Asks again all that is ready. Nothing gets ready by itself in here, so this ends. */
static void parked_serve(struct worker *w)
{
	int64_t now_ms = clock_mono_ms();
	struct parked *q;

	worker_batch_begin(w);
	while ((q = park_next(&w->park)) != NULL) {
		parked_ask(w, q, parked_mode(q, now_ms), now_ms);
	}
	udp_flush(w);
	w->park_changed = true;
	worker_batch_end(w);
}

void worker_sign_some(struct worker *w)
{
	struct parked *q = NULL;

	if (w->park.later_count == 0) {
		return;
	}
	int64_t now_ms = clock_mono_ms();
	worker_batch_begin(w);
	w->sign_now = 1;
	for (unsigned i = 0; i < LATER_ROUND && w->sign_now > 0; i++) {
		q = park_next_later(&w->park);
		if (q == NULL) {
			break;
		}
		parked_ask(w, q, ANSWER_AGAIN, now_ms);
	}
	w->sign_now = 0;
	if (w->park.later_count == 0) {
		udp_flush(w);
	}
	w->park_changed = true;
	worker_batch_end(w);
}

/* Once in each turn of the loop, which does not sleep as long as this is active. */
static void on_idle(uv_idle_t *idle)
{
	struct worker *w = container_of(idle, struct worker, idle);

	worker_sign_some(w);
	if (w->park.later_count == 0) {
		uv_idle_stop(idle);
	}
}

static void finish(struct worker *w)
{
	park_expire(&w->park);
	parked_serve(w);
	tcp_abort(w);
	uv_close((uv_handle_t *)&w->tcp.sweep, NULL);
	uv_close((uv_handle_t *)&w->tick, NULL);
	uv_close((uv_handle_t *)&w->idle, NULL);
	/* The inbox outlives the thread, since settled signatures may still be posted; it no longer
	 * keeps the loop running. */
	uv_unref((uv_handle_t *)&w->inbox.async);
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *w = container_of(timer, struct worker, tick);
	int64_t now_ms = clock_mono_ms();

	park_due(&w->park, now_ms);
	parked_serve(w);
	if (!w->stopping) {
		if (w->park.count == 0) {
			uv_timer_stop(&w->tick);
		}
	} else if ((w->park.count == 0 && w->tcp.open == 0) || now_ms >= w->stop_deadline_ms) {
		finish(w);
	}
}

static void on_settled(struct inbox_msg *msg)
{
	struct settled_msg *m = container_of(msg, struct settled_msg, msg);
	struct worker *w = m->worker;

	park_settled(&w->park, m->rrset, m->ok, clock_mono_ms());
	free(m);
	parked_serve(w);
}

static void on_stop(struct inbox_msg *msg)
{
	struct worker *w = container_of(msg, struct worker, stop_msg);

	w->stop_deadline_ms = clock_mono_ms() + STOP_WAIT_MS;
	udp_stop(w);
	w->stopping = true;
	tcp_stop(w);
	uv_timer_start(&w->tick, on_tick, 0, TICK_MS);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	rcu_thread_register();
	uv_run(&w->loop, UV_RUN_DEFAULT);
	rcu_thread_unregister();
	return NULL;
}

static enum status worker_bind(struct worker *w, const struct conf_server *conf,
			       struct workers *all, struct diags *d)
{
	w->conf = conf;
	w->scratch = malloc(TCP_PREFIX + TCP_MESSAGE_MAX);
	enum status st = w->scratch != NULL ? park_init(&w->park, PARK_MAX) : ST_ENOMEM;
	if (st == ST_OK) {
		st = udp_bind(w, d);
	}
	if (st == ST_OK) {
		st = tcp_bind(w, &all->clients, all->tls, d);
	}
	return st;
}

enum status workers_bind(const struct conf_server *conf, struct workers **out, struct diags *d)
{
	enum status st = ST_OK;
	struct workers *w = calloc(1, sizeof(*w) + conf->workers * sizeof(w->list[0]));

	if (w == NULL) {
		return ST_ENOMEM;
	}
	w->count = conf->workers;
	for (size_t i = 0; i < conf->listen_count; i++) {
		enum status probed = socket_probe(&conf->listen[i], false, d);
		st = st == ST_OK ? probed : st;
	}
	for (size_t i = 0; i < conf->tls_listen_count; i++) {
		enum status probed = socket_probe(&conf->tls_listen[i], true, d);
		st = st == ST_OK ? probed : st;
	}
	if (st == ST_OK && conf->tls_listen_count > 0) {
		st = tls_context_new(conf->tls_certificate, conf->tls_key, &w->tls, d);
	}
	if (st == ST_OK) {
		st = tcp_clients_init(&w->clients, conf->tcp_clients,
				      conf->tcp_clients_per_address);
	}
	for (unsigned i = 0; i < w->count && st == ST_OK; i++) {
		st = worker_bind(&w->list[i], conf, w, d);
	}
	if (st != ST_OK) {
		workers_free(w);
		return st;
	}
	*out = w;
	return ST_OK;
}

struct tls_context *workers_tls(const struct workers *w)
{
	return w->tls;
}

static enum status worker_prepare(const struct workers *all, struct worker *w,
				  const struct zonedb *db, struct signer *signer)
{
	w->transferers = all->transferers;
	w->signer = signer;
	w->env = (struct answer_env){
		.db = db,
		.conf = all->conf,
		.keys = all->keys,
		.nsid = w->conf->nsid,
		.version = w->conf->version,
		.identity = w->conf->identity,
		.udp_size = w->conf->udp_size,
		.want = signer != NULL ? on_want : NULL,
		.want_ctx = w,
	};
	int err = uv_loop_init(&w->loop);
	if (err != 0) {
		return status_from_errno(-err);
	}
	enum status st = inbox_init(&w->inbox, &w->loop);
	if (st != ST_OK) {
		uv_loop_close(&w->loop);
		return st;
	}
	w->loop_ready = true;
	uv_timer_init(&w->loop, &w->tick);
	uv_idle_init(&w->loop, &w->idle);
	st = tcp_start(w);
	return st == ST_OK ? udp_start(w) : st;
}

static enum status worker_spawn(struct worker *w, unsigned index)
{
	char name[16];
	int err = pthread_create(&w->thread, NULL, worker_main, w);

	if (err != 0) {
		return status_from_errno(err);
	}
	w->started = true;
	snprintf(name, sizeof(name), "worker/%u", index % 1000);
	pthread_setname_np(w->thread, name);
	return ST_OK;
}

void workers_set_remotes(struct workers *w, const struct conf *conf, const struct tsig_keys *keys)
{
	w->conf = conf;
	w->keys = keys;
}

enum status workers_start(struct workers *w, const struct zonedb *db, struct signer *signer)
{
	enum status st = ST_OK;
	sigset_t all;
	sigset_t before;

	if (w->conf != NULL) {
		st = builder_start("transfer", TRANSFERERS, &w->transferers);
	}
	for (unsigned i = 0; i < w->count && st == ST_OK; i++) {
		st = worker_prepare(w, &w->list[i], db, signer);
	}
	/* Signals are the main thread's: a thread inherits the mask. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < w->count && st == ST_OK; i++) {
		st = worker_spawn(&w->list[i], i);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return st;
}

void workers_settled(struct workers *w, const struct rrset *rs, enum status result)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct worker *one = &w->list[i];
		if (atomic_load(&one->waiting) == 0) {
			continue;
		}
		struct settled_msg *m = malloc(sizeof(*m));
		if (m == NULL) {
			/* Asked again when its time is over. */
			continue;
		}
		m->worker = one;
		m->rrset = rs;
		m->ok = result == ST_OK;
		inbox_post(&one->inbox, &m->msg, on_settled);
	}
}

static uint64_t count_get(const _Atomic(uint64_t) *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

void workers_stats(const struct workers *w, struct worker_stats *out)
{
	*out = (struct worker_stats){0};
	for (unsigned i = 0; i < w->count; i++) {
		const struct worker_counts *c = &w->list[i].counts;
		for (size_t j = 0; j < COUNT_MAX; j++) {
			out->counters[j] += count_get(&c->answers[j]);
		}
		out->udp_queries += count_get(&c->udp_queries);
		out->udp_batches += count_get(&c->udp_batches);
		out->tcp_queries += count_get(&c->tcp_queries);
		out->tcp_accepted += count_get(&c->tcp_accepted);
		out->tcp_refused += count_get(&c->tcp_refused);
		out->send_dropped += count_get(&c->send_dropped);
		out->parked_now += count_get(&c->parked_now);
		out->parked_full += count_get(&c->parked_full);
		out->parked_timeout += count_get(&c->parked_timeout);
		out->later += count_get(&c->later);
		out->later_full += count_get(&c->later_full);
		out->over_budget += count_get(&c->over_budget);
		out->over_share += count_get(&c->over_share);
		out->tcp_now += count_get(&c->tcp_now);
		out->transfers += count_get(&c->transfers);
		out->transfers_refused += count_get(&c->transfers_refused);
	}
}

void workers_stop(struct workers *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		if (w->list[i].started) {
			inbox_post(&w->list[i].inbox, &w->list[i].stop_msg, on_stop);
		}
	}
	for (unsigned i = 0; i < w->count; i++) {
		if (w->list[i].started) {
			pthread_join(w->list[i].thread, NULL);
			w->list[i].started = false;
		}
	}
	/* Its jobs post to the workers' inboxes, which are there until workers_free(). */
	builder_stop(w->transferers);
	builder_free(w->transferers);
	w->transferers = NULL;
}

/* Closes what the loop still has: the inbox, or all where the thread was never made. */
static void close_handle(uv_handle_t *handle, void *arg)
{
	const struct worker *w = arg;

	if (!uv_is_closing(handle) && handle != (const uv_handle_t *)&w->inbox.async) {
		uv_close(handle, NULL);
	}
}

void workers_free(struct workers *w)
{
	if (w == NULL) {
		return;
	}
	workers_stop(w);
	for (unsigned i = 0; i < w->count; i++) {
		struct worker *one = &w->list[i];
		if (one->loop_ready) {
			inbox_drain(&one->inbox);
			tcp_transfers_free(one);
			inbox_close(&one->inbox);
			uv_walk(&one->loop, close_handle, one);
			uv_run(&one->loop, UV_RUN_DEFAULT);
			uv_loop_close(&one->loop);
		}
		udp_fini(&one->udp);
		tcp_fini(&one->tcp);
		park_fini(&one->park);
		free(one->scratch);
	}
	tls_context_free(w->tls);
	free(w);
}
