/* The lives of zones: loading, building, publishing, warming, refreshing, watching. Main thread,
 * but for the builder threads it owns. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/zonedb.h"
#include "signer/signer.h"

#include <uv.h>

struct asker;
struct tsig_keys;
struct zonemgr;

struct zonemgr_options {
	const struct conf *conf; /* borrowed */
	uv_loop_t *loop;
	void (*settled)(void *ctx, const struct rrset *rs, enum status result); /* for the signer */
	void *settled_ctx;
	void (*published)(void *ctx, const struct zone *z); /* a new version; may be NULL */
	void *published_ctx;
	uint32_t tick_ms; /* how often the clock is looked at; 0: 1000 */
	/* To ask secondaries of zones that nothing is known of, with their keys; both borrowed.
	 * NULL: none are asked. */
	struct asker *asker;
	const struct tsig_keys *keys;
};

/* The store in the state directory that holds keys and zone records. */
#define ZONEMGR_STORE "keys"
/* Its bound: address space only; a zone's record and keys take a few hundred octets. */
#define ZONEMGR_STORE_BYTES (UINT64_C(1) << 30)
/* The one that holds signatures. */
#define ZONEMGR_SIGNATURES "signatures"

/* Opens the store under conf->server.state, makes keystores, signer, zones and the zone database.
 * Loads nothing yet. */
enum status zonemgr_new(const struct zonemgr_options *opt, struct zonemgr **out,
			struct diags *d) MUST_USE;
/* Loads every zone; 'done' is called once, on the loop, when each was tried. */
void zonemgr_load_all(struct zonemgr *m, void (*done)(void *ctx), void *ctx);

/* What happened to one zone's reload. Called on the loop. 'd' holds findings. */
typedef void (*zonemgr_done)(void *ctx, enum status st, uint32_t serial, const struct diags *d);
/* Reads the zone's file again and publishes what changed. ST_EREFUSED where more than half of the
 * names would be lost and !force. ST_EAGAIN (in done) when its keystore is away. cb may be NULL. */
void zonemgr_reload(struct zonemgr *m, struct zone *z, bool force, zonemgr_done cb, void *ctx);
/* The same, and publishes a version with this serial whether anything changed or not. ST_EREFUSED
 * where it is not ahead of the last one (RFC 1982), or the zone has its file's. A zone that waits
 * for its secondaries to say what they have waits no longer. */
void zonemgr_reload_serial(struct zonemgr *m, struct zone *z, bool force, uint32_t serial,
			   zonemgr_done cb, void *ctx);
/* A secondary has this serial, which is ahead of all that is known of here, as after an old copy of
 * the state directory was put back: publishes a version beyond it. */
void zonemgr_pass_serial(struct zonemgr *m, struct zone *z, uint32_t serial);
void zonemgr_reload_all(struct zonemgr *m); /* SIGHUP */
/* Reads the configuration again and takes denial and nsec3-opt-out of the policies that there are;
 * zones follow in their own time, each in one version. Of a fault the log tells, and all stays as
 * it is. */
void zonemgr_read_policies(struct zonemgr *m);

const struct zonedb *zonemgr_db(const struct zonemgr *m);
struct signer *zonemgr_signer(const struct zonemgr *m);
struct zone *const *zonemgr_zones(const struct zonemgr *m, size_t *count);

enum zone_signing {
	SIGNING_NONE,	  /* served as it is */
	SIGNING_WARMING,  /* signatures are being made in the background */
	SIGNING_COMPLETE, /* every RRset that carries signatures has them */
	SIGNING_WAITING,  /* the keystore is away */
};

/* A copy of what 'status' and 'zone show' say of a zone. Main thread. */
struct zone_status {
	bool loaded;
	bool waits; /* for secondaries to say which serial they have; last_error has more */
	uint32_t serial;
	size_t names, records;
	enum zone_signing signing;
	struct sign_stats sign;
	int64_t loaded_at;
	int64_t ds_safe_from; /* INT64_MAX: not known yet */
	int64_t next_event;   /* INT64_MAX: none */
	char next_event_text[64];
	char last_error[256]; /* of the last load or build; empty: fine */
	enum denial denial;
	bool opt_out; /* NSEC3 of ours with opt-out */
	bool saved;   /* all its signatures are on disk */
};

void zonemgr_status(struct zonemgr *m, struct zone *z, struct zone_status *out);
const struct conf_zone *zonemgr_conf(const struct zonemgr *m, const struct zone *z);
struct keystore *zonemgr_keystore(const struct zonemgr *m,
				  size_t index); /* as in conf->keystores */
struct store *zonemgr_store(const struct zonemgr *m);

/* A keystore as configured. 'c' and key_folder (of key files) are borrowed for its life. */
enum status keystore_from_conf(const struct conf_keystore *c, const char *key_folder,
			       struct keystore **out, struct diags *d) MUST_USE;

/* signetd --check: reads every zone and opens every keystore, serves and changes nothing. All
 * faults go to d. */
enum status zonemgr_check(const struct conf *conf, struct diags *d) MUST_USE;

/* Stops builders and keystores, after the workers; those who wait for a reload get ST_EREFUSED.
 * What is published stays readable until zonemgr_free(), before which the loop runs once to close
 * handles. */
void zonemgr_stop(struct zonemgr *m);
void zonemgr_free(struct zonemgr *m); /* takes NULL; after the workers have ended */
