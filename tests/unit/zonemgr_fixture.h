/* What tests of the zone manager and the control socket share: a folder with zone files, a
 * configuration made by hand, a loop, and the manager in it. */
#pragma once

#include "nsd-core/base/clock.h"
#include "nsd-core/base/rcu.h"
#include "nsd-core/zonemgr.h"
#include "zones/rdata.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ZONES_MAX     4
#define FIXTURE_TICK  20
#define FIXTURE_WAITS 30000 /* ms; a test that waits longer has failed */

enum fixture_policy {
	POLICY_NONE = -1,
	POLICY_ONLINE,
	POLICY_EAGER,
	POLICIES,
};

struct zonemgr_fixture {
	char dir[64];
	char state[80];
	char control[80];
	char path[80]; /* of a configuration, where there is one */
	char files[ZONES_MAX][96];
	struct conf_keystore keystore;
	struct conf_policy policies[POLICIES];
	struct conf_zone zones[ZONES_MAX];
	/* Of zones that are to have some. */
	struct conf_remote remote;
	size_t secondaries[1];
	struct conf conf;
	uv_loop_t loop;
	struct zonemgr *mgr;
	bool loaded;
	int64_t now_s; /* fake, where not 0 */
};

static inline int fixture_remove_one(const char *path, const struct stat *sb, int flag,
				     struct FTW *ftw)
{
	(void)sb;
	(void)flag;
	(void)ftw;
	return remove(path);
}

/* A file as a whole, by rename. */
static inline void fixture_write(const char *path, const char *text)
{
	char temp[128];
	snprintf(temp, sizeof(temp), "%s.new", path);
	FILE *f = fopen(temp, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(temp, path), 0);
}

/* SOA with this serial, TTLs of 300, NS and ns; then 'more'. */
static inline void fixture_zone(struct zonemgr_fixture *fx, size_t i, unsigned serial,
				const char *more)
{
	char text[4096];
	snprintf(text, sizeof(text),
		 "$TTL 300\n@ SOA ns host %u 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n%s",
		 serial, more);
	fixture_write(fx->files[i], text);
}

static inline size_t fixture_add(struct zonemgr_fixture *fx, const char *name, int policy)
{
	size_t i = fx->conf.zone_count++;
	struct conf_zone *z = &fx->zones[i];
	size_t len;
	assert_int_equal(name_from_text(name, strlen(name), NULL, z->name, &len, NULL), ST_OK);
	snprintf(fx->files[i], sizeof(fx->files[i]), "%s/%s.zone", fx->dir, name);
	z->file = fx->files[i];
	z->policy = policy;
	return i;
}

static inline void fixture_on_loaded(void *ctx)
{
	struct zonemgr_fixture *fx = ctx;
	assert_false(fx->loaded);
	fx->loaded = true;
}

/* Runs the loop until 'done' says so. */
static inline void fixture_run(struct zonemgr_fixture *fx,
			       bool (*done)(struct zonemgr_fixture *fx, void *ctx), void *ctx)
{
	uint64_t end = uv_hrtime() + FIXTURE_WAITS * UINT64_C(1000000);
	while (!done(fx, ctx)) {
		assert_true(uv_hrtime() < end);
		uv_run(&fx->loop, UV_RUN_ONCE);
	}
}

static inline bool fixture_is_loaded(struct zonemgr_fixture *fx, void *ctx)
{
	(void)ctx;
	return fx->loaded;
}

static inline void fixture_start(struct zonemgr_fixture *fx)
{
	const struct zonemgr_options opt = {
		.conf = &fx->conf, .loop = &fx->loop, .tick_ms = FIXTURE_TICK};
	struct diags d;
	diags_init(&d, 10);
	assert_int_equal(zonemgr_new(&opt, &fx->mgr, &d), ST_OK);
	assert_int_equal(d.errors, 0);
	diags_fini(&d);
	fx->loaded = false;
	zonemgr_load_all(fx->mgr, fixture_on_loaded, fx);
	fixture_run(fx, fixture_is_loaded, NULL);
}

static inline void fixture_stop(struct zonemgr_fixture *fx)
{
	if (fx->mgr == NULL) {
		return;
	}
	zonemgr_stop(fx->mgr);
	uv_run(&fx->loop, UV_RUN_DEFAULT);
	zonemgr_free(fx->mgr);
	fx->mgr = NULL;
}

static inline void fixture_clock(struct zonemgr_fixture *fx, int64_t now_s)
{
	fx->now_s = now_s;
	clock_fake(now_s, now_s * 1000);
}

