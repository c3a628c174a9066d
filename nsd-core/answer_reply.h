/* One reply being written: what all kinds of them have in common. Private to answer*.c. */
#pragma once

#include "nsd-core/answer.h"
#include "nsd-core/encode.h"

/* One message being answered. */
struct answer {
	struct answer_env *env;
	enum answer_mode mode;
	enum answer_transport transport;
	struct query query;
	size_t in_len;
	uint8_t *out;
	size_t limit; /* octets the reply may have */
	struct encode_opt opt;
	const struct tsig_key *tsig; /* signs the reply; NULL: nothing does */
	enum tsig_error tsig_error;  /* what its record says then */
};

/* The extended error that the reply is to carry; text is borrowed. */
void reply_set_ede(struct answer *a, enum ede ede, const char *text);
/* One more with this return code; referral: of NOERROR. */
void reply_count(struct answer *a, enum rcode rcode, bool referral);
/* Header and question, with room kept for OPT and the signature. */
void reply_start(struct answer *a, struct encoder *e);
/* Is there room for the question, OPT and the signature? Long names of zone and key may want more
 * than the least that a client takes over UDP. */
bool reply_has_room(const struct answer *a);
/* OPT and the signature; the octets of it all. flags: AA and TC. QR, the opcode and RD come by
 * themselves; RA, AD and CD are never set (RFC 4035 3.1.6 and 3.2.2 speak of CD to resolvers only).
 */
size_t reply_finish(struct answer *a, struct encoder *e, uint16_t flags, enum rcode rcode);
/* Nothing but the return code. */
size_t reply_error(struct answer *a, enum rcode rcode);

/* answer_special.c: what is not a question for data of class IN. False: it is one. *len: the octets
 * of the reply; 0: the transport makes a transfer. */
bool reply_special(struct answer *a, struct answer_item *item, size_t *len);
