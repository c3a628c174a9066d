/* 'keystore check': step by step from the module to a signature that verifies. */
#include "nsd-core/base/text.h"
#include "nsd-core/control_probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct walk {
	const struct probe *p;
	const struct conf_keystore *conf;
	struct reply *r;
	FILE *f;
	json_t *steps;
	/* The first that failed. */
	const char *step; /* NULL: none */
	char *what;
	const char *remedy;
	size_t keys, bad;
};

/* What helps, by what the keystore says. The first that fits. */
static const struct {
	const char *said;
	const char *remedy;
} remedies[] = {
	{"no token",
	 "see which tokens the module shows (pkcs11-tool --module MODULE --list-slots); start "
	 "the device or its service, or set 'token', 'slot' or 'uri' to one of them"},
	{"two tokens", "set 'slot' or 'uri' to what only one of them has"},
	{"is not initialised", "initialise the token, and set its user PIN"},
	{"cannot load the module",
	 "install the module with the libraries it needs, for this machine, or "
	 "set 'module' to where it is"},
	{"is no PKCS #11 module", "set 'module' to the PKCS#11 library of the device"},
	{"counts a wrong PIN",
	 "log in once with another tool and the right PIN (pkcs11-tool --login), or write "
	 "the PIN file again while the server runs"},
	{"wrong PIN locks",
	 "log in once with another tool and the right PIN (pkcs11-tool --login)"},
	{"cannot read the PIN file",
	 "give the file to the user that the server runs as, with mode 0600"},
	{"PIN file", "write the token's user PIN into the first line of the file"},
	{"no pin-file", "set 'pin-file' to a file whose first line is the token's user PIN"},
	{"no user PIN", "set the token's user PIN, as its security officer"},
	{"PIN is locked",
	 "have the security officer reset the user PIN, or a TPM's owner clear the lock-out "
	 "(tpm2_dictionarylockout --clear-lockout), then write the PIN into the PIN file again"},
	{"was refused",
	 "write the right PIN into the first line of the PIN file: it is tried once when "
	 "the file changes, and not before"},
	{"passphrase",
	 "write the passphrase that the keys were made with into the first line of the "
	 "'passphrase-file'"},
	{"AccessDenied",
	 "give the credentials this policy, the second statement where signet makes the keys:\n"
	 "{\"Version\": \"2012-10-17\", \"Statement\": [\n"
	 "  {\"Effect\": \"Allow\", \"Action\": [\"kms:Sign\", \"kms:GetPublicKey\", "
	 "\"kms:DescribeKey\"],\n"
	 "   \"Resource\": \"arn:aws:kms:REGION:ACCOUNT:key/*\"},\n"
	 "  {\"Effect\": \"Allow\", \"Action\": [\"kms:CreateKey\", \"kms:TagResource\"], "
	 "\"Resource\": \"*\"}]}"},
	{"chmod", "change the mode as it says, and see that the server's user is the owner"},
};

static const char *remedy_for(const struct conf_keystore *conf, const char *what)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
		if (strstr(what, remedies[i].said) != NULL) {
			return remedies[i].remedy;
		}
	}
	static const char *const others[] = {
		[KEYSTORE_PKCS11] = ("see that the device is there, that its service runs, and "
				     "that the server's "
				     "user may reach it; it is tried again without being asked"),
		[KEYSTORE_FILE] = ("see that the key directory and its files belong to the user "
				   "that the server runs "
				   "as, and may be written by no other"),
		[KEYSTORE_KMS] = "do what the message says; it is tried again without being asked",
	};
	return others[conf->type];
}

static void put_step(struct walk *w, const char *step, bool good, const char *text)
{
	fprintf(w->f, "%-8s%-8s%s\n", good ? "ok" : "missing", step, text);
	json_array_append_new(w->steps, json_pack("{s:s, s:b, s:o}", "step", step, "ok", good,
						  "text", reply_string(text)));
}

static void put_missing(struct walk *w, const char *step, const char *what, const char *remedy)
{
	put_step(w, step, false, what);
	if (w->step == NULL) {
		w->step = step;
		w->what = strdup(what);
		w->remedy = remedy != NULL ? remedy : remedy_for(w->conf, what);
	}
}

/* What the keystore said, without its name, which the answer starts with. */
static const char *said(const struct walk *w, const struct diags *d, enum status st)
{
	const char *text =
		d->count > 0 && d->items[0].text != NULL ? d->items[0].text : status_text(st);
	const char *colon = strstr(text, ": ");
	size_t len = strlen(w->conf->name);

	if (strncmp(text, "keystore ", 9) == 0 && strncmp(text + 9, w->conf->name, len) == 0 &&
	    colon != NULL && colon >= text + 9 + len) {
		return colon + 2;
	}
	return text;
}

