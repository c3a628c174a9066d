#include "tests/unit/signer_fixture.h"

#include "tests/unit/fake_hsm.h"

#include "nsd-core/base/clock.h"
#include "signer/signer.h"

#include <stdio.h>

#define NOW	INT64_C(1800000000)
#define THREADS 4

static const char zone[] = "$ORIGIN example.com.\n"
			   "$TTL 3600\n"
			   "@ SOA ns host 1 7200 3600 1209600 300\n"
			   "@ NS ns\n"
			   "ns A 192.0.2.1\n"
			   "ns AAAA 2001:db8::1\n"
			   "a.b.c TXT x\n"
			   "*.w TXT wild\n"
			   "dn DNAME elsewhere.net.\n"
			   "below.dn A 192.0.2.2\n"
			   "cut NS ns.cut\n"
			   "cut A 192.0.2.3\n"
			   "ns.cut A 192.0.2.4\n"
			   "safe NS ns.cut\n"
			   "safe DS 1 13 2 "
			   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

struct settle_log {
	_Atomic(size_t) count;
	_Atomic(size_t) failed;
	_Atomic(const struct rrset *) last;
};

struct engine {
	struct keystore ksk_store;
	struct keystore zsk_store;
	struct hsm_key *ksk;
	struct hsm_key *zsk;
	struct keyset *ks;
	struct signer *signer;
	struct version *v;
	struct settle_log settled;
};

static void on_settled(void *ctx, const struct rrset *rs, enum status result)
{
	struct settle_log *log = ctx;
	atomic_fetch_add(&log->count, 1);
	atomic_fetch_add(&log->failed, result != ST_OK);
	atomic_store(&log->last, rs);
}

static void key_set(struct key *key, enum key_role role, struct hsm_key *handle)
{
	uint8_t rdata[DNSKEY_LEN];
	key->role = role;
	key->state = KEY_ACTIVE;
	key->flags = role == KEY_ZSK ? 256 : 257;
	memcpy(key->public_point, handle->point, HSM_PUBLIC_LEN);
	key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
	atomic_store(&key->handle, hsm_key_ref(handle));
}

static struct keyset *keyset_new(struct engine *e)
{
	struct keyset *ks = calloc(1, sizeof(*ks));
	assert_non_null(ks);
	atomic_init(&ks->refs, 1);
	name_lower(ks->apex, wire("example.com"));
	ks->params = (struct sign_params){
		.algorithm = ALG_ECDSAP256SHA256,
		.dnskey_ttl = 3600,
		.refresh = 100,
		.validity = 300,
	};
	ks->count = 2;
	key_set(&ks->keys[0], KEY_KSK, e->ksk);
	key_set(&ks->keys[1], KEY_ZSK, e->zsk);
	return ks;
}

static void engine_start(struct engine *e, bool ksk_in_process, bool zsk_in_process)
{
	struct signer_options opt = {.settled = on_settled, .ctx = &e->settled};
	fake_init(&e->ksk_store, "cloud", ksk_in_process);
	fake_init(&e->zsk_store, "local", zsk_in_process);
	e->ksk = fake_key(&e->ksk_store, 1);
	e->zsk = fake_key(&e->zsk_store, 2);
	e->ks = keyset_new(e);
	assert_int_equal(signer_new(&opt, &e->signer), ST_OK);
	e->v = version_from_text("example.com", zone, NULL, e->ks, false);
	atomic_store(&e->settled.count, 0);
	atomic_store(&e->settled.failed, 0);
	clock_fake(NOW, 1000);
}

static void engine_end(struct engine *e)
{
	fake_fini(&e->ksk_store);
	fake_fini(&e->zsk_store);
	version_unref(e->v);
	keyset_unref(e->ks);
	hsm_key_unref(e->ksk);
	hsm_key_unref(e->zsk);
	signer_free(e->signer);
	clock_fake(-1, -1);
}

static enum status want(struct engine *e, const char *name, uint16_t type)
{
	return signer_want(e->signer, e->v, node_at(e->v, name), rrset_at(e->v, name, type));
}

struct list {
	const struct node *nodes[64];
	struct rrset *rrsets[64];
	size_t count;
	size_t filled;
	size_t signing;
};

