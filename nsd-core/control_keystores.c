/* 'keystore list', and the same lines in 'status'. */
#include "nsd-core/control_state.h"

static const char *state_word(enum keystore_state state)
{
	static const char *const words[] = {
		[KEYSTORE_CLOSED] = "not used",
		[KEYSTORE_UP] = "up",
		[KEYSTORE_DOWN] = "down",
		[KEYSTORE_LOCKED] = "PIN refused",
	};

	return words[state];
}

static const char *type_word(const struct conf_keystore *c)
{
	return c->file ? "file" : "pkcs11";
}

static void keystore_row(struct table *t, const struct conf_keystore *c,
			 const struct keystore_health *h)
{
	uint64_t failures = h->failures + h->verify_failures;

	table_put(t, "%s", c->name);
	table_put(t, "%s", state_word(h->state));
	table_put(t, "%s", type_word(c));
	table_put(t, "%u", h->sessions);
	table_put(t, "%llu", (unsigned long long)h->signatures);
	table_put(t, "%llu", (unsigned long long)failures);
	table_put(t, "%zu", h->waiting);
	if (h->pid != 0) {
		table_put(t, "%d", h->pid);
		table_put(t, "%llu", (unsigned long long)h->restarts);
	} else {
		table_put(t, "-");
		table_put(t, "-");
	}
	table_put(t, "%s", h->detail);
}

static json_t *keystore_json(const struct conf_keystore *c, const struct keystore_health *h)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", reply_string(c->name));
	json_object_set_new(o, "type", json_string(type_word(c)));
	json_object_set_new(o, "state", json_string(state_word(h->state)));
	json_object_set_new(o, "detail", reply_string(h->detail));
	json_object_set_new(o, "sessions", json_integer(h->sessions));
	json_object_set_new(o, "signatures", json_integer((json_int_t)h->signatures));
	json_object_set_new(o, "failures", json_integer((json_int_t)h->failures));
	json_object_set_new(o, "verify_failures", json_integer((json_int_t)h->verify_failures));
	json_object_set_new(o, "waiting", json_integer((json_int_t)h->waiting));
	json_object_set_new(o, "pid", h->pid != 0 ? json_integer(h->pid) : json_null());
	json_object_set_new(o, "restarts", json_integer((json_int_t)h->restarts));
	return o;
}

void keystores_print(const struct control *c, FILE *f, json_t *list)
{
	static const char *const head[] = {"KEYSTORE", "STATE",	  "TYPE", "SESSIONS", "SIGNATURES",
					   "FAILURES", "WAITING", "PID",  "RESTARTS", "LAST ERROR"};
	struct table t;

	table_init(&t, sizeof(head) / sizeof(head[0]));
	for (size_t i = 0; i < t.columns; i++) {
		table_put(&t, "%s", head[i]);
	}
	for (size_t i = 0; i < c->conf->keystore_count; i++) {
		const struct conf_keystore *conf = &c->conf->keystores[i];
		struct keystore_health h;
		keystore_health(zonemgr_keystore(c->mgr, i), &h);
		keystore_row(&t, conf, &h);
		json_array_append_new(list, keystore_json(conf, &h));
	}
	table_print(&t, f);
	table_fini(&t);
}

void keystore_list_run(struct request *r)
{
	json_t *list = json_array();
	struct reply_text text;

	reply_text_open(&text);
	if (text.f != NULL) {
		keystores_print(r->conn->control, text.f, list);
	}
	reply_text_close(&text, &r->reply);
	r->reply.data = json_pack("{s:i, s:o}", "version", CONTROL_VERSION, "keystores", list);
	request_finish(r);
}
