/* How many TCP connections there are, in all and by client; shared by the workers.
 *
 * A client is an IPv4 address or an IPv6 /64. Clients are counted in a fixed table by a keyed hash:
 * two that share a place also share their bound, which is rare and harmless, and nobody can aim for
 * it. Any thread, without locks. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#define TCP_CLIENTS_PLACES 16384

struct tcp_clients {
	uint64_t seed;
	unsigned max;
	unsigned max_per_client;
	_Atomic(unsigned) total;
	_Atomic(uint16_t) places[TCP_CLIENTS_PLACES];
};

/* max_per_client: at most 60000. */
enum status tcp_clients_init(struct tcp_clients *c, unsigned max, unsigned max_per_client) MUST_USE;
/* One connection more; *place is handed back when it ends. ST_ELIMIT: too many. */
enum status tcp_clients_take(struct tcp_clients *c, const struct sockaddr *peer,
			     uint32_t *place) MUST_USE;
void tcp_clients_give(struct tcp_clients *c, uint32_t place);
