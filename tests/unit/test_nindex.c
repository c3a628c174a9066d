#include "version_fixture.h"

static struct node *node_hashed(unsigned number, uint64_t hash)
{
	char text[64];
	snprintf(text, sizeof(text), "N%u.zone.test", number);
	struct wire_name name = wire(text);
	struct node *n = calloc(1, sizeof(*n) + name.len);
	assert_non_null(n);
	n->hash = hash;
	n->name_len = (uint8_t)name.len;
	name_lower((uint8_t *)n->rrsets, name.octets);
	return n;
}

static uint64_t plain_hash(unsigned number)
{
	char text[64];
	snprintf(text, sizeof(text), "n%u.zone.test", number);
	return name_hash(wire(text).octets);
}

static void check_present(const struct nindex *ix, struct node *const *nodes, const bool *present,
			  size_t count)
{
	size_t have = 0;
	for (size_t i = 0; i < count; i++) {
		char upper[64];
		snprintf(upper, sizeof(upper), "N%zu.ZONE.Test", i);
		struct wire_name name = wire(upper);
		assert_ptr_equal(nindex_find(ix, nodes[i]->hash, name.octets),
				 present[i] ? nodes[i] : NULL);
		have += present[i];
	}
	assert_int_equal(ix->count, have);
}

/* Random insertions and removals in generations that share pages. */
static void test_snapshots(void **state)
{
	(void)state;
	enum { NODES = 9000, SNAPSHOTS = 8 };
	static struct node *nodes[NODES];
	static bool present[SNAPSHOTS][NODES];
	struct nindex tables[SNAPSHOTS];
	struct retired retired[SNAPSHOTS];
	uint64_t random = 5;
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i] = node_hashed(i, plain_hash(i));
	}
	for (size_t s = 0; s < SNAPSHOTS; s++) {
		retired_init(&retired[s]);
		struct cow cow = {.stamp = s + 1, .retired = &retired[s]};
		tables[s] = s == 0 ? (struct nindex){0} : tables[s - 1];
		if (s > 0) {
			memcpy(present[s], present[s - 1], sizeof(present[s]));
		}
		for (size_t i = 0; i < (s == 0 ? 12000 : 400); i++) {
			size_t k = next_random(&random) % NODES;
			enum status st = present[s][k] ? nindex_remove(&tables[s], &cow, nodes[k])
						       : nindex_insert(&tables[s], &cow, nodes[k]);
			assert_int_equal(st, ST_OK);
			present[s][k] = !present[s][k];
		}
		assert_true(s == 0 ? retired[s].count == 0 : retired[s].count > 0);
	}
	for (size_t s = 0; s < SNAPSHOTS; s++) {
		check_present(&tables[s], nodes, present[s], NODES);
	}
	for (size_t s = 0; s + 1 < SNAPSHOTS; s++) {
		retired_release(&retired[s + 1]);
		check_present(&tables[s + 1], nodes, present[s + 1], NODES);
	}
	/* All out: nothing is left but directories. */
	struct cow cow = {.stamp = SNAPSHOTS, .retired = &retired[0]};
	for (size_t i = 0; i < NODES; i++) {
		if (present[SNAPSHOTS - 1][i]) {
			assert_int_equal(nindex_remove(&tables[SNAPSHOTS - 1], &cow, nodes[i]),
					 ST_OK);
			present[SNAPSHOTS - 1][i] = false;
		}
	}
	check_present(&tables[SNAPSHOTS - 1], nodes, present[SNAPSHOTS - 1], NODES);
	assert_int_equal(nindex_insert(&tables[SNAPSHOTS - 1], &cow, nodes[3]), ST_OK);
	assert_ptr_equal(nindex_find(&tables[SNAPSHOTS - 1], nodes[3]->hash, node_name(nodes[3])),
			 nodes[3]);
	nindex_free(&tables[SNAPSHOTS - 1], 0);
	/* The last changes were made to pages that the abandoned list names. */
	retired_release(&retired[0]);
	for (size_t i = 0; i < NODES; i++) {
		free(nodes[i]);
	}
}

static void test_abandon(void **state)
{
	(void)state;
	enum { NODES = 4000 };
	static struct node *nodes[NODES];
	static bool present[NODES];
	struct retired retired = {0};
	struct cow first = {.stamp = 1, .retired = &retired};
	struct cow second = {.stamp = 2, .retired = &retired};
	struct nindex ix = {0};
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i] = node_hashed(i, plain_hash(i));
		present[i] = i % 3 == 0;
		if (present[i]) {
			assert_int_equal(nindex_insert(&ix, &first, nodes[i]), ST_OK);
		}
	}
	struct nindex copy = ix;
	for (unsigned i = 0; i < NODES; i++) {
		if (!present[i]) {
			assert_int_equal(nindex_insert(&copy, &second, nodes[i]), ST_OK);
		} else if (i % 2 == 0) {
			assert_int_equal(nindex_remove(&copy, &second, nodes[i]), ST_OK);
		}
	}
	nindex_free(&copy, 2);
	retired_fini(&retired);
	check_present(&ix, nodes, present, NODES);
	nindex_free(&ix, 0);
	for (size_t i = 0; i < NODES; i++) {
		free(nodes[i]);
	}
}

