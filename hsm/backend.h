/* What a kind of keystore implements: a device, keys on it, and a blocking signature. Concurrency,
 * back-off, verification and health are the keystore's business (keystore.c, lanes.c), so that a
 * module may move into a process of its own behind these functions. */
#pragma once

#include "hsm/hsm.h"
#include "hsm/verify.h"

/* What a failed call means for the keystore. */
enum fault_kind {
	FAULT_REQUEST, /* this call only */
	FAULT_DEVICE,  /* the device must be opened again */
	FAULT_PIN,     /* nothing works until the operator acts */
};

/* Filled by the function that fails. */
struct fault {
	enum fault_kind kind;
	char text[160]; /* for people; never holds a PIN */
};

void fault_set(struct fault *f, enum fault_kind kind, const char *fmt, ...) PRINTF(3, 4);

struct backend;

/* Each kind's own key starts with this; backend.key_size says how long it is. */
struct hsm_key {
	_Atomic(uint32_t) refs;
	const struct backend *be;
	struct keystore *store;
	uint8_t id[HSM_ID_MAX];
	size_t id_len;
	uint8_t public_point[HSM_PUBLIC_LEN];
	EVP_PKEY *pkey; /* the public half; of keys in the process the private one too */
	struct ctx_pool signers, verifiers;
};

/* As the device gave it: 64 octets, DER, or wrong. */
struct raw_signature {
	uint8_t data[256];
	size_t len;
};

#define LANE_WINDOW_MAX 8
/* What takes longer holds up nothing that could be signed elsewhere. */
#define LANE_STUCK_MS 20

struct device;	/* one token or one directory */
struct session; /* what one lane owns of it */

struct backend {
	bool in_process; /* hsm_sign_now() works; signatures are sampled, not all verified */
	size_t key_size;

	/* Checks the options and keeps the pointer; does not touch the device. */
	enum status (*device_new)(const struct keystore_options *opt, struct device **out,
				  struct diags *d);
	/* No sessions are left. Takes NULL. */
	void (*device_free)(struct device *dev);
	/* Opens the device, or opens it anew after a fault. One thread at a time, while sessions
	 * may be in use on others. */
	enum status (*open)(struct device *dev, struct fault *f);
	/* Is it still there? May be NULL. */
	enum status (*probe)(struct device *dev, struct fault *f);

	/* Any thread, on an open device. find and generate fill what belongs to the device, and
	 * 'public_point'; 'key' has its id, and for generate a fresh one. */
	enum status (*find)(struct device *dev, struct hsm_key *key, const uint8_t *expect,
			    struct fault *f);
	enum status (*generate)(struct device *dev, struct hsm_key *key, const char *label,
				struct fault *f);
	/* As generate, of the private number (HSM_PRIVATE_LEN octets). NULL: the device takes none.
	 */
	enum status (*import)(struct device *dev, struct hsm_key *key, const uint8_t *number,
			      const char *label, struct fault *f);
	enum status (*remove)(struct device *dev, struct hsm_key *key, struct fault *f);
	/* keystore_identify(). */
	enum status (*identify)(struct device *dev, const char *ref, struct hsm_id *out,
				struct fault *f);
	/* keystore_destroy() where that is not remove(). NULL: it is. */
	enum status (*schedule)(struct device *dev, const struct hsm_key *key, unsigned days,
				int64_t *until, struct fault *f);

	/* Does not touch the device: sign() does what is needed, also after the device was opened
	 * anew. The session is used by one thread at a time. */
	enum status (*session_new)(struct device *dev, struct session **out);
	void (*session_free)(struct session *s);
	/* ST_ELIMIT: the device gives no further session; nothing was signed. */
	enum status (*sign)(struct session *s, struct hsm_key *key, const uint8_t *digest,
			    struct raw_signature *out, struct fault *f);
	/* Instead of sign(), where a session takes requests while it signs, 'window' of them (at
	 * most LANE_WINDOW_MAX): ask() sends one and does not wait; answer() is sign() for the
	 * oldest, or ST_EBUSY, with nothing changed, when it has taken LANE_STUCK_MS or a multiple
	 * of it; forget() takes back all but the oldest. */
	unsigned window;
	void (*ask)(struct session *s, struct hsm_key *key, const uint8_t *digest);
	enum status (*answer)(struct session *s, struct raw_signature *out, struct fault *f);
	void (*forget)(struct session *s);
	/* A signature of 'key' did not verify: trust no remembered handle. May be NULL. */
	void (*distrust)(struct hsm_key *key);

	/* What is known of PINs that were refused, so that a device_new() in another process does
	 * not try them again: octets without meaning elsewhere. guard_get() returns how many, 0
	 * where there is nothing to keep or no room; any thread, once open() was called.
	 * guard_set() before open(). May be NULL. */
	size_t (*guard_get)(struct device *dev, uint8_t *out, size_t room);
	void (*guard_set)(struct device *dev, const uint8_t *data, size_t len);

	/* The keystore ends: whatever call hangs in the device returns soon, and none begins. Any
	 * thread. May be NULL. */
	void (*cancel)(struct device *dev);
	/* keystore_rights(). Any thread; does not touch the device. May be NULL. */
	char *(*rights)(const struct device *dev);
	/* The process that the device is in, and how many there were before it. May be NULL. */
	void (*process)(struct device *dev, struct keystore_health *out);
};

extern const struct backend backend_file;
extern const struct backend backend_pkcs11;
extern const struct backend backend_isolated; /* pkcs11 in a process of its own */
extern const struct backend backend_kms;
