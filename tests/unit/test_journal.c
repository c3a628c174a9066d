/* The journal: what is in it is there after whatever happens to the process, or is known to be
 * gone. */
#include "journal_fixture.h"

#include "nsd-core/base/store.h"
#include "nsd-core/log.h"

#include <pthread.h>
#include <signal.h>

#define ROUNDS_KILLED 12

static void test_differences_in_pieces(void **state)
{
	static uint8_t octets[65535];
	struct difference d = {.limit = 400000};
	struct diff_record r;
	(void)state;
	put_soa(&d, 1);
	for (unsigned i = 0; i < 4000; i++) {
		put_number(&d, i % 3 == 0 ? "a.zone.test" : "zone.test", i);
	}
	memset(octets, 7, sizeof(octets));
	put_record(&d, "long.zone.test", 65300, octets, sizeof(octets));
	put_number(&d, "long.zone.test", 1);
	assert_true(d.pieces >= 3);
	unsigned numbers = 0;
	unsigned all = 0;
	uint64_t sum = 0;
	for (size_t i = 0; i < d.pieces; i++) {
		struct bytes piece = difference_piece(&d, i);
		struct difference_reader reader;
		assert_true(piece.len > 0 && piece.len <= DIFFERENCE_PIECE_MAX);
		difference_reader_init(&reader, piece);
		while (difference_next(&reader, &r) == ST_OK) {
			all++;
			sum += diff_record_octets(&r);
			if (r.type == RR_A && r.rdata.len == 4 && all < 4002) {
				assert_int_equal(be32_get(r.rdata.data), numbers++);
				assert_int_equal(name_len(r.owner), numbers % 3 == 1 ? 13 : 11);
			}
		}
	}
	assert_int_equal(all, 4003);
	assert_int_equal(numbers, 4000);
	assert_int_equal(sum, d.octets);
	assert_true(d.len <= d.octets);
	size_t before = d.len;
	r = (struct diff_record){journal_apex, 65300, 1, {octets, sizeof(octets)}};
	while (difference_add(&d, &r) == ST_OK) {
		before = d.len;
	}
	assert_int_equal(difference_add(&d, &r), ST_ELIMIT);
	assert_int_equal(d.len, before);
	difference_fini(&d);
}

/* Cut anywhere, or with other octets in it: no piece, and nothing worse. */
static void test_pieces_that_are_none(void **state)
{
	struct difference d = {.limit = 4096};
	uint64_t rng = 5;
	(void)state;
	put_soa(&d, 1);
	put_number(&d, "a.zone.test", 2);
	put_number(&d, "a.zone.test", 3);
	for (unsigned round = 0; round < 4000; round++) {
		size_t len = round < d.len ? round : d.len;
		uint8_t *octets = malloc(len + 1);
		struct difference_reader reader;
		struct diff_record r;
		enum status st;
		assert_non_null(octets);
		memcpy(octets, d.data, len);
		if (round >= d.len) {
			octets[next_random(&rng) % len] = (uint8_t)next_random(&rng);
		}
		octets = realloc(octets, len == 0 ? 1 : len);
		difference_reader_init(&reader, (struct bytes){octets, len});
		while ((st = difference_next(&reader, &r)) == ST_OK) {
			assert_true(r.rdata.len <= len);
		}
		assert_true(st == ST_ENOENT || st == ST_EPARSE);
		free(octets);
	}
	difference_fini(&d);
	/* The first record says that its owner is that of the one before. */
	static const uint8_t none[] = {0, 0, 1, 0, 0, 0, 0, 0, 0};
	struct difference_reader reader;
	struct diff_record r;
	difference_reader_init(&reader, (struct bytes){none, sizeof(none)});
	assert_int_equal(difference_next(&reader, &r), ST_EPARSE);
}

