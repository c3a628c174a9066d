/* The configuration: what is read. */
#include "hsm/hsm.h"
#include "nsd-core/base/hmac.h"
#include "nsd-core/conf_schema.h"
#include "nsd-core/conf_value.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Reads text that has no faults, without looking at files. */
static struct conf *read_good(const char *text)
{
	struct conf *c = NULL;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("/etc/signet/t.yaml", text, strlen(text), false, &c, &d);
	if (d.count > 0) {
		print_error("%u:%u: %s\n", d.items[0].line, d.items[0].column, d.items[0].text);
	}
	assert_int_equal(st, ST_OK);
	assert_int_equal(d.errors + d.warnings, 0);
	diags_fini(&d);
	return c;
}

#define STORE  "keystores:\n  - { name: k, type: file }\n"
#define POLICY "policies:\n  - name: p\n    csk: { keystore: k }\n"

static void test_initial_values(void **state)
{
	struct conf *c =
		read_good(STORE POLICY "zones: [ { name: a.test, file: a, policy: p } ]\n");
	const struct conf_server *s = &c->server;
	const struct conf_policy *p = &c->policies[0];

	(void)state;
	assert_int_equal(s->listen_count, 2);
	assert_string_equal(s->listen[0].text, "127.0.0.1@53");
	assert_string_equal(s->listen[1].text, "::1@53");
	assert_true(s->workers >= 1);
	assert_string_equal(s->state, "/var/lib/signet");
	assert_string_equal(s->control, "/run/signet/control.sock");
	assert_null(s->user);
	assert_null(s->nsid);
	assert_null(s->version);
	assert_null(s->identity);
	assert_int_equal(s->udp_size, 1232);
	assert_int_equal(s->udp_buffer_bytes, 4 << 20);
	assert_int_equal(s->tcp_idle_ms, 10000);
	assert_int_equal(s->tcp_clients, 1000);
	assert_int_equal(s->tcp_clients_per_address, 100);
	assert_int_equal(c->keystores[0].type, KEYSTORE_FILE);
	assert_int_equal(c->keystores[0].slot, -1);
	assert_int_equal(c->keystores[0].sessions, 4);
	assert_false(p->eager);
	assert_true(p->csk.present);
	assert_false(p->ksk.present || p->zsk.present);
	assert_int_equal(p->csk.lifetime_s, 0);
	assert_int_equal(p->dnskey_ttl, 3600);
	assert_int_equal(p->refresh_s, 7 * 86400);
	assert_false(p->refresh_given || p->validity_given);
	assert_int_equal(p->validity_s, 21 * 86400);
	assert_int_equal(p->propagation_s, 300);
	assert_true(p->publish_cds);
	assert_false(p->nsec3);
	assert_false(p->nsec3_opt_out);
	assert_false(c->zones[0].watch);
	assert_int_equal(c->zones[0].policy, 0);
	assert_int_equal(c->zones[0].parent_count, 0);
	conf_free(c);
}

