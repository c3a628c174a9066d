#include "nsd-core/answer.h"

#include "nsd-core/answer_plan.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/transfer.h"
#include "signer/signer.h"

/* An extended error without text (RFC 8914 2), which answers with data may carry. */
#define EDE_FIXED_LEN (4 + 2)

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

/* RFC 6891 6.2.3-6.2.5: the client's size, ours and the room bound an answer over UDP; a client
 * without EDNS takes 512 octets. */
static size_t reply_limit(const struct answer_env *env, enum answer_transport transport,
			  const struct query *q, size_t room)
{
	size_t limit = UINT16_MAX;
	if (transport == ANSWER_UDP) {
		limit = q->edns ? q->edns_size : DNS_UDP_MIN;
		limit = limit < env->udp_size ? limit : env->udp_size;
		limit = limit > DNS_UDP_MIN ? limit : DNS_UDP_MIN;
	}
	return limit < room ? limit : room;
}

static void set_ede(struct answer *a, enum ede ede, const char *text)
{
	if (ede != EDE_NONE) {
		a->opt.ede = ede;
		a->opt.ede_text = text;
	}
}

static void count_reply(struct answer *a, enum rcode rcode, bool referral)
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

static void start_reply(struct answer *a, struct encoder *e)
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

/* Is there room for the question, OPT and the signature? Long names of zone and key may want more
 * than the least that a client takes over UDP. */
static bool has_room(const struct answer *a)
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

/* flags: AA and TC. QR, the opcode and RD come by themselves; RA, AD and CD are never set (RFC 4035
 * 3.1.6 and 3.2.2 speak of CD to resolvers only). */
static size_t finish_reply(struct answer *a, struct encoder *e, uint16_t flags, enum rcode rcode)
{
	if (a->query.edns) {
		a->opt.rcode_high = (uint8_t)(rcode >> 4);
		encode_opt(e, &a->opt);
	}
	uint16_t copied = a->query.flags & (HEADER_RD | 15U << 11);
	size_t len = encode_finish(e, (uint16_t)(HEADER_QR | copied | flags), rcode);
	return a->tsig != NULL ? sign_reply(a, len) : len;
}

static size_t reply_error(struct answer *a, enum rcode rcode)
{
	struct encoder e;
	count_reply(a, rcode, false);
	start_reply(a, &e);
	return finish_reply(a, &e, 0, rcode);
}

/* Nothing but that the client has to come by TCP (RFC 8945 5.3); not even the question, which names
 * that are compressed would point to. */
static size_t reply_no_room(struct answer *a)
{
	struct encoder e;
	a->env->counters[COUNT_TRUNCATED]++;
	count_reply(a, RCODE_NOERROR, false);
	start_reply(a, &e);
	return finish_reply(a, &e, HEADER_TC, RCODE_NOERROR);
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
		if (has_room(a)) {
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
	start_reply(a, &e);
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
		count_reply(a, RCODE_NOERROR, false);
		a->env->counters[COUNT_TRUNCATED]++;
		return finish_reply(a, &e, HEADER_TC, RCODE_NOERROR);
	}
	e.pos += wwriter_len(&w);
	e.counts[SECTION_ANSWER] = 1;
	count_reply(a, RCODE_NOERROR, false);
	return finish_reply(a, &e, 0, RCODE_NOERROR);
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
		set_ede(a, EDE_NOT_READY, "");
		return reply_error(a, RCODE_SERVFAIL);
	}
	start_reply(a, &e);
	name_ref_init(&apex, query_name(&a->query));
	encode_names(&e, &apex);
	bool whole = transfer_encode_udp(&e, z, v, message);
	rcu_exit();
	count_reply(a, RCODE_NOERROR, false);
	return finish_reply(a, &e, whole ? HEADER_AA : HEADER_AA | HEADER_TC, RCODE_NOERROR);
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
		set_ede(a, EDE_PROHIBITED, item->refused);
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
	set_ede(&a, EDE_NOT_READY, why);
	return reply_error(&a, RCODE_SERVFAIL);
}

#define TYPE_MAILB 253
#define TYPE_MAILA 254
#define TYPE_TKEY  249

/* What is not a question for data of class IN. False: it is one. */
static bool reply_special(struct answer *a, struct answer_item *item, size_t *len)
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
		/* RFC 9103 8.1: what is there for transfers. */
		set_ede(a, EDE_NOT_SUPPORTED, "transfers only");
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

/* What came of the signatures that an answer wants. */
struct signing {
	struct answer_missing *missing;
	bool pending;
	bool failed; /* and the zone has a DS: no answer without */
	bool expired;
};

static bool is_expired(const struct sigset *sigs, int64_t now)
{
	return serial_gt((uint32_t)now, sigs->expiration);
}

/* Is it for the proof that a name does not exist (also where a wildcard or a DNAME stands in for
 * it)? Strangers can think of as many such names as they like, while those that exist are known. */
