#include "version_fixture.h"

#include "zones/btree_page.h"

/* Nodes without RRsets, sorted canonically. */
struct pool {
	struct node **nodes;
	size_t count;
};

static struct node *node_named(const struct wire_name *name)
{
	struct node *n = calloc(1, sizeof(*n) + name->len);
	assert_non_null(n);
	n->hash = name_hash(name->octets);
	n->name_len = (uint8_t)name->len;
	n->labels = (uint8_t)name_labels(name->octets);
	memcpy(n->rrsets, name->octets, name->len);
	return n;
}

static int compare_nodes(const void *a, const void *b)
{
	return name_compare(node_name(*(struct node *const *)a),
			    node_name(*(struct node *const *)b));
}

/* Names of many shapes: long common beginnings, deep ones, octets 0 and 1 in labels. */
static struct wire_name shaped_name(size_t i)
{
	char text[300];
	static const char filler[] =
		"a-label-that-is-as-long-as-labels-come-so-that-prefixes-matter";
	switch (i % 5) {
	case 0:
		snprintf(text, sizeof(text), "host-with-a-common-beginning-%06zu.zone.test", i);
		break;
	case 1:
		snprintf(text, sizeof(text), "n%zu.sub%zu.zone.test", i, i % 97);
		break;
	case 2:
		snprintf(text, sizeof(text), "\\000\\001%zu.\\001.x%zu.zone.test", i, i % 7);
		break;
	case 3:
		snprintf(text, sizeof(text), "%zu.%s.%s.zone.test", i, filler, filler);
		break;
	default:
		snprintf(text, sizeof(text), "%zx.%zx.%zx.%zx.zone.test", i % 16, i / 16 % 16,
			 i / 256 % 16, i / 4096);
		break;
	}
	return wire(text);
}

static struct pool make_pool(size_t count)
{
	struct pool p = {calloc(count, sizeof(struct node *)), 0};
	assert_non_null(p.nodes);
	for (size_t i = 0; i < count; i++) {
		struct wire_name name = shaped_name(i);
		p.nodes[i] = node_named(&name);
	}
	qsort(p.nodes, count, sizeof(*p.nodes), compare_nodes);
	for (size_t i = 0; i < count; i++) {
		if (p.count > 0 && compare_nodes(&p.nodes[p.count - 1], &p.nodes[i]) == 0) {
			free(p.nodes[i]);
		} else {
			p.nodes[p.count++] = p.nodes[i];
		}
	}
	return p;
}

static void free_pool(struct pool *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->nodes[i]);
	}
	free(p->nodes);
}

static void shuffle(size_t *order, size_t count, uint64_t *random)
{
	for (size_t i = 0; i < count; i++) {
		order[i] = i;
	}
	for (size_t i = count; i > 1; i--) {
		size_t k = next_random(random) % i;
		size_t swap = order[i - 1];
		order[i - 1] = order[k];
		order[k] = swap;
	}
}

/* The invariants of a page and of all below it; returns entries in the leaves. */
static size_t check_page(const struct btree_page *p)
{
	size_t entries = p->level == 0 ? p->count : 0;
	assert_in_range(p->count, 1, p->room);
	for (unsigned i = 0; i < p->count; i++) {
		struct sort_key key;
		const struct node *n = page_nodes(p)[i];
		uint8_t head[8] = {0};
		sort_key_init(&key, node_name(n));
		assert_true(key.len >= p->prefix_len);
		assert_memory_equal(key.octets, page_prefix(p), p->prefix_len);
		size_t left = key.len - p->prefix_len;
		memcpy(head, key.octets + p->prefix_len, left < 8 ? left : 8);
		assert_true(page_heads(p)[i] == be64_get(head));
		if (i > 0) {
			assert_true(name_compare(node_name(page_nodes(p)[i - 1]), node_name(n)) <
				    0);
		}
		if (p->level > 0) {
			const struct btree_page *child = page_children(p)[i];
			assert_int_equal(child->level + 1, p->level);
			assert_ptr_equal(page_nodes(child)[0], n);
			entries += check_page(child);
		}
	}
	return entries;
}

/* present[i]: is pool node i in the tree? */
static void check_tree(const struct btree *t, const struct pool *p, const bool *present)
{
	struct btree_cursor c;
	size_t count = 0;
	btree_cursor_init(&c, t);
	for (size_t i = 0; i < p->count; i++) {
		if (present[i]) {
			assert_ptr_equal(btree_cursor_next(&c), p->nodes[i]);
			count++;
		}
	}
	assert_null(btree_cursor_next(&c));
	assert_null(btree_cursor_next(&c));
	assert_int_equal(t->count, count);
	assert_int_equal(t->root == NULL ? 0 : check_page(t->root), count);
}

