#include "tests/unit/version_fixture.h"
#include "zones/nsec3.h"

/* RFC 5155 appendix A, and without iterations and salt what ldns-nsec3-hash says. */
static const struct {
	const char *name;
	const char *salt;
	uint16_t iterations;
	const char *label;
} hashes[] = {
	{"example", "\xaa\xbb\xcc\xdd", 12, "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"},
	{"a.example", "\xaa\xbb\xcc\xdd", 12, "35mthgpgcu1qg68fab165klnsnk3dpvl"},
	{"ai.example", "\xaa\xbb\xcc\xdd", 12, "gjeqe526plbf1g8mklp59enfd789njgi"},
	{"ns1.example", "\xaa\xbb\xcc\xdd", 12, "2t7b4g4vsa5smi47k61mv5bv1a22bojr"},
	{"*.w.example", "\xaa\xbb\xcc\xdd", 12, "r53bq7cc2uvmubfu5ocmm6pers9tk9en"},
	{"2t7b4g4vsa5smi47k61mv5bv1a22bojr.example", "\xaa\xbb\xcc\xdd", 12,
	 "kohar7mbb8dc2ce8a9qvl8hon4k53uhi"},
	{"x.y.w.example", "\xaa\xbb\xcc\xdd", 12, "2vptu5timamqttgl4luu9kg21e0aor3s"},
	{"XX.Example", "\xaa\xbb\xcc\xdd", 12, "t644ebqk9bibcna874givr6joj62mlhv"},
	{"example", "", 0, "3msev9usmd4br9s97v51r2tdvmr9iqo1"},
	{"ns1.example", "", 0, "m1o89lfdo9rrf2f8r8ss42d81d09v48m"},
	{"ns1.example", "", 1, "patdlj763gbom2ioq78o9k12vquchmqj"},
	{"ns1.example", "\x01\x02", 3, "v23mi67hpnro0kqg7sjhkv7oi7pegdk0"},
	{"*.w.example", "", 0, "p9n5ptevjsjoskr5u50vc77gp9bdsck8"},
	{"x.y.w.example", "", 0, "a2bbv5g5d8ik754a2a44gdc113sc00dk"},
	{"a.b.c.example", "", 0, "nduqqo4ne4pjh2dsb3b775d1rokvpi74"},
};

static void a_name_has_the_hash_it_should(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
		uint8_t hash[NSEC3_HASH_LEN];
		uint8_t back[NSEC3_HASH_LEN];
		uint8_t owner[NAME_MAX_LEN];
		struct bytes salt = {(const uint8_t *)hashes[i].salt, strlen(hashes[i].salt)};
		assert_int_equal(
			nsec3_hash(wire(hashes[i].name).octets, hashes[i].iterations, salt, hash),
			ST_OK);
		assert_int_equal(nsec3_owner(hash, wire("example").octets, owner), ST_OK);
		assert_int_equal(owner[0], 32);
		assert_memory_equal(owner + 1, hashes[i].label, 32);
		assert_true(name_equal(owner + 33, wire("example").octets));
		assert_true(nsec3_owner_hash(owner, back));
		assert_memory_equal(back, hash, sizeof(hash));
	}
}

static void what_is_no_hash_is_told_apart(void **state)
{
	uint8_t hash[NSEC3_HASH_LEN];
	(void)state;
	assert_false(nsec3_owner_hash(wire("a.example").octets, hash));
	assert_false(nsec3_owner_hash(wire(".").octets, hash));
	assert_false(
		nsec3_owner_hash(wire("zzzzhaveqvm6t7vbl5lop2u3t2rp3tom.example").octets, hash));
	assert_false(
		nsec3_owner_hash(wire("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom22.example").octets, hash));
}

/* A name of so many octets. */
static void long_name(uint8_t *out, size_t len)
{
	size_t at = 0;
	while (len - at > 1) {
		size_t label = len - at - 2 > 63 ? 63 : len - at - 2;
		/* One octet left would be no label. */
		label = len - at - 2 == 64 ? 62 : label;
		out[at] = (uint8_t)label;
		memset(out + at + 1, 'x', label);
		at += label + 1;
	}
	out[at] = 0;
}

static void an_apex_may_be_too_long(void **state)
{
	uint8_t apex[NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN] = {7};
	const uint8_t hash[NSEC3_HASH_LEN] = {0};
	(void)state;
	long_name(apex, NAME_MAX_LEN - NSEC3_LABEL_LEN + 1);
	assert_int_equal(nsec3_owner(hash, apex, owner), ST_ELIMIT);
	assert_int_equal(owner[0], 7);
	long_name(apex, NAME_MAX_LEN - NSEC3_LABEL_LEN);
	assert_int_equal(nsec3_owner(hash, apex, owner), ST_OK);
	assert_int_equal(name_len(owner), NAME_MAX_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_has_the_hash_it_should),
		cmocka_unit_test(what_is_no_hash_is_told_apart),
		cmocka_unit_test(an_apex_may_be_too_long),
	};
	return cmocka_run_group_tests_name("nsec3", tests, NULL, NULL);
}
