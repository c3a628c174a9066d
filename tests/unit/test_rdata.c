#include "zones/rdata.h"
#include "zones/scan.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEXT_ROOM 4096

static const uint8_t origin[] = "\7example\3com";

static uint16_t type_of(const char *text)
{
	uint16_t type = 0;
	assert_int_equal(rrtype_from_text(text, strlen(text), &type), ST_OK);
	return type;
}

struct outcome {
	enum status st;
	size_t len;
	size_t bad;
	const char *why;
};

/* "TYPE RDATA" to wire. */
static struct outcome read_rdata(const char *line, uint8_t *out, uint16_t *type)
{
	struct scan s;
	struct outcome o = {.len = 12345, .bad = 12345};
	scan_init(&s, line, strlen(line), 1);
	assert_int_equal(scan_next(&s), ST_OK);
	char name[RRTYPE_TEXT_MAX];
	snprintf(name, sizeof(name), "%.*s", (int)s.tokens[0].len, s.tokens[0].text);
	*type = type_of(name);
	o.st = rdata_from_tokens(*type, s.tokens + 1, s.count - 1, origin, out, &o.len, &o.bad,
				 &o.why);
	scan_fini(&s);
	return o;
}

static void to_hex(const uint8_t *data, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		snprintf(out + 2 * i, 3, "%02x", data[i]);
	}
	out[2 * len] = '\0';
}

struct good {
	const char *line; /* TYPE RDATA */
	const char *hex;  /* NULL: not compared */
	const char *text; /* RDATA as we write it; NULL: as in line */
};