static void test_all_values(void **state)
{
	struct conf *c =
		read_good("server:\n"
			  "  listen: [ \"0.0.0.0@5300\", \"2001:db8::1@5301\" ]\n"
			  "  workers: 3\n"
			  "  state: state\n"
			  "  control: run/control.sock\n"
			  "  user: signet\n"
			  "  nsid: ns1\n"
			  "  version: \"1\"\n"
			  "  identity: here\n"
			  "  udp-size: 1400\n"
			  "  udp-buffer: 128K\n"
			  "  tcp-idle-timeout: 2m\n"
			  "  tcp-clients: 7\n"
			  "  tcp-clients-per-address: 3\n"
			  "keystores:\n"
			  "  - { name: f, type: file, sessions: 1, passphrase-file: f.pass }\n"
			  "  - name: t\n"
			  "    type: pkcs11\n"
			  "    module: lib/m.so\n"
			  "    slot: 7\n"
			  "    pin-file: /pin\n"
			  "    sessions: 2\n"
			  "    isolate: false\n"
			  "    init-args: \"configdir='x'\"\n"
			  "policies:\n"
			  "  - name: p\n"
			  "    algorithm: ecdsap256sha256\n"
			  "    signing: eager\n"
			  "    denial: nsec3\n"
			  "    nsec3-opt-out: true\n"
			  "    ksk: { keystore: t, lifetime: 1y }\n"
			  "    zsk: { keystore: f, lifetime: 90d }\n"
			  "    dnskey-ttl: 2h\n"
			  "    signature-refresh: 1h\n"
			  "    signature-validity: 2h\n"
			  "    propagation: 90s\n"
			  "    publish-cds: false\n"
			  "zones:\n"
			  "  - name: Zone.Example.\n"
			  "    file: /abs/zone\n"
			  "    policy: p\n"
			  "    watch: true\n"
			  "    serial: date\n"
			  "    parent: [ 192.0.2.53 ]\n"
			  "  - { name: ., file: root }\n");
	const struct conf_server *s = &c->server;
	const struct conf_keystore *t = &c->keystores[1];
	const struct conf_policy *p = &c->policies[0];

	(void)state;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&s->listen[1].addr;
	assert_int_equal(in6->sin6_family, AF_INET6);
	assert_int_equal(ntohs(in6->sin6_port), 5301);
	assert_int_equal(s->listen[0].len, sizeof(struct sockaddr_in));
	assert_int_equal(s->workers, 3);
	assert_string_equal(s->state, "/etc/signet/state");
	assert_string_equal(s->control, "/etc/signet/run/control.sock");
	assert_string_equal(s->user, "signet");
	assert_string_equal(s->nsid, "ns1");
	assert_string_equal(s->version, "1");
	assert_string_equal(s->identity, "here");
	assert_int_equal(s->udp_size, 1400);
	assert_int_equal(s->udp_buffer_bytes, 128 << 10);
	assert_int_equal(s->tcp_idle_ms, 120000);
	assert_int_equal(s->tcp_clients, 7);
	assert_int_equal(s->tcp_clients_per_address, 3);
	assert_string_equal(c->keystores[0].passphrase_file, "/etc/signet/f.pass");
	assert_int_equal(t->type, KEYSTORE_PKCS11);
	assert_string_equal(t->module, "/etc/signet/lib/m.so");
	assert_int_equal(t->slot, 7);
	assert_string_equal(t->pin_file, "/pin");
	assert_int_equal(t->sessions, 2);
	assert_string_equal(t->init_args, "configdir='x'");
	assert_true(p->eager);
	assert_int_equal(p->ksk.keystore, 1);
	assert_int_equal(p->ksk.lifetime_s, 31536000);
	assert_int_equal(p->zsk.keystore, 0);
	assert_int_equal(p->dnskey_ttl, 7200);
	assert_int_equal(p->refresh_s, 3600);
	assert_true(p->refresh_given && p->validity_given);
	assert_int_equal(p->validity_s, 7200);
	assert_int_equal(p->propagation_s, 90);
	assert_false(p->publish_cds);
	assert_true(p->nsec3);
	assert_true(p->nsec3_opt_out);
	/* Sorted: the root first. */
	assert_int_equal(c->zone_count, 2);
	assert_int_equal(c->zones[0].name[0], 0);
	assert_int_equal(c->zones[0].policy, -1);
	assert_memory_equal(c->zones[1].name, "\4zone\7example", 14);
	assert_string_equal(c->zones[1].file, "/abs/zone");
	assert_int_equal(c->zones[1].policy, 0);
	assert_true(c->zones[1].watch);
	assert_int_equal(c->zones[1].serial, SERIAL_DATE);
	assert_int_equal(c->zones[0].serial, SERIAL_KEEP);
	assert_int_equal(c->zones[1].parent_count, 1);
	assert_string_equal(c->zones[1].parent[0].text, "192.0.2.53@53");
	conf_free(c);
}

