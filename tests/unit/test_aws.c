/* What AWS says and what its files hold: times, JSON, profiles, the names of errors. */
#include "hsm/aws_sources.h"
#include "hsm/kms.h"
#include "nsd-core/base/clock.h"
#include "tests/tools/hsmtest.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/x509_vfy.h>

static void times_are_read(void **state)
{
	static const struct {
		const char *text;
		enum status st;
		int64_t expected;
	} cases[] = {
		{"1970-01-01T00:00:00Z", ST_OK, 0},
		{"2026-11-23T09:00:00Z", ST_OK, 1795424400},
		{"2026-11-23T09:00:00.125Z", ST_OK, 1795424400},
		{"2026-11-23T09:00:00+00:00", ST_OK, 1795424400},
		{"2026-11-23T10:30:00+01:30", ST_OK, 1795424400},
		{"2026-11-23T08:00:00-01:00", ST_OK, 1795424400},
		{"2026-11-23T09:00:00", ST_EPARSE, 0},
		{"2026-11-23T09:00:00Zx", ST_EPARSE, 0},
		{"2026-11-23T09:00:00+1:00", ST_EPARSE, 0},
		{"2026-11-23T09:00:00+99:00", ST_EPARSE, 0},
		{"2026-11-23", ST_EPARSE, 0},
		{"tomorrow", ST_EPARSE, 0},
		{"", ST_EPARSE, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t t = 0;
		print_message("%s\n", cases[i].text);
		assert_int_equal(aws_read_time(cases[i].text, &t), cases[i].st);
		assert_int_equal(t, cases[i].expected);
	}
}

static void json_is_read(void **state)
{
	static const struct {
		const char *text;
		enum status st;
		const char *token;
		int64_t expires;
	} cases[] = {
		{"{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"s\"}", ST_OK, "", 0},
		{"{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"s\", \"Token\": \"t\", "
		 "\"Expiration\": \"1970-01-01T00:01:00Z\", \"more\": [1]}",
		 ST_OK, "t", 60},
		{"{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"s\", \"Expiration\": null}",
		 ST_OK, "", 0},
		{"{\"AccessKeyId\": \"a\"}", ST_EPARSE, "", 0},
		{"{\"AccessKeyId\": \"\", \"SecretAccessKey\": \"s\"}", ST_EPARSE, "", 0},
		{"{\"AccessKeyId\": 1, \"SecretAccessKey\": \"s\"}", ST_EPARSE, "", 0},
		{"{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"s\", \"Expiration\": 5}",
		 ST_EPARSE, "", 0},
		{"[]", ST_EPARSE, "", 0},
		{"{", ST_EPARSE, "", 0},
		{"", ST_EPARSE, "", 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static struct aws_credentials c;
		memset(&c, 0, sizeof(c));
		print_message("%s\n", cases[i].text);
		assert_int_equal(aws_read_json(cases[i].text, strlen(cases[i].text), "Token", &c),
				 cases[i].st);
		if (cases[i].st == ST_OK) {
			assert_string_equal(c.key, "a");
			assert_string_equal(c.secret, "s");
			assert_string_equal(c.token, cases[i].token);
			assert_int_equal(c.expires_s, cases[i].expires);
		}
	}
}

/* No source but the shared files. */
static char *only_files(void)
{
	static const char *const variables[] = {"AWS_ACCESS_KEY_ID",
						"AWS_WEB_IDENTITY_TOKEN_FILE",
						"AWS_PROFILE",
						"AWS_CONTAINER_CREDENTIALS_FULL_URI",
						"AWS_REGION",
						"AWS_DEFAULT_REGION",
						"AWS_SHARED_CREDENTIALS_FILE",
						"AWS_CONFIG_FILE",
						"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"};
	char *dir = temp_make();
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		unsetenv(variables[i]);
	}
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	setenv("HOME", dir, 1);
	return dir;
}

static void profiles_are_read(void **state)
{
	static const struct {
		const char *name, *profile, *credentials, *config;
		enum status st;
		const char *text; /* the key, or what the fault says */
	} cases[] = {
		{"default", NULL, "[default]\naws_access_key_id=a\naws_secret_access_key = s\n",
		 NULL, ST_OK, "a"},
		{"no line's end, spaces, comments", NULL,
		 "# x\n; y\n\n[ default ]\r\nAWS_ACCESS_KEY_ID =  a \r\naws_secret_access_key=s=/+",
		 NULL, ST_OK, "a"},
		{"another profile", "b",
		 "[default]\naws_access_key_id=a\n[b]\naws_access_key_id=k\n"
		 "aws_secret_access_key=s\n",
		 NULL, ST_OK, "k"},
		{"of the configuration", "b", NULL,
		 "[profile \"b\"]\naws_access_key_id=k\naws_secret_access_key=s\n", ST_OK, "k"},
		{"what is indented is not ours", NULL,
		 "[default]\ns3 =\n  aws_access_key_id = no\naws_access_key_id=a\n"
		 "aws_secret_access_key=s\n",
		 NULL, ST_OK, "a"},
		{"a process", NULL, NULL,
		 "[default]\ncredential_process = /bin/echo '{\"AccessKeyId\": \"p\", "
		 "\"SecretAccessKey\": \"s\"}'\n",
		 ST_OK, "p"},
		{"nothing", NULL, NULL, NULL, ST_EFATAL, "no AWS credentials"},
		{"no such profile", "c",
		 "[default]\naws_access_key_id=a\naws_secret_access_key=s\n", NULL, ST_EFATAL,
		 "no profile c"},
		{"half", NULL, "[default]\naws_access_key_id=a\n", NULL, ST_EFATAL,
		 "aws_secret_access_key is missing"},
		{"not name and value", NULL, "[default]\n\nnonsense\n", NULL, ST_EFATAL,
		 "credentials:3: not NAME = VALUE"},
		{"a role", NULL, NULL, "[default]\nrole_arn = arn:x\nsource_profile = y\n",
		 ST_EFATAL, "'role_arn' is not supported"},
		{"a process that fails", NULL, NULL, "[default]\ncredential_process = /bin/false\n",
		 ST_EAGAIN, "/bin/false: it failed"},
		{"no process", NULL, NULL, "[default]\ncredential_process = /nonexistent\n",
		 ST_EAGAIN, "/nonexistent"},
		{"a shell", NULL, NULL, "[default]\ncredential_process = echo $(id)\n", ST_EAGAIN,
		 "without a shell"},
		{"a process that says something else", NULL, NULL,
		 "[default]\ncredential_process = /bin/echo hello\n", ST_EFATAL, "no credentials"},
		{"a process that says too much", NULL, NULL,
		 "[default]\ncredential_process = /bin/cat /dev/zero\n", ST_EAGAIN, "too much"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct aws_chain *chain = NULL;
		struct fault f = {.text = ""};
		static struct aws_credentials c;
		char *dir = only_files();
		char credentials[300];
		char config[300];
		print_message("%s\n", cases[i].name);
		snprintf(credentials, sizeof(credentials), "%s/credentials", dir);
		snprintf(config, sizeof(config), "%s/config", dir);
		setenv("AWS_SHARED_CREDENTIALS_FILE", credentials, 1);
		setenv("AWS_CONFIG_FILE", config, 1);
		if (cases[i].credentials != NULL) {
			file_write(credentials, cases[i].credentials);
		}
		if (cases[i].config != NULL) {
			file_write(config, cases[i].config);
		}
		assert_int_equal(aws_chain_new(cases[i].profile, "us-east-1", NULL, &chain), ST_OK);
		assert_int_equal(aws_credentials_get(chain, &c, &f), cases[i].st);
		if (cases[i].st == ST_OK) {
			assert_string_equal(c.key, cases[i].text);
		} else {
			print_message("  %s\n", f.text);
			assert_non_null(strstr(f.text, cases[i].text));
		}
		aws_chain_free(chain);
		temp_remove(dir);
	}
}

static void regions_are_found(void **state)
{
	char region[AWS_REGION_MAX];
	char *dir = only_files();
	char config[300];
	(void)state;
	snprintf(config, sizeof(config), "%s/config", dir);
	setenv("AWS_CONFIG_FILE", config, 1);
	assert_int_equal(aws_region(NULL, region), ST_ENOENT);
	file_write(config, "[default]\nregion = eu-west-1\n[profile b]\nregion=eu-north-1\n");
	assert_int_equal(aws_region(NULL, region), ST_OK);
	assert_string_equal(region, "eu-west-1");
	assert_int_equal(aws_region("b", region), ST_OK);
	assert_string_equal(region, "eu-north-1");
	setenv("AWS_DEFAULT_REGION", "us-west-1", 1);
	assert_int_equal(aws_region("b", region), ST_OK);
	assert_string_equal(region, "us-west-1");
	setenv("AWS_REGION", "us-east-2", 1);
	assert_int_equal(aws_region("b", region), ST_OK);
	assert_string_equal(region, "us-east-2");
	temp_remove(dir);
}

/* Lent ones are asked for anew before they end, and what is still good serves meanwhile. */
static void they_are_renewed_in_time(void **state)
{
	struct aws_chain *chain = NULL;
	struct fault f = {.text = ""};
	static struct aws_credentials c;
	char *dir = only_files();
	char config[300];
	char text[400];
	(void)state;
	snprintf(config, sizeof(config), "%s/config", dir);
	setenv("AWS_CONFIG_FILE", config, 1);
	snprintf(text, sizeof(text), "[default]\ncredential_process = /bin/cat %s/lent\n", dir);
	file_write(config, text);
	/* Far from their end: asked for once. */
	file_write(temp_path(dir, "lent"), "{\"AccessKeyId\": \"one\", \"SecretAccessKey\": \"s\", "
					   "\"Expiration\": \"2999-01-01T00:00:00Z\"}");
	assert_int_equal(aws_chain_new(NULL, "us-east-1", NULL, &chain), ST_OK);
	assert_int_equal(aws_credentials_get(chain, &c, &f), ST_OK);
	file_write(temp_path(dir, "lent"), "{\"AccessKeyId\": \"two\", \"SecretAccessKey\": \"s\", "
					   "\"Expiration\": \"1999-01-01T00:00:00Z\"}");
	assert_int_equal(aws_credentials_get(chain, &c, &f), ST_OK);
	assert_string_equal(c.key, "one");
	/* Refused: the source is asked again. */
	aws_credentials_refused(chain, &c);
	assert_int_equal(aws_credentials_get(chain, &c, &f), ST_OK);
	assert_string_equal(c.key, "two");
	/* These have ended: asked for each time. */
	file_write(temp_path(dir, "lent"),
		   "{\"AccessKeyId\": \"three\", \"SecretAccessKey\": \"s\"}");
	assert_int_equal(aws_credentials_get(chain, &c, &f), ST_OK);
	assert_string_equal(c.key, "three");
	aws_chain_free(chain);
	temp_remove(dir);
}

static void secrets_go_over_plain_http_to_this_machine_only(void **state)
{
	static const struct {
		const char *url;
		bool safe;
	} cases[] = {
		{"https://kms.us-east-1.amazonaws.com", true},
		{"HTTPS://example.com/x?y", true},
		{"http://127.0.0.1:8080/get", true},
		{"http://localhost", true},
		{"http://[::1]:80/x", true},
		{"http://169.254.170.2/v2", true},
		{"http://[fd00:ec2::23]/v1", true},
		{"http://kms.us-east-1.amazonaws.com", false},
		{"http://169.254.169.254/", false},
		{"http://127.0.0.1.example.com/", false},
		{"http://127.0.0.1@example.com/", false},
		{"http://localhost:80@example.com/", false},
		{"http://localhost:p?@example.com/", false},
		{"http://127.0.0.1#@example.com/", true},
		{"ftp://127.0.0.1/", false},
		{"file:///etc/passwd", false},
		{"example.com", false},
		{"", false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].url);
		assert_int_equal(aws_http_is_safe(cases[i].url), cases[i].safe);
	}
}

/* In the place of OpenSSL's: libcurl calls it for a folder of certificates to trust. */
static unsigned trusted_folders;

int X509_STORE_load_path(X509_STORE *store, const char *path)
{
	(void)store;
	(void)path;
	trusted_folders++;
	return 1;
}

/* Who names an authority of their own trusts no other. */
static void a_ca_file_is_all_that_is_trusted(void **state)
{
	static const char *const files[] = {NULL, "/etc/ssl/certs/ca-certificates.crt"};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	char url[64];
	struct aws_http *http = NULL;
	(void)state;
	/* It takes connections, and says nothing. */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", ntohs(at.sin_port));
	assert_int_equal(aws_http_new(&http), ST_OK);
	for (size_t i = 0; i < 2; i++) {
		struct aws_http_reply reply;
		struct fault f;
		const struct aws_http_request rq = {
			.method = "GET", .url = url, .ca_file = files[i], .timeout_ms = 1000};
		trusted_folders = 0;
		assert_int_equal(aws_http_do(http, &rq, &reply, &f), ST_EAGAIN);
		assert_int_equal(trusted_folders, files[i] == NULL ? 1 : 0);
	}
	aws_http_free(http);
	close(fd);
}

/* The token is all that is needed to be that role: it is not even sent. */
static void a_web_identity_is_not_sent_in_the_clear(void **state)
{
	struct aws_chain *chain = NULL;
	struct fault f = {.text = ""};
	static struct aws_credentials c;
	char *dir = only_files();
	(void)state;
	file_write(temp_path(dir, "identity"), "secret\n");
	setenv("AWS_WEB_IDENTITY_TOKEN_FILE", temp_path(dir, "identity"), 1);
	setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x", 1);
	/* Discard: nothing listens there, and nothing would be sent to it. */
	setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9@192.0.2.1:9/", 1);
	assert_int_equal(aws_chain_new(NULL, "us-east-1", NULL, &chain), ST_OK);
	assert_int_equal(aws_credentials_get(chain, &c, &f), ST_EFATAL);
	assert_non_null(strstr(f.text, "plain HTTP"));
	aws_chain_free(chain);
	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	unsetenv("AWS_ROLE_ARN");
	unsetenv("AWS_ENDPOINT_URL_STS");
	temp_remove(dir);
}

static void *get_credentials(void *arg)
{
	static struct aws_credentials c;
	struct fault f;
	return aws_credentials_get(arg, &c, &f) == ST_OK ? arg : NULL;
}

/* Whatever hangs there: the server is not to wait for it when it ends. */
static void a_search_can_be_ended(void **state)
{
	static const struct {
		const char *name, *script;
	} cases[] = {
		{"it says nothing", "touch '%s'; exec sleep 600\n"},
		{"it has closed its output", "exec 1>/dev/null; touch '%s'; exec sleep 600\n"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct aws_chain *chain = NULL;
		char *dir = only_files();
		const char *begun = temp_path(dir, "begun");
		char text[512];
		pthread_t thread;
		void *got = NULL;
		print_message("%s\n", cases[i].name);
		snprintf(text, sizeof(text), cases[i].script, begun);
		file_write(temp_path(dir, "script"), text);
		snprintf(text, sizeof(text), "[default]\ncredential_process = /bin/sh %s/script\n",
			 dir);
		file_write(temp_path(dir, "config"), text);
		setenv("AWS_CONFIG_FILE", temp_path(dir, "config"), 1);
		assert_int_equal(aws_chain_new(NULL, "us-east-1", NULL, &chain), ST_OK);
		int64_t start_ms = clock_mono_ms();
		assert_int_equal(pthread_create(&thread, NULL, get_credentials, chain), 0);
		EVENTUALLY(access(begun, F_OK) == 0);
		aws_chain_cancel(chain);
		assert_int_equal(pthread_join(thread, &got), 0);
		assert_null(got);
		assert_true(clock_mono_ms() - start_ms < 25000);
		/* Nothing is left of it, and none begins after that. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_null(get_credentials(chain));
		aws_chain_free(chain);
		temp_remove(dir);
	}
}

static void errors_have_their_class(void **state)
{
	static const struct {
		const char *name;
		long status;
		enum kms_class expected;
	} cases[] = {
		{"ThrottlingException", 400, KMS_THROTTLED},
		{"", 429, KMS_THROTTLED},
		{"KMSInternalException", 500, KMS_AWAY},
		{"", 503, KMS_AWAY},
		{"", 200, KMS_AWAY},
		{"", 302, KMS_AWAY},
		{"NotFoundException", 400, KMS_NOT_FOUND},
		{"DisabledException", 400, KMS_KEY_STATE},
		{"KMSInvalidStateException", 400, KMS_KEY_STATE},
		{"AccessDeniedException", 400, KMS_DENIED},
		{"", 403, KMS_DENIED},
		{"ExpiredTokenException", 400, KMS_CREDENTIALS},
		{"ValidationException", 400, KMS_INVALID},
		{"SomethingNew", 400, KMS_INVALID},
		{"SomethingNew", 500, KMS_AWAY},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s %ld\n", cases[i].name, cases[i].status);
		assert_int_equal(kms_classify(cases[i].name, cases[i].status), cases[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(json_is_read),
		cmocka_unit_test(profiles_are_read),
		cmocka_unit_test(regions_are_found),
		cmocka_unit_test(they_are_renewed_in_time),
		cmocka_unit_test(secrets_go_over_plain_http_to_this_machine_only),
		cmocka_unit_test(a_ca_file_is_all_that_is_trusted),
		cmocka_unit_test(a_web_identity_is_not_sent_in_the_clear),
		cmocka_unit_test(a_search_can_be_ended),
		cmocka_unit_test(errors_have_their_class),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