static enum status list_each(void *ctx, const struct node *n)
{
	struct list *l = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		if (!signer_covers(n, n->rrsets[i])) {
			assert_null(rrset_sigs(n->rrsets[i]));
			continue;
		}
		assert_true(l->count < 64);
		l->nodes[l->count] = n;
		l->rrsets[l->count++] = n->rrsets[i];
		l->filled += rrset_sigs(n->rrsets[i]) != NULL;
		l->signing += atomic_load(&n->rrsets[i]->sig_state) == SIG_SIGNING;
	}
	return ST_OK;
}

static void list_rrsets(const struct version *v, struct list *l)
{
	memset(l, 0, sizeof(*l));
	assert_int_equal(version_walk(v, list_each, l), ST_OK);
}

static void what_is_authoritative_is_covered(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		bool want;
	} cases[] = {
		{"example.com", RR_SOA, true},	     {"example.com", RR_NS, true},
		{"example.com", RR_DNSKEY, true},    {"example.com", RR_NSEC, true},
		{"ns.example.com", RR_A, true},	     {"a.b.c.example.com", RR_TXT, true},
		{"*.w.example.com", RR_TXT, true},   {"dn.example.com", RR_DNAME, true},
		{"dn.example.com", RR_NSEC, true},   {"below.dn.example.com", RR_A, false},
		{"cut.example.com", RR_NS, false},   {"cut.example.com", RR_A, false},
		{"cut.example.com", RR_NSEC, true},  {"ns.cut.example.com", RR_A, false},
		{"safe.example.com", RR_DS, true},   {"safe.example.com", RR_NS, false},
		{"safe.example.com", RR_NSEC, true},
	};
	(void)state;
	struct engine e;
	engine_start(&e, true, true);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct node *n = node_at(e.v, cases[i].name);
		struct rrset *rs = rrset_at(e.v, cases[i].name, cases[i].type);
		if (signer_covers(n, rs) != cases[i].want) {
			fail_msg("%s %u", cases[i].name, cases[i].type);
		}
		if (!cases[i].want) {
			assert_int_equal(signer_want(e.signer, e.v, n, rs), ST_ENOTSUP);
		}
	}
	const struct node *apex = node_at(e.v, "example.com");
	struct rrset *rrsig = NULL;
	uint8_t octets[20] = {0};
	assert_int_equal(rrset_new(RR_RRSIG, 1, &(struct bytes){octets, 20}, 1, &rrsig), ST_OK);
	assert_false(signer_covers(apex, rrsig));
	rrset_free(rrsig);
	engine_end(&e);
}

/* The tags of the keys that signed, as text. */
static void signed_by(const struct rrset *rs, const struct keyset *ks, char *out)
{
	const struct sigset *sigs = rrset_sigs(rs);
	assert_non_null(sigs);
	for (const uint8_t *p = sigs->data; p < sigs->data + sigs->size; p = rdata_next(p)) {
		struct rrsig sig;
		assert_int_equal(rrsig_parse(rdata_at(p), &sig), ST_OK);
		for (size_t i = 0; i < ks->count; i++) {
			if (ks->keys[i].tag == sig.key_tag) {
				*out++ = (char)('0' + i);
			}
		}
	}
	*out = '\0';
}

static void keys_in_the_process_sign_at_once(void **state)
{
	(void)state;
	struct engine e;
	char by[8];
	engine_start(&e, true, true);
	struct rrset *txt = rrset_at(e.v, "a.b.c.example.com", RR_TXT);
	assert_int_equal(want(&e, "a.b.c.example.com", RR_TXT), ST_OK);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_OK);
	assert_int_equal(atomic_load(&txt->sig_state), SIG_FILLED);
	signed_by(txt, e.ks, by);
	assert_string_equal(by, "1");
	signed_by(rrset_at(e.v, "example.com", RR_DNSKEY), e.ks, by);
	assert_string_equal(by, "0");
	assert_int_equal(want(&e, "a.b.c.example.com", RR_TXT), ST_OK);
	assert_int_equal(atomic_load(&e.zsk->signed_count), 1);
	assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
	assert_int_equal(atomic_load(&e.settled.count), 0);
	/* A fault leaves the slot to the next who asks. */
	atomic_store(&e.zsk_store.fault, ST_ECRYPTO);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_ECRYPTO);
	assert_null(rrset_sigs(e.v->soa));
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	engine_end(&e);
}

static void a_question_is_single_flight_and_told_once(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	struct rrset *soa = e.v->soa;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	}
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	assert_int_equal(e.zsk_store.waiting[HSM_BATCH], 0);
	assert_null(rrset_sigs(soa));
	assert_int_equal(atomic_load(&e.settled.count), 0);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 1);
	assert_int_equal(atomic_load(&e.settled.failed), 0);
	assert_ptr_equal(atomic_load(&e.settled.last), soa);
	assert_non_null(rrset_sigs(soa));
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	engine_end(&e);
}