static bool walk_file(struct walk *w, const char *step, const char *path)
{
	char text[4352];

	if (path == NULL) {
		return true;
	}
	if (access(path, R_OK) == 0) {
		put_step(w, step, true, path);
		return true;
	}
	snprintf(text, sizeof(text), "%s: %s", path, strerror(errno));
	put_missing(w, step, text,
		    errno == ENOENT
			    ? "the file is not there: put it there, or set where it is"
			    : "the user that the server runs as has to be able to read it, and the "
			      "folders above it");
	return false;
}

static bool walk_open(struct walk *w)
{
	struct keystore_health h;
	struct diags d;

	diags_init(&d, 1);
	enum status st = keystore_open(w->p->ks, &d);
	keystore_health(w->p->ks, &h);
	bool token = w->conf->type == KEYSTORE_PKCS11;
	bool locked = h.state == KEYSTORE_LOCKED;
	if (st == ST_OK || locked) {
		put_step(w, token ? "token" : "open", true, token ? "it is there" : "it opens");
	}
	if (st == ST_OK && token) {
		put_step(w, "login", true, w->conf->pin_file != NULL ? "the PIN is taken" : "none");
	} else if (st != ST_OK) {
		put_missing(w, locked ? "login" : token ? "token" : "open", said(w, &d, st), NULL);
	}
	diags_fini(&d);
	return st == ST_OK;
}

/* False: the device is gone, and more keys need not be tried. */
static bool walk_key(struct walk *w, const struct probe_key *k)
{
	char name[NAME_TEXT_MAX];
	char id[TEXT_HEX_SIZE(sizeof(k->id))];
	char text[NAME_TEXT_MAX + 512];
	struct keystore_health h;
	struct hsm_key *key = NULL;
	struct diags d;
	int n = snprintf(text, sizeof(text), "%s %u of %s ", key_role_text(k->role), k->tag,
			 name_to_text(k->zone->name, name));

	diags_init(&d, 1);
	enum status st = keystore_find(w->p->ks, k->id, k->id_len, k->public_point, &key, &d);
	hsm_key_unref(key);
	keystore_health(w->p->ks, &h);
	bool up = h.state == KEYSTORE_UP;
	char *rest = text + n;
	size_t room = sizeof(text) - (size_t)n;
	if (st == ST_OK) {
		snprintf(rest, room, "is found, signs, and the signature verifies");
		put_step(w, "key", true, text);
		diags_fini(&d);
		return true;
	}
	snprintf(rest, room, "(id %s): %s", key_id_text(k->id, k->id_len, id),
		 up ? said(w, &d, st) : h.detail);
	put_missing(w, "key", text,
		    st == ST_ENOENT ? "bring it back into the keystore from its backup: no other "
				      "key is made in its place"
		    : st == ST_ECRYPTO
			    ? "what stands under its id is another key, or signs wrongly: "
			      "bring the right one back from its backup"
			    : NULL);
	w->bad++;
	diags_fini(&d);
	return up;
}

/* The first zone of the policy that has a key in this role here, and the key. */
static const struct probe_key *key_of_policy(const struct walk *w, const struct probe_key *keys,
					     size_t policy, enum key_role role)
{
	for (size_t i = 0; i < w->keys; i++) {
		if (keys[i].zone->policy == (int64_t)policy && keys[i].role == role) {
			return &keys[i];
		}
	}
	return NULL;
}

/* One that zones do not have yet: is it fit? */
static void walk_wanted(struct walk *w, const char *what, const struct hsm_id *id)
{
	char text[HSM_REF_MAX + 512];
	struct hsm_key *key = NULL;
	struct diags d;

	diags_init(&d, 1);
	enum status st = keystore_find(w->p->ks, id->data, id->len, NULL, &key, &d);
	hsm_key_unref(key);
	if (st == ST_OK) {
		snprintf(text, sizeof(text), "%s is found, signs, and the signature verifies",
			 what);
		put_step(w, "named", true, text);
	} else {
		snprintf(text, sizeof(text), "%s: %s", what, said(w, &d, st));
		put_missing(w, "named", text, NULL);
	}
	diags_fini(&d);
}

