/* The signing engine over a fake keystore, with a zone to sign: for tests of the engine. */
#pragma once

#include "tests/unit/signer_fixture.h"

#include "tests/unit/fake_hsm.h"

#include "nsd-core/base/clock.h"
#include "signer/signer.h"

#define NOW INT64_C(1800000000)

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

static inline void on_settled(void *ctx, const struct rrset *rs, enum status result)
{
	struct settle_log *log = ctx;
	atomic_fetch_add(&log->count, 1);
	atomic_fetch_add(&log->failed, result != ST_OK);
	atomic_store(&log->last, rs);
}

static inline void key_set(struct key *key, enum key_role role, struct hsm_key *handle)
{
	uint8_t rdata[DNSKEY_LEN];
	key->role = role;
	key->state = KEY_ACTIVE;
	key->flags = role == KEY_ZSK ? 256 : 257;
	memcpy(key->public_point, handle->point, HSM_PUBLIC_LEN);
	key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
	atomic_store(&key->handle, hsm_key_ref(handle));
}

static inline struct keyset *keyset_new(struct engine *e)
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

static inline void engine_start(struct engine *e, bool ksk_in_process, bool zsk_in_process)
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

static inline void engine_end(struct engine *e)
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

static inline enum status want_as(struct engine *e, const char *name, uint16_t type, bool urgent)
{
	return signer_want(e->signer, e->v, node_at(e->v, name), rrset_at(e->v, name, type),
			   urgent);
}

static inline enum status want(struct engine *e, const char *name, uint16_t type)
{
	return want_as(e, name, type, true);
}

struct list {
	const struct node *nodes[64];
	struct rrset *rrsets[64];
	size_t count;
	size_t filled;
	size_t signing;
};

static inline enum status list_each(void *ctx, const struct node *n)
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

static inline void list_rrsets(const struct version *v, struct list *l)
{
	memset(l, 0, sizeof(*l));
	assert_int_equal(version_walk(v, list_each, l), ST_OK);
}
