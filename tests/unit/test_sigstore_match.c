/* No signature goes to what it was not made for, wherever a zone has changed since. */
#include "tests/unit/sigstore_fixture.h"

#include "nsd-core/base/digest.h"

#define LARGE 3000
#define HUGE  40000 /* names, so that RRsets and signatures are cut from blocks */

/* The fake keystore's signatures are the digest of what is signed, twice. */
static void check_rrsig(const struct keyset *ks, const struct node *n, const struct rrset *rs,
			struct bytes rrsig)
{
	struct rrsig_input in;
	uint8_t digest[DIGEST_MAX];
	bool known = false;
	assert_int_equal(rrsig_input_init(&in, ks->apex, node_name(n), rs), ST_OK);
	assert_int_equal(rrsig.len, in.head_len + HSM_SIGNATURE_LEN);
	memcpy(in.data + RRSIG_AT_EXPIRATION, rrsig.data + RRSIG_AT_EXPIRATION,
	       RRSIG_TIMES_TAG_LEN);
	assert_memory_equal(in.data, rrsig.data, in.head_len);
	struct bytes all = {in.data, in.len};
	assert_int_equal(digest_of(DIGEST_SHA256, &all, 1, digest), ST_OK);
	assert_memory_equal(digest, rrsig.data + in.head_len, HSM_DIGEST_LEN);
	for (size_t i = 0; i < ks->count; i++) {
		bool by_ksk = ks->keys[i].role == KEY_KSK;
		known |= by_ksk == rrsig_by_ksk(rs->type) &&
			 ks->keys[i].tag == be16_get(rrsig.data + 16);
	}
	assert_true(known);
	rrsig_input_fini(&in);
}

static enum status check_each(void *ctx, const struct node *n)
{
	const struct keyset *ks = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct sigset *sigs = rrset_sigs(rs);
		uint8_t buf[SIGSET_BUF];
		if (sigs == NULL) {
			continue;
		}
		assert_true(signer_covers(n, rs));
		assert_int_equal(sigs->count, 1);
		struct bytes data = sigset_data(sigs, rs, ks->apex, buf);
		check_rrsig(ks, n, rs, rdata_at(data.data));
		assert_int_equal(sigs->expiration, be32_get(data.data + 2 + RRSIG_AT_EXPIRATION));
	}
	return ST_OK;
}

/* Whatever a slot holds is right. */
static void check_all(const struct version *v)
{
	assert_int_equal(version_walk(v, check_each, v->keys), ST_OK);
}

/* The names h... that begin a chunk, and those that end one. */
struct borders {
	size_t nodes;
	const struct node *last;
	size_t first_name[64], last_name[64];
	size_t count;
};

static size_t number_of(const struct node *n)
{
	const uint8_t *name = node_name(n);
	size_t value = 0;
	if (name[0] != 6 || name[1] != 'h') {
		return SIZE_MAX;
	}
	for (size_t i = 2; i < 7; i++) {
		value = value * 10 + (size_t)(name[i] - '0');
	}
	return value;
}

static enum status borders_each(void *ctx, const struct node *n)
{
	struct borders *b = ctx;
	if (n->rrset_count == 0) {
		return ST_OK;
	}
	if (chunk_begins(n->hash, &b->nodes) && b->last != NULL && b->count < 64 &&
	    number_of(n) != SIZE_MAX && number_of(b->last) != SIZE_MAX) {
		b->first_name[b->count] = number_of(n);
		b->last_name[b->count++] = number_of(b->last);
	}
	b->last = n;
	return ST_OK;
}

enum edit {
	NAME_GONE,
	NAME_NEW, /* behind it */
	ADDRESS,
	TTL,
	SWAPPED, /* its address and that of the name after it */
};

static const struct {
	const char *name;
	enum edit edit;
	bool at_end; /* of a chunk; else at its begin */
	size_t lost; /* RRsets that have no signature then */
} cases[] = {
	{"first name gone", NAME_GONE, false, 1},      {"last name gone", NAME_GONE, true, 1},
	{"name behind the first", NAME_NEW, false, 3}, {"name behind the last", NAME_NEW, true, 3},
	{"first name's address", ADDRESS, false, 1},   {"last name's address", ADDRESS, true, 1},
	{"first name's TTL", TTL, false, 1},	       {"last name's TTL", TTL, true, 1},
	{"first two swapped", SWAPPED, false, 2},      {"over a border", SWAPPED, true, 2},
};