static void test_history_is_kept(void **state)
{
	struct journal_fixture *f = *state;
	struct journal_span span;
	struct zone_sum sum;
	uint32_t serial = 77;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	assert_false(journal_last(f->zone, &serial, &sum));
	assert_int_equal(serial, 77);
	assert_int_equal(journal_span(f->zone, 1, 2, &span), ST_ENOENT);
	commit_first(f, 10);
	for (uint32_t i = 10; i < 20; i++) {
		assert_int_equal(commit_step(f, i, i + 1, i == 15 ? 200000 : 0), ST_OK);
	}
	for (unsigned again = 0; again < 2; again++) {
		assert_last(f, 20);
		assert_leads(f, 10, 20);
		assert_leads(f, 14, 17);
		assert_leads(f, 19, 20);
		assert_int_equal(journal_span(f->zone, 9, 20, &span), ST_ENOENT);
		assert_int_equal(journal_span(f->zone, 20, 20, &span), ST_ENOENT);
		assert_int_equal(journal_span(f->zone, 12, 21, &span), ST_ENOENT);
		assert_int_equal(journal_span(f->zone, 17, 12, &span), ST_ENOENT);
		assert_int_equal(versions_of(f), 10);
		fixture_reopen(f, TEST_LIMIT);
		assert_int_equal(f->diags.count, 0);
	}
	/* Over the end of the numbers. */
	commit_first(f, 0xfffffffe);
	assert_int_equal(versions_of(f), 0);
	assert_int_equal(commit_step(f, 0xfffffffe, 0xffffffff, 0), ST_OK);
	assert_int_equal(commit_step(f, 0xffffffff, 0, 0), ST_OK);
	assert_int_equal(commit_step(f, 0, 5, 0), ST_OK);
	fixture_reopen(f, TEST_LIMIT);
	assert_leads(f, 0xfffffffe, 5);
}

/* What was written and never published is replaced; what does not follow begins anew. */
static void test_what_does_not_follow(void **state)
{
	struct journal_fixture *f = *state;
	struct journal_span span;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	commit_first(f, 1);
	assert_int_equal(commit_step(f, 1, 2, 0), ST_OK);
	assert_int_equal(commit_step(f, 2, 3, 200000), ST_OK);
	assert_int_equal(commit_step(f, 2, 4, 0), ST_OK);
	assert_int_equal(versions_of(f), 2);
	assert_leads(f, 1, 4);
	assert_int_equal(journal_span(f->zone, 1, 3, &span), ST_ENOENT);
	struct journal_change keep = {.zone = f->zone, .step = JOURNAL_KEEP};
	assert_int_equal(commit_one(f, &keep), ST_OK);
	fixture_reopen(f, TEST_LIMIT);
	assert_leads(f, 1, 4);
	assert_int_equal(commit_step(f, 7, 8, 0), ST_OK);
	assert_int_equal(versions_of(f), 0);
	assert_last(f, 8);
	fixture_reopen(f, TEST_LIMIT);
	assert_int_equal(versions_of(f), 0);
	assert_last(f, 8);
	assert_int_equal(commit_step(f, 8, 9, 0), ST_OK);
	assert_leads(f, 8, 9);
}

static void test_the_oldest_goes_first(void **state)
{
	struct journal_fixture *f = *state;
	struct journal_span span;
	struct journal_status s;
	fixture_open(f, TEST_MAP, 100000);
	commit_first(f, 0);
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(commit_step(f, i, i + 1, 2000), ST_OK);
		journal_zone_status(f->zone, &s);
		assert_true(s.octets <= 100000);
		assert_leads(f, s.oldest, i + 1);
	}
	assert_true(s.versions > 30 && s.versions < 50);
	assert_int_equal(journal_span(f->zone, s.oldest - 1, 200, &span), ST_ENOENT);
	/* One that is longer than all: it stands alone. */
	assert_int_equal(commit_step(f, 200, 201, 99000), ST_OK);
	assert_int_equal(versions_of(f), 1);
	assert_leads(f, 200, 201);
	fixture_reopen(f, 100000);
	assert_leads(f, 200, 201);
	/* What was cut off is not found by who was about to read it. */
	struct journal_piece piece = {.data = NULL};
	assert_int_equal(journal_read(f->zone, 3, 0, &piece), ST_ENOENT);
	assert_null(piece.data);
}

/* A folder's worth of zones, in one transaction; those that nobody knows any more are removed. */
static bool keep_only_zone(void *ctx, const uint8_t *apex)
{
	(void)ctx;
	return name_equal(apex, journal_apex);
}