static const struct good goods[] = {
	{"A 192.0.2.1", "c0000201", NULL},
	{"AAAA 2001:DB8::1", "20010db8000000000000000000000001", "2001:db8::1"},
	{"NS ns", "026e73076578616d706c6503636f6d00", "ns.example.com."},
	{"NS @", "076578616d706c6503636f6d00", "example.com."},
	{"NS .", "00", NULL},
	{"MX 10 Mail.", "000a044d61696c00", NULL},
	{"SOA . a. 1 1h 1m30s 4w 0", "000161000000000100000e100000005a0024ea0000000000",
	 ". a. 1 3600 90 2419200 0"},
	{"SOA . . 4294967295 4294967295 1 1 1", NULL, NULL},
	{"TXT foo \"b r\" \"\"", "03666f6f0362207200", "\"foo\" \"b r\" \"\""},
	{"TXT a\\\"b\\200\\;", "056122 62c83b", "\"a\\\"b\\200;\""},
	{"TXT \"a;(b)\"", "056 13b286229", NULL},
	{"SRV 0 5 5060 sip", "0000000513c403736970076578616d706c6503636f6d00",
	 "0 5 5060 sip.example.com."},
	{"CAA 0 issue \"ca.example; a=b\"", "000569737375656361 2e6578616d706c653b20613d62", NULL},
	{"CAA 128 tbs unquoted", NULL, "128 tbs \"unquoted\""},
	{"CAA 0 issue \"\"", "00056973737565", NULL},
	{"DS 1 13 2 ( 00112233445566778899aabbccddeeff\n00112233445566778899aabbccddeeff )", NULL,
	 "1 13 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"},
	{"DS 1 ECDSAP256SHA256 SHA-1 0011223344556677889900112233445566778899", NULL,
	 "1 13 1 0011223344556677889900112233445566778899"},
	{"DS 1 13 77 00", "00010d4d00", NULL},
	{"CDS 0 0 0 00", "0000000000", NULL},
	{"CDNSKEY 0 3 0 AA==", "0000030000", NULL},
	{"DNSKEY 257 3 13 A A E C", "0101030d000102", "257 3 13 AAEC"},
	{"NSEC b. A MX RRSIG NSEC TYPE1234",
	 "01620000064001000000030 41b000000000000000000000000000000000000000000000000000020", NULL},
	{"NSEC b. NSEC A A", "016200000640000000000 1", "b. A NSEC"},
	{"NSEC3 1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG", NULL,
	 "1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG"},
	{"NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR", NULL,
	 "1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr"},
	{"NSEC3PARAM 1 0 0 -", "0100000000", NULL},
	{"RRSIG A 13 2 1h 20300101000000 1577836800 55 @ AAEC",
	 "00010d0200000e1070dbd8805e0be1000037076578616d706c6503636f6d00000102",
	 "A 13 2 3600 20300101000000 20200101000000 55 example.com. AAEC"},
	{"PTR a\\.b.", "03612e6200", NULL},
	{"DNAME x.", "017800", NULL},
	{"TLSA 3 1 1 AABB CC", "030101aabbcc", "3 1 1 AABBCC"},
	{"SSHFP 4 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", NULL,
	 "4 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"},
	{"ZONEMD 1 1 240 000102030405060708090A0B", "000000010 1f0000102030405060708090a0b", NULL},
	{"HINFO pc \"os 2\"", "0270 63046f732032", "\"pc\" \"os 2\""},
	{"NAPTR 1 2 s \"\" \"!a!b!\" .", "0001000201730005216121622100",
	 "1 2 \"s\" \"\" \"!a!b!\" ."},
	{"ISDN 1", "0131", "\"1\""},
	{"ISDN 1 2", "01310132", "\"1\" \"2\""},
	{"URI 1 2 \"http://x\"", "00010002687474703a2f2f78", NULL},
	{"EUI48 00-00-5e-00-53-2A", "00005e00532a", "00-00-5e-00-53-2a"},
	{"EUI64 00-00-5e-ef-10-00-00-2a", "00005eef1000002a", NULL},
	{"NID 10 14:4fff:ff20:ee64", "000a00144fffff20ee64", "10 0014:4fff:ff20:ee64"},
	{"L32 10 10.1.2.0", "000a0a010200", NULL},
	{"CERT PKIX 0 0 AA==", "000100000000", "1 0 0 AA=="},
	{"CSYNC 66 3", "000000420003", NULL},
	{"LOC 42 21 54.000 N 71 06 18.000 W -24m 30m 10000m 10m",
	 "0033161389172dd070be15f000988d20", NULL},
	{"LOC 90 0 0.000 S 180 0 0.000 W 0m", NULL,
	 "90 00 0.000 S 180 00 0.000 W 0m 1m 10000m 10m"},
	{"NSAP-PTR foo", "03666f6f076578616d706c6503636f6d00", "foo.example.com."},
	{"APL 1:192.168.32.0/21 !1:192.168.38.0/28", "0001150 3c0a8200001 1c83c0a826", NULL},
	{"APL \\# 6 000301020102", "000301020102", "\\# 6 000301020102"},
	{"TYPE65280 \\# 0", "", NULL},
	{"TYPE65280 \\# 3 ( aa\nBB CC )", "aabbcc", "\\# 3 AABBCC"},
	{"A \\# 4 0a000001", "0a000001", "10.0.0.1"},
	/* RFC 9460 appendix D. */
	{"SVCB 0 foo.example.com.", "000003666f6f076578616d706c6503636f6d00", NULL},
	{"SVCB 1 .", "000100", NULL},
	{"SVCB 16 foo. port=53", "001003666f6f00000300020035", NULL},
	{"SVCB 1 . key667=hello", "000100029b000568656c6c6f", "1 . key667=\"hello\""},
	{"SVCB 1 . key667=\"hello\\210qoo\"", "000100029b000968656c6c6fd2716f6f", NULL},
	{"SVCB 1 . ipv6hint=\"2001:db8::1,2001:db8::53:1\"",
	 "00010000060020 20010db800000000000000000000000120010db8000000000000000000530001",
	 "1 . ipv6hint=2001:db8::1,2001:db8::53:1"},
	{"SVCB 16 foo. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
	 "001003666f6f0000000004000100040001000902683205 68332d313900040004c0000201",
	 "16 foo. mandatory=alpn,ipv4hint alpn=\"h2,h3-19\" ipv4hint=192.0.2.1"},
	{"SVCB 16 foo. alpn=\"f\\\\\\\\oo\\\\,bar,h2\"",
	 "001003666f6f000001000c08665c6f6f2c626172026832", NULL},
	{"SVCB 16 foo. alpn=f\\\\\\092oo\\092,bar,h2",
	 "001003666f6f000001000c08665c6f6f2c626172026832",
	 "16 foo. alpn=\"f\\\\\\\\oo\\\\,bar,h2\""},
	{"HTTPS 1 . ech=AAEC no-default-alpn alpn=h2", NULL,
	 "1 . alpn=\"h2\" no-default-alpn ech=AAEC"},
	{"SVCB 1 . key1=\\002h2 dohpath=/q{?dns} ohttp", NULL,
	 "1 . alpn=\"h2\" dohpath=\"/q{?dns}\" ohttp"},
};