/* What a policy names against what its zones have: they go on with that. */
static void walk_named(struct walk *w, const struct probe_key *keys, size_t policy,
		       enum key_role role, const struct conf_key *c)
{
	char what[HSM_REF_MAX + 128];
	char text[HSM_REF_MAX + NAME_TEXT_MAX + 1024];
	char mine[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char other[TEXT_HEX_SIZE(HSM_ID_MAX)];
	char zone[NAME_TEXT_MAX];
	struct hsm_id id = {.len = 0};
	struct diags d;
	const struct probe_key *k = key_of_policy(w, keys, policy, role);

	diags_init(&d, 1);
	enum status st = keystore_identify(w->p->ks, c->key, &id, &d);
	snprintf(what, sizeof(what), "'%s', the %s of policy %s,", c->key, key_role_text(role),
		 w->p->conf->policies[policy].name);
	if (k == NULL && st == ST_OK) {
		walk_wanted(w, what, &id);
	} else if (k == NULL) {
		snprintf(text, sizeof(text), "%s %s", what, said(w, &d, st));
		put_missing(w, "named", text,
			    "make the key, or bring it there, or name one that is there: none is "
			    "made in its place");
	} else if (st != ST_OK || k->id_len != id.len || memcmp(k->id, id.data, id.len) != 0) {
		snprintf(text, sizeof(text),
			 "%s names %s now: %s and others that have the key go on with %s", what,
			 st == ST_OK ? key_id_text(id.data, id.len, other) : said(w, &d, st),
			 name_to_text(k->zone->name, zone), key_id_text(k->id, k->id_len, mine));
		put_step(w, "named", true, text);
		reply_note(w->r, "warning: keystore %s: %s", w->conf->name, text);
	}
	diags_fini(&d);
}

static void walk_policies(struct walk *w, const struct probe_key *keys)
{
	const struct conf *conf = w->p->conf;

	for (size_t i = 0; i < conf->policy_count; i++) {
		const struct conf_policy *p = &conf->policies[i];
		const struct conf_key *wanted[] = {
			[KEY_KSK] = &p->ksk, [KEY_ZSK] = &p->zsk, [KEY_CSK] = &p->csk};
		for (size_t role = KEY_KSK; role <= KEY_CSK; role++) {
			const struct conf_key *c = wanted[role];
			if (c->present && c->key != NULL && c->keystore == w->p->index) {
				walk_named(w, keys, i, (enum key_role)role, c);
			}
		}
	}
}

static void walk_keys(struct walk *w)
{
	const struct conf_zone *at = NULL;
	struct probe_key *keys = NULL;
	char name[NAME_TEXT_MAX];
	char text[NAME_TEXT_MAX + 128];
	size_t i = 0;

	enum status st = probe_keys(w->p, &keys, &w->keys, &at);
	if (st != ST_OK) {
		snprintf(text, sizeof(text), "the keys of %s on record cannot be read: %s",
			 at != NULL ? name_to_text(at->name, name) : "zones", status_text(st));
		put_missing(
			w, "record", text,
			"see that the state directory can be read, or restore it from a backup");
		return;
	}
	if (w->keys == 0) {
		put_step(w, "key", true, "no zone has one here yet: nothing was signed");
	}
	while (i < w->keys && (w->p->stop == NULL || !atomic_load(w->p->stop)) &&
	       (keys[i].again || walk_key(w, &keys[i]))) {
		i++;
	}
	if (i == w->keys) {
		walk_policies(w, keys);
	}
	free(keys);
}

static void finish(struct walk *w, struct reply_text *text, struct reply *r)
{
	char *rights = w->step != NULL ? keystore_rights(w->p->ks) : NULL;

	r->data = json_pack("{s:i, s:o, s:b, s:o, s:I}", "version", CONTROL_VERSION, "keystore",
			    reply_string(w->conf->name), "good", w->step == NULL, "steps",
			    json_incref(w->steps), "keys", (json_int_t)w->keys);
	if (w->step != NULL) {
		json_object_set_new(r->data, "missing",
				    json_pack("{s:s, s:o, s:s}", "step", w->step, "what",
					      reply_string(w->what != NULL ? w->what : ""),
					      "remedy", w->remedy));
	}
	if (rights != NULL) {
		fprintf(w->f, "\nIt needs these rights:\n%s\n", rights);
		json_object_set_new(r->data, "rights", reply_string(rights));
	}
	reply_text_close(text, r);
	if (w->step != NULL && r->exit == EXIT_DONE) {
		r->exit = EXIT_FAILED;
		if (asprintf(&r->error, "keystore %s: %s: %s\nwhat to do: %s", w->conf->name,
			     w->step, w->what != NULL ? w->what : "", w->remedy) < 0) {
			r->error = NULL;
		}
	}
	free(rights);
}

void probe_check(const struct probe *p, struct reply *r)
{
	struct walk w = {.p = p, .conf = &p->conf->keystores[p->index], .r = r};
	struct reply_text text;

	reply_text_open(&text);
	if (text.f == NULL) {
		reply_fail(r, EXIT_FAILED, "%s", status_text(ST_ENOMEM));
		return;
	}
	w.f = text.f;
	w.steps = json_array();
	if (walk_file(&w, "module", w.conf->module) && walk_file(&w, "PIN", w.conf->pin_file) &&
	    walk_file(&w, "phrase", w.conf->passphrase_file) && walk_open(&w)) {
		walk_keys(&w);
	}
	finish(&w, &text, r);
	json_decref(w.steps);
	free(w.what);
}