static void test_zones_that_are_gone(void **state)
{
	static const uint8_t other[] = "\5other\4test";
	static const uint8_t below[] = "\1a\4zone\4test";
	struct journal_fixture *f = *state;
	struct journal_zone *zones[2];
	struct journal_change changes[3];
	struct journal_change *list[3] = {&changes[0], &changes[1], &changes[2]};
	size_t removed = 0;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	assert_int_equal(journal_zone_new(f->journal, other, TEST_LIMIT, &zones[0], &f->diags),
			 ST_OK);
	assert_int_equal(journal_zone_new(f->journal, below, TEST_LIMIT, &zones[1], &f->diags),
			 ST_OK);
	for (uint32_t i = 1; i < 4; i++) {
		make_change(&changes[0], f->zone, i, i + 1, 0);
		make_change(&changes[1], zones[0], i, i + 1, 150000);
		make_change(&changes[2], zones[1], i, i + 1, 0);
		journal_commit(f->journal, list, 3);
		for (size_t k = 0; k < 3; k++) {
			assert_int_equal(changes[k].status, ST_OK);
			difference_fini(&changes[k].difference);
		}
	}
	/* The first had nothing to follow. */
	assert_leads(f, 2, 4);
	journal_zone_free(zones[0]);
	journal_zone_free(zones[1]);
	assert_int_equal(journal_prune(f->journal, keep_only_zone, NULL, &removed), ST_OK);
	assert_int_equal(removed, 2);
	assert_int_equal(journal_prune(f->journal, keep_only_zone, NULL, &removed), ST_OK);
	assert_int_equal(removed, 0);
	assert_leads(f, 2, 4);
	assert_int_equal(journal_zone_new(f->journal, other, TEST_LIMIT, &zones[0], &f->diags),
			 ST_OK);
	struct journal_span span;
	assert_int_equal(journal_span(zones[0], 2, 4, &span), ST_ENOENT);
	journal_zone_free(zones[0]);
}

/* Changes an entry behind the journal's back. */
static void spoil(struct journal_fixture *f, const char *table, const uint8_t *key, size_t key_len,
		  size_t at)
{
	const struct store_options opt = {.map_bytes = TEST_MAP};
	struct store *store;
	struct store_txn *txn;
	struct bytes value;
	static uint8_t copy[100000];
	assert_int_equal(store_open(f->folder, JOURNAL_STORE, &opt, &store, &f->diags), ST_OK);
	assert_int_equal(store_begin(store, true, &txn), ST_OK);
	assert_int_equal(store_get(txn, table, (struct bytes){key, key_len}, &value), ST_OK);
	memcpy(copy, value.data, value.len);
	copy[at] ^= 0x55;
	assert_int_equal(store_put(txn, table, (struct bytes){key, key_len},
				   (struct bytes){copy, value.len}),
			 ST_OK);
	assert_int_equal(store_commit(txn), ST_OK);
	store_close(store);
}