static void test_remotes(void **state)
{
	struct conf *c = read_good(
		"tsig-keys:\n"
		"  - { name: One.Test, secret-file: one.secret }\n"
		"  - { name: two.test., algorithm: hmac-sha1, secret-file: /two }\n"
		"  - { name: three, algorithm: hmac-sha384, secret-file: 3 }\n"
		"  - { name: four, algorithm: hmac-sha512, secret-file: 4 }\n"
		"remotes:\n"
		"  - { name: ns2, address: 192.0.2.2, tsig-key: TWO.test }\n"
		"  - { name: far, address: [ \"2001:db8::1@5300\", 10.0.0.0/8, \"::/0\" ] }\n"
		"  - { name: spare, address: 192.0.2.3/32 }\n"
		"zones:\n"
		"  - { name: a.test, file: a, secondaries: [ far, ns2 ] }\n"
		"  - { name: b.test, file: b }\n");
	const struct conf_peer *far = c->remotes[1].peers;

	(void)state;
	assert_int_equal(c->tsig_key_count, 4);
	assert_memory_equal(c->tsig_keys[0].name, "\3one\4test", 10);
	assert_string_equal(c->tsig_keys[0].secret_file, "/etc/signet/one.secret");
	assert_string_equal(c->tsig_keys[1].secret_file, "/two");
	assert_int_equal(c->tsig_keys[0].algorithm, HMAC_SHA256);
	assert_int_equal(c->tsig_keys[1].algorithm, HMAC_SHA1);
	assert_int_equal(c->tsig_keys[2].algorithm, HMAC_SHA384);
	assert_int_equal(c->tsig_keys[3].algorithm, HMAC_SHA512);
	assert_int_equal(c->remote_count, 3);
	assert_string_equal(c->remotes[0].name, "ns2");
	assert_int_equal(c->remotes[0].tsig_key, 1);
	assert_int_equal(c->remotes[0].peer_count, 1);
	assert_false(c->remotes[0].peers[0].is_range);
	assert_string_equal(c->remotes[0].peers[0].at.text, "192.0.2.2@53");
	assert_int_equal(c->remotes[1].tsig_key, -1);
	assert_int_equal(c->remotes[1].peer_count, 3);
	assert_string_equal(far[0].at.text, "2001:db8::1@5300");
	assert_false(far[0].is_range);
	assert_string_equal(far[1].at.text, "10.0.0.0/8");
	assert_true(far[1].is_range && far[2].is_range);
	assert_int_equal(far[1].prefix, 8);
	assert_int_equal(far[2].prefix, 0);
	assert_int_equal(far[2].at.addr.ss_family, AF_INET6);
	assert_int_equal(c->remotes[2].peers[0].prefix, 32);
	assert_int_equal(c->zones[0].secondary_count, 2);
	assert_int_equal(c->zones[0].secondaries[0], 1);
	assert_int_equal(c->zones[0].secondaries[1], 0);
	assert_int_equal(c->zones[1].secondary_count, 0);
	conf_free(c);
	/* None of either is nothing to speak of. */
	c = read_good("tsig-keys: []\nremotes: []\nzones: [ { name: a, file: a } ]\n");
	assert_int_equal(c->tsig_key_count + c->remote_count, 0);
	conf_free(c);
}

