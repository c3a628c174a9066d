#include "nsd-core/base/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static const struct store_options writer = {.map_bytes = 16U << 20};
static const struct store_options reader = {.map_bytes = 16U << 20, .read_only = true};

/* A folder of its own for every test, and the path of this program for a second process. */
struct fixture {
	char dir[64];
	struct store *store;
};

static char self_path[4096];

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/signet-store-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return store_open(f->dir, "test", &writer, &f->store, NULL) == ST_OK ? 0 : -1;
}

static void path_in(const struct fixture *f, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", f->dir, name);
}

static int teardown(void **state)
{
	static const char *const names[] = {"test.lmdb",     "test.lmdb-lock", "bad.lmdb",
					    "bad.lmdb-lock", "small.lmdb",     "small.lmdb-lock",
					    "lazy.lmdb",     "lazy.lmdb-lock"};
	struct fixture *f = *state;
	char path[128];

	store_close(f->store);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_in(f, names[i], path);
		unlink(path);
	}
	int left = rmdir(f->dir);
	free(f);
	return left;
}

static struct bytes octets(const char *text)
{
	return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static struct store_txn *begin(struct store *s, bool write)
{
	struct store_txn *t = NULL;

	assert_int_equal(store_begin(s, write, &t), ST_OK);
	assert_non_null(t);
	return t;
}

static void put(struct store *s, const char *table, const char *key, const char *value)
{
	struct store_txn *t = begin(s, true);

	assert_int_equal(store_put(t, table, octets(key), octets(value)), ST_OK);
	assert_int_equal(store_commit(t), ST_OK);
}

/* What stands there, in a transaction of its own; want NULL: nothing. */
static void expect(struct store *s, const char *table, const char *key, const char *want)
{
	struct store_txn *t = begin(s, false);
	struct bytes value = {NULL, 4711};
	enum status st = store_get(t, table, octets(key), &value);

	assert_int_equal(st, want != NULL ? ST_OK : ST_ENOENT);
	if (want != NULL) {
		assert_int_equal(value.len, strlen(want));
		assert_memory_equal(value.data, want, value.len);
	} else {
		assert_null(value.data);
		assert_int_equal(value.len, 4711);
	}
	store_abort(t);
}

static void what_is_put_is_there_after_reopening(void **state)
{
	struct fixture *f = *state;

	put(f->store, "keys", "a", "1");
	put(f->store, "keys", "a", "2");
	put(f->store, "zones", "a", "");
	store_close(f->store);
	f->store = NULL;
	assert_int_equal(store_open(f->dir, "test", &writer, &f->store, NULL), ST_OK);
	expect(f->store, "keys", "a", "2");
	expect(f->store, "keys", "b", NULL);
	expect(f->store, "zones", "a", "");
	expect(f->store, "none", "a", NULL);
}

static void delete (void **state)
{
	struct fixture *f = *state;

	put(f->store, "t", "a", "1");
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_del(t, "t", octets("b")), ST_ENOENT);
	assert_int_equal(store_del(t, "none", octets("a")), ST_ENOENT);
	assert_int_equal(store_del(t, "t", octets("a")), ST_OK);
	assert_int_equal(store_del(t, "t", octets("a")), ST_ENOENT);
	assert_int_equal(store_commit(t), ST_OK);
	expect(f->store, "t", "a", NULL);
}

static void abort_leaves_no_trace(void **state)
{
	struct fixture *f = *state;

	put(f->store, "t", "a", "1");
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_put(t, "t", octets("a"), octets("2")), ST_OK);
	assert_int_equal(store_put(t, "new", octets("a"), octets("2")), ST_OK);
	struct bytes value;
	assert_int_equal(store_get(t, "new", octets("a"), &value), ST_OK);
	store_abort(t);
	store_abort(NULL);
	expect(f->store, "t", "a", "1");
	expect(f->store, "new", "a", NULL);
	/* The table that came to nothing can be made after all, and another one too. */
	put(f->store, "newer", "a", "3");
	put(f->store, "new", "a", "4");
	expect(f->store, "newer", "a", "3");
	expect(f->store, "new", "a", "4");
}

/* A table made after a reader began is not in its snapshot, and asking for it is no error. */
static void reader_keeps_its_snapshot(void **state)
{
	struct fixture *f = *state;
	struct bytes value = {NULL, 0};

	put(f->store, "t", "a", "1");
	struct store_txn *old = begin(f->store, false);
	put(f->store, "t", "a", "2");
	put(f->store, "new", "a", "3");
	/* A second reader on the same thread. */
	expect(f->store, "t", "a", "2");
	assert_int_equal(store_get(old, "t", octets("a"), &value), ST_OK);
	assert_memory_equal(value.data, "1", 1);
	assert_int_equal(store_get(old, "new", octets("a"), &value), ST_ENOENT);
	store_abort(old);
	expect(f->store, "new", "a", "3");
}