static void test_damaged_entries(void **state)
{
	struct journal_fixture *f = *state;
	uint8_t key[NAME_MAX_LEN + 12];
	struct journal_piece piece = {.data = NULL};
	struct journal_span span;
	struct zone_sum sum;
	uint32_t serial;
	memcpy(key, journal_apex, sizeof(journal_apex));
	for (unsigned what = 0; what < 3; what++) {
		static const char *const tables[] = {"pieces", "differences", "zones"};
		size_t lens[] = {sizeof(journal_apex) + 12, sizeof(journal_apex) + 8,
				 sizeof(journal_apex)};
		fixture_open(f, TEST_MAP, TEST_LIMIT);
		commit_first(f, 1);
		assert_int_equal(commit_step(f, 1, 2, 0), ST_OK);
		assert_int_equal(commit_step(f, 2, 3, 0), ST_OK);
		assert_int_equal(journal_span(f->zone, 2, 3, &span), ST_OK);
		be64_put(key + sizeof(journal_apex), span.first);
		be32_put(key + sizeof(journal_apex) + 8, 0);
		fixture_close(f);
		spoil(f, tables[what], key, lens[what], what == 0 ? 20 : 0);
		fixture_open(f, TEST_MAP, TEST_LIMIT);
		if (what == 0) {
			assert_int_equal(f->diags.warnings, 0);
			assert_int_equal(journal_span(f->zone, 1, 3, &span), ST_OK);
			assert_int_equal(journal_read(f->zone, span.first, 0, &piece), ST_OK);
			assert_int_equal(journal_read(f->zone, span.first + 1, 0, &piece), ST_EIO);
		} else {
			assert_int_equal(f->diags.warnings, 1);
		}
		/* It is given up, and begins anew. */
		assert_int_equal(versions_of(f), 0);
		assert_false(journal_last(f->zone, &serial, &sum));
		assert_int_equal(journal_span(f->zone, 1, 3, &span), ST_ENOENT);
		assert_int_equal(commit_step(f, 3, 4, 0), ST_OK);
		assert_int_equal(commit_step(f, 4, 5, 0), ST_OK);
		assert_leads(f, 4, 5);
		fixture_reopen(f, TEST_LIMIT);
		assert_int_equal(f->diags.warnings, 0);
		assert_leads(f, 4, 5);
		assert_int_equal(versions_of(f), 1);
		fixture_close(f);
	}
	journal_piece_fini(&piece);
}

/* Not a store at all, or one that was cut short: it is kept aside, and there is another. */
static void test_damaged_store(void **state)
{
	struct journal_fixture *f = *state;
	char path[128];
	char aside[160];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s.lmdb", f->folder, JOURNAL_STORE);
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	for (unsigned i = 0; i < 20000; i++) {
		fprintf(out, "this is no store\n");
	}
	fclose(out);
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	assert_int_equal(f->diags.warnings, 1);
	assert_int_equal(stat(aside, &st), 0);
	commit_first(f, 1);
	for (uint32_t i = 1; i < 40; i++) {
		assert_int_equal(commit_step(f, i, i + 1, 20000), ST_OK);
	}
	fixture_close(f);
	assert_int_equal(stat(path, &st), 0);
	for (off_t size = st.st_size - 4096; size > 0; size -= st.st_size / 7) {
		struct journal_span span;
		assert_int_equal(truncate(path, size), 0);
		fixture_open(f, TEST_MAP, TEST_LIMIT);
		if (journal_span(f->zone, 1, 40, &span) == ST_OK) {
			struct journal_piece piece = {.data = NULL};
			enum status read = ST_OK;
			for (uint64_t i = 0; i < span.count && read == ST_OK; i++) {
				read = journal_read(f->zone, span.first + i, 0, &piece);
			}
			assert_true(read == ST_OK || read == ST_EIO || read == ST_ENOENT);
			journal_piece_fini(&piece);
		}
		fixture_close(f);
	}
}

/* There is no room: the version goes out without history, which begins anew once there is. */
static void test_full(void **state)
{
	struct journal_fixture *f = *state;
	const size_t map = 40 * 4096;
	struct journal_span span;
	enum status st = ST_OK;
	uint32_t serial = 1;
	fixture_open(f, map, TEST_LIMIT);
	commit_first(f, serial);
	while (st == ST_OK && serial < 200) {
		st = commit_step(f, serial, serial + 1, 5000);
		serial += st == ST_OK;
	}
	assert_int_equal(st, ST_ELIMIT);
	/* It was lost with it, whether or not a new beginning could be written. */
	assert_int_equal(journal_span(f->zone, serial - 1, serial, &span), ST_ENOENT);
	serial++;
	/* What is smaller finds room, and is history again. */
	for (unsigned i = 0; i < 3; i++, serial++) {
		assert_int_equal(commit_step(f, serial, serial + 1, 0), ST_OK);
	}
	assert_leads(f, serial - 1, serial);
	fixture_close(f);
	fixture_open(f, map, TEST_LIMIT);
	assert_last(f, serial);
	assert_leads(f, serial - 1, serial);
}

/* The child writes until it is killed, and tells of each commit that has returned. */
static void write_until_killed(struct journal_fixture *f, uint32_t serial, int told)
{
	for (;; serial++) {
		size_t padding = serial % 5 == 0 ? 150000 : 300;
		if (commit_step(f, serial, serial + 1, padding) != ST_OK) {
			_exit(1);
		}
		uint32_t done = serial + 1;
		if (write(told, &done, sizeof(done)) != sizeof(done)) {
			_exit(2);
		}
	}
}

