/* Replies that need no data of zones: transfers are begun, CHAOS, TSIG, what is refused. */
#include "nsd-core/answer_reply.h"

#include "nsd-core/base/rcu.h"
#include "nsd-core/transfer.h"

/* Nothing but that the client has to come by TCP (RFC 8945 5.3); not even the question, which names
 * that are compressed would point to. */
static size_t reply_no_room(struct answer *a)
{
	struct encoder e;
	a->env->counters[COUNT_TRUNCATED]++;
	reply_count(a, RCODE_NOERROR, false);
	reply_start(a, &e);
	return reply_finish(a, &e, HEADER_TC, RCODE_NOERROR);
}

/* The question's TSIG. False: it is refused, with *len octets. */
static bool admit_tsig(struct answer *a, size_t *len)
{
	struct bytes message = {a->query.wire, a->in_len};
	struct tsig_session s;
	enum status st =
		tsig_check_request(a->env->keys, message, a->query.tsig_at, a->env->now_s, &s);
	/* Whether it came in time was asked when it came. */
	if (st == ST_EREFUSED && s.error == TSIG_BADTIME && a->mode != ANSWER_FIRST) {
		s.error = TSIG_NOERROR;
		st = ST_OK;
	}
	if (st == ST_OK || st == ST_EREFUSED) {
		a->tsig = s.key;
		a->tsig_error = s.error;
	}
	switch (st) {
	case ST_OK:
		if (reply_has_room(a)) {
			return true;
		}
		*len = reply_no_room(a);
		return false;
	case ST_EREFUSED:
		*len = reply_error(a, RCODE_NOTAUTH);
		if (a->tsig == NULL) {
			*len = tsig_refuse(&s, message, a->query.tsig_at, a->out, *len, a->limit);
		}
		return false;
	case ST_EPARSE:
		*len = reply_error(a, RCODE_FORMERR);
		return false;
	default:
		*len = reply_error(a, RCODE_SERVFAIL);
		return false;
	}
}

/* RFC 4892 and its older siblings: what the server says of itself, if it was told to. */
static const char *chaos_text(const struct answer_env *env, const uint8_t *name)
{
	static const uint8_t version_bind[] = "\7version\4bind";
	static const uint8_t version_server[] = "\7version\6server";
	static const uint8_t id_server[] = "\2id\6server";
	static const uint8_t hostname_bind[] = "\10hostname\4bind";
	if (name_equal(name, version_bind) || name_equal(name, version_server)) {
		return env->version;
	}
	if (name_equal(name, id_server) || name_equal(name, hostname_bind)) {
		return env->identity;
	}
	return NULL;
}

static size_t reply_chaos(struct answer *a)
{
	const struct query *q = &a->query;
	const char *text = chaos_text(a->env, query_name(q));
	if (text == NULL || (q->qtype != RR_TXT && q->qtype != RR_ANY)) {
		return reply_error(a, RCODE_REFUSED);
	}
	struct encoder e;
	reply_start(a, &e);
	size_t len = strnlen(text, UINT8_MAX);
	struct wwriter w;
	wwriter_init(&w, e.pos, (size_t)(e.end - e.pos));
	wwriter_u16(&w, 0xc000 | DNS_HEADER_LEN);
	wwriter_u16(&w, RR_TXT);
	wwriter_u16(&w, CLASS_CH);
	wwriter_u32(&w, 0);
	wwriter_u16(&w, (uint16_t)(1 + len));
	wwriter_str8(&w, text, len);
	if (w.err != ST_OK) {
		reply_count(a, RCODE_NOERROR, false);
		a->env->counters[COUNT_TRUNCATED]++;
		return reply_finish(a, &e, HEADER_TC, RCODE_NOERROR);
	}
	e.pos += wwriter_len(&w);
	e.counts[SECTION_ANSWER] = 1;
	reply_count(a, RCODE_NOERROR, false);
	return reply_finish(a, &e, 0, RCODE_NOERROR);
}

