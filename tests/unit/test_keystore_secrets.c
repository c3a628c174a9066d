/* Key files under a passphrase, and private keys that come from elsewhere. */
#include "tests/tools/hsmtest.h"

#include "hsm/backend.h"
#include "nsd-core/base/text.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/pkcs12.h>

struct fixture {
	char *dir;
	char keys[300];
	char phrase[300]; /* the passphrase file */
	struct keystore *ks;
};

static void use(struct fixture *fx, bool with_passphrase)
{
	struct keystore_options opt = {
		.name = "local",
		.type = KEYSTORE_FILE,
		.slot = -1,
		.directory = fx->keys,
		.passphrase_file = with_passphrase ? fx->phrase : NULL,
		.sessions = 1,
	};
	keystore_free(fx->ks);
	fx->ks = NULL;
	assert_int_equal(keystore_new(&opt, &fx->ks, NULL), ST_OK);
}

static void write_phrase(struct fixture *fx, const char *text)
{
	file_write(fx->phrase, text);
	assert_int_equal(chmod(fx->phrase, 0600), 0);
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	fx->dir = temp_make();
	snprintf(fx->keys, sizeof(fx->keys), "%s/keys", fx->dir);
	snprintf(fx->phrase, sizeof(fx->phrase), "%s/phrase", fx->dir);
	write_phrase(fx, "correct horse\nanother line\n");
	use(fx, true);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;
	keystore_free(fx->ks);
	temp_remove(fx->dir);
	free(fx);
	return 0;
}

static enum status find(struct fixture *fx, const struct hsm_key *key, struct hsm_key **out,
			struct diags *d)
{
	size_t len;
	const uint8_t *id = hsm_key_id(key, &len);
	return keystore_find(fx->ks, id, len, hsm_key_public(key), out, d);
}

/* The key's file. */
static char *content(struct fixture *fx, const struct hsm_key *key)
{
	char hex[TEXT_HEX_SIZE(HSM_KEY_ID_LEN)];
	char path[400];
	struct stat sb;
	size_t len;
	const uint8_t *id = hsm_key_id(key, &len);
	snprintf(path, sizeof(path), "%s/%s.pem", fx->keys, hex_encode(id, len, hex));
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	char *text = calloc(1, (size_t)sb.st_size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)sb.st_size, f), sb.st_size);
	fclose(f);
	return text;
}

static size_t files(const struct fixture *fx)
{
	size_t count = 0;
	DIR *dir = opendir(fx->keys);
	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	}
	closedir(dir);
	return count;
}

static void a_key_is_sealed_and_opened(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *again = NULL;
	assert_int_equal(keystore_generate(fx->ks, "example.com./ksk", &key, NULL), ST_OK);
	char *text = content(fx, key);
	assert_non_null(
		strstr(text, "label: example.com./ksk\n-----BEGIN ENCRYPTED PRIVATE KEY-----"));
	assert_null(strstr(text, "BEGIN PRIVATE"));

	/* As OpenSSL's own tools would open it: PBES2 with scrypt and AES-256. */
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509_SIG *sealed = PEM_read_bio_PKCS8(bio, NULL, NULL, NULL);
	assert_non_null(sealed);
	const X509_ALGOR *algorithm;
	const ASN1_OBJECT *oid;
	X509_SIG_get0(sealed, &algorithm, NULL);
	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	assert_int_equal(OBJ_obj2nid(oid), NID_pbes2);
	PKCS8_PRIV_KEY_INFO *info = PKCS8_decrypt(sealed, "correct horse", -1);
	assert_non_null(info);
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_SIG_free(sealed);
	BIO_free(bio);
	free(text);

	use(fx, true);
	assert_int_equal(find(fx, key, &again, NULL), ST_OK);
	assert_int_equal(sign_one(fx->ks, again), ST_OK);
	hsm_key_unref(again);
	hsm_key_unref(key);
}

static void plain_keys_are_read_as_before(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *again = NULL;
	use(fx, false);
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	char *text = content(fx, key);
	assert_non_null(strstr(text, "-----BEGIN PRIVATE KEY-----"));
	free(text);
	use(fx, true);
	assert_int_equal(find(fx, key, &again, NULL), ST_OK);
	hsm_key_unref(again);
	/* Even where the passphrase cannot be had. */
	assert_int_equal(unlink(fx->phrase), 0);
	assert_int_equal(find(fx, key, &again, NULL), ST_OK);
	hsm_key_unref(again);
	hsm_key_unref(key);
}

static void other_phrase(struct fixture *fx)
{
	write_phrase(fx, "wrong horse\n");
}

static void empty_phrase(struct fixture *fx)
{
	write_phrase(fx, "\nsecond line\n");
}

static void long_phrase(struct fixture *fx)
{
	char text[2001];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	write_phrase(fx, text);
}

static void open_phrase(struct fixture *fx)
{
	assert_int_equal(chmod(fx->phrase, 0604), 0);
}

static void no_phrase(struct fixture *fx)
{
	assert_int_equal(unlink(fx->phrase), 0);
}

static void folder_for_phrase(struct fixture *fx)
{
	assert_int_equal(unlink(fx->phrase), 0);
	assert_int_equal(mkdir(fx->phrase, 0700), 0);
}

static void none_configured(struct fixture *fx)
{
	use(fx, false);
}

