/* What was secret is not in memory that is given back. */
#include "hsm/aws.h"
#include "nsd-core/base/status.h"
#include "tests/tools/hsmtest.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "wJalrXUtnFEMI-of-this-test"

void __real_free(void *p);
void __wrap_free(void *p);

/* Blocks that were freed with the secret in them. */
static _Atomic(unsigned) spilled;

void __wrap_free(void *p)
{
	if (p != NULL && memmem(p, malloc_usable_size(p), SECRET, strlen(SECRET)) != NULL) {
		atomic_fetch_add(&spilled, 1);
	}
	__real_free(p);
}

static char *only_files(void)
{
	char *dir = temp_make();
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	setenv("HOME", dir, 1);
	setenv("AWS_CONFIG_FILE", temp_path(dir, "config"), 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", temp_path(dir, "credentials"), 1);
	unsetenv("AWS_PROFILE");
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	return dir;
}

static void sources_leave_nothing(void **state)
{
	static const struct {
		const char *name, *file, *text;
		enum status st;
	} cases[] = {
		{"a file", "credentials",
		 "[default]\naws_access_key_id = a\naws_secret_access_key = " SECRET "\n", ST_OK},
		{"two files, one malformed", "credentials",
		 "[default]\naws_access_key_id = a\naws_secret_access_key = " SECRET "\nx\n",
		 ST_EFATAL},
		{"a process", "config", "[default]\ncredential_process = /bin/cat '%s/lent'\n",
		 ST_OK},
		{"a process that fails", "config",
		 "[default]\ncredential_process = /bin/cat '%s/lent' /nowhere\n", ST_EAGAIN},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static struct aws_credentials c;
		struct aws_chain *chain = NULL;
		struct fault f;
		char text[512];
		char *dir = only_files();
		print_message("%s\n", cases[i].name);
		file_write(temp_path(dir, "lent"), "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": "
						   "\"" SECRET "\"}");
		snprintf(text, sizeof(text), cases[i].text, dir);
		file_write(temp_path(dir, cases[i].file), text);
		atomic_store(&spilled, 0);
		assert_int_equal(aws_chain_new(NULL, "us-east-1", NULL, &chain), ST_OK);
		assert_int_equal(aws_credentials_get(chain, &c, &f), cases[i].st);
		aws_chain_free(chain);
		assert_int_equal(atomic_load(&spilled), 0);
		temp_remove(dir);
	}
}

/* Nothing listens there: what was to sign the request is gone all the same. */
static void a_keystore_leaves_nothing(void **state)
{
	const struct keystore_options opt = {.name = "cloud",
					     .type = KEYSTORE_KMS,
					     .region = "us-east-1",
					     .endpoint = "http://127.0.0.1:9",
					     .rate = 1,
					     .sessions = 1};
	static const uint8_t id[] = "arn:aws:kms:us-east-1:1:key/x";
	struct keystore *ks = NULL;
	struct hsm_key *key = NULL;
	char *dir = only_files();
	(void)state;
	setenv("AWS_ACCESS_KEY_ID", "a", 1);
	setenv("AWS_SECRET_ACCESS_KEY", SECRET, 1);
	atomic_store(&spilled, 0);
	assert_int_equal(keystore_new(&opt, &ks, NULL), ST_OK);
	assert_int_equal(keystore_open(ks, NULL), ST_OK);
	assert_int_equal(keystore_find(ks, id, sizeof(id) - 1, NULL, &key, NULL), ST_EAGAIN);
	keystore_free(ks);
	assert_int_equal(atomic_load(&spilled), 0);
	temp_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sources_leave_nothing),
		cmocka_unit_test(a_keystore_leaves_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
