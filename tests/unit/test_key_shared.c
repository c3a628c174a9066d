/* Keys that zones share, and keys that are let go. */
#include "tests/unit/key_source_fixture.h"

#include <pthread.h>

static void id_of(const struct key *key, struct hsm_id *out)
{
	memcpy(out->data, key->id, key->id_len);
	out->len = key->id_len;
}

static void a_shared_key_is_one_over_restarts_and_for_later_zones(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct keyset *read = NULL;
	uint16_t tag = 0;
	for (unsigned start = 0; start < 3; start++) {
		char zone[32];
		snprintf(zone, sizeof(zone), "z%u.test", start);
		want(fx, &w, KEY_KSK, "");
		want(fx, &w, KEY_ZSK, NULL);
		struct keyset *ks = must(fx, zone, &w, ST_OK, NULL);
		assert_true(start == 0 || ks->keys[0].tag == tag);
		tag = ks->keys[0].tag;
		keyset_unref(ks);
		ks = must(fx, "z0.test", &w, ST_OK, NULL);
		assert_int_equal(ks->keys[0].tag, tag);
		keyset_unref(ks);
		unwant(&w);
		keystore_free(fx->ks);
		store_close(fx->db);
		fx->db = fixture_store(fx->dir);
		fx->ks = fixture_keystore("local", fx->keys);
	}
	assert_int_equal(key_files(fx), 4);
	assert_int_equal(keyset_read(fx->db, wire("z1.test"), &read), ST_OK);
	assert_int_equal(read->keys[0].origin, KEY_SHARED);
	assert_int_equal(read->keys[1].origin, KEY_OWN);
	keyset_unref(read);
}

#define ZONES	40
#define THREADS 8

struct loader {
	struct signer_fixture *fx;
	const struct wanted_keys *w;
	unsigned from;
	uint16_t tags[ZONES];
	unsigned failed;
};

static void *load_zones(void *arg)
{
	struct loader *l = arg;
	for (unsigned i = l->from; i < ZONES; i += THREADS) {
		uint8_t apex[NAME_MAX_LEN];
		char zone[32];
		size_t len;
		struct keyset *ks = NULL;
		snprintf(zone, sizeof(zone), "zone%u.test", i);
		if (name_from_text(zone, strlen(zone), NULL, apex, &len, NULL) != ST_OK ||
		    keyset_load(l->fx->db, apex, &params, l->w->keys, l->w->count, NOW, &ks,
				NULL) != ST_OK) {
			l->failed++;
			continue;
		}
		l->tags[i] = ks->keys[0].tag;
		keyset_unref(ks);
	}
	return NULL;
}

