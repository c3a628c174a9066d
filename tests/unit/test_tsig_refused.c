/* Transaction signatures: what is refused, and how the other side is told. */
#include "tsig_exchange.h"

#include <ctype.h>

/* What a bit may change without harm: the ID, which the record has once more, and the case of the
 * record's names. */
static bool is_harmless(const struct message *m, size_t i, unsigned bit)
{
	size_t algorithm = m->at + name_len(m->octets + m->at) + 10;
	size_t end = algorithm + name_len(m->octets + algorithm);
	bool in_names = (i >= m->at && i < algorithm - 10) || (i >= algorithm && i < end);

	return i < 2 || (in_names && bit == 5 && isalpha(m->octets[i]) != 0);
}

/* One bit of a request is another. */
static void test_each_bit_of_a_request(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct message m;
	unsigned asked = 0;

	ask(&keys->list[0], NOW, &client, &m);
	for (size_t i = 0; i < m.len * 8; i++) {
		struct tsig_session s;
		struct message spoilt = m;
		spoilt.octets[i / 8] ^= (uint8_t)(1U << i % 8);
		size_t at = tsig_place(spoilt.octets, m.len);
		if (at == 0) {
			continue;
		}
		enum status st = tsig_check_request(keys, bytes_of(&spoilt), at, NOW, &s);
		bool harmless = is_harmless(&m, i / 8, i % 8);
		asked += !harmless;
		if ((st == ST_OK) != harmless) {
			fail_msg("octet %zu, bit %zu: %s", i / 8, i % 8, status_text(st));
		}
		if (st == ST_EREFUSED) {
			assert_true(s.error == TSIG_BADKEY || s.error == TSIG_BADSIG);
			assert_null(s.key);
		}
	}
	assert_true(asked > m.len * 4);
}

static void test_each_bit_of_an_answer(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct message first;
	struct message later;

	exchange(keys, &keys->list[0], &client, &server);
	answer(&server, 0, NOW, &first);
	answer(&server, 1, NOW, &later);
	for (unsigned n = 0; n < 2; n++) {
		const struct message *m = n == 0 ? &first : &later;
		for (size_t i = 0; i < m->len * 8; i++) {
			struct tsig_session s = client;
			struct message spoilt = *m;
			spoilt.octets[i / 8] ^= (uint8_t)(1U << i % 8);
			size_t at = tsig_place(spoilt.octets, m->len);
			enum status st = tsig_check_answer(&s, bytes_of(&spoilt), at, NOW);
			bool harmless = at != 0 && is_harmless(m, i / 8, i % 8);
			if ((st == ST_OK) != harmless) {
				fail_msg("message %u, octet %zu, bit %zu: %s", n, i / 8, i % 8,
					 status_text(st));
			}
			if (st != ST_OK) {
				assert_int_equal(st, ST_ECRYPTO);
				assert_int_not_equal(s.error, TSIG_NOERROR);
			}
		}
		assert_int_equal(tsig_check_answer(&client, bytes_of(m), m->at, NOW), ST_OK);
	}
}

static void test_mac_lengths(void **state)
{
	const struct tsig_keys *keys = *state;

	for (size_t i = 0; i < keys->count; i++) {
		const struct tsig_key *key = &keys->list[i];
		size_t full = hmac_size(hmac_key_type(key->hmac));
		struct tsig_session client;
		struct tsig_session s;
		struct tsig_record rec;
		struct message m;
		struct message cut;
		uint8_t mac[HMAC_MAX + 1] = {0};
		ask(key, NOW, &client, &m);
		assert_int_equal(tsig_record_parse(bytes_of(&m), m.at, &rec), ST_OK);
		memcpy(mac, rec.mac.data, full);
		for (size_t len = 0; len <= full + 1; len++) {
			rec.mac = (struct bytes){mac, len};
			struct bytes owner = {key->name, key->name_len};
			cut.len = tsig_rewrite(m.octets, m.at, owner, &rec, cut.octets);
			enum status st = tsig_check_request(keys, bytes_of(&cut), m.at, NOW, &s);
			bool good = len == full;
			bool shorter = len >= 10 && len >= full / 2 && len < full;
			assert_int_equal(st, good ? ST_OK : shorter ? ST_EREFUSED : ST_EPARSE);
			if (shorter) {
				assert_int_equal(s.error, TSIG_BADTRUNC);
				assert_ptr_equal(s.key, key);
			}
		}
	}
}

