/* 'keystore list', and the same lines in 'status'; 'keystore check', 'bench' and 'delete' on
 * threads of their own, since they wait for the device. */
#include "nsd-core/control_probe.h"
#include "nsd-core/control_state.h"
#include "nsd-core/log.h"

#include <stdlib.h>
#include <string.h>

/* Checks and benches at a time; the others wait their turn. */
#define PROBERS 2

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
	static const char *const words[] = {
		[KEYSTORE_PKCS11] = "pkcs11",
		[KEYSTORE_FILE] = "file",
		[KEYSTORE_KMS] = "aws-kms",
	};

	return words[c->type];
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
	json_object_set_new(o, "requests", json_integer((json_int_t)h->requests));
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

/* One check or bench. */
struct probing {
	struct builder_job job;
	struct inbox_msg done_msg;
	struct probing *prev, *next;
	struct request *request; /* the thread's while it runs */
	struct probe probe;
};

static void on_probed(struct inbox_msg *msg)
{
	struct probing *p = container_of(msg, struct probing, done_msg);
	struct control *c = p->request->conn->control;

	if (p->prev != NULL) {
		p->prev->next = p->next;
	} else {
		c->probings = p->next;
	}
	if (p->next != NULL) {
		p->next->prev = p->prev;
	}
	if (p->request->cmd.id == COMMAND_KEYSTORE_DELETE && p->request->reply.exit == EXIT_DONE &&
	    p->request->reply.text != NULL) {
		log_info("%.*s: asked to by control", (int)strcspn(p->request->reply.text, "\n"),
			 p->request->reply.text);
	}
	request_finish(p->request);
	free(p);
}

static void probe_job(struct builder_job *job)
{
	struct probing *p = container_of(job, struct probing, job);
	struct request *r = p->request;

	if (r->cmd.id == COMMAND_KEYSTORE_CHECK) {
		probe_check(&p->probe, &r->reply);
	} else if (r->cmd.id == COMMAND_KEYSTORE_DELETE) {
		probe_delete(&p->probe, &r->reply);
	} else {
		probe_bench(&p->probe, &r->reply);
	}
	inbox_post(&r->conn->control->inbox, &p->done_msg, on_probed);
}

void keystore_probe_run(struct request *r)
{
	struct control *c = r->conn->control;
	struct probing *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		reply_fail(&r->reply, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
	} else if (conf_keystore_by_name(c->conf, r->cmd.keystore, &p->probe.index, &r->reply)) {
		p->request = r;
		p->probe.conf = c->conf;
		p->probe.ks = zonemgr_keystore(c->mgr, p->probe.index);
		p->probe.db = zonemgr_store(c->mgr);
		p->probe.stop = &c->probe_stop;
		p->probe.serving = true;
		p->probe.seconds = r->cmd.seconds;
		p->probe.key = r->cmd.key;
		p->probe.days = r->cmd.days;
		p->next = c->probings;
		if (p->next != NULL) {
			p->next->prev = p;
		}
		c->probings = p;
		builder_submit(c->probers, BUILDER_ASKED, &p->job, probe_job);
		return;
	}
	free(p);
	request_finish(r);
}

enum status probers_start(struct control *c)
{
	return builder_start("prober", PROBERS, &c->probers);
}

void probers_stop(struct control *c)
{
	atomic_store(&c->probe_stop, true);
	builder_stop(c->probers);
	/* What the threads said last; then those that had no turn. */
	inbox_drain(&c->inbox);
	while (c->probings != NULL) {
		on_probed(&c->probings->done_msg);
	}
}
