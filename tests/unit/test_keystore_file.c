#include "tests/tools/hsmtest.h"

#include "hsm/backend.h"
#include "nsd-core/base/clock.h"
#include "nsd-core/base/text.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>

struct fixture {
	char *dir;
	char keys[300];
	struct keystore *ks;
};

static struct keystore *keystore_at(const char *directory, unsigned sessions)
{
	struct keystore_options opt = {
		.name = "local",
		.type = KEYSTORE_FILE,
		.slot = -1,
		.directory = directory,
		.sessions = sessions,
	};
	struct keystore *ks = NULL;
	assert_int_equal(keystore_new(&opt, &ks, NULL), ST_OK);
	return ks;
}

static int setup(void **state)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	fx->dir = temp_make();
	snprintf(fx->keys, sizeof(fx->keys), "%s/keys", fx->dir);
	fx->ks = keystore_at(fx->keys, 2);
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

/* The path of the key's file. */
static void key_path(struct fixture *fx, const struct hsm_key *key, char *buf, size_t size)
{
	char hex[TEXT_HEX_SIZE(HSM_KEY_ID_LEN)];
	size_t len;
	const uint8_t *id = hsm_key_id(key, &len);
	assert_int_equal(len, HSM_KEY_ID_LEN);
	snprintf(buf, size, "%s/%s.pem", fx->keys, hex_encode(id, len, hex));
}

static enum status find(struct fixture *fx, const struct hsm_key *key, struct hsm_key **out)
{
	size_t len;
	const uint8_t *id = hsm_key_id(key, &len);
	return keystore_find(fx->ks, id, len, NULL, out, NULL);
}

