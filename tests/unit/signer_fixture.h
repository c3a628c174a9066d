/* What tests of the signer share: a folder, a store, a keystore of type file, zones from text. */
#pragma once

#include "hsm/hsm.h"
#include "nsd-core/base/store.h"
#include "zones/master.h"
#include "zones/rdata.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

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
