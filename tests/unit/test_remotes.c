/* Who may transfer a zone, and the secrets of those who sign. */
#include "nsd-core/base/text.h"
#include "nsd-core/remotes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct conf *read_conf(const char *text)
{
	struct conf *c = NULL;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("/etc/signet/t.yaml", text, strlen(text), false, &c, &d);
	for (size_t i = 0; i < d.count; i++) {
		print_error("%u:%u: %s\n", d.items[i].line, d.items[i].column, d.items[i].text);
	}
	diags_fini(&d);
	assert_int_equal(st, ST_OK);
	return c;
}

static const char CONF[] =
	"tsig-keys:\n"
	"  - { name: one.test, secret-file: one }\n"
	"  - { name: two.test, secret-file: two }\n"
	"  - { name: three.test, secret-file: three }\n"
	"remotes:\n"
	"  - { name: keyed, address: 192.0.2.1, tsig-key: one.test }\n"
	"  - { name: roaming, address: 203.0.113.0/24, tsig-key: two.test }\n"
	"  - { name: plain, address: [ 192.0.2.2@5300, \"2001:db8::2\" ] }\n"
	"  - name: ranges\n"
	"    address: [ 198.51.100.64/27, 10.0.0.0/9, \"2001:db8:1::/48\", \"2001:db8:2::8/125\",\n"
	"               192.0.2.200/32 ]\n"
	"  - { name: sealed, address: 192.0.2.70, tls: true }\n"
	"  - { name: sealed-keyed, address: 192.0.2.71, tsig-key: three.test, tls: true }\n"
	"  - { name: anybody4, address: 0.0.0.0/0 }\n"
	"  - { name: anybody6, address: \"::/0\" }\n"
	"  - { name: mapped, address: [ \"::ffff:192.0.2.64/122\", \"::ffff:192.0.2.9\" ] }\n"
	"zones:\n"
	"  - { name: closed.test, file: a }\n"
	"  - { name: keyed.test, file: a, secondaries: [ keyed, roaming ] }\n"
	"  - { name: plain.test, file: a, secondaries: [ plain ] }\n"
	"  - { name: ranges.test, file: a, secondaries: [ ranges ] }\n"
	"  - { name: mixed.test, file: a, secondaries: [ keyed, plain ] }\n"
	"  - { name: sealed.test, file: a, secondaries: [ sealed, sealed-keyed, plain ] }\n"
	"  - { name: four.test, file: a, secondaries: [ anybody4 ] }\n"
	"  - { name: six.test, file: a, secondaries: [ anybody6 ] }\n"
	"  - { name: mapped.test, file: a, secondaries: [ mapped ] }\n";

#define NO_SECONDARIES "the zone has no secondaries"
#define NO_ADDRESS     "its address is none of the secondaries'"
#define NO_KEY	       "its key is none of the secondaries'"
#define IN_CLEAR       "it has to come over TLS"
#define UNSIGNED       "it did not sign with the secondary's key"