static const struct node *present_at(const struct pool *p, const bool *present, size_t i, int step)
{
	for (; i < p->count; i += (size_t)step) {
		if (present[i]) {
			return p->nodes[i];
		}
	}
	return NULL; /* past an end: i wraps round below 0 */
}

static void check_searches(const struct btree *t, const struct pool *p, const bool *present)
{
	assert_ptr_equal(btree_first(t), present_at(p, present, 0, 1));
	assert_ptr_equal(btree_last(t), present_at(p, present, p->count - 1, -1));
	for (size_t i = 0; i < p->count; i++) {
		struct sort_key key;
		struct btree_cursor c;
		bool exact;
		sort_key_init(&key, node_name(p->nodes[i]));
		assert_ptr_equal(btree_find(t, &key), present[i] ? p->nodes[i] : NULL);
		assert_ptr_equal(btree_find_floor(t, &key, &exact), present_at(p, present, i, -1));
		assert_int_equal(exact, present[i]);
		assert_ptr_equal(btree_before(t, &key), present_at(p, present, i - 1, -1));
		assert_ptr_equal(btree_after(t, &key), present_at(p, present, i + 1, 1));
		btree_cursor_seek(&c, t, &key);
		const struct node *at = present_at(p, present, i, 1);
		assert_ptr_equal(btree_cursor_next(&c), at);
		if (at == p->nodes[i]) {
			assert_ptr_equal(btree_cursor_next(&c), present_at(p, present, i + 1, 1));
		}
	}
}

/* Side by side each search finds what it finds alone; one of an empty tree among them. */
static void check_floors(const struct btree *t, const struct pool *p)
{
	static struct sort_key keys[BTREE_FLOORS_MAX];
	const struct btree empty = {0};
	for (size_t from = 0; from < p->count; from += BTREE_FLOORS_MAX) {
		struct btree_floor floors[BTREE_FLOORS_MAX];
		struct btree_floor *list[BTREE_FLOORS_MAX];
		size_t count = 1 + from / BTREE_FLOORS_MAX % BTREE_FLOORS_MAX;
		for (size_t i = 0; i < count; i++) {
			sort_key_init(&keys[i], node_name(p->nodes[(from + 37 * i) % p->count]));
			floors[i] = (struct btree_floor){.tree = i % 5 == 4 ? &empty : t,
							 .key = &keys[i]};
			list[i] = &floors[i];
		}
		btree_find_floor_many(list, count);
		for (size_t i = 0; i < count; i++) {
			bool exact;
			assert_ptr_equal(floors[i].node,
					 btree_find_floor(floors[i].tree, &keys[i], &exact));
			assert_int_equal(floors[i].exact, exact);
		}
	}
}

static void test_empty(void **state)
{
	(void)state;
	struct btree t = {0};
	struct btree_cursor c;
	struct sort_key key;
	bool exact = true;
	struct wire_name name = wire("zone.test");
	sort_key_init(&key, name.octets);
	assert_null(btree_first(&t));
	assert_null(btree_last(&t));
	assert_null(btree_find(&t, &key));
	assert_null(btree_find_floor(&t, &key, &exact));
	assert_false(exact);
	assert_null(btree_before(&t, &key));
	assert_null(btree_after(&t, &key));
	btree_cursor_seek(&c, &t, &key);
	assert_null(btree_cursor_next(&c));
	btree_free(&t, 0);
}

/* Everything in, in random order, then everything out in another. */
static void test_random_order(void **state)
{
	(void)state;
	struct pool p = make_pool(6000);
	uint64_t random = 7;
	size_t *order = calloc(p.count, sizeof(*order));
	bool *present = calloc(p.count, sizeof(*present));
	struct retired retired = {0};
	struct cow cow = {.stamp = 1, .retired = &retired};
	struct btree t = {0};
	shuffle(order, p.count, &random);
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(btree_insert(&t, &cow, p.nodes[order[i]]), ST_OK);
		present[order[i]] = true;
		if (i == 3 || i == 100 || i == 3000) {
			check_tree(&t, &p, present);
			check_searches(&t, &p, present);
			check_floors(&t, &p);
		}
	}
	check_tree(&t, &p, present);
	check_searches(&t, &p, present);
	check_floors(&t, &p);
	shuffle(order, p.count, &random);
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(btree_remove(&t, &cow, p.nodes[order[i]]), ST_OK);
		present[order[i]] = false;
		if (i % 1000 == 0 || p.count - i < 70) {
			check_tree(&t, &p, present);
		}
		if (i == p.count / 2) {
			check_searches(&t, &p, present);
			check_floors(&t, &p);
		}
	}
	assert_null(t.root);
	assert_int_equal(retired.count, 0);
	retired_fini(&retired);
	free(order);
	free(present);
	free_pool(&p);
}

