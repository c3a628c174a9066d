/* Transaction signatures: what is signed is believed, and nothing else. */
#include "tsig_exchange.h"

#include "nsd-core/base/text.h"

/* Made by dnspython with the key xfr.test.: a question for the SOA, its answer, and an answer of
 * three messages; at NOW. */
static const char known_request[] =
	"123400000001000000000001076578616d706c6500000600010378667204746573740000fa00ff00"
	"000000003d0b686d61632d7368613235360000003b9aca00012c0020930ce656bb7414cda2e8806a"
	"a9ce8c0f8dca6c6761ffcff23eebd06ba7a5a8be123400000000";
static const char known_answer[] =
	"123480000001000100000001076578616d706c650000060001c00c0006000100000e100021036e73"
	"31c00c04686f7374c00c0000000700001c2000000e10001275000000012c03786672047465737400"
	"00fa00ff00000000003d0b686d61632d7368613235360000003b9aca00012c002038ad2b70021198"
	"cc4b430e06a0ade83a002572fcfad3aaf33e079416f81c996c123400000000";
static const char known_first[] =
	"123480000001000100000001076578616d706c650000060001c00c0001000100000e100004c00002"
	"010378667204746573740000fa00ff00000000003d0b686d61632d7368613235360000003b9aca00"
	"012c00201b29ee971171c60c7775fa3771c45ee47f610702c9a333fc68ec40e6d52bfefb12340000"
	"0000";
static const char known_second[] =
	"123480000001000100000001076578616d706c650000060001c00c0001000100000e100004c00002"
	"020378667204746573740000fa00ff00000000003d0b686d61632d7368613235360000003b9aca00"
	"012c00209fd8d00b079ba978daf5b53976ff8bc11f31e0e52faaa2b6a7100ce3f175370912340000"
	"0000";
static const char known_third[] =
	"123480000001000100000001076578616d706c650000060001c00c0001000100000e100004c00002"
	"030378667204746573740000fa00ff00000000003d0b686d61632d7368613235360000003b9aca00"
	"012c002069479472d18e797825ec9559c5f9cf5a61f2db91a45b7831aa4f16acd751ce2412340000"
	"0000";
static const char known_sha512[] =
	"123400000001000000000001076578616d706c6500000600010378667204746573740000fa00ff00"
	"000000005d0b686d61632d7368613531320000003b9aca00012c00409e05ec54f0420b07cfdf8840"
	"4b6b528d00dbe5d25e28fcf84a47b3b984174d2bf4e2dd0409647d365f1135b33859a17c9d4deca2"
	"601f9501f9d42526e5295d3f123400000000";

static void read_known(const char *hex, struct message *m)
{
	assert_int_equal(hex_decode(hex, strlen(hex), m->octets, ROOM, &m->len), ST_OK);
	m->at = tsig_place(m->octets, m->len);
	assert_true(m->at > 0);
}

static void test_keys_are_found(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_keys *none = NULL;

	assert_ptr_equal(tsig_keys_find(keys, (const uint8_t *)"\3XFR\4tEst"), &keys->list[0]);
	assert_null(tsig_keys_find(keys, (const uint8_t *)"\3xfr\5test2"));
	assert_null(tsig_keys_find(keys, (const uint8_t *)""));
	assert_null(tsig_keys_find(NULL, (const uint8_t *)"\3xfr\4test"));
	assert_int_equal(tsig_keys_new(NULL, 0, &none), ST_OK);
	assert_null(tsig_keys_find(none, (const uint8_t *)"\3xfr\4test"));
	tsig_keys_free(none);
	tsig_keys_free(NULL);
}

static void test_round_trip(void **state)
{
	const struct tsig_keys *keys = *state;

	for (size_t i = 0; i < keys->count; i++) {
		struct tsig_session client;
		struct tsig_session server;
		struct message m;
		exchange(keys, &keys->list[i], &client, &server);
		for (unsigned n = 0; n < 4; n++) {
			answer(&server, n, NOW + n, &m);
			assert_int_equal(tsig_check_answer(&client, bytes_of(&m), m.at, NOW),
					 ST_OK);
			assert_int_equal(client.error, TSIG_NOERROR);
		}
	}
}

