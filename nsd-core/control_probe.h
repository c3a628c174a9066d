/* 'keystore check', 'keystore bench' and 'keystore delete': what a keystore is asked to do by hand,
 * by a thread of the server or by signetctl where none runs. They block as long as the device does.
 */
#pragma once

#include "nsd-core/conf.h"
#include "nsd-core/control_syntax.h"
#include "signer/keys.h"

struct probe {
	const struct conf *conf;
	size_t index; /* into conf->keystores */
	struct keystore *ks;
	struct store *db;	   /* NULL: nothing is on record yet */
	const _Atomic(bool) *stop; /* give up early; NULL: never */
	bool serving;		   /* questions may need the keystore meanwhile */
	unsigned seconds;	   /* bench: for each number of sessions; 0: 2 */
	const char *key;	   /* delete: what it is named by */
	unsigned days;		   /* delete: until it is final; 0: not said */
};

/* Opens the keystore, logs in, finds each key that a zone has there, signs and verifies with it.
 * The first thing that is missing stands in r->error, with what to do about it. */
void probe_check(const struct probe *p, struct reply *r);
/* Signs with the first key found there: latency and signatures per second by sessions. While
 * questions are served one session is left to them. */
void probe_bench(const struct probe *p, struct reply *r);

/* Deletes a key that no zone has on record but as removed, or as made and never used, and that no
 * policy names. 'db' is open for writing. */
void probe_delete(const struct probe *p, struct reply *r);

/* A key on record that is in the zone, or soon. */
struct probe_key {
	const struct conf_zone *zone;
	enum key_role role;
	uint16_t tag;
	uint8_t id[HSM_ID_MAX];
	size_t id_len;
	uint8_t public_point[HSM_PUBLIC_LEN];
	bool again; /* an earlier one of the list is the same, for another zone */
};

/* Those in the probe's keystore, in the order of the zones. Heap. ST_EIO: a record cannot be read;
 * *at is its zone. */
enum status probe_keys(const struct probe *p, struct probe_key **out, size_t *count,
		       const struct conf_zone **at) MUST_USE;

/* A keystore by its name. False: *r says why not. */
bool conf_keystore_by_name(const struct conf *conf, const char *name, size_t *index,
			   struct reply *r);
