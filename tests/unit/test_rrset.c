#include "version_fixture.h"

#include "zones/slab.h"

static void test_new_sorts_and_drops_duplicates(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint16_t type;
		const char *in; /* RDATAs of four octets */
		size_t count;
		const char *out;
		size_t out_count;
	} cases[] = {
		{"one", RR_A, "aaaa", 1, "aaaa", 1},
		{"sorted", RR_A, "aaaabbbb", 2, "aaaabbbb", 2},
		{"not sorted", RR_A, "ccccaaaabbbb", 3, "aaaabbbbcccc", 3},
		{"twice the same", RR_A, "bbbbaaaabbbb", 3, "aaaabbbb", 2},
		{"all the same", RR_A, "aaaaaaaa", 2, "aaaa", 1},
		{"more than the stack holds", RR_A,
		 "zzzzyyyyxxxxwwwwvvvvuuuuttttssssrrrrqqqqppppoooonnnnmmmmllllkkkkjjjjzzzz", 18,
		 "jjjjkkkkllllmmmmnnnnooooppppqqqqrrrrssssttttuuuuvvvvwwwwxxxxyyyyzzzz", 17},
		{"names that differ in case are one", RR_NS, "\2Bx\0\2bX\0", 2, "\2Bx\0", 1},
		{"names keep their case", RR_NS, "\2zz\0\2AA\0", 2, "\2AA\0\2zz\0", 2},
	};
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct bytes in[32];
		struct rrset *rs = NULL;
		print_message("%s\n", cases[c].name);
		for (size_t i = 0; i < cases[c].count; i++) {
			in[i] = (struct bytes){(const uint8_t *)cases[c].in + 4 * i, 4};
		}
		assert_int_equal(rrset_new(cases[c].type, 77, in, cases[c].count, &rs), ST_OK);
		assert_int_equal(rs->type, cases[c].type);
		assert_int_equal(rs->ttl, 77);
		assert_int_equal(rs->count, cases[c].out_count);
		assert_int_equal(rs->size, 6 * cases[c].out_count);
		assert_int_equal(rs->flags, 0);
		assert_null(rrset_sigs(rs));
		const uint8_t *p = rs->data;
		for (size_t i = 0; i < cases[c].out_count; i++, p = rdata_next(p)) {
			assert_int_equal(rdata_at(p).len, 4);
			assert_memory_equal(rdata_at(p).data, cases[c].out + 4 * i, 4);
		}
		assert_ptr_equal(p, rs->data + rs->size);
		rrset_free(rs);
	}
	rrset_free(NULL);
}

static void test_new_limits(void **state)
{
	(void)state;
	struct rrset *untouched = (struct rrset *)(uintptr_t)&state;
	struct rrset *rs = untouched;
	uint8_t *big = calloc(1, RDATA_MAX + 1);
	struct bytes *many = calloc(UINT16_MAX + 1, sizeof(*many));
	uint8_t *numbers = calloc(UINT16_MAX + 1, 4);
	struct bytes one = {big, RDATA_MAX + 1};
	assert_int_equal(rrset_new(RR_TXT, 1, &one, 1, &rs), ST_ELIMIT);
	for (unsigned i = 0; i <= UINT16_MAX; i++) {
		be32_put(numbers + (size_t)4 * i, i);
		many[i] = (struct bytes){numbers + (size_t)4 * i, 4};
	}
	assert_int_equal(rrset_new(RR_A, 1, many, UINT16_MAX + 1, &rs), ST_ELIMIT);
	assert_ptr_equal(rs, untouched);
	one.len = RDATA_MAX;
	assert_int_equal(rrset_new(RR_TXT, 1, &one, 1, &rs), ST_OK);
	assert_int_equal(rs->size, RDATA_MAX + 2);
	rrset_free(rs);
	assert_int_equal(rrset_new(RR_A, 1, many, UINT16_MAX, &rs), ST_OK);
	assert_int_equal(rs->count, UINT16_MAX);
	rrset_free(rs);
	free(numbers);
	free(many);
	free(big);
}

static void test_equal(void **state)
{
	(void)state;
	struct rrset *a = rrset_of(RR_A, 60, "\1\2\3\4", 4);
	static const struct {
		uint16_t type;
		uint32_t ttl;
		const char *data;
		size_t len;
		bool equal;
	} cases[] = {
		{RR_A, 60, "\1\2\3\4", 4, true},     {RR_A, 61, "\1\2\3\4", 4, false},
		{RR_A, 60, "\1\2\3\5", 4, false},    {RR_A, 60, "\1\2\3", 3, false},
		{RR_AAAA, 60, "\1\2\3\4", 4, false},
	};
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct rrset *b =
			rrset_of(cases[c].type, cases[c].ttl, cases[c].data, cases[c].len);
		assert_int_equal(rrset_equal(a, b), cases[c].equal);
		rrset_free(b);
	}
	rrset_free(a);
}

/* RDATA of an RRSIG over A by "." with a signature of one octet. */
static struct bytes rrsig(uint8_t buf[20], uint32_t inception, uint32_t expiration,
			  uint8_t signature)
{
	memset(buf, 0, 20);
	buf[1] = RR_A;
	buf[2] = 13;
	be32_put(buf + 8, expiration);
	be32_put(buf + 12, inception);
	buf[19] = signature;
	return (struct bytes){buf, 20};
}

