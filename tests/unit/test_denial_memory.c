/* Every allocation that making a chain needs fails once: nothing leaks, nothing is freed twice, and
 * the base stays as it was. The linker sends malloc() and its kin here. */
#include "tests/unit/denial_fixture.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__real_bulk_alloc(size_t size);
void *__wrap_bulk_alloc(size_t size);

static long allowed = -1; /* allocations until they fail; -1: all succeed */

static bool may_allocate(void)
{
	if (allowed > 0) {
		allowed--;
	}
	return allowed != 0;
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

/* Prepares a draft of the base, edited where 'edited', with so many allocations. */
static enum status prepare(struct version *base, struct keyset *ks, bool edited,
			   enum sign_denial denial, long count)
{
	struct draft *d = NULL;
	struct version *v = NULL;
	assert_int_equal(draft_new(wire(APEX), base, &d), ST_OK);
	if (edited) {
		model_put(d, "a.new.name", RR_A, 1);
		model_put(d, "mail", RR_TXT, 1);
		assert_int_equal(draft_remove(d, wire("safe.example.com"), RR_DS), ST_OK);
		assert_int_equal(draft_remove(d, wire("_sip._tcp.example.com"), RR_SRV), ST_OK);
	}
	allowed = count;
	enum status st = signer_prepare_draft(d, ks, false, denial);
	allowed = -1;
	if (st == ST_OK) {
		v = freeze_denying(d, ks, denial);
		assert_int_equal(signer_denial(v), denial);
		version_unref(v);
	} else {
		assert_int_equal(st, ST_ENOMEM);
		draft_free(d);
	}
	return st;
}

static enum status count_rrsets(void *ctx, const struct node *n)
{
	*(size_t *)ctx += n->rrset_count;
	return ST_OK;
}

static size_t rrsets_of(const struct version *v)
{
	size_t count = 0;
	assert_int_equal(version_walk(v, count_rrsets, &count), ST_OK);
	return count;
}

static void memory_may_be_out_at_any_time(void **state)
{
	static const enum sign_denial kinds[] = {SIGN_NSEC, SIGN_NSEC3, SIGN_NSEC3_OPT_OUT};
	(void)state;
	for (size_t i = 0; i < 18; i++) {
		enum sign_denial from = kinds[i % 3];
		enum sign_denial to = kinds[i / 3 % 3];
		bool edited = i >= 9;
		struct keyset *ks = keys_new();
		struct version *base = version_denying(APEX, nasty, NULL, ks, from);
		size_t before = rrsets_of(base);
		long count = 1;
		while (prepare(base, ks, edited, to, count) != ST_OK) {
			count++;
			assert_true(count < 10000);
			assert_int_equal(rrsets_of(base), before);
		}
		/* Some failed. */
		assert_true(count > 1);
		version_unref(base);
		keyset_unref(ks);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_may_be_out_at_any_time),
	};
	return cmocka_run_group_tests_name("denial_memory", tests, NULL, NULL);
}
