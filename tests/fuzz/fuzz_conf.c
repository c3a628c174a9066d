/* The configuration: any octets. What is accepted must keep the promises of conf.h; what is refused
 * must have said why. */
#include "hsm/hsm.h"
#include "nsd-core/conf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void check_policy(const struct conf *c, const struct conf_policy *p)
{
	REQUIRE(p->name != NULL);
	REQUIRE(p->validity_s > p->refresh_s);
	REQUIRE(p->csk.present != (p->ksk.present && p->zsk.present));
	REQUIRE(p->ksk.present == p->zsk.present);
	REQUIRE(p->ksk.keystore < c->keystore_count || !p->ksk.present);
	REQUIRE(p->zsk.keystore < c->keystore_count || !p->zsk.present);
	REQUIRE(p->csk.keystore < c->keystore_count || !p->csk.present);
}

static void check_zone(const struct conf *c, const struct conf_zone *z)
{
	size_t len;

	REQUIRE(name_check(z->name, sizeof(z->name), &len) == ST_OK);
	REQUIRE(z->file != NULL);
	REQUIRE(z->policy >= -1 && z->policy < (int64_t)c->policy_count);
	REQUIRE(z == c->zones || name_compare(z[-1].name, z->name) < 0);
}

static void check(const struct conf *c)
{
	const struct conf_server *s = &c->server;

	REQUIRE(s->listen_count > 0 && s->workers > 0 && s->state != NULL && s->control != NULL);
	REQUIRE(s->udp_size >= 512 && s->tcp_clients > 0 && s->tcp_idle_ms > 0);
	for (size_t i = 0; i < c->keystore_count; i++) {
		const struct conf_keystore *ks = &c->keystores[i];
		REQUIRE(ks->name != NULL && ks->sessions > 0);
		REQUIRE(ks->type != KEYSTORE_PKCS11 ||
			(ks->module != NULL &&
			 (ks->token != NULL || ks->uri != NULL || ks->slot >= 0)));
	}
	for (size_t i = 0; i < c->policy_count; i++) {
		check_policy(c, &c->policies[i]);
	}
	for (size_t i = 0; i < c->zone_count; i++) {
		check_zone(c, &c->zones[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *c = NULL;
	struct diags d;

	diags_init(&d, DIAGS_LIMIT);
	enum status st = conf_read_mem("dir/signet.yaml", (const char *)data, size, false, &c, &d);
	REQUIRE((st == ST_OK) == (c != NULL));
	REQUIRE((st == ST_OK) == (d.errors == 0) || st == ST_ENOMEM);
	for (size_t i = 0; i < d.count; i++) {
		REQUIRE(d.items[i].line > 0 && d.items[i].column > 0);
	}
	if (c != NULL) {
		check(c);
	}
	conf_free(c);
	diags_fini(&d);
	return 0;
}