/* A page whose prefix gets shorter by any number of octets keeps its heads right. */
static void test_prefix_gets_shorter(void **state)
{
	(void)state;
	static const char longest[] = "abcdefghijklmnopqrstuvwxyz";
	for (size_t len = 1; len < sizeof(longest); len++) {
		char text[3][64];
		struct pool p = {calloc(3, sizeof(struct node *)), 3};
		struct retired retired = {0};
		struct cow cow = {.stamp = 1, .retired = &retired};
		struct btree t = {0};
		bool present[3] = {true, true, true};
		/* Two names with all of it in common, and one that leaves them after len - 1
		 * octets. */
		snprintf(text[0], sizeof(text[0]), "%s0.zone.test", longest);
		snprintf(text[1], sizeof(text[1]), "%s1.zone.test", longest);
		snprintf(text[2], sizeof(text[2]), "%.*s~.zone.test", (int)len - 1, longest);
		for (size_t i = 0; i < 3; i++) {
			struct wire_name name = wire(text[i]);
			p.nodes[i] = node_named(&name);
			assert_int_equal(btree_insert(&t, &cow, p.nodes[i]), ST_OK);
		}
		check_tree(&t, &p, present);
		check_searches(&t, &p, present);
		check_floors(&t, &p);
		btree_free(&t, 0);
		free_pool(&p);
	}
}

static size_t count_leaves(const struct btree_page *p)
{
	size_t count = p->level == 0;
	for (unsigned i = 0; p->level > 0 && i < p->count; i++) {
		count += count_leaves(page_children(p)[i]);
	}
	return count;
}

static void test_sorted_order_fills_pages(void **state)
{
	(void)state;
	struct pool p = make_pool(20000);
	struct retired retired = {0};
	struct cow cow = {.stamp = 1, .retired = &retired};
	struct btree t = {0};
	bool *present = calloc(p.count, sizeof(*present));
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(btree_insert(&t, &cow, p.nodes[i]), ST_OK);
		present[i] = true;
	}
	check_tree(&t, &p, present);
	check_searches(&t, &p, present);
	check_floors(&t, &p);
	assert_in_range(count_leaves(t.root), p.count / 64, p.count / 62);
	btree_free(&t, 0);
	free(present);
	free_pool(&p);
}

/* Snapshots stay as they were while later ones change, and pages are freed once each. */
static void test_snapshots(void **state)
{
	(void)state;
	enum { SNAPSHOTS = 12 };
	struct pool p = make_pool(2000);
	struct btree trees[SNAPSHOTS];
	struct retired retired[SNAPSHOTS];
	bool *present[SNAPSHOTS];
	uint64_t random = 99;
	for (size_t s = 0; s < SNAPSHOTS; s++) {
		present[s] = calloc(p.count, sizeof(bool));
		retired_init(&retired[s]);
		struct cow cow = {.stamp = s + 1, .retired = &retired[s]};
		trees[s] = s == 0 ? (struct btree){0} : trees[s - 1];
		if (s > 0) {
			memcpy(present[s], present[s - 1], p.count * sizeof(bool));
		}
		for (size_t i = 0; i < (s == 0 ? 3000 : 150); i++) {
			size_t k = next_random(&random) % p.count;
			enum status st = present[s][k] ? btree_remove(&trees[s], &cow, p.nodes[k])
						       : btree_insert(&trees[s], &cow, p.nodes[k]);
			assert_int_equal(st, ST_OK);
			present[s][k] = !present[s][k];
		}
	}
	for (size_t s = 0; s < SNAPSHOTS; s++) {
		check_tree(&trees[s], &p, present[s]);
		check_searches(&trees[s], &p, present[s]);
		check_floors(&trees[s], &p);
	}
	/* Oldest first: what s replaced belongs to s - 1. */
	for (size_t s = 0; s + 1 < SNAPSHOTS; s++) {
		retired_release(&retired[s + 1]);
		check_tree(&trees[s + 1], &p, present[s + 1]);
	}
	btree_free(&trees[SNAPSHOTS - 1], 0);
	for (size_t s = 0; s < SNAPSHOTS; s++) {
		free(present[s]);
	}
	retired_fini(&retired[0]);
	free_pool(&p);
}

/* Keys that agree in the page's prefix and the head behind it, and differ in what comes then: in
 * length, in octets that are escaped, in a label farther left. */
