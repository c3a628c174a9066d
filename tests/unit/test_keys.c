#include "tests/unit/signer_fixture.h"

#include "signer/record.h"

#include <dirent.h>
#include <ldns/ldns.h>
#include <sys/stat.h>

#define NOW INT64_C(1800000000)

static const struct sign_params params = {
	.policy = "default",
	.algorithm = ALG_ECDSAP256SHA256,
	.dnskey_ttl = 3600,
	.refresh = 604800,
	.validity = 1814400,
};

static enum status load(struct signer_fixture *fx, const char *zone, bool csk, struct keyset **out,
			struct diags *d)
{
	const struct key_wanted both[] = {{.role = KEY_KSK, .store = fx->ks},
					  {.role = KEY_ZSK, .store = fx->ks}};
	const struct key_wanted one[] = {{.role = KEY_CSK, .store = fx->ks}};
	return keyset_load(fx->db, wire(zone), &params, csk ? one : both, csk ? 1 : 2, NOW, out, d);
}

static struct keyset *must_load(struct signer_fixture *fx, const char *zone, bool csk)
{
	struct keyset *ks = NULL;
	struct diags d;
	diags_init(&d, 10);
	assert_int_equal(load(fx, zone, csk, &ks, &d), ST_OK);
	assert_int_equal(d.errors, 0);
	diags_fini(&d);
	return ks;
}

/* A load that must fail, and say so in words that have 'text' in them. */
static void must_refuse(struct signer_fixture *fx, const char *zone, bool csk, enum status want,
			const char *text)
{
	struct keyset *untouched = (struct keyset *)fx;
	struct keyset *ks = untouched;
	struct diags d;
	diags_init(&d, 10);
	assert_int_equal(load(fx, zone, csk, &ks, &d), want);
	assert_ptr_equal(ks, untouched);
	assert_true(d.count > 0);
	bool found = false;
	for (size_t i = 0; i < d.count; i++) {
		found |= strstr(d.items[i].text, text) != NULL;
	}
	if (!found) {
		fail_msg("'%s' does not say '%s'", d.items[0].text, text);
	}
	diags_fini(&d);
}

static size_t key_files(struct signer_fixture *fx)
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

/* A keystore that is not opened yet: handles are found anew. */
static void restart(struct signer_fixture *fx)
{
	keystore_free(fx->ks);
	store_close(fx->db);
	fx->db = fixture_store(fx->dir);
	fx->ks = fixture_keystore("local", fx->keys);
}

static void hide_keys(struct signer_fixture *fx, bool hide)
{
	char aside[96];
	snprintf(aside, sizeof(aside), "%s.aside", fx->keys);
	if (hide) {
		assert_int_equal(rename(fx->keys, aside), 0);
		return;
	}
	rmdir(fx->keys);
	unlink(fx->keys);
	assert_int_equal(rename(aside, fx->keys), 0);
}

/* A file where the directory should be: cannot be opened. */
static void break_keystore(struct signer_fixture *fx)
{
	hide_keys(fx, true);
	FILE *f = fopen(fx->keys, "w");
	assert_non_null(f);
	fclose(f);
}

static void keys_are_made_once_and_kept(void **state)
{
	struct signer_fixture *fx = *state;
	struct keyset *first = must_load(fx, "Example.COM", false);
	assert_int_equal(first->count, 2);
	assert_memory_equal(first->apex, wire("example.com"), name_len(first->apex));
	assert_int_equal(first->keys[0].role, KEY_KSK);
	assert_int_equal(first->keys[0].flags, 257);
	assert_int_equal(first->keys[1].role, KEY_ZSK);
	assert_int_equal(first->keys[1].flags, 256);
	for (size_t i = 0; i < 2; i++) {
		const struct key *key = &first->keys[i];
		assert_int_equal(key->state, KEY_ACTIVE);
		assert_int_equal(key->times.made, NOW);
		assert_int_equal(key->times.published, NOW);
		assert_int_equal(key->times.active, NOW);
		assert_int_equal(key->times.retired, 0);
		assert_string_equal(key->keystore, "local");
		assert_non_null(key->handle);
	}
	restart(fx);
	struct keyset *again = must_load(fx, "example.com", false);
	assert_int_equal(again->count, 2);
	assert_int_equal(key_files(fx), 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(again->keys[i].tag, first->keys[i].tag);
		assert_int_equal(again->keys[i].times.made, NOW);
		assert_memory_equal(again->keys[i].public_point, first->keys[i].public_point,
				    HSM_PUBLIC_LEN);
		assert_non_null(again->keys[i].handle);
	}
	keyset_unref(keyset_ref(first));
	keyset_unref(first);
	keyset_unref(again);
	keyset_unref(NULL);
}