/* IXFR over UDP. */
static size_t reply_ixfr(struct answer *a, const struct zone *z)
{
	struct bytes message = {a->query.wire, a->in_len};
	struct encoder e;
	struct name_ref apex;
	rcu_enter();
	const struct version *v = rcu_load(&z->cur);
	if (v == NULL) {
		rcu_exit();
		reply_set_ede(a, EDE_NOT_READY, "");
		return reply_error(a, RCODE_SERVFAIL);
	}
	reply_start(a, &e);
	name_ref_init(&apex, query_name(&a->query));
	encode_names(&e, &apex);
	bool whole = transfer_encode_udp(&e, z, v, message);
	rcu_exit();
	reply_count(a, RCODE_NOERROR, false);
	return reply_finish(a, &e, whole ? HEADER_AA : HEADER_AA | HEADER_TC, RCODE_NOERROR);
}

/* AXFR and IXFR. 0: the transport makes the transfer. */
static size_t reply_transfer(struct answer *a, struct answer_item *item)
{
	const struct answer_env *env = a->env;
	struct zone *z = zonedb_exact(env->db, query_name(&a->query));
	if (z == NULL) {
		return reply_error(a, RCODE_NOTAUTH);
	}
	struct remotes_client client = {.peer = item->peer, .key = a->tsig, .tls = item->tls};
	if (!remotes_admit(env->conf, z->conf, env->keys, &client, &item->refused)) {
		reply_set_ede(a, EDE_PROHIBITED, item->refused);
		return reply_error(a, RCODE_REFUSED);
	}
	item->refused = NULL;
	item->zone = z;
	if (a->transport == ANSWER_TCP) {
		item->tsig = a->tsig;
		return 0;
	}
	if (a->query.qtype == RR_IXFR) {
		return reply_ixfr(a, z);
	}
	/* RFC 5936 4.2. */
	return reply_error(a, RCODE_FORMERR);
}

size_t answer_fault(struct answer_env *env, struct answer_item *item, const char *why)
{
	enum rcode rcode;
	struct answer a = {.env = env,
			   .mode = ANSWER_LAST,
			   .transport = ANSWER_TCP,
			   .in_len = item->in_len,
			   .out = item->out,
			   .limit = UINT16_MAX,
			   .tsig = item->tsig,
			   .tsig_error = TSIG_NOERROR};
	enum query_verdict verdict = query_parse(item->in, item->in_len, &a.query, &rcode);
	(void)verdict; /* it was good before */
	a.opt = (struct encode_opt){
		.size = env->udp_size, .dnssec_ok = a.query.dnssec_ok, .ede = EDE_NONE};
	reply_set_ede(&a, EDE_NOT_READY, why);
	return reply_error(&a, RCODE_SERVFAIL);
}

#define TYPE_MAILB 253
#define TYPE_MAILA 254
#define TYPE_TKEY  249

bool reply_special(struct answer *a, struct answer_item *item, size_t *len)
{
	const struct query *q = &a->query;
	if (q->tsig_at != 0 && !admit_tsig(a, len)) {
		return true;
	}
	if (q->opcode == OPCODE_NOTIFY) {
		*len = reply_error(a, RCODE_NOTAUTH);
		return true;
	}
	if (item->tls && q->qtype != RR_SOA && q->qtype != RR_AXFR && q->qtype != RR_IXFR) {
		/* These addresses are there for transfers. */
		reply_set_ede(a, EDE_NOT_SUPPORTED, "transfers only");
		*len = reply_error(a, RCODE_REFUSED);
		return true;
	}
	if (q->qclass != CLASS_IN) {
		*len = q->qclass == CLASS_CH ? reply_chaos(a) : reply_error(a, RCODE_REFUSED);
		return true;
	}
	switch (q->qtype) {
	case RR_OPT:
	case RR_NXNAME: /* RFC 9824 3.5 */
	case TYPE_TKEY:
	case RR_TSIG:
		*len = reply_error(a, RCODE_FORMERR);
		return true;
	case RR_AXFR:
	case RR_IXFR:
		*len = reply_transfer(a, item);
		return true;
	case TYPE_MAILB: /* obsolete since RFC 1035 itself */
	case TYPE_MAILA:
		*len = reply_error(a, RCODE_NOTIMP);
		return true;
	default:
		return false;
	}
}