static bool is_nonexistence(const struct plan *p, const struct plan_item *item)
{
	enum lookup_kind kind = p->found->lookup.found.kind;
	if (item->rs->type != RR_NSEC && item->rs->type != RR_NSEC3) {
		return false;
	}
	return p->rcode == RCODE_NXDOMAIN || (kind != LOOKUP_NODE && kind != LOOKUP_CUT);
}

static void note_missing(struct answer_missing *m, const struct plan *p,
			 const struct plan_item *item)
{
	if (m->count == 0 && !m->later) {
		m->zone = p->zones[item->zone].zone;
		m->nonexistent = false;
	}
	m->nonexistent = m->nonexistent || is_nonexistence(p, item);
}

/* The slot of an item whose zone we sign. While the parent has no DS nothing is waited for: what is
 * missing or expired is left out. */
static void sign_item(struct answer *a, const struct plan *p, struct plan_item *item,
		      struct signing *s)
{
	struct answer_env *env = a->env;
	const struct plan_zone *z = &p->zones[item->zone];
	const struct sigset *sigs = rrset_sigs(item->rs);
	enum answer_want want = WANT_FAILED;
	bool optional = z->zone->ds_never_seen;
	if (sigs == NULL && env->want != NULL && a->mode != ANSWER_LAST) {
		struct answer_wanted wanted = {z->version, item->node, item->rs, !optional};
		want = env->want(env->want_ctx, &wanted);
		sigs = want == WANT_FILLED ? rrset_sigs(item->rs) : NULL;
	}
	if (sigs != NULL) {
		bool expired = is_expired(sigs, env->now_s);
		s->expired = s->expired || (expired && !optional);
		item->set.sigs = expired && optional ? NULL : sigs;
	} else if (want == WANT_LATER) {
		/* It will be there: not left out of any answer. */
		note_missing(s->missing, p, item);
		s->missing->later = true;
	} else if (!optional && want == WANT_PENDING) {
		s->pending = true;
		note_missing(s->missing, p, item);
		if (s->missing->count < ANSWER_MISSING_MAX) {
			s->missing->rrsets[s->missing->count++] = item->rs;
		}
	} else if (!optional) {
		s->failed = true;
	}
}

/* Sets the signatures of every item; asks for all that are missing, so that they are made at once.
 */
static void sign_plan(struct answer *a, struct plan *p, struct signing *s)
{
	for (unsigned i = 0; i < p->item_count; i++) {
		struct plan_item *item = &p->items[i];
		/* Not what a wildcard with NS records makes: no signer touches that. */
		if (!item->sign || !signer_covers(item->node, item->rs)) {
			continue;
		}
		item->set.signer = p->zones[item->zone].version->apex_name;
		if (p->zones[item->zone].version->keys != NULL) {
			sign_item(a, p, item, s);
			continue;
		}
		/* Served as it is: what the file holds, and no more. */
		item->set.sigs = rrset_sigs(item->rs);
		s->expired = s->expired ||
			     (item->set.sigs != NULL && is_expired(item->set.sigs, a->env->now_s));
	}
}

static bool encode_section(const struct plan *p, struct encoder *e, enum section section)
{
	for (unsigned i = 0; i < p->item_count; i++) {
		const struct plan_item *item = &p->items[i];
		if (item->section != section) {
			continue;
		}
		bool ok;
		if (item->target != NULL) {
			ok = encode_cname(e, item->set.owner, item->set.owner_at, item->set.ttl,
					  item->target);
		} else {
			ok = encode_rrset(e, section, &item->set);
		}
		if (!ok) {
			return false;
		}
	}
	return true;
}

static size_t reply_plan(struct answer *a, struct plan *p)
{
	struct encoder e;
	start_reply(a, &e);
	encode_names(&e, &p->found->name);
	bool whole = encode_section(p, &e, SECTION_ANSWER) &&
		     encode_section(p, &e, SECTION_AUTHORITY) &&
		     plan_encode_additional(p, &e, a->env->now_s);
	uint16_t flags = p->authoritative ? HEADER_AA : 0;
	if (!whole) {
		flags |= HEADER_TC;
		a->env->counters[COUNT_TRUNCATED]++;
	}
	count_reply(a, p->rcode, p->referral);
	return finish_reply(a, &e, flags, p->rcode);
}

/* A question for data. False: it is to be parked. Inside a read section. */
static bool reply_data(struct answer *a, const struct found *found, struct answer_missing *missing,
		       size_t *len)
{
	struct plan p;
	plan_answer(&p, a->env->db, found);
	set_ede(a, p.ede, "");
	if (p.zone_count == 0) {
		*len = reply_error(a, p.rcode);
		return true;
	}
	struct signing s = {.missing = missing};
	sign_plan(a, &p, &s);
	if (s.failed) {
		set_ede(a, EDE_RRSIGS_MISSING,
			a->mode == ANSWER_LAST ? "signing took too long" : "cannot sign now");
		*len = reply_error(a, RCODE_SERVFAIL);
		return true;
	}
	if (s.pending || missing->later) {
		return false;
	}
	if (s.expired) {
		set_ede(a, EDE_SIGNATURE_EXPIRED, "");
		a->env->counters[COUNT_EXPIRED]++;
	}
	*len = reply_plan(a, &p);
	return true;
}

