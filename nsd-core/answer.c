#include "nsd-core/answer.h"

#include "nsd-core/answer_plan.h"
#include "nsd-core/answer_reply.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/transfer.h"
#include "signer/signer.h"

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
	reply_start(a, &e);
	encode_names(&e, &p->found->name);
	bool whole = encode_section(p, &e, SECTION_ANSWER) &&
		     encode_section(p, &e, SECTION_AUTHORITY) &&
		     plan_encode_additional(p, &e, a->env->now_s);
	uint16_t flags = p->authoritative ? HEADER_AA : 0;
	if (!whole) {
		flags |= HEADER_TC;
		a->env->counters[COUNT_TRUNCATED]++;
	}
	reply_count(a, p->rcode, p->referral);
	return reply_finish(a, &e, flags, p->rcode);
}

/* A question for data. False: it is to be parked. Inside a read section. */
static bool reply_data(struct answer *a, const struct found *found, struct answer_missing *missing,
		       size_t *len)
{
	struct plan p;
	plan_answer(&p, a->env->db, found);
	reply_set_ede(a, p.ede, "");
	if (p.zone_count == 0) {
		*len = reply_error(a, p.rcode);
		return true;
	}
	struct signing s = {.missing = missing};
	sign_plan(a, &p, &s);
	if (s.failed) {
		reply_set_ede(a, EDE_RRSIGS_MISSING,
			      a->mode == ANSWER_LAST ? "signing took too long" : "cannot sign now");
		*len = reply_error(a, RCODE_SERVFAIL);
		return true;
	}
	if (s.pending || missing->later) {
		return false;
	}
	if (s.expired) {
		reply_set_ede(a, EDE_SIGNATURE_EXPIRED, "");
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
		reply_set_ede(a, EDE_NOT_AUTHORITATIVE, "");
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