static void a_passphrase_that_does_not_open_is_said(void **state)
{
	static const struct {
		const char *name;
		void (*spoil)(struct fixture *fx);
		enum status found, made;
		const char *text;
	} cases[] = {
		{"another", other_phrase, ST_EFATAL, ST_OK, "does not open"},
		{"empty", empty_phrase, ST_EFATAL, ST_EFATAL, "is empty"},
		{"too long", long_phrase, ST_EFATAL, ST_EFATAL, "is too long"},
		{"readable by others", open_phrase, ST_EACCES, ST_EACCES, "0604"},
		{"gone", no_phrase, ST_EIO, ST_EIO, "No such file"},
		{"a folder", folder_for_phrase, ST_EIO, ST_EIO, "Is a directory"},
		{"not configured", none_configured, ST_EFATAL, ST_OK, "no passphrase-file"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hsm_key *key = NULL;
		struct hsm_key *out = NULL;
		struct diags d;
		void *own = NULL;
		print_message("%s\n", cases[i].name);
		setup(&own);
		struct fixture *fx = own;
		diags_init(&d, DIAGS_LIMIT);
		assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
		cases[i].spoil(fx);
		assert_int_equal(find(fx, key, &out, &d), cases[i].found);
		assert_null(out);
		assert_int_equal(d.errors, 1);
		assert_non_null(strstr(d.items[0].text, cases[i].text));
		/* No secret in what is said. */
		assert_null(strstr(d.items[0].text, "horse"));
		/* Nothing is made in plain that was to be sealed. */
		assert_int_equal(keystore_generate(fx->ks, "y", &out, NULL), cases[i].made);
		assert_int_equal(files(fx), cases[i].made == ST_OK ? 2 : 1);
		hsm_key_unref(out);
		hsm_key_unref(key);
		diags_fini(&d);
		teardown(&own);
	}
	(void)state;
}

static void number_of(const char *base64, uint8_t *out, size_t room)
{
	size_t len;
	assert_int_equal(base64_decode(base64, strlen(base64), out, room, &len), ST_OK);
	assert_int_equal(len, room);
}

/* RFC 6605 section 6.1. */
static void an_imported_key_is_that_key(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *again = NULL;
	uint8_t number[HSM_PRIVATE_LEN];
	uint8_t point[HSM_PUBLIC_LEN];
	number_of("GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=", number, sizeof(number));
	number_of("GojIhhXUN/"
		  "u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
		  point, sizeof(point));
	for (int sealed = 0; sealed < 2; sealed++) {
		use(fx, sealed != 0);
		assert_int_equal(keystore_import(fx->ks, "x", number, &key, NULL), ST_OK);
		assert_memory_equal(hsm_key_public(key), point, sizeof(point));
		char *text = content(fx, key);
		assert_int_equal(strstr(text, "ENCRYPTED") != NULL, sealed);
		free(text);
		assert_int_equal(find(fx, key, &again, NULL), ST_OK);
		assert_int_equal(sign_one(fx->ks, again), ST_OK);
		hsm_key_unref(again);
		hsm_key_unref(key);
	}
}

static void numbers_that_are_no_keys_are_refused(void **state)
{
	struct fixture *fx = *state;
	/* The order of P-256, at the end. */
	static const uint8_t order[HSM_PRIVATE_LEN] = {
		0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
		0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
	uint8_t cases[4][HSM_PRIVATE_LEN];
	struct hsm_key *key = NULL;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	memset(cases[0], 0, sizeof(cases[0]));
	memset(cases[1], 0xff, sizeof(cases[1]));
	memcpy(cases[2], order, sizeof(order));
	memcpy(cases[3], order, sizeof(order));
	cases[3][31]++;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(keystore_import(fx->ks, "x", cases[i], &key, &d), ST_ECRYPTO);
		assert_null(key);
		assert_int_equal(d.errors, i + 1);
	}
	assert_int_equal(files(fx), 0);
	/* One less than the order, and one: the least and the greatest. */
	cases[3][31] -= 2;
	assert_int_equal(keystore_import(fx->ks, "x", cases[3], &key, NULL), ST_OK);
	hsm_key_unref(key);
	cases[0][31] = 1;
	assert_int_equal(keystore_import(fx->ks, "x", cases[0], &key, NULL), ST_OK);
	hsm_key_unref(key);
	diags_fini(&d);
}

static void tokens_take_no_private_keys(void **state)
{
	static const uint8_t number[HSM_PRIVATE_LEN] = {1};
	struct keystore_options opt = {
		.name = "token",
		.type = KEYSTORE_PKCS11,
		.module = "/nonexistent.so",
		.token = "t",
		.slot = -1,
		.sessions = 1,
	};
	struct keystore *ks = NULL;
	struct hsm_key *key = NULL;
	struct diags d;
	(void)state;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(keystore_new(&opt, &ks, NULL), ST_OK);
	assert_int_equal(keystore_import(ks, "x", number, &key, &d), ST_ENOTSUP);
	assert_null(key);
	assert_non_null(strstr(d.items[0].text, "only made in it"));
	/* No rights are to be had for it, either. */
	assert_null(keystore_rights(ks));
	diags_fini(&d);
	keystore_free(ks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_key_is_sealed_and_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_keys_are_read_as_before, setup, teardown),
		cmocka_unit_test(a_passphrase_that_does_not_open_is_said),
		cmocka_unit_test_setup_teardown(an_imported_key_is_that_key, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_that_are_no_keys_are_refused, setup,
						teardown),
		cmocka_unit_test(tokens_take_no_private_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