static void test_known_answers(void **state)
{
	static const char *const three[] = {known_first, known_second, known_third};
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct message known;
	struct message m;
	struct message request;

	read_known(known_request, &request);
	assert_int_equal(tsig_check_request(keys, bytes_of(&request), request.at, NOW, &server),
			 ST_OK);
	/* The same octets come out here. */
	memcpy(m.octets, request.octets, request.at);
	be16_put(m.octets + 10, 0);
	tsig_session_init(&client, &keys->list[0]);
	assert_int_equal(tsig_sign(&client, m.octets, request.at, NOW, &m.len), ST_OK);
	assert_int_equal(m.len, request.len);
	assert_memory_equal(m.octets, request.octets, m.len);

	read_known(known_sha512, &known);
	const uint8_t *name = keys->list[0].name;
	uint8_t secret[32];
	struct tsig_keys *other = NULL;
	struct tsig_session s;
	for (uint8_t i = 0; i < sizeof(secret); i++) {
		secret[i] = i;
	}
	const struct tsig_secret sha512 = {name, HMAC_SHA512, {secret, sizeof(secret)}};
	assert_int_equal(tsig_keys_new(&sha512, 1, &other), ST_OK);
	assert_int_equal(tsig_check_request(other, bytes_of(&known), known.at, NOW, &s), ST_OK);
	tsig_keys_free(other);

	struct tsig_session single = client;
	read_known(known_answer, &known);
	assert_int_equal(tsig_check_answer(&single, bytes_of(&known), known.at, NOW), ST_OK);
	for (unsigned i = 0; i < 3; i++) {
		read_known(three[i], &known);
		assert_int_equal(tsig_check_answer(&client, bytes_of(&known), known.at, NOW),
				 ST_OK);
		memcpy(m.octets, known.octets, known.at);
		be16_put(m.octets + 10, 0);
		assert_int_equal(tsig_sign(&server, m.octets, known.at, NOW, &m.len), ST_OK);
		assert_int_equal(m.len, known.len);
		assert_memory_equal(m.octets, known.octets, m.len);
	}
}

/* Unless all come, each once and in order, it ends. */
static void test_messages_in_order(void **state)
{
	static const struct {
		const char *name;
		unsigned order[4];
		unsigned good;
	} cases[] = {
		{"all", {0, 1, 2, 3}, 4},
		{"the first left out", {1, 2, 3, 3}, 0},
		{"one left out", {0, 2, 3, 3}, 1},
		{"one twice", {0, 1, 1, 2}, 2},
		{"the first twice", {0, 0, 1, 2}, 1},
		{"swapped", {0, 2, 1, 3}, 1},
	};
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct message m[4];

	exchange(keys, &keys->list[0], &client, &server);
	for (unsigned n = 0; n < 4; n++) {
		answer(&server, n, NOW, &m[n]);
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tsig_session s = client;
		unsigned good = 0;
		for (; good < 4; good++) {
			const struct message *next = &m[cases[i].order[good]];
			if (tsig_check_answer(&s, bytes_of(next), next->at, NOW) != ST_OK) {
				break;
			}
		}
		if (good != cases[i].good) {
			fail_msg("%s: %u were good", cases[i].name, good);
		}
	}
}

/* Another's answer, one to another question, one without a record. */
static void test_answers_of_others(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session other;
	struct tsig_session server;
	struct message m;

	ask(&keys->list[0], NOW + 1, &other, &m);
	exchange(keys, &keys->list[0], &client, &server);
	answer(&server, 0, NOW, &m);
	assert_int_equal(tsig_check_answer(&other, bytes_of(&m), m.at, NOW), ST_ECRYPTO);
	assert_int_equal(other.error, TSIG_BADSIG);
	exchange(keys, &keys->list[0], &client, &server);
	server.key = &keys->list[1];
	answer(&server, 0, NOW, &m);
	assert_int_equal(tsig_check_answer(&client, bytes_of(&m), m.at, NOW), ST_ECRYPTO);
	assert_int_equal(client.error, TSIG_BADKEY);
	struct bytes plain = {m.octets, m.at};
	exchange(keys, &keys->list[0], &client, &server);
	assert_int_equal(tsig_check_answer(&client, plain, 0, NOW), ST_ECRYPTO);
	/* Nor is our own question an answer to it. */
	ask(&keys->list[0], NOW, &client, &m);
	assert_int_equal(tsig_check_answer(&client, bytes_of(&m), m.at, NOW), ST_ECRYPTO);
}