static void read_transaction_may_not_write(void **state)
{
	struct fixture *f = *state;
	struct store_txn *t = begin(f->store, false);

	assert_int_equal(store_put(t, "t", octets("a"), octets("1")), ST_EREFUSED);
	assert_int_equal(store_del(t, "t", octets("a")), ST_EREFUSED);
	store_abort(t);
}

static void keys_have_a_longest(void **state)
{
	struct fixture *f = *state;
	uint8_t key[512];
	struct bytes value = {NULL, 4711};

	memset(key, 'k', sizeof(key));
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_put(t, "t", (struct bytes){key, 512}, octets("1")), ST_ESPACE);
	assert_int_equal(store_put(t, "t", (struct bytes){key, 0}, octets("1")), ST_ESPACE);
	assert_int_equal(store_get(t, "t", (struct bytes){key, 512}, &value), ST_ESPACE);
	assert_int_equal(store_del(t, "t", (struct bytes){key, 512}), ST_ESPACE);
	assert_int_equal(value.len, 4711);
	assert_int_equal(store_put(t, "t", (struct bytes){key, 511}, octets("1")), ST_OK);
	assert_int_equal(store_get(t, "t", (struct bytes){key, 511}, &value), ST_OK);
	assert_int_equal(store_commit(t), ST_OK);
}

static void tables_are_bounded(void **state)
{
	struct fixture *f = *state;
	char name[64];

	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "table-%d", i);
		put(f->store, name, "k", name);
	}
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_put(t, "one-more", octets("k"), octets("v")), ST_ELIMIT);
	store_abort(t);
	expect(f->store, "table-0", "k", "table-0");
	expect(f->store, "table-15", "k", "table-15");
	store_close(f->store);
	f->store = NULL;
	assert_int_equal(store_open(f->dir, "test", &writer, &f->store, NULL), ST_OK);
	expect(f->store, "table-15", "k", "table-15");
	t = begin(f->store, true);
	memset(name, 'x', 40);
	name[40] = '\0';
	assert_int_equal(store_put(t, name, octets("k"), octets("v")), ST_ELIMIT);
	store_abort(t);
}

static void full_store_says_so_and_stays_usable(void **state)
{
	static const struct store_options small = {.map_bytes = 256U << 10};
	static const uint8_t large[100000];
	struct fixture *f = *state;
	struct store *s = NULL;

	assert_int_equal(store_open(f->dir, "small", &small, &s, NULL), ST_OK);
	put(s, "t", "a", "1");
	struct store_txn *t = begin(s, true);
	enum status st = ST_OK;
	for (int i = 0; i < 10 && st == ST_OK; i++) {
		char key[8];
		snprintf(key, sizeof(key), "%d", i);
		st = store_put(t, "t", octets(key), (struct bytes){large, sizeof(large)});
	}
	assert_int_equal(st, ST_ELIMIT);
	store_abort(t);
	expect(s, "t", "a", "1");
	put(s, "t", "b", "2");
	expect(s, "t", "b", "2");
	store_close(s);
}

struct seen {
	char keys[128];
	unsigned count;
	unsigned stop_after;
};

static enum status on_entry(void *ctx, struct bytes key, struct bytes value)
{
	struct seen *s = ctx;

	assert_int_equal(value.len, 1);
	strncat(s->keys, (const char *)key.data, key.len);
	strcat(s->keys, " ");
	return ++s->count == s->stop_after ? ST_EREFUSED : ST_OK;
}

