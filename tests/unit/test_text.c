#include "nsd-core/base/text.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

typedef enum status (*decoder)(const char *, size_t, uint8_t *, size_t, size_t *);
typedef char *(*encoder)(const uint8_t *, size_t, char *);

/* RFC 4648 section 10. */
static void vectors_both_ways(void **state)
{
	static const struct {
		const char *plain, *hex, *base64, *base32hex;
	} cases[] = {
		{"", "", "", ""},
		{"f", "66", "Zg==", "co"},
		{"fo", "666F", "Zm8=", "cpng"},
		{"foo", "666F6F", "Zm9v", "cpnmu"},
		{"foob", "666F6F62", "Zm9vYg==", "cpnmuog"},
		{"fooba", "666F6F6261", "Zm9vYmE=", "cpnmuoj1"},
		{"foobar", "666F6F626172", "Zm9vYmFy", "cpnmuoj1e8"},
		{"\xff\xef\xbe", "FFEFBE", "/+++", "vvnrs"},
	};
	static const decoder decode[] = {hex_decode, base64_decode, base32hex_decode};
	static const encoder encode[] = {hex_encode, base64_encode, base32hex_encode};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *texts[] = {cases[i].hex, cases[i].base64, cases[i].base32hex};
		size_t plain_len = strlen(cases[i].plain);
		for (size_t k = 0; k < 3; k++) {
			char buf[40];
			uint8_t out[16];
			size_t len = 4711;
			assert_ptr_equal(encode[k]((const uint8_t *)cases[i].plain, plain_len, buf),
					 buf);
			assert_string_equal(buf, texts[k]);
			assert_int_equal(
				decode[k](texts[k], strlen(texts[k]), out, plain_len, &len), ST_OK);
			assert_int_equal(len, plain_len);
			assert_memory_equal(out, cases[i].plain, plain_len);
		}
	}
}

static void sizes_are_exact(void **state)
{
	uint8_t data[64];
	char buf[200];

	(void)state;
	memset(data, 0xa5, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++) {
		assert_int_equal(strlen(hex_encode(data, n, buf)) + 1, TEXT_HEX_SIZE(n));
		assert_int_equal(strlen(base64_encode(data, n, buf)) + 1, TEXT_BASE64_SIZE(n));
		assert_int_equal(strlen(base32hex_encode(data, n, buf)) + 1,
				 TEXT_BASE32HEX_SIZE(n));
	}
}

