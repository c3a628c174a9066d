/* What tests of keys that zones are given share: policies with such keys, and loads that must say
 * something. */
#pragma once

#include "tests/unit/signer_fixture.h"

#include "nsd-core/base/text.h"
#include "signer/record.h"

#include <dirent.h>

#define NOW INT64_C(1800000000)

static const struct sign_params params = {
	.policy = "mail",
	.algorithm = ALG_ECDSAP256SHA256,
	.dnskey_ttl = 3600,
	.refresh = 604800,
	.validity = 1814400,
};

/* A policy's keys; ref: named, "": shared, NULL: the zone's own. */
struct wanted_keys {
	struct key_wanted keys[2];
	size_t count;
};

static inline void want(struct signer_fixture *fx, struct wanted_keys *w, enum key_role role,
			const char *ref)
{
	struct key_wanted *k = &w->keys[w->count++];
	*k = (struct key_wanted){.role = role, .store = fx->ks};
	if (ref != NULL) {
		assert_int_equal(key_source_new(params.policy, role, fx->ks,
						ref[0] != '\0' ? ref : NULL, &k->source),
				 ST_OK);
	}
}

static inline void unwant(struct wanted_keys *w)
{
	for (size_t i = 0; i < w->count; i++) {
		key_source_free(w->keys[i].source);
	}
	w->count = 0;
}

static inline enum status load(struct signer_fixture *fx, const char *zone,
			       const struct wanted_keys *w, struct keyset **out, struct diags *d)
{
	return keyset_load(fx->db, wire(zone), &params, w->keys, w->count, NOW, out, d);
}

static inline bool says(const struct diags *d, const char *text)
{
	bool found = false;
	for (size_t i = 0; i < d->count; i++) {
		found |= strstr(d->items[i].text, text) != NULL;
	}
	return found;
}

/* The load must give 'want', and say so in words that have 'text' in them (NULL: nothing). */
static inline struct keyset *must(struct signer_fixture *fx, const char *zone,
				  const struct wanted_keys *w, enum status want_st,
				  const char *text)
{
	struct keyset *ks = NULL;
	struct diags d;
	diags_init(&d, 10);
	enum status st = load(fx, zone, w, &ks, &d);
	if (st != want_st || (text == NULL) != (d.count == 0) ||
	    (text != NULL && !says(&d, text))) {
		fail_msg("%s: status %d, says '%s', expected %d, '%s'", zone, (int)st,
			 d.count > 0 ? d.items[0].text : "", (int)want_st,
			 text != NULL ? text : "");
	}
	assert_int_equal(ks != NULL, st == ST_OK);
	diags_fini(&d);
	return ks;
}

static inline size_t key_files(struct signer_fixture *fx)
{
	size_t count = 0;
	DIR *dir = opendir(fx->keys);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		count += strstr(e->d_name, ".pem") != NULL;
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return count;
}

/* A key that somebody else made; its name. */
static inline void make_key(struct signer_fixture *fx, char name[TEXT_HEX_SIZE(HSM_ID_MAX)])
{
	struct hsm_key *key = NULL;
	size_t len;
	assert_int_equal(keystore_generate(fx->ks, "mine", &key, NULL), ST_OK);
	const uint8_t *id = hsm_key_id(key, &len);
	hex_encode(id, len, name);
	hsm_key_unref(key);
}