static void scans(void **state)
{
	static const char *const keys[] = {"b", "a", "ab", "abc", "ac", "b\xff", "abd", "\xff"};
	static const struct {
		const char *table;
		const char *prefix;
		unsigned stop_after;
		enum status st;
		const char *want;
	} cases[] = {
		{"t", "", 0, ST_OK, "a ab abc abd ac b b\xff \xff "},
		{"t", "ab", 0, ST_OK, "ab abc abd "},
		{"t", "b", 0, ST_OK, "b b\xff "},
		{"t", "\xff", 0, ST_OK, "\xff "},
		{"t", "aa", 0, ST_OK, ""},
		{"t", "zz", 0, ST_OK, ""},
		{"t", "ab", 2, ST_EREFUSED, "ab abc "},
		{"none", "", 0, ST_OK, ""},
		{"empty", "", 0, ST_OK, ""},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		put(f->store, "t", keys[i], "v");
	}
	put(f->store, "empty", "a", "v");
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_del(t, "empty", octets("a")), ST_OK);
	assert_int_equal(store_commit(t), ST_OK);
	t = begin(f->store, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seen s = {.stop_after = cases[i].stop_after};
		assert_int_equal(
			store_scan(t, cases[i].table, octets(cases[i].prefix), on_entry, &s),
			cases[i].st);
		assert_string_equal(s.keys, cases[i].want);
	}
	store_abort(t);
}

static void files_are_for_the_owner_only(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;

	path_in(f, "test.lmdb", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	path_in(f, "test.lmdb-lock", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/* What was started in between must not hold the store open. */
static void descriptors_close_on_exec(void **state)
{
	unsigned checked = 0;

	(void)state;
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		char link[64];
		char target[256];
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t len = flags >= 0 ? readlink(link, target, sizeof(target) - 1) : -1;
		if (len < 0) {
			continue;
		}
		target[len] = '\0';
		if (strstr(target, "/signet-store-") != NULL) {
			assert_true((flags & FD_CLOEXEC) != 0);
			checked++;
		}
	}
	assert_true(checked >= 2);
}

static void absent_damaged_and_forbidden(void **state)
{
	struct fixture *f = *state;
	struct store *s = (struct store *)state;
	struct diags d;
	char path[128];

	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(store_open(f->dir, "bad", &reader, &s, &d), ST_ENOENT);
	path_in(f, "bad.lmdb", path);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(store_open("/nonexistent/dir", "bad", &writer, &s, &d), ST_ENOENT);

	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 20000; i++) {
		fputs("this is not it ", file);
	}
	fclose(file);
	assert_int_equal(store_open(f->dir, "bad", &writer, &s, &d), ST_EIO);
	assert_int_equal(store_open(f->dir, "bad", &reader, &s, &d), ST_EIO);
	unsigned want = 4;
	if (geteuid() != 0) {
		assert_int_equal(chmod(path, 0), 0);
		assert_int_equal(store_open(f->dir, "bad", &reader, &s, &d), ST_EACCES);
		assert_int_equal(store_open(f->dir, "bad", &writer, &s, &d), ST_EACCES);
		want += 2;
	}
	assert_int_equal(d.errors, want);
	assert_string_equal(d.items[2].file, path);
	assert_ptr_equal(s, state);
	diags_fini(&d);
}

static void lazy_store_is_whole_after_close(void **state)
{
	static const struct store_options lazy = {.map_bytes = 16U << 20, .lazy = true};
	struct fixture *f = *state;
	struct store *s = NULL;

	assert_int_equal(store_open(f->dir, "lazy", &lazy, &s, NULL), ST_OK);
	put(s, "t", "a", "1");
	store_close(s);
	assert_int_equal(store_open(f->dir, "lazy", &lazy, &s, NULL), ST_OK);
	expect(s, "t", "a", "1");
	store_close(s);
}

#define INCREMENTS 200

static void *increment(void *arg)
{
	struct store *s = arg;

	for (int i = 0; i < INCREMENTS; i++) {
		struct store_txn *t = NULL;
		struct bytes value;
		uint8_t next[4] = {0};
		if (store_begin(s, true, &t) != ST_OK) {
			return NULL;
		}
		if (store_get(t, "count", octets("n"), &value) == ST_OK) {
			be32_put(next, be32_get(value.data) + 1);
		} else {
			be32_put(next, 1);
		}
		if (store_put(t, "count", octets("n"), (struct bytes){next, 4}) != ST_OK ||
		    store_commit(t) != ST_OK) {
			return NULL;
		}
	}
	return arg;
}

struct watch {
	struct store *store;
	_Atomic(bool) stop;
};

static void *watch_count(void *arg)
{
	struct watch *w = arg;
	uint32_t last = 0;

	while (!atomic_load(&w->stop)) {
		struct store_txn *t = NULL;
		struct bytes value;
		if (store_begin(w->store, false, &t) != ST_OK) {
			return NULL;
		}
		enum status st = store_get(t, "count", octets("n"), &value);
		uint32_t now = st == ST_OK ? be32_get(value.data) : 0;
		store_abort(t);
		if (now < last || (st != ST_OK && st != ST_ENOENT)) {
			return NULL;
		}
		last = now;
	}
	return arg;
}

static void writers_take_turns_and_readers_never_wait(void **state)
{
	static const struct store_options lazy = {.map_bytes = 16U << 20, .lazy = true};
	struct fixture *f = *state;
	struct store *s = NULL;
	pthread_t writers[2];
	pthread_t readers[2];

	assert_int_equal(store_open(f->dir, "lazy", &lazy, &s, NULL), ST_OK);
	struct watch w = {.store = s};
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&readers[i], NULL, watch_count, &w), 0);
		assert_int_equal(pthread_create(&writers[i], NULL, increment, s), 0);
	}
	for (int i = 0; i < 2; i++) {
		void *result = NULL;
		assert_int_equal(pthread_join(writers[i], &result), 0);
		assert_ptr_equal(result, s);
	}
	atomic_store(&w.stop, true);
	for (int i = 0; i < 2; i++) {
		void *result = NULL;
		assert_int_equal(pthread_join(readers[i], &result), 0);
		assert_ptr_equal(result, &w);
	}
	struct store_txn *t = begin(s, false);
	struct bytes value = {NULL, 0};
	assert_int_equal(store_get(t, "count", octets("n"), &value), ST_OK);
	assert_int_equal(be32_get(value.data), 2 * INCREMENTS);
	store_abort(t);
	store_close(s);
}