static void test_good(void **state)
{
	(void)state;
	uint8_t *wire = malloc(RDATA_MAX);
	uint8_t *again = malloc(RDATA_MAX);
	for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
		const struct good *g = &goods[i];
		char text[TEXT_ROOM];
		char hex[TEXT_ROOM];
		uint16_t type;
		const char *why = "";
		struct outcome o = read_rdata(g->line, wire, &type);
		if (o.st != ST_OK) {
			fail_msg("%s: %s", g->line, o.why);
		}
		assert_int_equal(rdata_check(type, (struct bytes){wire, o.len}, &why), ST_OK);
		if (g->hex != NULL) {
			char want[TEXT_ROOM];
			size_t n = 0;
			for (const char *p = g->hex; *p != '\0'; p++) {
				if (*p != ' ') {
					want[n++] = *p;
				}
			}
			want[n] = '\0';
			to_hex(wire, o.len, hex);
			assert_string_equal(hex, want);
		}
		assert_int_equal(
			rdata_to_text(type, (struct bytes){wire, o.len}, text, sizeof(text)),
			ST_OK);
		assert_string_equal(text, g->text != NULL ? g->text : strchr(g->line, ' ') + 1);
		char line[TEXT_ROOM + 32];
		char name[RRTYPE_TEXT_MAX];
		snprintf(line, sizeof(line), "%s %s", rrtype_to_text(type, name), text);
		struct outcome second = read_rdata(line, again, &type);
		assert_int_equal(second.st, ST_OK);
		assert_int_equal(second.len, o.len);
		assert_memory_equal(again, wire, o.len);
		/* The generic form says the same of every type (RFC 3597 5). */
		to_hex(wire, o.len, hex);
		snprintf(line, sizeof(line), "%s \\# %zu %s", name, o.len, hex);
		second = read_rdata(line, again, &type);
		assert_int_equal(second.st, ST_OK);
		assert_memory_equal(again, wire, o.len);
		/* Each room too small is refused, the exact one is enough. */
		size_t room = strlen(text) + 1;
		assert_int_equal(rdata_to_text(type, (struct bytes){wire, o.len}, line, room),
				 ST_OK);
		assert_int_equal(rdata_to_text(type, (struct bytes){wire, o.len}, line, room - 1),
				 ST_ESPACE);
	}
	free(wire);
	free(again);
}

/* HIP servers whose names hold quotes and blanks: ldns writes them so that a master file's reader
 * finds a quoted string. The text is one that we read, if need be that of RFC 3597. */
static void test_ldns_text_that_reads_otherwise(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		const char *text;
	} cases[] = {
		{"HIP 2 00 AA== rvs.", "2 00 AA== rvs."},
		{"HIP 2 00 AA== \\\"a. b\\\".", "\\# 14 0102000100000222610002622200"},
	};
	uint8_t *wire = malloc(RDATA_MAX);
	uint8_t *again = malloc(RDATA_MAX);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[TEXT_ROOM];
		char line[TEXT_ROOM + 32];
		uint16_t type;
		struct outcome o = read_rdata(cases[i].line, wire, &type);
		if (o.st != ST_OK) {
			fail_msg("%s: %s", cases[i].line, o.why);
		}
		assert_int_equal(
			rdata_to_text(type, (struct bytes){wire, o.len}, text, sizeof(text)),
			ST_OK);
		assert_string_equal(text, cases[i].text);
		snprintf(line, sizeof(line), "HIP %s", text);
		struct outcome second = read_rdata(line, again, &type);
		assert_int_equal(second.st, ST_OK);
		assert_int_equal(second.len, o.len);
		assert_memory_equal(again, wire, o.len);
	}
	free(wire);
	free(again);
}

struct bad {
	const char *line;
	size_t bad;
	const char *why; /* how it starts */
};

