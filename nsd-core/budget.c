#include "nsd-core/budget.h"

#include "nsd-core/base/digest.h"

#include <netinet/in.h>
#include <string.h>

enum status budget_init(struct budget *b)
{
	memset(b, 0, sizeof(*b));
	return random_bytes(&b->seed, sizeof(b->seed));
}

/* IPv4 /24, the longest that is routed by itself; IPv6 /56, what a household gets. */
static uint64_t client_prefix(const struct sockaddr *client)
{
	if (client->sa_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)client;
		return UINT64_C(1) << 63 | be32_get((const uint8_t *)&in4->sin_addr) >> 8;
	}
	if (client->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)client;
		return be64_get((const uint8_t *)&in6->sin6_addr) >> 8;
	}
	return 0;
}

static uint16_t place_of(const struct budget *b, uint64_t who, uint16_t places)
{
	uint64_t h = (who ^ b->seed) * UINT64_C(0x9fb21c651e98df25);
	h = (h ^ h >> 32 ^ b->seed) * UINT64_C(0xd6e8feb86659fd93);
	return (uint16_t)((h >> 40) % places);
}

unsigned budget_look(const struct budget *b, const struct sockaddr *client, const struct zone *zone,
		     bool nonexistent, struct budget_ticket *out)
{
	uint16_t prefix_at = place_of(b, client_prefix(client), BUDGET_PREFIXES);
	uint16_t zone_at = place_of(b, (uintptr_t)zone, BUDGET_ZONES);
	const struct budget_place *p = &b->prefixes[prefix_at];
	const struct budget_place *z = &b->zones[zone_at];
	bool urgent = p->urgent < BUDGET_PREFIX && z->urgent < BUDGET_ZONE;

	if (nonexistent) {
		urgent = urgent && p->nonexistent < BUDGET_PREFIX_NONEXISTENT &&
			 z->nonexistent < BUDGET_ZONE_NONEXISTENT;
	}
	*out = (struct budget_ticket){
		.prefix = prefix_at, .zone = zone_at, .urgent = urgent, .nonexistent = nonexistent};
	return p->waiting;
}

static void place_add(struct budget_place *at, const struct budget_ticket *t, int sign)
{
	at->waiting = (uint16_t)(at->waiting + sign);
	if (t->urgent) {
		at->urgent = (uint16_t)(at->urgent + sign);
		at->nonexistent = (uint16_t)(at->nonexistent + (t->nonexistent ? sign : 0));
	}
}

void budget_take(struct budget *b, const struct budget_ticket *t)
{
	place_add(&b->prefixes[t->prefix], t, 1);
	place_add(&b->zones[t->zone], t, 1);
}

void budget_give(struct budget *b, const struct budget_ticket *t)
{
	place_add(&b->prefixes[t->prefix], t, -1);
	place_add(&b->zones[t->zone], t, -1);
}
