#include "tests/unit/sigstore_fixture.h"

#define LARGE	       3000
#define CHUNKS_AT_MOST 256 /* names in one */

static void what_was_saved_is_loaded(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	struct list l;
	size_t empty = 99;
	engine_start(&e, true, true);
	disk_open(&d);
	load(&d, e.v, &got);
	assert_int_equal(got.filled, 0);
	assert_false(got.same);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	list_rrsets(e.v, &l);
	assert_true(save(&d, e.v, &empty));
	assert_int_equal(empty, 0);
	assert_false(save(&d, e.v, &empty));
	for (int restart = 0; restart < 2; restart++) {
		struct version *v = again(&e, zone);
		disk_forget(&d);
		load(&d, v, &got);
		assert_int_equal(got.filled, l.count);
		assert_int_equal(got.signatures, l.count);
		assert_int_equal(got.damaged, 0);
		assert_true(got.same);
		assert_int_equal(differences(e.v, v), 0);
		/* What was loaded is known to stand on disk. */
		assert_false(save(&d, v, &empty));
		assert_int_equal(empty, 0);
		version_unref(v);
	}
	disk_close(&d);
	engine_end(&e);
}

static void part_of_a_zone_is_saved_too(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	assert_int_equal(want(&e, "ns.example.com", RR_A), ST_OK);
	assert_true(save(&d, e.v, &empty));
	assert_int_equal(empty, 15);
	assert_int_equal(want(&e, "example.com", RR_SOA), ST_OK);
	assert_true(save(&d, e.v, &empty));
	assert_int_equal(empty, 14);
	struct version *v = again(&e, zone);
	disk_forget(&d);
	load(&d, v, &got);
	assert_int_equal(got.filled, 2);
	assert_true(got.same);
	assert_non_null(rrset_sigs(rrset_at(v, "example.com", RR_SOA)));
	version_unref(v);
	disk_close(&d);
	engine_end(&e);
}

static void put_zone_entry(struct disk *d, const uint8_t *value, size_t len)
{
	const uint8_t *apex = wire("example.com");
	struct store_txn *txn = NULL;
	assert_int_equal(store_begin(d->db, true, &txn), ST_OK);
	assert_int_equal(store_put(txn, "zones", (struct bytes){apex, name_len(apex)},
				   (struct bytes){value, len}),
			 ST_OK);
	assert_int_equal(store_commit(txn), ST_OK);
}

static void a_chain_of_nsec3s_is_saved_too(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	struct list l;
	size_t empty = 99;
	enum sign_denial denial = SIGN_NSEC3;
	engine_start(&e, true, true);
	disk_open(&d);
	assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_ENOENT);
	assert_int_equal(denial, SIGN_NSEC3);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	assert_true(save(&d, e.v, &empty));
	assert_int_equal(sigstore_denial(d.db, wire("Example.COM"), &denial), ST_OK);
	assert_int_equal(denial, SIGN_NSEC);
	for (int opt_out = 0; opt_out < 2; opt_out++) {
		enum sign_denial kind = opt_out ? SIGN_NSEC3_OPT_OUT : SIGN_NSEC3;
		struct version *v = version_denying("example.com", zone, NULL, e.ks, kind);
		assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
		list_rrsets(v, &l);
		assert_true(save(&d, v, &empty));
		assert_int_equal(empty, 0);
		assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_OK);
		assert_int_equal(denial, kind);
		struct version *restarted = version_denying("example.com", zone, NULL, e.ks, kind);
		disk_forget(&d);
		load(&d, restarted, &got);
		assert_int_equal(got.filled, l.count);
		assert_true(got.same);
		assert_int_equal(differences(v, restarted), 0);
		assert_false(save(&d, restarted, &empty));
		version_unref(restarted);
		version_unref(v);
	}
	/* What is not known yet is no fault: as it was written once, and as it may be. */
	uint8_t entry[38] = {1, 0, 0, 0, 1};
	put_zone_entry(&d, entry, 37);
	assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_OK);
	assert_int_equal(denial, SIGN_NSEC);
	denial = SIGN_NSEC3;
	entry[37] = 3;
	put_zone_entry(&d, entry, 38);
	assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_ENOENT);
	entry[0] = 3;
	entry[37] = 0;
	put_zone_entry(&d, entry, 38);
	assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_ENOENT);
	put_zone_entry(&d, entry, 5);
	assert_int_equal(sigstore_denial(d.db, wire("example.com"), &denial), ST_ENOENT);
	assert_int_equal(denial, SIGN_NSEC3);
	disk_close(&d);
	engine_end(&e);
}