static const struct bad bads[] = {
	{"A 192.0.2.256", 0, "expected an IPv4 address"},
	{"A 192.0.2", 0, "expected an IPv4 address"},
	{"A 192.0.2.01", 0, "expected an IPv4 address"},
	{"A 1.2.3.4.", 0, "expected an IPv4 address"},
	{"A 192.0.2.1 x", 1, "expected the end of the record"},
	{"A", 0, "expected an IPv4 address"},
	{"A \"192.0.2.1\"", 0, "expected an IPv4 address"},
	{"AAAA 1.2.3.4", 0, "expected an IPv6 address"},
	{"AAAA 1::2::3", 0, "expected an IPv6 address"},
	{"NS \"ns\"", 0, "expected a domain name"},
	{"NS a..b", 0, "expected a domain name (a label is empty)"},
	{"MX mail 10", 0, "expected a number from 0 to 65535"},
	{"MX 65536 mail", 0, "expected a number from 0 to 65535"},
	{"MX 1", 1, "expected a domain name"},
	{"SOA . . 1 2 3 4", 6, "expected a time span"},
	{"SOA . . 1x 2 3 4 5", 2, "expected a number from 0 to 4294967295"},
	{"TXT", 0, "expected a string"},
	{"TXT \\25", 0, "expected a string with escapes"},
	{"TXT \\256", 0, "expected a string with escapes"},
	{"CAA 0 a-b x", 1, "expected a property tag"},
	{"CAA 0 issue a b", 3, "expected the end of the record"},
	{"DS 1 13 2 00", 3, "expected a digest of 32 octets"},
	{"DS 1 13 4 00", 3, "expected a digest of 48 octets"},
	{"DS 1 13 2 0", 3, "expected hex digits"},
	{"DS 1 13 2", 3, "expected hex digits"},
	{"DS 1 FOO 2 00", 1, "expected a DNSSEC algorithm"},
	{"CDS 0 0 0 01", 3, "expected 0 0 0 00"},
	{"DNSKEY 257 3 13 AA=A", 3, "expected base64"},
	{"DNSKEY 257 3 13 AA== AA==", 3, "expected base64"},
	{"NSEC a.", 1, "expected an RR type"},
	{"NSEC a. A FOO", 2, "expected an RR type"},
	{"NSEC3 1 0 0 xx 00", 3, "expected hex digits or -"},
	{"NSEC3 1 0 0 - !", 4, "expected a hash in base32hex"},
	{"RRSIG A 13 2 1 20301301000000 1 1 . AA==", 4, "expected a time as"},
	{"SSHFP 1 1 00", 2, "expected a digest of 20 octets"},
	{"ZONEMD 1 1 240 00", 3, "expected a digest of at least 12 octets"},
	{"URI 1 1 \"\"", 2, "expected a string that is not empty"},
	{"NID 1 1:2:3", 1, "expected four groups"},
	{"NID 1 1::2:3", 1, "expected four groups"},
	{"EUI48 00-00-5e-00-53", 0, "expected an EUI-48 address"},
	{"EUI48 00-00-5e-00-53:2a", 0, "expected an EUI-48 address"},
	{"LOC x", 0, "expected valid RDATA"},
	{"LOC \\# 1 00", 2, "expected 16 octets of LOC version 0"},
	{"LOC 91 0 0 N 0 0 0 E 0m", 0, "expected a latitude"},
	{"LOC 0 0 0 N 181 0 0 E 0m", 0, "expected a longitude"},
	{"LOC \\# 16 01121213800000008000000000989680", 2, "expected 16 octets of LOC version 0"},
	{"LOC \\# 16 00a21213800000008000000000989680", 2, "expected a LOC size"},
	{"LOC \\# 16 00120a13800000008000000000989680", 2, "expected a LOC size"},
	{"LOC \\# 16 001212138000000080000000009896", 1, "expected as many octets"},
	{"HIP 2 00 AA== a \"b c\"", 4, "expected plain text"},
	{"APL \\# 7 00010000020000", 2, "expected whole address prefixes"},
	{"APL \\# 5 0001180401", 2, "expected whole address prefixes"},
	{"APL \\# 4 00012100", 2, "expected address prefixes that fit"},
	{"APL \\# 9 0001180501020304 05", 2, "expected address prefixes that fit"},
	{"APL 1:192.0.2.0/24 a\\;", 1, "expected plain text"},
	{"WKS 192.0.2.1 tcp smtp", 0, "expected \\# and the RDATA in hex"},
	{"TYPE65280 x", 0, "expected \\# and the RDATA in hex"},
	{"TYPE65280 \\# 2 00", 1, "expected as many octets"},
	{"TYPE65280 \\# 1", 2, "expected hex digits"},
	{"TYPE65280 \\# 65536 00", 1, "expected the length"},
	{"A \\# 3 000000", 2, "expected more octets"},
	{"A \\# 5 0000000000", 2, "expected the end of the RDATA"},
	/* RFC 9460 appendix D.3 and more. */
	{"SVCB 1 foo. key123=abc key123=def", 3, "expected each SvcParam key only once"},
	{"SVCB 1 foo. port=1 mandatory=port alpn=h2 port=2", 5, "expected each SvcParam key"},
	{"SVCB 1 foo. mandatory", 2, "expected a value for mandatory"},
	{"SVCB 1 foo. alpn", 2, "expected a value for alpn"},
	{"SVCB 1 foo. alpn=,h2", 2, "expected a list of ALPN ids"},
	{"SVCB 1 foo. port", 2, "expected a value for port"},
	{"SVCB 1 foo. port=65536", 2, "expected a port"},
	{"SVCB 1 foo. ipv4hint", 2, "expected a value for ipv4hint"},
	{"SVCB 1 foo. ipv4hint=1.2.3.4,", 2, "expected a list of IPv4 addresses"},
	{"SVCB 1 foo. ipv6hint", 2, "expected a value for ipv6hint"},
	{"SVCB 1 foo. no-default-alpn=abc alpn=h2", 2, "expected no value for no-default-alpn"},
	{"SVCB 1 foo. no-default-alpn", 2, "expected alpn beside no-default-alpn"},
	{"SVCB 1 foo. mandatory=key123", 2, "expected every key that mandatory names"},
	{"SVCB 1 foo. mandatory=mandatory", 2, "expected each key in mandatory once"},
	{"SVCB 1 foo. mandatory=port,port port=1", 2, "expected each key in mandatory once"},
	{"SVCB 1 foo. key065=1", 2, "expected a SvcParam key"},
	{"SVCB 1 foo. key65535=1", 2, "expected a SvcParam key"},
	{"SVCB 1 foo. \"alpn=h2\"", 2, "expected a SvcParam key"},
	{"SVCB 1 foo. ALPN=h2", 2, "expected a SvcParam key"},
	{"SVCB 1 foo. dohpath=/q", 2, "expected a URI template"},
};