static const struct {
	const char *zone;
	const char *peer;
	int key;	 /* index; -1: did not sign */
	const char *why; /* NULL: may */
	bool tls;
} admit_cases[] = {
	{"closed.test", "192.0.2.1", -1, NO_SECONDARIES, false},
	{"closed.test", "192.0.2.1", 0, NO_SECONDARIES, false},
	/* The key decides, wherever it comes from. */
	{"keyed.test", "192.0.2.1", 0, NULL, false},
	{"keyed.test", "192.0.2.99", 0, NULL, false},
	{"keyed.test", "2001:db8::99", 1, NULL, false},
	{"keyed.test", "192.0.2.1", -1, UNSIGNED, false},
	{"keyed.test", "203.0.113.7", -1, UNSIGNED, false},
	{"keyed.test", "192.0.2.99", -1, NO_ADDRESS, false},
	{"keyed.test", "192.0.2.1", 2, NO_KEY, false},
	/* The address does, whatever the port. */
	{"plain.test", "192.0.2.2", -1, NULL, false},
	{"plain.test", "192.0.2.2@1", -1, NULL, false},
	{"plain.test", "::ffff:192.0.2.2", -1, NULL, false},
	{"plain.test", "2001:db8::2@9", -1, NULL, false},
	{"plain.test", "192.0.2.2", 2, NULL, false},
	{"plain.test", "192.0.2.3", -1, NO_ADDRESS, false},
	{"plain.test", "192.0.2.3", 0, NO_KEY, false},
	{"plain.test", "2001:db8::3", -1, NO_ADDRESS, false},
	/* Ranges. */
	{"ranges.test", "198.51.100.63", -1, NO_ADDRESS, false},
	{"ranges.test", "198.51.100.64", -1, NULL, false},
	{"ranges.test", "198.51.100.95", -1, NULL, false},
	{"ranges.test", "198.51.100.96", -1, NO_ADDRESS, false},
	{"ranges.test", "::ffff:198.51.100.70", -1, NULL, false},
	{"ranges.test", "10.0.0.0", -1, NULL, false},
	{"ranges.test", "10.127.255.255", -1, NULL, false},
	{"ranges.test", "10.128.0.0", -1, NO_ADDRESS, false},
	{"ranges.test", "9.255.255.255", -1, NO_ADDRESS, false},
	{"ranges.test", "2001:db8:1::", -1, NULL, false},
	{"ranges.test", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", -1, NULL, false},
	{"ranges.test", "2001:db8:2::7", -1, NO_ADDRESS, false},
	{"ranges.test", "2001:db8:2::8", -1, NULL, false},
	{"ranges.test", "2001:db8:2::f", -1, NULL, false},
	{"ranges.test", "2001:db8:2::10", -1, NO_ADDRESS, false},
	{"ranges.test", "192.0.2.200", -1, NULL, false},
	{"ranges.test", "192.0.2.201", -1, NO_ADDRESS, false},
	/* One by its key, one by its address. */
	{"mixed.test", "192.0.2.2", -1, NULL, false},
	{"mixed.test", "192.0.2.50", 0, NULL, false},
	{"mixed.test", "192.0.2.1", -1, UNSIGNED, false},
	/* Over TLS, or not at all; who need not may. */
	{"sealed.test", "192.0.2.70", -1, IN_CLEAR, false},
	{"sealed.test", "192.0.2.70", -1, NULL, true},
	{"sealed.test", "192.0.2.99", 2, IN_CLEAR, false},
	{"sealed.test", "192.0.2.99", 2, NULL, true},
	{"sealed.test", "192.0.2.71", -1, UNSIGNED, true},
	{"sealed.test", "192.0.2.99", 1, NO_KEY, true},
	{"sealed.test", "192.0.2.99", -1, NO_ADDRESS, true},
	{"sealed.test", "192.0.2.2", -1, NULL, true},
	{"sealed.test", "192.0.2.2", -1, NULL, false},
	/* A family is one family's. */
	{"four.test", "255.255.255.255", -1, NULL, false},
	{"four.test", "::ffff:1.2.3.4", -1, NULL, false},
	{"four.test", "2001:db8::1", -1, NO_ADDRESS, false},
	{"six.test", "2001:db8::1", -1, NULL, false},
	{"six.test", "192.0.2.1", -1, NO_ADDRESS, false},
	/* IPv4 in IPv6's clothes. */
	{"mapped.test", "192.0.2.9", -1, NULL, false},
	{"mapped.test", "::ffff:192.0.2.9", -1, NULL, false},
	{"mapped.test", "192.0.2.63", -1, NO_ADDRESS, false},
	{"mapped.test", "192.0.2.64", -1, NULL, false},
	{"mapped.test", "::ffff:192.0.2.127", -1, NULL, false},
	{"mapped.test", "192.0.2.128", -1, NO_ADDRESS, false},
	{"mapped.test", "192.0.3.64", -1, NO_ADDRESS, false},
};

static const struct conf_zone *zone_named(const struct conf *c, const char *text)
{
	uint8_t name[NAME_MAX_LEN];
	size_t len;
	assert_int_equal(name_from_text(text, strlen(text), NULL, name, &len, NULL), ST_OK);
	for (size_t i = 0; i < c->zone_count; i++) {
		if (name_equal(c->zones[i].name, name)) {
			return &c->zones[i];
		}
	}
	fail_msg("no zone %s", text);
	return NULL;
}

static void test_admission(void **state)
{
	struct conf *c = read_conf(CONF);
	struct tsig_secret secrets[3];
	struct tsig_keys *keys = NULL;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		secrets[i] = (struct tsig_secret){
			c->tsig_keys[i].name, HMAC_SHA256, {(const uint8_t *)"secret", 6}};
	}
	assert_int_equal(tsig_keys_new(secrets, 3, &keys), ST_OK);
	for (size_t i = 0; i < sizeof(admit_cases) / sizeof(admit_cases[0]); i++) {
		struct conf_address *peer = malloc(sizeof(*peer));
		const struct tsig_key *key =
			admit_cases[i].key >= 0 ? &keys->list[admit_cases[i].key] : NULL;
		const char *why = NULL;
		assert_non_null(peer);
		assert_int_equal(conf_address_parse(admit_cases[i].peer, 53, peer), ST_OK);
		/* As long as such an address is, for the sanitizer. */
		struct sockaddr *exact = malloc(peer->len);
		assert_non_null(exact);
		memcpy(exact, &peer->addr, peer->len);
		struct remotes_client client = {
			.peer = exact, .key = key, .tls = admit_cases[i].tls};
		bool may =
			remotes_admit(c, zone_named(c, admit_cases[i].zone), keys, &client, &why);
		if (may != (admit_cases[i].why == NULL)) {
			fail_msg("%s from %s, key %d: %s", admit_cases[i].zone, admit_cases[i].peer,
				 admit_cases[i].key, may ? "may" : why);
		}
		if (!may) {
			assert_string_equal(why, admit_cases[i].why);
		}
		free(exact);
		free(peer);
	}
	/* Somebody who comes in another way than by an address. */
	const struct sockaddr local = {.sa_family = AF_UNIX};
	const char *why = NULL;
	struct remotes_client client = {.peer = &local};
	assert_false(remotes_admit(c, zone_named(c, "four.test"), keys, &client, &why));
	assert_string_equal(why, NO_ADDRESS);
	tsig_keys_free(keys);
	conf_free(c);
}