static const struct {
	const char *name;
	const char *from, *to;
	size_t lost; /* signatures that are of no use any more */
} edits[] = {
	{"address", "ns A 192.0.2.1", "ns A 192.0.2.9", 1},
	{"glue", "ns.cut A 192.0.2.4", "ns.cut A 192.0.2.5", 0},
	{"serial", "host 1 7200", "host 2 7200", 1},
	{"TTL", "ns A 192.0.2.1", "ns 60 A 192.0.2.1", 1},
	{"one more record", "ns A 192.0.2.1", "ns A 192.0.2.1\nns A 192.0.2.7", 1},
	{"case of RDATA", "@ NS ns", "@ NS NS", 0},
	{"case of the owner", "ns A 192.0.2.1", "NS A 192.0.2.1", 0},
};

static void replaced(const char *from, const char *to, char *out, size_t size)
{
	const char *at = strstr(zone, from);
	assert_non_null(at);
	int n = snprintf(out, size, "%.*s%s%s", (int)(at - zone), zone, to, at + strlen(from));
	assert_in_range(n, 1, size - 1);
}

static void what_has_changed_is_not_taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		struct engine e;
		struct disk d;
		struct sigstore_loaded got;
		struct list l;
		char text[sizeof(zone) + 64];
		size_t empty = 0;
		engine_start(&e, true, true);
		disk_open(&d);
		assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
		assert_true(save(&d, e.v, &empty));
		replaced(edits[i].from, edits[i].to, text, sizeof(text));
		struct version *v = again(&e, text);
		disk_forget(&d);
		load(&d, v, &got);
		list_rrsets(v, &l);
		assert_int_equal(got.filled, l.count - edits[i].lost);
		assert_int_equal(got.same, strcmp(edits[i].name, "case of the owner") == 0);
		version_unref(v);
		disk_close(&d);
		engine_end(&e);
	}
}

static void another_key_takes_nothing(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	assert_true(save(&d, e.v, &empty));
	struct version *v = again(&e, zone);
	/* The same tag, another point: what another key signed must not be served. */
	e.ks->keys[1].public_point[5] ^= 1;
	disk_forget(&d);
	load(&d, v, &got);
	assert_int_equal(got.filled, 1);
	assert_non_null(rrset_sigs(rrset_at(v, "example.com", RR_DNSKEY)));
	assert_false(got.same);
	version_unref(v);
	disk_close(&d);
	engine_end(&e);
}

static void what_has_expired_is_taken_where_nothing_signs(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	/* The policy's signatures live 300 s. */
	clock_fake(NOW - 1000, 1000);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	clock_fake(NOW, 1000);
	assert_true(save(&d, e.v, &empty));
	struct version *v = again(&e, zone);
	disk_forget(&d);
	load(&d, v, &got);
	assert_int_equal(got.filled, 0);
	version_unref(v);
	struct hsm_key *away = atomic_exchange(&e.ks->keys[0].handle, NULL);
	v = again(&e, zone);
	disk_forget(&d);
	load(&d, v, &got);
	assert_int_equal(got.filled, 1);
	assert_non_null(rrset_sigs(rrset_at(v, "example.com", RR_DNSKEY)));
	atomic_store(&e.ks->keys[0].handle, away);
	version_unref(v);
	disk_close(&d);
	engine_end(&e);
}

struct spoil {
	struct store_txn *txn;
	size_t at;
	size_t left;
};