/* The text with an edit at the name with this number. */
static char *edited_text(enum edit edit, size_t number)
{
	size_t size = sizeof(zone) + LARGE * 64 + 128;
	char *text = malloc(size);
	assert_non_null(text);
	size_t len = (size_t)snprintf(text, size, "%s", zone);
	for (size_t i = 0; i < LARGE; i++) {
		bool here = i == number;
		bool swapped = edit == SWAPPED && (here || i == number + 1);
		size_t value = swapped ? (here ? i + 1 : i - 1) : i;
		if (here && edit == NAME_GONE) {
			continue;
		}
		len += (size_t)snprintf(text + len, size - len, "h%05zu%s A 192.0.%d.%zu\n", i,
					here && edit == TTL ? " 77" : "",
					here && edit == ADDRESS ? 3 : 2, value % 251);
		if (here && edit == NAME_NEW) {
			len += (size_t)snprintf(text + len, size - len, "h%05zux A 192.0.2.1\n", i);
		}
	}
	return text;
}

static void edits_at_the_borders_of_chunks(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct borders b = {.count = 0};
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	char *all = large_text(LARGE, 1);
	struct version *v = again(&e, all);
	assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
	check_all(v);
	assert_true(save(&d, v, &empty));
	assert_int_equal(version_walk(v, borders_each, &b), ST_OK);
	assert_true(b.count >= 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t border = i % b.count;
		size_t at = cases[i].at_end ? b.last_name[border] : b.first_name[border];
		struct sigstore_loaded got;
		print_message("%s\n", cases[i].name);
		char *text = edited_text(cases[i].edit, at);
		struct version *edited = again(&e, text);
		disk_forget(&d);
		load(&d, edited, &got);
		check_all(edited);
		assert_int_equal(got.lacking, cases[i].lost);
		assert_false(got.same);
		version_unref(edited);
		free(text);
	}
	version_unref(v);
	free(all);
	disk_close(&d);
	engine_end(&e);
}

/* The same chunks, and another key: of the KSK's, the ZSK's or both none is taken. */
static void other_keys_take_nothing_of_a_large_zone(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	char *all = large_text(LARGE, 1);
	struct version *v = again(&e, all);
	assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
	assert_true(save(&d, v, &empty));
	for (size_t key = 0; key < 2; key++) {
		struct version *other = again(&e, all);
		e.ks->keys[key].public_point[5] ^= 1;
		disk_forget(&d);
		load(&d, other, &got);
		size_t by_ksk = key == 0 ? 0 : 1;
		assert_true(key == 0 ? got.lacking == 1 : got.filled == by_ksk);
		e.ks->keys[key].public_point[5] ^= 1;
		/* Another tag, which the RRSIGs would not name. */
		e.ks->keys[key].tag ^= 1;
		version_unref(other);
		other = again(&e, all);
		disk_forget(&d);
		load(&d, other, &got);
		assert_true(key == 0 ? got.lacking == 1 : got.filled == by_ksk);
		e.ks->keys[key].tag ^= 1;
		version_unref(other);
	}
	version_unref(v);
	free(all);
	disk_close(&d);
	engine_end(&e);
}

static enum status chain_each(void *ctx, const struct node *n)
{
	const struct node **last = ctx;
	if ((n->flags & NODE_CHAIN) == 0) {
		assert_null(node_rrset(n, RR_NSEC));
		return ST_OK;
	}
	const struct rrset *nsec = *last != NULL ? node_rrset(*last, RR_NSEC) : NULL;
	assert_true(*last == NULL || name_equal(rdata_at(nsec->data).data, node_name(n)));
	assert_non_null(node_rrset(n, RR_NSEC));
	*last = n;
	return ST_OK;
}

static void a_huge_zone_is_as_it_was(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	const struct node *last = NULL;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	char *all = large_text(HUGE, 1);
	struct version *v = again(&e, all);
	assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
	assert_true(save(&d, v, &empty));
	for (int restart = 0; restart < 2; restart++) {
		struct version *same = again(&e, all);
		disk_forget(&d);
		load(&d, same, &got);
		assert_true(got.same);
		assert_int_equal(got.lacking, 0);
		assert_int_equal(differences(v, same), 0);
		check_all(same);
		last = NULL;
		assert_int_equal(version_walk(same, chain_each, &last), ST_OK);
		assert_true(name_equal(rdata_at(node_rrset(last, RR_NSEC)->data).data,
				       same->apex_name));
		assert_false(save(&d, same, &empty));
		version_unref(same);
	}
	version_unref(v);
	free(all);
	disk_close(&d);
	engine_end(&e);
}

/* A store as it was written before chunks had the digest of their content. */
struct old_form {
	struct store_txn *txn;
	struct chunk_work work;
	const struct node *nodes[CHUNK_NODES_MAX];
	size_t count;
	size_t cut;
	uint8_t digests[4096];
	size_t digests_len;
};