static void a_failure_empties_the_slot_and_is_told(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	atomic_store(&e.zsk_store.fault, ST_EAGAIN);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 1);
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	assert_null(rrset_sigs(e.v->soa));
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	assert_int_equal(atomic_load(&e.v->soa->sig_wanted), 0);
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 10), 1);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	assert_non_null(rrset_sigs(e.v->soa));
	engine_end(&e);
}

static void a_full_queue_and_a_key_away_are_said_at_once(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	e.zsk_store.queue_max = 0;
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_ELIMIT);
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	e.zsk_store.queue_max = 1;

	struct hsm_key *handle = e.ks->keys[1].handle;
	atomic_store(&e.ks->keys[1].handle, NULL);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EAGAIN);
	assert_int_equal(atomic_load(&e.v->soa->sig_state), SIG_EMPTY);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	atomic_store(&e.ks->keys[1].handle, handle);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	engine_end(&e);
}

static void all_keys_sign_or_none(void **state)
{
	(void)state;
	struct engine e;
	char by[8];
	engine_start(&e, false, false);
	struct rrset *dnskey = rrset_at(e.v, "example.com", RR_DNSKEY);
	struct hsm_key *second = fake_key(&e.zsk_store, 3);
	key_set(&e.ks->keys[2], KEY_KSK, second);
	e.ks->count = 3;

	/* The second queue is full: what the first makes is thrown away. */
	e.zsk_store.queue_max = 0;
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_ELIMIT);
	assert_int_equal(atomic_load(&dnskey->sig_state), SIG_SIGNING);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_int_equal(atomic_load(&dnskey->sig_state), SIG_EMPTY);
	assert_null(rrset_sigs(dnskey));
	e.zsk_store.queue_max = 10;

	/* The second fails. */
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_null(rrset_sigs(dnskey));
	assert_int_equal(atomic_load(&e.settled.count), 0);
	atomic_store(&e.zsk_store.fault, ST_ETIMEDOUT);
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_null(rrset_sigs(dnskey));
	assert_int_equal(atomic_load(&e.settled.failed), 1);
	atomic_store(&e.zsk_store.fault, ST_OK);

	/* One in the process, one not. */
	e.zsk_store.in_process = true;
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_non_null(rrset_sigs(dnskey));
	assert_int_equal(rrset_sigs(dnskey)->count, 2);
	signed_by(dnskey, e.ks, by);
	assert_int_equal(strlen(by), 2);
	assert_null(strchr(by, '1'));
	hsm_key_unref(second);
	engine_end(&e);
}

static void a_version_lives_as_long_as_its_jobs(void **state)
{
	(void)state;
	struct engine e;
	engine_start(&e, false, false);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(want(&e, "example.com", RR_DNSKEY), ST_EBUSY);
	version_unref(e.v);
	e.v = NULL;
	keyset_unref(e.ks);
	e.ks = NULL;
	assert_int_equal(fake_run(&e.zsk_store, 2), 1);
	assert_int_equal(fake_run(&e.ksk_store, 2), 1);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_int_equal(atomic_load(&e.zsk->refs), 1);
	assert_int_equal(atomic_load(&e.ksk->refs), 1);
	engine_end(&e);
}

static void a_pass_fills_every_slot(void **state)
{
	(void)state;
	for (int in_process = 0; in_process < 2; in_process++) {
		struct engine e;
		struct list l;
		engine_start(&e, in_process != 0, in_process != 0);
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, 0);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, l.count);
		assert_int_equal(l.count, 16);
		assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
		assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
		/* Twice the sessions of both keystores, and never the queue of the questions. */
		assert_in_range(e.zsk_store.most_waiting[HSM_BATCH], 0, 8);
		assert_int_equal(e.zsk_store.most_waiting[HSM_QUERY], 0);
		assert_int_equal(atomic_load(&e.settled.count), 0);
		/* Nothing is left to do. */
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
		engine_end(&e);
	}
}

struct pass {
	struct engine *e;
	_Atomic(bool) stop;
	enum status result;
};

static void *pass_main(void *arg)
{
	struct pass *p = arg;
	p->result = signer_complete(p->e->signer, p->e->v, &p->stop);
	return NULL;
}

