#include "nsd-core/base/rrtype.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void names_and_numbers_agree_both_ways(void **state)
{
	char buf[RRTYPE_TEXT_MAX];
	unsigned mnemonics = 0;

	(void)state;
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		uint16_t back = 0xeeee;
		assert_ptr_equal(rrtype_to_text((uint16_t)type, buf), buf);
		assert_int_equal(rrtype_from_text(buf, strlen(buf), &back), ST_OK);
		assert_int_equal(back, type);
		mnemonics += strncmp(buf, "TYPE", 4) != 0;
	}
	/* 1-53, 55-68, 99-109, 128, 249-264, 32768 and 32769. */
	assert_int_equal(mnemonics, 53 + 14 + 11 + 1 + 16 + 2);
}

static void the_enum_is_the_table(void **state)
{
	static const struct {
		const char *text;
		uint16_t type;
	} cases[] = {
		{"A", RR_A},
		{"NS", RR_NS},
		{"CNAME", RR_CNAME},
		{"SOA", RR_SOA},
		{"PTR", RR_PTR},
		{"HINFO", RR_HINFO},
		{"MX", RR_MX},
		{"TXT", RR_TXT},
		{"SIG", RR_SIG},
		{"KEY", RR_KEY},
		{"AAAA", RR_AAAA},
		{"NXT", RR_NXT},
		{"SRV", RR_SRV},
		{"NAPTR", RR_NAPTR},
		{"DNAME", RR_DNAME},
		{"OPT", RR_OPT},
		{"DS", RR_DS},
		{"SSHFP", RR_SSHFP},
		{"RRSIG", RR_RRSIG},
		{"NSEC", RR_NSEC},
		{"DNSKEY", RR_DNSKEY},
		{"NSEC3", RR_NSEC3},
		{"NSEC3PARAM", RR_NSEC3PARAM},
		{"TLSA", RR_TLSA},
		{"CDS", RR_CDS},
		{"CDNSKEY", RR_CDNSKEY},
		{"ZONEMD", RR_ZONEMD},
		{"SVCB", RR_SVCB},
		{"HTTPS", RR_HTTPS},
		{"NXNAME", RR_NXNAME},
		{"TSIG", RR_TSIG},
		{"IXFR", RR_IXFR},
		{"AXFR", RR_AXFR},
		{"ANY", RR_ANY},
		{"CAA", RR_CAA},
		{"nsec3Param", RR_NSEC3PARAM},
		{"nsap-ptr", 23},
		{"type65534", 65534},
		{"TYPE1", RR_A},
		{"TYPE0", 0},
		{"TYPE00001", RR_A},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t type = 0xeeee;
		assert_int_equal(rrtype_from_text(cases[i].text, strlen(cases[i].text), &type),
				 ST_OK);
		assert_int_equal(type, cases[i].type);
	}
}

static void what_is_no_type_is_not_found(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"", 0},       {"B", 1},      {"AA", 2},     {"TYPE", 4},      {"TYPE65536", 9},
		{"TYPE-1", 6}, {"TYPE1x", 6}, {"TYPE 1", 6}, {"TYPE99999", 9}, {"NSEC3PARAMS", 11},
		{"A\0", 2},    {"\0", 1},     {"*", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t type = 0xeeee;
		assert_int_equal(rrtype_from_text(cases[i].text, cases[i].len, &type), ST_ENOENT);
		assert_int_equal(type, 0xeeee);
	}
	/* The text is not NUL-terminated. */
	uint16_t type = 0xeeee;
	assert_int_equal(rrtype_from_text("AAAA", 1, &type), ST_OK);
	assert_int_equal(type, RR_A);
}

static void classes(void **state)
{
	static const struct {
		const char *text;
		enum status st;
		uint16_t want;
	} cases[] = {
		{"IN", ST_OK, CLASS_IN},      {"in", ST_OK, CLASS_IN},
		{"CH", ST_OK, CLASS_CH},      {"hs", ST_OK, 4},
		{"NONE", ST_OK, CLASS_NONE},  {"ANY", ST_OK, CLASS_ANY},
		{"CLASS1", ST_OK, CLASS_IN},  {"class65535", ST_OK, 65535},
		{"CLASS65536", ST_ENOENT, 0}, {"CLASS", ST_ENOENT, 0},
		{"", ST_ENOENT, 0},	      {"I", ST_ENOENT, 0},
		{"INN", ST_ENOENT, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t rrclass = 0xeeee;
		assert_int_equal(rrclass_from_text(cases[i].text, strlen(cases[i].text), &rrclass),
				 cases[i].st);
		assert_int_equal(rrclass, cases[i].st == ST_OK ? cases[i].want : 0xeeee);
	}
}

static void meta_types_stand_in_no_zone(void **state)
{
	(void)state;
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		bool want = type == 0 || type == RR_OPT || (type >= 128 && type <= 255);
		assert_int_equal(rrtype_is_meta((uint16_t)type), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_numbers_agree_both_ways),
		cmocka_unit_test(the_enum_is_the_table),
		cmocka_unit_test(what_is_no_type_is_not_found),
		cmocka_unit_test(classes),
		cmocka_unit_test(meta_types_stand_in_no_zone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
