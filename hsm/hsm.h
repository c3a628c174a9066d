/* Keys and signatures outside (or inside) the process. Knows nothing of DNS.
 *
 * A keystore is a device: a PKCS#11 token, a directory of key files, or a key service. It has
 * 'sessions' lanes, each a thread that owns one session and signs what the queue holds. Keys are
 * ECDSA P-256 only. */
#pragma once

#include "nsd-core/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>

#define HSM_KEY_ID_LEN	  16 /* CKA_ID of keys we make */
#define HSM_PUBLIC_LEN	  64 /* X and Y (RFC 6605 4) */
#define HSM_PRIVATE_LEN	  32
#define HSM_SIGNATURE_LEN 64  /* r and s, left-padded (RFC 6605 4) */
#define HSM_DIGEST_LEN	  32  /* SHA-256 */
#define HSM_ID_MAX	  128 /* octets of a key's id: CKA_ID, ARN */
#define HSM_REF_MAX	  511 /* octets of what an operator names a key by */

enum keystore_type {
	KEYSTORE_PKCS11,
	KEYSTORE_FILE,
	KEYSTORE_KMS,
};

/* All strings borrowed for the life of the keystore. */
struct keystore_options {
	const char *name;
	enum keystore_type type;
	const char *module;	     /* pkcs11: path of the module */
	const char *token;	     /* pkcs11: one of token, uri, or slot >= 0 */
	const char *uri;	     /* RFC 7512 */
	int64_t slot;		     /* -1: not given */
	const char *pin_file;	     /* the PIN is its first line */
	const char *init_args;	     /* pReserved of C_Initialize, or NULL */
	const char *directory;	     /* file: where the PEM files are */
	const char *passphrase_file; /* file: its first line encrypts new keys, and opens those that
					are encrypted; or NULL */
	const char *region;	     /* aws-kms; NULL: as the environment or the profile says */
	const char *endpoint;	     /* aws-kms: URL; NULL: the region's */
	const char *profile;	     /* aws-kms; NULL: the environment's, else "default" */
	const char *ca_file;	     /* aws-kms; NULL: the system's */
	unsigned rate;		     /* aws-kms: signatures a second, at least 1 */
	bool isolate;		     /* pkcs11: the module in a process of its own */
	unsigned patience_ms;	     /* isolated: for one signature, then it is killed; 0: 10 s */
	unsigned sessions;	     /* lanes, at least 1 */
	size_t queue_max;	     /* jobs waiting per priority; 0: 4096 */
};

struct keystore;
struct hsm_key;

/* What a key is found by, for good. */
struct hsm_id {
	uint8_t data[HSM_ID_MAX];
	size_t len;
};

/* Does not touch the device: it is opened when first needed, and healed without being asked. A
 * warning in 'd' does not fail it. ST_EPARSE: options that contradict each other. */
enum status keystore_new(const struct keystore_options *opt, struct keystore **out,
			 struct diags *d) MUST_USE;
/* The end begins: what waits gets ST_EAGAIN, what hangs in a device outside the process comes back
 * soon. Does not block; any thread. */
void keystore_stop(struct keystore *ks);
/* Stops it, and blocks until the lanes have ended. Takes NULL. */
void keystore_free(struct keystore *ks);
const char *keystore_name(const struct keystore *ks);
/* May a caller sign on its own thread with hsm_sign_now()? (type file) */
bool keystore_in_process(const struct keystore *ks);

enum keystore_state {
	KEYSTORE_CLOSED, /* never opened yet */
	KEYSTORE_UP,
	KEYSTORE_DOWN,	 /* backing off, will be tried again */
	KEYSTORE_LOCKED, /* the PIN was refused: waits for the operator (another PIN file) */
};

struct keystore_health {
	enum keystore_state state;
	char detail[160];  /* the last error, for people; empty when up */
	char refusal[160]; /* why it last did not sign with some key, though it is up; empty: it did
			      with all, since it was opened */
	unsigned sessions;
	unsigned window; /* jobs that its sessions have in flight at most, as fast as it is now */
	uint64_t signatures, failures, verify_failures;
	size_t waiting;	   /* jobs in the queues */
	int pid;	   /* of the module's own process; 0: none */
	uint64_t restarts; /* processes before this one */
	uint64_t requests; /* made to a service */
};

/* Any thread; a snapshot. */
void keystore_health(struct keystore *ks, struct keystore_health *out);

/* The rights that the keystore needs, as text to be pasted where they are given (a policy of a
 * KMS). Heap; NULL: there is nothing of the kind. */
char *keystore_rights(struct keystore *ks);

/* Was this process started to hold a module? Every program that opens isolated keystores asks so
 * first in main(), and then is nothing but that: hsm_host_main() returns to nobody. */
bool hsm_is_host(int argc, char **argv);
int hsm_host_main(void);

/* The calls below touch the device and block; not for loop threads. On a fault 'd' says what, and
 * what to do about it.
 *
 * Opens the device (and logs in) now. ST_EAGAIN: not there; ST_EFATAL: PIN refused, wrong token. */
enum status keystore_open(struct keystore *ks, struct diags *d) MUST_USE;
/* The key with this id. 'expect', where not NULL, is its public point on record: another point is
 * ST_ECRYPTO. Proven by signing and verifying once. ST_ENOENT: the token was read and has no such
 * key: only then is it absent. One reference. */
