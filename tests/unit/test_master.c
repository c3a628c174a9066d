#include "zones/content.h"
#include "zones/master.h"
#include "zones/rdata.h"

#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const uint8_t apex[] = "\7example\3com";

#define TEXT_ROOM 8192

/* "owner ttl type rdata\n" for each record, in the order of the file. */
static void dump(const struct content *c, char *out)
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < c->record_count; i++) {
		const struct record *r = &c->records[i];
		char owner[NAME_TEXT_MAX];
		char type[RRTYPE_TEXT_MAX];
		char text[2048];
		struct bytes rdata = record_rdata(r);
		assert_int_equal(rdata_to_text(r->type, rdata, text, sizeof(text)), ST_OK);
		n += (size_t)snprintf(out + n, TEXT_ROOM - n, "%s %u %s %s\n",
				      name_to_text(r->owner, owner), r->ttl,
				      rrtype_to_text(r->type, type), text);
		assert_true(n < TEXT_ROOM);
	}
}

/* All findings, a line each. */
static void findings(const struct diags *d, char *out)
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < d->count; i++) {
		char buf[1024];
		n += (size_t)snprintf(out + n, TEXT_ROOM - n, "%s\n",
				      diag_format(&d->items[i], buf, sizeof(buf)));
		assert_true(n < TEXT_ROOM);
	}
}

struct reading {
	const char *what;
	const char *text;
	const char *records;
	const char *findings;
};

static const struct master_options plain = {.include_depth = UINT_MAX, .generate_max = 10};

static void read_all(const struct reading *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct content c;
		struct diags d;
		char out[TEXT_ROOM];
		const char *want = cases[i].findings == NULL ? "" : cases[i].findings;
		content_init(&c, apex);
		diags_init(&d, DIAGS_LIMIT);
		enum status st =
			master_read_mem("z", cases[i].text, strlen(cases[i].text), &plain, &c, &d);
		findings(&d, out);
		if (strcmp(out, want) != 0) {
			fail_msg("%s: found\n%s", cases[i].what, out);
		}
		assert_int_equal(st, d.errors == 0 ? ST_OK : ST_EPARSE);
		if (cases[i].records != NULL) {
			dump(&c, out);
			if (strcmp(out, cases[i].records) != 0) {
				fail_msg("%s: records\n%s", cases[i].what, out);
			}
		}
		content_fini(&c);
		diags_fini(&d);
	}
}