static void zones_do_not_share_keys(void **state)
{
	struct signer_fixture *fx = *state;
	struct keyset *a = must_load(fx, "com", true);
	struct keyset *b = must_load(fx, "example.com", true);
	struct keyset *root = must_load(fx, ".", true);
	assert_int_equal(a->count, 1);
	assert_int_equal(a->keys[0].role, KEY_CSK);
	assert_int_equal(a->keys[0].flags, 257);
	assert_int_equal(b->count, 1);
	assert_int_equal(root->count, 1);
	assert_memory_not_equal(a->keys[0].public_point, b->keys[0].public_point, HSM_PUBLIC_LEN);
	assert_int_equal(key_files(fx), 3);
	keyset_unref(a);
	keyset_unref(b);
	keyset_unref(root);
}

static void tag_and_ds_are_those_of_ldns(void **state)
{
	struct signer_fixture *fx = *state;
	struct keyset *ks = must_load(fx, "Sub.Example.com", false);
	for (size_t i = 0; i < ks->count; i++) {
		uint8_t rdata[DNSKEY_LEN];
		uint8_t ds[36];
		size_t pos = 0;
		ldns_rr *rr = ldns_rr_new();
		ldns_rdf *rdf[4] = {NULL};
		assert_int_equal(dnskey_rdata(&ks->keys[i], rdata), DNSKEY_LEN);
		ldns_rr_set_owner(rr, ldns_dname_new_frm_str("sub.example.com."));
		ldns_rr_set_type(rr, LDNS_RR_TYPE_DNSKEY);
		uint8_t with_len[2 + DNSKEY_LEN];
		be16_put(with_len, DNSKEY_LEN);
		memcpy(with_len + 2, rdata, DNSKEY_LEN);
		assert_int_equal(ldns_wire2rdf(rr, with_len, sizeof(with_len), &pos),
				 LDNS_STATUS_OK);
		assert_int_equal(ldns_calc_keytag(rr), ks->keys[i].tag);
		assert_int_equal(dnskey_tag(rdata, DNSKEY_LEN), ks->keys[i].tag);
		ldns_rr *want = ldns_key_rr2ds(rr, LDNS_SHA256);
		assert_non_null(want);
		assert_int_equal(ds_rdata(wire("SUB.example.com"), &ks->keys[i], ds), ST_OK);
		for (size_t k = 0; k < 4; k++) {
			rdf[k] = ldns_rr_rdf(want, k);
		}
		assert_int_equal(be16_get(ds), ldns_rdf2native_int16(rdf[0]));
		assert_int_equal(ds[2], 13);
		assert_int_equal(ds[3], 2);
		assert_int_equal(ldns_rdf_size(rdf[3]), 32);
		assert_memory_equal(ds + 4, ldns_rdf_data(rdf[3]), 32);
		ldns_rr_free(want);
		ldns_rr_free(rr);
	}
	keyset_unref(ks);
}

static void the_record_is_read_without_a_keystore(void **state)
{
	struct signer_fixture *fx = *state;
	struct keyset *untouched = (struct keyset *)fx;
	struct keyset *read = untouched;
	assert_int_equal(keyset_read(fx->db, wire("example.com"), &read), ST_ENOENT);
	assert_ptr_equal(read, untouched);
	struct keyset *ks = must_load(fx, "example.com", false);
	assert_int_equal(keyset_read(fx->db, wire("example.com"), &read), ST_OK);
	assert_int_equal(read->count, 2);
	assert_null(read->keys[0].handle);
	assert_int_equal(read->keys[0].tag, ks->keys[0].tag);
	assert_int_equal(read->keys[1].role, KEY_ZSK);
	keyset_unref(read);
	keyset_unref(ks);
}