/* A key's name is digested in lower case and expanded, however it stands there. */
static void test_names_in_other_forms(void **state)
{
	static const char *const owners[] = {"\3XFR\4TeST", "\3xfr\4test"};
	const struct tsig_keys *keys = *state;
	const struct test_question q = {
		.name = (const uint8_t *)"\3xfr\4test", .type = RR_SOA, .edns = false};
	struct tsig_session client;
	struct tsig_session s;
	struct tsig_record rec;
	struct message m;
	struct message other;

	size_t at = question_make(&q, m.octets, ROOM);
	tsig_session_init(&client, &keys->list[0]);
	assert_int_equal(tsig_sign(&client, m.octets, at, NOW, &m.len), ST_OK);
	assert_int_equal(tsig_record_parse(bytes_of(&m), at, &rec), ST_OK);
	for (unsigned i = 0; i < 2; i++) {
		struct bytes owner = {(const uint8_t *)owners[i], 10};
		other.len = tsig_rewrite(m.octets, at, owner, &rec, other.octets);
		assert_int_equal(tsig_check_request(keys, bytes_of(&other), at, NOW, &s), ST_OK);
	}
	const uint8_t pointer[2] = {0xc0, 12};
	other.len = tsig_rewrite(m.octets, at, (struct bytes){pointer, 2}, &rec, other.octets);
	assert_int_equal(other.len, m.len - 8);
	assert_int_equal(tsig_place(other.octets, other.len), at);
	assert_int_equal(tsig_check_request(keys, bytes_of(&other), at, NOW, &s), ST_OK);
	rec.algorithm.data = (const uint8_t *)"\x0bHMAC-sha256";
	other.len = tsig_rewrite(m.octets, at, (struct bytes){pointer, 2}, &rec, other.octets);
	assert_int_equal(tsig_check_request(keys, bytes_of(&other), at, NOW, &s), ST_OK);
	/* A compressed algorithm is malformed (RFC 8945 4.2 by RFC 3597 4). */
	rec.algorithm = (struct bytes){pointer, 2};
	other.len = tsig_rewrite(m.octets, at, (struct bytes){pointer, 2}, &rec, other.octets);
	assert_int_equal(tsig_place(other.octets, other.len), 0);
	assert_int_equal(tsig_check_request(keys, bytes_of(&other), at, NOW, &s), ST_EPARSE);
	assert_null(s.key);
}

/* A forwarder may give the request another ID. */
static void test_original_id(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session server;
	struct message m;

	ask(&keys->list[0], NOW, &client, &m);
	be16_put(m.octets, 0x4321);
	assert_int_equal(tsig_check_request(keys, bytes_of(&m), m.at, NOW, &server), ST_OK);
}

static void test_sessions_resume(void **state)
{
	const struct tsig_keys *keys = *state;
	struct tsig_session client;
	struct tsig_session s;
	struct message m;
	struct message reply;

	ask(&keys->list[0], NOW, &client, &m);
	assert_int_equal(tsig_session_resume(&s, &keys->list[0], bytes_of(&m), m.at), ST_OK);
	for (unsigned n = 0; n < 3; n++) {
		answer(&s, n, NOW, &reply);
		assert_int_equal(tsig_check_answer(&client, bytes_of(&reply), reply.at, NOW),
				 ST_OK);
	}
	/* Where the OPT stands, and where nothing does. */
	assert_int_equal(tsig_session_resume(&s, &keys->list[0], bytes_of(&m), m.at - 11),
			 ST_EPARSE);
	assert_int_equal(tsig_session_resume(&s, &keys->list[0], bytes_of(&m), m.len), ST_EPARSE);
	struct bytes cut = {m.octets, m.len - 1};
	assert_int_equal(tsig_session_resume(&s, &keys->list[0], cut, m.at), ST_EPARSE);
}

/* The octets that tsig_len() says, and no more. */
static void test_room_that_is_just_enough(void **state)
{
	const struct tsig_keys *keys = *state;

	for (size_t i = 0; i < keys->count; i++) {
		struct tsig_session client;
		struct tsig_session s;
		struct message m;
		ask(&keys->list[i], NOW, &client, &m);
		for (unsigned late = 0; late < 2; late++) {
			int64_t now = late == 0 ? NOW : NOW + 1000;
			enum status st = tsig_check_request(keys, bytes_of(&m), m.at, now, &s);
			assert_int_equal(st, late == 0 ? ST_OK : ST_EREFUSED);
			size_t room = m.at + tsig_len(s.key, s.error);
			uint8_t *exact = malloc(room);
			size_t len = 0;
			assert_non_null(exact);
			memcpy(exact, m.octets, m.at);
			assert_int_equal(tsig_sign(&s, exact, m.at, now, &len), ST_OK);
			assert_int_equal(len, room);
			free(exact);
		}
	}
}

static void test_error_texts(void **state)
{
	static const char *const texts[] = {"NOERROR", "BADSIG",   "BADKEY",
					    "BADTIME", "BADTRUNC", "unknown error"};
	static const unsigned errors[] = {0, 16, 17, 18, 22, 4711};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		assert_string_equal(tsig_error_text((enum tsig_error)errors[i]), texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_are_found),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_messages_in_order),
		cmocka_unit_test(test_answers_of_others),
		cmocka_unit_test(test_names_in_other_forms),
		cmocka_unit_test(test_original_id),
		cmocka_unit_test(test_sessions_resume),
		cmocka_unit_test(test_room_that_is_just_enough),
		cmocka_unit_test(test_error_texts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