static void test_bad(void **state)
{
	(void)state;
	uint8_t *wire = malloc(RDATA_MAX);
	for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		const struct bad *b = &bads[i];
		uint16_t type;
		struct outcome o = read_rdata(b->line, wire, &type);
		if (o.st != ST_EPARSE || o.bad != b->bad ||
		    strncmp(o.why, b->why, strlen(b->why)) != 0) {
			fail_msg("%s: %d %zu %s", b->line, o.st, o.bad, o.st == ST_OK ? "" : o.why);
		}
		assert_int_equal(o.len, 12345);
	}
	free(wire);
}

/* Text may be long, wire may not. */
static void test_too_long(void **state)
{
	(void)state;
	size_t count = 300;
	uint8_t *wire = malloc(RDATA_MAX);
	struct token *tokens = calloc(count, sizeof(*tokens));
	char string[255];
	size_t len = 77;
	size_t bad = 77;
	const char *why = NULL;
	memset(string, 'a', sizeof(string));
	for (size_t i = 0; i < count; i++) {
		tokens[i] = (struct token){.text = string, .len = sizeof(string)};
	}
	assert_int_equal(rdata_from_tokens(RR_TXT, tokens, count, origin, wire, &len, &bad, &why),
			 ST_EPARSE);
	assert_int_equal(len, 77);
	assert_string_equal(why, "expected at most 65535 octets of RDATA");
	assert_int_equal(rdata_from_tokens(RR_TXT, tokens, 255, origin, wire, &len, &bad, &why),
			 ST_OK);
	assert_int_equal(len, 255 * 256);
	free(tokens);
	free(wire);
}

struct wire_case {
	uint16_t type;
	const char *data;
	size_t len;
	bool good;
};

#define WIRE(type, data, good)                                                                     \
	{                                                                                          \
		type, data, sizeof(data) - 1, good                                                 \
	}