static inline int fixture_setup(void **state)
{
	struct zonemgr_fixture *fx = calloc(1, sizeof(*fx));
	assert_non_null(fx);
	char dir[] = "/tmp/signet-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	snprintf(fx->dir, sizeof(fx->dir), "%s", dir);
	snprintf(fx->state, sizeof(fx->state), "%s/state", dir);
	snprintf(fx->control, sizeof(fx->control), "%s/run/control.sock", dir);
	snprintf(fx->path, sizeof(fx->path), "%s/signet.yaml", dir);
	fx->keystore = (struct conf_keystore){.name = (char *)(uintptr_t) "local",
					      .type = KEYSTORE_FILE,
					      .slot = -1,
					      .sessions = 1};
	for (size_t i = 0; i < POLICIES; i++) {
		fx->policies[i] = (struct conf_policy){
			.name = (char *)(uintptr_t)(i == POLICY_EAGER ? "eager" : "online"),
			.eager = i == POLICY_EAGER,
			.dnskey_ttl = 300,
			.refresh_s = 7 * 86400,
			.validity_s = 21 * 86400,
			.propagation_s = 60,
			.publish_cds = true,
		};
	}
	fx->policies[POLICY_ONLINE].ksk = (struct conf_key){.present = true};
	fx->policies[POLICY_ONLINE].zsk = (struct conf_key){.present = true, .lifetime_s = 86400};
	fx->policies[POLICY_EAGER].csk = (struct conf_key){.present = true};
	fx->conf = (struct conf){
		.path = fx->path,
		.server = {.state = fx->state, .control = fx->control, .workers = 1},
		.keystores = &fx->keystore,
		.keystore_count = 1,
		.policies = fx->policies,
		.policy_count = POLICIES,
		.zones = fx->zones,
	};
	assert_int_equal(uv_loop_init(&fx->loop), 0);
	rcu_thread_register();
	*state = fx;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct zonemgr_fixture *fx = *state;
	fixture_stop(fx);
	clock_fake(-1, -1);
	uv_run(&fx->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&fx->loop), 0);
	rcu_thread_unregister();
	nftw(fx->dir, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(fx);
	return 0;
}

static inline struct zone *fixture_get(struct zonemgr_fixture *fx, size_t i)
{
	return zonedb_exact(zonemgr_db(fx->mgr), fx->zones[i].name);
}

static inline struct zone_status fixture_status(struct zonemgr_fixture *fx, size_t i)
{
	struct zone_status s;
	zonemgr_status(fx->mgr, fixture_get(fx, i), &s);
	return s;
}

/* The RRset of "label.zone", or of the apex where label is NULL. */
static inline struct rrset *fixture_rrset(struct zonemgr_fixture *fx, size_t i, const char *label,
					  uint16_t type)
{
	uint8_t name[NAME_MAX_LEN];
	struct name_ref ref;
	size_t len;
	const char *text = label != NULL ? label : "@";
	assert_int_equal(name_from_text(text, strlen(text), fx->zones[i].name, name, &len, NULL),
			 ST_OK);
	name_ref_init(&ref, name);
	const struct node *n = version_find(fixture_get(fx, i)->cur, &ref, ref.labels);
	return n != NULL ? node_rrset(n, type) : NULL;
}

/* A reload and what came of it. */
struct fixture_reload {
	bool done;
	enum status status;
	uint32_t serial;
	size_t errors, warnings;
	char first[256];		      /* finding */
	const struct version *before, *after; /* identities */
};

static inline void fixture_on_reload(void *ctx, enum status st, uint32_t serial,
				     const struct diags *d)
{
	struct fixture_reload *r = ctx;
	r->done = true;
	r->status = st;
	r->serial = serial;
	r->errors = d->errors;
	r->warnings = d->warnings;
	if (d->count > 0) {
		diag_format(&d->items[0], r->first, sizeof(r->first));
	}
}

static inline bool fixture_is_reloaded(struct zonemgr_fixture *fx, void *ctx)
{
	(void)fx;
	return ((struct fixture_reload *)ctx)->done;
}

static inline struct fixture_reload fixture_reload(struct zonemgr_fixture *fx, size_t i, bool force)
{
	struct fixture_reload r = {.before = fixture_get(fx, i)->cur};
	zonemgr_reload(fx->mgr, fixture_get(fx, i), force, fixture_on_reload, &r);
	assert_false(r.done);
	fixture_run(fx, fixture_is_reloaded, &r);
	r.after = fixture_get(fx, i)->cur;
	return r;
}

static inline bool fixture_is_complete(struct zonemgr_fixture *fx, void *ctx)
{
	return fixture_status(fx, *(const size_t *)ctx).signing == SIGNING_COMPLETE;
}

static inline void fixture_complete(struct zonemgr_fixture *fx, size_t i)
{
	fixture_run(fx, fixture_is_complete, &i);
}
