/* Every allocation of a draft's life fails once: nothing leaks, nothing is freed twice, and the
 * base stays as it was. The linker sends malloc() and its kin here. */
#include "version_fixture.h"
#include "zones/draft_impl.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__real_bulk_alloc(size_t size);
void *__wrap_bulk_alloc(size_t size);

/* Several threads may allocate. */
static _Atomic(long) allowed = -1; /* allocations until they fail; -1: all succeed */
static _Atomic(bool) failed;

static bool may_allocate(void)
{
	long now = atomic_load(&allowed);
	while (now > 0 && !atomic_compare_exchange_weak(&allowed, &now, now - 1)) {
	}
	if (now == 0) {
		failed = true;
		return false;
	}
	return true;
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

void *__wrap_bulk_alloc(size_t size)
{
	return may_allocate() ? __real_bulk_alloc(size) : NULL;
}

static struct wire_name random_name(uint64_t *random)
{
	char text[64];
	switch (next_random(random) % 4) {
	case 0:
		snprintf(text, sizeof(text), "h%u.z.test", next_random(random) % 300);
		break;
	case 1:
		snprintf(text, sizeof(text), "x.y%u.e%u.z.test", next_random(random) % 20,
			 next_random(random) % 10);
		break;
	case 2:
		snprintf(text, sizeof(text), "e%u.z.test", next_random(random) % 10);
		break;
	default:
		snprintf(text, sizeof(text), "k%u.h%u.z.test", next_random(random) % 3,
			 next_random(random) % 300);
		break;
	}
	return wire(text);
}

static enum status put(struct draft *d, const struct wire_name *name, uint16_t type, unsigned value)
{
	/* The fixture's own allocations always succeed. */
	long saved = allowed;
	allowed = -1;
	struct rrset *rs = rrset_valued(type, value);
	allowed = saved;
	return draft_put(d, name->octets, rs);
}

static enum status change(struct draft *d, uint64_t *random)
{
	struct wire_name name = random_name(random);
	unsigned value = 1 + next_random(random) % 4;
	enum status st;
	switch (next_random(random) % 7) {
	case 0:
		st = draft_remove(d, name.octets, RR_A);
		break;
	case 1:
		st = draft_remove(d, name.octets, RR_NS);
		break;
	case 2:
		st = put(d, &name, RR_NS, value);
		break;
	case 3:
		st = put(d, &name, RR_NSEC3, value);
		break;
	case 4:
		st = draft_renew(d, name.octets, RR_A);
		break;
	case 5:
		st = draft_settle(d);
		break;
	default:
		st = put(d, &name, RR_A, value);
		break;
	}
	return st == ST_ENOENT ? ST_OK : st;
}

static enum status build(struct version *base, unsigned changes, uint64_t seed,
			 struct version **out)
{
	struct draft *d;
	struct wire_name apex = wire("z.test");
	struct freeze f = {.denial = seed % 2 == 0 ? DENIAL_NSEC : DENIAL_NONE};
	const uint8_t *const *names;
	size_t count;
	uint64_t random = seed;
	enum status st = draft_new(apex.octets, base, &d);
	if (st != ST_OK) {
		return st;
	}
	st = put(d, &apex, RR_SOA, (unsigned)seed);
	for (unsigned i = 0; st == ST_OK && i < changes; i++) {
		st = change(d, &random);
	}
	if (st == ST_OK) {
		st = draft_touched(d, &names, &count);
	}
	if (st == ST_OK) {
		st = draft_freeze(d, &f, out);
	}
	draft_free(d);
	return st;
}

static enum status add_name(void *ctx, const struct node *n)
{
	uint64_t *sum = ctx;
	for (unsigned i = 0; i < n->rrset_count; i++) {
		*sum = *sum * 31 + n->hash + n->rrsets[i]->data[2];
	}
	return ST_OK;
}

static uint64_t sum_of(const struct version *v)
{
	uint64_t sum = v->order.count;
	assert_int_equal(version_walk(v, add_name, &sum), ST_OK);
	return sum;
}

static void test_changes(void **state)
{
	(void)state;
	struct version *base = NULL;
	assert_int_equal(build(NULL, 2000, 2, &base), ST_OK);
	uint64_t sum = sum_of(base);
	for (uint64_t seed = 1; seed <= 8; seed++) {
		enum status st = ST_ENOMEM;
		for (long n = 0; st != ST_OK; n++) {
			struct version *v = NULL;
			allowed = n;
			failed = false;
			st = build(seed % 4 == 0 ? NULL : base, 60 + (unsigned)seed * 10, seed, &v);
			allowed = -1;
			assert_int_equal(v != NULL, st == ST_OK);
			assert_true(st == ST_OK || (st == ST_ENOMEM && failed));
			assert_true(sum_of(base) == sum);
			version_unref(v);
		}
	}
	version_unref(base);
}

static void test_apply(void **state)
{
	(void)state;
	static const char text[] =
		"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\na A 192.0.2.1\n"
		"a RRSIG A 13 3 60 20300101000000 20200101000000 1 z.test. AQID\n"
		"b.c.d NS x\ny.b.c.d A 192.0.2.1\nh7 A 192.0.2.1\nh9 TXT x\n"
		"00000000000000000000000000000000 NSEC3 1 0 0 - 10000000000000000000000000000000\n";
	struct content c;
	struct version *base = NULL;
	assert_int_equal(build(NULL, 500, 2, &base), ST_OK);
	read_content(&c, "z.test", text);
	for (unsigned turn = 0; turn < 4; turn++) {
		enum status st = ST_ENOMEM;
		for (long n = 0; st != ST_OK; n++) {
			struct draft *d;
			allowed = n;
			failed = false;
			st = draft_new(c.apex, turn % 2 == 0 ? NULL : base, &d);
			if (st == ST_OK) {
				st = draft_apply(d, &c, turn / 2 == 0);
				if (st == ST_OK) {
					st = draft_settle(d);
				}
				draft_free(d);
			}
			allowed = -1;
			assert_true(st == ST_OK || (st == ST_ENOMEM && failed));
		}
	}
	content_fini(&c);
	version_unref(base);
}

/* The same for a zone that is made at once, in several parts. */
static void test_build(void **state)
{
	(void)state;
	static const char text[] =
		"$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\na A 192.0.2.1\n"
		"a RRSIG A 13 3 60 20300101000000 20200101000000 1 z.test. AQID\n"
		"b.c.d NS x\ny.b.c.d A 192.0.2.1\nh7 A 192.0.2.1\nh9 TXT x\n"
		"00000000000000000000000000000000 NSEC3 1 0 0 - 10000000000000000000000000000000\n"
		"$GENERATE 1-200 g$.e A 192.0.2.1\n$GENERATE 1-90 x$ TXT y\n";
	struct content c;
	read_content(&c, "z.test", text);
	for (unsigned turn = 0; turn < 6; turn++) {
		enum status st = ST_ENOMEM;
		for (long n = 0; st != ST_OK; n++) {
			struct draft *d;
			struct version *v = NULL;
			allowed = n;
			failed = false;
			st = draft_new(c.apex, NULL, &d);
			if (st == ST_OK) {
				st = draft_build(d, &c,
						 &(struct build_options){.signing = turn % 2 == 0,
									 .parts = 1 + turn / 2});
				if (st == ST_OK) {
					st = draft_freeze(d, &(struct freeze){.denial = turn % 2},
							  &v);
				}
				draft_free(d);
			}
			allowed = -1;
			version_unref(v);
			assert_true(st == ST_OK || (st == ST_ENOMEM && failed));
		}
	}
	content_fini(&c);
}

/* Of a large zone, some of them. */
static void test_build_large(void **state)
{
	(void)state;
	static const char text[] = "$TTL 60\n@ SOA ns h 1 1 1 1 1\n@ NS ns\n"
				   "$GENERATE 1-60000 g$.e A 192.0.2.1\n"
				   "$GENERATE 1-60000 g$ A 192.0.2.1\n";
	struct content c;
	read_content(&c, "z.test", text);
	enum status st = ST_ENOMEM;
	for (long n = 1; st != ST_OK; n += 1 + n / 2) {
		struct draft *d;
		assert_int_equal(draft_new(c.apex, NULL, &d), ST_OK);
		allowed = n;
		failed = false;
		st = draft_build(d, &c, &(struct build_options){.signing = true, .parts = 2});
		allowed = -1;
		draft_free(d);
		assert_true(st == ST_OK || (st == ST_ENOMEM && failed));
	}
	content_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_apply),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_build_large),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