static void test_check(void **state)
{
	(void)state;
	static const struct wire_case cases[] = {
		WIRE(RR_A, "\1\2\3\4", true),
		WIRE(RR_A, "\1\2\3", false),
		WIRE(RR_A, "\1\2\3\4\5", false),
		WIRE(RR_NS, "\1a\0", true),
		WIRE(RR_NS, "\1a\xc0\0", false),
		WIRE(RR_TXT, "", false),
		WIRE(RR_TXT, "\0", true),
		WIRE(RR_TXT, "\2a", false),
		WIRE(RR_NSEC, "\0\0\1\x40", true),
		WIRE(RR_NSEC, "\0", false),
		WIRE(RR_NSEC, "\0\0\0", false),
		WIRE(RR_NSEC, "\0\0\1\0", false),
		WIRE(RR_NSEC, "\0\1\1\1\0\1\1", false),
		WIRE(RR_NSEC, "\0\0\41\1", false),
		WIRE(RR_NSEC3, "\1\0\0\0\0\1x", true),
		WIRE(RR_NSEC3, "\1\0\0\0\0\0\0\1\1", false),
		WIRE(RR_CAA, "\0\0", false),
		WIRE(RR_CAA, "\0\1-", false),
		WIRE(RR_CAA, "\0\1a", true),
		WIRE(RR_SVCB, "\0\1\0\0\3\0\2\0\1", true),
		WIRE(RR_SVCB, "\0\1\0\0\3\0\1\0", false),
		WIRE(RR_SVCB, "\0\1\0\0\3\0\2\0\1\0\1\0\3\2h2", false),
		WIRE(RR_SVCB, "\0\1\0\0\1\0\1\0", false),
		WIRE(RR_SVCB, "\0\1\0\xff\xff\0\0", false),
		WIRE(RR_SVCB, "\0\1\0\0", false),
		WIRE(65280, "", true),
		WIRE(65280, "x", true),
		WIRE(42 /* APL */, "", true),
		WIRE(29 /* LOC */, "", false),
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct wire_case *w = &cases[i];
		const char *why = NULL;
		enum status st = rdata_check(
			w->type, (struct bytes){(const uint8_t *)w->data, w->len}, &why);
		if (st != (w->good ? ST_OK : ST_EPARSE)) {
			fail_msg("case %zu: %d", i, st);
		}
		assert_true(w->good == (why == NULL));
	}
}

static void test_canonical(void **state)
{
	(void)state;
	static const struct {
		const char *a;
		const char *b;
		int order;
	} cases[] = {
		/* RFC 4034 6.2: names of these types in lower case. */
		{"NS A.B.", "NS a.b.", 0},
		{"MX 1 A.", "MX 1 a.", 0},
		{"SRV 1 1 1 A.", "SRV 1 1 1 a.", 0},
		{"SOA A. B. 1 1 1 1 1", "SOA a. b. 1 1 1 1 1", 0},
		{"RRSIG A 1 1 1 1 1 1 A. AAEC", "RRSIG A 1 1 1 1 1 1 a. AAEC", 0},
		{"NAPTR 1 1 S s s A.", "NAPTR 1 1 S s s a.", 0},
		{"NAPTR 1 1 S s s A.", "NAPTR 1 1 s s s A.", -1},
		/* RFC 6840 5.1, and types that are younger. */
		{"NSEC A. A", "NSEC a. A", -1},
		{"SVCB 1 A.", "SVCB 1 a.", -1},
		{"TXT A", "TXT a", -1},
		{"TXT ab", "TXT b", 1},
		{"MX 2 a.", "MX 10 a.", -1},
		/* As octets: the shorter label first (RFC 4034 6.3). */
		{"NS b.", "NS aa.", -1},
		{"NS aa.", "NS AB.", -1},
		{"A 10.0.0.1", "A 10.0.0.1", 0},
	};
	uint8_t *a = malloc(RDATA_MAX);
	uint8_t *b = malloc(RDATA_MAX);
	uint8_t *c = malloc(RDATA_MAX);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint16_t type;
		struct outcome x = read_rdata(cases[i].a, a, &type);
		struct outcome y = read_rdata(cases[i].b, b, &type);
		assert_int_equal(x.st, ST_OK);
		assert_int_equal(y.st, ST_OK);
		struct bytes p = {a, x.len};
		struct bytes q = {b, y.len};
		int diff = rdata_compare(type, p, q);
		int back = rdata_compare(type, q, p);
		assert_int_equal((diff > 0) - (diff < 0), cases[i].order);
		assert_int_equal((back > 0) - (back < 0), -cases[i].order);
		/* The order is that of the canonical octets. */
		rdata_canonical(type, p, c);
		rdata_canonical(type, q, b);
		if (x.len == y.len) {
			diff = memcmp(c, b, x.len);
			assert_int_equal((diff > 0) - (diff < 0), cases[i].order);
		}
	}
	free(a);
	free(b);
	free(c);
}

