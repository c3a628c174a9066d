/* What builder threads do for one zone: make its next version, and sign what a version lacks.
 * Nothing here is published; main does that. Private to the zone manager. */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/journal.h"
#include "nsd-core/watch.h"
#include "signer/signer.h"
#include "signer/sigstore.h"

#include <pthread.h>

#define POLICY_KEYS_MAX 2

/* A policy as the signer takes it. Immutable but for what may be read again. */
struct build_policy {
	struct sign_params params;
	_Atomic(enum sign_denial) denial; /* main's; builders read it */
	/* Of params: given, or to be made for a zone with secondaries (build_params()). */
	bool refresh_given, validity_given;
	struct key_wanted wanted[POLICY_KEYS_MAX];
	size_t wanted_count;
};

/* The durable record of a zone, which several threads change, a field each. */
struct ledger {
	pthread_mutex_t lock; /* held over the write, so that none undoes another's */
	bool known;
	struct zone_record record;
};

/* Makes the content of a zone that has no file, sorted, with the serial 0, into what is
 * content_init()ed. A pure function of the configuration. */
typedef enum status (*content_maker)(const struct conf *conf, const struct conf_zone *zone,
				     struct content *c, struct diags *d);

/* What all builds of one zone work with. Immutable but for the ledger. */
struct build_source {
	const uint8_t *apex;
	const char *path; /* NULL: its content is made */
	content_maker make;
	const struct conf *conf; /* what it is made from; NULL with a file */
	const struct conf_zone *zone;
	const struct build_policy *policy; /* NULL: served as it is */
	struct store *db;
	struct signer *signer;
	const _Atomic(bool) *stop;
	bool complete; /* a serial is transferred: it stands for one content, signatures included */
	enum serial_kind serial;
	/* Main's, while no build runs. Where nothing is on record: what secondaries have. */
	uint32_t floor;
	bool has_floor;
	struct ledger ledger;
	/* NULL: nothing is kept. Used by the first build, then by the saver. */
	struct store *signatures;
	struct sigstore_zone *kept;
	struct journal_zone *history; /* NULL: the zone has no secondaries */
};

void ledger_init(struct ledger *l);
void ledger_fini(struct ledger *l);
/* ST_EIO and the like: the record is there and cannot be read (a diag says so). */
enum status ledger_get(struct build_source *src, struct zone_record *out, struct diags *d) MUST_USE;
/* What is noted of a version before anybody sees it: its serial, and what stands beside that in
 * struct zone_record. */
struct published {
	uint32_t serial;
	uint32_t file_serial;
	bool has_file_serial; /* else the one on record stays */
	bool has_content;
	uint8_t content[ZONE_CONTENT_LEN];
};

/* The serials of zones that share a store, in one transaction: they are durable when it returns
 * ST_OK. Else none of them is. */
enum status ledger_put_serials(struct build_source *const *sources,
			       const struct published *const *published, size_t count) MUST_USE;
/* Only where it is not set yet. */
enum status ledger_put_signed(struct build_source *src, int64_t since, uint32_t max_ttl,
			      struct zone_record *out, struct diags *d) MUST_USE;
enum status ledger_put_ds_seen(struct build_source *src, struct diags *d) MUST_USE;

enum build_want {
	BUILD_READ = 0x01,    /* read the file, changed or not */
	BUILD_CHANGED = 0x02, /* read it where it is not as it was read last */
	BUILD_SETTLED = 0x04, /* the same, once it is found alike twice in a row */
	BUILD_FORCE = 0x08,   /* names may be lost */
	BUILD_REFRESH = 0x10, /* renew signatures that fall due */
	BUILD_TIME = 0x20,    /* something is due by the clock: CDS */
	BUILD_DENIAL = 0x40,  /* from the denial that is served to the policy's */
	BUILD_SERIAL = 0x80,  /* a version with the serial given, whether anything changed or not */
};

#define BUILD_BY_CLOCK (BUILD_REFRESH | BUILD_TIME | BUILD_DENIAL)

enum build_outcome {
	BUILD_NONE,	 /* nothing was read */
	BUILD_SAME,	 /* read, and there is nothing new */
	BUILD_NEW,	 /* 'next' is to be published */
	BUILD_UNSETTLED, /* the file is being written: look again soon */
	BUILD_FAILED,	 /* 'status' and 'diags' say why */
};

