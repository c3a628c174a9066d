/* Questions that wait for signatures: a fixed slab, no sockets. One thread's.
 *
 * A question waits until every RRset it misses has settled; it is then asked again (ANSWER_AGAIN)
 * and may park anew. Where a signature failed it is asked again after PARK_RETRY_MS, since a failed
 * signing is often a lost session that heals at once. PARK_WAIT_MS after its arrival it is asked
 * for the last time (ANSWER_LAST).
 *
 * A question that this thread is to sign for (answer_missing.later) waits in a queue of its own,
 * for park_next_later(), and is never too old: how long it waits is the thread's doing. Those
 * within their budget come before those beyond. */
#pragma once

#include "nsd-core/answer.h"
#include "nsd-core/budget.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define PARK_WAIT_MS  2000 /* resolvers wait longer; a late answer is better than SERVFAIL */
#define PARK_RETRY_MS 250
#define PARK_WIRE_MAX 512 /* longer questions are not parked */
#define PARK_MAX      4096
/* Of them, those that this thread signs for: 20 ms of work at one signature each, and a third of a
 * second where a full batch of others is answered between any two signatures. */
#define PARK_LATER_MAX 1024
/* One client prefix has an eighth of the slab at most, half of that where it asks for names that do
 * not exist, and questions beyond their budget have three quarters: however many prefixes flood,
 * there is room for who does not. */
#define PARK_SHARE(max)		    ((max) / 8)
#define PARK_SHARE_NONEXISTENT(max) ((max) / 16)
#define PARK_EXCESS(max)	    ((max) - (max) / 4)

/* Who asks, and how to reply: to a UDP peer from the address it asked, or on a TCP connection that
 * may be gone. */
struct park_reply {
	enum answer_transport transport;
	uint16_t socket; /* UDP: which of the worker's sockets */
	socklen_t peer_len;
	union {
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} peer;
	union {
		struct in_pktinfo in4;
		struct in6_pktinfo in6;
	} local;	     /* sockets bound to a wildcard address only */
	uint32_t slot;	     /* TCP: the connection's number */
	uint32_t generation; /* and which of its tenants */
};

enum parked_state {
	PARKED_FREE,
	PARKED_WAITING,
	PARKED_READY, /* in the queue of park_next() */
	PARKED_LATER, /* in the queue of park_next_later() */
	PARKED_ASKED, /* handed out by one of the two, or new */
};

/* One RRset that one question waits for: a link in the chain of those with equal hash. */
struct park_wait {
	const struct rrset *rrset;
	uint32_t next, previous; /* waits, counted from 1; 0: none */
};

struct parked {
	int64_t deadline_ms;
	int64_t wake_ms; /* when it is asked again even if nothing settles */
	struct park_reply reply;
	enum parked_state state;
	struct budget_ticket ticket;
	uint32_t next;	    /* slots, counted from 1: free, ready, or later */
	uint32_t same_hash; /* the next UDP question of the same hash */
	uint32_t hash;
	uint16_t len;
	uint8_t waits;	   /* of wait[] in use */
	uint8_t unsettled; /* of them */
	struct park_wait wait[ANSWER_MISSING_MAX];
	uint8_t wire[PARK_WIRE_MAX];
};

struct park {
	struct parked *slots;
	uint32_t *by_rrset;    /* first wait of each chain */
	uint32_t *by_question; /* first slot of each chain */
	uint32_t mask;	       /* of both */
	uint32_t max;
	uint32_t count; /* all that are not free */
	uint32_t high;	/* slots from here on were not used since it was last empty */
	uint32_t free;
	uint32_t ready_first, ready_last;
	uint32_t later_first[2], later_last[2]; /* within the budget, and beyond */
	uint32_t later_count;			/* of both */
	uint64_t seed;
	struct budget budget;
};

/* max: a power of two. */
enum status park_init(struct park *p, uint32_t max) MUST_USE;
void park_fini(struct park *p); /* takes a zeroed one */

/* Copies a question that lacks signatures, and gives it its ticket. One that this thread is to sign
 * for is in its queue then; another one is handed out in *out, to be asked again now that there is
 * room for it to wait, and handed back as by park_next(). now_ms: clock_mono_ms().
 * ST_EEXIST: a UDP question that is parked already came again, octet for octet from the same port.
 * ST_ELIMIT: full, or its queue is.   ST_EREFUSED: its prefix has its share.   ST_ESPACE: longer
 * than PARK_WIRE_MAX. */
enum status park_put(struct park *p, const struct park_reply *reply, const struct bytes *question,
		     const struct answer_missing *missing, int64_t now_ms,
		     struct parked **out) MUST_USE;
/* rs was signed, or failed for now: what waits for it only is ready, or is asked again soon. */
void park_settled(struct park *p, const struct rrset *rs, bool ok, int64_t now_ms);
/* Makes ready what has waited long enough. */
void park_due(struct park *p, int64_t now_ms);
/* Makes everything ready as if its time were over. */
void park_expire(struct park *p);
/* The next question to ask again; NULL: none is ready. Until it is handed back by one of the two
 * calls below it stays in the slab and waits for nothing. */
struct parked *park_next(struct park *p);
/* The next question that this thread signs for; NULL: there is none. To be handed back likewise; as
 * long as it has something left to be signed it stays the next of its kind. */
struct parked *park_next_later(struct park *p);
enum answer_mode parked_mode(const struct parked *q, int64_t now_ms);
void park_again(struct park *p, struct parked *q, const struct answer_missing *missing,
		int64_t now_ms);
void park_release(struct park *p, struct parked *q);

static inline bool park_later_full(const struct park *p)
{
	return p->later_count >= PARK_LATER_MAX;
}