#define SECRET16  "AAECAwQFBgcICQoLDA0ODw=="
#define NO_BASE64 "not a secret in base64, alone in the first line"

struct secret_case {
	const char *name;
	const char *text; /* NULL: there is no file */
	size_t len;	  /* 0: the text's */
	enum status st;
	const char *found; /* the one finding; NULL: none */
};

static const struct secret_case secret_cases[] = {
	{"plain", SECRET16, 0, ST_OK, NULL},
	{"with a line end", SECRET16 "\n", 0, ST_OK, NULL},
	{"with CRLF", SECRET16 "\r\n", 0, ST_OK, NULL},
	{"white space behind", SECRET16 " \t \n", 0, ST_OK, NULL},
	{"white space in front", " \t" SECRET16 "\n", 0, ST_OK, NULL},
	{"lines behind", SECRET16 "\nthe rest is for people\n", 0, ST_OK, NULL},
	{"short", "AAECAwQFBgcICQoLDA0O\n", 0, ST_OK,
	 "the secret has 120 bits, less than half of what the algorithm can use"},
	{"one octet", "AA==\n", 0, ST_OK,
	 "the secret has 8 bits, less than half of what the algorithm can use"},
	{"empty", "", 0, ST_EPARSE, NO_BASE64},
	{"empty line", "\n" SECRET16 "\n", 0, ST_EPARSE, NO_BASE64},
	{"white space only", " \t\r\n", 0, ST_EPARSE, NO_BASE64},
	{"not base64", "secret: " SECRET16 "\n", 0, ST_EPARSE, NO_BASE64},
	{"two words", SECRET16 " " SECRET16 "\n", 0, ST_EPARSE, NO_BASE64},
	{"cut", "AAECAwQFBgcICQoLDA0OD\n", 0, ST_EPARSE, NO_BASE64},
	{"NUL", SECRET16 "\0\n", 26, ST_EPARSE, NO_BASE64},
	{"missing", NULL, 0, ST_ENOENT, "cannot be read: "},
};

struct folder {
	char path[64];
	char file[96];
};

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* A configuration of one key whose secret is in this file, and one whose secret is good. */
static struct conf *conf_with_secret(const struct folder *f, const char *algorithm)
{
	char text[512];
	char good[128];
	snprintf(good, sizeof(good), "%s/good", f->path);
	write_file(good, SECRET16 SECRET16, 24);
	snprintf(text, sizeof(text),
		 "tsig-keys:\n  - { name: k.test, algorithm: %s, secret-file: %s }\n"
		 "  - { name: Good.test, secret-file: %s }\nzones: [ { name: a, file: a } ]\n",
		 algorithm, f->file, good);
	return read_conf(text);
}

static void check_secret(const struct folder *f, const struct secret_case *s)
{
	struct tsig_keys *const untouched = (struct tsig_keys *)(uintptr_t)1;
	struct tsig_keys *keys = untouched;
	struct conf *c = conf_with_secret(f, "hmac-sha256");
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	unlink(f->file);
	if (s->text != NULL) {
		write_file(f->file, s->text, s->len > 0 ? s->len : strlen(s->text));
	}
	assert_int_equal(remotes_load_keys(c, &keys, &d), s->st);
	assert_int_equal(d.count, s->found != NULL);
	if (s->found != NULL) {
		assert_non_null(strstr(d.items[0].text, s->found));
		assert_string_equal(d.items[0].file, f->file);
		assert_int_equal(d.items[0].level, s->st == ST_OK ? DIAG_WARNING : DIAG_ERROR);
	}
	if (s->st == ST_OK) {
		assert_int_equal(keys->count, 2);
		assert_ptr_equal(tsig_keys_find(keys, (const uint8_t *)"\4good\4test"),
				 &keys->list[1]);
		tsig_keys_free(keys);
	} else {
		assert_ptr_equal(keys, untouched);
	}
	diags_fini(&d);
	conf_free(c);
}

