#include "nsd-core/answer_reply.h"

/* An extended error without text (RFC 8914 2), which answers with data may carry. */
#define EDE_FIXED_LEN (4 + 2)

void reply_set_ede(struct answer *a, enum ede ede, const char *text)
{
	if (ede != EDE_NONE) {
		a->opt.ede = ede;
		a->opt.ede_text = text;
	}
}

void reply_count(struct answer *a, enum rcode rcode, bool referral)
{
	static const uint8_t counters[] = {
		[RCODE_NOERROR] = COUNT_NOERROR,   [RCODE_FORMERR] = COUNT_FORMERR,
		[RCODE_SERVFAIL] = COUNT_SERVFAIL, [RCODE_NXDOMAIN] = COUNT_NXDOMAIN,
		[RCODE_NOTIMP] = COUNT_NOTIMP,	   [RCODE_REFUSED] = COUNT_REFUSED,
		[RCODE_YXDOMAIN] = COUNT_YXDOMAIN, [RCODE_NOTAUTH] = COUNT_NOTAUTH,
		[RCODE_BADVERS] = COUNT_BADVERS,
	};
	a->env->counters[referral ? COUNT_REFERRAL : counters[rcode]]++;
}

void reply_start(struct answer *a, struct encoder *e)
{
	size_t reserve = a->query.edns ? encode_opt_len(&a->opt) : 0;
	size_t signature = a->tsig != NULL ? tsig_len(a->tsig, a->tsig_error) : 0;
	size_t question = DNS_HEADER_LEN + a->query.question_len;
	if (question + reserve + signature > a->limit) {
		/* The longest question and a long identifier in 512 octets. */
		a->opt.nsid = NULL;
		reserve = a->query.edns ? encode_opt_len(&a->opt) : 0;
	}
	if (question + reserve + signature > a->limit) {
		a->query.question_len = 0;
	}
	encode_init(e, a->out, a->limit, reserve + signature, &a->query);
}

bool reply_has_room(const struct answer *a)
{
	size_t opt = a->query.edns ? OPT_FIXED_LEN + EDE_FIXED_LEN : 0;
	size_t signature = a->tsig != NULL ? tsig_len(a->tsig, a->tsig_error) : 0;

	return DNS_HEADER_LEN + a->query.question_len + opt + signature <= a->limit;
}

/* Where that fails it goes out unsigned, and is not believed. */
static size_t sign_reply(struct answer *a, size_t len)
{
	struct bytes message = {a->query.wire, a->in_len};
	struct tsig_session s;
	enum status st = tsig_session_resume(&s, a->tsig, message, a->query.tsig_at);
	if (st == ST_OK) {
		s.error = a->tsig_error;
		st = tsig_sign(&s, a->out, len, a->env->now_s, &len);
	}
	(void)st;
	return len;
}

size_t reply_finish(struct answer *a, struct encoder *e, uint16_t flags, enum rcode rcode)
{
	if (a->query.edns) {
		a->opt.rcode_high = (uint8_t)(rcode >> 4);
		encode_opt(e, &a->opt);
	}
	uint16_t copied = a->query.flags & (HEADER_RD | 15U << 11);
	size_t len = encode_finish(e, (uint16_t)(HEADER_QR | copied | flags), rcode);
	return a->tsig != NULL ? sign_reply(a, len) : len;
}

size_t reply_error(struct answer *a, enum rcode rcode)
{
	struct encoder e;
	reply_count(a, rcode, false);
	reply_start(a, &e);
	return reply_finish(a, &e, 0, rcode);
}