static void a_new_key_is_found_again(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *again = NULL;
	uint8_t other[HSM_PUBLIC_LEN];
	size_t len;
	char path[400];
	struct stat sb;
	assert_int_equal(keystore_generate(fx->ks, "example.com./ZSK", &key, NULL), ST_OK);
	assert_true(keystore_in_process(fx->ks));
	assert_ptr_equal(hsm_key_store(key), fx->ks);

	/* Nobody else may read it, and nothing half-written stays beside it. */
	key_path(fx, key, path, sizeof(path));
	assert_int_equal(stat(fx->keys, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	unsigned entries = 0;
	DIR *dir = opendir(fx->keys);
	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	}
	closedir(dir);
	assert_int_equal(entries, 1);

	keystore_free(fx->ks);
	fx->ks = keystore_at(fx->keys, 1);
	const uint8_t *id = hsm_key_id(key, &len);
	assert_int_equal(keystore_find(fx->ks, id, len, hsm_key_public(key), &again, NULL), ST_OK);
	assert_memory_equal(hsm_key_public(again), hsm_key_public(key), HSM_PUBLIC_LEN);
	assert_int_equal(sign_one(fx->ks, again), ST_OK);

	struct hsm_key *untouched = again;
	memcpy(other, hsm_key_public(key), sizeof(other));
	other[0] ^= 1;
	assert_int_equal(keystore_find(fx->ks, id, len, other, &untouched, NULL), ST_ECRYPTO);
	assert_ptr_equal(untouched, again);
	hsm_key_unref(again);
	hsm_key_unref(key);
}

static void deleted_is_absent(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *out = NULL;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	assert_int_equal(keystore_delete(fx->ks, key, NULL), ST_OK);
	assert_int_equal(find(fx, key, &out), ST_ENOENT);
	assert_int_equal(keystore_delete(fx->ks, key, &d), ST_ENOENT);
	assert_int_equal(d.errors, 1);
	assert_null(out);
	diags_fini(&d);
	hsm_key_unref(key);
}

static void key_mode_0644(const char *path)
{
	assert_int_equal(chmod(path, 0644), 0);
}

static void key_mode_0660(const char *path)
{
	assert_int_equal(chmod(path, 0660), 0);
}

static void key_is_link(const char *path)
{
	char target[500];
	snprintf(target, sizeof(target), "%s.real", path);
	assert_int_equal(rename(path, target), 0);
	assert_int_equal(symlink(target, path), 0);
}

static void key_is_directory(const char *path)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void key_is_garbage(const char *path)
{
	file_write(path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
}

static void key_is_empty(const char *path)
{
	file_write(path, "");
}

static void key_is_huge(const char *path)
{
	assert_int_equal(truncate(path, 1 << 20), 0);
}

static void key_write(const char *path, EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(PEM_write_PKCS8PrivateKey(file, pkey, cipher,
						   cipher != NULL ? "pass" : NULL,
						   cipher != NULL ? 4 : 0, NULL, NULL),
			 1);
	fclose(file);
	EVP_PKEY_free(pkey);
}

static void key_is_p384(const char *path)
{
	key_write(path, EVP_EC_gen("P-384"), NULL);
}

static void key_is_rsa(const char *path)
{
	key_write(path, EVP_RSA_gen(1024), NULL);
}

static void key_is_encrypted(const char *path)
{
	key_write(path, EVP_EC_gen("P-256"), EVP_aes_128_cbc());
}

static void directory_for_all(const char *path)
{
	char *dir = strdup(path);
	*strrchr(dir, '/') = '\0';
	assert_int_equal(chmod(dir, 0777), 0);
	free(dir);
}

static void directory_gone(const char *path)
{
	char *dir = strdup(path);
	char away[500];
	*strrchr(dir, '/') = '\0';
	snprintf(away, sizeof(away), "%s.away", dir);
	assert_int_equal(rename(dir, away), 0);
	free(dir);
}

static void what_cannot_be_used_is_never_absent(void **state)
{
	struct fixture *fx = *state;
	static const struct {
		const char *name;
		void (*spoil)(const char *path);
		enum status expected;
		const char *text;
	} cases[] = {
		{"readable by all", key_mode_0644, ST_EACCES, "0644"},
		{"readable by the group", key_mode_0660, ST_EACCES, "0660"},
		{"a symbolic link", key_is_link, ST_EACCES, "symbolic"},
		{"a directory", key_is_directory, ST_EACCES, "regular"},
		{"no key inside", key_is_garbage, ST_ECRYPTO, "P-256"},
		{"empty", key_is_empty, ST_ECRYPTO, "P-256"},
		{"too long", key_is_huge, ST_ELIMIT, "too long"},
		{"another curve", key_is_p384, ST_ECRYPTO, "P-256"},
		{"RSA", key_is_rsa, ST_ECRYPTO, "P-256"},
		{"encrypted", key_is_encrypted, ST_EFATAL, "no passphrase-file"},
		{"a directory open to all", directory_for_all, ST_EACCES, "0777"},
		{"no directory", directory_gone, ST_EIO, "directory"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct hsm_key *key = NULL;
		struct hsm_key *out = NULL;
		struct diags d;
		char path[400];
		size_t len;
		print_message("%s\n", cases[i].name);
		diags_init(&d, DIAGS_LIMIT);
		assert_int_equal(keystore_generate(fx->ks, "x", &key, &d), ST_OK);
		key_path(fx, key, path, sizeof(path));
		cases[i].spoil(path);
		const uint8_t *id = hsm_key_id(key, &len);
		assert_int_equal(keystore_find(fx->ks, id, len, NULL, &out, &d), cases[i].expected);
		assert_null(out);
		assert_int_equal(d.errors, 1);
		assert_non_null(strstr(d.items[0].text, cases[i].text));
		chmod(fx->keys, 0700);
		diags_fini(&d);
		hsm_key_unref(key);
	}
}

/* As root nothing is unreadable, so another user's eyes are borrowed. */
static void unreadable_is_eacces(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_key *out = NULL;
	char path[400];
	if (geteuid() != 0) {
		skip();
	}
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	key_path(fx, key, path, sizeof(path));
	assert_int_equal(chown(fx->dir, 65534, 65534), 0);
	assert_int_equal(chown(fx->keys, 65534, 65534), 0);
	assert_int_equal(seteuid(65534), 0);
	enum status file = find(fx, key, &out);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(fx->keys, 0, 0), 0);
	assert_int_equal(seteuid(65534), 0);
	enum status directory = find(fx, key, &out);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(file, ST_EACCES);
	assert_int_equal(directory, ST_EACCES);
	assert_null(out);
	hsm_key_unref(key);
}

static void where_no_file_can_be_made_no_key_is(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *out = NULL;
	struct diags d;
	diags_init(&d, DIAGS_LIMIT);
	keystore_free(fx->ks);
	fx->ks = keystore_at("/proc/self", 1);
	assert_int_not_equal(keystore_generate(fx->ks, "x", &out, &d), ST_OK);
	assert_null(out);
	assert_int_equal(d.errors, 1);
	diags_fini(&d);
}

static void a_directory_that_cannot_be_made_is_down(void **state)
{
	struct fixture *fx = *state;
	struct keystore_health health;
	struct diags d;
	char path[400];
	diags_init(&d, DIAGS_LIMIT);
	keystore_free(fx->ks);
	snprintf(path, sizeof(path), "%s/none/keys", fx->dir);
	fx->ks = keystore_at(path, 1);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.state, KEYSTORE_CLOSED);
	assert_int_not_equal(keystore_open(fx->ks, &d), ST_OK);
	assert_int_equal(d.errors, 1);
	keystore_health(fx->ks, &health);
	assert_int_equal(health.state, KEYSTORE_DOWN);
	assert_non_null(strstr(health.detail, path));

	/* It comes back by itself. */
	assert_int_equal(mkdir(temp_path(fx->dir, "none"), 0700), 0);
	EVENTUALLY((keystore_health(fx->ks, &health), health.state == KEYSTORE_UP));
	assert_string_equal(health.detail, "");
	/* The path is borrowed, and this function's. */
	keystore_free(fx->ks);
	fx->ks = NULL;
	diags_fini(&d);
}

struct signer_arg {
	struct hsm_key *key;
	unsigned made;
};

static void *sign_many(void *arg)
{
	struct signer_arg *a = arg;
	for (unsigned i = 0; i < 1500; i++) {
		uint8_t digest[HSM_DIGEST_LEN] = {0};
		uint8_t sig[HSM_SIGNATURE_LEN];
		memcpy(digest, &i, sizeof(i));
		if (hsm_sign_now(a->key, digest, sig) != ST_OK ||
		    (i % 16 == 0 && hsm_verify(hsm_key_public(a->key), digest, sig) != ST_OK)) {
			break;
		}
		a->made++;
	}
	return NULL;
}

static void many_threads_sign_with_one_key(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct keystore_health health;
	struct signer_arg args[4];
	pthread_t threads[4];
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	for (size_t i = 0; i < 4; i++) {
		args[i] = (struct signer_arg){.key = key};
		assert_int_equal(pthread_create(&threads[i], NULL, sign_many, &args[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(args[i].made, 1500);
	}
	keystore_health(fx->ks, &health);
	assert_int_equal(health.signatures, 6001); /* and the proof of the new key */
	assert_int_equal(health.failures, 0);
	assert_int_equal(health.verify_failures, 0);
	hsm_key_unref(key);
}

static void queued_jobs_are_signed(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct jobs *j = jobs_new(200);
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(jobs_submit(j, i, fx->ks, i % 2 == 0 ? HSM_QUERY : HSM_BATCH, key),
				 ST_OK);
	}
	jobs_wait(j, 200);
	for (size_t i = 0; i < 200; i++) {
		struct hsm_job *job = jobs_at(j, i);
		assert_int_equal(job->result, ST_OK);
		assert_int_equal(hsm_verify(hsm_key_public(key), job->digest, job->signature),
				 ST_OK);
	}
	jobs_free(j);
	hsm_key_unref(key);
}

static void a_job_past_its_deadline_fails(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct jobs *j = jobs_new(2);
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	jobs_at(j, 0)->deadline_ms = clock_mono_ms();
	jobs_at(j, 1)->deadline_ms = clock_mono_ms() + 60000;
	assert_int_equal(jobs_submit(j, 0, fx->ks, HSM_QUERY, key), ST_OK);
	assert_int_equal(jobs_submit(j, 1, fx->ks, HSM_QUERY, key), ST_OK);
	jobs_wait(j, 2);
	assert_int_equal(jobs_at(j, 0)->result, ST_ETIMEDOUT);
	assert_int_equal(jobs_at(j, 1)->result, ST_OK);
	jobs_free(j);
	hsm_key_unref(key);
}

static void idle_keystores_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		keystore_free(keystore_at("/nonexistent", 1 + i));
	}
	keystore_free(NULL);
}

static void bad_options_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *directory;
		unsigned sessions;
	} cases[] = {
		{"no directory", NULL, 1},
		{"empty directory", "", 1},
		{"no sessions", "/tmp", 0},
		{"too many sessions", "/tmp", 100000},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keystore_options opt = {
			.name = "bad",
			.type = KEYSTORE_FILE,
			.slot = -1,
			.directory = cases[i].directory,
			.sessions = cases[i].sessions,
		};
		struct keystore *ks = NULL;
		struct diags d;
		diags_init(&d, DIAGS_LIMIT);
		print_message("%s\n", cases[i].name);
		assert_int_equal(keystore_new(&opt, &ks, &d), ST_EPARSE);
		assert_null(ks);
		assert_int_equal(d.errors, 1);
		diags_fini(&d);
	}
}