static enum status spoil_each(void *ctx, struct bytes key, struct bytes value)
{
	struct spoil *s = ctx;
	uint8_t *copy = malloc(value.len);
	assert_non_null(copy);
	memcpy(copy, value.data, value.len);
	copy[s->at % value.len] ^= 0x40;
	s->left = value.len;
	enum status st = store_put(s->txn, "chunks", key, (struct bytes){copy, value.len});
	free(copy);
	assert_int_equal(st, ST_OK);
	return ST_ELIMIT;
}

static void what_is_damaged_is_left_out(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	size_t len = 1;
	engine_start(&e, true, true);
	disk_open(&d);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	for (size_t at = 0; at < len; at += 13) {
		struct spoil s = {.at = at};
		sigstore_doubt(d.zone);
		assert_true(save(&d, e.v, &empty));
		assert_int_equal(store_begin(d.db, true, &s.txn), ST_OK);
		assert_int_equal(store_scan(s.txn, "chunks",
					    (struct bytes){wire("example.com"), 13}, spoil_each,
					    &s),
				 ST_ELIMIT);
		assert_int_equal(store_commit(s.txn), ST_OK);
		len = s.left;
		struct version *v = again(&e, zone);
		disk_forget(&d);
		load(&d, v, &got);
		assert_int_equal(got.damaged, 1);
		assert_int_equal(got.filled, 0);
		/* It is written again as soon as there is something to write. */
		assert_true(save(&d, e.v, &empty));
		version_unref(v);
	}
	disk_close(&d);
	engine_end(&e);
}

static enum status count_each(void *ctx, struct bytes key, struct bytes value)
{
	size_t *count = ctx;
	(void)key;
	(void)value;
	++*count;
	return ST_OK;
}

static size_t chunks_on_disk(struct disk *d)
{
	struct store_txn *txn;
	size_t count = 0;
	assert_int_equal(store_begin(d->db, false, &txn), ST_OK);
	assert_int_equal(store_scan(txn, "chunks", (struct bytes){wire("example.com"), 13},
				    count_each, &count),
			 ST_OK);
	store_abort(txn);
	return count;
}

/* Names come and go in a zone of many chunks: what stays keeps its signatures, and what is gone
 * leaves nothing behind. */
static void a_large_zone_keeps_what_stays(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	struct items l = {.all = NULL};
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	char *all = large_text(LARGE, 1);
	struct version *v = again(&e, all);
	assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
	assert_true(save(&d, v, &empty));
	size_t many = chunks_on_disk(&d);
	assert_in_range(many, LARGE / CHUNKS_AT_MOST, LARGE / 10);
	/* A restart with every third name only. */
	char *third = large_text(LARGE, 3);
	struct version *less = again(&e, third);
	disk_forget(&d);
	load(&d, less, &got);
	assert_int_equal(version_walk(less, items_each, &l), ST_OK);
	free(l.all);
	/* The names' own signatures; of the chain's only those before a name that stays. */
	assert_true(got.filled >= LARGE / 3);
	assert_false(got.same);
	assert_int_equal(signer_complete(e.signer, less, NULL), ST_OK);
	assert_true(save(&d, less, &empty));
	assert_true(chunks_on_disk(&d) < many);
	/* And back. */
	struct version *same = again(&e, third);
	disk_forget(&d);
	load(&d, same, &got);
	assert_true(got.same);
	assert_int_equal(differences(less, same), 0);
	version_unref(same);
	version_unref(less);
	version_unref(v);
	free(third);
	free(all);
	disk_close(&d);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_saved_is_loaded),
		cmocka_unit_test(part_of_a_zone_is_saved_too),
		cmocka_unit_test(a_chain_of_nsec3s_is_saved_too),
		cmocka_unit_test(what_has_changed_is_not_taken),
		cmocka_unit_test(another_key_takes_nothing),
		cmocka_unit_test(what_has_expired_is_taken_where_nothing_signs),
		cmocka_unit_test(what_is_damaged_is_left_out),
		cmocka_unit_test(a_large_zone_keeps_what_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