/* Until the store holds this many jobs of a pass. */
static void await_batch(struct keystore *ks, size_t count)
{
	for (;;) {
		pthread_mutex_lock(&ks->lock);
		size_t waiting = ks->waiting[HSM_BATCH];
		pthread_mutex_unlock(&ks->lock);
		if (waiting >= count) {
			return;
		}
		sched_yield();
	}
}

static void a_pass_is_bounded_joined_and_stopped(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	pthread_t thread;
	engine_start(&e, false, false);
	struct pass p = {.e = &e};
	assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
	/* Two keystores with two sessions each: eight in flight, one of which the KSK's. */
	await_batch(&e.zsk_store, 7);
	list_rrsets(e.v, &l);
	assert_int_equal(l.signing, 8);

	/* What is in flight is joined by a question, which is told; what is not does not wait. */
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 0);
	assert_int_equal(want(&e, "safe.example.com", RR_DS), ST_EBUSY);
	assert_int_equal(e.zsk_store.waiting[HSM_QUERY], 1);
	assert_int_equal(fake_run(&e.zsk_store, 1), 1);
	assert_non_null(rrset_sigs(rrset_at(e.v, "safe.example.com", RR_DS)));
	assert_int_equal(atomic_load(&e.settled.count), 1);

	atomic_store(&p.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(p.result, ST_EREFUSED);
	/* The pass is over; what it left in flight still settles. */
	fake_run(&e.zsk_store, SIZE_MAX);
	fake_run(&e.ksk_store, SIZE_MAX);
	assert_int_equal(atomic_load(&e.settled.count), 2);
	assert_ptr_equal(atomic_load(&e.settled.last), e.v->soa);
	list_rrsets(e.v, &l);
	assert_int_equal(l.signing, 0);
	assert_in_range(l.filled, 9, l.count - 1);
	engine_end(&e);
}

static void one_keystore_away_does_not_stop_the_other(void **state)
{
	static const struct {
		const char *name;
		bool in_process;
		bool no_handle;
		enum status fault;
	} cases[] = {
		{"it fails", false, false, ST_EAGAIN},
		{"it fails here", true, false, ST_ECRYPTO},
		{"the key has no handle", false, true, ST_OK},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct engine e;
		struct list l;
		engine_start(&e, cases[i].in_process, false);
		struct hsm_key *handle = e.ks->keys[0].handle;
		if (cases[i].no_handle) {
			atomic_store(&e.ks->keys[0].handle, NULL);
		}
		atomic_store(&e.ksk_store.fault, (int)cases[i].fault);
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		print_message("%s\n", cases[i].name);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_EAGAIN);
		list_rrsets(e.v, &l);
		assert_int_equal(l.filled, l.count - 1);
		assert_null(rrset_sigs(rrset_at(e.v, "example.com", RR_DNSKEY)));
		atomic_store(&e.ksk_store.fault, ST_OK);
		atomic_store(&e.ks->keys[0].handle, handle);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		engine_end(&e);
	}
}

static void a_failing_key_ends_its_part_of_a_pass(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	engine_start(&e, true, true);
	atomic_store(&e.zsk_store.fault, ST_ECRYPTO);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_EAGAIN);
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, 1);
	atomic_store(&e.zsk_store.fault, ST_OK);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	engine_end(&e);
}

static void a_list_is_signed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	engine_start(&e, false, false);
	fake_start(&e.ksk_store);
	fake_start(&e.zsk_store);
	list_rrsets(e.v, &l);
	/* What carries no signature may stand in the list. */
	const struct node *nodes[3] = {l.nodes[3], node_at(e.v, "ns.cut.example.com"), l.nodes[7]};
	struct rrset *rrsets[3] = {l.rrsets[3], rrset_at(e.v, "ns.cut.example.com", RR_A),
				   l.rrsets[7]};
	assert_int_equal(signer_sign_list(e.signer, e.v, nodes, rrsets, 3, NULL), ST_OK);
	assert_non_null(rrset_sigs(l.rrsets[3]));
	assert_non_null(rrset_sigs(l.rrsets[7]));
	assert_null(rrset_sigs(rrsets[1]));
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, 2);
	_Atomic(bool) stop = true;
	assert_int_equal(signer_sign_list(e.signer, e.v, l.nodes, l.rrsets, l.count, &stop),
			 ST_EREFUSED);
	engine_end(&e);
}

struct asker {
	struct engine *e;
	const struct list *l;
	size_t first;
	size_t busy;
};