static void a_keystore_that_is_away_makes_no_key(void **state)
{
	struct signer_fixture *fx = *state;
	keyset_unref(must_load(fx, "other", true));
	keystore_free(fx->ks);
	break_keystore(fx);
	fx->ks = fixture_keystore("local", fx->keys);
	must_refuse(fx, "example.com", false, ST_EAGAIN, "keystore local");
	hide_keys(fx, false);
	assert_int_equal(key_files(fx), 1);
	struct key_list list = {.count = 0};
	assert_int_equal(key_record_read(fx->db, wire("example.com"), &list), ST_OK);
	assert_int_equal(list.count, 0);
	key_list_fini(&list);
}

static void keys_on_record_stand_while_their_keystore_is_away(void **state)
{
	struct signer_fixture *fx = *state;
	struct diags d;
	struct keyset *ks = NULL;
	keyset_unref(must_load(fx, "example.com", false));
	keystore_free(fx->ks);
	break_keystore(fx);
	fx->ks = fixture_keystore("local", fx->keys);
	diags_init(&d, 10);
	assert_int_equal(load(fx, "example.com", false, &ks, &d), ST_OK);
	assert_int_equal(d.errors, 0);
	assert_int_equal(d.warnings, 2);
	assert_int_equal(ks->count, 2);
	assert_null(ks->keys[0].handle);
	assert_null(ks->keys[1].handle);

	const struct key_wanted wanted[] = {{.role = KEY_KSK, .store = fx->ks},
					    {.role = KEY_ZSK, .store = fx->ks}};
	assert_int_equal(keyset_rebind(ks, wanted, 2, &d), ST_EAGAIN);
	hide_keys(fx, false);
	assert_int_equal(keystore_open(fx->ks, NULL), ST_OK);
	assert_int_equal(keyset_rebind(ks, wanted, 2, &d), ST_OK);
	assert_non_null(ks->keys[0].handle);
	assert_non_null(ks->keys[1].handle);
	assert_int_equal(keyset_rebind(ks, wanted, 2, &d), ST_OK);
	assert_int_equal(key_files(fx), 2);
	diags_fini(&d);
	keyset_unref(ks);
}

static void a_missing_key_is_named_and_not_replaced(void **state)
{
	struct signer_fixture *fx = *state;
	struct diags d;
	char tag[32];
	struct keyset *ks = must_load(fx, "example.com", true);
	snprintf(tag, sizeof(tag), "csk %u", ks->keys[0].tag);
	keyset_unref(ks);
	hide_keys(fx, true);
	restart(fx);
	diags_init(&d, 10);
	assert_int_equal(load(fx, "example.com", true, &ks, &d), ST_OK);
	assert_int_equal(d.errors, 1);
	assert_non_null(strstr(d.items[0].text, tag));
	assert_null(ks->keys[0].handle);
	assert_int_equal(key_files(fx), 0);
	const struct key_wanted wanted[] = {{.role = KEY_CSK, .store = fx->ks}};
	assert_int_equal(keyset_rebind(ks, wanted, 1, &d), ST_EFATAL);
	hide_keys(fx, false);
	assert_int_equal(keyset_rebind(ks, wanted, 1, &d), ST_OK);
	diags_fini(&d);
	keyset_unref(ks);
}

static void another_key_under_the_id_is_refused(void **state)
{
	struct signer_fixture *fx = *state;
	char a[512];
	char b[512];
	size_t found = 0;
	keyset_unref(must_load(fx, "example.com", false));
	DIR *dir = opendir(fx->keys);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strstr(e->d_name, ".pem") != NULL) {
			snprintf(found++ == 0 ? a : b, sizeof(a), "%s/%s", fx->keys, e->d_name);
		}
	}
	closedir(dir);
	assert_int_equal(found, 2);
	assert_int_equal(rename(a, b), 0);
	restart(fx);
	struct keyset *ks = NULL;
	struct diags d;
	diags_init(&d, 10);
	/* Which of the two is the one read first is chance; one is gone, the other is wrong. */
	assert_int_equal(load(fx, "example.com", false, &ks, &d), ST_ECRYPTO);
	assert_null(ks);
	assert_true(d.errors > 0);
	diags_fini(&d);
}

static void a_policy_that_wants_other_keys_is_refused(void **state)
{
	struct signer_fixture *fx = *state;
	char elsewhere[96];
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", fx->dir);
	keyset_unref(must_load(fx, "example.com", false));
	must_refuse(fx, "example.com", true, ST_EREFUSED, "ksk");
	struct keystore *other = fixture_keystore("other", elsewhere);
	struct keystore *local = fx->ks;
	fx->ks = other;
	must_refuse(fx, "example.com", false, ST_EREFUSED, "is in keystore local");
	fx->ks = local;
	assert_int_equal(key_files(fx), 2);
	keyset_unref(must_load(fx, "example.com", false));
	keystore_free(other);
}

