/* Whose questions may make the signing engine hurry. One thread's.
 *
 * Counted are the questions that wait for signatures, by client prefix (IPv4 /24, IPv6 /56) and by
 * zone: what is under way, and not what comes in a second, so that the budget is worth as much as
 * the keystore is fast. Questions beyond it are not refused. What they want is signed when nothing
 * more urgent is there to sign (HSM_EXCESS), and they do not count against the budget of those that
 * come after them, so that who floods with one kind of names is not in the way of the others from
 * the same resolver.
 *
 * The tables are fixed. Two that share a place share a budget: nobody can aim for it, since places
 * are drawn with a random seed, and it is rare. A place is over its budget only while that many
 * questions of the slab (PARK_MAX) are in it, so that it holds for a few hundred places of 16,384
 * at most. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdbool.h>
#include <sys/socket.h>

/* Questions of one prefix: what a page wants to know of a zone that nobody asked for before. A
 * keystore of one session and 50 ms a signature answers them within half a second. */
#define BUDGET_PREFIX 8
/* Questions for one zone: four such clients. A crowd that asks one zone is not in the way of who
 * asks another one. */
#define BUDGET_ZONE 32
/* Of them, those for names that do not exist: strangers can think of as many as they like. */
#define BUDGET_PREFIX_NONEXISTENT 2
#define BUDGET_ZONE_NONEXISTENT	  8

#define BUDGET_PREFIXES 16384
#define BUDGET_ZONES	1024

struct zone;

struct budget_place {
	uint16_t waiting;     /* questions */
	uint16_t urgent;      /* of them within the budget */
	uint16_t nonexistent; /* of these for names that do not exist */
};

struct budget {
	uint64_t seed;
	struct budget_place prefixes[BUDGET_PREFIXES];
	struct budget_place zones[BUDGET_ZONES];
};

/* A question's part in it. */
struct budget_ticket {
	uint16_t prefix, zone; /* places */
	bool urgent;	       /* within the budget */
	bool nonexistent;
};

enum status budget_init(struct budget *b) MUST_USE;
/* What a question from there would get now. 'zone' is an identity, NULL: not known. Returns how
 * many of its prefix wait. */
unsigned budget_look(const struct budget *b, const struct sockaddr *client, const struct zone *zone,
		     bool nonexistent, struct budget_ticket *out);
/* It waits; at most 65535 may. */
void budget_take(struct budget *b, const struct budget_ticket *t);
/* It waits no more. */
void budget_give(struct budget *b, const struct budget_ticket *t);
