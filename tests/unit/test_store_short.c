/* A store whose file was cut short, as after a copy that was broken off. */
#include "nsd-core/base/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ENTRIES 200
#define PARTS	8

static const struct store_options writer = {.map_bytes = 16U << 20};
static uint8_t value[3000];

static struct bytes key_of(unsigned i, char buf[16])
{
	snprintf(buf, 16, "%u", i);
	return (struct bytes){(const uint8_t *)buf, strlen(buf)};
}

static void fill(const char *dir)
{
	struct store *s = NULL;
	struct store_txn *t = NULL;
	char key[16];

	memset(value, 'v', sizeof(value));
	assert_int_equal(store_open(dir, "test", &writer, &s, NULL), ST_OK);
	assert_int_equal(store_begin(s, true, &t), ST_OK);
	for (unsigned i = 0; i < ENTRIES; i++) {
		assert_int_equal(
			store_put(t, "t", key_of(i, key), (struct bytes){value, sizeof(value)}),
			ST_OK);
	}
	assert_int_equal(store_commit(t), ST_OK);
	store_close(s);
}

/* How many entries are not what they were. */
static unsigned count_missing(struct store *s)
{
	struct store_txn *t = NULL;
	unsigned missing = 0;

	assert_int_equal(store_begin(s, false, &t), ST_OK);
	for (unsigned i = 0; i < ENTRIES; i++) {
		char key[16];
		struct bytes got;
		enum status st = store_get(t, "t", key_of(i, key), &got);
		missing += st != ST_OK || got.len != sizeof(value) ||
			   memcmp(got.data, value, got.len) != 0;
	}
	store_abort(t);
	return missing;
}

/* Reading it must not end the process (SIGBUS). */
static void what_is_cut_off_is_missing(void **state)
{
	char dir[] = "/tmp/signet-store-XXXXXX";
	char path[64];
	char lock[64];
	struct stat sb;
	const off_t page = sysconf(_SC_PAGESIZE);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/test.lmdb", dir);
	snprintf(lock, sizeof(lock), "%s/test.lmdb-lock", dir);
	for (unsigned part = 1; part < PARTS; part++) {
		struct store *s = NULL;
		fill(dir);
		assert_int_equal(stat(path, &sb), 0);
		assert_int_equal(truncate(path, sb.st_size * part / PARTS / page * page), 0);
		enum status st = store_open(dir, "test", &writer, &s, NULL);
		assert_true(st == ST_OK ? count_missing(s) > 0 : st == ST_EIO);
		store_close(s);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(unlink(lock), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_cut_off_is_missing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