static void zones_loaded_at_once_share_one_key(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct loader loaders[THREADS] = {{.fx = NULL}};
	pthread_t threads[THREADS];
	want(fx, &w, KEY_KSK, "");
	want(fx, &w, KEY_ZSK, "");
	for (unsigned i = 0; i < THREADS; i++) {
		loaders[i] = (struct loader){.fx = fx, .w = &w, .from = i};
		assert_int_equal(pthread_create(&threads[i], NULL, load_zones, &loaders[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	for (unsigned i = 0; i < ZONES; i++) {
		assert_int_equal(loaders[i % THREADS].failed, 0);
		assert_int_equal(loaders[i % THREADS].tags[i], loaders[0].tags[0]);
	}
	assert_int_equal(key_files(fx), 2);
	unwant(&w);
}

static void a_shared_key_that_is_gone_is_replaced_only_if_no_zone_had_it(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct key shared;
	char id[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char path[300];
	want(fx, &w, KEY_CSK, "");
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
	assert_int_equal(shared_key_get(fx->db, params.policy, KEY_CSK, &shared), ST_OK);
	assert_int_equal(shared.state, KEY_ACTIVE);
	hex_encode(shared.id, shared.id_len, id);
	snprintf(path, sizeof(path), "%s/%s.pem", fx->keys, id);
	assert_int_equal(unlink(path), 0);
	want(fx, &w, KEY_CSK, "");
	assert_null(must(fx, "two.test", &w, ST_EFATAL, "no other key is made"));
	assert_int_equal(key_files(fx), 0);
	/* As a crash before the first zone took it would have left it. */
	shared.state = KEY_MADE;
	assert_int_equal(shared_key_put(fx->db, params.policy, &shared, KEY_PUT_OVER), ST_OK);
	keyset_unref(must(fx, "two.test", &w, ST_OK, "makes another"));
	assert_int_equal(key_files(fx), 1);
	unwant(&w);
}

static void zones_with_their_own_key_keep_it(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	want(fx, &w, KEY_CSK, NULL);
	struct keyset *own = must(fx, "one.test", &w, ST_OK, NULL);
	unwant(&w);
	want(fx, &w, KEY_CSK, "");
	struct keyset *kept = must(fx, "one.test", &w, ST_OK, "goes on with it");
	assert_int_equal(kept->keys[0].tag, own->keys[0].tag);
	keyset_unref(must(fx, "two.test", &w, ST_OK, NULL));
	keyset_unref(own);
	keyset_unref(kept);
	unwant(&w);
}

static void a_shared_key_in_another_keystore_is_refused(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	char elsewhere[96];
	want(fx, &w, KEY_CSK, "");
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", fx->dir);
	struct keystore *local = fx->ks;
	fx->ks = fixture_keystore("other", elsewhere);
	want(fx, &w, KEY_CSK, "");
	assert_null(must(fx, "two.test", &w, ST_EREFUSED, "is in keystore local"));
	assert_null(must(fx, "one.test", &w, ST_EREFUSED, "is in keystore local"));
	unwant(&w);
	keystore_free(fx->ks);
	fx->ks = local;
}

/* A pair that was made for it goes; one that is the operator's does not. */
static void a_record_that_cannot_be_written_is_an_error(void **state)
{
	struct signer_fixture *fx = *state;
	struct store_options read_only = {.map_bytes = (size_t)64 << 20, .read_only = true};
	struct wanted_keys w = {.count = 0};
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	make_key(fx, a);
	store_close(fx->db);
	assert_int_equal(store_open(fx->dir, "keys", &read_only, &fx->db, NULL), ST_OK);
	want(fx, &w, KEY_CSK, "");
	assert_null(must(fx, "one.test", &w, ST_EIO, "cannot be put on record"));
	unwant(&w);
	assert_int_equal(key_files(fx), 1);
	want(fx, &w, KEY_CSK, a);
	assert_null(must(fx, "one.test", &w, ST_EIO, "cannot be put on record"));
	unwant(&w);
	assert_int_equal(key_files(fx), 1);
}

static void a_damaged_record_of_a_shared_key_makes_none(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct store_txn *txn = NULL;
	static const uint8_t at[] = {'m', 'a', 'i', 'l', 0, KEY_CSK};
	static const uint8_t bad[] = {1, 13, 2};
	assert_int_equal(store_begin(fx->db, true, &txn), ST_OK);
	assert_int_equal(store_put(txn, "shared", (struct bytes){at, sizeof(at)},
				   (struct bytes){bad, sizeof(bad)}),
			 ST_OK);
	assert_int_equal(store_commit(txn), ST_OK);
	want(fx, &w, KEY_CSK, "");
	assert_null(must(fx, "one.test", &w, ST_EIO, "cannot be read"));
	assert_int_equal(key_files(fx), 0);
	unwant(&w);
}

static void keys_in_use_are_not_let_go(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct key_use use = {.zones = 0};
	struct key_list list = {.count = 0};
	struct hsm_id id;
	struct hsm_id stranger = {.data = {1}, .len = 1};
	want(fx, &w, KEY_CSK, "");
	struct keyset *ks = must(fx, "one.test", &w, ST_OK, NULL);
	keyset_unref(must(fx, "two.test", &w, ST_OK, NULL));
	id_of(&ks->keys[0], &id);
	assert_int_equal(key_let_go(fx->db, "local", &id, NOW, &use), ST_EREFUSED);
	assert_int_equal(use.zones, 2);
	assert_int_equal(use.role, KEY_CSK);
	assert_int_equal(use.state, KEY_ACTIVE);
	assert_int_equal(use.tag, ks->keys[0].tag);
	assert_int_equal(key_let_go(fx->db, "local", &stranger, NOW, &use), ST_OK);
	/* Two keystores may be one device. */
	assert_int_equal(key_let_go(fx->db, "other", &id, NOW, &use), ST_EREFUSED);
	keyset_unref(ks);
	/* Removed from one, made and not used in the other. */
	for (unsigned i = 0; i < 2; i++) {
		const char *zone = i == 0 ? "one.test" : "two.test";
		assert_int_equal(key_record_read(fx->db, wire(zone), &list), ST_OK);
		list.entries[0].key.state = i == 0 ? KEY_REMOVED : KEY_MADE;
		assert_int_equal(key_record_put(fx->db, wire(zone), list.entries, 1, KEY_PUT_OVER),
				 ST_OK);
		key_list_fini(&list);
		assert_int_equal(key_let_go(fx->db, "local", &id, NOW + 7, &use),
				 i == 0 ? ST_EREFUSED : ST_OK);
	}
	assert_int_equal(use.zones, 1);
	assert_int_equal(key_record_read(fx->db, wire("two.test"), &list), ST_OK);
	assert_int_equal(list.entries[0].key.state, KEY_REMOVED);
	assert_int_equal(list.entries[0].key.times.removed, NOW + 7);
	key_list_fini(&list);
	/* No zone is given it any more. */
	struct key shared;
	assert_int_equal(shared_key_get(fx->db, params.policy, KEY_CSK, &shared), ST_ENOENT);
	int64_t until = 1;
	assert_int_equal(keystore_destroy(fx->ks, &id, 0, &until, NULL), ST_OK);
	assert_int_equal(until, 0);
	assert_int_equal(key_files(fx), 0);
	unwant(&w);
	want(fx, &w, KEY_CSK, "");
	keyset_unref(must(fx, "three.test", &w, ST_OK, NULL));
	assert_int_equal(key_files(fx), 1);
	unwant(&w);
}

/* Between its record and its use a key was let go: it does not come into use. */
static void what_was_let_go_is_not_taken(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct key_list list = {.count = 0};
	struct key shared;
	want(fx, &w, KEY_CSK, "");
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	assert_int_equal(key_record_read(fx->db, wire("one.test"), &list), ST_OK);
	struct key_entry *entry = &list.entries[0];
	entry->key.state = KEY_ACTIVE;
	assert_int_equal(key_record_put(fx->db, wire("one.test"), entry, 1, KEY_PUT_MADE),
			 ST_EEXIST);
	assert_int_equal(key_record_put(fx->db, wire("two.test"), entry, 1, KEY_PUT_MADE),
			 ST_EEXIST);
	assert_int_equal(shared_key_take(fx->db, params.policy, wire("one.test"), entry),
			 ST_EEXIST);
	assert_int_equal(shared_key_take(fx->db, "another", wire("two.test"), entry), ST_EEXIST);
	assert_int_equal(shared_key_get(fx->db, params.policy, KEY_CSK, &shared), ST_OK);
	shared.id[0] ^= 1;
	assert_int_equal(shared_key_put(fx->db, params.policy, &shared, KEY_PUT_OVER), ST_OK);
	assert_int_equal(shared_key_take(fx->db, params.policy, wire("two.test"), entry),
			 ST_EEXIST);
	key_list_fini(&list);
	assert_int_equal(key_record_read(fx->db, wire("two.test"), &list), ST_OK);
	assert_int_equal(list.count, 0);
	key_list_fini(&list);
	unwant(&w);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, signer_setup, signer_teardown)
	const struct CMUnitTest tests[] = {
		CASE(a_shared_key_is_one_over_restarts_and_for_later_zones),
		CASE(zones_loaded_at_once_share_one_key),
		CASE(a_shared_key_that_is_gone_is_replaced_only_if_no_zone_had_it),
		CASE(zones_with_their_own_key_keep_it),
		CASE(a_shared_key_in_another_keystore_is_refused),
		CASE(a_record_that_cannot_be_written_is_an_error),
		CASE(a_damaged_record_of_a_shared_key_makes_none),
		CASE(keys_in_use_are_not_let_go),
		CASE(what_was_let_go_is_not_taken),
	};
	return cmocka_run_group_tests_name("key_shared", tests, NULL, NULL);
}