/* Parses. False: the item has its result already; else it is a question for data. */
static bool begin(struct answer *a, struct answer_env *env, enum answer_transport transport,
		  struct answer_item *item, size_t room)
{
	enum rcode rcode;
	item->missing.count = 0;
	item->missing.later = false;
	item->refused = NULL;
	enum query_verdict verdict = query_parse(item->in, item->in_len, &a->query, &rcode);
	if (verdict == QUERY_DROP) {
		env->counters[COUNT_DROPPED]++;
		item->result = ANSWER_DROP;
		return false;
	}
	a->env = env;
	a->transport = transport;
	a->in_len = item->in_len;
	a->out = item->out;
	a->tsig = NULL;
	a->limit = reply_limit(env, transport, &a->query, room);
	a->opt = (struct encode_opt){
		.size = env->udp_size,
		.dnssec_ok = a->query.dnssec_ok,
		.nsid = a->query.nsid ? env->nsid : NULL,
		.ede = EDE_NONE,
	};
	if (verdict == QUERY_ERROR) {
		item->out_len = reply_error(a, rcode);
	} else if (!reply_special(a, item, &item->out_len)) {
		return true;
	}
	item->result = item->out_len > 0 ? ANSWER_SEND : ANSWER_TRANSFER;
	return false;
}

/* A hidden zone is as if it were not there, but for its SOA, which its secondaries compare. */
static bool is_refused(const struct answer *a, const struct found *f,
		       const struct answer_item *item)
{
	const struct answer_env *env = a->env;
	/* The SOA may go in the clear, to those as well who have to transfer over TLS. */
	struct remotes_client client = {.peer = item->peer, .key = a->tsig, .tls = true};
	const char *why;
	return f->zone != NULL && f->zone->is_hidden &&
	       (a->query.qtype != RR_SOA || f->name.labels != f->zone->labels ||
		!remotes_admit(env->conf, f->zone->conf, env->keys, &client, &why));
}

static void finish(struct answer *a, const struct found *found, struct answer_item *item)
{
	bool refused = is_refused(a, found, item);
	if (refused) {
		set_ede(a, EDE_NOT_AUTHORITATIVE, "");
		item->out_len = reply_error(a, RCODE_REFUSED);
	}
	if (refused || reply_data(a, found, &item->missing, &item->out_len)) {
		item->missing.count = 0;
		item->result = ANSWER_SEND;
		return;
	}
	a->env->counters[COUNT_PARKED] += a->mode == ANSWER_FIRST;
	item->result = ANSWER_PARK;
}

/* At most FIND_MAX items, in stages: all are parsed, for all is found where they lead, then each is
 * answered. */
static void answer_group(struct answer_env *env, enum answer_transport transport,
			 enum answer_mode mode, struct answer_item *items, size_t count,
			 size_t room)
{
	struct answer answers[FIND_MAX];
	struct found found[FIND_MAX];
	struct answer_item *open[FIND_MAX];
	size_t left = 0;
	env->counters[COUNT_QUERIES] += mode == ANSWER_FIRST ? count : 0;
	for (size_t i = 0; i < count; i++) {
		struct answer *a = &answers[left];
		a->mode = mode;
		if (begin(a, env, transport, &items[i], room)) {
			found_init(&found[left], &a->query);
			open[left++] = &items[i];
		}
	}
	if (left == 0) {
		return;
	}
	rcu_enter();
	find_many(env->db, found, left);
	for (size_t i = 0; i < left; i++) {
		finish(&answers[i], &found[i], open[i]);
	}
	rcu_exit();
}

void answer_batch(struct answer_env *env, enum answer_transport transport,
		  struct answer_item *items, size_t count, size_t room)
{
	for (size_t i = 0; i < count; i += FIND_MAX) {
		size_t group = count - i < FIND_MAX ? count - i : FIND_MAX;
		answer_group(env, transport, ANSWER_FIRST, items + i, group, room);
	}
}

enum answer_result answer_query(struct answer_env *env, enum answer_transport transport,
				enum answer_mode mode, const uint8_t *in, size_t in_len,
				uint8_t *out, size_t room, size_t *out_len,
				struct answer_missing *missing)
{
	struct answer_item item;
	item.in = in;
	item.in_len = in_len;
	item.out = out;
	item.peer = NULL;
	item.tls = false;
	answer_group(env, transport, mode, &item, 1, room);
	missing->count = item.missing.count;
	missing->later = item.missing.later;
	memcpy(missing->rrsets, item.missing.rrsets,
	       item.missing.count * sizeof(item.missing.rrsets[0]));
	if (item.result == ANSWER_SEND) {
		*out_len = item.out_len;
	} else if (item.result == ANSWER_PARK) {
		missing->zone = item.missing.zone;
		missing->nonexistent = item.missing.nonexistent;
	}
	return item.result;
}
