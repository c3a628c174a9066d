#include "nsd-core/base/bulk.h"
#include "nsd-core/base/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MB ((size_t)1 << 20)

static void fill(uint8_t *p, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		p[i] = (uint8_t)(i * 7 >> 3);
	}
}

static void assert_filled(const uint8_t *p, size_t to)
{
	for (size_t i = 0; i < to; i++) {
		assert_int_equal(p[i], (uint8_t)(i * 7 >> 3));
	}
}

/* From malloc's sizes through small pages to huge ones. */
static void test_grow(void **state)
{
	(void)state;
	static const size_t sizes[] = {1,	   100,	       MB - 1,	   MB,	   MB + 1,
				       2 * MB - 1, 2 * MB + 1, 2 * MB + 2, 3 * MB, 9 * MB};
	uint8_t *p = NULL;
	size_t old = 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		p = bulk_grow(p, old, sizes[i]);
		assert_non_null(p);
		assert_filled(p, old);
		fill(p, old, sizes[i]);
		old = sizes[i];
	}
	bulk_free(p, old);
	bulk_free(NULL, 3 * MB);
	bulk_free(NULL, 0);
}

static void test_alloc(void **state)
{
	(void)state;
	for (size_t size = 1; size < 8 * MB; size = size * 3 + 1) {
		uint8_t *p = bulk_alloc(size);
		assert_non_null(p);
		memset(p, 1, size);
		bulk_free(p, size);
	}
	assert_null(bulk_alloc(SIZE_MAX));
	assert_null(bulk_alloc(SIZE_MAX / 4));
}

/* Does the buffer lie in one mapping? */
static bool is_one_mapping(const void *p, size_t size)
{
	uintptr_t start = (uintptr_t)p;
	char line[512];
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "re");
	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps) != NULL) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16);
		uintptr_t to = strtoull(end + 1, NULL, 16);
		found = from <= start && start + size <= to;
	}
	fclose(maps);
	return found;
}

/* Linux before 6.17 moves one mapping only. */
static void test_grow_mapping(void **state)
{
	(void)state;
	size_t size = MB + MB / 2;
	uint8_t *p = bulk_alloc(size);
	assert_non_null(p);
	fill(p, 0, size);
	while (size < 24 * MB) {
		p = bulk_grow(p, size, size * 2);
		assert_non_null(p);
		assert_filled(p, size);
		fill(p, size, size * 2);
		size *= 2;
		assert_true((uintptr_t)p % BULK_PAGE == 0);
		assert_true(is_one_mapping(p, size));
	}
	bulk_free(p, size);
}

/* Whole pages only, and the rest stays. */
static void test_discard(void **state)
{
	(void)state;
	size_t size = 7 * MB;
	uint8_t *p = bulk_alloc(size);
	assert_non_null(p);
	fill(p, 0, size);
	bulk_discard(p, size, 1, 4 * MB - 1);
	assert_filled(p, size);
	bulk_discard(p, size, 1, 6 * MB + 1);
	assert_filled(p, 2 * MB);
	for (size_t i = 6 * MB; i < size; i++) {
		assert_int_equal(p[i], (uint8_t)(i * 7 >> 3));
	}
	fill(p, 2 * MB, 6 * MB);
	assert_filled(p, size);
	bulk_free(p, size);
	p = bulk_alloc(100);
	fill(p, 0, 100);
	bulk_discard(p, 100, 0, 100);
	assert_filled(p, 100);
	bulk_free(p, 100);
}

struct counts {
	atomic_uint runs[PARALLEL_MAX];
};

static void count_run(void *ctx, unsigned i)
{
	struct counts *c = ctx;
	atomic_fetch_add(&c->runs[i], 1);
}

static void test_parallel(void **state)
{
	(void)state;
	assert_in_range(parallel_cpus(), 1, PARALLEL_MAX);
	for (unsigned count = 0; count <= PARALLEL_MAX; count++) {
		struct counts c = {0};
		parallel_run(count, count_run, &c);
		for (unsigned i = 0; i < PARALLEL_MAX; i++) {
			assert_int_equal(atomic_load(&c.runs[i]), i < count);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grow),	 cmocka_unit_test(test_grow_mapping),
		cmocka_unit_test(test_alloc),	 cmocka_unit_test(test_discard),
		cmocka_unit_test(test_parallel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
