/* The inside of the pkcs11 backend.
 *
 * libp11 loads the module, initialises it with locking, and finalises it. The rest goes through the
 * module's own function list: libp11 0.4.12 keeps the PIN for later log-ins (PKCS11_login), closes
 * all sessions the process has on a slot when it lets go of a list of slots, crashes where it
 * should refresh a list of two (PKCS11_update_slots), hangs where no session can be had, pools at
 * most 16 sessions, and makes RSA keys where EC is asked.
 *
 * Locks, in this order: the module's gate, the module's serial lock. The gate is shared by whoever
 * uses the module and exclusive for opening a device, for initialising and finalising: no thread is
 * inside then. The serial lock is held for every call but C_SignInit and C_Sign, since some modules
 * cannot do two at a time, such as opening sessions. */
#pragma once

#include "hsm/backend.h"

#include <libp11.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <sys/stat.h>

#define PIN_MAX	    255
#define LABEL_ROOM  33 /* CK_TOKEN_INFO.label and a NUL */
#define SERIAL_ROOM 17

/* What heals a return value. */
enum p11_class {
	P11_OK,
	P11_KEY,     /* find the key again */
	P11_SESSION, /* open another session */
	P11_LOGIN,   /* log in */
	P11_PIN,     /* stop until the operator acts */
	P11_REQUEST, /* nothing: the device works and will not do this */
	P11_DEVICE,  /* finalise, initialise, all anew */
};

/* pkcs11_rv.c */
enum p11_class p11_classify(CK_RV rv);
/* The constant's name; a static string, or "unknown error". */
const char *p11_rv_text(CK_RV rv);
/* Fills 'f' for a call that failed with rv, and returns the status that goes with the class. */
enum status p11_fault(struct fault *f, const char *call, CK_RV rv);

/* One per loaded library: initialisation is the process's, whoever asked for it. */
struct p11_module {
	struct p11_module *next;
	unsigned refs; /* the registry's lock */
	char *path;
	char *init_args;
	void *library;
	CK_FUNCTION_LIST *f;
	pthread_rwlock_t gate;
	pthread_mutex_t serial;
	/* Changed under the exclusive gate only. */
	PKCS11_CTX *ctx;     /* NULL: not initialised */
	bool own_instance;   /* 'f' is initialised beside what libp11 has */
	uint64_t generation; /* initialisations; 0: never */
	unsigned devices;    /* open */
};

enum status p11_module_get(const char *path, const char *init_args, struct p11_module **out,
			   struct fault *f) MUST_USE;
/* No device is open. Finalises with the last reference. Takes NULL. */
void p11_module_put(struct p11_module *m);
/* ST_EAGAIN: a thread is inside and does not come out. */
enum status p11_module_lock(struct p11_module *m, struct fault *f) MUST_USE;
/* Under the exclusive gate. Initialises where that was not done or was undone. */
enum status p11_module_start(struct p11_module *m, struct fault *f) MUST_USE;
void p11_module_stop(struct p11_module *m);

/* Spends no try on a PIN that was refused. Under the serial lock. */
struct pin_guard {
	const char *path;
	bool blocked;	  /* no log-in until the file changes */
	bool refused;	  /* 'digest' is that of a PIN the token refused */
	bool locked;	  /* the token did not look at the PIN: the same may be right later */
	struct stat seen; /* the file at the time */
	uint8_t salt[16];
	uint8_t digest[32];
};

struct pin {
	char text[PIN_MAX + 1];
	size_t len;
	struct stat file;
};

/* Would pin_read() refuse without a look at the token? */
bool pin_is_blocked(const struct pin_guard *g);
/* count_low: the token says a wrong PIN was given since the last log-in; then only a file that was
 * written since is good enough. The caller wipes 'out'. */
enum status pin_read(struct pin_guard *g, bool count_low, struct pin *out,
		     struct fault *f) MUST_USE;
/* The file as it is now will not do. */
void pin_block(struct pin_guard *g);
void pin_refused(struct pin_guard *g, const struct pin *pin);
/* The token takes none at present, right or wrong: the file as it is now will not do. */
void pin_locked_out(struct pin_guard *g, const struct pin *pin);
/* ST_EFATAL: why none is tried, and what helps. */
enum status pin_blocked_fault(const struct pin_guard *g, struct fault *f);
void pin_accepted(struct pin_guard *g);
/* All but the path, for another process of the same program. */
size_t pin_guard_save(const struct pin_guard *g, uint8_t *out, size_t room);
void pin_guard_load(struct pin_guard *g, const uint8_t *data, size_t len);