/* A key of the zone as an earlier start may have left it. */
static void put_key(struct signer_fixture *fx, const char *zone, uint16_t seq, struct key *key)
{
	uint8_t rdata[DNSKEY_LEN];
	struct key_entry entry = {.seq = seq};
	key->flags = key->role == KEY_ZSK ? 256 : 257;
	key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
	entry.key = *key;
	assert_int_equal(key_record_put(fx->db, wire(zone), &entry, 1, KEY_PUT_FRESH), ST_OK);
	assert_int_equal(key_record_put(fx->db, wire(zone), &entry, 1, KEY_PUT_FRESH), ST_EEXIST);
}

static void a_key_made_before_a_crash_is_used(void **state)
{
	struct signer_fixture *fx = *state;
	struct hsm_key *handle = NULL;
	struct key key = {.role = KEY_CSK, .state = KEY_MADE, .keystore = "local"};
	size_t len;
	assert_int_equal(keystore_generate(fx->ks, "x", &handle, NULL), ST_OK);
	memcpy(key.id, hsm_key_id(handle, &len), HSM_KEY_ID_LEN);
	key.id_len = HSM_KEY_ID_LEN;
	key.times.made = 1234;
	memcpy(key.public_point, hsm_key_public(handle), HSM_PUBLIC_LEN);
	hsm_key_unref(handle);
	put_key(fx, "example.com", 0, &key);
	struct keyset *ks = must_load(fx, "example.com", true);
	assert_int_equal(key_files(fx), 1);
	assert_int_equal(ks->keys[0].state, KEY_ACTIVE);
	assert_int_equal(ks->keys[0].times.made, 1234);
	assert_int_equal(ks->keys[0].times.active, NOW);
	keyset_unref(ks);
}

static void a_key_never_used_and_gone_is_replaced_with_a_warning(void **state)
{
	struct signer_fixture *fx = *state;
	struct key key = {.role = KEY_CSK, .state = KEY_MADE, .keystore = "local", .id_len = 16};
	struct keyset *ks = NULL;
	struct diags d;
	put_key(fx, "example.com", 0, &key);
	diags_init(&d, 10);
	assert_int_equal(load(fx, "example.com", true, &ks, &d), ST_OK);
	assert_int_equal(d.warnings, 1);
	assert_int_equal(d.errors, 0);
	assert_int_equal(ks->count, 1);
	assert_int_equal(key_files(fx), 1);
	keyset_unref(ks);
	struct key_list list = {.count = 0};
	assert_int_equal(key_record_read(fx->db, wire("example.com"), &list), ST_OK);
	assert_int_equal(list.count, 2);
	assert_int_equal(list.entries[0].key.state, KEY_REMOVED);
	assert_int_equal(list.entries[0].key.times.removed, NOW);
	assert_int_equal(list.entries[1].seq, 1);
	key_list_fini(&list);
	diags_fini(&d);
}

/* Not a keystore that is away: waiting for one would not heal it. */
static void a_record_that_cannot_be_written_is_an_error(void **state)
{
	struct signer_fixture *fx = *state;
	struct store_options read_only = {.map_bytes = (size_t)64 << 20, .read_only = true};
	struct key key = {.role = KEY_CSK, .state = KEY_MADE, .keystore = "local", .id_len = 16};
	put_key(fx, "example.com", 0, &key);
	store_close(fx->db);
	assert_int_equal(store_open(fx->dir, "keys", &read_only, &fx->db, NULL), ST_OK);
	must_refuse(fx, "example.com", true, ST_EIO, "cannot be put on record");
	assert_int_equal(key_files(fx), 0);
}

#define TAGS_TAKEN 32768

