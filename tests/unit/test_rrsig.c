#include "tests/unit/signer_fixture.h"

#include "nsd-core/base/clock.h"
#include "nsd-core/base/digest.h"
#include "signer/rrsig.h"

#include <ldns/ldns.h>

#define NOW INT64_C(1800000000)
#define DAY 86400

static const struct sign_params params = {
	.policy = "default",
	.algorithm = ALG_ECDSAP256SHA256,
	.dnskey_ttl = 3600,
	.refresh = 7 * DAY,
	.validity = 21 * DAY,
};

static const char nasty[] =
	"$ORIGIN Example.COM.\n"
	"$TTL 3600\n"
	"@ SOA NS1.Example.com. Host.Master 1 7200 3600 1209600 300\n"
	"@ NS NS1\n"
	"@ NS ns2.ELSEWHERE.net.\n"
	"@ MX 10 MAIL\n"
	"@ MX 5 mail.Other.org.\n"
	"NS1 A 192.0.2.9\n"
	"NS1 A 192.0.2.10\n"
	"NS1 AAAA 2001:db8::1\n"
	"* TXT \"a wild card\"\n"
	"*.a.b A 192.0.2.1\n"
	"x.*.b A 192.0.2.2\n"
	"Mixed.Case CNAME Target.Example.COM.\n"
	"srv SRV 1 2 3 Target.Mixed.com.\n"
	"caa CAA 0 issue \"CA.example\"\n"
	"dn DNAME Some.Where.net.\n"
	"np NAPTR 1 2 \"u\" \"sip\" \"!a!b!\" Rep.Lace.net.\n"
	"sv SVCB 1 Svc.Target.net. alpn=h2\n"
	"rp RP Mail.Box.net. Txt.Name.net.\n"
	"txt TXT \"b\" \"\" \"\\000\\255\"\n"
	"txt TXT \"a\"\n"
	"txt TXT \"B\"\n"
	"e\\.s\\000c A 192.0.2.3\n"
	"cut NS ns.cut\n"
	"cut DS 12345 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	"ns.cut A 192.0.2.4\n"
	"unknown TYPE65400 \\# 4 DEADBEEF\n"
	"hinfo HINFO \"Cpu\" \"Os\"\n"
	"tlsa TLSA 3 1 1 000102\n";

static ldns_rr *to_ldns(const uint8_t *owner, uint16_t type, uint32_t ttl, struct bytes rdata)
{
	size_t owner_len = name_len(owner);
	size_t len = owner_len + 10 + rdata.len;
	uint8_t *buf = malloc(len);
	struct wwriter w;
	ldns_rr *rr = NULL;
	size_t pos = 0;
	assert_non_null(buf);
	wwriter_init(&w, buf, len);
	wwriter_put(&w, owner, owner_len);
	wwriter_u16(&w, type);
	wwriter_u16(&w, CLASS_IN);
	wwriter_u32(&w, ttl);
	wwriter_u16(&w, (uint16_t)rdata.len);
	wwriter_put(&w, rdata.data, rdata.len);
	assert_int_equal(w.err, ST_OK);
	assert_int_equal(ldns_wire2rr(&rr, buf, len, &pos, LDNS_SECTION_ANSWER), LDNS_STATUS_OK);
	free(buf);
	return rr;
}

static ldns_rr_list *to_list(const uint8_t *owner, const struct rrset *rs)
{
	ldns_rr_list *list = ldns_rr_list_new();
	for (const uint8_t *p = rs->data; p < rs->data + rs->size; p = rdata_next(p)) {
		ldns_rr_list_push_rr(list, to_ldns(owner, rs->type, rs->ttl, rdata_at(p)));
	}
	return list;
}

struct check {
	const struct version *v;
	const struct keyset *ks;
	ldns_rr_list *dnskeys;
	size_t rrsigs;
};

static enum status verify_node(void *ctx, const struct node *n)
{
	struct check *c = ctx;
	for (size_t i = 0; i < n->rrset_count; i++) {
		const struct rrset *rs = n->rrsets[i];
		const struct sigset *sigs = rrset_sigs(rs);
		if (!signer_covers(n, rs)) {
			assert_null(sigs);
			continue;
		}
		assert_non_null(sigs);
		uint8_t which[KEYSET_MAX];
		assert_int_equal(sigs->count, rrsig_keys(c->ks, rs->type, which));
		uint8_t buf[SIGSET_BUF];
		struct bytes data = sigset_data(sigs, rs, c->ks->apex, buf);
		for (const uint8_t *p = data.data; p < data.data + data.len; p = rdata_next(p)) {
			ldns_rr_list *list = to_list(node_name(n), rs);
			ldns_rr *rrsig = to_ldns(node_name(n), RR_RRSIG, rs->ttl, rdata_at(p));
			ldns_status st =
				ldns_verify_rrsig_keylist_time(list, rrsig, c->dnskeys, NOW, NULL);
			if (st != LDNS_STATUS_OK) {
				char owner[NAME_TEXT_MAX];
				fail_msg("%s type %u: %s", name_to_text(node_name(n), owner),
					 rs->type, ldns_get_errorstr_by_id(st));
			}
			ldns_rr_free(rrsig);
			ldns_rr_list_deep_free(list);
			c->rrsigs++;
		}
	}
	return ST_OK;
}