/* Of a truncated MAC each octet counts that is there. */
static void test_truncated_and_wrong(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session s;
	struct tsig_record rec;
	struct message m;
	struct message cut;
	uint8_t mac[16];

	ask(&keys->list[0], NOW, &client, &m);
	assert_int_equal(tsig_record_parse(bytes_of(&m), m.at, &rec), ST_OK);
	memcpy(mac, rec.mac.data, sizeof(mac));
	mac[15] ^= 1;
	rec.mac = (struct bytes){mac, sizeof(mac)};
	struct bytes owner = {keys->list[0].name, keys->list[0].name_len};
	cut.len = tsig_rewrite(m.octets, m.at, owner, &rec, cut.octets);
	assert_int_equal(tsig_check_request(keys, bytes_of(&cut), m.at, NOW, &s), ST_EREFUSED);
	assert_int_equal(s.error, TSIG_BADSIG);
	assert_null(s.key);
}

static void test_clocks(void **state)
{
	static const struct {
		int64_t off;
		bool good;
	} cases[] = {
		{0, true},
		{TSIG_FUDGE, true},
		{-TSIG_FUDGE, true},
		{TSIG_FUDGE + 1, false},
		{-TSIG_FUDGE - 1, false},
		{INT32_MAX, false},
		{-NOW, false},
	};
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct message m;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ask(&keys->list[0], NOW, &client, &m);
		enum status st =
			tsig_check_request(keys, bytes_of(&m), m.at, NOW + cases[i].off, &server);
		assert_int_equal(st, cases[i].good ? ST_OK : ST_EREFUSED);
		assert_int_equal(server.error, cases[i].good ? TSIG_NOERROR : TSIG_BADTIME);
		assert_ptr_equal(server.key, &keys->list[0]);
		exchange(keys, &keys->list[0], &client, &server);
		answer(&server, 0, NOW, &m);
		st = tsig_check_answer(&client, bytes_of(&m), m.at, NOW + cases[i].off);
		assert_int_equal(st, cases[i].good ? ST_OK : ST_ECRYPTO);
		assert_int_equal(client.error, cases[i].good ? TSIG_NOERROR : TSIG_BADTIME);
	}
}

/* RFC 8945 5.2.3: signed, with the client's time, and the server's beside it. */
static void test_badtime_is_signed(void **state)
{
	const int64_t late = NOW + (INT64_C(1) << 33);
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct tsig_record rec;
	struct message m;

	ask(&keys->list[0], NOW, &client, &m);
	assert_int_equal(tsig_check_request(keys, bytes_of(&m), m.at, late, &server), ST_EREFUSED);
	answer(&server, 0, late, &m);
	assert_int_equal(tsig_record_parse(bytes_of(&m), m.at, &rec), ST_OK);
	assert_int_equal(rec.error, TSIG_BADTIME);
	assert_int_equal(rec.time_s, NOW);
	assert_int_equal(rec.mac.len, 32);
	assert_int_equal(rec.other.len, 6);
	assert_int_equal((uint64_t)be16_get(rec.other.data) << 32 | be32_get(rec.other.data + 2),
			 late);
	struct tsig_session s = client;
	assert_int_equal(tsig_check_answer(&s, bytes_of(&m), m.at, NOW), ST_ECRYPTO);
	assert_int_equal(s.error, TSIG_BADTIME);
	/* Nobody else says so. */
	m.octets[m.len - 1] ^= 1;
	s = client;
	assert_int_equal(tsig_check_answer(&s, bytes_of(&m), m.at, NOW), ST_ECRYPTO);
	assert_int_equal(s.error, TSIG_BADSIG);
}

