#include "tests/unit/signer_fixture.h"

#include "signer/keys.h"

static void nothing_on_record_is_zero(void **state)
{
	struct signer_fixture *fx = *state;
	struct zone_record rec;
	memset(&rec, 0xff, sizeof(rec));
	assert_int_equal(zone_record_get(fx->db, wire("example.com"), &rec), ST_ENOENT);
	assert_int_equal(rec.serial, 0);
	assert_false(rec.has_serial);
	assert_false(rec.ds_ever_seen);
	assert_int_equal(rec.signed_since, 0);
	assert_int_equal(rec.max_ttl, 0);
}

static void what_was_put_is_there_after_a_restart(void **state)
{
	static const struct zone_record cases[] = {
		{.serial = 0, .has_serial = true},
		{.serial = UINT32_MAX, .has_serial = true, .ds_ever_seen = true},
		{.signed_since = INT64_C(0x123456789a), .max_ttl = 86400},
		{.ds_ever_seen = true, .max_ttl = UINT32_MAX},
		{.serial = 7, .has_serial = true, .file_serial = 3, .has_file_serial = true},
		{.file_serial = UINT32_MAX,
		 .has_file_serial = true,
		 .has_content = true,
		 .content = {1, 2, [ZONE_CONTENT_LEN - 1] = 255}},
		{.has_content = true, .content = {9}},
	};
	struct signer_fixture *fx = *state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct zone_record rec;
		assert_int_equal(zone_record_put(fx->db, wire("Example.COM"), &cases[i]), ST_OK);
		store_close(fx->db);
		fx->db = fixture_store(fx->dir);
		assert_int_equal(zone_record_get(fx->db, wire("example.com"), &rec), ST_OK);
		assert_int_equal(rec.serial, cases[i].serial);
		assert_int_equal(rec.has_serial, cases[i].has_serial);
		assert_int_equal(rec.ds_ever_seen, cases[i].ds_ever_seen);
		assert_int_equal(rec.signed_since, cases[i].signed_since);
		assert_int_equal(rec.max_ttl, cases[i].max_ttl);
		assert_int_equal(rec.file_serial, cases[i].file_serial);
		assert_int_equal(rec.has_file_serial, cases[i].has_file_serial);
		assert_int_equal(rec.has_content, cases[i].has_content);
		assert_memory_equal(rec.content, cases[i].content, ZONE_CONTENT_LEN);
	}
	struct zone_record other;
	assert_int_equal(zone_record_get(fx->db, wire("com"), &other), ST_ENOENT);
	assert_int_equal(zone_record_get(fx->db, wire("a.example.com"), &other), ST_ENOENT);
}

static void a_damaged_record_is_an_error(void **state)
{
	static const struct {
		const char *name;
		const char *value;
		size_t len;
		enum status want;
	} cases[] = {
		{"short", "\1\1\0\0\0", 5, ST_EPARSE},
		{"long", "\1\1\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0", 19, ST_EPARSE},
		{"empty", "", 0, ST_EPARSE},
		{"without the file's serial that it claims", "\2\5\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1",
		 18, ST_EPARSE},
		{"with a content cut short", "\2\11\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0", 21,
		 ST_EPARSE},
		{"longer than it claims", "\2\1\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0", 22,
		 ST_EPARSE},
		{"of a newer version", "\3\1\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\1", 18, ST_ENOTSUP},
	};
	struct signer_fixture *fx = *state;
	const uint8_t *apex = wire("example.com");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_txn *txn = NULL;
		struct zone_record rec = {.serial = 77};
		assert_int_equal(store_begin(fx->db, true, &txn), ST_OK);
		assert_int_equal(
			store_put(txn, "zones", (struct bytes){apex, name_len(apex)},
				  (struct bytes){(const uint8_t *)cases[i].value, cases[i].len}),
			ST_OK);
		assert_int_equal(store_commit(txn), ST_OK);
		if (zone_record_get(fx->db, apex, &rec) != cases[i].want || rec.serial != 77) {
			fail_msg("a record %s", cases[i].name);
		}
	}
}

/* As versions before the present one wrote it. */
static void an_old_record_is_read(void **state)
{
	struct signer_fixture *fx = *state;
	const uint8_t *apex = wire("example.com");
	struct store_txn *txn = NULL;
	struct zone_record rec;
	static const char old[] = "\1\3\0\0\0\7\0\0\0\0\0\0\0\5\0\0\1\0";
	assert_int_equal(store_begin(fx->db, true, &txn), ST_OK);
	assert_int_equal(store_put(txn, "zones", (struct bytes){apex, name_len(apex)},
				   (struct bytes){(const uint8_t *)old, sizeof(old) - 1}),
			 ST_OK);
	assert_int_equal(store_commit(txn), ST_OK);
	assert_int_equal(zone_record_get(fx->db, apex, &rec), ST_OK);
	assert_true(rec.has_serial && rec.ds_ever_seen);
	assert_int_equal(rec.serial, 7);
	assert_int_equal(rec.signed_since, 5);
	assert_int_equal(rec.max_ttl, 256);
	assert_false(rec.has_file_serial || rec.has_content);
}

static void a_ds_is_safe_once_what_was_unsigned_has_left_caches(void **state)
{
	(void)state;
	struct zone_record rec = {.signed_since = 1000, .max_ttl = 500};
	assert_int_equal(ds_safe_from(&rec, 300), 1800);
	rec.max_ttl = UINT32_MAX;
	assert_int_equal(ds_safe_from(&rec, UINT32_MAX), 1000 + INT64_C(2) * UINT32_MAX);
	rec.signed_since = 0;
	assert_int_equal(ds_safe_from(&rec, 300), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_on_record_is_zero, signer_setup,
						signer_teardown),
		cmocka_unit_test_setup_teardown(what_was_put_is_there_after_a_restart, signer_setup,
						signer_teardown),
		cmocka_unit_test_setup_teardown(a_damaged_record_is_an_error, signer_setup,
						signer_teardown),
		cmocka_unit_test_setup_teardown(an_old_record_is_read, signer_setup,
						signer_teardown),
		cmocka_unit_test(a_ds_is_safe_once_what_was_unsigned_has_left_caches),
	};
	return cmocka_run_group_tests_name("zone_record", tests, NULL, NULL);
}
