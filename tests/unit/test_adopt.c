/* What a version that was given up has signed. */
#include "tests/unit/engine_fixture.h"

#define APEX "example.com"

static enum status same_each(void *ctx, const struct node *n)
{
	const struct version *other = ctx;
	struct sort_key key;
	sort_key_init(&key, node_name(n));
	const struct node *m = node_rrset(n, RR_NSEC3) != NULL ? btree_find(&other->nsec3, &key)
							       : btree_find(&other->order, &key);
	for (size_t i = 0; m != NULL && i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct rrset *like = node_rrset(m, rs->type);
		if (like != NULL && rrset_equal(rs, like) && rrset_sigs(like) != NULL) {
			assert_non_null(rrset_sigs(rs));
			assert_true(sigset_equal(rrset_sigs(rs), rrset_sigs(like)));
		}
	}
	return ST_OK;
}

/* A draft of the base with an NSEC3 chain, and one name more where 'edited'. */
static struct draft *next_draft(struct engine *e, bool edited, enum sign_denial denial)
{
	struct draft *d = NULL;
	assert_int_equal(draft_new(wire(APEX), e->v, &d), ST_OK);
	if (edited) {
		struct rrset *rs = NULL;
		assert_int_equal(
			rrset_new(RR_A, 60, &(struct bytes){(const uint8_t *)"1234", 4}, 1, &rs),
			ST_OK);
		assert_int_equal(draft_put(d, wire("edit." APEX), rs), ST_OK);
	}
	assert_int_equal(signer_prepare_draft(d, e->ks, false, denial), ST_OK);
	return d;
}

static void what_is_alike_is_adopted(void **state)
{
	(void)state;
	struct engine e;
	struct list l;
	size_t count = 99;
	engine_start(&e, true, true);
	assert_int_equal(signer_complete(e.signer, e.v, NULL), ST_OK);
	struct version *given_up =
		freeze_denying(next_draft(&e, false, SIGN_NSEC3), e.ks, SIGN_NSEC3);

	/* Nothing is signed yet. */
	struct draft *d = next_draft(&e, false, SIGN_NSEC3);
	assert_int_equal(signer_adopt(d, given_up, &count), ST_OK);
	assert_int_equal(count, 0);
	draft_free(d);

	/* All is: one NSEC3 for each name, and the NSEC3PARAM. */
	size_t chain = given_up->nsec3.count;
	assert_int_equal(signer_complete(e.signer, given_up, NULL), ST_OK);
	struct version *v = NULL;
	d = next_draft(&e, false, SIGN_NSEC3);
	assert_int_equal(signer_adopt(d, given_up, &count), ST_OK);
	assert_int_equal(count, chain + 1);
	v = freeze_denying(d, e.ks, SIGN_NSEC3);
	assert_int_equal(version_walk(v, same_each, given_up), ST_OK);
	list_rrsets(v, &l);
	assert_int_equal(l.filled, l.count);
	version_unref(v);

	/* A name more: its own NSEC3 is new, and the one before it another one. */
	d = next_draft(&e, true, SIGN_NSEC3);
	assert_int_equal(signer_adopt(d, given_up, &count), ST_OK);
	assert_int_equal(count, chain);
	v = freeze_denying(d, e.ks, SIGN_NSEC3);
	assert_int_equal(version_walk(v, same_each, given_up), ST_OK);
	list_rrsets(v, &l);
	assert_int_equal(l.count - l.filled, 3);
	assert_null(rrset_sigs(rrset_at(v, "edit." APEX, RR_A)));
	version_unref(v);

	/* All NSEC3s of another kind are others. */
	d = next_draft(&e, false, SIGN_NSEC3_OPT_OUT);
	assert_int_equal(signer_adopt(d, given_up, &count), ST_OK);
	assert_int_equal(count, 1);
	draft_free(d);
	version_unref(given_up);
	engine_end(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_alike_is_adopted),
	};
	return cmocka_run_group_tests_name("adopt", tests, NULL, NULL);
}