static void test_replace(void **state)
{
	(void)state;
	struct retired retired = {0};
	struct cow first = {.stamp = 1, .retired = &retired};
	struct cow second = {.stamp = 2, .retired = &retired};
	struct nindex ix = {0};
	struct node *old = node_hashed(1, plain_hash(1));
	struct node *with = node_hashed(1, plain_hash(1));
	assert_int_equal(nindex_insert(&ix, &first, old), ST_OK);
	struct nindex copy = ix;
	assert_int_equal(nindex_replace(&copy, &second, old, with), ST_OK);
	assert_ptr_equal(nindex_find(&ix, old->hash, node_name(old)), old);
	assert_ptr_equal(nindex_find(&copy, old->hash, node_name(old)), with);
	nindex_free(&copy, 2);
	nindex_free(&ix, 0);
	retired_fini(&retired);
	free(old);
	free(with);
}

/* Hashes that are alike in many bits: directories below directories, and a bound in the end. */
static void test_like_hashes(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		unsigned shift; /* of the number, into the hash */
		unsigned fit;	/* names until the limit; 0: all of them */
	} cases[] = {
		{"the upper bits differ", 54, 0},  {"bits 24 to 33 differ", 24, 0},
		{"only tags differ", 0, 48},	   {"only bits in between differ", 16, 0},
		{"all bits are the same", 64, 48},
	};
	enum { NODES = 400 };
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct node *nodes[NODES];
		bool present[NODES] = {false};
		struct retired retired = {0};
		struct cow cow = {.stamp = 1, .retired = &retired};
		struct nindex ix = {0};
		print_message("%s\n", cases[c].name);
		for (unsigned i = 0; i < NODES; i++) {
			nodes[i] = node_hashed(
				i, cases[c].shift == 64 ? 7 : (uint64_t)i << cases[c].shift);
		}
		for (unsigned i = 0; i < NODES; i++) {
			bool full = cases[c].fit != 0 && i >= cases[c].fit;
			struct nindex before = ix;
			assert_int_equal(nindex_insert(&ix, &cow, nodes[i]),
					 full ? ST_ELIMIT : ST_OK);
			assert_true(!full || ix.count == before.count);
			present[i] = !full;
		}
		check_present(&ix, nodes, present, NODES);
		for (unsigned i = 0; i < NODES; i += 3) {
			if (present[i]) {
				assert_int_equal(nindex_remove(&ix, &cow, nodes[i]), ST_OK);
				present[i] = false;
			}
		}
		check_present(&ix, nodes, present, NODES);
		nindex_free(&ix, 0);
		for (unsigned i = 0; i < NODES; i++) {
			free(nodes[i]);
		}
	}
}

/* The steps of a look-up one by one: no page, another name's page, a hash that no slot has. */
static void test_steps(void **state)
{
	(void)state;
	struct retired retired = {0};
	struct cow cow = {.stamp = 1, .retired = &retired};
	struct nindex ix = {0};
	struct node *n = node_hashed(1, plain_hash(1));
	struct node *other = node_hashed(2, plain_hash(2));
	assert_int_equal(nindex_page(&ix, n->hash), 0);
	nindex_page_prefetch(0, n->hash);
	assert_null(nindex_page_find(0, n->hash, node_name(n), n->name_len));
	assert_int_equal(nindex_insert(&ix, &cow, n), ST_OK);
	uintptr_t page = nindex_page(&ix, n->hash);
	assert_int_not_equal(page, 0);
	nindex_page_prefetch(page, n->hash);
	nindex_page_prefetch(page, ~n->hash);
	assert_ptr_equal(nindex_page_find(page, n->hash, node_name(n), n->name_len), n);
	assert_null(nindex_page_find(page, ~n->hash, node_name(n), n->name_len));
	assert_null(nindex_page_find(page, n->hash, node_name(other), other->name_len));
	nindex_free(&ix, 0);
	free(n);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshots), cmocka_unit_test(test_abandon),
		cmocka_unit_test(test_replace),	  cmocka_unit_test(test_like_hashes),
		cmocka_unit_test(test_steps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