static void test_sigset(void **state)
{
	(void)state;
	uint8_t buf[3][20];
	static const uint8_t apex[] = "\1z";
	struct rrset *rs = rrset_of(RR_A, 1, "abcd", 4);
	struct sigset *set;
	struct sigset *same;
	/* Around the wrap of serial numbers. */
	struct bytes in[3] = {
		rrsig(buf[0], 0xfffffff0, 50, 1),
		rrsig(buf[1], 5, 20, 2),
		rrsig(buf[2], 0xffffff00, 30, 3),
	};
	assert_int_equal(sigset_new(rs, apex, in, 3, &set), ST_OK);
	assert_int_equal(set->count, 3);
	assert_false(sigset_is_short(set));
	assert_int_equal(sigset_data(set, rs, apex, NULL).len, 66);
	assert_int_equal(set->inception, 5);
	assert_int_equal(set->expiration, 20);
	struct bytes turned[3] = {in[2], in[0], in[1]};
	assert_int_equal(sigset_new(rs, apex, turned, 3, &same), ST_OK);
	assert_true(sigset_equal(set, same));
	sigset_free(same);
	assert_int_equal(sigset_new(rs, apex, turned, 2, &same), ST_OK);
	assert_false(sigset_equal(set, same));

	/* The slot's signatures go with their RRset; a copy has none. */
	struct rrset *copy;
	rs->flags = RRSET_GENERATED;
	atomic_store(&rs->sigs, set);
	atomic_store(&rs->sig_state, SIG_FILLED);
	assert_int_equal(rrset_copy(rs, &copy), ST_OK);
	assert_true(rrset_equal(rs, copy));
	assert_int_equal(copy->flags, RRSET_GENERATED);
	assert_null(rrset_sigs(copy));
	assert_int_equal(atomic_load(&copy->sig_state), SIG_EMPTY);
	rrset_free(rs);

	struct sigset *untouched = same;
	in[1].len = 17;
	assert_int_equal(sigset_new(copy, apex, in, 2, &same), ST_EPARSE);
	assert_ptr_equal(same, untouched);
	sigset_free(same);
	rrset_free(copy);
}

/* What is told from the RRset and the zone need not be kept, and what differs from these is. */
static void test_sigset_short(void **state)
{
	(void)state;
	static const uint8_t apex[] = "\1z\4test";
	static const struct {
		const char *name;
		size_t at; /* an octet that is changed */
		bool is_short;
	} cases[] = {
		{"as we make it", SIZE_MAX, true}, {"another type", 1, false},
		{"another algorithm", 2, false},   {"other labels", 3, true},
		{"another TTL", 7, false},	   {"another expiration", 11, true},
		{"another inception", 15, true},   {"another tag", 17, true},
		{"another signer", 19, false},	   {"another signature", 60, true},
	};
	struct rrset *rs = rrset_of(RR_A, 5, "abcd", 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t rdata[18 + sizeof(apex) + 64] = {0, RR_A, 13, 2, 0, 0, 0, 5};
		uint8_t buf[SIGSET_BUF];
		struct sigset *set;
		struct sigset *copy;
		struct cutter c = {NULL, 0};
		print_message("%s\n", cases[i].name);
		memcpy(rdata + 18, apex, sizeof(apex));
		memset(rdata + 18 + sizeof(apex), 0xab, 64);
		if (cases[i].at != SIZE_MAX) {
			rdata[cases[i].at]++;
		}
		struct bytes one = {rdata, sizeof(rdata)};
		assert_int_equal(sigset_new(rs, apex, &one, 1, &set), ST_OK);
		assert_int_equal(sigset_is_short(set), cases[i].is_short);
		struct bytes data = sigset_data(set, rs, apex, buf);
		assert_int_equal(data.len, 2 + sizeof(rdata));
		assert_int_equal(be16_get(data.data), sizeof(rdata));
		assert_memory_equal(data.data + 2, rdata, sizeof(rdata));
		assert_int_equal(sigset_copy(set, &copy), ST_OK);
		assert_true(sigset_equal(set, copy));
		sigset_free(copy);
		if (cases[i].is_short) {
			const struct sigset_fields f = {
				.inception = set->inception,
				.expiration = set->expiration,
				.tag = sigset_short(set)->tag,
				.labels = set->labels,
				.signer_len = sizeof(apex),
				.signature = rdata + 18 + sizeof(apex),
			};
			assert_int_equal(sigset_cut(&c, &f, &copy), ST_OK);
			cutter_fini(&c);
			assert_true(sigset_equal(set, copy));
			sigset_free(copy);
		}
		/* One octet of another, whichever, is another. */
		rdata[sizeof(rdata) - 1]++;
		assert_int_equal(sigset_new(rs, apex, &one, 1, &copy), ST_OK);
		assert_false(sigset_equal(set, copy));
		sigset_free(copy);
		sigset_free(set);
	}
	rrset_free(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_sorts_and_drops_duplicates),
		cmocka_unit_test(test_new_limits),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_sigset),
		cmocka_unit_test(test_sigset_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
