/* What tests of the signer share: a folder, a store, a keystore of type file, zones from text. */
#pragma once

#include "hsm/hsm.h"
#include "nsd-core/base/store.h"
#include "signer/signer.h"
#include "zones/rdata.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct signer_fixture {
	char dir[64];
	char keys[80];
	struct store *db;
	struct keystore *ks;
};

static inline int fixture_remove_one(const char *path, const struct stat *sb, int flag,
				     struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void fixture_dir(char dir[64])
{
	snprintf(dir, 64, "/tmp/signet-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
}

static inline void fixture_dir_remove(const char *dir)
{
	nftw(dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct keystore *fixture_keystore(const char *name, const char *directory)
{
	struct keystore_options opt = {
		.name = name,
		.type = KEYSTORE_FILE,
		.slot = -1,
		.directory = directory,
		.sessions = 1,
	};
	struct keystore *ks = NULL;
	assert_int_equal(keystore_new(&opt, &ks, NULL), ST_OK);
	return ks;
}

static inline struct store *fixture_store(const char *dir)
{
	struct store_options opt = {.map_bytes = (size_t)64 << 20};
	struct store *db = NULL;
	assert_int_equal(store_open(dir, "keys", &opt, &db, NULL), ST_OK);
	return db;
}

static inline int signer_setup(void **state)
{
	struct signer_fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	fixture_dir(fx->dir);
	snprintf(fx->keys, sizeof(fx->keys), "%s/keys", fx->dir);
	fx->db = fixture_store(fx->dir);
	fx->ks = fixture_keystore("local", fx->keys);
	*state = fx;
	return 0;
}

static inline int signer_teardown(void **state)
{
	struct signer_fixture *fx = *state;
	keystore_free(fx->ks);
	store_close(fx->db);
	fixture_dir_remove(fx->dir);
	free(fx);
	return 0;
}

/* A name in wire form in one of four static buffers. */
static inline const uint8_t *wire(const char *text)
{
	static uint8_t bufs[4][NAME_MAX_LEN];
	static unsigned next;
	uint8_t *buf = bufs[next++ % 4];
	size_t len;
	assert_int_equal(name_from_text(text, strlen(text), NULL, buf, &len, NULL), ST_OK);
	return buf;
}

static inline void content_from_text(struct content *c, const char *zone, const char *text)
{
	struct master_options opt = {0};
	struct diags d;
	char buf[512];
	diags_init(&d, 5);
	content_init(c, wire(zone));
	if (master_read_mem("zone", text, strlen(text), &opt, c, &d) != ST_OK) {
		fail_msg("%s", d.count > 0 ? diag_format(&d.items[0], buf, sizeof(buf)) : "?");
	}
	assert_int_equal(content_sort(c), ST_OK);
	diags_fini(&d);
}

static inline struct draft *draft_from_text(const char *zone, const char *text,
					    struct version *base)
{
	struct content c;
	struct draft *d = NULL;
	content_from_text(&c, zone, text);
	assert_int_equal(draft_new(wire(zone), base, &d), ST_OK);
	assert_int_equal(draft_apply(d, &c, true), ST_OK);
	content_fini(&c);
	return d;
}

/* Takes the draft. */
static inline struct version *freeze_denying(struct draft *d, struct keyset *ks,
					     enum sign_denial denial)
{
	struct freeze freeze = {
		.denial = denial == SIGN_NSEC ? DENIAL_NSEC : DENIAL_NSEC3,
		.is_signed = true,
		.keys = keyset_ref(ks),
		.keys_unref = keyset_unref,
	};
	struct version *v = NULL;
	assert_int_equal(draft_freeze(d, &freeze, &v), ST_OK);
	draft_free(d);
	return v;
}

static inline struct version *freeze_draft(struct draft *d, struct keyset *ks)
{
	return freeze_denying(d, ks, SIGN_NSEC);
}

static inline struct version *version_from_text(const char *zone, const char *text,
						struct version *base, struct keyset *ks, bool cds)
{
	struct draft *d = draft_from_text(zone, text, base);
	assert_int_equal(signer_prepare_draft(d, ks, cds, SIGN_NSEC), ST_OK);
	return freeze_draft(d, ks);
}

static inline struct version *version_denying(const char *zone, const char *text,
					      struct version *base, struct keyset *ks,
					      enum sign_denial denial)
{
	struct draft *d = draft_from_text(zone, text, base);
	assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
	return freeze_denying(d, ks, denial);
}

static inline const struct node *node_at(const struct version *v, const char *name)
{
	struct name_ref ref;
	uint8_t buf[NAME_MAX_LEN];
	name_lower(buf, wire(name));
	name_ref_init(&ref, buf);
	return version_find(v, &ref, ref.labels);
}

static inline struct rrset *rrset_at(const struct version *v, const char *name, uint16_t type)
{
	const struct node *n = node_at(v, name);
	assert_non_null(n);
	struct rrset *rs = node_rrset(n, type);
	assert_non_null(rs);
	return rs;
}
