/* Reading in chunks and sorting in parts where memory runs out, or no thread can be made: what
 * comes out is as ever, or there is a failure that says so, and nothing leaks. */
#include "tests/unit/master_same.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);

static _Atomic(long) allowed = -1; /* allocations until they fail; -1: all succeed */
static _Atomic(bool) failed;
static _Atomic(unsigned) threads_left = UINT_MAX;
static _Atomic(unsigned) refused;

static bool may_allocate(void)
{
	long now = atomic_load(&allowed);
	while (now > 0 && !atomic_compare_exchange_weak(&allowed, &now, now - 1)) {
	}
	if (now == 0) {
		failed = true;
	}
	return now != 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *block, size_t size)
{
	return may_allocate() ? __real_realloc(block, size) : NULL;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	unsigned left = atomic_load(&threads_left);
	while (left > 0 && !atomic_compare_exchange_weak(&threads_left, &left, left - 1)) {
	}
	if (left == 0) {
		refused++;
		return EAGAIN;
	}
	return __real_pthread_create(thread, attr, start, arg);
}

/* Not in order, with directives, $GENERATE and what no chunk may cut. */
static size_t write_text(char *text, size_t room)
{
	size_t len = (size_t)snprintf(text, room, "$TTL 5\n@ SOA a b 1 2 3 4 5\n@ NS ns\n");
	for (unsigned i = 0; i < 150; i++) {
		len += (size_t)snprintf(text + len, room - len, "h%u A 10.0.0.%u\n\tTXT x y\n",
					i * 37 % 150, i);
	}
	len += (size_t)snprintf(text + len, room - len,
				"$ORIGIN s\na TXT (\nb TXT\nc ) d\n$GENERATE 1-3 g$ A 10.0.0.$\n"
				"e MX 1 f\n");
	return len;
}

static enum status load(struct reading_of *r, const char *text, size_t len, size_t chunk_bytes,
			unsigned parts)
{
	read_text(r, text, len, chunk_bytes, parts);
	return r->st == ST_OK ? content_sort_parts(&r->c, parts) : r->st;
}

static void test_memory(void **state)
{
	(void)state;
	char text[8192];
	size_t len = write_text(text, sizeof(text));
	struct reading_of serial;
	assert_int_equal(load(&serial, text, len, 0, 1), ST_OK);
	bool went_wrong = true;
	long failures = 0;
	for (long n = 0; went_wrong; n++) {
		struct reading_of r;
		failed = false;
		allowed = n;
		enum status st = load(&r, text, len, 257, 3);
		allowed = -1;
		went_wrong = failed;
		failures += st == ST_ENOMEM;
		assert_true(st == ST_OK || (went_wrong && st == ST_ENOMEM));
		assert_true(st != ST_OK || reading_difference(&serial, &r) == NULL);
		reading_fini(&r);
	}
	assert_true(failures > 0);
	reading_fini(&serial);
}

static void test_threads(void **state)
{
	(void)state;
	char text[8192];
	size_t len = write_text(text, sizeof(text));
	struct reading_of serial;
	assert_int_equal(load(&serial, text, len, 0, 1), ST_OK);
	for (unsigned n = 0; n < 12; n++) {
		struct reading_of r;
		threads_left = n;
		refused = 0;
		assert_int_equal(load(&r, text, len, 257, 4), ST_OK);
		threads_left = UINT_MAX;
		/* Three to read, three to sort, three to gather. */
		assert_int_equal(refused, n < 9 ? 9 - n : 0);
		assert_null(reading_difference(&serial, &r));
		reading_fini(&r);
	}
	reading_fini(&serial);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