static void *asker_main(void *arg)
{
	struct asker *a = arg;
	const struct list *l = a->l;
	for (size_t i = 0; i < l->count; i++) {
		size_t k = (a->first + i) % l->count;
		enum status st = signer_want(a->e->signer, a->e->v, l->nodes[k], l->rrsets[k]);
		if (st == ST_EBUSY) {
			a->busy++;
		} else if (st != ST_OK) {
			abort();
		}
	}
	return NULL;
}

static void run_at_once(bool in_process, bool with_pass)
{
	struct engine e;
	struct list l;
	pthread_t threads[THREADS + 2];
	struct asker askers[THREADS];
	engine_start(&e, in_process, in_process);
	struct pass passes[2] = {{.e = &e}, {.e = &e}};
	fake_start(&e.ksk_store);
	fake_start(&e.zsk_store);
	list_rrsets(e.v, &l);
	for (size_t i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){.e = &e, .l = &l, .first = i * 3};
		assert_int_equal(pthread_create(&threads[i], NULL, asker_main, &askers[i]), 0);
	}
	for (size_t i = 0; with_pass && i < 2; i++) {
		assert_int_equal(pthread_create(&threads[THREADS + i], NULL, pass_main, &passes[i]),
				 0);
	}
	size_t busy = 0;
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		busy += askers[i].busy;
	}
	for (size_t i = 0; with_pass && i < 2; i++) {
		pthread_join(threads[THREADS + i], NULL);
		assert_int_equal(passes[i].result, ST_OK);
	}
	/* Ends the lanes, so that all is settled. */
	fake_fini(&e.ksk_store);
	fake_fini(&e.zsk_store);
	list_rrsets(e.v, &l);
	assert_int_equal(l.filled, l.count);
	assert_int_equal(atomic_load(&e.ksk->signed_count), 1);
	assert_int_equal(atomic_load(&e.zsk->signed_count), l.count - 1);
	/* Who had to wait was told, at the latest when the RRset was done. */
	assert_true(busy == 0 || atomic_load(&e.settled.count) > 0);
	assert_int_equal(atomic_load(&e.settled.failed), 0);
	assert_true(atomic_load(&e.settled.count) <= l.count);
	fake_init(&e.ksk_store, "cloud", false);
	fake_init(&e.zsk_store, "local", false);
	engine_end(&e);
}

static void each_is_signed_once_however_many_ask(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		run_at_once(i % 2 == 0, i % 3 == 0);
	}
}

/* One waits for each RRset, and must be told of each. */
struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	const struct rrset *told;
};

static void waiter_settled(void *ctx, const struct rrset *rs, enum status result)
{
	struct waiter *w = ctx;
	(void)result;
	pthread_mutex_lock(&w->lock);
	w->told = rs;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void no_wake_is_lost(void **state)
{
	(void)state;
	for (int round = 0; round < 100; round++) {
		struct waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL};
		struct signer_options opt = {.settled = waiter_settled, .ctx = &w};
		struct engine e;
		struct list l;
		pthread_t thread;
		engine_start(&e, false, false);
		signer_free(e.signer);
		assert_int_equal(signer_new(&opt, &e.signer), ST_OK);
		struct pass p = {.e = &e};
		fake_start(&e.ksk_store);
		fake_start(&e.zsk_store);
		list_rrsets(e.v, &l);
		assert_int_equal(pthread_create(&thread, NULL, pass_main, &p), 0);
		for (size_t i = 0; i < l.count; i++) {
			enum status st = signer_want(e.signer, e.v, l.nodes[i], l.rrsets[i]);
			/* Without the wake this waits for ever, and the test runs out of time. */
			pthread_mutex_lock(&w.lock);
			while (st == ST_EBUSY && w.told != l.rrsets[i]) {
				pthread_cond_wait(&w.cond, &w.lock);
			}
			pthread_mutex_unlock(&w.lock);
			assert_non_null(rrset_sigs(l.rrsets[i]));
		}
		pthread_join(thread, NULL);
		assert_int_equal(p.result, ST_OK);
		engine_end(&e);
	}
}