static void test_equal_heads(void **state)
{
	(void)state;
	static const char *const names[] = {
		"test",
		"a.test",
		"common-beginning.test",
		"common-beginnings.test",
		"common-beginning\\000.test",
		"common-beginning\\000\\000.test",
		"common-beginning\\001.test",
		"common-beginning\\002.test",
		"common-beginning\\000s.test",
		"common-\\000beginning.test",
		"common-c.test",
		"common-.test",
		"common-b.test",
		"\\000.common-beginning.test",
		"\\001.common-beginning.test",
		"b.common-beginning.test",
		"b\\000.common-beginning.test",
		"b.b.common-beginning.test",
		"\\000.b.common-beginning.test",
		"b.common-beginning\\000.test",
		"\\255\\255\\255\\255\\255\\255\\255\\255.test",
		"\\255\\255\\255\\255\\255\\255\\255\\255\\255.test",
	};
	enum { COUNT = sizeof(names) / sizeof(names[0]) };
	struct pool p = {calloc(COUNT, sizeof(struct node *)), COUNT};
	for (size_t i = 0; i < COUNT; i++) {
		struct wire_name name = wire(names[i]);
		p.nodes[i] = node_named(&name);
	}
	qsort(p.nodes, COUNT, sizeof(*p.nodes), compare_nodes);
	/* Each name by itself absent, every other one, and none. */
	for (size_t absent = 0; absent < COUNT + 2; absent++) {
		struct btree t = {0};
		struct retired retired = {0};
		struct cow cow = {.stamp = 1, .retired = &retired};
		bool present[COUNT];
		for (size_t i = 0; i < COUNT; i++) {
			present[i] = absent < COUNT ? i != absent : absent == COUNT || i % 2 == 0;
			if (present[i]) {
				assert_int_equal(btree_insert(&t, &cow, p.nodes[i]), ST_OK);
			}
		}
		check_tree(&t, &p, present);
		check_searches(&t, &p, present);
		btree_free(&t, 0);
		retired_fini(&retired);
	}
	free_pool(&p);
}

/* An abandoned change frees its own pages only. */
static void test_abandon(void **state)
{
	(void)state;
	struct pool p = make_pool(3000);
	struct retired retired = {0};
	struct cow first = {.stamp = 1, .retired = &retired};
	struct cow second = {.stamp = 2, .retired = &retired};
	struct btree t = {0};
	bool *present = calloc(p.count, sizeof(*present));
	for (size_t i = 0; i < p.count; i += 2) {
		assert_int_equal(btree_insert(&t, &first, p.nodes[i]), ST_OK);
		present[i] = true;
	}
	struct btree copy = t;
	for (size_t i = 1; i < p.count; i += 2) {
		assert_int_equal(btree_insert(&copy, &second, p.nodes[i]), ST_OK);
	}
	for (size_t i = 0; i < p.count; i += 4) {
		assert_int_equal(btree_remove(&copy, &second, p.nodes[i]), ST_OK);
	}
	assert_true(retired.count > 0);
	btree_free(&copy, 2);
	retired_fini(&retired);
	check_tree(&t, &p, present);

	copy = t;
	size_t pages = count_leaves(t.root);
	assert_int_equal(btree_clear(&copy, &second), ST_OK);
	assert_null(copy.root);
	assert_true(retired.count >= pages);
	retired_fini(&retired);
	check_tree(&t, &p, present);
	btree_free(&t, 0);
	free(present);
	free_pool(&p);
}

static void test_replace(void **state)
{
	(void)state;
	struct pool p = make_pool(1000);
	struct retired retired = {0};
	struct cow first = {.stamp = 1, .retired = &retired};
	struct cow second = {.stamp = 2, .retired = &retired};
	struct btree t = {0};
	bool *present = calloc(p.count, sizeof(*present));
	for (size_t i = 0; i < p.count; i++) {
		assert_int_equal(btree_insert(&t, &first, p.nodes[i]), ST_OK);
		present[i] = true;
	}
	struct btree copy = t;
	struct pool other = {calloc(p.count, sizeof(struct node *)), p.count};
	for (size_t i = 0; i < p.count; i++) {
		struct wire_name name = {.len = p.nodes[i]->name_len};
		memcpy(name.octets, node_name(p.nodes[i]), name.len);
		other.nodes[i] = node_named(&name);
		assert_int_equal(btree_replace(&copy, &second, p.nodes[i], other.nodes[i]), ST_OK);
	}
	check_tree(&copy, &other, present);
	check_tree(&t, &p, present);
	btree_free(&copy, 2);
	retired_fini(&retired);
	btree_free(&t, 0);
	free(present);
	free_pool(&p);
	free_pool(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_random_order),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_sorted_order_fills_pages),
		cmocka_unit_test(test_prefix_gets_shorter),
		cmocka_unit_test(test_equal_heads),
		cmocka_unit_test(test_abandon),
		cmocka_unit_test(test_replace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
