#include "nsd-core/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static struct conf_address address_of(const char *text)
{
	struct conf_address a;

	assert_int_equal(conf_address_parse(text, 1, &a), ST_OK);
	if (a.addr.ss_family == AF_INET) {
		((struct sockaddr_in *)&a.addr)->sin_port = 0;
	} else {
		((struct sockaddr_in6 *)&a.addr)->sin6_port = 0;
	}
	return a;
}

static int option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
	return value;
}

/* Answers to pipelined questions do not wait for each other's acknowledgement. */
static void test_tcp_connections_have_no_delay(void **state)
{
	(void)state;
	static const char *const texts[] = {"127.0.0.1", "::1"};

	for (size_t i = 0; i < 2; i++) {
		struct conf_address a = address_of(texts[i]);
		struct sockaddr_storage bound;
		socklen_t len = sizeof(bound);
		struct diags d;
		int listener = -1;
		diags_init(&d, 1);
		assert_int_equal(socket_tcp(&a, &listener, &d), ST_OK);
		assert_int_equal(listen(listener, 1), 0);
		assert_int_equal(getsockname(listener, (struct sockaddr *)&bound, &len), 0);
		int client = socket(a.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(option_of(client, IPPROTO_TCP, TCP_NODELAY), 0);
		assert_int_equal(connect(client, (struct sockaddr *)&bound, len), 0);
		int server = accept(listener, NULL, NULL);
		assert_true(server >= 0);
		assert_int_not_equal(option_of(server, IPPROTO_TCP, TCP_NODELAY), 0);
		close(server);
		close(client);
		close(listener);
		diags_fini(&d);
	}
}

static void test_in_use(void **state)
{
	(void)state;
	struct conf_address a = address_of("127.0.0.1");
	socklen_t len = sizeof(a.addr);
	struct diags d;
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int out = -1;

	diags_init(&d, 2);
	assert_int_equal(bind(other, (struct sockaddr *)&a.addr, a.len), 0);
	assert_int_equal(listen(other, 1), 0);
	assert_int_equal(getsockname(other, (struct sockaddr *)&a.addr, &len), 0);
	assert_int_equal(socket_probe(&a, false, &d), ST_EBUSY);
	assert_int_equal(socket_tcp(&a, &out, &d), ST_EBUSY);
	assert_int_equal(out, -1);
	assert_int_equal(d.count, 2);
	close(other);
	assert_int_equal(socket_probe(&a, false, &d), ST_OK);
	diags_fini(&d);
}

static void test_wildcard(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool wildcard;
	} cases[] = {{"0.0.0.0", true}, {"::", true}, {"127.0.0.1", false}, {"::1", false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf_address a = address_of(cases[i].text);
		assert_int_equal(socket_is_wildcard(&a), cases[i].wildcard);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp_connections_have_no_delay),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_wildcard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