static void sign_and_verify(struct signer_fixture *fx, const char *zone, const char *text, bool csk)
{
	const struct key_wanted both[] = {{.role = KEY_KSK, .store = fx->ks},
					  {.role = KEY_ZSK, .store = fx->ks}};
	const struct key_wanted one[] = {{.role = KEY_CSK, .store = fx->ks}};
	struct signer_options opt = {0};
	struct signer *s = NULL;
	struct check c = {0};
	struct keyset *ks = NULL;
	clock_fake(NOW, 0);
	assert_int_equal(keyset_load(fx->db, wire(zone), &params, csk ? one : both, csk ? 1 : 2,
				     NOW, &ks, NULL),
			 ST_OK);
	struct version *v = version_from_text(zone, text, NULL, ks, true);
	assert_int_equal(signer_new(&opt, &s), ST_OK);
	assert_int_equal(signer_complete(s, v, NULL), ST_OK);
	c.v = v;
	c.ks = ks;
	c.dnskeys = to_list(v->apex_name, rrset_at(v, zone, RR_DNSKEY));
	assert_int_equal(version_walk(v, verify_node, &c), ST_OK);
	assert_true(c.rrsigs > 6);
	ldns_rr_list_deep_free(c.dnskeys);
	signer_free(s);
	version_unref(v);
	keyset_unref(ks);
	clock_fake(-1, -1);
}

static void ldns_verifies_every_signature(void **state)
{
	sign_and_verify(*state, "example.com", nasty, false);
	sign_and_verify(*state, "csk.example",
			"@ 60 SOA a b 1 2 3 4 5\n@ 60 NS ns\nns 60 A 1.2.3.4\n", true);
}

static void ldns_verifies_the_root(void **state)
{
	sign_and_verify(*state, ".",
			". 60 SOA a. b. 1 2 3 4 5\n. 60 NS ns.\nns. 60 A 1.2.3.4\n"
			"*. 60 TXT x\ncom. 60 NS ns.com.\nns.com. 60 A 1.2.3.5\n",
			false);
}

static void fields_are_those_of_the_rfc(void **state)
{
	static const struct {
		const char *owner;
		unsigned labels;
	} cases[] = {
		{".", 0},	  {"com", 1},	{"example.com", 2}, {"*.example.com", 2},
		{"a.*.b.com", 4}, {"*.com", 1}, {"*", 0},	    {"\\*\\..com", 2},
	};
	(void)state;
	struct key key = {.tag = 0xabcd};
	uint8_t address[4] = {192, 0, 2, 1};
	struct rrset *rs = NULL;
	assert_int_equal(rrset_new(RR_A, 7200, &(struct bytes){address, 4}, 1, &rs), ST_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rrsig_input in;
		struct rrsig sig;
		uint8_t digest[HSM_DIGEST_LEN];
		uint8_t want[DIGEST_MAX];
		uint8_t rdata[RRSIG_MAX];
		assert_int_equal(rrsig_input_init(&in, wire("COM"), wire(cases[i].owner), rs),
				 ST_OK);
		assert_int_equal(rrsig_input_digest(&in, &params, &key, NOW, digest), ST_OK);
		assert_int_equal(in.head_len, 18 + 5);
		memset(rdata, 1, sizeof(rdata));
		memcpy(rdata, in.data, in.head_len);
		assert_int_equal(rrsig_parse((struct bytes){rdata, in.head_len + 64}, &sig), ST_OK);
		assert_int_equal(sig.type_covered, RR_A);
		assert_int_equal(sig.algorithm, 13);
		assert_int_equal(sig.labels, cases[i].labels);
		assert_int_equal(sig.original_ttl, 7200);
		assert_int_equal(sig.key_tag, 0xabcd);
		assert_int_equal(sig.inception, NOW - 3600);
		assert_memory_equal(sig.signer, wire("com"), 5);
		/* Twice the same, and the digest is that of the whole. */
		struct bytes whole = {in.data, in.len};
		assert_int_equal(digest_of(DIGEST_SHA256, &whole, 1, want), ST_OK);
		assert_memory_equal(digest, want, HSM_DIGEST_LEN);
		assert_int_equal(rrsig_input_digest(&in, &params, &key, NOW, digest), ST_OK);
		assert_memory_equal(digest, want, HSM_DIGEST_LEN);
		rrsig_input_fini(&in);
	}
	rrset_free(rs);
}