static void keys_are_named_by_their_files(void **state)
{
	struct fixture *fx = *state;
	struct hsm_key *key = NULL;
	struct hsm_id id = {.len = 77};
	char name[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char ref[sizeof(name) + 4];
	size_t len;
	int64_t until = 1;
	assert_int_equal(keystore_generate(fx->ks, "x", &key, NULL), ST_OK);
	const uint8_t *octets = hsm_key_id(key, &len);
	hex_encode(octets, len, name);
	static const struct {
		const char *ref;
		enum status want;
	} bad[] = {
		{"0011", ST_ENOENT},	 {"", ST_EPARSE},	 {".pem", ST_EPARSE},
		{"001", ST_EPARSE},	 {"../keys", ST_EPARSE}, {"alias/x", ST_EPARSE},
		{"0011.pem", ST_ENOENT},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct diags d;
		diags_init(&d, 1);
		assert_int_equal(keystore_identify(fx->ks, bad[i].ref, &id, &d), bad[i].want);
		assert_int_equal(d.errors, 1);
		assert_int_equal(id.len, 77);
		diags_fini(&d);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(ref, sizeof(ref), "%s%s", name, i == 1 ? ".pem" : "");
		for (char *p = ref; i == 2 && *p != '\0'; p++) {
			*p = *p >= 'A' && *p <= 'F' ? (char)(*p - 'A' + 'a') : *p;
		}
		assert_int_equal(keystore_identify(fx->ks, ref, &id, NULL), ST_OK);
		assert_int_equal(id.len, len);
		assert_memory_equal(id.data, octets, len);
		id.len = 0;
	}
	id.len = len;
	assert_int_equal(keystore_destroy(fx->ks, &id, 0, &until, NULL), ST_OK);
	assert_int_equal(until, 0);
	until = 1;
	assert_int_equal(keystore_destroy(fx->ks, &id, 0, &until, NULL), ST_ENOENT);
	assert_int_equal(until, 1);
	assert_int_equal(keystore_identify(fx->ks, name, &id, NULL), ST_ENOENT);
	hsm_key_unref(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_new_key_is_found_again, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_is_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_are_named_by_their_files, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_used_is_never_absent, setup,
						teardown),
		cmocka_unit_test_setup_teardown(unreadable_is_eacces, setup, teardown),
		cmocka_unit_test_setup_teardown(where_no_file_can_be_made_no_key_is, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_directory_that_cannot_be_made_is_down, setup,
						teardown),
		cmocka_unit_test_setup_teardown(many_threads_sign_with_one_key, setup, teardown),
		cmocka_unit_test_setup_teardown(queued_jobs_are_signed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_job_past_its_deadline_fails, setup, teardown),
		cmocka_unit_test(idle_keystores_end),
		cmocka_unit_test(bad_options_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
