/* The process that a PKCS#11 module runs in, and what it is asked.
 *
 * The server talks to it over SOCK_SEQPACKET pairs, one for calls that open the device or find keys
 * and one for each lane: a message is read whole or not at all, and a lane's requests are answered
 * in their order, so that several may be on their way. Both sides are the same program; neither
 * believes a length or a number of the other's. */
#pragma once

#include "hsm/backend.h"

#include <assert.h>

/* argv[1] of the process; descriptors from HOST_FD on are its sockets: calls, then lanes. */
#define HOST_ARGUMENT "--pkcs11-host"
#define HOST_FD	      3

#define HOST_OPTIONS_MAX 16384
#define HOST_TEXT_MAX	 (HSM_REF_MAX + 1)
#define HOST_GUARD_MAX	 512

enum host_op {
	HOST_OPEN, /* the device, with what is known of refused PINs */
	HOST_PROBE,
	HOST_FIND,
	HOST_GENERATE,
	HOST_REMOVE,
	HOST_IDENTIFY,
	HOST_SIGN,
};

/* What a key is known by on both sides. */
struct host_key {
	uint8_t id_len;
	uint8_t id[HSM_ID_MAX];
	uint8_t has_point; /* 'point' is that of the key */
	uint8_t point[HSM_PUBLIC_LEN];
	uint8_t distrust; /* trust no handle found before */
	uint32_t place;	  /* where the other side found it last */
};

struct host_request {
	uint32_t op; /* enum host_op */
	uint32_t number;
	struct host_key key;
	uint8_t digest[HSM_DIGEST_LEN];
	union {
		char text[HOST_TEXT_MAX]; /* a label, or what names a key */
		struct {
			uint32_t len;
			uint8_t data[HOST_GUARD_MAX];
		} guard;
	} more; /* HOST_GENERATE, HOST_IDENTIFY, HOST_OPEN; signatures are asked for without */
};

#define HOST_REQUEST_SHORT offsetof(struct host_request, more)

struct host_reply {
	uint32_t number; /* the request's */
	int32_t status;	 /* enum status */
	uint32_t place;
	uint8_t point[HSM_PUBLIC_LEN];
	uint32_t len; /* of the signature, or of the id that was asked for */
	uint8_t signature[256];
	/* Only where it failed, and of calls. */
	uint32_t kind; /* enum fault_kind */
	char text[160];
	uint32_t guard_len; /* of HOST_OPEN, and wherever the PIN is at fault */
	uint8_t guard[HOST_GUARD_MAX];
};

/* A message holds one reply, whole, or up to HOST_BATCH_MAX short ones of signatures made. */
#define HOST_REPLY_SHORT offsetof(struct host_reply, kind)
#define HOST_BATCH_MAX	 LANE_WINDOW_MAX
static_assert(sizeof(struct host_reply) % HOST_REPLY_SHORT != 0, "told apart by their length");
static_assert(sizeof(struct host_reply) < HOST_BATCH_MAX * HOST_REPLY_SHORT, "fits the same room");

/* The first message to a new process. ST_ESPACE. */
enum status host_options_encode(const struct keystore_options *opt, uint8_t *buf, size_t room,
				size_t *len) MUST_USE;
/* Strings are borrowed from buf, which is changed. ST_EPARSE. */
enum status host_options_decode(uint8_t *buf, size_t len, struct keystore_options *out) MUST_USE;