static void keys_sign_what_their_role_is_for(void **state)
{
	(void)state;
	static const uint16_t types[] = {RR_A, RR_SOA, RR_NSEC, RR_DNSKEY, RR_CDS, RR_CDNSKEY};
	static const struct {
		const char *name;
		size_t count;
		struct {
			enum key_role role;
			enum key_state state;
		} keys[4];
		const char *want[6]; /* indexes, by type */
	} cases[] = {
		{"ksk and zsk",
		 2,
		 {{KEY_KSK, KEY_ACTIVE}, {KEY_ZSK, KEY_ACTIVE}},
		 {"1", "1", "1", "0", "0", "0"}},
		{"csk", 1, {{KEY_CSK, KEY_ACTIVE}}, {"0", "0", "0", "0", "0", "0"}},
		{"two ksks",
		 3,
		 {{KEY_KSK, KEY_ACTIVE}, {KEY_ZSK, KEY_ACTIVE}, {KEY_KSK, KEY_ACTIVE}},
		 {"1", "1", "1", "02", "02", "02"}},
		{"a zsk before, one after its time",
		 4,
		 {{KEY_ZSK, KEY_PUBLISHED},
		  {KEY_ZSK, KEY_ACTIVE},
		  {KEY_ZSK, KEY_RETIRED},
		  {KEY_KSK, KEY_ACTIVE}},
		 {"1", "1", "1", "3", "3", "3"}},
		{"none", 1, {{KEY_KSK, KEY_ACTIVE}}, {"", "", "", "0", "0", "0"}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct keyset ks = {.count = cases[i].count};
		for (size_t k = 0; k < ks.count; k++) {
			ks.keys[k].role = cases[i].keys[k].role;
			ks.keys[k].state = cases[i].keys[k].state;
		}
		for (size_t t = 0; t < 6; t++) {
			uint8_t which[KEYSET_MAX];
			char got[KEYSET_MAX + 1] = "";
			size_t count = rrsig_keys(&ks, types[t], which);
			for (size_t k = 0; k < count; k++) {
				got[k] = (char)('0' + which[k]);
			}
			if (strcmp(got, cases[i].want[t]) != 0) {
				fail_msg("%s, type %u: '%s'", cases[i].name, types[t], got);
			}
		}
	}
}

/* period = (validity - refresh) * 15 / 16, due = phase + k * period, a sixteenth from now at least.
 */
static void windows_hold_their_bounds(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint32_t refresh;
		uint32_t validity;
		uint32_t first; /* octets of the id */
		int64_t now;
		int64_t want; /* expiration - now */
	} cases[] = {
		{"no phase", 7 * DAY, 21 * DAY, 0, NOW, 7 * DAY + 792000},
		{"half the phase", 7 * DAY, 21 * DAY, 0x80000000, NOW, 7 * DAY + 225000},
		{"due now, so the next time", 7 * DAY, 21 * DAY, 0, 1587 * INT64_C(1134000),
		 7 * DAY + 1134000},
		{"over 32 bits", 7 * DAY, 21 * DAY, 0, 0xfffffffe, 7 * DAY + 624706},
		{"seconds", 4, 10, UINT32_MAX, NOW, 9},
		{"a second over", 4, 5, UINT32_MAX, NOW, 4},
		{"validity as refresh", 10, 10, UINT32_MAX, NOW, 10},
		{"validity under refresh", 10, 4, UINT32_MAX, NOW, 4},
		{"nothing", 0, 0, UINT32_MAX, NOW, 1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sign_params p = {.refresh = cases[i].refresh, .validity = cases[i].validity};
		uint8_t id[32] = {0};
		uint32_t inception = 0;
		uint32_t expiration = 0;
		be32_put(id, cases[i].first);
		sign_window(&p, id, cases[i].now, &inception, &expiration);
		if (inception != (uint32_t)(cases[i].now - 3600) ||
		    expiration != (uint32_t)(cases[i].now + cases[i].want)) {
			fail_msg("%s: %u", cases[i].name, expiration - (uint32_t)cases[i].now);
		}
		for (unsigned octet = 0; octet < 256; octet++) {
			id[0] = (uint8_t)octet;
			sign_window(&p, id, cases[i].now, &inception, &expiration);
			uint32_t life = expiration - (uint32_t)cases[i].now;
			uint32_t least = p.validity < p.refresh ? p.validity : p.refresh;
			assert_in_range(life, least > 0 ? least : 1,
					p.validity > 0 ? p.validity : 1);
		}
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, signer_setup, signer_teardown)
	const struct CMUnitTest tests[] = {
		CASE(ldns_verifies_every_signature),
		CASE(ldns_verifies_the_root),
		cmocka_unit_test(fields_are_those_of_the_rfc),
		cmocka_unit_test(keys_sign_what_their_role_is_for),
		cmocka_unit_test(windows_hold_their_bounds),
	};
	return cmocka_run_group_tests_name("rrsig", tests, NULL, NULL);
}
