/* UDP of one worker: a socket per address, read and answered in batches. */
#pragma once

#include "nsd-core/conf.h"

#include <uv.h>

struct worker;
struct park_reply;

struct udp_socket {
	uv_poll_t poll;
	struct worker *worker;
	int fd; /* -1: none */
	uint16_t index;
	unsigned patient; /* turns in which the socket is not asked again behind a short batch */
	bool wildcard;
	bool polling;
};

struct udp {
	struct udp_socket *sockets;
	size_t count;
	struct udp_batch *batch; /* of whichever socket is being read */
	struct udp_replies *replies;
};

enum status udp_bind(struct worker *w, struct diags *d) MUST_USE;
/* The loop is there, and does not run yet. */
enum status udp_start(struct worker *w) MUST_USE;
/* One answer to a question that was parked, of at most conf->udp_size octets. It is sent with those
 * that follow, a few later at most, or by udp_flush(). */
void udp_reply(struct worker *w, const struct park_reply *reply, const uint8_t *out, size_t len);
void udp_flush(struct worker *w);
/* Answers what has come, and reads no more; replies can still be sent. */
void udp_stop(struct worker *w);
/* After udp_stop() and once the loop has ended. Takes half-built ones. */
void udp_fini(struct udp *u);
