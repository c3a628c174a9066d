/* Workers: threads that own sockets, connections and parked questions. */
#pragma once

#include "nsd-core/answer.h"
#include "nsd-core/conf.h"
#include "signer/signer.h"

struct tls_context;
struct workers;

/* Opens every socket of 'conf' for every worker (so that ports below 1024 are bound before
 * privileges are dropped): UDP with SO_REUSEPORT, TCP likewise, and
 * TCP for TLS, whose certificate is read. 'conf' borrowed. ST_EACCES, ST_EIO
 * with a diag per address. */
enum status workers_bind(const struct conf_server *conf, struct workers **out,
			 struct diags *d) MUST_USE;
/* Who may transfer zones, and the keys of those who sign. Before the start; both are borrowed until
 * workers_free(). Without it nobody may transfer anything. */
void workers_set_remotes(struct workers *w, const struct conf *conf, const struct tsig_keys *keys);
/* The certificate that their TLS connections show; NULL: there are none. */
struct tls_context *workers_tls(const struct workers *w);
/* Starts the threads. db and signer (may be NULL) are borrowed until workers_free(). */
enum status workers_start(struct workers *w, const struct zonedb *db,
			  struct signer *signer) MUST_USE;
/* The engine's word that rs was signed or failed (struct signer_options); any thread; cheap where
 * no question is parked. */
void workers_settled(struct workers *w, const struct rrset *rs, enum status result);

struct worker_stats {
	uint64_t counters[COUNT_MAX]; /* sums over workers */
	uint64_t udp_queries, udp_batches, tcp_queries, tcp_accepted, tcp_refused, send_dropped;
	uint64_t parked_now, parked_full, parked_timeout;
	/* Questions that waited while others were answered before the worker signed for them, and
	 * those for which there was no room to. */
	uint64_t later, later_full;
	/* Questions that waited without being in a hurry, since who asks had enough under way; and
	 * those that were not let wait, since others of their prefix fill its share of the room. */
	uint64_t over_budget, over_share;
	uint64_t tcp_now;
	uint64_t transfers, transfers_refused; /* whole ones; over TCP */
};

void workers_stats(const struct workers *w, struct worker_stats *out); /* any thread */
/* Ends cleanly: no new work, what was begun is answered (bounded: 3 s), threads joined. */
void workers_stop(struct workers *w);
void workers_free(struct workers *w); /* takes NULL; also unstarted ones */