static void test_bitmap(void **state)
{
	(void)state;
	static const uint16_t types[] = {RR_A, RR_NS, RR_NSEC, RR_CAA, 65280, 65535};
	uint8_t out[34 * 3];
	size_t len = bitmap_encode(types, sizeof(types) / sizeof(types[0]), out);
	struct bytes bitmap = {out, len};
	assert_int_equal(len, 2 + 6 + 2 + 1 + 2 + 32);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_true(bitmap_has(bitmap, types[i]));
	}
	assert_false(bitmap_has(bitmap, RR_AAAA));
	assert_false(bitmap_has(bitmap, RR_CAA + 100));
	assert_false(bitmap_has(bitmap, 512));
	assert_false(bitmap_has((struct bytes){out, 1}, RR_A));
	assert_int_equal(bitmap_encode(types, 0, out), 0);
}

static void test_structures(void **state)
{
	(void)state;
	uint8_t *wire = malloc(RDATA_MAX);
	uint16_t type;
	struct outcome o = read_rdata("RRSIG MX 13 2 300 20 10 777 x. AAEC", wire, &type);
	struct rrsig sig;
	assert_int_equal(rrsig_parse((struct bytes){wire, o.len}, &sig), ST_OK);
	assert_int_equal(sig.type_covered, RR_MX);
	assert_int_equal(sig.algorithm, 13);
	assert_int_equal(sig.labels, 2);
	assert_int_equal(sig.original_ttl, 300);
	assert_int_equal(sig.expiration, 20);
	assert_int_equal(sig.inception, 10);
	assert_int_equal(sig.key_tag, 777);
	assert_memory_equal(sig.signer, "\1x", 3);
	assert_int_equal(sig.signature.len, 3);
	struct rrsig before = sig;
	assert_int_equal(rrsig_parse((struct bytes){wire, o.len - 3}, &sig), ST_EPARSE);
	assert_memory_equal(&before, &sig, sizeof(sig));

	o = read_rdata("SOA m. r. 1 2 3 4 5", wire, &type);
	struct soa soa;
	assert_int_equal(soa_parse((struct bytes){wire, o.len}, &soa), ST_OK);
	assert_memory_equal(soa.mname, "\1m", 3);
	assert_memory_equal(soa.rname, "\1r", 3);
	assert_int_equal(soa.serial, 1);
	assert_int_equal(soa.refresh, 2);
	assert_int_equal(soa.retry, 3);
	assert_int_equal(soa.expire, 4);
	assert_int_equal(soa.minimum, 5);
	struct soa soa_before = soa;
	assert_int_equal(soa_parse((struct bytes){wire, o.len - 1}, &soa), ST_EPARSE);
	assert_int_equal(soa_parse((struct bytes){wire, o.len + 1}, &soa), ST_EPARSE);
	assert_memory_equal(&soa_before, &soa, sizeof(soa));
	free(wire);
}

/* Every type that has both: the shape walks over just the octets that the fields make. */
static void test_shapes(void **state)
{
	(void)state;
	uint8_t *wire = malloc(RDATA_MAX);
	for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
		uint16_t type;
		struct outcome o = read_rdata(goods[i].line, wire, &type);
		struct wreader r;
		wreader_init(&r, wire, o.len);
		for (const char *p = rdata_shape(type); *p != '\0'; p++) {
			switch (*p) {
			case 'N':
			case 'n':
			case 'p':
				wreader_name(&r);
				break;
			case 's':
				wreader_str8(&r);
				break;
			case 'A':
				wreader_bytes(&r, 16);
				break;
			case '*':
				wreader_bytes(&r, wreader_left(&r));
				break;
			default:
				wreader_bytes(&r, (size_t)(*p - '0'));
				break;
			}
		}
		if (r.err != ST_OK || wreader_left(&r) > 0) {
			fail_msg("%s", goods[i].line);
		}
	}
	free(wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_ldns_text_that_reads_otherwise),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_bitmap),
		cmocka_unit_test(test_structures),
		cmocka_unit_test(test_shapes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
