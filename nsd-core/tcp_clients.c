#include "nsd-core/tcp_clients.h"

#include "nsd-core/base/digest.h"

#include <netinet/in.h>

enum status tcp_clients_init(struct tcp_clients *c, unsigned max, unsigned max_per_client)
{
	c->max = max;
	c->max_per_client = max_per_client;
	atomic_init(&c->total, 0);
	for (size_t i = 0; i < TCP_CLIENTS_PLACES; i++) {
		atomic_init(&c->places[i], 0);
	}
	return random_bytes(&c->seed, sizeof(c->seed));
}

static uint32_t place_of(const struct tcp_clients *c, const struct sockaddr *peer)
{
	uint64_t client = 0;

	if (peer->sa_family == AF_INET) {
		client = be32_get((const uint8_t *)&((const struct sockaddr_in *)peer)->sin_addr);
	} else if (peer->sa_family == AF_INET6) {
		client = be64_get((const uint8_t *)&((const struct sockaddr_in6 *)peer)->sin6_addr);
	}
	uint64_t h = (client ^ c->seed) * UINT64_C(0x9fb21c651e98df25);
	h = (h ^ h >> 32 ^ c->seed) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(h >> 40) % TCP_CLIENTS_PLACES;
}

enum status tcp_clients_take(struct tcp_clients *c, const struct sockaddr *peer, uint32_t *place)
{
	uint32_t at = place_of(c, peer);

	if (atomic_fetch_add_explicit(&c->total, 1, memory_order_relaxed) >= c->max) {
		atomic_fetch_sub_explicit(&c->total, 1, memory_order_relaxed);
		return ST_ELIMIT;
	}
	if (atomic_fetch_add_explicit(&c->places[at], 1, memory_order_relaxed) >=
	    c->max_per_client) {
		tcp_clients_give(c, at);
		return ST_ELIMIT;
	}
	*place = at;
	return ST_OK;
}

void tcp_clients_give(struct tcp_clients *c, uint32_t place)
{
	atomic_fetch_sub_explicit(&c->places[place], 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&c->total, 1, memory_order_relaxed);
}