struct build {
	struct build_source *src;
	/* In: set for each build. */
	unsigned want;
	struct version *base; /* borrowed for the build; NULL: nothing is served yet */
	uint32_t serial;      /* of BUILD_SERIAL */
	/* Kept from build to build: the files as they were read last, and as they were seen last.
	 */
	struct file_stamps read;
	struct file_stamps seen;
	uint32_t file_serial; /* as it was read last */
	bool has_file_serial;
	/* What a secondary that does not reach us may serve, and caches after it. */
	uint32_t expire, max_ttl;
	/* A version of another denial that was given up unfinished: its signatures are the next
	 * one's. A reference. */
	struct version *unfinished;
	/* Another denial takes as long as its signatures do. From yield_from_ms (clock_mono_ms())
	 * on it has signed for as long as it was made, and main may tell it to make way. */
	_Atomic(bool) yield;
	_Atomic(int64_t) yield_from_ms;
	/* The version that 'sum' is of (an identity), and the one that 'change' leads to. */
	const struct version *summed;
	struct zone_sum sum;
	const struct version *changed;
	bool matched; /* restored: it is what the journal ends with, and has 'sum' */
	/* Out. */
	enum build_outcome outcome;
	enum status status;
	struct version *next; /* a reference; BUILD_NEW only */
	bool measured;	      /* 'stats' holds those of next (small zones only) */
	struct sign_stats stats;
	struct zone_record record;
	size_t renewed;
	size_t restored; /* RRsets whose signatures were on disk */
	/* What is noted of next must be durable (ledger_put_serials()) before anybody sees it, and
	 * how it came (journal_commit()) where the zone has a history. */
	bool uncommitted;
	struct published published;
	struct journal_change change;
	struct diags diags;
};

/* Zones up to this many names are measured (signer_stats) with the build. */
#define BUILD_MEASURE_MAX 20000

void build_init(struct build *b, struct build_source *src);
void build_fini(struct build *b);
/* The build: from want and base to outcome. Blocks. */
void build_run(struct build *b);

/* zonemgr_load.c. The zone's file, sorted and checked; stamps go to b->read whatever comes of it.
 * 'c' is content_init()ed by the caller. */
enum status build_read_file(struct build *b, struct content *c) MUST_USE;
/* zonemgr_made.c. The same for a zone whose content is made. */
enum status build_read_made(struct build *b, struct content *c) MUST_USE;
/* NULL: the zone has a file. */
content_maker content_maker_of(const struct conf_zone *zone);
/* Is the file to be read? ST_EBUSY: it is being written. */
enum status build_look(struct build *b, bool *read) MUST_USE;
/* The serial in the file's SOA; where put is not NULL the SOA gets that one instead. */
enum status content_serial(struct content *c, const uint32_t *put, uint32_t *serial) MUST_USE;
/* ST_EREFUSED where the draft has lost more than half of the base's names. */
enum status build_check_loss(struct build *b, struct draft *d) MUST_USE;

/* zonemgr_content.c. A digest of all of the content but its SOA's serial. */
enum status content_digest(const struct content *c, uint8_t out[ZONE_CONTENT_LEN]) MUST_USE;
/* How the zone is signed: as its policy says, and where that leaves it open as what secondaries and
 * caches keep of it asks for. Of the content that was read for this build b->expire and b->max_ttl
 * are set; content NULL: as the base is. */
void build_params(struct build *b, const struct content *content, struct sign_params *out);

/* zonemgr_restore.c: fills the slots of a zone's first draft from the disk. out->same: its content
 * is the one that was served with this serial. Faults of the store are warnings. */
enum status build_restore(struct build *b, struct draft *d, const struct keyset *keys,
			  uint32_t serial, struct sigstore_loaded *out) MUST_USE;

/* zonemgr_history.c. */
void build_history_begin(struct build *b);
void build_history_fini(struct build *b);
/* The journal may be ahead of the record, by a serial that nobody has seen: then rec has that one
 * from now on. */
bool build_history_last(const struct build_source *src, struct zone_record *rec);
/* What leads from the base to v, which is signed, goes to b->change. */
enum status build_history(struct build *b, const struct version *v) MUST_USE;

/* Signs what v lacks; sees to the record when v is complete. */
struct warming {
	struct build_source *src;
	struct version *version; /* borrowed */
	_Atomic(bool) stop;
	/* Out. */
	enum status
		status; /* ST_OK: complete. ST_EAGAIN: a keystore is away. ST_EREFUSED: stopped */
	struct sign_stats stats;
	struct zone_record record;
	struct diags diags;
};

void warming_run(struct warming *w);
/* The keys of the policy have handles, as far as their keystores give them. */
enum status build_rebind(const struct build_source *src, struct keyset *keys,
			 struct diags *d) MUST_USE;
/* Adds what is wrong with the policy's keystores. */
void build_blame_keystores(const struct build_source *src, struct diags *d);