static void a_signature_is_valid_in_its_window(void **state)
{
	static const struct {
		const char *name;
		uint32_t inception;
		uint32_t expiration;
		int64_t now;
		bool want;
	} cases[] = {
		{"before", 100, 200, 99, false},
		{"first second", 100, 200, 100, true},
		{"last second", 100, 200, 200, true},
		{"after", 100, 200, 201, false},
		{"over the end of 32 bits", 0xffffff00, 0x100, INT64_C(0x100000050), true},
		{"before it", 0xffffff00, 0x100, INT64_C(0xfffffeff), false},
		{"after it", 0xffffff00, 0x100, INT64_C(0x100000101), false},
	};
	(void)state;
	struct engine e;
	engine_start(&e, true, true);
	struct rrset *rs = e.v->soa;
	assert_null(signer_valid(rs, NOW));
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	struct sigset *sigs = rrset_sigs(rs);
	assert_ptr_equal(signer_valid(rs, NOW), sigs);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sigs->inception = cases[i].inception;
		sigs->expiration = cases[i].expiration;
		if ((signer_valid(rs, cases[i].now) != NULL) != cases[i].want) {
			fail_msg("%s", cases[i].name);
		}
	}
	engine_end(&e);
}

static void stats_count_what_is_signed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	struct sign_stats stats;
	engine_start(&e, true, true);
	list_rrsets(e.v, &l);
	signer_stats(e.v, &stats);
	assert_int_equal(stats.rrsets, l.count);
	assert_int_equal(stats.filled, 0);
	assert_true(stats.next_refresh == INT64_MAX);
	assert_true(stats.safe_until == INT64_MAX);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	signer_stats(e.v, &stats);
	assert_int_equal(stats.filled, l.count);
	assert_in_range(stats.safe_until, NOW + 200, NOW + 300);
	assert_true(stats.next_refresh == stats.safe_until - 100);
	int64_t least = INT64_MAX;
	for (size_t i = 0; i < l.count; i++) {
		int64_t expiration = rrset_sigs(l.rrsets[i])->expiration;
		least = expiration < least ? expiration : least;
	}
	assert_true(stats.safe_until == least);
	engine_end(&e);
}

static void what_falls_due_is_renewed(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	struct sign_stats stats;
	struct draft *d = NULL;
	size_t count = 77;
	engine_start(&e, true, true);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	signer_stats(e.v, &stats);
	list_rrsets(e.v, &l);

	assert_int_equal(draft_new(e.v->apex_name, e.v, &d), ST_OK);
	assert_int_equal(signer_renew_due(d, e.v, stats.next_refresh - 1, &count), ST_OK);
	assert_int_equal(count, 0);
	assert_false(draft_changed(d));

	/* The first half, by time. */
	int64_t until = NOW + 150;
	size_t due = 0;
	for (size_t i = 0; i < l.count; i++) {
		due += (int64_t)rrset_sigs(l.rrsets[i])->expiration - 100 <= until;
	}
	assert_in_range(due, 1, l.count - 1);
	assert_int_equal(signer_renew_due(d, e.v, until, &count), ST_OK);
	assert_int_equal(count, due);
	assert_int_equal(signer_prepare_draft(d, e.ks, false), ST_OK);
	struct version *next = freeze_draft(d, e.ks);
	struct list after;
	list_rrsets(next, &after);
	assert_int_equal(after.count, l.count);
	assert_int_equal(after.filled, l.count - due);
	clock_fake(until, 1000);
	assert_int_equal(signer_complete(e.signer, next, NULL), ST_OK);
	signer_stats(next, &stats);
	assert_true(stats.next_refresh > until);
	version_succeed(e.v, next);
	version_unref(e.v);
	e.v = next;
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_authoritative_is_covered),
		cmocka_unit_test(keys_in_the_process_sign_at_once),
		cmocka_unit_test(a_question_is_single_flight_and_told_once),
		cmocka_unit_test(a_failure_empties_the_slot_and_is_told),
		cmocka_unit_test(a_full_queue_and_a_key_away_are_said_at_once),
		cmocka_unit_test(all_keys_sign_or_none),
		cmocka_unit_test(a_version_lives_as_long_as_its_jobs),
		cmocka_unit_test(a_pass_fills_every_slot),
		cmocka_unit_test(a_pass_is_bounded_joined_and_stopped),
		cmocka_unit_test(one_keystore_away_does_not_stop_the_other),
		cmocka_unit_test(a_failing_key_ends_its_part_of_a_pass),
		cmocka_unit_test(a_list_is_signed),
		cmocka_unit_test(each_is_signed_once_however_many_ask),
		cmocka_unit_test(no_wake_is_lost),
		cmocka_unit_test(a_signature_is_valid_in_its_window),
		cmocka_unit_test(stats_count_what_is_signed),
		cmocka_unit_test(what_falls_due_is_renewed),
	};
	return cmocka_run_group_tests_name("signer", tests, NULL, NULL);
}
