/* Journals in a folder of their own, and differences that tell where they come from. */
#pragma once

#include "nsd-core/journal.h"
#include "version_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_MAP   ((size_t)64 << 20)
#define TEST_LIMIT ((uint64_t)1 << 20)

static const uint8_t journal_apex[] = "\4zone\4test";

struct journal_fixture {
	char folder[64];
	struct journal *journal;
	struct journal_zone *zone;
	struct diags diags;
};

static inline void fixture_open(struct journal_fixture *f, size_t map, uint64_t limit)
{
	diags_fini(&f->diags);
	diags_init(&f->diags, 16);
	assert_int_equal(journal_open(f->folder, map, &f->journal, &f->diags), ST_OK);
	assert_int_equal(journal_zone_new(f->journal, journal_apex, limit, &f->zone, &f->diags),
			 ST_OK);
}

static inline void fixture_close(struct journal_fixture *f)
{
	journal_zone_free(f->zone);
	journal_close(f->journal);
	f->zone = NULL;
	f->journal = NULL;
}

static inline void fixture_reopen(struct journal_fixture *f, uint64_t limit)
{
	fixture_close(f);
	fixture_open(f, TEST_MAP, limit);
}

static inline int fixture_setup(void **state)
{
	struct journal_fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	strcpy(f->folder, "/tmp/signet-journal-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	diags_init(&f->diags, 16);
	*state = f;
	return 0;
}

static inline int fixture_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int fixture_teardown(void **state)
{
	struct journal_fixture *f = *state;
	fixture_close(f);
	diags_fini(&f->diags);
	nftw(f->folder, fixture_unlink, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static inline void put_record(struct difference *d, const char *owner, uint16_t type,
			      const void *rdata, size_t len)
{
	struct wire_name name = wire(owner);
	struct diff_record r = {
		.owner = name.octets, .type = type, .ttl = 300, .rdata = {rdata, len}};
	assert_int_equal(difference_add(d, &r), ST_OK);
}

static inline void put_soa(struct difference *d, uint32_t serial)
{
	uint8_t rdata[22] = {0};
	be32_put(rdata + 2, serial);
	put_record(d, "zone.test", RR_SOA, rdata, sizeof(rdata));
}

static inline void put_number(struct difference *d, const char *owner, uint32_t number)
{
	uint8_t rdata[4];
	be32_put(rdata, number);
	put_record(d, owner, RR_A, rdata, sizeof(rdata));
}

/* From one serial to the next: an address goes and another comes, with 'padding' octets beside. */
static inline void make_change(struct journal_change *c, struct journal_zone *z, uint32_t from,
			       uint32_t to, size_t padding)
{
	static uint8_t octets[65535];
	*c = (struct journal_change){.zone = z, .step = JOURNAL_APPEND, .from = from, .to = to};
	c->sum.words[0] = to;
	c->sum.octets = 1U << 30;
	c->difference.limit = (size_t)1 << 30;
	put_soa(&c->difference, from);
	put_number(&c->difference, "a.zone.test", from);
	put_soa(&c->difference, to);
	put_number(&c->difference, "a.zone.test", to);
	while (padding > 0) {
		size_t some = padding < sizeof(octets) ? padding : sizeof(octets);
		memset(octets, (int)(to & 0xff), some);
		put_record(&c->difference, "padding.zone.test", 65300, octets, some);
		padding -= some;
	}
}

/* Returns the change's status. */
static inline enum status commit_one(struct journal_fixture *f, struct journal_change *c)
{
	journal_commit(f->journal, &c, 1);
	enum status st = c->status;
	difference_fini(&c->difference);
	return st;
}

static inline enum status commit_step(struct journal_fixture *f, uint32_t from, uint32_t to,
				      size_t padding)
{
	struct journal_change c;
	make_change(&c, f->zone, from, to, padding);
	return commit_one(f, &c);
}

/* The history begins with this serial. */
static inline void commit_first(struct journal_fixture *f, uint32_t serial)
{
	struct journal_change c = {.zone = f->zone, .step = JOURNAL_RESTART, .to = serial};
	c.sum.words[0] = serial;
	c.sum.octets = 1U << 30;
	assert_int_equal(commit_one(f, &c), ST_OK);
}

static inline void assert_last(struct journal_fixture *f, uint32_t serial)
{
	struct zone_sum sum;
	uint32_t last = 0;
	assert_true(journal_last(f->zone, &last, &sum));
	assert_int_equal(last, serial);
	assert_int_equal(sum.words[0], serial);
}

/* Reads all differences from one serial to the other: each says what it should. */
static inline void assert_leads(struct journal_fixture *f, uint32_t from, uint32_t to)
{
	struct journal_span span;
	struct journal_piece piece = {.data = NULL};
	assert_int_equal(journal_span(f->zone, from, to, &span), ST_OK);
	uint32_t serial = from;
	for (size_t i = 0; i < span.count; i++) {
		unsigned soas = 0;
		uint32_t to_serial = 0;
		piece.last = false;
		for (uint32_t index = 0; !piece.last; index++) {
			struct difference_reader reader;
			struct diff_record r;
			enum status st;
			assert_int_equal(journal_read(f->zone, span.first + i, index, &piece),
					 ST_OK);
			difference_reader_init(&reader, (struct bytes){piece.data, piece.len});
			while ((st = difference_next(&reader, &r)) == ST_OK) {
				if (r.type != RR_SOA) {
					continue;
				}
				to_serial = be32_get(r.rdata.data + 2);
				if (++soas == 1) {
					assert_int_equal(to_serial, serial);
				}
			}
			assert_int_equal(st, ST_ENOENT);
		}
		assert_int_equal(soas, 2);
		serial = to_serial;
	}
	assert_int_equal(serial, to);
	journal_piece_fini(&piece);
}

static inline size_t versions_of(struct journal_fixture *f)
{
	struct journal_status s;
	journal_zone_status(f->zone, &s);
	return s.versions;
}
