/* Zone transfers out: AXFR (RFC 5936), and the answers to IXFR (RFC 1995) that need no history.
 *
 * Bytes in, bytes out, like answers: a snapshot of the zone becomes messages, filled and
 * compressed, each signed where the request was. No socket in here. */
#pragma once

#include "nsd-core/answer.h"

struct transfer;

/* The octets of a stretch of messages: at least one of any size. */
#define TRANSFER_ROOM (2 * (2 + 65535))

/* The request, as answer_batch() said ANSWER_TRANSFER to it. Copies what it needs of it and takes a
 * reference on v. Inside a read section or with a reference on v. */
enum status transfer_new(struct version *v, const struct answer_item *request,
			 struct transfer **out) MUST_USE;
void transfer_free(struct transfer *t); /* takes NULL */

/* The next messages, each with its length in front, into TRANSFER_ROOM octets. Any one thread at a
 * time. *len: how many octets; *done: these were the last. */
enum status transfer_next(struct transfer *t, int64_t now_s, uint8_t *out, size_t *len,
			  bool *done) MUST_USE;

/* For the log: records sent so far, whether all of the zone is sent, the serial. */
struct transfer_summary {
	uint64_t records, octets, messages;
	uint32_t serial;
	bool whole; /* else one SOA: there is nothing new */
};

void transfer_summary(const struct transfer *t, struct transfer_summary *out);

/* The serial that an IXFR question says its sender has (RFC 1995 3). ST_ENOENT: it says none. */
enum status transfer_client_serial(struct bytes message, uint32_t *serial) MUST_USE;
