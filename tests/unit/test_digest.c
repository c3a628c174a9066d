#include "nsd-core/base/digest.h"
#include "nsd-core/base/text.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct bytes piece(const char *text)
{
	return (struct bytes){(const uint8_t *)text, strlen(text)};
}

/* FIPS 180-4's examples ("abc", nothing). */
static void known_answers(void **state)
{
	static const struct {
		enum digest_type type;
		const char *in;
		const char *want;
	} cases[] = {
		{DIGEST_SHA1, "abc", "A9993E364706816ABA3E25717850C26C9CD0D89D"},
		{DIGEST_SHA1, "", "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"},
		{DIGEST_SHA256, "abc",
		 "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"},
		{DIGEST_SHA256, "",
		 "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"},
		{DIGEST_SHA384, "abc",
		 "CB00753F45A35E8BB5A03D699AC65007272C32AB0EDED1631A8B605A43FF5BED"
		 "8086072BA1E7CC2358BAECA134C825A7"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[DIGEST_MAX + 1];
		char text[TEXT_HEX_SIZE(DIGEST_MAX)];
		size_t size = digest_size(cases[i].type);
		struct bytes in = piece(cases[i].in);
		memset(out, 0xee, sizeof(out));
		assert_int_equal(digest_of(cases[i].type, &in, 1, out), ST_OK);
		assert_string_equal(hex_encode(out, size, text), cases[i].want);
		assert_int_equal(out[size], 0xee);
	}
	assert_int_equal(digest_size(DIGEST_SHA384), DIGEST_MAX);
}

static void pieces_are_joined(void **state)
{
	const struct bytes pieces[] = {piece("a"), {NULL, 0}, piece("b"), piece(""), piece("c")};
	const struct bytes whole = piece("abc");
	uint8_t a[DIGEST_MAX];
	uint8_t b[DIGEST_MAX];

	(void)state;
	for (enum digest_type type = DIGEST_SHA1; type <= DIGEST_SHA384; type++) {
		assert_int_equal(digest_of(type, pieces, 5, a), ST_OK);
		assert_int_equal(digest_of(type, &whole, 1, b), ST_OK);
		assert_memory_equal(a, b, digest_size(type));
	}
	assert_int_equal(digest_of(DIGEST_SHA256, NULL, 0, a), ST_OK);
	assert_int_equal(a[0], 0xe3);
}

/* Iterated hashing (RFC 5155 5) digests its own result. */
static void output_may_be_an_input(void **state)
{
	uint8_t buf[DIGEST_MAX] = "abc";
	uint8_t twice[DIGEST_MAX];
	uint8_t once[DIGEST_MAX];
	const struct bytes abc = piece("abc");
	const struct bytes in_place = {buf, 3};
	const struct bytes first = {once, 20};

	(void)state;
	assert_int_equal(digest_of(DIGEST_SHA1, &abc, 1, once), ST_OK);
	assert_int_equal(digest_of(DIGEST_SHA1, &first, 1, twice), ST_OK);
	assert_int_equal(digest_of(DIGEST_SHA1, &in_place, 1, buf), ST_OK);
	assert_memory_equal(buf, once, 20);
	assert_int_equal(digest_of(DIGEST_SHA1, &first, 1, once), ST_OK);
	assert_memory_equal(once, twice, 20);
}

static void *digest_in_a_thread(void *arg)
{
	const struct bytes in = piece("abc");
	uint8_t out[DIGEST_MAX];

	for (int i = 0; i < 100; i++) {
		for (enum digest_type type = DIGEST_SHA1; type <= DIGEST_SHA384; type++) {
			if (digest_of(type, &in, 1, out) != ST_OK) {
				return NULL;
			}
		}
	}
	return arg;
}

static void threads_do_not_disturb_each_other(void **state)
{
	pthread_t threads[4];
	int ids[4];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, digest_in_a_thread, &ids[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		void *result = NULL;
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &ids[i]);
	}
}

static void random_octets_differ(void **state)
{
	uint8_t a[32] = {0};
	uint8_t b[32] = {0};

	(void)state;
	assert_int_equal(random_bytes(a, sizeof(a)), ST_OK);
	assert_int_equal(random_bytes(b, sizeof(b)), ST_OK);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(random_bytes(a, 0), ST_OK);
	assert_int_equal(random_bytes(a, (size_t)INT32_MAX + 1), ST_ESPACE);
}

static void wiped_is_zero(void **state)
{
	uint8_t secret[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	wipe(secret, 7);
	assert_memory_equal(secret, "\0\0\0\0\0\0\0\10", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(pieces_are_joined),
		cmocka_unit_test(output_may_be_an_input),
		cmocka_unit_test(threads_do_not_disturb_each_other),
		cmocka_unit_test(random_octets_differ),
		cmocka_unit_test(wiped_is_zero),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