static void old_chunk(struct old_form *o)
{
	struct chunk_buf v = {.data = NULL};
	struct chunk_buf ids = {.data = NULL};
	uint8_t key[CHUNK_KEY_MAX];
	uint8_t digest[DIGEST_MAX];
	uint8_t head[CHUNK_HEAD_LEN_OLD] = {CHUNK_VERSION_OLD};
	uint16_t entries = 0;
	assert_int_equal(chunk_buf_room(&v, 1 << 16), ST_OK);
	assert_int_equal(chunk_buf_room(&ids, 1 << 16), ST_OK);
	v.len = sizeof(head);
	for (size_t i = 0; i < o->count; i++) {
		for (size_t k = 0; k < o->nodes[i]->rrset_count; k++) {
			const struct rrset *rs = o->nodes[i]->rrsets[k];
			const struct signers *by = chunk_signers(&o->work, o->nodes[i], rs);
			uint8_t buf[SIGSET_BUF];
			uint8_t id[32];
			assert_int_equal(chunk_id(&o->work, o->nodes[i], rs, by, id), ST_OK);
			chunk_buf_put(&ids, id, sizeof(id));
			if (by == NULL || rrset_sigs(rs) == NULL) {
				continue;
			}
			struct bytes d = sigset_data(rrset_sigs(rs), rs, o->work.zone->apex, buf);
			chunk_buf_put(&v, id, SIG_ID_LEN);
			chunk_buf_put(&v, &(uint8_t){1}, 1);
			chunk_buf_put(&v, d.data + 2 + RRSIG_AT_EXPIRATION, RRSIG_TIMES_TAG_LEN);
			chunk_buf_put(&v, d.data + d.len - HSM_SIGNATURE_LEN, HSM_SIGNATURE_LEN);
			entries++;
		}
	}
	be16_put(head + 1, entries);
	assert_int_equal(digest_of(DIGEST_SHA256, &(struct bytes){ids.data, ids.len}, 1, digest),
			 ST_OK);
	memcpy(head + 3, digest, SIG_ID_LEN);
	memcpy(o->digests + o->digests_len, digest, SIG_ID_LEN);
	o->digests_len += SIG_ID_LEN;
	memcpy(v.data, head, sizeof(head));
	assert_int_equal(digest_of(DIGEST_SHA256, &(struct bytes){v.data, v.len}, 1, digest),
			 ST_OK);
	chunk_buf_put(&v, digest, CHUNK_SUM_LEN);
	assert_int_equal(store_put(o->txn, CHUNK_TABLE,
				   chunk_key(o->work.zone, o->nodes[0]->hash, key),
				   (struct bytes){v.data, v.len}),
			 ST_OK);
	free(v.data);
	free(ids.data);
}

static enum status old_each(void *ctx, const struct node *n)
{
	struct old_form *o = ctx;
	if (n->rrset_count == 0) {
		return ST_OK;
	}
	if (chunk_begins(n->hash, &o->cut) && o->count > 0) {
		old_chunk(o);
		o->count = 0;
	}
	o->nodes[o->count++] = n;
	return ST_OK;
}

static void write_old(struct disk *d, const struct version *v)
{
	struct old_form o = {.count = 0};
	uint8_t value[ZONE_ENTRY_LEN] = {CHUNK_VERSION_OLD};
	uint8_t digest[DIGEST_MAX];
	const struct sigstore_zone *z = d->zone;
	assert_int_equal(chunk_work_init(&o.work, z, v->keys), ST_OK);
	assert_int_equal(store_begin(d->db, true, &o.txn), ST_OK);
	assert_int_equal(version_walk(v, old_each, &o), ST_OK);
	old_chunk(&o);
	be32_put(value + 1, v->serial);
	assert_int_equal(
		digest_of(DIGEST_SHA256, &(struct bytes){o.digests, o.digests_len}, 1, digest),
		ST_OK);
	memcpy(value + 5, digest, 32);
	assert_int_equal(store_put(o.txn, ZONE_TABLE, (struct bytes){z->apex, z->apex_len},
				   (struct bytes){value, sizeof(value)}),
			 ST_OK);
	assert_int_equal(store_commit(o.txn), ST_OK);
	chunk_work_fini(&o.work);
}

static void the_form_before_is_read(void **state)
{
	(void)state;
	struct engine e;
	struct disk d;
	struct sigstore_loaded got;
	size_t empty = 0;
	engine_start(&e, true, true);
	disk_open(&d);
	char *all = large_text(LARGE, 1);
	struct version *v = again(&e, all);
	assert_int_equal(signer_complete(e.signer, v, NULL), ST_OK);
	write_old(&d, v);
	for (int restart = 0; restart < 2; restart++) {
		struct version *same = again(&e, all);
		disk_forget(&d);
		load(&d, same, &got);
		assert_int_equal(got.damaged, 0);
		assert_int_equal(got.lacking, 0);
		assert_true(got.same);
		assert_int_equal(differences(v, same), 0);
		/* Written in the new form, once. */
		assert_int_equal(save(&d, same, &empty), restart == 0);
		assert_false(save(&d, same, &empty));
		version_unref(same);
	}
	version_unref(v);
	free(all);
	disk_close(&d);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edits_at_the_borders_of_chunks),
		cmocka_unit_test(other_keys_take_nothing_of_a_large_zone),
		cmocka_unit_test(a_huge_zone_is_as_it_was),
		cmocka_unit_test(the_form_before_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
