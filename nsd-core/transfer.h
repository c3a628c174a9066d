/* Zone transfers out: AXFR (RFC 5936) and IXFR (RFC 1995).
 *
 * Bytes in, bytes out, like answers: a snapshot of the zone becomes messages, filled and
 * compressed, each signed where the request was. No socket in here. */
#pragma once

#include "nsd-core/answer.h"
#include "nsd-core/encode.h"

struct transfer;

/* The octets of a stretch of messages: at least one of any size. */
#define TRANSFER_ROOM (2 * (2 + 65535))

/* The request, as answer_batch() said ANSWER_TRANSFER to it; its zone may be NULL, and has then no
 * history. Copies what it needs of it and takes a reference on v. Inside a read section or with a
 * reference on v. */
enum status transfer_new(struct version *v, const struct answer_item *request,
			 struct transfer **out) MUST_USE;
void transfer_free(struct transfer *t); /* takes NULL */

/* The next messages, each with its length in front, into TRANSFER_ROOM octets. Any one thread at a
 * time; reads the journal. *len: how many octets; *done: these were the last. ST_EAGAIN: the
 * history was cut off meanwhile. */
enum status transfer_next(struct transfer *t, int64_t now_s, uint8_t *out, size_t *len,
			  bool *done) MUST_USE;

enum transfer_kind {
	TRANSFER_NOTHING,     /* one SOA: there is nothing new */
	TRANSFER_WHOLE,	      /* the zone */
	TRANSFER_DIFFERENCES, /* what leads to it from 'from' */
};

/* For the log: records sent so far, once the first message is made of what kind they are. */
struct transfer_summary {
	uint64_t records, octets, messages;
	uint32_t serial, from;
	enum transfer_kind kind;
};

void transfer_summary(const struct transfer *t, struct transfer_summary *out);

/* The serial that an IXFR question says its sender has (RFC 1995 3). ST_ENOENT: it says none. */
enum status transfer_client_serial(struct bytes message, uint32_t *serial) MUST_USE;

/* IXFR over UDP (RFC 1995 2): the differences where they fit, else the SOA, which tells the client
 * whether to come by TCP. 'message' is the question. Inside a read section; reads the journal where
 * there is little to be read. False: not even the SOA fits. */
bool transfer_encode_udp(struct encoder *e, const struct zone *z, const struct version *v,
			 struct bytes message) MUST_USE;