/* The other process (see main): waits for a word, then reads a table that was made since it opened.
 */
static int read_from_another_process(const char *dir)
{
	struct store *s = NULL;
	struct store_txn *t = NULL;
	struct bytes value;
	char go;

	if (store_open(dir, "test", &reader, &s, NULL) != ST_OK) {
		return 10;
	}
	if (store_begin(s, true, &t) != ST_EREFUSED) {
		return 11;
	}
	if (write(STDOUT_FILENO, "o", 1) != 1 || read(STDIN_FILENO, &go, 1) != 1) {
		return 12;
	}
	if (store_begin(s, false, &t) != ST_OK) {
		return 13;
	}
	bool ok = store_get(t, "old", octets("a"), &value) == ST_OK && value.len == 1 &&
		  value.data[0] == '1' && store_get(t, "new", octets("a"), &value) == ST_OK &&
		  value.data[0] == '2' && store_get(t, "open", octets("a"), &value) == ST_ENOENT;
	store_abort(t);
	store_close(s);
	return ok ? 0 : 14;
}

static void another_process_reads_while_this_one_writes(void **state)
{
	struct fixture *f = *state;
	posix_spawn_file_actions_t actions;
	int to[2];
	int from[2];
	pid_t pid;
	char *argv[] = {self_path, f->dir, NULL};
	char word;
	int wait_status;

	put(f->store, "old", "a", "1");
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
	assert_int_equal(posix_spawn(&pid, self_path, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(to[0]);
	close(from[1]);
	assert_int_equal(read(from[0], &word, 1), 1);
	put(f->store, "new", "a", "2");
	struct store_txn *t = begin(f->store, true);
	assert_int_equal(store_put(t, "open", octets("a"), octets("3")), ST_OK);
	assert_int_equal(write(to[1], "g", 1), 1);
	assert_int_equal(waitpid(pid, &wait_status, 0), pid);
	assert_true(WIFEXITED(wait_status));
	assert_int_equal(WEXITSTATUS(wait_status), 0);
	store_abort(t);
	close(to[1]);
	close(from[0]);
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(what_is_put_is_there_after_reopening),
		STORE_TEST(delete),
		STORE_TEST(abort_leaves_no_trace),
		STORE_TEST(reader_keeps_its_snapshot),
		STORE_TEST(read_transaction_may_not_write),
		STORE_TEST(keys_have_a_longest),
		STORE_TEST(tables_are_bounded),
		STORE_TEST(full_store_says_so_and_stays_usable),
		STORE_TEST(scans),
		STORE_TEST(files_are_for_the_owner_only),
		STORE_TEST(descriptors_close_on_exec),
		STORE_TEST(absent_damaged_and_forbidden),
		STORE_TEST(lazy_store_is_whole_after_close),
		STORE_TEST(writers_take_turns_and_readers_never_wait),
		STORE_TEST(another_process_reads_while_this_one_writes),
	};

	if (argc == 2) {
		return read_from_another_process(argv[1]);
	}
	ssize_t len = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
	if (len < 0) {
		return 1;
	}
	self_path[len] = '\0';
	return cmocka_run_group_tests(tests, NULL, NULL);
}