static void test_syntax(void **state)
{
	(void)state;
	static const struct reading cases[] = {
		{"nothing", "", "", NULL},
		{"comments and blank lines", "; x\n\n \t\n();y\n(\n)\n", "", NULL},
		{"TTL and class in either order",
		 "a 1 IN A 1.1.1.1\nb IN 2 A 1.1.1.1\nc 3 A 1.1.1.1\nd 4 CLASS1 TYPE1 1.1.1.1\n",
		 "a.example.com. 1 A 1.1.1.1\nb.example.com. 2 A 1.1.1.1\n"
		 "c.example.com. 3 A 1.1.1.1\nd.example.com. 4 A 1.1.1.1\n",
		 NULL},
		{"in any case", "A 1 in a 1.1.1.1\n$ttl 5\nb AaaA ::\n",
		 "a.example.com. 1 A 1.1.1.1\nb.example.com. 5 AAAA ::\n", NULL},
		{"owner inherited",
		 "a 1 A 1.1.1.1\n\t2 A 1.1.1.2\n  IN 3 A 1.1.1.3\n(\n 4 4 A 1.1.1.4 )\n",
		 "a.example.com. 1 A 1.1.1.1\na.example.com. 2 A 1.1.1.2\na.example.com. 3 A "
		 "1.1.1.3\n"
		 "4.example.com. 4 A 1.1.1.4\n",
		 NULL},
		{"an owner like a type or a number",
		 "A 1 A 1.1.1.1\n7 1 A 1.1.1.1\nIN 1 A 1.1.1.1\n",
		 "a.example.com. 1 A 1.1.1.1\n7.example.com. 1 A 1.1.1.1\nin.example.com. 1 A "
		 "1.1.1.1\n",
		 NULL},
		{"CRLF", "a 1 TXT x\r\n 2 TXT \"y\" ;z\r\nb 3 TXT ( \r\n z\r\n)\r\n",
		 "a.example.com. 1 TXT \"x\"\na.example.com. 2 TXT \"y\"\nb.example.com. 3 TXT "
		 "\"z\"\n",
		 NULL},
		{"no newline at the end", "a 1 A 1.1.1.1", "a.example.com. 1 A 1.1.1.1\n", NULL},
		{"parentheses", "a 1 MX ( 1 ; ) x\n ((\n b ))) ; )\n",
		 "a.example.com. 1 MX 1 b.example.com.\n", NULL},
		{"quotes", "a 1 TXT \"a;b(c)\"d\"\" e\"f\"\nb 1 TXT \"x\\\ny\\\"\"\nc 1 TXT z\n",
		 "a.example.com. 1 TXT \"a;b(c)\" \"d\" \"\" \"e\" \"f\"\n"
		 "b.example.com. 1 TXT \"x\\010y\\\"\"\nc.example.com. 1 TXT \"z\"\n",
		 NULL},
		{"escapes", "a\\.b\\032c 1 TXT \\;x \\065\\ b\n\\$x 1 A 1.1.1.1\n",
		 "a\\.b\\032c.example.com. 1 TXT \";x\" \"A b\"\n\\$x.example.com. 1 A 1.1.1.1\n",
		 NULL},
		{"origin",
		 "$ORIGIN s\na 1 NS b\n$ORIGIN t\n@ 1 NS @\n$ORIGIN o.example.com. ; x\na 1 NS "
		 "b.\n 1 NS c\n",
		 "a.s.example.com. 1 NS b.s.example.com.\nt.s.example.com. 1 NS t.s.example.com.\n"
		 "a.o.example.com. 1 NS b.\na.o.example.com. 1 NS c.o.example.com.\n",
		 NULL},
		{"the same owner under another origin", "a 1 A 1.1.1.1\n$ORIGIN s\na 1 A 1.1.1.1\n",
		 "a.example.com. 1 A 1.1.1.1\na.s.example.com. 1 A 1.1.1.1\n", NULL},
		{"generic form", "a 1 TYPE731 \\# 3 aa (bb\ncc)\nb 1 A \\# 4 01010101\n",
		 "a.example.com. 1 TYPE731 \\# 3 AABBCC\nb.example.com. 1 A 1.1.1.1\n", NULL},
		{"SvcParam with a quoted value", "a 1 SVCB 1 . alpn=\"h2,h3\" port=\"1\"\n",
		 "a.example.com. 1 SVCB 1 . alpn=\"h2,h3\" port=1\n", NULL},
	};
	read_all(cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_ttl(void **state)
{
	(void)state;
	static const struct reading cases[] = {
		{"$TTL",
		 "$TTL 1h30m\na A 1.1.1.1\nb 5 A 1.1.1.1\nc A 1.1.1.1\n$TTL 7\nd A 1.1.1.1\n",
		 "a.example.com. 5400 A 1.1.1.1\nb.example.com. 5 A 1.1.1.1\n"
		 "c.example.com. 5400 A 1.1.1.1\nd.example.com. 7 A 1.1.1.1\n",
		 NULL},
		{"the last one, without $TTL",
		 "a 5 A 1.1.1.1\nb A 1.1.1.1\nc 6 A 1.1.1.1\n A 1.1.1.2\n",
		 "a.example.com. 5 A 1.1.1.1\nb.example.com. 5 A 1.1.1.1\nc.example.com. 6 A "
		 "1.1.1.1\n"
		 "c.example.com. 6 A 1.1.1.2\n",
		 "z:2:1: warning: no $TTL: records without a TTL get that of the one before\n"},
		{"the SOA's minimum",
		 "@ SOA . . 1 2 3 4 60\nb A 1.1.1.1\nc 6 A 1.1.1.1\nd A 1.1.1.1\n",
		 "example.com. 60 SOA . . 1 2 3 4 60\nb.example.com. 60 A 1.1.1.1\n"
		 "c.example.com. 6 A 1.1.1.1\nd.example.com. 60 A 1.1.1.1\n",
		 "z:1:1: warning: no $TTL: records without a TTL get the SOA's MINIMUM\n"},
		{"none at all", "a A 1.1.1.1\n\n@ A 1.1.1.1\n", "",
		 "z:1:1: error: expected a TTL, or $TTL before this record\n"
		 "z:3:1: error: expected a TTL, or $TTL before this record\n"},
		{"the largest", "a 2147483647 A 1.1.1.1\n", "a.example.com. 2147483647 A 1.1.1.1\n",
		 NULL},
		{"larger", "a 2147483648 A 1.1.1.1\n$TTL 2147483648\n", "",
		 "z:1:3: error: expected a TTL from 0 to 2147483647, found '2147483648'\n"
		 "z:2:6: error: expected a TTL from 0 to 2147483647, found '2147483648'\n"},
	};
	read_all(cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_generate(void **state)
{
	(void)state;
	static const struct reading cases[] = {
		{"plain", "$TTL 1\n$GENERATE 9-10 h$ A 192.0.2.$\n",
		 "h9.example.com. 1 A 192.0.2.9\nh10.example.com. 1 A 192.0.2.10\n", NULL},
		{"step, TTL and class", "$GENERATE 0-5/3 $ 7 IN PTR h$\n",
		 "0.example.com. 7 PTR h0.example.com.\n3.example.com. 7 PTR h3.example.com.\n",
		 NULL},
		{"offset, width, base",
		 "$TTL 1\n$GENERATE 31-31 ${-1} CNAME "
		 "${1,4}.${0,0,x}.${0,4,X}.${0,0,o}.${-32,3,d}\n",
		 "30.example.com. 1 CNAME 0032.1f.001F.37.-01.example.com.\n", NULL},
		{"nibbles", "$TTL 1\n$GENERATE 26-26 a${0,0,n} CNAME b.${0,5,N}\n",
		 "aa.1.example.com. 1 CNAME b.A.1.0.example.com.\n", NULL},
		{"dollars", "$TTL 1\n$GENERATE 1-1 a$$b\\$c$ TXT $$\n",
		 "a\\$b\\$c1.example.com. 1 TXT \"$\"\n", NULL},
		{"quoted RDATA",
		 "$TTL 1\n$GENERATE 1-1 a MX \"$ b$\"\n$GENERATE 1-1 a TXT \"\\\"x $\\\"\"\n",
		 "a.example.com. 1 MX 1 b1.example.com.\na.example.com. 1 TXT \"x 1\"\n", NULL},
		{"RDATA of many fields", "$TTL 1\n$GENERATE 1-1 a SRV 0 $ 5 b$ ; x\n",
		 "a.example.com. 1 SRV 0 1 5 b1.example.com.\n", NULL},
		{"the owner after it is read anew",
		 "$TTL 1\na A 1.1.1.1\n$GENERATE 1-1 b$ A 1.1.1.1\na A 1.1.1.2\n",
		 "a.example.com. 1 A 1.1.1.1\nb1.example.com. 1 A 1.1.1.1\na.example.com. 1 A "
		 "1.1.1.2\n",
		 NULL},
		{"bad ranges",
		 "$GENERATE x a A 1.1.1.1\n$GENERATE 2-1 a A 1.1.1.1\n"
		 "$GENERATE 1-2/0 a A 1.1.1.1\n$GENERATE 1 a A 1.1.1.1\n"
		 "$GENERATE 1-10 a$\n$GENERATE\n",
		 "",
		 "z:1:11: error: expected a range START-STOP or START-STOP/STEP, found 'x'\n"
		 "z:2:11: error: expected a range START-STOP or START-STOP/STEP, found '2-1'\n"
		 "z:3:11: error: expected a range START-STOP or START-STOP/STEP, found '1-2/0'\n"
		 "z:4:11: error: expected a range START-STOP or START-STOP/STEP, found '1'\n"
		 "z:5:18: error: expected an owner, a type and RDATA, found the end of the record\n"
		 "z:6:10: error: expected a range START-STOP or START-STOP/STEP, found the end of "
		 "the record\n"},
		{"too many",
		 "$GENERATE 1-11 a$ 1 A 1.1.1.1\n$GENERATE 0-2147483647 a$ 1 A 1.1.1.1\n", "",
		 "z:1:11: error: expected a range of at most 10 records\n"
		 "z:2:11: error: expected a range of at most 10 records\n"},
		{"not more than one finding",
		 "\n  $GENERATE 1-2 a 1 A 1.1.1.1\n$GENERATE 1-5 a$ 1 A 1.1.1.$$\n", "",
		 "z:2:3: error: expected an owner name before this record, found '$GENERATE'\n"
		 "z:3:1: error: expected an IPv4 address, found '1.1.1.$'\n"},
		{"bad numbers",
		 "$GENERATE 1-2 ${0,1,z} 1 A 1.1.1.1\n$GENERATE 1-2 ${-2,1,x} 1 A 1.1.1.1\n"
		 "$GENERATE 1-2 ${0 1 A 1.1.1.1\n",
		 "",
		 "z:1:15: error: expected ${offset,width,base} with base d, o, x, X, n or N, found "
		 "'${0,1,z}'\n"
		 "z:2:15: error: expected numbers that are not negative in this base, found "
		 "'${-2,1,x}'\n"
		 "z:3:15: error: expected ${offset,width,base} with base d, o, x, X, n or N, found "
		 "'${0'\n"},
	};
	read_all(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Reading goes on behind a fault: every one is found, with its place. */
static void test_faults(void **state)
{
	(void)state;
	static const struct reading cases[] = {
		{"one after the other",
		 "$TTL 1\na A foo\nb FOO x\nc A\n\"d\" A 1.1.1.1\ne CH A 1.1.1.1\nf 1 2 A 1.1.1.1\n"
		 "g IN IN A 1.1.1.1\nh\ni OPT x\nj..k A 1.1.1.1\nl A 1.1.1.1 2\nm A 1.1.1.1\n",
		 "m.example.com. 1 A 1.1.1.1\n",
		 "z:2:5: error: expected an IPv4 address, found 'foo'\n"
		 "z:3:3: error: expected an RR type, found 'FOO'\n"
		 "z:4:4: error: expected an IPv4 address, found the end of the record\n"
		 "z:5:1: error: expected an owner name, found \"d\"\n"
		 "z:6:3: error: expected class IN, found 'CH'\n"
		 "z:7:5: error: expected an RR type, found '2'\n"
		 "z:8:6: error: expected an RR type, found 'IN'\n"
		 "z:9:2: error: expected an RR type, found the end of the record\n"
		 "z:10:3: error: expected an RR type that may stand in a zone, found 'OPT'\n"
		 "z:11:1: error: expected an owner name (a label is empty), found 'j..k'\n"
		 "z:12:13: error: expected the end of the record, found '2'\n"},
		{"over lines", "a 1 SOA . . (\n 1 2\n x 4 5 )\nb 1 A x\n", "",
		 "z:3:2: error: expected a time span in seconds or with units, found 'x'\n"
		 "z:4:7: error: expected an IPv4 address, found 'x'\n"},
		{"quotes and escapes",
		 "a 1 TXT \"x\n\" b\nb 1 TXT (\n \"x\n y )\nc 1 TXT x\\\nd 1 A x\n", "",
		 "z:1:9: error: expected a closing quote on the same line\n"
		 "z:2:1: error: expected a closing quote on the same line\n"
		 "z:4:2: error: expected a closing quote on the same line\n"
		 "z:6:10: error: expected a character after \\\n"
		 "z:7:7: error: expected an IPv4 address, found 'x'\n"},
		{"parentheses", "a 1 A 1.1.1.1 )\nb 1 A x\nc 1 A ( 1.1.1.1\n(\nd 1 A x\n", "",
		 "z:1:15: error: expected no ) without its (\n"
		 "z:2:7: error: expected an IPv4 address, found 'x'\n"
		 "z:3:7: error: expected a ) for this (\n"},
		{"directives",
		 "$TTL\n$TTL 1 2\n$ORIGIN\n$ORIGIN a b\n$ORIGIN \"a\"\n$FOO\n$INCLUDE x\n", "",
		 "z:1:5: error: expected a TTL from 0 to 2147483647, found the end of the record\n"
		 "z:2:8: error: expected the end of the line, found '2'\n"
		 "z:3:8: error: expected a domain name, found the end of the record\n"
		 "z:4:11: error: expected the end of the line, found 'b'\n"
		 "z:5:9: error: expected a domain name, found \"a\"\n"
		 "z:6:1: error: expected $ORIGIN, $TTL, $INCLUDE or $GENERATE, found '$FOO'\n"
		 "z:7:1: error: expected no $INCLUDE here, found '$INCLUDE'\n"},
		{"no owner to inherit", " 1 A 1.1.1.1\n", "",
		 "z:1:2: error: expected an owner name before this record, found '1'\n"},
		{"what inherits a bad owner is still read", "a..b 1 A x\n 1 A 1.1.1.1\n 1 A y\n",
		 NULL,
		 "z:1:1: error: expected an owner name (a label is empty), found 'a..b'\n"
		 "z:3:6: error: expected an IPv4 address, found 'y'\n"},
		{"what is shown is short and plain",
		 "a 1 A \x1b[31m\n"
		 "b 1 A aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
		 "",
		 "z:1:7: error: expected an IPv4 address, found '\\027[31m'\n"
		 "z:2:7: error: expected an IPv4 address, found "
		 "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'\n"},
	};
	read_all(cases, sizeof(cases) / sizeof(cases[0]));
}

static void test_findings_are_bounded(void **state)
{
	(void)state;
	struct content c;
	struct diags d;
	char text[TEXT_ROOM] = "";
	for (int i = 0; i < 100; i++) {
		strcat(text, "a 1 A x\n");
	}
	content_init(&c, apex);
	diags_init(&d, 5);
	assert_int_equal(master_read_mem("z", text, strlen(text), &plain, &c, &d), ST_EPARSE);
	assert_int_equal(d.count, 5);
	assert_int_equal(d.errors, 100);
	content_fini(&c);
	diags_fini(&d);
}

static void test_places(void **state)
{
	(void)state;
	struct content c;
	struct diags d;
	static const char text[] = "$TTL 1\n\n(\n a A\n 1.1.1.1 )\n A 1.1.1.2\n";
	content_init(&c, apex);
	diags_init(&d, 5);
	assert_int_equal(master_read_mem("z", text, strlen(text), &plain, &c, &d), ST_OK);
	assert_int_equal(c.record_count, 2);
	assert_int_equal(c.records[0].line, 4);
	assert_int_equal(c.records[0].column, 2);
	assert_int_equal(c.records[1].line, 6);
	assert_string_equal(c.files[c.records[0].file], "z");
	content_fini(&c);
	diags_fini(&d);
}

/* A folder of its own for each test that has files. */
static char folder[] = "/tmp/signet-master-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL ? -1 : chdir(folder);
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void read_path(const char *path, unsigned depth, enum status want, const char *records,
		      const char *want_findings)
{
	struct master_options opt = {.include_depth = depth};
	struct content c;
	struct diags d;
	char out[TEXT_ROOM];
	content_init(&c, apex);
	diags_init(&d, DIAGS_LIMIT);
	enum status st = master_read(path, &opt, &c, &d);
	findings(&d, out);
	assert_string_equal(out, want_findings);
	assert_int_equal(st, want);
	if (records != NULL) {
		dump(&c, out);
		assert_string_equal(out, records);
	}
	content_fini(&c);
	diags_fini(&d);
}

static void test_include(void **state)
{
	(void)state;
	assert_int_equal(mkdir("sub", 0700), 0);
	write_file("main", "$TTL 1\na A 1.1.1.1\n$INCLUDE sub/one o ; x\n A 1.1.1.2\nb A 1.1.1.3\n"
			   "$INCLUDE \"sub/two\"\nc A 1.1.1.4\n");
	write_file("sub/one", "x A 2.2.2.1\n$ORIGIN p\n$INCLUDE two\ny A 2.2.2.2\n");
	write_file("sub/two", "z A 3.3.3.1\n$TTL 2\n");
	read_path("main", 0, ST_OK,
		  "a.example.com. 1 A 1.1.1.1\n"
		  "x.o.example.com. 1 A 2.2.2.1\n"
		  "z.p.o.example.com. 1 A 3.3.3.1\n"
		  "y.p.o.example.com. 2 A 2.2.2.2\n"
		  "a.example.com. 2 A 1.1.1.2\n"
		  "b.example.com. 2 A 1.1.1.3\n"
		  "z.example.com. 2 A 3.3.3.1\n"
		  "c.example.com. 2 A 1.1.1.4\n",
		  "");
	read_path("main", 1, ST_EPARSE, NULL,
		  "sub/one:3:1: error: expected at most 1 files that include each other\n");
}

static void test_include_faults(void **state)
{
	(void)state;
	write_file("main",
		   "$TTL 1\na A 1.1.1.1\n$INCLUDE inner\n$INCLUDE absent\n$INCLUDE .\n$INCLUDE\n"
		   "$INCLUDE inner o p\n$INCLUDE inner a..b\nb A x\n");
	write_file("inner", " A 1.1.1.1\nx A y\n");
	read_path("main", 0, ST_EPARSE, NULL,
		  "inner:1:2: error: expected an owner name before this record, found 'A'\n"
		  "inner:2:5: error: expected an IPv4 address, found 'y'\n"
		  "main:4:10: error: cannot read 'absent': No such file or directory\n"
		  "main:5:10: error: cannot read '.': is a directory\n"
		  "main:6:9: error: expected a file name, found the end of the record\n"
		  "main:7:18: error: expected the end of the line, found 'p'\n"
		  "main:8:16: error: expected a domain name as the origin, found 'a..b'\n"
		  "main:9:5: error: expected an IPv4 address, found 'x'\n");
}

static void test_include_loop(void **state)
{
	(void)state;
	write_file("loop1", "$INCLUDE loop2\n");
	write_file("loop2", "$INCLUDE ./loop1\n");
	read_path("loop1", 0, ST_EPARSE, NULL, "loop2:1:10: error: './loop1' includes itself\n");
}

static void test_unreadable(void **state)
{
	(void)state;
	read_path("absent", 0, ST_ENOENT, "",
		  "absent: error: cannot read the zone file: No such file or directory\n");
	read_path(".", 0, ST_EIO, "", ".: error: cannot read the zone file: is a directory\n");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	read_path("fifo", 0, ST_EIO, "",
		  "fifo: error: cannot read the zone file: is not a regular file\n");
	write_file("secret", "");
	assert_int_equal(chmod("secret", 0), 0);
	if (geteuid() != 0) {
		read_path("secret", 0, ST_EACCES, "",
			  "secret: error: cannot read the zone file: Permission denied\n");
	}
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"main",    "inner", "loop1",  "loop2", "sub/one",
					    "sub/two", "sub",	"secret", "fifo"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		remove(names[i]);
	}
	return chdir("/") != 0 ? -1 : rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_generate),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_findings_are_bounded),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_include_faults),
		cmocka_unit_test(test_include_loop),
		cmocka_unit_test(test_unreadable),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