static void test_durations_and_sizes(void **state)
{
	static const struct {
		const char *text;
		bool size;
		uint64_t value; /* UINT64_MAX: refused */
	} cases[] = {
		{"90s", false, 90},	     {"5m", false, 300},
		{"1h", false, 3600},	     {"14d", false, 1209600},
		{"1y", false, 31536000},     {"0s", false, 0},
		{"5", false, UINT64_MAX},    {"", false, UINT64_MAX},
		{"s", false, UINT64_MAX},    {"-5s", false, UINT64_MAX},
		{" 5s", false, UINT64_MAX},  {"5s ", false, UINT64_MAX},
		{"5S", false, UINT64_MAX},   {"5w", false, UINT64_MAX},
		{"1.5h", false, UINT64_MAX}, {"4294967296s", false, UINT64_MAX},
		{"64K", true, 65536},	     {"16M", true, 16 << 20},
		{"1G", true, 1 << 30},	     {"512", true, 512},
		{"64k", true, UINT64_MAX},   {"64KB", true, UINT64_MAX},
		{"K", true, UINT64_MAX},     {"5m", true, UINT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 77;
		enum status st = cases[i].size ? conf_size_parse(cases[i].text, &value)
					       : conf_duration_parse(cases[i].text, &value);
		bool refused = cases[i].value == UINT64_MAX;
		if ((st == ST_OK) == refused || value != (refused ? 77 : cases[i].value)) {
			fail_msg("'%s': %llu", cases[i].text, (unsigned long long)value);
		}
	}
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(conf_distance("listen", "listen", 2), 0);
	assert_int_equal(conf_distance("listen", "lisetn", 2), 1);
	assert_int_equal(conf_distance("listen", "listn", 2), 1);
	assert_int_equal(conf_distance("listen", "lissten", 2), 1);
	assert_int_equal(conf_distance("listen", "glistem", 2), 2);
	assert_int_equal(conf_distance("listen", "control", 2), 3);
	assert_int_equal(conf_distance("", "ab", 2), 2);
}

/* A folder of its own with files in it. */
struct folder {
	char path[64];
};

static void make_file(const struct folder *f, const char *name, const char *text, mode_t mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->path, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static int set_up_folder(void **state)
{
	struct folder *f = malloc(sizeof(*f));
	char path[256];

	assert_non_null(f);
	snprintf(f->path, sizeof(f->path), "/tmp/signet-conf-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	snprintf(path, sizeof(path), "%s/zones", f->path);
	assert_int_equal(mkdir(path, 0755), 0);
	*state = f;
	return 0;
}

static int tear_down_folder(void **state)
{
	struct folder *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r '%s'", f->path);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Reads signet.yaml with this text; findings without the folder's path in "TEXT\n" each. */
static struct conf *read_in(const struct folder *f, const char *text, char *found, size_t room)
{
	struct conf *c = NULL;
	struct diags d;
	char path[256];

	make_file(f, "signet.yaml", text, 0644);
	snprintf(path, sizeof(path), "%s/signet.yaml", f->path);
	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read(path, &c, &d);
	assert_true((st == ST_OK) == (c != NULL));
	size_t used = 0;
	found[0] = '\0';
	for (size_t i = 0; i < d.count; i++) {
		char *text_found = d.items[i].text;
		char *at = strstr(text_found, f->path);
		if (at != NULL) {
			const char *rest = at + strlen(f->path);
			memmove(at, rest, strlen(rest) + 1);
		}
		used += (size_t)snprintf(found + used, room - used, "%u:%u:%s\n", d.items[i].line,
					 d.items[i].column, text_found);
		assert_true(used < room);
	}
	diags_fini(&d);
	return c;
}

static void test_files(void **state)
{
	const struct folder *f = *state;
	char found[4096];

	make_file(f, "pin", "1234\n", 0644);
	make_file(f, "module.so", "", 0644);
	struct conf *c =
		read_in(f,
			"server: { state: pin, user: nobody-of-this-name }\n"
			"keystores:\n"
			"  - { name: a, type: pkcs11, module: none.so, slot: 0, pin-file: none }\n"
			"  - { name: b, type: pkcs11, module: module.so, slot: 0, pin-file: pin }\n"
			"  - { name: c, type: file, passphrase-file: none }\n"
			"  - { name: d, type: file, passphrase-file: pin }\n"
			"zones:\n"
			"  - { name: a.test, file: none.zone }\n"
			"  - { name: b.test, file: zones }\n"
			"  - { directory: none }\n",
			found, sizeof(found));
	assert_null(c);
	assert_string_equal(found, "1:18:'state': /pin: not a directory\n"
				   "1:29:'user': there is no user 'nobody-of-this-name'\n"
				   "3:38:'module': /none.so: No such file or directory\n"
				   "3:66:'pin-file': /none: No such file or directory\n"
				   "4:68:'pin-file': /pin: everybody can read it\n"
				   "5:45:'passphrase-file': /none: No such file or directory\n"
				   "6:45:'passphrase-file': /pin: others may use it (chmod 600)\n"
				   "8:27:'file': /none.zone: No such file or directory\n"
				   "9:27:'file': /zones: not a file\n"
				   "10:18:'directory': /none: No such file or directory\n");
}

static void test_directory(void **state)
{
	const struct folder *f = *state;
	char found[4096];
	char path[256];

	make_file(f, "zones/b.test.zone", "", 0644);
	make_file(f, "zones/A.Test.zone", "", 0644);
	make_file(f, "zones/0\\04725.2.0.192.in-addr.arpa.zone", "", 0644);
	make_file(f, "zones/.hidden.zone", "", 0644);
	make_file(f, "zones/b.test.zone~", "", 0644);
	make_file(f, "zones/.zone", "", 0644);
	make_file(f, "zones/readme", "", 0644);
	snprintf(path, sizeof(path), "%s/zones/folder.zone", f->path);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/zones/link.test.zone", f->path);
	assert_int_equal(symlink("b.test.zone", path), 0);
	struct conf *c =
		read_in(f, "zones: [ { directory: zones/, watch: true, parent: [ 192.0.2.1 ] } ]\n",
			found, sizeof(found));
	assert_string_equal(found, "");
	assert_non_null(c);
	assert_int_equal(c->zone_count, 4);
	static const char *const names[] = {"0/25.2.0.192.in-addr.arpa.", "a.test.", "b.test.",
					    "link.test."};
	for (size_t i = 0; i < 4; i++) {
		char text[NAME_TEXT_MAX];
		assert_string_equal(name_to_text(c->zones[i].name, text), names[i]);
		assert_true(c->zones[i].watch);
		assert_int_equal(c->zones[i].parent_count, 1);
		assert_int_equal(c->zones[i].policy, -1);
	}
	snprintf(path, sizeof(path), "%s/zones/A.Test.zone", f->path);
	assert_string_equal(c->zones[1].file, path);
	conf_free(c);

	make_file(f, "zones/a..test.zone", "", 0644);
	c = read_in(
		f,
		"zones:\n  - { directory: zones }\n  - { name: a.test, file: zones/b.test.zone }\n",
		found, sizeof(found));
	assert_null(c);
	assert_string_equal(
		found, "2:18:/zones/a..test.zone: not a zone's name: a label is empty\n"
		       "3:13:zone a.test. is given twice, first in line 2 (/zones/A.Test.zone)\n");
}

static void test_unreadable_file(void **state)
{
	struct conf *c = (struct conf *)(uintptr_t)1;
	struct diags d;

	(void)state;
	diags_init(&d, DIAGS_LIMIT);
	assert_int_equal(conf_read("/nonexistent/signet.yaml", &c, &d), ST_ENOENT);
	assert_int_equal(conf_read("/", &c, &d), ST_EIO);
	assert_int_equal(conf_read("/nonexistent/signet.yaml", &c, NULL), ST_ENOENT);
	assert_ptr_equal(c, (void *)(uintptr_t)1);
	assert_int_equal(d.errors, 2);
	assert_string_equal(d.items[0].text, "cannot be read: not found");
	diags_fini(&d);
}

/* All of a text file; heap. */
static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	size_t room = 1 << 20;
	char *text = malloc(room);

	if (f == NULL) {
		fail_msg("%s: cannot be read", path);
	}
	assert_non_null(text);
	size_t len = fread(text, 1, room - 1, f);
	fclose(f);
	text[len] = '\0';
	return text;
}

/* What the page says of one option: from its item to the next. Heap. */
static char *page_item(const char *page, const struct option *opt)
{
	static const char *const titles[] = {
		[SECTION_ROOT] = ".Ss The file\n",	[SECTION_SERVER] = ".Ss server\n",
		[SECTION_KEYSTORE] = ".Ss keystores\n", [SECTION_POLICY] = ".Ss policies\n",
		[SECTION_KEY] = ".Ss ksk, zsk, csk\n",	[SECTION_TSIG_KEY] = ".Ss tsig-keys\n",
		[SECTION_REMOTE] = ".Ss remotes\n",	[SECTION_ZONE] = ".Ss zones\n",
	};
	char item[64];
	const char *section = strstr(page, titles[opt->section]);

	if (section == NULL) {
		fail_msg("no section %s", titles[opt->section]);
	}
	const char *end = strstr(section + 1, "\n.Ss ");
	snprintf(item, sizeof(item), "\n.It Cm %s", opt->name);
	const char *at = section;
	do {
		at = strstr(at + 1, item);
	} while (at != NULL && strchr(" \n", at[strlen(item)]) == NULL);
	if (at == NULL || (end != NULL && at > end)) {
		fail_msg("'%s' is not in section %s", opt->name, titles[opt->section]);
	}
	const char *next = strstr(at + 1, "\n.It ");
	const char *list_end = strstr(at + 1, "\n.El");
	next = next == NULL || next > list_end ? list_end : next;
	return strndup(at, (size_t)(next - at));
}

/* The page names every option with its doc line and its initial value. */
static void test_manual_page(void **state)
{
	char path[512];
	const char *source = getenv("SIGNET_SOURCE");

	(void)state;
	assert_non_null(source);
	snprintf(path, sizeof(path), "%s/man/signet.yaml.5", source);
	char *page = slurp(path);
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct option *opt = &conf_options[i];
		char *item = page_item(page, opt);
		char initial[128];
		assert_non_null(item);
		if (strstr(item, opt->doc) == NULL) {
			fail_msg("'%s': the page does not say: %s", opt->name, opt->doc);
		}
		snprintf(initial, sizeof(initial), "\nInitial value:\n.Ql \"%s\"", opt->initial);
		if (opt->initial != NULL && strstr(item, initial) == NULL) {
			fail_msg("'%s': the page does not say that %s is the initial value",
				 opt->name, opt->initial);
		}
		bool later = strstr(item, "\nNot supported by this version.") != NULL;
		if (later != (opt->type == OPT_LATER)) {
			fail_msg("'%s': the page is wrong about its support", opt->name);
		}
		free(item);
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_initial_values),
		cmocka_unit_test(test_all_values),
		cmocka_unit_test(test_remotes),
		cmocka_unit_test(test_durations_and_sizes),
		cmocka_unit_test(test_distance),
		cmocka_unit_test_setup_teardown(test_files, set_up_folder, tear_down_folder),
		cmocka_unit_test_setup_teardown(test_directory, set_up_folder, tear_down_folder),
		cmocka_unit_test(test_unreadable_file),
		cmocka_unit_test(test_manual_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
