/* What tests of both chains share: a zone of difficult names, keys, a zone edited at random. */
#pragma once

#include "tests/unit/signer_fixture.h"

#include <spawn.h>
#include <sys/wait.h>

#define APEX "example.com"

static const char nasty[] =
	"$ORIGIN example.com.\n"
	"$TTL 3600\n"
	"@ SOA ns host 1 7200 3600 1209600 300\n"
	"@ NS ns\n"
	"@ MX 10 mail\n"
	"@ TYPE65400 \\# 1 00\n"
	"@ CAA 0 issue \"ca.example\"\n"
	"ns A 192.0.2.1\n"
	"ns AAAA 2001:db8::1\n"
	"mail A 192.0.2.2\n"
	"a.b.c TXT x\n"
	"b.c A 192.0.2.3\n"
	"* TXT wild\n"
	"*.w TXT wild\n"
	"x.*.w TXT under\n"
	"Upper.Case A 192.0.2.5\n"
	"z\\.dot A 192.0.2.6\n"
	"\\000 A 192.0.2.7\n"
	"\\255 A 192.0.2.8\n"
	"alias CNAME ns\n"
	"dn DNAME elsewhere.net.\n"
	"cut NS ns.cut\n"
	"ns.cut A 192.0.2.4\n"
	"deep.under.cut A 192.0.2.4\n"
	"safe NS ns.cut\n"
	"safe DS 1 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	"ent.only.below.safe AAAA 2001:db8::4\n"
	"_sip._tcp SRV 1 2 3 ns\n";

static inline struct keyset *keys_new(void)
{
	struct keyset *ks = calloc(1, sizeof(*ks));
	uint8_t rdata[DNSKEY_LEN];
	assert_non_null(ks);
	atomic_init(&ks->refs, 1);
	name_lower(ks->apex, wire(APEX));
	ks->params = (struct sign_params){.dnskey_ttl = 7200, .refresh = 10, .validity = 20};
	ks->count = 2;
	for (size_t i = 0; i < 2; i++) {
		struct key *key = &ks->keys[i];
		key->role = i == 0 ? KEY_KSK : KEY_ZSK;
		key->state = KEY_ACTIVE;
		key->flags = i == 0 ? 257 : 256;
		memset(key->public_point, (int)i + 1, HSM_PUBLIC_LEN);
		key->tag = dnskey_tag(rdata, dnskey_rdata(key, rdata));
	}
	return ks;
}

static inline void run_in(const char *dir, const char *command)
{
	char line[512];
	const char *argv[] = {"/bin/sh", "-c", line, NULL};
	char *env[] = {(char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	pid_t pid;
	int result;
	snprintf(line, sizeof(line), "cd %s && %s >out 2>&1 || { cat out >&2; exit 1; }", dir,
		 command);
	assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, (char **)(uintptr_t)argv, env),
			 0);
	assert_int_equal(waitpid(pid, &result, 0), pid);
	assert_int_equal(result, 0);
}

/* The model: which RRsets there are. A zone built anew from it must have the chain that the edited
 * one has. */
#define MODEL_NAMES 24
#define MODEL_TYPES 5
#define MODEL_STEPS 200

static const char *const model_names[MODEL_NAMES] = {
	"a",	   "b",	  "c",	 "a.a",	      "b.a", "c.a",   "a.b",   "x.a.b",
	"y.a.b",   "*",	  "*.b", "z",	      "m.z", "n.z",   "x.m.z", "\\000",
	"\\000.a", "a.c", "b.c", "deep.in.c", "u.v", "w.u.v", "v",     "in.c",
};

static const uint16_t model_types[MODEL_TYPES] = {RR_A, RR_TXT, RR_NS, RR_DS, RR_DNAME};

struct model {
	bool has[MODEL_NAMES][MODEL_TYPES];
	uint8_t data[MODEL_NAMES][MODEL_TYPES];
	uint64_t random;
};

static inline uint32_t model_random(struct model *m, uint32_t bound)
{
	m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(m->random >> 33) % bound;
}

static inline void model_put(struct draft *d, const char *name, uint16_t type, uint8_t data)
{
	char full[64];
	uint8_t rdata[16] = {0};
	size_t len;
	struct rrset *rs = NULL;
	snprintf(full, sizeof(full), "%s.%s", name, APEX);
	if (type == RR_A || type == RR_DS) {
		rdata[0] = data;
		len = type == RR_A ? 4 : sizeof(rdata);
	} else {
		/* A string for TXT, a name else. */
		rdata[0] = 1;
		rdata[1] = (uint8_t)('a' + data % 8);
		len = type == RR_TXT ? 2 : 3;
	}
	assert_int_equal(rrset_new(type, 60, &(struct bytes){rdata, len}, 1, &rs), ST_OK);
	assert_int_equal(draft_put(d, wire(full), rs), ST_OK);
}

static inline struct version *model_anew(const struct model *m, struct keyset *ks, const char *soa,
					 enum sign_denial denial)
{
	struct draft *d = draft_from_text(APEX, soa, NULL);
	for (size_t n = 0; n < MODEL_NAMES; n++) {
		for (size_t t = 0; t < MODEL_TYPES; t++) {
			if (m->has[n][t]) {
				model_put(d, model_names[n], model_types[t], m->data[n][t]);
			}
		}
	}
	assert_int_equal(signer_prepare_draft(d, ks, false, denial), ST_OK);
	return freeze_denying(d, ks, denial);
}

static inline void model_edit(struct model *m, struct draft *d)
{
	char full[64];
	uint32_t n = model_random(m, MODEL_NAMES);
	/* Cuts and DNAMEs are rarer, or most names would be below one. */
	uint32_t t = model_random(m, 3) != 0 ? model_random(m, 2) : model_random(m, MODEL_TYPES);
	if (m->has[n][t] && model_random(m, 4) != 0) {
		snprintf(full, sizeof(full), "%s.%s", model_names[n], APEX);
		assert_int_equal(draft_remove(d, wire(full), model_types[t]), ST_OK);
		m->has[n][t] = false;
		return;
	}
	m->has[n][t] = true;
	m->data[n][t] = (uint8_t)model_random(m, 3);
	model_put(d, model_names[n], model_types[t], m->data[n][t]);
}