static void test_killed_at_any_moment(void **state)
{
	struct journal_fixture *f = *state;
	uint64_t rng = (uint64_t)getpid();
	uint32_t last = 1;
	fixture_open(f, TEST_MAP, TEST_LIMIT);
	commit_first(f, last);
	fixture_close(f);
	for (unsigned round = 0; round < ROUNDS_KILLED; round++) {
		int pipes[2];
		uint32_t told = last;
		uint32_t serial = 0;
		struct zone_sum sum;
		struct journal_status s;
		assert_int_equal(pipe(pipes), 0);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			fixture_open(f, TEST_MAP, TEST_LIMIT);
			write_until_killed(f, last, pipes[1]);
		}
		close(pipes[1]);
		unsigned commits = 1 + next_random(&rng) % 8;
		for (unsigned i = 0; i < commits; i++) {
			assert_int_equal(read(pipes[0], &told, sizeof(told)), sizeof(told));
		}
		usleep(next_random(&rng) % 3000);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
		while (read(pipes[0], &serial, sizeof(serial)) == sizeof(serial)) {
			told = serial;
		}
		close(pipes[0]);
		fixture_open(f, TEST_MAP, TEST_LIMIT);
		assert_int_equal(f->diags.count, 0);
		assert_true(journal_last(f->zone, &last, &sum));
		/* The one under way is there whole, or not at all. */
		assert_true(last == told || last == told + 1);
		assert_last(f, last);
		journal_zone_status(f->zone, &s);
		assert_leads(f, s.oldest, last);
		fixture_close(f);
	}
}

struct reading {
	struct journal_fixture *f;
	_Atomic(bool) stop;
	_Atomic(unsigned) spans, faults;
};

/* Reads what there is, while it is cut off at the other end. */
static void *read_along(void *arg)
{
	struct reading *r = arg;
	struct journal_piece piece = {.data = NULL};
	while (!atomic_load(&r->stop)) {
		struct journal_status s;
		struct journal_span span;
		uint32_t last;
		struct zone_sum sum;
		journal_zone_status(r->f->zone, &s);
		if (!journal_last(r->f->zone, &last, &sum) || s.versions == 0 ||
		    journal_span(r->f->zone, s.oldest, last, &span) != ST_OK) {
			continue;
		}
		for (size_t i = 0; i < span.count; i++) {
			enum status st = journal_read(r->f->zone, span.first + i, 0, &piece);
			atomic_fetch_add(&r->faults, st != ST_OK && st != ST_ENOENT);
		}
		atomic_fetch_add(&r->spans, 1);
	}
	journal_piece_fini(&piece);
	return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
	struct journal_fixture *f = *state;
	struct reading r = {.f = f};
	pthread_t threads[3];
	uint32_t serial = 1;
	fixture_open(f, TEST_MAP, 100000);
	commit_first(f, serial);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, read_along, &r), 0);
	}
	while (serial < 200 || (atomic_load(&r.spans) < 20 && serial < 20000)) {
		assert_int_equal(commit_step(f, serial, serial + 1, 3000), ST_OK);
		serial++;
	}
	atomic_store(&r.stop, true);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
	assert_true(atomic_load(&r.spans) >= 20);
	assert_int_equal(atomic_load(&r.faults), 0);
}

int main(void)
{
#define WITH_FOLDER(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_differences_in_pieces),
		cmocka_unit_test(test_pieces_that_are_none),
		WITH_FOLDER(test_history_is_kept),
		WITH_FOLDER(test_what_does_not_follow),
		WITH_FOLDER(test_the_oldest_goes_first),
		WITH_FOLDER(test_zones_that_are_gone),
		WITH_FOLDER(test_damaged_entries),
		WITH_FOLDER(test_damaged_store),
		WITH_FOLDER(test_full),
		WITH_FOLDER(test_killed_at_any_moment),
		WITH_FOLDER(test_readers_beside_the_writer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