static void bad_digits_are_refused(void **state)
{
	static const struct {
		const char *what;
		decoder decode;
		const char *text;
		size_t room;
		enum status st;
	} cases[] = {
		{"odd hex", hex_decode, "abc", 16, ST_EPARSE},
		{"not hex", hex_decode, "0g", 16, ST_EPARSE},
		{"white space", hex_decode, "00 1", 16, ST_EPARSE},
		{"prefix", hex_decode, "0x00", 16, ST_EPARSE},
		{"no room, hex", hex_decode, "0011", 1, ST_ESPACE},
		{"no padding", base64_decode, "Zg", 16, ST_EPARSE},
		{"half the padding", base64_decode, "Zg=", 16, ST_EPARSE},
		{"padding only", base64_decode, "====", 16, ST_EPARSE},
		{"three of padding", base64_decode, "Z===", 16, ST_EPARSE},
		{"padding inside", base64_decode, "Zg==Zg==", 16, ST_EPARSE},
		{"digit after padding", base64_decode, "Zm=v", 16, ST_EPARSE},
		{"bits left over", base64_decode, "Zh==", 16, ST_EPARSE},
		{"bits left over, one pad", base64_decode, "Zm9=", 16, ST_EPARSE},
		{"the url alphabet", base64_decode, "_-__", 16, ST_EPARSE},
		{"white space", base64_decode, "Zm 9", 16, ST_EPARSE},
		{"no room, base64", base64_decode, "Zm9v", 2, ST_ESPACE},
		{"one digit", base32hex_decode, "c", 16, ST_EPARSE},
		{"three digits", base32hex_decode, "cpn", 16, ST_EPARSE},
		{"six digits", base32hex_decode, "cpnmuo", 16, ST_EPARSE},
		{"padding", base32hex_decode, "co======", 16, ST_EPARSE},
		{"not base32hex", base32hex_decode, "cw", 16, ST_EPARSE},
		{"bits left over, base32hex", base32hex_decode, "cp", 16, ST_EPARSE},
		{"no room, base32hex", base32hex_decode, "cpng", 1, ST_ESPACE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[16];
		size_t len = 4711;
		memset(out, 0xee, sizeof(out));
		if (cases[i].decode(cases[i].text, strlen(cases[i].text), out, cases[i].room,
				    &len) != cases[i].st) {
			fail_msg("%s", cases[i].what);
		}
		assert_int_equal(len, 4711);
		for (size_t k = 0; k < sizeof(out); k++) {
			assert_int_equal(out[k], 0xee);
		}
	}
}

static void any_case_is_read(void **state)
{
	uint8_t out[16];
	size_t len;

	(void)state;
	assert_int_equal(hex_decode("aAfF", 4, out, 2, &len), ST_OK);
	assert_memory_equal(out, "\xaa\xff", 2);
	assert_int_equal(base32hex_decode("CpNmU", 5, out, 3, &len), ST_OK);
	assert_memory_equal(out, "foo", 3);
}

/* Where text goes wrong, 'want' is left alone. */
struct number_case {
	const char *text;
	enum status st;
	uint32_t want;
};

static void check_numbers(const struct number_case *cases, size_t count,
			  enum status (*parse)(const char *, size_t, uint32_t *))
{
	for (size_t i = 0; i < count; i++) {
		uint32_t out = 4711;
		if (parse(cases[i].text, strlen(cases[i].text), &out) != cases[i].st) {
			fail_msg("%s", cases[i].text);
		}
		assert_int_equal(out, cases[i].st == ST_OK ? cases[i].want : 4711);
	}
}

static enum status to_port(const char *text, size_t len, uint32_t *out)
{
	return text_to_u32(text, len, 65535, out);
}

static enum status to_any_u32(const char *text, size_t len, uint32_t *out)
{
	return text_to_u32(text, len, UINT32_MAX, out);
}

static void decimal_numbers(void **state)
{
	static const struct number_case ports[] = {
		{"0", ST_OK, 0},      {"53", ST_OK, 53},       {"65535", ST_OK, 65535},
		{"007", ST_OK, 7},    {"65536", ST_EPARSE, 0}, {"", ST_EPARSE, 0},
		{"-1", ST_EPARSE, 0}, {"+1", ST_EPARSE, 0},    {" 1", ST_EPARSE, 0},
		{"1 ", ST_EPARSE, 0}, {"0x1", ST_EPARSE, 0},
	};
	static const struct number_case all[] = {
		{"4294967295", ST_OK, UINT32_MAX},
		{"4294967296", ST_EPARSE, 0},
		{"18446744073709551617", ST_EPARSE, 0},
		{"99999999999999999999999999", ST_EPARSE, 0},
	};

	(void)state;
	check_numbers(ports, sizeof(ports) / sizeof(ports[0]), to_port);
	check_numbers(all, sizeof(all) / sizeof(all[0]), to_any_u32);
}

static void signature_times(void **state)
{
	static const struct number_case cases[] = {
		{"19700101000000", ST_OK, 0},
		{"20040509183619", ST_OK, 1084127779}, /* RFC 4034 3.3 */
		{"20000229120000", ST_OK, 951825600},
		{"20240229000000", ST_OK, 1709164800},
		{"20240301000000", ST_OK, 1709251200},
		{"20991231235959", ST_OK, UINT32_C(4102444799)},
		{"21000301000000", ST_OK, UINT32_C(4107542400)},
		{"21060207062815", ST_OK, UINT32_MAX},
		{"1084127779", ST_OK, 1084127779},
		{"0", ST_OK, 0},
		{"4294967295", ST_OK, UINT32_MAX},
		{"21060207062816", ST_EPARSE, 0},
		{"21000229000000", ST_EPARSE, 0},
		{"20230229000000", ST_EPARSE, 0},
		{"20231301000000", ST_EPARSE, 0},
		{"20230001000000", ST_EPARSE, 0},
		{"20230100000000", ST_EPARSE, 0},
		{"20230431000000", ST_EPARSE, 0},
		{"20230101240000", ST_EPARSE, 0},
		{"20230101006000", ST_EPARSE, 0},
		{"20230101000060", ST_EPARSE, 0},
		{"19691231235959", ST_EPARSE, 0},
		{"99991231235959", ST_EPARSE, 0},
		{"2023010100000", ST_EPARSE, 0},
		{"202301010000000", ST_EPARSE, 0},
		{"2023010100000x", ST_EPARSE, 0},
		{"4294967296", ST_EPARSE, 0},
		{"", ST_EPARSE, 0},
	};
	char buf[15];

	(void)state;
	check_numbers(cases, sizeof(cases) / sizeof(cases[0]), text_to_sigtime);
	assert_string_equal(sigtime_to_text(0, buf), "19700101000000");
	assert_string_equal(sigtime_to_text(1084127779, buf), "20040509183619");
	assert_string_equal(sigtime_to_text(UINT32_MAX, buf), "21060207062815");
	/* Every day, both ways. */
	for (uint64_t t = 0; t <= UINT32_MAX; t += 86400 - 1) {
		uint32_t back;
		sigtime_to_text((uint32_t)t, buf);
		assert_int_equal(text_to_sigtime(buf, 14, &back), ST_OK);
		assert_int_equal(back, t);
	}
}

static void ttls(void **state)
{
	static const struct number_case cases[] = {
		{"0", ST_OK, 0},
		{"3600", ST_OK, 3600},
		{"2147483647", ST_OK, INT32_MAX},
		{"1h", ST_OK, 3600},
		{"1H30m", ST_OK, 5400},
		{"1w2d3h4m5s", ST_OK, 788645},
		{"5s1w", ST_OK, 604805},
		{"1h1h", ST_OK, 7200},
		{"3550W5D3H14M7S", ST_OK, INT32_MAX},
		{"2147483648", ST_EPARSE, 0},
		{"3550W5D3H14M8S", ST_EPARSE, 0},
		{"4294967296w", ST_EPARSE, 0},
		{"99999999999999999999w", ST_EPARSE, 0},
		{"2147483647w2147483647w", ST_EPARSE, 0},
		{"", ST_EPARSE, 0},
		{"h", ST_EPARSE, 0},
		{"1h30", ST_EPARSE, 0},
		{"1y", ST_EPARSE, 0},
		{"1hh", ST_EPARSE, 0},
		{"-1", ST_EPARSE, 0},
		{"1 h", ST_EPARSE, 0},
		{"1.5h", ST_EPARSE, 0},
		{"IN", ST_EPARSE, 0},
		{"MX", ST_EPARSE, 0},
	};

	(void)state;
	check_numbers(cases, sizeof(cases) / sizeof(cases[0]), text_to_ttl);
	/* Units by their ASCII letters only, not by what differs from them in one bit. */
	uint32_t out = 4711;
	assert_int_equal(text_to_ttl("1\x13", 2, &out), ST_EPARSE);
	assert_int_equal(out, 4711);
}

static void times_for_people(void **state)
{
	static const struct {
		int64_t t;
		const char *want;
	} cases[] = {
		{0, "1970-01-01 00:00:00Z"},
		{INT64_C(1795372640), "2026-11-22 18:37:20Z"},
		{-1, "1969-12-31 23:59:59Z"},
		{INT64_C(253402300799), "9999-12-31 23:59:59Z"},
		{INT64_C(253402300800), "never"},
		{INT64_MAX, "never"},
		{INT64_C(-62167219200), "0000-01-01 00:00:00Z"},
		{INT64_MIN, "long ago"},
	};
	char buf[24];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_ptr_equal(time_to_text(cases[i].t, buf), buf);
		assert_string_equal(buf, cases[i].want);
	}
}

static void equality_without_case(void **state)
{
	static const struct {
		const char *a;
		size_t len;
		const char *b;
		bool equal;
	} cases[] = {
		{"IN", 2, "in", true},	{"in", 2, "IN", true},	    {"", 0, "", true},
		{"INX", 2, "in", true}, {"I", 1, "in", false},	    {"in", 2, "i", false},
		{"a[", 2, "a{", false}, {"@", 1, "`", false},	    {"a\0b", 3, "a", false},
		{"a\0", 2, "a", false}, {"\xc1", 1, "\xe1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(text_equal_nocase(cases[i].a, cases[i].len, cases[i].b),
				 cases[i].equal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_both_ways),
		cmocka_unit_test(sizes_are_exact),
		cmocka_unit_test(bad_digits_are_refused),
		cmocka_unit_test(any_case_is_read),
		cmocka_unit_test(decimal_numbers),
		cmocka_unit_test(signature_times),
		cmocka_unit_test(ttls),
		cmocka_unit_test(times_for_people),
		cmocka_unit_test(equality_without_case),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