struct refusal {
	const char *name;
	const char *key;       /* that the record names */
	const char *algorithm; /* NULL: the key's */
	enum tsig_error error;
};

static void check_refusal(const struct tsig_keys *keys, const struct refusal *c)
{
	struct tsig_session client;
	struct tsig_session s;
	struct tsig_record rec;
	struct tsig_record back;
	struct message m;
	struct message reply;
	uint8_t mac[HMAC_MAX];

	ask(&keys->list[0], NOW, &client, &m);
	assert_int_equal(tsig_record_parse(bytes_of(&m), m.at, &rec), ST_OK);
	memcpy(mac, rec.mac.data, rec.mac.len);
	rec.mac.data = mac;
	mac[3] ^= 1;
	if (c->algorithm != NULL) {
		rec.algorithm.data = (const uint8_t *)c->algorithm;
		rec.algorithm.len = name_len(rec.algorithm.data);
	}
	struct bytes owner = {(const uint8_t *)c->key, strlen(c->key) + 1};
	struct message request = m;
	request.len = tsig_rewrite(m.octets, m.at, owner, &rec, request.octets);
	assert_int_equal(tsig_check_request(keys, bytes_of(&request), m.at, NOW, &s), ST_EREFUSED);
	assert_int_equal(s.error, c->error);
	assert_null(s.key);

	size_t before = answer_make(0, reply.octets);
	reply.len = tsig_refuse(&s, bytes_of(&request), m.at, reply.octets, before, ROOM);
	assert_int_equal(be16_get(reply.octets + 10), 1);
	size_t at = tsig_place(reply.octets, reply.len);
	assert_int_equal(at, before);
	assert_int_equal(tsig_record_parse(bytes_of(&reply), at, &back), ST_OK);
	assert_true(name_equal(back.name, owner.data));
	assert_true(name_equal(back.algorithm.data, rec.algorithm.data));
	assert_int_equal(back.mac.len, 0);
	assert_int_equal(back.error, c->error);
	assert_int_equal(back.original_id, 0x1234);
	if (strcmp(c->key, (const char *)keys->list[0].name) == 0 && c->algorithm == NULL) {
		assert_int_equal(tsig_check_answer(&client, bytes_of(&reply), at, NOW), ST_ECRYPTO);
		assert_int_equal(client.error, c->error);
	}

	/* No room for the last octet, or for any. */
	for (size_t room = before; room < reply.len; room++) {
		uint8_t *exact = malloc(room);
		assert_non_null(exact);
		answer_make(0, reply.octets);
		memcpy(exact, reply.octets, before);
		assert_int_equal(tsig_refuse(&s, bytes_of(&request), m.at, exact, before, room),
				 before);
		assert_int_equal(be16_get(exact + 10), 0);
		free(exact);
	}
}

/* RFC 8945 5.2.1, 5.2.2: what nobody can have signed is refused without a signature. */
static void test_unsigned_refusals(void **state)
{
	static const struct refusal cases[] = {
		{"unknown key", "\3who\4test", NULL, TSIG_BADKEY},
		{"the root's key", "", NULL, TSIG_BADKEY},
		{"another algorithm", "\3xfr\4test", "\x0bhmac-sha512", TSIG_BADKEY},
		{"unknown algorithm", "\3xfr\4test", "\x08hmac-md5\7sig-alg\3reg\3int",
		 TSIG_BADKEY},
		{"another key's", "\6sha384\4test", NULL, TSIG_BADKEY},
		{"a wrong MAC", "\3xfr\4test", NULL, TSIG_BADSIG},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		check_refusal(*state, &cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_bit_of_a_request),
		cmocka_unit_test(test_each_bit_of_an_answer),
		cmocka_unit_test(test_mac_lengths),
		cmocka_unit_test(test_truncated_and_wrong),
		cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_badtime_is_signed),
		cmocka_unit_test(test_unsigned_refusals),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
