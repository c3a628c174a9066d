/* Keys that the operator names. */
#include "tests/unit/key_source_fixture.h"

#include <sys/stat.h>

static void named_keys_are_taken_and_kept(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char b[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char with_end[TEXT_HEX_SIZE(HSM_ID_MAX) + 4];
	struct wanted_keys w = {.count = 0};
	struct keyset *read = NULL;
	make_key(fx, a);
	make_key(fx, b);
	want(fx, &w, KEY_KSK, a);
	want(fx, &w, KEY_ZSK, NULL);
	struct keyset *one = must(fx, "one.test", &w, ST_OK, NULL);
	struct keyset *two = must(fx, "two.test", &w, ST_OK, NULL);
	assert_int_equal(key_files(fx), 4);
	/* One key for many zones: one tag, one point. */
	assert_int_equal(one->keys[0].tag, two->keys[0].tag);
	assert_ptr_equal(one->keys[0].handle, two->keys[0].handle);
	assert_memory_equal(one->keys[0].public_point, two->keys[0].public_point, HSM_PUBLIC_LEN);
	assert_memory_not_equal(one->keys[1].public_point, two->keys[1].public_point,
				HSM_PUBLIC_LEN);
	assert_int_equal(one->keys[0].state, KEY_ACTIVE);
	assert_int_equal(keyset_read(fx->db, wire("one.test"), &read), ST_OK);
	assert_int_equal(read->keys[0].origin, KEY_NAMED);
	assert_int_equal(read->keys[1].origin, KEY_OWN);
	keyset_unref(read);
	keyset_unref(one);
	keyset_unref(two);
	/* The same by another name; then by none: a key on record is kept. */
	unwant(&w);
	snprintf(with_end, sizeof(with_end), "%s.pem", a);
	want(fx, &w, KEY_KSK, with_end);
	want(fx, &w, KEY_ZSK, NULL);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	char ref[HSM_REF_MAX + 1];
	assert_int_equal(key_record_ref(fx->db, wire("one.test"), 0, ref), ST_OK);
	assert_string_equal(ref, with_end);
	assert_int_equal(key_record_ref(fx->db, wire("one.test"), 1, ref), ST_ENOENT);
	unwant(&w);
	want(fx, &w, KEY_KSK, NULL);
	want(fx, &w, KEY_ZSK, NULL);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	/* Another one is a rollover. */
	unwant(&w);
	want(fx, &w, KEY_KSK, b);
	want(fx, &w, KEY_ZSK, NULL);
	assert_null(must(fx, "one.test", &w, ST_EREFUSED, "rolling over to another one"));
	assert_int_equal(key_files(fx), 4);
	unwant(&w);
}

static void a_zone_with_its_own_key_is_not_given_another(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char own[TEXT_HEX_SIZE(HSM_ID_MAX)];
	struct wanted_keys w = {.count = 0};
	want(fx, &w, KEY_CSK, NULL);
	struct keyset *ks = must(fx, "one.test", &w, ST_OK, NULL);
	hex_encode(ks->keys[0].id, ks->keys[0].id_len, own);
	keyset_unref(ks);
	unwant(&w);
	make_key(fx, a);
	want(fx, &w, KEY_CSK, a);
	assert_null(must(fx, "one.test", &w, ST_EREFUSED, "rolling over"));
	unwant(&w);
	want(fx, &w, KEY_CSK, "00ff");
	assert_null(must(fx, "one.test", &w, ST_EREFUSED, "00ff"));
	unwant(&w);
	/* Naming the one it has is fine. */
	want(fx, &w, KEY_CSK, own);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
}

static void a_named_key_that_is_not_there_makes_none(void **state)
{
	struct signer_fixture *fx = *state;
	struct wanted_keys w = {.count = 0};
	struct key_list list = {.count = 0};
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	make_key(fx, a);
	want(fx, &w, KEY_CSK, "00112233");
	assert_null(must(fx, "one.test", &w, ST_EFATAL, "no key is made in its place"));
	unwant(&w);
	want(fx, &w, KEY_CSK, "no id");
	assert_null(must(fx, "one.test", &w, ST_EFATAL, "named by their id in hex"));
	unwant(&w);
	assert_int_equal(key_files(fx), 1);
	assert_int_equal(key_record_read(fx->db, wire("one.test"), &list), ST_OK);
	assert_int_equal(list.count, 0);
	key_list_fini(&list);
	/* Away is not absent. */
	want(fx, &w, KEY_CSK, a);
	assert_int_equal(chmod(fx->keys, 0777), 0);
	struct keyset *ks = NULL;
	struct diags d;
	diags_init(&d, 10);
	assert_int_equal(load(fx, "one.test", &w, &ks, &d), ST_EAGAIN);
	assert_true(d.errors > 0);
	assert_false(says(&d, "no key is made in its place"));
	diags_fini(&d);
	assert_int_equal(chmod(fx->keys, 0700), 0);
	unwant(&w);
	want(fx, &w, KEY_CSK, a);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
}

/* A name that went by: on record, and not what it stands for now. */
static void a_name_given_to_another_key_changes_nothing(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char b[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char path[300];
	struct wanted_keys w = {.count = 0};
	struct key_list list = {.count = 0};
	make_key(fx, a);
	make_key(fx, b);
	want(fx, &w, KEY_CSK, a);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
	/* As if 'b' had been an alias of a's. */
	assert_int_equal(key_record_read(fx->db, wire("one.test"), &list), ST_OK);
	list.entries[0].ref = b;
	assert_int_equal(key_record_put(fx->db, wire("one.test"), list.entries, 1, KEY_PUT_OVER),
			 ST_OK);
	want(fx, &w, KEY_CSK, b);
	struct keyset *ks = must(fx, "one.test", &w, ST_OK, "names");
	assert_int_equal(ks->keys[0].tag, list.entries[0].key.tag);
	assert_non_null(ks->keys[0].handle);
	keyset_unref(ks);
	unwant(&w);
	/* And then of none. */
	snprintf(path, sizeof(path), "%s/%s.pem", fx->keys, b);
	assert_int_equal(unlink(path), 0);
	want(fx, &w, KEY_CSK, b);
	keyset_unref(must(fx, "one.test", &w, ST_OK, "names no key now"));
	unwant(&w);
	key_list_fini(&list);
}

static void one_key_in_two_roles_is_refused(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char with_end[TEXT_HEX_SIZE(HSM_ID_MAX) + 4];
	struct wanted_keys w = {.count = 0};
	make_key(fx, a);
	snprintf(with_end, sizeof(with_end), "%s.pem", a);
	want(fx, &w, KEY_KSK, a);
	want(fx, &w, KEY_ZSK, with_end);
	assert_null(must(fx, "one.test", &w, ST_EREFUSED, "csk"));
	unwant(&w);
	/* What was put on record on the way does not stand in the way. */
	want(fx, &w, KEY_CSK, a);
	struct keyset *ks = must(fx, "one.test", &w, ST_OK, NULL);
	assert_int_equal(ks->count, 1);
	assert_int_equal(ks->keys[0].role, KEY_CSK);
	keyset_unref(ks);
	unwant(&w);
}

static void tags_that_collide_are_warned_about(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	struct wanted_keys w = {.count = 0};
	struct key_entry entry = {.seq = 0};
	struct hsm_key *handle = NULL;
	struct hsm_id id;
	uint8_t rdata[DNSKEY_LEN];
	make_key(fx, a);
	assert_int_equal(keystore_identify(fx->ks, a, &id, NULL), ST_OK);
	assert_int_equal(keystore_find(fx->ks, id.data, id.len, NULL, &handle, NULL), ST_OK);
	/* A retired key with the tag that the csk is going to have: 256 and one octet less, in a
	 * place that counts alike. */
	struct key csk = {.flags = 257};
	memcpy(csk.public_point, hsm_key_public(handle), HSM_PUBLIC_LEN);
	hsm_key_unref(handle);
	entry.key = csk;
	entry.key.role = KEY_ZSK;
	entry.key.state = KEY_RETIRED;
	entry.key.flags = 256;
	entry.key.id_len = 1;
	memcpy(entry.key.keystore, "local", 6);
	uint16_t wanted_tag = dnskey_tag(rdata, dnskey_rdata(&csk, rdata));
	for (uint32_t i = 0; i < 65536; i++) {
		be16_put(entry.key.public_point, (uint16_t)i);
		entry.key.tag = dnskey_tag(rdata, dnskey_rdata(&entry.key, rdata));
		if (entry.key.tag == wanted_tag) {
			break;
		}
	}
	assert_int_equal(entry.key.tag, wanted_tag);
	assert_int_equal(key_record_put(fx->db, wire("one.test"), &entry, 1, KEY_PUT_FRESH), ST_OK);
	want(fx, &w, KEY_CSK, a);
	keyset_unref(must(fx, "one.test", &w, ST_OK, "have one key tag"));
	unwant(&w);
}

static void a_named_key_left_from_before_is_not_the_zones_own(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	struct wanted_keys w = {.count = 0};
	struct key_list list = {.count = 0};
	make_key(fx, a);
	want(fx, &w, KEY_CSK, a);
	keyset_unref(must(fx, "one.test", &w, ST_OK, NULL));
	unwant(&w);
	/* As a crash before it came into use would have left it. */
	assert_int_equal(key_record_read(fx->db, wire("one.test"), &list), ST_OK);
	list.entries[0].key.state = KEY_MADE;
	assert_int_equal(key_record_put(fx->db, wire("one.test"), list.entries, 1, KEY_PUT_OVER),
			 ST_OK);
	want(fx, &w, KEY_CSK, NULL);
	struct keyset *ks = must(fx, "one.test", &w, ST_OK, NULL);
	assert_memory_not_equal(ks->keys[0].public_point, list.entries[0].key.public_point,
				HSM_PUBLIC_LEN);
	keyset_unref(ks);
	unwant(&w);
	key_list_fini(&list);
}

static void the_crash_between_record_and_use_is_gone_on_from(void **state)
{
	struct signer_fixture *fx = *state;
	char a[TEXT_HEX_SIZE(HSM_ID_MAX)];
	const char *refs[] = {a, ""};
	make_key(fx, a);
	for (size_t i = 0; i < 2; i++) {
		const char *zone = i == 0 ? "named.test" : "shared.test";
		struct wanted_keys w = {.count = 0};
		struct key_list list = {.count = 0};
		want(fx, &w, KEY_CSK, refs[i]);
		keyset_unref(must(fx, zone, &w, ST_OK, NULL));
		assert_int_equal(key_record_read(fx->db, wire(zone), &list), ST_OK);
		list.entries[0].key.state = KEY_MADE;
		assert_int_equal(key_record_put(fx->db, wire(zone), list.entries, 1, KEY_PUT_OVER),
				 ST_OK);
		struct keyset *ks = must(fx, zone, &w, ST_OK, NULL);
		assert_int_equal(ks->count, 1);
		assert_int_equal(ks->keys[0].tag, list.entries[0].key.tag);
		keyset_unref(ks);
		key_list_fini(&list);
		assert_int_equal(key_record_read(fx->db, wire(zone), &list), ST_OK);
		assert_int_equal(list.count, 1);
		key_list_fini(&list);
		unwant(&w);
	}
	assert_int_equal(key_files(fx), 2);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, signer_setup, signer_teardown)
	const struct CMUnitTest tests[] = {
		CASE(named_keys_are_taken_and_kept),
		CASE(a_zone_with_its_own_key_is_not_given_another),
		CASE(a_named_key_that_is_not_there_makes_none),
		CASE(a_name_given_to_another_key_changes_nothing),
		CASE(one_key_in_two_roles_is_refused),
		CASE(tags_that_collide_are_warned_about),
		CASE(a_named_key_left_from_before_is_not_the_zones_own),
		CASE(the_crash_between_record_and_use_is_gone_on_from),
	};
	return cmocka_run_group_tests_name("key_source", tests, NULL, NULL);
}