/* Half of all tags, of removed keys. */
static void take_tags(struct signer_fixture *fx, const char *zone, bool *taken)
{
	static struct key_entry entries[TAGS_TAKEN];
	size_t count = 0;
	memset(entries, 0, sizeof(entries));
	memset(taken, 0, 65536);
	for (uint32_t i = 0; count < TAGS_TAKEN; i++) {
		struct key *key = &entries[count].key;
		uint8_t rdata[DNSKEY_LEN];
		key->role = KEY_ZSK;
		key->state = KEY_REMOVED;
		key->flags = 256;
		key->id_len = 16;
		memcpy(key->keystore, "local", 6);
		be32_put(key->public_point, i);
		key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
		if (!taken[key->tag]) {
			taken[key->tag] = true;
			entries[count].seq = (uint16_t)count;
			count++;
		}
	}
	assert_int_equal(key_record_put(fx->db, wire(zone), entries, count, KEY_PUT_FRESH), ST_OK);
}

static void a_key_whose_tag_is_taken_is_made_again(void **state)
{
	struct signer_fixture *fx = *state;
	static bool taken[65536];
	unsigned collisions = 0;
	size_t zones = 0;
	/* Each key made meets a taken tag with one chance in two. */
	while (collisions == 0 && zones < 40) {
		char zone[32];
		snprintf(zone, sizeof(zone), "z%zu", zones++);
		take_tags(fx, zone, taken);
		struct keyset *ks = must_load(fx, zone, true);
		assert_int_equal(ks->count, 1);
		assert_false(taken[ks->keys[0].tag]);
		collisions = ks->tag_collisions;
		keyset_unref(ks);
	}
	assert_true(collisions > 0);
	assert_int_equal(key_files(fx), zones);
}

static void a_record_that_cannot_be_read_makes_no_key(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		int flip; /* -1: cut the value there */
	} cases[] = {
		{"a newer version", 0, 0x03}, {"another algorithm", 1, 0x01},
		{"no such role", 2, 0x40},    {"no such state", 3, 0x40},
		{"flags of a zsk", 5, 0x01},  {"another tag", 7, 0x01},
		{"cut short", 20, -1},	      {"an octet short", 134, -1},
	};
	struct signer_fixture *fx = *state;
	const uint8_t *apex = wire("example.com");
	uint8_t key[NAME_MAX_LEN + 2];
	uint8_t good[512];
	uint8_t bad[512];
	struct bytes value;
	struct store_txn *txn = NULL;
	keyset_unref(must_load(fx, "example.com", true));
	size_t key_len = name_len(apex);
	memcpy(key, apex, key_len);
	be16_put(key + key_len, 0);
	key_len += 2;
	assert_int_equal(store_begin(fx->db, false, &txn), ST_OK);
	assert_int_equal(store_get(txn, "keys", (struct bytes){key, key_len}, &value), ST_OK);
	size_t len = value.len;
	assert_int_equal(len, 8 + 40 + 6 + 17 + 64);
	memcpy(good, value.data, len);
	store_abort(txn);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(bad, good, len);
		size_t bad_len = cases[i].flip < 0 ? cases[i].at : len;
		if (cases[i].flip >= 0) {
			bad[cases[i].at] ^= (uint8_t)cases[i].flip;
		}
		assert_int_equal(store_begin(fx->db, true, &txn), ST_OK);
		assert_int_equal(store_put(txn, "keys", (struct bytes){key, key_len},
					   (struct bytes){bad, bad_len}),
				 ST_OK);
		assert_int_equal(store_commit(txn), ST_OK);
		print_message("%s\n", cases[i].name);
		must_refuse(fx, "example.com", true, ST_EIO, "cannot be read");
		assert_int_equal(key_files(fx), 1);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, signer_setup, signer_teardown)
	const struct CMUnitTest tests[] = {
		CASE(keys_are_made_once_and_kept),
		CASE(zones_do_not_share_keys),
		CASE(tag_and_ds_are_those_of_ldns),
		CASE(the_record_is_read_without_a_keystore),
		CASE(a_keystore_that_is_away_makes_no_key),
		CASE(keys_on_record_stand_while_their_keystore_is_away),
		CASE(a_missing_key_is_named_and_not_replaced),
		CASE(another_key_under_the_id_is_refused),
		CASE(a_policy_that_wants_other_keys_is_refused),
		CASE(a_key_made_before_a_crash_is_used),
		CASE(a_key_never_used_and_gone_is_replaced_with_a_warning),
		CASE(a_record_that_cannot_be_written_is_an_error),
		CASE(a_key_whose_tag_is_taken_is_made_again),
		CASE(a_record_that_cannot_be_read_makes_no_key),
	};
	return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