struct device {
	const struct keystore_options *opt;
	P11KitUri *uri;		   /* NULL: chosen by label or slot */
	char *pin_source;	   /* the URI's; owned */
	struct p11_module *module; /* NULL: never opened */
	/* Changed under the exclusive gate only. */
	bool open;
	CK_SLOT_ID slot;
	char label[LABEL_ROOM], serial[SERIAL_ROOM];
	uint64_t generation; /* the module's, when opened */
	uint64_t epoch;	     /* openings: sessions and handles of an earlier one are dead */
	/* Under the serial lock, or the exclusive gate. */
	struct pin_guard pin;
	CK_SESSION_HANDLE anchor; /* kept open: with the last session the user is logged out */
	bool anchor_open;
	bool login_required;
	/* A generation in which the device failed: it is not tried again without initialising. */
	_Atomic(uint64_t) bad_generation;
	_Atomic(bool) pin_doubted; /* another call than C_Login said the PIN is wrong or locked */
	_Atomic(uint64_t) handles; /* key handles found under another value are to be found again */
};

struct p11_key {
	struct hsm_key base;
	_Atomic(CK_OBJECT_HANDLE) handle;
	_Atomic(uint64_t) found; /* the device's 'handles' then; 0: not found */
	int64_t absent_until_ms; /* not looked for again before; under the serial lock */
};

/* pkcs11.c. Under the serial lock (or the exclusive gate): the anchor session is open and the user
 * is logged in, now; logs in once where not. */
enum status p11_login(struct device *dev, struct fault *f) MUST_USE;
CK_RV p11_logged_in(struct device *dev, bool *out);
/* The token under our slot is the one we opened. */
CK_RV p11_same_token(struct device *dev);
/* Marks the device as failed where the class asks for that; returns p11_fault(). */
enum status p11_device_fault(struct device *dev, struct fault *f, const char *call, CK_RV rv);
/* Under the shared gate: is the device open, and no one else's initialisation between? */
enum status p11_check_open(const struct device *dev, struct fault *f) MUST_USE;

/* pkcs11_keys.c. A piece of work on the anchor session; 'arg' is its own. */
typedef CK_RV p11_anchor_work(struct device *dev, void *arg, const char **call);
/* Takes the locks and does the work; a lost session or log-in is healed and the work done again,
 * once each. */
enum status p11_anchor_do(struct device *dev, p11_anchor_work *work, void *arg, struct fault *f);
/* In such work, that found nothing: CKR_OK only where the token is the one we know and shows its
 * private objects. */
CK_RV p11_sure_absent(struct device *dev, const char **call);
/* Its CKA_ID; length 0: there is none, or none that fits. */
CK_RV p11_id_get(struct device *dev, CK_OBJECT_HANDLE object, struct hsm_id *out);
/* The first four as in struct backend. */
enum status p11_find(struct device *dev, struct hsm_key *key, const uint8_t *expect,
		     struct fault *f);
enum status p11_generate(struct device *dev, struct hsm_key *key, const char *label,
			 struct fault *f);
enum status p11_remove(struct device *dev, struct hsm_key *key, struct fault *f);
void p11_distrust(struct hsm_key *key);
/* Under the serial lock: makes the handle good; 'stale' is the one that failed, or
 * CK_INVALID_HANDLE. ST_EFATAL: the key is gone from the token, or is another one. */
enum status p11_key_locate(struct device *dev, struct p11_key *key, CK_OBJECT_HANDLE stale,
			   struct fault *f) MUST_USE;

/* pkcs11_names.c; as in struct backend. */
enum status p11_identify(struct device *dev, const char *ref, struct hsm_id *out, struct fault *f);

/* pkcs11_session.c; as in struct backend. */
enum status p11_session_new(struct device *dev, struct session **out);
void p11_session_free(struct session *s);
enum status p11_sign(struct session *s, struct hsm_key *key, const uint8_t *digest,
		     struct raw_signature *out, struct fault *f);