enum status keystore_find(struct keystore *ks, const uint8_t *id, size_t id_len,
			  const uint8_t *expect, struct hsm_key **out, struct diags *d) MUST_USE;
/* A new key pair under a random id; 'label' is for people. One reference. */
enum status keystore_generate(struct keystore *ks, const char *label, struct hsm_key **out,
			      struct diags *d) MUST_USE;
/* The key pair of a private number (big-endian, HSM_PRIVATE_LEN octets), under a random id. One
 * reference. ST_ENOTSUP: keys are not brought into such a keystore; ST_ECRYPTO: no number of P-256.
 */
enum status keystore_import(struct keystore *ks, const char *label, const uint8_t *number,
			    struct hsm_key **out, struct diags *d) MUST_USE;
/* Deletes the pair from the device (a key made again because of its tag, never one in use). */
enum status keystore_delete(struct keystore *ks, struct hsm_key *key, struct diags *d) MUST_USE;
/* The id of the one key that 'ref' names as operators do. pkcs11: a URI with object, id, or both
 * (RFC 7512), a CKA_ID in hex, else a CKA_LABEL; file: the file's name, with or without .pem;
 * aws-kms: a key's id or ARN, an alias or its ARN. Nothing is signed, so this says nothing of
 * whether the key is fit. ST_ENOENT: the keystore was read and has none of that name; ST_EEXIST: it
 * has several; ST_EPARSE: keys there are not named so. */
enum status keystore_identify(struct keystore *ks, const char *ref, struct hsm_id *out,
			      struct diags *d) MUST_USE;
/* Deletes a pair at the operator's word, also where keystore_delete() refuses; whether it is in use
 * is the caller's to know. aws-kms: in 'days', 7 to 30; *until (seconds since 1970) says until when
 * that can be undone. Others: now, and *until is 0. */
enum status keystore_destroy(struct keystore *ks, const struct hsm_id *id, unsigned days,
			     int64_t *until, struct diags *d) MUST_USE;

/* References may be given back after the keystore is gone; nothing else may be done then. */
struct hsm_key *hsm_key_ref(struct hsm_key *key);
void hsm_key_unref(struct hsm_key *key);		  /* takes NULL */
const uint8_t *hsm_key_public(const struct hsm_key *key); /* HSM_PUBLIC_LEN octets */
const uint8_t *hsm_key_id(const struct hsm_key *key, size_t *len);
struct keystore *hsm_key_store(const struct hsm_key *key);

/* HSM_QUERY comes first. The other two take turns, so that neither starves the other. While there
 * are two lanes or more they take the last one only where nobody misses it: no HSM_QUERY came for a
 * second, and one signature takes less than 5 ms. */
enum hsm_priority {
	HSM_QUERY,  /* somebody waits for the answer */
	HSM_EXCESS, /* the same, but who asks has more than a fair share under way already; or
		       nobody waits */
	HSM_BATCH,  /* background work */
};

/* One signature to make. Owned by the caller until 'done' has been called. */
struct hsm_job {
	struct hsm_key *key; /* borrowed */
	uint8_t digest[HSM_DIGEST_LEN];
	int64_t deadline_ms; /* clock_mono_ms(); 0: none. Past it the job fails with ST_ETIMEDOUT */
	/* On a lane's thread. result ST_OK: 'signature' is filled and, for keys outside the
	 * process, has been verified with the public key. May submit other jobs; must not block
	 * long. */
	void (*done)(struct hsm_job *job);
	/* ST_EAGAIN: the device is away or waits for the operator; ST_EFATAL: it works, and this
	 * key is gone from it or may not sign; ST_ECRYPTO: two signatures did not verify. */
	enum status result;
	uint8_t signature[HSM_SIGNATURE_LEN];
	/* The queue's; zero before the first submission. */
	struct hsm_job *next, *previous;
	enum hsm_priority priority;
	bool queued;
	bool raised; /* while a lane had it */
};

/* ST_ELIMIT: the queue is full, ST_EAGAIN: the keystore ends; 'done' is not called. Any thread. */
enum status keystore_submit(struct keystore *ks, enum hsm_priority priority,
			    struct hsm_job *job) MUST_USE;
/* Moves a job that waits at a lower priority behind those of HSM_QUERY; one that a lane has is
 * among them where it comes back from there. Nothing happens where these are as many as may be. The
 * caller keeps the job from being freed; any thread. */
void keystore_raise(struct keystore *ks, struct hsm_job *job);
/* On this thread, for keys in the process; ST_ENOTSUP for others. */
enum status hsm_sign_now(struct hsm_key *key, const uint8_t *digest, uint8_t *signature) MUST_USE;
/* The public point of a private number. ST_ECRYPTO: it is none of P-256. */
enum status hsm_public_of(const uint8_t number[HSM_PRIVATE_LEN],
			  uint8_t point[HSM_PUBLIC_LEN]) MUST_USE;
/* Checks with OpenSSL. ST_ECRYPTO: it does not verify. */
enum status hsm_verify(const uint8_t *public_point, const uint8_t *digest,
		       const uint8_t *signature) MUST_USE;
