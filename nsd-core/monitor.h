/* What secondaries really serve: each is asked for the zone's SOA, after a notification that it
 * acknowledged and from time to time, and for how long the signatures that it gives are good. Main
 * thread; nothing blocks. */
#pragma once

#include "nsd-core/ask.h"
#include "nsd-core/zonedb.h"

struct monitor;

struct monitor_options {
	uv_loop_t *loop;
	const struct conf *conf; /* all borrowed */
	const struct tsig_keys *keys;
	struct asker *asker;
	struct zone *const *zones; /* those with a conf_zone that has secondaries are watched, but
				      for catalogs */
	size_t zone_count;
	/* Until when all signatures of what is served here are good; INT64_MAX: not known, or there
	 * are none. */
	int64_t (*safe_until)(void *ctx, struct zone *z);
	/* The first answer of a secondary since the start has a serial ahead of what is served
	 * here. May be NULL. */
	void (*ahead)(void *ctx, struct zone *z, uint32_t serial);
	void *ctx;
};

/* Nobody is asked before monitor_start(). */
enum status monitor_new(const struct monitor_options *opt, struct monitor **out) MUST_USE;
void monitor_start(struct monitor *m);
/* A version of the zone was published. */
void monitor_published(struct monitor *m, const struct zone *z);
/* The secondary at this address was told of it and said so. */
void monitor_acknowledged(struct monitor *m, const struct zone *z, const struct conf_peer *peer);
/* Before the asker is closed. Takes NULL. */
void monitor_close(struct monitor *m);
void monitor_free(struct monitor *m); /* after the loop; takes NULL */

/* What is wrong with a secondary: bits. */
enum monitor_trouble {
	MONITOR_SILENT = 0x01, /* it does not answer */
	MONITOR_ABSENT = 0x02, /* it does not serve the zone */
	MONITOR_BEHIND = 0x04, /* for longer than the policy's propagation */
	MONITOR_AHEAD = 0x08,  /* of what is served here: it will take nothing */
	MONITOR_ENDING = 0x10, /* its signatures end soon */
};

struct monitor_state {
	const struct conf_remote *remote;
	const struct conf_peer *peer;
	unsigned trouble;
	int64_t answered_s;  /* the last time it did; 0: never */
	int64_t silent_s;    /* since when it does not; 0: it does */
	const char *why;     /* it does not; static */
	bool serves;	     /* at answered_s it did, with 'serial' */
	const char *refusal; /* what it says instead; static */
	uint32_t serial;
	uint32_t here;	   /* the serial served here */
	bool is_behind;	   /* late or not */
	uint32_t versions; /* behind; 0: it has none of those that were published since the start */
	int64_t since_s;   /* since when it is behind, ahead or does not serve */
	int64_t ends_s; /* the first of the signatures that it serves; INT64_MAX: there are none */
};

/* Of the zone's secondaries; returns how many, at most 'room'. Those that were not asked yet have
 * neither answered_s nor silent_s. */
size_t monitor_states(const struct monitor *m, const struct zone *z, struct monitor_state *out,
		      size_t room);
/* Is there trouble with any of them? */
bool monitor_has_trouble(const struct monitor *m, const struct zone *z);

#define MONITOR_TEXT_MAX 320
/* "is 3 serials behind (it has 4, here is 7) since 2026-11-26 14:02:00Z; its signatures end
 * in 9h 0m, ...". Of what 'only' says (trouble bits), or of everything (0). Returns buf. */
char *monitor_text(const struct monitor_state *s, unsigned only, int64_t now_s,
		   char buf[MONITOR_TEXT_MAX]);
