#include "nsd-core/base/arena.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void allocations_are_aligned_and_apart(void **state)
{
	struct arena a;
	uint8_t *p[200];

	(void)state;
	arena_init(&a, 256);
	for (size_t i = 0; i < 200; i++) {
		p[i] = i % 2 == 0 ? arena_alloc(&a, i) : arena_alloc_bytes(&a, i);
		assert_non_null(p[i]);
		if (i % 2 == 0) {
			assert_int_equal((uintptr_t)p[i] % 16, 0);
		}
		memset(p[i], (int)i, i);
	}
	for (size_t i = 0; i < 200; i++) {
		for (size_t k = 0; k < i; k++) {
			assert_int_equal(p[i][k], i);
		}
	}
	assert_int_equal(a.used_bytes, 199 * 200 / 2);
	arena_fini(&a);
	assert_null(a.blocks);
}

static void strings_are_packed(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	char *x = arena_copy(&a, "abc", 3);
	char *y = arena_copy(&a, "defg", 4);
	assert_ptr_equal(x + 3, y);
	assert_memory_equal(x, "abcdefg", 7);
	assert_non_null(arena_copy(&a, NULL, 0));
	arena_fini(&a);
}

static void large_request_leaves_the_block_in_use(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	char *x = arena_alloc_bytes(&a, 10);
	char *large = arena_alloc_bytes(&a, 10000);
	char *y = arena_alloc_bytes(&a, 10);
	assert_non_null(large);
	memset(large, 1, 10000);
	assert_ptr_equal(x + 10, y);
	arena_fini(&a);
}

static void reset_gives_the_same_memory_again(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	void *first = arena_alloc(&a, 100);
	arena_reset(&a);
	assert_int_equal(a.used_bytes, 0);
	assert_ptr_equal(arena_alloc(&a, 100), first);
	for (int i = 0; i < 100; i++) {
		assert_non_null(arena_alloc(&a, 100));
	}
	arena_reset(&a);
	assert_non_null(a.blocks);
	assert_non_null(arena_alloc(&a, 100));
	arena_fini(&a);
}

/* One large message must not hold its memory for the life of the arena. */
static void reset_lets_go_of_a_large_block(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	assert_non_null(arena_alloc(&a, 100000));
	arena_reset(&a);
	assert_null(a.blocks);
	assert_non_null(arena_alloc(&a, 16));
	arena_fini(&a);
	arena_reset(&a);
}

static void one_arena_takes_all_of_another(void **state)
{
	struct arena a;
	struct arena b;
	char *kept[40];

	(void)state;
	arena_init(&a, 64);
	arena_init(&b, 64);
	arena_take(&a, &b);
	for (int i = 0; i < 40; i++) {
		kept[i] = arena_printf(i % 2 == 0 ? &a : &b, "%d", i);
	}
	size_t used = a.used_bytes + b.used_bytes;
	arena_take(&a, &b);
	assert_null(b.blocks);
	assert_int_equal(b.used_bytes, 0);
	assert_int_equal(a.used_bytes, used);
	assert_non_null(arena_alloc(&b, 16));
	arena_fini(&b);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(strtol(kept[i], NULL, 10), i);
	}
	arena_fini(&a);
}

static void impossible_sizes_give_null(void **state)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 8, SIZE_MAX - 31};
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	assert_non_null(arena_alloc_bytes(&a, 1));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_null(arena_alloc(&a, sizes[i]));
		assert_null(arena_alloc_bytes(&a, sizes[i]));
	}
	assert_int_equal(a.used_bytes, 1);
	arena_fini(&a);
}

static void printf_makes_room_for_its_text(void **state)
{
	struct arena a;
	char want[2000];

	(void)state;
	arena_init(&a, 64);
	memset(want, 'x', sizeof(want) - 1);
	want[sizeof(want) - 1] = '\0';
	assert_string_equal(arena_printf(&a, "%s-%d", "a", 42), "a-42");
	assert_string_equal(arena_printf(&a, "%s", want), want);
	assert_string_equal(arena_printf(&a, "%s", ""), "");
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(allocations_are_aligned_and_apart),
		cmocka_unit_test(strings_are_packed),
		cmocka_unit_test(large_request_leaves_the_block_in_use),
		cmocka_unit_test(reset_gives_the_same_memory_again),
		cmocka_unit_test(reset_lets_go_of_a_large_block),
		cmocka_unit_test(one_arena_takes_all_of_another),
		cmocka_unit_test(impossible_sizes_give_null),
		cmocka_unit_test(printf_makes_room_for_its_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