static void test_secrets(void **state)
{
	const struct folder *f = *state;

	for (size_t i = 0; i < sizeof(secret_cases) / sizeof(secret_cases[0]); i++) {
		print_message("%s\n", secret_cases[i].name);
		check_secret(f, &secret_cases[i]);
	}
}

/* The octets of the file are the key's, and the algorithm is the one that is named. */
static void test_keys_are_those_of_the_files(void **state)
{
	static const char *const names[] = {"hmac-sha256", "hmac-sha384", "hmac-sha512",
					    "hmac-sha1"};
	static const enum hmac_type types[] = {HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, HMAC_SHA1};
	const struct folder *f = *state;
	const struct bytes data = {(const uint8_t *)"data", 4};
	uint8_t octets[16];

	for (uint8_t i = 0; i < sizeof(octets); i++) {
		octets[i] = i;
	}
	for (size_t i = 0; i < 4; i++) {
		struct conf *c = conf_with_secret(f, names[i]);
		struct tsig_keys *keys = NULL;
		struct hmac_key *want = NULL;
		struct diags d;
		uint8_t a[HMAC_MAX];
		uint8_t b[HMAC_MAX];
		diags_init(&d, DIAGS_LIMIT);
		write_file(f->file, SECRET16, strlen(SECRET16));
		assert_int_equal(remotes_load_keys(c, &keys, &d), ST_OK);
		assert_int_equal(hmac_key_new(types[i], (struct bytes){octets, 16}, &want), ST_OK);
		assert_int_equal(hmac_key_type(keys->list[0].hmac), types[i]);
		assert_int_equal(hmac_of(keys->list[0].hmac, &data, 1, a), ST_OK);
		assert_int_equal(hmac_of(want, &data, 1, b), ST_OK);
		assert_memory_equal(a, b, hmac_size(types[i]));
		hmac_key_free(want);
		tsig_keys_free(keys);
		diags_fini(&d);
		conf_free(c);
	}
}

/* All that is wrong is told in one go: a folder, a file that is too long, one nobody may read. */
static void test_all_faults_are_told(void **state)
{
	const struct folder *f = *state;
	struct tsig_keys *keys = NULL;
	struct diags d;
	char text[512];
	char path[2][128];
	static char lots[8192];

	memset(lots, 'A', sizeof(lots));
	snprintf(path[0], sizeof(path[0]), "%s/long", f->path);
	snprintf(path[1], sizeof(path[1]), "%s/none", f->path);
	write_file(path[0], lots, sizeof(lots));
	snprintf(text, sizeof(text),
		 "tsig-keys:\n  - { name: a, secret-file: %s }\n  - { name: b, secret-file: %s }\n"
		 "  - { name: c, secret-file: %s }\nzones: [ { name: a, file: a } ]\n",
		 f->path, path[0], path[1]);
	struct conf *c = read_conf(text);
	diags_init(&d, DIAGS_LIMIT);
	assert_int_not_equal(remotes_load_keys(c, &keys, &d), ST_OK);
	assert_null(keys);
	assert_int_equal(d.errors, 3);
	assert_string_equal(d.items[0].file, f->path);
	assert_string_equal(d.items[1].file, path[0]);
	assert_string_equal(d.items[2].file, path[1]);
	diags_fini(&d);
	conf_free(c);
	unlink(path[0]);
}

static void test_no_keys(void **state)
{
	struct conf *c = read_conf("zones: [ { name: a, file: a } ]\n");
	struct tsig_keys *keys = NULL;
	struct diags d;

	(void)state;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(remotes_load_keys(c, &keys, &d), ST_OK);
	assert_int_equal(keys->count, 0);
	assert_int_equal(d.count, 0);
	tsig_keys_free(keys);
	diags_fini(&d);
	conf_free(c);
}

static int set_up(void **state)
{
	static struct folder f;
	snprintf(f.path, sizeof(f.path), "/tmp/signet-remotes-XXXXXX");
	if (mkdtemp(f.path) == NULL) {
		return -1;
	}
	snprintf(f.file, sizeof(f.file), "%s/secret", f.path);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	const struct folder *f = *state;
	char good[96];
	snprintf(good, sizeof(good), "%s/good", f->path);
	unlink(f->file);
	unlink(good);
	return rmdir(f->path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_admission),
		cmocka_unit_test_setup_teardown(test_secrets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_keys_are_those_of_the_files, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_all_faults_are_told, set_up, tear_down),
		cmocka_unit_test(test_no_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
